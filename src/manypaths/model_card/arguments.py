"""The arguments of `manypaths publish`."""

from __future__ import annotations

import argparse
from pathlib import Path


def publish(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths publish`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, of a training that is finished")
    parser.add_argument(
        "--to", metavar="NAME", help="the model on the hub, user/name: weights, model card and recipe [none is sent]"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="a data set on the hub, user/name: groups, metrics, evaluations, with all completions [none is sent]",
    )
    parser.add_argument(
        "--private",
        action=argparse.BooleanOptionalAction,
        help="whether what is made on the hub is private [as your account or organisation has it]",
    )
    parser.add_argument(
        "--license", metavar="ID", help="licence for the card, an identifier of the hub such as apache-2.0 [left out]"
    )
    parser.add_argument("--revision", metavar="BRANCH", help="branch on the hub [main]")
    parser.add_argument("--dry-run", action="store_true", help="only list the files that would be sent")
