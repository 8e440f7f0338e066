"""TRL's GRPOTrainer with one more column for reward functions: `tool_mask`, the model's own tokens."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from trl import GRPOTrainer


class ToolMaskGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` that passes `tool_mask` to its reward functions if tools or an environment wrote tokens.

    `tool_mask` holds a list per completion, as long as its `completion_ids`: 1 for the model's own tokens, 0 for tokens
    of tools, of an environment, or those that a `rollout_func` masked with `env_mask`. TRL computes it but does not
    pass it on. A column of that name in the data takes precedence.
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
