"""The command line: manypaths train | evaluate | grade | compare | sweep | inspect | recipes | doctor. Wiring only."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from manypaths import __version__
from manypaths.grading import GraderError
from manypaths.printable import one_line

Commands = Any  # what add_subparsers returns, for which argparse has no public name

HEAD_START = 5.0  # seconds that the first process has to print an error before another prints the same one
STOPPED = {"train": " from the last checkpoint", "evaluate": "; problems that were finished are kept"}
COLUMN = 'a column, a path (reward_model.ground_truth), a template ("{Body} {Question}"), or chat messages'


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words behind `manypaths`; by default those of this process.

    Returns:
        The exit code: 0 for success, 2 for a mistake in the arguments or the data, with one sentence on stderr, 130 for
        an interruption; 1 for a sweep with failed runs and for a machine that cannot run the quickstart.

    Raises:
        SystemExit: The arguments do not fit the command's usage, or ask for --help or --version.
    """
    options = _parse(arguments)
    warnings.simplefilter("ignore", FutureWarning)  # libraries warn about each other
    try:
        return int(options.command(options))
    except BrokenPipeError:  # a reader such as head has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        return _complain(options, "PyYAML must be installed. Run: pip install pyyaml. See: manypaths doctor")
    except (ValueError, OSError, GraderError) as error:
        return _complain(options, one_line(error))
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print(f"Stopped. The same command resumes{STOPPED.get(options.name, '')}.", file=sys.stderr)
        return 130


def _complain(options: argparse.Namespace, message: str) -> int:
    rank = int(os.environ.get("RANK", "0"))
    if rank:  # the first process prints the same message and ends, on which the launcher ends this process
        time.sleep(HEAD_START)
    process = f", process {rank}" if rank else ""
    print(f"manypaths {options.name}{process}: {message}", file=sys.stderr)
    return 2


def as_process() -> NoReturn:
    """Run one command, and end the process with its exit code."""
    code = main()
    if "LOCAL_RANK" in os.environ:  # one of several processes
        from manypaths.training.launch import exit_process

        exit_process(code)
    sys.exit(code)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    top = parser()
    options, more = top.parse_known_args(arguments)  # recipes and overrides may also follow an option
    if more and ("recipes" not in options or any(word.startswith("-") for word in more)):
        top.error(f"unrecognized arguments: {' '.join(more)}")
    options.recipes = getattr(options, "recipes", []) + more
    return options


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed `command` is the function that runs the command."""
    top = argparse.ArgumentParser(prog="manypaths", description="Diversity-aware GRPO training of language models.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="name", required=True)
    for add in (
        _add_train,
        _add_evaluate,
        _add_grade,
        _add_compare,
        _add_sweep,
        _add_inspect,
        _add_recipes,
        _add_doctor,
    ):
        add(commands)
    return top


def _add(commands: Commands, name: str, purpose: str, example: str) -> argparse.ArgumentParser:
    epilog = f"Square brackets hold defaults. Example: manypaths {name} {example}"
    added: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose, epilog=epilog)
    return added


def _add_train(commands: Commands) -> None:
    example = "smollm2-135m grpo mmr gsm8k trainer.max_steps=50"
    train = _add(commands, "train", "train a model by recipes, merged from left to right", example)
    train.add_argument("recipes", nargs="*", help="shipped recipes, YAML files, overrides such as trainer.max_steps=5")
    train.add_argument("--out", type=Path, help="run folder; an existing run is resumed [runs/NAMES]")
    train.add_argument("--dry-run", action="store_true", help="only print what the run would do, and its memory")
    train.add_argument(
        "--pilot",
        type=int,
        metavar="N",
        help="only sample N prompts of the first steps, such as 32, and print how many groups have different rewards, "
        "how many completions are cut off, and what the run will take",
    )
    train.add_argument("--gpu", help="GPU to estimate for, with --dry-run: such as h100, a100-40gb, 24gb [h100]")
    train.add_argument(
        "--processes", type=int, metavar="N", help="number of processes; with GPUs, each needs its own [1]"
    )
    train.add_argument(
        "--launch", metavar="NAME", help="sharding: zero2, zero3, fsdp2, or an accelerate configuration [DDP]"
    )
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.train(options)


def _add_evaluate(commands: Commands) -> None:
    example = "runs/mmr-1 --benchmarks gsm8k,math500"
    evaluate = _add(commands, "evaluate", "accuracy of a model or a run on problems, with intervals", example)
    evaluate.add_argument("model", help="run folder, checkpoint, hub id, package:NAME, or the URL of a server (.../v1)")
    evaluate.add_argument("--out", type=Path, help="folder; an existing one is resumed [evaluations/MODEL, or the run]")
    _add_problems(evaluate.add_argument_group("problems"))
    _add_sampling(evaluate.add_argument_group("sampling"))
    evaluate.set_defaults(command=_evaluate)


def _add_problems(group: Any) -> None:
    group.add_argument(
        "--benchmarks", metavar="NAMES", help="some of aime24,math500,amc23,minerva,olympiadbench,gsm8k,svamp"
    )
    group.add_argument("--data-dir", metavar="FOLDER", help="folder that holds the benchmarks as files [the hub]")
    group.add_argument(
        "--problems",
        metavar="NAME",
        help="arithmetic, gsm8k, svamp, a file (.jsonl .json .csv .tsv .parquet, .gz), or a hub data set",
    )
    group.add_argument("--split", metavar="NAME", help="split of a data set [its usual or only one]")
    group.add_argument("--problem-column", metavar="COLUMN", help=f"where the problem is: {COLUMN} [its usual names]")
    group.add_argument(
        "--answer-column", metavar="COLUMN", help="where the correct answer is, likewise [its usual names]"
    )
    group.add_argument("--revision", metavar="NAME", help="commit, tag or branch of a hub data set [the newest]")
    group.add_argument("--limit", type=int, metavar="N", help="number of problems, the first ones of each set [all]")


def _add_sampling(group: Any) -> None:
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
    group.add_argument("--backend", choices=("transformers", "vllm", "server"), help="[vllm where it is installed]")
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


def _evaluate(options: argparse.Namespace) -> int:
    from manypaths.evaluation import command

    return command.evaluate_model(options)


def _add_grade(commands: Commands) -> None:
    grade = _add(commands, "grade", "grade completions that other software sampled", "samples.jsonl --out graded.jsonl")
    grade.add_argument("samples", type=Path, help="file: .jsonl, .json, .csv, .tsv or .parquet, each also as .gz")
    grade.add_argument(
        "--text-column",
        metavar="COLUMN",
        help=f"where the completion, or a list of them, is: {COLUMN} [its usual names]",
    )
    grade.add_argument(
        "--gold-column", metavar="COLUMN", help="where the correct answer is, likewise [its usual names]"
    )
    grade.add_argument(
        "--unboxed", choices=("last-number", "last-math"), help="how to read completions without a box [as wrong]"
    )
    grade.add_argument("--out", type=Path, help="JSON lines file for every problem with its verdicts [none]")
    grade.set_defaults(command=_grade)


def _grade(options: argparse.Namespace) -> int:
    from manypaths.evaluation import grade_command

    return grade_command.grade(options)


def _add_compare(commands: Commands) -> None:
    example = "runs/grpo-1 runs/mmr-1 --out comparison"
    compare = _add(commands, "compare", "runs against a baseline, in accuracy, steps and hours", example)
    compare.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="run folders, folders of them, .csv tables, results of lighteval, lm-eval, transformers, TRL, verl",
    )
    compare.add_argument(
        "--metric",
        metavar="NAME",
        help="accuracy, pass@K, distinct@K, majority, or a metric that another trainer logged [accuracy]",
    )
    compare.add_argument(
        "--baseline", metavar="NAME", help="name of a configuration [the first that does not reweight]"
    )
    compare.add_argument(
        "--target", metavar="VALUE", help="accuracy such as 0.70, peak-of-baseline, 90%%-of-rise [peak-of-baseline]"
    )
    compare.add_argument(
        "--margin", type=float, metavar="POINTS", help="largest difference that does not matter, to show equivalence"
    )
    compare.add_argument(
        "--paired",
        action=argparse.BooleanOptionalAction,
        help="take differences seed by seed [from 10 shared seeds on]",
    )
    compare.add_argument("--protocol", type=Path, metavar="FILE", help="YAML with arms, endpoints, margin, correction")
    compare.add_argument("--unit", choices=("percent", "share"), help="unit of the accuracies in files of others")
    compare.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="MEANING=HEADER,...",
        help="columns of tables, such as run=method,seed=trial",
    )
    compare.add_argument(
        "--where", action="append", default=[], metavar="HEADER=VALUE,...", help="rows of tables that are read [all]"
    )
    compare.add_argument("--out", type=Path, help="folder for tables, curves and a report [none]")
    compare.add_argument("--published", action="store_true", help="print the papers' tables and check their headlines")
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from manypaths.comparison import command

    return command.compare(options)


def _add_sweep(commands: Commands) -> None:
    sweep = _add(commands, "sweep", "train a grid of recipes and seeds, then compare the runs", "grid.yaml")
    sweep.add_argument("grid", type=Path, help="YAML file with recipes, grid, seeds, and what to compare")
    sweep.add_argument("--out", type=Path, help="folder of the runs; several machines may share it [runs/GRID]")
    sweep.add_argument("--dry-run", action="store_true", help="only list the runs and their states")
    sweep.set_defaults(command=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    from manypaths.comparison.command import Question, check, print_comparison
    from manypaths.training import command

    return command.sweep(options, Question, check, print_comparison)


def _add_inspect(commands: Commands) -> None:
    inspect = _add(commands, "inspect", "write the page that shows the groups of a run", "runs/mmr-1")
    inspect.add_argument("run", type=Path, help="run folder")
    inspect.add_argument("--out", type=Path, help="HTML file [RUN/inspect.html]")
    inspect.set_defaults(command=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.inspect(options)


def _add_recipes(commands: Commands) -> None:
    recipes = _add(commands, "recipes", "list the shipped recipes, or print some of them merged", "grpo mmr")
    recipes.add_argument("recipes", nargs="*", help="recipes and overrides, as for train [list all]")
    recipes.set_defaults(command=_recipes)


def _recipes(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.recipes(options)


def _add_doctor(commands: Commands) -> None:
    doctor = _add(commands, "doctor", "what this machine can run, and what is missing for the rest", "--offline")
    doctor.add_argument("--offline", action="store_true", help="do not test the connection to the Hugging Face hub")
    doctor.add_argument("--json", action="store_true", help="print JSON, to attach to a bug report")
    doctor.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from manypaths.preflight import doctor

    facts = doctor.facts(options.offline)
    findings = doctor.find(facts)
    print(doctor.as_json(facts, findings) if options.json else doctor.page(findings))
    return 0 if doctor.can_start(findings) else 1


if __name__ == "__main__":
    as_process()
