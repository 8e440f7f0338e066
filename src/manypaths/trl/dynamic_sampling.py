"""DAPO's dynamic sampling for TRL's GRPOTrainer, which has DAPO's loss and clipping but not this."""

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
from manypaths.names import distinct
from manypaths.trl.data_order import Position
from manypaths.trl.text_alone import check_data, check_rows, text_alone
from manypaths.trl.tool_mask import ToolMaskGRPOTrainer

COUNTS = ("batches", "thrown_away", "surplus", "unfilled", "extra_seconds")


@dataclass
class Sampled:
    """A full batch, until TRL asks for it."""

    generated: tuple[Any, ...]  # this process's, as `GRPOTrainer._generate` returns it
    rewards: Tensor  # [N, K] of all processes; NaN for the groups that fill up the batch
    everything: Tensor  # [M, K] of all that was sampled for it, M >= N
    seconds: float  # spent on rewards


class DynamicSamplingGRPOTrainer(ToolMaskGRPOTrainer):
    """`trl.GRPOTrainer` with one change: groups that teach nothing are replaced before they reach the update.

    DAPO (arXiv 2503.14476), Eq. 11. In training, batch after batch is sampled until there are enough groups in which
    one reward function has spread; the first batch is the data loader's. The others are drawn from the same dataset
    with the seed and the step, or, with `shuffle_dataset=False`, go on in the data's order behind the loader's batch,
    from the beginning again at its end; the next step begins where it begins without dynamic sampling. Rewards are
    computed where the answers are sampled, and everything after that sees the full batch alone. When the bound is
    reached, groups without spread fill up the batch, with all their rewards None: TRL gives them advantage 0.

    Args:
        dynamic_sampling: the name of the reward function, or its position in `reward_funcs`; None is GRPOTrainer to
            the last bit.
        max_batches: how many generation batches a step may sample, the first included.
        host: everything else goes to `GRPOTrainer`.

    Reward functions with one name are logged as NAME, NAME_2, ...

    Its metrics: `dynamic_sampling/batches` sampled, `/thrown_away` groups without spread, `/surplus` groups with
    spread for which there was no place, `/unfilled` places, which groups without spread took, `/extra_seconds` after
    the first batch. TRL's metrics of rewards (`reward`, `reward_std`, `rewards/NAME/mean` and `/std`, and by group
    `frac_reward_zero_std`) are raw and of all that was sampled, as its metrics of lengths and tokens are (of which min
    and max are means over the batches); those of the update, such as `kl` and `entropy`, are of the full batch.

    Raises ValueError for a reward function that is not there or is not the only one of its name, max_batches under 1,
    streamed data, and for tools, environments, rollout functions, images and other media, whose state cannot be moved
    between batches.
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
            check_data(data)  # before a model loads
        super().__init__(*host, **named_host)
        self.dynamic_sampling, self.max_batches = dynamic_sampling, max_batches
        self.own_metrics: set[str] = set()  # names under which a reward function must not log
        self._sampled: Sampled | None = None
        self._position = Position()
        names = self.reward_func_names
        self.reward_func_names = distinct(names)
        if dynamic_sampling is None:
            return
        self._column = _column(names, dynamic_sampling)
        check_data(self.train_dataset)
        if self.tools or self.environment_factories or self.rollout_func:
            raise ValueError("Dynamic sampling asks for plain text; given tools, an environment or a rollout function.")
        self.own_metrics |= {f"dynamic_sampling/{name}" for name in COUNTS}
        self.add_callback(self._position)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            if self.model.training and self.dynamic_sampling is not None:
                inputs = self._fill_batch(inputs)
            logged = {name: len(values) for name, values in self._metrics["train"].items()}
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            if self._sampled is not None:
                self._log_raw_rewards(self._sampled.everything, logged)
        except BaseException:  # what a broken step has logged belongs to no completion of the next one
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
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return rewards

    def _fill_batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Sample until all places are taken by groups with spread -> this process's rows; the rest in `_sampled`."""
        size, count = self.num_generations, len(inputs)
        places = count * self.accelerator.num_processes // size
        with_spread: list[tuple[list[Any], Tensor]] = []
        without: list[tuple[list[Any], Tensor]] = []
        fresh, everything = self._fresh_inputs(places, count), []
        first_end, seconds = 0.0, 0.0
        for batch in range(1, self.max_batches + 1):
            rows, rewards, spent = self._sample(inputs if batch == 1 else _with_columns(next(fresh), inputs))
            seconds += spent
            everything.append(rewards)
            for group, good in enumerate(has_nonzero_std(rewards[:, self._column].view(-1, size)).tolist()):
                own = slice(group * size, (group + 1) * size)
                (with_spread if good else without).append((rows[own], rewards[own]))
            first_end = first_end or time.perf_counter()
            if len(with_spread) >= places:
                break
        unfilled = max(0, places - len(with_spread))
        counts = (batch, len(without) - unfilled, max(0, len(with_spread) - places), unfilled)
        for name, value in zip(COUNTS, (*counts, time.perf_counter() - first_end), strict=True):
            self._log_own(f"dynamic_sampling/{name}", value)

        chosen = (with_spread + without)[:places]
        rewards = torch.cat([each for _, each in chosen])
        rewards[len(with_spread) * size :] = torch.nan
        own_rows = self._own([row for rows, _ in chosen for row in rows], count)
        inputs, prompt_ids, completion_ids, completions, logprobs, extra = map(list, zip(*own_rows, strict=True))
        for key in dict.fromkeys(itertools.chain(*extra)):  # None where a batch logged no such column
            self._pending_extra_logs[key] = [logged.get(key) for logged in extra]
        scored = None if logprobs[0] is None else logprobs
        self._sampled = Sampled(
            generated=(prompt_ids, completion_ids, None, completions, scored, {}, None, []),
            rewards=rewards,
            everything=torch.cat(everything),
            seconds=seconds,
        )
        return inputs

    def _sample(self, inputs: list[dict[str, Any]]) -> tuple[list[Any], Tensor, float]:
        """One generation batch -> rows and rewards [N, K] of all processes, and the seconds spent on rewards."""
        check_rows(inputs)
        prompts = [row["prompt"] for row in inputs]
        prompt_ids, completion_ids, completions, logprobs = text_alone(super()._generate(prompts))
        began = time.perf_counter()
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids)
        seconds = time.perf_counter() - began
        counts = self.reward_weights != 0
        counts[self._column] = True
        check_finite(self.reward_func_names, rewards, counts)
        extra = _by_completion(self._pending_extra_logs, len(inputs))
        self._pending_extra_logs.clear()
        columns = (inputs, prompt_ids, completion_ids, completions, logprobs or [None] * len(inputs), extra)
        return gather_object(list(zip(*columns, strict=True))), rewards, seconds

    def _fresh_inputs(self, places: int, count: int) -> Iterator[list[dict[str, Any]]]:
        """This process's rows of batches of `places` prompts: after the loader's in the data's order, or drawn anew in
        each step; the same in all processes and after a resume."""
        for chosen in self._in_order(places) if not self.shuffle_dataset else self._drawn(places):
            rows = [self.train_dataset[index] for index in chosen for _ in range(self.num_generations)]
            yield self._own(rows, count)

    def _drawn(self, places: int) -> Iterator[list[int]]:
        draw = random.Random(f"{self.args.seed} {self.state.global_step} {self._position.substep}")
        while True:
            yield draw.sample(range(len(self.train_dataset)), places)

    def _in_order(self, places: int) -> Iterator[list[int]]:
        """Rows after the batch that the loader gives now: it serves each for `repeat` micro-steps, and drops the last
        rows of the data if they make no whole batch."""
        args, rows = self.args, len(self.train_dataset)
        repeat = self.num_iterations * args.steps_per_generation
        updates = -(-(rows // places * repeat) // args.gradient_accumulation_steps)  # of an epoch
        update = (self.state.global_step - self._position.begun) % updates
        batch = (update * args.gradient_accumulation_steps + self._position.substep) // repeat
        for start in itertools.count((batch + 1) * places, places):
            yield [(start + place) % rows for place in range(places)]

    def _own(self, everybodys: list[Any], count: int) -> list[Any]:
        """This process's `count` of the rows of all processes."""
        return everybodys[self.accelerator.process_index * count :][:count]

    def _log_raw_rewards(self, rewards: Tensor, logged: Mapping[str, int]) -> None:
        """Put what TRL logs of the full batch's rewards right: raw, of all that was sampled, [M, K].

        `logged` is how many values a metric had before TRL logged its own; after it comes what a reward function logged
        under the same name.
        """
        count = len(self.reward_funcs)
        raw = weighted_sum(rewards, self.reward_weights[:count])
        grouped = raw.view(-1, self.num_generations)
        equal = ~has_nonzero_std(grouped) & ((~grouped.isnan()).sum(1) > 1)
        values = {"reward": _mean(raw), "reward_std": _deviation(raw), "frac_reward_zero_std": _mean(equal.float())}
        for name, column in zip(self.reward_func_names[:count], rewards.unbind(1), strict=True):
            values |= {f"rewards/{name}/mean": _mean(column), f"rewards/{name}/std": _deviation(column)}
        for name, value in values.items():
            self._metrics["train"][name][logged.get(name, 0)] = value

    def _log_metric(self, name: str, value: float) -> None:
        """What a reward function logs; under a name of ours the two would be averaged."""
        if name in self.own_metrics:
            raise ValueError(f"log_metric must be given a name of your own, got {name!r}, a metric of the trainer's.")
        super()._log_metric(name, value)

    def _log_own(self, name: str, value: float) -> None:
        super()._log_metric(name, value)


def _with_columns(rows: list[dict[str, Any]], first: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with those columns alone that the loader's have: it may leave out what the model does not take."""
    columns = {*itertools.chain(*first)}
    return [{name: row[name] for name in row if name in columns} for row in rows]


def _by_completion(extra: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """What reward functions logged with `log_extra`, for each of `count` completions.

    Where several log one column the last counts, as in TRL.
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
    """The sample's, of what is scored; NaN for fewer than two."""
    scored = values[~values.isnan()]
    return scored.std().item() if len(scored) > 1 else torch.nan


def _column(names: list[str], chosen: str | int) -> int:
    if isinstance(chosen, int) and not isinstance(chosen, bool) and 0 <= chosen < len(names):
        return chosen
    if chosen not in names:
        raise ValueError(
            f"dynamic_sampling must be the name of a reward function, {' or '.join(names)}, or its position, 0 to "
            f"{len(names) - 1}, got {chosen!r}."
        )
    places = [place for place, name in enumerate(names) if name == chosen]
    if len(places) > 1:
        raise ValueError(
            f"dynamic_sampling must name one reward function, got {chosen!r}, the name of {len(places)}. Give the "
            f"position of the one that is meant, {' or '.join(map(str, places))}."
        )
    return places[0]
