"""What methods make of logged groups: the trainer's own functions on the trainer's own inputs, without a trainer.

B groups of G completions, as in `manypaths.methods`. Groups of one size are worked on together; sizes may differ.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manypaths import embed, keys
from manypaths.completion_inputs import CompletionInputs, is_correct
from manypaths.explain.choices import Choice
from manypaths.explain.effect import Effect, Neighbour, OfGroup
from manypaths.logs import LoggedGroup
from manypaths.methods import has_nonzero_std
from manypaths.methods.bind import adjust, bind_advantage, bind_reweight, replace_advantages
from manypaths.methods.effect import Scaling
from manypaths.methods.inputs import inputs_of
from manypaths.methods.measures import nearest_sibling, share_of_advantage

AT_ONCE = 1024  # completions that are embedded together
PROGRESS = (0.0, 0.25, 0.5, 0.75, 1.0)  # shares of a training at which a method must do the same
EPSILON = 1e-4  # TRL's, beside the deviation
REMEDIES = {
    "correct": "Name the reward by which a completion is correct, above 0.5: --correct NAME. The log has {rewards}.",
    "keys": "Add keys.name=answer, or another function of manypaths.keys, to the words of --method.",
    "lengths": "The log does not say how many tokens each completion has.",
    "logprobs": "A log of completions has no log-probabilities of the policy.",
}


@dataclass(frozen=True)
class _Chunk:
    """Some groups of one size: their places in the log, the groups, and their rewards [B, G]."""

    places: list[int]
    groups: list[LoggedGroup]
    rewards: Tensor


@dataclass(frozen=True)
class _Worked:
    """What a method made of a chunk: its inputs by name, and the rewards after the reweighting [B, G]."""

    chunk: _Chunk
    inputs: dict[str, Tensor]
    adjusted: Tensor


def effects(groups: Sequence[LoggedGroup], plain: Choice, choices: Sequence[Choice], scale: str) -> list[Effect]:
    """What plain GRPO and each method would have made of the groups of a log.

    Args:
        groups: of a log. A completion without a reward is unscored.
        plain: the choice without a method.
        choices: the methods.
        scale: what the distance from the mean of the group is divided by: the standard deviation of the `group`, that
            of the `batch` (all groups of the same step), or nothing (`none`), as TRL's scale_rewards.

    Returns:
        The effects of `plain` and of each of `choices`, of all groups in the order of the log.

    Raises:
        ValueError: a method lacks an input, has wrong options, or has no effect with this scaling; before any embedder
            is loaded.
    """
    embedders: dict[str, _Embedder] = {}
    methods = [_Method(choice, embedders, groups, scale) for choice in (plain, *choices)]
    worked: list[list[_Worked]] = [[] for _ in methods]
    for chunk in _chunks(groups):
        for method, parts in zip(methods, worked, strict=True):
            parts.append(method.work(chunk))
    results: list[Effect] = []
    for method, parts in zip(methods, worked, strict=True):
        deviations = _deviations(parts, scale)
        of_groups: dict[int, OfGroup] = {}
        for part in parts:
            own = scaled(part.adjusted, deviations(part))
            baseline = [results[0].groups[place].advantages for place in part.chunk.places] if results else own.tolist()
            for place, of_group in zip(part.chunk.places, method.finish(part, own, baseline), strict=True):
                of_groups[place] = of_group
        results.append(Effect(method.choice, [of_groups[place] for place in range(len(groups))]))
    return results


class _Embedder:
    """An embedder of a recipe that is checked now and loaded when it is first called; it remembers the last texts."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        embed.check(name, options)
        self._name, self._options = name, options
        self._embed: embed.Embedder | None = None
        self._last: tuple[list[str], Any] = ([], None)

    def __call__(self, texts: list[str]) -> Any:
        if self._embed is None:
            self._embed = embed.embedder(self._name, **self._options)
        if self._last[0] != texts:
            self._last = texts, self._embed(texts)
        return self._last[1]


class _Method:
    """A method with all that makes its inputs.

    Raises:
        ValueError: an unknown name or option, an input that the log does not have, or as `check_effect`.
    """

    def __init__(
        self, choice: Choice, embedders: dict[str, _Embedder], groups: Sequence[LoggedGroup], scale: str
    ) -> None:
        self.choice, self._correct = choice, choice.spec.method.correct
        try:
            self._bind(embedders, groups, scale)
        except ValueError as error:
            raise ValueError(f"--method {choice.label!r}: {error}") from error

    def _bind(self, embedders: dict[str, _Embedder], groups: Sequence[LoggedGroup], scale: str) -> None:
        method, named, own = self.choice.spec.method, self.choice.spec.embedder, self.choice.spec.keys
        wrappers = method.among_correct, method.keep_equal_rewards, method.shuffled
        self._reweight = bind_reweight(method.reweight, method.options, "method.reweight", *wrappers)
        options, placebo = method.advantage_options, method.shuffled
        self._advantage = bind_advantage(method.advantage, options, "method.advantage", placebo)
        roles = (("reweight", self._reweight), ("advantage", self._advantage))
        own_inputs = {name for role, function in roles if function is not None for name in inputs_of(function, role)}
        self._compares_ways = "keys" in own_inputs
        self._shows_neighbours = "similarity" in own_inputs or not own_inputs
        rewards = list(dict.fromkeys(name for group in groups for name in group.rewards))
        verdicts = self._correct in rewards or any(group.correct is not None for group in groups)
        lengths = all(group.tokens is not None and None not in group.tokens for group in groups)
        given = ["rewards", "progress", *["correct"] * verdicts, *["lengths"] * lengths]
        embedder = None
        if named.name != "keys":
            embedder = embedders.setdefault(repr(named), _Embedder(named.name, named.options))
        elif own.name is None:
            raise ValueError("embedder.name=keys must come with keys.name, such as keys.name=answer.")
        self._inputs = CompletionInputs(
            embedder,
            keys.bind(own.name, own.options) if own.name is not None else None,
            methods={"reweight": self._reweight, "advantage": self._advantage},
            available={"reweight": given, "advantage": [*given, "adjusted", "advantages"]},
            remedies={name: text.format(rewards=", ".join(rewards)) for name, text in REMEDIES.items()},
            scaling=Scaling(scale, f"scale_rewards={scale!r}", "Set --scale-rewards none, or leave the method out."),
        )

    def work(self, chunk: _Chunk) -> _Worked:
        """The rewards after the reweighting, and the inputs that they were made of."""
        completions = [text for group in chunk.groups for text in group.completions]
        prompts = [group.prompt for group in chunk.groups for _ in group.completions]
        rows = self._inputs.of_process(completions, prompts)
        texts = list(zip(completions, prompts, strict=True))
        inputs = {"rewards": chunk.rewards}
        inputs |= self._inputs.of_groups(rows, chunk.rewards.shape, copies=False, texts=texts)
        if "correct" in self._inputs.wanted:
            inputs["correct"] = torch.stack([self._verdicts(group) for group in chunk.groups])
        if "lengths" in self._inputs.wanted:
            inputs["lengths"] = torch.tensor([group.tokens for group in chunk.groups])
        adjusted = chunk.rewards
        if self._reweight is not None:
            adjusted = self._at_any_time(functools.partial(adjust, self._reweight), inputs)
        return _Worked(chunk, inputs, adjusted)

    def _at_any_time(self, call: Callable[..., tuple[Tensor, Any]], inputs: dict[str, Tensor]) -> Tensor:
        """What a method returns, which must not depend on the progress of the training: a log does not say it."""
        tried = PROGRESS if "progress" in self._inputs.wanted else PROGRESS[:1]
        first, *others = [call(inputs | {"progress": torch.tensor(progress)})[0] for progress in tried]
        if not all(torch.equal(first.nan_to_num(), other.nan_to_num()) for other in others):
            raise ValueError(
                f"--method {self.choice.label!r} must not change with the progress of the training, which a log does "
                "not say. Set its option to one number, such as the k of one moment."
            )
        return first

    def _verdicts(self, group: LoggedGroup) -> Tensor:
        """1 for a correct completion, 0 for another, NaN where that is unknown: [G].

        By the reward that the recipe names, where the group has it; else as the log says.
        """
        if self._correct in group.rewards:
            return is_correct(_numbers(group.rewards[self._correct]))
        return _numbers(group.correct or [None] * len(group.completions))

    def finish(self, worked: _Worked, own: Tensor, baseline: list[list[float]]) -> list[OfGroup]:
        """What the method made of each group.

        Args:
            worked: of `work`.
            own: the trainer's own advantages of the adjusted rewards [B, G].
            baseline: those of the raw rewards.
        """
        rewards, adjusted = worked.chunk.rewards, worked.adjusted
        advantages = own
        if self._advantage is not None:
            inputs = worked.inputs | {"rewards": adjusted, "advantages": own}
            advantages = self._at_any_time(functools.partial(replace_advantages, self._advantage), inputs)
        pair = (torch.tensor(baseline).to(advantages), advantages)
        share = share_of_advantage(*(values.masked_fill(rewards.isnan(), torch.nan) for values in pair))
        compared = rewards
        if self.choice.spec.method.among_correct and self._reweight is not None:
            compared = rewards.masked_fill(worked.inputs["correct"] != 1, torch.nan)
        neighbours = _neighbours(compared, worked.inputs.get("similarity") if self._shows_neighbours else None)
        ways: Sequence[list[int] | None] = [None] * len(rewards)
        if self._compares_ways:
            ways = [_ways(row) for row in worked.inputs["keys"].tolist()]
        columns = (_or_none(adjusted), advantages.tolist(), _or_none(share), neighbours, ways)
        return [OfGroup(*parts) for parts in zip(*columns, strict=True)]


def scaled(rewards: Tensor, deviation: Tensor | None) -> Tensor:
    """GRPO's advantages, as TRL computes them: (reward - mean of the group) / (deviation + 1e-4).

    Args:
        rewards: [B, G], NaN for an unscored completion.
        deviation: [B, 1]; None divides by nothing.

    Returns:
        [B, G], 0 for an unscored completion, and exactly 0 in groups whose rewards are all equal.
    """
    advantages = rewards - rewards.nanmean(1, keepdim=True)
    if deviation is not None:
        advantages = advantages / (deviation + EPSILON)
    return advantages.nan_to_num(0.0).masked_fill(~has_nonzero_std(rewards).unsqueeze(1), 0.0)


def _deviations(parts: Sequence[_Worked], scale: str) -> Callable[[_Worked], Tensor | None]:
    """What the advantages of a chunk are divided by: [B, 1], or None for nothing."""
    if scale == "none":
        return lambda _: None
    if scale == "group":
        return lambda part: _deviation(part.adjusted)
    rewards: defaultdict[int | None, list[Tensor]] = defaultdict(list)
    for part in parts:
        for group, row in zip(part.chunk.groups, part.adjusted, strict=True):
            rewards[group.step].append(row)
    of_steps = {step: _deviation(torch.cat(rows).unsqueeze(0)) for step, rows in rewards.items()}
    return lambda part: torch.cat([of_steps[group.step] for group in part.chunk.groups])


def _deviation(rewards: Tensor) -> Tensor:
    """The standard deviation of a sample, as TRL has it: [B, n] -> [B, 1]; NaN for fewer than two scored rewards."""
    count = (~rewards.isnan()).sum(1, keepdim=True)
    variance = (rewards - rewards.nanmean(1, keepdim=True)).square().nanmean(1, keepdim=True)
    return (variance * (count / (count - 1)).masked_fill(count < 2, torch.nan)).sqrt()


def _chunks(groups: Sequence[LoggedGroup]) -> Iterator[_Chunk]:
    """Groups of one size together, at most `AT_ONCE` completions unless one group has more."""
    places: defaultdict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        places[len(group.completions)].append(place)
    for size, of_size in places.items():
        count = max(1, AT_ONCE // max(1, size))
        for start in range(0, len(of_size), count):
            chosen = of_size[start : start + count]
            own = [groups[place] for place in chosen]
            yield _Chunk(chosen, own, torch.stack([_numbers(group.total) for group in own]))


def _neighbours(rewards: Tensor, similarity: Tensor | None) -> list[list[Neighbour | None]]:
    """The nearest sibling of each completion of each group."""
    if similarity is None:
        return [[None] * rewards.shape[1] for _ in rewards]
    values, indices = (part.tolist() for part in nearest_sibling(rewards, similarity))
    return [
        [Neighbour(index, value) if math.isfinite(value) else None for value, index in zip(*row, strict=True)]
        for row in zip(values, indices, strict=True)
    ]


def _ways(keys_of_group: Sequence[int]) -> list[int]:
    """Keys of one group, numbered from 0 in the order in which they first occur."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys_of_group]


def _numbers(values: Sequence[float | None]) -> Tensor:
    """float32, NaN for None: [G]."""
    return torch.tensor([math.nan if value is None else float(value) for value in values])


def _or_none(values: Tensor) -> list[Any]:
    """The numbers of a tensor as lists of its shape, None for NaN."""
    rows = values.tolist() if values.dim() > 1 else [values.tolist()]
    lists = [[None if math.isnan(value) else value for value in row] for row in rows]
    return lists if values.dim() > 1 else lists[0]
