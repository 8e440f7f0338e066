"""Rewards for a correct answer, and for a short one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from manypaths import verifiers
from manypaths.grading import shared_grader
from manypaths.grading.golds import gold_text
from manypaths.messages import Completion, ToolMask, own_tokens, text_of
from manypaths.rewards.options import check, is_number

LogMetric = Callable[[str, float], None]


def accuracy(
    completions: Sequence[Completion],
    answer: Sequence[object],
    log_metric: LogMetric | None = None,
    grader: Sequence[str] | None = None,
    **_: object,
) -> list[float | None]:
    """1 where the last box holds the gold answer, else 0; None where there is no gold answer.

    With another grader than mathematics: 1 where the answer meets the condition that stands in place of a gold answer.

    MMR-GRPO's released code gives 1 to every completion where the gold answer does not parse; this function does not.

    Args:
        completions: N texts or lists of messages.
        answer: N gold answers: texts, numbers or lists, as `manypaths.grading.golds.gold_text` reads them. None, NaN
            and blank texts are no gold answer; of a list all parts are needed.
        log_metric: logs `accuracy/timed_out`, the number of distinct answers whose grading ran out of time. They get 0.
        grader: N names of graders, as in `manypaths.verifiers.verdicts`; None for mathematics.

    Returns:
        N rewards.

    Raises:
        ValueError: there are not N gold answers, or one is an object.
    """
    verdicts = _verdicts("accuracy", completions, answer, log_metric, grader)
    return [None if right is None else float(right) for right in verdicts]


def cosine(
    completions: Sequence[Completion],
    answer: Sequence[object],
    completion_ids: Sequence[Sequence[int]],
    log_metric: LogMetric | None = None,
    tool_mask: ToolMask = None,
    trainer_state: object = None,
    grader: Sequence[str] | None = None,
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
        grader: as in `accuracy`.
        max_completion_length: in tokens.
        min_value_wrong, max_value_wrong, min_value_correct, max_value_correct: the bounds, in this order.

    Returns:
        N rewards.

    Raises:
        ValueError: an option out of bounds, or as `accuracy` does.
    """
    limit, bounds = max_completion_length, [min_value_wrong, max_value_wrong, min_value_correct, max_value_correct]
    check("cosine", "max_completion_length", "1 or more tokens", limit, is_number(limit, int) and limit >= 1)
    names = "min_value_wrong <= max_value_wrong <= min_value_correct <= max_value_correct"
    check("cosine", names, "numbers in this order", bounds, all(map(is_number, bounds)) and bounds == sorted(bounds))
    verdicts = _verdicts("cosine", completions, answer, log_metric, grader)
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


def _verdicts(
    name: str,
    completions: Sequence[Completion],
    answer: Sequence[object],
    log_metric: LogMetric | None,
    graders: Sequence[str] | None = None,
) -> list[bool | None]:
    """Whether each completion is correct; None where there is no gold answer.

    The grader of mathematics gets each distinct pair once, several at a time. The number of timeouts is logged.
    """
    if len(completions) != len(answer):
        raise ValueError(
            f"Reward {name!r}: answer must have one gold answer per completion, {len(completions)}, got {len(answer)}."
        )
    golds = [gold_text(value) for value in answer]
    scored = [index for index, gold in enumerate(golds) if gold is not None]
    grader = shared_grader()
    before = grader.timed_out
    names = [verifiers.MATHEMATICS if graders is None else graders[index] for index in scored]
    texts = [text_of(completions[index]) for index in scored]
    right = verifiers.verdicts(names, texts, [str(golds[index]) for index in scored], grader)
    if log_metric is not None:
        log_metric(f"{name}/timed_out", grader.timed_out - before)
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
