"""The run folder of a training by a script: how it begins, or goes on after a checkpoint, and how it ends."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manypaths import run_folder
from manypaths.callbacks.environment import environment
from manypaths.evaluation.summary import moments
from manypaths.files import as_json, atomic_write, read_json
from manypaths.methods.wrapped import Wrapped
from manypaths.resume import drop_evaluations, rewind
from manypaths.wrapper import DiverseReward

# Arguments of a trainer that are no settings of the training.
OF_THE_RUN = ("output_dir", "run_name", "logging_dir", "report_to", "disable_tqdm", "hub_model_id", "seed")
PARTS = ("embedder", "select", "replay", "history", "importance_ratio", "skip_zero_advantage", "dynamic_sampling")


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


def settings_of(trainer: Any, state: Any) -> dict[str, Any]:
    """What is known of a training, in the form of a recipe; what is unknown is None, and code is named only.

    Args:
        trainer: A GRPO or RLOO trainer of TRL.
        state: Its state, in a training.
    """
    args = {name: value for name, value in trainer.args.to_dict().items() if name not in OF_THE_RUN}
    adapters = getattr(trainer.model, "peft_config", {})
    data = trainer.train_dataset
    rows = len(data) if hasattr(data, "__len__") else None
    reweight, advantage = method_of(trainer)
    names, weights = trainer.reward_func_names, trainer.reward_weights.tolist()
    return {
        "seed": trainer.args.seed,
        "model": {"name": getattr(trainer.model, "name_or_path", None) or None},
        "lora": {name: described(adapter.to_dict()) for name, adapter in adapters.items()} or None,
        "rewards": dict(zip(names, weights, strict=True)),
        "method": {"reweight": reweight, "advantage": advantage}
        | {part: described(getattr(trainer, part, None)) for part in PARTS}
        | {"keys": described(getattr(getattr(trainer, "inputs", None), "keys", None))},
        "data": {"rows": rows, "columns": getattr(data, "column_names", None)},
        "trainer": {"class": type(trainer).__name__, **described(args), "max_steps": state.max_steps},
    }


def method_of(trainer: Any) -> tuple[Any, Any]:
    """The reweighter and the advantage of a trainer, described; None where there is none."""
    own = [function for function in trainer.reward_funcs if isinstance(function, DiverseReward)]
    reweight = getattr(trainer, "reweight", None) or (own[0].reweight if own else None)
    return described(reweight), described(getattr(trainer, "advantage", None))


def described(value: Any) -> Any:
    """A setting for JSON: a function by its name and options, an object by its class and plain attributes."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): described(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [described(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(inner) for inner in value)
    if isinstance(value, functools.partial):
        options = ", ".join([*map(repr, map(described, value.args)), *_options(value.keywords)])
        return f"{described(value.func)}({options})"
    if isinstance(value, Wrapped):
        return f"{type(value).__name__}({described(value.__wrapped__)})"
    if hasattr(value, "__name__"):
        return str(value.__name__)
    plain = {name: inner for name, inner in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    return f"{type(value).__name__}({', '.join(_options(plain))})"


def _options(named: Mapping[str, Any]) -> list[str]:
    plain = {name: inner for name, inner in named.items() if isinstance(inner, (str, int, float, bool, type(None)))}
    return [f"{name}={inner!r}" for name, inner in plain.items()]
