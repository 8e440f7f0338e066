"""What verl writes into `trainer.rollout_data_dir`: STEP.jsonl, a line for each completion.

In verl 0.9 a line has input and output as decoded texts, gts (the gold answer), score (the sum of the token rewards,
before a KL penalty), step, and what the reward function returned beside the score. The trainers of `trainer.v1` add
uid, PROMPT_ROLLOUT_OUTPUT, and sort by it; they also dump the empty completions with which they fill up a batch, whose
uid begins with "pad". The older trainer has no uid, and writes the completions in the order in which they are balanced
over the GPUs, so that those of one prompt need not follow one another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manypaths.logs import groups
from manypaths.logs.json_lines import stream
from manypaths.logs.log import VERL, Log, Options
from manypaths.logs.rows import Row, check_columns, completion_of, group_named, number, prompt_of, total, verdict, whole

COLUMNS = ("input", "output", "score", "step")
PADDING = re.compile(r"pad[0-9a-f]{32}_\d+_\d+")  # verl 0.9, trainer/ppo/padding_utils.py
UID = re.compile(r"(.+)_(\d+)_(\d+)", re.DOTALL)
Entry = dict[str, Any]


def files_in(folder: Path) -> list[Path]:
    """The files STEP.jsonl of a folder, by step."""
    return sorted((file for file in folder.glob("*.jsonl") if file.stem.isdecimal()), key=lambda file: int(file.stem))


def is_rollout(row: Mapping[str, Any]) -> bool:
    """Whether a line of a file is one of verl's."""
    return all(name in row for name in COLUMNS)


def read_rollouts(path: Path, files: Sequence[Path], options: Options) -> Log:
    """Read the rollouts that verl dumped.

    Args:
        path: what the user named, for the log.
        files: the files, one or more.
        options: what the user says; the columns of texts and steps are verl's own.

    Raises:
        ValueError: a line is damaged, a column is missing, or the groups are ambiguous.
    """
    notes: list[str] = []
    weights = options.rewards or {"score": 1.0}
    rows = [row for file in files for row in _rows(file, weights, options, notes)]
    rows = _last_outputs(_without_padding(rows, notes), notes)
    if not rows:
        raise ValueError(f"{str(path)!r} holds no completion. {' '.join(notes)}".strip())
    if not options.rewards:
        notes.append("The total reward is verl's score; a KL penalty in the reward, if there was one, is not in it.")
    if options.correct is None and any(row.correct is not None for row in rows):
        notes.append("A completion is correct where its acc is true.")
    elif options.correct is None and any("acc" in row.extra for row in rows):
        notes.append("acc is no truth value, and may be any score. If it says what is correct, give --correct acc.")
    return Log(path, VERL, groups.find(rows, options.group_size, consecutive=False, notes=notes), [], notes)


def _rows(file: Path, weights: Mapping[str, float], options: Options, notes: list[str]) -> list[Row]:
    entries = list(stream(file, notes))
    if entries:
        check_columns(list(entries[0]), [*COLUMNS, *weights, options.correct, options.group], str(file))
    return [_row(file, place, entry, weights, options) for place, entry in enumerate(entries, 1)]


def _row(file: Path, place: int, entry: Entry, weights: Mapping[str, float], options: Options) -> Row:
    where = f"{file.name}, line {place}"
    check_columns(list(entry), COLUMNS, where)
    prompt, identity = prompt_of(entry["input"], where)
    rewards = {name: number(entry.get(name), where, name) for name in weights}
    uid = UID.fullmatch(str(entry.get("uid")))
    group = uid[1] if uid else None
    return Row(
        where=where,
        file=file.name,
        place=place,
        step=whole(entry["step"], where, "step"),
        prompt=prompt,
        identity=identity,
        completion=completion_of(entry["output"], where),
        rewards=rewards,
        total=total(rewards, weights),
        correct=_correct(entry, where, options.correct),
        group=group if options.group is None else group_named(entry.get(options.group), where, options.group),
        extra={name: entry[name] for name in entry if name not in COLUMNS and name not in weights},
    )


def _correct(entry: Entry, where: str, name: str | None) -> bool | None:
    """The verdict of the column that the user names, else `acc` where it is a truth value.

    verl also writes the score as `acc` where a reward function returns nothing else, and that may be anything.
    """
    if name is not None:
        return verdict(entry.get(name), where, name)
    return entry["acc"] if isinstance(entry.get("acc"), bool) else None


def _without_padding(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    kept = [row for row in rows if not PADDING.fullmatch(str(row.extra.get("uid")))]
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} empty completions with which verl fills up its batches are left out.")
    return kept


def _last_outputs(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """The last output of each rollout: an agent may have several, of which verl scores and compares the last."""
    outputs: dict[tuple[int | None, str], Row] = {}
    for place, row in enumerate(rows):
        uid = UID.fullmatch(str(row.extra.get("uid")))
        rollout = (row.step, f"{uid[1]}_{uid[2]}" if uid else f"row {place}")
        before = outputs.get(rollout)
        if before is None or _output(row) > _output(before):
            outputs[rollout] = row
    kept = list(outputs.values())
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} outputs of rollouts with several are left out; the last of each counts.")
        for row in kept:
            row.identity = row.group or row.identity  # the prompt of a later output has the earlier ones in it
    return kept


def _output(row: Row) -> int:
    uid = UID.fullmatch(str(row.extra.get("uid")))
    return int(uid[3]) if uid else 0
