"""The outcomes of all checks as JSON and the inspection page have them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manypaths import logs
from manypaths.check.diagnosis import TITLES, diagnose
from manypaths.check.outcome import Outcome
from manypaths.check.settings import read_settings
from manypaths.logs import Log, Options
from manypaths.logs.places import places
from manypaths.printable import one_line


def of_page(path: Path, options: Options | None = None, log: Log | None = None) -> dict[str, Any]:
    """{"checks": the entries of a run or a log, "unchecked": why it was not checked, or null}.

    Args:
        path: the run folder or the log.
        options: what the user says about it.
        log: its content, if it was read already.
    """
    try:
        log = log or logs.read(path, options)
        return {"checks": entries(log, diagnose(log, read_settings(path))), "unchecked": None}
    except (ValueError, OSError) as error:
        return {"checks": [], "unchecked": one_line(error)}


def entries(log: Log, outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """One dict for each check: name, title, state, sentence, figure, groups as {step, group}, and advice."""
    where = places(log)
    return [
        {
            "name": name,
            "title": TITLES[name],
            "state": outcome.state,
            "sentence": outcome.sentence,
            "figure": _figure(outcome),
            "groups": [dict(zip(("step", "group"), where[position], strict=True)) for position in outcome.groups],
            "advice": outcome.advice,
        }
        for name, outcome in outcomes.items()
    ]


def _figure(outcome: Outcome) -> dict[str, float | None] | None:
    if outcome.figure is None:
        return None
    return {name: value if math.isfinite(value) else None for name, value in outcome.figure._asdict().items()}
