"""What each way to save time is worth, by the share of sampling in a step: a calculation, no training.

    python bench/levers.py [--runs RUN ...] [--sampling-share X] [--history SHARE] [--select COUNT]

The first table says what a lever changes, beside plain GRPO at the same number of completions a step: what is sampled,
what goes through the model in the update, and how many prompts have a group with different rewards (spread), which
alone teach GRPO something. The second has the seconds of a step, and the seconds for each prompt with spread, both
over those of plain GRPO, for several shares of sampling:

    step = X * sampled + (1 - X) * trained on + similarity, where the lever needs it
    a prompt = step / prompts with spread

What follows for learning is not computed: half of a group may teach less than the whole, and two completions compare
less well than sixteen.

From `--runs`, which are folders of runs of plain GRPO, it measures the share of sampling, the seconds of similarity,
and the share of groups with spread, of their own size and of smaller ones: of a group of G completions in which value v
of the reward occurs n_v times, a part of g is flat with the chance sum C(n_v, g) / C(G, g). (A formula from the mean
success rate misleads, for easy and hard prompts are flat and the mean does not say how many there are.) Without
`--runs` the numbers are MEASURED, which this printed:

    manypaths sweep bench/sweep.yaml --out sweep && python bench/levers.py --runs sweep/grpo-*

with `method.skip_zero_advantage=false` among the recipes of that grid: the update must have run all rows.

The shares for GPUs are those of bench/scaling.py. There sampling is bounded from below by ideal batching; waiting for
the longest completion makes it longer, and what is saved in the update smaller.
"""

import argparse
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import scaling

from manypaths.names import TRAINED
from manypaths.run_folder import read_metrics, stream_groups
from manypaths.tables import markdown


@dataclass(frozen=True)
class Measured:
    """Of plain GRPO: group size, {size: share of groups with spread}, and shares of a step without similarity."""

    group: int
    spread: dict[int, float]
    sampling: float
    similarity: float


MEASURED = Measured(group=8, spread={2: 0.273, 4: 0.480, 8: 0.653}, sampling=0.297, similarity=0.008)
HISTORY = 0.8  # assumed; `groups/zero_std` of a run with prompt history is 1 minus this
GPUS = {  # (setting of docs/scaling.md, model)
    "1 GPU, 1.5B": (scaling.SETTINGS[0], "1.5B"),
    "1 GPU, 7B": (scaling.SETTINGS[0], "7B"),
    "64 GPUs, 7B": (scaling.SETTINGS[1], "7B"),
}


@dataclass(frozen=True)
class Lever:
    """What changes, as multiples of plain GRPO's: completions sampled, rows of the update, prompts with spread."""

    name: str
    sampled: float
    trained: float
    prompts: float
    compares: bool = False  # whether it needs similarities


def measure(runs):
    """What the folders of runs of plain GRPO say; all of one group size."""
    groups = [[one["raw"] for one in line["completions"]] for run in runs for line in stream_groups(run)]
    if len(sizes := {len(group) for group in groups}) != 1:
        raise SystemExit(f"The runs must have groups of one size, all recorded, got sizes {sorted(sizes)}.")
    (size,) = sizes
    lines = [line for run in runs for line in read_metrics(run) if "seconds/sampling" in line]
    if any(line.get(TRAINED, 1) < 1 for line in lines):
        raise SystemExit(
            "The runs must train all completions, got some that skip. Set method.skip_zero_advantage=false."
        )
    spent = {part: sum(line[f"seconds/{part}"] for line in lines) for part in ("sampling", "update", "embedding")}
    step = spent["sampling"] + spent["update"]
    parts = [2**power for power in range(1, size.bit_length()) if 2**power <= size]
    spread = {part: fmean(spread_of_parts(group, part) for group in groups) for part in {*parts, size}}
    return Measured(size, dict(sorted(spread.items())), spent["sampling"] / step, spent["embedding"] / step)


def spread_of_parts(rewards, size):
    """The share of the subsets of `size` of a group in which rewards differ."""
    scored = [reward for reward in rewards if reward is not None]
    if len(scored) < size:
        return 0.0
    flat = sum(math.comb(count, size) for count in Counter(scored).values())
    return 1 - flat / math.comb(len(scored), size)


def levers(measured, history, count):
    """Every lever of which the effect on a step is known."""
    size, spread = measured.group, measured.spread[measured.group]
    made = [Lever("GRPO", 1, 1, 1), Lever("rows without gradient are skipped", 1, spread, 1)]
    for part in dict.fromkeys((count, count // 2)):
        if part >= 2:
            kept, random = part / size, measured.spread.get(part)
            made.append(Lever(f"{part} of {size}, both kinds (PODS)", 1, kept, 1))
            made.append(Lever(f"{part} of {size}, both kinds (PODS), skipping", 1, kept * spread, 1))
            made.append(Lever(f"{part} of {size}, both kinds (MMR), skipping", 1, kept * spread, 1, True))
            if random is not None:
                made.append(Lever(f"{part} of {size}, at random, skipping", 1, kept * random, random / spread))
    made += [
        Lever("dynamic sampling", 1 / spread, 1, 1 / spread),
        Lever("dynamic sampling, prompt history", 1 / history, 1, 1 / spread),
        Lever("prompt history, skipping", 1, history, history / spread),
        Lever(f"prompt history, {count} of {size} (MMR), skipping", 1, history * count / size, history / spread, True),
    ]
    for part, share in measured.spread.items():
        if part < size:
            more = size / part * share / spread
            name = "2-GRPO" if part == 2 else f"groups of {part}"
            made.append(Lever(f"{name}, {size // part} times the prompts, skipping", 1, share, more))
            if part >= 4:
                made.append(Lever(f"{name}, 2 of {part} (MMR), skipping", 1, share * 2 / part, more, True))
    return made


def shares(measured, own):
    """{where: (share of sampling in a step of plain GRPO, seconds of similarity over that step)}."""
    result = {"CPU, measured": (measured.sampling, measured.similarity)}
    for name, (setting, model) in GPUS.items():
        shape = scaling.shape_of(scaling.MODELS[model])
        sampled = scaling.sampling(shape, setting.own, setting.tokens)
        step = sampled + scaling.update(shape, setting.own, setting.tokens)
        result[name] = (sampled / step, sum(scaling.added(setting).values()) / step)
    if own is not None:
        result["yours"] = (own, measured.similarity)
    return result


def seconds(lever, share, similarity):
    """Of a step, over those of plain GRPO."""
    return share * lever.sampled + (1 - share) * lever.trained + similarity * lever.compares


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=Path, nargs="+", help="folders of runs of plain GRPO")
    parser.add_argument("--sampling-share", type=float, help="of sampling in your step, in place of those measured")
    parser.add_argument("--history", type=float, default=HISTORY, help="share of groups with spread, with history")
    parser.add_argument("--select", type=int, help="completions selected of a group; the default is half of it")
    options = parser.parse_args()
    measured = measure(options.runs) if options.runs else MEASURED
    spread = ", ".join(f"{share:.0%} of groups of {size}" for size, share in measured.spread.items())
    print(f"{measured}\n\nWith spread: {spread}; assumed with prompt history: {options.history:.0%}.\n")
    where = shares(measured, options.sampling_share)
    made = levers(measured, options.history, options.select or measured.group // 2)
    rows = [["lever", "sampled", "trained on", "prompts with spread"]]
    rows += [[lever.name, f"{lever.sampled:.2f}", f"{lever.trained:.2f}", f"{lever.prompts:.2f}"] for lever in made]
    print(markdown(rows) + "\n")
    rows = [
        ["seconds of a step, of a prompt", *(f"{name}: {share:.0%} sampling" for name, (share, _) in where.items())]
    ]
    for lever in made:
        own = [seconds(lever, *of_step) for of_step in where.values()]
        rows.append([lever.name, *(f"{taken:.2f}, {taken / lever.prompts:.2f}" for taken in own)])
    print(markdown(rows))
