"""What `manypaths evaluate` does: which weights, which problems, which settings, and where the results go."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths import problems, recipe
from manypaths.embed import NgramEmbedder
from manypaths.evaluation import sampling
from manypaths.evaluation.evaluate import check_name, evaluate
from manypaths.evaluation.generate import choose_backend
from manypaths.evaluation.sampling import Sampling
from manypaths.evaluation.server import ServerError
from manypaths.evaluation.summary import summarise, table
from manypaths.files import only_writer, read_json
from manypaths.grading import shared_grader
from manypaths.names import nearest
from manypaths.printable import one_line, shown
from manypaths.problems.rows import name_of
from manypaths.recipe import Recipe
from manypaths.results import claim
from manypaths.run_folder import checkpoints

PAPERS = {"samples": 16, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768}  # how the papers evaluate
FLAGS = ("samples", "temperature", "top_p", "max_new_tokens", "batch_size", "seed", "dtype")


def evaluate_model(options: argparse.Namespace) -> int:
    """Evaluate `options.model` as the command line asks, print the table -> the exit code."""
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ValueError(
            f"manypaths evaluate must run in one process, got WORLD_SIZE={processes}. Start it without a launcher."
        )
    spec, source = _model_of(options.model)
    own = spec.evaluation if spec and not options.benchmarks else None
    itself = own is not None and options.problems is None  # on its held-out problems, as `train` evaluates the run
    backend, why = choose_backend(source, options.backend)
    if itself and options.backend is None:
        backend, why = "transformers", "as in the run"
    _check_backend_options(options, backend)
    _check_set_options(options, itself)
    sets = _problem_sets(options, own)
    prompt = options.prompt or (spec.prompt if spec else problems.PROMPT)
    if "{question}" not in json.dumps(prompt):
        raise ValueError(f"--prompt must be a text that holds {{question}}, got {prompt!r}.")
    usual = _usual(spec, own, bool(options.benchmarks))
    chosen = Sampling(**{**usual, **_given(options, FLAGS)})
    limit = own.problems.limit if own and itself and options.limit is None else options.limit
    named = {"model": options.model, "model_name": options.model_name, "backend": backend, "prompt": prompt}
    settings = sampling.settings_of(chosen, limit=limit, **named)
    out = options.out or _place(options.model, spec, options.benchmarks)
    claim(out, settings)
    for name, members in sets.items():
        check_name(out / f"{name}.jsonl", members)
    print(f"Backend: {backend} ({why}); results in {out}", flush=True)
    if itself:
        print(_departures(options, usual), flush=True)
    with only_writer(out):
        where = {"use_cpu": bool(spec and spec.trainer.get("use_cpu")), "name": options.model_name}
        generate, at_once, device = sampling.start(backend, source, chosen, patience=options.patience, **where)
        claim(out, settings, sampling.environment(device))
        for name, members in sets.items():
            _note_golds(name, members)
            try:
                evaluate(
                    members,
                    generate,
                    prompt=prompt,
                    samples=chosen.samples,
                    out=out / f"{name}.jsonl",
                    at_once=at_once,
                    embedder=NgramEmbedder(),
                    progress=name,
                )
            except ServerError as error:
                kept = f"The problems that were finished are kept in {out}; the same command goes on."
                raise ValueError(f"{error} {kept}") from error
        print(table(summarise(out)))
    return 0


def _check_backend_options(options: argparse.Namespace, backend: str) -> None:
    """Refuse, with a ValueError, what would play no part in this backend."""
    others: tuple[str, ...] = ("dtype", "batch_size") if backend == "server" else ("model_name", "patience")
    others += ("batch_size",) if backend == "vllm" else ()
    if given := [f"--{name.replace('_', '-')}" for name in _given(options, others)]:
        raise ValueError(f"{' and '.join(given)} must be left out with the backend {backend}, where nothing reads it.")
    if options.patience is not None and not options.patience > 0:
        raise ValueError(f"--patience must be above 0 seconds, got {options.patience:g}.")


def _check_set_options(options: argparse.Namespace, itself: bool) -> None:
    """Refuse, with a ValueError, what would play no part for these problems."""
    if options.benchmarks and options.problems:
        raise ValueError("--problems must be left out beside --benchmarks. Give one of them, and the other afterwards.")
    names = options.benchmarks.split(",") if options.benchmarks else [options.problems] if options.problems else []
    idle: tuple[str, ...] = () if options.benchmarks else ("data_dir",)
    if options.data_dir is not None or (names and all(map(problems.is_here, names))):
        idle += ("revision",)
    if names == ["arithmetic"]:
        idle += ("split", "problem_column", "answer_column")
    if unread := [f"--{name.replace('_', '-')}" for name in _given(options, idle)]:
        what = "the run's own problems" if itself else ", ".join(names) or "no problems"
        raise ValueError(f"{' and '.join(unread)} must be left out with {what}, where nothing reads it.")


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _departures(options: argparse.Namespace, usual: dict[str, Any]) -> str:
    """What the command line changes of how a run evaluates itself, in a sentence."""
    changed = [
        f"{name} {value} (the run: {usual[name]})"
        for name, value in _given(options, FLAGS).items()
        if value != usual[name]
    ]
    changed += [f"{name} {value}" for name, value in _given(options, ("backend", "limit", "prompt", "split")).items()]
    return f"Sampling as the run evaluates itself{', but for ' if changed else ''}{', '.join(changed)}."


def _note_golds(name: str, members: list[problems.Problem]) -> None:
    """Print which gold answers cannot be graded."""
    for problem in members:
        if wrong := shared_grader().gold_problem(problem.answer):
            label = one_line(f"{name} {problem.id}", 100)
            print(f"Note: {label}: the gold answer {shown(problem.answer)} cannot be graded: {one_line(wrong)}")


def _usual(spec: Recipe | None, own: recipe.Evaluation | None, papers: bool) -> dict[str, Any]:
    """The sampling where the command line says nothing: the run's own, the papers', or one greedy completion."""
    if spec is None:
        return vars(Sampling()) | (PAPERS if papers else {})
    if own is not None:
        return vars(Sampling()) | sampling.of_recipe(spec)
    weights = {"dtype": spec.model.dtype, "end_tokens": spec.model.end_tokens}
    return vars(Sampling()) | weights | (PAPERS if papers else {})


def _model_of(name: str) -> tuple[Recipe | None, str]:
    """A model, run folder or checkpoint of a run -> (the run's recipe, where the weights are)."""
    path = Path(name)
    if (path / "recipe.yaml").is_file():
        if not (path / "model").is_dir():
            raise ValueError(_unfinished(path, "model"))
        return recipe.read([str(path / "recipe.yaml")]), str((path / "model").resolve())
    run = path.parent.parent
    if path.parent.name == "checkpoints" and (run / "recipe.yaml").is_file():
        return recipe.read([str(run / "recipe.yaml")]), str(path.resolve())
    return None, name


def _unfinished(run: Path, missing: str) -> str:
    paths = checkpoints(run)
    instead = f", or evaluate a checkpoint: {paths[-1]}" if paths else ""
    return (
        f"The run {str(run)!r} is not finished: {str((run / missing).resolve())!r} does not exist. "
        f"Finish it: manypaths train --out {run}{instead}."
    )


def _place(model: str, spec: Recipe | None, benchmarks: str | None) -> Path:
    """Where results go: benchmarks of a run, or of its checkpoints, into the run, where `manypaths compare` looks."""
    path = Path(model)
    if not spec or not benchmarks:
        return Path("evaluations", "-".join(model.strip("/").split("/")[-2:]))
    if path.parent.name == "checkpoints":
        return path.parent.parent / "evaluation" / path.name.replace("checkpoint", "step")
    if not (path / "summary.json").is_file():
        raise ValueError(_unfinished(path, "summary.json"))
    return path / "evaluation" / f"step-{read_json(path / 'summary.json')['steps']}"


def _problem_sets(options: argparse.Namespace, own: recipe.Evaluation | None) -> dict[str, list[Any]]:
    asked_for = ("split", "problem_column", "answer_column", "limit", "revision")
    columns = {key: value for key in asked_for if (value := getattr(options, key)) is not None}
    if options.benchmarks:
        known = (*problems.BENCHMARKS, *problems.SHIPPED)
        names = options.benchmarks.split(",")
        for name in names:
            if name not in known:
                raise ValueError(f"Unknown benchmark {name!r}. {nearest(name, known)}")
        test = {"gsm8k": {"split": "test"}}
        sets = {
            name: problems.load(name, data_dir=options.data_dir, **{**test.get(name, {}), **columns}) for name in names
        }
        for name, chosen in sets.items():
            benchmark = problems.BENCHMARKS.get(name)
            if benchmark and not options.limit and problems.fingerprint(chosen) != benchmark.fingerprint:
                print(f"Note: {name} is not the copy known here; its {len(chosen)} problems or answers differ.")
        return sets
    if own is None and options.problems is None:
        raise ValueError(
            "Give --benchmarks or --problems; only a run whose recipe has an evaluation knows its problems."
        )
    asked = recipe.Problems(options.problems) if options.problems or own is None else own.problems
    return {name_of(asked.name): problems.load(**{**vars(asked), **columns})}
