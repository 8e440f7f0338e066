"""The time of `manypaths compare`, as a whole command, on 20 simulated run folders of 500 steps.

    python bench/compare_speed.py [--runs 20] [--steps 500] [--samples 4] [--earlier]

Each folder has what a run writes: 500 lines of metrics, and 11 evaluations of 128 problems with every completion. With
--earlier it is a folder of an earlier version, without counts.json, whose completions are counted from its lines.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from manypaths import recipe
from manypaths.graded import count_all
from manypaths.names import PARTS

NAMES = ["smollm2-135m-pypi", "grpo", "none", "arithmetic", "quickstart"]


def write_run(folder, method, seed, steps, samples, earlier):
    draw = random.Random(f"{method} {seed}")
    folder.mkdir(parents=True)
    spec = yaml.safe_load(recipe.dump(recipe.read(NAMES, [f"seed={seed}", f"trainer.max_steps={steps}"])))
    spec["method"]["reweight"] = None if method == "grpo" else method
    (folder / "recipe.yaml").write_text(yaml.safe_dump(spec))
    (folder / "environment.json").write_text(json.dumps({"gpus": [], "cores": 2, "threads": 2}))
    (folder / "summary.json").write_text("{}")
    with open(folder / "metrics.jsonl", "w") as file:
        for step in range(1, steps + 1):
            seconds = {f"seconds/{part}": draw.random() for part in PARTS}
            own = {f"made/up/{number}": draw.random() for number in range(40)}
            ours = {"entropy": draw.random(), "reward": draw.random(), "diversity/similarity": draw.random()}
            file.write(json.dumps({"step": step, **seconds, **ours, **own}) + "\n")
    summary, counts = {}, {}
    (folder / "evaluation").mkdir()
    for step in range(0, steps + 1, steps // 10):
        when = "before" if step == 0 else "after" if step == steps else f"step-{step}"
        chance = 0.2 + 0.6 * step / steps + (0.03 if method != "grpo" else 0)
        summary[when] = {"step": step}
        lines = [{"id": str(n), "samples": [made_up(draw, chance) for _ in range(samples)]} for n in range(128)]
        counts[when] = {"arithmetic": count_all(lines)}
        (folder / "evaluation" / f"{when}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "evaluation" / "summary.json").write_text(json.dumps(summary))
    if not earlier:
        (folder / "evaluation" / "counts.json").write_text(json.dumps(counts))


def made_up(draw, chance):
    correct = draw.random() < chance
    answer = "18" if correct else str(draw.randint(1, 17))
    return {"text": "made up " * 20, "answer": answer, "correct": correct}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--earlier", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.runs):
            method = ("grpo", "mmr", "dra", "other")[number % 4]
            folder, made = Path(name, "runs", f"{method}-{number // 4 + 1}"), (options.samples, options.earlier)
            write_run(folder, method, number // 4 + 1, options.steps, *made)
        for more in ([], ["--out", str(Path(name, "out"))]):
            command = [sys.executable, "-m", "manypaths.cli", "compare", str(Path(name, "runs")), *more]
            taken = []
            for _ in range(6):
                began = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                taken.append(time.perf_counter() - began)
            what = "with tables, curves and report in files" if more else "in the terminal"
            print(
                f"{options.runs} runs of {options.steps} steps, {what}: {statistics.median(taken[1:]):.2f} s",
                flush=True,
            )
            print(f"  (first {taken[0]:.2f} s, then {min(taken[1:]):.2f} to {max(taken[1:]):.2f} s)")
