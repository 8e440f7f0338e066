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
