"""How often is an arm of the study (bench/study.yaml, study_protocol.yaml) said to help? For bench/comparison.py.

The simulated study has its baseline, its arms, its seeds with a start each, its problems and its completions. pass@8
and accuracy come from the same completions. What the protocol answers is said by the code of `manypaths compare`.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy
from comparison_questions import random_of
from comparison_worlds import BASE, Arm, World, chances, observed, truth

from manypaths.comparison.protocol import answer, read_protocol
from manypaths.comparison.runs import Run, Score
from manypaths.comparison.verdicts import ALPHA
from manypaths.counts import Counts
from manypaths.statistics import at_most_worse, estimate, interval, p_at_most_worse, p_more_worse, p_value

SEEDS = 20
STUDY = World(  # within the errors of what comparison_luck.py estimates from runs
    "study",
    samples=32,
    level=0.335,
    luck=0.62,
    correlation=0.7,
    ease=2.6,
    liking=0.26,
    own_liking=2.3,
    seed_liking=2.0,
    collapsed=-25.0,  # nothing is right
)
PASS, ACCURACY = "pass@8", "accuracy"
ENDPOINTS = ("pass@8 better at the end", "accuracy not worse at the end", "accuracy better at the end")
LUCKIER = replace(STUDY, luck=0.69, correlation=0.72)  # the estimates themselves
OWN = replace(  # estimated from the study's own runs, when it was over
    STUDY, level=0.36, luck=0.4, correlation=0.97, ease=1.58, liking=0.23, own_liking=0.63, seed_liking=1.35
)
GAINS = (0.02, 0.03, 0.04, 0.06, 0.08)


@cache
def protocol():
    """That of the study, with the one secondary endpoint that is asked for here: a better accuracy at the end."""
    planned = read_protocol(Path(__file__).parent / "study_protocol.yaml")
    secondary = [endpoint for endpoint in planned.secondary if endpoint.words == "accuracy better at the end"]
    return replace(planned, secondary=secondary)


def false_worlds():
    """{row of the table: (world, arms)} in which no arm helps."""
    count, tenth = len(protocol().arms), 0.1
    rows = {f"no effects, correlation {value}": (replace(STUDY, correlation=value), []) for value in (0.0, 0.6, 0.9)}
    rows["no effects, correlation 0.7"] = STUDY, []
    rows["no effects, luck 0.69, correlation 0.72"] = LUCKIER, []
    rows["no effects, the study's own runs"] = OWN, []
    rows["all arms gain pass@8 for accuracy, the study's own runs"] = OWN, [gaining(OWN, 0.08, -0.02)] * count
    rows["no effects, luck twice as large"] = replace(STUDY, luck=2 * STUDY.luck), []
    rows["no effects, a tenth of all runs collapse"] = replace(STUDY, collapse=(tenth, tenth)), []
    rows["all arms gain pass@8 for accuracy"] = STUDY, [gaining(STUDY, 0.08, -0.02)] * count
    rows["one arm gains pass@8 for accuracy"] = STUDY, [gaining(STUDY, 0.08, -0.02)]
    rows["all arms gain accuracy alone"] = STUDY, [gaining(STUDY, 0.0, 0.08)] * count
    of_arms = replace(STUDY, collapse=(0.0, tenth))
    rows["no effects, a tenth of the arms' runs collapse"] = of_arms, []
    rows["all arms gain pass@8, a tenth of their runs collapse"] = of_arms, [gaining(STUDY, 0.08)] * count
    return rows


def power_worlds():
    """{row of the table: (world, arms)} in which the first arm gains, and no other."""
    rows = {}
    for gain in GAINS:
        rows[f"{100 * gain:.0f} points of pass@8"] = STUDY, [gaining(STUDY, gain)]
    for value in (0.0, 0.9):
        world = replace(STUDY, correlation=value)
        rows[f"4 points of pass@8, correlation {value}"] = world, [gaining(world, 0.04)]
    rows["4 points of pass@8, luck 0.69, correlation 0.72"] = LUCKIER, [gaining(LUCKIER, 0.04)]
    for gain in (0.02, 0.04):
        rows[f"{100 * gain:.0f} points of pass@8, the study's own runs"] = OWN, [gaining(OWN, gain)]
    for gain in GAINS:
        rows[f"{100 * gain:.0f} points of accuracy"] = STUDY, [Arm(gain)]
    return rows


@cache
def gaining(world, gain, gap=0.0):
    """The arm with a gain of pass@8 and a gap of accuracy, by a smaller stretch, in runs that do not collapse."""
    world = replace(world, collapse=(0.0, 0.0))
    narrow, wide = 0.0, 2.0
    while wide - narrow > 1e-6:
        middle = (narrow + wide) / 2
        is_enough = truth(world, Arm(gap, middle), PASS) - truth(world, BASE, PASS) >= gain
        narrow, wide = (middle, wide) if is_enough else (narrow, middle)
    if narrow == 0.0:
        raise ValueError(f"No stretch gives a gain of {gain} in {PASS} at a gap of {gap} in accuracy.")
    return Arm(gap, narrow)


def counts_of(number, world, others):
    """The right completions [C, S, P] of the baseline and of all arms; those after `others` have no effect."""
    draw = random_of(number, SEEDS)
    others = [*others, *[Arm()] * (len(protocol().arms) - len(others))]
    return numpy.stack([draw.binomial(world.samples, chance) for chance, _ in chances(world, SEEDS, others, draw)])


def answered(world, right, only_helps=False):
    """What the protocol answers to counts of right completions, by the statistics of `manypaths compare`.

    A p value that no correction can lower to 5 % is not computed; it is 1. If only the answer to both primary endpoints
    together matters, that is also so for an arm's accuracy where its pass@8 is not better.
    """
    plan = protocol()
    shares = {metric: observed(metric, world.samples, right[..., None]) for metric in (PASS, ACCURACY)}
    base = {metric: estimate(cells[0]) for metric, cells in shares.items()}
    compared = [{"name": plan.baseline}]
    for place, name in enumerate(plan.arms, 1):
        passed = _difference(estimate(shares[PASS][place]), base[PASS])
        if only_helps and not passed["low"] > 0:
            accurate = passed | {"p": 1.0, "p_at_most_worse": 1.0, "p_more_worse": 1.0}
        else:
            accurate = _difference(estimate(shares[ACCURACY][place]), base[ACCURACY], plan.margin / 100)
        measures = {PASS: passed, ACCURACY: accurate}
        last = {metric: {"against": {"last": difference}} for metric, difference in measures.items()}
        compared.append({"name": name, "measures": last})
    return answer(plan, {"configurations": compared, "measures": [PASS, ACCURACY]})


def _difference(side, base, margin=None):
    """What an answer reads of a difference at the end."""
    low, high = interval(side, base, paired=True)
    is_shown = low > 0 or high < 0
    p = p_value(side, base, paired=True) if is_shown else 1.0
    difference = {"value": side.value - base.value, "low": low, "verdict": "", "p": p}
    if margin is not None:
        is_not_worse = at_most_worse(side, base, margin, paired=True, alpha=ALPHA)
        difference["p_at_most_worse"] = p_at_most_worse(side, base, margin, paired=True) if is_not_worse else 1.0
        is_worse = is_shown and high < -margin
        difference["p_more_worse"] = p_more_worse(side, base, margin, paired=True) if is_worse else 1.0
    return difference


def false_help(number, world, others):
    """Whether any arm is said to help, and the share of such arms."""
    said = answered(world, counts_of(number, world, others), only_helps=True)
    met = [bool(arm["met"]) for arm in said["arms"].values()]
    return {"any": any(met), "share": numpy.mean(met)}


def helps(number, world, others):
    """Whether the first arm is said to help, and any other; and which endpoints the first arm is said to meet."""
    said = answered(world, counts_of(number, world, others))
    first, *rest = (bool(arm["met"]) for arm in said["arms"].values())
    endpoints = [*said["primary"], *said["secondary"]]
    met = {endpoint["words"]: bool(endpoint["arms"][protocol().arms[0]]["met"]) for endpoint in endpoints}
    return {"first": first, "other": any(rest)} | met


def runs_of(world, right):
    """The same study as runs, which `manypaths.comparison.compare.compare` takes."""
    runs = []
    for name, of_arm in zip([protocol().baseline, *protocol().arms], right.tolist(), strict=True):
        for seed, of_run in enumerate(of_arm, 1):
            of_problems = {str(problem): Counts(world.samples, count) for problem, count in enumerate(of_run)}
            score = Score.of_counts(of_problems)
            runs.append(Run(f"{name}-{seed}", name, seed, results={120: {"colouring": score}}, cluster=str(seed)))
    return runs
