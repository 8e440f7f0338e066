"""The command line: manypaths train | evaluate | grade | compare | sweep | inspect | recipes | doctor. Wiring only."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NoReturn

from manypaths import __version__
from manypaths.grading import GraderError
from manypaths.printable import lines, one_line

try:
    from manypaths import recipe
except ModuleNotFoundError as missing:  # PyYAML; `doctor` works all the same, and says so
    if missing.name != "yaml":
        raise
    recipe = None  # type: ignore[assignment]

PATIENCE = 5.0  # seconds
STOPPED = {"train": " from the last checkpoint", "evaluate": "; problems that were finished are kept"}
COLUMN = 'a column, a path (reward_model.ground_truth), a template ("{Body} {Question}"), or chat messages'


def main(arguments: list[str] | None = None) -> int:
    """Run one command -> its exit code: 0 done, 2 a mistake in what was asked (one sentence), 130 interrupted."""
    top = parser()
    options, more = top.parse_known_args(arguments)  # recipes and overrides may also stand behind an option
    if more and ("recipes" not in options or any(word.startswith("-") for word in more)):
        top.error(f"unrecognized arguments: {' '.join(more)}")
    options.recipes = getattr(options, "recipes", []) + more
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries about each other
    try:
        if recipe is None and options.command is not _doctor:
            raise ValueError("This asks for PyYAML, which is not installed: pip install pyyaml. See: manypaths doctor")
        return int(options.command(options))
    except BrokenPipeError:  # who reads, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, GraderError) as error:
        if rank := int(os.environ.get("RANK", "0")):  # the first process says the same, and then a launcher ends this
            time.sleep(PATIENCE)
        process = f", process {rank}" if rank else ""
        print(f"manypaths {options.name}{process}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print(f"Stopped. The same command goes on{STOPPED.get(options.name, '')}.", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="manypaths", description="Diversity-aware GRPO training of language models.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="name", required=True)

    train = commands.add_parser("train", help="train a model by recipes merged from left to right")
    train.add_argument(
        "recipes", nargs="*", help="names of shipped recipes, YAML files, overrides such as trainer.max_steps=5"
    )
    train.add_argument("--out", type=Path, help="run folder; one that exists is continued [runs/NAMES]")
    train.add_argument("--dry-run", action="store_true", help="only print what the run would do and take")
    train.add_argument("--gpu", help="of the dry run: such as h100, a100-40gb, 24gb [h100]")
    train.add_argument("--processes", type=int, help="how many train, each on a GPU of its own where there are any [1]")
    train.add_argument("--launch", help="shard the training: zero2, zero3, fsdp2, or an accelerate configuration [DDP]")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="how good a model or a run is at problems, with intervals")
    evaluate.add_argument("model", help="run folder, checkpoint, hub id, package:NAME, or the URL of a server (.../v1)")
    evaluate.add_argument("--benchmarks", help="of aime24,math500,amc23,minerva,olympiadbench,gsm8k,svamp")
    evaluate.add_argument("--data-dir", help="a folder with the benchmarks as files [the hub]")
    evaluate.add_argument(
        "--problems", help="arithmetic, gsm8k, svamp, a file (.jsonl .json .csv .tsv .parquet, .gz), or a hub data set"
    )
    evaluate.add_argument("--split", help="of a data set [its usual or only one]")
    evaluate.add_argument("--problem-column", help=f"the problem: {COLUMN} [its usual names]")
    evaluate.add_argument("--answer-column", help="the right answer, likewise [its usual names]")
    evaluate.add_argument("--revision", help="of data on the hub: a commit, tag or branch [the newest]")
    evaluate.add_argument("--limit", type=int, help="only the first problems of each set")
    evaluate.add_argument("--prompt", help="a text that holds {question} [a run's own prompt, else a chat message]")
    evaluate.add_argument("--samples", type=int, help="answers per problem [16 for benchmarks; a run's own; else 1]")
    evaluate.add_argument("--temperature", type=float, help="0 is greedy [0.6 for benchmarks; a run's own; else 0]")
    evaluate.add_argument("--top-p", type=float, help="[0.95 for benchmarks; a run's own; else 1]")
    evaluate.add_argument("--max-new-tokens", type=int, help="[32768 for benchmarks; a run's own; else 256]")
    evaluate.add_argument(
        "--batch-size", type=int, help="sequences at a time, with transformers [a run's own, else 32]"
    )
    evaluate.add_argument("--seed", type=int, help="[a run's own, else 1]")
    dtypes = ("bfloat16", "float16", "float32")
    evaluate.add_argument("--dtype", choices=dtypes, help="of the weights [a run's own, else bfloat16]")
    evaluate.add_argument("--backend", choices=("transformers", "vllm", "server"), help="[vllm where it is installed]")
    evaluate.add_argument("--model-name", help="of a server: the model [the first it lists]")
    evaluate.add_argument("--patience", type=float, help="of a server: seconds without any completion [3600]")
    evaluate.add_argument("--out", type=Path, help="folder; one that exists is continued [evaluations/MODEL, a run]")
    evaluate.set_defaults(command=_evaluate)

    grade = commands.add_parser("grade", help="grade answers that were made elsewhere")
    grade.add_argument("samples", type=Path, help="answers: .jsonl, .json, .csv, .tsv or .parquet, each also as .gz")
    grade.add_argument("--text-column", help=f"the model's answer, or a list of them: {COLUMN} [its usual names]")
    grade.add_argument("--gold-column", help="the right answer, likewise [its usual names]")
    grade.add_argument(
        "--unboxed", choices=("last-number", "last-math"), help="how to read answers without a box [not]"
    )
    grade.add_argument("--out", type=Path, help="write every problem with its verdicts to this JSON lines file")
    grade.set_defaults(command=_grade)

    compare = commands.add_parser("compare", help="did it help: runs beside a baseline, in accuracy, steps and hours")
    compare.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN",
        help="run folders, folders of them, lighteval results, trainer_state.json, .csv files",
    )
    compare.add_argument("--baseline", help="name of a configuration [the first that does not reweight]")
    compare.add_argument("--target", help="accuracy such as 0.70, peak-of-baseline, 90%%-of-rise [peak-of-baseline]")
    compare.add_argument("--out", type=Path, help="folder for tables, curves and a report to send")
    compare.add_argument(
        "--published", action="store_true", help="the papers' tables, and what their headline rests on"
    )
    compare.set_defaults(command=_compare)

    sweep = commands.add_parser("sweep", help="run a grid of recipes and seeds, then compare them")
    sweep.add_argument("grid", type=Path, help="a YAML file with recipes, grid, seeds, baseline, target")
    sweep.add_argument("--out", type=Path, help="folder of the runs; several machines may share it [runs/GRID]")
    sweep.add_argument("--dry-run", action="store_true", help="only list the runs, and which are finished")
    sweep.set_defaults(command=_sweep)

    inspect = commands.add_parser("inspect", help="write the page that shows a run's groups")
    inspect.add_argument("run", type=Path)
    inspect.add_argument("--out", type=Path, help="[RUN/inspect.html]")
    inspect.set_defaults(command=_inspect)

    recipes = commands.add_parser("recipes", help="list the shipped recipes, or print some of them merged")
    recipes.add_argument("recipes", nargs="*")
    recipes.set_defaults(command=_recipes)

    doctor = commands.add_parser("doctor", help="what this machine can run, and what is missing for the rest")
    doctor.add_argument("--offline", action="store_true", help="do not ask whether the Hugging Face hub answers")
    doctor.add_argument("--json", action="store_true", help="the same as JSON, for a report of a bug")
    doctor.set_defaults(command=_doctor)
    return top


def _read(words: list[str]) -> recipe.Recipe:
    return recipe.read([word for word in words if "=" not in word], [word for word in words if "=" in word])


def _train(options: argparse.Namespace) -> int:
    from manypaths.run_folder import RECIPE, is_run, read_recipe

    began = time.perf_counter()
    names = [recipe.find(word).stem for word in options.recipes if "=" not in word]
    out = options.out or Path("runs", "-".join(names))
    if not names and not is_run(out):
        raise ValueError("Name recipes, such as: manypaths train smollm2-135m grpo mmr gsm8k. See: manypaths recipes")
    words = options.recipes if names else [str(out / RECIPE), *options.recipes]
    spec = _read(words) if names else read_recipe(out, options.recipes)
    if options.dry_run and options.launch:
        raise ValueError("The dry run estimates GPUs without shards: leave --launch out of it.")
    if options.dry_run:
        return _dry_run(spec, [word for word in words if "=" not in word], options)
    if options.gpu:
        raise ValueError("--gpu belongs to --dry-run. Add it, or leave it out.")
    if options.launch or options.processes is not None:
        from manypaths.training.launch import launch

        words = ["train", *options.recipes, "--out", str(out)]
        return launch(words, options.processes, options.launch, on_cpu=bool(spec.trainer.get("use_cpu")))
    from manypaths.training import run

    summary = run.train(run.prepare(spec, out))
    if summary is None:  # the first process tells
        return 0
    if found := summary["evaluation"]:
        parts = ", ".join(f"{when} {_share(found[when])}" for when in ("before", "after") if when in found)
        print(f"Accuracy on {found['after']['problems']} held-out problems [95 % interval]: {parts}")
    spent = ", ".join(f"{part} {seconds:.1f}" for part, seconds in summary["seconds"].items())
    wall = time.perf_counter() - began
    print(f"Seconds in {summary['steps']} steps: {spent}; this command took {wall:.0f}")
    print(f"Look inside the groups: {out / 'inspect.html'}")
    return 0


def _dry_run(spec: recipe.Recipe, names: list[str], options: argparse.Namespace) -> int:
    from manypaths.preflight import dry_run

    def check() -> None:
        from manypaths.training import run  # and TRL with it, which takes seconds

        dry_run.check(spec, run.SET_BY_THE_RUN)

    try:
        processes = 1 if options.processes is None else options.processes
        print(dry_run.page(spec, names, options.gpu or "h100", processes), flush=True)
    except (ValueError, TypeError):
        check()  # where a value has a wrong type, this says so
        raise
    check()
    print("\nThe keys of trainer and lora are TRL's and PEFT's. Nothing was loaded, downloaded or written.")
    return 0


def _share(found: dict[str, Any]) -> str:
    return f"{found['accuracy']:.1%} [{found['low']:.1%}, {found['high']:.1%}]"


def _evaluate(options: argparse.Namespace) -> int:
    from manypaths.evaluation import command as evaluate_command

    return evaluate_command.evaluate_model(options)


def _grade(options: argparse.Namespace) -> int:
    from manypaths.evaluation.grade_file import grade_file

    found = grade_file(
        options.samples, options.text_column, options.gold_column, options.out, unboxed_by=options.unboxed
    )
    print(f"Correct of {found['problems']} problems with {found['samples']} samples or more: {_share(found)}")
    print(f"pass@{found['samples']} {found['pass_at'][str(found['samples'])]:.1%}, majority {found['majority']:.1%}")
    read = found["read"]
    answers = sum(read.values())
    if without := answers - read["box"]:
        print(f"Only a \\boxed{{}} is graded, and {without:,} of {answers:,} answers have none.", end=" ")
        if options.unboxed:
            way = options.unboxed.replace("-", " ")
            print(f"Of these {read[options.unboxed]:,} were read by their {way}; {read['none']:,} count as wrong.")
        else:
            print("They count as wrong; --unboxed last-number or --unboxed last-math reads them.")
    return 0


def _compare(options: argparse.Namespace) -> int:
    if options.published:
        from manypaths.comparison import published

        print(published.page())
        return 0
    if not options.runs:
        raise ValueError("Name run folders, such as: manypaths compare runs/grpo-1 runs/mmr-1, or --published.")
    _need_for_comparing(curves=options.out is not None)
    from manypaths.comparison import compare, report
    from manypaths.comparison.curves import rise_of

    rise_of(options.target)
    runs, refused = compare.read(options.runs)
    for told in refused:
        print(f"Left out: {one_line(told)}", file=sys.stderr)
    found = compare.compare(runs, options.baseline, options.target)
    written = f"\n\nReport: {report.write(found, options.out)}" if options.out is not None else ""
    print(lines(report.text(found) + written))
    return 0


def _need_for_comparing(curves: bool) -> None:
    missing = [
        name for name in ("numpy", *(["matplotlib"] if curves else [])) if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ValueError(f"Comparing runs takes {' and '.join(missing)}. Install: pip install numpy matplotlib pyyaml")


def _sweep(options: argparse.Namespace) -> int:
    from manypaths.comparison.curves import rise_of
    from manypaths.training import sweep

    _need_for_comparing(curves=True)
    grid = sweep.read_grid(options.grid)
    rise_of(grid.target)
    out = options.out or Path("runs", options.grid.stem)
    jobs = sweep.jobs(grid)
    for job in jobs if options.dry_run else ():
        print(f"{sweep.state(job, out):<9}{job.name}: manypaths train {' '.join(job.words)} --out {out / job.name}")
    if options.dry_run:
        return 0
    failed = sweep.run(jobs, out)
    from manypaths.comparison import compare, report

    runs, _ = compare.read([out / job.name for job in jobs if job.name not in failed])
    found = compare.compare(runs, grid.baseline, grid.target)
    written = report.write(found, out / "comparison")
    print(lines(f"{report.text(found)}\n\nReport: {written}"))
    for name in failed:
        print(f"Failed: {name}; see {out / f'{name}.log'}", file=sys.stderr)
    return 1 if failed else 0


def _inspect(options: argparse.Namespace) -> int:
    from manypaths.training.inspect_page import write_page

    print(write_page(options.run, options.out))
    return 0


def _recipes(options: argparse.Namespace) -> int:
    if options.recipes:
        print(recipe.dump(_read(options.recipes)), end="")
        return 0
    from manypaths.training import launch

    launches = {f"--launch {name}": path for name, path in launch.shipped().items()}
    for name, path in {**recipe.shipped(), **launches}.items():
        print(f"{name:<28} {path.read_text('utf-8').splitlines()[0].removeprefix('# ')}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from manypaths.preflight import doctor

    facts = doctor.facts(options.offline)
    findings = doctor.find(facts)
    print(doctor.as_json(facts, findings) if options.json else doctor.page(findings))
    return 0 if doctor.can_start(findings) else 1


def as_process() -> NoReturn:
    """Run one command, and end the process with its exit code."""
    code = main()
    if "LOCAL_RANK" in os.environ:  # at the interpreter's own end threads of gloo may abort a process that has done all
        from manypaths.training.launch import leave

        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    as_process()
