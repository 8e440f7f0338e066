"""The grids of the races in bench/: every run is accepted, and the protocol names their runs."""

from pathlib import Path

import pytest

from manypaths import problems, recipe
from manypaths.comparison.protocol import read_protocol
from manypaths.training.grid import jobs, read_grid
from manypaths.training.trainer_arguments import method_arguments
from manypaths.training.trainer_config import trainer_config

BENCH = Path(__file__).parent.parent / "bench"
GRIDS = {"race": (14, 5, 64, 2), "race_mixed": (9, 5, 64, 2), "race_colouring": (9, 6, 256, 1)}


@pytest.mark.parametrize("name", GRIDS)
def test_every_run_of_the_race_is_accepted(name, tmp_path):
    configurations, seeds, completions, updates = GRIDS[name]
    grid = read_grid(BENCH / f"{name}.yaml")
    runs = jobs(grid)
    assert len(grid.seeds) == seeds and len(runs) == seeds * configurations
    for job in runs[:configurations]:  # of the first seed
        spec = recipe.read([w for w in job.words if "=" not in w], [w for w in job.words if "=" in w])
        config = trainer_config(spec, tmp_path)
        assert config.generation_batch_size == completions and config.num_iterations == updates
        arguments = method_arguments(spec, config)
        assert (arguments["select"] is None) == (spec.select.rule is None)
        assert (arguments["history"] is None) == (spec.history.target is None)
    made = problems.load(spec.problems.name, options=spec.problems.options)
    assert len(made) == spec.problems.options["count"]


@pytest.mark.parametrize("name", GRIDS)
def test_the_protocol_names_runs_of_every_race(name):
    grid = read_grid(BENCH / f"{name}.yaml")
    planned = read_protocol(BENCH / "race_protocol.yaml")
    assert {planned.baseline, *planned.arms} <= {*grid.grid["trained"]}
    assert Path(grid.protocol).samefile(BENCH / "race_protocol.yaml") and grid.baseline is None
