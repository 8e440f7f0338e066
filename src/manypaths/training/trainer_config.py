"""TRL's configuration of a run, from the sections `trainer` and `lora` of a recipe, checked before all else."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from trl import GRPOConfig

from manypaths.preflight import trainer_settings
from manypaths.preflight.workload import BATCH_COUNTS, check_counts, workload
from manypaths.run_folder import CHECKPOINTS
from manypaths.sections import Recipe
from manypaths.typed import check_arguments

SET_BY_THE_RUN = ("output_dir", "seed", "reward_weights", "remove_unused_columns", "resume_from_checkpoint")


def trainer_config(spec: Recipe, out: Path) -> GRPOConfig:
    """The configuration of TRL's trainer.

    Args:
        spec: The recipe of the run.
        out: The folder of the run.

    Raises:
        ValueError: A setting is unknown, of a wrong type or out of its range, or TRL refuses it, or a run would not
            keep it.
    """
    check_arguments(GRPOConfig, spec.trainer, "trainer.", SET_BY_THE_RUN)
    trainer_settings.check_kept(spec.trainer)
    size, processes = spec.trainer.get("num_generations", 8), int(os.environ.get("WORLD_SIZE", "1"))
    if size is None or size < 2:
        raise ValueError(
            f"trainer.num_generations must be 2 or more, got {size}: a group needs completions to compare. Set it to 4 "
            "or 8."
        )
    settings: dict[str, Any] = {"logging_steps": 1, "report_to": "none", "disable_tqdm": True}
    settings |= {"use_cpu": not torch.accelerator.is_available(), **spec.trainer}
    if settings.get("push_to_hub"):
        settings.setdefault("hub_model_id", out.resolve().name)  # TRL's default is the name of the folder checkpoints
    if processes > 1 and settings["use_cpu"]:
        settings.setdefault("ddp_backend", "gloo")
    settings = {  # YAML reads `no` as false
        key: "no" if key.endswith("_strategy") and value is False else value for key, value in settings.items()
    }
    settings |= {"output_dir": str(out / CHECKPOINTS), "seed": spec.seed}
    settings |= {"reward_weights": list(spec.rewards.values())}
    try:
        config = GRPOConfig(**settings)
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        remedy = (
            " A batch must hold whole groups: per_device_train_batch_size x gradient_accumulation_steps x devices must "
            f"be a multiple of trainer.num_generations (here {size})."
        )
        advice = remedy if "generation_batch_size" in str(error) else ""
        raise ValueError(f"TRL refuses the trainer settings: {error}{advice}") from error
    check_counts(vars(config), *BATCH_COUNTS)
    check_saving(config, lambda: workload(spec, processes).steps)
    return config


def lora_config(spec: Recipe) -> LoraConfig | None:
    """PEFT's configuration; None where a recipe trains all weights. Raises ValueError for an unknown setting."""
    if spec.lora is None:
        return None
    check_arguments(LoraConfig, spec.lora, "lora.")
    return LoraConfig(**{"task_type": "CAUSAL_LM", **spec.lora})


def check_saving(config: GRPOConfig, steps: Callable[[], int | None]) -> None:
    """Check that no checkpoint falls between two steps that one generation serves, where no run could resume.

    Args:
        config: The configuration of the trainer.
        steps: Gives the number of steps of the training, None where that depends on the data.

    Raises:
        ValueError: A checkpoint would fall between such steps.
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
