"""Where training is in the data, and the order of the data after a resume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from transformers import TrainerCallback


class DataOrder(TrainerCallback):
    """Gives the epochs of a resumed training the order that they have in an uninterrupted training.

    TRL's sampler shuffles each epoch with its own random generator, which no checkpoint holds. Without this callback a
    training that is resumed in its second epoch would repeat the order of the first.
    """

    def __init__(self) -> None:
        self.sampler: Iterable[int] | None = None  # of the training data; None if the data has no length

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
        if self.sampler is None or not state.global_step:
            return
        steps = max(
            1, -(-len(train_dataloader) // args.gradient_accumulation_steps)
        )  # of an epoch, as transformers counts them
        for _epoch in range(state.global_step // steps):
            next(iter(self.sampler), None)  # the sampler draws the order of an epoch with its first row


class Position(TrainerCallback):
    """Counts the place of the training in the data, which `state.global_step` does not hold."""

    def __init__(self) -> None:
        self.begun = 0  # step at which the data started: above 0 in a resumed training with `ignore_data_skip`
        self.substep = 0  # micro-step of the gradient accumulation

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self.begun = state.global_step if args.ignore_data_skip else 0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.substep = 0

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        self.substep += 1
