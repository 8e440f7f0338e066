"""pass@K at equal accuracy: whether a configuration has more of it than the baseline has where that is as accurate.

Training raises accuracy, and from some point on lowers pass@K. So whatever learns more slowly ends with more pass@K: a
lower learning rate, or fewer steps. A difference at the end therefore does not tell a method from a shorter way along
the same path. Here both are read where they first reach the same accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.contents import LEAST_STEPS, Comparison
from manypaths.comparison.curves import isotonic, steps_to_target
from manypaths.comparison.differences import bounds, finite, pair_up
from manypaths.statistics import Array, estimate, p_value

NEAR = 2  # evaluations on either side of a step from which the slope of a path is taken


@dataclass
class Path:
    """Accuracy, and another measure of the same completions, at the same steps."""

    accuracy: Configuration
    measure: Configuration

    @property
    def is_long(self) -> bool:
        """Whether both are of the same problems, and there are enough evaluations."""
        has_problems = not (self.accuracy.means_only.any() or self.measure.means_only.any())
        is_same = self.accuracy.values.shape == self.measure.values.shape
        return has_problems and is_same and len(self.accuracy.steps) >= LEAST_STEPS

    @property
    def curves(self) -> Curves:
        """The two curves, [1, T] each."""
        return Curves(self.accuracy.steps, self.accuracy.means[None], self.measure.means[None])

    def without_each(self) -> Curves:
        """The two curves without each of the S units, [S, T] each."""
        curves = []
        for side in (self.accuracy, self.measure):
            of_units = side.values @ side.weights
            curves.append((of_units.sum(0) - of_units) / (len(of_units) - 1))
        return Curves(self.accuracy.steps, *curves)

    def cells(self, step: float, slope: float) -> Array:
        """[S, P] the measure at a step, minus `slope` times how far accuracy there is from its mean.

        A seed or a problem that raises accuracy moves the place where the path is read, and by that the measure.
        """
        accuracies, values = (self._at(side, step) for side in (self.accuracy, self.measure))
        cells: Array = values - slope * (accuracies - accuracies.mean(0) @ self.accuracy.weights)
        return cells

    def _at(self, side: Configuration, step: float) -> Array:
        """[S, P] the values at a step, on lines between the evaluations."""
        after = _line(side.steps, numpy.array([step]))[0]
        part = (step - side.steps[after - 1]) / (side.steps[after] - side.steps[after - 1])
        values: Array = (1 - part) * side.values[:, after - 1] + part * side.values[:, after]
        return values


@dataclass
class Curves:
    """D paths: accuracies and another measure [D, T] at T steps."""

    steps: Array
    accuracies: Array
    measures: Array

    def repeated(self, times: int) -> Curves:
        """Itself, or a single path as often as there are others."""
        of = (1 if len(self.accuracies) == times else times, 1)
        return Curves(self.steps, numpy.tile(self.accuracies, of), numpy.tile(self.measures, of))

    @property
    def rising(self) -> Array:
        """[D, T] the accuracies after isotonic regression."""
        return isotonic(self.accuracies)

    def reaches(self, accuracies: Array) -> Array:
        """The step at which each path first has an accuracy of its own, [D] -> [D]."""
        return steps_to_target(self.accuracies, self.steps, accuracies, len(self.steps) - 1)

    def read(self, steps: Array) -> Array:
        """The measure of each path at a step of its own, [D] -> [D], on lines between the evaluations."""
        after, rows = _line(self.steps, steps), numpy.arange(len(steps))
        part = (steps - self.steps[after - 1]) / (self.steps[after] - self.steps[after - 1])
        value: Array = (1 - part) * self.measures[rows, after - 1] + part * self.measures[rows, after]
        return value

    def slope(self, step: float) -> float:
        """How much the measure of the first path changes for an accuracy higher by 1: a line near a step."""
        after = int(_line(self.steps, numpy.array([step]))[0])
        near = slice(max(0, after - NEAR), after + NEAR)
        rises = self.rising[0, near] - self.rising[0, near].mean()
        squares = float(rises @ rises)
        return float(rises @ self.measures[0, near]) / squares if squares > 0 else 0.0


def _line(steps: Array, at: Array) -> NDArray[numpy.int64]:
    """[D] index of the evaluation that ends the line on which a step lies."""
    return numpy.clip(numpy.searchsorted(steps, at), 1, len(steps) - 1)


def at_equal_accuracy(path: Path, base: Path, wish: bool | None) -> Comparison:
    """The difference in a measure between two configurations where both first reach the same accuracy.

    The accuracy is the lower one of the highest values of both curves of accuracy, after isotonic regression. Between
    two evaluations a path is a line.

    The interval is that of a difference between two means. How much a seed moves the difference is taken from the
    difference without this seed (the jackknife), and how much a problem does to first order (the delta method): the
    path that goes on beyond this accuracy is read elsewhere if a problem moves the accuracy of either.

    Args:
        path: Of the configuration.
        base: Of the baseline.
        wish: As `manypaths.comparison.differences.pair_up` takes it.

    Returns:
        `value`, `low` and `high` of the difference, in the unit of the measure, and its `p`; `accuracy`, a share, and
        `step` and `baseline_step`, at which the two reach it. All are None if one of the two was evaluated fewer than
        `LEAST_STEPS` times, or if accuracy and the measure are not of the same problems.
    """
    if not (path.is_long and base.is_long):
        return dict.fromkeys(("value", "low", "high", "p", "accuracy", "step", "baseline_step"))
    accuracy, base_accuracy, paired = pair_up(path.accuracy, base.accuracy, wish)
    measure, base_measure, _ = pair_up(path.measure, base.measure, wish)
    sides = (Path(accuracy, measure), Path(base_accuracy, base_measure))
    curves = (sides[0].curves, sides[1].curves)
    level, steps, _ = _read_both(*curves)
    further = int(numpy.argmax([side.rising[0, -1] for side in curves]))
    slope = curves[further].slope(float(steps[further][0]))
    means = []
    for number, side in enumerate(sides):
        cells = side.cells(float(steps[number][0]), slope)
        if len(cells) > 1:
            pair = [*curves]
            pair[number] = side.without_each()
            own, other = _read_both(*pair)[2]
            moves = (len(cells) - 1) * ((own - other).mean() - (own - other)) * (1 if number == 0 else -1)
            of_units = cells @ side.measure.weights
            cells = cells + (moves - (of_units - of_units.mean()))[:, None]
        means.append(estimate(cells, side.measure.blocks, side.measure.means_only))
    return {
        **bounds(path.measure.scale, means[0], means[1], paired),
        "p": finite(p_value(means[0], means[1], paired=paired)),
        "accuracy": float(level[0]),
        "step": float(steps[0][0]),
        "baseline_step": float(steps[1][0]),
    }


def _read_both(own: Curves, base: Curves) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
    """Where both paths first have the lower one of their highest accuracies.

    One of the two may be a single path, which then meets each of the others.

    Returns:
        The accuracies [D], the steps of both [D], and the measures of both there [D].
    """
    level = numpy.minimum(own.rising[:, -1], base.rising[:, -1])
    own, base = own.repeated(len(level)), base.repeated(len(level))
    steps = (own.reaches(level), base.reaches(level))
    return level, steps, (own.read(steps[0]), base.read(steps[1]))
