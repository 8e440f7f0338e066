"""Comparisons of tables of which only means are there, as other projects publish them."""

import pytest

from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations
from manypaths.comparison.runs import Run, Score


def means(name, curves):
    """A run for each curve, with evaluations every 10 steps, of which only means were recorded."""
    return [
        Run(
            f"{name}-{seed}",
            name,
            seed,
            clock=[(10 * index, 60.0 * index) for index in range(1, len(curve))],
            results={10 * index: {"gsm8k": Score.of_mean(value)} for index, value in enumerate(curve)},
        )
        for seed, curve in enumerate(curves)
    ]


BASE = [[0.4, 0.5, 0.55, 0.6], [0.4, 0.52, 0.54, 0.61], [0.4, 0.49, 0.56, 0.6]]
NEW = [[0.4, 0.6, 0.63, 0.64], [0.4, 0.61, 0.62, 0.65], [0.4, 0.59, 0.63, 0.64]]


@pytest.mark.parametrize("target", ["55%", "90%-of-rise", None])
def test_seeds_that_start_from_one_model_do_not_open_the_intervals(target):
    for name, compared in zip(
        ("base", "new"),
        configurations(compare([*means("base", BASE), *means("new", NEW)], "base", target)),
        strict=True,
    ):
        assert compared["curve"][0]["low"] is None, name  # at step 0 no spread is known
        for quantity in ("steps", "hours"):
            assert compared["to_target"][quantity]["low"] is not None, (name, quantity)
    saved = compared["to_target"]["hours_saved"]
    assert saved["low"] is not None and 0 < saved["low"] < saved["value"] < saved["high"] <= 1


def test_one_run_of_means_has_no_interval():
    base, new = configurations(compare([*means("base", BASE[:1]), *means("new", NEW[:1])], "base", "55%"))
    for compared in (base, new):
        assert compared["to_target"]["steps"]["low"] is compared["last"]["low"] is None
    assert new["against"]["last"]["verdict"] == "one seed"
