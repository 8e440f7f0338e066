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
    """RAFT (arXiv 2304.06767): the best answer gets the weight of all that are scored, equally good ones share it."""
    scored = [x for x in rewards if not math.isnan(x)]
    winners = sum(x == max(scored) for x in scored)
    return [x if math.isnan(x) else len(scored) / winners if x == max(scored) else 0.0 for x in rewards]


def scored_alone(method):
    """A loop over the lists of one group that need not know of unscored completions: it gets those that are scored."""

    @functools.wraps(method)
    def result(**inputs):
        options = {name: value for name, value in inputs.items() if not isinstance(value, list)}
        inputs = {name: values for name, values in inputs.items() if name not in options}
        lists = {name: values for name, values in inputs.items() if not isinstance(values[0], list)}
        scored = [
            i for i, row in enumerate(zip(*lists.values(), strict=True)) if not any(value != value for value in row)
        ]
        alone = {name: [values[i] for i in scored] for name, values in inputs.items()}
        made = iter(method(**alone, **options) if scored else [])
        return [next(made) if i in scored else math.nan for i in range(len(next(iter(lists.values()))))]

    return result


@scored_alone
def rarity(advantages, correct, keys, alpha=0.5, rule="redistributed"):
    """Cue-GRPO (arXiv 2608.03467), Eq. 3, on right completions of positive advantage; and the rules without a sum."""
    places = range(len(keys))
    weighted = [i for i in places if rule == "all" or (correct[i] == 1 and advantages[i] > 0)]
    weights = {i: sum(keys[j] == keys[i] for j in weighted) ** -alpha for i in weighted}
    whole = len(weighted) / sum(weights.values()) if rule == "redistributed" and weighted else 1.0
    return [advantages[i] * weights[i] * whole if i in weights else advantages[i] for i in places]


@scored_alone
def gapo(correct, keys, valid=None, reading="signed"):
    """GAPO (arXiv 2511.12596): 1 - (f_i / n - 1 / L) for a right completion, -1 for a wrong one."""
    right = [key for key, ok in zip(keys, correct, strict=True) if ok == 1]
    result = []
    for key, ok in zip(keys, correct, strict=True):
        distance = right.count(key) / len(right) - (1 / valid if valid else 0.0) if ok else 0.0
        result.append(1 - (abs(distance) if reading == "absolute" else distance) if ok else -1.0)
    return result


@scored_alone
def darling(rewards, keys, least=0.1):
    """DARLING (arXiv 2509.02534): r_i times the share of the others with another key, at least 0.1."""
    others = len(keys) - 1
    return [
        r * max(sum(other != key for other in keys) / others, least) if others else r
        for r, key in zip(rewards, keys, strict=True)
    ]


@scored_alone
def darling_correct(rewards, correct, keys, least=0.1, released=False):
    """DARLING among the right completions; `released`: as its code has it, where wrong and lone ones get the least."""
    right = [i for i, ok in enumerate(correct) if ok == 1]
    apart = {}
    if len(right) > released:
        factors = darling(rewards=[1.0] * len(right), keys=[keys[i] for i in right], least=least)
        apart = dict(zip(right, factors, strict=True))
    return [r * apart.get(i, least if released else 1.0) for i, r in enumerate(rewards)]


@scored_alone
def ips(rewards, correct, keys, eps=0.01, alpha=1.0, partial_credit=False):
    """IPS-GRPO (arXiv 2601.21669), Eq. 9: r_i / max(p_i, eps), of right completions."""
    shares = [max(keys.count(key) / len(keys), eps) ** alpha for key in keys]
    return [r / share if ok or partial_credit else r for r, ok, share in zip(rewards, correct, shares, strict=True)]


def _without_unscored(method, rewards, similarity):
    scored = [i for i, x in enumerate(rewards) if not math.isnan(x)]
    result = [math.nan] * len(rewards)
    if scored:
        actual = method([rewards[i] for i in scored], [[similarity[i][j] for j in scored] for i in scored])
        for i, x in zip(scored, actual, strict=True):
            result[i] = x
    return result
