"""How much a run samples and updates, from its recipe alone: steps, generations, completions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from manypaths import problems
from manypaths.sections import Recipe

# The defaults of TRL's GRPOConfig, so that a page needs no TRL; a test compares them.
DEFAULTS: dict[str, Any] = yaml.safe_load("""{
  per_device_train_batch_size: 8, gradient_accumulation_steps: 1, steps_per_generation: null, num_iterations: 1,
  generation_batch_size: null, num_generations: 8, max_completion_length: 512, max_steps: -1, num_train_epochs: 3.0,
  save_strategy: steps, save_steps: 500, loss_type: dapo, scale_rewards: group, beta: 0.0, epsilon: 0.2,
  epsilon_high: null, use_bias_correction_kl: true, learning_rate: 1.0e-6, lr_scheduler_type: linear,
  lr_scheduler_kwargs: null, warmup_steps: 0, max_grad_norm: 1.0, optim: adamw_torch_fused, temperature: 1.0,
  bf16: true, fp16: false, gradient_checkpointing: true, use_vllm: false, vllm_mode: colocate,
  vllm_gpu_memory_utilization: 0.3, vllm_max_model_length: null, vllm_enable_sleep_mode: false,
  vllm_importance_sampling_correction: true}""")

BATCH_COUNTS = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")


@dataclass(frozen=True)
class Workload:
    """How much a run samples and updates; None is unknown."""

    per_device: int  # per_device_train_batch_size
    accumulation: int  # gradient_accumulation_steps
    per_generation: int  # steps_per_generation
    iterations: int  # num_iterations
    group: int  # num_generations
    processes: int
    problems: int | None = None
    steps: int | None = None

    @property
    def step(self) -> int:
        """Completions of one optimiser step."""
        return self.per_device * self.accumulation * self.processes

    @property
    def generation(self) -> int:
        """Completions of one generation batch."""
        return self.per_device * self.per_generation * self.processes

    @property
    def updates(self) -> float:
        """Optimiser steps that one generation batch serves."""
        return self.per_generation * self.iterations / self.accumulation

    @property
    def on_policy(self) -> bool:
        """Whether every completion serves a single optimiser step; TRL then takes the policy itself as pi_old."""
        return self.accumulation % (self.per_generation * self.iterations) == 0

    @property
    def epoch(self) -> int | None:
        """Device batches of an epoch of `problems`; TRL leaves out what fills no generation batch."""
        if self.problems is None or self.generation < self.group:
            return None
        batches = self.problems // (self.generation // self.group)
        return batches * self.iterations * self.per_generation or None

    @property
    def generations(self) -> int:
        """Generation batches of all steps; the last step of an epoch may be a short one."""
        batches = (self.steps or 0) * self.accumulation
        if self.epoch is not None:
            epochs, remaining_steps = divmod(self.steps or 0, -(-self.epoch // self.accumulation))
            batches = epochs * self.epoch + min(remaining_steps * self.accumulation, self.epoch)
        return -(-batches // (self.per_generation * self.iterations))


def check_counts(settings: Mapping[str, Any], *names: str) -> None:
    """Check that these settings of the trainer are 1 or more; raises ValueError otherwise."""
    for name in names:
        if settings[name] is None or settings[name] < 1:
            raise ValueError(f"trainer.{name} must be 1 or more, got {settings[name]}. Set it, or leave it out.")


def workload(spec: Recipe, processes: int = 1) -> Workload:
    """The counts of a run.

    Args:
        spec: the recipe. Its steps are known where it sets max_steps, or where its problems are on this machine.
        processes: training processes.

    Returns:
        The counts.

    Raises:
        ValueError: a count is below 1.
    """
    settings = {**DEFAULTS, **spec.trainer}
    if settings["steps_per_generation"] is None:
        batch, per_step = settings["generation_batch_size"], settings["per_device_train_batch_size"] * processes
        settings["steps_per_generation"] = (
            batch // max(1, per_step) if batch else settings["gradient_accumulation_steps"]
        )
    check_counts(settings, *BATCH_COUNTS, "num_generations", "max_completion_length")
    if processes < 1:
        raise ValueError(f"--processes must be 1 or more, got {processes}. Leave it out for 1.")
    here = problems.is_here(spec.problems.name)
    size = len(problems.load(**vars(spec.problems))) if here else None
    per_device, accumulation, per_generation, iterations = (settings[name] for name in BATCH_COUNTS)
    group = settings["num_generations"]
    run = Workload(per_device, accumulation, per_generation, iterations, group, processes, size)
    steps = settings["max_steps"] if settings["max_steps"] > 0 else None
    if steps is None and run.epoch is not None:
        steps = math.ceil(settings["num_train_epochs"] * -(-run.epoch // run.accumulation))
    return dataclasses.replace(run, steps=steps)


def passed_over(spec: Recipe, run: Workload) -> str:
    """Which prompts a step passes over before it samples, and how often a run sees each."""
    own = spec.history
    if own.target is None:
        return "none"
    which = (
        f"prompts that were all right or all wrong lately by {spec.method.correct} are passed over before sampling, "
    )
    rates = f"exploration rates start at {own.explore:g} and move by {own.step:g} a generation"
    seen = ""
    if run.problems and run.steps is not None:
        times = run.generations * run.generation / run.group / run.problems
        least = "at least " * (spec.dynamic_sampling.reward is not None)
        seen = (
            f". The run samples each prompt {least}{times:.2g} times on average; at the first time none is passed over"
        )
    return f"{which}aiming at {own.target:.0%} of such groups; {rates}{seen}"
