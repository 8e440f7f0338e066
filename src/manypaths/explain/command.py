"""`manypaths explain`, from parsed arguments to printed output."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Sequence

from manypaths.explain.choices import (
    Choice,
    assumed,
    default_choices,
    own_recipe,
    read_choice,
    scale_of,
    sections_before,
)
from manypaths.files import as_json, check_out
from manypaths.logs import Log, arguments, read
from manypaths.names import distinct
from manypaths.preflight.replaced import replaced
from manypaths.printable import escaped

PLAIN = "GRPO"
PAGE = "explain.html"


def explain(options: argparse.Namespace) -> int:
    """Say what methods would have done to the groups of the log `options.log` -> the exit code.

    Everything that needs no torch is checked before torch is imported.
    """
    if options.groups < 1:
        raise ValueError(f"--groups must be 1 or more, got {options.groups}.")
    for words in options.method:
        read_choice(words)  # an unknown recipe is reported before a long log is read
    if options.out is not None:
        check_out(options.out, "file")
    log = read(options.log, arguments.options(options))
    _check_rewards(log)
    own = own_recipe(log)
    before = sections_before(own, options.embedder)
    choices = [read_choice(words, before) for words in options.method]
    notes = [sentence for words in options.method for sentence in replaced(shlex.split(words))]
    if not choices:
        choices, notes = default_choices(log, own, before)
    scale = scale_of(log, own, options.scale_rewards, choices)
    plain, choices = _labelled(read_choice("none", before), choices)

    from manypaths.explain.effects import effects
    from manypaths.explain.page import write_page
    from manypaths.explain.report import Report, agreements, as_dict, text

    made = effects(log.groups, plain, choices, scale)
    report = Report(log, made, scale, [*notes, *log.notes, *agreements(log, made), *assumed(plain, choices, scale)])
    beside = log.path / PAGE if log.path.is_dir() else log.path.with_name(f"{log.path.stem}.{PAGE}")
    out = options.out or beside
    write_page(report, out, options.groups)
    print(as_json(as_dict(report), indent=2) if options.json else f"{text(report)}\n\nThe groups: {escaped(str(out))}")
    return 0


def _labelled(plain: Choice, choices: Sequence[Choice]) -> tuple[Choice, list[Choice]]:
    """The choices under labels that differ from one another, and from that of plain GRPO."""
    labels = distinct([PLAIN, *(choice.label for choice in choices)])
    first, *others = [Choice(label, own.spec) for label, own in zip(labels, [plain, *choices], strict=True)]
    return first, others


def _check_rewards(log: Log) -> None:
    """Raise ValueError for a log without rewards to compare, and for an infinite reward."""
    rewards = [reward for group in log.groups for reward in group.total if reward is not None]
    if not rewards:
        raise ValueError(
            f"{str(log.path)!r} must have groups with rewards, got none with a known sum. Name the rewards, and their "
            f"weights: --reward NAME=WEIGHT. {' '.join(log.notes)}"
        )
    if not all(map(math.isfinite, rewards)):
        raise ValueError(f"{str(log.path)!r} must have finite rewards, got infinity or NaN. Mend or remove that line.")
