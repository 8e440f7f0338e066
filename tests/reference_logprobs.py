"""Methods from log-probabilities as plain loops over the lists of one group, as the papers write them."""

import math

from reference import TIED, scored_alone


def unlikeliness(rewards, logprobs, lengths, beta=0.25, per_token=False):
    """Eq. 13 of arXiv 2506.02355, with the mean rank for completions that are equally likely."""
    return scored_alone(lambda rewards, logprobs, lengths: _unlikeliness(rewards, logprobs, lengths, beta, per_token))(
        rewards=rewards, logprobs=logprobs, lengths=lengths
    )


def _unlikeliness(rewards, logprobs, lengths, beta, per_token):
    G = len(rewards)
    likelihood = [lp / max(n, 1) if per_token else lp for lp, n in zip(logprobs, lengths, strict=True)]
    result = []
    for i in range(G):
        rank = 1.0
        for j in range(G):
            if i != j:
                tied = abs(likelihood[i] - likelihood[j]) <= TIED * max(1, abs(likelihood[i]))
                rank += 0.5 if tied else likelihood[j] > likelihood[i]
        result.append(rewards[i] * (1 - beta * (G - rank) / G))
    return result


def ucpo(advantages, correct, logprobs, lengths, tau=0.2, per_token=False):
    """Eq. 16, 47 and 51 of arXiv 2605.00365, with probabilities as fractions of those of all right completions."""
    right = [i for i, verdict in enumerate(correct) if verdict == 1]
    total = sum(advantages[i] for i in right)
    result = list(advantages)
    if len(right) < 2 or total <= 0:
        return result
    likelihood = {i: logprobs[i] / max(lengths[i], 1) if per_token else logprobs[i] for i in right}
    q = {i: 1 / sum(math.exp(likelihood[j] - likelihood[i]) for j in right) for i in right}
    v = {i: 1 / max(q[i], 1e-6 if per_token else 0.0) for i in right}
    for i in right:
        result[i] = (1 - tau) * advantages[i] + tau * total * v[i] / sum(v.values())
    return result
