"""Settings of TRL's trainer that `manypaths train` cannot keep: refused before anything is loaded.

A run evaluates by itself, on problems of its recipe. TRL's own evaluation asks for a data set that a run does not have.
"""

from __future__ import annotations

import importlib.util
from typing import Any

OWN_EVALUATION = "A run evaluates by itself: leave it out, and set evaluation.every=STEPS."
# setting: (the values that a run keeps, in words; the values; what to do instead). YAML reads `no` as false.
WITHOUT_EVALUATION: dict[str, tuple[str, tuple[object, ...], str]] = {
    "eval_strategy": ("no", ("no", False), OWN_EVALUATION),
    "eval_on_start": ("false", (False,), "A run with an evaluation begins with it: leave it out."),
    "load_best_model_at_end": ("false", (False,), f"{OWN_EVALUATION} Checkpoints stay every trainer.save_steps."),
    "save_strategy": (
        "steps, epoch or no",
        ("steps", "epoch", "no", False),
        "Without its own evaluation TRL knows no best step.",
    ),
}
SCHEDULES_BY_EVALUATION = ("reduce_lr_on_plateau", "greedy")
PACKAGES = {"use_vllm": "vllm", "use_liger_kernel": "liger_kernel"}


def check_evaluation(trainer: dict[str, Any]) -> None:
    """Raise ValueError for a setting among `trainer`, arguments of `GRPOConfig`, that needs TRL's own evaluation."""
    for name, (words, kept, remedy) in WITHOUT_EVALUATION.items():
        if name in trainer and trainer[name] not in kept:
            raise ValueError(f"trainer.{name} must be {words}, got {trainer[name]!r}. {remedy}")
    schedule = trainer.get("lr_scheduler_type")
    if schedule in SCHEDULES_BY_EVALUATION:
        raise ValueError(
            f"trainer.lr_scheduler_type must need no evaluation by TRL, got {schedule!r}. Take linear or cosine."
        )


def check_packages(config: Any) -> None:
    """Raise ValueError where a `GRPOConfig` names a tracker, an optimizer or a backend that is not installed."""
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
