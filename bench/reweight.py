"""What methods cost: every one of them, and `mmr` against its Algorithm 1 group by group.

    python bench/reweight.py [--threads 1] [--run runs/quickstart | --step SECONDS]

Seconds are the minimum of several calls within one process: CPU time of one thread, or of the GPU where there is one.

The first table has a row for each method of `manypaths.methods`, with its defaults, for two placebos, and for each rule
that selects whom to train on, with half of a group: the time of groups of three sizes, first that of the quickstart,
and its share of a step of the quickstart: of the given run, of a step of so many seconds, or of three steps made for
this. What a method's inputs cost is not in its row; the first lines have the embedding of the run. "Inputs once" is one
pass over the inputs of a method and its result at the bandwidth measured here, below which no method can be. Peak is
the most memory that the call holds beyond its arguments, for the largest groups.

The second table compares `mmr` with Algorithm 1 as written in the paper, one group after another: "loop" in few and
small operations on tensors, "lists" on Python numbers, which would need a copy from a GPU. "A pass a pick" is one pass
over [B, G, G] in float64 for each of G picks: the bytes that a pick would read if it did not have a row of its own.
"""

import argparse
import os
import tempfile
import time
import weakref
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from manypaths import cosine_similarity, dra, mmr, recipe
from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.methods import ADVANTAGES, REWEIGHTERS, SELECTIONS, rarity, shuffled
from manypaths.methods.inputs import INPUTS, inputs_of
from manypaths.training.trainer_config import trainer_config
from manypaths.trl import PARTS

QUICKSTART = (4, 8)  # groups of a step, and completions of a group
SIZES = [QUICKSTART, (64, 16), (1024, 64)]
SHAPES = [(1, 4), (4, 8), (64, 4), (64, 8), (64, 16), (64, 32), (64, 64), (256, 16), (1024, 16), (1024, 64)]
WITHIN = 0.5  # seconds that the calls of one figure may take together


def loop(rewards, similarity):
    """MMR-GRPO (arXiv 2601.09085), Algorithm 1 with Eq. 4's lambda: eight small operations for each pick."""
    adjusted = torch.empty_like(rewards)
    for group, (own, alike) in enumerate(zip(rewards, similarity, strict=True)):
        lam = torch.sigmoid(own.std(unbiased=False))
        loss, gain = (1 - lam) * alike.T, lam * own
        score, most = own, torch.full_like(own, -torch.inf)
        for _ in range(len(own)):
            best = int(score.argmax())
            adjusted[group, best] = score[best]
            gain[best] = -torch.inf
            most = torch.maximum(most, loss[best])
            score = gain - most
    return adjusted


def lists(rewards, similarity):
    """The same on Python numbers."""
    adjusted = []
    for own, alike in zip(rewards.tolist(), similarity.tolist(), strict=True):
        mean = sum(own) / len(own)
        lam = 1 / (1 + 2.718281828459045 ** -((sum((r - mean) ** 2 for r in own) / len(own)) ** 0.5))
        first = own.index(max(own))
        picked = {first: own[first]}
        while len(picked) < len(own):
            scores = {
                i: lam * own[i] - (1 - lam) * max(alike[i][j] for j in picked)
                for i in range(len(own))
                if i not in picked
            }
            best = max(scores, key=scores.get)
            picked[best] = scores[best]
        adjusted.append([picked[i] for i in range(len(own))])
    return torch.tensor(adjusted)


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that live, and their peak."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.counted = set()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        made = function(*arguments, **(named or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and (key := tensor.untyped_storage()._cdata) not in self.counted:
                size = tensor.untyped_storage().nbytes()
                self.counted.add(key)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(tensor.untyped_storage(), self._gone, key, size)
        return made

    def _gone(self, key, size):
        self.counted.discard(key)
        self.now -= size


def peak(call, device):
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    with Live() as live:
        call()
    return live.peak


def seconds(call, device, at_most):
    """The least of several calls, for `at_most` seconds or so."""
    taken, end = [], time.perf_counter() + at_most
    while not taken or time.perf_counter() < end:
        if device.type == "cuda":
            torch.cuda.synchronize()
            began = time.perf_counter()
            call()
            torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
        else:
            began = time.process_time()
            call()
            taken.append(time.process_time() - began)
    return min(taken)


def groups(count, size, device):
    """Every input of random groups in float32; a completion is right in half of the cases."""
    draw = torch.Generator().manual_seed(0)
    correct = torch.randint(0, 2, (count, size), generator=draw).float()
    rewards = correct + torch.rand(count, size, generator=draw)
    lengths = torch.randint(10, 500, (count, size), generator=draw)
    inputs = {
        "rewards": rewards,
        "adjusted": rewards,
        "similarity": cosine_similarity(torch.randn(count, size, 384, generator=draw)),
        "correct": correct,
        "keys": torch.randint(0, 5, (count, size), generator=draw),
        "lengths": lengths,
        "logprobs": -lengths * torch.rand(count, size, generator=draw),
        "advantages": rewards - rewards.mean(1, keepdim=True),
        "progress": torch.tensor(0.5),
    }
    if missing := {*INPUTS} - {*inputs}:
        raise SystemExit(f"bench/reweight.py must make every input, it lacks {', '.join(missing)}. Add it to groups().")
    return {name: values.to(device) for name, values in inputs.items()}


def bandwidth(device):
    """Bytes per second, read and written, of a copy much larger than the caches."""
    large = torch.empty(2**28, dtype=torch.uint8, device=device)
    other = large.clone()  # touched once, so that its pages are there
    return 2 * large.numel() / seconds(lambda: other.copy_(large), device, 1.0)


def methods(device, rate, step):
    """Prints a row for each method; `step` is seconds of a training step."""
    made = [groups(*size, device) for size in SIZES]
    times = " | ".join(f"{count:,} x {size}, ms" for count, size in SIZES)
    print(f"| method | inputs | {times} | inputs once, ms | peak, MB | of a step |")
    print("|---" * (len(SIZES) + 5) + "|")
    placebos = {"shuffled(dra)": shuffled(dra)}, {"shuffled(rarity)": shuffled(rarity)}
    rules = {f"select_{name}": rule for name, rule in SELECTIONS.items()}
    tables = {"reweight": REWEIGHTERS | placebos[0], "advantage": ADVANTAGES | placebos[1], "select": rules}
    for role, table in tables.items():
        for name, method in table.items():
            bound = [partial(method, count=size // 2) if role == "select" else method for _, size in SIZES]
            wanted = inputs_of(bound[0], role)
            calls = [
                partial(own, *(inputs[value] for value in wanted)) for own, inputs in zip(bound, made, strict=True)
            ]
            spent = [seconds(call, device, WITHIN) for call in calls]
            read = sum(made[-1][value].nbytes for value in wanted) + made[-1]["rewards"].nbytes
            cells = [f"`{name}`", ", ".join(wanted), *(f"{1e3 * taken:.3g}" for taken in spent)]
            cells += [f"{1e3 * read / rate:.2g}", f"{peak(calls[-1], device) / 1e6:.3g}"]
            print(f"| {' | '.join(cells)} | {spent[0] / step:.4%} |", flush=True)


def against_the_loop(device, rate):
    heads = ["B", "G", "mmr, ms", "ties first", "of copies", "a pass a pick", "mmr/pass", "peak, MB"]
    print(f"| {' | '.join([*heads, 'loop, ms', 'loop/mmr', 'lists/mmr'])} |")
    print("|---" * 11 + "|")
    for count, size in SHAPES:
        inputs = groups(count, size, device)
        rewards, similarity = inputs["rewards"], inputs["similarity"]
        copies, verdicts = (inputs["keys"].unsqueeze(1) == inputs["keys"].unsqueeze(2)).float(), inputs["correct"]
        ours = seconds(lambda r=rewards, s=similarity: mmr(r, s), device, WITHIN)
        first = seconds(lambda r=rewards, s=similarity: mmr(r, s, ties="first"), device, WITHIN)
        tied = seconds(lambda r=verdicts, s=copies: mmr(r, s), device, WITHIN)
        few = min(count, 64)  # the loops take as long for each group
        naive = seconds(lambda r=rewards[:few], s=similarity[:few]: loop(r, s), device, WITHIN) * count / few
        plain = seconds(lambda r=rewards[:few], s=similarity[:few]: lists(r, s), device, WITHIN) * count / few
        torch.testing.assert_close(mmr(rewards, similarity, ties="first")[:few], loop(rewards[:few], similarity[:few]))
        torch.testing.assert_close(lists(rewards[:few], similarity[:few]), loop(rewards[:few], similarity[:few]).cpu())
        through = 8 * count * size**3 / rate
        cells = [f"{1e3 * ours:.2f}", f"{1e3 * first:.2f}", f"{1e3 * tied:.2f}", f"{1e3 * through:.3f}"]
        cells += [f"{ours / through:.2g}", f"{peak(lambda r=rewards, s=similarity: mmr(r, s), device) / 1e6:.2f}"]
        cells += [f"{1e3 * naive:.0f}", f"{naive / ours:.0f}", f"{plain / ours:.1f}"]
        print(f"| {count} | {size} | {' | '.join(cells)} |", flush=True)


def seconds_of_a_step(run):
    """Seconds of a step of that run; says what its reweighting and embedding took. Its groups must be QUICKSTART's."""
    config = trainer_config(recipe.read([str(run / "recipe.yaml")]), run)
    shape = (config.generation_batch_size // config.num_generations, config.num_generations)
    if shape != QUICKSTART:
        raise SystemExit(f"{run} must have {QUICKSTART[0]} groups of {QUICKSTART[1]} in a step, got {shape}.")
    steps = [line for line in read_jsonl(run / "metrics.jsonl") if line.get("seconds/reweighting")]
    spent = {part: fmean(line[f"seconds/{part}"] for line in steps) for part in PARTS}
    whole = sum(spent.values())
    for part in ("reweighting", "embedding"):
        print(f"{part}: {1e3 * spent[part]:.2f} ms of a step of {whole:.2f} s: {spent[part] / whole:.4%}")
    return whole


def step_of_the_quickstart(given):
    with tempfile.TemporaryDirectory() as folder:
        run = given or Path(folder, "run")
        if given is None:
            words = ["smollm2-135m-pypi", "dr-grpo", "mmr", "arithmetic", "quickstart", "trainer.max_steps=3"]
            words += ["method.correct=accuracy", "evaluation=null", 'trainer.save_strategy="no"']
            if main(["train", *words, "--out", str(run)]):
                raise SystemExit(2)
        return seconds_of_a_step(run)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", type=Path)
    source.add_argument("--step", type=float)
    options = parser.parse_args()
    step = options.step or step_of_the_quickstart(options.run)
    torch.set_num_threads(options.threads)
    for name in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        device = torch.device(name)
        rate = bandwidth(device)
        print(f"\n{name}: {rate / 1e9:.1f} GB/s; load of the machine {os.getloadavg()[0]:.1f}\n")
        methods(device, rate, step)
        print()
        against_the_loop(device, rate)
