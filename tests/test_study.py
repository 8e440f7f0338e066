"""The grids and protocols of the study in bench/: they name the same arms with the same settings, and no seed twice."""

from dataclasses import asdict
from pathlib import Path

import pytest

from manypaths import recipe
from manypaths.comparison.protocol import read_protocol
from manypaths.preflight import cold_start
from manypaths.problems import load
from manypaths.training.grid import jobs, read_grid
from manypaths.verifiers.countdown import target_and_numbers

BENCH = Path(__file__).parent.parent / "bench"


def without_rates(arms):
    return {
        arm: [word for word in words if not word.startswith("trainer.learning_rate=")] for arm, words in arms.items()
    }


def test_the_protocol_the_study_and_its_learning_rates_name_the_same_arms():
    study, rates = read_grid(BENCH / "study.yaml"), read_grid(BENCH / "study_rates.yaml")
    planned = read_protocol(BENCH / "study_protocol.yaml")
    assert Path(study.protocol).samefile(BENCH / "study_protocol.yaml")
    assert [planned.baseline, *planned.arms] == [*study.grid["method"]]
    assert without_rates(study.grid["method"]) == rates.grid["method"] and len(jobs(rates)) == 4 * 13 * 2


def test_no_seed_of_the_learning_rates_is_one_of_the_study():
    study, rates = read_grid(BENCH / "study.yaml"), read_grid(BENCH / "study_rates.yaml")
    assert study.seeds == [*range(1, 21)] and not {*study.seeds} & {*rates.seeds}


@pytest.mark.parametrize("name", ["study_one_way", "study_countdown", "real_countdown"])
def test_the_protocols_of_the_further_parts_name_their_arms(name):
    grid = read_grid(BENCH / f"{name}.yaml")
    planned = read_protocol(BENCH / f"{name}_protocol.yaml")
    assert Path(grid.protocol).samefile(BENCH / f"{name}_protocol.yaml")
    assert [planned.baseline, *planned.arms] == [*grid.grid["method"]] and jobs(grid)


def test_the_arms_of_the_control_are_those_of_the_study_with_their_learning_rates():
    study, control = (read_grid(BENCH / f"{name}.yaml").grid["method"] for name in ("study", "study_one_way"))
    assert control == {arm: study[arm] for arm in control}


def test_every_method_is_in_the_study_or_in_the_rest_of_the_family_which_is_trained_alike():
    study, family = read_grid(BENCH / "study.yaml"), read_grid(BENCH / "study_family.yaml")
    assert family.starts == study.starts
    assert [word for word in family.recipes if word != "trainer.learning_rate=1e-4"] == study.recipes
    assert {*family.seeds} <= {*study.seeds} and "trainer.learning_rate=1e-4" in study.grid["method"]["grpo"]
    used = [word for grid in (study, family) for words in grid.grid["method"].values() for word in words]
    names = {path.stem for path in (BENCH.parent / "src/manypaths/recipes/methods").glob("*.yaml")}
    assert names - {*used} == {"history", "mmr-fixed", "mmr-released"}  # a choice of prompts, and two of mmr-paper
    assert not {*study.grid["method"]} & {*family.grid["method"]}


def test_the_second_task_has_the_arms_of_the_study_with_one_learning_rate():
    study, countdown = read_grid(BENCH / "study.yaml"), read_grid(BENCH / "study_countdown.yaml")
    assert without_rates(countdown.grid["method"]) == without_rates(study.grid["method"])
    rates = {word for words in countdown.grid["method"].values() for word in words if "learning_rate" in word}
    assert rates <= {*study.grid["method"]["grpo"]} and len(rates) == 1
    planned = [asdict(read_protocol(BENCH / f"{name}.yaml")) for name in ("study_protocol", "study_countdown_protocol")]
    assert {**planned[0], "name": ""} == {**planned[1], "name": ""}
    assert len(jobs(countdown)) == 13 * 10


def test_the_second_task_has_many_ways_and_shows_no_held_out_numbers():
    (run,) = (job for job in jobs(read_grid(BENCH / "study_countdown.yaml")) if job.name == "grpo-1")
    spec = recipe.read([w for w in run.words if "=" not in w], [w for w in run.words if "=" in w])
    shown, trained, held_out = (
        load(part.name, options=part.options)
        for part in (cold_start.demonstrated(run.start.spec), spec.problems, spec.evaluation.problems)
    )
    assert len(shown) == 7000 and all(len(problem.ways) > 1 for problem in [*trained, *held_out])
    seen = {target_and_numbers(problem.answer)[1] for problem in [*shown, *trained]}
    assert not seen & {target_and_numbers(problem.answer)[1] for problem in held_out}
    longest = max(len(way) for problem in [*shown, *trained, *held_out] for way in problem.ways)
    assert longest < spec.evaluation.max_new_tokens == spec.trainer["max_completion_length"]


def test_smollm2_on_sums_is_trained_as_in_the_sweep():
    sums, sweep = read_grid(BENCH / "real_sums.yaml"), read_grid(BENCH / "sweep.yaml")
    assert len(jobs(sums)) == 36
    assert {*sweep.recipes} - {*sums.recipes} == {"grpo-clip", "evaluation.every=4"}
    assert {*sums.recipes} - {*sweep.recipes} == {"trainer.num_iterations=2", "evaluation.every=12"}


@pytest.mark.parametrize("name", ["study", "study_countdown"])
def test_a_lower_rate_for_longer_is_trained_on_the_same_problems_with_the_same_starts(name):
    longer = {"study": "study_longer", "study_countdown": "study_countdown_longer"}[name]
    shorter, longer = (read_grid(BENCH / f"{of}.yaml") for of in (name, longer))
    assert longer.starts == shorter.starts and {*longer.seeds} <= {*shorter.seeds}
    keys = ("trainer.max_steps", "evaluation.every", "record.every", "trainer.learning_rate")
    kept = [[word for word in grid.recipes if not word.startswith(keys)] for grid in (shorter, longer)]
    assert kept[0] == kept[1]
    arms = [without_rates(grid.grid["method"]) for grid in (shorter, longer)]
    assert arms[1] == {f"{arm}-longer": arms[0][arm] for arm in (other.removesuffix("-longer") for other in arms[1])}
