"""How a training sampled, as far as files beside its log say: the recipe of a run, or a generation_config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manypaths import run_folder
from manypaths.files import read_json
from manypaths.printable import one_line

GENERATION = "generation_config.json"
NAMES = ("do_sample", "temperature", "top_k", "top_p", "min_p")
LEAST_TEMPERATURE, LEAST_TOP_P, MOST_MIN_P, LEAST_TOP_K = 0.3, 0.5, 0.5, 5  # beyond them decoding is nearly greedy


@dataclass(frozen=True)
class Settings:
    """What is known of the sampling of a training.

    Args:
        limit: tokens at which a completion is cut off; None if unknown.
        masked: whether completions that are cut off are left out of the loss.
        decoding: those of `NAMES` that a file says.
        source: the file that says them, for a sentence; empty for none.
        notes: one sentence for each file that could not be read.
    """

    limit: int | None = None
    masked: bool = False
    decoding: Mapping[str, float | bool] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()


def read_settings(path: Path) -> Settings:
    """The settings of the training whose log is at `path`.

    A run folder's recipe or script comes first. Without one, the generation_config.json of the model beside the log
    counts, which other trainers and servers may sample by.
    """
    folder = path if path.is_dir() else path.parent
    if run_folder.is_recorded(folder):
        return _of_run(folder)
    for candidate in _candidates(folder):
        if candidate.is_file():
            return _of_file(candidate)
    return Settings()


def _of_run(run: Path) -> Settings:
    try:
        content = run_folder.read_recipe_content(run)
    except (ValueError, OSError) as error:
        return Settings(notes=(f"How the run sampled is unknown: {error}",))
    trainer = content.get("trainer")
    if not isinstance(trainer, dict):
        return Settings(notes=("How the run sampled is unknown: its settings have no section trainer.",))
    own = trainer.get("generation_kwargs")
    limit = trainer.get("max_completion_length")
    return Settings(
        limit=limit if isinstance(limit, int) and not isinstance(limit, bool) else None,
        masked=trainer.get("mask_truncated_completions") is True,
        decoding=_numbers({**trainer, **(own if isinstance(own, dict) else {})}),
        source="the settings of the run",
    )


def _candidates(folder: Path) -> list[Path]:
    """Where a trainer leaves the generation_config.json of its model: in the output folder and its checkpoints."""
    roots = [folder, folder.parent] if folder.name == "completions" else [folder]
    places = [root / name for root in roots for name in (GENERATION, f"model/{GENERATION}")]
    for root in roots:
        places += sorted(root.glob(f"checkpoint-*/{GENERATION}"))
    return places


def _of_file(path: Path) -> Settings:
    try:
        content = read_json(path)
    except (ValueError, OSError) as error:
        return Settings(notes=(f"How the training sampled is unknown: {error}",))
    return Settings(decoding=_numbers(content), source=one_line(path))


def _numbers(content: Mapping[str, Any]) -> dict[str, float | bool]:
    values = {name: content.get(name) for name in NAMES}
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, bool) or (isinstance(value, int | float) and math.isfinite(value))
    }


def nearly_greedy(decoding: Mapping[str, float | bool]) -> list[str]:
    """Those settings by which completions of one prompt become copies, such as "top_k 1"; empty for none."""
    temperature, top_k = decoding.get("temperature", 1.0), decoding.get("top_k", 0)
    reasons = {
        "do_sample": decoding.get("do_sample") is False,
        "temperature": temperature < LEAST_TEMPERATURE,
        "top_k": 0 < top_k <= LEAST_TOP_K,
        "top_p": decoding.get("top_p", 1.0) < LEAST_TOP_P,
        "min_p": decoding.get("min_p", 0.0) > MOST_MIN_P,
    }
    return [f"{name} {str(decoding[name]).lower()}" for name, is_greedy in reasons.items() if is_greedy]
