"""TRL's GRPOTrainer, with one more column for reward functions: which tokens of a completion a tool wrote."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from trl import GRPOTrainer


class ToolMaskGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` whose reward functions are given `tool_mask`, where tools or an environment answered.

    For each completion a list as long as its `completion_ids`: 1 for the model's own tokens, 0 for those of tools, of
    an environment, or of what a `rollout_func` masked with `env_mask`. TRL knows it and keeps it to itself. A column of
    that name in the data stays what it is.
    """

    _tool_mask: list[list[int]] | None = None  # of the last generation, of this process

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        generated: tuple[Any, ...] = super()._generate(prompts)
        self._tool_mask = generated[2]
        return generated

    def _calculate_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        if self._tool_mask is not None:
            inputs = [{"tool_mask": mask, **row} for mask, row in zip(self._tool_mask, inputs, strict=True)]
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return rewards
