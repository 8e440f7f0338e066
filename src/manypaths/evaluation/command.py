"""`manypaths evaluate`: from the command line to the weights, the problems, the settings and the folder of results."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths import problems, run_folder, verifiers
from manypaths.embed import NgramEmbedder
from manypaths.evaluation.distinct import check_keys
from manypaths.evaluation.evaluate import check_problems, evaluate_sets
from manypaths.evaluation.generate import choose_backend
from manypaths.evaluation.sampling import Sampling, of_recipe, settings_of, start
from manypaths.evaluation.server import ServerError
from manypaths.evaluation.summary import summarise, table
from manypaths.files import check_out, only_writer, read_json
from manypaths.names import nearest
from manypaths.printable import one_line, shown
from manypaths.problems.rows import name_of
from manypaths.results import ANSWER, check_settings, lines_file
from manypaths.sections import Evaluation, Problems, Recipe

PAPERS = {"samples": 16, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768}  # how the papers evaluate
FLAGS = ("samples", "temperature", "top_p", "max_new_tokens", "batch_size", "seed", "dtype")
OTHERS = ("backend", "limit", "prompt", "split", "keys")


def evaluate_model(options: argparse.Namespace) -> int:
    """Evaluate `options.model` with the options of the command line, and print the table of results.

    Returns:
        The exit code, 0.

    Raises:
        ValueError: An option does not fit the model, the problems or the backend, the folder of results holds something
            else, or a server fails.
    """
    if (processes := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ValueError(
            f"manypaths evaluate must run in one process, got WORLD_SIZE={processes}. Start it without a launcher."
        )
    spec, source = _model_of(options.model)
    evaluation = spec.evaluation if spec and not options.benchmarks else None
    own_problems = evaluation is not None and options.problems is None  # as `train` evaluates the run
    backend, why = choose_backend(source, options.backend)
    if own_problems and options.backend is None:
        backend, why = "transformers", "as in the run"
    _check_backend_options(options, backend)
    _check_set_options(options, own_problems)
    sets = _problem_sets(options, evaluation)
    defaults = _defaults(spec, evaluation, bool(options.benchmarks))
    sampling = Sampling(**{**defaults, **_given(options, FLAGS)})
    settings = _settings(options, spec, evaluation if own_problems else None, backend, sampling)
    out = options.out or _place(options.model, spec, options.benchmarks)
    check_out(out)
    check_settings(out, settings)
    for name, members in sets.items():
        check_problems(lines_file(out, name), members)
    print(f"Backend: {backend} ({why}); results in {out}", flush=True)
    if own_problems:
        print(_departures(options, defaults), flush=True)
    with only_writer(out):
        check_settings(out, settings)  # another command may have written there in the meantime
        on_server = {"name": options.model_name, "patience": options.patience}
        use_cpu = bool(spec and spec.trainer.get("use_cpu"))
        sampler = start(backend, source, sampling, use_cpu=use_cpu, **on_server)
        for name, members in sets.items():
            _note_golds(name, members)
        try:
            evaluate_sets(sets, sampler, out, settings, embedder=NgramEmbedder())
        except ServerError as error:
            kept = f"The problems that were finished are kept in {out}; the same command resumes."
            raise ValueError(f"{error} {kept}") from error
        print(table(summarise(out)))
    return 0


def _settings(
    options: argparse.Namespace, spec: Recipe | None, evaluation: Evaluation | None, backend: str, sampling: Sampling
) -> dict[str, Any]:
    """The settings of the evaluation; `evaluation` is the run's where its own problems are used."""
    prompt = options.prompt or (spec.prompt if spec else problems.PROMPT)
    if "{question}" not in json.dumps(prompt):
        raise ValueError(f"--prompt must be a text that holds {{question}}, got {prompt!r}.")
    limit = evaluation.problems.limit if evaluation and options.limit is None else options.limit
    keys = options.keys or (spec.evaluation.keys if spec and spec.evaluation else ANSWER)
    check_keys(keys)
    named = {"model": options.model, "model_name": options.model_name, "backend": backend, "prompt": prompt}
    return settings_of(sampling, limit=limit, keys=keys, **named)


def _check_backend_options(options: argparse.Namespace, backend: str) -> None:
    """Raise ValueError for an option that this backend does not use."""
    unused: tuple[str, ...] = ("dtype", "batch_size") if backend == "server" else ("model_name", "patience")
    unused += ("batch_size",) if backend == "vllm" else ()
    if flags := _flags(options, unused):
        raise ValueError(f"{flags} must be left out with the backend {backend}, which does not use it.")
    if options.patience is not None and not options.patience > 0:
        raise ValueError(f"--patience must be above 0 seconds, got {options.patience:g}.")


def _check_set_options(options: argparse.Namespace, own_problems: bool) -> None:
    """Raise ValueError for an option that these problems do not use."""
    if options.benchmarks and options.problems:
        raise ValueError("--problems must be left out beside --benchmarks. Give one of them, and the other afterwards.")
    names = options.benchmarks.split(",") if options.benchmarks else [options.problems] if options.problems else []
    unused: tuple[str, ...] = () if options.benchmarks else ("data_dir",)
    if options.data_dir is not None or (names and all(map(problems.is_here, names))):
        unused += ("revision",)
    if names and all(name in problems.MADE for name in names):
        unused += ("split", "problem_column", "answer_column")
    if flags := _flags(options, unused):
        sets = "the run's own problems" if own_problems else ", ".join(names) or "no problems"
        raise ValueError(f"{flags} must be left out with {sets}, which do not use it.")


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """Those of the options that are on the command line."""
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def _flags(options: argparse.Namespace, names: Sequence[str]) -> str:
    """The same as they are written on the command line."""
    return " and ".join(f"--{name.replace('_', '-')}" for name in _given(options, names))


def _departures(options: argparse.Namespace, defaults: dict[str, Any]) -> str:
    """A sentence that lists what the command line changes of how a run evaluates itself."""
    changes = [
        f"{name} {value} (the run: {defaults[name]})"
        for name, value in _given(options, FLAGS).items()
        if value != defaults[name]
    ]
    changes += [f"{name} {value}" for name, value in _given(options, OTHERS).items()]
    return f"Sampling as the run evaluates itself{', but for ' if changes else ''}{', '.join(changes)}."


def _note_golds(name: str, members: list[problems.Problem]) -> None:
    """Print a note for every gold answer that cannot be graded."""
    for problem in members:
        if reason := verifiers.gold_problem(problem.grader, problem.answer):
            label = one_line(f"{name} {problem.id}", 100)
            print(f"Note: {label}: the gold answer {shown(problem.answer)} cannot be graded: {one_line(reason)}")


def _defaults(spec: Recipe | None, evaluation: Evaluation | None, papers: bool) -> dict[str, Any]:
    """The fields of `Sampling` without options: those of the run's evaluation, of the papers, or one greedy completion.

    Args:
        spec: The recipe of the run that is evaluated; None for any other model.
        evaluation: Its section `evaluation`; None for benchmarks.
        papers: Whether benchmarks are evaluated.
    """
    if spec is None:
        return vars(Sampling()) | (PAPERS if papers else {})
    if evaluation is not None:
        return vars(Sampling()) | of_recipe(spec)
    weights = {"dtype": spec.model.dtype, "end_tokens": spec.model.end_tokens}
    return vars(Sampling()) | weights | (PAPERS if papers else {})


def _model_of(name: str) -> tuple[Recipe | None, str]:
    """The recipe of a run or of a checkpoint's run, None for any other model; and where the weights are."""
    path = Path(name)
    run = run_folder.run_of(path)
    if run is None:
        return None, name
    if run == path and not (run / run_folder.MODEL).is_dir():
        raise ValueError(_unfinished(run, run_folder.MODEL))
    weights = run / run_folder.MODEL if run == path else path
    return run_folder.read_recipe(run), str(weights.resolve())


def _unfinished(run: Path, missing: str) -> str:
    paths = run_folder.checkpoints(run)
    alternative = f", or evaluate a checkpoint: {paths[-1]}" if paths else ""
    return (
        f"The run {str(run)!r} is not finished: {str((run / missing).resolve())!r} does not exist. "
        f"Finish it: manypaths train --out {run}{alternative}."
    )


def _place(model: str, spec: Recipe | None, benchmarks: str | None) -> Path:
    """The folder of results: for benchmarks of a run or its checkpoints inside the run, where `compare` reads them."""
    path = Path(model)
    run = run_folder.run_of(path)
    if run is None or not benchmarks:
        return Path("evaluations", "-".join(model.strip("/").split("/")[-2:]))
    if run != path:
        return run / run_folder.EVALUATION / path.name.replace("checkpoint", "step")
    if not run_folder.is_finished(run):
        raise ValueError(_unfinished(run, run_folder.SUMMARY))
    return run_folder.benchmark_folder(run, read_json(run / run_folder.SUMMARY)["steps"])


def _problem_sets(options: argparse.Namespace, evaluation: Evaluation | None) -> dict[str, list[Any]]:
    """The problems by the name of their set."""
    columns = _given(options, ("split", "problem_column", "answer_column", "limit", "revision"))
    if options.benchmarks:
        return _benchmarks(options.benchmarks.split(","), options.data_dir, columns)
    if options.problems:
        section = Problems(options.problems)
    elif evaluation is not None:
        section = evaluation.problems
    else:
        raise ValueError(
            f"{options.model!r} {_no_problems_of(options.model)}. Give --problems or --benchmarks, or name the "
            "folder of a run."
        )
    return {name_of(section.name): problems.load(**{**vars(section), **columns})}


def _no_problems_of(model: str) -> str:
    """Why a model has no held-out problems of its own, in words."""
    path = Path(model)
    if "://" in model:
        return "is a server, which has no problems of its own"
    if not path.exists():
        return "is no folder on this machine, so it is taken as a name on the hub, which has no problems of its own"
    if run_folder.is_run(path):
        return "is a run whose recipe has no evaluation"
    return "is no run of manypaths train, and has no problems of its own"


def _benchmarks(names: Sequence[str], data_dir: str | None, columns: dict[str, Any]) -> dict[str, list[Any]]:
    """Benchmarks by name, with a note where one is not the public copy."""
    available = (*problems.BENCHMARKS, *problems.SHIPPED)
    for name in names:
        if name not in available:
            raise ValueError(f"Unknown benchmark {name!r}. {nearest(name, available)}")
    test = {"gsm8k": {"split": "test"}}
    sets = {name: problems.load(name, data_dir=data_dir, **{**test.get(name, {}), **columns}) for name in names}
    for name, members in sets.items():
        benchmark = problems.BENCHMARKS.get(name)
        if benchmark and "limit" not in columns and problems.fingerprint(members) != benchmark.fingerprint:
            print(f"Note: {name} is not the public copy: its {len(members)} problems or their answers differ.")
    return sets
