"""One page about a run, from its recipe alone: its steps, its loss, how it departs from the paper, its memory.

Nothing is loaded or downloaded. Without torch the page of a shipped model lacks only the methods' inputs and
diagnostics; `check` imports TRL.
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
from manypaths.preflight.cautions import cautions
from manypaths.preflight.measured import measured
from manypaths.preflight.memory import GIB, PROMPT_TOKENS, Row, gpu_bytes, memory, replayed
from manypaths.preflight.method_rows import corrects_vllm, method_rows, update
from manypaths.preflight.shape import shape_of
from manypaths.preflight.workload import DEFAULTS, Workload, passed_over, workload
from manypaths.sections import Recipe
from manypaths.typed import check_arguments

LOSSES = {
    "grpo": "mean over the tokens of each completion, then over completions",
    "dr_grpo": "sum over tokens, divided by a constant (max_completion_length)",
    "dapo": "mean over all tokens of a step",
    "bnpo": "mean over all tokens of a device's batch",
}
SCALES = {
    "group": "divided by the standard deviation of the group",
    "batch": "divided by the standard deviation of the batch",
    "none": "not scaled",
}
WIDTH = 117


def page(spec: Recipe, names: list[str], gpu: str = "h100", processes: int = 1) -> str:
    """The page of `manypaths train RECIPES --dry-run`.

    Args:
        spec: the resolved recipe.
        names: the recipes that it was read from.
        gpu: a GPU by name or size, as in `gpu_bytes`.
        processes: training processes, each with a GPU.

    Returns:
        The text of the page, in lines of at most 119 characters below the recipe.

    Raises:
        ValueError: as `workload`, `memory` and `gpu_bytes` raise it.
    """
    run, (size, described) = workload(spec, processes), gpu_bytes(gpu)
    parts = {
        "Recipe": recipe.dump(dataclasses.replace(spec, departs=[])).splitlines()[:-1],
        "Workload": _table(_workload(spec, run)),
        "Loss": _table(_loss(spec, run)),
        "Published setting": _published(spec, names),
        f"Memory on {described}, estimated, in GiB": _memory(spec, run, size),
    }
    return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in parts.items())


def _table(rows: dict[str, str]) -> list[str]:
    return [
        line
        for key, text in rows.items()
        for line in textwrap.wrap(text, WIDTH, initial_indent=f"{key:<18}", subsequent_indent=" " * 18)
    ]


def _workload(spec: Recipe, run: Workload) -> dict[str, str]:
    """Steps, batches, and totals where the number of steps is known."""
    settings = {**DEFAULTS, **spec.trainer}
    epochs = f"{settings['num_train_epochs']:g} epoch{_s(settings['num_train_epochs'])} of {spec.problems.name}"
    served = f"serves {run.updates:g} update{_s(run.updates)}"
    if run.updates < 1:
        served = f"{1 / run.updates:g} of them make an update"
    step = f"{run.step / run.group:g} prompts x {run.group} completions = {run.step:,}, on {run.processes} process"
    step += f"{'es' * (run.processes > 1)}, each {run.per_device} at once, accumulated over {run.accumulation}"
    generation = f"{run.generation / run.group:g} prompts, {run.generation:,} completions; {served}"
    if run.generation % run.group:
        generation += f". TRL refuses this: {run.generation} completions are no whole groups of {run.group}"
    batches = {"a step": step, "a generation": generation}
    if run.steps is None:
        size = "fills no generation batch" if run.problems else "is not on this machine, so its size is unknown"
        return {"steps": f"unknown: {epochs}, which {size}; set trainer.max_steps", **batches}
    source = "max_steps" if settings["max_steps"] > 0 else epochs
    return {"steps": f"{run.steps:,} updates of the weights ({source})", **batches, **_totals(spec, run, run.steps)}


def _totals(spec: Recipe, run: Workload, steps: int) -> dict[str, str]:
    """Generations, completions, tokens and saves of a whole run; a range where groups may be sampled anew."""
    settings = {**DEFAULTS, **spec.trainer}
    most = spec.dynamic_sampling.max_batches if spec.dynamic_sampling.reward else 1
    longest = settings["max_completion_length"]

    def span(count: int) -> str:
        return f"{count:,}" + f" to {count * most:,}" * (most > 1)

    every = settings["save_steps"] if settings["save_steps"] >= 1 else math.ceil(steps * settings["save_steps"])
    every = max(1, every)
    saves = f"{-(-steps // every):,}, every {every:,.0f} steps and at the end"
    return {
        "generations": span(run.generations) + " (dynamic sampling)" * (most > 1),
        "completions": f"{span(run.generations * run.generation)}, each of at most {longest:,} tokens",
        "tokens": f"at most {span(run.generations * run.generation * longest)} sampled",
        "saves": {"no": "none", "epoch": "one an epoch"}.get(settings["save_strategy"], saves),
    }


def _loss(spec: Recipe, run: Workload) -> dict[str, str]:
    """From rewards to the loss, a row for each part."""
    settings, sampling = {**DEFAULTS, **spec.trainer}, spec.dynamic_sampling
    scale = {True: "group", False: "none"}.get(settings["scale_rewards"], settings["scale_rewards"])
    own = f"reward minus the mean of its group, {SCALES.get(scale, scale)}"
    initial = "the initial model, " + ("a copy" if spec.lora is None else "which is this one with LoRA off")
    rows = {
        "rewards": " + ".join(f"{weight:g} x {name}" for name, weight in spec.rewards.items()),
        **method_rows(spec, run, own),
        "average": f"{settings['loss_type']}: {LOSSES.get(settings['loss_type'], 'see the documents of TRL')}",
        **({"caution": " ".join(warned)} if (warned := [*cautions(spec), *measured(spec)]) else {}),
        "KL": f"{settings['beta']:g} x the divergence from {initial}" if settings["beta"] else "none",
        "clipping": _clipping(spec, run),
    }
    if coefficient := settings.get("entropy_coef"):
        rows["entropy"] = f"{coefficient:g} x the mean entropy of a token is subtracted from the loss"
    if corrects_vllm(settings):
        rows["vLLM"] = "completions are weighted by pi / pi of vLLM (vllm_importance_sampling_correction)"
    replaced = f"groups with zero variance in {sampling.reward} are replaced, from at most {sampling.max_batches} "
    rows["dynamic sampling"] = f"{replaced}generation batches" if sampling.reward else "none"
    rows["history"] = passed_over(spec, run)
    rows["replay"] = _replay(spec, run)
    return {**rows, **update(spec, run)}


def _replay(spec: Recipe, run: Workload) -> str:
    """The term of verified replay, what it costs a step, and what its banks hold at most."""
    own, longest = spec.replay, {**DEFAULTS, **spec.trainer}["max_completion_length"]
    if own.weight is None:
        return "none"
    term = f"{own.weight * (run.group - 1) / run.group**2:.3g} x the mean over ways of -log pi / length, one prompt's "
    term += f"bank an update in turn, ways by keys={spec.keys.name} of right completions by {spec.method.correct}. "
    cost = f"Cost: at most {replayed(spec, run)} more sequences in each batch of {run.per_device}, forward and backward"
    size = 4 * (own.capacity * longest + PROMPT_TOKENS) / 1024  # bytes of a token
    whole = f", {size * run.problems / 1024:,.1f} MiB in all" if run.problems else ""
    return f"{term}{cost}. Banks: at most {own.capacity} ways and {size:,.1f} KiB a prompt{whole}, in each process"


def _clipping(spec: Recipe, run: Workload) -> str:
    settings = {**DEFAULTS, **spec.trainer}
    if not spec.method.importance_ratio:
        return "has no effect: there is no pi / pi_old (RGRA)"
    if run.on_policy:
        exact = "has no effect: each batch of completions serves a single update, so that pi / pi_old is 1"
        return exact + ", but for rounding and dropout" * corrects_vllm(settings)
    low, high = settings["epsilon"], settings["epsilon_high"]
    high = low if high is None else high
    return f"outside {1 - low:g} to {1 + high:g} of pi / pi_old: batches of completions serve more than one update"


def _s(count: float) -> str:
    """The plural's s."""
    return "s" * (count != 1)


def published(spec: Recipe, names: Iterable[str]) -> tuple[str | None, bool]:
    """The recipe of a paper that a run is compared with.

    It is the last paper among `names`. Without one it is named after the method (rgra where there is no importance
    ratio); of several it is the one named after the last variant among `names`, such as papers/dra-grpo.

    Args:
        spec: the recipe of the run.
        names: the recipes that it was read from.

    Returns:
        The key of the paper's recipe, such as "papers/mmr-grpo", and whether it is among `names`; (None, False) where
        the method has no paper.
    """
    keys = {path.resolve(): key for key, path in recipe.shipped().items()}
    papers = [key for name in names if (key := keys.get(recipe.find(name).resolve(), "")).startswith("papers/")]
    if papers:
        return papers[-1], True
    method = spec.method.reweight or ("" if spec.method.importance_ratio else "rgra")
    own = [key for key in keys.values() if method and key.startswith(f"papers/{method}-")]
    order = {name.rpartition("/")[2]: position for position, name in enumerate(names)}
    return max(own, key=lambda key: (order.get(key.removeprefix(f"papers/{method}-"), -1), key), default=None), False


def departures(spec: Recipe, paper: str) -> tuple[int, list[tuple[str, Any, Any]]]:
    """How a run departs from the recipe of a paper; a setting that the run leaves unset has TRL's default.

    Returns:
        How many settings the paper's recipe has, and (key, published value, value here) of those that differ.
    """
    here, settings = dataclasses.asdict(spec), recipe.content([paper])
    here["trainer"] = {**DEFAULTS, **here["trainer"]}
    settings.pop("departs", None)
    pairs = {path: (value, _value_at(path, here)) for path, value in leaves(settings).items()}
    return len(pairs), [(".".join(path), there, own) for path, (there, own) in pairs.items() if there != own]


def leaves(content: Any, within: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """The values in nested mappings, by their paths; an empty mapping has none."""
    if not isinstance(content, dict):
        return {within: content}
    return {path: leaf for key, value in content.items() for path, leaf in leaves(value, (*within, key)).items()}


def _value_at(path: tuple[str, ...], content: Any) -> Any:
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _published(spec: Recipe, names: list[str]) -> list[str]:
    paper, named = published(spec, names)
    if paper is None:
        return ["None: no paper's recipe is among those named, and the method has none."]
    count, differ = departures(spec, paper)
    lines = [f"{count - len(differ)} of the {count} settings of {paper} are kept"]
    lines[0] += "." if named else "; that recipe is not among those named, and is compared all the same."
    table = [("setting", "published", "here"), *((key, _short(there), _short(own)) for key, there, own in differ)]
    wide = max(len(key) for key, _, _ in table) + 2
    lines += [f"{key:<{wide}}{there:<36}{own}" for key, there, own in table if differ]
    departs = recipe.content([paper]).get("departs", []) if named else []
    lines += ["What it cannot keep, and what is not published:"] if departs else []
    for sentence in departs:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ")
    return lines


def _short(value: Any) -> str:
    """A value in one line of at most 34 characters."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 34 else text[:31] + "..."


def _memory(spec: Recipe, run: Workload, gpu: float) -> list[str]:
    """A table with a row for each component and a column for each phase, and what it leaves out."""
    shape = shape_of(spec.model.name)
    if shape is None:
        text = f"""Unknown: the shape of {spec.model.name} could not be counted. It must be a shipped model, or have a
            config.json on this machine that torch and transformers build a Llama-like decoder from."""
        return textwrap.wrap(" ".join(text.split()), WIDTH)
    rows = memory(spec, shape, run, gpu)
    phases = ["sampling", "update", *["evaluation"] * (spec.evaluation is not None)]
    totals = [sum(getattr(row, phase) for row in rows) for phase in phases]
    lines = [" " * 66 + "".join(f"{phase:>12}" for phase in phases)]
    for row in (*rows, Row("total", f"of {gpu / GIB:.1f}", *totals)):
        sizes = [getattr(row, phase) / GIB for phase in phases]
        numbers = "".join(f"{size:>12.1f}" if size else f"{'-':>12}" for size in sizes)
        lines.append(f"{row.label:<18}{row.detail:<48}{numbers}")
    shares = [total / gpu for total in totals]
    words = ["fits" if share <= 0.9 else "tight" if share <= 1 else "too much" for share in shares]
    lines.append(" " * 66 + "".join(f"{word:>12}" for word in words))
    note = f"""For one GPU, nothing sharded or offloaded; prompts of {PROMPT_TOKENS} tokens, completions of full
        length, AdamW, SDPA. The embedder works after sampling, but is summed with it. Left out are CUDA itself,
        fragmentation and the tile of logits in TRL's LM head: up to nine tenths of the GPU fits."""
    return [*lines, *textwrap.wrap(" ".join(note.split()), WIDTH)]


def check(spec: Recipe, reserved: Iterable[str]) -> None:
    """Refuse what the run itself would refuse on any machine, with the same messages. Imports TRL and PEFT.

    Args:
        spec: the recipe of the run.
        reserved: keys of `trainer` that the run sets itself.

    Raises:
        ValueError: a key of `trainer` or `lora` is unknown or reserved, a setting of the trainer cannot be kept (see
            `trainer_settings`), or a reward does not exist or does not take its options.
    """
    from peft import LoraConfig
    from trl import GRPOConfig

    check_arguments(GRPOConfig, spec.trainer, "trainer.", tuple(reserved))
    check_arguments(LoraConfig, spec.lora or {}, "lora.")
    trainer_settings.check_kept(spec.trainer)
    limit = spec.trainer.get("max_completion_length", DEFAULTS["max_completion_length"])
    rewards.bind(spec.rewards, spec.reward_options, limit)
