"""DAPO's dynamic sampling for TRL's GRPOTrainer, which has DAPO's loss and clipping but no dynamic sampling."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from manypaths.methods import has_nonzero_std, weighted_sum
from manypaths.methods.contracts import check_finite
from manypaths.names import distinct, position_of
from manypaths.trl.data_order import Position
from manypaths.trl.text_alone import check_data, check_rows, text_alone
from manypaths.trl.tool_mask import ToolMaskGRPOTrainer

COUNTS = ("batches", "thrown_away", "surplus", "unfilled", "extra_seconds")


@dataclass
class Sampled:
    """A full batch that was sampled and scored, kept until TRL generates and scores its batch."""

    generated: tuple[Any, ...]  # of this process, in the form that `GRPOTrainer._generate` returns
    rewards: Tensor  # [N, K] of all processes; NaN for the zero-variance groups that fill up the batch
    everything: Tensor  # [M, K] of all completions that were sampled for this batch, M >= N
    seconds: float  # spent on rewards


class DynamicSamplingGRPOTrainer(ToolMaskGRPOTrainer):
    """`trl.GRPOTrainer` with one change: zero-variance groups are replaced by newly sampled groups before the update.

    DAPO (arXiv 2503.14476), Eq. 11. In training, batches are sampled until there are enough groups in which the rewards
    of one reward function have a nonzero standard deviation. The first batch is the data loader's. The others are drawn
    from the same dataset, at random with the seed and the step. With `shuffle_dataset=False` they follow the loader's
    batch in the order of the data and start again at its end; the next step begins where it would begin without
    dynamic sampling. Each process computes rewards where it sampled the completions; the full batch alone is used for
    everything else. When `max_batches` is reached, zero-variance groups fill up the batch and all their rewards become
    None: TRL gives them advantage 0.

    Args:
        dynamic_sampling: the name of the reward function, or its position in `reward_funcs`. None: the parameters are
            equal to GRPOTrainer's to the bit.
        max_batches: the maximum number of generation batches in a step, the first one included.
        host: the arguments of `GRPOTrainer`.

    Raises:
        ValueError: for a reward function that does not exist or whose name is not unique; for max_batches below 1; for
            streamed data; for tools, environments, rollout functions, images and other media, because their state
            cannot be moved between batches.

    Reward functions of one name are logged as NAME, NAME_2, ... Metrics of this class, by step:
        dynamic_sampling/batches: generation batches that were sampled.
        dynamic_sampling/thrown_away: zero-variance groups that were dropped.
        dynamic_sampling/surplus: groups with nonzero reward standard deviation that were dropped because the batch was
            full.
        dynamic_sampling/unfilled: places of the batch that zero-variance groups fill up.
        dynamic_sampling/extra_seconds: time spent after the first batch.

    TRL's metrics of rewards (`reward`, `reward_std`, `rewards/NAME/mean` and `/std`, and by group
    `frac_reward_zero_std`) are raw and of all completions that were sampled. So are its metrics of lengths and tokens,
    whose min and max are means over the batches. Metrics of the update, such as `kl` and `entropy`, are of the full
    batch.
    """

    reward_func_names: list[str]
    reward_weights: Tensor  # [K]

    def __init__(
        self, *host: Any, dynamic_sampling: str | int | None = None, max_batches: int = 10, **named_host: Any
    ) -> None:
        if not isinstance(max_batches, int) or max_batches < 1:
            raise ValueError(f"max_batches must be a whole number of 1 or more, got {max_batches!r}.")
        data = named_host.get("train_dataset", host[3] if len(host) > 3 else None)
        if dynamic_sampling is not None and data is not None:
            check_data(data)  # before the model is loaded
        super().__init__(*host, **named_host)
        self.dynamic_sampling, self.max_batches = dynamic_sampling, max_batches
        self.own_metrics: set[str] = set()  # names under which a reward function must not log
        self._sampled: Sampled | None = None
        self._position = Position()
        self.names_in_trl = names = self.reward_func_names
        self.reward_func_names = distinct(names)
        if dynamic_sampling is None:
            return
        self._column = position_of(names, dynamic_sampling, "dynamic_sampling")
        check_data(self.train_dataset)
        if self.tools or self.environment_factories or self.rollout_func:
            raise ValueError(
                "Dynamic sampling must have plain text, got tools, an environment or a rollout function. Leave "
                "dynamic_sampling out, or train without them."
            )
        self.own_metrics |= {f"dynamic_sampling/{name}" for name in COUNTS}
        self.add_callback(self._position)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            if self.model.training and self.dynamic_sampling is not None:
                inputs = self._fill_batch(inputs)
            logged = {name: len(values) for name, values in self._metrics["train"].items()}
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            if (sampled := self.rewards_sampled()) is not None:
                self._log_raw_rewards(sampled, logged)
        except BaseException:  # values that reward functions logged in a failed step must not reach the next one
            self._pending_extra_logs.clear()
            self._pending_metrics.clear()
            raise
        finally:
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
        return self.fresh_rewards(inputs, prompts, completions, completion_ids_list)

    def fresh_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        """Rewards [N, K] of a batch that was just sampled, of all processes."""
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return rewards

    def rewards_sampled(self) -> Tensor | None:
        """The rewards [M, K] of all completions that were sampled, where TRL was given those of some of them."""
        return None if self._sampled is None else self._sampled.everything

    def _fill_batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Sample until groups with nonzero reward standard deviation fill the batch.

        Returns this process's rows of the data; completions and rewards are kept in `_sampled`.
        """
        size, count = self.num_generations, len(inputs)
        places = count * self.accelerator.num_processes // size
        varied: list[tuple[list[Any], Tensor]] = []  # rows and rewards of each group
        equal: list[tuple[list[Any], Tensor]] = []  # zero-variance groups
        fresh, everything = self.fresh_inputs(places, count), []
        first_end, seconds = 0.0, 0.0
        for batch in range(1, self.max_batches + 1):
            rows, rewards, spent = self._sample(inputs if batch == 1 else with_columns(next(fresh), inputs))
            seconds += spent
            everything.append(rewards)
            for group, has_std in enumerate(has_nonzero_std(rewards[:, self._column].view(-1, size)).tolist()):
                own = slice(group * size, (group + 1) * size)
                (varied if has_std else equal).append((rows[own], rewards[own]))
            first_end = first_end or time.perf_counter()
            if len(varied) >= places:
                break
        unfilled = max(0, places - len(varied))
        counts = (batch, len(equal) - unfilled, max(0, len(varied) - places), unfilled)
        for name, value in zip(COUNTS, (*counts, time.perf_counter() - first_end), strict=True):
            self._log_own(f"dynamic_sampling/{name}", value)

        chosen = (varied + equal)[:places]
        rewards = torch.cat([rewards_of_group for _, rewards_of_group in chosen])
        rewards[len(varied) * size :] = torch.nan
        own_rows = self._own([row for rows, _ in chosen for row in rows], count)
        inputs, prompt_ids, completion_ids, completions, logprobs, extra = map(list, zip(*own_rows, strict=True))
        for key in dict.fromkeys(itertools.chain(*extra)):  # None where a batch logged no such column
            self._pending_extra_logs[key] = [logged.get(key) for logged in extra]
        all_logprobs = None if logprobs[0] is None else logprobs
        self._sampled = Sampled(
            generated=(prompt_ids, completion_ids, None, completions, all_logprobs, {}, None, []),
            rewards=rewards,
            everything=torch.cat(everything),
            seconds=seconds,
        )
        return inputs

    def _sample(self, inputs: list[dict[str, Any]]) -> tuple[list[Any], Tensor, float]:
        """Sample and score one generation batch.

        Returns rows and rewards [N, K] of all processes, and the seconds that the rewards took.
        """
        check_rows(inputs)
        prompts = [row["prompt"] for row in inputs]
        prompt_ids, completion_ids, completions, logprobs = text_alone(super()._generate(prompts))
        began = time.perf_counter()
        rewards = self.fresh_rewards(inputs, prompts, completions, completion_ids)
        seconds = time.perf_counter() - began
        counts = self.reward_weights != 0
        counts[self._column] = True
        check_finite(self.reward_func_names, rewards, counts)
        extra = _by_completion(self._pending_extra_logs, len(inputs))
        self._pending_extra_logs.clear()
        columns = (inputs, prompt_ids, completion_ids, completions, logprobs or [None] * len(inputs), extra)
        return gather_object(list(zip(*columns, strict=True))), rewards, seconds

    def fresh_inputs(self, places: int, count: int) -> Iterator[list[dict[str, Any]]]:
        """Yield this process's `count` rows of further batches of `places` prompts.

        They follow the loader's batch in the order of the data, or are drawn at random. All processes yield the same
        prompts, and so does a resumed training.
        """
        for chosen in self._in_order(places) if not self.shuffle_dataset else self._drawn(places):
            rows = [self.train_dataset[index] for index in chosen for _ in range(self.num_generations)]
            yield self._own(rows, count)

    def _drawn(self, places: int) -> Iterator[list[int]]:
        draw = random.Random(f"{self.args.seed} {self.state.global_step} {self._position.substep}")
        while True:
            yield draw.sample(range(len(self.train_dataset)), places)

    def _in_order(self, places: int) -> Iterator[list[int]]:
        """Yield the rows that follow the loader's current batch.

        The loader repeats each batch for `repeat` micro-steps, and drops the last rows of the data if they fill no
        whole batch.
        """
        args, rows = self.args, len(self.train_dataset)
        repeat = self.num_iterations * args.steps_per_generation
        updates = -(-(rows // places * repeat) // args.gradient_accumulation_steps)  # of an epoch
        update = (self.state.global_step - self._position.begun) % updates
        batch = (update * args.gradient_accumulation_steps + self._position.substep) // repeat
        for start in itertools.count((batch + 1) * places, places):
            yield [(start + place) % rows for place in range(places)]

    def _own(self, of_all: list[Any], count: int) -> list[Any]:
        """This process's `count` of the rows of all processes."""
        return of_all[self.accelerator.process_index * count :][:count]

    def _log_raw_rewards(self, rewards: Tensor, logged: Mapping[str, int]) -> None:
        """Replace TRL's metrics of the full batch's rewards by those of all sampled rewards [M, K].

        `logged` holds the number of values of each metric before TRL appended its own. Values that a reward function
        logged under the same name follow TRL's.
        """
        count = len(self.reward_funcs)
        raw = weighted_sum(rewards, self.reward_weights[:count])
        grouped = raw.view(-1, self.num_generations)
        zero_std = ~has_nonzero_std(grouped) & ((~grouped.isnan()).sum(1) > 1)
        values = {"reward": _mean(raw), "reward_std": _deviation(raw), "frac_reward_zero_std": _mean(zero_std.float())}
        for name, column in zip(self.reward_func_names[:count], rewards.unbind(1), strict=True):
            values |= {f"rewards/{name}/mean": _mean(column), f"rewards/{name}/std": _deviation(column)}
        for name, value in values.items():
            self._metrics["train"][name][logged.get(name, 0)] = value

    def _log_metric(self, name: str, value: float) -> None:
        """Refuse a reward function's metric under one of our names, because TRL would average the two."""
        if name in self.own_metrics:
            raise ValueError(f"log_metric must be given a name of your own, got {name!r}, a metric of the trainer.")
        super()._log_metric(name, value)

    def _log_own(self, name: str, value: float) -> None:
        super()._log_metric(name, value)


def with_columns(rows: list[dict[str, Any]], first: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with only the columns of the loader's rows, which may lack columns that the model does not take."""
    columns = {*itertools.chain(*first)}
    return [{name: row[name] for name in row if name in columns} for row in rows]


def _by_completion(extra: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """The values that reward functions logged with `log_extra`, for each of `count` completions.

    Of several calls for one column the last one counts, as in TRL.
    """
    columns = {name: values[-count:] for name, values in extra.items() if values}
    for name, values in columns.items():
        if len(values) < count:
            raise ValueError(
                f"log_extra must be given a value for each of {count} completions, got {len(values)} for {name!r}. "
                "Give None where there is none."
            )
    return [{name: values[place] for name, values in columns.items()} for place in range(count)]


def _mean(values: Tensor) -> float:
    return values.nanmean().item()


def _deviation(values: Tensor) -> float:
    """The sample standard deviation of the scored values; NaN for fewer than two."""
    scored = values[~values.isnan()]
    return scored.std().item() if len(scored) > 1 else torch.nan
