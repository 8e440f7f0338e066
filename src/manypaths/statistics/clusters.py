"""Seeds that share a start, such as one cold start from which several seeds were trained."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy

from manypaths.statistics.means import Array

Name = TypeVar("Name", bound=Hashable)


def average_clusters(cells: Any, clusters: Sequence[Name]) -> tuple[Array, list[Name]]:
    """The means over the seeds of each start, which take the place of seeds in `estimate`.

    Seeds from one start share its luck and are not independent of one another. After this the start is the random unit:
    C starts are C independent rows, and the interval has C - 1 degrees of freedom, however many seeds they have. The
    spread between seeds of one start adds to the spread between starts and is measured with it. Each start has the same
    weight. Starts with different numbers of seeds therefore give another mean than the one over all seeds, and a start
    with few seeds is noisier than the others; the estimated variance of the mean remains unbiased.

    Args:
        cells: [S, ...] by seed, such as [S, P] shares of problems or [S, T, P] with steps.
        clusters: [S] names of the starts; None is a start of its own for each seed that has it.

    Returns:
        The means [C, ...], and the C names, in the order of their first seeds.

    Raises:
        ValueError: There is not one name for each seed.
    """
    cells = numpy.asarray(cells, float)
    if len(cells) != len(clusters):
        raise ValueError(f"clusters must name the start of each of {len(cells)} seeds, got {len(clusters)} names.")
    members: dict[Hashable, list[int]] = {}
    for seed, name in enumerate(clusters):
        members.setdefault((name, seed if name is None else None), []).append(seed)
    means = numpy.stack([cells[seeds].mean(0) for seeds in members.values()]) if members else cells
    return means, [clusters[seeds[0]] for seeds in members.values()]
