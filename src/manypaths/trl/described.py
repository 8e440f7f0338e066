"""The settings of a trainer of TRL, described in the form of a recipe."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from manypaths.credentials import HIDDEN, is_credential
from manypaths.methods.wrapped import Wrapped
from manypaths.wrapper import DiverseReward

# Arguments of a trainer that are no settings of the training.
OF_THE_RUN = ("output_dir", "run_name", "logging_dir", "report_to", "disable_tqdm", "hub_model_id", "seed")
PARTS = ("embedder", "select", "replay", "history", "importance_ratio", "skip_zero_advantage", "dynamic_sampling")


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
    """A setting for JSON: a function by its name and options, an object by its class and plain attributes.

    Credentials are left out: script.json and the model card are published.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): HIDDEN if is_credential(key, own) else described(own) for key, own in value.items()}
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
    return [f"{name}={HIDDEN if is_credential(name, inner) else repr(inner)}" for name, inner in plain.items()]
