"""What a method reports about itself while it works, such as MMR's weight on the reward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_reported: ContextVar[defaultdict[str, list[Tensor]] | None] = ContextVar("reported", default=None)


def report(name: str, values: Tensor) -> None:
    """Give a diagnostic of a method: a number for each group [B], or for each completion [B, G].

    For use inside a method, as `mmr` does with its `lam`. groups.jsonl and the page of a run show it, and a trainer
    logs its mean as `diversity/NAME`, as the comparison shows. Whole numbers, such as an order, are not averaged.
    Whatever the method is wrapped in, the report is of what was computed. Outside a trainer it does nothing.
    """
    if (reported := _reported.get()) is not None:
        reported[name].append(values.detach().reshape(values.shape or (1,)))


@contextmanager
def collected() -> Iterator[dict[str, Tensor]]:
    """Collects what methods report within it: name -> values, those of several reports one after another.

    The dictionary is filled when the block ends.
    """
    reported: defaultdict[str, list[Tensor]] = defaultdict(list)
    result: dict[str, Tensor] = {}
    token = _reported.set(reported)
    try:
        yield result
    finally:
        _reported.reset(token)
        result |= {name: values[0] if len(values) == 1 else torch.cat(values) for name, values in reported.items()}
