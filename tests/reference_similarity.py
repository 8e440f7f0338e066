"""Methods from similarity as plain loops over lists of floats, one group at a time: the oracle of the tests."""

import functools
import math

import torch


def scored_alone(method):
    """A loop over one group that need not know of unscored completions: it gets those that are scored, and no other."""

    @functools.wraps(method)
    def result(rewards, similarity, **inputs):
        lists = {name: values for name, values in inputs.items() if isinstance(values, list)}
        options = {name: value for name, value in inputs.items() if name not in lists}
        scored = [i for i, reward in enumerate(rewards) if not math.isnan(reward)]
        given = {name: [values[i] for i in scored] for name, values in {"rewards": rewards, **lists}.items()}
        given["similarity"] = [[similarity[i][j] for j in scored] for i in scored]
        made = iter(method(**given, **options) if scored else [])
        return [next(made) if i in scored else math.nan for i in range(len(rewards))]

    return result


def diversity(members, similarity):
    """SetPO (arXiv 2602.01062), Eq. 2 and 3: the mean of g of the mean similarity to all members, itself included."""
    n = len(members)
    return sum(-math.log(1 + sum(max(similarity[i][j], 0.0) for j in members) / n) for i in members) / n


def set_bonus(similarity):
    """SetPO, Eq. 4: the diversity of the whole group minus that of the group without i."""
    whole = list(range(len(similarity)))
    if len(whole) < 2:
        return [0.0]
    return [diversity(whole, similarity) - diversity([j for j in whole if j != i], similarity) for i in whole]


@scored_alone
def setpo(rewards, advantages, similarity, weight=1.0):
    return [a + weight * s for a, s in zip(advantages, set_bonus(similarity), strict=True)]


def log_determinant(members, similarity):
    """log det(L + I) of some completions."""
    kernel = torch.tensor([[similarity[i][j] + (i == j) for j in members] for i in members], dtype=torch.float64)
    return torch.linalg.slogdet(kernel).logabsdet.item() if members else 0.0


def volume_bonus(similarity):
    """DQO (arXiv 2509.04784): log det(L + I) minus that without row and column i, by G + 1 determinants."""
    whole = list(range(len(similarity)))
    return [
        log_determinant(whole, similarity) - log_determinant([j for j in whole if j != i], similarity) for i in whole
    ]


@scored_alone
def logdet(rewards, advantages, similarity, weight=0.5, centre=False):
    bonus = volume_bonus(similarity)
    mean = sum(bonus) / len(bonus) if centre else 0.0
    return [a + weight * (b - mean) for a, b in zip(advantages, bonus, strict=True)]


@scored_alone
def evol(rewards, correct, similarity, tolerance=1e-4):
    """EVOL-RL (arXiv 2509.15194); novelties that differ by no more than the tolerance are equal."""
    graded = [i for i, verdict in enumerate(correct) if not math.isnan(verdict)]
    similarity = [[min(max(value, 0.0), 1.0) for value in row] for row in similarity]
    adjusted = list(rewards)
    for verdict, lowest in ((1, 0.5), (0, -1.0)):
        members = [i for i in graded if correct[i] == verdict]
        novelty = {}
        for i in members:
            near = [similarity[i][j] for j in members if j != i]
            mean = sum(near) / len(near) if near else 0.0
            largest = max([similarity[i][j] for j in graded if j != i], default=0.0)
            novelty[i] = 1 - (0.5 * mean + 0.5 * largest)
        for i in members:
            low, high = min(novelty.values()), max(novelty.values())
            u = (novelty[i] - low) / (high - low) if high - low > tolerance else 0.5
            adjusted[i] = lowest + 0.5 * (u if len(members) > 1 else 1.0)
    return adjusted
