"""What papers report for the models that were compared, as tables beside the comparison."""

from __future__ import annotations

from collections.abc import Iterator

from manypaths.comparison import published
from manypaths.comparison.contents import Comparison
from manypaths.comparison.numbers import SHARE, number
from manypaths.counts import ACCURACY


def published_tables(comparison: Comparison) -> Iterator[tuple[str, list[list[str]]]]:
    """What the papers report for the models that were compared; accuracies, so beside accuracies only.

    Each is a title, and rows of cells with the header first.
    """
    models = [configuration["model"] for configuration in comparison["configurations"] if configuration["model"]]
    for model in dict.fromkeys(models) if ACCURACY in comparison["measures"] else ():
        if rows := published.near(model):
            names = [name for name in comparison["benchmarks"] if any(name in row["benchmarks"] for row in rows)]
            header = ["", "reported by", *names, "mean", "of", "peak step", "hours", "s a step", "evaluated by"]
            yield (
                f"Published accuracy of {model.rpartition('/')[2]}",
                [header, *(_published_row(row, names) for row in rows)],
            )


def _published_row(row: Comparison, benchmarks: list[str]) -> list[str]:
    shares = [row["benchmarks"].get(name) for name in benchmarks] + [row["mean"]]
    costs = [row[key] for key in ("peak_step", "hours", "seconds_per_step")]
    source = row["paper"] if row["reported_by"] == "paper" else f"{row['paper']}: {row['reported_by']}"
    return [
        row["method"],
        source,
        *("" if share is None else number(share, SHARE) for share in shares),
        row["mean_of"],
        *("" if cost is None else f"{cost:g}" for cost in costs),
        row["evaluated"],
    ]
