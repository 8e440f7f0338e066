"""How often each check of `manypaths check` finds something in made-up logs: sound ones, faulty ones, and between.

    .venv/bin/python bench/check.py [LOGS]            # all checks
    .venv/bin/python bench/check.py LOGS by-heart     # the check of the first steps, by the problems of a step

A log has 8 completions a group and 4 groups a step. In a sound log nothing is wrong; at the border the true value is
the threshold of the check; in the others it is beyond it by as much as the row says. Held-out problems, 128 with 8
completions each, are evaluated before the training and after step 10.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy

from manypaths.check.diagnosis import CHECKS
from manypaths.check.held_out import HeldOut
from manypaths.check.settings import Settings
from manypaths.logs import Log, LoggedGroup
from manypaths.tables import markdown

PER_STEP, SIZE = 4, 8
HELD_OUT, RIGHT = 128, 0.3  # held-out problems; share of right completions in the training
GROUPS = (40, 80, 160, 320)
PROBLEMS = {4: "32 in 8 steps", 10: "10 in step 1", 16: "16 in step 1", 32: "32 in step 1", 64: "64 in step 1"}
Random = numpy.random.Generator


def log(
    draw: Random,
    groups: int,
    *,
    flat: float = 0.1,
    cut: float = 0.03,
    paid: float = 0.0,
    longer: float = 1.0,
    rise: float = 0.0,
    top: float = 0.4,
    copies: float = 0.0,
    entropy: float = 0.9,
) -> Log:
    """A log whose true values are the arguments, over `groups` groups.

    Args:
        draw: source of random numbers.
        groups: their number.
        flat: probability that a group has equal rewards.
        cut: that a completion is cut off; it differs between problems.
        paid: correlation of length and reward.
        longer: ratio of the length of the last third to that of the first.
        rise: of a format reward from the first third to the last, beside a share of 0.3 right.
        top: probability of a completion of the highest reward; it differs between problems.
        copies: probability that a completion is the text of the first one, from the start.
        entropy: ratio of the entropy of the last third to that of the first.
    """
    steps = groups // PER_STEP
    records = []
    for step in range(1, steps + 1):
        progress = min(1.0, max(0.0, 1.5 * (step - 1) / max(steps - 1, 1) - 0.25))
        for number in range(PER_STEP):
            scores = draw.standard_normal((2, SIZE))
            scores[1] = paid * scores[0] + (1 - paid**2) ** 0.5 * scores[1]
            tokens = numpy.maximum(1, 300 * longer**progress * (1 + 0.2 * scores[0])).astype(int)
            easy = draw.beta(8 * top, 8 * (1 - top)) if 0 < top < 1 else top
            total = numpy.where(draw.random(SIZE) < easy, 9.0, scores[1])
            total = numpy.full(SIZE, total[0]) if draw.random() < flat else total
            correct = draw.random(SIZE) < RIGHT
            form = (draw.random(SIZE) < RIGHT + rise * progress).astype(float)
            often = draw.beta(8 * cut, 8 * (1 - cut))
            copied = draw.random(SIZE) < copies
            texts = ["copy" if copied[place] else f"{step}.{number}.{place}" for place in range(SIZE)]
            rewards = {"accuracy": correct.astype(float).tolist(), "format": form.tolist()}
            fields = (step, f"{step}.{number}", texts, rewards, total.tolist(), None, correct.tolist(), tokens.tolist())
            records.append(LoggedGroup(*fields, (draw.random(SIZE) < often).tolist()))
    metrics = [
        {"step": step, "entropy": float(0.5 * entropy ** ((step - 1) / max(steps - 1, 1)) * draw.uniform(0.8, 1.2)),
         "diversity/vendi_score": float(4 - (entropy < 0.7) * 2 * step / steps + draw.normal(0, 0.3))}
        for step in range(1, steps + 1)
    ]  # fmt: skip
    return Log(Path("made-up"), "JSON lines", records, metrics)


ROWS: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("flat", "border: 50 % flat", {"flat": 0.5}),
    ("flat", "65 % flat", {"flat": 0.65}),
    ("cut off", "border: 10 % cut off", {"cut": 0.1}),
    ("cut off", "20 % cut off", {"cut": 0.2}),
    ("length", "border: correlation 0.1, twice as long", {"paid": 0.1, "longer": 2.0, "top": 0.0, "flat": 0.0}),
    ("length", "correlation 0.3, twice as long", {"paid": 0.3, "longer": 2.0, "top": 0.0, "flat": 0.0}),
    ("components", "format +0.3, accuracy +0", {"rise": 0.3}),
    ("ceiling", "border: 90 % at the top", {"top": 0.9, "flat": 0.0}),
    ("ceiling", "97 % at the top", {"top": 0.97, "flat": 0.0}),
    ("copies", "border: 50 % copies", {"copies": 0.625}),
    ("copies", "65 % copies", {"copies": 0.775}),
    ("entropy", "a quarter at the end", {"entropy": 0.2}),
)


def evaluated(draw: Random, share: float = RIGHT) -> Settings:
    """Two evaluations of held-out problems, of which `share` is right on average, and of most nearly all or none."""
    by_step = {}
    for step in (0, 10):
        by_problem = draw.beta(share, 1 - share, HELD_OUT)
        by_step[step] = tuple((draw.binomial(SIZE, by_problem) / SIZE).tolist())
    return Settings(held_out=HeldOut(by_step))


def start(draw: Random, per_step: int, share: float) -> Log:
    """The first ten steps of a training, whose problems are like those of `evaluated`."""
    groups = []
    for number in range(10 * per_step):
        right = (draw.random(SIZE) < draw.beta(share, 1 - share)).astype(float).tolist()
        groups.append(LoggedGroup(number // per_step + 1, str(number), [""] * SIZE, {"accuracy": right}, right))
    return Log(Path("made-up"), "JSON lines", groups)


def rate(name: str, arguments: dict[str, float], groups: int, logs: int) -> str:
    """The share of made-up logs in which a check finds something."""
    hits = 0
    for seed in range(logs):
        made = log(numpy.random.default_rng(seed), groups, **arguments)
        hits += CHECKS[name](made, evaluated(numpy.random.default_rng([seed, 1]))).state == "found"
    return f"{hits / logs:.1%}"


def by_heart(logs: int) -> list[list[str]]:
    """The rows of a table: how often the first steps are found to be ahead, by the true shares and the problems."""
    rows = [["held out", "training", *PROBLEMS.values()]]
    for share, ahead in itertools.product((0.1, 0.3, 0.6), (0.0, 0.1, 0.2, 0.3)):
        row = []
        for per_step in PROBLEMS:
            draws = [numpy.random.default_rng([seed, per_step]) for seed in range(logs)]
            states = [
                CHECKS["by heart"](start(draw, per_step, share + ahead), evaluated(draw, share)) for draw in draws
            ]
            row.append(f"{sum(state.state == 'found' for state in states) / logs:.1%}")
        rows.append([f"{share:.0%}", f"{share + ahead:.0%}", *row])
    return rows


def main() -> None:
    logs = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    if sys.argv[2:] == ["by-heart"]:
        print(markdown(by_heart(logs)))
        return
    rows = [["check", "log", *(f"{groups} groups" for groups in GROUPS)]]
    for name in CHECKS:
        rows.append([name, "sound", *(rate(name, {}, groups, logs) for groups in GROUPS)])
        for row, title, arguments in ROWS:
            if row == name:
                rows.append([name, title, *(rate(name, arguments, groups, logs) for groups in GROUPS)])
    print(markdown(rows))


if __name__ == "__main__":
    main()
