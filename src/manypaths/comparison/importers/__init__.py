"""Results that other software made, as `Run`s: lighteval's, a trainer state of transformers or TRL, a CSV table."""

from manypaths.comparison.importers.csv_table import read_csv
from manypaths.comparison.importers.lighteval import read_lighteval
from manypaths.comparison.importers.trainer_state import read_trainer_state

__all__ = ["read_csv", "read_lighteval", "read_trainer_state"]
