"""What a method did to a log, in the figures of a table: against plain GRPO, over all groups. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from manypaths.explain.effect import Effect, Neighbour, OfGroup
from manypaths.logs import LoggedGroup

ZERO = 1e-4  # advantages below it are 0: methods compute in float32
SAME = 0.005  # of the largest advantage of a group: what differs by less is equal, to the two digits that are shown
LOGGED = 2e-3  # likewise, of advantages that were logged: logs round, and trainers add something to the deviation


@dataclass(frozen=True)
class Change:
    """How a method changed the advantage of a completion.

    Args:
        group: the place of its group in the log, from 0.
        completion: its place in the group, from 0.
        before: its advantage in plain GRPO.
        after: the method's.
        least: what the two must differ by to count as changed.
        reward: before the reweighting.
        adjusted: the reward after it.
        reweighted: whether the method changed the reward of any completion of the group.
        neighbour: the sibling that is most like it, as the method compares; None where there is none.
        same_way: how many siblings have its key; None where the method compares no keys.
    """

    group: int
    completion: int
    before: float
    after: float
    least: float
    reward: float
    adjusted: float
    reweighted: bool
    neighbour: Neighbour | None
    same_way: int | None

    @property
    def size(self) -> float:
        return self.after - self.before

    @property
    def is_change(self) -> bool:
        return abs(self.size) > self.least


@dataclass(frozen=True)
class Summary:
    """The figures of one method.

    Args:
        label: the name of the method.
        groups: number of groups.
        flat: groups in which every advantage is 0, so that nothing is learned.
        changed: groups in which some advantage is another than plain GRPO's.
        flat_changed: those of them that are flat in plain GRPO.
        share: of the advantage, what the method put there, 0 to 1: mean over the groups where an advantage is not 0.
        signs: completions whose advantage has the other sign than in plain GRPO, neither being 0.
        right_lowered: completions that are correct and have an advantage below 0; None without verdicts.
        wrong_raised: completions that are wrong and have an advantage above 0; None without verdicts.
        raised, lowered: the completions with the largest changes; None where nothing was raised or lowered.
    """

    label: str
    groups: int
    flat: int
    changed: int
    flat_changed: int
    share: float | None
    signs: int
    right_lowered: int | None
    wrong_raised: int | None
    raised: Change | None
    lowered: Change | None


def summarise(groups: Sequence[LoggedGroup], plain: Effect, effect: Effect) -> Summary:
    """The figures of a method, `effect`, against those of plain GRPO, `plain`, of the same groups."""
    changes = [
        list(changes_of(place, *pair)) for place, pair in enumerate(zip(plain.groups, effect.groups, strict=True))
    ]
    changed = [any(change.is_change for change in of_group) for of_group in changes]
    flat = [is_flat(of_group) for of_group in plain.groups]
    shares = [of_group.share for of_group in effect.groups if of_group.share is not None]
    every = [change for of_group in changes for change in of_group]
    raised, lowered = (extreme(every, sign) for sign in (1, -1))
    verdicts = [
        (verdict, advantage)
        for group, of_group in zip(groups, effect.groups, strict=True)
        for verdict, advantage in zip(group.correct or [], of_group.advantages, strict=False)
        if verdict is not None
    ]
    return Summary(
        label=effect.choice.label,
        groups=len(groups),
        flat=sum(map(is_flat, effect.groups)),
        changed=sum(changed),
        flat_changed=sum(is_changed and was_flat for is_changed, was_flat in zip(changed, flat, strict=True)),
        share=sum(shares) / len(shares) if shares else None,
        signs=sum(change.before * change.after < 0 and change.is_change for change in every),
        right_lowered=sum(verdict and value < -ZERO for verdict, value in verdicts) if verdicts else None,
        wrong_raised=sum(not verdict and value > ZERO for verdict, value in verdicts) if verdicts else None,
        raised=raised,
        lowered=lowered,
    )


def changes_of(place: int, plain: OfGroup, of_group: OfGroup) -> Iterator[Change]:
    """The change of each scored completion of the group at a place of the log."""
    least = max(ZERO, SAME * max(map(abs, [*plain.advantages, *of_group.advantages]), default=0.0))
    scored = [(a, b) for a, b in zip(plain.adjusted, of_group.adjusted, strict=True) if a is not None and b is not None]
    reweighted = any(not math.isclose(*pair, rel_tol=1e-5, abs_tol=1e-7) for pair in scored)
    columns = zip(plain.advantages, of_group.advantages, plain.adjusted, of_group.adjusted, strict=True)
    for index, (before, after, reward, adjusted) in enumerate(columns):
        if reward is None or adjusted is None:
            continue
        same_way = None if of_group.ways is None else of_group.ways.count(of_group.ways[index]) - 1
        near = of_group.neighbours[index]
        yield Change(place, index, before, after, least, reward, adjusted, reweighted, near, same_way)


def extreme(changes: Sequence[Change], sign: int) -> Change | None:
    """The completion that was raised most (sign 1) or lowered most (sign -1), the first of several; None for none."""
    moved = [change for change in changes if change.is_change and sign * change.size > 0]
    return max(moved, key=lambda change: sign * change.size, default=None)


def is_flat(of_group: OfGroup) -> bool:
    """Whether a group teaches nothing: every advantage is 0."""
    return all(abs(advantage) <= ZERO for advantage in of_group.advantages)


def agreement(groups: Sequence[LoggedGroup], effect: Effect) -> tuple[int, int] | None:
    """(groups whose logged advantages equal those of a method, groups with advantages); None where the log has none."""
    logged = [
        (group.advantages, of_group.advantages)
        for group, of_group in zip(groups, effect.groups, strict=True)
        if group.advantages is not None and None not in group.advantages
    ]
    equal = [
        all(abs((own or 0.0) - made) <= LOGGED * max(1.0, abs(made)) for own, made in zip(*pair, strict=True))
        for pair in logged
    ]
    return (sum(equal), len(logged)) if logged else None
