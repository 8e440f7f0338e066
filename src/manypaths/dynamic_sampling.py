"""DAPO's dynamic sampling for TRL's GRPOTrainer, which has DAPO's loss and clipping but not this."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor

from manypaths.reweight import has_spread
from manypaths.tool_mask import ToolMaskGRPOTrainer


@dataclass
class Sampled:
    """A full batch, until TRL asks for it."""

    generated: tuple[Any, ...]  # this process's, as `GRPOTrainer._generate` returns it
    rewards: Tensor  # [N, K] of all processes
    seconds: float  # spent on rewards


class DynamicSamplingGRPOTrainer(ToolMaskGRPOTrainer):
    """`trl.GRPOTrainer` with one change: groups that teach nothing are replaced before they reach the update.

    DAPO (arXiv 2503.14476), Eq. 11. In training, batch after batch is sampled until there are enough groups in which
    one reward function has spread; the first batch is the data loader's, the others are drawn from the same dataset
    with the seed and the step. Rewards are computed where the answers are sampled, and everything after that sees the
    full batch alone. When the bound is reached the batch is filled up with groups without spread, all of whose
    rewards are None: TRL gives them advantage 0.

    Args:
        dynamic_sampling: the name of the reward function; None is GRPOTrainer to the last bit.
        max_batches: how many generation batches a step may sample, the first included.
        host: everything else goes to `GRPOTrainer`.

    Its metrics: `dynamic_sampling/batches` sampled, `/thrown_away` groups without spread, `/surplus` groups with
    spread for which there was no place, `/unfilled` places, `/extra_seconds` after the first batch. TRL's metrics of
    completion lengths and tokens count all that was sampled.

    Raises ValueError for a reward function that is not there, max_batches under 1, streamed data, and for tools,
    environments, rollout functions and images, whose state cannot be moved between batches.
    """

    def __init__(
        self, *host: Any, dynamic_sampling: str | None = None, max_batches: int = 10, **named_host: Any
    ) -> None:
        if max_batches < 1:
            raise ValueError(f"Dynamic sampling asks for max_batches of 1 or more; given {max_batches}.")
        super().__init__(*host, **named_host)
        self.dynamic_sampling, self.max_batches = dynamic_sampling, max_batches
        self._sampled: Sampled | None = None
        if dynamic_sampling is None:
            return
        if dynamic_sampling not in self.reward_func_names:
            raise ValueError(
                f"Dynamic sampling asks for the name of a reward function, {' or '.join(self.reward_func_names)}; "
                f"given {dynamic_sampling!r}."
            )
        data = self.train_dataset
        if not isinstance(data, Dataset):
            raise ValueError(f"Dynamic sampling asks for a dataset with a length; given {type(data).__name__}.")
        if self.tools or self.environment_factories or self.rollout_func or {"image", "images"} & {*data.column_names}:
            raise ValueError("Dynamic sampling asks for plain text; given tools, an environment, a rollout or images.")

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.model.training and self.dynamic_sampling is not None:
            inputs = self._fill_batch(inputs, self.dynamic_sampling)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self._sampled = None
        return output

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        if self._sampled is not None:
            return self._sampled.generated
        generated: tuple[Any, ...] = super()._generate(prompts)
        return generated

    def _calculate_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        if self._sampled is not None:
            return self._sampled.rewards
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return rewards

    def _fill_batch(self, inputs: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
        """Sample until all places are taken by groups with spread -> this process's rows; the rest in `_sampled`."""
        size, count = self.num_generations, len(inputs)
        places = count * self.accelerator.num_processes // size
        column = self.reward_func_names.index(name)
        with_spread: list[tuple[list[Any], Tensor]] = []
        without: list[tuple[list[Any], Tensor]] = []
        fresh = self._fresh_inputs(places, count)
        first_end, seconds = 0.0, 0.0
        for batch in range(1, self.max_batches + 1):
            rows, rewards, spent = self._sample(inputs if batch == 1 else next(fresh))
            seconds += spent
            for group, good in enumerate(has_spread(rewards[:, column].view(-1, size)).tolist()):
                own = slice(group * size, (group + 1) * size)
                (with_spread if good else without).append((rows[own], rewards[own]))
            first_end = first_end or time.perf_counter()
            if len(with_spread) >= places:
                break
        counts = {"batches": batch, "thrown_away": len(without), "surplus": max(0, len(with_spread) - places)}
        counts["unfilled"] = max(0, places - len(with_spread))
        for metric, value in {**counts, "extra_seconds": time.perf_counter() - first_end}.items():
            self._log_metric(f"dynamic_sampling/{metric}", value)

        chosen = (with_spread + without)[:places]
        rewards = torch.cat([each for _, each in chosen])
        rewards[len(with_spread) * size :] = torch.nan
        own_rows = self._own([row for rows, _ in chosen for row in rows], count)
        inputs, prompt_ids, completion_ids, completions, logprobs, extra = map(list, zip(*own_rows, strict=True))
        for each in extra:
            for key, value in each.items():
                self._pending_extra_logs[key].append(value)
        scored = None if logprobs[0] is None else logprobs
        self._sampled = Sampled((prompt_ids, completion_ids, None, completions, scored, {}, None, []), rewards, seconds)
        return inputs

    def _sample(self, inputs: list[dict[str, Any]]) -> tuple[list[Any], Tensor, float]:
        """One generation batch -> rows and rewards [N, K] of all processes, and the seconds spent on rewards."""
        prompts = [row["prompt"] for row in inputs]
        prompt_ids, completion_ids, _, completions, logprobs, *_ = super()._generate(prompts)
        began = time.perf_counter()
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        seconds = time.perf_counter() - began
        logged = {key: list(values) for key, values in self._pending_extra_logs.items()}
        self._pending_extra_logs.clear()
        extra = [{key: values[index] for key, values in logged.items()} for index in range(len(inputs))]
        columns = (inputs, prompt_ids, completion_ids, completions, logprobs or [None] * len(inputs), extra)
        return gather_object(list(zip(*columns, strict=True))), rewards, seconds

    def _fresh_inputs(self, places: int, count: int) -> Iterator[list[dict[str, Any]]]:
        """This process's rows of batches of `places` prompts, drawn anew in each step, the same on all processes."""
        within = self._step % self.args.gradient_accumulation_steps
        draw = random.Random(f"{self.args.seed} {self.state.global_step} {within}")
        while True:
            chosen = draw.sample(range(len(self.train_dataset)), places)
            rows = [self.train_dataset[index] for index in chosen for _ in range(self.num_generations)]
            yield self._own(rows, count)

    def _own(self, everybodys: list[Any], count: int) -> list[Any]:
        """This process's `count` of the rows of all processes."""
        return everybodys[self.accelerator.process_index * count :][:count]
