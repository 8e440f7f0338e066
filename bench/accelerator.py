"""Short runs on this machine's accelerator: tokens a second, memory, seconds of each part of a step.

    python bench/accelerator.py [--steps 20]      # some minutes on a GPU; --steps 1 on a CPU, to see the table
    python bench/accelerator.py --runs quickstart "GSM8K, MMR-GRPO"

The quickstart's recipe, and GSM8K without and with MMR, with SmolLM2-135M from PyPI, so that no hub is contacted. Every
run has a process of its own, and its figures are printed when it ends. Tokens are those of the completions, over the
seconds of sampling. Memory is the most that torch had allocated (on a CPU: the process), beside what `manypaths train
... --dry-run` estimates. Seconds are means over the steps after the first.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from manypaths import recipe
from manypaths.files import read_jsonl
from manypaths.preflight.memory import GIB, memory, peak
from manypaths.preflight.shape import shape_of
from manypaths.preflight.workload import workload
from manypaths.tables import markdown
from manypaths.training import run
from manypaths.trl import PARTS

SMALL = ["smollm2-135m-pypi", "evaluation=null", "trainer.save_strategy=no", "trainer.disable_tqdm=true"]
LARGE = [f"trainer.{word}" for word in ("num_generations=16", "per_device_train_batch_size=128")]
RUNS = {
    "quickstart": ["dr-grpo", "mmr", "arithmetic", "quickstart"],
    "GSM8K, GRPO": ["grpo", "none", "gsm8k"],
    "GSM8K, MMR-GRPO": ["grpo", "mmr-paper", "gsm8k"],
    "GSM8K, MMR-GRPO, 64 x 16": ["grpo", "mmr-paper", "gsm8k", *LARGE, "trainer.gradient_accumulation_steps=8"],
}


def spec_of(name, steps):
    words = [*SMALL[:1], *RUNS[name], *SMALL[1:], f"trainer.max_steps={steps}"]
    return recipe.read([word for word in words if "=" not in word], [word for word in words if "=" in word])


def train(name, steps):
    """Train here, and print as JSON: the device, its peak in bytes, the metrics of every step."""
    spec = spec_of(name, steps)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        run.train(run.prepare(spec, out))
        lines = read_jsonl(out / "metrics.jsonl")
    device, peak = "CPU", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        device, peak = getattr(torch, kind).get_device_name(), torch.accelerator.max_memory_allocated()
    print(json.dumps({"device": device, "peak": peak, "lines": lines}))


def row(name, steps):
    command = [sys.executable, __file__, "--steps", str(steps), "--only", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    spec = spec_of(name, steps)
    work, lines = workload(spec), measured["lines"][1:] or measured["lines"]
    seconds = {part: sum(line[f"seconds/{part}"] for line in lines) / len(lines) for part in PARTS}
    tokens = sum(line["completions/mean_length"] for line in lines) / len(lines) * work.generation
    estimate = peak(memory(spec, shape_of(spec.model.name), work, 80 * GIB))
    sizes = [f"{size / GIB:.1f}" for size in (measured["peak"], estimate)]
    parts = [f"{value:.3g}" for value in seconds.values()]
    return measured["device"], [name, f"{work.step:,}", f"{tokens / seconds['sampling']:,.0f}", *parts, *sizes]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS), help="of the table [all]")
    parser.add_argument("--only", choices=RUNS, help="one run, in this process")
    options = parser.parse_args()
    if options.only:
        train(options.only, options.steps)
        return
    heads = ["recipe", "completions a step", "tokens/s", *(f"{part}, s" for part in PARTS), "peak GiB", "estimated"]
    rows = []
    for name in options.runs:
        device, cells = row(name, options.steps)
        rows.append(cells)
        print(f"{name}: {', '.join(cells[1:])}", file=sys.stderr, flush=True)
    print(f"{device}, torch {torch.__version__}, {options.steps} steps\n\n{markdown([heads, *rows])}")


if __name__ == "__main__":
    main()
