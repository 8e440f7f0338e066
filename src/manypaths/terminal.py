"""What reaches a terminal alone: progress bars and colours. In a pipe or a log file there are whole lines only."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any, TextIO

COLOURS = {"red": 31, "yellow": 33}  # numbers of ANSI escape sequences
BARS = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
NO_GPU = "Setting accelerator to CPU"  # DeepSpeed's warning at its import by accelerate, on every machine without GPU


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees what is written to a stream as it is written."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def quieten_libraries() -> None:
    """Switch off what other libraries write into logs: progress bars, made of carriage returns, and a false alarm.

    To be called before these libraries are imported, which read the settings then. A setting of the user stays.
    """
    if not is_terminal(sys.stderr):
        for name in BARS:
            os.environ.setdefault(name, "1")
    logging.getLogger("DeepSpeed").addFilter(lambda record: not record.getMessage().startswith(NO_GPU))


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """The text in one of `COLOURS` and bold on a terminal; as it is elsewhere, and where NO_COLOR is set."""
    if not is_terminal(stream) or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[1;{COLOURS[colour]}m{text}\x1b[0m"


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line to a stream, by default stdout, above the bars of this process."""
    stream = sys.stdout if stream is None else stream
    if is_terminal(sys.stderr) and "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=stream)
        stream.flush()
    else:
        print(line, file=stream, flush=True)


def caution(sentence: str) -> None:
    """Print a sentence as a caution to stderr."""
    say(f"{coloured('Caution:', 'yellow', sys.stderr)} {sentence}", sys.stderr)


class Bar:
    """A progress bar on stderr where that is a terminal and tqdm is installed; nothing elsewhere.

    Args:
        title: stands before the bar.
        total: how many units there are.
        done: how many of them were done before.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self._bar: Any = None
        if is_terminal(sys.stderr):
            with contextlib.suppress(ImportError):
                from tqdm import tqdm

                self._bar = tqdm(desc=title, total=total, initial=done, leave=False, dynamic_ncols=True)

    @property
    def is_shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def reach(self, done: int, note: str = "") -> None:
        """Show that so many units are done, with a note behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
