"""What `manypaths pretrain` makes a model of, whether a recipe has it, and where the model is while it is made."""

from __future__ import annotations

import glob
from dataclasses import asdict
from pathlib import Path
from typing import Any

from manypaths.sections import Pretrain, Problems, Recipe

SCRATCH = ".making"  # the end of the name of a folder beside that of the model, while it is made


def demonstrated(spec: Recipe) -> Problems:
    """The set of the problems that are demonstrated: that of the section `pretrain`, or else that of the training."""
    return spec.pretrain.problems if spec.pretrain and spec.pretrain.problems else spec.problems


def check(spec: Recipe) -> None:
    """Raise ValueError for a prompt that demonstrations cannot continue, and for held-out problems to demonstrate."""
    if not isinstance(spec.prompt, str):
        raise ValueError("prompt must be a text, which demonstrations continue, got messages. Set prompt={question}=.")
    shown = demonstrated(spec)
    if shown.options.get("held_out"):
        key = "problems" if shown is spec.problems else "pretrain.problems"
        raise ValueError(
            f"{key}.options.held_out must be false, got {shown.options['held_out']!r}: the held-out problems are for "
            "evaluations, which could no longer tell what is known by heart. Leave it out."
        )


def made_of(spec: Recipe) -> dict[str, Any]:
    """All settings that the weights depend on; two recipes with the same ones make the same model."""
    model = {"dtype": spec.model.dtype, "architecture": spec.model.architecture}
    pretrain = asdict(spec.pretrain or Pretrain())
    return {
        "model": model if spec.model.architecture is not None else {**model, "name": spec.model.name},
        "problems": asdict(demonstrated(spec)),
        "prompt": spec.prompt,
        "pretrain": {name: value for name, value in pretrain.items() if name != "problems"},
        "seed": spec.seed,
    }


def unfinished(folder: Path) -> list[Path]:
    """The folders in which `manypaths pretrain` makes, or has made until it was killed, the model of a folder."""
    return sorted(path for path in folder.parent.glob(f".{glob.escape(folder.name)}.*{SCRATCH}") if path.is_dir())
