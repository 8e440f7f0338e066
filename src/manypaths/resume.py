"""From which checkpoint a run is resumed: the newest one that is complete and undamaged."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manypaths.checkpoint import damaged_file
from manypaths.files import read_json
from manypaths.run_folder import checkpoints

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
