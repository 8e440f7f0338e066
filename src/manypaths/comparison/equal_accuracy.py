"""pass@K at equal accuracy: whether a configuration has more of it than the baseline has where that is as accurate.

Training raises accuracy, and from some point on lowers pass@K. So whatever learns more slowly ends with more pass@K: a
lower learning rate, or fewer steps. A difference at the end therefore does not tell a method from a shorter way along
the same path. Here both are read where they first reach the same accuracy, above that with which either began.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.contents import LEAST_STEPS, Comparison
from manypaths.comparison.curves import isotonic, steps_to_target
from manypaths.comparison.differences import bounds, finite, pair_up
from manypaths.comparison.numbers import SHARE, number
from manypaths.statistics import Array, estimate, p_value

LEAST_SQUARES = 1e-12  # of the accuracies near a step; where there is less, a path is flat
NEAR = 2  # evaluations on either side of a step from which the slope of a path is taken


@dataclass
class Path:
    """Accuracy, and another measure of the same completions, at the same steps."""

    accuracy: Configuration
    measure: Configuration

    @property
    def lack(self) -> str | None:
        """Why it cannot be read between evaluations; None if it can be."""
        name, count = self.accuracy.name, len(self.accuracy.steps)
        if count < LEAST_STEPS:
            return f"{name} was evaluated at {count} step{'s' * (count > 1)}, and {LEAST_STEPS} are needed"
        if self.accuracy.means_only.any() or self.measure.means_only.any():
            return "only means over problems were recorded"
        if self.accuracy.values.shape != self.measure.values.shape:
            return f"accuracy and {self.measure.measure.name} are not of the same problems"
        return None

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
        """[S, P] the measure at a step, minus `slope` times how far accuracy there is from its benchmark's mean.

        A seed or a problem that raises accuracy moves the place where the path is read, and by that the measure.
        """
        accuracies, values = (self._at(side, step) for side in (self.accuracy, self.measure))
        blocks = self.accuracy.blocks
        of_benchmarks = numpy.bincount(blocks, accuracies.mean(0)) / numpy.bincount(blocks)
        cells: Array = values - slope * (accuracies - of_benchmarks[blocks])
        return cells

    def _at(self, side: Configuration, step: float) -> Array:
        """[S, P] the values at a step, on lines between the evaluations."""
        after = _line(side.steps, numpy.array([step]))[0]
        part = (step - side.steps[after - 1]) / (side.steps[after] - side.steps[after - 1])
        values: Array = (1 - part) * side.values[:, after - 1] + part * side.values[:, after]
        return values


@dataclass
class Curves:
    """D paths: accuracies and another measure [D, T] at T steps. What comes after the highest accuracy is left out."""

    steps: Array
    accuracies: Array
    measures: Array

    def repeated(self, times: int) -> Curves:
        """Itself, or a single path as often as there are others."""
        of = (1 if len(self.accuracies) == times else times, 1)
        return Curves(self.steps, numpy.tile(self.accuracies, of), numpy.tile(self.measures, of))

    @property
    def tops(self) -> NDArray[numpy.int64]:
        """[D] index of the highest accuracy."""
        tops: NDArray[numpy.int64] = self.accuracies.argmax(1)
        return tops

    @property
    def rising(self) -> Array:
        """[D, T] the accuracies after isotonic regression, of the highest one in the place of all after it."""
        is_after = numpy.arange(len(self.steps)) > self.tops[:, None]
        return isotonic(numpy.where(is_after, self.accuracies.max(1, keepdims=True), self.accuracies))

    def reaches(self, accuracies: Array) -> Array:
        """The step at which each path first has an accuracy of its own, [D] -> [D]."""
        return steps_to_target(self.rising, self.steps, accuracies, len(self.steps) - 1)

    def read(self, steps: Array) -> Array:
        """The measure of each path at a step of its own, [D] -> [D], on lines between the evaluations."""
        after, rows = _line(self.steps, steps), numpy.arange(len(steps))
        part = (steps - self.steps[after - 1]) / (self.steps[after] - self.steps[after - 1])
        value: Array = (1 - part) * self.measures[rows, after - 1] + part * self.measures[rows, after]
        return value

    def slope(self, step: float) -> float:
        """How much the measure of the first path changes for an accuracy higher by 1: a line near a step."""
        after = int(_line(self.steps, numpy.array([step]))[0])
        near = slice(max(0, after - NEAR), min(after + NEAR, int(self.tops[0]) + 1))
        rises = self.rising[0, near] - self.rising[0, near].mean()
        squares = float(rises @ rises)
        return float(rises @ self.measures[0, near]) / squares if squares > LEAST_SQUARES else 0.0


def _line(steps: Array, at: Array) -> NDArray[numpy.int64]:
    """[D] index of the evaluation that ends the line on which a step lies."""
    return numpy.clip(numpy.searchsorted(steps, at), 1, len(steps) - 1)


def at_equal_accuracy(path: Path, base: Path, wish: bool | None) -> Comparison:
    """The difference in a measure between two configurations where both first reach the same accuracy.

    The accuracy is the lower one of the highest values of both curves of accuracy. A path counts up to its highest
    accuracy, after isotonic regression, so that one that collapses is read where it still rose. Between two evaluations
    a path is a line. Where that accuracy is not above the first one of both, there is no such place: a path that begins
    higher, as with a better model, never has it, and of one that only falls the first evaluation alone has it.

    The interval is that of a difference between two means. How much a seed moves the difference is taken from the
    difference without this seed (the jackknife), and how much a problem does to first order (the delta method): the
    path that goes on beyond this accuracy is read elsewhere if a problem moves the accuracy of either.

    Args:
        path: Of the configuration.
        base: Of the baseline.
        wish: As `manypaths.comparison.differences.pair_up` takes it.

    Returns:
        `value`, `low` and `high` of the difference, in the unit of the measure, and its `p`; `accuracy`, a share, and
        `step` and `baseline_step`, at which the two reach it; and `reason`, None. If there is no difference, all are
        None but the reason, a sentence: one of the two was evaluated fewer than `LEAST_STEPS` times, accuracy and the
        measure are not recorded by problem, for the same problems, or there is no such accuracy.
    """
    if lacks := list(dict.fromkeys(lack for side in (path, base) if (lack := side.lack))):
        return _unread(path, base, "; ".join(lacks))
    accuracy, base_accuracy, paired = pair_up(path.accuracy, base.accuracy, wish)
    measure, base_measure, _ = pair_up(path.measure, base.measure, wish)
    sides = (Path(accuracy, measure), Path(base_accuracy, base_measure))
    curves = (sides[0].curves, sides[1].curves)
    level, steps, _ = _read_both(*curves)
    if why := _not_above(float(level[0]), (accuracy.name, curves[0]), (base_accuracy.name, curves[1])):
        return _unread(path, base, why)
    further = int(numpy.argmax([side.rising[0, -1] for side in curves]))
    slope = curves[further].slope(float(steps[further][0]))
    means = []
    for place, side in enumerate(sides):
        cells = side.cells(float(steps[place][0]), slope)
        if len(cells) > 1:
            pair = [*curves]
            pair[place] = side.without_each()
            own, other = _read_both(*pair)[2]
            moves = (len(cells) - 1) * ((own - other).mean() - (own - other)) * (1 if place == 0 else -1)
            of_units = cells @ side.measure.weights
            cells = cells + (moves - (of_units - of_units.mean()))[:, None]
        means.append(estimate(cells, side.measure.blocks, side.measure.means_only))
    return {
        **bounds(path.measure.scale, means[0], means[1], paired),
        "p": finite(p_value(means[0], means[1], paired=paired)),
        "accuracy": float(level[0]),
        "step": float(steps[0][0]),
        "baseline_step": float(steps[1][0]),
        "reason": None,
    }


def _unread(path: Path, base: Path, why: str) -> Comparison:
    """A difference that there is not, with the reason."""
    sentence = f"{path.accuracy.name} cannot be compared with {base.accuracy.name} at equal accuracy: {why}."
    return {**dict.fromkeys(("value", "low", "high", "p", "accuracy", "step", "baseline_step")), "reason": sentence}


def _not_above(level: float, *sides: tuple[str, Curves]) -> str | None:
    """Why an accuracy, the highest of one of two paths, is not above the first one of both; None if it is."""
    for name, curves in sides:
        if curves.tops[0] == 0:
            return f"the accuracy of {name} is never above that of its first evaluation"
    for (name, curves), (other, _) in zip(sides, reversed(sides), strict=True):
        if (first := float(curves.rising[0, 0])) >= level:
            return f"{name} begins at {number(first, SHARE)}, and {other} reaches {number(level, SHARE)} at most"
    return None


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
