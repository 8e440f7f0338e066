"""What a method did to a log, in the figures of a table: against plain GRPO, over all groups. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from manypaths.explain.effect import Effect, Neighbour, OfGroup
from manypaths.logs import LoggedGroup

SAME = 1e-4  # advantages that differ by less are equal: methods compute in float32
LOGGED = 2e-3  # likewise, of advantages that were logged: logs round, and trainers add something to the deviation


@dataclass(frozen=True)
class Change:
    """How a method changed the advantage of a completion.

    Args:
        group: the place of its group in the log, from 0.
        completion: its place in the group, from 0.
        before: its advantage in plain GRPO.
        after: the method's.
        neighbour: the sibling that is most like it, as the method compares; None where there is none.
        same_way: how many siblings have its key; None where the method compares no keys.
    """

    group: int
    completion: int
    before: float
    after: float
    neighbour: Neighbour | None
    same_way: int | None

    @property
    def size(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Summary:
    """The figures of one method.

    Args:
        label: the name of the method.
        groups: number of groups.
        flat: groups in which every advantage is 0, so that nothing is learned.
        changed: groups in which some advantage differs from plain GRPO's by more than `SAME`.
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
    changed = [any(abs(change.size) > SAME for change in of_group) for of_group in changes]
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
        signs=sum(change.before * change.after < 0 and abs(change.size) > SAME for change in every),
        right_lowered=sum(verdict and value < -SAME for verdict, value in verdicts) if verdicts else None,
        wrong_raised=sum(not verdict and value > SAME for verdict, value in verdicts) if verdicts else None,
        raised=raised,
        lowered=lowered,
    )


def changes_of(place: int, plain: OfGroup, of_group: OfGroup) -> Iterator[Change]:
    """The change of each scored completion of the group at a place of the log."""
    ways = of_group.ways
    for index, (before, after) in enumerate(zip(plain.advantages, of_group.advantages, strict=True)):
        if plain.adjusted[index] is not None:
            same_way = None if ways is None else ways.count(ways[index]) - 1
            yield Change(place, index, before, after, of_group.neighbours[index], same_way)


def extreme(changes: Sequence[Change], sign: int) -> Change | None:
    """The completion that was raised most (sign 1) or lowered most (sign -1), the first of several; None for none."""
    chosen = max(changes, key=lambda change: sign * change.size, default=None)
    return chosen if chosen is not None and sign * chosen.size > SAME else None


def is_flat(of_group: OfGroup) -> bool:
    """Whether a group teaches nothing: every advantage is 0."""
    return all(abs(advantage) <= SAME for advantage in of_group.advantages)


def agreement(groups: Sequence[LoggedGroup], effect: Effect) -> tuple[int, int] | None:
    """(groups whose logged advantages equal those of a method, groups with advantages); None where the log has none."""
    logged = [
        (group.advantages, of_group.advantages)
        for group, of_group in zip(groups, effect.groups, strict=True)
        if group.advantages is not None and None not in group.advantages
    ]
    equal = [
        all(abs((one or 0.0) - other) <= LOGGED * max(1.0, abs(other)) for one, other in zip(*pair, strict=True))
        for pair in logged
    ]
    return (sum(equal), len(logged)) if logged else None
