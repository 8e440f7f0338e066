"""What a method reports about itself while it works, such as MMR's weight on the reward."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from manypaths.names import DIAGNOSTICS, METRICS

_reported: ContextVar[defaultdict[str, list[Tensor]] | None] = ContextVar("reported", default=None)


def report(name: str, values: Any) -> None:
    """Give a diagnostic of a method: a number for each group [B], or for each completion [B, G].

    For use inside a method, as `mmr` does with its `lam`. groups.jsonl and the page of a run show it, and a trainer
    logs its mean as `diversity/NAME`, as the comparison shows. Whole numbers, such as an order, are not averaged.
    Whatever the method is wrapped in, the report is of what was computed. Outside a trainer it does nothing.

    Args:
        name: not the name of a metric of `manypaths.names.METRICS`. Pages show one of `manypaths.names.REPORTED` with
            the words there.
        values: a tensor, or numbers of which one can be made. Several reports of one name are joined along B.

    Raises:
        ValueError: for the name of a metric, what is no number, and several reports of which the shapes do not fit.
    """
    if not isinstance(name, str) or not name or DIAGNOSTICS + name in METRICS:
        raise ValueError(f"A diagnostic must have a name of its own, got {name!r}, which is a metric or no name.")
    if (reported := _reported.get()) is None:
        return
    try:
        tensor = torch.as_tensor(values).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"Diagnostic {name!r} must be numbers, got {type(values).__name__}: {error}.") from error
    tensor = tensor.reshape(tensor.shape or (1,))
    if name in reported and tensor.shape[1:] != reported[name][0].shape[1:]:
        shapes = f"{list(reported[name][0].shape)} and {list(tensor.shape)}"
        raise ValueError(f"Diagnostic {name!r} must have one shape, [B] or [B, G], got {shapes}. Name one otherwise.")
    reported[name].append(tensor)


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
