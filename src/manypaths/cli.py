"""The command line: train, pretrain, evaluate, grade, compare, sweep, inspect, explain, check, recipes, doctor."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from typing import Any, NoReturn

from manypaths import __version__
from manypaths.check import arguments as of_check
from manypaths.comparison import arguments as of_comparison
from manypaths.completion import SHELLS, PrintCompletion
from manypaths.evaluation import arguments as of_evaluation
from manypaths.explain import arguments as of_explain
from manypaths.grading import GraderError
from manypaths.model_card import arguments as of_publish
from manypaths.printable import one_line
from manypaths.terminal import coloured, quieten_libraries
from manypaths.training import arguments as of_training

Commands = Any  # what add_subparsers returns, for which argparse has no public name

HEAD_START = 5.0  # seconds that the first process has to print an error before another prints the same one
STOPPED = {"train": " from the last checkpoint", "evaluate": "; problems that were finished are kept"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words behind `manypaths`; by default those of this process.

    Returns:
        The exit code: 0 for success, 2 for a mistake in the arguments or the data, with one sentence on stderr, 130 for
        an interruption; 1 for a sweep with failed runs, for a machine that cannot run the quickstart, and where check
        found something.

    Raises:
        SystemExit: The arguments do not fit the command's usage, or ask for --help or --version.
    """
    options = _parse(arguments)
    if arguments is None:  # this process is the command
        quieten_libraries()
    warnings.simplefilter("ignore", FutureWarning)  # libraries warn about each other
    try:
        return int(options.command(options))
    except BrokenPipeError:  # a reader such as head has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "manypaths").partition(".")[0]
        if package == "manypaths":
            raise
        name, run = ("PyYAML", " Run: pip install pyyaml.") if package == "yaml" else (package, "")
        return _complain(options, f"{name} must be installed.{run} See: manypaths doctor")
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
    print(f"{coloured(f'manypaths {options.name}{process}:', 'red', sys.stderr)} {message}", file=sys.stderr)
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
        dashes = [word.lstrip("-").replace("-", "_") for word in more if word.startswith("--")]
        hint = f". Arguments of TRL have no dashes: trainer.{dashes[0].partition('=')[0]}=VALUE" if dashes else ""
        top.error(f"unrecognized arguments: {' '.join(more)}{hint if 'recipes' in options else ''}")
    options.recipes = getattr(options, "recipes", []) + more
    return options


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; the parsed `command` is the function that runs the command."""
    top = argparse.ArgumentParser(
        prog="manypaths",
        description="Diversity-aware GRPO training of language models.",
        epilog=_epilog("recipes", "train smollm2-135m grpo mmr gsm8k --out runs/a")
        + "\n\nEach command has its own help: manypaths train --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=__version__)
    top.add_argument(
        "--print-completion",
        action=PrintCompletion,
        choices=SHELLS,
        help='print a completion script; in ~/.bashrc: eval "$(manypaths --print-completion bash)"',
    )
    commands = top.add_subparsers(dest="name", required=True, metavar="COMMAND", title="commands")
    for add in (
        _add_train,
        _add_pretrain,
        _add_evaluate,
        _add_grade,
        _add_compare,
        _add_sweep,
        _add_inspect,
        _add_check,
        _add_explain,
        _add_recipes,
        _add_publish,
        _add_doctor,
    ):
        add(commands)
    return top


def _add(commands: Commands, name: str, purpose: str, *examples: str) -> argparse.ArgumentParser:
    """A command with its examples, each the words behind `manypaths NAME`; its help prints all that are given."""
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}. Square brackets hold defaults.",
        epilog=_epilog(*(f"{name} {words}" for words in examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return added


def _epilog(*examples: str) -> str:
    return "\n".join(["examples:", *(f"  manypaths {words}".rstrip() for words in examples)])


def _add_train(commands: Commands) -> None:
    train = _add(
        commands,
        "train",
        "train a model by recipes, merged from left to right",
        "smollm2-135m grpo mmr gsm8k trainer.max_steps=50 --out runs/a",
        "smollm2-135m grpo mmr gsm8k --dry-run",
        "--out runs/a",
    )
    of_training.train(train)
    train.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.train(options)


def _add_pretrain(commands: Commands) -> None:
    pretrain = _add(
        commands,
        "pretrain",
        "make a small model from scratch, and train it on demonstrations of problems",
        "tiny-0.2m colouring --out models/a",
        "tiny-0.2m colouring seed=2 pretrain.rare=0.05 --out models/b",
    )
    of_training.pretrain(pretrain)
    pretrain.set_defaults(command=_pretrain)


def _pretrain(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.pretrain(options)


def _add_evaluate(commands: Commands) -> None:
    evaluate = _add(
        commands,
        "evaluate",
        "accuracy of a model or a run on problems, with intervals",
        "runs/a --benchmarks gsm8k,math500",
        "Qwen/Qwen2.5-0.5B-Instruct --problems my.jsonl --samples 4 --temperature 0.6",
    )
    of_evaluation.evaluate(evaluate)
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    from manypaths.evaluation import command

    return command.evaluate_model(options)


def _add_grade(commands: Commands) -> None:
    grade = _add(
        commands,
        "grade",
        "grade completions that other software sampled",
        "samples.jsonl --out graded.jsonl",
        "samples.parquet --text-column responses --gold-column answer --unboxed last-number",
    )
    of_evaluation.grade(grade)
    grade.set_defaults(command=_grade)


def _grade(options: argparse.Namespace) -> int:
    from manypaths.evaluation import grade_command

    return grade_command.grade(options)


def _add_compare(commands: Commands) -> None:
    compare = _add(
        commands,
        "compare",
        "runs against a baseline, in accuracy, steps and hours",
        "runs/grpo-1 runs/mmr-1 --out comparison",
        "runs --metric pass@8 --baseline grpo --margin 2",
        "results.csv --columns run=method,seed=trial --unit percent",
    )
    of_comparison.compare(compare)
    compare.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> int:
    from manypaths.comparison import command

    return command.compare(options)


def _add_sweep(commands: Commands) -> None:
    sweep = _add(
        commands,
        "sweep",
        "train a grid of recipes and seeds, then compare the runs",
        "diversity --dry-run",
        "grid.yaml --out runs/grid",
    )
    of_training.sweep(sweep)
    sweep.set_defaults(command=_sweep)


def _sweep(options: argparse.Namespace) -> int:
    from manypaths.comparison.command import Question, check, print_comparison
    from manypaths.training import command

    return command.sweep(options, Question, check, print_comparison)


def _add_inspect(commands: Commands) -> None:
    purpose = "write the page that shows the groups of a run, or of a log of TRL, verl or anybody"
    inspect = _add(commands, "inspect", purpose, "runs/a", "outputs/completions --embedder ngram --correct accuracy")
    of_training.inspect(inspect)
    inspect.set_defaults(command=_inspect)


def _inspect(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.inspect(options)


def _add_check(commands: Commands) -> None:
    purpose = "what is wrong with a training, by its log; exit status 1 where something is found"
    check = _add(commands, "check", purpose, "runs/a", "outputs/completions --correct accuracy_reward", "runs/a --json")
    of_check.check(check)
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from manypaths.check import command

    return command.check(options)


def _add_explain(commands: Commands) -> None:
    purpose = "show what methods would have done to the groups of a log, without training"
    examples = ("runs/a", "completions/ --method mmr --method dra --correct accuracy", "rollouts.jsonl --method pkpo")
    explain = _add(commands, "explain", purpose, *examples)
    of_explain.explain(explain)
    explain.set_defaults(command=_explain)


def _explain(options: argparse.Namespace) -> int:
    from manypaths.explain import command

    return command.explain(options)


def _add_recipes(commands: Commands) -> None:
    purpose = "list the shipped recipes, or print some of them merged"
    recipes = _add(commands, "recipes", purpose, "", "smollm2-135m grpo mmr gsm8k trainer.max_steps=50")
    of_training.recipes(recipes)
    recipes.set_defaults(command=_recipes)


def _recipes(options: argparse.Namespace) -> int:
    from manypaths.training import command

    return command.recipes(options)


def _add_publish(commands: Commands) -> None:
    publish = _add(
        commands,
        "publish",
        "send a finished run to the Hugging Face hub, with its model card",
        "runs/a --to user/model --dry-run",
        "runs/a --to user/model --dataset user/model-groups --license apache-2.0 --private",
    )
    of_publish.publish(publish)
    publish.set_defaults(command=_publish)


def _publish(options: argparse.Namespace) -> int:
    from manypaths.model_card import publish

    return publish.publish(options)


def _add_doctor(commands: Commands) -> None:
    purpose = "what this machine can run, and what is missing for the rest"
    doctor = _add(commands, "doctor", purpose, "", "--offline --json")
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
