"""TRL's GRPOTrainer, made diversity-aware: one small override for each idea."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOConfig

from manypaths.advantage import Advantage
from manypaths.diversity import measures, weight_on_reward
from manypaths.dynamic_sampling import DynamicSamplingGRPOTrainer
from manypaths.embed import Embedder, keys_of, same_for_copies
from manypaths.messages import text_of
from manypaths.reweight import Reweighter, cosine_similarity

WITHOUT_RATIO: dict[str, tuple[object, ...]] = {
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo"),  # the others bring a ratio or a weight of their own
    "importance_sampling_level": ("token",),
    "off_policy_mask_threshold": (None,),
    "delta": (None,),
}

PARTS = ("sampling", "rewards", "embedding", "reweighting", "update")  # of a step, in their order


@dataclass
class Groups:
    """The groups of the last generation, gathered over all processes."""

    raw: Tensor  # [B, G] weighted sum of the reward functions; NaN where all of them gave None
    adjusted: Tensor  # [B, G]
    similarity: Tensor | None  # [B, G, G]; None without an embedder
    lam: Tensor | None  # [B] weight on the reward; None without a reweighter that has one


class DiverseGRPOTrainer(DynamicSamplingGRPOTrainer):
    """`trl.GRPOTrainer` with rewards reweighted for diversity, and with what the three papers put around that.

    Each argument is one override that passes through when it is left out; with none of them, and in evaluation, this
    is GRPOTrainer to the last bit.

    Args:
        reweight: `(rewards [B, G], similarity [B, G, G]) -> adjusted [B, G]`, such as `manypaths.mmr` or
            `functools.partial(manypaths.mmr, lam=0.7)`. It fills one more reward column, `diversity` = adjusted - raw,
            of weight 1: TRL then sums the columns to exactly the adjusted reward and does everything else as ever,
            and the means of the reward functions stay raw.
        embedder: `(list[str]) -> [N, D]`, such as `manypaths.embed.SentenceEmbedder("...")`; it is given the
            completions without their prompts. A reweighter needs one; on its own it only measures.
        advantage: `(adjusted [B, G], advantages [B, G]) -> advantages [B, G]`, such as `manypaths.advantage.positive`,
            in place of GRPO's advantages.
        policy_ratio: False is RGRA (arXiv 2603.18756): no pi / pi_old, so that nothing clips, not even where answers
            serve several updates.
        dynamic_sampling, max_batches: see `DynamicSamplingGRPOTrainer`.
        host: everything else goes to `GRPOTrainer`.

    `groups` holds what was generated last. A completion for which every reward function gave None stays unscored:
    advantage 0, neighbour of nobody. Raises ValueError as `check` does, and for a reweighter without an embedder.

    Beside TRL's metrics, in the logs and in what `report_to` names:
        groups/without_spread: share of groups whose raw rewards are all equal.
        diversity/similarity: mean cosine similarity of two siblings; needs an embedder, as does the next.
        diversity/effective_number: of distinct completions in a group, `manypaths.diversity.effective_number`.
        diversity/lam: mean weight on the reward, where the reweighter has an argument `lam`.
        diversity/share: of the advantage, what comes from diversity, `manypaths.diversity.share_of_advantage`; needs a
            reweighter.
        seconds/: sampling (reference log-probabilities included), rewards, embedding, reweighting, update; per step, of
            the main process. 0 where a step uses answers again.
    """

    def __init__(
        self,
        *host: Any,
        reweight: Reweighter | None = None,
        embedder: Embedder | None = None,
        advantage: Advantage | None = None,
        policy_ratio: bool = True,
        **named_host: Any,
    ) -> None:
        if reweight is not None and embedder is None:
            raise ValueError("A reweighter asks for an embedder; given None. Pass embedder=SentenceEmbedder(...).")
        super().__init__(*host, **named_host)
        check(self.args, reweight=reweight is not None, policy_ratio=policy_ratio)
        self.reweight, self.embedder = reweight, embedder
        self.advantage, self.policy_ratio = advantage, policy_ratio
        self.groups: Groups | None = None
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of this step, by part
        self.add_callback(StepSeconds(self))
        if reweight is None:
            return
        # as TRL itself does for the reward of an environment
        self.reward_funcs: list[Any] = [*self.reward_funcs, diversity]
        self.reward_func_names: list[str] = [*self.reward_func_names, "diversity"]
        self.reward_processing_classes: list[Any] = [*self.reward_processing_classes, None]
        self.reward_weights: Tensor = torch.cat([self.reward_weights, torch.ones(1)])

    def _calculate_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        """Rewards [N, K] gathered over processes; during training the diversity column is filled in."""
        began = time.perf_counter()
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if not self.model.training:
            return rewards
        scored = self._spend("rewards", began - (self._sampled.seconds if self._sampled else 0.0))
        raw = (rewards * self.reward_weights.to(rewards.device)).nansum(1)
        raw = raw.masked_fill(rewards.isnan().all(1), torch.nan).view(-1, self.num_generations)
        similarity = None
        if self.embedder is not None:
            texts = [text_of(each) for each in completions]
            embeddings, keys = gather((self.embedder(texts).to(rewards.device), keys_of(texts).to(rewards.device)))
            if self.accelerator.num_processes > 1:
                embeddings = same_for_copies(embeddings, keys)
            similarity = cosine_similarity(embeddings.view(*raw.shape, -1))
        embedded = self._spend("embedding", scored)
        adjusted, lam = raw, None
        if self.reweight is not None and similarity is not None:
            adjusted = self.reweight(raw, similarity)
            rewards[:, self.reward_func_names.index("diversity")] = (adjusted - raw).flatten()
        self._spend("reweighting", embedded)
        if self.reweight is not None:
            lam = weight_on_reward(self.reweight, raw)
        self.groups = Groups(raw, adjusted, similarity, lam)
        self._measure(self.groups)
        return rewards

    def _measure(self, groups: Groups) -> None:
        """Log what is told of groups."""
        for name, values in measures(groups.raw, groups.adjusted, groups.similarity, self.reweight).items():
            self._log_metric(name, values.nanmean().item())

    def _spend(self, part: str, since: float) -> float:
        """Count the seconds since then for a part of the step -> now."""
        now = time.perf_counter()
        self.seconds[part] += now - since
        return now

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Another advantage goes in here, after TRL's own, into the logs too."""
        began = time.perf_counter() - sum(self.seconds.values())
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        self._spend("sampling", began + sum(self.seconds.values()))
        if self.advantage is not None and self.groups is not None:
            logged, adjusted = self._logs["advantages"], self.groups.adjusted
            advantages = torch.tensor(list(logged)).view_as(adjusted).to(adjusted)
            advantages = self.advantage(adjusted, advantages).nan_to_num(0.0).flatten()
            logged.extend(advantages.tolist())
            output["advantages"] = torch.tensor(self._own(list(logged), len(inputs))).to(output["advantages"])
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Without `old_per_token_logps` TRL takes the ratio to the policy itself: 1, with the gradient it has there."""
        if not self.policy_ratio:
            inputs = {key: value for key, value in inputs.items() if key != "old_per_token_logps"}
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss


class StepSeconds(TrainerCallback):
    """Puts the seconds of a step, part by part, among the metrics of its trainer."""

    def __init__(self, trainer: DiverseGRPOTrainer) -> None:
        self.trainer, self.began = trainer, 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began = time.perf_counter()
        self.trainer.seconds.clear()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        spent = self.trainer.seconds
        spent["update"] = time.perf_counter() - self.began - sum(spent.values())
        for part in PARTS:
            self.trainer._metrics["train"][f"seconds/{part}"].append(spent[part])


def check(args: GRPOConfig, *, reweight: bool, policy_ratio: bool) -> None:
    """Refuse, with a ValueError, settings of TRL under which a reweighter or RGRA would not be what they say."""
    if reweight and args.multi_objective_aggregation != "sum_then_normalize":
        raise ValueError(
            "Reweighting asks for multi_objective_aggregation='sum_then_normalize'; given "
            f"{args.multi_objective_aggregation!r}, which would normalise the diversity column on its own."
        )
    if policy_ratio:
        return
    for name, allowed in WITHOUT_RATIO.items():
        if getattr(args, name) not in allowed:
            raise ValueError(
                f"policy_ratio=False (RGRA) asks for {name} {' or '.join(map(repr, allowed))}; given "
                f"{getattr(args, name)!r}, which weighs answers by a ratio of its own."
            )
    if args.use_vllm and args.vllm_importance_sampling_correction:
        raise ValueError(
            "policy_ratio=False (RGRA) asks for vllm_importance_sampling_correction=False with vLLM: the correction "
            "is a ratio between the policy and vLLM's."
        )
    if args.beta and args.use_bias_correction_kl:
        raise ValueError(
            f"policy_ratio=False (RGRA) with beta={args.beta} asks for use_bias_correction_kl=False, given True: "
            "the correction multiplies the KL term by the policy ratio."
        )


def diversity(prompts: list[Any], **_: Any) -> list[None]:
    """The reward column that `DiverseGRPOTrainer` fills in; on its own it scores nothing."""
    return [None] * len(prompts)
