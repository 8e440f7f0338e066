"""Whether the shipped recipes can run on a machine, by its facts alone (`manypaths.preflight.machine.facts`).

The machine may be another one. Importing this takes the standard library alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from manypaths.preflight.packages import EVALUATE, METHODS, QUICKSTART, REPORT, TRAIN, Facts, install, unmet

if TYPE_CHECKING:
    from manypaths.preflight.memory import Row
    from manypaths.preflight.shape import Shape
    from manypaths.preflight.workload import Workload
    from manypaths.sections import Recipe

GIB = 2**30
FIRST, EVALUATION = "make quickstart", "(manypaths evaluate MODEL --benchmarks ...)"
RUNS = {  # what the page calls a run: its recipes
    FIRST: "smollm2-135m-pypi dr-grpo none arithmetic quickstart",
    **{name: name for name in ("smollm2-135m grpo mmr gsm8k", "qwen2.5-0.5b-instruct grpo mmr gsm8k")},
    **{name: name for name in ("qwen2.5-1.5b-instruct grpo rgra rgra-gsm8k", "r1-distill-qwen-1.5b grpo mmr mmr-grpo")},
    **{name: name for name in ("r1-distill-qwen-7b grpo mmr mmr-grpo", "r1-distill-llama-8b grpo mmr mmr-grpo")},
}
EVALUATED = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
FIRST_BYTES = 6 * GIB  # 4.5 GiB at its peak on two cores; its prompts are far shorter than those of an estimate
CPU_RATE = 30 * 135e6  # tokens a second and core, times parameters; the runs of docs/results.md had 25 to 40
FITS = 0.9  # of a GPU; the rest is left to CUDA and to fragmentation
COLOCATE, ALONE = "trainer.vllm_mode=colocate", "trainer.use_vllm=false"
WAYS: dict[str, dict[str, Any]] = {"": {}, COLOCATE: {"vllm_mode": "colocate"}, ALONE: {"use_vllm": False}}

Verdict = tuple[str, str, str]  # state (ready, tight, slow or no), description, what to do


def verdicts(facts: Facts) -> dict[str, Verdict]:
    """What can be run: the methods alone, the recipes of `RUNS`, the papers' evaluation, a comparison."""
    methods, compare = ("ready", "from manypaths import mmr", ""), ("ready", "tables, curves, a report", "")
    return {
        "(the methods in your own code)": _blocked(facts, METHODS) or methods,
        **{name: _blocked(facts, TRAIN + QUICKSTART * (name == FIRST)) or _training(facts, name) for name in RUNS},
        EVALUATION: _blocked(facts, EVALUATE) or _evaluating(facts),
        "(manypaths compare, manypaths sweep)": _blocked(facts, REPORT) or compare,
    }


def hub_names() -> tuple[list[str], list[str]]:
    """(models, data sets) of the hub that the runs and the evaluation load; ModuleNotFoundError without PyYAML."""
    from manypaths.problems import BENCHMARKS

    specs = [_plan(name)[0] for name in RUNS]
    models = {EVALUATED, *(spec.model.name for spec in specs), *(spec.embedder.name for spec in specs)}
    data = {*(spec.problems.name for spec in specs), *(benchmark.hub for benchmark in BENCHMARKS.values())}
    return sorted(filter(_on_hub, models)), sorted(filter(_on_hub, data))


def gpus(facts: Facts) -> list[dict[str, Any]]:
    """The devices on which torch computes, the largest first."""
    devices = [gpu for gpu in (facts["torch"] or {}).get("devices", []) if gpu["memory"] and not gpu["error"]]
    return sorted(devices, key=lambda gpu: -float(gpu["memory"]))


def broken(facts: Facts) -> str:
    """That torch is missing or cannot be imported; empty where it can."""
    if facts["torch"] is None:
        return "torch is missing"
    return f"torch cannot be imported: {facts['torch']['error']}" if "error" in facts["torch"] else ""


def size(count: float | None) -> str:
    return "unknown" if count is None else f"{count / GIB:.1f} GiB"


def _blocked(facts: Facts, packages: Iterable[str]) -> Verdict | None:
    """That packages are missing or do not fit, or that torch does not work; None where nothing is in the way."""
    lacking = {name: why for name in packages if (why := unmet(facts, name))}
    if lacking:
        missing = ", ".join(name for name, why in lacking.items() if why == "missing")
        words = [f"missing: {missing}"] if missing else []
        words += [f"{name} is {why}" for name, why in lacking.items() if why != "missing"]
        return "no", "; ".join(words), install(facts, lacking)
    if "torch" in packages and broken(facts):
        return "no", broken(facts), install(facts, ["torch"], again=True)
    return None


@cache
def _plan(name: str) -> tuple[Recipe, Shape, Workload]:
    """Of a run: its recipe, the shape of its model, how much it samples."""
    from manypaths import recipe
    from manypaths.preflight.shape import shape_of
    from manypaths.preflight.workload import workload

    spec = recipe.read(RUNS[name].split())
    shape = shape_of(spec.model.name)
    assert shape is not None, f"{spec.model.name} is not in data/architectures.json"
    return spec, shape, workload(spec)


def _settings(spec: Recipe) -> dict[str, Any]:
    from manypaths.preflight.workload import DEFAULTS

    return {**DEFAULTS, **spec.trainer}


def _rows(name: str, gpu: float, way: str = "") -> list[Row]:
    from manypaths.preflight.memory import memory

    spec, shape, run = _plan(name)
    return memory(dataclasses.replace(spec, trainer={**spec.trainer, **WAYS[way]}), shape, run, gpu)


def _peak(name: str, gpu: float, way: str = "") -> float:
    """Bytes of a run at its peak on a GPU of `gpu` bytes; infinite where vLLM's share does not hold the weights."""
    from manypaths.preflight.memory import peak

    if name == FIRST:
        return FIRST_BYTES
    rows = _rows(name, gpu, way)
    return math.inf if any(row.label == "vLLM" and 0 < row.sampling < rows[0].sampling for row in rows) else peak(rows)


@cache
def _smallest(name: str, way: str) -> float:
    """The smallest GPU, in GiB, on which a run fits."""
    return next((gib for gib in range(1, 1000) if _peak(name, gib * GIB, way) <= FITS * gib * GIB), math.inf)


def _training(facts: Facts, name: str) -> Verdict:
    """The verdict on a run whose packages are installed: from the device first, then from data and disk space."""
    spec = _plan(name)[0]
    state, words, remedy = _on_gpu(facts, name) if gpus(facts) else _on_cpu(facts, name)
    if state == "no":
        return state, words, remedy
    sources = {"model.name": spec.model.name, "embedder.name": spec.embedder.name, "problems.name": spec.problems.name}
    absent = {key: source for key, source in sources.items() if _on_hub(source) and source not in facts["cached"]}
    obstacles = []
    if absent and facts["hub"]["state"] in ("unreachable", "offline"):
        instead = ", ".join(f"{key}={'FILE.jsonl' if key == 'problems.name' else 'FOLDER'}" for key in absent)
        obstacles = [(f"not in the cache, and no hub: {', '.join(absent.values())}", instead)]
    elif absent and facts["hub"]["state"] == "skipped":
        words += "; if the hub can be reached"
    obstacles += _lacking_room(facts, name)
    if obstacles:
        state, words = "no", "; ".join([*(obstacle for obstacle, _ in obstacles), words])
    remedies = [", ".join(mend for _, mend in obstacles if mend), remedy]
    if spec.embedder.options.get("trust_remote_code") and int(facts["packages"]["transformers"].split(".")[0]) > 4:
        words += "; its embedder brings code for transformers 4, which may not load"
        remedies += ["embedder.name=ngram in that case"]
    return state, words, "; ".join(filter(None, remedies))


def _on_hub(name: str) -> bool:
    return "/" in name and not name.startswith("package:")


def _on_gpu(facts: Facts, name: str) -> Verdict:
    """The first way that fits: vLLM as a server on a second GPU, vLLM beside the training, no vLLM."""
    (gpu, *others), ways, remedy = gpus(facts), [""], ""
    served, on_cuda = bool(_plan(name)[0].trainer.get("use_vllm")), gpu["kind"] == "cuda"
    if served and on_cuda and not unmet(facts, "vllm"):
        ways = [*[""] * bool(others), COLOCATE, ALONE]
    elif served:
        ways, remedy = [ALONE], f"{install(facts, ['vllm'])} for faster sampling" * on_cuda
    peaks = {way: _peak(name, gpu["memory"], way) for way in ways}
    way = next((way for share in (FITS, 1) for way, peak in peaks.items() if peak <= share * gpu["memory"]), None)
    if way is None:
        words = f"needs a GPU of about {min(_smallest(name, way) for way in ways):.0f} GiB; "
        words += f"this one has {size(gpu['memory'])}"
        words += f"; in shards over {1 + len(others)} it may fit, which is not estimated" * bool(others)
        return "no", words, "--launch zero3" * bool(others)
    words = f"about {size(peaks[way])} of {size(gpu['memory'])}" + f", with {way}" * bool(way)
    words += ", and another GPU for vLLM as a server" * (served and not way)
    if gpu["free"] is not None and gpu["free"] < peaks[way]:
        words += f"; only {size(gpu['free'])} are free now"
    words += f"; never tried on {gpu['kind']}" * (not on_cuda)
    return "ready" if peaks[way] <= FITS * gpu["memory"] else "tight", words, remedy


def _on_cpu(facts: Facts, name: str) -> Verdict:
    """The time for completions of full length, where the memory is enough."""
    spec, shape, run = _plan(name)
    cores, memory, peak = facts["cores"]["usable"], facts["memory"]["all"] or math.inf, _peak(name, 80 * GIB, ALONE)
    tokens = run.generations * run.generation * _settings(spec)["max_completion_length"]
    words = f"about {_duration(tokens * shape.parameters / (CPU_RATE * cores))} on {cores} core{'s' * (cores > 1)}"
    if name == FIRST:
        return ("no", f"needs {size(peak)} of memory", "") if memory < peak else ("ready", words, "")
    gpu = f"needs a GPU of about {_smallest(name, ALONE):.0f} GiB"
    if memory < peak:
        return "no", f"{gpu}, and torch has none here; without one, {size(peak)} of memory", ""
    words += f", with {ALONE}" * bool(spec.trainer.get("use_vllm"))
    return "slow", f"up to {words}; to be fast it {gpu}", "trainer.max_steps=5 shows that it works"


def _duration(seconds: float) -> str:
    units = (("years", 365 * 86400), ("days", 86400), ("hours", 3600))
    unit, length = next(((unit, length) for unit, length in units if seconds >= 2 * length), ("minutes", 60))
    return f"{max(2, math.ceil(seconds / length)):,} {unit}"


def _lacking_room(facts: Facts, name: str) -> list[tuple[str, str]]:
    """(what the disk or the memory is too small for, what to do): the download, checkpoints, weights being loaded."""
    spec, shape, run = _plan(name)
    settings, model, disk = _settings(spec), spec.model.name, facts["disk"]
    rows = {row.label: row.sampling for row in _rows(name, 80 * GIB)}
    saves = math.ceil((run.steps or 0) / settings["save_steps"]) if settings["save_strategy"] == "steps" else 0
    checkpoints = 1.5 * rows["AdamW"] * saves  # what is trained, and two moments of each
    download = 2 * shape.parameters if _on_hub(model) and model not in facts["cached"] else 0
    weights = rows["weights"] if gpus(facts) else 0
    needs = (
        ("the download takes", download, "the cache's disk has", disk["cache"], "HF_HOME=FOLDER in the environment"),
        (f"{saves} checkpoints take", checkpoints, "the disk has", disk["here"], "trainer.save_total_limit=1"),
        ("the weights take", weights, "on their way to the GPU memory has", facts["memory"]["all"], ""),
    )
    return [
        (f"{demand} {size(need)}, {place} {size(room)}", remedy)
        for demand, need, place, room, remedy in needs
        if room is not None and need > room
    ]


def _evaluating(facts: Facts) -> Verdict:
    """The papers' evaluation of a model of 1.5 B: 16 completions of up to 32,768 tokens for each problem."""
    from manypaths.preflight.memory import evaluation_bytes
    from manypaths.preflight.shape import shape_of
    from manypaths.problems import BENCHMARKS

    shape, has_vllm, devices = shape_of(EVALUATED), not unmet(facts, "vllm"), gpus(facts)
    assert shape is not None
    if not devices:
        state, words = "slow", "needs a GPU to be fast: 16 completions of up to 32,768 tokens for each problem"
        remedy = "--samples 1 --max-new-tokens 1024 --limit 20" + " --backend transformers" * has_vllm
    elif has_vllm:
        state, words, remedy = "ready", "a model of 1.5 B with vLLM", ""
    else:
        state, words = "slow", "a model of 1.5 B with transformers, 32 completions at a time"
        remedy = f"{install(facts, ['vllm'])} for faster sampling" * (devices[0]["kind"] == "cuda")
    need = 2 * shape.parameters + evaluation_bytes(shape, 1 if has_vllm else 32, 32768, 2)
    if devices and need > FITS * devices[0]["memory"]:
        words += f", needs a GPU of about {need / FITS / GIB:.0f} GiB; this one has {size(devices[0]['memory'])}"
        return "no", words, "; ".join(filter(None, ["--batch-size 4" * (not has_vllm), remedy]))
    absent = {EVALUATED, *(benchmark.hub for benchmark in BENCHMARKS.values())} - {*facts["cached"]}
    if absent and facts["hub"]["state"] in ("unreachable", "offline"):
        words = f"not in the cache, and no hub: {len(absent)} of the model and the benchmarks; {words}"
        return "no", words, "; ".join(filter(None, ["a folder as MODEL, --data-dir FOLDER", remedy]))
    return state, words, remedy
