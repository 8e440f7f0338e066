"""A comparison in words, tables and pictures: for the terminal, Markdown, CSV, JSON, and one self-contained page."""

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

Found = dict[str, Any]


# Numbers as words


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


def _bounded(found: Found, form: Callable[[float], str], key: str = "value", missing: str = "not reached") -> str:
    """A value with its interval; a bound that is None is open."""
    if found[key] is None:
        return missing
    low, high = ("open" if found[end] is None else form(found[end]) for end in ("low", "high"))
    return f"{form(found[key])} [{low}, {high}]"


FORMS = {"steps": _steps, "hours": _hours}

# Sentences


def goal(found: Found) -> str:
    """The target in words."""
    rise, base = found["target"]["rise"], found["baseline"]
    where = "" if rise is None else f", the peak of {base}" if rise == 1 else f", {rise:.0%} of the rise of {base}"
    return _share(found["target"]["accuracy"]) + where


def lead(found: Found) -> str:
    """What the tables are to be read by."""
    return (
        f"Baseline: {found['baseline']}. Target: {goal(found)}. Intervals hold 95 %; a bound that nobody knows is open."
    )


def sentences(found: Found) -> list[str]:
    """What is told of each configuration beside the baseline, a paragraph each."""
    base = _baseline(found)
    told = []
    for one in [one for one in found["configurations"] if one is not base]:
        alone = min(len(one["runs"]), len(base["runs"])) == 1
        last = one["against"]["last"]
        apart = f"{_bounded(last, _points, 'accuracy')} points: {_verdict(last, alone, 'better', 'worse')}"
        timed = one["seconds"] and base["seconds"]
        raced = "; ".join(_raced(one, base, unit, alone) for unit in (FORMS if timed else ["steps"]))
        told.append(f"{one['name']} against {base['name']}, at the end: {apart}. To {goal(found)}: {raced}.")
    return told


def _raced(one: Found, base: Found, unit: str, alone: bool) -> str:
    pair = [each["to_target"][unit]["value"] for each in (one, base)]
    amounts = " against ".join("never" if each is None else FORMS[unit](each) for each in pair)
    saved = one["to_target"][f"{unit}_saved"]
    if pair == [None, None]:
        return f"neither arrives, in {unit}"
    if None in pair or saved["value"] is None:
        return f"{amounts} {unit}"
    return f"{amounts} {unit}, saved {_bounded(saved, _percent)}: {_verdict(saved, alone, 'faster', 'slower')}"


def _verdict(found: Found, alone: bool, better: str, worse: str) -> str:
    if alone:
        return "one seed, so another may disagree"
    if (found["low"] or 0) > 0:
        return f"{better}, shown"
    return f"{worse}, shown" if (found["high"] or 0) < 0 else "no difference shown"


def _baseline(found: Found) -> Found:
    one: Found = next(one for one in found["configurations"] if one["name"] == found["baseline"])
    return one


# Tables


def tables(found: Found) -> Iterator[tuple[str, list[list[str]]]]:
    """(title, rows of cells, the head first)."""
    every, base, benchmarks = found["configurations"], found["baseline"], found["benchmarks"]
    of = f" ({found['problems']} problems)" if found["problems"] else ""
    minus = f"minus {base}, points"
    head = ["", "seeds", "at the end [95 %]", "step", minus, "peak, held out [95 %]", "step", minus]
    on = "" if benchmarks == ["accuracy"] else f" on {', '.join(benchmarks)}"
    yield f"Accuracy{on}{of}", [head, *map(_accuracy, every)]
    for when, name in (("last", "at the end"), ("peak", "at the peak step")) if len(benchmarks) > 1 else ():
        rows = [[one["name"], *map(_share, one[when]["benchmarks"].values())] for one in every]
        yield f"Accuracy {name}, by benchmark", [["", *benchmarks], *rows]
    head = [
        "",
        "steps [95 %]",
        "saved [95 %]",
        "hours [95 %]",
        "saved [95 %]",
        "peak to peak: steps saved",
        "hours saved",
    ]
    yield f"Steps and hours to {goal(found)}", [head, *map(_race, every)]
    if timed := [one for one in every if one["seconds"]]:
        parts = [part for part in (*PARTS, "whole") if any(part in one["seconds"] for one in timed)]
        rows = [
            [one["name"], *(f"{one['seconds'][part]:.3f}" if part in one["seconds"] else "" for part in parts)]
            for one in timed
        ]
        yield "Seconds a step", [["", *parts], *rows]
    if keys := shown_metrics(key for one in every for key in one["metrics"]):
        rows = [[one["name"], *(_mean(key, one["metrics"].get(key)) for key in keys)] for one in every]
        yield "Means over the training", [["", *(metric(key).title for key in keys)], *rows]
    if rows := [[one["name"], key, *map(_setting, pair)] for one in every for key, pair in one["differs"].items()]:
        yield f"What differs from {base}", [["", "setting", "here", f"in {base}"], *rows]
    for model in dict.fromkeys(one["model"] for one in every if one["model"]):
        if known := published.near(model):
            own = [name for name in benchmarks if any(name in row["benchmarks"] for row in known)]
            head = ["", "reported by", *own, "mean", "of", "peak step", "hours", "s a step", "evaluated by"]
            yield f"Published for {model.rpartition('/')[2]}", [head, *(_published(row, own) for row in known)]


def _accuracy(one: Found) -> list[str]:
    last, peak, against = one["last"], one["peak"], one.get("against")
    apart = [_bounded(against[when], _points, "accuracy") if against else "" for when in ("last", "peak")]
    shares = [_bounded(each, _share, "accuracy") for each in (last, peak)]
    steps = [_steps(each["step"]) for each in (last, peak)]
    return [one["name"], str(len(one["runs"])), shares[0], steps[0], apart[0], shares[1], steps[1], apart[1]]


def _race(one: Found) -> list[str]:
    race, against = one["to_target"], one.get("against")
    cells = [one["name"]]
    for unit, form in FORMS.items():
        measured = unit == "steps" or one["seconds"]
        saved = _bounded(race[f"{unit}_saved"], _percent, missing="") if against else ""
        cells += [_bounded(race[unit], form), saved] if measured else ["not measured", ""]
    saves = [against[f"peak_{unit}_saved"] if against else None for unit in FORMS]
    apart = f" at {_points(against['peak']['accuracy'])} points" if against else ""
    return [*cells, *("" if value is None else _percent(value) + apart for value in saves)]


def _setting(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _mean(name: str, curve: list[list[float]] | None) -> str:
    return format(sum(point[1] for point in curve) / len(curve), metric(name).format) if curve else ""


def _published(row: Found, benchmarks: list[str]) -> list[str]:
    shares = [row["benchmarks"].get(name) for name in benchmarks] + [row["mean"]]
    costs = [row[key] for key in ("peak_step", "hours", "seconds_per_step")]
    source = row["paper"] if row["reported_by"] == "paper" else f"{row['paper']}: {row['reported_by']}"
    shown = ["" if share is None else _share(share) for share in shares]
    return [
        row["method"],
        source,
        *shown,
        row["mean_of"],
        *("" if cost is None else f"{cost:g}" for cost in costs),
        row["evaluated"],
    ]


# Files


def text(found: Found) -> str:
    """The whole comparison as Markdown, which is also what the terminal shows."""
    parts = [lead(found)]
    parts += [f"## {title}\n\n{markdown(rows)}" for title, rows in tables(found)]
    return "\n\n".join([*parts, *sentences(found), *(f"Note: {note}" for note in found["notes"])])


def lines(found: Found) -> str:
    """Every number as CSV: configuration, quantity, step, value, low, high; what is not known is empty."""
    rows: list[list[Any]] = []
    for one in found["configurations"]:
        name = one["name"]
        for key in ("last", "peak"):
            each = one[key]
            rows.append([name, f"accuracy {key}", each["step"], each["accuracy"], each["low"], each["high"]])
            rows += [[name, f"{own} {key}", each["step"], value] for own, value in each["benchmarks"].items()]
        for key, each in one.get("against", {}).items():
            bounded = isinstance(each, dict)
            rows.append(
                [name, f"difference {key}", "", *([each["accuracy"], each["low"], each["high"]] if bounded else [each])]
            )
        rows += [[name, key.replace("_", " "), "", *each.values()] for key, each in one["to_target"].items()]
        rows += [[name, f"seconds {part}", "", value] for part, value in one["seconds"].items()]
        rows += [[name, "accuracy", each["step"], each["accuracy"], each["low"], each["high"]] for each in one["curve"]]
        rows += [[name, key, *point] for key, curve in one["metrics"].items() for point in curve]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["configuration", "quantity", "step", "value", "low", "high"])
    writer.writerows([*row, *[""] * (6 - len(row))] for row in rows)
    return file.getvalue()


def write(found: Found, out: Path) -> Path:
    """Everything into a folder: comparison.md, .csv, .json, curves.png and .svg, report.html -> the last of them."""
    from manypaths.comparison import figures

    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / "comparison.md", text(found) + "\n")
    atomic_write(out / "comparison.csv", lines(found))
    atomic_write(out / "comparison.json", json.dumps(found, indent=1, allow_nan=False))
    panels = figures.panels(found)
    figures.save(panels, out)
    names = [one["name"] for one in found["configurations"]]
    legend = [(name, *figures.look(name, names)) for name in names]
    atomic_write(out / "report.html", page(found, figures.inline(panels), legend))
    return out / "report.html"


def page(found: Found, pictures: list[tuple[str, str]], legend: list[tuple[str, str, str]]) -> str:
    """The report as HTML that asks the network for nothing.

    `pictures` are (what it shows in words, SVG), `legend` (configuration, its colour in them, solid or dashed).
    """
    shown = [
        f"<figure>{svg.replace('<svg ', f'<svg role=img aria-label={_quoted(words)} ', 1)}</figure>"
        for words, svg in pictures
    ]
    cells = {
        "title": html.escape(title(found)),
        "lead": html.escape(lead(found)),
        "sentences": "".join(f"<p>{html.escape(each)}</p>" for each in sentences(found)),
        "notes": "".join(f"<li>{html.escape(each)}</li>" for each in found["notes"]),
        "figures": "".join(shown),
        "legend": "".join(
            f'<li><i style="border-top: 0.2rem {dashes} {colour}"></i>{html.escape(name)}</li>'
            for name, colour, dashes in legend
        ),
        "tables": "".join(f"<h2>{html.escape(title)}</h2>{_table(rows)}" for title, rows in tables(found)),
    }
    template = files("manypaths.comparison").joinpath("report.html").read_text("utf-8")
    return re.sub(r"{{(\w+)}}", lambda match: cells[match[1]], template)


def title(found: Found) -> str:
    """The configurations in a line."""
    base, *others = (one["name"] for one in found["configurations"])
    return (
        f"{', '.join(others) if len(others) < 4 else f'{len(others)} configurations'} against {base}"
        if others
        else base
    )


def _quoted(words: str) -> str:
    return f'"{html.escape(words)}"'


def _table(rows: list[list[str]]) -> str:
    """Each cell knows the name of its column, for screens where a row is shown as a card."""
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
