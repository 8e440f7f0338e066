"""`manypaths train`, `pretrain`, `sweep`, `inspect` and `recipes`, from parsed arguments to printed output."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from manypaths import recipe, run_folder
from manypaths.files import check_out
from manypaths.logs import arguments
from manypaths.preflight.cautions import cautions
from manypaths.preflight.measured import measured
from manypaths.preflight.replaced import replaced
from manypaths.printable import counted, one_line
from manypaths.sections import Recipe
from manypaths.terminal import caution, say

NEEDS = "# Needs: "  # in the recipe of a method: its inputs beside rewards, or nothing


def train(options: argparse.Namespace) -> int:
    """Train the recipes `options.recipes`, in this process or in several, or estimate that -> the exit code."""
    began = time.perf_counter()
    names = [recipe.find(word).stem for word in options.recipes if "=" not in word]
    out = options.out or Path("runs", "-".join(names))
    if not names and not run_folder.is_run(out):
        raise ValueError("Name recipes, such as: manypaths train smollm2-135m grpo mmr gsm8k. See: manypaths recipes")
    words = options.recipes if names else [str(out / run_folder.RECIPE), *options.recipes]
    spec = _read(words) if names else run_folder.read_recipe(out, options.recipes)
    starts_others = not options.dry_run and bool(options.launch or options.processes is not None)
    if os.environ.get("RANK", "0") == "0" and not starts_others:  # the first of those says it
        _name_replaced(words)
    if options.dry_run and options.launch:
        raise ValueError("--launch must be left out of --dry-run, which estimates GPUs that hold the whole model.")
    if options.pilot is not None:
        return _pilot(spec, out, options)
    if options.dry_run:
        return _dry_run(spec, [word for word in words if "=" not in word], options)
    if options.gpu:
        raise ValueError("--gpu needs --dry-run. Add it, or leave --gpu out.")
    if options.launch or options.processes is not None:
        from manypaths.training.launch import launch

        words = ["train", *options.recipes, "--out", str(out)]
        return launch(words, options.processes, options.launch, on_cpu=bool(spec.trainer.get("use_cpu")))
    from manypaths.training import run

    if os.environ.get("RANK", "0") == "0":
        for sentence in [*cautions(spec), *measured(spec)]:
            caution(sentence)
    summary = run.train(run.prepare(spec, out))
    if summary is not None:  # in the first process
        _print_summary(summary, out, time.perf_counter() - began)
        _push(spec, out)
    return 0


def pretrain(options: argparse.Namespace) -> int:
    """Train the model of the recipes `options.recipes`, new or existing, on demonstrations -> the exit code."""
    began = time.perf_counter()
    if not any("=" not in word for word in options.recipes):
        raise ValueError("Name a model and problems, such as: manypaths pretrain tiny-0.2m colouring --out models/a")
    spec = _read(options.recipes)
    _name_replaced(options.recipes)
    if options.out is None and spec.model.architecture is None:
        raise ValueError("--out must be the folder of the trained model, got none. Add it, such as --out starts/1.")
    out = options.out or Path(spec.model.name)
    check_out(out)
    from manypaths.training.pretrain import pretrain

    made = pretrain(spec, out)
    loss = "" if made["loss"] is None else f", loss {made['loss']:.3f}"
    shown = demonstrated(made["demonstrations"], made["problems"])
    counts = f"{made['parameters']:,} parameters, {shown}, read {made['epochs']:.3g} times{loss}"
    print(f"{out}: {counts}; this command took {time.perf_counter() - began:.0f} s")
    return 0


def demonstrated(count: int, problems: int) -> str:
    """How often each problem is demonstrated, such as "30,000 demonstrations of 1,500 problems, 20 each"."""
    least, more = divmod(count, problems)
    if not least:
        return f"{count:,} demonstrations of {count:,} of {problems:,} problems, 1 each"
    often = f"{least:,} or {least + 1:,}" if more else f"{least:,}"
    return f"{count:,} demonstrations of {problems:,} problems, {often} each"


def _push(spec: Recipe, out: Path) -> None:
    """Send a finished run to the hub if its recipe says so."""
    settings = spec.trainer
    if settings.get("push_to_hub"):
        from manypaths.model_card.publish import send_model

        name = settings.get("hub_model_id") or out.resolve().name
        private, revision = settings.get("hub_private_repo"), settings.get("hub_revision")
        print(f"Model: {send_model(out, name, private, revision=revision)}", flush=True)


def _pilot(spec: Recipe, out: Path, options: argparse.Namespace) -> int:
    if options.pilot < 1:
        raise ValueError(f"--pilot must be a number of prompts, 1 or more, got {options.pilot}.")
    if options.dry_run or options.gpu:
        raise ValueError(
            "--dry-run and --gpu must be left out of --pilot, which loads the model. Run one, then the other."
        )
    if options.launch or options.processes is not None or "LOCAL_RANK" in os.environ:
        raise ValueError(
            "--processes and --launch must be left out of --pilot, which samples in one process. Remove them."
        )
    from manypaths.preflight import pilot
    from manypaths.training.pilot import run_pilot

    for sentence in [*cautions(spec), *measured(spec)]:
        caution(sentence)
    sampled, run = run_pilot(spec, out, options.pilot)
    print(pilot.page(sampled, spec, run), flush=True)
    for sentence in pilot.cautions(sampled, spec):
        caution(sentence)
    print("Nothing was kept: the run folder is as it was.")
    return 0


def _name_replaced(words: list[str]) -> None:
    for sentence in replaced(words):
        caution(sentence)


def _read(words: list[str]) -> Recipe:
    return recipe.read([word for word in words if "=" not in word], [word for word in words if "=" in word])


def _print_summary(summary: dict[str, Any], out: Path, seconds: float) -> None:
    if results := summary["evaluation"]:
        parts = ", ".join(f"{when} {_interval(results[when])}" for when in ("before", "after") if when in results)
        print(f"Accuracy on {results['after']['problems']} held-out problems [95 % interval]: {parts}")
    spent = ", ".join(f"{part} {duration:.1f}" for part, duration in summary["seconds"].items())
    print(f"Seconds in {counted(summary['steps'], 'step')}: {spent}; this command took {seconds:.0f}")
    print(f"Look inside the groups: {out / run_folder.PAGE}")


def _interval(result: dict[str, Any]) -> str:
    return f"{result['accuracy']:.1%} [{result['low']:.1%}, {result['high']:.1%}]"


def _dry_run(spec: Recipe, names: list[str], options: argparse.Namespace) -> int:
    from manypaths.preflight import dry_run

    def check() -> None:
        from manypaths.training.trainer_arguments import methods_and_keys  # imports TRL, which takes seconds
        from manypaths.training.trainer_config import SET_BY_THE_RUN

        dry_run.check(spec, SET_BY_THE_RUN)
        methods_and_keys(spec)

    try:
        processes = 1 if options.processes is None else options.processes
        page = dry_run.page(spec, names, options.gpu or "h100", processes)
    except (ValueError, TypeError):
        check()  # its message is better where a value has a wrong type
        raise
    check()  # a page of a recipe that is refused would show numbers that no run has
    print(page)
    print("\nZero-variance groups, completions that are cut off and seconds show only by sampling: --pilot 32.")
    print("The keys of trainer and lora are TRL's and PEFT's. Nothing was loaded, downloaded or written.")
    return 0


def sweep(
    options: argparse.Namespace,
    question: Callable[..., Any],
    check: Callable[..., str | None],
    compare: Callable[..., int],
) -> int:
    """Train the runs of a grid and compare them, or list them.

    Args:
        options: `grid` is the grid file or the name of a shipped one, `configurations` those to train, `out` the folder
            of the runs, `workers` how many runs are trained at a time, `dry_run` whether to list them only.
        question: `comparison.command.Question`.
        check: `comparison.command.check`, called before any training; it returns the baseline.
        compare: `comparison.command.print_comparison`, called when no run is left to train.

    Returns:
        The exit code: 1 where some runs failed, else 0.
    """
    from manypaths.training import grid as grids
    from manypaths.training import starts, sweep

    path = recipe.find_grid(str(options.grid))
    grid = grids.read_grid(path)
    asked = question(**grid.question())
    baseline = check(asked, curves=True)
    if options.configurations and baseline is not None and baseline not in options.configurations:
        raise ValueError(
            f"--configurations must contain the baseline {baseline}, got {options.configurations}. Add it."
        )
    if options.workers is not None and options.workers < 1:
        raise ValueError(f"--workers must be 1 or more, got {options.workers}. Pass 1 to train one after another.")
    out = options.out or Path("runs", path.stem)
    jobs = grids.jobs(grid, options.configurations)
    for sentence in grids.replaced_in(jobs):
        caution(sentence)
    if options.dry_run:
        alone = sweep.check(jobs, out)
        states = {job.name: "finished" if job.name in alone else sweep.state(job, out) for job in jobs}
        for start in grids.starts_of([job for job in jobs if states[job.name] != "finished"]):
            print(f"{starts.state(start):<9}{start.folder}: manypaths pretrain {start.command}")
        for job in jobs:
            print(f"{states[job.name]:<9}{job.name}: manypaths train {' '.join(job.words)} --out {out / job.name}")
        return 0
    workers = grids.usual_workers(jobs) if options.workers is None else options.workers
    if options.workers is None and workers > 1:
        print(f"{workers} runs are trained at a time, for their models are small; --workers 1 trains one.", flush=True)
    failed = sweep.run(jobs, out, workers)
    trained = [out / job.name for job in jobs if job.name not in failed]
    sentences = [f"The run {name}: {sentence.removesuffix('.')}." for name, sentence in failed.items()]
    if not trained:
        print("No run is finished, so there is nothing to compare.", file=sys.stderr)
        return 1
    compare(trained, asked, out / "comparison", left_out=sentences)
    return 1 if failed else 0


def inspect(options: argparse.Namespace) -> int:
    """Write the page of the run or log `options.log`, print its path, and notes to stderr -> the exit code."""
    from manypaths.training.inspect_page import write_page
    from manypaths.training.inspect_similarity import comparison

    if options.out is not None:
        check_out(options.out, "file")
    compare = None if options.embedder is None else comparison(options.embedder)
    print(write_page(options.log, options.out, arguments.options(options), compare, _note))
    return 0


def _note(sentence: str) -> None:
    say(f"Note: {one_line(sentence)}", sys.stderr)


def recipes(options: argparse.Namespace) -> int:
    """List the shipped recipes, or print those of `options.recipes` merged -> the exit code."""
    if options.recipes:
        _name_replaced(options.recipes)
        print(recipe.dump(_read(options.recipes)), end="")
        return 0
    from manypaths.training import launch

    launches = {f"--launch {name}": path for name, path in launch.shipped().items()}
    by_need: dict[str, list[str]] = {}
    grids = {f"sweep {name}": path for name, path in recipe.shipped_grids().items()}
    for name, path in {**recipe.shipped(), **launches, **grids}.items():
        lines = path.read_text("utf-8").splitlines()
        stated = [line.removeprefix(NEEDS) for line in lines if line.startswith(NEEDS)]
        by_need.setdefault("".join(stated), []).append(f"  {name:<28} {lines[0].removeprefix('# ')}")
    others = by_need.pop("")
    for needs in sorted(by_need, key=lambda needs: (needs != "nothing", needs.count(","), needs)):
        print("\n".join([f"Methods that need {needs.replace(', ', ' and ')}:", *by_need[needs], ""]))
    print("\n".join(["Models, problems, variants, settings of papers, launches, sweeps:", *others]))
    return 0
