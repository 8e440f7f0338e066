"""Files of our own in the checkpoints of TRL's GRPOTrainer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from trl import GRPOTrainer


class Stateful(Protocol):
    """What goes into a checkpoint and comes back from it; `state_dict` is equal in all processes."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class CheckpointStateGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with one change: each checkpoint has a file for each of `checkpoint_states`.

    The main process writes them, and every process reads them when it resumes.

    Raises:
        ValueError: while resuming, for a checkpoint without one of the files.
    """

    def __init__(self, *host: Any, **named_host: Any) -> None:
        super().__init__(*host, **named_host)
        self.checkpoint_states: dict[str, tuple[Stateful, str]] = {}  # name of the file -> state, what it is

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """The files are written before the state of the trainer, whose presence says that a checkpoint is complete."""
        super()._save_optimizer_and_scheduler(output_dir)
        for file, (own, _) in self.checkpoint_states.items() if self.args.should_save else ():
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            torch.save(own.state_dict(), Path(output_dir) / file)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        for file, (own, content) in self.checkpoint_states.items() if checkpoint is not None else ():
            path = Path(str(checkpoint)) / file
            if not path.is_file():
                raise ValueError(
                    f"{path} must hold {content}, and is missing. Resume with the settings with which the training "
                    "began, or from a checkpoint that has the file."
                )
            own.load_state_dict(torch.load(path, weights_only=True))
