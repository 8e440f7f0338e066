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

from manypaths.embed import Embedder, deduplicate_rows, text_hashes
from manypaths.messages import text_of
from manypaths.methods import Reweighter, cosine_similarity, has_nonzero_std, weighted_sum
from manypaths.methods.advantages import Advantage
from manypaths.methods.contracts import call_advantage, call_embedder, call_reweighter, check_finite, check_functions
from manypaths.methods.measures import measures
from manypaths.names import distinct
from manypaths.trl.data_order import DataOrder
from manypaths.trl.dynamic_sampling import DynamicSamplingGRPOTrainer
from manypaths.wrapper import DiverseReward

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
    lam: Tensor | None  # [B] weight on the reward; None without a reweighter that reports one for each group


class DiverseGRPOTrainer(DynamicSamplingGRPOTrainer):
    """`trl.GRPOTrainer` with rewards reweighted for diversity, and with what the three papers put around that.

    Each argument is one override that passes through when it is left out; with none of them, and in evaluation, this
    is GRPOTrainer to the last bit.

    Args:
        reweight: `(rewards [B, G], similarity [B, G, G]) -> adjusted [B, G]`, such as `manypaths.mmr` or
            `functools.partial(manypaths.mmr, lam=0.7)`. In training it adds one reward column behind those of the
            reward functions, adjusted - raw, of weight 1: TRL then sums the columns to exactly the adjusted reward and
            does everything else as ever, and the means of the reward functions stay raw.
        embedder: `(list[str]) -> [N, D]`, such as `manypaths.embed.SentenceEmbedder("...")`; it is given what the model
            wrote (`manypaths.messages.text_of`), without the prompts. A reweighter needs one; on its own it only
            measures.
        advantage: `(adjusted [B, G], advantages [B, G]) -> advantages [B, G]`, such as
            `manypaths.methods.advantages.positive`, in place of GRPO's advantages.
        importance_ratio: False is RGRA (arXiv 2603.18756): no pi / pi_old, so that nothing clips, not even where
            answers serve several updates.
        dynamic_sampling, max_batches: see `DynamicSamplingGRPOTrainer`.
        host: everything else goes to `GRPOTrainer`.

    `groups` holds what was generated last. A completion for which every reward function gave None stays unscored:
    advantage 0, neighbour of nobody. `reward_weights`, `reward_funcs` and `reward_func_names` are those of the reward
    functions, as in GRPOTrainer; a callback may set other weights. Raises ValueError as `check` does, for a reweighter
    without an embedder, and for a `DiverseReward` among the reward functions; while training, for an infinite reward of
    a function whose weight is not 0, and for what `manypaths.methods.contracts` says no embedder, reweighter or
    advantage may return.

    Beside TRL's metrics, in the logs and in what `report_to` names; None, as in TRL, where no step defines them:
        rewards/diversity/mean, /std: of adjusted - raw; `diversity_2` where a reward function is called diversity.
            `reward`, `reward_std` and `frac_reward_zero_std` are of the adjusted rewards, without dynamic sampling.
        groups/zero_std: share of groups whose raw rewards are all equal, of all groups that were sampled.
        diversity/similarity: mean cosine similarity of two siblings; needs an embedder, as does the next.
        diversity/vendi_score: of distinct completions in a group, `manypaths.methods.measures.vendi_score`.
        diversity/share: of the advantage, what comes from diversity, `manypaths.methods.measures.share_of_advantage`;
            needs a reweighter.
        diversity/NAME: what the reweighter reports about itself (`manypaths.methods.report`), such as `mmr`'s
            lam.
        seconds/: sampling (reference log-probabilities included), rewards, embedding, reweighting, update; per step, of
            the main process. 0 where a step uses answers again.
    """

    def __init__(
        self,
        *host: Any,
        reweight: Reweighter | None = None,
        embedder: Embedder | None = None,
        advantage: Advantage | None = None,
        importance_ratio: bool = True,
        **named_host: Any,
    ) -> None:
        if reweight is not None and embedder is None:
            raise ValueError("A reweighter asks for an embedder; given None. Pass embedder=SentenceEmbedder(...).")
        check_functions(reweight=reweight, embedder=embedder, advantage=advantage)
        args = named_host.get("args", host[2] if len(host) > 2 else None)
        if args is not None:
            check(args, reweight=reweight is not None, importance_ratio=importance_ratio)
        self.data_order = DataOrder()
        super().__init__(*host, **named_host)
        if any(isinstance(function, DiverseReward) for function in self.reward_funcs):
            raise ValueError(
                "reward_funcs must hold the reward functions themselves here, got a DiverseReward. Pass its functions, "
                "and its reweight and embedder to the trainer."
            )
        self.reweight, self.embedder = reweight, embedder
        self.advantage, self.importance_ratio = advantage, importance_ratio
        self.groups: Groups | None = None
        self._in_training = False  # of the generation at work: a reward or embedder may turn the model to evaluation
        self._without_diversity: tuple[list[str], Tensor] | None = None  # names and weights, while its column is there
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of this step, by part
        self.own_metrics |= {"groups/zero_std", *(f"seconds/{part}" for part in PARTS)}
        if embedder is not None:
            self.own_metrics |= {"diversity/similarity", "diversity/vendi_score"}
        if reweight is not None:
            self.own_metrics |= {"diversity/share", *(f"rewards/{self.diversity_name}/{of}" for of in ("mean", "std"))}
        self.add_callback(StepSeconds(self))
        self.add_callback(self.data_order)

    @property
    def diversity_name(self) -> str:
        """What the diversity column is logged as: a name that no reward function has."""
        return distinct([*self.reward_func_names[: len(self.reward_funcs)], "diversity"])[-1]

    def _calculate_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        """Rewards [N, K] gathered over processes; with a reweighter, in training, [N, K + 1]."""
        began = time.perf_counter()
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if not self._in_training:
            return rewards
        check_finite(self.reward_func_names, rewards, self.reward_weights)
        scored = self._spend("rewards", began - (self._sampled.seconds if self._sampled else 0.0))
        raw = weighted_sum(rewards, self.reward_weights).view(-1, self.num_generations)
        similarity = self._similarity(completions, raw)
        embedded = self._spend("embedding", scored)
        adjusted, diagnostics = raw, None
        if self.reweight is not None and similarity is not None:
            adjusted, diagnostics = call_reweighter(self.reweight, raw, similarity)
            rewards = torch.cat([rewards, (adjusted - raw).view(-1, 1)], dim=1)
            self._without_diversity = self.reward_func_names, self.reward_weights
            self.reward_func_names = [*self.reward_func_names, self.diversity_name]
            self.reward_weights = torch.cat([self.reward_weights, torch.ones(1).to(self.reward_weights)])
        self._spend("reweighting", embedded)
        lam = (diagnostics or {}).get("lam")
        self.groups = Groups(raw, adjusted, similarity, lam if lam is not None and len(lam) == len(raw) else None)
        self._measure(self.groups, diagnostics)
        return rewards

    def _similarity(self, completions: list[Any], raw: Tensor) -> Tensor | None:
        """[B, G, G] of the completions of all processes, of which these are this one's; None without an embedder."""
        if self.embedder is None:
            return None
        texts = [text_of(each) for each in completions]
        rows = call_embedder(self.embedder, texts).to(raw.device)
        embeddings, keys = gather((rows, text_hashes(texts).to(raw.device)))
        if self.accelerator.num_processes > 1:
            embeddings = deduplicate_rows(embeddings, keys)
        return cosine_similarity(embeddings.view(*raw.shape, -1))

    def _measure(self, groups: Groups, diagnostics: dict[str, Tensor] | None) -> None:
        """Log what is told of groups."""
        found = measures(groups.raw, groups.adjusted, groups.similarity, diagnostics)
        if self._sampled is not None:
            everything = weighted_sum(self._sampled.everything, self.reward_weights[: len(self.reward_funcs)])
            found["groups/zero_std"] = 1 - has_nonzero_std(everything.view(-1, self.num_generations)).float()
        for name, values in found.items():
            self.own_metrics.add(name)
            self._log_own(name, values.nanmean().item())

    def _spend(self, part: str, since: float) -> float:
        """Count the seconds since then for a part of the step -> now."""
        now = time.perf_counter()
        self.seconds[part] += now - since
        return now

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The diversity column is there for as long as TRL sums up; another advantage goes in after TRL's own."""
        began = time.perf_counter() - sum(self.seconds.values())
        self.reward_weights = own_weights(self.reward_weights, len(self.reward_funcs))
        self._in_training = self.model.training
        if self._in_training:
            self.groups = None
        try:
            output = super()._generate_and_score_completions(inputs)
        finally:
            if self._without_diversity is not None:
                self.reward_func_names, self.reward_weights = self._without_diversity
                self._without_diversity = None
        if not self._in_training:
            if self.reweight is not None:  # columns of the table of completions must have one length
                everybodys = len(inputs) * self.accelerator.num_processes
                self._logs["rewards"][self.diversity_name].extend([torch.nan] * everybodys)
            return output
        self._spend("sampling", began + sum(self.seconds.values()))
        if self.advantage is not None and self.groups is not None:
            logged, adjusted = self._logs["advantages"], self.groups.adjusted
            advantages = torch.tensor(list(logged)).view_as(adjusted).to(adjusted)
            advantages = call_advantage(self.advantage, adjusted, advantages).flatten()
            logged.extend(advantages.tolist())
            output["advantages"] = torch.tensor(self._own(list(logged), len(inputs))).to(output["advantages"])
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Without `old_per_token_logps` TRL takes the ratio to the policy itself: 1, with the gradient it has there."""
        if not self.importance_ratio:
            inputs = {key: value for key, value in inputs.items() if key != "old_per_token_logps"}
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss

    def _get_train_sampler(self, *arguments: Any) -> Any:
        self.data_order.sampler = super()._get_train_sampler(*arguments)
        return self.data_order.sampler

    def get_batch_samples(self, *arguments: Any, **named: Any) -> tuple[list[Any], Any]:
        """No batch for a finished training that is resumed, which would take one step more than it should."""
        if self.state.global_step >= self.state.max_steps:
            return [], None
        batches: tuple[list[Any], Any] = super().get_batch_samples(*arguments, **named)
        return batches


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


def check(args: GRPOConfig, *, reweight: bool, importance_ratio: bool) -> None:
    """Refuse, with a ValueError, settings of TRL under which a reweighter or RGRA would not be what they say."""
    if reweight and args.multi_objective_aggregation != "sum_then_normalize":
        raise ValueError(
            "Reweighting asks for multi_objective_aggregation='sum_then_normalize'; given "
            f"{args.multi_objective_aggregation!r}, which would normalise the diversity column on its own."
        )
    if importance_ratio:
        return
    for name, allowed in WITHOUT_RATIO.items():
        if getattr(args, name) not in allowed:
            raise ValueError(
                f"importance_ratio=False (RGRA) asks for {name} {' or '.join(map(repr, allowed))}; given "
                f"{getattr(args, name)!r}, which weighs answers by a ratio of its own."
            )
    if args.use_vllm and args.vllm_importance_sampling_correction:
        raise ValueError(
            "importance_ratio=False (RGRA) asks for vllm_importance_sampling_correction=False with vLLM: the "
            "correction is a ratio between the policy and vLLM's."
        )
    if args.beta and args.use_bias_correction_kl:
        raise ValueError(
            f"importance_ratio=False (RGRA) with beta={args.beta} asks for use_bias_correction_kl=False, given True: "
            "the correction multiplies the KL term by the policy ratio."
        )


def own_weights(weights: Tensor, count: int) -> Tensor:
    """The weights of `count` reward functions, which a callback may have set; one more, for diversity, must be 1."""
    if len(weights) == count + 1 and weights[count] == 1:
        return weights[:count]
    if len(weights) != count:
        raise ValueError(
            f"reward_weights must have a weight for each of {count} reward functions, got {len(weights)}. Diversity "
            "has none of its own: it counts 1."
        )
    return weights
