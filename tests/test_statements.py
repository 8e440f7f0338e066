"""Statements of a comparison beside its numbers: none is false in small, damaged, paired, repeated or unlike runs."""

import itertools
import json
import math
import re
import shutil
from dataclasses import replace
from statistics import fmean

import pytest
from test_compare import evaluated, made_up, write_run, write_runs
from test_verdicts import STEPS, last, runs_of

from manypaths.cli import main
from manypaths.comparison import report
from manypaths.comparison.command import Question, check
from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations
from manypaths.comparison.numbers import SHARE, amount
from manypaths.comparison.protocol import Protocol
from manypaths.comparison.read import read
from manypaths.comparison.runs import Run, Score
from manypaths.comparison.sentences import no_worse, sentences, verdict_at_the_end, verdict_heading
from manypaths.comparison.tables import tables, verdict_tables
from manypaths.statistics import estimate, interval

NULL = {
    "value": 0.0,
    "low": -0.05,
    "p": 0.4,
    "p_holm": 0.4,
    "verdict": "not shown",
    "equivalent": None,
    "caution": None,
}


def by_name(comparison, measure=None):
    return {configuration["name"]: configuration for configuration in configurations(comparison, measure)}


def of_means(name, values, errors=None, benchmarks=("a", "b", "c", "d"), **more):
    """Runs of which only means were recorded: one value for each seed, the same on all benchmarks."""
    scores = [{name: Score.of_mean(value, errors and errors[name], **more) for name in benchmarks} for value in values]
    return [Run(f"{name}-{seed}", name, seed, results={0: score}) for seed, score in enumerate(scores)]


# Limits


@pytest.mark.parametrize("high", [0.0012, 0.0104, 0.0312, 0.0501, 0.0949, 0.123, 0.3333, 0.9])
def test_a_gain_that_is_excluded_lies_outside_the_interval(high):
    words = verdict_at_the_end({**NULL, "high": high}, 1, SHARE, None)
    [limit] = re.findall(r"a gain above ([0-9.]+) points? is excluded", words)
    assert float(limit) >= 100 * high


@pytest.mark.parametrize("margin", [0.25, 0.3, 1, 1.125, 2.5, 12, 33.3])
def test_a_margin_is_written_as_it_was_set(margin):
    number, word = amount(margin / 100, SHARE).split()
    assert float(number) == margin and word == ("point" if margin == 1 else "points")


def test_a_design_that_can_see_no_difference_says_so():
    comparison = compare([*runs_of("base", 3, 0.3, problems=1), *runs_of("new", 3, 2.0, problems=1)], "base")
    assert last(comparison, "new")["detectable"] > 1
    [sentence] = sentences(comparison)
    assert "With 3 seeds and 1 problem no difference is shown with a power of 80 %." in sentence


# Units: what is repeated, paired, or shares a start


def test_a_copy_of_a_run_changes_no_number():
    runs = [*runs_of("base", 4, 0.3), *runs_of("new", 4, 0.9)]
    copies = [replace(run, name=f"again-{run.name}") for run in runs[4:]]
    once, twice = compare(runs, "base"), compare(runs + copies, "base")
    name = twice["configurations"][1]["name"]
    for key in ("value", "low", "high", "p"):
        assert last(twice, name)[key] == pytest.approx(last(once, "new")[key])
    [configuration] = configurations(twice)[1:]
    assert configuration["units"] == 4 and len(configuration["runs"]) == 8
    assert "4 in 8 runs" in report.text(twice)
    assert any("has seed 0, 1, 2, 3 more than once" in note for note in twice["notes"])


def test_two_copies_of_one_run_are_one_seed():
    [run] = runs_of("new", 1, 3.0)
    comparison = compare([*runs_of("base", 4), run, replace(run, name="copy of new-0")], "base")
    [configuration] = configurations(comparison)[1:]
    assert configuration["against"]["last"]["verdict"] == "one seed"


def test_a_link_to_a_run_is_that_run(tmp_path):
    write_runs(tmp_path / "runs")
    (tmp_path / "runs" / "grpo-3").symlink_to(tmp_path / "runs" / "grpo-1")
    runs, _ = read([tmp_path / "runs", tmp_path / "runs" / "grpo-1"])
    assert [run.name for run in runs] == ["grpo-1", "grpo-2", "mmr-1", "mmr-2"]


def test_seeds_are_not_paired_with_starts_of_the_same_names():
    starts = [replace(run, cluster=str(run.seed // 2)) for run in runs_of("new", 8, 0.9)]
    comparison = compare([*runs_of("base", 4, 0.3), *starts], "base", paired=True)
    assert not last(comparison, "new")["paired"]
    assert any("share fewer than two seeds or starts" in note for note in comparison["notes"])


def test_pairs_of_starts_are_called_starts_whatever_their_seeds():
    base, new = (
        [replace(run, cluster=f"start-{run.seed % 4}") for run in runs_of(name, 4, gain, start=start)]
        for name, gain, start in (("base", 0.3, 0), ("new", 0.9, 100))
    )
    [sentence] = sentences(compare([*base, *new], "base", paired=True))
    assert "Taken start by start over 4 shared starts: [" in sentence and "4 starts and 24 problems show" in sentence


def test_several_seeds_of_one_start_are_one_start():
    new = [replace(run, cluster="only") for run in runs_of("new", 3, 3.0)]
    comparison = compare([*runs_of("base", 4), *new], "base")
    assert last(comparison, "new")["verdict"] == "one start"
    assert "one start, so another may disagree" in sentences(comparison)[0]
    assert any(note.startswith("One start of new") for note in comparison["notes"])


def test_of_seeds_that_only_one_side_has_the_steps_are_of_all_and_the_savings_of_the_shared():
    runs = [*runs_of("base", 6, 0.6, luck=0.8), *runs_of("new", 9, 1.0, luck=0.8, start=2)]
    shared = [run for run in runs if 2 <= run.seed < 6]
    paired, plain = (compare(runs, "base", "58%", paired=wish) for wish in (True, False))
    alone = compare(shared, "base", "58%", paired=True)
    for key in ("steps", "hours"):
        of_all, savings = (by_name(side)["new"]["to_target"] for side in (paired, alone))
        assert of_all[key]["value"] == by_name(plain)["new"]["to_target"][key]["value"]
        assert of_all[f"{key}_saved"] == {**savings[f"{key}_saved"]}
    assert "shows 4 seeds" not in sentences(paired)[0]
    assert "over 4 shared seeds" in sentences(paired)[0] and "4 seeds and 24 problems show" in sentences(paired)[0]


# Measures


def test_a_protocol_may_name_a_k_that_is_not_listed():
    protocol = Protocol("k", "base", ["new"], ["pass@3"], ["distinct@2", "distinct@5"])
    comparison = compare([*runs_of("base", 4), *runs_of("new", 4, 2.0)], protocol=protocol)
    assert comparison["measures"][:2] == ["pass@3", "distinct@2"]
    assert comparison["protocol"]["missing"] == ["distinct@5 was not recorded in all runs."]
    assert comparison["protocol"]["secondary"][0]["arms"]["new"]["p"] is not None


def test_of_other_numbers_of_completions_all_measures_that_all_allow_are_compared():
    comparison = compare([*runs_of("base", 3, samples=4), *runs_of("new", 3, samples=8)], "base")
    assert sorted(comparison["measures"]) == ["accuracy", "distinct@4", "majority", "pass@2", "pass@4"]
    assert (
        "Not all evaluations have pass@8, distinct@8; only the measures that all have are compared."
        in (comparison["notes"])
    )
    caution = "new was not evaluated like base: samples 8 here, 4 there. A difference may be due to that."
    assert last(comparison, "new", "majority")["caution"] == caution and caution in comparison["notes"]
    assert last(comparison, "new", "pass@4")["caution"] is last(comparison, "new")["caution"] is None


def test_a_plain_number_is_higher_and_not_better():
    base, new = of_means("base", [2.1, 2.2, 2.15], measure="loss"), of_means("new", [2.6, 2.5, 2.6], measure="loss")
    comparison = compare([*base, *new], "base", metric="loss")
    assert last(comparison, "new", "loss")["verdict"] == "higher"
    assert "better" not in report.text(comparison) and "worse" not in report.text(comparison)
    equal = compare([*base, *of_means("new", [2.1, 2.25, 2.1], measure="loss")], "base", metric="loss")
    assert "an increase above" in report.text(equal) and "a gain" not in report.text(equal).replace("against", "")


def test_problems_are_counted_where_all_benchmarks_have_them():
    runs = [*runs_of("base", 3), *runs_of("new", 3)]
    for run in runs:
        run.results = {20: {**run.results[20], "means": Score.of_mean(0.4 + 0.01 * run.seed)}}
    comparison = compare(runs, "base")
    assert comparison["problems"] is None and "problems)" not in report.text(comparison)


def test_without_a_benchmark_its_standard_error_is_gone_and_the_others_weigh_more():
    errors = {"a": 0.01, "b": 0.02, "c": 0.03, "d": 0.04}
    values = {"base": [0.4, 0.42, 0.41], "new": [0.5, 0.49, 0.52]}

    def compared(benchmarks):
        return compare([run for name in values for run in of_means(name, values[name], errors, benchmarks)], "base")

    for item in last(compared("abcd"), "new")["sensitivity"]:
        expected = last(compared("abcd".replace(item["without"], "")), "new")
        for key in ("value", "low", "high"):
            assert item[key] == pytest.approx(expected[key])


def test_a_margin_of_points_says_to_which_measures_it_does_not_apply():
    runs = [*runs_of("base", 3), *runs_of("new", 3)]
    note = "The margin is in points, so it does not apply to distinct@4."
    assert note in compare(runs, "base", margin=2)["notes"] and note not in compare(runs, "base")["notes"]


def test_many_configurations_have_the_answer_of_a_single_one_to_the_trade():
    gains = {"base": 0.0, "a": 2.0, "b": -2.0, "c": 0.1, "d": 0.2}
    runs = {name: runs_of(name, 5, gain) for name, gain in gains.items()}
    comparison = compare([run for own in runs.values() for run in own], "base", metric="pass@4", margin=5)
    [(_, [header, *rows])] = verdict_tables(comparison)
    column = header.index("better in pass@4 and at most 5 points worse in accuracy")
    for configuration, row in zip(comparison["configurations"][1:], rows, strict=True):
        assert f": {row[column]} (accuracy " in no_worse(comparison, configuration)
    assert [row[column] for row in rows[:2]] == ["yes", "no"]


def test_a_configuration_alone_has_no_empty_column():
    for runs in (runs_of("base", 3), of_means("base", [0.4, 0.5])):
        for _, [header, *rows] in tables(compare(runs)):
            assert all(any(row[at] for row in rows) for at in range(1, len(header)))


def test_p_values_over_other_numbers_of_configurations_are_called_so():
    protocol = Protocol("two and one", "base", ["a", "b"], ["accuracy"])
    runs = [run for name in ("base", "a", "b", "c") for run in runs_of(name, 3)]
    assert verdict_heading(compare(runs, protocol=protocol)) == "verdict (p after Holm over 1 or 2)"


# The race


def test_peaks_are_called_held_out_only_where_they_are():
    one_problem = compare([*runs_of("base", 3, problems=1), *runs_of("new", 3, problems=1)], "base")
    usual = compare([*runs_of("base", 3), *runs_of("new", 3)], "base")
    assert "held out" not in report.text(one_problem) and "peak, held out" in report.text(usual)


def test_where_nothing_was_evaluated_twice_no_note_is_about_peaks():
    comparison = compare([*of_means("base", [0.4, 0.5, 0.45]), *of_means("new", [0.4, 0.5, 0.45])], "base")
    assert not any("eak" in note for note in comparison["notes"])


def test_without_times_a_saving_of_hours_is_unknown():
    protocol = Protocol("times", "base", ["new"], ["accuracy"], [{"metric": "accuracy", "at": "hours"}])
    comparison = compare([*runs_of("base", 4), *runs_of("new", 4, 2.0)], protocol=protocol)
    assert by_name(comparison)["new"]["to_target"]["hours_saved"]["verdict"] == "unknown"
    assert comparison["protocol"]["secondary"][0]["arms"]["new"]["met"] is None


def test_a_run_without_times_leaves_hours_unmeasured_and_not_unreached():
    runs = [
        made_up(f"{name}-{seed}", seed, rate, settings={"m": name})
        for seed in (1, 2, 3)
        for name, rate in (("a", 1), ("b", 2))
    ]
    runs[0].clock = []
    comparison = compare(runs, "a")
    assert by_name(comparison)["a"]["to_target"]["hours"]["value"] is None
    text = report.text(comparison)
    assert "not reached" not in text and "not measured" in text
    assert "a: hours are left out, because only some of its runs have times." in comparison["notes"]


def test_a_target_that_one_side_misses_has_a_verdict():
    runs = [*runs_of("base", 5, 0.1, problems=200), *runs_of("new", 5, 4.0, problems=200)]
    target = 0.9 * by_name(compare(runs, "base"))["new"]["last"]["value"]
    [sentence] = sentences(compare(runs, "base", target))
    assert re.search(r"[0-9.]+ steps, not reached by base: faster \(p ", sentence)
    [sentence] = sentences(compare(runs, "new", target))
    assert re.search(r"not reached, against [0-9.]+ steps: slower \(p ", sentence)


@pytest.mark.parametrize("margin", [0, -1, 100])
def test_a_margin_of_a_protocol_is_checked_before_the_runs(margin, tmp_path):
    (tmp_path / "p.yaml").write_text(f"{{name: p, baseline: a, arms: [b], primary: [accuracy], margin: {margin}}}")
    with pytest.raises(ValueError, match=r"p\.yaml' is not a protocol: .*margin must be above 0"):
        check(Question(protocol=tmp_path / "p.yaml"), curves=False)


# Files


@pytest.mark.parametrize("seed", [[1, 2], {"a": 1}, "1", math.nan, 1.5, True])
def test_a_seed_that_is_no_whole_number_leaves_the_run_out(seed, tmp_path, capsys):
    write_runs(tmp_path / "runs")
    write_run(tmp_path / "runs" / "odd", seed)
    assert main(["compare", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 3
    assert "odd': the seed of its recipe must be a whole number, got" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    write_runs(tmp_path / "runs")
    (tmp_path / "file").write_text("")
    for out in ("file", "file/inside"):
        assert main(["compare", str(tmp_path / "runs"), "--out", str(tmp_path / out)]) != 0
        error = capsys.readouterr().err
        assert "--out must be a folder that can be written, got" in error and str(tmp_path / out) in error


def test_measures_are_those_of_all_subsets_of_the_completions_of_a_run_folder(tmp_path):
    """Every K completions of every problem are looked at, of the lines as an evaluation writes them."""
    answers = {"p0": "AABx", "p1": "xxxx", "p2": "ABCD", "p3": "AxxBx", "p4": "BBBBB", "p5": "AxAx"}
    folders = []
    for name, seed in itertools.product(("grpo", "mmr"), (1, 2, 3)):
        folder = write_run(tmp_path / f"{name}-{seed}", seed, None if name == "grpo" else name, steps=(0, 2))
        shutil.rmtree(folder / "evaluation")
        (folder / "evaluation").mkdir()
        (folder / "evaluation" / "summary.json").write_text(json.dumps({"before": {"step": 0}, "after": {"step": 2}}))
        for when, shift in (("before", 0), ("after", seed + (name == "mmr"))):
            lines = []
            for place, (problem, _) in enumerate(answers.items()):
                letters = list(answers.values())[(place + shift) % len(answers)]
                samples = [{"text": a, "answer": str(ord(a)), "correct": a != "x"} for a in letters]
                lines.append({"id": problem, "samples": samples})
            (folder / "evaluation" / f"{when}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        folders.append(folder)
    comparison = compare(read(folders)[0], "grpo")

    def brute(folder, measure, k):
        values = []
        for line in map(json.loads, (folder / "evaluation" / "after.jsonl").read_text().splitlines()):
            subsets = itertools.combinations([s["answer"] if s["correct"] else None for s in line["samples"]], k)
            right = [{answer for answer in subset if answer is not None} for subset in subsets]
            values.append(fmean(len(found) if measure == "distinct" else bool(found) for found in right))
        return values

    for measure, k in (("accuracy", 1), ("pass", 2), ("pass", 4), ("distinct", 4)):
        name = measure if measure == "accuracy" else f"{measure}@{k}"
        scale = k if measure == "distinct" else 1
        cells = [[value / scale for value in brute(folder, measure, k)] for folder in folders]
        sides = by_name(comparison, name)
        for side, rows in (("grpo", cells[:3]), ("mmr", cells[3:])):
            low, high = interval(estimate(rows))
            expected = [scale * end for end in (estimate(rows).value, low, high)]
            assert [sides[side]["last"][key] for key in ("value", "low", "high")] == pytest.approx(expected)
        low, high = interval(estimate(cells[3:]), estimate(cells[:3]))
        difference = sides["mmr"]["against"]["last"]
        assert [difference["low"], difference["high"]] == pytest.approx([scale * low, scale * high])
    assert [point["step"] for point in sides["mmr"]["curve"]] == [0, 2] != list(STEPS)


def test_results_beside_run_folders_are_not_passed_over(tmp_path):
    write_runs(tmp_path / "runs")
    evaluated(tmp_path / "runs" / "base", {"arithmetic": [0.5] * 4})
    runs, _ = read([tmp_path / "runs"])
    assert any(
        "'base' is not read, because its folder holds run folders. Give it as well to read it." in note
        for run in runs
        for note in run.notes
    )
