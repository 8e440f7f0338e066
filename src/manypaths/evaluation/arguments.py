"""The arguments of `manypaths evaluate` and `grade`."""

from __future__ import annotations

import argparse
from pathlib import Path

COLUMN = 'a column, a path (reward_model.ground_truth), a template ("{Body} {Question}"), or chat messages'


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths evaluate`."""
    parser.add_argument(
        "model", metavar="MODEL", help="run folder, checkpoint, hub id, package:NAME, or the URL of a server (.../v1)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="folder; an existing one is resumed [evaluations/MODEL; for benchmarks of a run, in the run]",
    )
    _add_problems(parser)
    _add_sampling(parser)


def _add_problems(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("problems")
    group.add_argument(
        "--benchmarks", metavar="NAMES", help="some of aime24,math500,amc23,minerva,olympiadbench,gsm8k,svamp"
    )
    group.add_argument("--data-dir", metavar="FOLDER", help="folder that holds the benchmarks as files [the hub]")
    group.add_argument(
        "--problems",
        metavar="NAME",
        help="arithmetic, colouring, countdown, cover, gsm8k, svamp, a file (.jsonl .json .csv .tsv .parquet, .gz), or "
        "a hub data set",
    )
    group.add_argument(
        "--split",
        metavar="NAME",
        help="split of a data set [train; of a benchmark its usual one; of a file the only one]",
    )
    group.add_argument(
        "--problem-column",
        metavar="COLUMN",
        help=f"where the problem is: {COLUMN} [problem, question or prompt, where one of them is there]",
    )
    group.add_argument(
        "--answer-column",
        metavar="COLUMN",
        help="where the correct answer is, likewise [answer, final_answer, ground_truth, solution, ...]",
    )
    group.add_argument("--revision", metavar="NAME", help="commit, tag or branch of a hub data set [the newest]")
    group.add_argument("--limit", type=int, metavar="N", help="number of problems, the first ones of each set [all]")


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--prompt", metavar="TEXT", help="text that contains {question} [the run's own prompt, else a chat message]"
    )
    group.add_argument(
        "--samples", type=int, metavar="N", help="completions per problem [16 for benchmarks; the run's own; else 1]"
    )
    group.add_argument(
        "--temperature", type=float, metavar="T", help="0 is greedy [0.6 for benchmarks; the run's own; else 0]"
    )
    group.add_argument(
        "--top-p", type=float, metavar="P", help="nucleus sampling [0.95 for benchmarks; the run's own; else 1]"
    )
    group.add_argument(
        "--max-new-tokens",
        type=int,
        metavar="N",
        help="tokens per completion [32768 for benchmarks; the run's own; else 256]",
    )
    group.add_argument(
        "--batch-size", type=int, metavar="N", help="sequences per batch, with transformers [the run's own, else 32]"
    )
    group.add_argument("--seed", type=int, metavar="N", help="random seed [the run's own, else 1]")
    dtypes = ("bfloat16", "float16", "float32")
    group.add_argument("--dtype", choices=dtypes, help="type of the weights [the run's own, else bfloat16]")
    group.add_argument(
        "--backend",
        choices=("transformers", "vllm", "server"),
        help="what samples [server for a URL, else vllm where it is installed, else transformers]",
    )
    group.add_argument("--model-name", metavar="NAME", help="model name on the server [the first listed]")
    group.add_argument(
        "--keys",
        metavar="NAME",
        help="keys function by which distinct right answers are counted: equations, expression, bigrams, text, your own"
        " (module.function) [the run's own, else answer, by which a problem with one right answer has one way]",
    )
    group.add_argument(
        "--patience", type=float, metavar="SECONDS", help="seconds to wait for any completion of the server [3600]"
    )


def grade(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `manypaths grade`."""
    parser.add_argument(
        "samples", type=Path, metavar="FILE", help="file: .jsonl, .json, .csv, .tsv or .parquet, each also as .gz"
    )
    parser.add_argument(
        "--text-column",
        metavar="COLUMN",
        help=f"where the completion, or a list of them, is: {COLUMN} [samples, completions, completion, response, ...]",
    )
    parser.add_argument(
        "--gold-column",
        metavar="COLUMN",
        help="where the correct answer is, likewise [gold, answer, target, ground_truth, solution, ...]",
    )
    parser.add_argument(
        "--unboxed", choices=("last-number", "last-math"), help="how to read completions without a box [as wrong]"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="JSON lines file for every problem with its verdicts [none is written]"
    )
