"""The arguments of `manypaths compare`."""

from __future__ import annotations

import argparse
from pathlib import Path


def compare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths compare`."""
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="run folders, folders of them, rows.jsonl.gz of sweeps, .csv tables, results of lighteval, lm-eval, "
        "transformers, TRL, verl",
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="accuracy, pass@K, distinct@K, majority, or a metric that another trainer logged [accuracy]",
    )
    parser.add_argument("--baseline", metavar="NAME", help="name of a configuration [the first that does not reweight]")
    parser.add_argument(
        "--target", metavar="VALUE", help="accuracy such as 0.70, peak-of-baseline, 90%%-of-rise [peak-of-baseline]"
    )
    parser.add_argument(
        "--margin", type=float, metavar="POINTS", help="largest difference that does not matter, to show equivalence"
    )
    parser.add_argument(
        "--paired",
        action=argparse.BooleanOptionalAction,
        help="take differences seed by seed [from 10 shared seeds on]",
    )
    parser.add_argument("--protocol", type=Path, metavar="FILE", help="YAML with arms, endpoints, margin, correction")
    parser.add_argument("--unit", choices=("percent", "share"), help="unit of the accuracies in files of others")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="MEANING=HEADER,...",
        help="columns of tables, such as run=method,seed=trial",
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="HEADER=VALUE,...", help="rows of tables that are read [all]"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder for tables, curves and a report [none is written]"
    )
    parser.add_argument("--published", action="store_true", help="print the papers' tables and check their headlines")
