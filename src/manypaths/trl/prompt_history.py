"""A prompt history for TRL's GRPOTrainer: prompts that are likely to give a flat group are replaced before sampling."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from accelerate.utils import gather_object
from torch import Tensor

from manypaths.completion_inputs import is_correct
from manypaths.messages import prompt_text
from manypaths.names import EXPLORE_EASY, EXPLORE_HARD, KNOWN_PROMPTS, PASSED_OVER, SPREAD, position_of
from manypaths.trl.checkpoint_state import CheckpointStateGRPOTrainer
from manypaths.trl.dynamic_sampling import DynamicSamplingGRPOTrainer, with_columns
from manypaths.trl.history import PromptHistory
from manypaths.trl.text_alone import check_data, check_rows

FILE = "history.pt"  # of a checkpoint
TRIES = 20  # candidates for one place of a batch
NOT_TEXT = ("tools", "rollout_func", "environment_factory")  # arguments of GRPOTrainer
WORDS = ("A prompt history", "history")  # in messages


class PromptHistoryGRPOTrainer(CheckpointStateGRPOTrainer, DynamicSamplingGRPOTrainer):
    """Passes over prompts whose groups were all right or all wrong lately, before anything is sampled: `PromptHistory`.

    In training, each prompt of a generation batch is passed over with the probability of the history. A prompt of the
    same dataset takes its place: with `shuffle_dataset` one drawn at random with the seed and the step, otherwise the
    next one in the order of the data, as in `DynamicSamplingGRPOTrainer`, whose further batches pass over prompts, too.
    It may be passed over in turn. A prompt is considered once in a batch, and after `TRIES` candidates the first
    prompt of the place is sampled after all, so that a dataset of flat prompts trains as it would without a history.
    All processes take the same prompts, and so does a resumed training. Where no prompt is passed over the prompts
    are those that are sampled without a history.

    Every completion that was sampled counts in the history, also those that dynamic sampling drops. The rates move once
    after each generation, however many steps it serves. A prompt is its
    text (`manypaths.messages.prompt_text`): rows of the data with the same prompt share a history.

    Args:
        history: a `PromptHistory`, which this training fills; None: the parameters are equal to GRPOTrainer's to the
            bit.
        correct: the name of the reward function, or its position, by which a completion is correct: above 0.5.
        host: the arguments of `DynamicSamplingGRPOTrainer`.

    Raises:
        ValueError: for a history without `correct`; for streamed data, tools, environments, rollout functions, images
            and other media, by which two prompts of one text may differ; while resuming, for a checkpoint without
            history or with one of other settings.

    Metrics of this class, by step:
        history/passed_over: prompts that were passed over.
        history/spread: share of the sampled groups that have right and wrong completions.
        history/explore_easy, history/explore_hard: the rates after the generation.
        history/prompts: prompts with a history.
    """

    def __init__(
        self, *host: Any, history: PromptHistory | None = None, correct: str | int | None = None, **named_host: Any
    ) -> None:
        if history is not None:
            _check(history, correct, named_host)
            check_data(named_host.get("train_dataset", host[3] if len(host) > 3 else None), *WORDS)
        super().__init__(*host, **named_host)
        self._correct = None if correct is None else position_of(self.names_in_trl, correct, "correct")
        self.history = history
        if history is None:
            return
        self.checkpoint_states[FILE] = history, "the history of prompts"
        if self.tools or self.environment_factories or self.rollout_func:
            raise _not_text()
        self._passed_over = self._with_spread = self._groups = 0  # of this step
        self._prompts: list[str] | None = None  # of the batch that is sampled next, one for each group
        self._draw = random.Random(0)  # of this step, as are the rows of the data that may take a place
        self._candidates: Iterator[int] = iter(())
        self.own_metrics |= {PASSED_OVER, SPREAD, EXPLORE_EASY, EXPLORE_HARD, KNOWN_PROMPTS}
        if self.dynamic_sampling is None:
            self.add_callback(self._position)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if self.history is None or not self.model.training:
            passed: dict[str, Any] = super()._generate_and_score_completions(inputs)
            return passed
        try:
            output: dict[str, Any] = super()._generate_and_score_completions(self._first_inputs(inputs))
        finally:
            self._prompts = None
        self.history.adapt()
        rates = {EXPLORE_EASY: self.history.explore_easy, EXPLORE_HARD: self.history.explore_hard}
        counts = {PASSED_OVER: self._passed_over, KNOWN_PROMPTS: len(self.history)}
        for name, value in {**counts, SPREAD: self._with_spread / self._groups, **rates}.items():
            self._metrics["train"][name].append(float(value))
        return output

    def fresh_rewards(
        self, inputs: list[Any], prompts: list[Any], completions: list[Any], completion_ids_list: list[Any]
    ) -> Tensor:
        rewards = super().fresh_rewards(inputs, prompts, completions, completion_ids_list)
        if self.history is not None and self._prompts is not None:  # None in an evaluation
            correct = is_correct(rewards[:, self._correct]).view(-1, self.num_generations)
            self.history.update(self._prompts, correct)
            self._groups += len(correct)
            self._with_spread += int(((correct == 1).any(1) & (correct == 0).any(1)).sum())
            self._prompts = None
        return rewards

    def _first_inputs(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """This process's rows of the loader's batch, of which some prompts were replaced."""
        check_rows(inputs, *WORDS)
        size, count = self.num_generations, len(inputs)
        prompts = [prompt_text(prompt) for prompt in gather_object([row["prompt"] for row in inputs])[::size]]
        further = self._drawn(len(prompts)) if self.shuffle_dataset else self._in_order(len(prompts))
        self._candidates = itertools.chain.from_iterable(further)
        self._draw = random.Random(f"{self.args.seed} history {self.state.global_step} {self._position.substep}")
        self._passed_over = self._with_spread = self._groups = 0
        replaced = self._replacements(prompts)
        first = self.accelerator.process_index * count
        rows = [(row, replaced.get((first + place) // size)) for place, row in enumerate(inputs)]
        inputs = [row if other is None else with_columns([self.train_dataset[other]], inputs)[0] for row, other in rows]
        check_rows(inputs, *WORDS)
        return inputs

    def fresh_inputs(self, places: int, count: int) -> Iterator[list[dict[str, Any]]]:
        if self.history is None:
            yield from super().fresh_inputs(places, count)
            return
        while True:
            chosen = list(itertools.islice(self._candidates, places))
            for place, row in self._replacements([self._prompt(row) for row in chosen]).items():
                chosen[place] = row
            yield self._own([self.train_dataset[row] for row in chosen for _ in range(self.num_generations)], count)

    def _replacements(self, prompts: list[str]) -> dict[int, int]:
        """Pass over prompts of a batch, one for each group of all processes -> place: the row that takes it."""
        considered, chosen = {*prompts}, list(prompts)
        replaced: dict[int, int] = {}
        for place, prompt in enumerate(prompts):
            passed = int(self._passes(prompt))
            for row in itertools.islice(self._candidates, TRIES * passed):
                other = self._prompt(row)
                if other in considered:
                    continue
                considered.add(other)
                if not self._passes(other):
                    replaced[place], chosen[place] = row, other
                    break
                passed += 1
            self._passed_over += passed if place in replaced else max(0, passed - 1)
        self._prompts = chosen
        return replaced

    def _passes(self, prompt: str) -> bool:
        assert self.history is not None
        return self.history.pass_over(prompt, self.num_generations, self._draw)

    def _prompt(self, row: int) -> str:
        return prompt_text(self.train_dataset[row]["prompt"])


def _check(history: PromptHistory, correct: str | int | None, named: dict[str, Any]) -> None:
    """Refuse, before a model is loaded, what a history cannot work with."""
    if not isinstance(history, PromptHistory):
        raise ValueError(
            f"history must be a manypaths.trl.PromptHistory, got {history!r}. Pass history=PromptHistory()."
        )
    if correct is None:
        raise ValueError(
            "history must be given correct, which is missing here. Pass correct=NAME, the reward function by which a "
            "completion is correct (above 0.5)."
        )
    if any(named.get(name) for name in NOT_TEXT):
        raise _not_text()


def _not_text() -> ValueError:
    return ValueError(
        "A prompt history must have plain text, got tools, an environment or a rollout function. Leave history out, or "
        "train without them."
    )
