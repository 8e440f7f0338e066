"""Rules that select whom to train on, as plain loops over the lists of one group -> the set of those selected."""

import math
from itertools import combinations
from statistics import pvariance

TIED = 1e-5


def select_mmr(rewards, similarity, correct, count):
    """The kinds pick in turns, the right ones first, until `count` are picked or nothing is left."""
    scored = [i for i, reward in enumerate(rewards) if not math.isnan(reward)]
    waiting = [[i for i in scored if correct[i] == 1], [i for i in scored if correct[i] != 1]]
    members, picked = [list(kind) for kind in waiting], [[], []]
    turn = 0
    while any(waiting) and sum(map(len, picked)) < count:
        kind = turn % 2 if waiting[turn % 2] else 1 - turn % 2
        pick = _next(rewards, similarity, waiting[kind], picked[kind], members[kind])
        waiting[kind].remove(pick)
        picked[kind].append(pick)
        turn += 1
    return {*picked[0], *picked[1]}


def _next(rewards, similarity, waiting, picked, members):
    first = {i: max((similarity[i][j] for j in picked), default=-rewards[i]) for i in waiting}
    total = {i: sum(similarity[i][j] for j in picked) for i in waiting}
    crowding = {i: sum(similarity[i][j] for j in members if j != i) for i in waiting}
    for measure in (first, total, crowding):
        least = min(measure[i] for i in waiting)
        waiting = [i for i in waiting if measure[i] <= least + TIED]
    return waiting[0]


def largest_variance(rewards, count):
    """PODS (arXiv 2504.13818): the largest variance of all subsets of `count` scored rewards, which are enumerated."""
    scored = [reward for reward in rewards if not math.isnan(reward)]
    return max((pvariance(subset) for subset in combinations(scored, min(count, len(scored))) if subset), default=0.0)
