"""What reweighting costs: `mmr` and `dra` on all groups at once, and the paper's Algorithm 1 group by group.

    python bench/reweight.py [--threads 1] [--run runs/quickstart]

Seconds are the minimum of several calls, in turns within one process: CPU time of one thread, or of the GPU where there
is one. "Loop" is Algorithm 1 as written in the paper, one group after another on tensors; "lists" is the same on Python
numbers, which would need a copy from a GPU. The floor is the bytes of one pass over [B, G, G] per pick (for DRA one
pass), over the bandwidth measured here. Peak is the most memory that the call holds beyond its arguments. A second
table has a row for each method with its default options, and for two placebos. The last lines are reweighting as a
share of a training step: of the given run, or of three steps of the quickstart made for this.
"""

import argparse
import functools
import tempfile
import time
import weakref
from pathlib import Path
from statistics import fmean

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from manypaths import cosine_similarity, dra, mmr
from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.methods import ADVANTAGES, REWEIGHTERS, rarity, shuffled
from manypaths.methods.inputs import inputs_of
from manypaths.trl import PARTS

SHAPES = [(1, 4), (4, 8), (64, 4), (64, 8), (64, 16), (64, 32), (64, 64), (256, 16), (1024, 16), (1024, 64)]


def loop(rewards, similarity):
    """MMR-GRPO (arXiv 2601.09085), Algorithm 1 with Eq. 4's lambda, written from the paper."""
    adjusted = torch.empty_like(rewards)
    for group, (own, alike) in enumerate(zip(rewards, similarity, strict=True)):
        lam = torch.sigmoid(own.std(unbiased=False))
        waiting = list(range(len(own)))
        picked = [int(own.argmax())]
        adjusted[group, picked[0]] = own[picked[0]]
        waiting.remove(picked[0])
        while waiting:
            scores = torch.stack([lam * own[i] - (1 - lam) * alike[i, picked].max() for i in waiting])
            best = int(scores.argmax())
            adjusted[group, waiting[best]] = scores[best]
            picked.append(waiting.pop(best))
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
    draw = torch.Generator().manual_seed(0)
    rewards = torch.randint(0, 2, (count, size), generator=draw).float() + torch.rand(count, size, generator=draw)
    return rewards.to(device), cosine_similarity(torch.randn(count, size, 384, generator=draw)).to(device)


def bandwidth(device):
    """Bytes per second, read and written, of a copy much larger than the caches."""
    large = torch.empty(2**28, dtype=torch.uint8, device=device)
    other = large.clone()  # touched once, so that its pages are there
    return 2 * large.numel() / seconds(lambda: other.copy_(large), device, 1.0)


def table(device):
    rate = bandwidth(device)
    print(f"{device}: {rate / 1e9:.1f} GB/s\n")
    print(
        "| B | G | mmr, ms | ties first | floor | peak, MB | dra, ms | floor | peak, MB "
        "| loop, ms | loop/mmr | lists/mmr |"
    )
    print("|---" * 12 + "|")
    for count, size in SHAPES:
        rewards, similarity = groups(count, size, device)
        within = 0.5
        ours = seconds(lambda r=rewards, s=similarity: mmr(r, s), device, within)
        first = seconds(lambda r=rewards, s=similarity: mmr(r, s, ties="first"), device, within)
        crowd = seconds(lambda r=rewards, s=similarity: dra(r, s), device, within)
        few = min(count, 64)  # the loops take as long for each group
        naive = seconds(lambda r=rewards[:few], s=similarity[:few]: loop(r, s), device, within) * count / few
        plain = seconds(lambda r=rewards[:few], s=similarity[:few]: lists(r, s), device, within) * count / few
        torch.testing.assert_close(mmr(rewards, similarity, ties="first")[:few], loop(rewards[:few], similarity[:few]))
        torch.testing.assert_close(lists(rewards[:few], similarity[:few]), loop(rewards[:few], similarity[:few]).cpu())
        memory = [peak(lambda r=rewards, s=similarity, f=f: f(r, s), device) / 1e6 for f in (mmr, dra)]
        floors = [1e3 * 8 * count * size**3 / rate, 1e3 * 4 * count * size**2 / rate]
        cells = [f"{1e3 * ours:.2f}", f"{1e3 * first:.2f}", f"{floors[0]:.3f}", f"{memory[0]:.2f}"]
        cells += [f"{1e3 * crowd:.2f}", f"{floors[1]:.4f}", f"{memory[1]:.2f}"]
        cells += [f"{1e3 * naive:.0f}", f"{naive / ours:.0f}", f"{plain / ours:.1f}"]
        print(f"| {count} | {size} | {' | '.join(cells)} |", flush=True)


def every_input(count, size, device):
    """Every input of a method, of verdicts with a reward for form, and four ways."""
    draw = torch.Generator().manual_seed(1)
    correct = torch.randint(0, 2, (count, size), generator=draw).float()
    rewards = correct + 0.1 * torch.randint(0, 2, (count, size), generator=draw)
    inputs = {
        "rewards": rewards,
        "adjusted": rewards,
        "similarity": cosine_similarity(torch.randn(count, size, 384, generator=draw)),
        "correct": correct,
        "keys": torch.randint(0, 4, (count, size), generator=draw),
        "lengths": torch.randint(1, 512, (count, size), generator=draw),
        "advantages": correct - correct.mean(-1, keepdim=True),
        "progress": torch.tensor(0.5),
        "logprobs": -100 * torch.rand(count, size, generator=draw),
    }
    return {name: values.to(device) for name, values in inputs.items()}


def table_of_methods(device):
    methods = [(name, "reweight", method) for name, method in REWEIGHTERS.items()]
    methods += [(name, "advantage", method) for name, method in ADVANTAGES.items()]
    methods += [("shuffled rarity", "advantage", shuffled(rarity)), ("shuffled dra", "reweight", shuffled(dra))]
    shapes = [(64, 8), (64, 16), (1024, 64)]
    print(f"| {device}, ms | {' | '.join(f'{count} x {size}' for count, size in shapes)} | peak of the last, MB |")
    print("|---" * (len(shapes) + 2) + "|")
    inputs = [every_input(count, size, device) for count, size in shapes]
    for name, role, method in methods:
        calls = [functools.partial(method, *(given[wanted] for wanted in inputs_of(method, role))) for given in inputs]
        cells = [f"{1e3 * seconds(call, device, 0.2):.2f}" for call in calls]
        print(f"| {name} | {' | '.join(cells)} | {peak(calls[-1], device) / 1e6:.1f} |", flush=True)


def share(run):
    """Prints reweighting as a share of a step of that run."""
    steps = [line for line in read_jsonl(run / "metrics.jsonl") if line.get("seconds/reweighting")]
    spent = {part: fmean(line[f"seconds/{part}"] for line in steps) for part in PARTS}
    whole = sum(spent.values())
    for part in ("reweighting", "embedding"):
        print(f"{part}: {1e3 * spent[part]:.2f} ms of a step of {whole:.2f} s: {spent[part] / whole:.4%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    for name in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
        table(torch.device(name))
        print()
        table_of_methods(torch.device(name))
        print()
    torch.set_num_threads(before)
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or Path(folder, "run")
        if options.run is None:
            words = ["smollm2-135m-pypi", "dr-grpo", "mmr", "arithmetic", "quickstart", "trainer.max_steps=3"]
            if main(["train", *words, "evaluation=null", 'trainer.save_strategy="no"', "--out", str(run)]):
                raise SystemExit(2)
        share(run)
