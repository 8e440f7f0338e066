"""Whether the advantages of a log are those of the rewards in it, which shows whether their weights are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from manypaths.logs.log import LoggedGroup

CLOSE = 1e-3  # relative: rewards and advantages are written with single precision


def unexplained(groups: Iterable[LoggedGroup]) -> int:
    """The number of groups whose advantages are not those of their total rewards; groups without advantages are none.

    A group whose advantages are all 0 counts where its total rewards differ.

    GRPO, Dr. GRPO and RLOO have advantages that rise linearly with the reward within a group, whatever their scale: see
    `is_linear`.
    """
    return sum(not is_linear(group.total, group.advantages) for group in groups if group.advantages)


def is_linear(rewards: Sequence[float | None], advantages: Sequence[float | None] | None) -> bool:
    """Whether advantages are a + c * reward with c > 0, or a alone where all rewards are equal.

    Args:
        rewards: of each completion; one without a reward does not count.
        advantages: of each completion.
    """
    pairs = [(r, a) for r, a in zip(rewards, advantages or (), strict=True) if r is not None and a is not None]
    if not pairs:
        return True
    mean_reward, mean_advantage = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    centred = [(reward - mean_reward, advantage - mean_advantage) for reward, advantage in pairs]
    spread = sum(reward**2 for reward, _ in centred)
    largest = max(abs(advantage) for _, advantage in pairs)
    flat = spread <= 1e-12 * (1 + mean_reward**2) * len(pairs)
    slope = 0.0 if flat else sum(reward * advantage for reward, advantage in centred) / spread
    left = max(abs(advantage - slope * reward) for reward, advantage in centred)
    return left <= CLOSE * (1.0 if flat else largest) and (flat or slope > 0)


def weighted_steps(groups: Sequence[LoggedGroup], metrics: Iterable[Mapping[str, object]]) -> int:
    """The number of logged steps whose mean reward is not the sum of the means of the rewards, which have weights then.

    Advantages do not show a factor of all rewards, nor the weight of a reward that is constant within each group.

    Args:
        groups: of one training. With a reward that is None somewhere, the mean is not that sum, and the number is 0.
        metrics: what TRL logged, by step: reward, and rewards/NAME/mean.
    """
    names = {f"rewards/{name}/mean" for group in groups for name in group.rewards}
    if any(None in values for group in groups for values in group.rewards.values()):
        return 0
    steps = 0
    for line in metrics:
        values = [line.get(name) for name in ("reward", *names)]
        numbers = [value for value in values if isinstance(value, (int, float))]
        if len(numbers) == len(values) > 1:
            steps += abs(numbers[0] - sum(numbers[1:])) > CLOSE * (sum(map(abs, numbers[1:])) or 1.0)
    return steps


def without_totals(groups: Iterable[LoggedGroup]) -> list[LoggedGroup]:
    """The groups with unknown total rewards."""
    return [replace(group, total=[None] * len(group.completions)) for group in groups]
