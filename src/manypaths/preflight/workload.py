"""How much a run samples and updates, from its recipe alone: steps, generations, completions."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import yaml

from manypaths import problems
from manypaths.recipe import Recipe

# What GRPOConfig takes for keys that a recipe leaves out.
DEFAULTS: dict[str, Any] = yaml.safe_load("""{
  per_device_train_batch_size: 8, gradient_accumulation_steps: 1, steps_per_generation: null, num_iterations: 1,
  generation_batch_size: null, num_generations: 8, max_completion_length: 512, max_steps: -1, num_train_epochs: 3.0,
  save_strategy: steps, save_steps: 500, loss_type: dapo, scale_rewards: group, beta: 0.0, epsilon: 0.2,
  epsilon_high: null, use_bias_correction_kl: true, learning_rate: 1.0e-6, lr_scheduler_type: linear,
  lr_scheduler_kwargs: null, warmup_steps: 0, max_grad_norm: 1.0, optim: adamw_torch_fused, temperature: 1.0,
  bf16: true, fp16: false, gradient_checkpointing: true, use_vllm: false, vllm_mode: colocate,
  vllm_gpu_memory_utilization: 0.3, vllm_max_model_length: null, vllm_enable_sleep_mode: false,
  vllm_importance_sampling_correction: true}""")


@dataclass(frozen=True)
class Workload:
    """How much a run samples and updates; its first fields are TRL's arguments. None is unknown."""

    per_device: int
    accumulation: int
    per_generation: int
    iterations: int
    group: int
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
        """Whether no answer outlives an optimiser step; TRL then takes the policy itself as pi_old."""
        return self.accumulation % (self.per_generation * self.iterations) == 0

    @property
    def epoch(self) -> int | None:
        """Device batches of an epoch of `problems`; TRL leaves out what fills no generation batch."""
        known = self.problems is not None and self.generation >= self.group
        whole = (self.problems or 0) // (self.generation // self.group) if known else 0
        return whole * self.iterations * self.per_generation or None

    @property
    def generations(self) -> int:
        """Generation batches of all steps; the last step of an epoch may be a short one."""
        batches = (self.steps or 0) * self.accumulation
        if self.epoch is not None:
            epochs, rest = divmod(self.steps or 0, -(-self.epoch // self.accumulation))
            batches = epochs * self.epoch + min(rest * self.accumulation, self.epoch)
        return -(-batches // (self.per_generation * self.iterations))


def workload(spec: Recipe, processes: int = 1) -> Workload:
    """What a recipe amounts to; steps ask for max_steps or for problems that are here. ValueError for a count of 0."""
    had = {**DEFAULTS, **spec.trainer}
    if had["steps_per_generation"] is None:
        whole, once = had["generation_batch_size"], had["per_device_train_batch_size"] * processes
        had["steps_per_generation"] = whole // max(1, once) if whole else had["gradient_accumulation_steps"]
    counts = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
    for name in (*counts, "num_generations", "max_completion_length"):
        if had[name] is None or had[name] < 1:
            raise ValueError(f"trainer.{name} asks for 1 or more; given {had[name]}.")
    if processes < 1:
        raise ValueError(f"--processes asks for 1 or more; given {processes}.")
    per_device, accumulation, per_generation, iterations = (had[name] for name in counts)
    found = Workload(per_device, accumulation, per_generation, iterations, had["num_generations"], processes)
    name, steps = spec.problems.name, had["max_steps"] if had["max_steps"] > 0 else None
    if problems.is_here(name):
        found = dataclasses.replace(found, problems=len(problems.load(**vars(spec.problems))))
    if steps is None and found.epoch is not None:
        steps = math.ceil(had["num_train_epochs"] * -(-found.epoch // found.accumulation))
    return dataclasses.replace(found, steps=steps)
