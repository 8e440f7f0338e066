"""A run folder in, one self-contained HTML page out: which completion was raised or lowered, and because of whom.

The page carries its data as JSON and asks the network for nothing. Completions are whatever a model wrote, so they
are taken as hostile: nothing in the data can end the script element it travels in, and the page shows it as text only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from manypaths.files import atomic_write

Entry = dict[str, Any]
T = TypeVar("T")
CURVES = ("reward", "rewards/accuracy/mean", "diversity/similarity", "diversity/lam")
LARGEST = 2**26  # bytes of groups.jsonl in one page; of a larger file every so many steps are shown
LONGEST = 4000  # characters of one text; a longer one keeps its two ends
UNSAFE = re.compile(r"[<>&\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # markup, control, line ends, what UTF-8 cannot hold


def write_page(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run folder, by default as `run/inspect.html`; return its path.

    A last line that is cut short is left out: the run is still going, or was killed. A step that sampled more than
    once numbers its groups on; of a metric that a step has twice the later counts. NaN and infinity become null.
    Where the groups are more than `LARGEST`, they are never in memory as a whole: the page has every so many steps, the
    last among them, and says of how many. Raises ValueError for a missing file, for a run without groups, and for
    whatever cannot be read.
    """
    for name in ("groups.jsonl", "metrics.jsonl"):
        if not (run / name).is_file():
            raise ValueError(f"write_page asks for the folder that training writes to; given {run}: it has no {name}.")
    steps, shown = _steps(run / "groups.jsonl")
    groups: dict[tuple[int, int], Entry] = {}
    for group in _read(run / "groups.jsonl", lambda line: _group(line) if int(line["step"]) in shown else None):
        while (group["step"], group["group"]) in groups:
            group["group"] += 1
        groups[group["step"], group["group"]] = group
    if not groups:
        raise ValueError(f"write_page asks for at least one group; {run} has none yet: wait for the first step.")
    metrics: dict[int, Entry] = {}
    for line in _read(run / "metrics.jsonl", _metrics):
        metrics.setdefault(line["step"], {}).update(line)
    recipe, summary = run / "recipe.yaml", run / "evaluation" / "summary.json"
    data = {
        "name": run.resolve().name,
        "curves": CURVES,
        "steps": steps,
        "metrics": [metrics[step] for step in sorted(metrics)],
        "groups": [groups[key] for key in sorted(groups)],
        "recipe": recipe.read_text("utf-8", errors="replace") if recipe.is_file() else None,
        "evaluation": _parse(summary.read_bytes(), _evaluation, summary) if summary.is_file() else None,
    }
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    page = files("manypaths.training").joinpath("inspect_page.html").read_text("utf-8").replace("{{data}}", safe)
    out = out or run / "inspect.html"
    atomic_write(out, page)
    return out


def _steps(path: Path) -> tuple[int, set[int]]:
    """(how many steps have groups, those that a page shows: as many as `LARGEST` has room for, evenly spread)."""
    steps = sorted(set(_read(path, lambda line: int(line["step"]))))
    stride = max(1, math.ceil(path.stat().st_size / LARGEST))
    return len(steps), set(steps[::-stride])


def _read(path: Path, parse: Callable[[Any], T | None]) -> Iterator[T]:
    """What `parse` makes of the lines of JSON, if anything; a last one without its end, cut short, is left out."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                parsed = _parse(line, parse, f"{path}, line {number},")
            except ValueError:
                if line.endswith(b"\n"):
                    raise
                return
            if parsed is not None:
                yield parsed


def _parse(text: bytes, parse: Callable[[Any], T], where: object) -> T:
    try:
        return parse(json.loads(text))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        name = type(error).__name__
        raise ValueError(f"{where} is not what a run writes there ({name}: {error}): mend or remove it.") from error


def _metrics(line: Any) -> Entry:
    known = {key: value for key in CURVES if (value := _number(line.get(key))) is not None}
    return {"step": int(line["step"]), **known}


def _group(line: Any) -> Entry:
    matrix, answer = line.get("similarity"), line.get("answer")
    return {
        "step": int(line["step"]),
        "group": int(line["group"]),
        "prompt": _shorten(line["prompt"]),
        "answer": None if answer is None else _shorten(answer),
        "method": line.get("method"),
        "lam": _number(line.get("lam")),
        "completions": [_completion(completion) for completion in line["completions"]],
        "similarity": None if matrix is None else [[_number(value, 3) for value in row] for row in matrix],
    }


def _completion(one: Any) -> Entry:
    return {
        "text": _shorten(one["text"]),
        "rewards": {name: _number(value) for name, value in (one.get("rewards") or {}).items()},
        **{key: _number(one.get(key)) for key in ("raw", "adjusted", "advantage")},
        "nearest": one.get("nearest"),
        "similarity": _number(one.get("similarity"), 3),
    }


def _evaluation(summary: Any) -> Entry:
    keys = ("accuracy", "low", "high", "problems")
    known = {when: summary[when] for when in ("before", "after") if summary.get(when) is not None}
    return {when: {key: _number(numbers.get(key)) for key in keys} for when, numbers in known.items()}


def _number(value: Any, digits: int = 4) -> float | None:
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _shorten(text: str) -> str | list[str | int]:
    """The text, or of a long one [its start, how many characters are left out, its end]."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else [text[:half], len(text) - LONGEST, text[-half:]]
