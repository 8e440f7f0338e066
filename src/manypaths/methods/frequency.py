"""How often the key of a completion occurs in its group."""

from __future__ import annotations

import torch
from torch import Tensor

from manypaths.methods.groups import check_rewards


def occurrences(keys: Tensor, among: Tensor) -> Tensor:
    """How many completions of a group have the key of each one, of those that count.

    Args:
        keys: [B, G], whole numbers.
        among: [B, G] bool, the completions that count.

    Returns:
        [B, G] int64; at least 1 for a completion that counts.
    """
    same = keys.unsqueeze(-1) == keys.unsqueeze(-2)
    return (same & among.unsqueeze(-2)).sum(-1)


def check_keys(who: str, rewards: Tensor, keys: Tensor, **others: Tensor) -> None:
    """Raise ValueError unless rewards are floating-point [B, G], keys whole numbers, and all inputs of one shape.

    Args:
        who: the method, for the message.
        rewards, keys: its inputs.
        others: further inputs by name, each [B, G].
    """
    check_rewards(who, rewards)
    if keys.is_floating_point() or keys.is_complex() or keys.dtype == torch.bool:
        raise ValueError(f"{who}'s keys must be whole numbers, such as int64, got {keys.dtype}.")
    for name, values in {"keys": keys, **others}.items():
        if values.shape != rewards.shape:
            raise ValueError(
                f"{who}'s {name} must be [B, G], here {list(rewards.shape)} as the rewards, got {list(values.shape)}."
            )
