"""What a run would do and take: one page from the recipe alone, before anything is loaded or downloaded.

Importing this needs neither torch nor TRL; only `check` imports them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import textwrap
from collections.abc import Iterable
from typing import Any

from manypaths import recipe, rewards
from manypaths.preflight import trainer_settings
from manypaths.preflight.memory import GIB, PROMPT_TOKENS, Row, architecture, gpu_bytes, memory
from manypaths.preflight.workload import DEFAULTS, Workload, workload
from manypaths.recipe import Recipe
from manypaths.typed import check_arguments

LOSSES = {
    "grpo": "mean over the tokens of each completion, then over completions",
    "dr_grpo": "sum over tokens, divided by a constant (max_completion_length)",
    "dapo": "mean over all tokens of a step",
    "bnpo": "mean over all tokens of a device's batch",
}
SCALES = {"group": "divided by the group's spread", "batch": "divided by the batch's spread", "none": "not scaled"}


def leaves(content: Any, within: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Nested mappings -> every value that is none, by its path; an empty mapping sets nothing."""
    if not isinstance(content, dict):
        return {within: content}
    return {path: leaf for key, each in content.items() for path, leaf in leaves(each, (*within, key)).items()}


def published(spec: Recipe, names: Iterable[str]) -> tuple[str | None, bool]:
    """The paper that a run is compared with, and whether it was named; (None, False) where there is none."""
    keys = {path.resolve(): key for key, path in recipe.shipped().items()}
    named = [key for name in names if (key := keys.get(recipe.find(name).resolve(), "")).startswith("papers/")]
    if named:
        return named[-1], True
    by_method = {"mmr": "papers/mmr-", "dra": "papers/dra-"}.get(spec.method.reweight or "")
    by_method = by_method or ("none" if spec.method.importance_ratio else "papers/rgra")
    found = [key for key in keys.values() if key.startswith(by_method)]
    return (min(found, key=lambda key: (key != "papers/mmr-grpo", key)) if found else None), False


def departures(spec: Recipe, paper: str) -> tuple[int, list[tuple[str, Any, Any]]]:
    """How many settings a paper's recipe has, and (key, published, here) of those that differ; unset is TRL's."""
    here, settings = dataclasses.asdict(spec), recipe.content([paper])
    here["trainer"] = {**DEFAULTS, **here["trainer"]}
    settings.pop("departs", None)

    def ours(path: tuple[str, ...]) -> Any:
        found: Any = here
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    compared = {path: (value, ours(path)) for path, value in leaves(settings).items()}
    return len(compared), [(".".join(path), a, b) for path, (a, b) in compared.items() if a != b]


def page(spec: Recipe, names: list[str], gpu: str = "h100", processes: int = 1) -> str:
    """The page: the recipe, what it amounts to, the loss, the published setting, the memory.

    ValueError as `workload` and `memory` raise it, and for an unknown GPU.
    """
    run, size = workload(spec, processes), gpu_bytes(gpu)
    parts = {
        "Recipe": recipe.dump(dataclasses.replace(spec, departs=[])).splitlines()[:-1],
        "What it amounts to": _table(_workload(spec, run)),
        "The loss": _table(_loss(spec, run)),
        "The published setting": _published(spec, names),
        f"Memory on {size[1]}, estimated, in GiB": _memory(spec, run, size[0]),
    }
    return "\n".join(line for title, lines in parts.items() for line in ("", title, *(f"  {one}" for one in lines)))[1:]


def _table(rows: dict[str, str]) -> list[str]:
    return [
        line
        for key, text in rows.items()
        for line in textwrap.wrap(text, 117, initial_indent=f"{key:<18}", subsequent_indent=" " * 18)
    ]


def _workload(spec: Recipe, run: Workload) -> dict[str, str]:
    had, most = {**DEFAULTS, **spec.trainer}, spec.dynamic_sampling.max_batches if spec.dynamic_sampling.reward else 1
    on = f"{run.processes} process{'es' * (run.processes > 1)}"
    serves = f"serves {run.updates:g} update{'s' * (run.updates != 1)}"
    serves = serves if run.updates >= 1 else f"{1 / run.updates:g} of them make an update"
    rows = {"a step": f"{run.step / run.group:g} prompts x {run.group} completions = {run.step:,}, on {on}"}
    rows["a step"] += f", each {run.per_device} at once, accumulated over {run.accumulation}"
    rows["a generation"] = f"{run.generation / run.group:g} prompts, {run.generation:,} completions; {serves}"
    if run.generation % run.group:
        rows["a generation"] += f". TRL refuses this: {run.generation} completions are no whole groups of {run.group}"
    epochs = f"{had['num_train_epochs']:g} epoch{'s' * (had['num_train_epochs'] != 1)} of {spec.problems.name}"
    if run.steps is None:
        size = "fills no generation batch" if run.problems else "has a size that is not known here"
        return {"steps": f"unknown: {epochs}, which {size}; set trainer.max_steps", **rows}
    source = "max_steps" if had["max_steps"] > 0 else epochs
    sampled = run.generations * run.generation
    tokens, span = sampled * had["max_completion_length"], f" to {sampled * most:,}" * (most > 1)
    every = max(1, had["save_steps"] if had["save_steps"] >= 1 else math.ceil(run.steps * had["save_steps"]))
    saves = {"no": "none", "epoch": "one an epoch"}.get(had["save_strategy"])
    saves = saves or f"{-(-run.steps // every):,}, every {every:,.0f} steps and at the end"
    return {
        "steps": f"{run.steps:,} updates of the weights ({source})",
        **rows,
        "generations": f"{run.generations:,}" + f" to {run.generations * most:,} (dynamic sampling)" * (most > 1),
        "completions": f"{sampled:,}{span}, each of at most {had['max_completion_length']:,} tokens",
        "tokens": f"at most {tokens:,}" + f" to {tokens * most:,}" * (most > 1) + " sampled",
        "saves": saves,
    }


def _loss(spec: Recipe, run: Workload) -> dict[str, str]:
    had, method = {**DEFAULTS, **spec.trainer}, spec.method
    scale = {True: "group", False: "none"}.get(had["scale_rewards"], had["scale_rewards"])
    options = ", ".join(f"{key} {json.dumps(value, default=str)}" for key, value in method.options.items())
    reweight = f"{method.reweight} ({options or 'no options'}), likeness by {spec.embedder.name}"
    reweight += "; groups of equal rewards keep them" * method.keep_equal_rewards
    filtered, most = spec.dynamic_sampling.reward, spec.dynamic_sampling.max_batches
    against = "the initial model, " + ("a copy" if spec.lora is None else "which is this one with LoRA off")
    low, high = had["epsilon"], had["epsilon"] if had["epsilon_high"] is None else had["epsilon_high"]
    corrected = had["use_vllm"] and had["vllm_importance_sampling_correction"]
    if not method.importance_ratio:
        clipping = "cannot act: there is no pi / pi_old (RGRA)"
    elif run.on_policy:
        clipping = "cannot act: each batch of answers serves a single update, so that pi / pi_old is 1"
        clipping += ", but for rounding and dropout" * corrected
    else:
        clipping = f"acts where pi / pi_old leaves {1 - low:g} to {1 + high:g}: batches of answers outlast an update"
    rows = {
        "rewards": " + ".join(f"{weight:g} x {name}" for name, weight in spec.rewards.items()),
        "reweighting": reweight if method.reweight else "none",
        "advantage": f"{method.advantage} in place of the " * bool(method.advantage)
        + f"reward less the mean of its group, {SCALES.get(scale, scale)}",
        "average": f"{had['loss_type']}: {LOSSES.get(had['loss_type'], 'see the documents of TRL')}",
        "KL": f"{had['beta']:g} x the divergence from {against}" if had["beta"] else "none",
        "clipping": clipping,
    }
    if corrected:
        rows["vLLM"] = "answers are weighed by pi / pi of vLLM (vllm_importance_sampling_correction)"
    replaced = f"groups without spread in {filtered} are replaced, from at most {most} generation batches"
    return {**rows, "dynamic sampling": replaced if filtered else "none"}


def _published(spec: Recipe, names: list[str]) -> list[str]:
    paper, named = published(spec, names)
    if paper is None:
        return ["No paper's recipe is among those named, and none belongs to the method."]
    count, differ = departures(spec, paper)
    lines = [f"{count - len(differ)} of the {count} settings of {paper} are kept"]
    lines[0] += "." if named else "; that recipe is not among those named, and is compared all the same."
    table = [("departs", "published", "here"), *((key, _short(there), _short(here)) for key, there, here in differ)]
    wide = max(len(key) for key, _, _ in table) + 2
    lines += [f"{key:<{wide}}{there:<36}{here}" for key, there, here in table if differ]
    departs = recipe.content([paper]).get("departs", []) if named else []
    lines += ["What it cannot keep, and what is not published:"] if departs else []
    for sentence in departs:
        lines += textwrap.wrap(sentence, 117, initial_indent="- ", subsequent_indent="  ")
    return lines


def _short(value: Any, width: int = 34) -> str:
    text = (
        value
        if isinstance(value, str)
        else "-"
        if value is None
        else json.dumps(value, ensure_ascii=False, default=str)
    )
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."


def _memory(spec: Recipe, run: Workload, gpu: float) -> list[str]:
    config = architecture(spec.model.name)
    if config is None:
        return [f"Unknown: nothing here tells the shape of {spec.model.name}. A folder with its config.json would."]
    rows = memory(spec, config, run, gpu)
    total = Row("total", f"of {gpu / GIB:.1f}", sum(row.sampling for row in rows), sum(row.update for row in rows))
    lines = [f"{'':<66}{'sampling':>10}{'update':>10}"]
    for row in (*rows, total):
        sizes = (f"{each / GIB:>10.1f}" if each else f"{'-':>10}" for each in (row.sampling, row.update))
        lines.append(f"{row.label:<18}{row.detail:<48}{''.join(sizes)}")
    full = (need / gpu for need in (total.sampling, total.update))
    lines.append(" " * 66 + "".join(f"{'fits' if x <= 0.9 else 'tight' if x <= 1 else 'too much':>10}" for x in full))
    note = f"""For one GPU, nothing sharded or offloaded; prompts of {PROMPT_TOKENS} tokens, completions of full
        length, AdamW, SDPA. The embedder works after sampling, which is summed with it all the same. Left out are CUDA
        itself and fragmentation, so what takes up to nine tenths is said to fit."""
    return [*lines, *textwrap.wrap(" ".join(note.split()), 117)]


def check(spec: Recipe, reserved: Iterable[str]) -> None:
    """Refuse what the run itself would refuse on any machine, with its own sentences.

    The keys of `trainer` and `lora` are checked against TRL and PEFT, which this imports (`reserved` are the run's
    own), TRL's evaluation is refused, and every reward must be there and take its options.
    """
    from peft import LoraConfig
    from trl import GRPOConfig

    check_arguments(GRPOConfig, spec.trainer, "trainer.", tuple(reserved))
    check_arguments(LoraConfig, spec.lora or {}, "lora.")
    trainer_settings.check_kept(spec.trainer)
    limit = spec.trainer.get("max_completion_length", DEFAULTS["max_completion_length"])
    rewards.bind(spec.rewards, spec.reward_options, limit)
