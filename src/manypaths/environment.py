"""The environment of a run: the versions of packages, the commit and the hardware."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

PACKAGES = ("manypaths", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "sentence-transformers")
LAUNCH = ("WORLD_SIZE", "ACCELERATE_", "FSDP_")  # environment variables of the launcher: processes and shards
PACKAGE = Path(__file__).resolve().parent


def environment() -> dict[str, Any]:
    """The environment of this process, as environment.json holds it: versions, commit, hardware, launcher."""
    import torch

    return {
        "versions": {name: installed_version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "launch": {key: os.environ[key] for key in sorted(os.environ) if key.startswith(LAUNCH)},
        "commit": commit(),
    }


def cpu(listed: Path = Path("/proc/cpuinfo")) -> str | None:
    """The name of the processor; None where the system does not say it.

    Args:
        listed: The file in which Linux lists its processors.
    """
    with contextlib.suppress(OSError, UnicodeDecodeError):
        for line in listed.read_text("utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or None


def installed_version(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit(package: Path = PACKAGE) -> str | None:
    """The commit of this package: the one that pip installed, or that of its checkout; None for any other package.

    Args:
        package: The folder src/manypaths of a checkout. It may lie in an environment inside the repository of another
            project, whose commit is not returned.
    """
    with contextlib.suppress(OSError, ValueError, PackageNotFoundError):
        origin = json.loads(distribution("manypaths").read_text("direct_url.json") or "{}")
        if installed := origin.get("vcs_info", {}).get("commit_id"):
            return str(installed)
    command = ["git", "-C", str(package), "rev-parse", "--show-toplevel", "HEAD"]
    with contextlib.suppress(OSError):  # there is no git
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        if len(lines) == 2 and Path(lines[0], "src", "manypaths").resolve() == package:
            return lines[1]
    return None
