"""A comparison as sentences, tables and pictures: for a terminal, as Markdown, CSV, JSON and a self-contained page."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from manypaths.comparison import published
from manypaths.files import atomic_write
from manypaths.names import PARTS, metric, shown_metrics
from manypaths.tables import markdown

Comparison = dict[str, Any]  # of `manypaths.comparison.compare.compare`, or a part of it


# Numbers


def _points(value: float) -> str:
    return f"{100 * value:+.1f}"


def _share(value: float) -> str:
    return f"{value:.1%}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _steps(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _hours(value: float) -> str:
    return f"{value:.2g}" if value < 1 else f"{value:.1f}"


def _with_interval(
    bounds: Comparison, shown: Callable[[float], str], key: str = "value", missing: str = "not reached"
) -> str:
    """The value under `key` with its interval."""
    if bounds[key] is None:
        return missing
    low, high = ("unbounded" if bounds[end] is None else shown(bounds[end]) for end in ("low", "high"))
    return f"{shown(bounds[key])} [{low}, {high}]"


UNITS = {"steps": _steps, "hours": _hours}

# Sentences


def goal(comparison: Comparison) -> str:
    """The target in words."""
    rise, base = comparison["targets"][comparison["metric"]]["rise"], comparison["baseline"]
    source = "" if rise is None else f", the peak of {base}" if rise == 1 else f", {rise:.0%} of the rise of {base}"
    return _share(comparison["targets"][comparison["metric"]]["value"]) + source


def lead(comparison: Comparison) -> str:
    """The sentence before the tables: baseline, target and the meaning of the brackets."""
    return f"Baseline: {comparison['baseline']}. Target: {goal(comparison)}. In brackets: 95 % confidence intervals."


def sentences(comparison: Comparison) -> list[str]:
    """One paragraph for each configuration that is compared with the baseline."""
    base, *others = configurations(comparison)
    return [_sentence(configuration, base, goal(comparison)) for configuration in others]


def _sentence(configuration: Comparison, base: Comparison, target: str) -> str:
    single_seed = min(len(configuration["runs"]), len(base["runs"])) == 1
    last = configuration["against"]["last"]
    difference = f"{_with_interval(last, _points)} points"
    verdict = _verdict(last, single_seed, "better", "worse")
    units = UNITS if configuration["seconds"] and base["seconds"] else ["steps"]
    savings = "; ".join(_saving(configuration, base, unit, single_seed) for unit in units)
    return (
        f"{configuration['name']} against {base['name']}, at the end: {difference}: {verdict}. To {target}: {savings}."
    )


def _saving(configuration: Comparison, base: Comparison, unit: str, single_seed: bool) -> str:
    pair = [configuration["to_target"][unit]["value"] for configuration in (configuration, base)]
    amounts = " against ".join("not reached" if value is None else UNITS[unit](value) for value in pair)
    saved = configuration["to_target"][f"{unit}_saved"]
    if pair == [None, None]:
        return f"not reached by either, in {unit}"
    if None in pair or saved["value"] is None:
        return f"{amounts} {unit}"
    verdict = _verdict(saved, single_seed, "faster", "slower")
    return f"{amounts} {unit}, saved {_with_interval(saved, _percent)}: {verdict}"


def _verdict(bounds: Comparison, single_seed: bool, better: str, worse: str) -> str:
    if single_seed:
        return "one seed, so another may disagree"
    word = better if (bounds["low"] or 0) > 0 else worse if (bounds["high"] or 0) < 0 else None
    return f"{word} (95 % CI excludes 0)" if word else "no difference shown"


def configurations(comparison: Comparison, measure: str | None = None) -> list[Comparison]:
    """The configurations with the numbers of one measure, by default the metric of the comparison; baseline first."""
    name = measure or comparison["metric"]
    return [{**configuration, **configuration["measures"][name]} for configuration in comparison["configurations"]]


# Tables


def tables(comparison: Comparison) -> Iterator[tuple[str, list[list[str]]]]:
    """(title, rows of cells with the header first) of each table."""
    compared, benchmarks = configurations(comparison), comparison["benchmarks"]
    yield _accuracies(comparison)
    for when, place in (("last", "at the end"), ("peak", "at the peak step")) if len(benchmarks) > 1 else ():
        rows = [
            [configuration["name"], *map(_share, configuration[when]["benchmarks"].values())]
            for configuration in compared
        ]
        yield f"Accuracy {place}, by benchmark", [["", *benchmarks], *rows]
    saved = "saved [95 %]"
    header = ["", "steps [95 %]", saved, "hours [95 %]", saved, "peak to peak: steps saved", "hours saved"]
    yield f"Steps and hours to {goal(comparison)}", [header, *map(_target_row, compared)]
    if timed := [configuration for configuration in compared if configuration["seconds"]]:
        parts = [part for part in (*PARTS, "whole") if any(part in configuration["seconds"] for configuration in timed)]
        rows = [
            [
                configuration["name"],
                *(
                    f"{configuration['seconds'][part]:.3f}" if part in configuration["seconds"] else ""
                    for part in parts
                ),
            ]
            for configuration in timed
        ]
        yield "Seconds a step", [["", *parts], *rows]
    if names := shown_metrics(name for configuration in compared for name in configuration["metrics"]):
        rows = [
            [configuration["name"], *(_mean(name, configuration["metrics"].get(name)) for name in names)]
            for configuration in compared
        ]
        yield "Means over the training", [["", *(metric(name).title for name in names)], *rows]
    if rows := [
        [configuration["name"], key, *map(_setting, pair)]
        for configuration in compared
        for key, pair in configuration["differs"].items()
    ]:
        base = comparison["baseline"]
        yield f"What differs from {base}", [["", "setting", "here", f"in {base}"], *rows]
    yield from _published_tables(comparison)


def _accuracies(comparison: Comparison) -> tuple[str, list[list[str]]]:
    benchmarks, minus = comparison["benchmarks"], f"minus {comparison['baseline']}, points"
    problems = f" ({comparison['problems']} problems)" if comparison["problems"] else ""
    on = "" if benchmarks == ["accuracy"] else f" on {', '.join(benchmarks)}"
    header = ["", "seeds", "at the end [95 %]", "step", minus, "peak, held out [95 %]", "step", minus]
    return f"Accuracy{on}{problems}", [header, *map(_accuracy_row, configurations(comparison))]


def _accuracy_row(configuration: Comparison) -> list[str]:
    cells = [configuration["name"], str(len(configuration["runs"]))]
    for when in ("last", "peak"):
        evaluation, against = configuration[when], configuration.get("against")
        difference = _with_interval(against[when], _points) if against else ""
        cells += [_with_interval(evaluation, _share), _steps(evaluation["step"]), difference]
    return cells


def _target_row(configuration: Comparison) -> list[str]:
    to_target, against = configuration["to_target"], configuration.get("against")
    cells = [configuration["name"]]
    for unit, shown in UNITS.items():
        measured = unit == "steps" or configuration["seconds"]
        saved = _with_interval(to_target[f"{unit}_saved"], _percent, missing="") if against else ""
        cells += [_with_interval(to_target[unit], shown), saved] if measured else ["not measured", ""]
    peaks = [against[f"peak_{unit}_saved"] if against else None for unit in UNITS]
    difference = f" at {_points(against['peak']['value'])} points" if against else ""
    return [*cells, *("" if value is None else _percent(value) + difference for value in peaks)]


def _mean(name: str, curve: list[list[float]] | None) -> str:
    return format(sum(point[1] for point in curve) / len(curve), metric(name).format) if curve else ""


def _setting(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _published_tables(comparison: Comparison) -> Iterator[tuple[str, list[list[str]]]]:
    """What the papers report for the models that were compared."""
    for model in dict.fromkeys(
        configuration["model"] for configuration in comparison["configurations"] if configuration["model"]
    ):
        if rows := published.near(model):
            names = [name for name in comparison["benchmarks"] if any(name in row["benchmarks"] for row in rows)]
            header = ["", "reported by", *names, "mean", "of", "peak step", "hours", "s a step", "evaluated by"]
            yield f"Published for {model.rpartition('/')[2]}", [header, *(_published_row(row, names) for row in rows)]


def _published_row(row: Comparison, benchmarks: list[str]) -> list[str]:
    shares = [row["benchmarks"].get(name) for name in benchmarks] + [row["mean"]]
    costs = [row[key] for key in ("peak_step", "hours", "seconds_per_step")]
    source = row["paper"] if row["reported_by"] == "paper" else f"{row['paper']}: {row['reported_by']}"
    return [
        row["method"],
        source,
        *("" if share is None else _share(share) for share in shares),
        row["mean_of"],
        *("" if cost is None else f"{cost:g}" for cost in costs),
        row["evaluated"],
    ]


# Files


def text(comparison: Comparison) -> str:
    """The whole comparison as Markdown, which the terminal shows too."""
    parts = [lead(comparison)]
    parts += [f"## {title}\n\n{markdown(rows)}" for title, rows in tables(comparison)]
    return "\n\n".join([*parts, *sentences(comparison), *(f"Note: {note}" for note in comparison["notes"])])


def lines(comparison: Comparison) -> str:
    """Every number as CSV: configuration, quantity, step, value, low, high; empty where there is none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["configuration", "quantity", "step", "value", "low", "high"])
    for configuration in configurations(comparison):
        writer.writerows([configuration["name"], *row, *[""] * (5 - len(row))] for row in _csv_rows(configuration))
    return file.getvalue()


def _csv_rows(configuration: Comparison) -> Iterator[list[Any]]:
    """[quantity, step, value, low, high] of every number of a configuration; missing cells at the end."""

    def bounds(of: Comparison) -> list[Any]:
        return [of["value"], of["low"], of["high"]]

    for when in ("last", "peak"):
        evaluation = configuration[when]
        yield [f"accuracy {when}", evaluation["step"], *bounds(evaluation)]
        yield from ([f"{name} {when}", evaluation["step"], share] for name, share in evaluation["benchmarks"].items())
    for key, value in configuration.get("against", {}).items():
        yield [f"difference {key}", "", *(bounds(value) if isinstance(value, dict) else [value])]
    for key, value in configuration["to_target"].items():
        yield [key.replace("_", " "), "", *value.values()]
    yield from ([f"seconds {part}", "", seconds] for part, seconds in configuration["seconds"].items())
    yield from (["accuracy", point["step"], *bounds(point)] for point in configuration["curve"])
    yield from ([name, *point] for name, curve in configuration["metrics"].items() for point in curve)


def write(comparison: Comparison, out: Path) -> Path:
    """Write comparison.md, .csv and .json, curves.png and .svg, and report.html into a folder.

    Returns:
        The path of report.html.
    """
    from manypaths.comparison import figures

    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "comparison.md", text(comparison) + "\n")
    atomic_write(out / "comparison.csv", lines(comparison))
    atomic_write(out / "comparison.json", json.dumps(comparison, indent=1, allow_nan=False))
    panels = figures.panels(comparison)
    figures.save(panels, out)
    names = [configuration["name"] for configuration in comparison["configurations"]]
    legend = [(name, *figures.look(name, names)) for name in names]
    atomic_write(out / "report.html", page(comparison, figures.inline(panels), legend))
    return out / "report.html"


def page(comparison: Comparison, pictures: list[tuple[str, str]], legend: list[tuple[str, str, str]]) -> str:
    """The report as HTML that loads nothing from the network.

    Args:
        comparison: What `manypaths.comparison.compare.compare` returned.
        pictures: (description in words, SVG) of each picture.
        legend: (configuration, its colour in the pictures, solid or dashed).
    """
    shown = [
        f"<figure>{svg.replace('<svg ', f'<svg role=img aria-label={_quoted(words)} ', 1)}</figure>"
        for words, svg in pictures
    ]
    cells = {
        "title": html.escape(title(comparison)),
        "lead": html.escape(lead(comparison)),
        "sentences": "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences(comparison)),
        "notes": "".join(f"<li>{html.escape(note)}</li>" for note in comparison["notes"]),
        "figures": "".join(shown),
        "legend": "".join(
            f'<li><i style="border-top: 0.2rem {dashes} {colour}"></i>{html.escape(name)}</li>'
            for name, colour, dashes in legend
        ),
        "tables": "".join(f"<h2>{html.escape(title)}</h2>{_table(rows)}" for title, rows in tables(comparison)),
    }
    template = files("manypaths.comparison").joinpath("report.html").read_text("utf-8")
    return re.sub(r"{{(\w+)}}", lambda match: cells[match[1]], template)


def title(comparison: Comparison) -> str:
    """The names of the configurations; their number if there are many."""
    base, *others = (configuration["name"] for configuration in comparison["configurations"])
    named = ", ".join(others) if len(others) < 4 else f"{len(others)} configurations"
    return f"{named} against {base}" if others else str(base)


def _quoted(words: str) -> str:
    return f'"{html.escape(words)}"'


def _table(rows: list[list[str]]) -> str:
    """A table in HTML. Each cell has the name of its column, because a narrow page shows a row as a card."""
    head = "".join(f"<th scope=col>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        f"<tr><th scope=row>{html.escape(row[0])}</th>"
        + "".join(
            f"<td data-name={_quoted(name)}>{html.escape(cell)}</td>"
            for name, cell in zip(rows[0][1:], row[1:], strict=True)
        )
        + "</tr>"
        for row in rows[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
