"""Whether a process still writes: one that has written nothing for a day is taken for one that hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from manypaths.files import LOCK

MOST_STILL = 24 * 3600.0  # seconds without a change of any file
LOOK = 60.0  # seconds between two looks at the files


class Watch:
    """A watch on the files that a process writes. Only changes count, for the clocks of two machines may differ.

    Args:
        paths: Returns the files, and folders whose files all count; called at each look.
    """

    def __init__(self, paths: Callable[[], Iterable[Path]]) -> None:
        self._paths = paths
        self._seen: object = None
        self._looked = self._changed = time.monotonic()

    def is_still(self) -> bool:
        """Whether nothing has changed for `MOST_STILL` seconds."""
        now = time.monotonic()
        if self._seen is None or now - self._looked >= LOOK:
            seen, self._looked = _state(self._paths()), now
            if seen != self._seen:
                self._seen, self._changed = seen, now
        return now - self._changed >= MOST_STILL


def _state(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """The path, size and time of all files but locks, which are touched by those who look at them."""
    states = []
    for path in paths:
        files = [os.path.join(at, name) for at, _, names in os.walk(path) for name in names] or [str(path)]
        for file in files:
            if os.path.basename(file) != LOCK:
                try:
                    status = os.stat(file)
                except OSError:  # it is gone, or was not there
                    continue
                states.append((file, status.st_size, status.st_mtime_ns))
    return sorted(states)
