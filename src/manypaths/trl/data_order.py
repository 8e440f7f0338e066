"""Where training is in the data, and the order of the data after a resume."""

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


class Position(TrainerCallback):
    """Where training is in the data, beside `state.global_step`."""

    def __init__(self) -> None:
        self.begun = 0  # the step with which the data began anew, where a resumed training does not skip what it saw
        self.substep = 0  # of the gradient accumulation

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self.begun = state.global_step if args.ignore_data_skip else 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.substep = 0

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        self.substep += 1
