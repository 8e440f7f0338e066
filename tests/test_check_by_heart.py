"""Laws of the check of the first steps: training problems that are solved far more often than held-out ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest

from manypaths.check.by_heart import by_heart
from manypaths.check.command import page
from manypaths.check.held_out import HeldOut
from manypaths.check.outcome import FOUND, NOT_SHOWN, UNCHECKED
from manypaths.check.settings import Settings, read_settings
from manypaths.cli import main
from manypaths.logs import Log, LoggedGroup
from manypaths.statistics import difference, mean_of_shares

SIZE = 4
HOSTILE = "</script>\x1b[31m\x00\u202e\ud800 \n\r"
WEAK, STRONG = (0.0, 0.0, 0.0, 0.4) * 32, (1.0, 1.0, 0.5, 0.5) * 32  # shares of 128 held-out problems: 10 % and 75 %


def group(step: int, prompt: str, right: int) -> LoggedGroup:
    rewards = [float(place < right) for place in range(SIZE)]
    return LoggedGroup(step, prompt, [str(place) for place in range(SIZE)], {"accuracy": rewards}, [0.5] * SIZE)


def log(groups: list[LoggedGroup], metrics: list[dict[str, object]] | None = None) -> Log:
    return Log(Path("log"), "manypaths run", groups, metrics or [])


def steps(per_step: int, right: int = 3, count: int = 20) -> list[LoggedGroup]:
    """Groups of different problems, of each of which so many completions are right, or one less."""
    return [
        group(step, f"{step}.{number}", right - number % 2)
        for step in range(1, count + 1)
        for number in range(per_step)
    ]


def held_out(shares: Mapping[int, tuple[float, ...]], **others: Any) -> Settings:
    return Settings(held_out=HeldOut(shares, **others))


def accuracy(value: float, count: int = 20) -> list[dict[str, object]]:
    return [{"step": step, "rewards/accuracy/mean": value + 0.01 * (step % 2)} for step in range(1, count + 1)]


def test_the_figure_is_the_difference_of_two_means_over_problems() -> None:
    outcome = by_heart(log(steps(16)), held_out({0: WEAK}))
    expected = difference(mean_of_shares([0.75, 0.5] * 8), mean_of_shares(WEAK))
    assert outcome.state == FOUND and outcome.figure == pytest.approx(expected)
    assert "62%" in outcome.sentence and "16 training problems" in outcome.sentence and "10%" in outcome.sentence
    assert (
        "right in step 1, and" in outcome.sentence and "128 held-out problems before the training" in outcome.sentence
    )
    assert "+52 points" in outcome.sentence and "seed" in outcome.advice and outcome.groups
    assert {log(steps(16)).groups[position].step for position in outcome.groups} == {1}


def test_a_training_that_is_no_better_than_held_out_is_silent() -> None:
    outcome = by_heart(log(steps(16)), held_out({0: STRONG}))
    assert outcome.state == NOT_SHOWN and outcome.figure is not None and outcome.figure.value == pytest.approx(-0.125)
    near = by_heart(log(steps(64)), held_out({0: (0.5, 0.5, 0.5, 0.6) * 32}))  # ahead, but by less than 10 points
    assert near.state == NOT_SHOWN and near.figure is not None and near.figure.low > 0


@pytest.mark.parametrize("copies", [2, 5])
def test_groups_of_one_prompt_are_one_value(copies: int) -> None:
    """Eight problems that come again are not enough, and twelve count as twelve, each by the mean of its groups."""
    few = [group(1, str(number % 8), 4) for number in range(8 * copies)]
    assert by_heart(log(few), held_out({0: WEAK})).state == UNCHECKED
    again = [group(1, str(number), right) for number in range(12) for right in (4,) * (copies - 1) + (0,)]
    expected = difference(mean_of_shares([(copies - 1) / copies] * 12), mean_of_shares(WEAK))
    assert by_heart(log(again), held_out({0: WEAK})).figure == pytest.approx(expected)


def test_what_the_first_steps_learnt_is_not_by_heart() -> None:
    """With few problems a step the first steps are several, and are compared with the better evaluation."""
    several = log(steps(4))
    caught_up = by_heart(several, held_out({0: WEAK, 10: STRONG, 20: WEAK}))
    assert caught_up.state == NOT_SHOWN and "after step 10" in caught_up.sentence
    assert "32 training problems are right up to step 8" in caught_up.sentence
    stayed = by_heart(several, held_out({0: WEAK, 4: STRONG, 10: WEAK[::-1], 20: STRONG}))
    assert stayed.state == FOUND  # step 4 is among the first steps, and step 20 later than the next one
    fell = by_heart(several, held_out({0: STRONG, 10: WEAK}))
    assert fell.state == NOT_SHOWN and "before the training" in fell.sentence
    assert by_heart(log(steps(16)), held_out({0: WEAK, 10: STRONG})).state == FOUND  # step 1 has learnt nothing yet
    waits = by_heart(several, held_out({0: WEAK, 4: WEAK}))
    assert waits.state == UNCHECKED and "up to step 8, lack an evaluation after them" in waits.sentence


def test_later_steps_do_not_count() -> None:
    assert by_heart(log(steps(16)[16 * 10 :]), held_out({0: WEAK, 20: WEAK})).state == UNCHECKED
    worse_later = steps(16)[:16] + [group(step, f"{step}", 0) for step in range(2, 9)]
    assert (
        by_heart(log(worse_later), held_out({0: WEAK})).figure == by_heart(log(steps(16)), held_out({0: WEAK})).figure
    )


@pytest.mark.parametrize(("value", "state"), [(0.8, FOUND), (0.12, NOT_SHOWN)])
def test_metrics_serve_where_there_are_no_groups(value: float, state: str) -> None:
    evaluated = held_out({0: WEAK, 20: WEAK})
    outcome = by_heart(log([], accuracy(value)), evaluated)
    expected = difference(mean_of_shares([value + 0.01, value] * 5), mean_of_shares(WEAK))
    assert outcome.state == state and outcome.figure == pytest.approx(expected) and not outcome.groups
    assert "by the metrics of the log" in outcome.sentence and "up to step 10" in outcome.sentence
    assert by_heart(log([], accuracy(value, 4)), evaluated).state == UNCHECKED
    with_few = by_heart(log(steps(4, count=2), accuracy(value)), evaluated)
    assert with_few.figure == outcome.figure and not with_few.groups


def test_groups_that_a_rule_chose_do_not_count() -> None:
    """Dynamic sampling keeps groups with a right completion; its metrics are of all that were sampled."""
    chosen = held_out({0: WEAK, 20: WEAK}, all_groups=False)
    assert by_heart(log(steps(16), accuracy(0.1)), chosen).state == NOT_SHOWN
    assert by_heart(log(steps(16)), chosen).state == UNCHECKED


def test_dynamic_sampling_is_a_rule_that_chooses(tmp_path: Path) -> None:
    for reward in (None, "accuracy"):
        run = run_folder(tmp_path / str(reward), changed("dynamic_sampling.reward", reward))
        evaluated = read_settings(run).held_out
        assert evaluated is not None and evaluated.all_groups == (reward is None)


def test_a_greedy_evaluation_is_never_hotter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = changed("trainer.top_p", 0.9)
    recipe["evaluation"]["temperature"] = 0
    assert checked(run_folder(tmp_path / "run", recipe), capsys)["state"] == FOUND


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_it_is_wrong_in_about_one_log_in_forty(share: float) -> None:
    """At a true difference of 10 points at most 2.5 % are due, and 15 of 300 are too many; without one, 1 is."""
    counts = []
    for ahead in (0.1, 0.0):
        draw, count = numpy.random.default_rng(7), 0
        for _ in range(300):
            training = draw.binomial(SIZE, draw.beta(share + ahead, 1 - share - ahead, 16))
            evaluated = draw.binomial(SIZE, draw.beta(share, 1 - share, 128)) / SIZE
            made = log([group(1, str(number), right) for number, right in enumerate(training.tolist())])
            count += by_heart(made, held_out({0: tuple(evaluated.tolist())})).state == FOUND
        counts.append(count)
    assert counts[0] < 15 and counts[1] <= 1


RECIPE: dict[str, Any] = {
    "problems": {"name": "countdown", "options": {"count": 1500, "seed": 1, "numbers": 4, "target": [10, 30]}},
    "trainer": {"max_completion_length": 16},
    "rewards": {"accuracy": 1.0},
    "evaluation": {
        "problems": {"name": "countdown", "options": {"count": 128, "seed": 2, "held_out": True}},
        "temperature": 1.0,
        "max_new_tokens": 16,
    },
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The recipe with one setting changed, by its dotted path."""
    recipe = json.loads(json.dumps(RECIPE))
    section = recipe
    *names, last = path.split(".")
    for name in names:
        section = section.setdefault(name, {})
    section[last] = value
    return dict(recipe)


def run_folder(path: Path, recipe: Any = RECIPE, truncated: Any = 0.0, **files: Any) -> Path:
    """A run whose 12 training problems of step 1 are solved, and of whose 12 held-out ones 1 completion in 48 is."""
    (path / "evaluation").mkdir(parents=True)
    counts = {str(number): [4, int(number == 0), None, None] for number in range(12)}
    content = {
        "summary": {"before": {"step": 0, "truncated": truncated}},
        "counts": {"before": {"countdown": counts}},
        "settings": {},
        **files,
    }
    for name, value in content.items():
        (path / "evaluation" / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    (path / "recipe.yaml").write_text(json.dumps(recipe))
    completions = [{"text": str(place), "rewards": {"accuracy": 1.0}, "raw": 1.0} for place in range(SIZE)]
    lines = [{"step": 1, "group": at, "prompt": str(at), "completions": completions} for at in range(12)]
    (path / "groups.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in accuracy(0.9)))
    return path


def checked(run: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    main(["check", str(run), "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    return {check["name"]: check for check in checks}["by heart"]


def test_a_run_is_compared_with_its_own_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = checked(run_folder(tmp_path / "run"), capsys)
    assert check["state"] == FOUND and check["figure"]["value"] == pytest.approx(1 - 1 / 48)
    assert main(["check", str(tmp_path / "run")]) == 1
    assert "FOUND: training problems learnt by heart" in capsys.readouterr().out


def test_a_run_without_groups_is_checked_by_its_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run")
    (run / "groups.jsonl").unlink()
    assert "lack an evaluation after them" in checked(run, capsys)["sentence"]
    counts = json.loads((run / "evaluation" / "counts.json").read_text())
    summary = {"before": {"step": 0}, "after": {"step": 20}}
    for name, value in (("counts", {**counts, "after": counts["before"]}), ("summary", summary)):
        (run / "evaluation" / f"{name}.json").write_text(json.dumps(value))
    assert checked(run, capsys)["state"] == FOUND
    (run / "metrics.jsonl").unlink()
    assert main(["check", str(run)]) == 2
    assert "without groups.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("evaluation", None, "no evaluation"),
        ("evaluation.problems.name", "colouring", "'countdown' and the evaluation of 'colouring'"),
        ("evaluation.problems.options.numbers", 3, "differ in 'numbers'"),
        ("evaluation.problems.options.ways", "one", "differ in 'ways'"),
        ("problems.options.largest", 12, "differ in 'largest'"),
        ("history.target", 0.5, "history.target"),
        ("rewards", {"format": 1.0}, "no reward accuracy"),
        ("trainer.temperature", 0.6, "temperature 0.6, and the evaluation with temperature 1,"),
        ("trainer.top_p", 0.9, "temperature 1 and top_p 0.9, and the evaluation with temperature 1,"),
        ("trainer.top_k", 20, "a top_k or min_p"),
        ("problems", HOSTILE, "problems must have keys"),
        ("evaluation.problems.options", [HOSTILE], "options must have keys"),
        ("evaluation.problems.name", HOSTILE, "may be of different difficulty"),
        ("evaluation.temperature", HOSTILE, "temperature must be a number"),
        ("problems.name", 3, "do not name"),
    ],
)
def test_what_cannot_be_compared_is_not_checked(
    path: str, value: Any, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = checked(run_folder(tmp_path / "run", changed(path, value)), capsys)
    assert check["state"] == UNCHECKED and reason in check["sentence"] and check["sentence"].isprintable()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("evaluation.problems.options.numbers", 4),  # the default, and that of the training
        ("evaluation.problems.split", "test"),
        ("trainer.temperature", 1.2),
        ("evaluation.temperature", 0.0),
        ("evaluation.top_p", 0.9),
    ],
)
def test_what_can_be_compared_is(path: str, value: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = checked(run_folder(tmp_path / "run", changed(path, value)), capsys)
    assert check["state"] == FOUND
    assert ("favours the first" in check["sentence"]) == (path.split(".")[-1] in ("temperature", "top_p"))


@pytest.mark.parametrize(("limit", "truncated", "state"), [(17, 0.2, UNCHECKED), (16, 0.2, FOUND), (17, 0.01, FOUND)])
def test_an_evaluation_that_cuts_more_off_is_no_measure(
    limit: int, truncated: float, state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", changed("trainer.max_completion_length", limit), truncated)
    assert checked(run, capsys)["state"] == state


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary", "{"),
        ("summary", {}),
        ("summary", {"before": 3}),
        ("summary", {"before": {}, HOSTILE: 3}),
        ("summary", {"before": {"truncated": HOSTILE}}),
        ("counts", "[]"),
        ("counts", {"before": 3}),
        ("counts", {"before": {"countdown": 3}}),
        ("counts", {"before": {"countdown": {HOSTILE: [4, 5, None, None]}}}),
        ("counts", {"before": {"countdown": {HOSTILE: HOSTILE}}}),
        ("counts", {"before": {"countdown": {}}}),
        ("shares", {"before": {"countdown": {"a": 5.0}}}),
        ("settings", "{"),
        ("settings", {"temperature": None}),
    ],
)
def test_a_damaged_evaluation_is_a_sentence(
    name: str, content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"counts": {}} if name == "shares" else {}
    run = run_folder(tmp_path / "run", **counts, **{name: content})
    check = checked(run, capsys)
    assert check["sentence"].isprintable()
    assert check["state"] == (FOUND if "truncated" in str(content) else UNCHECKED)
    assert ("no evaluation" in check["sentence"]) == (content in ({}, {"before": 3}) and name == "summary")
    assert ("share must be" in check["sentence"]) == (name == "shares")
    settings = read_settings(run)
    assert all(line.isprintable() for line in page(log([]), {"by heart": by_heart(log([]), settings)}, []).split("\n"))


def test_a_log_without_a_recipe_is_not_checked() -> None:
    outcome = by_heart(log(steps(16)), Settings())
    assert outcome.state == UNCHECKED and outcome.sentence == "The log has no evaluation before the training."


def test_the_run_of_a_script_is_not_checked_because_its_problems_are_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run")
    (run / "recipe.yaml").unlink()
    (run / "script.json").write_text('{"trainer": {}}')
    check = checked(run, capsys)
    assert check["state"] == UNCHECKED and "of a script, which does not record its problems" in check["sentence"]
    shutil.rmtree(run / "evaluation")
    assert checked(run, capsys)["sentence"] == "The log has no evaluation before the training."
