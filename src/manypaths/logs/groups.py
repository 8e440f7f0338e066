"""Which completions of a log are one group; what is ambiguous is refused with the option to give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from manypaths.logs.log import LoggedGroup
from manypaths.logs.rows import Row
from manypaths.printable import counted, shown

Value = TypeVar("Value")
SUMS_TO_ZERO = 1e-3  # of the sum of magnitudes: advantages are written with single precision


def find(rows: Sequence[Row], size: int | None, consecutive: bool, notes: list[str]) -> list[LoggedGroup]:
    """The groups of a log: the completions of one prompt in one step.

    Args:
        rows: the completions in the order of the log.
        size: the completions of a group, if the user states it. Other groups are left out, with a note.
        consecutive: whether the completions of a group follow one another, so that a prompt that comes again is another
            group. It is also taken of a log without steps, in which a prompt may have been sampled in several.
        notes: gets a sentence for what is left out or assumed.

    Returns:
        the groups by ascending step, otherwise in the order of the log.

    Raises:
        ValueError: it is not clear which completions are one group; the message says which option to give.
    """
    rows = sorted(rows, key=lambda row: (row.step is not None, row.step or 0))  # stable
    if any(row.group is not None for row in rows):
        _check_groups(rows)
        units = _collected(rows, lambda row: (row.step, row.group))
        _check_prompts(units)
    elif consecutive or all(row.step is None for row in rows):
        units = _runs(rows)
    else:
        units = _of_steps(rows, size)
    if size is not None:
        units = _of_size(units, size, notes)
    elif rows[0].group is not None:
        units = _comparable(units, notes)
    else:
        _check_sizes(units)
        _check_advantages(units)
        if len(units) == 1:
            notes.append(f"All {len(rows)} completions have one prompt, and are read as one group.")
    return [_group(unit) for unit in units]


def _collected(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    units: dict[Hashable, list[Row]] = {}
    for row in rows:
        units.setdefault(key(row), []).append(row)
    return list(units.values())


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    return [list(run) for _, run in groupby(rows, lambda row: (row.step, row.file, row.identity))]


def _of_steps(rows: Sequence[Row], size: int | None) -> list[list[Row]]:
    """The completions of each prompt of each step. Raises ValueError where they may be several groups."""
    units = _collected(rows, lambda row: (row.step, row.identity))
    for unit in units if size is None else ():
        if len({row.file for row in unit}) > 1:
            files = " and ".join(sorted({row.file for row in unit})[:2])
            raise ValueError(
                f"{files} have completions of the same prompt in the same step, {_named(unit)}, which may be one group "
                "or several. Give the number of completions of a group, --group-size, or a column, --group-column."
            )
    lengths = Counter(len(run) for run in _runs(rows))
    counts = {len(unit) for unit in units}
    if size is None and len(lengths) == len(counts) == 1 and 1 < next(iter(lengths)) < next(iter(counts)):
        raise ValueError(
            f"Each prompt of a step has {next(iter(counts))} completions in blocks of {next(iter(lengths))}, which may "
            "be one group or several. Give the number of completions of a group, --group-size."
        )
    return units


def _check_groups(rows: Iterable[Row]) -> None:
    for row in rows:
        if row.group is None:
            raise ValueError(
                f"{row.where} must say its group as other rows do, got none. Remove that row, or name another "
                "--group-column."
            )


def _check_prompts(units: Iterable[list[Row]]) -> None:
    for unit in units:
        for row in unit:
            if row.identity != unit[0].identity:
                raise ValueError(
                    f"The completions of group {shown(row.group)} must have one prompt, got another in {row.where} "
                    f"than in {unit[0].where}. Name another --group-column, or none."
                )


def _comparable(units: Sequence[list[Row]], notes: list[str]) -> list[list[Row]]:
    """The groups of 2 completions or more."""
    kept = [unit for unit in units if len(unit) > 1]
    if not kept:
        raise ValueError(
            f"A group must have 2 completions or more, got 1 in each, such as {_named(units[0])}. Name another "
            "--group-column, or none."
        )
    if len(kept) < len(units):
        notes.append(f"Left out: {counted(len(units) - len(kept), 'group')} of a single completion.")
    return kept


def _check_sizes(units: Sequence[list[Row]]) -> None:
    counts = Counter(map(len, units))
    usual, least = max(counts, key=lambda size: (counts[size], size)), min(counts)
    if least > 1 and all(size % least == 0 for size in counts):  # of prompts that came twice
        usual = least
    if len(counts) > 1:
        odd = next(unit for unit in units if len(unit) != usual)
        sizes = ", ".join(f"{counted(count, 'group')} of {size}" for size, count in sorted(counts.items())[:8])
        raise ValueError(
            f"All prompts must have the same number of completions, got {sizes}, such as {len(odd)} of {_named(odd)}. "
            f"Give the number of completions of a group, such as --group-size {max(usual, 2)}; prompts with another "
            "number are then split or left out, with a note."
        )
    if usual == 1:
        raise ValueError(
            f"A group must have 2 completions or more, got 1 for every prompt, such as {_named(units[0])}. If the rows "
            "were shuffled, name the column of the step, --step-column, or of the group, --group-column."
        )


def _check_advantages(units: Sequence[list[Row]]) -> None:
    """Raise ValueError where the advantages also fit smaller groups: the same prompt may come twice in a row."""
    size = len(units[0])
    if not any(row.advantage for unit in units for row in unit):
        return
    for smaller in range(2, size // 2 + 1):
        if size % smaller == 0 and all(_sums_to_zero(part) for unit in units for part in _parts(unit, smaller)):
            raise ValueError(
                f"Each prompt has {size} completions in a row, whose advantages also sum to 0 in groups of {smaller}, "
                "so that these may be several groups. Give the number of completions of a group, such as "
                f"--group-size {size}."
            )


def _sums_to_zero(unit: Sequence[Row]) -> bool:
    advantages = [row.advantage or 0.0 for row in unit]
    return abs(sum(advantages)) <= SUMS_TO_ZERO * sum(map(abs, advantages))


def _of_size(units: Sequence[list[Row]], size: int, notes: list[str]) -> list[list[Row]]:
    """The groups of one size: units of that size, and the parts of those that are several blocks of it."""
    kept: list[list[Row]] = []
    odd: list[list[Row]] = []
    split: list[list[Row]] = []
    for unit in units:
        runs = _blocks(unit)
        if len(unit) == size:
            kept.append(unit)
        elif unit[0].group is None and all(len(run) % size == 0 for run in runs):
            kept += [part for run in runs for part in _parts(run, size)]
            split.append(unit)
        else:
            odd.append(unit)
    if not kept:
        raise ValueError(
            f"--group-size must be the number of completions of a prompt, got {size}, but there are {len(odd[0])} of "
            f"{_named(odd[0])}."
        )
    if odd:
        notes.append(
            f"{sum(map(len, odd))} completions of {counted(len(odd), 'prompt')} are left out, because they are not "
            f"groups of {size}, such as {len(odd[0])} of {_named(odd[0])}."
        )
    if split:
        notes.append(
            f"{len(split)} prompts have more completions than {size} in one place, such as {len(split[0])} of "
            f"{_named(split[0])}, and are split into groups of {size} in the order of the log. A training that was "
            "resumed may have logged them twice."
        )
    if any(row.advantage for unit in kept for row in unit):
        uneven = sum(not _sums_to_zero(unit) for unit in kept)
        if uneven:
            notes.append(
                f"In {uneven} of {len(kept)} groups of {size} the advantages do not sum to 0, as those of GRPO do. Is "
                f"--group-size {size} the number of completions of a prompt?"
            )
    return kept


def _blocks(unit: Sequence[Row]) -> list[list[Row]]:
    """The rows of a unit that follow one another in the log."""
    blocks: list[list[Row]] = []
    for row in unit:
        if blocks and blocks[-1][-1].file == row.file and blocks[-1][-1].place + 1 == row.place:
            blocks[-1].append(row)
        else:
            blocks.append([row])
    return blocks


def _parts(unit: Sequence[Row], size: int) -> list[list[Row]]:
    return [list(unit[start : start + size]) for start in range(0, len(unit), size)]


def _named(unit: Sequence[Row]) -> str:
    step = "" if unit[0].step is None else f" of step {unit[0].step}"
    return f"{shown(unit[0].prompt)}{step} ({unit[0].where})"


def _group(unit: Sequence[Row]) -> LoggedGroup:
    names = list(dict.fromkeys(name for row in unit for name in row.rewards))
    others = dict.fromkeys(name for row in unit for name in row.extra)
    extra: dict[str, object] = {name: [row.extra.get(name) for row in unit] for name in others}
    first = unit[0]
    return LoggedGroup(
        step=first.step,
        prompt=first.prompt,
        completions=[row.completion for row in unit],
        rewards={name: [row.rewards.get(name) for row in unit] for name in names},
        total=[row.total for row in unit],
        advantages=_known([row.advantage for row in unit]),
        correct=_known([row.correct for row in unit]),
        tokens=_known([row.tokens for row in unit]),
        truncated=_known([row.truncated for row in unit]),
        extra=extra,
    )


def _known(values: list[Value | None]) -> list[Value | None] | None:
    return values if any(value is not None for value in values) else None
