"""Methods from verdicts as plain loops over the lists of one group: means over all subsets, which are enumerated.

As in reference.py, an unscored completion is taken out of the group before anything else.
"""

import math
from itertools import combinations

from reference import scored_alone


@scored_alone
def maxrl(rewards, correct):
    """MaxRL (arXiv 2602.02710), Algorithm 1, of verdicts."""
    return _over_the_mean(correct)


@scored_alone
def maxrl_partial_credit(rewards, correct):
    """The released code: rewards in the place of verdicts, and 1e-6."""
    return _over_the_mean(rewards, 1e-6)


def _over_the_mean(values, eps=0.0):
    mean = sum(values) / len(values)
    return [(value - mean) / (mean + eps) if mean else 0.0 for value in values]


def passk(rewards, correct, k=4):
    """Pass@k training (arXiv 2508.10751): the mean reward of a completion's subsets against that of all subsets."""
    return scored_alone(lambda rewards, correct: _passk(correct, k))(rewards=rewards, correct=correct)


def _passk(correct, k):
    everyone = range(len(correct))
    subsets = {subset: max(correct[i] for i in subset) for subset in combinations(everyone, k)}
    if len(set(subsets.values())) < 2:
        return [0.0] * len(correct)
    mean = sum(subsets.values()) / len(subsets)
    std = math.sqrt(sum((value - mean) ** 2 for value in subsets.values()) / len(subsets))
    result = []
    for i in everyone:
        own = [value for subset, value in subsets.items() if i in subset]
        result.append((sum(own) / len(own) - mean) / std)
    return result


def pkpo(rewards, k=4, estimator="sloo_minus_one"):
    """PKPO (arXiv 2505.15201): Eq. 19, 29 or 33 by their definitions."""
    return scored_alone(lambda rewards: _pkpo(rewards, k, estimator))(rewards=rewards)


def _pkpo(rewards, k, estimator):
    everyone = range(len(rewards))
    subsets = list(combinations(everyone, k))
    result = []
    for i in everyone:
        others = [j for j in everyone if j != i]
        own = [subset for subset in subsets if i in subset]
        if not own or (not others and estimator == "sloo_minus_one" and k == 1):
            result.append(0.0)
        elif estimator == "sloo_minus_one" and k == 1:  # ours: no subset is left without i
            result.append((rewards[i] - sum(rewards[j] for j in others) / len(others)) / len(rewards))
        elif estimator == "sloo_minus_one":
            added = [_best(rewards, subset) - _best(rewards, set(subset) - {i}) for subset in own]
            result.append(sum(added) / len(subsets))
        else:
            weight = sum(_best(rewards, subset) for subset in own) / len(subsets)
            without = [_best(rewards, subset) for subset in combinations(others, k)]
            if estimator == "sloo":
                weight = weight - k / len(others) * sum(without) / len(without) if without else 0.0
            result.append(weight)
    return result


def _best(rewards, subset):
    return max(rewards[i] for i in subset)


@scored_alone
def psr(rewards, correct):
    """PSR (arXiv 2506.01347)."""
    return [1.0 if verdict else 0.0 for verdict in correct]


@scored_alone
def nsr(rewards, correct):
    """NSR (arXiv 2506.01347)."""
    return [0.0 if verdict else -1.0 for verdict in correct]


@scored_alone
def w_reinforce(rewards, correct):
    """W-REINFORCE (arXiv 2506.01347), lambda 0.1."""
    return [0.1 if verdict else -1.0 for verdict in correct]


@scored_alone
def focal(advantages, correct):
    return [a * (1 - sum(correct) / len(correct)) ** 0.5 for a in advantages]
