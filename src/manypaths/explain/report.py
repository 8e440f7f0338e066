"""What explain found, as text for a terminal (Markdown) and as JSON; the page is made of the same. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from manypaths.explain.effect import Effect
from manypaths.explain.summary import Change, Summary, agreement, summarise
from manypaths.explain.words import change, names_of, share
from manypaths.logs import Log
from manypaths.printable import one_line
from manypaths.tables import markdown

EXCERPT = 60  # characters of a completion in a sentence
COLUMNS = {  # heading -> what the column holds
    "method": "its recipe; GRPO is the advantage without a method",
    "flat": "groups in which every advantage is 0, so that nothing is learned",
    "changed": "groups in which some advantage is another than GRPO's",
    "of them flat": "changed groups that are flat in GRPO, whose rewards are all equal: the method alone decides there",
    "share": "of the advantages that the method put there: |change| / (|GRPO's| + |change|), 100 % of a group that is "
    "flat in GRPO alone; mean over groups, without those that are flat in both",
    "signs": "completions that GRPO would raise and the method lowers, or the reverse",
    "right lowered": "correct completions with an advantage below 0",
    "wrong raised": "wrong completions with an advantage above 0",
}


@dataclass(frozen=True)
class Report:
    """A log with what plain GRPO, the first effect, and each method would have made of it.

    Args:
        log: the groups.
        effects: plain GRPO first.
        scale: of `effects`.
        notes: sentences on what was assumed, those of the log included.
    """

    log: Log
    effects: list[Effect]
    scale: str
    notes: list[str]

    def summaries(self) -> list[Summary]:
        plain = self.effects[0]
        return [summarise(self.log.groups, plain, effect) for effect in self.effects]


def rows(summaries: Sequence[Summary]) -> list[list[str]]:
    """The table, its heading first; columns of verdicts only where there are any."""
    columns = list(COLUMNS)
    table = [
        [
            one_line(summary.label),
            *(f"{count} of {summary.groups}" for count in (summary.flat, summary.changed)),
            str(summary.flat_changed),
            share(summary.share),
            str(summary.signs),
            *("–" if count is None else str(count) for count in (summary.right_lowered, summary.wrong_raised)),
        ]
        for summary in summaries
    ]
    if all(summary.right_lowered is None for summary in summaries):
        columns, table = columns[:-2], [row[:-2] for row in table]
    return [columns, *table]


def text(report: Report) -> str:
    """The table, the largest changes of each method, and the notes: Markdown without control characters."""
    summaries, names = report.summaries(), names_of(report.log)
    table = rows(summaries)
    sentences = [sentence for summary in summaries[1:] for sentence in _extremes(report, summary, names)]
    meanings = [f"- {heading}: {COLUMNS[heading]}" for heading in table[0][1:]]
    notes = [f"- {one_line(note)}" for note in report.notes]
    return "\n".join([markdown(table), "", *sentences, "", *meanings, "", "Notes:", *notes])


def _extremes(report: Report, summary: Summary, names: Sequence[str]) -> list[str]:
    pairs = [(word, moved) for word, moved in (("raises", summary.raised), ("lowers", summary.lowered)) if moved]
    label = one_line(summary.label)
    if not pairs:
        return [f"{label} changes no advantage."]
    return [f"{label} {word} most {_where(report, moved, names)}" for word, moved in pairs]


def _where(report: Report, moved: Change, names: Sequence[str]) -> str:
    completion = one_line(report.log.groups[moved.group].completions[moved.completion])
    excerpt = completion if len(completion) <= EXCERPT else f"{completion[:EXCERPT]}..."
    return f'completion {moved.completion} of {names[moved.group]}, from {change(moved)}: "{excerpt}"'


def as_dict(report: Report) -> dict[str, Any]:
    """Everything but the texts, for JSON: the figures of each method, and the advantages of each group."""
    groups = []
    for place, group in enumerate(report.log.groups):
        of_group = {effect.choice.label: effect.groups[place] for effect in report.effects}
        advantages = {label: own.advantages for label, own in of_group.items()}
        adjusted = {label: own.adjusted for label, own in of_group.items()}
        neighbours = [asdict(near) if near else None for near in report.effects[0].groups[place].neighbours]
        figures = {"total": group.total, "adjusted": adjusted, "advantages": advantages, "neighbours": neighbours}
        groups.append({"step": group.step, **figures})
    return {
        "log": str(report.log.path),
        "kind": report.log.kind,
        "scale_rewards": report.scale,
        "notes": report.notes,
        "methods": [asdict(summary) for summary in report.summaries()],
        "groups": groups,
    }


def agreements(log: Log, effects: Sequence[Effect]) -> list[str]:
    """A sentence on which of the effects the advantages in the log are; none where the log has none."""
    counts = {effect.choice.label: agreement(log.groups, effect) for effect in effects}
    present = {label: pair for label, pair in counts.items() if pair is not None}
    if not present:
        return []
    best, (equal, logged) = max(present.items(), key=lambda item: item[1][0])
    if equal == logged:
        return [f"The advantages in the log equal those of {best} in every group that has them: {logged}."]
    return [
        f"The advantages in the log are none of these: the nearest are those of {best}, equal in {equal} of {logged} "
        "groups. Its trainer may weight rewards (--reward NAME=WEIGHT), scale them (--scale-rewards) or adjust them "
        "otherwise; what is shown here is of the rewards as they are read."
    ]
