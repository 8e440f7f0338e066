"""Copies within a group: completions that are, apart from white space at their ends, the text of another one."""

from __future__ import annotations

from collections.abc import Sequence

from manypaths.check.outcome import Outcome, outcome, percent, unchecked
from manypaths.check.parts import LEAST_GROUPS, Parts, by_prompt, clearest, group_parts, measured, too_few_groups
from manypaths.check.settings import Settings, nearly_greedy
from manypaths.logs import Log, LoggedGroup
from manypaths.statistics import Interval, mean_of_shares

COPIES = 0.5  # more than half of the sampling then goes into texts that the group has already

SOURCES = (
    "Look at how completions are sampled: a server or a trainer may take temperature, top_k and top_p from the "
    "generation_config.json of the model."
)


def copies(log: Log, settings: Settings) -> Outcome:
    """Whether more than half of the completions of a group repeat another one, and what the likely cause is.

    The figure is 1 - different texts / completions, over groups of two completions or more. Found where its interval in
    the last half lies above `COPIES`, unless success explains it: copies that came in the course of the training, most
    of them of correct completions. A short answer that the model knows has few ways to be written.
    """
    part = group_parts(log)
    shares = measured(log, part.late, repeated)
    values = by_prompt(log, shares)
    if len(values) < LEAST_GROUPS:
        return unchecked(too_few_groups(log, shares, f"groups of two completions or more {part.late_words}"))
    share = mean_of_shares(values)
    right = _right([log.groups[position] for position in shares])
    sentence = f"{percent(share)} of the completions repeat another one of their group {part.late_words}: "
    sentence += _texts([log.groups[position] for position in shares], right)
    if not share.low > COPIES:
        return outcome(False, f"{sentence}.", share, (), "")
    early, greedy = _early(log, part), nearly_greedy(settings.decoding)
    before = early if early is not None and early.high < COPIES else None  # copies came in the course of the training
    if before is not None and right is not None and right > 0.5 and not greedy:
        return outcome(False, f"{sentence}; in the first third {before.value:.0%} repeated.", share, (), "")
    cause, advice = _cause(before, greedy, settings)
    if right is None:
        advice += " With --correct NAME the check says whether they are copies of right answers, which is no fault."
    return outcome(True, f"{sentence}{cause}.", share, clearest(shares), advice)


def _texts(groups: Sequence[LoggedGroup], right: float | None) -> str:
    """How many different texts a group has, their length, and the share of the copies that are correct."""
    count = sum(len(group.completions) for group in groups)
    different = sum(len({text.strip() for text in group.completions}) for group in groups)
    characters = sum(len(text) for group in groups for text in group.completions) / count
    verdicts = "" if right is None else f", and {right:.0%} of the copies are correct"
    size = f"{different / len(groups):.1f} different texts of {count / len(groups):.3g} on average"
    return f"{size}, {characters:.0f} characters long{verdicts}"


def _right(groups: Sequence[LoggedGroup]) -> float | None:
    """The share of correct ones among the completions that repeat another one; None where no verdict is known."""
    weight = correct = 0.0
    for group in groups:
        verdicts: dict[str, list[bool]] = {}
        for text, right in zip(group.completions, group.correct or [], strict=False):
            if right is not None:
                verdicts.setdefault(text.strip(), []).append(right)
        for rights in verdicts.values():
            weight += len(rights) - 1
            correct += (len(rights) - 1) * sum(rights) / len(rights)
    return correct / weight if weight else None


def repeated(group: LoggedGroup) -> float | None:
    """The share of the completions of a group that repeat another one; None for fewer than two completions."""
    texts = [text.strip() for text in group.completions]
    return 1 - len(set(texts)) / len(texts) if len(texts) > 1 else None


def _early(log: Log, part: Parts) -> Interval | None:
    """The share of copies in the first third, None where that has too few groups."""
    values = by_prompt(log, measured(log, part.early, repeated))
    return mean_of_shares(values) if len(values) >= LEAST_GROUPS else None


def _cause(sharper_than: Interval | None, greedy: Sequence[str], settings: Settings) -> tuple[str, str]:
    """(the end of the sentence, the advice): decoding that is nearly greedy, a policy that sharpened, or unknown."""
    if greedy:
        return (
            f"; {settings.source} decodes nearly greedily ({', '.join(greedy)})",
            "Sample with temperature 1, top_p 1 and without top_k, in the trainer's own settings.",
        )
    in_words = ", ".join(f"{name} {str(value).lower()}" for name, value in settings.decoding.items())
    decoding = f"Decoding is not nearly greedy ({settings.source}: {in_words})." if in_words else SOURCES
    if sharper_than is not None:
        return (
            f"; in the first third {sharper_than.value:.0%} repeated, so the policy became sharper",
            f"{decoding} Lower the learning rate, add a KL penalty, sample at a higher temperature, or use smaller "
            "groups where short answers have few ways to be written.",
        )
    return "", f"{decoding} Short answers have few ways to be written: a smaller group is then enough."
