"""The methods: rewards of a group in, rewards or advantages out. Pure functions on tensors."""

from __future__ import annotations

from manypaths.methods.advantages import ADVANTAGES, Advantage, best, positive, reward
from manypaths.methods.dra import dra
from manypaths.methods.groups import cosine_similarity, has_nonzero_std, report, weighted_sum
from manypaths.methods.keep_equal import Reweighter, keep_equal_rewards
from manypaths.methods.mmr import TIES, adaptive_lambda, mmr

__all__ = [
    "ADVANTAGES",
    "REWEIGHTERS",
    "TIES",
    "Advantage",
    "Reweighter",
    "adaptive_lambda",
    "best",
    "cosine_similarity",
    "dra",
    "has_nonzero_std",
    "keep_equal_rewards",
    "mmr",
    "positive",
    "report",
    "reward",
    "weighted_sum",
]

REWEIGHTERS: dict[str, Reweighter] = {"mmr": mmr, "dra": dra}
