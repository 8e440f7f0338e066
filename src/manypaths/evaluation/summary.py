"""Summaries of the lines of an evaluation: summary.json, shares.json and table.md of `manypaths.results`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manypaths.evaluation.measure import measure, overall
from manypaths.files import as_json, atomic_write, read_json, read_jsonl
from manypaths.problems import BENCHMARKS
from manypaths.results import SHARES, SUMMARY, TABLE, lines_file, read_lines, shares_by_problem
from manypaths.tables import markdown


def summarise(folder: Path) -> dict[str, dict[str, Any]]:
    """Sum up every finished set of a folder, and all of them together, in summary.json, shares.json and table.md.

    Returns:
        What summary.json holds: the measures (`measure`) of each set by name, and those of `overall` under "all".

    Raises:
        ValueError: A line of the results is damaged.
    """
    lines = read_lines(folder)
    summary: dict[str, dict[str, Any]] = {name: measure(own) for name, own in lines.items()}
    shares = {name: shares_by_problem(own) for name, own in lines.items()}
    summary["all"] = overall([list(own.values()) for own in shares.values()])
    _write(folder, summary, shares)
    atomic_write(folder / TABLE, table(summary) + "\n")
    return summary


def moments(folder: Path) -> set[str]:
    """The moments of a training that `add_moment` has added to RUN/evaluation.

    Raises:
        ValueError: summary.json or shares.json is damaged.
    """
    read_json(folder / SHARES)  # only for its error, which is of more use before the evaluation than after it
    return set(read_json(folder / SUMMARY))


def add_moment(folder: Path, moment: str, step: int, name: str, measures: dict[str, Any]) -> None:
    """Add what was measured at a moment of a training to the summary.json and shares.json of RUN/evaluation.

    Args:
        folder: RUN/evaluation, with the lines of that moment.
        moment: before, step-N or after.
        step: The optimiser steps until then.
        name: The name of the problem set.
        measures: What `evaluate` returned.

    Raises:
        ValueError: One of the files is damaged.
    """
    summary, shares = read_json(folder / SUMMARY), read_json(folder / SHARES)
    own = {name: shares_by_problem(read_jsonl(lines_file(folder, moment)))}
    _write(folder, {**summary, moment: {"step": step, **measures}}, {**shares, moment: own})


def _write(folder: Path, summary: dict[str, Any], shares: dict[str, Any]) -> None:
    """Write the summary last, because an evaluation that it names is not repeated."""
    atomic_write(folder / SHARES, as_json(shares))
    atomic_write(folder / SUMMARY, as_json(summary, indent=2))


def table(summary: dict[str, dict[str, Any]]) -> str:
    """A summary as Markdown: a row of mean@n as in the papers, then a table of the other measures.

    Args:
        summary: What `summarise` returns.
    """
    names = [name for name in BENCHMARKS if name in summary]
    names += [name for name in summary if name not in {*BENCHMARKS, "all"}]
    title = {name: BENCHMARKS[name].title if name in BENCHMARKS else name for name in names}
    columns = [*names, *(["all"] if len(names) > 1 else [])]
    head = [
        ["", *(title.get(name, "mean") for name in columns)],
        ["mean@n", *(f"{summary[name]['accuracy']:.1%}" for name in columns)],
        ["95 %", *(f"{summary[name]['low']:.1%} to {summary[name]['high']:.1%}" for name in columns)],
    ]
    details = [["", "problems", "n", "pass@n", "maj@n", "distinct", "similarity", "boxed", "truncated", "tokens"]]
    details += [[title[name], *_cells(summary[name])] for name in names]
    return f"{markdown(head)}\n\n{markdown(details)}"


def _cells(measures: dict[str, Any]) -> list[str]:
    """The cells of a row; empty where the backend did not give a value."""
    n = str(measures["samples"])
    cells = [str(measures["problems"]), n, f"{measures['pass_at'][n]:.1%}", f"{measures['majority']:.1%}"]
    cells += [f"{measures['distinct']:.1f}"]
    formats = {"similarity": ".2f", "boxed": ".1%", "truncated": ".1%", "tokens": ",.0f"}
    return cells + ["" if measures[key] is None else format(measures[key], how) for key, how in formats.items()]
