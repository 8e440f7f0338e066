"""Model cards of TRL's GRPOTrainer that say what manypaths did."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from trl import GRPOTrainer

from manypaths import run_folder
from manypaths.environment import environment
from manypaths.files import atomic_write
from manypaths.model_card.text import sections
from manypaths.model_card.training import Training, of_run
from manypaths.printable import one_line
from manypaths.trl.described import settings_of


class ModelCardGRPOTrainer(GRPOTrainer):
    """GRPOTrainer whose model card goes on, after TRL's own text, with the method, its options and the accuracy.

    The accuracy is that of `manypaths.callbacks.EvaluateProblems`, or of `manypaths train`. `save_model` writes the
    card beside the weights; checkpoints and `push_to_hub` have it as in TRL.
    """

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """Write `output_dir`/README.md; the arguments are TRL's."""
        tags = [tags] if isinstance(tags, str) else list(tags or [])
        super().create_model_card(model_name=model_name, dataset_name=dataset_name, tags=[*tags, "manypaths"])
        if self.is_world_process_zero():
            path = Path(self.args.output_dir, run_folder.CARD)
            text = path.read_text("utf-8").rstrip()
            atomic_write(path, f"{text}\n\n# Training with manypaths\n\n{sections(self._trained(path.parent.name))}")

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model as in TRL, and its card beside it."""
        super().save_model(output_dir, _internal_call)
        if _internal_call:
            return
        folder = Path(output_dir or self.args.output_dir)
        self.create_model_card(model_name=folder.name)
        if self.is_world_process_zero() and folder.resolve() != Path(self.args.output_dir).resolve():
            shutil.copyfile(Path(self.args.output_dir, run_folder.CARD), folder / run_folder.CARD)

    def _trained(self, name: str) -> Training:
        """What is known of the training: from the folder of the callbacks, else from the trainer alone.

        A folder whose last evaluation is of another step than these weights has the records of another training.
        """
        steps = self.state.global_step
        runs: list[Any] = [getattr(callback, "run", None) for callback in self.callback_handler.callbacks]
        for run in runs:
            if isinstance(run, Path) and run_folder.is_recorded(run):
                try:
                    training = of_run(run, name)
                    if (last := training.evaluations.get("after", {}).get("step", steps)) == steps:
                        return replace(training, steps=steps)
                    print(
                        f"The model card has no results: {run} has those of step {last}, not {steps}.", file=sys.stderr
                    )
                except (ValueError, OSError) as error:
                    print(f"The model card has no results: {one_line(error)}", file=sys.stderr)
        settings = settings_of(self, self.state)
        return Training(name, settings, environment(), steps=steps)
