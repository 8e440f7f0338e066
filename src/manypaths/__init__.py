"""Diversity-aware GRPO: make every completion count for what it adds. These names need torch alone."""

from manypaths.reweight import adaptive_lambda, cosine_similarity, dra, mmr

__version__ = "0.1.0"
__all__ = ["adaptive_lambda", "cosine_similarity", "dra", "mmr"]
