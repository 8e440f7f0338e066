"""The groups of any log of a training: our run folder, what TRL and verl write, and JSON lines."""

from __future__ import annotations

from pathlib import Path

from manypaths.logs.log import LINES, RUN, TABLE, TRL, VERL, Log, LoggedGroup, Options

__all__ = ["LINES", "RUN", "TABLE", "TRL", "VERL", "Log", "LoggedGroup", "Options", "is_run", "read"]


def read(path: Path | str, options: Options | None = None) -> Log:
    """Read the groups of a log.

    Args:
        path: a file or a folder.
        options: what the user said about the log.

    Returns:
        the groups by ascending step, with a note for everything that was left out or assumed.

    Raises:
        ValueError: the log cannot be read, or its groups are ambiguous; the message says which option helps.
    """
    from manypaths.logs import reading

    return reading.read(Path(path), options or Options())


def is_run(path: Path) -> bool:
    """Whether a path is a run folder of ours, with groups or still without."""
    from manypaths.logs import reading

    return reading.is_run(path)
