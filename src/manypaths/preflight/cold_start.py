"""What `manypaths pretrain` makes a model of, whether a recipe has it, and where the model is while it is made."""

from __future__ import annotations

import glob
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manypaths.sections import Pretrain, Recipe

SCRATCH = ".making"  # the end of the name of a folder beside that of the model, while it is made


def check(spec: Recipe) -> None:
    """Raise ValueError for a prompt that demonstrations cannot continue."""
    if not isinstance(spec.prompt, str):
        raise ValueError("prompt must be a text, which demonstrations continue, got messages. Set prompt={question}=.")


def made_of(spec: Recipe) -> dict[str, Any]:
    """All settings that the weights depend on; two recipes with the same ones make the same model."""
    model = {"dtype": spec.model.dtype, "architecture": spec.model.architecture}
    return {
        "model": model if spec.model.architecture is not None else {**model, "name": spec.model.name},
        "problems": asdict(spec.problems),
        "prompt": spec.prompt,
        "pretrain": asdict(spec.pretrain or Pretrain()),
        "seed": spec.seed,
    }


def unfinished(folder: Path) -> list[Path]:
    """The folders in which `manypaths pretrain` makes, or has made until it was killed, the model of a folder."""
    return sorted(path for path in folder.parent.glob(f".{glob.escape(folder.name)}.*{SCRATCH}") if path.is_dir())
