"""The arguments of `manypaths train`, `pretrain`, `sweep`, `inspect` and `recipes`."""

from __future__ import annotations

import argparse
from pathlib import Path

from manypaths.logs import arguments


def train(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths train`."""
    parser.add_argument(
        "recipes",
        nargs="*",
        metavar="RECIPE",
        help="shipped recipes, YAML files, and overrides such as trainer.max_steps=5; see: manypaths recipes",
    )
    parser.add_argument(
        "--out", type=Path, metavar="RUN", help="run folder; an existing run is resumed [runs/ and the recipes' names]"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what the run would do, and its memory")
    parser.add_argument(
        "--pilot",
        type=int,
        metavar="N",
        help="only sample N prompts of the first steps, such as 32, and print how many groups have different rewards, "
        "how many completions are cut off, and what the run will take",
    )
    parser.add_argument(
        "--gpu", metavar="NAME", help="GPU to estimate for, with --dry-run: such as h100, a100-40gb, 24gb [h100]"
    )
    parser.add_argument(
        "--processes", type=int, metavar="N", help="number of processes; with GPUs, each needs its own [1]"
    )
    parser.add_argument(
        "--launch", metavar="NAME", help="sharding: zero2, zero3, fsdp2, or an accelerate configuration [DDP]"
    )


def pretrain(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths pretrain`."""
    parser.add_argument(
        "recipes",
        nargs="*",
        metavar="RECIPE",
        help="a model, problems that are made here, and overrides such as pretrain.rare=0.05",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="new folder for the model [the name of a new model]")


def sweep(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths sweep`."""
    parser.add_argument(
        "grid",
        type=Path,
        metavar="GRID",
        help="YAML file with recipes, grid, seeds, and what to compare; or a shipped one, such as diversity",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder of the runs; several machines may share it [runs/ and the grid's name]",
    )
    parser.add_argument(
        "--configurations",
        nargs="+",
        metavar="NAME",
        help="train a part of the grid: the values of the axes, joined by - [all]",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="train so many runs at a time, each on cores of its own [1; one per core for models from scratch on CPUs]",
    )
    parser.add_argument("--dry-run", action="store_true", help="only list the runs and their states")


def inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths inspect`."""
    parser.add_argument(
        "log",
        type=Path,
        metavar="RUN_OR_LOG",
        help="run folder, TRL's completions_*.parquet, verl's rollout_data_dir, JSON lines, or a folder of one of them",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="HTML file [inspect.html in the folder, or beside it]")
    parser.add_argument(
        "--embedder",
        metavar="NAME",
        help="how to compute the similarity of completions where it is not in the log: ngram, or a model of "
        "sentence-transformers [not at all]",
    )
    arguments.add(parser)


def recipes(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths recipes`."""
    parser.add_argument(
        "recipes", nargs="*", metavar="RECIPE", help="recipes and overrides, as for train [list all recipes]"
    )
