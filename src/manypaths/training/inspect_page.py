"""A run folder or another log in, one self-contained HTML page out: who was raised or lowered, by which siblings.

The page contains its data as JSON and makes no network request. Completions may contain anything, markup and scripts
included: no text in the data can end the script element around it, and the page inserts texts as text nodes only.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from manypaths import logs, names, run_folder
from manypaths.check.entries import of_page
from manypaths.files import atomic_write, read_json
from manypaths.logs import Log, LoggedGroup, Options
from manypaths.logs.runs import MISTAKES, correct_of, parsed, stream_groups, with_correct
from manypaths.printable import counted
from manypaths.training.inspect_entries import figure, group_entry, number
from manypaths.training.inspect_similarity import Compared

Entry = dict[str, Any]
Compare = Callable[[list[str]], Compared]
CURVES = (names.REWARD, names.ACCURACY, names.SIMILARITY, names.VENDI_SCORE, names.ZERO_STD)  # before the diagnostics
PARTS = (
    "inspect_page.css",
    "inspect_data.js",
    "inspect_checks.js",
    "inspect_group.js",
    "inspect_page.js",
    "inspect_page.html",
)
LARGEST = 2**26  # bytes of the groups in one page; of a larger log the page shows every nth step
PART = 20  # groups of a log without steps that are shown together
UNSAFE = re.compile(r"[<>&\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # markup, control, line ends, surrogates


@dataclass
class Source:
    """What the page is made of. `groups` can be read more than once, one after another; `size` is their bytes."""

    path: Path
    kind: str
    groups: Callable[[], Iterable[LoggedGroup]]
    size: int
    metrics: list[Entry]
    notes: list[str]
    recipe: str | None = None
    evaluation: Entry | None = None
    in_parts: bool = False  # of a log without steps
    log: Log | None = None  # as it was read, for the checks; None for a run folder


def write_page(
    path: Path,
    out: Path | None = None,
    options: Options | None = None,
    compare: Compare | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Write the page of a run folder, or of another log.

    An incomplete last line, of a run that is still training or was killed, is left out. Where a step has several
    groups of one number, later ones get the next free number; of a metric that a step has twice the later value counts.
    NaN and infinity become null. Where the groups are larger than `LARGEST`, the page shows every nth step, the last
    one included, and says so; groups.jsonl is never in memory as a whole. The page of such a log leaves out what
    `manypaths check` says. A log without steps is shown in parts.

    Args:
        path: The run folder, or a log that `manypaths.logs.read` reads.
        out: The file to write, by default `inspect.html` in a folder, and NAME.inspect.html beside a file.
        options: What the user says about the log.
        compare: Computes the similarity of the completions of a group, where the log has none.
        say: Gets a sentence for each thing that was left out or assumed; the page has them, too.

    Returns:
        The path of the page.

    Raises:
        ValueError: A file is missing or damaged, the groups are ambiguous, or the run has no groups yet.
    """
    options = options or Options()
    source = _of_log(path, options) if path.exists() and not logs.is_run(path) else _of_run(path, options)
    if out is None:
        out = path / run_folder.PAGE if path.is_dir() else path.with_name(f"{path.stem}.{run_folder.PAGE}")
    data = _data(source, options, compare)
    if say is not None:
        for note in data["notes"]:
            say(note)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    safe = UNSAFE.sub(lambda character: f"\\u{ord(character[0]):04x}", text)
    atomic_write(out, _page(safe))
    return out


def _data(source: Source, options: Options, compare: Compare | None) -> Entry:
    steps, shown = _steps(source)
    metrics: dict[int, Entry] = {}
    for line in source.metrics:
        metrics.setdefault(line["step"], {}).update(line)
    groups = _entries(source, shown, compare)
    if options.correct and all(row["correct"] is None for group in groups for row in group["completions"]):
        raise ValueError(f"--correct must be a reward of {str(source.path)!r}, got {options.correct!r}.")
    unknown = sum(group["similarity"] is None for group in groups)
    if unknown:
        where = "" if unknown == len(groups) else f" in {counted(unknown, 'group')}"
        source.notes.append(
            f"The similarity of the completions is unknown{where}. "
            "To compute it: manypaths inspect with --embedder ngram, or with a model of sentence-transformers."
        )
    return {
        "name": source.path.resolve().name,
        "kind": None if source.kind == logs.RUN else source.kind,
        "word": "Part" if source.in_parts else "Step",
        "notes": list(dict.fromkeys(source.notes)),
        "curves": _curves(metrics.values()),
        "steps": steps,
        "metrics": [metrics[step] for step in sorted(metrics)],
        "groups": groups,
        "reported": _reported(groups),
        "recipe": source.recipe,
        "evaluation": source.evaluation,
        **_checks(source, options),
    }


def _of_run(run: Path, options: Options) -> Source:
    if not run.exists():
        raise ValueError(f"{str(run)!r} does not exist. Name the folder of a run, or a log that manypaths check reads.")
    for name in (run_folder.GROUPS, run_folder.METRICS):
        if not (run / name).is_file():
            raise ValueError(f"{str(run)!r} must be a run folder with groups, got no {name}. Name a folder of `train`.")
    notes: list[str] = []
    file, recipe, correct, size = run / run_folder.GROUPS, run / run_folder.RECIPE, None, options.group_size
    try:
        correct = correct_of(run, options)
    except ValueError as error:
        notes.append(f"Which completions are correct is unknown: {error}")
    if size is not None:
        notes.append(f"Groups of another size than {size} are left out.")
    return Source(
        run,
        logs.RUN,
        lambda: (
            with_correct(group, correct)
            for group in stream_groups(file, notes)
            if size is None or len(group.completions) == size
        ),
        file.stat().st_size,
        list(parsed(run_folder.read_metrics(run), _metrics, run / run_folder.METRICS)),
        notes,
        recipe.read_text("utf-8", errors="replace") if recipe.is_file() else None,
        _evaluation(run / run_folder.EVALUATION / run_folder.SUMMARY),
    )


def _of_log(path: Path, options: Options) -> Source:
    log = logs.read(path, options)
    groups, in_parts = log.groups, all(group.step is None for group in log.groups)
    notes = list(log.notes)
    if log.kind != logs.RUN:
        notes.append("The log has no adjusted rewards, so that the page does not say who was raised or lowered.")
    if in_parts:
        notes.append(f"The groups are shown in parts of {PART}, in the order of the log.")
    size = sum(len(text) for group in groups for text in (group.prompt, *group.completions))
    metrics = list(parsed(log.metrics, _metrics, path))
    return Source(path, log.kind, lambda: groups, size, metrics, notes, in_parts=in_parts, log=log)


def _placed(source: Source) -> Iterator[tuple[int, int, LoggedGroup]]:
    """(step, number in the step, group) of each group; a log without steps has parts in place of steps.

    The number is that of the run, else the groups of a step count from 0; of equal ones, later ones get the next free.
    """
    taken: set[tuple[int | None, int]] = set()
    for group in source.groups():
        logged = group.extra.get("number") if source.kind == logs.RUN else None
        place = logged if isinstance(logged, int) else 0
        while (group.step, place) in taken:
            place += 1
        taken.add((group.step, place))
        yield place // PART + 1 if group.step is None else group.step, place, group


def _steps(source: Source) -> tuple[int, set[int]]:
    """(number of steps with groups, the evenly spaced steps that fit into `LARGEST` bytes)."""
    steps = sorted({step for step, _, _ in _placed(source)})
    if not steps:
        raise ValueError(f"{str(source.path)!r} must have at least one group, got none. Wait for the first step.")
    stride = max(1, math.ceil(source.size / LARGEST))
    return len(steps), set(steps[::-stride])


def _entries(source: Source, shown: set[int], compare: Compare | None) -> list[Entry]:
    """The groups as the page has them, by step and number."""
    entries = {
        (step, place): {"step": step, "group": place, **group_entry(group, source.kind == logs.RUN, compare)}
        for step, place, group in _placed(source)
        if step in shown
    }
    return [entries[key] for key in sorted(entries)]


def _page(data: str) -> str:
    """The page of its parts; `data` goes in last, so that {{style}} in it stays as it is."""
    style, *scripts, page = (files("manypaths.training").joinpath(name).read_text("utf-8").rstrip() for name in PARTS)
    for name, part in (("style", style), ("script", "\n\n".join(scripts)), ("data", data)):
        page = page.replace(f"{{{{{name}}}}}", part, 1)
    return page + "\n"


def _checks(source: Source, options: Options) -> Entry:
    """What `manypaths check` says of the log; of a large one only that the command says it."""
    if source.size > LARGEST:
        return {"checks": [], "unchecked": "The run is too large to be checked on its page. Run manypaths check."}
    checks = of_page(source.path, options, source.log)
    for place in (place for check in checks["checks"] if source.in_parts for place in check["groups"]):
        place["step"] = place["group"] // PART + 1
    return checks


def _metrics(line: Entry) -> Entry:
    """The step of a line of metrics.jsonl, and those of its metrics that the page shows."""
    shown = {name: figure(line[name]) for name in line if name in CURVES or names.is_diagnostic(name)}
    return {"step": line["step"], **{name: value for name, value in shown.items() if value is not None}}


def _curves(metrics: Iterable[Entry]) -> list[Entry]:
    """{metric, title, meaning} of each metric that some step has, diagnostics of the method last."""
    logged = {name for line in metrics for name in line}
    shown = [*(name for name in CURVES if name in logged), *sorted(filter(names.is_diagnostic, logged))]
    return [_curve(name) for name in shown]


def _curve(name: str) -> Entry:
    row = names.metric(name)
    return {"metric": name, "title": row.heading, "meaning": row.meaning}


def _reported(groups: list[Entry]) -> dict[str, str]:
    """Diagnostic -> what it is, of those of the groups and completions that a method of this package reports."""
    entries = [entry for group in groups for entry in (group, *group["completions"])]
    own = {name for entry in entries for name, _ in entry["diagnostics"]}
    return {name: words for name, words in names.REPORTED.items() if name in own}


def _evaluation(path: Path) -> Entry | None:
    summary, keys = read_json(path), ("accuracy", "low", "high", "problems")
    results = {when: summary[when] for when in ("before", "after") if summary.get(when) is not None}
    try:
        figures = {when: {key: number(result.get(key)) for key in keys} for when, result in results.items()}
    except MISTAKES as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}). Mend or remove it.") from error
    return figures if path.is_file() else None
