"""What a user says about files of other software: the metric, its unit, which column means what, which rows count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from manypaths.comparison.importers.metric_names import measure_in_json
from manypaths.names import nearest
from manypaths.printable import shown

UNITS = ("percent", "share")
MEASURES = ("accuracy", "majority", "pass@K", "distinct@K")  # K: a number of samples
MEANINGS = (
    *("run", "seed", "cluster", "step", "seconds", "hours", "benchmark", "benchmarks", "problem", "answer", "key"),
    *MEASURES,
)
UNIT = re.compile(
    r"(?P<metric>.*?)[ _]*[(\[]?(?:(?P<percent>(?<![a-z])(?:percent|percentage|pct)|%)|(?<![a-z])share)[)\]]?",
    re.IGNORECASE,
)
METRIC = re.compile(
    r"(?:(?P<folder>.+)/|(?P<set>eval|test|valid|val|dev)_)?"
    r"(?P<name>accuracy|acc|exact_match|majority|(?P<at>pass|distinct)[-_ ]?(?:@|at)[-_ ]?(?P<k>[1-9][0-9]{0,5}))"
    r"(?:/mean)?",
    re.IGNORECASE,
)
JOIN = "+"  # between several headers of one meaning, and between several values of one column


@dataclass(frozen=True)
class Reading:
    """How to read files of other software.

    Attributes:
        metric: The name of the metric to read, as the file has it; None is the accuracy. Where a file holds the values
            of a single metric without its name, this is its name.
        unit: "percent" or "share", the unit of every accuracy; None is the unit that the file states.
        columns: Meaning -> header. A meaning is one of `MEANINGS`, with a number for K. `run`, `cluster` and
            `benchmarks` may have several headers, joined by `+`. `answer` is the final answer of a completion, `key`
            is equal for completions that go the same way.
        where: Header -> values, joined by `+`. Only lines with one of these values are read; an empty value stands for
            blank cells.

    Raises:
        ValueError: The unit or a meaning does not exist.
    """

    metric: str | None = None
    unit: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.unit not in (None, *UNITS):
            raise ValueError(f"The unit must be {' or '.join(UNITS)}, got {shown(self.unit)}. Name one.")
        for meaning in self.columns:
            if re.sub("@[1-9][0-9]{0,5}$", "@K", meaning) not in MEANINGS:
                raise ValueError(
                    f"A column must mean {', '.join(MEANINGS)}, got {shown(meaning)}. {nearest(meaning, MEANINGS)}"
                )

    @classmethod
    def of(
        cls, metric: str | None = None, unit: str | None = None, columns: Sequence[str] = (), where: Sequence[str] = ()
    ) -> Reading:
        """The values of `--metric`, `--unit`, and of each `--columns` and each `--where`, as a `Reading`.

        Raises:
            ValueError: A value is not of the form NAME=VALUE,NAME=VALUE, or a name stands twice.
        """
        return cls(metric, unit, _pairs("--columns", columns), _pairs("--where", where, may_be_empty=True))

    @property
    def measure(self) -> str | None:
        """The measure that `metric` is; None without it.

        A name that states no measure is accuracy if the user states a unit, otherwise a plain number of that name.
        """
        if self.metric is None:
            return None
        stated = measure_and_set(self.metric)
        measure = stated[0] if stated else measure_in_json(self.metric)
        return measure or ("accuracy" if self.unit else self.metric)


def metric_and_unit(name: str) -> tuple[str, str | None]:
    """The metric and the unit, "percent" or "share", of a name such as `accuracy_percent` or `acc (%)`."""
    match = UNIT.fullmatch(name)
    if match is None or not match["metric"]:
        return name, None
    return match["metric"].strip(), "percent" if match["percent"] else "share"


def measure_and_set(metric: str) -> tuple[str, str] | None:
    """The measure that a metric of other software states by its name, and the set of problems that it names.

    Args:
        metric: A name such as `eval/accuracy`, `eval_accuracy`, `pass_at_8` or `rewards/accuracy/mean`.

    Returns:
        (accuracy, majority, pass@K or distinct@K; the text before it, such as `eval`, empty if there is none). The pass
        rate of one sample, pass@1, is the accuracy. None for a name that states no measure.
    """
    match = METRIC.fullmatch(metric_and_unit(metric)[0].strip())
    if match is None:
        return None
    if match["k"] is None:
        name = "majority" if match["name"].lower() == "majority" else "accuracy"
    else:
        name = f"{match['at'].lower()}@{match['k']}"
    return "accuracy" if name == "pass@1" else name, match["folder"] or match["set"] or ""


def _pairs(option: str, texts: Sequence[str], may_be_empty: bool = False) -> dict[str, str]:
    """`run=method,seed=s` as a dictionary. A comma that no NAME= follows is a part of the value."""
    pairs: dict[str, str] = {}
    for text in texts:
        for part in re.split(r",(?=[^,=]+=)", text):
            name, sign, value = (word.strip() for word in part.partition("="))
            if not (name and sign and (value or may_be_empty)):
                raise ValueError(f"{option} must be NAME=VALUE,NAME=VALUE, got {shown(part)}. Write it so.")
            if name in pairs:
                raise ValueError(f"{option} must have {name} once, got it twice. Join values with {JOIN}.")
            pairs[name] = value
    return pairs
