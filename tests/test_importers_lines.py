"""Metrics by step of verl, NeMo-RL and others: what goes in comes out, and a reward is accuracy only if it is said."""

import json
import random

import pytest
from importer_files import json_lines, write

from manypaths.comparison.importers import read_json
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.runs import Score

GSM, AIME = "openai/gsm8k", "math_dapo/aime_2024"


def only(path, **say):
    """The one run at a path."""
    (run,) = read_json(path, Reading(**say))
    return run


def verl(step, accuracy):
    """A line as verl's file logger writes it."""
    metrics = {
        f"val-core/{AIME}/acc/mean@16": accuracy,
        f"val-core/{AIME}/acc/best@16/mean": accuracy + 0.25,
        f"val-core/{AIME}/acc/best@16/std": 0.0625,
        f"val-aux/{AIME}/acc/best@4/mean": accuracy + 0.125,
        f"val-aux/{AIME}/acc/worst@4/mean": 0.0,
        f"val-core/{AIME}/acc/maj@16/mean": accuracy + 0.0625,
        f"val-aux/{AIME}/reward/mean@16": 2 * accuracy - 1,
        f"val-core/{GSM}/acc/mean@1": accuracy + 0.5,
        "val-aux/num_turns/mean": 2.0,
        "actor/entropy": 0.5,
        "critic/score/mean": -0.5,
    }
    return {"step": step, "data": metrics}


def test_metrics_of_verl_come_out(tmp_path):
    lines = [verl(0, 0.125), {"step": 1, "data": {"actor/entropy": 0.5}}, verl(2, 0.25)]
    run = only(json_lines(tmp_path / "grpo-seed3.jsonl", lines))
    assert (run.name, run.seed) == ("grpo-seed3", 3)
    means = {"accuracy": 0.25, "pass@16": 0.5, "pass@4": 0.375, "majority": 0.3125}
    assert run.results == {
        step: {
            GSM: Score({"accuracy": accuracy + 0.5}, sampling={"samples": 1}),
            AIME: Score({name: mean - 0.25 + accuracy for name, mean in means.items()}, sampling={"samples": 16}),
        }
        for step, accuracy in ((0, 0.125), (2, 0.25))
    }
    assert any(f"pass@16 of {AIME} is val-core/{AIME}/acc/best@16/mean." in note for note in run.notes)
    assert any("drawn with replacement, so it is lower than pass@K" in note for note in run.notes)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_lines_and_keys_does_not_matter(seed, tmp_path):
    lines = [verl(step, step / 16) for step in range(5)]
    path = json_lines(tmp_path / "a.jsonl", lines)
    plain = only(path)
    random.Random(seed).shuffle(lines)
    for line in lines:
        pairs = list(line["data"].items())
        random.Random(seed).shuffle(pairs)
        line["data"] = dict(pairs)
    json_lines(path, lines)
    assert only(path) == plain
    write(path, json.dumps(lines))  # a list, as `json.dump(log_history)` writes it
    assert only(path) == plain
    flat = [{"step": line["step"], **line["data"]} for line in lines]
    assert only(json_lines(path, flat)) == plain


KEY = f"val-core/{GSM}/reward/mean@1"


@pytest.mark.parametrize(
    ("say", "means"),
    [
        ({}, {"reward": 0.25}),
        ({"metric": "reward"}, {"reward": 0.25}),
        ({"unit": "share"}, {"accuracy": 0.25}),
        ({"metric": KEY}, {KEY: 0.25}),
        ({"metric": KEY, "unit": "share"}, {"accuracy": 0.25}),
        ({"metric": "critic/score/mean"}, {"critic/score/mean": 0.75}),
    ],
)
def test_a_reward_is_a_plain_number_unless_the_unit_is_said(say, means, tmp_path):
    path = json_lines(tmp_path / "a.jsonl", [{"step": 5, "data": {KEY: 0.25, "critic/score/mean": 0.75}}])
    run = only(path, **say)
    ((benchmark, score),) = run.results[5].items()
    assert benchmark == ("training" if "critic/score/mean" in means else GSM) and score.means == means
    assert any("is a plain number" in note and "--unit share" in note for note in run.notes) == ("unit" not in say)


def test_seconds_are_without_evaluation_and_saving(tmp_path):
    seconds = [
        {"timing_s/step": 30.0},
        {"timing_s/step": 50.0, "timing_s/testing": 15.0, "timing_s/save_checkpoint": 5.0},
    ]
    lines = [{"step": 0, "data": {KEY: 0.5}}, *({"step": at + 1, "data": data} for at, data in enumerate(seconds))]
    run = only(json_lines(tmp_path / "a.jsonl", [*lines, {"step": 4, "data": {"timing_s/step": 10.0}}]))
    assert run.clock == [(1, 30.0), (2, 60.0), (4, 80.0)]
    assert [note for note in run.notes if "no seconds" in note] == [
        "a: 1 steps have no seconds; those of the step after them stand for them."
    ]
    run = only(json_lines(tmp_path / "a.jsonl", [*lines, {"step": 3, "data": {"timing_s/step": float("nan")}}]))
    assert run.clock == [(1, 30.0), (2, 60.0)]


@pytest.mark.parametrize("name", ["metrics.json", "metrics.jsonl"])
def test_metrics_of_nemo_rl_come_out(name, tmp_path):
    values = {
        "validation/accuracy": {10: 0.25, 0: 0.125},
        "train/reward": {10: -1.0},
        "timing/train/total_step_time": {1: 7.0},
    }
    by_step = {metric: {str(step): value for step, value in series.items()} for metric, series in values.items()}
    lines = [{"step": step, metric: value} for metric, series in values.items() for step, value in series.items()]
    path = tmp_path / "grpo" / name
    run = only(write(path, json.dumps(by_step)) if name == "metrics.json" else json_lines(path, lines))
    assert run.results == {0: {"held-out": Score.of_mean(0.125)}, 10: {"held-out": Score.of_mean(0.25)}}
    assert run.clock == [(1, 7.0)] and run.name == ("metrics" if name == "metrics.json" else "grpo")
    assert only(path, metric="train/reward").results == {10: {"training": Score.of_mean(-1.0, measure="train/reward")}}


@pytest.mark.parametrize("step", ["step", "_step", "global_step", "training/global_step", "train/global_step"])
def test_flat_lines_of_a_trainer_come_out(step, tmp_path):
    lines = [
        {step: 1.0, "train/reward": 0.5, "train/rewards/accuracy_reward/mean": 0.25},
        {step: 2, "eval/accuracy": 0.75, "train/step_time": 3.0},
    ]
    run = only(json_lines(tmp_path / "metrics.jsonl", lines))
    assert run.results == {2: {"held-out": Score.of_mean(0.75)}} and run.curves["reward"] == [(1, 0.5)]
    assert run.clock == [(2, 6.0)]
    named = only(tmp_path / "metrics.jsonl", metric="train/reward")
    assert named.results == {1: {"training": Score.of_mean(0.5, measure="train/reward")}}


def test_lines_that_are_broken_are_counted(tmp_path):
    good = [verl(1, 0.25), verl(2, 0.5)]
    path = json_lines(tmp_path / "a.jsonl", good)
    plain = only(path)
    text = path.read_text()
    write(path, f'\ufeff7\n[]\n\n{{"data": {{}}}}\n{text}{{"step": 3, "da')
    run = only(path)
    assert run.results == plain.results
    assert any("3 lines are not JSON objects" in note for note in run.notes)
    assert any("1 entries of its log have no step" in note for note in run.notes)
    write(
        path,
        json.dumps({"step": 1, "data": {f"val-core/{GSM}/acc/mean@1": 0.5, "note": "a\u2028b"}}, ensure_ascii=False),
    )
    assert only(path).results[1][GSM].means == {"accuracy": 0.5}
    samples = [{"content": "2 + 2 = 4", "rewards": 1.0, "idx": 0}]
    with pytest.raises(ValueError, match=r"each with a step, got content, rewards, idx\. Leave it out"):
        only(json_lines(path, samples))
