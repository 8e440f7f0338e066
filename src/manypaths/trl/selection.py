"""Training on some completions of each group in TRL's trainer; the rules that select them are pure functions."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from manypaths.methods import Selection
from manypaths.methods.bind import bind_selection
from manypaths.trl.trained_rows import SELECTED, SHARE_SELECTED, TrainedRowsGRPOTrainer


class SelectionGRPOTrainer(TrainedRowsGRPOTrainer):
    """`TrainedRowsGRPOTrainer` whose update is that of the selected completions, as if no others had been sampled.

    Those that are left out are unscored for TRL and for the methods: means, deviations and similarities are those of
    the selected ones among themselves. The loss is divided by the number of selected completions, or of their tokens,
    and the others are not run through the model. With several micro-batches the mean over completions is over all
    selected ones of the generation, wherever TRL's shuffling puts them; `bnpo` stays a mean over the tokens of each
    micro-batch. Terms of the loss beside the advantages, such as KL, are of the selected completions, too.

    TRL's metrics of rewards and lengths, the log of completions and the banks of replay are of all completions that
    were sampled; rewards are raw there, as with dynamic sampling.

    Args:
        select: a rule with its count, as `bind_selection` makes it; None: all completions are trained on.
        host: the arguments of `TrainedRowsGRPOTrainer`.
    """

    def __init__(self, *host: Any, select: functools.partial[Tensor] | None = None, **named_host: Any) -> None:
        super().__init__(*host, **named_host)
        self.select = select
        self._selected: Tensor | None = None  # bool [N] of all processes, of the generation at work
        self._before_selection: Tensor | None = None  # its rewards [N, K]

    def leave_out(self, rewards: Tensor, selected: Tensor) -> Tensor:
        """Rewards [N, K] of all processes, None in every column where a completion is not selected, bool [B, G]."""
        self._before_selection, self._selected = rewards, selected.flatten().to(rewards.device)
        return rewards.masked_fill(~self._selected.unsqueeze(1), torch.nan)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        self._selected = self._before_selection = None
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self._selected is None or self._before_selection is None:
            return output
        for name, column in zip(self.reward_func_names, self._before_selection.unbind(1), strict=False):
            self._logs["rewards"][name].extend(column.tolist())  # behind TRL's, which the log then drops
        first = self.accelerator.process_index * len(inputs)
        own = self._selected[first : first + len(inputs)]
        counted = output["completion_mask"] * output.get("tool_mask", 1) * own.unsqueeze(1)
        share = self._selected.float().mean().clamp(min=1 / len(self._selected))
        output |= {SELECTED: own, SHARE_SELECTED: share}
        return output | {"num_items_in_batch": self.accelerator.gather(counted.sum()).sum()}

    def _rewards_sampled(self) -> Tensor | None:
        sampled = super()._rewards_sampled()
        return self._before_selection if sampled is None else sampled


def selection_of(select: tuple[int, str | Selection] | None) -> functools.partial[Tensor] | None:
    """The rule of the trainer's argument `select`, (count, rule), with its count bound; None for None.

    Raises:
        ValueError: for what is no such pair, and as `bind_selection`.
    """
    if select is None:
        return None
    if not isinstance(select, tuple) or len(select) != 2:
        raise ValueError(f"select must be (count, rule), such as (4, 'mmr'), got {select!r}.")
    count, rule = select
    return bind_selection(rule, count, {}, "select")
