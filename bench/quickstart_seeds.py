"""Train the quickstart with several seeds, and print the rise of held-out accuracy: the table of docs/results.md.

    python bench/quickstart_seeds.py [--seeds 1 2 3] [--out runs/seeds] [RECIPE ...]

Finished runs are read, not trained again. Two intervals of the mean rise, at 95 %: over seeds (Student's t) and over
problems (paired bootstrap, for all seeds have the same problems).
"""

import argparse
import json
import math
import random
import statistics
from pathlib import Path

from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.results import share_correct
from manypaths.statistics.student import student

RECIPES = ["smollm2-135m-pypi", "dr-grpo", "none", "arithmetic", "quickstart"]


def verdicts(path: Path) -> list[float]:
    """Share of correct completions of each held-out problem, in order."""
    return [share_correct(line) for line in read_jsonl(path)]


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def table(runs: dict[int, Path]) -> str:
    lines = [
        "| seed | before | after | rise, points | steps | seconds: sampling | update | embedding | evaluation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rises, per_problem = [], []
    for seed, run in runs.items():
        summary = json.loads((run / "summary.json").read_text())
        before, after = (verdicts(run / "evaluation" / f"{when}.jsonl") for when in ("before", "after"))
        rises.append(statistics.mean(after) - statistics.mean(before))
        per_problem.append([late - early for early, late in zip(before, after, strict=True)])
        spent = summary["seconds"]
        lines.append(
            f"| {seed} | {statistics.mean(before):.1%} | {statistics.mean(after):.1%} | {points(rises[-1])} "
            f"| {summary['steps']} | {spent['sampling']:.0f} | {spent['update']:.0f} | {spent['embedding']:.1f} "
            f"| {spent['evaluation']:.0f} |"
        )
    mean = statistics.mean(rises)
    lines.append(f"\nMean rise over {len(rises)} seeds, {len(per_problem[0])} held-out problems: {points(mean)} points")
    if len(rises) > 1:
        half = student(len(rises) - 1) * statistics.stdev(rises) / math.sqrt(len(rises))
        lines.append(f"95 % interval over seeds (Student's t): [{points(mean - half)}, {points(mean + half)}]")
    rng = random.Random(0)
    gains = [statistics.mean(column) for column in zip(*per_problem, strict=True)]
    means = sorted(statistics.mean(rng.choices(gains, k=len(gains))) for _ in range(2000))
    lines.append(f"95 % interval over problems (bootstrap): [{points(means[50])}, {points(means[1949])}]")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    runs = {seed: options.out / str(seed) for seed in options.seeds}
    for seed, run in runs.items():
        if main(["train", *RECIPES, *options.overrides, f"seed={seed}", "--out", str(run)]):
            raise SystemExit(2)
    print(table(runs))
