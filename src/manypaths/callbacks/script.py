"""The run folder of a training by a script: how it begins, or goes on after a checkpoint, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manypaths import run_folder
from manypaths.environment import environment
from manypaths.evaluation.summary import moments
from manypaths.files import as_json, atomic_write, read_json
from manypaths.resume import drop_evaluations, rewind
from manypaths.trl.described import settings_of


def check_trainer(name: str, trainer: Any) -> None:
    """Raise ValueError unless a callback is given a GRPO or RLOO trainer of TRL."""
    if not all(hasattr(trainer, attribute) for attribute in ("_logs", "_metrics", "reward_func_names")):
        raise ValueError(
            f"{name} must be given a GRPOTrainer or RLOOTrainer of TRL, got {type(trainer).__name__}. Make the trainer "
            f"first, then write: trainer.add_callback({name}(trainer, ...))"
        )


def begin(run: Path, trainer: Any, state: Any, distinguishing: Mapping[str, Any] | None = None) -> None:
    """Begin the records of a training, or drop those after the checkpoint from which it is resumed.

    Every process calls this. Several callbacks of one training may call it, one after another.

    Args:
        run: The folder.
        trainer: The trainer.
        state: Its state.
        distinguishing: What else distinguishes the run; None leaves what another callback wrote.

    Raises:
        ValueError: The folder has the records of another training, or a file in it is damaged.
    """
    step, accelerator = state.global_step, trainer.accelerator
    _check(run, step)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.mkdir(parents=True, exist_ok=True)
        if step:
            _resume(run, step, trained=step >= state.max_steps)
        own = read_json(run / run_folder.SCRIPT).get("script", {}) if distinguishing is None else distinguishing
        _write_settings(run, step, {**settings_of(trainer, state), "script": dict(own)})
        run_folder.write_environment(run, environment())
    accelerator.wait_for_everyone()


def _check(run: Path, step: int) -> None:
    if run_folder.is_run(run):
        raise ValueError(
            f"{str(run)!r} holds the run of a recipe, which `manypaths train` writes. Give the callback another folder."
        )
    records = any((run / name).exists() for name in (run_folder.METRICS, run_folder.GROUPS))
    if not step and (records or moments(run / run_folder.EVALUATION) - {"before"}):
        raise ValueError(
            f"{str(run)!r} holds the records of another training. Give the callback another folder, or resume that "
            "training: trainer.train(resume_from_checkpoint=True)."
        )


def _resume(run: Path, step: int, trained: bool) -> None:
    (run / run_folder.SUMMARY).unlink(missing_ok=True)
    if (run / run_folder.METRICS).exists():
        rewind(run, step, trained)
    else:
        drop_evaluations(run, step, trained)


def _write_settings(run: Path, step: int, settings: dict[str, Any]) -> None:
    """Write script.json. Where a training is resumed with other settings, the old ones stay, by their last step."""
    path, settings = run / run_folder.SCRIPT, json.loads(as_json(settings))
    old = read_json(path) if step else {}
    earlier = old.pop("until", {})
    if step and old and old != settings:
        earlier[str(step)] = old
        print(f"Note: {run} is resumed with other settings; {path} has both.", file=sys.stderr, flush=True)
    atomic_write(path, as_json({**settings, **({"until": earlier} if earlier else {})}, indent=2))


def end(run: Path, trainer: Any, state: Any) -> None:
    """Write summary.json, which says that the training came to its end."""
    if trainer.accelerator.is_main_process:
        run_folder.write_summary(run, state.global_step)
