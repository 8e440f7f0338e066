"""The command line: manypaths train | evaluate | grade | compare | sweep | inspect | recipes | doctor. Wiring only."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from manypaths import __version__

try:
    from manypaths import recipe
except ModuleNotFoundError as missing:  # PyYAML; `doctor` works all the same, and says so
    if missing.name != "yaml":
        raise
    recipe = None  # type: ignore[assignment]

PAPERS = {"samples": 16, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768}  # how the papers evaluate
PATIENCE = 5.0  # seconds
PLAIN = {"samples": 1, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 256}


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
    except (ValueError, OSError) as error:
        if rank := int(os.environ.get("RANK", "0")):  # the first process says the same, and then a launcher ends this
            time.sleep(PATIENCE)
        process = f", process {rank}" if rank else ""
        print(f"manypaths {options.name}{process}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":
            print("Stopped. The same command goes on from the last checkpoint.", file=sys.stderr)
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
    evaluate.add_argument("--problems", help="arithmetic, gsm8k, svamp, a .json/.jsonl file, or a hub data set")
    for name in ("--split", "--problem-column", "--answer-column"):
        evaluate.add_argument(name)
    evaluate.add_argument("--revision", help="of data on the hub: a commit, tag or branch [the newest]")
    evaluate.add_argument("--limit", type=int, help="only the first problems of each set")
    evaluate.add_argument("--prompt", help="a text that holds {question} [a run's own prompt, else a chat message]")
    evaluate.add_argument("--samples", type=int, help="answers per problem [16 for benchmarks, else 1]")
    evaluate.add_argument("--temperature", type=float, help="0 is greedy [0.6 for benchmarks, else 0]")
    evaluate.add_argument("--top-p", type=float, help="[0.95 for benchmarks, else 1]")
    evaluate.add_argument("--max-new-tokens", type=int, help="[32768 for benchmarks, else 256]")
    evaluate.add_argument("--batch-size", type=int, default=32, help="sequences at a time, with transformers [32]")
    evaluate.add_argument("--seed", type=int, default=1)
    evaluate.add_argument("--backend", choices=("transformers", "vllm", "server"), help="[vllm where it is installed]")
    evaluate.add_argument("--model-name", help="of a server: the model [the first it lists]")
    evaluate.add_argument("--out", type=Path, help="folder; one that exists is continued [evaluations/MODEL, a run]")
    evaluate.set_defaults(command=_evaluate)

    grade = commands.add_parser("grade", help="grade answers that were made elsewhere")
    grade.add_argument("samples", type=Path, help="a .jsonl or .parquet file of answers, with or without verdicts")
    grade.add_argument("--text-column", help="the model's answer, or a list of them [its usual names]")
    grade.add_argument("--gold-column", help="the right answer [its usual names]")
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
    began = time.perf_counter()
    names = [recipe.find(word).stem for word in options.recipes if "=" not in word]
    out = options.out or Path("runs", "-".join(names))
    if not names and not (out / "recipe.yaml").is_file():
        raise ValueError("Name recipes, such as: manypaths train smollm2-135m grpo mmr gsm8k. See: manypaths recipes")
    words = options.recipes if names else [str(out / "recipe.yaml"), *options.recipes]
    spec = _read(words)
    if options.dry_run and options.launch:
        raise ValueError("The dry run estimates GPUs without shards: leave --launch out of it.")
    if options.dry_run:
        return _dry_run(spec, [word for word in words if "=" not in word], options)
    if options.gpu:
        raise ValueError("--gpu belongs to --dry-run. Add it, or leave it out.")
    if options.launch or options.processes is not None:
        from manypaths.launch import launch

        return launch(["train", *options.recipes, "--out", str(out)], options.processes, options.launch)
    from manypaths import run

    summary = run.train(run.prepare(spec, out))
    if summary is None:  # the first process tells
        return 0
    if found := summary["evaluation"]:
        parts = ", ".join(f"{when} {_share(found[when])}" for when in ("before", "after"))
        print(f"Accuracy on {found['after']['problems']} held-out problems [95 % interval]: {parts}")
    spent = ", ".join(f"{part} {seconds:.1f}" for part, seconds in summary["seconds"].items())
    wall = time.perf_counter() - began
    print(f"Seconds in {summary['steps']} steps: {spent}; this command took {wall:.0f}")
    print(f"Look inside the groups: {out / 'inspect.html'}")
    return 0


def _dry_run(spec: recipe.Recipe, names: list[str], options: argparse.Namespace) -> int:
    from manypaths import dry_run

    def check() -> None:
        from manypaths import run  # and TRL with it, which takes seconds

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
    spec, source = _model_of(options.model)
    from manypaths import problems
    from manypaths.evaluate import claim, evaluate, summarise, table
    from manypaths.generate import choose_backend
    from manypaths.grading import shared_grader

    backend, why = choose_backend(source, options.backend)
    own = spec.evaluation if spec and not options.benchmarks else None
    sets = _problem_sets(options, own)
    prompt = options.prompt or (spec.prompt if spec else problems.PROMPT)
    if "{question}" not in json.dumps(prompt):
        raise ValueError(f"--prompt asks for a text that holds {{question}}; given {prompt!r}.")
    sampling = {key: getattr(options, key) for key in PAPERS}
    usual = PAPERS if options.benchmarks else {key: getattr(own, key) for key in PAPERS} if own else PLAIN
    sampling = {key: usual[key] if value is None else value for key, value in sampling.items()}
    if sampling["samples"] > 1 and not sampling["temperature"]:
        raise ValueError("Greedy samples are all the same: set --temperature, such as 0.6, or --samples 1.")
    settings = {"model": options.model, "backend": backend, "prompt": prompt, **sampling}
    settings |= {key: getattr(options, key) for key in ("seed", "limit", "batch_size")}
    out = options.out or _place(options.model, spec, options.benchmarks)
    claim(out, settings, write=False)
    print(f"Backend: {backend} ({why}); results in {out}", flush=True)
    generate, at_once = _generator(backend, source, spec, options, sampling)
    claim(out, settings)
    from manypaths.embed import NgramEmbedder

    for name, chosen in sets.items():
        for problem in chosen:
            if wrong := shared_grader().gold_problem(problem.answer):
                print(f"Note: {name} {problem.id}: the gold answer {problem.answer!r} cannot be graded: {wrong}")
        named = {"samples": sampling["samples"], "at_once": at_once, "embedder": NgramEmbedder(), "progress": name}
        evaluate(chosen, generate, prompt=prompt, out=out / f"{name}.jsonl", **named)
    print(table(summarise(out, list(sets))))
    return 0


def _model_of(name: str) -> tuple[recipe.Recipe | None, str]:
    """A model, run folder or checkpoint of a run -> (the run's recipe, where the weights are)."""
    path = Path(name)
    for run, weights in ((path, path / "model"), (path.parent.parent, path)):
        if (run / "recipe.yaml").is_file() and (run == path or path.parent.name == "checkpoints"):
            return recipe.read([str(run / "recipe.yaml")]), str(weights.resolve())
    return None, name


def _place(model: str, spec: recipe.Recipe | None, benchmarks: str | None) -> Path:
    """Where results go: benchmarks of a run, or of its checkpoints, into the run, where `manypaths compare` looks."""
    path = Path(model)
    if not spec or not benchmarks:
        return Path("evaluations", "-".join(model.strip("/").split("/")[-2:]))
    if path.parent.name == "checkpoints":
        return path.parent.parent / "evaluation" / path.name.replace("checkpoint", "step")
    return path / "evaluation" / f"step-{json.loads((path / 'summary.json').read_text('utf-8'))['steps']}"


def _problem_sets(options: argparse.Namespace, own: recipe.Evaluation | None) -> dict[str, list[Any]]:
    from manypaths import problems

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


def _generator(
    backend: str, source: str, spec: recipe.Recipe | None, options: argparse.Namespace, sampling: dict[str, Any]
) -> tuple[Any, int]:
    """(generate, how many problems at a time) of a backend."""
    from manypaths import checkpoint, generate

    named = {key: sampling[key] for key in ("max_new_tokens", "temperature", "top_p")} | {"seed": options.seed}
    at_once = max(1, 1024 // sampling["samples"])
    ends = spec.model.end_tokens if spec else []
    if backend == "server":
        return generate.server_generate(source, name=options.model_name, **named), at_once
    if backend == "vllm":
        return generate.vllm_generate(source, end_tokens=ends, **named), at_once
    import torch

    from manypaths import cpu

    model, tokenizer = checkpoint.load(source)
    own = model.generation_config.eos_token_id  # Llama and Qwen have several
    own = own if isinstance(own, list) else [] if own is None else [own]
    model.generation_config.eos_token_id = sorted({*own, *checkpoint.end_tokens(tokenizer, ends)})
    if torch.accelerator.is_available():
        model.to(torch.accelerator.current_accelerator())
    else:
        cpu.keep_head_input_contiguous(model)
    named |= {"batch_size": options.batch_size}
    return generate.transformers_generate(model, tokenizer, **named), max(1, options.batch_size // sampling["samples"])


def _grade(options: argparse.Namespace) -> int:
    from manypaths.evaluate import grade_file

    found = grade_file(options.samples, options.text_column, options.gold_column, options.out)
    print(f"Correct of {found['problems']} problems with {found['samples']} samples or more: {_share(found)}")
    print(f"pass@{found['samples']} {found['pass_at'][str(found['samples'])]:.1%}, majority {found['majority']:.1%}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    if options.published:
        from manypaths import published

        print(published.page())
        return 0
    if not options.runs:
        raise ValueError("Name run folders, such as: manypaths compare runs/grpo-1 runs/mmr-1, or --published.")
    _need_for_comparing(curves=options.out is not None)
    from manypaths import compare, report
    from manypaths.curves import rise_of

    rise_of(options.target)
    runs, refused = compare.read(options.runs)
    for told in refused:
        print(f"Left out: {told}", file=sys.stderr)
    found = compare.compare(runs, options.baseline, options.target)
    written = f"\n\nReport: {report.write(found, options.out)}" if options.out is not None else ""
    print(report.text(found) + written)
    return 0


def _need_for_comparing(curves: bool) -> None:
    missing = [
        name for name in ("numpy", *(["matplotlib"] if curves else [])) if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ValueError(f"Comparing runs takes {' and '.join(missing)}. Install: pip install numpy matplotlib pyyaml")


def _sweep(options: argparse.Namespace) -> int:
    from manypaths import sweep
    from manypaths.curves import rise_of

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
    from manypaths import compare, report

    runs, _ = compare.read([out / job.name for job in jobs if job.name not in failed])
    found = compare.compare(runs, grid.baseline, grid.target)
    written = report.write(found, out / "comparison")
    print(f"{report.text(found)}\n\nReport: {written}")
    for name in failed:
        print(f"Failed: {name}; see {out / f'{name}.log'}", file=sys.stderr)
    return 1 if failed else 0


def _inspect(options: argparse.Namespace) -> int:
    from manypaths.page import write_page

    print(write_page(options.run, options.out))
    return 0


def _recipes(options: argparse.Namespace) -> int:
    if options.recipes:
        print(recipe.dump(_read(options.recipes)), end="")
        return 0
    from manypaths import launch

    launches = {f"--launch {name}": path for name, path in launch.shipped().items()}
    for name, path in {**recipe.shipped(), **launches}.items():
        print(f"{name:<28} {path.read_text('utf-8').splitlines()[0].removeprefix('# ')}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from manypaths import doctor

    facts = doctor.facts(options.offline)
    findings = doctor.find(facts)
    print(doctor.as_json(facts, findings) if options.json else doctor.page(findings))
    return 0 if doctor.can_start(findings) else 1


if __name__ == "__main__":
    code = main()
    if "LOCAL_RANK" in os.environ:  # at the interpreter's own end threads of gloo may abort a process that has done all
        from manypaths.launch import leave

        leave(code)
    sys.exit(code)
