"""The arguments of `manypaths check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from manypaths.logs import arguments


def check(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "log", type=Path, metavar="RUN_OR_LOG", help="run folder, a log of another trainer, or its trainer_state.json"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments.add(parser)
