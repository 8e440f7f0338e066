"""What `manypaths evaluate` does: which weights, which problems, which settings, and where the results go."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from manypaths import problems, recipe, sampling
from manypaths.embed import NgramEmbedder
from manypaths.evaluate import claim, evaluate, summarise, table
from manypaths.files import read_json
from manypaths.generate import ServerError, choose_backend, printable
from manypaths.grading import shared_grader
from manypaths.recipe import Recipe
from manypaths.sampling import Sampling

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
    itself = own is not None and options.problems is None  # as `train` evaluates the run
    backend, why = choose_backend(source, options.backend)
    if itself and options.backend is None:
        backend, why = "transformers", "as in the run"
    sets = _problem_sets(options, own)
    prompt = options.prompt or (spec.prompt if spec else problems.PROMPT)
    if "{question}" not in json.dumps(prompt):
        raise ValueError(f"--prompt asks for a text that holds {{question}}; given {prompt!r}.")
    usual = _usual(spec, own, bool(options.benchmarks))
    asked = {name: value for name in FLAGS if (value := getattr(options, name)) is not None}
    chosen = Sampling(**{**usual, **asked})
    limit = options.limit if options.limit is not None or not itself or own is None else own.problems.limit
    place = {"model": options.model, "model_name": options.model_name}
    settings = sampling.settings_of(chosen, backend=backend, prompt=prompt, limit=limit, **place)
    out = options.out or _place(options.model, spec, options.benchmarks)
    claim(out, settings)
    print(f"Backend: {backend} ({why}); results in {out}", flush=True)
    if itself:
        differing = [
            f"{name} {value} (the run: {usual[name]})" for name, value in asked.items() if value != usual[name]
        ]
        differing += [
            f"another {name}" for name in ("prompt", "limit", "backend") if getattr(options, name) is not None
        ]
        print(
            f"Sampling: as the run evaluates itself{', but for ' * bool(differing)}{', '.join(differing)}.", flush=True
        )
    use_cpu = bool(spec and spec.trainer.get("use_cpu"))
    generate, at_once, device = sampling.start(backend, source, chosen, name=options.model_name, use_cpu=use_cpu)
    claim(out, settings, sampling.environment(device))
    for name, members in sets.items():
        for problem in members:
            if wrong := shared_grader().gold_problem(problem.answer):
                label = printable(f"{name} {problem.id}")
                print(f"Note: {label}: the gold answer {problem.answer!r} cannot be graded: {wrong}")
        named: dict[str, Any] = {"samples": chosen.samples, "at_once": at_once, "embedder": NgramEmbedder()}
        try:
            evaluate(members, generate, prompt=prompt, out=out / f"{name}.jsonl", progress=name, **named)
        except ServerError as error:
            raise ValueError(
                f"{error} The problems that were finished are in {out}; the same command goes on."
            ) from error
    print(table(summarise(out, list(sets))))
    return 0


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
    steps = [int(path.name.partition("-")[2]) for path in run.glob("checkpoints/checkpoint-*[0-9]")]
    instead = f", or evaluate a checkpoint: {run / 'checkpoints' / f'checkpoint-{max(steps)}'}" if steps else ""
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
                raise ValueError(f"Unknown benchmark {name!r}. {recipe.nearest(name, known)}")
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
    return {Path(asked.name).stem: problems.load(**{**vars(asked), **columns})}
