"""`manypaths doctor`: one page about this machine, what it can run, and what is missing for the rest."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from manypaths.preflight import machine
from manypaths.preflight.readiness import (
    CHOICE,
    FIRST,
    GIB,
    OPTIONAL,
    PACKAGES,
    Facts,
    Verdict,
    broken,
    can_compare_versions,
    gpus,
    hub_names,
    install,
    size,
    verdicts,
    wrong,
)

MACHINE, INSTALLED, RUNNABLE = "This machine", "Packages", "What it can run (manypaths train ...)"
NOTE = """Memory is what `manypaths train RECIPES --dry-run` estimates, which shows its parts; times without a GPU are
rough, and for answers of full length. No model was loaded, and nothing was downloaded."""


@dataclass(frozen=True)
class Finding:
    """One line of the page. `state` is ok or bad; of what can be run it is ready, tight, slow or no."""

    section: str
    name: str
    state: str
    words: str
    remedy: str = ""


def facts(offline: bool = False) -> Facts:
    """The facts of this machine; with `offline` the hub is not asked."""
    try:
        models, data = hub_names()
    except ModuleNotFoundError:  # without PyYAML no recipe can be read, and none will be judged
        models, data = [], []
    return machine.facts(PACKAGES, models, data, offline)


def find(facts: Facts) -> list[Finding]:
    """Everything that the page says, of this machine or of another."""
    runs = [Finding(RUNNABLE, name, *verdict) for name, verdict in verdicts(facts).items()]
    return [*_machine(facts), *_packages(facts), *runs]


def can_start(findings: Iterable[Finding]) -> bool:
    """Whether the quickstart can run."""
    return any(one.name == FIRST and one.state != "no" for one in findings)


def page(findings: Iterable[Finding]) -> str:
    """The findings as text: what is wrong has a mark before it, and what to do an arrow."""
    lines: list[str] = []
    widths = {MACHINE: 18, INSTALLED: 23, RUNNABLE: 45}
    last = None
    for one in findings:
        if one.section == RUNNABLE and last and (last.words, last.remedy) == (one.words, one.remedy):
            one = dataclasses.replace(one, words="as above", remedy="")
        else:
            last = one
        lines += [] if one.section in lines else ["", one.section]
        mark = "! " if one.state == "bad" else "  "
        state = f"{one.state:<7}" if one.section == RUNNABLE else ""
        head = f"{mark}{one.name:<{widths[one.section]}}{state}"
        remedy = f"-> {one.remedy}" if one.remedy else ""
        texts = [one.words, remedy] if len(f"{head}{one.words} {remedy}") > 118 else [f"{one.words} {remedy}".strip()]
        for text in texts:
            wrapped = textwrap.wrap(text, 118 - len(head), break_long_words=False, break_on_hyphens=False)
            lines += [(head if text is texts[0] and line is wrapped[0] else " " * len(head)) + line for line in wrapped]
    return "\n".join([*lines[1:], "", *textwrap.wrap(" ".join(NOTE.split()), 118)])


def as_json(facts: Facts, findings: Iterable[Finding]) -> str:
    """The facts, and the findings that `page` prints, for a report of a bug."""
    return json.dumps({"facts": facts, "findings": [dataclasses.asdict(one) for one in findings]}, indent=2)


def _machine(facts: Facts) -> list[Finding]:
    cores, memory, disk, hub = (facts[key] for key in ("cores", "memory", "disk", "hub"))

    def say(name: str, words: str, state: str = "ok", remedy: str = "") -> Finding:
        return Finding(MACHINE, name, state, words, remedy)

    inside = f"{'' if facts['environment'] else 'not '}in a virtual environment"
    unreached = hub["state"] == "unreachable"
    reached = f"{hub['host']} cannot be reached: {hub['why']}" if unreached else f"not asked: {hub['why']}"
    reached = f"{hub['host']} answers" if hub["state"] == "reachable" else reached
    words = f"{reached}; {'a' if hub['token'] else 'no'} token"
    if facts["packages"]["pyyaml"]:  # without it nobody knows what to look for
        words += f"; in the cache, of what the runs below ask for: {', '.join(facts['cached']) or 'nothing'}"
    remedy = "HF_HUB_OFFLINE=1 keeps runs from waiting for it" if unreached and facts["cached"] else ""
    return [
        say("manypaths", f"{facts['manypaths']}; Python {facts['python']}, {inside}; {facts['system']}"),
        say("cores", f"{cores['usable']} of {cores['all']} can be used"),
        say("memory", f"{size(memory['free'])} free of {size(memory['all'])}"),
        say("disk", f"{size(disk['here'])} free here, {size(disk['cache'])} where the hub's cache is"),
        *(say("accelerator", words, state, remedy) for state, words, remedy in _accelerators(facts)),
        say("processes", *_processes(facts)),
        say("Hugging Face hub", words, "bad" if unreached else "ok", remedy),
    ]


def _accelerators(facts: Facts) -> list[Verdict]:
    """Each device, or why there is none."""
    torch, nvidia = facts["torch"], facts["nvidia"]
    gpu = f"an NVIDIA GPU ({', '.join(nvidia['gpus']) or 'nvidia-smi does not tell which'})"
    if broken(facts):
        there = f"; there is {gpu}" if nvidia["present"] else ""
        return [("bad", f"unknown, for {broken(facts)}{there}", install(facts, ["torch"], again=torch is not None))]
    build = f"torch {torch['version']}"
    built = {"CUDA": torch["cuda"], "ROCm": torch["hip"]}
    build += "".join(f", built for {name} {version}" for name, version in built.items() if version)
    if torch["devices"]:
        driver = f", driver {nvidia['driver']}" if torch["cuda"] and nvidia["driver"] else ""
        alike: dict[str, list[dict[str, Any]]] = {}
        for each in torch["devices"]:
            alike.setdefault(str({**each, "free": None}), []).append(each)
        return [_devices(each, build + driver) for each in alike.values()]
    if nvidia["present"] and not torch["cuda"]:
        remedy = f"{install(facts, ['torch'], again=True)}; on Windows, or for an older driver, see {CHOICE}"
        return [("bad", f"not used: there is {gpu}, but {build} was built without CUDA", remedy)]
    if nvidia["present"]:
        hidden = f"CUDA_VISIBLE_DEVICES is {nvidia['hidden']!r}" if nvidia["hidden"] is not None else ""
        why = hidden or " ".join([torch.get("refused") or "", *torch["warned"]]).strip() or "it does not say why"
        newer = f"a newer driver (here {nvidia['driver'] or 'none answers'}), or an older CUDA: see {CHOICE}"
        remedy = "unset CUDA_VISIBLE_DEVICES" if hidden else newer
        return [("bad", f"not used: there is {gpu}, but {build} has none: {why}", remedy)]
    if facts["amd"] and not torch["hip"]:
        return [("bad", f"not used: there seems to be an AMD GPU, but {build} was built without ROCm", f"see {CHOICE}")]
    return [("ok", f"none; {build}", "")]


def _devices(alike: list[dict[str, Any]], build: str) -> Verdict:
    """One device, or several that differ in nothing but what is free on them."""
    device, free = alike[0], [each["free"] for each in alike if each["free"] is not None]
    words = f"{len(alike)} x " * (len(alike) > 1) + f"{device['name']} ({device['kind']}), {size(device['memory'])}"
    words += f", {size(min(free))} of them free" if free else ""
    words += {True: ", with bf16", False: ", without bf16, which it imitates slowly", None: ""}[device["bf16"]]
    words += f"; {build}"
    if device["error"]:
        return "bad", f"{words}; torch cannot compute on it: {device['error']}", f"another build of torch, see {CHOICE}"
    return "ok", words, ""


def _processes(facts: Facts) -> Verdict:
    torch, shared = facts["torch"] or {}, facts["disk"]["shm"]
    backends, several = torch.get("backends", []), len(gpus(facts)) > 1
    words = f"torch.distributed has {', '.join(backends) or 'no backend'}; "
    words += "a loopback port is free" if facts["port"] else "no loopback port can be had"
    if several and "nccl" not in backends:
        return words + "; several GPUs ask for nccl", "bad", f"another build of torch, see {CHOICE}"
    if several and shared is not None and shared < GIB:
        return f"{words}; /dev/shm has {size(shared)}, too little for nccl", "bad", "docker run --shm-size=8g"
    return words, "ok" if facts["port"] and backends else "bad", ""


def _packages(facts: Facts) -> list[Finding]:
    found = []
    for name, purpose in PACKAGES.items():
        here, why = facts["packages"][name], wrong(facts, name)
        words = f"{here or 'missing':<14}{purpose}" + f"; {why}" * bool(here and why)
        if name == "vllm" and here and not gpus(facts):
            words += "; without a GPU, manypaths evaluate asks for --backend transformers"
        state = "bad" if why and name not in OPTIONAL else "ok"
        found.append(Finding(INSTALLED, name, state, words, install(facts, [name]) if why else ""))
    if not facts["asked"].get("manypaths"):
        words = "not installed but found, so that nobody knows the versions it asks for"
        found.append(Finding(INSTALLED, "manypaths", "bad", words, "pip install '.[train,compare]', in a clone"))
    if not can_compare_versions():
        words = "missing       telling whether the others are new enough"
        found.append(Finding(INSTALLED, "packaging", "bad", words, "pip install packaging"))
    return found
