"""TRL's GRPOTrainer, made diversity-aware by one override."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor
from trl import GRPOTrainer

from manypaths.embed import Embedder
from manypaths.rewards import text_of
from manypaths.reweight import cosine_similarity

Reweighter = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Groups:
    """The groups of the last generation, gathered over all processes, and the seconds spent on them here."""

    raw: Tensor  # [B, G] weighted sum of the reward functions; NaN where all of them gave None
    adjusted: Tensor  # [B, G]
    similarity: Tensor | None  # [B, G, G]; None without an embedder
    began: float  # time.perf_counter() when sampling was over
    seconds: dict[str, float] = field(default_factory=dict)


class DiverseGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with one change: during training, rewards are reweighted for diversity inside each group.

    The only method it overrides is `_calculate_rewards`: one more reward column, `diversity` = adjusted - raw,
    of weight 1. TRL then sums the columns to exactly the adjusted reward and does everything else as ever;
    the means of the reward functions stay raw, and so does evaluation.

    Args:
        reweight: `(rewards [B, G], similarity [B, G, G]) -> adjusted [B, G]`, such as `manypaths.mmr` or
            `functools.partial(manypaths.mmr, lam=0.7)`. None is plain GRPO, to the last bit.
        embedder: `(list[str]) -> [N, D]`, such as `manypaths.embed.SentenceEmbedder("...")`; it is given the
            completions without their prompts. Needed unless `reweight` is None; with None it only measures.
        host: everything else goes to `GRPOTrainer`.

    `groups` holds what was reweighted last. A completion for which every reward function gave None stays
    unscored: advantage 0, neighbour of nobody. Raises ValueError for a reweighter without an embedder and for
    `multi_objective_aggregation="normalize_then_sum"`, which would normalise the added column on its own.
    """

    def __init__(
        self, *host: Any, reweight: Reweighter | None = None, embedder: Embedder | None = None, **named_host: Any
    ) -> None:
        if reweight is not None and embedder is None:
            raise ValueError("A reweighter asks for an embedder; given None. Pass embedder=SentenceEmbedder(...).")
        super().__init__(*host, **named_host)
        self.reweight, self.embedder = reweight, embedder
        self.groups: Groups | None = None
        if reweight is None:
            return
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                "Reweighting asks for multi_objective_aggregation='sum_then_normalize'; given "
                f"{self.multi_objective_aggregation!r}, which would normalise the diversity column on its own."
            )
        # as TRL itself does for the reward of an environment
        self.reward_funcs: list[Any] = [*self.reward_funcs, diversity]
        self.reward_func_names: list[str] = [*self.reward_func_names, "diversity"]
        self.reward_processing_classes: list[Any] = [*self.reward_processing_classes, None]
        self.reward_weights: Tensor = torch.cat([self.reward_weights, torch.ones(1)])

    def _calculate_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        """Rewards [N, K] gathered over processes; during training the diversity column is filled in."""
        clock = [time.perf_counter()]
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if not self.model.training:
            return rewards
        clock.append(time.perf_counter())
        raw = (rewards * self.reward_weights.to(rewards.device)).nansum(1)
        raw = raw.masked_fill(rewards.isnan().all(1), torch.nan).view(-1, self.num_generations)
        similarity = None
        if self.embedder is not None:
            embeddings = gather(self.embedder([text_of(each) for each in completions]).to(rewards.device))
            similarity = cosine_similarity(embeddings.view(*raw.shape, -1))
        clock.append(time.perf_counter())
        adjusted = raw
        if self.reweight is not None and similarity is not None:
            adjusted = self.reweight(raw, similarity)
            rewards[:, self.reward_func_names.index("diversity")] = (adjusted - raw).flatten()
        clock.append(time.perf_counter())
        spent = [after - before for before, after in itertools.pairwise(clock)]
        seconds = dict(zip(("rewards", "embedding", "reweighting"), spent, strict=True))
        self.groups = Groups(raw, adjusted, similarity, clock[0], seconds)
        return rewards


def diversity(prompts: list[Any], **_: Any) -> list[None]:
    """The reward column that `DiverseGRPOTrainer` fills in; on its own it scores nothing."""
    return [None] * len(prompts)
