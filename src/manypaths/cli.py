"""The command line: manypaths train | evaluate | inspect | recipes. Wiring only."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from manypaths import __version__, recipe


def main(arguments: list[str] | None = None) -> int:
    """Run one command -> its exit code: 0 done, 2 a mistake in what was asked (one sentence), 130 interrupted."""
    top = parser()
    options, more = top.parse_known_args(arguments)  # recipes and overrides may also stand behind an option
    if more and ("recipes" not in options or any(word.startswith("-") for word in more)):
        top.error(f"unrecognized arguments: {' '.join(more)}")
    options.recipes = getattr(options, "recipes", []) + more
    warnings.simplefilter("ignore", FutureWarning)  # of the libraries about each other
    try:
        return int(options.command(options))
    except (ValueError, OSError) as error:
        print(f"manypaths {options.name}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
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
    train.add_argument("--processes", type=int, help="of the dry run: how many GPUs train [1]")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="accuracy of a model or a run on problems")
    evaluate.add_argument("model", help="run folder, checkpoint, hub id or package:NAME")
    evaluate.add_argument("--problems", help="arithmetic, gsm8k, svamp, a .json/.jsonl file, or a hub data set")
    for name in ("--split", "--problem-column", "--answer-column"):
        evaluate.add_argument(name)
    evaluate.add_argument("--limit", type=int, help="only the first problems")
    evaluate.add_argument("--prompt", help="a text that holds {question} [a run's own prompt, else a chat message]")
    evaluate.add_argument("--samples", type=int, default=1, help="answers per problem [1]")
    evaluate.add_argument("--temperature", type=float, default=0.0, help="0 is greedy [0]")
    evaluate.add_argument("--top-p", type=float, default=1.0)
    evaluate.add_argument("--max-new-tokens", type=int, default=256)
    evaluate.add_argument("--batch-size", type=int, default=32)
    evaluate.add_argument("--seed", type=int, default=1)
    evaluate.add_argument("--out", type=Path, help="write every answer and verdict to this JSON lines file")
    evaluate.set_defaults(command=_evaluate)

    inspect = commands.add_parser("inspect", help="write the page that shows a run's groups")
    inspect.add_argument("run", type=Path)
    inspect.add_argument("--out", type=Path, help="[RUN/inspect.html]")
    inspect.set_defaults(command=_inspect)

    recipes = commands.add_parser("recipes", help="list the shipped recipes, or print some of them merged")
    recipes.add_argument("recipes", nargs="*")
    recipes.set_defaults(command=_recipes)
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
    if options.dry_run:
        return _dry_run(spec, [word for word in words if "=" not in word], options)
    if options.gpu or options.processes is not None:
        raise ValueError("--gpu and --processes belong to --dry-run. Add it, or leave them out.")
    from manypaths import run

    summary = run.train(run.prepare(spec, out))
    if found := summary["evaluation"]:
        parts = ", ".join(f"{when} {_share(each)}" for when, each in found.items())
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
    run = Path(options.model)
    spec = recipe.read([str(run / "recipe.yaml")]) if (run / "recipe.yaml").is_file() else None
    from manypaths import checkpoint, problems
    from manypaths.evaluate import evaluate, sampler

    columns = {key: getattr(options, key) for key in ("split", "problem_column", "answer_column", "limit")}
    own = spec.evaluation.problems if spec and spec.evaluation else None
    if own is None and options.problems is None:
        raise ValueError("Give --problems NAME; only a run whose recipe has an evaluation knows its problems.")
    own = recipe.Problems(options.problems) if options.problems else own
    chosen = problems.load(**vars(own) | {key: value for key, value in columns.items() if value is not None})
    prompt = options.prompt or (spec.prompt if spec else problems.PROMPT)
    if "{question}" not in json.dumps(prompt):
        raise ValueError(f"--prompt asks for a text that holds {{question}}; given {prompt!r}.")
    model, tokenizer = checkpoint.load(str((run / "model").resolve()) if spec else options.model)
    model.generation_config.eos_token_id = checkpoint.end_tokens(tokenizer, spec.model.end_tokens if spec else [])
    named = {key: getattr(options, key) for key in ("max_new_tokens", "temperature", "top_p", "batch_size", "seed")}
    generate = sampler(model, tokenizer, **named)
    found = evaluate(chosen, generate, prompt=prompt, samples=options.samples, out=options.out)
    print(f"Accuracy on {found['problems']} problems [95 % interval]: {_share(found)}; boxed {found['boxed']:.1%}")
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from manypaths.page import write_page

    print(write_page(options.run, options.out))
    return 0


def _recipes(options: argparse.Namespace) -> int:
    if options.recipes:
        print(recipe.dump(_read(options.recipes)), end="")
        return 0
    for name, path in recipe.shipped().items():
        print(f"{name:<28} {path.read_text('utf-8').splitlines()[0].removeprefix('# ')}")
    return 0
