"""A run folder in, one self-contained HTML page out: which completions were raised or lowered, and by which siblings.

The page contains its data as JSON and makes no network request. Completions may contain anything, markup and scripts
included: no text in the data can end the script element around it, and the page inserts texts as text nodes only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from manypaths import names, run_folder
from manypaths.check.entries import of_page
from manypaths.files import atomic_write, read_json

Entry = dict[str, Any]
T = TypeVar("T")
CURVES = (names.REWARD, names.ACCURACY, names.SIMILARITY, names.VENDI_SCORE, names.ZERO_STD)  # before the diagnostics
PARTS = (
    "inspect_page.css",
    "inspect_data.js",
    "inspect_checks.js",
    "inspect_group.js",
    "inspect_page.js",
    "inspect_page.html",
)
LARGEST = 2**26  # bytes of groups.jsonl in one page; of a larger file the page shows every nth step
LONGEST = 4000  # characters of one text; the middle of a longer one is left out
MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # of JSON with other content
UNSAFE = re.compile(r"[<>&\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # markup, control, line ends, surrogates


def write_page(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run folder.

    An incomplete last line, of a run that is still training or was killed, is left out. Where a step has several
    groups of one number, later ones get the next free number; of a metric that a step has twice the later value counts.
    NaN and infinity become null. Where groups.jsonl is larger than `LARGEST`, the page shows every nth step, the last
    one included, and says so; the file is never in memory as a whole, and the page leaves out what `manypaths check`
    says of the run.

    Args:
        run: The run folder.
        out: The file to write, by default `run/inspect.html`.

    Returns:
        The path of the page.

    Raises:
        ValueError: A file is missing or damaged, or the run has no groups yet.
    """
    for name in (run_folder.GROUPS, run_folder.METRICS):
        if not (run / name).is_file():
            raise ValueError(f"{str(run)!r} must be a run folder with groups, got no {name}. Name a folder of `train`.")
    steps, shown = _steps(run)
    groups: dict[tuple[int, int], Entry] = {}
    for group in _parsed(run_folder.stream_groups(run), _group_of(shown), run / run_folder.GROUPS):
        while (group["step"], group["group"]) in groups:
            group["group"] += 1
        groups[group["step"], group["group"]] = group
    if not groups:
        raise ValueError(f"{str(run)!r} must have at least one group, got none. Wait for the first step.")
    metrics: dict[int, Entry] = {}
    for line in _parsed(run_folder.read_metrics(run), _metrics, run / run_folder.METRICS):
        metrics.setdefault(line["step"], {}).update(line)
    recipe = run / run_folder.RECIPE
    data = {
        "name": run.resolve().name,
        "curves": _curves(metrics.values()),
        "steps": steps,
        "metrics": [metrics[step] for step in sorted(metrics)],
        "groups": [groups[key] for key in sorted(groups)],
        "recipe": recipe.read_text("utf-8", errors="replace") if recipe.is_file() else None,
        "evaluation": _evaluation(run / run_folder.EVALUATION / run_folder.SUMMARY),
        **_checks(run),
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = UNSAFE.sub(lambda character: f"\\u{ord(character[0]):04x}", text)
    out = out or run / run_folder.PAGE
    atomic_write(out, _page(safe))
    return out


def _page(data: str) -> str:
    """The page of its parts; `data` goes in last, so that {{style}} in it stays as it is."""
    style, *scripts, page = (files("manypaths.training").joinpath(name).read_text("utf-8").rstrip() for name in PARTS)
    for name, part in (("style", style), ("script", "\n\n".join(scripts)), ("data", data)):
        page = page.replace(f"{{{{{name}}}}}", part, 1)
    return page + "\n"


def _checks(run: Path) -> Entry:
    """What `manypaths check` says of the run; of a large one only that the command says it."""
    if (run / run_folder.GROUPS).stat().st_size > LARGEST:
        return {"checks": [], "unchecked": "The run is too large to be checked on its page. Run manypaths check."}
    return of_page(run)


def _steps(run: Path) -> tuple[int, set[int]]:
    """(number of steps with groups, the evenly spaced steps that fit into `LARGEST` bytes)."""
    steps = sorted({line["step"] for line in run_folder.stream_groups(run)})
    stride = max(1, math.ceil((run / run_folder.GROUPS).stat().st_size / LARGEST))
    return len(steps), set(steps[::-stride])


def _parsed(lines: Iterable[Entry], parse: Callable[[Entry], T | None], path: Path) -> Iterator[T]:
    """The results of `parse` that are not None. ValueError names the file and the line that `parse` fails on."""
    for number, line in enumerate(lines, 1):
        try:
            parsed = parse(line)
        except MISTAKES as error:
            where = f"{path}, line {number}, is damaged ({type(error).__name__}: {error})"
            raise ValueError(f"{where}. Mend or remove that line.") from error
        if parsed is not None:
            yield parsed


def _metrics(line: Entry) -> Entry:
    """The step of a line of metrics.jsonl, and those of its metrics that the page shows."""
    shown = {name: _figure(line[name]) for name in line if name in CURVES or names.is_diagnostic(name)}
    return {"step": line["step"], **{name: value for name, value in shown.items() if value is not None}}


def _curves(metrics: Iterable[Entry]) -> list[Entry]:
    """{metric, title, meaning} of each metric that some step has, diagnostics of the method last."""
    logged = {name for line in metrics for name in line}
    shown = [*(name for name in CURVES if name in logged), *sorted(filter(names.is_diagnostic, logged))]
    return [_curve(name) for name in shown]


def _curve(name: str) -> Entry:
    row = names.metric(name)
    title = row.title if names.is_diagnostic(name) else row.heading
    return {"metric": name, "title": title, "meaning": row.meaning}


def _group_of(steps: set[int]) -> Callable[[Entry], Entry | None]:
    return lambda line: _group(line) if line["step"] in steps else None


def _group(line: Entry) -> Entry:
    matrix, answer, lam = line.get("similarity"), line.get("answer"), line.get("lam")
    diagnostics = line.get("diagnostics") or ({} if lam is None else {"lam": lam})  # "lam" is of earlier versions
    return {
        "step": line["step"],
        "group": int(line["group"]),
        "prompt": _shorten(line["prompt"]),
        "answer": None if answer is None else _shorten(answer),
        "method": line.get("method"),
        "diagnostics": _diagnostics(diagnostics),
        "completions": [_completion(completion) for completion in line["completions"]],
        "similarity": None if matrix is None else [[_number(value, 3) for value in row] for row in matrix],
    }


def _completion(completion: Entry) -> Entry:
    return {
        "text": _shorten(completion["text"]),
        "rewards": {name: _number(value) for name, value in (completion.get("rewards") or {}).items()},
        **{key: _number(completion.get(key)) for key in ("raw", "adjusted", "advantage")},
        "diagnostics": _diagnostics(completion.get("diagnostics") or {}),
        "nearest": completion.get("nearest"),
        "similarity": _number(completion.get("similarity"), 3),
    }


def _diagnostics(values: Entry) -> list[tuple[str, float | None]]:
    """(name, value) in the order of the file, which a JavaScript object would not keep for names such as "2"."""
    return [(name, _figure(value)) for name, value in values.items()]


def _evaluation(path: Path) -> Entry | None:
    summary, keys = read_json(path), ("accuracy", "low", "high", "problems")
    results = {when: summary[when] for when in ("before", "after") if summary.get(when) is not None}
    try:
        figures = {when: {key: _number(result.get(key)) for key in keys} for when, result in results.items()}
    except MISTAKES as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}). Mend or remove it.") from error
    return figures if path.is_file() else None


def _number(value: Any, digits: int = 4) -> float | None:
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _figure(value: Any) -> float | None:
    """A number of any magnitude, with five significant digits."""
    return float(f"{value:.5g}") if value is not None and math.isfinite(value) else None


def _shorten(text: str) -> str | list[str | int]:
    """The text, or of a long one [its start, the number of omitted characters, its end]."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else [text[:half], len(text) - LONGEST, text[-half:]]
