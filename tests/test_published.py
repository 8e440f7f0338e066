"""The papers' tables agree with themselves, and what is derived from them is what a hand computes."""

import copy
import re
from statistics import fmean

import pytest

from manypaths.comparison import published
from manypaths.comparison.published import accuracy_change, less, near, page, pairs, rows, savings, tables
from manypaths.problems import BENCHMARKS

MODELS = ("DeepSeek-R1-Distill-Qwen-1.5B", "DeepSeek-R1-Distill-Qwen-7B", "DeepSeek-R1-Distill-Llama-8B")
MMR_DAPO = "MMR-DAPO, no dynamic sampling"
# Rows whose mean is one in the last place off the mean of the five rounded accuracies: what that mean rounds to.
MEAN_OFF_BY_ONE = {(MODELS[0], "GRPO"): 0.548, (MODELS[2], MMR_DAPO): 0.645}
# (model, MMR row, baseline): fewer steps, less time, change in seconds per step in percent; mean in points
DERIVED = {
    ("1.5B", "MMR-GRPO", "GRPO"): (0.0, -1.2, 1.4, 0.2),
    ("1.5B", "MMR-Dr. GRPO", "Dr. GRPO"): (33.3, 32.4, 1.4, 0.0),
    ("1.5B", MMR_DAPO, "DAPO"): (-54.5, 69.8, -80.5, -0.8),
    ("1.5B", MMR_DAPO, "DAPO, no dynamic sampling"): (15.0, 13.5, 1.2, -0.7),
    ("7B", "MMR-GRPO", "GRPO"): (57.1, 56.8, 0.7, 0.0),
    ("7B", "MMR-Dr. GRPO", "Dr. GRPO"): (83.3, 83.1, 1.4, -0.3),
    ("7B", MMR_DAPO, "DAPO"): (-11.1, 74.3, -76.8, 0.3),
    ("7B", MMR_DAPO, "DAPO, no dynamic sampling"): (50.0, 47.3, 5.5, 0.2),
    ("8B", "MMR-GRPO", "GRPO"): (85.7, 85.7, 0.6, -0.1),
    ("8B", "MMR-Dr. GRPO", "Dr. GRPO"): (66.7, 66.2, 1.2, -0.1),
    ("8B", MMR_DAPO, "DAPO"): (-12.5, 81.4, -83.5, -0.7),
    ("8B", MMR_DAPO, "DAPO, no dynamic sampling"): (28.0, 24.4, 5.1, 0.1),
}


@pytest.fixture
def table():
    """MMR-GRPO's Table 1, a fresh copy."""
    return tables()["mmr-grpo"]


def percent(shares):
    return tuple(round(100 * share, 1) for share in shares)


def test_every_mean_is_that_of_its_benchmarks(table):
    whole = [row for row in [*table["rows"], *tables()["dra-grpo"]["rows"]] if "scores" in row]
    assert len(whole) == 24 + 3
    off = {
        (row["model"], row["method"]): round(fmean(row["scores"]), 3)
        for row in whole
        if round(fmean(row["scores"]), 3) != row["mean"]
    }
    assert off == MEAN_OFF_BY_ONE


def test_hours_are_steps_times_seconds_without_exception(table):
    timed = [row for row in table["rows"] if "hours" in row]
    assert len(timed) == 21
    for row in timed:
        assert round(3600 * row["hours"] / row["peak_step"]) == row["seconds_per_step"], row


def test_what_follows_for_each_pair(table):
    actual = {}
    for row, base in pairs(table, "as_in_paper") + pairs(table, "like_for_like"):
        steps, time, slower = percent(less(row, base, key) for key in ("peak_step", "hours", "seconds_per_step"))
        key = row["model"].rsplit("-", 1)[1], row["method"], base["method"]
        actual[key] = (steps, time, -slower, round(100 * (row["mean"] - base["mean"]), 1))
    assert actual == DERIVED


@pytest.mark.parametrize(
    ("against", "rows_mean", "pooled", "points"),
    [("as_in_paper", (27.6, 60.9), (47.6, 73.8), -0.17), ("like_for_like", (46.6, 45.4), (54.5, 57.7), -0.08)],
)
def test_the_ways_to_compute_the_headline(table, against, rows_mean, pooled, points):
    assert len(pairs(table, against)) == 9
    actual = savings(table, against)
    assert (percent(actual["mean of rows"]), percent(actual["pooled"])) == (rows_mean, pooled)
    assert round(100 * accuracy_change(table, against), 2) == points


def test_a_changed_number_changes_what_follows(table):
    changed = copy.deepcopy(table)
    row = next(row for row, base in pairs(changed, "like_for_like") if base["method"] == "GRPO")  # 1.5B, both 100 steps
    row["peak_step"], row["hours"], row["mean"] = 50, 2.04, row["mean"] + 0.009
    before, after = savings(table, "like_for_like"), savings(changed, "like_for_like")
    # 50 of the baseline's 100 steps are half a row of nine, and 50 of the 2,200 steps of all baselines; so for hours
    more = [new - old for way in before for new, old in zip(after[way], before[way], strict=True)]
    assert more == pytest.approx([0.5 / 9, (4.13 - 2.04) / 4.08 / 9, 50 / 2200, (4.13 - 2.04) / 170.83])
    assert accuracy_change(changed, "like_for_like") - accuracy_change(table, "like_for_like") == pytest.approx(0.001)
    changed["rows"][1]["peak_step"] = 200  # the baseline
    assert less(row, changed["rows"][1], "peak_step") == 0.75


def test_the_page_shows_what_the_papers_say_and_what_follows():
    text = page()
    assert max(map(len, text.splitlines())) <= 120
    end = text[text.index("## MMR-GRPO: the headline") :]
    lines = [re.split(r" *\| *", line)[1:-1] for line in end.splitlines() if line.startswith("|")]
    assert lines[2:] == [
        ["as the paper states it", "47.9 %", "70.2 %", ""],
        ["DAPO with dynamic sampling: mean of rows", "27.6 %", "60.9 %", "-0.17"],
        ["DAPO with dynamic sampling: pooled", "47.6 %", "73.8 %", "-0.17"],
        ["DAPO without, like for like: mean of rows", "46.6 %", "45.4 %", "-0.08"],
        ["DAPO without, like for like: pooled", "54.5 %", "57.7 %", "-0.08"],
    ]
    cells = [tuple(re.split(r" *\| *", line)[1:-1]) for line in text.splitlines() if line.startswith("|")]
    for (model, method, base), (steps, time, slower, points) in DERIVED.items():
        shown = (f"{steps:.1f} %", f"{time:.1f} %", f"{points:+.1f}", f"{slower:+.1f} %")
        assert (model, method, base, *shown) in cells
    dapo = ("DAPO", "50.4", "88.9", "88.9", "35.1", "63.1", "65.3", "160", "93.75", "2109")
    rerun = ("DRA-Dr. GRPO", "26.7", "81.6", "72.5", "29.8", "50.1", "52.1", "a user's rerun")
    rgra = ("RGRA", "53.1 (26.5)", "72.7 (38.3)", "43.3 (20.2)")
    assert {dapo, rerun, rgra, ("GRPO", *[""] * 5, "54.8", "paper")} <= set(cells)


def test_the_words_about_the_headline_say_what_the_numbers_say(table):
    steps, hours = table["headline"]["peak_step"], table["headline"]["hours"]
    ways = [both for against in published.AGAINST for both in savings(table, against).values()]
    assert min(ways, key=lambda both: abs(both[0] - steps)) == savings(table, "as_in_paper")["pooled"]
    assert min(ways, key=lambda both: abs(both[1] - hours)) == savings(table, "as_in_paper")["pooled"]
    assert all(round(both[0], 3) != steps and round(both[1], 3) != hours for both in ways)
    dynamic = [base["seconds_per_step"] / row["seconds_per_step"] for row, base in pairs(table, "as_in_paper")[2::3]]
    assert (round(min(dynamic)), round(max(dynamic))) == (4, 6)
    words = ["47.9", "47.6", "70.2", "73.8", "45.4", "57.7", "-0.17", "-0.08"]
    assert re.findall(r"-?\d+\.\d+", published.READING) == words


@pytest.mark.parametrize("row", tables()["dra-grpo"]["rows"][4:], ids=lambda row: row["reported_by"])
def test_dra_rows_are_of_one_sample_and_the_base_row_is_not(row):
    """An accuracy of one sample per problem is a whole number of 30, 500 or 40 problems, to rounding."""
    base = tables()["dra-grpo"]["rows"][0]
    assert base["scores"] == tables()["mmr-grpo"]["rows"][0]["scores"]
    for accuracy, count in zip(row["scores"][:3], (30, 500, 40), strict=True):
        assert accuracy == round(round(accuracy * count) / count, 3)
    assert base["scores"][0] != round(round(base["scores"][0] * 30) / 30, 3)


def test_rows_are_flat_and_named_as_the_benchmarks_are():
    actual = rows()
    assert len(actual) == sum(len(paper["rows"]) for paper in tables().values()) == 24 + 6 + 18
    assert len({tuple(row) for row in actual}) == 1
    for name in ("mmr-grpo", "dra-grpo"):
        assert tables()[name]["benchmarks"] == {key: benchmark.title for key, benchmark in BENCHMARKS.items()}
    assert {row["reported_by"] for row in actual} == {"paper", "paper (about)", "a user's rerun"}
    row = next(row for row in rows(MODELS[1]) if row["method"] == "MMR-GRPO")
    assert row["benchmarks"] == {
        "aime24": 0.56,
        "math500": 0.94,
        "amc23": 0.916,
        "minerva": 0.409,
        "olympiadbench": 0.673,
    }
    assert (row["paper"], row["mean"], row["peak_step"], row["hours"], row["seconds_per_step"]) == (
        "MMR-GRPO",
        0.7,
        150,
        12.22,
        293,
    )
    bare = next(row for row in actual if row["paper"] == "DRA-GRPO" and row["method"] == "GRPO")
    assert (bare["benchmarks"], bare["mean"], bare["peak_step"], bare["hours"]) == ({}, 0.548, None, None)


def test_near_finds_a_model_by_hub_id_and_by_folder():
    expected = {"deepseek-ai/" + MODELS[0]: 14, "deepseek-ai/" + MODELS[1]: 8, "deepseek-ai/" + MODELS[2]: 8}
    expected |= {"Qwen/Qwen2.5-0.5B-Instruct": 6, f"/models/{MODELS[1]}/": 8, MODELS[2].lower(): 8}
    expected |= {"Qwen/Qwen2.5-7B": 0, "org/R1-Distill-Qwen-7B": 0, "": 0}
    assert {name: len(near(name)) for name in expected} == expected
    for name, count in expected.items():
        assert {row["model"].casefold() for row in near(name)} == (
            {name.strip("/").rsplit("/")[-1].casefold()} if count else set()
        )
