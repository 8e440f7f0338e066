"""How a training sampled and was evaluated, as files beside its log say: of a run, or a generation_config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manypaths import run_folder
from manypaths.check.held_out import NONE, HeldOut, read_held_out
from manypaths.files import read_json
from manypaths.printable import one_line

GENERATION = "generation_config.json"
NAMES = ("do_sample", "temperature", "top_k", "top_p", "min_p")
DAMAGES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, OSError)  # of files with other content
LEAST_TEMPERATURE, LEAST_TOP_P, MOST_MIN_P, LEAST_TOP_K = 0.3, 0.5, 0.5, 5  # beyond them decoding is nearly greedy


@dataclass(frozen=True)
class Settings:
    """What is known of the sampling of a training, and of its evaluation.

    Args:
        limit: tokens at which a completion is cut off; None if unknown.
        masked: whether completions that are cut off are left out of the loss.
        decoding: those of `NAMES` that a file says.
        source: the file that says them, for a sentence; empty for none.
        notes: one sentence for each file that could not be read.
        held_out: the evaluation before the training; None where there is none that can be compared with its start.
        no_held_out: why there is none, a sentence.
    """

    limit: int | None = None
    masked: bool = False
    decoding: Mapping[str, float | bool] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()
    held_out: HeldOut | None = None
    no_held_out: str = NONE


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
    most = trainer.get("max_completion_length")
    limit = most if isinstance(most, int) and not isinstance(most, bool) else None
    decoding = _numbers({**trainer, **(own if isinstance(own, dict) else {})})
    held_out, reason = None, NONE
    try:
        held_out = read_held_out(run, content, decoding, limit)
    except ValueError as error:
        reason = one_line(error)
    except DAMAGES as error:
        reason = f"The evaluation before the training cannot be read ({type(error).__name__}: {one_line(error)})."
    return Settings(
        limit=limit,
        masked=trainer.get("mask_truncated_completions") is True,
        decoding=decoding,
        source="the settings of the run",
        held_out=held_out,
        no_held_out=reason,
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
