"""Laws of the checks: a planted fault is found with the right figure, a sound log is silent, and gaps are named."""

from __future__ import annotations

import dataclasses
import json
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manypaths.check.command import as_data, page
from manypaths.check.diagnosis import TITLES, diagnose
from manypaths.check.held_out import HeldOut
from manypaths.check.outcome import FOUND, NOT_SHOWN, UNCHECKED, Outcome, percent
from manypaths.check.parts import by_prompt, parts
from manypaths.check.settings import Settings, nearly_greedy, read_settings
from manypaths.logs import Log, LoggedGroup
from manypaths.logs.places import places
from manypaths.statistics import Interval

STEPS, PROMPTS, SIZE = 30, 4, 8
LATE = range(16, 31)  # the last half of the steps
EVALUATED = Settings(held_out=HeldOut({0: (0.0, 0.5, 1.0, 0.5) * 16, STEPS: (0.5, 1.0) * 32}))
HOSTILE = "</script><script>alert(1)</script>\x1b[31m\x00\u202e\ud800 \n\r"


def group(draw: random.Random, step: int, number: int, **others: Any) -> LoggedGroup:
    """A sound group: half right, most with their format, lengths and texts of their own, one in forty cut off."""
    share = 0.3 + 0.4 * step / STEPS
    correct = [draw.random() < share for _ in range(SIZE)]
    correct[:2] = [True, False]
    draw.shuffle(correct)
    tokens = [draw.randint(80, 120) for _ in range(SIZE)]
    rewards = {
        "accuracy": [float(right) for right in correct],
        "format": [float(draw.random() < 0.8) for _ in range(SIZE)],
    }
    fields: dict[str, Any] = {
        "step": step,
        "prompt": f"problem {step}.{number}",
        "completions": [f"{step} {number} {place} {'x' * tokens[place]}" for place in range(SIZE)],
        "rewards": rewards,
        "total": [a + 0.5 * f for a, f in zip(*rewards.values(), strict=True)],
        "correct": list(correct),
        "tokens": tokens,
        "truncated": [draw.random() < 0.025 for _ in range(SIZE)],
    }
    return LoggedGroup(**(fields | others))


def sound(change: Callable[[LoggedGroup, random.Random], dict[str, Any]] = lambda *_: {}, seed: int = 0) -> Log:
    """A sound log; `change` gives fields of a group that replace its own."""
    draw = random.Random(seed)
    groups = [group(draw, step, number) for step in range(1, STEPS + 1) for number in range(PROMPTS)]
    groups = [dataclasses.replace(entry, **change(entry, draw)) for entry in groups]
    metrics = [{"step": step, "entropy": 0.6 + draw.uniform(-0.02, 0.02)} for step in range(1, STEPS + 1)]
    return Log(Path("log"), "JSON lines", groups, metrics)


def states(log: Log, settings: Settings | None = None) -> dict[str, str]:
    return {name: outcome.state for name, outcome in diagnose(log, settings).items()}


def only(found: str, log: Log, settings: Settings | None = None) -> Outcome:
    """The outcome of the check that finds something, and the others do not."""
    outcomes = diagnose(log, settings)
    assert [name for name in outcomes if outcomes[name].state == FOUND] == [found]
    assert outcomes[found].advice and outcomes[found].groups
    return outcomes[found]


@pytest.mark.parametrize("seed", range(5))
def test_a_sound_log_is_silent(seed: int) -> None:
    assert states(sound(seed=seed), EVALUATED) == dict.fromkeys(TITLES, NOT_SHOWN)


def test_flat_groups_are_found_with_their_reward() -> None:
    def flatten(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        if (entry.step or 0) < 16 or "problem" not in entry.prompt or entry.prompt.endswith(".3"):
            return {}
        zeros = [0.0] * SIZE
        return {"total": zeros, "correct": [False] * SIZE, "rewards": {"accuracy": zeros, "format": zeros}}

    log = sound(flatten)
    outcome = only("flat", log)
    assert outcome.figure is not None and outcome.figure.value == pytest.approx(0.75)
    assert "45 at reward 0; 45 all wrong, 0 all right" in outcome.sentence and "easier problems" in outcome.advice
    assert all(len(set(log.groups[position].total)) == 1 for position in outcome.groups)


def test_completions_cut_off_are_found() -> None:
    def cut(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        several = 3 if entry.prompt.endswith(".1") else 1 if entry.prompt.endswith(".2") else 2
        correct = [place >= 4 for place in range(SIZE)]
        return {"truncated": [place < several for place in range(SIZE)], "correct": correct}

    outcome = diagnose(sound(cut))["cut off"]
    assert all(position % PROMPTS == 1 for position in outcome.groups)
    assert outcome.state == FOUND and outcome.figure is not None
    assert (
        outcome.figure.value == pytest.approx(0.25)
        and "0% of those are correct, and 67% of the others" in outcome.sentence
    )


def test_the_limit_of_the_run_says_what_is_cut_off() -> None:
    log = sound(lambda entry, draw: {"truncated": None, "tokens": [100] * 4 + [draw.randint(20, 60) for _ in range(4)]})
    assert diagnose(log)["cut off"].state == UNCHECKED
    outcome = diagnose(log, Settings(limit=100))["cut off"]
    assert (
        outcome.figure is not None
        and outcome.figure.value == pytest.approx(0.5)
        and "at 100 tokens" in outcome.sentence
    )
    assert diagnose(log, Settings(limit=101))["cut off"].state == NOT_SHOWN
    assert "cost time alone" in diagnose(log, Settings(limit=100, masked=True))["cut off"].advice


@pytest.mark.parametrize("side", [1, -1])
def test_length_that_is_paid_is_found(side: int) -> None:
    def pay(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        middle = 200 + side * 5 * (entry.step or 0)
        tokens = [draw.randint(middle - 20, middle + 20) for _ in range(SIZE)]
        return {"tokens": tokens, "total": [side * count / 100 for count in tokens]}

    outcome = diagnose(sound(pay))["length"]
    assert outcome.state == FOUND and outcome.figure is not None and outcome.figure.value == pytest.approx(side)
    assert ("long" if side > 0 else "short") in outcome.advice


def test_length_that_goes_with_the_right_answer_is_no_fault() -> None:
    def think(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        assert entry.correct
        tokens = [200 + 5 * (entry.step or 0) + (40 if right else 0) + draw.randint(0, 20) for right in entry.correct]
        return {"tokens": tokens, "total": [float(bool(right)) for right in entry.correct]}

    outcome = diagnose(sound(think))["length"]
    assert outcome.state == NOT_SHOWN and outcome.figure is not None and outcome.figure.low > 0.5
    unknown = dataclasses.replace(
        sound(think), groups=[dataclasses.replace(g, correct=None) for g in sound(think).groups]
    )
    assert diagnose(unknown)["length"].state == FOUND and "--correct" in diagnose(unknown)["length"].advice


def test_lengths_have_one_unit() -> None:
    def half(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        return {"tokens": [1] * SIZE} if (entry.step or 0) < 16 else {"tokens": None}

    sentence = diagnose(sound(half))["length"].sentence
    assert "characters" in sentence and "(10" in sentence  # to about 105 characters, not from 1


def test_length_that_is_paid_but_does_not_drift_is_silent() -> None:
    def pay(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        return {"total": [float(count) for count in entry.tokens or []]}

    assert diagnose(sound(pay))["length"].state == NOT_SHOWN


def test_a_reward_without_accuracy_is_found() -> None:
    def drift(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        correct = [place < 2 for place in range(SIZE)]
        rise = min(1.0, (entry.step or 0) / STEPS + 0.1)
        form = [float(place / SIZE < rise) for place in range(SIZE)]
        rewards = {"accuracy": [float(right) for right in correct], "format": form, "spare": entry.rewards["format"]}
        rewards["dead"] = [0.0] * SIZE
        return {"correct": correct, "rewards": rewards}

    outcome = diagnose(sound(drift))["components"]
    assert outcome.state == FOUND and outcome.figure is not None
    assert outcome.figure.value == pytest.approx(0.65, abs=0.05)
    assert "format" in outcome.sentence and "spare" not in outcome.sentence
    assert outcome.sentence.endswith("without any difference in the whole log: dead.")


@pytest.mark.parametrize(("most", "slope", "noise"), [(0.6, 0.25, 0), (0.4, 0.15, 8)])
def test_a_reward_is_silent_where_accuracy_rises_too_or_may_rise_as_much(most: float, slope: float, noise: int) -> None:
    """Accuracy that is shown to rise, by less than the format; and a rise that is as large, but lost in noise."""

    def both(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        progress = (entry.step or 0) / STEPS
        share = progress * slope + 0.1
        right = round(SIZE * share) if not noise else (noise if draw.random() < share else 0)
        correct = [place < right for place in range(SIZE)]
        form = [0.1 + most * progress] * SIZE
        rewards = {"accuracy": [float(right) for right in correct], "format": [0.0, 1.0, *form[2:]]}
        return {"correct": correct, "rewards": rewards}

    outcome = diagnose(sound(both))["components"]
    assert outcome.state == NOT_SHOWN and outcome.figure is not None and outcome.figure.low > 0


def test_accuracy_alone_cannot_part_from_itself() -> None:
    alone = sound(lambda entry, draw: {"rewards": {"accuracy": [3 * value for value in entry.rewards["accuracy"]]}})
    outcome = diagnose(alone)["components"]
    assert outcome.state == UNCHECKED and "no reward beside" in outcome.sentence


def test_a_reward_that_rises_with_accuracy_is_silent() -> None:
    def both(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        share = (entry.step or 0) / STEPS
        correct = [draw.random() < share for _ in range(SIZE)]
        form = [float(draw.random() < share) for _ in range(SIZE)]
        return {"correct": correct, "rewards": {"accuracy": [float(right) for right in correct], "format": form}}

    assert diagnose(sound(both))["components"].state == NOT_SHOWN


def test_a_reward_at_its_ceiling_is_found() -> None:
    def solve(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        if (entry.step or 0) < 16:
            return {}
        total = [1.5] * SIZE
        total[0] = 1.0 if entry.prompt.endswith(".3") else 1.5
        return {"total": total, "correct": [True] * SIZE}

    outcome = diagnose(sound(solve))["ceiling"]
    assert outcome.state == FOUND and outcome.figure is not None
    assert outcome.figure.value == pytest.approx(1 - 0.25 / SIZE)
    assert all(position % PROMPTS != 3 for position in outcome.groups) and "harder problems" in outcome.advice


def test_a_ceiling_that_the_interval_does_not_show_is_not_found() -> None:
    def solve(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        return {"total": [1.0 if entry.step in LATE[::3] and entry.prompt.endswith(".3") else 1.5] * SIZE}

    outcome = diagnose(sound(solve))["ceiling"]
    assert outcome.figure is not None and outcome.figure.low < 0.9 < outcome.figure.value
    assert outcome.state == NOT_SHOWN


def test_the_ceiling_for_wrong_completions_is_said() -> None:
    log = sound(lambda entry, draw: {"total": [2.0] * SIZE if (entry.step or 0) > 12 else entry.total})
    outcome = diagnose(log)["ceiling"]
    assert outcome.state == FOUND and "mend the reward" in outcome.advice


def test_one_value_of_the_reward_is_no_ceiling() -> None:
    assert diagnose(sound(lambda entry, draw: {"total": [0.0] * SIZE}))["ceiling"].state == UNCHECKED


def repeat(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
    """Six of eight completions are one text, which is wrong."""
    texts = [entry.completions[place if place > 4 else 0] + " " * place for place in range(SIZE)]
    return {"completions": texts, "correct": [place > 4 for place in range(SIZE)]}


def test_copies_are_found_with_their_cause() -> None:
    outcome = diagnose(sound(lambda entry, draw: repeat(entry, draw)))["copies"]
    assert outcome.state == NOT_SHOWN and outcome.figure is not None
    assert outcome.figure.value == pytest.approx(0.5)  # 4 different texts of 8: half, not more
    worse = sound(lambda entry, draw: {**repeat(entry, draw), "completions": [entry.completions[0]] * 7 + ["another"]})
    outcome = diagnose(worse)["copies"]
    assert (
        outcome.figure is not None
        and outcome.figure.value == pytest.approx(0.75)
        and "2.0 different" in outcome.sentence
    )
    assert "generation_config" in outcome.advice and "sharper" not in outcome.sentence
    greedy = diagnose(worse, Settings(decoding={"temperature": 1.0, "top_k": 1}, source="the settings of the run"))[
        "copies"
    ]
    assert "nearly greedily (top_k 1)" in greedy.sentence
    sampled = diagnose(worse, Settings(decoding={"temperature": 1.0}, source="the settings of the run"))["copies"]
    assert "Decoding is not nearly greedy" in sampled.advice


@pytest.mark.parametrize(("right", "state"), [(True, NOT_SHOWN), (False, FOUND)])
def test_copies_that_come_with_success_are_no_fault(right: bool, state: str) -> None:
    def settle(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        if (entry.step or 0) < 12:
            return {}
        return {"completions": [entry.completions[0]] * 7 + ["another"], "correct": [right] * 7 + [not right]}

    outcome = diagnose(sound(settle))["copies"]
    assert outcome.state == state
    assert ("so the policy became sharper" in outcome.sentence) is not right
    unknown = sound(lambda entry, draw: {**settle(entry, draw), "correct": None})
    assert diagnose(unknown)["copies"].state == FOUND and "--correct" in diagnose(unknown)["copies"].advice


@pytest.mark.parametrize("logged", ["texts", "vendi"])
def test_entropy_that_collapses_with_diversity_is_found(logged: str) -> None:
    log = sound()
    falling: list[dict[str, object]] = [{"step": step, "entropy": 1.0 if step < 16 else 0.25} for step in range(1, 31)]
    for line in falling:
        line["entropy"] = float(str(line["entropy"])) * random.Random(str(line)).uniform(0.98, 1.02)
    log = dataclasses.replace(log, metrics=falling)
    outcome = diagnose(log)["entropy"]
    assert outcome.state == UNCHECKED and "does not say" in outcome.sentence  # all texts differ throughout
    if logged == "vendi":
        for line in falling:
            line["diversity/vendi_score"] = 6.0 - 0.1 * int(str(line["step"]))
    else:
        groups = [
            g if (g.step or 0) < 16 else dataclasses.replace(g, completions=["a"] * 4 + list("bcde"))
            for g in log.groups
        ]
        log = dataclasses.replace(log, groups=groups)
    outcome = diagnose(log)["entropy"]
    assert (
        outcome.state == FOUND and outcome.figure is not None and outcome.figure.value == pytest.approx(0.25, rel=0.02)
    )


def test_entropy_that_falls_alone_is_silent() -> None:
    metrics: list[dict[str, object]] = [
        {"step": step, "entropy": 1 / step, "diversity/vendi_score": 4 + 0.1 * (step % 3)} for step in range(1, 31)
    ]
    assert diagnose(dataclasses.replace(sound(), metrics=metrics))["entropy"].state == NOT_SHOWN


def test_metrics_alone_serve_where_they_can() -> None:
    metrics: list[dict[str, object]] = [
        {
            "step": step,
            "frac_reward_zero_std": 0.8 + 0.01 * (step % 3),
            "completions/clipped_ratio": 0.4,
            "entropy": None,
        }
        for step in range(1, 31)
    ]
    outcomes = diagnose(Log(Path("log"), "TRL completions", [], metrics))
    assert outcomes["flat"].state == outcomes["cut off"].state == FOUND
    figures = [outcomes[name].figure for name in ("flat", "cut off")]
    assert [figure.value for figure in figures if figure] == [pytest.approx(0.81, abs=0.005), pytest.approx(0.4)]
    assert {outcomes[name].state for name in TITLES if name not in ("flat", "cut off")} == {UNCHECKED}


@pytest.mark.parametrize("groups", range(4))
def test_a_few_groups_are_no_evidence(groups: int) -> None:
    log = Log(Path("log"), "JSON lines", [LoggedGroup(1, "p", ["a"] * 8, {"r": [0.0] * 8}, [0.0] * 8)] * groups)
    outcomes = diagnose(log)
    assert {outcome.state for outcome in outcomes.values()} == {UNCHECKED}
    assert all(outcome.sentence and not outcome.advice for outcome in outcomes.values())


@pytest.mark.parametrize("lacking", ["correct", "tokens", "truncated", "step", "total", "metrics", "completions"])
def test_what_a_log_lacks_is_named(lacking: str) -> None:
    empty: dict[str, Any] = {"total": [None] * SIZE, "completions": [""] * SIZE}
    log = sound(lambda entry, draw: {lacking: empty.get(lacking)} if lacking != "metrics" else {})
    log = dataclasses.replace(log, metrics=[]) if lacking == "metrics" else log
    unchecked = {
        "correct": {"components"},
        "tokens": set(),
        "truncated": {"cut off"},
        "step": {"length", "components", "by heart"},
        "total": {"flat", "length", "ceiling"},
        "metrics": {"entropy"},
        "completions": set(),
    }
    outcomes = diagnose(log, EVALUATED)
    assert {name for name in outcomes if outcomes[name].state == UNCHECKED} == unchecked[lacking]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_completions_changes_nothing(seed: int) -> None:
    draw = random.Random(seed)

    def permuted(entry: LoggedGroup) -> LoggedGroup:
        order = draw.sample(range(SIZE), SIZE)
        fields = {
            name: [getattr(entry, name)[at] for at in order] for name in ("completions", "total", "correct", "tokens")
        }
        rewards = {name: [values[at] for at in order] for name, values in entry.rewards.items()}
        cut = [entry.truncated[at] for at in order] if entry.truncated else None
        return dataclasses.replace(entry, **fields, rewards=rewards, truncated=cut)

    log = sound(repeat, seed=seed)
    settings = dataclasses.replace(EVALUATED, limit=110)
    before, after = (
        diagnose(log, settings),
        diagnose(dataclasses.replace(log, groups=list(map(permuted, log.groups))), settings),
    )
    for name in TITLES:
        assert before[name].sentence == after[name].sentence and before[name].groups == after[name].groups


def test_hostile_text_reaches_nothing_raw() -> None:
    def attack(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        correct = [place < 2 for place in range(SIZE)]
        form = [float(place / SIZE < (entry.step or 0) / STEPS) for place in range(SIZE)]
        rewards = {"accuracy": [float(right) for right in correct], HOSTILE: form}
        return {
            "correct": correct,
            "rewards": rewards,
            "completions": [HOSTILE] * SIZE,
            "prompt": entry.prompt + HOSTILE,
        }

    log = dataclasses.replace(sound(attack), path=Path(HOSTILE.replace("\0", "")), notes=[HOSTILE])
    outcomes = diagnose(log)
    assert outcomes["components"].state == outcomes["copies"].state == FOUND
    text = page(log, outcomes, log.notes)
    assert all(line.isprintable() for line in text.split("\n")) and "Note: " in text
    assert all(outcome.sentence.isprintable() and outcome.advice.isprintable() for outcome in outcomes.values())


def test_places_are_those_of_the_page() -> None:
    log = sound(lambda entry, draw: {"extra": {"number": 0}} if entry.step == 1 else {})
    assert places(log)[:6] == [(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]
    assert len(set(places(log))) == len(log.groups)
    data = as_data(log, diagnose(log), [])
    assert [entry["name"] for entry in data["checks"]] == list(TITLES) and data["groups"] == STEPS * PROMPTS


def test_an_interval_that_is_unknown_is_null_in_json() -> None:
    metrics: list[dict[str, object]] = [{"step": step, "entropy": 0.5} for step in range(1, 31)]
    log = dataclasses.replace(sound(), metrics=metrics)
    entropy = {entry["name"]: entry for entry in as_data(log, diagnose(log), [])["checks"]}["entropy"]
    assert entropy["figure"] == {"value": 1.0, "low": None, "high": None} and "nan" not in entropy["sentence"]
    json.dumps(as_data(log, diagnose(log), []), allow_nan=False)


def test_a_narrow_interval_has_more_digits() -> None:
    assert percent(Interval(0.621, 0.45, 0.771)) == "62% [45%, 77%]"
    assert percent(Interval(0.0312, 0.0289, 0.0341)) == "3.1% [2.9%, 3.4%]"


def test_steps_are_not_divided() -> None:
    part = parts([1, 1, 2, 5, 5, 9, None])
    assert (part.early, part.late, part.last) == ([0, 1], [3, 4, 5], [5])
    assert parts([None, None]).late == [0, 1] and parts([3, 3]).early == []


@pytest.mark.parametrize(
    ("decoding", "greedy"),
    [
        ({}, []),
        ({"do_sample": True, "temperature": 0.8, "top_k": 50, "top_p": 0.95, "min_p": 0.05}, []),
        ({"top_k": 0}, []),
        ({"do_sample": False}, ["do_sample false"]),
        (
            {"temperature": 0.1, "top_k": 1, "top_p": 0.1, "min_p": 0.9},
            ["temperature 0.1", "top_k 1", "top_p 0.1", "min_p 0.9"],
        ),
    ],
)
def test_decoding_that_is_nearly_greedy(decoding: dict[str, Any], greedy: list[str]) -> None:
    assert nearly_greedy(decoding) == greedy


def test_settings_are_those_of_the_run_or_of_a_model_beside_the_log(tmp_path: Path) -> None:
    assert read_settings(tmp_path) == Settings()
    (tmp_path / "out" / "completions").mkdir(parents=True)
    (tmp_path / "out" / "generation_config.json").write_text('{"top_k": 1, "temperature": "x", "eos_token_id": 2}')
    assert read_settings(tmp_path / "out" / "completions").decoding == {"top_k": 1}
    (tmp_path / "out" / "generation_config.json").write_text("{")
    assert read_settings(tmp_path / "out").notes
    (tmp_path / "out" / "recipe.yaml").write_text(
        "trainer: {temperature: 0.8, max_completion_length: 16, generation_kwargs: {top_k: 2}}"
    )
    settings = read_settings(tmp_path / "out")
    assert (settings.limit, settings.decoding) == (16, {"temperature": 0.8, "top_k": 2}) and not settings.masked
    (tmp_path / "out" / "recipe.yaml").write_text("trainer: 3")
    assert read_settings(tmp_path / "out").notes


def repeated_in_epochs(log: Log, times: int) -> Log:
    """The log with each group `times` times in its step, as if epochs had sampled the same completions again."""
    return dataclasses.replace(log, groups=[entry for entry in log.groups for _ in range(times)])


@pytest.mark.parametrize("times", [2, 5])
def test_groups_that_come_again_narrow_no_interval(times: int) -> None:
    """A law: repeating every group of every prompt is no evidence, so each figure and its interval stay."""

    def varied(entry: LoggedGroup, draw: random.Random) -> dict[str, Any]:
        if draw.random() < 0.4:
            return {"total": [1.0] * SIZE, "completions": ["copy"] * 3 + entry.completions[3:]}
        return {}

    once = sound(varied)
    own, again = diagnose(once, EVALUATED), diagnose(repeated_in_epochs(once, times), EVALUATED)
    for name, outcome in own.items():
        assert outcome.figure is not None
        assert again[name].figure == pytest.approx(outcome.figure, abs=1e-9), name
    assert f"of {60 * times} groups of 60 prompts" in again["flat"].sentence and "prompts" not in own["flat"].sentence


def test_the_interval_over_prompts_is_that_of_a_ratio_with_clusters() -> None:
    """Its mean is that of all groups, and its variance C/(C - 1) sum of (s_c - n_c m)^2 / N^2, by a loop."""
    draw = random.Random(3)
    sizes = [draw.randint(1, 6) for _ in range(15)]
    groups = [group(draw, 1, 0, prompt=f"prompt {number}") for number, size in enumerate(sizes) for _ in range(size)]
    values = {position: draw.random() for position in range(len(groups))}
    log = Log(Path("log"), "JSON lines", groups)
    mean, squares, first = sum(values.values()) / len(values), 0.0, 0
    for size in sizes:
        squares += (sum(values[first + number] for number in range(size)) - size * mean) ** 2
        first += size
    pseudo = by_prompt(log, values)
    assert len(pseudo) == 15 and sum(pseudo) / 15 == pytest.approx(mean)
    expected = 15 / 14 * squares / len(values) ** 2
    assert statistics.variance(pseudo) / 15 == pytest.approx(expected)


def test_prompts_that_are_too_few_are_named_however_many_groups_they_have() -> None:
    log = sound(lambda entry, draw: {"prompt": f"problem {entry.prompt[-1]}"})
    outcome = diagnose(log)["ceiling"]
    assert outcome.state == UNCHECKED
    assert "Too few prompts: 4, where 10 are needed, in 60 groups with rewards" in outcome.sentence


def test_groups_without_a_prompt_are_values_of_their_own() -> None:
    own, without = diagnose(sound()), diagnose(sound(lambda entry, draw: {"prompt": ""}))
    assert {name: outcome.figure for name, outcome in own.items()} == {
        name: outcome.figure for name, outcome in without.items()
    }
