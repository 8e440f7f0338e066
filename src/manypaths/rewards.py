r"""Rewards in the form that TRL calls: lists of completions and columns in, one number per completion out.

A completion is a text, or a list of messages when the data set is conversational. None means "not scored". A reward
takes the columns it names and ignores the others; its `__name__` is what TRL logs.

Columns: `completions`, `completion_ids` (their tokens, from TRL), `answer` (the gold answer, from the data set, as
`manypaths.grading.golds.gold_text` reads it) and `tool_mask` (0 for the tokens of a tool's answer, from
`DiverseGRPOTrainer`).
What is rewarded is what the model wrote: its reasoning and its calls of tools are, a tool's answer is not. Keyword-only
arguments are options; `reward` binds them. Wrong options are a ValueError, before a completion is read.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from manypaths.functions import check_options, find_function, option_defaults
from manypaths.grading import extract, shared_grader
from manypaths.grading.golds import gold_text
from manypaths.messages import Completion, ToolMask, own_tokens, text_of, turns

Reward = Callable[..., list[float | None]]
LogMetric = Callable[[str, float], None]

# columns and what else the trainer passes: no options
GIVEN = {"prompts", "completions", "completion_ids", "answer", "tool_mask"}
GIVEN |= {"trainer_state", "log_extra", "log_metric", "environments"}
LARGEST = 1e9  # a reward pays no more
_TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_TAG = re.compile(f"({'|'.join(_TAGS)})")


def accuracy(
    completions: Sequence[Completion], answer: Sequence[object], log_metric: LogMetric | None = None, **_: object
) -> list[float | None]:
    """1 where the last box holds the gold answer, 0 where not, None where there is no gold answer.

    `answer` is a column of texts, numbers or lists, as `manypaths.grading.golds.gold_text` reads them: None, NaN and
    blank texts are no gold answer, and of a list all parts are needed. How many different answers ran out of time, and
    so got 0, is logged as `accuracy/timed_out`. Unlike MMR-GRPO's released code, this does not call every answer right
    when the gold does not parse. Raises ValueError unless there are as many answers as completions, and for a gold
    answer that is an object.
    """
    verdicts = _verdicts("accuracy", completions, answer, log_metric)
    return [None if right is None else float(right) for right in verdicts]


def boxed(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the last `\boxed{}` closes and is not empty, else 0."""
    return [float(bool((extract(text_of(completion)) or "").strip())) for completion in completions]


def think(completions: Sequence[Completion], *, opened: bool = False, **_: object) -> list[float | None]:
    """1 where the text begins with <think>, has no other, and has </think> after it, else 0: TRL's own rule.

    A message whose reasoning was parsed away from its content has that form; of several messages of the assistant,
    between which tools answered, each must have it. `opened`: the chat template ends the prompt with <think>, as
    R1-Distill's does, so the completion goes on from there; the tag is put before it.
    """
    from trl.rewards import think_format_reward

    _check("think", "opened", "true or false", opened, isinstance(opened, bool))
    texts = [turns(completion, opened) for completion in completions]
    return [min(think_format_reward([[{"content": text}] for text in each])) for each in texts]


def think_answer(completions: Sequence[Completion], *, opened: bool = False, **_: object) -> list[float | None]:
    """1 where the text is <think>...</think><answer>...</answer> and white space around them, else 0.

    Each tag stands there once, and neither part is blank. The form that R1 asks for (arXiv 2501.12948, Table 1). Of
    several messages of the assistant the last one counts. `opened` as in `think`: with it, a completion that writes
    <think> once more has it twice, and gets 0.
    """
    _check("think_answer", "opened", "true or false", opened, isinstance(opened, bool))
    scores: list[float | None] = []
    for completion in completions:
        parts = _TAG.split(turns(completion, opened)[-1], maxsplit=len(_TAGS) + 1)
        filled = [bool(part.strip()) for part in parts[::2]]
        scores.append(float(parts[1::2] == _TAGS and filled == [False, True, False, True, False]))
    return scores


def format_as_released(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the text has exactly one "\n</think>\n", else 0: the format reward of MMR-GRPO's released code.

    Of several messages of the assistant, each must have one.
    """
    return [float(all(text.count("\n</think>\n") == 1 for text in turns(each))) for each in completions]


def cosine(
    completions: Sequence[Completion],
    answer: Sequence[object],
    completion_ids: Sequence[Sequence[int]],
    log_metric: LogMetric | None = None,
    tool_mask: ToolMask = None,
    trainer_state: object = None,
    *,
    max_completion_length: int,
    min_value_wrong: float = -0.5,
    max_value_wrong: float = 0.0,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    **_: object,
) -> list[float | None]:
    """A right answer is worth more the shorter it is, a wrong one less; None where there is no gold answer.

    Half a cosine over the length in tokens, flat from `max_completion_length` on (arXiv 2502.03373, Appendix C.1):
    right, from the maximum down to the minimum; wrong, from the minimum up to the maximum. The default bounds are
    those of Open-RS, experiment 3 (arXiv 2503.16219). The same function as TRL's `get_cosine_scaled_reward`, which
    grades with signals as time limits, and so not outside the main thread; this one asks our grader, and logs
    `cosine/timed_out`. The length is that of `own_tokens`.
    """
    limit, bounds = max_completion_length, [min_value_wrong, max_value_wrong, min_value_correct, max_value_correct]
    _check("cosine", "max_completion_length", "1 or more tokens", limit, _is_number(limit, int) and limit >= 1)
    names = "min_value_wrong <= max_value_wrong <= min_value_correct <= max_value_correct"
    _check("cosine", names, "numbers in this order", bounds, all(map(_is_number, bounds)) and bounds == sorted(bounds))
    verdicts = _verdicts("cosine", completions, answer, log_metric)
    own = own_tokens("cosine", completion_ids, tool_mask, completions, trainer_state)
    progress = [min(len(ids) / limit, 1.0) for ids in own]
    right, wrong = (max_value_correct, min_value_correct), (min_value_wrong, max_value_wrong)
    return _half_cosine(verdicts, progress, right, wrong)


def cosine_as_released(
    completions: Sequence[Completion], answer: Sequence[object], log_metric: LogMetric | None = None, **_: object
) -> list[float | None]:
    """The cosine reward of MMR-GRPO's released code, to reproduce its runs and for nothing else.

    min + (max - min) / 2 * (1 + cos(pi * length / 1000)), right in [0.5, 1], wrong in [-0.5, 0]. Odd about it: the
    length is in characters and has no limit, so 2,000 characters earn what none do; and a short wrong answer earns
    the most, 0, the opposite of the paper. Graded as in `cosine`; the released code calls every answer right where
    the gold does not parse.
    """
    verdicts = _verdicts("cosine_as_released", completions, answer, log_metric)
    progress = [len(text_of(completion)) / 1000 for completion in completions]
    return _half_cosine(verdicts, progress, (1.0, 0.5), (0.0, -0.5))


def repetition(
    completion_ids: Sequence[Sequence[int]],
    tool_mask: ToolMask = None,
    completions: Sequence[Completion] = (),
    trainer_state: object = None,
    *,
    ngram_size: int = 3,
    max_penalty: float = -1.0,
    **_: object,
) -> list[float | None]:
    """`max_penalty` times the share of a completion's n-grams of tokens that occurred before in it: 0 where none did.

    TRL's `get_repetition_penalty_reward` (arXiv 2502.03373, Appendix C.2), of `own_tokens`.
    """
    from trl.rewards import get_repetition_penalty_reward

    fits = _is_number(ngram_size, int) and ngram_size >= 1
    _check("repetition", "ngram_size", "an integer of 1 or more", ngram_size, fits)
    _check("repetition", "max_penalty", "0 or less", max_penalty, _is_number(max_penalty) and max_penalty <= 0)
    own = own_tokens("repetition", completion_ids, tool_mask, completions, trainer_state)
    return list(get_repetition_penalty_reward(ngram_size, max_penalty)(own))


def overlong(
    completion_ids: Sequence[Sequence[int]],
    tool_mask: ToolMask = None,
    completions: Sequence[Completion] = (),
    trainer_state: object = None,
    *,
    max_completion_length: int,
    cache: int | None = None,
    **_: object,
) -> list[float | None]:
    """0 up to `max_completion_length` - `cache` tokens, then in a straight line down to -1 at the limit and beyond.

    `cache` is a fifth of the limit if not given, as DAPO's 4,096 of 20,480. TRL's `get_soft_overlong_punishment`
    (DAPO, arXiv 2503.14476, Eq. 13), of `own_tokens`; the limit at which TRL cuts off counts a tool's answers too.
    """
    from trl.rewards import get_soft_overlong_punishment

    limit = max_completion_length
    _check("overlong", "max_completion_length", "2 or more tokens", limit, _is_number(limit, int) and limit >= 2)
    cache = max(1, limit // 5) if cache is None else cache
    fits = _is_number(cache, int) and 1 <= cache < limit
    _check("overlong", "cache", f"1 or more tokens and less than the limit of {limit}", cache, fits)
    return list(
        get_soft_overlong_punishment(limit, cache)(
            own_tokens("overlong", completion_ids, tool_mask, completions, trainer_state)
        )
    )


REWARDS: dict[str, Reward] = {
    "accuracy": accuracy,
    "boxed": boxed,
    "think": think,
    "think_answer": think_answer,
    "format_as_released": format_as_released,
    "cosine": cosine,
    "cosine_as_released": cosine_as_released,
    "repetition": repetition,
    "overlong": overlong,
}


def reward(name: str, max_completion_length: int | None = None, /, **options: Any) -> Reward:
    """A reward by its name here, or any function by its path, "package.module.function", with its options bound.

    `max_completion_length`, the trainer's in tokens, goes to a reward that names it, unless it is among the options.
    Raises ValueError for an unknown reward (and names the nearest known one), for options that it does not take and,
    of the rewards here, for values that make no sense.
    """
    function = find_function("reward", name, REWARDS)
    check_options(f"Reward {name!r}", function, options, GIVEN)
    takes, _ = option_defaults(function, GIVEN)
    if "max_completion_length" in takes and max_completion_length is not None:
        options = {"max_completion_length": max_completion_length} | options
    if takes.get("max_completion_length") is inspect.Parameter.empty and "max_completion_length" not in options:
        raise ValueError(
            f"Reward {name!r} must have max_completion_length, in tokens, got none. Set trainer.max_completion_length, "
            "or the option."
        )
    if not options:
        return function
    bound = functools.update_wrapper(functools.partial(function, **options), function)
    if function in REWARDS.values():
        bound(completions=[], completion_ids=[], answer=[])  # each checks its own options
    return bound


def bind(
    weights: Mapping[str, object], options: Mapping[str, Mapping[str, Any]], max_completion_length: int | None
) -> dict[str, Reward]:
    """The rewards of a recipe, {name: function}, with their options bound as `reward` does it.

    Raises ValueError where there is none, where options are for a reward without a weight, and as `reward` does.
    """
    if not weights:
        raise ValueError("rewards must hold one reward or more, got none. Set rewards.accuracy=1.0.")
    if unused := set(options) - set(weights):
        raise ValueError(f"reward_options has {', '.join(sorted(unused))}, but rewards does not. Give it a weight.")
    return {name: reward(name, max_completion_length, **options.get(name, {})) for name in weights}


def _verdicts(
    who: str, completions: Sequence[Completion], answer: Sequence[object], log_metric: LogMetric | None
) -> list[bool | None]:
    """Whether each completion is right; None where there is no gold answer.

    Equal pairs are graded once, several at a time; how many of them ran out of time is logged.
    """
    if len(completions) != len(answer):
        raise ValueError(
            f"Reward {who!r}: answer must have one gold answer per completion, {len(completions)}, got {len(answer)}."
        )
    golds = [gold_text(value) for value in answer]
    scored = [place for place, gold in enumerate(golds) if gold is not None]
    grader = shared_grader()
    before = grader.timed_out
    right = grader.grade([text_of(completions[place]) for place in scored], [str(golds[place]) for place in scored])
    if log_metric is not None:
        log_metric(f"{who}/timed_out", grader.timed_out - before)
    verdicts: list[bool | None] = [None] * len(golds)
    for place, verdict in zip(scored, right, strict=True):
        verdicts[place] = verdict
    return verdicts


def _half_cosine(
    verdicts: list[bool | None], progress: list[float], right: tuple[float, float], wrong: tuple[float, float]
) -> list[float | None]:
    """From the first of `right` or `wrong` at progress 0 to the second at 1; None stays None."""
    scores: list[float | None] = []
    for verdict, share in zip(verdicts, progress, strict=True):
        start, end = right if verdict else wrong
        scores.append(None if verdict is None else end + (start - end) / 2 * (1 + math.cos(math.pi * share)))
    return scores


def _is_number(value: object, kind: Any = (int, float)) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and bool(abs(value) <= LARGEST)


def _check(reward: str, option: str, bounds: str, value: object, holds: bool) -> None:
    if not holds:
        raise ValueError(f"Reward {reward!r}: {option} must be {bounds}, got {value!r}.")
