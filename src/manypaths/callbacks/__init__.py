"""Callbacks for TRL's trainers in a script of one's own: they write the run folder that the commands read."""

from manypaths.callbacks.evaluate_problems import EvaluateProblems
from manypaths.callbacks.record_groups import RecordGroups

__all__ = ["EvaluateProblems", "RecordGroups"]
