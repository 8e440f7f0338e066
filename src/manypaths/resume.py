"""Where a run that was stopped goes on: its newest whole checkpoint. What was recorded after that is dropped."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manypaths.checkpoint import damaged_file
from manypaths.files import as_json, atomic_write, read_json, stream_jsonl, whole

STATE = "trainer_state.json"  # written last
DAMAGED = "damaged-"  # before the name of a checkpoint that is kept, though no run goes on from it


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that a run can go on from."""

    folder: Path
    step: int
    finished: bool  # whether the training had reached its last step


def last_checkpoint(run: Path, say: Callable[[str], None] = print) -> Checkpoint | None:
    """The newest whole checkpoint of a run; `say` gets a sentence for each newer one that is not.

    Those are put out of the way: one that was stopped while it was written is removed, a damaged one renamed. Else the
    run, as it gets there again, would write over them, and a kill leave new weights beside an old state. ValueError
    where checkpoints hold weights alone, for a run resumed from one would not end as if it had not been stopped.
    """
    for folder in reversed(checkpoints(run)):
        state = _state(folder)
        complaint = _complaint(folder, state)
        if state is not None and complaint is None:
            step = state["global_step"]
            return Checkpoint(folder, step, finished=step >= state.get("max_steps", math.inf))
        say(f"{folder} is not whole: {complaint}. The run goes on from the checkpoint before it, or from the start.")
        if state is None:
            shutil.rmtree(folder)
        else:
            _rename(folder)
    return None


def checkpoints(run: Path) -> list[Path]:
    """The folders that the trainer named, in the order of their steps; copies under names of the user's are not."""
    paths = [path for path in (run / "checkpoints").glob("checkpoint-*") if path.is_dir()]
    return sorted((path for path in paths if path.name[11:].isdecimal()), key=lambda path: int(path.name[11:]))


def _state(folder: Path) -> dict[str, Any] | None:
    """What the trainer wrote last into a checkpoint; None where it was stopped before or while it did."""
    try:
        state = read_json(folder / STATE)
    except ValueError:
        return None
    return state if isinstance(state.get("global_step"), int) else None


def _complaint(folder: Path, state: dict[str, Any] | None) -> str | None:
    """What keeps a run from going on from a checkpoint: a file that is missing or damaged."""
    if state is None:
        return f"{STATE} is {'damaged' if (folder / STATE).exists() else 'missing'}"
    if (damaged := damaged_file(folder)) is not None:
        return damaged
    names = {path.name for path in folder.iterdir()}
    in_shards = any(name.startswith(("global_step", "pytorch_model_fsdp")) for name in names)  # DeepSpeed, FSDP
    wanted = set() if in_shards else {"scheduler.pt", "optimizer.pt"}
    random = [name for name in names if name.startswith("rng_state")]
    if not in_shards and not random and not wanted & names:
        raise ValueError(
            f"{folder} holds weights alone (trainer.save_only_model), and a run cannot go on from those. Train again "
            "without it in another --out."
        )
    ranks = ["rng_state.pth"] if len(random) < 2 else [f"rng_state_{rank}.pth" for rank in range(len(random))]
    missing = sorted({*wanted, *ranks} - names)
    if not in_shards and not any("model" in name and name.endswith((".safetensors", ".bin")) for name in names):
        missing.append("adapter_model.safetensors" if "adapter_config.json" in names else "model.safetensors")
    return f"{missing[0]} is missing" if missing else None


def _rename(folder: Path) -> None:
    target, number = folder.with_name(DAMAGED + folder.name), 1
    while target.exists():
        target, number = folder.with_name(f"{DAMAGED}{folder.name}-{number}"), number + 1
    folder.rename(target)


def rewind(run: Path, last: Checkpoint | None) -> None:
    """Drop what was recorded after a checkpoint (None: everything), for those steps will run again."""
    step = 0 if last is None else last.step
    reached = _keep_until(step, run / "metrics.jsonl")
    _keep_until(step, run / "groups.jsonl")
    if reached < step:  # each checkpoint has its line, which was on the disk before
        raise ValueError(
            f"{run / 'metrics.jsonl'} must reach step {step}, of which there is a checkpoint, got {reached}: lines are "
            "lost. Restore the file from a copy, or train again in another --out."
        )
    folder = run / "evaluation"
    paths = [path for path in folder.glob("step-*.jsonl*") if path.name.split(".")[0][5:].isdecimal()]
    late = [path for path in paths if int(path.name.split(".")[0][5:]) > step]
    late += [] if last is not None and last.finished else sorted(folder.glob("after.jsonl*"))
    dropped = {path.name.split(".")[0] for path in late}
    for name in ("summary.json", "shares.json") if late else ():
        kept = {when: entry for when, entry in read_json(folder / name).items() if when not in dropped}
        atomic_write(folder / name, as_json(kept, indent=2 if name == "summary.json" else None))
    for path in late:
        path.unlink()


def metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, none where it is missing; ValueError names a damaged one."""
    path = run / "metrics.jsonl"
    return [record for record, _ in _with_steps(path)] if path.exists() else []


def _with_steps(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    for number, (record, line) in enumerate(stream_jsonl(path), 1):
        if not isinstance(record.get("step"), int):
            raise ValueError(f"{path}, line {number}, is damaged (it has no step). Mend or remove that line.")
        yield record, line


def _keep_until(step: int, path: Path) -> int:
    """Keep the lines of the steps up to `step` -> the last of them, 0 where there is none."""
    reached = 0
    if not path.exists():
        return reached
    with whole(path) as partial, partial.open("wb") as kept:
        for record, line in _with_steps(path):
            if record["step"] <= step:
                kept.write(line)
                reached = max(reached, record["step"])
    return reached


def check_saving(config: Any, steps: Callable[[], int | None]) -> None:
    """Raise ValueError where checkpoints of a `GRPOConfig` would fall between two steps that one generation serves.

    `steps` gives how many there are, None where that is not known before the data is loaded.
    """
    period = config.steps_per_generation * config.num_iterations / config.gradient_accumulation_steps
    every = config.save_steps
    if config.save_strategy != "steps" or period <= 1:
        return
    if every < 1:
        total = steps()
        if total is None:
            raise ValueError(
                f"trainer.save_steps must be a number of steps where trainer.max_steps is not set, got {every}."
            )
        every = math.ceil(total * every)
    if every % period:
        share = f" ({config.save_steps} of all)" if config.save_steps < 1 else ""
        raise ValueError(
            f"Each generation serves {period:g} steps; a run resumes only between generations. Set trainer.save_steps, "
            f"here {every:g}{share}, to a multiple of that."
        )
