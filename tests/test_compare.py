"""Laws of a comparison: which runs form a configuration, which results count, which notes appear. Without torch."""

import csv
import html
import itertools
import json
import math
import os
import random
import subprocess
import sys
from statistics import fmean

import pytest
import yaml

from manypaths.cli import main
from manypaths.comparison import csv_rows, report
from manypaths.comparison.compare import compare
from manypaths.comparison.configurations import grouped
from manypaths.comparison.contents import configurations
from manypaths.comparison.page import page
from manypaths.comparison.panels import panels
from manypaths.comparison.read import read
from manypaths.comparison.runs import Run, Score
from manypaths.comparison.sentences import sentences
from manypaths.comparison.tables import tables
from manypaths.evaluation.summary import summarise
from manypaths.names import PARTS

STEPS, PROBLEMS = (0, 10, 20, 30), range(16)
GRPO = {"method.reweight": None, "model.name": "tiny", "trainer.max_steps": 30}
MMR = {**GRPO, "method.reweight": "mmr"}
CURVES = ("diversity/similarity", "diversity/vendi_score", "entropy", "reward", "groups/zero_std")


def made_up(name, seed=1, rate=1.0, steps=STEPS, problems=PROBLEMS, benchmarks=("arithmetic",), **more):
    """A run that learns; `rate` is its pace in accuracy and in seconds a step."""
    draw = random.Random(f"{name} {seed} {rate}")
    results = {}
    for step, benchmark in itertools.product(steps, benchmarks):
        chance = min(0.9, 0.2 + 0.01 * rate * step)
        shares = {f"{benchmark}-{n}": sum(draw.random() < chance for _ in range(4)) / 4 for n in problems}
        results.setdefault(step, {})[benchmark] = Score.of_shares(shares)
    fields = {
        "settings": GRPO,
        "machine": "1 x H100",
        "clock": [(step, step * (2 + rate + draw.random())) for step in steps if step],
        "parts": {part: draw.random() for part in PARTS},
        "curves": {key: [(step, draw.random()) for step in range(1, max(steps) + 1)] for key in CURVES},
        **more,
    }
    group = fields.pop("group", json.dumps(fields["settings"], default=str))
    return Run(name, group, seed, results=results, **fields)


def two(seeds=(1, 2, 3), **more):
    """Runs of a baseline, and of a method that learns faster."""
    base = [made_up(f"grpo-{seed}", seed, **more) for seed in seeds]
    return base + [made_up(f"mmr-{seed}", seed, 2.2, settings=MMR, **more) for seed in seeds]


def names(comparison):
    return [configuration["name"] for configuration in configurations(comparison)]


def by_name(comparison):
    return {configuration["name"]: configuration for configuration in configurations(comparison)}


def leaves(tree, above=()):
    """Every number and word of a comparison, by its place."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else None
    if inside is None:
        return {above: tree}
    return {place: leaf for key, value in inside for place, leaf in leaves(value, (*above, key)).items()}


def write_run(folder, seed=1, method=None, rate=1.0, steps=STEPS, **more):
    """The run folder of a made-up run."""
    run = made_up(folder.name, seed, rate, steps)
    (folder / "evaluation").mkdir(parents=True)
    recipe = {
        "model": {"name": "tiny"},
        "method": {"reweight": method},
        "trainer": {"max_steps": steps[-1]},
        "evaluation": {"problems": {"name": "arithmetic"}, "samples": 4},
        "seed": seed,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**recipe, **more}))
    (folder / "environment.json").write_text(json.dumps({"gpus": [], "cores": 2, "threads": 2}))
    (folder / "summary.json").write_text("{}")
    lines = [
        {
            "step": step,
            **{f"seconds/{part}": run.parts[part] for part in PARTS},
            **{k: v[step - 1][1] for k, v in curves},
        }
        for curves in [run.curves.items()]
        for step in range(1, steps[-1] + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    when = {step: "before" if step == 0 else "after" if step == steps[-1] else f"step-{step}" for step in steps}
    (folder / "evaluation" / "summary.json").write_text(json.dumps({when[step]: {"step": step} for step in steps}))
    shares = {when[step]: {name: score.shares for name, score in run.results[step].items()} for step in steps}
    (folder / "evaluation" / "shares.json").write_text(json.dumps(shares))
    return folder


def write_runs(folder, seeds=(1, 2)):
    for seed in seeds:
        write_run(folder / f"grpo-{seed}", seed)
        write_run(folder / f"mmr-{seed}", seed, "mmr", 1.6)
    return folder


# Groups


@pytest.mark.parametrize("order", itertools.permutations(range(4)))
def test_seeds_are_one_row_whatever_their_order(order):
    runs = [made_up(f"grpo-{seed}", seed) for seed in (1, 2, 3)] + [made_up("mmr-1", settings=MMR)]
    groups = grouped([runs[place] for place in order]).groups
    names = {configuration.name: [run.name for run in configuration.runs] for configuration in groups}
    assert names == {"grpo": ["grpo-1", "grpo-2", "grpo-3"], "mmr": ["mmr-1"]}


def test_runs_that_differ_in_a_setting_are_two(tmp_path):
    for name, seed, more in (
        ("a-1", 1, {}),
        ("a-2", 2, {}),
        ("b-1", 1, {"lora": {"r": 8}}),
        ("c-1", 1, {"lora": None}),
    ):
        write_run(tmp_path / name, seed, **more)
    runs, refused = read([tmp_path])
    assert refused == [] and names(compare(runs)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("named_runs", "name"),
    [
        ([("grpo-1", 1), ("grpo-2", 2)], "grpo"),
        ([("grpo-seed1", 1), ("grpo-seed12", 12)], "grpo"),
        ([("grpo_seed_3", 3)], "grpo"),
        ([("grpo.7", 7), ("grpo-8", 8)], "grpo"),
        ([("grpo-lr2-1", 1), ("grpo-lr2-2", 2)], "grpo-lr2"),
        ([("grpo-2", 1)], "grpo-2"),
        ([("grpo", None)], "grpo"),
        ([("1", 1)], "1"),
        ([("first try", 1), ("second try", 2)], "first try"),
        pytest.param([("mmr-0.61", 1)], "mmr-0.61"),
        pytest.param([("grpo-lr11", 1)], "grpo-lr11"),
    ],
)
def test_a_configuration_is_named_without_the_seed(named_runs, name):
    named_configurations = grouped([made_up(run_name, seed) for run_name, seed in named_runs]).groups
    assert [configuration.name for configuration in named_configurations] == [name]


@pytest.mark.parametrize(
    "run_names", [["x-1", "x-1", "x-1"], ["x", "x-1", "x_1", "x-seed1"], pytest.param(["x (3)", "x-1", "x"])]
)
def test_the_same_name_of_different_settings_becomes_different_names(run_names):
    runs = [made_up(name, settings={"number": number}) for number, name in enumerate(run_names)]
    comparison = compare(runs)
    assert len(set(names(comparison))) == len(configurations(comparison)) == len(run_names)
    assert [run for configuration in configurations(comparison) for run in configuration["runs"]] == run_names


@pytest.mark.parametrize("order", [[3, 4, 5, 6, 0, 1, 2], [6, 2, 5, 1, 4, 0, 3]])
def test_the_order_of_runs_changes_nothing(order):
    runs = [*two(), made_up("rgra-1", settings={**GRPO, "method.importance_ratio": False})]
    comparison, reordered = compare(runs, "grpo"), compare([runs[place] for place in order], "grpo")
    assert names(comparison)[0] == names(reordered)[0] == "grpo" and set(names(comparison)) == set(names(reordered))
    for name, configuration in by_name(comparison).items():
        theirs = by_name(reordered)[name]
        assert sorted(theirs["runs"]) == sorted(configuration["runs"])
        for fields in (configuration, theirs):
            del fields["runs"], fields["seeds"]
        assert leaves(theirs) == pytest.approx(leaves(configuration), nan_ok=False)


def test_a_run_that_is_given_twice_counts_once(tmp_path):
    write_runs(tmp_path)
    runs, _ = read([tmp_path, tmp_path / "grpo-1"])
    assert compare(runs) == compare(read([tmp_path])[0])


# The baseline and the target


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_the_baseline_is_first_and_does_not_reweight(order):
    runs = [made_up("mmr-1", settings=MMR), made_up("grpo-1"), made_up("other-1", settings={})]
    runs = [runs[place] for place in order]
    comparison = compare(runs)
    assert comparison["baseline"] == names(comparison)[0] == "grpo"
    assert "against" not in configurations(comparison)[0]
    assert all("against" in configuration for configuration in configurations(comparison)[1:])
    for name in ("mmr", "other"):
        comparison = compare(runs, name)
        assert comparison["baseline"] == names(comparison)[0] == name and len(names(comparison)) == 3


def test_where_all_reweight_the_first_is_the_baseline():
    assert compare([made_up("mmr-1", settings=MMR), made_up("other-1", settings={})])["baseline"] == "mmr"


def test_an_unknown_baseline_or_target_is_refused_with_what_there_is():
    with pytest.raises(ValueError, match=r"No configuration is named 'nope'\. There are: grpo, mmr\.$"):
        compare(two(), "nope")
    for wrong in ("nope", "1.2", "0", "-1", "nan", "101%", "of-rise", "0%-of-rise"):
        with pytest.raises(ValueError, match=r"A target must be an accuracy such as 0\.70 .* got") as error:
            compare(two(), target=wrong)
        assert repr(wrong) in str(error.value)


@pytest.mark.parametrize("target", [None, "peak-of-baseline", "90%-of-rise", "70%", "0.7", 0.7])
def test_the_target_is_the_accuracy_that_was_requested(target):
    comparison = compare(two(), target=target)
    assert comparison["targets"]["accuracy"]["rise"] == {None: 1.0, "peak-of-baseline": 1.0, "90%-of-rise": 0.9}.get(
        target
    )
    if comparison["targets"]["accuracy"]["rise"] is None:
        assert comparison["targets"]["accuracy"]["value"] == pytest.approx(0.7)
    for configuration in configurations(comparison):
        curve = [point["value"] for point in configuration["curve"]]
        if (steps := configuration["to_target"]["steps"]["value"]) is None:
            assert max(curve) < comparison["targets"]["accuracy"]["value"] + 1e-9
        else:
            assert STEPS[0] <= steps <= STEPS[-1] and max(curve) >= comparison["targets"]["accuracy"]["value"] - 1e-9


# What counts


def test_accuracies_are_the_means_of_the_answers():
    runs = two(benchmarks=("amc23", "arithmetic"))
    compared = by_name(compare(runs))
    for name in ("grpo", "mmr"):
        own = [run for run in runs if run.name.startswith(name)]
        for point in compared[name]["curve"]:
            scores = [score.mean("accuracy") for run in own for score in run.results[point["step"]].values()]
            assert point["value"] == pytest.approx(fmean(scores))
            assert point["hours"] == pytest.approx(fmean(run.seconds_at(point["step"]) for run in own) / 3600)
            assert point["low"] <= point["value"] <= point["high"]
        last = compared[name]["last"]
        assert {
            key: compared[name]["curve"][-1][key] for key in ("step", "value", "low", "high")
        }.items() <= last.items()
        assert last["benchmarks"] == {
            benchmark: pytest.approx(fmean(run.results[STEPS[-1]][benchmark].mean("accuracy") for run in own))
            for benchmark in ("amc23", "arithmetic")
        }
    against = compared["mmr"]["against"]["last"]["value"]
    assert against == pytest.approx(compared["mmr"]["last"]["value"] - compared["grpo"]["last"]["value"])


def test_only_problems_that_all_answered_count():
    few, many = made_up("grpo-1", problems=range(12)), made_up("mmr-1", problems=range(4, 16), settings=MMR)
    comparison = compare([few, many])
    assert comparison["problems"] == 8
    assert "arithmetic: the runs were evaluated on different problems; the 8 in common count." in comparison["notes"]
    for run in (few, many):
        for scores in run.results.values():
            scores["arithmetic"].shares = {
                f"arithmetic-{n}": scores["arithmetic"].shares[f"arithmetic-{n}"] for n in range(4, 12)
            }
    assert configurations(compare([few, many])) == configurations(comparison)


def test_nothing_in_common_is_refused():
    with pytest.raises(ValueError, match=r"no problem of arithmetic in common\. Evaluate them on the same problems"):
        compare([made_up("grpo-1", problems=range(8)), made_up("mmr-1", problems=range(8, 16), settings=MMR)])
    runs = [made_up("grpo-1"), made_up("mmr-1", benchmarks=["gsm8k"], settings=MMR)]
    with pytest.raises(
        ValueError, match=r"no benchmark in common \(grpo-1: arithmetic; mmr-1: gsm8k\)\. Evaluate them"
    ):
        compare(runs)
    for without in ([], [Run("grpo-1", "a", 1, notes=["grpo-1 has no evaluation yet."])]):
        with pytest.raises(ValueError, match=r"None of these runs has results to compare\."):
            compare(without)
    with pytest.raises(ValueError, match="has no results") as error:
        compare([Run(f"grpo-{seed}", "a", seed, notes=[f"grpo-{seed} has no evaluation yet."]) for seed in range(260)])
    assert "(260 in all)" in str(error.value) and len(str(error.value)) < 500


def test_a_benchmark_that_was_evaluated_only_at_the_end_is_left_out():
    runs = two()
    for run in runs:
        run.results[STEPS[-1]] = {**run.results[STEPS[-1]], **made_up("x", benchmarks=["gsm8k"]).results[STEPS[-1]]}
    comparison = compare(runs)
    assert comparison["benchmarks"] == ["arithmetic"]
    assert [note for note in comparison["notes"] if note.startswith("gsm8k ") and "left out" in note]
    assert configurations(comparison) == configurations(compare(two()))


def test_of_benchmarks_only_some_runs_have_the_others_count():
    runs = [made_up("grpo-1", benchmarks=("arithmetic", "gsm8k")), made_up("mmr-1", settings=MMR)]
    comparison = compare(runs)
    assert comparison["benchmarks"] == ["arithmetic"]
    assert [note for note in comparison["notes"] if note.startswith("gsm8k ") and "left out" in note]


def test_seeds_that_were_evaluated_at_different_steps_count_where_all_were():
    comparison = compare([made_up("grpo-1", steps=(0, 10, 20, 40)), made_up("grpo-2", 2, steps=(0, 20, 30, 40))])
    assert [point["step"] for point in configurations(comparison)[0]["curve"]] == [0, 20, 40]
    assert "grpo: only the 3 steps at which all of its seeds were evaluated count." in comparison["notes"]


def test_a_seed_that_ends_before_the_others_is_left_out_and_the_others_stay():
    others = [run for run in two() if run.name != "mmr-1"]
    comparison = compare([made_up("mmr-1", settings=MMR, steps=(0, 10)), *others])
    sentence = "mmr-1 ends at step 10 and other seeds of mmr at step 30, so it is left out."
    assert [note for note in comparison["left_out"] if note.startswith(sentence)] == comparison["left_out"] != []
    assert configurations(comparison) == configurations(compare(others))
    assert configurations(comparison)[1]["runs"] == ["mmr-2", "mmr-3"]


@pytest.mark.parametrize("ends", itertools.product((10, 20, 30), repeat=3))
def test_the_end_is_the_last_step_that_half_of_the_seeds_reached(ends):
    runs = [made_up(f"grpo-{seed}", seed, steps=range(0, end + 1, 10)) for seed, end in enumerate(ends)]
    comparison = compare(runs)
    last = max(step for step in (10, 20, 30) if sum(end >= step for end in ends) * 2 >= len(ends))
    [configuration] = configurations(comparison)
    assert configuration["last"]["step"] == last
    assert configuration["seeds"] == [seed for seed, end in enumerate(ends) if end >= last]
    assert len(comparison["left_out"]) == sum(end < last for end in ends)
    longer = [f"grpo-{seed}" for seed, end in enumerate(ends) if end > last]
    notes = [note for note in comparison["notes"] if "is its end, which most seeds reach" in note]
    assert len(notes) == bool(longer) and all(name in note for note in notes for name in longer)


def test_an_unfinished_run_beside_a_finished_one_is_left_out_whatever_its_siblings_reached():
    runs = [made_up(f"grpo-{seed}", seed, steps=(0, 10), finished=False) for seed in (1, 2)]
    comparison = compare([*runs, made_up("grpo-3", 3, finished=True)])
    assert configurations(comparison)[0]["runs"] == ["grpo-3"] and len(comparison["left_out"]) == 2
    assert configurations(compare(runs))[0]["last"]["step"] == 10


def test_a_run_whose_steps_lack_a_benchmark_each_is_said_to_be_left_out():
    odd = made_up("odd-1", steps=(0, 10), benchmarks=("arithmetic", "gsm8k"), settings=MMR)
    del odd.results[0]["arithmetic"], odd.results[10]["gsm8k"]
    comparison = compare([made_up("grpo-1", benchmarks=("arithmetic", "gsm8k")), odd])
    assert names(comparison) == ["grpo"] and any("odd" in note for note in comparison["left_out"])


def test_where_only_means_are_known_they_are_compared_and_it_is_said():
    runs = two()
    for run in runs:
        for scores in run.results.values():
            scores["arithmetic"] = Score.of_mean(scores["arithmetic"].mean("accuracy"), 0.05)
    comparison = compare(runs)
    assert comparison["problems"] is None
    assert any("arithmetic: only means were recorded" in note for note in comparison["notes"])
    assert any("Peaks are chosen and read on the same problems" in note for note in comparison["notes"])
    whole = by_name(compare(two()))
    for configuration in configurations(comparison):
        assert [point["value"] for point in configuration["curve"]] == pytest.approx(
            [point["value"] for point in whole[configuration["name"]]["curve"]]
        )
    assert not any("Peaks are chosen" in note for note in compare(two())["notes"])


# Cautions


def test_with_one_seed_no_difference_is_called_shown():
    for runs, alone in ((two(), False), ([*two()[:3], made_up("mmr-1", 1, 2.2, settings=MMR)], True), (two([1]), True)):
        comparison = compare(runs)
        mean = by_name(comparison)["mmr"]["against"]["last"]
        notes = [note for note in comparison["notes"] if note.startswith("One seed of")]
        single = [
            configuration["name"] for configuration in configurations(comparison) if len(configuration["runs"]) == 1
        ]
        assert notes == (
            [
                f"One seed of {', '.join(single)}: no interval over seeds exists. The intervals are for these runs "
                "only, on other problems of the same kind; another seed may reverse the difference."
            ]
            * alone
        )
        [sentence] = sentences(comparison)
        assert mean["low"] > 0
        assert ("better (p " in sentence) != alone and ("one seed, so another may disagree" in sentence) == alone


def test_what_makes_runs_unlike_is_said():
    def notes(*runs):
        return compare(runs)["notes"]

    alike = notes(*two())
    assert alike == []
    base, other = two()[:3], two()[3:]
    other[1].machine = "8 x A100"
    assert notes(*base, *other) == [
        "The runs were made on different machines (1 x H100; 8 x A100): hours compare those too."
    ]
    other[1].machine = None
    assert notes(*base, *other) == []
    short = [made_up(f"mmr-{seed}", seed, steps=STEPS[:-1], settings=MMR) for seed in (1, 2)]
    assert notes(*base, *short) == ["The last evaluations are not at the same step: grpo at 30, mmr at 20."]


def test_notes_of_the_runs_are_in_the_comparison():
    runs = [*two(), Run("new-1", "new", 1, notes=["new-1 has no evaluation yet, so no accuracy."])]
    assert compare(runs)["notes"] == ["new-1 has no evaluation yet, so no accuracy."]
    assert names(compare(runs)) == ["grpo", "mmr"]


PAPERS = {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 32768, "samples": 16, "backend": "vllm", "prompt": "A"}


def sampled(runs, **settings):
    """The runs, evaluated with these settings."""
    for run in runs:
        for score in (score for scores in run.results.values() for score in scores.values()):
            score.sampling = {**score.sampling, **settings}
    return runs


@pytest.mark.parametrize(
    ("other", "differences"),
    [
        ({}, None),
        ({"samples": 4, "seed": 9, "batch_size": 1}, None),  # these change how sure a mean is, not the mean
        ({"temperature": 0.0}, "temperature 0.0 here, 0.6 there"),
        (
            {"temperature": 0, "max_new_tokens": 64},
            "temperature 0 here, 0.6 there; max_new_tokens 64 here, 32768 there",
        ),
        ({"prompt": "B", "dtype": "float32"}, 'prompt "B" here, "A" there'),  # of the dtype one side is unknown
        ({"top_p": 1.0}, "top_p 1.0 here, 0.95 there"),
        ({"backend": "transformers"}, 'backend "transformers" here, "vllm" there'),
    ],
    ids=str,
)
def test_results_of_other_sampling_are_not_compared_in_silence(other, differences):
    runs = two()
    sampled(runs, **PAPERS)
    sampled(runs[3:], **other)
    comparison = compare(runs)
    expected = [f"mmr was not evaluated like grpo: {differences}. A difference may be due to that."]
    assert [note for note in comparison["notes"] if "evaluated" in note] == (expected if differences else [])
    assert all(
        note in report.text(comparison) and html.escape(note) in page(comparison, [], [])
        for note in comparison["notes"]
    )


def test_greedy_results_differ_by_no_top_p():
    runs = sampled(two(), temperature=0, top_p=1.0)
    sampled(runs[3:], top_p=0.95)
    assert compare(runs)["notes"] == []


def test_unknown_sampling_is_said_where_other_sampling_is_known():
    runs = two()
    assert compare(runs)["notes"] == []
    sampled(runs[:3], **PAPERS)
    unknown = "How the completions of mmr were sampled is unknown; a difference may be due to that."
    assert compare(runs)["notes"] == [unknown]


def test_seeds_and_steps_of_one_configuration_that_were_sampled_differently_are_said():
    runs = sampled(two(), **PAPERS)
    runs[0].results[10]["arithmetic"].sampling["temperature"] = 0.0
    [mixed, apart] = compare(runs)["notes"]
    assert mixed == "Not all evaluations of grpo were sampled alike: temperature 0.6 and 0.0."
    assert apart.startswith("mmr was not evaluated like grpo: temperature 0.6 here, 0.6 and 0.0 there")


def evaluated(folder, shares, **settings):
    """What `manypaths evaluate` leaves: benchmark -> shares correct of 4 samples, by problem."""
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps({"model": folder.name, **settings}))
    for name, of in shares.items():
        lines = [
            {"id": f"p{n}", "samples": [{"answer": "1", "correct": place < 4 * share} for place in range(4)]}
            for n, share in enumerate(of)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summarise(folder)
    return folder


RESULTS = {
    "all wrong on few and on many": {"aime24": [0] * 30, "math500": [0] * 500},
    "all right on one": {"aime24": [1] * 3},
    "right or wrong": {"aime24": [1, 0, 0, 0, 1, 1, 1]},
    "shares": {"aime24": [0.25, 0, 1, 0.5, 0.75], "amc23": [0, 0, 0.25], "math500": [1, 1, 1, 1]},
}


@pytest.mark.parametrize("name", RESULTS)
def test_compare_and_evaluate_give_the_same_interval(name, tmp_path):
    folder = evaluated(tmp_path / "one", RESULTS[name])
    summary = json.loads((folder / "summary.json").read_text())["all"]
    [configuration] = configurations(compare(read([folder])[0]))
    assert 0 <= summary["low"] < summary["high"] <= 1
    last = configuration["last"]
    assert {"accuracy": last["value"], "low": last["low"], "high": last["high"]} == pytest.approx(summary)


def test_all_right_and_all_wrong_results_have_an_interval_in_their_difference(tmp_path):
    folders = [evaluated(tmp_path / f"{n}", {"aime24": [share] * 8}) for n, share in enumerate((1, 1, 0))]
    compared = by_name(compare(read(folders)[0]))
    for name, expected in (("1", (0, -0.3244, 0.3244)), ("2", (-1, -1, -0.5413))):
        last = compared[name]["against"]["last"]
        assert (last["value"], last["low"], last["high"]) == pytest.approx(expected, abs=1e-4)


def test_two_evaluations_are_compared_with_their_settings(tmp_path):
    folders = [
        evaluated(tmp_path / "a", {"aime24": [0.5] * 12}, temperature=0.6, max_new_tokens=32768, samples=16, seed=1),
        evaluated(tmp_path / "b", {"aime24": [1.0] * 12}, temperature=0.0, max_new_tokens=64, samples=1, seed=2),
    ]
    comparison = compare(read(folders)[0])
    [note] = [note for note in comparison["notes"] if "evaluated" in note]
    assert "temperature 0.0 here, 0.6 there; max_new_tokens 64 here, 32768 there" in note
    differs = configurations(comparison)[1]["differs"]
    assert differs["evaluation.temperature"] == [0.0, 0.6] and differs["model.name"] == ["b", "a"]


def test_a_training_and_results_alone_differ_in_what_both_can_have():
    runs = [
        made_up("grpo-1", settings={**GRPO, "evaluation.temperature": 0.0}),
        made_up("other", settings={"model.name": "big", "evaluation.temperature": 0.6}, trained=False),
    ]
    differs = configurations(compare(runs))[1]["differs"]
    assert differs == {"model.name": ["big", "tiny"], "evaluation.temperature": [0.6, 0.0]}


def test_intervals_of_few_problems_are_called_rough():
    assert compare(two(problems=range(3)))["notes"] == ["arithmetic has only 3 problems: its intervals are rough."]


# Settings, seconds, metrics


def test_differs_has_the_settings_that_differ_and_no_other():
    own = {**GRPO, "a": 1, "b": [1, 2], "c": None, "d": 0.5}
    changed = {**GRPO, "a": 1, "b": [2, 1], "d": None, "e": "new"}
    compared = configurations(compare([made_up("grpo-1", settings=own), made_up("new-1", settings=changed)]))
    assert [configuration["differs"] for configuration in compared] == [
        {},
        {"b": [[2, 1], [1, 2]], "d": [None, 0.5], "e": ["new", None]},
    ]
    assert configurations(compare([made_up("grpo-1"), made_up("told-1", settings={})]))[1]["differs"] == {}


def test_seconds_are_means_over_the_runs():
    runs = two()
    compared = by_name(compare(runs))
    for name in ("grpo", "mmr"):
        own = [run for run in runs if run.name.startswith(name)]
        whole = fmean(run.clock[-1][1] / run.clock[-1][0] for run in own)
        parts = {part: fmean(run.parts[part] for run in own) for part in PARTS}
        assert compared[name]["seconds"] == pytest.approx({**parts, "whole": whole})
    runs[0].clock, runs[0].parts = [], {}  # one of the seeds was not timed
    own = runs[1:3]
    assert configurations(compare(runs))[0]["seconds"] == pytest.approx(
        {
            **{part: fmean(run.parts[part] for run in own) for part in PARTS},
            "whole": fmean(run.clock[-1][1] / run.clock[-1][0] for run in own),
        }
    )


def test_the_parts_of_a_run_folder_make_up_the_whole(tmp_path):
    for configuration in configurations(compare(read([write_runs(tmp_path)])[0])):
        seconds = dict(configuration["seconds"])
        assert seconds.pop("whole") == pytest.approx(sum(seconds.values())) and tuple(seconds) == PARTS


def test_metrics_are_mean_least_and_most_of_the_seeds_where_all_have_them():
    runs = [made_up(f"grpo-{seed}", seed) for seed in (1, 2, 3)]
    runs[1].curves["entropy"] = runs[1].curves["entropy"][4:9]
    del runs[2].curves["reward"]
    metrics = configurations(compare(runs))[0]["metrics"]
    assert set(metrics) == set(CURVES) - {"reward"}
    assert [step for step, *_ in metrics["entropy"]] == [5, 6, 7, 8, 9]
    for key, curve in metrics.items():
        for step, *band in curve:
            values = [dict(run.curves[key])[step] for run in runs]
            assert band == pytest.approx([fmean(values), min(values), max(values)])


def test_diagnostics_that_no_table_lists_are_compared(tmp_path):
    """A metric diversity/NAME that no table lists: read from run folders, and in each form of the comparison."""
    for seed in (1, 2):
        write_run(tmp_path / f"grpo-{seed}", seed)
        lines = write_run(tmp_path / f"toy-{seed}", seed, "toy") / "metrics.jsonl"
        rows = [json.loads(line) for line in lines.read_text().splitlines()]
        for row in rows:
            row |= {"diversity/gloss": seed + row["step"] / 4, "diversity/void": None, "other/gloss": 1.0}
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    comparison = compare(read([tmp_path])[0])
    curve = [(step, 1.5 + step / 4, 1 + step / 4, 2 + step / 4) for step in range(1, 31)]
    metrics = {name: configuration["metrics"] for name, configuration in by_name(comparison).items()}
    assert metrics["toy"].keys() - metrics["grpo"].keys() == {"diversity/gloss"}
    assert metrics["toy"]["diversity/gloss"] == curve
    means = next(rows for title, rows in tables(comparison) if title == "Means over the training")
    title = "gloss (reported by the method)"
    assert [row[means[0].index(title)] for row in means] == [title, "", f"{1.5 + 15.5 / 4:.2f}"]
    assert "toy,,diversity/gloss,30,,9.0,8.5,9.5,,,\n" in csv_rows.lines(comparison)
    [gloss] = [panel for panel in panels(comparison) if panel.title == title]
    assert gloss.curves == {"toy": metrics["toy"]["diversity/gloss"]}
    assert gloss.words == f"{title} over steps. toy: 1.75 at 1, 9.00 at 30, highest 9.00."


def test_runs_of_an_earlier_version_are_compared_under_todays_names(tmp_path):
    folders = [write_run(tmp_path / name / "grpo-1") for name in ("today", "earlier")]
    lines = folders[1] / "metrics.jsonl"
    text = lines.read_text()
    for name, old in (("groups/zero_std", "groups/without_spread"), ("vendi_score", "effective_number")):
        assert name in text
        text = text.replace(name, old)
    lines.write_text(text)
    assert read([folders[1]])[0] == read([folders[0]])[0]


# JSON

DATED = yaml.safe_load("{day: 2026-01-01, most: .inf, none: .nan}")
ODD = {
    "no clock": {"clock": []},
    "a clock that ends early": {"clock": [(10, 5.0)]},
    "a clock that stands still": {"clock": [(30, 0.0)]},
    "no parts": {"parts": {}},
    "no curves": {"curves": {}},
    "one problem": {"problems": [1]},
    "one evaluation": {"steps": [0], "clock": []},
    "no settings": {"settings": {}, "group": "odd"},
    "nothing": {"settings": {}, "group": "odd", "clock": [], "parts": {}, "curves": {}, "machine": None},
    "a clock of NaN": {"clock": [(10, math.nan), (30, math.nan)]},
    "a clock without end": {"clock": [(10, math.inf)]},
    "a clock of step 0": {"clock": [(0, 0.0)]},
    "parts of NaN": {"parts": dict.fromkeys(PARTS, math.nan)},
    "a day among the settings": {"settings": {**MMR, "day": DATED["day"]}, "group": "odd"},
    "no end among the settings": {"settings": {**MMR, "most": DATED["most"]}, "group": "odd"},
    "NaN among the settings": {"settings": {**MMR, "none": DATED["none"]}, "group": "odd"},
}


@pytest.mark.parametrize("odd", list(ODD))
def test_json_holds_whatever_is_found(odd, tmp_path):
    goals = [("grpo", None), ("odd", 0.01), ("grpo", 1.0), ("odd", "1%-of-rise")]
    for seeds, targets in (([1], goals[:2]), ([1, 2], goals[2:])):
        runs = [made_up(f"odd-{seed}", seed, 1.5, **{"settings": MMR, **ODD[odd]}) for seed in seeds]
        runs += [made_up(f"grpo-{seed}", seed, problems=ODD[odd].get("problems", PROBLEMS)) for seed in seeds]
        for baseline, target in targets:
            comparison = compare(runs, baseline, target)
            assert json.loads(json.dumps(comparison, allow_nan=False)) == json.loads(json.dumps(comparison))
            assert report.text(comparison) and csv_rows.lines(comparison)


def test_a_target_that_is_never_reached_has_no_steps():
    comparison = compare(two(), target=1.0)
    for configuration in configurations(comparison):
        assert [configuration["to_target"][unit]["value"] for unit in ("steps", "hours")] == [None, None]
    [sentence] = sentences(comparison)
    assert (
        "not reached by either, in steps; not reached by either, in hours" in sentence
        and "shown" not in sentence.partition("To 100.0%")[2]
    )


def test_a_target_that_is_reached_at_the_start_takes_0_steps():
    comparison = compare(two(), target=0.01)
    for configuration in configurations(comparison):
        for unit in ("steps", "hours"):
            estimate = configuration["to_target"][unit]
            assert estimate["value"] == estimate["low"] == 0.0 <= estimate["high"] < 3
        assert configuration["to_target"]["steps_saved"]["value"] is None


def test_what_is_reached_at_the_start_is_not_said_to_be_missed():
    assert "not reached" not in report.text(compare(two(), target=0.01))


# The command

BLOCKED = ("torch", "transformers", "trl", "datasets", "accelerate", "peft", "sentence_transformers", "math_verify")


def without_torch(tmp_path, *words):
    """A command in a Python that has none of the libraries that train."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({BLOCKED!r}))\n"  # None there: importing it raises
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, *words]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60)


def test_comparing_needs_no_torch(tmp_path):
    runs, out = write_runs(tmp_path / "runs"), tmp_path / "out"
    commands = [["compare", str(runs), "--out", str(out)], ["compare", "--published"]]
    code = f"from manypaths.cli import main\nprint([main(words) for words in {commands!r}])\n"
    code += "try: import torch\nexcept ModuleNotFoundError as error: raise SystemExit(str(error))"
    done = without_torch(tmp_path, "-c", code)
    assert done.returncode == 1 and done.stderr.startswith("import of torch") and done.stderr.count("\n") == 1
    assert done.stdout.endswith("[0, 0]\n")
    assert done.stdout.startswith("Baseline: grpo.") and str(out / "report.html") in done.stdout
    assert json.loads((out / "comparison.json").read_text()) == json.loads(json.dumps(compare(read([runs])[0])))
    assert done.stdout.startswith((out / "comparison.md").read_text().rstrip()) and "# Published" in done.stdout


def broken(folder):
    """Paths that are not runs, for different reasons."""
    folders = [write_run(folder / f"broken-{number}") for number in range(4)]
    for path, content in zip(folders[:2], ("- a\n- list\n", ""), strict=True):
        (path / "recipe.yaml").write_text(content)
    (folders[2] / "evaluation" / "shares.json").write_text('{"before": {"arith')
    (folders[3] / "metrics.jsonl").write_text("rubbish\n" * 3)
    (folder / "empty").mkdir()
    (folder / "text").write_text("no run")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "results.json").write_text("[" * 100_000)
    more = ("empty", "text", "table.csv", "results.json", "nowhere", "nowhere.csv")
    return [*map(str, folders), *(str(folder / name) for name in more)]


@pytest.mark.parametrize("content", ["[]", "", '{"cores": 2', "\x00"])
def test_a_run_whose_environment_is_damaged_is_compared_all_the_same(content, tmp_path):
    folder = write_run(tmp_path / "grpo-1")
    whole = compare(read([folder])[0])
    (folder / "environment.json").write_text(content)
    runs, refused = read([folder])
    comparison = compare(runs)
    assert refused == [] and configurations(comparison) == configurations(whole)
    [note] = [note for note in comparison["notes"] if note not in whole["notes"]]
    assert note.startswith("grpo-1: its machine is unknown, because") and str(folder / "environment.json") in note


@pytest.mark.parametrize("seconds", ["-3.0", "NaN", "1e999", '"fast"', "[1]"])
def test_seconds_that_are_no_duration_are_left_out_with_a_word(seconds, tmp_path):
    folder = write_run(tmp_path / "grpo-1")
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    spoilt = json.loads(lines[3])
    spoilt["seconds/update"] = "SECONDS"
    lines[3] = json.dumps(spoilt).replace('"SECONDS"', seconds)
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    [run], refused = read([folder])
    assert refused == [] and run.clock == [] and run.parts == {}
    assert [note for note in run.notes if "times are left out" in note]


def test_broken_runs_are_named_and_the_good_are_compared(tmp_path, capsys):
    good, bad = str(write_runs(tmp_path / "good")), broken(tmp_path / "bad")
    assert main(["compare", *bad[::2], good, *bad[1::2]]) == 3
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == len(bad) and all(line.startswith("Left out: ") and len(line) < 500 for line in lines)
    for path in bad:
        assert any(f"{path}'" in line or f"{path}/" in line or f"{path}:" in line for line in lines), path
    assert main(["compare", good]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == printed.out.splitlines()[:4]


@pytest.mark.parametrize("content", ["a: [1, {", "\x00", "a: !!python/object:os.system x"])
def test_a_recipe_that_is_no_yaml_is_named_and_the_good_are_compared(content, tmp_path, capsys):
    write_runs(tmp_path)
    (tmp_path / "mmr-2" / "recipe.yaml").write_text(content)
    assert main(["compare", str(tmp_path)]) == 3
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Left out: ") and str(tmp_path / "mmr-2") in line


def test_without_one_good_run_the_command_says_so(tmp_path, capsys):
    bad = broken(tmp_path)
    assert main(["compare", *bad]) == 2
    *lines, last = capsys.readouterr().err.splitlines()
    assert len(lines) == len(bad) and all(line.startswith("Left out: ") for line in lines)
    assert last == "manypaths compare: None of these runs has results to compare."


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "Name run folders"),
        (["RUNS", "--baseline", "nope"], "No configuration is named 'nope'. There are: grpo, mmr."),
        (["RUNS", "--target", "nope"], "got 'nope'"),
        (["nowhere", "--target", "2"], "got '2'"),
    ],
)
def test_a_mistake_is_one_sentence(words, complaint, tmp_path, capsys):
    runs = str(write_runs(tmp_path, [1]))
    assert main(["compare", *(runs if word == "RUNS" else word for word in words)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert printed.err.startswith("manypaths compare: ") and complaint in printed.err


def test_nothing_is_written_without_out(tmp_path, capsys, monkeypatch):
    write_runs(tmp_path / "runs", [1])
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "runs"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert "Report:" not in capsys.readouterr().out


@pytest.mark.parametrize("per_problem", [True, False])
def test_a_csv_equals_the_same_runs_built_directly(per_problem, tmp_path):
    runs = []
    for run in two():
        group = run.name.partition("-")[0]
        runs.append(Run(f"{group}-seed{run.seed}", group, run.seed, clock=run.clock, results=run.results))
    for run in runs if not per_problem else []:
        for scores in run.results.values():
            scores["arithmetic"] = Score.of_mean(scores["arithmetic"].mean("accuracy"))
    with open(tmp_path / "runs.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["run", "seed", "step", "benchmark", "problem", "accuracy", "seconds"])
        for run, step in itertools.product(runs, STEPS):
            score, seconds = run.results[step]["arithmetic"], dict(run.clock).get(step, "")
            for problem, share in (score.shares or {"all": score.mean("accuracy")}).items():
                table.writerow([run.group, run.seed, step, "arithmetic", problem, repr(share), seconds])
    if not per_problem:
        text = [line.split(",") for line in (tmp_path / "runs.csv").read_text().splitlines()]
        (tmp_path / "runs.csv").write_text("\n".join(",".join(row[:4] + row[5:]) for row in text))
    imported, refused = read([tmp_path / "runs.csv"])
    assert any("accuracy is read as shares" in note for note in imported[0].notes)
    imported[0].notes = []
    assert refused == [] and imported == runs
    assert compare(imported, "grpo") == compare(runs, "grpo")
