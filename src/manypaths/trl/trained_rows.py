"""Which completions of a micro-batch run through the model in an update, and a loss that is the same without the rest.

n completions of P prompt tokens and T completion tokens are a micro-batch of one process.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor

from manypaths.methods import has_nonzero_std
from manypaths.names import TRAINED
from manypaths.trainers import MEANS_OF_ROWS, NORMALISED_BEFORE, acts_at_advantage_0
from manypaths.trl.dynamic_sampling import DynamicSamplingGRPOTrainer

SELECTED, SHARE_SELECTED = "selected", "share_selected"  # of a micro-batch: bool [n], and a number of the whole batch
BY_TOKEN = (  # [n, T], or [n, 1] for a sequence as a whole
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "advantages",
    "old_per_token_logps",
    "ref_per_token_logps",
    "sampling_per_token_logps",
    "importance_sampling_ratio",
)
BY_ROW = ("prompt_ids", "prompt_mask")  # [n, P]
OF_BATCH = ("num_items_in_batch", SHARE_SELECTED)  # []


class TrainedRowsGRPOTrainer(DynamicSamplingGRPOTrainer):
    """`DynamicSamplingGRPOTrainer` that leaves completions without a gradient out of the update's forward pass.

    A completion has no gradient where its advantage is exactly 0, as in a zero-variance group or unscored, where it was
    not selected, and where no token of it counts (`mask_truncated_completions`). The others are cut to the longest of
    them, and the loss is divided as if all were there. Loss and gradient are equal to those of the whole micro-batch to
    rounding, but for dropout, which draws other random numbers.

    Every process runs as many rows as the one that needs most, and one at least, because processes gather and reduce in
    step: rows without a gradient fill up, with no token that counts. So a step takes as long as its fullest process.

    Args:
        skip_zero_advantage: False: all rows are run. True: refused where it is not exact, see
            `manypaths.trainers.acts_at_advantage_0`. None: where it is exact, and a line in the log says where it is
            not.
        host: the arguments of `DynamicSamplingGRPOTrainer`.

    Raises:
        ValueError: for True where skipping is not exact; while training, for images and other media.

    TRL's metrics of the update (`entropy`, `clip_ratio/...`) are means over the completions that are run. A metric of
    this class, by step, where rows may be left out:
        update/trained: the share of completions that are run for their gradient.
    """

    def __init__(self, *host: Any, skip_zero_advantage: bool | None = False, **named_host: Any) -> None:
        args = named_host.get("args", host[2] if len(host) > 2 else None)
        reason = None if args is None else acts_at_advantage_0(args)  # before the model is loaded
        _refuse(skip_zero_advantage, reason)
        super().__init__(*host, **named_host)
        if self.aux_loss_enabled:
            reason = reason or "the model's router loss"
            _refuse(skip_zero_advantage, reason)
        if skip_zero_advantage is None and reason is not None and self.accelerator.is_main_process:
            logging.getLogger(__name__).warning(
                f"Completions with advantage 0 are run through the model, because {reason} acts on them too."
            )
        self.skip_zero_advantage = reason is None if skip_zero_advantage is None else skip_zero_advantage
        self.own_metrics.add(TRAINED)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if not self.model.training or not (self.skip_zero_advantage or SELECTED in inputs):
            whole: Tensor = super()._compute_loss(model, inputs)
            return whole
        needed = self._needed(inputs)
        counts = gather(torch.stack([needed.sum(), torch.tensor(len(needed), device=needed.device)]))
        of_processes = counts.view(-1, 2).tolist()
        most = max(1, *(needed_there for needed_there, _ in of_processes))
        trained, rows = (sum(column) for column in zip(*of_processes, strict=True))
        kept, factor = only_rows(inputs, needed, most, self.loss_type)
        logged = {name: len(values) for name, values in self._metrics["train"].items()}
        loss: Tensor = super()._compute_loss(model, kept) * factor
        if trained == 0:  # TRL's metrics are of no token; NaN counts for no mean in the log
            for name, values in self._metrics["train"].items():
                values[logged.get(name, 0) :] = [math.nan] * (len(values) - logged.get(name, 0))
        self._metrics["train"][TRAINED].append(trained / rows)
        return loss

    def _needed(self, inputs: dict[str, Any]) -> Tensor:
        """Which rows have a gradient: bool [n]."""
        needed = _counted(inputs).any(1)
        if SELECTED in inputs:
            needed = needed & inputs[SELECTED]
        if self.skip_zero_advantage:
            advantages = inputs["advantages"]
            needed = needed & (advantages.view(len(advantages), -1) != 0).any(1)
        return needed


def only_rows(
    inputs: dict[str, Any], needed: Tensor, most: int, loss_type: str
) -> tuple[dict[str, Any], float | Tensor]:
    """The micro-batch of `most` rows, among them those that are needed, and the factor that its loss lacks.

    Args:
        inputs: of `_compute_loss`, by name.
        needed: bool [n], of which at most `most` are True.
        most: 1 to n; rows that are not needed fill up, with no token that counts.
        loss_type: TRL's.

    Raises:
        ValueError: for an input that is not of text alone.
    """
    chosen = needed.int().argsort(descending=True, stable=True)[:most].sort().values
    counted, own = _counted(inputs), needed[chosen]
    longest = max(1, int((inputs["completion_mask"] * needed.unsqueeze(1)).sum(1).max()))
    kept = {name: inputs[name] for name in OF_BATCH if name in inputs}
    width = inputs["completion_ids"].shape[1]
    for name in {*inputs} - {*OF_BATCH, SELECTED}:
        if name not in (*BY_TOKEN, *BY_ROW):
            raise ValueError(
                f"A training that leaves completions out of the update must be of text alone, got {name}. Set "
                "skip_zero_advantage=False, and select no completions."
            )
        rows = inputs[name][chosen]
        is_by_token = name in BY_TOKEN and rows.dim() == 2 and rows.shape[1] == width
        kept[name] = rows[:, :longest] if is_by_token else rows
    kept["completion_mask"] = kept["completion_mask"] * own.unsqueeze(1)
    if loss_type in NORMALISED_BEFORE:
        return kept, 1.0
    if loss_type in MEANS_OF_ROWS:
        return kept, len(chosen) / (len(needed) * float(inputs.get(SHARE_SELECTED, 1.0)))
    selected = inputs.get(SELECTED, torch.ones_like(needed)).unsqueeze(1)
    return kept, _counted(kept).sum().clamp(min=1) / (counted * selected).sum().clamp(min=1)


def _counted(inputs: dict[str, Any]) -> Tensor:
    """Which tokens of the completions count in the loss, 0 or 1: [n, T]."""
    mask: Tensor = inputs["completion_mask"]
    return mask * inputs["tool_mask"] if "tool_mask" in inputs else mask


def zero_in_flat_groups(advantages: Tensor, adjusted: Tensor) -> Tensor:
    """GRPO's advantages [N] with exactly 0 where all scored rewards of a group, adjusted [B, G], are equal.

    There they are 0 but for the rounding of the group's mean, which TRL divides by 1e-4: up to about 0.002 in float32.
    """
    return advantages.view_as(adjusted).masked_fill(~has_nonzero_std(adjusted).unsqueeze(1), 0.0).flatten()


def _refuse(skip: bool | None, reason: str | None) -> None:
    if skip and reason is not None:
        raise ValueError(
            f"skip_zero_advantage must be False here, got True: {reason} acts on completions with advantage 0, too. "
            "Leave it out, or train without that."
        )
