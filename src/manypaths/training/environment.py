"""What varied besides the recipe: the versions, the commit and the hardware of a run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("manypaths", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "sentence-transformers")
LAUNCH = ("WORLD_SIZE", "ACCELERATE_", "FSDP_")  # variables that say how many processes there are, and what shards them
HERE = Path(__file__).resolve().parent.parent


def environment() -> dict[str, Any]:
    """Versions, commit and hardware of this process."""
    installed = {package.metadata["Name"]: package.version for package in distributions()}
    return {
        "versions": {name: installed.get(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "launch": {key: os.environ[key] for key in sorted(os.environ) if key.startswith(LAUNCH)},
        "commit": commit(),
    }


def commit(package: Path = HERE) -> str | None:
    """The commit of this package: of its own checkout, or that pip installed; None where neither is known.

    The package may lie in an environment inside a repository of somebody else's, whose commit says nothing of it.
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
