"""TRL's GRPOTrainer, made diversity-aware: `DiverseGRPOTrainer`."""

from manypaths.names import PARTS
from manypaths.trl.groups import Groups
from manypaths.trl.history import PromptHistory
from manypaths.trl.replay_bank import Replay
from manypaths.trl.settings import WITHOUT_RATIO, check
from manypaths.trl.step_seconds import StepSeconds
from manypaths.trl.trainer import DiverseGRPOTrainer, own_weights

__all__ = [
    "PARTS",
    "WITHOUT_RATIO",
    "DiverseGRPOTrainer",
    "Groups",
    "PromptHistory",
    "Replay",
    "StepSeconds",
    "check",
    "own_weights",
]
