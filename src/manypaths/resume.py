"""From which checkpoint a run is resumed: the newest complete, undamaged one; and what that drops: later records."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manypaths import results
from manypaths.checkpoint import damaged_file
from manypaths.files import as_json, atomic_write, read_json, whole
from manypaths.run_folder import COUNTS, EVALUATION, GROUPS, METRICS, SUMMARY, checkpoints, lines_with_steps, step_of

STATE = "trainer_state.json"  # written last
DAMAGED = "damaged-"  # prefix of the name of a checkpoint from which no run is resumed


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint from which a run can be resumed."""

    folder: Path
    step: int
    finished: bool  # whether the training had reached its last step


def last_checkpoint(run: Path, say: Callable[[str], None] = print) -> Checkpoint | None:
    """The newest checkpoint of a run that is complete and undamaged; None where there is none.

    A newer checkpoint that was not written to its end is removed, a damaged one is renamed. Otherwise the run would
    later write over them, and if it were killed then, new weights would lie beside an old optimizer state.

    Args:
        run: The folder of the run.
        say: Called with a sentence for each newer checkpoint that cannot be used.

    Raises:
        ValueError: The checkpoints hold weights alone; a run resumed from them would differ from an uninterrupted one.
    """
    for folder in reversed(checkpoints(run)):
        state = _state(folder)
        complaint = _complaint(folder, state)
        if state is not None and complaint is None:
            step = state["global_step"]
            return Checkpoint(folder, step, finished=step >= state.get("max_steps", math.inf))
        say(f"{folder} cannot be resumed from: {complaint}. The checkpoint before it, or the start, is used.")
        if state is None:
            shutil.rmtree(folder)
        else:
            _rename(folder)
    return None


def _state(folder: Path) -> dict[str, Any] | None:
    """The state that the trainer writes last into a checkpoint; None where it is missing or incomplete."""
    try:
        state = read_json(folder / STATE)
    except ValueError:
        return None
    return state if isinstance(state.get("global_step"), int) else None


def _complaint(folder: Path, state: dict[str, Any] | None) -> str | None:
    """Why a run cannot be resumed from a checkpoint: a file that is missing or damaged; None where it can."""
    if state is None:
        return f"{STATE} is {'damaged' if (folder / STATE).exists() else 'missing'}"
    if (damaged := damaged_file(folder)) is not None:
        return damaged
    names = {path.name for path in folder.iterdir()}
    in_shards = any(name.startswith(("global_step", "pytorch_model_fsdp")) for name in names)  # DeepSpeed, FSDP
    required = set() if in_shards else {"scheduler.pt", "optimizer.pt"}
    random = [name for name in names if name.startswith("rng_state")]
    if not in_shards and not random and not required & names:
        raise ValueError(
            f"{folder} holds weights alone (trainer.save_only_model), from which no run can be resumed. Train again "
            "without it in another --out."
        )
    ranks = ["rng_state.pth"] if len(random) < 2 else [f"rng_state_{rank}.pth" for rank in range(len(random))]
    missing = sorted({*required, *ranks} - names)
    if not in_shards and not any("model" in name and name.endswith((".safetensors", ".bin")) for name in names):
        missing.append("adapter_model.safetensors" if "adapter_config.json" in names else "model.safetensors")
    return f"{missing[0]} is missing" if missing else None


def _rename(folder: Path) -> None:
    target, number = folder.with_name(DAMAGED + folder.name), 1
    while target.exists():
        target, number = folder.with_name(f"{DAMAGED}{folder.name}-{number}"), number + 1
    folder.rename(target)


def rewind(run: Path, step: int, trained: bool = False) -> None:
    """Drop what was recorded after a checkpoint, because those steps will run again.

    Args:
        run: The folder of the run.
        step: The step of the checkpoint; 0 drops everything but the evaluation before training.
        trained: Whether that is the last step, so that the evaluation after training remains.

    Raises:
        ValueError: metrics.jsonl ends before the checkpoint, or a file is damaged.
    """
    reached = _keep_until(step, run / METRICS)
    _keep_until(step, run / GROUPS)
    if reached < step:  # the line of a step is on the disk before its checkpoint
        raise ValueError(
            f"{run / METRICS} must reach step {step}, of which there is a checkpoint, got {reached}: lines are "
            "lost. Restore the file from a copy, or train again in another --out."
        )
    drop_evaluations(run, step, trained)


def drop_evaluations(run: Path, step: int, trained: bool = False) -> None:
    """Drop the evaluations after a checkpoint. Arguments as of `rewind`; raises ValueError for a damaged file."""
    folder = run / EVALUATION
    late = [path for path in folder.glob("step-*.jsonl*") if (step_of(_when(path), "step-") or 0) > step]
    late += [] if trained else sorted(folder.glob("after.jsonl*"))
    dropped = {_when(path) for path in late}
    written = [name for name in (SUMMARY, COUNTS, results.SHARES) if (folder / name).exists()]
    for name in written if late else ():
        kept = {when: entry for when, entry in read_json(folder / name).items() if when not in dropped}
        atomic_write(folder / name, as_json(kept, indent=2 if name == SUMMARY else None))
    for path in late:
        path.unlink()


def _when(path: Path) -> str:
    """before, step-N or after, of a file of evaluation/ such as step-3.jsonl.part1."""
    return path.name.split(".")[0]


def _keep_until(step: int, path: Path) -> int:
    """Keep the lines of the steps up to `step` -> the last of these steps, 0 where there is none."""
    reached = 0
    if not path.exists():
        return reached
    with whole(path) as partial, partial.open("wb") as kept:
        for content, line in lines_with_steps(path):
            if content["step"] <= step:
                kept.write(line)
                reached = max(reached, content["step"])
    return reached
