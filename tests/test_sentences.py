"""What a comparison says: verdicts after Holm, null results, margins, pairing, and every note once."""

import re

import pytest
from test_compare import two
from test_report import ARMS, CASES, PROTOCOL, counted, many
from test_verdicts import runs_of

from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations
from manypaths.comparison.numbers import PLAIN, SHARE, p_value, unit_of, with_interval
from manypaths.comparison.planned import answers
from manypaths.comparison.protocol import Protocol
from manypaths.comparison.sentences import (
    brief_verdict,
    joined,
    lead,
    no_worse,
    remarks,
    sentences,
    verdict,
    verdict_at_the_end,
)
from manypaths.comparison.tables import verdict_tables

SHOWN = {"value": 0.05, "low": 0.02, "high": 0.08, "p": 0.003, "p_holm": 0.012, "verdict": "better"}
NULL = {"value": 0.01, "low": -0.0111, "high": 0.0312, "p": 0.34, "p_holm": 0.7, "verdict": "not shown"}
LOST = {"value": 0.04, "low": 0.002, "high": 0.078, "p": 0.02, "p_holm": 0.16, "verdict": "not shown"}


@pytest.mark.parametrize(
    ("item", "family", "expected"),
    [
        (SHOWN, 8, "better (p 0.012 after Holm over 8)"),
        (SHOWN, 1, "better (p 0.003)"),
        ({**SHOWN, "p_holm": None}, 8, "better (p 0.003)"),  # a protocol without a correction
        ({**SHOWN, "p": 1e-5, "p_holm": 1e-4, "verdict": "faster"}, 2, "faster (p below 0.001 after Holm over 2)"),
        (NULL, 8, "no difference shown"),
        (LOST, 8, "not shown after Holm over 8 (p 0.16); the uncorrected interval excludes 0"),
        (
            {**LOST, "value": -0.04, "low": -0.078, "high": -0.002},
            8,
            "not shown after Holm over 8 (p 0.16); the uncorrected interval excludes 0",
        ),
        ({**SHOWN, "verdict": "one seed"}, 8, "one seed, so another may disagree"),
        ({**NULL, "p": None, "p_holm": None, "verdict": "unknown"}, 8, "unknown, as there is no interval"),
    ],
)
def test_a_verdict_in_words(item, family, expected):
    assert verdict(item, family) == expected


@pytest.mark.parametrize(
    ("more", "margin", "expected"),
    [
        ({}, None, "no difference shown; a gain above 3.2 points is excluded"),
        ({"high": None}, None, "no difference shown"),
        ({"high": 1.2}, None, "no difference shown"),  # no gain is above 100 points
        ({"low": 0.0, "high": 0.0}, None, "no difference shown"),
        (
            {"equivalent": True, "at_most_worse": True},
            0.05,
            "no difference shown; a gain above 3.2 points is excluded; equivalent within 5 points",
        ),
        (
            {"equivalent": False, "at_most_worse": True},
            0.02,
            "no difference shown; a gain above 3.2 points is excluded; at most 2 points worse",
        ),
        (
            {"equivalent": False, "at_most_worse": False},
            0.01,
            "no difference shown; a gain above 3.2 points is excluded; equivalence within 1 point is not shown",
        ),
        (
            {"caution": "mmr was not evaluated like grpo: top_p 1.0 here, 0.9 there. A difference may be due to that."},
            None,
            "no difference shown; a gain above 3.2 points is excluded, but mmr was not evaluated like grpo: "
            "top_p 1.0 here, 0.9 there. A difference may be due to that",
        ),
    ],
)
def test_a_null_result_in_words(more, margin, expected):
    item = {**NULL, "equivalent": None, "at_most_worse": None, "caution": None, **more}
    assert verdict_at_the_end(item, 8, SHARE, margin) == expected


def test_a_cell_has_the_verdict_in_short():
    more = {"equivalent": False, "at_most_worse": True}
    assert brief_verdict(SHOWN, 8, SHARE, None) == "better (p 0.012)"
    assert brief_verdict({**LOST, **more}, 8, SHARE, 0.02) == "not shown after Holm (p 0.16); at most 2 points worse"
    assert (
        brief_verdict({**NULL, "caution": "x"}, 8, PLAIN, None) == "not shown (p 0.70), with a caution (see the notes)"
    )
    assert brief_verdict({**NULL, "verdict": "one seed"}, 1, SHARE, None) == "one seed"


def test_a_sentence_holds_the_numbers_of_the_comparison():
    comparison = compare(two())
    [sentence] = sentences(comparison)
    configuration = configurations(comparison)[1]
    last, race = configuration["against"]["last"], configuration["to_target"]
    difference = with_interval(last, SHARE, signed=True)
    assert sentence.startswith(f"mmr against grpo, at the end: {difference} points: better ({p_value(last['p'])}).")
    for unit in ("steps", "hours"):
        saved = race[f"{unit}_saved"]
        assert f"{unit}, saved {saved['value']:.0%} [" in sentence


def test_the_metric_is_named_and_accuracy_only_where_it_is_meant():
    for metric, words in (
        ("pass@4", "pass@4"),
        ("distinct@4", "distinct right answers among 4"),
        ("majority", "majority vote"),
    ):
        comparison = compare(counted({"grpo": 0, "mmr": 0.9}), "grpo", metric=metric)
        [sentence] = sentences(comparison)
        assert sentence.startswith(f"mmr against grpo, {words} at the end: ") and "accuracy" not in sentence
        assert f"Metric: {words}." in lead(comparison)
        assert (" answers:" in sentence) == (metric == "distinct@4") != (" points:" in sentence)


def test_pairing_says_what_it_changed():
    comparison = CASES["paired"]
    last = configurations(comparison)[1]["against"]["last"]
    assert last["paired"] and last["unpaired"]["high"] - last["unpaired"]["low"] > last["high"] - last["low"]
    [sentence] = sentences(comparison)
    [(own, other)] = re.findall(r"Taken seed by seed over 10 shared seeds: (\[.*?\]) instead of (\[.*?\])\.", sentence)
    assert own in sentence.partition("Taken")[0] and other != own
    clusters = counted({"grpo": 0, "mmr": 0.6}, 20, clusters=10)
    [sentence] = sentences(compare(clusters, "grpo", paired=True))
    assert "Taken start by start over 10 shared starts: [" in sentence
    assert "Taken" not in sentences(compare(clusters, "grpo", paired=False))[0]


@pytest.mark.parametrize(
    ("gain", "loss", "expected"),
    [
        ({"verdict": "better"}, {"at_most_worse": True, "low": -0.01, "high": 0.02}, "yes"),
        ({"verdict": "better"}, {"at_most_worse": False, "low": -0.04, "high": 0.02}, "not shown"),
        ({"verdict": "better"}, {"at_most_worse": False, "low": -0.09, "high": -0.03}, "no"),
        ({"verdict": "not shown"}, {"at_most_worse": True, "low": -0.01, "high": 0.02}, "not shown"),
        ({"verdict": "worse"}, {"at_most_worse": True, "low": -0.01, "high": 0.02}, "no"),
    ],
)
def test_better_at_pass_k_and_at_most_a_margin_worse_in_accuracy_has_an_answer(gain, loss, expected):
    comparison = compare(counted({"grpo": 0, "mmr": 0.5}), "grpo", metric="pass@4", margin=2)
    configuration = configurations(comparison)[1]
    configuration["measures"]["pass@4"]["against"]["last"] |= gain
    configuration["measures"]["accuracy"]["against"]["last"] |= {"value": loss["low"] + 0.01, **loss}
    answer = no_worse(comparison, configuration)
    assert answer.startswith(f"Better in pass@4 and at most 2 points worse in accuracy: {expected} (accuracy ")
    assert answer in sentences(comparison)[0]


def test_the_question_is_not_answered_where_it_is_not_asked():
    for more in ({"metric": "pass@4"}, {"margin": 2}):
        comparison = compare(counted({"grpo": 0, "mmr": 0.5}), "grpo", **more)
        assert "at most 2 points worse in accuracy:" not in sentences(comparison)[0]
    one = compare(counted({"grpo": 0, "mmr": 0.5}, 1), "grpo", metric="pass@4", margin=2)
    assert "Better in" not in sentences(one)[0]


def test_a_small_design_names_the_difference_that_it_can_see():
    words = "show with a power of 80 % is "
    for seeds, problems, small in ((3, 48, True), (6, 48, False), (6, 30, True), (1, 30, False)):
        comparison = compare(counted({"grpo": 0, "mmr": 0.5}, seeds, problems=problems), "grpo")
        [sentence] = sentences(comparison)
        assert (words in sentence) == small
        if small:
            shown = float(re.search(r"is (\d+(?:\.\d+)?) points", sentence.partition("power")[2])[1])
            exact = 100 * configurations(comparison)[1]["against"]["last"]["detectable"]
            assert exact - 1e-6 <= shown <= exact + 1 and f"{seeds} seeds and {problems} problems" in sentence


def test_many_verdicts_are_a_table_and_few_are_paragraphs():
    few, more = (compare(many(count, seeds=[1, 2], curves={})) for count in (4, 5))
    assert len(sentences(few)) == 3 and list(verdict_tables(few)) == []
    [(title, (head, *rows))] = verdict_tables(more)
    assert sentences(more) == [] and title == "Verdicts: accuracy at the end"
    assert head[:2] == ["", "minus grpo, points [95 %]"] and "verdict (p after Holm over 4)" in head
    for configuration, row in zip(configurations(more)[1:], rows, strict=True):
        last = configuration["against"]["last"]
        assert row[0] == configuration["name"] and row[1] == with_interval(last, SHARE, signed=True)
        assert row[2] == brief_verdict(last, 4, SHARE, None)


def test_one_evaluation_has_no_race_in_its_sentence():
    for runs in (two(steps=[0], clock=[]), many(5, steps=[0], clock=[], curves={})):
        comparison = compare(runs)
        text = " ".join(sentences(comparison)) + str(list(verdict_tables(comparison)))
        assert "steps" not in text and "hours" not in text and "Target" not in lead(comparison)


def test_a_benchmark_on_which_the_verdict_hangs_is_named():
    comparison = compare(two(benchmarks=("aime", "gsm8k", "math500")))
    last = configurations(comparison)[1]["against"]["last"]
    assert last["verdict"] == "better" and all(item["low"] > 0 for item in last["sensitivity"])
    assert "Without any one of the 3 benchmarks the interval still excludes 0." in sentences(comparison)[0]
    last["sensitivity"][1]["low"] = -0.01
    assert "It hangs on gsm8k: " in sentences(comparison)[0]


def test_the_correlation_of_halves_is_a_remark():
    assert remarks(compare(two())) == []
    comparison = compare(many(4, benchmarks=("a", "b", "c", "d")))
    halves = comparison["halves"]
    assert (
        f"a rank correlation of {halves['mean']:.2f} [{halves['low']:.2f}, {halves['high']:.2f}]"
        in remarks(comparison)[0]
    )


def test_a_single_seed_is_said_and_nothing_is_called_shown():
    comparison = compare([*runs_of("grpo", 3), *runs_of("mmr", 1, 2.0)], "grpo")
    assert configurations(comparison)[1]["against"]["last"]["low"] > 0
    [sentence] = sentences(comparison)
    assert "points: one seed, so another may disagree." in sentence and "better" not in sentence


# Protocols


@pytest.mark.parametrize(
    ("arms", "correction", "more"),
    [(["a"], "holm", ""), (["a", "b"], "none", ""), (["a", "b"], "holm", " (p after Holm over 2 arms)")],
)
def test_a_table_of_endpoints_says_whether_p_is_corrected_and_where_the_measure_is_read(arms, correction, more):
    primary = [{"metric": "accuracy", "at": "peak"}, {"metric": "accuracy"}]
    runs = [run for name in ("base", *arms) for run in runs_of(name, 3)]
    comparison = compare(runs, protocol=Protocol("x", "base", arms, primary, correction=correction))
    [(title, (head, *_))] = answers(comparison)[0].tables
    assert title == "Primary endpoints" + more
    heads = ["accuracy at the peak minus base, points [95 %]", "accuracy minus base, points [95 %]"]
    assert [head[1], head[3]] == heads


def test_a_protocol_separates_primary_secondary_and_exploratory():
    comparison = CASES["a protocol"]
    primary, secondary, exploratory = answers(comparison)
    assert [section.heading for section in (primary, secondary, exploratory)] == [
        "Primary endpoints: made up",
        "Secondary endpoints: made up",
        "Exploratory: what the protocol does not name",
    ]
    by_verdict = {}
    for arm, answer in comparison["protocol"]["arms"].items():
        by_verdict.setdefault(answer["verdict"], []).append(arm)
    assert "The arm gone has no results." in primary.sentences and by_verdict["not tested"] == ["gone"]
    assert primary.sentences[0].startswith("Verdicts on 3 arms: ")
    for word, arms in by_verdict.items():
        assert f"{word} {len(arms)}" + f" ({', '.join(arms)})" * (word != "not shown") in primary.sentences[0]
    sides = {configuration["name"]: configuration["measures"] for configuration in comparison["configurations"]}
    for section, key in ((primary, "primary"), (secondary, "secondary")):
        [(title, (head, *rows))] = section.tables
        assert title == f"{key.capitalize()} endpoints (p after Holm over 3 arms)"
        assert [row[0] for row in rows] == PROTOCOL.arms
        for place, endpoint in enumerate(comparison["protocol"][key]):
            at = 1 + 2 * place
            assert head[at].startswith(
                ("steps saved to the target of " * (endpoint["at"] == "steps")) + endpoint["metric"]
            )
            assert head[at + 1] == endpoint["words"]
            for row, (arm, answer) in zip(rows, endpoint["arms"].items(), strict=True):
                words = {True: "met (", False: "not met (", None: "not tested"}[answer["met"]]
                assert row[at + 1].startswith(words)
                assert answer["p_holm"] is None or f"({p_value(answer['p_holm'])})" in row[at + 1]
                if arm not in sides:
                    assert row[at] == ""
                elif endpoint["at"] == "end":
                    item, unit = sides[arm][endpoint["metric"]]["against"]["last"], unit_of(endpoint["metric"])
                    assert row[at] == with_interval(item, unit, signed=True)
        assert (head[-1] == "verdict") == (key == "primary")
    for row, (arm, answer) in zip(primary.tables[0][1][1:], comparison["protocol"]["arms"].items(), strict=True):
        p = (answer["harm"] if answer["verdict"] == "harms" else answer)["p_holm"]
        assert row[0] == arm and row[-1] == answer["verdict"] + ("" if p is None else f" ({p_value(p)})")
    assert [sentence.partition(" ")[0] for sentence in exploratory.sentences] == ["c", "d", "e"]
    assert exploratory.tables == []


def test_more_endpoints_than_fit_side_by_side_have_a_table_each_with_the_same_cells_and_a_sentence():
    claims = ["pass@4", "accuracy", {"metric": "accuracy", "at": "peak"}, {"metric": "accuracy", "at": "steps"}]
    two = answers(compare(counted(ARMS), protocol=Protocol("x", "a", ["b", "c"], claims[:2], claims[2:])))
    four = compare(counted(ARMS), protocol=Protocol("x", "a", ["b", "c"], claims, claims))
    primary, secondary, _ = answers(four)
    together = [list(zip(*section.tables[0][1], strict=True)) for section in two[:2]]
    verdicts, *ours = primary.tables
    assert verdicts[0] == "Verdicts on the arms (p after Holm over 2 arms)"
    assert [row[0] for row in verdicts[1]] == ["", "b", "c"] and verdicts[1][0] == ["", "verdict"]
    heads = ["minus a, points [95 %]", "minus a, points [95 %]", "minus a, points [95 %]", "steps saved [95 %]"]
    for key, tables in (("Primary", ours), ("Secondary", secondary.tables)):
        for place, (title, rows) in enumerate(tables):
            said = four["protocol"][key.lower()][place]
            assert title == f"{key} endpoint: {said['words']} (p after Holm over 2 arms)"
            assert rows[0] == ["", heads[place], "met"]
            columns = together[place // 2]
            start = 1 + 2 * (place % 2)
            assert [tuple(row) for row in rows[1:]] == list(zip(columns[0], *columns[start : start + 2], strict=True))[
                1:
            ]
    expected = []
    for endpoint in four["protocol"]["secondary"]:
        met = [arm for arm, answer in endpoint["arms"].items() if answer["met"]]
        which = f"{len(met)} of 2 arms ({', '.join(met)})" if met else "none of 2 arms"
        expected.append(f"{endpoint['words']}: met by {which}.")
    assert secondary.sentences == expected == primary.sentences[-4:] and len(set(map(len, expected))) > 1
    assert [section.sentences for section in two[1:2]] == [[]], "one table says it at a glance"


def test_without_a_protocol_nothing_is_exploratory():
    [section] = answers(compare(counted(dict(list(ARMS.items())[:2]))))
    assert section.heading == "" and len(section.sentences) == 1


# Notes


def test_notes_that_differ_by_a_name_are_one_with_their_number():
    def notes(count, rest=" is not finished: 3 of 30 steps."):
        return [f"run-{number}{rest}" for number in range(count)]

    assert joined(notes(1)) == ["run-0 is not finished: 3 of 30 steps."]
    assert joined(notes(2) * 2) == ["run-0 is not finished: 3 of 30 steps. The same holds for run-1."]
    assert joined(notes(3)) == ["run-0 is not finished: 3 of 30 steps. The same holds for run-1 and run-2."]
    assert joined(notes(4))[0].endswith("The same holds for run-1, run-2 and 1 more (4 in all).")
    assert joined(notes(12)) == [
        "run-0 is not finished: 3 of 30 steps. The same holds for run-1, run-2 and 9 more (12 in all)."
    ]
    other = "Peaks are chosen and read on the same problems, so they are biased upwards."
    assert joined([*notes(2), other, *notes(2, " has no evaluation.")]) == [
        *joined(notes(2)),
        other,
        "run-0 has no evaluation. The same holds for run-1.",
    ]


def test_notes_with_other_numbers_stay_apart():
    notes = [f"run-{number} is not finished: {number} of 30 steps." for number in range(3)]
    assert joined(notes) == notes
