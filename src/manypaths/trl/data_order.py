"""The order of the data after a resume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import TrainerCallback


class DataOrder(TrainerCallback):
    """Gives the epochs of a resumed training the order that they have in one that was never stopped.

    TRL's sampler shuffles each epoch by a generator of its own. No checkpoint holds that generator, so that a training
    resumed in its second epoch would see the order of its first one again.
    """

    def __init__(self) -> None:
        self.sampler: Iterable[int] | None = None  # of the training; None where the data has no length

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
        if self.sampler is None or not state.global_step:
            return
        steps = max(1, -(-len(train_dataloader) // args.gradient_accumulation_steps))  # of an epoch, as transformers
        for _epoch in range(state.global_step // steps):
            next(iter(self.sampler), None)  # the order of an epoch is drawn with its first row
