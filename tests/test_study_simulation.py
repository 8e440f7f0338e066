"""bench/comparison_study.py and comparison_luck.py: the answers are those of `compare`, and the true effects hold."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest

from manypaths import recipe
from manypaths.comparison.compare import compare
from manypaths.comparison.verdicts import ALPHA
from manypaths.training.grid import jobs, read_grid

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture(scope="module")
def bench():
    """(comparison_study, comparison_luck, comparison_worlds)."""
    before = {*sys.modules}
    sys.path.insert(0, str(BENCH))
    try:
        names = ("comparison_study", "comparison_luck", "comparison_worlds")
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(BENCH))
        for name in {*sys.modules} - before:
            if name.startswith("comparison_"):
                del sys.modules[name]


def test_the_simulated_study_has_the_design_of_the_study(bench):
    study, world = bench[0], bench[0].STUDY
    grid = read_grid(BENCH / "study.yaml")
    assert len(grid.seeds) == study.SEEDS
    assert [study.protocol().baseline, *study.protocol().arms] == [*grid.grid["method"]]
    words = jobs(grid, ["grpo"])[0].words
    spec = recipe.read([word for word in words if "=" not in word], [word for word in words if "=" in word])
    assert spec.evaluation.samples == world.samples
    assert (spec.evaluation.problems.options["count"],) == world.problems
    assert study.counts_of(1, world, []).shape == (len(grid.grid["method"]), study.SEEDS, *world.problems)


@pytest.mark.parametrize("gap", [0.0, 0.15])
def test_an_answer_is_that_of_compare(bench, gap):
    study, _, worlds = bench
    world = replace(study.STUDY, problems=(24,), samples=8, correlation=0.9)
    right = study.counts_of(3, world, [worlds.Arm(gap - number / 25) for number in range(6)])
    said = study.answered(world, right)
    answers = compare(study.runs_of(world, right), protocol=study.protocol())["protocol"]
    for endpoint, expected in zip(
        *(answer["primary"] + answer["secondary"] for answer in (said, answers)), strict=True
    ):
        assert endpoint["words"] == expected["words"]
        for arm, own in endpoint["arms"].items():
            assert own["met"] == expected["arms"][arm]["met"]
            if own["p"] < 1:
                assert own["p"] == pytest.approx(expected["arms"][arm]["p"])
            else:
                assert expected["arms"][arm]["p"] > ALPHA
    met = [arm["met"] for arm in answers["arms"].values()]
    assert [arm["met"] for arm in said["arms"].values()] == met and any(met) == (gap > 0)
    verdicts = [[arm["verdict"] for arm in by_arm["arms"].values()] for by_arm in (said, answers)]
    assert verdicts[0] == verdicts[1] and ("harms" in verdicts[0]) == (gap == 0)
    alone = study.answered(world, right, only_helps=True)
    assert [arm["met"] for arm in alone["arms"].values()] == met


def test_rows_without_a_helping_arm_have_none_and_the_others_have_one(bench):
    study, _, worlds = bench
    margin = study.protocol().margin / 100

    def gaps(world, arm):
        return [worlds.truth(world, arm, of) - worlds.truth(world, worlds.BASE, of) for of in ("pass@8", "accuracy")]

    for world, others in study.false_worlds().values():
        for arm in others or [worlds.Arm()]:
            passed, accurate = gaps(world, arm)
            assert passed < 1e-5 or accurate < 1e-5 - margin
    for world, others in study.power_worlds().values():
        passed, accurate = gaps(world, others[0])
        assert len(others) == 1 and passed > 0.019 and accurate > -1e-5


@pytest.mark.parametrize(("gain", "gap"), [(0.04, 0.0), (0.08, -0.02), (0.0, 0.08)])
def test_simulated_completions_have_the_true_effect(bench, gain, gap):
    study, _, worlds = bench
    world = replace(study.STUDY, problems=(20_000,), luck=0.0)
    arm = study.gaining(world, gain, gap)
    sides = worlds.chances(world, study.SEEDS, [arm], numpy.random.default_rng(5))
    (base, _), (own, _) = sides
    for measure, effect in (("pass@8", gain), ("accuracy", gap)):
        by_problem = (worlds.expected(measure, 32, own) - worlds.expected(measure, 32, base)).mean(0)
        error = by_problem.std() / len(by_problem) ** 0.5
        assert abs(by_problem.mean() - effect) < 3 * error < 0.01


def test_the_luck_of_simulated_runs_is_estimated(bench):
    study, luck, worlds = bench
    world = replace(study.STUDY, problems=(150,), samples=8, luck=0.4, liking=0.8, ease=2.0)
    sides = worlds.chances(world, 150, [worlds.Arm(0.05)] * 7, numpy.random.default_rng(4))
    right = numpy.random.default_rng(6).binomial(world.samples, [chance for chance, _ in sides])
    true = {"level": world.level + 0.05 * 7 / 8, "own_luck": world.luck * (1 - world.correlation) ** 0.5}
    for field, value in luck.fitted(right, world.samples).items():
        expected = true[field] if field in true else getattr(world, field)
        assert value == pytest.approx(expected, rel=0.12), field
