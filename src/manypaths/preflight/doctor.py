"""`manypaths doctor`: one page about this machine, what it can run, and what is missing for the rest."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from manypaths.preflight import machine
from manypaths.preflight.packages import OPTIONAL, PACKAGES, Facts, install, unmet
from manypaths.preflight.readiness import FIRST, GIB, Verdict, broken, gpus, hub_names, size, verdicts

MACHINE, INSTALLED, RUNNABLE = "This machine", "Packages", "What it can run (manypaths train ...)"
WIDTHS = {MACHINE: 18, INSTALLED: 23, RUNNABLE: 45}
CHOICE, UNHIDE = "https://pytorch.org/get-started", "unset CUDA_VISIBLE_DEVICES"
NOTE = """Memory is what `manypaths train RECIPES --dry-run` estimates, which shows its parts; times without a GPU are
rough, and for completions of full length. No model was loaded, and nothing was downloaded."""


@dataclass(frozen=True)
class Finding:
    """One line of the page. `state` is ok or bad; of what can be run it is ready, tight, slow or no."""

    section: str
    name: str
    state: str
    words: str
    remedy: str = ""


def facts(offline: bool = False) -> Facts:
    """The facts of this machine; with `offline` the hub is not contacted."""
    try:
        models, data = hub_names()
    except ModuleNotFoundError:  # without PyYAML no recipe can be read, and none will be judged
        models, data = [], []
    return machine.facts(models, data, offline)


def find(facts: Facts) -> list[Finding]:
    """All findings on the page, from the facts of this machine or of another."""
    runs = [Finding(RUNNABLE, name, *verdict) for name, verdict in verdicts(facts).items()]
    return [*_machine(facts), *_packages(facts), *runs]


def can_start(findings: Iterable[Finding]) -> bool:
    """Whether the quickstart can run."""
    return any(finding.name == FIRST and finding.state != "no" for finding in findings)


def page(findings: Iterable[Finding]) -> str:
    """The findings as text: ! marks what is wrong, and -> what to do."""
    lines: list[str] = []
    last = None
    for finding in findings:
        if finding.section == RUNNABLE and last and (last.words, last.remedy) == (finding.words, finding.remedy):
            finding = dataclasses.replace(finding, words="as above", remedy="")
        else:
            last = finding
        lines += [] if finding.section in lines else ["", finding.section]
        lines += _lines(finding)
    return "\n".join([*lines[1:], "", *textwrap.wrap(" ".join(NOTE.split()), 118)])


def _lines(finding: Finding) -> list[str]:
    """A finding in lines of at most 118 characters; what to do begins a line where it does not fit behind."""
    state = f"{finding.state:<7}" if finding.section == RUNNABLE else ""
    head = f"{'! ' if finding.state == 'bad' else '  '}{finding.name:<{WIDTHS[finding.section]}}{state}"
    remedy = f"-> {finding.remedy}" * bool(finding.remedy)
    texts = [f"{finding.words} {remedy}".strip()]
    texts = [finding.words, remedy] if len(head + texts[0]) > 118 else texts
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    lines = [line for text in texts for line in textwrap.wrap(text, 118 - len(head), **options)]
    return [(" " * len(head) if number else head) + line for number, line in enumerate(lines)]


def as_json(facts: Facts, findings: Iterable[Finding]) -> str:
    """The facts, and the findings that `page` prints, for a bug report."""
    return json.dumps({"facts": facts, "findings": [dataclasses.asdict(finding) for finding in findings]}, indent=2)


def _machine(facts: Facts) -> list[Finding]:
    cores, memory, disk, hub = (facts[key] for key in ("cores", "memory", "disk", "hub"))
    inside = f"{'' if facts['environment'] else 'not '}in a virtual environment"
    about = f"{facts['manypaths']}; Python {facts['python']}, {inside}; {facts['system']}"
    own = ("ok", about, "")
    if not facts["installed"]:
        own = ("bad", f"{about}; not installed, so that the versions it needs are unknown", "pip install '.[train]'")
    unreached = hub["state"] == "unreachable"
    answer = f"cannot be reached: {hub['why']}" if unreached else f"not contacted: {hub['why']}"
    answer = "answers" if hub["state"] == "reachable" else answer
    words = f"{hub['host']} {answer}; {'a' if hub['token'] else 'no'} token"
    if facts["packages"]["pyyaml"]:  # without it no recipe names a model
        words += f"; in the cache, of what the runs below need: {', '.join(facts['cached']) or 'nothing'}"
    remedy = "HF_HUB_OFFLINE=1 keeps runs from waiting for it" if unreached and facts["cached"] else ""
    rows: list[tuple[str, Verdict]] = [
        ("manypaths", own),
        ("cores", ("ok", f"{cores['usable']} of {cores['all']} can be used", "")),
        ("memory", ("ok", f"{size(memory['free'])} free of {size(memory['all'])}", "")),
        ("disk", ("ok", f"{size(disk['here'])} free here, {size(disk['cache'])} where the hub's cache is", "")),
        *(("accelerator", verdict) for verdict in _accelerators(facts)),
        ("processes", _processes(facts)),
        ("Hugging Face hub", ("bad" if unreached else "ok", words, remedy)),
    ]
    return [Finding(MACHINE, name, *verdict) for name, verdict in rows]


def _accelerators(facts: Facts) -> list[Verdict]:
    """Every kind of device, or why torch has none."""
    torch, nvidia = facts["torch"], facts["nvidia"]
    gpu = f"there is an NVIDIA GPU ({', '.join(nvidia['gpus']) or 'nvidia-smi does not answer'})"
    if broken(facts):
        words = f"unknown, because {broken(facts)}" + f"; {gpu}" * nvidia["present"]
        return [("bad", words, install(facts, ["torch"], again=torch is not None))]
    builds = {"CUDA": torch["cuda"], "ROCm": torch["hip"]}
    build = f"torch {torch['version']}"
    build += "".join(f", built for {name} {version}" for name, version in builds.items() if version)
    if torch["devices"]:
        build += f", driver {nvidia['driver']}" * bool(torch["cuda"] and nvidia["driver"])
        alike: dict[str, list[dict[str, Any]]] = {}
        for device in torch["devices"]:
            alike.setdefault(str({**device, "free": None}), []).append(device)
        return [_devices(devices, build) for devices in alike.values()]
    newer = f"a newer driver (here {nvidia['driver'] or 'none answers'}), or an older CUDA: see {CHOICE}"
    with_cuda = f"{install(facts, ['torch'], again=True)}; on Windows, or for an older driver, see {CHOICE}"
    reasons = (  # the first that holds
        (nvidia["present"] and not torch["cuda"], "was built without CUDA", with_cuda),
        (nvidia["present"] and nvidia["hidden"] is not None, "finds none: CUDA_VISIBLE_DEVICES hides it", UNHIDE),
        (nvidia["present"], f"finds none: {torch['refused'] or 'it gives no reason'}", newer),
        (facts["amd"] and not torch["hip"], "was built without ROCm", f"see {CHOICE}"),
    )
    for holds, why, remedy in reasons:
        if holds:
            there = gpu if nvidia["present"] else "there seems to be an AMD GPU"
            return [("bad", f"not used: {there}, but {build} {why}", remedy)]
    return [("ok", f"none; {build}", "")]


def _devices(alike: list[dict[str, Any]], build: str) -> Verdict:
    """One device, or several that differ in nothing but their free memory."""
    device, free = alike[0], [device["free"] for device in alike if device["free"] is not None]
    words = f"{len(alike)} x " * (len(alike) > 1) + f"{device['name']} ({device['kind']}), {size(device['memory'])}"
    words += f", {size(min(free))} of them free" if free else ""
    words += {True: ", with bf16", False: ", without bf16, which it imitates slowly", None: ""}[device["bf16"]]
    words += f"; {build}"
    if device["error"]:
        return "bad", f"{words}; torch cannot compute on it: {device['error']}", f"another build of torch, see {CHOICE}"
    return "ok", words, ""


def _processes(facts: Facts) -> Verdict:
    backends, shared = (facts["torch"] or {}).get("backends", []), facts["disk"]["shm"]
    words = f"torch.distributed has {', '.join(backends) or 'no backend'}"
    if len(gpus(facts)) > 1 and "nccl" not in backends:
        return "bad", f"{words}; several GPUs need nccl", f"another build of torch, see {CHOICE}"
    if len(gpus(facts)) > 1 and shared is not None and shared < GIB:
        return "bad", f"{words}; /dev/shm has {size(shared)}, too little for nccl", "docker run --shm-size=8g"
    return "ok" if backends else "bad", words, ""


def _packages(facts: Facts) -> list[Finding]:
    findings = []
    for name, purpose in PACKAGES.items():
        version, why = facts["packages"][name], unmet(facts, name)
        words = f"{version or 'missing':<14}{purpose}" + f"; {why}" * bool(version and why)
        if name == "vllm" and version and not gpus(facts):
            words += "; without a GPU, manypaths evaluate needs --backend transformers"
        state = "bad" if why and name not in OPTIONAL else "ok"
        findings.append(Finding(INSTALLED, name, state, words, install(facts, [name]) if why else ""))
    return findings
