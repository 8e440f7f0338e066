"""Penalties on the tokens of a completion: repetition and length."""

from __future__ import annotations

from collections.abc import Sequence

from manypaths.messages import Completion, ToolMask, own_tokens
from manypaths.rewards.options import check, is_number


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

    fits = is_number(ngram_size, int) and ngram_size >= 1
    check("repetition", "ngram_size", "an integer of 1 or more", ngram_size, fits)
    check("repetition", "max_penalty", "0 or less", max_penalty, is_number(max_penalty) and max_penalty <= 0)
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
    check("overlong", "max_completion_length", "2 or more tokens", limit, is_number(limit, int) and limit >= 2)
    cache = max(1, limit // 5) if cache is None else cache
    fits = is_number(cache, int) and 1 <= cache < limit
    check("overlong", "cache", f"1 or more tokens and less than the limit of {limit}", cache, fits)
    own = own_tokens("overlong", completion_ids, tool_mask, completions, trainer_state)
    return list(get_soft_overlong_punishment(limit, cache)(own))
