"""The card of a finished run, written beside its weights."""

from __future__ import annotations

from pathlib import Path

from manypaths import run_folder
from manypaths.files import atomic_write
from manypaths.model_card.text import card
from manypaths.model_card.training import of_run


def write_card(run: Path, name: str | None = None, license: str | None = None) -> Path:
    """Write README.md, the model card, and recipe.yaml into RUN/model.

    Args:
        run: The folder of a run of a recipe, with weights.
        name: The name of the model; None for that of the folder.
        license: An identifier of the hub, such as apache-2.0; None where it is not known.

    Returns:
        The path of the card.

    Raises:
        ValueError: The run has no weights, or a file of it is damaged.
    """
    model = run / run_folder.MODEL
    if not model.is_dir():
        raise ValueError(f"{str(run)!r} must be a run with weights, got no {run_folder.MODEL}/. Finish the training.")
    training = of_run(run, name)
    if training.recipe is not None:
        atomic_write(model / run_folder.RECIPE, training.recipe)
    atomic_write(model / run_folder.CARD, card(training, license))
    return model / run_folder.CARD
