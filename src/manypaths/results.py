"""A folder with the results of an evaluation."""

from __future__ import annotations

import glob
import statistics
from pathlib import Path
from typing import Any

from manypaths.files import as_json, atomic_write, content_of, read_json


def parts(out: Path) -> list[Path]:
    """Where the processes keep what there is before all are done."""
    return sorted(out.parent.glob(f"{glob.escape(out.name)}.part*"))


def claim(folder: Path, settings: dict[str, Any], environment: dict[str, Any] | None = None) -> None:
    """Make sure, with a ValueError, that a folder is new or has results of the same settings.

    With an `environment` (device, versions) both are written to settings.json: the settings as they are, and every
    environment in which the evaluation ran, under `environments`.
    """
    there = folder / "settings.json"
    known = read_json(there) or None
    begun = folder.exists() and any(path != there for path in content_of(folder))
    if begun and known is None:
        raise ValueError(f"{str(folder)!r} is not empty and holds no results. Give --out a new or an empty folder.")
    if begun and known is not None:
        differing = [
            f"{key} {repr(known[key]) if key in known else 'not recorded'} there, {value!r} here"
            for key, value in settings.items()
            if key not in known or known[key] != value
        ]
        if differing:
            told = "; ".join(differing)
            raise ValueError(f"{str(folder)!r} holds results of other settings ({told}). Give another --out.")
    if environment is not None:
        before = (known or {}).get("environments", []) if begun else []
        environments = [one for one in before if one != environment] + [environment]
        atomic_write(there, as_json({**settings, "environments": environments}, indent=2))


def share_correct(line: dict[str, Any]) -> float:
    """The share of a problem's samples that are correct."""
    return statistics.fmean(sample["correct"] for sample in line["samples"])
