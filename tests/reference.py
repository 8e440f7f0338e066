"""The papers' equations as plain loops over lists of floats, one group at a time: the oracle of the tests.

Slow and literal on purpose. A reward of NaN is an unscored completion: it is taken out of the group before
anything else, and put back as NaN at the end.
"""

import functools
import math

TIED = 1e-5


def adaptive_lambda(rewards):
    """MMR-GRPO (arXiv 2601.09085), Eq. 4: lambda = sigmoid(std(r)), with the population standard deviation."""
    r = [x for x in rewards if not math.isnan(x)]
    if not r:
        return 0.5
    mean = sum(r) / len(r)
    std = math.sqrt(sum((x - mean) ** 2 for x in r) / len(r))
    return 1 / (1 + math.exp(-std))


def mmr(rewards, similarity, lam=None, ties="diverse"):
    """MMR-GRPO (arXiv 2601.09085), Algorithm 1."""
    if lam is None:
        lam = adaptive_lambda(rewards)
    return _without_unscored(lambda r, s: _mmr(r, s, lam, ties), rewards, similarity)


def _mmr(r, s, lam, ties):
    adjusted = [math.nan] * len(r)
    picked = []
    waiting = list(range(len(r)))
    while waiting:

        def score(i, others):
            """Eq. 3; the first pick has no others and is judged by its reward alone."""
            return lam * r[i] - (1 - lam) * max(s[i][j] for j in others) if others else r[i]

        scores = {i: score(i, picked) for i in waiting}
        best = max(scores.values())
        if ties == "first":
            together = [next(i for i in waiting if scores[i] == best)]
        else:
            leaders = [i for i in waiting if scores[i] >= best - TIED]
            crowding = {i: sum(s[i][j] for j in range(len(r)) if j != i) for i in leaders}
            together = [i for i in leaders if crowding[i] <= min(crowding.values()) + TIED]
        for i in together:
            twins = [j for j in together if j != i]
            # One of the twins goes first, the others follow it; all are as likely to be that one.
            following = [score(i, picked + twins)] * len(twins)
            adjusted[i] = sum([scores[i], *following]) / len(together)
        picked += together
        waiting = [i for i in waiting if i not in together]
    return adjusted


def dra(rewards, similarity, floor=0.0):
    """DRA-GRPO (arXiv 2505.09655): r_i / (1 + SMI_i), SMI_i = sum over j != i of s_ij, plus the code's 1e-6.

    A divisor nearer to zero than 0.01 is moved out to 0.01, keeping its sign. Rewards are measured from `floor`.
    """
    return _without_unscored(lambda r, s: [floor + x for x in _dra([x - floor for x in r], s)], rewards, similarity)


def _dra(r, s):
    adjusted = []
    for i in range(len(r)):
        count = 0.0
        for j in range(len(r)):
            count += s[i][j]
        count += 1e-6
        if abs(count) < 0.01:
            count = -0.01 if count < 0 else 0.01
        adjusted.append(r[i] / count)
    return adjusted


def advantages(rewards):
    """GRPO: (r - mean) / (std + 1e-4), with the sample standard deviation; 0 for a group of one."""
    return _without_unscored(lambda r, _: _advantages(r), rewards, [[0.0] * len(rewards)] * len(rewards))


def _advantages(r):
    mean = sum(r) / len(r)
    std = math.sqrt(sum((x - mean) ** 2 for x in r) / (len(r) - 1)) if len(r) > 1 else 0.0
    return [(x - mean) / (std + 1e-4) for x in r]


def grpo_pos(rewards):
    """GRPO-pos (in RGRA, arXiv 2603.18756): GRPO's advantages, the negative ones set to 0."""
    return [x if math.isnan(x) else max(x, 0.0) for x in advantages(rewards)]


def reinforce(rewards):
    """REINFORCE without a baseline: the advantage is the reward."""
    return list(rewards)


def raft(rewards):
    """RAFT (arXiv 2304.06767): the best answer gets the weight of the whole group, equally good ones share it."""
    scored = [x for x in rewards if not math.isnan(x)]
    winners = sum(x == max(scored) for x in scored)
    return [x if math.isnan(x) else len(rewards) / winners if x == max(scored) else 0.0 for x in rewards]


def scored_alone(method):
    """A loop over the lists of one group that need not know of unscored completions: it gets those that are scored."""

    @functools.wraps(method)
    def result(**inputs):
        lists = {name: values for name, values in inputs.items() if not isinstance(values[0], list)}
        scored = [
            i for i, row in enumerate(zip(*lists.values(), strict=True)) if not any(value != value for value in row)
        ]
        made = iter(method(**{name: [values[i] for i in scored] for name, values in inputs.items()}) if scored else [])
        return [next(made) if i in scored else math.nan for i in range(len(next(iter(lists.values()))))]

    return result


def _without_unscored(method, rewards, similarity):
    scored = [i for i, x in enumerate(rewards) if not math.isnan(x)]
    result = [math.nan] * len(rewards)
    if scored:
        actual = method([rewards[i] for i in scored], [[similarity[i][j] for j in scored] for i in scored])
        for i, x in zip(scored, actual, strict=True):
            result[i] = x
    return result
