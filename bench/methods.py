"""The methods side by side: SmolLM2 on sums in words. Prints the table of docs/results.md.

    python bench/methods.py [--seeds 1 2 3] [--steps 20] [--out runs/methods] [OVERRIDE ...]

All runs start from the same weights and use the same prompts in the same order; the 128 held-out problems are sampled
greedily. Finished runs are read, not run again. Seconds are means over the steps of the fastest seed. The 95 % interval
is over problems, of each problem's mean rise over the seeds; it does not hold for other seeds.
"""

import argparse
import statistics
from pathlib import Path

from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.results import share_correct
from manypaths.statistics import estimate, interval

PARTS = ("sampling", "rewards", "embedding", "reweighting", "update")

METHODS = {
    "GRPO": ["grpo", "none"],
    "GRPO, completions used twice": ["grpo-clip", "none"],
    "RGRA, completions used twice": ["grpo-clip", "rgra"],
    "Dr. GRPO": ["dr-grpo", "none"],
    "DAPO, no dynamic sampling": ["dapo", "none"],
    "DAPO": ["dapo-dynamic", "none"],
    "MMR-GRPO": ["grpo", "mmr-paper"],
    "MMR-GRPO, equal rewards kept": ["grpo", "mmr-paper", "method.keep_equal_rewards=true"],
    "DRA-GRPO": ["grpo", "dra-paper"],
}


def verdicts(run: Path, when: str) -> list[float]:
    """Share of correct completions of each held-out problem, in order."""
    return [share_correct(line) for line in read_jsonl(run / "evaluation" / f"{when}.jsonl")]


def per_step(run: Path, key: str) -> float:
    """The mean over the steps that have it; a step that uses completions again samples none."""
    return statistics.mean(step[key] for step in read_jsonl(run / "metrics.jsonl") if key in step)


def seconds_per_step(run: Path) -> dict[str, float]:
    steps = read_jsonl(run / "metrics.jsonl")
    spent = {part: statistics.mean(step.get(f"seconds/{part}") or 0.0 for step in steps) for part in PARTS}
    return {**spent, "whole": sum(spent.values())}


def row(name: str, runs: list[Path]) -> str:
    before, after = ([verdicts(run, when) for run in runs] for when in ("before", "after"))
    start, end = (estimate([statistics.mean(seeds) for seeds in zip(*runs, strict=True)]) for runs in (before, after))
    low, high = interval(end, start)
    spent = min(map(seconds_per_step, runs), key=lambda seconds: seconds["whole"])
    cells = [
        name,
        " ".join(f"{statistics.mean(shares):.1%}" for shares in after),
        f"{100 * (end.value - start.value):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]",
        *(f"{spent[part]:.1f}" for part in ("whole", "sampling", "update")),
        f"{spent['embedding'] + spent['reweighting']:.3f}",
        f"{statistics.mean(per_step(run, 'groups/zero_std') for run in runs):.0%}",
        f"{statistics.mean(per_step(run, 'diversity/similarity') for run in runs):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def table(runs: dict[str, list[Path]]) -> str:
    columns = ["method", "after, by seed", "rise, points", "s a step", "sampling", "update"]
    columns += ["embedding, reweighting", "zero-variance groups", "similarity"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(row(name, own_runs) for name, own_runs in runs.items())])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    runs: dict[str, list[Path]] = {name: [] for name in METHODS}
    for seed in options.seeds:
        for name, (variant, method, *more) in METHODS.items():
            run = options.out / f"{'-'.join([variant, method, *(['kept'] * len(more))])}-{seed}"
            named = ["smollm2-135m-pypi", variant, method, "arithmetic", "quickstart", *more, *options.overrides]
            if main(["train", *named, f"trainer.max_steps={options.steps}", f"seed={seed}", "--out", str(run)]):
                raise SystemExit(2)
            runs[name].append(run)
        print(table({name: own_runs for name, own_runs in runs.items() if own_runs}), flush=True)
