"""Verdicts: Holm over the configurations, pairing, clusters, margins, and protocols."""

import itertools
import math
from dataclasses import replace

import numpy
import pytest

from manypaths.comparison.compare import compare
from manypaths.comparison.configurations import configured, grouped
from manypaths.comparison.contents import configurations
from manypaths.comparison.curves import level_of
from manypaths.comparison.protocol import Protocol, answer, read_protocol
from manypaths.comparison.runs import Run, Score
from manypaths.counts import Counts
from manypaths.statistics import estimate, holm, interval

STEPS = (0, 10, 20)


def draws(*key):
    return numpy.random.default_rng([sum(map(ord, str(part))) for part in key])


def runs_of(name, seeds, gain=0.0, luck=0.0, problems=24, samples=4, clusters=None, start=0):
    """Runs with counted completions; `luck` of a seed is shared by the configurations, `gain` is in logits."""
    ease = draws("ease").normal(0, 1, problems)
    made = []
    for seed in range(start, start + seeds):
        shared = draws("seed", seed).normal(0, luck)
        random = draws(name, seed)
        results = {}
        for step in STEPS:
            chance = 1 / (1 + numpy.exp(-(ease + shared + gain * step / STEPS[-1])))
            counts = {
                f"p{n}": Counts(samples, int(right), (int(right),), float(right > 2))
                for n, right in enumerate(random.binomial(samples, chance))
            }
            results[step] = {"made-up": Score.of_counts(counts)}
        cluster = None if clusters is None else f"start-{seed % clusters}"
        made.append(Run(f"{name}-{seed}", name, seed, results=results, cluster=cluster))
    return made


def last(comparison, name, measure="accuracy"):
    [configuration] = [own for own in configurations(comparison, measure) if own["name"] == name]
    return configuration["against"]["last"]


def test_a_verdict_is_that_of_holm_by_hand():
    arms = {"a": 0.4, "b": 0.5, "c": 1.2, "d": 0.0, "e": -0.9, "f": 0.45}
    runs = runs_of("base", 4) + [run for name, gain in arms.items() for run in runs_of(name, 4, gain)]
    comparison = compare(runs, "base")
    p_values = {name: last(comparison, name)["p"] for name in arms}
    before, order = 0.0, sorted(arms, key=p_values.get)
    for place, name in enumerate(order):
        before = max(before, min(1.0, p_values[name] * (len(arms) - place)))
        item = last(comparison, name)
        assert item["p_holm"] == pytest.approx(before)
        expected = "not shown" if before > 0.05 else "better" if item["value"] > 0 else "worse"
        assert item["verdict"] == expected
    assert {last(comparison, name)["verdict"] for name in arms} == {"better", "not shown", "worse"}
    assert any(p_values[name] <= 0.05 < last(comparison, name)["p_holm"] for name in arms)


def test_an_uncorrected_p_value_agrees_with_the_interval():
    for gain in (-0.8, -0.3, 0.0, 0.3, 0.5, 0.8):
        item = last(compare([*runs_of("base", 3), *runs_of("new", 3, gain)], "base"), "new")
        assert (item["p"] < 0.05) == (item["low"] > 0 or item["high"] < 0)


def test_the_order_of_the_configurations_does_not_matter():
    groups = [runs_of(name, 3, gain) for name, gain in (("base", 0), ("a", 0.4), ("b", 0.9))]
    whole = compare(list(itertools.chain(*groups)), "base")
    for order in itertools.permutations(groups):
        other = compare(list(itertools.chain(*order)), "base")
        for name in ("a", "b"):
            assert last(other, name) == last(whole, name)


def test_one_seed_has_no_verdict():
    comparison = compare([*runs_of("base", 3), *runs_of("new", 1, 3.0)], "base")
    assert last(comparison, "new")["verdict"] == "one seed"
    assert configurations(comparison)[1]["to_target"]["steps_saved"]["verdict"] == "one seed"


# Pairs


def test_pairs_are_the_differences_of_seeds():
    runs = [*runs_of("base", 5, luck=1.0), *runs_of("new", 5, 0.5, luck=1.0)]
    shuffled = draws("order").permutation(len(runs))
    comparison = compare([runs[place] for place in shuffled], "base", paired=True)
    table = numpy.array([[count.right / 4 for count in run.results[20]["made-up"].counts.values()] for run in runs])
    by_seed = (table[5:] - table[:5]).mean(1)
    item = last(comparison, "new")
    assert item["paired"] and item["value"] == pytest.approx(by_seed.mean())
    low, high = interval(estimate(table[5:]), estimate(table[:5]), paired=True)
    assert (item["low"], item["high"]) == pytest.approx((low, high))
    apart = last(compare(runs, "base", paired=False), "new")
    assert not apart["paired"] and "unpaired" not in apart
    assert (item["unpaired"]["low"], item["unpaired"]["high"]) == pytest.approx((apart["low"], apart["high"]))
    assert item["high"] - item["low"] < apart["high"] - apart["low"]  # the seeds' luck is shared


def test_ten_shared_seeds_of_recipes_are_paired_by_default():
    def is_paired(base, new, wish=None, start=0, settings=None):
        runs = [*runs_of("base", base), *runs_of("new", new, start=start)]
        runs = [replace(run, settings={"a": 1} if settings is None else settings) for run in runs]
        comparison = compare(runs, "base", paired=wish)
        is_noted = any("--paired takes differences seed by seed" in note for note in comparison["notes"])
        assert is_noted == (settings == {} and wish is None and base == new >= 10)
        return last(comparison, "new")["paired"]

    assert is_paired(10, 10) and not is_paired(9, 9) and not is_paired(11, 10) and not is_paired(10, 10, start=1)
    assert is_paired(3, 3, wish=True) and not is_paired(10, 10, wish=False)
    assert is_paired(10, 10, wish=True, settings={}) and not is_paired(10, 10, settings={})


def test_of_seeds_that_only_one_side_has_pairing_says_so():
    runs = [*runs_of("base", 4), *runs_of("new", 4, 1.0, start=1)]
    comparison = compare(runs, "base", paired=True)
    assert "new and base share 3 seeds; differences and savings are of those alone." in comparison["notes"]
    same = compare([run for run in runs if run.seed in (1, 2, 3)], "base", paired=True)
    assert last(comparison, "new") == last(same, "new")
    few = compare([*runs_of("base", 3), *runs_of("new", 3, start=2)], "base", paired=True)
    assert "new and base share fewer than two seeds, so they are not paired." in few["notes"]
    assert not last(few, "new")["paired"]


# Clusters


def test_seeds_of_one_start_are_one_unit():
    runs = [*runs_of("base", 8, clusters=4), *runs_of("new", 8, 0.5, clusters=4)]
    comparison = compare(runs, "base")
    averaged = []
    for name, start in itertools.product(("base", "new"), range(4)):
        members = [run for run in runs if run.name.startswith(name) and run.cluster == f"start-{start}"]
        results = {}
        for step in STEPS:
            shares = [
                {problem: count.right / 4 for problem, count in run.results[step]["made-up"].counts.items()}
                for run in members
            ]
            means = {problem: numpy.mean([own[problem] for own in shares]) for problem in shares[0]}
            results[step] = {"made-up": Score.of_shares(means)}
        averaged.append(Run(f"{name}-{start}", name, start, results=results))
    expected = compare(averaged, "base")
    for key in ("value", "low", "high", "p"):
        assert last(comparison, "new")[key] == pytest.approx(last(expected, "new")[key])
    assert [configuration["units"] for configuration in configurations(comparison)] == [4, 4]
    assert [len(configuration["runs"]) for configuration in configurations(comparison)] == [8, 8]


def test_a_start_must_be_named_for_all_runs_or_for_none():
    runs = runs_of("base", 4, clusters=2)
    runs[1] = replace(runs[1], cluster=None)
    with pytest.raises(
        ValueError, match=r"Every run of base must have a cluster, or none, got 3 of 4\. Name the start"
    ):
        compare(runs)


# Margins


def test_equivalence_is_two_one_sided_tests():
    for gain, margin in itertools.product((0.0, 0.2, 0.6), (2, 5, 10, 20)):
        runs = [*runs_of("base", 5), *runs_of("new", 5, gain)]
        item = last(compare(runs, "base", margin=margin), "new")
        cells = [
            [
                [count.right / 4 for count in run.results[20]["made-up"].counts.values()]
                for run in runs[place : place + 5]
            ]
            for place in (0, 5)
        ]
        low, high = interval(estimate(cells[1]), estimate(cells[0]), level=0.9)
        assert item["equivalent"] == (-margin / 100 < low and high < margin / 100)
        assert item["at_most_worse"] == (low > -margin / 100)
    without = last(compare(runs, "base"), "new")
    assert without["equivalent"] is without["at_most_worse"] is None


def test_a_margin_is_of_shares():
    comparison = compare([*runs_of("base", 5), *runs_of("new", 5)], "base", margin=20)
    assert last(comparison, "new", "distinct@4")["equivalent"] is None
    assert last(comparison, "new", "pass@4")["equivalent"] is not None
    for margin in (0, -1, 100, math.nan):
        with pytest.raises(ValueError, match=r"The margin must be above 0 and below 100 points, got"):
            compare(runs_of("base", 2), margin=margin)


# Benchmarks


def test_without_each_benchmark_is_the_comparison_without_it():
    def results(name, seed, gain, benchmarks):
        return {
            20: {
                benchmark: runs_of(f"{name}{benchmark}", 1, gain * place, problems=6 + place, start=seed)[0].results[
                    20
                ]["made-up"]
                for place, benchmark in enumerate(("a", "b", "c", "d"))
                if benchmark in benchmarks
            }
        }

    def made(benchmarks):
        pairs = itertools.product((("base", 0.0), ("new", 0.5), ("other", 0.2)), range(3))
        return [
            Run(f"{name}-{seed}", name, seed, results=results(name, seed, gain, benchmarks))
            for (name, gain), seed in pairs
        ]

    comparison = compare(made("abcd"), "base")
    sensitivity = last(comparison, "new")["sensitivity"]
    assert [item["without"] for item in sensitivity] == list("abcd")
    for item in sensitivity:
        expected = last(compare(made("abcd".replace(item["without"], "")), "base"), "new")
        assert [item[key] for key in ("value", "low", "high")] == pytest.approx(
            [expected[key] for key in ("value", "low", "high")]
        )
    assert comparison["halves"]["splits"] > 0 and -1 <= comparison["halves"]["low"] <= comparison["halves"]["high"] <= 1
    assert compare(made("ab"), "base")["halves"] is None


# The target of a single run


def test_alike_runs_of_which_only_means_were_recorded_are_as_often_faster_as_slower():
    slower = faster = 0
    for world in range(100):
        random = draws("noise", world)
        made = []
        for name in ("base", "new"):
            curve = 0.5 * (1 - numpy.exp(-numpy.arange(20) / 4)) + random.normal(0, 0.05, 20)
            results = {
                10 * step: {"a": Score.of_mean(float(numpy.clip(value, 0, 1)))} for step, value in enumerate(curve)
            }
            made.append(Run(name, name, 1, results=results))
        base, own = (side["to_target"]["steps"]["value"] for side in configurations(compare(made, "base")))
        slower += own is None or (base is not None and own > base)
        faster += base is None or (own is not None and own < base)
    assert abs(slower - faster) < 2.6 * math.sqrt(slower + faster)  # a fair coin: 99 %


def test_the_target_of_a_single_run_of_means_is_no_lucky_evaluation():
    results = {step: {"a": Score.of_mean(value)} for step, value in enumerate((0.1, 0.5, 0.9, 0.5, 0.6))}
    of_runs = grouped([Run("base", "base", 1, results=results)])
    [base] = configured(of_runs.groups, of_runs.benchmarks)[0]
    assert level_of(base, None) == pytest.approx((0.9 + 0.5 + 0.6) / 3)


# Protocols

PROTOCOL = """
name: Does it help?
baseline: base
arms: [new, other, absent]
primary:
  - pass@4
  - {metric: accuracy, claim: not worse}
secondary: [distinct@4, {metric: pass@4, at: steps}]
margin: 5
"""


def test_a_protocol_settles_what_is_asked_and_what_is_exploratory(tmp_path):
    (tmp_path / "protocol.yaml").write_text(PROTOCOL)
    protocol = read_protocol(tmp_path / "protocol.yaml")
    gains = {"base": 0.0, "new": 1.5, "other": 0.0, "extra": 1.0}
    runs = [run for name, gain in gains.items() for run in runs_of(name, 5, gain)]
    comparison = compare(runs, protocol=protocol)
    answered = comparison["protocol"]
    assert comparison["baseline"] == "base" and comparison["metric"] == "pass@4" and comparison["margin"] == 0.05
    assert answered["exploratory"] == ["extra"] and answered["missing"] == ["The arm absent has no results."]
    together = {}
    for name in ("new", "other"):
        gain, worse = last(comparison, name, "pass@4"), last(comparison, name)["p_at_most_worse"]
        together[name] = max(gain["p"] if gain["value"] > 0 else 1.0, worse)
        assert answered["arms"][name]["p"] == pytest.approx(together[name])
    smallest, largest = sorted(together.values())
    assert answered["arms"]["new"]["p_holm"] == pytest.approx(3 * smallest)  # three arms, one of them without results
    assert answered["arms"]["other"]["p_holm"] == pytest.approx(min(1, max(3 * smallest, 2 * largest)))
    assert answered["arms"]["new"]["met"] and not answered["arms"]["other"]["met"]
    nothing = {"p": None, "p_holm": None}
    assert answered["arms"]["absent"] == {**nothing, "met": None, "verdict": "not tested", "harm": nothing}
    assert [answered["arms"][name]["verdict"] for name in ("new", "other")] == ["helps", "not shown"]
    assert [item["words"] for item in answered["secondary"]] == [
        "distinct@4 better at the end",
        "pass@4 better in steps to target",
    ]
    planned = [last(comparison, name, "pass@4") for name in ("new", "other")]
    assert min(item["p_holm"] for item in planned) == pytest.approx(3 * min(item["p"] for item in planned))
    extra = last(comparison, "extra", "pass@4")
    assert extra["p_holm"] == extra["p"]  # the only exploratory one


def planned_of(gains, seeds=5, **settings):
    """A comparison with a protocol of two primary endpoints in which all but the base are arms."""
    primary = [{"metric": "pass@4"}, {"metric": "accuracy", "claim": "not worse"}]
    protocol = Protocol("x", "base", [name for name in gains if name != "base"], primary, margin=5, **settings)
    return compare([run for name, gain in gains.items() for run in runs_of(name, seeds, gain)], protocol=protocol)


@pytest.mark.parametrize("correction", ["holm", "none"])
def test_an_arm_harms_where_an_endpoint_is_shown_to_be_worse_and_not_where_it_may_be(correction):
    comparison = planned_of({"base": 0.0, "up": 1.5, "same": 0.0, "down": -1.5, "less": -0.4}, correction=correction)
    arms = comparison["protocol"]["arms"]
    assert [arms[name]["verdict"] for name in ("up", "same", "down")] == ["helps", "not shown", "harms"]
    least = {}
    for name, judged in arms.items():
        gain, accuracy = last(comparison, name, "pass@4"), last(comparison, name)
        least[name] = min(1, 2 * min(gain["p"] if gain["value"] <= 0 else 1.0, accuracy["p_more_worse"]))
        assert judged["harm"]["p"] == pytest.approx(least[name])
    adjusted = holm(list(least.values())) if correction == "holm" else list(least.values())
    for judged, p in zip(arms.values(), adjusted, strict=True):
        assert judged["harm"]["p_holm"] == (pytest.approx(p) if correction == "holm" else None)
        assert (judged["verdict"] == "harms") == (p <= 0.05 and not judged["met"])


@pytest.mark.parametrize(
    ("value", "low", "is_gain"),
    [
        (0.3, 0.1, True),
        (0.3, -0.1, True),
        (-0.3, -0.5, False),
        (-0.3, None, False),
        (None, 0.1, True),  # the baseline never reaches the target
        (None, -0.1, False),
        (None, None, False),  # the arm never does
    ],
)
@pytest.mark.parametrize("at", ["end", "steps"])
def test_the_direction_of_a_difference_decides_whether_its_p_value_speaks_of_help_or_of_harm(value, low, is_gain, at):
    item = {"value": value, "low": low, "verdict": "", "p": 0.01}
    measures = {"pass@4": {"against": {"last": item}, "to_target": {"steps_saved": item}}}
    comparison = {"configurations": [{"name": "base"}, {"name": "a", "measures": measures}], "measures": ["pass@4"]}
    answered = answer(Protocol("x", "base", ["a"], [{"metric": "pass@4", "at": at}]), comparison)["arms"]["a"]
    assert (answered["p"], answered["harm"]["p"]) == ((0.01, 1.0) if is_gain else (1.0, 0.01))
    assert answered["verdict"] == ("helps" if is_gain else "harms")


def test_worse_within_the_margin_is_no_harm_and_meets_the_claim():
    protocol = Protocol("x", "base", ["a"], [{"metric": "accuracy", "claim": "not worse"}], margin=10)
    runs = [run for name, gain in (("base", 0.0), ("a", -0.15)) for run in runs_of(name, 9, gain, problems=80)]
    comparison = compare(runs, protocol=protocol)
    [judged] = comparison["protocol"]["arms"].values()
    assert last(comparison, "a")["verdict"] == "worse" and last(comparison, "a")["p_more_worse"] == 1.0
    assert judged["verdict"] == "not worse" and judged["harm"]["p"] == 1.0


@pytest.mark.parametrize(
    ("claims", "verdict"),
    [
        (["better"], "helps"),
        (["not worse", "better"], "helps"),
        (["not worse"], "not worse"),
        (["equivalent"], "equivalent"),
        (["equivalent", "not worse"], "not worse"),
    ],
)
def test_an_arm_helps_only_where_an_endpoint_claims_that_it_is_better(claims, verdict):
    item = {"value": 0.3, "low": 0.1, "verdict": "", "p": 0.01, "p_at_most_worse": 0.01, "p_equivalent": 0.01}
    item["p_more_worse"] = 1.0
    measures = {"accuracy": {"against": {"last": item}}}
    comparison = {"configurations": [{"name": "base"}, {"name": "a", "measures": measures}], "measures": ["accuracy"]}
    primary = [{"metric": "accuracy", "claim": claim} for claim in claims]
    answered = answer(Protocol("x", "base", ["a"], primary, margin=2), comparison)
    assert answered["arms"]["a"]["verdict"] == answered["met"] == verdict


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("baseline: base\n", ""), "it must have name, baseline, arms and primary, got no baseline"),
        (("margin: 5", "margins: 5"), "it has the unknown key 'margins'. Did you mean 'margin'?"),
        (("margin: 5\n", ""), "The claims not worse and equivalent must have a margin, got none"),
        (("claim: not worse", "claim: good"), "claim must be better, not worse, equivalent, got 'good'"),
        (("at: steps", "at: start"), "at must be end, peak, equal-accuracy, steps, hours, got 'start'"),
        (("[new, other, absent]", "[base]"), "The baseline must not be one of the arms"),
        (("- pass@4", "- 4"), "An endpoint must be a metric"),
        (("name: Does it help?", "name: ["), "is not YAML"),
        (("margin: 5", "correction: bonferroni\nmargin: 5"), "correction must be holm or none, got 'bonferroni'"),
    ],
)
def test_a_mistake_in_a_protocol_is_a_sentence_that_names_the_file(change, complaint, tmp_path):
    assert change[0] in PROTOCOL
    (tmp_path / "p.yaml").write_text(PROTOCOL.replace(*change))
    with pytest.raises(ValueError) as error:
        read_protocol(tmp_path / "p.yaml")
    assert str(error.value).startswith(f"{str(tmp_path / 'p.yaml')!r} is not a protocol: ") and complaint in str(
        error.value
    )


def test_without_a_correction_the_p_values_stay():
    runs = [run for name, gain in (("base", 0.0), ("a", 0.5), ("b", 0.5)) for run in runs_of(name, 4, gain)]
    protocol = Protocol("x", "base", ["a", "b"], ["accuracy"], correction="none")
    comparison = compare(runs, protocol=protocol)
    for name in ("a", "b"):
        item = last(comparison, name)
        assert item["p_holm"] is None and (item["verdict"] == "not shown") == (item["p"] > 0.05)
