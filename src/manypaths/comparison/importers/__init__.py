"""Results of other software as `Run`s: of lighteval, trainer states of transformers and TRL, CSV tables."""

from manypaths.comparison.importers.csv_table import read_csv
from manypaths.comparison.importers.lighteval import read_lighteval
from manypaths.comparison.importers.trainer_state import is_trainer_state, read_trainer_state

__all__ = ["is_trainer_state", "read_csv", "read_lighteval", "read_trainer_state"]
