r"""Rewards in the form that TRL calls: lists of completions and columns in, one number per completion out.

A completion is a text, or a list of messages where the data set is conversational. None is the reward of an unscored
completion. A reward function names the columns that it takes and ignores the others; its `__name__` is TRL's name for
it in the logs.

Columns: `completions`, `completion_ids` (their tokens, from TRL), `answer` (the gold answer, from the data set, as
`manypaths.grading.golds.gold_text` reads it) and `tool_mask` (0 for the tokens of a tool's answer, from
`DiverseGRPOTrainer`).
Rewards judge the text of the model alone: its reasoning and its tool calls count, a tool's answer does not.
Keyword-only arguments are options; `reward` binds them and raises ValueError for wrong ones before any completion
exists.
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

# arguments that the trainer passes, and so no options
GIVEN = {"prompts", "completions", "completion_ids", "answer", "tool_mask"}
GIVEN |= {"trainer_state", "log_extra", "log_metric", "environments"}
LARGEST = 1e9  # bound on the options of rewards
_TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_TAG = re.compile(f"({'|'.join(_TAGS)})")


def accuracy(
    completions: Sequence[Completion], answer: Sequence[object], log_metric: LogMetric | None = None, **_: object
) -> list[float | None]:
    """1 where the last box holds the gold answer, else 0; None where there is no gold answer.

    MMR-GRPO's released code gives 1 to every completion where the gold answer does not parse; this function does not.

    Args:
        completions: N texts or lists of messages.
        answer: N gold answers: texts, numbers or lists, as `manypaths.grading.golds.gold_text` reads them. None, NaN
            and blank texts are no gold answer; of a list all parts are needed.
        log_metric: logs `accuracy/timed_out`, the number of distinct answers whose grading ran out of time. They get 0.

    Returns:
        N rewards.

    Raises:
        ValueError: there are not N gold answers, or one is an object.
    """
    verdicts = _verdicts("accuracy", completions, answer, log_metric)
    return [None if right is None else float(right) for right in verdicts]


def boxed(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the last `\boxed{}` is closed and not empty, else 0."""
    return [float(bool((extract(text_of(completion)) or "").strip())) for completion in completions]


def think(completions: Sequence[Completion], *, opened: bool = False, **_: object) -> list[float | None]:
    """1 where the text begins with its only <think>, and has </think> behind it, else 0: `trl.think_format_reward`.

    A message whose reasoning was parsed into a field of its own has this form. Of several messages of the assistant,
    with tools' answers between them, each must have it.

    Args:
        completions: N texts or lists of messages.
        opened: whether the chat template ends the prompt with <think>, as R1-Distill's does. The tag then counts as the
            beginning of each completion.

    Returns:
        N rewards.

    Raises:
        ValueError: `opened` is not a bool.
    """
    from trl.rewards import think_format_reward

    _check("think", "opened", "true or false", opened, isinstance(opened, bool))
    texts = [turns(completion, opened) for completion in completions]
    return [min(think_format_reward([[{"content": text}] for text in messages])) for messages in texts]


def think_answer(completions: Sequence[Completion], *, opened: bool = False, **_: object) -> list[float | None]:
    """1 where the text is <think>...</think><answer>...</answer> up to white space around them, else 0.

    Each tag occurs once, and neither part is blank: the form in R1's prompt (arXiv 2501.12948, Table 1). Of several
    messages of the assistant the last one counts.

    Args:
        completions: N texts or lists of messages.
        opened: as in `think`; a completion that repeats <think> then gets 0.

    Returns:
        N rewards.

    Raises:
        ValueError: `opened` is not a bool.
    """
    _check("think_answer", "opened", "true or false", opened, isinstance(opened, bool))
    scores: list[float | None] = []
    for completion in completions:
        parts = _TAG.split(turns(completion, opened)[-1], maxsplit=len(_TAGS) + 1)  # text, tag, text, ..., text
        filled = [bool(part.strip()) for part in parts[::2]]
        scores.append(float(parts[1::2] == _TAGS and filled == [False, True, False, True, False]))
    return scores


def format_as_released(completions: Sequence[Completion], **_: object) -> list[float | None]:
    r"""1 where the text has exactly one "\n</think>\n", else 0: the format reward of MMR-GRPO's released code.

    Of several messages of the assistant, each must have one.
    """
    return [float(all(text.count("\n</think>\n") == 1 for text in turns(completion))) for completion in completions]


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
    """The cosine length reward (arXiv 2502.03373, Appendix C.1); None where there is no gold answer.

    Half a cosine over the length in tokens, constant from `max_completion_length` on: for a correct completion from the
    maximum down to the minimum, for a wrong one from the minimum up to the maximum. The default bounds are those of
    Open-RS, experiment 3 (arXiv 2503.16219). Values equal TRL's `get_cosine_scaled_reward`, whose grader needs the main
    thread; this function uses ours.

    Args:
        completions: N texts or lists of messages.
        answer: N gold answers, as in `accuracy`.
        completion_ids: N lists of tokens; the length is the number of `own_tokens`.
        log_metric: logs `cosine/timed_out`, as in `accuracy`.
        tool_mask, trainer_state: as in `manypaths.messages.own_tokens`.
        max_completion_length: in tokens.
        min_value_wrong, max_value_wrong, min_value_correct, max_value_correct: the bounds, in this order.

    Returns:
        N rewards.

    Raises:
        ValueError: an option out of bounds, or as `accuracy` does.
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
    """The cosine reward of MMR-GRPO's released code, only to reproduce its runs.

    min + (max - min) / 2 * (1 + cos(pi * length / 1000)), in [0.5, 1] for a correct completion and in [-0.5, 0] for a
    wrong one. It differs from the paper's: the length is in characters and has no limit, so that 2,000 characters get
    the reward of an empty text; and of wrong completions the shortest get the largest reward, 0. Grading is that of
    `cosine`; the released code gives every completion full marks where the gold answer does not parse.

    Args:
        completions, answer, log_metric: as in `accuracy`.

    Returns:
        N rewards.

    Raises:
        ValueError: as `accuracy` does.
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
    """`max_penalty` times the share of n-grams of tokens that occur before in the same completion.

    TRL's `get_repetition_penalty_reward` (arXiv 2502.03373, Appendix C.2) on `own_tokens`.

    Args:
        completion_ids, tool_mask, completions, trainer_state: as in `manypaths.messages.own_tokens`.
        ngram_size: tokens per n-gram, 1 or more.
        max_penalty: 0 or less.

    Returns:
        N rewards, from `max_penalty` to 0.

    Raises:
        ValueError: an option out of bounds.
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
    """0 up to `max_completion_length` - `cache` tokens, then linearly down to -1 at the limit; -1 beyond it.

    TRL's `get_soft_overlong_punishment` (DAPO, arXiv 2503.14476, Eq. 13) on `own_tokens`. TRL truncates at a limit that
    counts the tokens of tools' answers too.

    Args:
        completion_ids, tool_mask, completions, trainer_state: as in `manypaths.messages.own_tokens`.
        max_completion_length: in tokens, 2 or more.
        cache: in tokens, below the limit; None is a fifth of the limit, as DAPO's 4,096 of 20,480.

    Returns:
        N rewards, from -1 to 0.

    Raises:
        ValueError: an option out of bounds.
    """
    from trl.rewards import get_soft_overlong_punishment

    limit = max_completion_length
    _check("overlong", "max_completion_length", "2 or more tokens", limit, _is_number(limit, int) and limit >= 2)
    cache = max(1, limit // 5) if cache is None else cache
    fits = _is_number(cache, int) and 1 <= cache < limit
    _check("overlong", "cache", f"1 or more tokens and less than the limit of {limit}", cache, fits)
    own = own_tokens("overlong", completion_ids, tool_mask, completions, trainer_state)
    return list(get_soft_overlong_punishment(limit, cache)(own))


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
    """A reward function with its options bound.

    Args:
        name: a name in `REWARDS`, or the dotted path of a user's function, "package.module.function".
        max_completion_length: the trainer's, in tokens, for a reward that names it; one among the options has priority.
        options: keyword arguments of the function.

    Raises:
        ValueError: no such reward (the message has the nearest name), an option that it does not take and, for the
            rewards of this module, a value out of bounds.
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
        bound(completions=[], completion_ids=[], answer=[])  # each reward checks its own options
    return bound


def bind(
    weights: Mapping[str, object], options: Mapping[str, Mapping[str, Any]], max_completion_length: int | None
) -> dict[str, Reward]:
    """The rewards of a recipe, with their options bound.

    Args:
        weights: {name: weight}; names as in `reward`.
        options: {name: {option: value}}.
        max_completion_length: the trainer's, in tokens.

    Returns:
        {name: function}, in the order of `weights`.

    Raises:
        ValueError: no reward, options of a reward without a weight, or as `reward` does.
    """
    if not weights:
        raise ValueError("rewards must hold one reward or more, got none. Set rewards.accuracy=1.0.")
    if unused := set(options) - set(weights):
        names = ", ".join(sorted(unused))
        raise ValueError(f"reward_options must be of rewards with a weight, got {names}. Set rewards.NAME=1.0.")
    return {name: reward(name, max_completion_length, **options.get(name, {})) for name in weights}


def _verdicts(
    who: str, completions: Sequence[Completion], answer: Sequence[object], log_metric: LogMetric | None
) -> list[bool | None]:
    """Whether each completion is correct; None where there is no gold answer.

    The grader gets each distinct pair once, several at a time. The number of timeouts is logged.
    """
    if len(completions) != len(answer):
        raise ValueError(
            f"Reward {who!r}: answer must have one gold answer per completion, {len(completions)}, got {len(answer)}."
        )
    golds = [gold_text(value) for value in answer]
    scored = [index for index, gold in enumerate(golds) if gold is not None]
    grader = shared_grader()
    before = grader.timed_out
    right = grader.grade([text_of(completions[index]) for index in scored], [str(golds[index]) for index in scored])
    if log_metric is not None:
        log_metric(f"{who}/timed_out", grader.timed_out - before)
    verdicts: list[bool | None] = [None] * len(golds)
    for index, verdict in zip(scored, right, strict=True):
        verdicts[index] = verdict
    return verdicts


def _half_cosine(
    verdicts: list[bool | None], progress: list[float], right: tuple[float, float], wrong: tuple[float, float]
) -> list[float | None]:
    """Half a cosine from the first value of `right` or `wrong` at progress 0 to the second at 1; None stays None."""
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
