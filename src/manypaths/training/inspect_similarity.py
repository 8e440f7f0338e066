"""The similarity of the completions of a log that has none, computed for its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Compared(NamedTuple):
    """The similarity [G, G] of the completions of a group, and of each its nearest sibling."""

    similarity: list[list[float]]
    nearest: list[int]
    nearest_similarity: list[float]


def comparison(name: str) -> Callable[[list[str]], Compared]:
    """A function that compares the completions of a group, two or more, by an embedder.

    Args:
        name: 'ngram', or a sentence-transformers model.

    Raises:
        ValueError: there is no such embedder.
    """
    import torch

    from manypaths.embed import embedder

    embed = embedder(name)

    def compared(completions: list[str]) -> Compared:
        rows = torch.as_tensor(embed(completions))
        similarity = (rows @ rows.T).clamp(-1.0, 1.0)
        others = similarity.clone().fill_diagonal_(-torch.inf)
        values, indices = others.max(-1)
        return Compared(similarity.tolist(), indices.tolist(), values.tolist())

    return compared
