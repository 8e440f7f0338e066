"""Diversity-aware GRPO: make every completion count for what it adds. These names need torch alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manypaths.methods import adaptive_lambda, among_correct, cosine_similarity, dra, mmr

__version__ = "0.1.0"
__all__ = ["adaptive_lambda", "among_correct", "cosine_similarity", "dra", "mmr"]


def __getattr__(name: str) -> Any:
    """The public names, imported on first access: `manypaths compare` runs where torch is not installed."""
    if name not in __all__:
        raise AttributeError(f"module 'manypaths' has no attribute {name!r}")
    from manypaths import methods

    return getattr(methods, name)
