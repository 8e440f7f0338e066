"""Every number of a comparison as CSV, in long form: a row for each quantity of a configuration."""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterator, Mapping
from typing import Any

from manypaths.comparison.contents import Comparison
from manypaths.printable import one_line

NUMBERS = ("step", "hours", "value", "low", "high", "p", "p_holm", "verdict")
COLUMNS = ("configuration", "measure", "quantity", *NUMBERS)
FORMULA = ("=", "+", "-", "@")  # at the start of a cell, for a spreadsheet
TITLES = {"against": "difference", "to_target": "to target"}  # key in the JSON -> its name here
WHOLE = ("problems", "margin", "targets", "halves")  # numbers of the comparison as a whole


def lines(comparison: Comparison) -> str:
    """Every number as CSV with the header `COLUMNS`; a cell is empty where there is no value.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(comparison):
        writer.writerow({key: _text(cell) if isinstance(cell, str) else cell for key, cell in row.items()})
    return file.getvalue()


@functools.lru_cache(maxsize=10_000)
def _text(cell: str) -> str:
    shown = one_line(cell)
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for key in WHOLE:
        if key == "targets":
            for measure, target in comparison[key].items():
                yield from ({"measure": measure, **row} for row in _numbers("target", target))
        else:
            yield from _numbers(key, comparison[key])
    yield from _numbers("protocol", comparison["protocol"])
    for configuration in comparison["configurations"]:
        name = {"configuration": configuration["name"]}
        for measure, values in configuration["measures"].items():
            for key, value in values.items():
                yield from ({**name, "measure": measure, **row} for row in _numbers(TITLES.get(key, key), value))
        runs = zip(configuration["runs"], configuration["seeds"], strict=True)
        yield from ({**name, "quantity": f"seed of {run}", "value": seed} for run, seed in runs)
        yield from ({**name, **row} for key in ("units", "seconds") for row in _numbers(key, configuration[key]))
        for metric, curve in configuration["metrics"].items():
            for step, value, low, high in curve:
                yield {**name, "quantity": metric, "step": step, "value": value, "low": low, "high": high}


def _numbers(quantity: str, item: Any) -> Iterator[dict[str, Any]]:
    """The rows of a part of the JSON: what the columns name is one row, what is nested in it more."""
    if isinstance(item, Mapping):
        names = () if quantity.endswith(" benchmarks") else NUMBERS  # a benchmark may have any name
        own = {key: item[key] for key in names if key in item and not isinstance(item[key], (Mapping, list))}
        if own:
            yield {"quantity": quantity, **own}
        for key in [key for key in item if key not in own]:
            yield from _numbers(f"{quantity} {TITLES.get(key, key)}", item[key])
    elif isinstance(item, list):
        for part in item:
            label = (part.get("without") or part.get("words")) if isinstance(part, Mapping) else None
            yield from _numbers(f"{quantity} {label}" if label else quantity, part)
    elif isinstance(item, (bool, int, float)):
        yield {"quantity": quantity, "value": int(item) if isinstance(item, bool) else item}
