"""pass@K at equal accuracy: whether a configuration has more of it than the baseline has where that is as accurate.

Training raises accuracy, and from some point on lowers pass@K. So whatever learns more slowly ends with more pass@K: a
lower learning rate, or fewer steps. A difference at the end therefore does not tell a method from a shorter way along
the same path. Here both are read where they first reach the same accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from manypaths.comparison.configurations import Configuration
from manypaths.comparison.contents import LEAST_STEPS, Comparison
from manypaths.comparison.curves import isotonic, steps_to_target
from manypaths.comparison.differences import bounds, finite, pair_up
from manypaths.statistics import Array, Estimate, estimate, p_value


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
    def rising(self) -> Array:
        """[T] the curve of accuracy after isotonic regression."""
        rising: Array = isotonic(self.accuracy.means[None])[0]
        return rising

    def reaches(self, accuracy: float) -> float:
        """The step at which the path first has an accuracy."""
        steps, curve = self.accuracy.steps, self.accuracy.means
        return float(steps_to_target(curve[None], steps, numpy.array([accuracy]), len(steps) - 1)[0])

    def slope(self, step: float) -> float:
        """How much the measure changes for an accuracy higher by 1, on the way from the evaluation before a step."""
        after = self._after(step)
        rise = self.rising[after] - self.rising[after - 1]
        return float((self.measure.means[after] - self.measure.means[after - 1]) / rise) if rise > 0 else 0.0

    def read(self, step: float, slope: float) -> Estimate:
        """The mean of the measure at a step, as uncertain as if it were read where accuracy has its present mean.

        A seed or a problem that raises accuracy by 1 moves the place where the path is read, and by that the measure
        by `slope`.
        """
        accuracies, values = (self._at(side, step) for side in (self.accuracy, self.measure))
        moved = slope * (accuracies - accuracies.mean(0) @ self.accuracy.weights)
        return estimate(values - moved, self.measure.blocks, self.measure.means_only)

    def _after(self, step: float) -> int:
        """The index of the evaluation that ends the line on which a step lies."""
        return int(numpy.clip(numpy.searchsorted(self.accuracy.steps, step), 1, len(self.accuracy.steps) - 1))

    def _at(self, side: Configuration, step: float) -> Array:
        """[S, P] the values at a step, on lines between the evaluations."""
        after = self._after(step)
        part = (step - side.steps[after - 1]) / (side.steps[after] - side.steps[after - 1])
        values: Array = (1 - part) * side.values[:, after - 1] + part * side.values[:, after]
        return values


def at_equal_accuracy(path: Path, base: Path, wish: bool | None) -> Comparison:
    """The difference in a measure between two configurations where both first reach the same accuracy.

    The accuracy is the lower one of the highest values of both curves of accuracy, after isotonic regression. Between
    two evaluations a path is a line. The interval is that of a difference between two means, to first order (the delta
    method): the place where the path is read that goes on beyond this accuracy moves with the accuracy of both.

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
    highest = [float(side.rising[-1]) for side in sides]
    level = min(highest)
    steps = [side.reaches(level) for side in sides]
    further = int(numpy.argmax(highest))
    slope = sides[further].slope(steps[further])
    means = [side.read(step, slope) for side, step in zip(sides, steps, strict=True)]
    return {
        **bounds(path.measure.scale, means[0], means[1], paired),
        "p": finite(p_value(means[0], means[1], paired=paired)),
        "accuracy": level,
        "step": steps[0],
        "baseline_step": steps[1],
    }
