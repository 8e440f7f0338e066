"""Diversity where the trainer is not ours to subclass: one reward function around the user's own, in TRL's form."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from manypaths.completion_inputs import ADVANTAGES_WORK_IN, REMEDIES, CompletionInputs, is_correct
from manypaths.embed import Embedder
from manypaths.grouping import group_size, row_hashes, size_in_trainer
from manypaths.keys import Keys
from manypaths.messages import Completion, own_tokens, prompt_text, text_of
from manypaths.methods import Reweighter, weighted_sum
from manypaths.methods.bind import adjust
from manypaths.methods.contracts import check_finite
from manypaths.methods.effect import Scaling, check_effect
from manypaths.methods.measures import measures
from manypaths.names import distinct, name_of, position_of
from manypaths.trainers import AS_ADVANTAGE, available, trl_scaling

_IN_TRAINERS: WeakKeyDictionary[Any, list[DiverseReward]] = WeakKeyDictionary()  # those that a trainer has called

RewardFunction = Callable[..., Any]  # (prompts, completions, **columns) -> list[float | None], or a coroutine of it


class DiverseReward:
    """A reward function that gives the adjusted rewards: the weighted sum of others, reweighted inside each group.

    For trainers that take reward functions in TRL's form where `DiverseGRPOTrainer` cannot stand: RLOO, AsyncGRPO,
    Axolotl, Unsloth, `trl grpo --reward_funcs my_module.my_object`. A reward function is not told whether it is in
    training or in evaluation, so, unlike there, evaluation is reweighted too.

    Args:
        reward_funcs: a function `(prompts, completions, **columns) -> list[float | None]`, or several; coroutine
            functions as well, each call in an event loop of its own. None is an unscored completion.
        reweight: a method -> adjusted rewards [B, G], as in `DiverseGRPOTrainer`. Of the inputs by name a reward
            function cannot have advantages and log-probabilities; it has lengths where the trainer passes
            `completion_ids`, and progress where it passes `trainer_state`, as TRL does.
        embedder, keys, correct: as in `DiverseGRPOTrainer`.
        num_generations: G, the trainer's own; completions of one prompt must follow each other.
        reward_weights: one for each function; 1 if left out.
        num_generations_eval: the trainer's own, where it is another. TRL's trainers are asked themselves for both.
        advantage: must be None: a reward function works before there are advantages. The message says where one works.

    Called with `prompts`, `completions` and columns, it returns one adjusted reward per completion, None where every
    function gave None. A group may straddle processes: rewards and embeddings are gathered over all of them, and each
    process gets its own rows back. What the trainer calls it by, and logs, is `adjusted`; the raw means and the
    measures of diversity are logged beside it where the trainer passes `log_metric`, and raw rewards go into the table
    of completions where it passes `log_extra`. A second one in the same trainer logs as `rewards/raw_2/mean`,
    `diversity_2/similarity` and so on; give it a `__name__` of its own, or the trainer logs both as `adjusted`.

    A group is `num_generations` completions in a row; TRL's GRPO and RLOO trainers are asked for the number. Elsewhere
    it is so many of one row of the data (`manypaths.grouping.group_size`).

    Raises:
        ValueError: for what is no function, weights that do not match, fewer than one generation, and a method whose
            inputs are not all there; when called, for a function that returns another number of rewards, no numbers, or
            infinity unless its weight is 0, or logs a metric under a name of these here; for a batch that is not made
            of whole groups, and a `num_generations` that is not the trainer's.
    """

    def __init__(
        self,
        reward_funcs: RewardFunction | Sequence[RewardFunction],
        *,
        reweight: Reweighter,
        embedder: Embedder | None = None,
        keys: Keys | None = None,
        correct: str | int | None = None,
        num_generations: int,
        reward_weights: Sequence[float] | None = None,
        num_generations_eval: int | None = None,
        advantage: None = None,
    ) -> None:
        if advantage is not None:
            raise ValueError(f"DiverseReward must be given no advantage, got {advantage!r}. {ADVANTAGES_WORK_IN}")
        functions: list[Any] = [reward_funcs] if callable(reward_funcs) else list(reward_funcs)
        weights = [1.0] * len(functions) if reward_weights is None else list(reward_weights)
        sizes = [num_generations] if num_generations_eval is None else [num_generations, num_generations_eval]
        for function in functions:
            if isinstance(function, torch.nn.Module) or not callable(function):
                kind = f"{type(function).__name__}, a model or its name"
                raise ValueError(
                    f"DiverseReward must be given functions, got {kind}. List it in the trainer, beside this."
                )
        if not functions or len(weights) != len(functions):
            raise ValueError(
                f"DiverseReward must be given one weight a function, got {len(weights)} for {len(functions)}."
            )
        if not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise ValueError(f"DiverseReward's num_generations must be a whole number of 1 or more, got {sizes}.")
        if reweight is None:
            raise ValueError("DiverseReward must be given a reweighter, got None. Pass reweight=manypaths.mmr.")
        self.inputs = CompletionInputs(
            embedder,
            keys,
            methods={"reweight": reweight},
            available=available("DiverseReward", correct=correct is not None),
            remedies=REMEDIES
            | dict.fromkeys(
                ("advantages", "adjusted"), f"A reward function works before there are any. {ADVANTAGES_WORK_IN}"
            )
            | {"logprobs": "A trainer passes none to a reward function. Take DiverseGRPOTrainer."},
            scaling=Scaling("none", "every trainer that compares siblings does so", AS_ADVANTAGE),
        )
        names = [_name(function) for function in functions]
        self._correct = None if correct is None else position_of(names, correct, "correct")
        self.reward_funcs, self.reward_weights, self.sizes = functions, torch.tensor(weights).float(), sizes
        self._names = distinct([*names, "raw", "adjusted"])
        self.__name__ = self._names[-1]  # what trainers log it as

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        number = self._number(getattr(columns.get("log_metric"), "__self__", None))
        logged = _Logged(columns.get("log_metric"), columns.get("log_extra"))
        own = self._score(prompts=prompts, completions=completions, **columns | logged.instead_of(columns))
        texts = self._texts(prompts, completions)
        own_rows = {"rewards": own, **self._rows(texts, columns | {"completions": completions})}
        size = size_in_trainer(columns.get("log_metric"), self.sizes[0])
        hashes = row_hashes(prompts, columns) if size is None else []
        parts, rank = gather_parts((hashes, texts if self.inputs.wants_whole_groups else [], own_rows))
        rows = {name: torch.cat([part[2][name] for part in parts]) for name in own_rows}
        rewards = rows["rewards"]
        check_finite(self._names, rewards, self.reward_weights)
        if size is None:
            keys = [row for part in parts for row in part[0]]
            size = group_size([prompt for prompt, _ in keys], self.sizes, [columns for _, columns in keys])
        inputs = self._inputs(rows, [pair for part in parts for pair in part[1]], size)
        if "progress" in self.inputs.wanted:
            inputs["progress"] = self._progress(columns.get("trainer_state"))
        raw = inputs["rewards"]
        adjusted, diagnostics = adjust(self.reweight, inputs)

        if "log_metric" in columns:
            metrics = self._metrics(rewards, raw, measures(raw, adjusted, inputs.get("similarity"), diagnostics))
            metrics = {_numbered(name, number): values for name, values in metrics.items()}
            if clashes := sorted(metrics.keys() & logged.metrics):
                raise ValueError(
                    f"log_metric must be given a name of your own, got {clashes[0]!r}, a metric of DiverseReward's."
                )
            for name, values in metrics.items():
                columns["log_metric"](name, values.nanmean().item())
        before = sum(len(part[2]["rewards"]) for part in parts[:rank])
        mine = slice(before, before + len(completions))
        if "log_extra" in columns:
            columns["log_extra"](distinct([*logged.extras, *["raw"] * number])[-1], _with_none(raw.flatten()[mine]))
        return _with_none(adjusted.flatten()[mine])

    @property
    def reweight(self) -> Reweighter:
        """The method; it may be replaced between two calls."""
        reweight = self.inputs.methods["reweight"]
        assert reweight is not None
        return reweight

    @reweight.setter
    def reweight(self, reweight: Reweighter) -> None:
        self.inputs.replace(self.inputs.embedder, {"reweight": reweight})

    def _texts(self, prompts: Sequence[Any], completions: Sequence[Completion]) -> list[tuple[str, str]]:
        """(what the model wrote, its problem where keys are wanted) of each completion of this process."""
        problems = [prompt_text(prompt) if self.inputs.wants_keys else "" for prompt in prompts]
        return [(text_of(completion), problem) for completion, problem in zip(completions, problems, strict=True)]

    def _rows(self, texts: Sequence[tuple[str, str]], columns: dict[str, Any]) -> dict[str, Tensor]:
        """What the method wants of this process's completions and their problems, to be gathered."""
        rows = self.inputs.of_process([completion for completion, _ in texts], [problem for _, problem in texts])
        if "lengths" in self.inputs.wanted:
            if columns.get("completion_ids") is None:
                raise ValueError(
                    f"reweight {name_of(self.reweight)!r} must be given lengths, which is missing here: this trainer "
                    "passes no completion_ids to reward functions. Take another method, or TRL's GRPOTrainer."
                )
            names = ("completion_ids", "tool_mask", "completions", "trainer_state")
            tokens = own_tokens(self.__name__, **{name: columns[name] for name in names if name in columns})
            rows["lengths"] = torch.tensor([len(own) for own in tokens], dtype=torch.int64)
        return {name: values.cpu() for name, values in rows.items()}

    def _inputs(self, rows: dict[str, Tensor], texts: Sequence[tuple[str, str]], size: int) -> dict[str, Tensor]:
        """The inputs of the method by name, in groups of this size, of rows of all processes."""
        raw = weighted_sum(rows["rewards"], self.reward_weights).view(-1, size)
        inputs = {"rewards": raw, **self.inputs.of_groups(rows, raw.shape, copies=True, texts=texts)}
        if "lengths" in rows:
            inputs["lengths"] = rows["lengths"].view(raw.shape)
        if "correct" in self.inputs.wanted:
            inputs["correct"] = is_correct(rows["rewards"][:, self._correct]).view(raw.shape)
        return inputs

    def _progress(self, state: Any) -> Tensor:
        """The share of the training that is done, of the `trainer_state` that TRL passes."""
        if state is None or state.max_steps < 1:
            raise ValueError(
                f"reweight {name_of(self.reweight)!r} must be given progress, which is missing here: this trainer "
                "passes no trainer_state to reward functions. Take another method, or TRL's GRPOTrainer."
            )
        return torch.tensor(state.global_step / state.max_steps)

    def _scaling_in(self, args: Any) -> Scaling | None:
        """What a trainer of TRL's divides the adjusted rewards by: GDPO each reward by its group, RLOO by the batch."""
        if getattr(args, "multi_objective_aggregation", None) == "normalize_then_sum":
            return Scaling("group", "multi_objective_aggregation='normalize_then_sum'", AS_ADVANTAGE)
        if hasattr(args, "scale_rewards"):
            return trl_scaling(args)
        return Scaling("batch", "normalize_advantages=True", AS_ADVANTAGE) if args.normalize_advantages else None

    def _number(self, trainer: Any) -> int:
        """Which of the DiverseRewards of a trainer this is, from 1 on."""
        if not hasattr(trainer, "num_generations"):  # no trainer of TRL's
            return 1
        called = _IN_TRAINERS.setdefault(trainer, [])
        if self not in called:
            if scaling := self._scaling_in(trainer.args) if hasattr(trainer, "args") else None:
                check_effect(self.reweight, scaling)
            called.append(self)
        return called.index(self) + 1

    def _score(self, **named: Any) -> Tensor:
        """Rewards of this process's completions, [n, K]; NaN for None."""
        count = len(named["completions"])
        columns = []
        for function in self.reward_funcs:
            returned = function(**named)
            if inspect.isawaitable(returned):
                returned = _wait_for(returned)
            scores = _numbers(_name(function), returned)
            if len(scores) != count:
                who = f"Reward function {_name(function)!r}"
                raise ValueError(f"{who} must return one reward per completion, {count}, got {len(scores)}.")
            columns.append(torch.tensor(scores, dtype=torch.float32))
        return torch.stack(columns, dim=1)

    def _metrics(self, rewards: Tensor, raw: Tensor, diversity: dict[str, Tensor]) -> dict[str, Tensor]:
        columns = zip(self._names, [*rewards.unbind(1), raw], strict=False)  # the last name is not logged here
        return {**{f"rewards/{name}/mean": column for name, column in columns}, **diversity}


def gather_parts(own: Any) -> tuple[list[Any], int]:
    """(what all processes have, in order of their ranks; the rank of this one); its own alone without a group."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own], 0
    from accelerate import PartialState
    from accelerate.utils import gather_object

    return list(gather_object([own])), int(PartialState().process_index)


def _wait_for(awaitable: Any) -> Any:
    """The result of a coroutine, run in a thread of its own, since this one may already run an event loop."""

    async def result() -> Any:
        return await awaitable

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(result())).result()


def _name(function: Any) -> str:
    """As TRL names it: a `functools.partial` by what it wraps, an object by its class."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _numbers(name: str, returned: Any) -> list[float]:
    """The rewards that a function returned, NaN for None; a text is no number, as in TRL."""
    try:
        scores = list(returned)
        if texts := [score for score in scores if isinstance(score, str)]:
            raise TypeError(f"{texts[0][:40]!r} is a text")
        return [torch.nan if score is None else float(score) for score in scores]
    except (TypeError, ValueError) as error:
        raise ValueError(f"Reward function {name!r} must return a list of numbers or None: {error}.") from error


class _Logged:
    """Passes on what reward functions log, and keeps the names."""

    def __init__(self, log_metric: Any, log_extra: Any) -> None:
        self._log_metric, self._log_extra = log_metric, log_extra
        self.metrics: set[str] = set()
        self.extras: set[str] = set()

    def instead_of(self, columns: dict[str, Any]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("log_metric", "log_extra") if name in columns}

    def log_metric(self, name: str, value: float) -> None:
        self.metrics.add(name)
        self._log_metric(name, value)

    def log_extra(self, column: str, values: list[Any]) -> None:
        self.extras.add(column)
        self._log_extra(column, values)


def _numbered(metric: str, number: int) -> str:
    """The name of a metric of the second in a trainer, and so on: rewards/raw_2/mean, diversity_2/similarity."""
    parts = metric.split("/")
    place = int(parts[0] == "rewards")
    parts[place] += f"_{number}" * (number > 1)
    return "/".join(parts)


def _with_none(rewards: Tensor) -> list[float | None]:
    return [None if reward != reward else reward for reward in rewards.tolist()]
