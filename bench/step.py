"""What a training step costs with GRPO, MMR among the right completions, and MMR's selection of half, in turns.

    python bench/step.py [--rounds 8] [--out FOLDER] [OVERRIDE ...]

The recipe is the quickstart's; `trainer.max_completion_length=256 model.end_tokens=[]` makes long completions (see
docs/results.md). The three take turns, step by step, in one run; all else is equal. In each step the forward and the
backward pass of the update run twice on the same micro-batch: once with every completion that was selected, once with
those alone whose advantage is not 0 (`skip_zero_advantage`). Which of the two comes first changes from round to round.

Columns, medians with quartiles: the seconds of the step without its update; of these, embedding and reweighting; the
seconds of the update's two passes without and with skipping; with over without, on the same micro-batch, of seconds,
rows and tokens of completions; and the step with skipping over the step of plain GRPO without it in the same round.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.methods import SELECTIONS, among_correct, mmr
from manypaths.methods.bind import bind_selection
from manypaths.training import run
from manypaths.trl import PARTS, DiverseGRPOTrainer

PASSES = []  # of each step {skip: seconds}, {skip: rows}, {skip: tokens}


class InTurns(DiverseGRPOTrainer):
    """Another method in each step; PASSES gets what the update of each ran, and how long it took."""

    def _generate_and_score_completions(self, inputs):
        if not hasattr(self, "own"):
            self.own, half = self.embedder, self.num_generations // 2
            half = bind_selection(SELECTIONS["mmr"], half, {}, "select")
            self.turns = [(None, None, None), (self.own, among_correct(mmr), None), (self.own, None, half)]
        embedder, reweight, self.select = self.turns[self.state.global_step % 3]
        self.inputs.replace(embedder, self.inputs.methods | {"reweight": reweight, "select": self.select})
        self.skip_zero_advantage = True  # for the advantages of zero-variance groups, which are then exactly 0
        return super()._generate_and_score_completions(inputs)

    def _compute_loss(self, model, inputs):
        seconds, rows, tokens = {}, {}, {}
        for skip in (self.state.global_step // 3 % 2 == 0, self.state.global_step // 3 % 2 == 1):
            self.skip_zero_advantage = skip
            self.ran = None
            began = time.perf_counter()
            super()._compute_loss(model, inputs).backward()
            seconds[skip] = time.perf_counter() - began
            rows[skip], tokens[skip] = self.ran
        PASSES.append((seconds, rows, tokens))
        model.zero_grad()
        self.skip_zero_advantage = True
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, model, ids, mask, kept, **named):
        self.ran = len(ids), int(mask[:, -kept:].sum())
        return super()._get_per_token_logps_and_entropies(model, ids, mask, kept, **named)


def quartiles(values):
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    run.DiverseGRPOTrainer = InTurns
    with tempfile.TemporaryDirectory() as folder:
        out = options.out or Path(folder, "run")
        words = ["smollm2-135m-pypi", "dr-grpo", "mmr", "select-mmr", "arithmetic", "quickstart", "evaluation=null"]
        words += [f"trainer.max_steps={3 * options.rounds + 3}", 'trainer.save_strategy="no"', *options.overrides]
        if main(["train", *words, "--out", str(out)]):
            raise SystemExit(2)
        steps = read_jsonl(out / "metrics.jsonl")[3:]  # the first round warms up
    length = statistics.mean(line["completions/mean_length"] for line in steps)
    print(f"{len(steps) // 3} rounds, {torch.get_num_threads()} threads, completions of {length:.0f} tokens on average")
    print(
        "| step | rest, s | diversity, ms | update, s | skipping, s | over without | rows | tokens | step over GRPO's |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    parts = [{part: line[f"seconds/{part}"] for part in PARTS} for line in steps]
    rest = [sum(seconds.values()) - seconds["update"] for seconds in parts]
    passes = PASSES[-len(steps) :]
    plain = [others + seconds[False] for others, (seconds, _, _) in zip(rest[::3], passes[::3], strict=True)]
    for turn, name in enumerate(["GRPO", "MMR among the right", "MMR's half"]):
        seconds, rows, tokens = zip(*passes[turn::3], strict=True)
        whole = [others + update[True] for others, update in zip(rest[turn::3], seconds, strict=True)]
        cells = [
            quartiles(rest[turn::3]),
            f"{1e3 * statistics.median(own['embedding'] + own['reweighting'] for own in parts[turn::3]):.1f}",
            *(quartiles([update[skip] for update in seconds]) for skip in (False, True)),
            *(quartiles([ran[True] / ran[False] for ran in both]) for both in (seconds, rows, tokens)),
            quartiles([own / its for own, its in zip(whole, plain, strict=True)]),
        ]
        print(f"| {' | '.join([name, *cells])} |")
