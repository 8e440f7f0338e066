"""Settings of TRL's trainer that a run refuses before it loads a model.

`check_kept` refuses what a run cannot keep: it loads its model and evaluates by itself, and TRL's own evaluation needs
a data set that a run does not have. `check_values` and `check_packages` refuse what TRL would refuse only in its first
step, with the model loaded: misspelt words, impossible numbers, packages that are missing.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable
from typing import Any

from manypaths.names import nearest

OWN_EVALUATION = "A run evaluates by itself: leave it out, and set evaluation.every=STEPS."
# setting: (the values that a run keeps, described; those values; what to do instead). YAML reads `no` as false.
KEPT: dict[str, tuple[str, tuple[object, ...], str]] = {
    "eval_strategy": ("no", ("no", False), OWN_EVALUATION),
    "eval_on_start": ("false", (False,), "A run with an evaluation begins with it: leave it out."),
    "load_best_model_at_end": ("false", (False,), f"{OWN_EVALUATION} Checkpoints stay every trainer.save_steps."),
    "save_strategy": (
        "steps, epoch or no",
        ("steps", "epoch", "no", False),
        "Without its own evaluation TRL finds no best step.",
    ),
    "hub_token": (
        "left out",
        (None,),
        "It would stand in recipe.yaml, which is published. Log in with `hf auth login`, or set HF_TOKEN.",
    ),
    "model_init_kwargs": ("left out", (None, {}), "A run loads the model itself: see the section model of a recipe."),
}
SECRET = ("hub_token",)  # settings whose values are not printed
SCHEDULES_BY_EVALUATION = ("reduce_lr_on_plateau", "greedy")
NAMES = ("loss_type", "scale_rewards", "importance_sampling_level", "multi_objective_aggregation", "vllm_mode")
# setting of sampling: (the values that TRL's generation takes, described; whether a value is one of them)
BOUNDS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "temperature": ("more than 0", lambda value: value > 0),
    "max_completion_length": ("1 or more", lambda value: value >= 1),
    "top_p": ("more than 0, and 1 or less", lambda value: 0 < value <= 1),
    "top_k": ("0, which is off, or more", lambda value: value >= 0),
    "min_p": ("0 to 1", lambda value: 0 <= value <= 1),
    "repetition_penalty": ("more than 0", lambda value: value > 0),
}
PACKAGES = {"use_vllm": "vllm", "use_liger_kernel": "liger_kernel"}


def check_kept(trainer: dict[str, Any]) -> None:
    """Refuse settings that a run would not keep.

    Args:
        trainer: arguments of `GRPOConfig`.

    Raises:
        ValueError: names the setting, its value, and what to set instead.
    """
    for name, (described, kept, remedy) in KEPT.items():
        if name in trainer and trainer[name] not in kept:
            value = "one" if name in SECRET else repr(trainer[name])
            raise ValueError(f"trainer.{name} must be {described}, got {value}. {remedy}")
    schedule = trainer.get("lr_scheduler_type")
    if schedule in SCHEDULES_BY_EVALUATION:
        raise ValueError(
            f"trainer.lr_scheduler_type must need no evaluation by TRL, got {schedule!r}. Take linear or cosine."
        )


def check_values(config: Any) -> None:
    """Refuse values that TRL would refuse only once it trains.

    TRL lists the names that a setting may have nowhere but in its trainer's code, where they are compared; a name that
    the source does not contain is therefore unknown to it.

    Args:
        config: a `GRPOConfig`.

    Raises:
        ValueError: names the setting and its value.
    """
    import torch
    from transformers import GenerationConfig, get_scheduler
    from trl.trainer import grpo_trainer

    source = inspect.getsource(grpo_trainer)
    for name in NAMES:
        if isinstance(value := getattr(config, name), str) and f'"{value}"' not in source:
            near = nearest(value, re.findall(r'"([a-z_]+)"', source))
            raise ValueError(f"trainer.{name} must be a name that TRL accepts, got {value!r}. {near}")
    for name, (described, fits) in BOUNDS.items():
        value = getattr(config, name)
        if value is not None and not fits(value):
            raise ValueError(f"trainer.{name} must be {described}, got {value}. Set another, or leave it out.")
    if config.max_steps == 0 or (config.max_steps < 0 and config.num_train_epochs <= 0):
        raise ValueError(
            f"A training must have a step, got trainer.max_steps {config.max_steps} and trainer.num_train_epochs "
            f"{config.num_train_epochs}. Set one of them above 0."
        )
    try:
        GenerationConfig(do_sample=True, cache_implementation=config.cache_implementation)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.learning_rate)
        get_scheduler(config.lr_scheduler_type, optimizer, 0, 2, scheduler_specific_kwargs=config.lr_scheduler_kwargs)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The trainer settings cannot be used: {error}. Change that setting, or leave it out."
        ) from error


def check_packages(config: Any) -> None:
    """Refuse a tracker, an optimizer or a backend that is not installed.

    Args:
        config: a `GRPOConfig`.

    Raises:
        ValueError: names the setting and the package.
    """
    from transformers import Trainer

    for name, package in PACKAGES.items():
        if getattr(config, name) and importlib.util.find_spec(package) is None:
            raise ValueError(f"trainer.{name} must be false without the package {package}, got true. Install it.")
    _check_trackers(config.report_to)
    try:
        Trainer.get_optimizer_cls_and_kwargs(config)
    except ImportError as error:
        raise ValueError(
            f"trainer.optim must name an optimizer that is installed, got {config.optim.value!r}: {error} "
            "Install it, or choose another, such as adamw_torch."
        ) from error


def _check_trackers(trackers: list[str]) -> None:
    from transformers import integrations

    installed = integrations.get_available_reporting_integrations()
    installed += ["azure_ml"] * integrations.is_azureml_available() + ["flyte"] * integrations.is_flytekit_available()
    for tracker in trackers:
        try:
            integrations.get_reporting_integration_callbacks([tracker])
        except ValueError as error:
            raise ValueError(
                f"trainer.report_to must name a tracker of transformers, got {tracker!r}: {error}"
            ) from error
        if tracker not in installed:
            raise ValueError(
                f"trainer.report_to must name a tracker that is installed ({', '.join(installed) or 'none is'}), got "
                f"{tracker!r}. Install its package, or leave report_to out."
            )
