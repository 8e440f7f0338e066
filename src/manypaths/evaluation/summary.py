"""Summaries of the lines of an evaluation: summary.json, counts.json and table.md of `manypaths.results`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manypaths.counts import Counts
from manypaths.evaluation.distinct import counted_by_keys
from manypaths.evaluation.measure import distinct_at, measure, overall
from manypaths.files import as_json, atomic_write, read_json, read_jsonl
from manypaths.problems import BENCHMARKS
from manypaths.results import COUNTS, SUMMARY, TABLE, lines_file, read_lines, read_settings
from manypaths.tables import markdown


def summarise(folder: Path) -> dict[str, dict[str, Any]]:
    """Sum up every finished set of a folder, and all of them together, in summary.json, counts.json and table.md.

    Returns:
        What summary.json holds: the measures (`measure`) of each set by name, with `distinct_at` by the keys that the
        settings name, and those of `overall` under "all".

    Raises:
        ValueError: A file is damaged.
    """
    lines, settings = read_lines(folder), read_settings(folder)
    counts = {name: counted_by_keys(own, settings, lines_file(folder, name)) for name, own in lines.items()}
    summary: dict[str, dict[str, Any]] = {name: _measured(measure(lines[name]), counts[name]) for name in lines}
    summary["all"] = overall([[own.right / own.samples for own in of_set.values()] for of_set in counts.values()])
    _write(folder, summary, counts)
    atomic_write(folder / TABLE, table(summary) + "\n")
    return summary


def moments(folder: Path) -> set[str]:
    """The moments of a training that `add_moment` has added to RUN/evaluation.

    Raises:
        ValueError: summary.json or counts.json is damaged.
    """
    read_json(folder / COUNTS)  # only for its error, which is of more use before the evaluation than after it
    return set(read_json(folder / SUMMARY))


def add_moment(folder: Path, moment: str, step: int, name: str, measures: dict[str, Any]) -> None:
    """Add what was measured at a moment of a training to the summary.json and counts.json of RUN/evaluation.

    The moments of an earlier version, which did not write counts.json, are counted too.

    Args:
        folder: RUN/evaluation, with the settings, and the lines of that moment.
        moment: before, step-N or after.
        step: The optimiser steps until then.
        name: The name of the problem set.
        measures: What `evaluate` returned.

    Raises:
        ValueError: One of the files is damaged.
    """
    summary, counts, settings = read_json(folder / SUMMARY), read_json(folder / COUNTS), read_settings(folder)
    paths = {when: lines_file(folder, when) for when in [*summary, moment] if when not in counts}
    for when, path in paths.items():
        if path.exists():
            counts[when] = {name: counted_by_keys(read_jsonl(path), settings, path)}
    measures = _measured(measures, counts[moment][name])
    _write(folder, {**summary, moment: {"step": step, **measures}}, counts)


def _measured(measures: dict[str, Any], counts: dict[str, Counts]) -> dict[str, Any]:
    """The measures of a set, with distinct@k by the keys of `counts`."""
    return {**measures, "distinct_at": distinct_at(list(counts.values()))}


def _write(folder: Path, summary: dict[str, Any], counts: dict[str, Any]) -> None:
    """Write the summary last, because an evaluation that it names is not repeated."""
    atomic_write(folder / COUNTS, as_json(counts))
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
    details = [
        ["", "problems", "n", "pass@n", "distinct@n", "maj@n", "answers", "similarity", "boxed", "truncated", "tokens"]
    ]
    details += [[title[name], *_cells(summary[name])] for name in names]
    return f"{markdown(head)}\n\n{markdown(details)}"


def _cells(measures: dict[str, Any]) -> list[str]:
    """The cells of a row; empty where the backend did not give a value."""
    n = str(measures["samples"])
    distinct = "" if measures["distinct_at"] is None else f"{measures['distinct_at'][n]:.2f}"
    cells = [str(measures["problems"]), n, f"{measures['pass_at'][n]:.1%}", distinct, f"{measures['majority']:.1%}"]
    cells += [f"{measures['distinct']:.1f}"]
    formats = {"similarity": ".2f", "boxed": ".1%", "truncated": ".1%", "tokens": ",.0f"}
    return cells + ["" if measures[key] is None else format(measures[key], how) for key, how in formats.items()]
