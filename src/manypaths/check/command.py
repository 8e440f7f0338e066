"""`manypaths check`: what is wrong with a training, printed, with an exit status."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from typing import Any

from manypaths.check.diagnosis import TITLES, diagnose
from manypaths.check.entries import entries
from manypaths.check.outcome import FOUND, NOT_SHOWN, UNCHECKED, Outcome
from manypaths.check.reading import read
from manypaths.check.settings import read_settings
from manypaths.files import as_json
from manypaths.logs import Log, arguments
from manypaths.logs.places import places, words
from manypaths.printable import counted, escaped, one_line

WIDTH = 100


def check(options: argparse.Namespace) -> int:
    """Print the outcome of every check of a log.

    Args:
        options: `log` is the path of a run or a log, `json` whether to print JSON, and those of `logs.arguments`.

    Returns:
        1 where something was found, else 0, also where checks were not possible.

    Raises:
        ValueError: The log cannot be read.
    """
    log = read(options.log, arguments.options(options))
    settings = read_settings(options.log)
    outcomes = diagnose(log, settings)
    notes = [*log.notes, *settings.notes]
    print(as_json(as_data(log, outcomes, notes), indent=2) if options.json else page(log, outcomes, notes))
    return int(any(outcome.state == FOUND for outcome in outcomes.values()))


def as_data(log: Log, outcomes: Mapping[str, Outcome], notes: list[str]) -> dict[str, Any]:
    """The outcomes as JSON has them; an end of an interval that is unknown is null."""
    return {
        "log": str(log.path),
        "kind": log.kind,
        "groups": len(log.groups),
        "checks": entries(log, outcomes),
        "notes": notes,
    }


def page(log: Log, outcomes: Mapping[str, Outcome], notes: list[str]) -> str:
    """The outcomes as text: findings first, then what is not shown, then what the log does not allow, and the notes."""
    where = places(log)
    groups, metrics = counted(len(log.groups), "group"), counted(len(log.metrics), "line")
    lines = [f"{one_line(log.path)}: {log.kind}, {groups}, {metrics} of metrics", ""]
    for state in (FOUND, NOT_SHOWN, UNCHECKED):
        for name, outcome in outcomes.items():
            if outcome.state != state:
                continue
            lines += [f"{state.upper() if state == FOUND else state}: {TITLES[name]}", *_wrapped(outcome.sentence)]
            if outcome.groups:
                lines += _wrapped(f"Groups: {'; '.join(words(where[position]) for position in outcome.groups)}.")
            if outcome.advice:
                lines += _wrapped(f"To do: {outcome.advice}")
    lines += ["", *(line for note in notes for line in _wrapped(f"Note: {note}"))] if notes else []
    states = [outcome.state for outcome in outcomes.values()]
    alarms, not_checked = states.count(FOUND), states.count(UNCHECKED)
    ending = f"; {not_checked} not checkable" if not_checked else ""
    return "\n".join([*lines, "", f"{alarms} of {len(states)} checks found something{ending}."])


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(escaped(text), WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
