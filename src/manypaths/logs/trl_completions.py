"""What TRL's GRPOTrainer writes with `log_completions`: OUT/completions/completions_STEP.parquet.

In TRL 1.16 the file of a logged step has the completions of the last generation, one row for each, in groups that
follow one another; the first process gathers those of all. Its columns are step, prompt, completion, the rewards by the
names of their functions (NaN for None), what reward functions log as extra, and advantage. Weights of the rewards,
lengths and the group size are not in it. Steps between two generations write the same completions again, and an
evaluation replaces the file of its step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from manypaths.files import read_json
from manypaths.logs import groups
from manypaths.logs.advantages import unexplained, weighted_steps, without_totals
from manypaths.logs.log import TRL, Log, LoggedGroup, Options
from manypaths.logs.rows import Row, check_columns, completion_of, group_named, number, prompt_of, total, verdict, whole
from manypaths.names import current
from manypaths.printable import listed
from manypaths.problems.rows import read_rows

COLUMNS = ("step", "prompt", "completion", "advantage")
STATE = "trainer_state.json"
Entry = dict[str, Any]


class Table(NamedTuple):
    """The rows of one file."""

    step: int
    file: str
    rows: list[Entry]


def files_in(folder: Path) -> list[Path]:
    """The files of completions in a folder, or in its folder completions/."""
    own = sorted(folder.glob("completions_*.parquet"))
    return own or sorted((folder / "completions").glob("completions_*.parquet"))


def read_completions(path: Path, files: Sequence[Path], options: Options) -> Log:
    """Read the completions that TRL logged.

    Args:
        path: what the user named, for the log.
        files: the parquet files, one or more.
        options: what the user says; the columns of texts and steps are TRL's own.

    Raises:
        ValueError: no file can be read, a column is missing, or the groups are ambiguous.
    """
    notes: list[str] = []
    tables = _tables(files, notes)
    columns = list(dict.fromkeys(name for table in tables for name in table.rows[0]))
    check_columns(columns, [*options.rewards, options.correct, options.group], str(path))
    metrics = _metrics(files[0].parent, tables[-1].step, notes)
    weights = options.rewards or dict.fromkeys(_rewards(columns, tables, metrics), 1.0)
    kept = _of_training([_rows(table, weights, options) for table in tables], metrics, notes)
    if not kept:
        raise ValueError(f"{str(path)!r} must hold completions of a training, got those of evaluations alone.")
    groups_of_rows = groups.find(kept, options.group_size, consecutive=True, notes=notes)
    return Log(path, TRL, _with_known_totals(groups_of_rows, metrics, weights, options, notes), metrics, notes)


def _tables(files: Sequence[Path], notes: list[str]) -> list[Table]:
    """The files that can be read, by step."""
    tables, mistakes = [], []
    for file in files:
        try:
            rows = read_rows(str(file))
            check_columns(list(rows[0]), COLUMNS, str(file))
            tables.append(Table(whole(rows[0]["step"], str(file), "step") or 0, file.name, rows))
        except (ValueError, OSError) as error:
            mistakes.append(str(error))
    if not tables:
        raise ValueError(mistakes[0])
    notes += [f"Left out: {mistake}" for mistake in mistakes]
    return sorted(tables, key=lambda table: table.step)


def _metrics(folder: Path, newest: int, notes: list[str]) -> list[dict[str, object]]:
    """What the trainer logged, a dict for each step, by the last trainer_state.json beside the files or above them."""
    folders = [folder, folder.parent] if folder.name == "completions" else [folder]
    histories = []
    for file in [file for place in folders for file in (place / STATE, *place.glob(f"checkpoint-*/{STATE}"))]:
        try:
            histories.append(_history(read_json(file).get("log_history", [])))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            notes.append(f"Left out: {file} is damaged ({type(error).__name__}: {error}).")
    history = max(histories, key=lambda lines: max(lines, default=-1), default={})
    if not history:
        notes.append(f"Without {STATE} it is unknown whether an evaluation has replaced completions, as TRL does.")
    elif newest > max(history):
        notes.append(
            f"{STATE} ends with step {max(history)}: what was logged after it is unknown, as is whether evaluations "
            "have replaced completions."
        )
    return [history[step] for step in sorted(history)]


def _history(lines: Sequence[Mapping[str, Any]]) -> dict[int, dict[str, object]]:
    """The lines of a trainer's log by step; of the same metric the later value counts."""
    history: dict[int, dict[str, object]] = {}
    for line in lines:
        history.setdefault(int(line["step"]), {}).update(current(dict(line)))
    return history


def _rewards(columns: Sequence[str], tables: Sequence[Table], metrics: Sequence[Mapping[str, object]]) -> list[str]:
    """The columns of rewards: those that the trainer logged metrics of, else all of floating-point numbers."""
    own = [name for name in columns if name not in COLUMNS]
    if logged := [name for name in own if any(f"rewards/{name}/mean" in line for line in metrics)]:
        return logged
    values = {name: [row.get(name) for table in tables for row in table.rows] for name in own}
    return [name for name in own if all(value is None or isinstance(value, float) for value in values[name])]


def _rows(table: Table, weights: Mapping[str, float], options: Options) -> list[Row]:
    others = [name for name in table.rows[0] if name not in COLUMNS and name not in weights]

    def row(place: int, entry: Entry) -> Row:
        where = f"{table.file}, row {place}"
        prompt, identity = prompt_of(entry["prompt"], where)
        rewards = {name: number(entry.get(name), where, name) for name in weights}
        return Row(
            where=where,
            file=table.file,
            place=place,
            step=table.step,
            prompt=prompt,
            identity=identity,
            completion=completion_of(entry["completion"], where),
            rewards=rewards,
            total=total(rewards, weights),
            advantage=number(entry["advantage"], where, "advantage"),
            correct=None if options.correct is None else verdict(entry.get(options.correct), where, options.correct),
            group=None if options.group is None else group_named(entry.get(options.group), where, options.group),
            extra={name: entry.get(name) for name in others},
        )

    return [row(place, entry) for place, entry in enumerate(table.rows, 1)]


def _of_training(tables: Sequence[list[Row]], metrics: Sequence[Mapping[str, object]], notes: list[str]) -> list[Row]:
    """The completions that were trained on, each once: without those of evaluations, and without repeated ones."""
    evaluated = {line["step"] for line in metrics if any(name.startswith("eval_") for name in line)}
    kept: list[Row] = []
    replaced, repeated, before = [], [], None
    for table in tables:
        content = [(row.identity, row.completion, row.rewards, row.advantage) for row in table]
        if table[0].step in evaluated:
            replaced.append(table[0].file)
        elif content == before:
            repeated.append(table[0].file)
        else:
            kept += table
        before = content
    if replaced:
        notes.append(
            f"Left out: {listed(replaced, 4)}, which an evaluation wrote in the place of the completions of training."
        )
    if repeated:
        notes.append(
            f"Counted once: {listed(repeated, 4)} repeats the completions of the file before, of one generation."
        )
    return kept


def _with_known_totals(
    found: list[LoggedGroup],
    metrics: Sequence[Mapping[str, object]],
    weights: Mapping[str, float],
    options: Options,
    notes: list[str],
) -> list[LoggedGroup]:
    """The groups, whose total rewards are unknown where the advantages or the metrics show that they are no plain sum.

    The user's weights count whatever the log says.
    """
    count, names = unexplained(found), listed(weights)
    if not weights:
        notes.append("No column is a reward: the total rewards are unknown. Name the rewards: --reward COLUMN.")
    elif count and options.rewards:
        notes.append(f"In {count} of {len(found)} groups the advantages are not those of the sum that --reward names.")
    elif count:
        notes.append(
            f"In {count} of {len(found)} groups the advantages are not those of the plain sum of {names}, so that the "
            "total rewards are unknown. Give the rewards with their weights, such as --reward "
            f"{next(iter(weights))}=1."
        )
        return without_totals(found)
    elif not options.rewards and (steps := weighted_steps(found, metrics)):
        notes.append(
            f"At {steps} of {len(metrics)} steps the mean reward in {STATE} is not the sum of the means of {names}, so "
            "that they have weights, and the total rewards are unknown. Give the weights, such as --reward "
            f"{next(iter(weights))}=0.5."
        )
        return without_totals(found)
    elif len(weights) > 1:
        notes.append(f"The total reward is the plain sum of {names}, with which the advantages agree.")
    return found
