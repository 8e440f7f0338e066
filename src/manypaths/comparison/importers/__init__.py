"""Results of other software as `Run`s: JSON of evaluations and of trainers, CSV tables."""

from manypaths.comparison.importers.csv_table import read_csv
from manypaths.comparison.importers.joined import Tables, join
from manypaths.comparison.importers.json_files import holds_json, read_json, runs_in

__all__ = ["Tables", "holds_json", "join", "read_csv", "read_json", "runs_in"]
