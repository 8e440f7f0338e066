"""The seconds of a training step, part by part."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from manypaths.names import PARTS, SECONDS

if TYPE_CHECKING:
    from manypaths.trl.trainer import DiverseGRPOTrainer


class StepSeconds(TrainerCallback):
    """Puts the seconds of a step, part by part, among the metrics of its trainer."""

    def __init__(self, trainer: DiverseGRPOTrainer) -> None:
        self.trainer, self.began = trainer, 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()
        self.trainer.seconds.clear()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        spent = self.trainer.seconds
        spent["update"] = time.perf_counter() - self.began - sum(spent.values())
        for part in PARTS:
            self.trainer._metrics["train"][SECONDS[part]].append(spent[part])
