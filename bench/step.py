"""What diversity costs in a training step: plain, MMR and DRA in turns, step by step, within one run.

    python bench/step.py [--rounds 8] [--out FOLDER] [OVERRIDE ...]

The recipe is the quickstart's; `trainer.max_completion_length=512 model.end_tokens=[]` makes completions of 512 tokens
(see docs/results.md). Steps without embedder and reweighter, with MMR and with DRA take turns; all else is equal. There
are two ratios: the seconds of a step over those of the plain step in the same round, which noise of the machine and the
length of completions affect; and the seconds of embedding and reweighting over those of the rest of the same step,
which they do not affect.
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

from manypaths import dra, mmr
from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.training import run
from manypaths.trl import PARTS, DiverseGRPOTrainer

TURNS = {"plain": None, "mmr": mmr, "dra": dra}


class InTurns(DiverseGRPOTrainer):
    """Another reweighter in each step."""

    def _generate_and_score_completions(self, inputs):
        own, (self.reweight, self.embedder) = self.embedder, (list(TURNS.values())[self.state.global_step % 3], None)
        if self.reweight is not None:
            self.embedder = own
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self.embedder = own


def quartiles(values, percent):
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3%} ({low:.3%} to {high:.3%})" if percent else f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    run.DiverseGRPOTrainer = InTurns
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder, "run")
        words = ["smollm2-135m-pypi", "dr-grpo", "mmr", "arithmetic", "quickstart", "evaluation=null"]
        words += [f"trainer.max_steps={3 * options.rounds + 3}", 'trainer.save_strategy="no"', *options.overrides]
        if main(["train", *words, "--out", str(out)]):
            raise SystemExit(2)
        steps = read_jsonl(out / "metrics.jsonl")[3:]  # the first round warms up
    spent = [{part: line[f"seconds/{part}"] for part in PARTS} for line in steps]
    whole = [sum(parts.values()) for parts in spent]
    tokens = statistics.mean(line["completions/mean_length"] for line in steps)
    print(f"{len(steps) // 3} rounds; completions of {tokens:.0f} tokens; medians with quartiles")
    print("| step | seconds | over the plain one | embedding | reweighting | both, of the rest of the step |")
    print("|---|---|---|---|---|---|")
    for turn, name in enumerate(TURNS):
        own = list(itertools.islice(zip(spent, whole, strict=True), turn, None, 3))
        ratios = [mine / plain for (_, mine), plain in zip(own, whole[::3], strict=True)]
        added = [parts["embedding"] + parts["reweighting"] for parts, _ in own]
        shares = [extra / (all_of_it - extra) for extra, (_, all_of_it) in zip(added, own, strict=True)]
        cells = [name, quartiles([total for _, total in own], False), quartiles(ratios, False)]
        cells += [f"{1e3 * statistics.median(parts[part] for parts, _ in own):.2f} ms" for part in PARTS[2:4]]
        print(f"| {' | '.join([*cells, quartiles(shares, True)])} |")
