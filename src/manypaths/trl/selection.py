"""Training on some completions of each group in TRL's trainer; the rules that select them are pure functions."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from manypaths.methods import Selection
from manypaths.methods.bind import bind_selection
from manypaths.trainers import NORMALISED_BEFORE, check_selection
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

    Raises:
        ValueError: as `manypaths.trainers.check_selection` does, and for a router loss where that refuses an entropy
            bonus.
    """

    def __init__(self, *host: Any, select: functools.partial[Tensor] | None = None, **named_host: Any) -> None:
        args = named_host.get("args", host[2] if len(host) > 2 else None)
        if select is not None and args is not None:
            check_selection(args, select.keywords["count"])  # before the model is loaded
        super().__init__(*host, **named_host)
        if select is not None and self.aux_loss_enabled and self.loss_type not in NORMALISED_BEFORE:
            raise ValueError(
                f"select must be left out with loss_type={self.loss_type!r} and a model with a router loss, got both. "
                f"Set loss_type to one of {', '.join(NORMALISED_BEFORE)}, or the model's output_router_logits=False."
            )
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

    def rewards_sampled(self) -> Tensor | None:
        sampled = super().rewards_sampled()
        return self._before_selection if sampled is None else sampled


def among_selected(inputs: dict[str, Tensor], trained: Tensor) -> dict[str, Tensor]:
    """The inputs of a method where rewards [B, G] are NaN for completions that are left out: these have no verdict."""
    verdicts = {name: inputs[name].masked_fill(trained.isnan(), torch.nan) for name in ("correct",) if name in inputs}
    return inputs | verdicts | {"rewards": trained}


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
