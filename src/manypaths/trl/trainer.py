"""TRL's GRPOTrainer, made diversity-aware: one small override for each idea."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from torch import Tensor

from manypaths.completion_inputs import REMEDIES, CompletionInputs, is_correct
from manypaths.embed import Embedder
from manypaths.keys import Keys
from manypaths.messages import own_tokens, prompt_text, text_of
from manypaths.methods import Advantage, Reweighter, Selection, has_nonzero_std, weighted_sum
from manypaths.methods.bind import adjust, choose, replace_advantages
from manypaths.methods.contracts import check_finite
from manypaths.methods.measures import measures, of_scored
from manypaths.names import DIAGNOSTICS, SECONDS, SHARE, SIMILARITY, VENDI_SCORE, ZERO_STD, distinct
from manypaths.trainers import available, trl_scaling
from manypaths.trl import normalize_then_sum
from manypaths.trl.data_order import DataOrder
from manypaths.trl.groups import Groups
from manypaths.trl.logprobs import LogprobsGRPOTrainer
from manypaths.trl.model_card import ModelCardGRPOTrainer
from manypaths.trl.replay import ReplayGRPOTrainer, check_replay
from manypaths.trl.replay_bank import Replay, accepted
from manypaths.trl.selection import SelectionGRPOTrainer, among_selected, selection_of
from manypaths.trl.settings import check
from manypaths.trl.step_seconds import StepSeconds
from manypaths.trl.trained_rows import zero_in_flat_groups
from manypaths.wrapper import DiverseReward


class DiverseGRPOTrainer(ReplayGRPOTrainer, SelectionGRPOTrainer, LogprobsGRPOTrainer, ModelCardGRPOTrainer):
    """`trl.GRPOTrainer` whose rewards and advantages a method may set, with what the three papers put around that.

    Each argument is one override that passes through when it is left out; with none of them, and in evaluation, this
    is GRPOTrainer to the last bit.

    Args:
        reweight: a method, `manypaths.mmr`, `functools.partial(manypaths.mmr, lam=0.7)` or a function of your own whose
            positional parameters name the inputs that it wants (`manypaths.methods.inputs`) -> adjusted rewards [B, G].
            In training it adds one reward column behind those of the reward functions, adjusted - raw, of weight 1: TRL
            then sums the columns to exactly the adjusted reward and does everything else as ever, and the means of the
            reward functions stay raw. (Where TRL normalises each reward first: `manypaths.trl.normalize_then_sum`.)
        advantage: a method as well, such as `manypaths.methods.grpo_pos` -> advantages [B, G], in place of GRPO's.
        embedder: `(list[str]) -> [N, D]`, such as `manypaths.embed.SentenceEmbedder("...")`, for the input
            `similarity`. It gets what the model wrote (`manypaths.messages.text_of`), without the prompts. Without a
            method that wants it, similarity is only measured.
        keys: `(completions, problems) -> [N]` whole numbers, such as `manypaths.keys.answer`, for the input `keys`.
            Without an embedder, similarity is 1 where two keys are equal and 0 elsewhere.
        correct: the name of the reward function, or its position, by which a completion is correct: above 0.5. For the
            input `correct`, and for `history`.
        importance_ratio: False is RGRA (arXiv 2603.18756): no pi / pi_old, so that nothing clips, not even where
            completions serve several updates.
        select: (count, rule): so many completions of each group are trained on, as if no others had been sampled. The
            rule is "mmr", "max_variance" or "random" (`manypaths.methods.SELECTIONS`), or a function of your own. See
            `SelectionGRPOTrainer`.
        skip_zero_advantage: see `TrainedRowsGRPOTrainer`. Advantages of zero-variance groups are then exactly 0.
        replay: verified replay, such as `Replay(weight=0.1)`; needs `keys` and `correct`. See `ReplayGRPOTrainer`.
        dynamic_sampling, max_batches: see `DynamicSamplingGRPOTrainer`.
        history: such as `PromptHistory()`; needs `correct`. See `PromptHistoryGRPOTrainer`.
        host: everything else goes to `GRPOTrainer`.

    Attributes:
        groups: what was generated last, see `Groups`. A completion for which every reward function gave None is
            unscored: its advantage is 0, and it is no neighbour of the others.
        reweight, advantage, embedder: as given; a callback may set others between two steps, which are checked as here.
        reward_weights, reward_funcs, reward_func_names: those of the reward functions, as in GRPOTrainer; a callback
            may set other weights.

    Raises:
        ValueError: as `check` does, for a method whose inputs are not all there, and for a `DiverseReward` among the
            reward functions; while training, for an infinite reward of a function whose weight is not 0, and for what
            no embedder, keys or method may return (`manypaths.methods.contracts`, `manypaths.methods.bind`).

    Beside TRL's metrics, in the logs and in what `report_to` names; None, as in TRL, where no step defines them:
        rewards/diversity/mean, /std: of adjusted - raw; `diversity_2` where a reward function is called diversity.
            `reward`, `reward_std` and `frac_reward_zero_std` are of the adjusted rewards, without dynamic sampling.
        groups/zero_std: share of groups whose raw rewards are all equal, of all groups that were sampled.
        diversity/similarity: mean similarity of two siblings; needs an embedder or keys, as does the next.
        diversity/vendi_score: of distinct completions in a group, `manypaths.methods.measures.vendi_score`.
        diversity/share: of the advantage, what comes from diversity, `manypaths.methods.measures.share_of_advantage`;
            needs a reweighter.
        diversity/NAME: the mean of what a method reports about itself (`manypaths.methods.report`), such as mmr's lam;
            `NAME_2` is the advantage's where both methods report NAME.
        seconds/: sampling (log-probabilities of the reference, and for the input `logprobs`, included), rewards,
            embedding, reweighting, update; per step, of the main process. 0 where a step uses completions again.

    Example:
        >>> trainer = DiverseGRPOTrainer(MODEL, rewards, args, data, reweight=mmr, embedder=NgramEmbedder())
        >>> _ = trainer.train()
        >>> trainer.groups.raw.shape == trainer.groups.adjusted.shape == trainer.groups.diagnostics["pick"].shape
        True
    """

    def __init__(
        self,
        *host: Any,
        reweight: Reweighter | None = None,
        embedder: Embedder | None = None,
        keys: Keys | None = None,
        correct: str | int | None = None,
        advantage: Advantage | None = None,
        importance_ratio: bool = True,
        replay: Replay | None = None,
        select: tuple[int, str | Selection] | None = None,
        **named_host: Any,
    ) -> None:
        args = named_host.get("args", host[2] if len(host) > 2 else None)
        rule = selection_of(select)
        self.inputs = CompletionInputs(
            embedder,
            keys,
            methods={
                "select": rule,
                "reweight": reweight,
                "advantage": advantage,
                "replay": accepted if replay else None,
            },
            available=available("DiverseGRPOTrainer", correct=correct is not None),
            remedies=REMEDIES
            | dict.fromkeys(("advantages", "adjusted"), "Pass the method as advantage=, which works on GRPO's own."),
            scaling=trl_scaling(args),
        )
        if args is not None:
            check(args, importance_ratio=importance_ratio)
        check_replay(replay, keys)
        self.data_order = DataOrder()
        super().__init__(*host, replay=replay, select=rule, correct=correct, **named_host)
        if any(isinstance(function, DiverseReward) for function in self.reward_funcs):
            raise ValueError(
                "reward_funcs must hold the reward functions themselves here, got a DiverseReward. Pass its functions, "
                "and its reweight and embedder to the trainer."
            )
        self.importance_ratio = importance_ratio
        self.groups: Groups | None = None
        self._logprobs = torch.empty(0)  # [n] of this process, of the last generation, where a method wants them
        self._in_training = False  # of the generation at work: a reward or embedder may turn the model to evaluation
        self._without_diversity: tuple[list[str], Tensor] | None = None  # names and weights, while its column is there
        self.seconds: defaultdict[str, float] = defaultdict(float)  # of this step, by part
        self.own_metrics |= {ZERO_STD, *SECONDS.values()}
        if "similarity" in self.inputs.wanted:
            self.own_metrics |= {SIMILARITY, VENDI_SCORE}
        if reweight is not None:
            self.own_metrics |= {SHARE, *(f"rewards/{self.diversity_name}/{of}" for of in ("mean", "std"))}
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
        if self._in_training and "logprobs" in self.inputs.wanted:
            self._logprobs = self.sampled_logprobs()  # before `began`: its seconds are those of sampling
        began = time.perf_counter()
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        if not self._in_training:
            return rewards
        check_finite(self.reward_func_names, rewards, self.reward_weights)
        scored = self._spend("rewards", began - (self._sampled.seconds if self._sampled else 0.0))
        raw = self._raw(rewards)
        wanted = {"rewards": raw, **self._other_inputs(prompts, completions, completion_ids_list, rewards)}
        embedded = self._spend("embedding", scored)
        trained, diagnostics = raw, dict[str, Tensor]()  # the rewards of the completions that are trained on
        if self.select is not None:
            diagnostics["selected"] = choose(self.select, wanted)
            rewards = self.leave_out(rewards, diagnostics["selected"])
            trained = self._raw(rewards)
        adjusted = trained
        if self.reweight is not None:
            adjusted, reported = adjust(self.reweight, among_selected(wanted, trained))
            diagnostics |= reported
        if self._adds_column:
            rewards = torch.cat([rewards, (adjusted - trained).view(-1, 1)], dim=1)
            self._without_diversity = self.reward_func_names, self.reward_weights
            self.reward_func_names = [*self.reward_func_names, self.diversity_name]
            self.reward_weights = torch.cat([self.reward_weights, torch.ones(1).to(self.reward_weights)])
        self._spend("reweighting", embedded)
        self.groups = Groups(raw, adjusted, wanted, diagnostics)
        self._measure(self.groups)
        return rewards

    def _raw(self, rewards: Tensor) -> Tensor:
        """The reward of each completion [B, G], as TRL sums the rewards [N, K] of the reward functions."""
        size, aggregation = self.num_generations, self.multi_objective_aggregation
        return normalize_then_sum.raw_rewards(rewards, self.reward_weights, size, aggregation).view(-1, size)

    @property
    def _adds_column(self) -> bool:
        """Whether TRL sums the rewards to the adjusted ones; it cannot where it normalises each of them."""
        return self.reweight is not None and self.multi_objective_aggregation != normalize_then_sum.NAME

    def _other_inputs(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[Any], rewards: Tensor
    ) -> dict[str, Tensor]:
        """What the methods want beside the rewards [N, K], gathered over processes: name -> [B, G] or [B, G, G]."""
        texts = [text_of(completion) for completion in completions]
        problems = [prompt_text(prompt) if self.inputs.wants_keys else "" for prompt in prompts]
        rows = self.inputs.of_process(texts, problems)
        if "lengths" in self.inputs.wanted:
            own = own_tokens("lengths", completion_ids, self._tool_mask)
            rows["lengths"] = torch.tensor([len(tokens) for tokens in own], dtype=torch.int64)
        if "logprobs" in self.inputs.wanted:
            rows["logprobs"] = self._logprobs
        gathered = gather({name: values.to(rewards.device) for name, values in rows.items()})
        pairs = gather_object(list(zip(texts, problems, strict=True))) if self.inputs.wants_whole_groups else []
        groups = torch.Size([len(rewards) // self.num_generations, self.num_generations])
        inputs = self.inputs.of_groups(gathered, groups, copies=self.accelerator.num_processes > 1, texts=pairs)
        inputs |= {name: gathered[name].view(groups) for name in ("lengths", "logprobs") if name in gathered}
        if "correct" in self.inputs.wanted:
            inputs["correct"] = is_correct(rewards[:, self._correct]).view(groups)
        if "progress" in self.inputs.wanted:
            inputs["progress"] = torch.tensor(self.state.global_step / self.state.max_steps)
        return {name: values.to(rewards.device) for name, values in inputs.items()}

    def _measure(self, groups: Groups) -> None:
        """Log the metrics of groups."""
        diagnostics = groups.diagnostics if self.reweight is not None else None
        metrics = measures(groups.raw, groups.adjusted, groups.similarity, diagnostics)
        if self._sampled is not None:
            everything = weighted_sum(self._sampled.everything, self.reward_weights[: len(self.reward_funcs)])
            metrics[ZERO_STD] = 1 - has_nonzero_std(everything.view(-1, self.num_generations)).float()
        for name, values in metrics.items():
            self.own_metrics.add(name)
            self._log_own(name, values.nanmean().item())

    def _spend(self, part: str, since: float) -> float:
        """Add the seconds since then to a part of the step; returns the time now."""
        now = time.perf_counter()
        self.seconds[part] += now - since
        return now

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """The diversity column exists while TRL sums up rewards; another advantage replaces TRL's own afterwards."""
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
            if self._adds_column:  # columns of the table of completions must have one length
                count = len(inputs) * self.accelerator.num_processes
                self._logs["rewards"][self.diversity_name].extend([torch.nan] * count)
            return output
        self._spend("sampling", began + sum(self.seconds.values()))
        if self.replay is not None and self.groups is not None:
            self.fill_banks(output, self.groups.raw, self.groups.inputs["correct"], self.groups.inputs["keys"])
        if self.groups is not None:
            advantages = self._own(self._final_advantages(self.groups), len(inputs))
            output["advantages"] = torch.tensor(advantages).to(output["advantages"])
        return output

    def _final_advantages(self, groups: Groups) -> list[float]:
        """The advantages of all processes [N], as they are logged: TRL's own unless a setting replaces them."""
        logged = self._logs["advantages"]
        normalised = self.multi_objective_aggregation == normalize_then_sum.NAME
        if self.reweight is not None and normalised:  # TRL's own are of the raw rewards
            logged.extend(normalize_then_sum.scaled_over_batch(groups.adjusted).flatten().tolist())
        if self.skip_zero_advantage:
            logged.extend(zero_in_flat_groups(torch.tensor(list(logged)), groups.adjusted.cpu()).tolist())
        if self.advantage is not None:
            logged.extend(self._other_advantages(groups, self.advantage, torch.tensor(list(logged))))
        return list(logged)

    def _other_advantages(self, groups: Groups, advantage: Advantage, own: Tensor) -> list[float]:
        """Advantages in place of TRL's own [N], of all processes; what the method reports is logged."""
        adjusted = groups.adjusted
        inputs = among_selected(groups.inputs, adjusted) | {"advantages": own.view_as(adjusted).to(adjusted)}
        advantages, reported = replace_advantages(advantage, inputs)
        names = distinct([*groups.diagnostics, *reported])[len(groups.diagnostics) :]  # x_2 where both report x
        diagnostics = dict(zip(names, reported.values(), strict=True))
        for name, values in of_scored(diagnostics, adjusted).items():
            self.own_metrics.add(DIAGNOSTICS + name)
            self._metrics["train"][DIAGNOSTICS + name].append(values.nanmean().item())
        groups.diagnostics |= diagnostics
        replaced: list[float] = advantages.flatten().tolist()
        return replaced

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

    @property
    def reweight(self) -> Reweighter | None:
        """The method that adjusts rewards. This, `advantage` and `embedder` may be replaced between two steps."""
        return self.inputs.methods["reweight"]

    @reweight.setter
    def reweight(self, reweight: Reweighter | None) -> None:
        self.inputs.replace(self.embedder, self.inputs.methods | {"reweight": reweight})

    @property
    def advantage(self) -> Advantage | None:
        """The method that replaces GRPO's advantages."""
        return self.inputs.methods["advantage"]

    @advantage.setter
    def advantage(self, advantage: Advantage | None) -> None:
        self.inputs.replace(self.embedder, self.inputs.methods | {"advantage": advantage})

    @property
    def embedder(self) -> Embedder | None:
        """What makes similarity."""
        return self.inputs.embedder

    @embedder.setter
    def embedder(self, embedder: Embedder | None) -> None:
        self.inputs.replace(embedder, self.inputs.methods)


def own_weights(weights: Tensor, count: int) -> Tensor:
    """The weights of `count` reward functions; a callback may have set one more, for diversity, which must be 1."""
    if len(weights) == count + 1 and weights[count] == 1:
        return weights[:count]
    if len(weights) != count:
        raise ValueError(
            f"reward_weights must have a weight for each of {count} reward functions, got {len(weights)}. Set none for "
            "diversity, whose weight is 1."
        )
    return weights
