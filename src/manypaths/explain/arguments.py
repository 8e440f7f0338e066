"""The arguments of `manypaths explain`."""

from __future__ import annotations

import argparse
from pathlib import Path

from manypaths.logs import arguments

SCALES = ("group", "batch", "none")


def explain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths explain`."""
    parser.add_argument(
        "log", type=Path, metavar="LOG", help="run folder, completions of TRL, rollouts of verl, or JSON lines"
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="RECIPES",
        help='recipe of a method, also with overrides, "mmr-paper method.options.lam=0.7"; repeatable [mmr and dra, or '
        "as published where it is unknown which completions are correct; of a run its own method, too]",
    )
    parser.add_argument(
        "--embedder",
        metavar="NAME",
        help="ngram, or a sentence-transformers model: hub id, folder, package:NAME [the run's own, else ngram]",
    )
    parser.add_argument(
        "--scale-rewards",
        choices=SCALES,
        help="standard deviation that advantages are divided by, as in TRL [the run's own, else group]",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="HTML page [explain.html in the folder, or beside the file]"
    )
    parser.add_argument("--groups", type=int, default=100, metavar="N", help="groups on the page, evenly spaced [100]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    arguments.add(parser)
