"""The grids and the protocol of the study in bench/: they name the same arms, and no seed twice."""

from pathlib import Path

from manypaths.comparison.protocol import read_protocol
from manypaths.training.sweep import jobs, read_grid

BENCH = Path(__file__).parent.parent / "bench"


def test_the_protocol_the_study_and_its_learning_rates_name_the_same_arms():
    study, rates = read_grid(BENCH / "study.yaml"), read_grid(BENCH / "study_rates.yaml")
    planned = read_protocol(BENCH / "study_protocol.yaml")
    assert Path(study.protocol).samefile(BENCH / "study_protocol.yaml")
    assert [planned.baseline, *planned.arms] == [*study.grid["method"]]
    without_rate = {
        arm: [word for word in words if not word.startswith("trainer.learning_rate=")]
        for arm, words in study.grid["method"].items()
    }
    assert without_rate == rates.grid["method"] and len(jobs(rates)) == 3 * 13 * 2


def test_no_seed_of_the_learning_rates_is_one_of_the_study():
    study, rates = read_grid(BENCH / "study.yaml"), read_grid(BENCH / "study_rates.yaml")
    assert study.seeds == [*range(1, 21)] and not {*study.seeds} & {*rates.seeds}
