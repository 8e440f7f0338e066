"""The logs of trainers of transformers and TRL: what goes in comes out, and no metric is guessed to be accuracy."""

import json
import random

import pytest
from importer_files import numbered, state, write
from test_trl import trainer_of

from manypaths.comparison.importers import read_json
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.runs import Score
from manypaths.embed import NgramEmbedder
from manypaths.names import PARTS
from manypaths.trl import DiverseGRPOTrainer


def only(path, **say):
    """The one run at a path."""
    (run,) = read_json(path, Reading(**say))
    return run


def test_the_state_of_the_real_trainer(tiny_model, tmp_path):
    every = 2

    def accuracy(completions, **_):
        return [float(len(text) % 2) for text in completions]

    settings = {"logging_steps": every, "eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 4}
    settings |= {"save_strategy": "steps", "save_steps": 2}
    trainer = trainer_of(tiny_model, tmp_path / "mine", rewards=accuracy, steps=4, **settings)
    trainer.train()
    trainer.save_state()
    log = trainer.state.log_history
    run = only(tmp_path / "mine")
    assert (run.name, run.seed) == ("mine", None)
    held_out = {entry["step"]: entry["eval_rewards/accuracy/mean"] for entry in log if "eval_reward" in entry}
    assert list(held_out) == [2, 4]
    assert run.results == {step: {"held-out": Score.of_mean(value)} for step, value in held_out.items()}
    assert "mine: accuracy is eval_rewards/accuracy/mean." in run.notes
    train = [entry for entry in log if "reward" in entry]
    assert run.curves == {key: [(entry["step"], entry[key]) for entry in train] for key in ("entropy", "reward")}
    spent = [every * sum(entry["step_time"] for entry in train[: at + 1]) for at in range(len(train))]
    assert run.clock == [(entry["step"], pytest.approx(seconds)) for entry, seconds in zip(train, spent, strict=True)]
    assert run.clock[-1][0] == 4 and 0 < run.clock[-1][1] < log[-1]["train_runtime"]
    assert only(tmp_path / "mine" / "checkpoint-2").name == "mine"
    assert list(only(tmp_path / "mine" / "checkpoint-2" / "trainer_state.json").results) == [2]
    (tmp_path / "mine" / "trainer_state.json").unlink()
    assert only(tmp_path / "mine").results == run.results


def test_the_state_of_our_trainer_has_parts(tiny_model, tmp_path):
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, steps=4, logging_steps=2, embedder=NgramEmbedder())
    trainer.train()
    trainer.save_state()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    run = only(tmp_path / "trainer_state.json")
    means = {part: sum(entry[f"seconds/{part}"] for entry in log) / len(log) for part in PARTS}
    assert run.parts == pytest.approx(means) and run.clock[-1] == (4, pytest.approx(4 * sum(means.values())))
    measures = {"diversity/similarity", "diversity/vendi_score", "groups/zero_std"}
    assert set(run.curves) == measures | {"entropy", "reward"}
    assert run.results == {} and "no accuracy is read" in run.notes[-1]


def test_metrics_of_an_earlier_version_and_diagnostics_are_curves(tmp_path):
    log = [{"step": 4, "groups/without_spread": 0.5, "diversity/gloss": 2.0, "diversity/void": None, "loss": 1.0}]
    run = only(state(tmp_path / "trainer_state.json", log))
    assert run.curves == {"groups/zero_std": [(4, 0.5)], "diversity/gloss": [(4, 2.0)]}


def test_time_does_not_depend_on_how_often_it_is_logged(tmp_path):
    times = [random.Random(0).uniform(1, 9) for _ in range(12)]
    imported = only(state(tmp_path / "a" / "trainer_state.json", numbered(times)))
    fives = [sum(times[:5]) / 5, sum(times[5:10]) / 5]
    log = [*numbered(fives, every=5), {"step": 12, "step_time": sum(times[10:]) / 2, "train_runtime": 999.0}]
    fewer = only(state(tmp_path / "b" / "trainer_state.json", log))
    assert fewer.clock == [(step, pytest.approx(dict(imported.clock)[step])) for step in (5, 10, 12)]
    assert imported.notes[0] == "a: times are TRL's step_time, which excludes the optimiser."


def test_time_of_the_parts_goes_before_step_time_and_that_before_the_runtime(tmp_path):
    path, parts = tmp_path / "trainer_state.json", {f"seconds/{part}": at + 1.0 for at, part in enumerate(PARTS)}
    run = only(state(path, [{"step": 4, "step_time": 1.0, **parts}, {"step": 4, "train_runtime": 99}]))
    assert run.clock == [(4, 60.0)] and run.parts == dict(zip(PARTS, [1.0, 2.0, 3.0, 4.0, 5.0], strict=True))
    run = only(state(path, [{"step": 2, "reward": 1}, {"step": 0}, {"step": 8, "train_runtime": 80.0}]))
    assert run.clock == [(2, 20.0), (8, 80.0)] and run.parts == {} and "evenly" in run.notes[0]
    assert only(state(path, [{"step": 2, "reward": 1}])).clock == []


GSM, PAIRS = "eval_gsm8k_", "it is the share of pairs"
NONE, RIVALS, RANGE = "no accuracy is read", "several metrics", "not read, because its values"


@pytest.mark.parametrize(
    ("metrics", "results", "notes"),
    [
        ({"eval_accuracy": 0.25, "rewards/accuracy/mean": 0.5}, {"held-out": 0.25}, ["is eval_accuracy."]),
        ({"eval_rewards/accuracy_reward": 0.25}, {"held-out": 0.25}, ["eval_rewards/accuracy_reward."]),
        ({"rewards/my_Accuracy/mean": 0.5}, {"training": 0.5}, ["rewards/my_Accuracy/mean, of training batches, not"]),
        ({"rewards/accuracy/std": 0.5, "eval_accuracy/timed_out": 0.5}, {}, [NONE]),
        ({"eval_reward": 0.5, "reward": 0.5}, {}, [NONE]),
        ({"eval_rewards/accuracy/mean": 2.0, "rewards/accuracy/mean": 0.5}, {"training": 0.5}, [RANGE, "of training"]),
        ({"eval_accuracy": float("nan")}, {}, ["none of its values is a number", NONE]),
        ({"eval_accuracy": 10**4000, "reward": [1], "entropy": {}, "step_time": "x"}, {}, ["none of its", NONE]),
        ({"eval_accuracy": None}, {}, [NONE]),
        ({"step_time": -1.0, "train_runtime": float("nan")}, {}, [NONE]),
        # several sets of problems, with and without the seconds that name them
        ({f"{GSM}accuracy": 0.25, "eval_math_accuracy": 0.5}, {"gsm8k": 0.25, "math": 0.5}, ["of gsm8k", "of math"]),
        (
            {f"{GSM}accuracy": 0.25, f"{GSM}runtime": 9.0},
            {"gsm8k": 0.25},
            ["accuracy of gsm8k is eval_gsm8k_accuracy."],
        ),
        ({"eval_rewards/accuracy/mean": 0.25, f"{GSM}runtime": 9.0}, {"gsm8k": 0.25}, ["accuracy of gsm8k"]),
        ({"eval_accuracy": 0.25, "eval_balanced_accuracy": 0.5}, {}, [RIVALS, NONE]),
        ({"eval_accuracy": 0.25, "eval_rewards/accuracy/mean": 0.5}, {}, [RIVALS, NONE]),
        ({"rewards/a_accuracy/mean": 0.25, "rewards/b_accuracy/mean": 0.5}, {}, [RIVALS, NONE]),
        # DPO
        ({"rewards/accuracies": 0.5}, {"training preference pairs": 0.5}, ["of training batches", PAIRS]),
        ({"eval_rewards/accuracies": 0.5}, {"held-out preference pairs": 0.5}, ["eval_rewards/accuracies.", PAIRS]),
    ],
)
def test_accuracy_is_held_out_else_of_training_else_none(metrics, results, notes, tmp_path):
    run = only(state(tmp_path / "trainer_state.json", [{"step": 3, **metrics}]))
    assert run.results == ({3: {name: Score.of_mean(value) for name, value in results.items()}} if results else {})
    assert len(run.notes) == len(notes) and all(part in note for part, note in zip(notes, run.notes, strict=True))
    assert run.clock == []
    backwards = dict(reversed(metrics.items()))
    assert only(state(tmp_path / "trainer_state.json", [{**backwards, "step": 3}])) == run


REWARD = "rewards/correctness_reward_func/mean"


@pytest.mark.parametrize(
    ("say", "means"),
    [
        ({}, {}),
        ({"metric": REWARD}, {REWARD: 0.75}),
        ({"metric": REWARD, "unit": "share"}, {"accuracy": 0.75}),
        ({"metric": REWARD, "unit": "percent"}, {"accuracy": 0.0075}),
        ({"metric": "reward"}, {"reward": 2.5}),
        ({"metric": "reward", "unit": "share"}, None),
        ({"metric": "nothing"}, {}),
        ({"metric": "pass@8"}, {}),
    ],
)
def test_the_user_names_the_metric_and_its_unit(say, means, tmp_path):
    metrics = {"reward": 2.5, REWARD: 0.75, "rewards/int_reward_func/mean": 0.5, "kl": 0.01}
    run = only(state(tmp_path / "trainer_state.json", [{"step": 3, **metrics}]), **say)
    assert run.results == ({3: {"training": Score(means)}} if means else {})
    if means == {}:
        assert f"It has: {', '.join(sorted(metrics, key=lambda name: (name == 'kl', name)))}. Name a" in run.notes[-1]
    if means and "accuracy" not in means:
        assert (
            f"{say['metric']} is a plain number, of training batches, not held out. If it is a share" in run.notes[-1]
        )
    if means is None:
        assert "is not a share from 0 to 1 at 1 steps" in run.notes[-1]


def test_percent_is_said_and_not_guessed(tmp_path):
    path = state(tmp_path / "trainer_state.json", numbered([45.0, 0.5], "eval_accuracy"))
    assert only(path).results == {} and "Is the unit --unit percent?" in only(path).notes[0]
    means = [score["held-out"].mean("accuracy") for score in only(path, unit="percent").results.values()]
    assert means == [0.45, 0.005]


def test_evaluations_of_several_sets_at_one_step_stay_apart(tmp_path):
    entries = [
        {"step": 4, f"eval_{name}_loss": 1.0, f"eval_{name}_runtime": 2.0, "eval_rewards/accuracy_reward/mean": value}
        for name, value in (("math_hard", 0.25), ("math", 0.5))
    ]
    run = only(state(tmp_path / "trainer_state.json", entries))
    assert run.results == {4: {"math": Score.of_mean(0.5), "math_hard": Score.of_mean(0.25)}}
    assert run == only(state(tmp_path / "trainer_state.json", entries[::-1]))
    twice = [{"step": 4, "eval_accuracy": value} for value in (0.25, 0.5)]
    run = only(state(tmp_path / "trainer_state.json", twice))
    assert run.results == {4: {"held-out": Score.of_mean(0.5)}} and "more than once at 1 steps" in run.notes[0]


@pytest.mark.parametrize("name", ["all_results.json", "eval_results.json", "mine.json"])
def test_a_summary_is_read_alone_or_beside_the_state(name, tmp_path):
    content = {"epoch": 3.0, "eval_accuracy": 0.75, "eval_runtime": 9.5, "train_loss": 0.5, "train_runtime": 50.0}
    path = write(tmp_path / name, json.dumps(content))
    run = only(path)
    assert run.results == {0: {"held-out": Score.of_mean(0.75)}} and f"{name} states no step" in run.notes[0]
    if name == "mine.json":
        return
    assert only(tmp_path).results == run.results
    state(tmp_path / "trainer_state.json", [{"step": 2, "eval_accuracy": 0.5}, {"step": 4, "reward": 1.0}])
    run = only(tmp_path)
    assert run.results == {step: {"held-out": Score.of_mean(value)} for step, value in ((2, 0.5), (4, 0.75))}
    assert any(f"{name} is the evaluation at step 4" in note for note in run.notes)
    state(tmp_path / "trainer_state.json", [{"step": 4, "eval_accuracy": 0.5}])
    assert only(tmp_path).results == {4: {"held-out": Score.of_mean(0.5)}}


@pytest.mark.parametrize("name", ["trainer_state.json", "grpo-run1.json", "results_1.json"])
def test_a_state_is_known_by_its_content(name, tmp_path):
    run = only(state(tmp_path / "mine" / name, [{"step": 3, "eval_accuracy": 0.5}]))
    assert run.results == {3: {"held-out": Score.of_mean(0.5)}}
    assert run.name == ("grpo-run1" if "grpo" in name else "mine")


def test_entries_of_a_log_that_are_none_are_counted(tmp_path):
    odd = [[], 7, {"loss": 1}, {"step": -1}, {"step": "3"}, {"step": 1.5}, {"step": True}, {"step": 10**30}]
    path = write(tmp_path / "trainer_state.json", json.dumps({"log_history": [*odd, {"step": 2, "eval_accuracy": 1}]}))
    run = only(path)
    assert run.results == {2: {"held-out": Score.of_mean(1.0)}} and "8 entries of its log" in run.notes[0]


def test_a_step_whose_accuracy_is_no_number_is_left_out(tmp_path):
    values = numbered([0.5, float("nan"), "0.5", None], "eval_accuracy")
    run = only(state(tmp_path / "mine" / "trainer_state.json", values))
    assert run.results == {1: {"held-out": Score.of_mean(0.5)}}
    assert run.notes == [
        "mine: eval_accuracy is not a share from 0 to 1 at 2 steps.",
        "mine: accuracy is eval_accuracy.",
    ]


def test_of_several_checkpoints_the_last_counts(tmp_path):
    for step in (5, 20, 100):
        state(tmp_path / f"checkpoint-{step}" / "trainer_state.json", [{"step": step, "eval_accuracy": 0.5}])
    assert list(only(tmp_path).results) == [100]


def test_another_metric_is_not_read_instead_of_the_named_one(tmp_path):
    path = state(tmp_path / "trainer_state.json", [{"step": 3, "eval_accuracy": 0.5}])
    run = only(path, metric="eval_f1")
    assert run.results == {} and "has no eval_f1. It has: eval_accuracy. Name a metric" in run.notes[-1]
    assert only(path, metric="accuracy").results == only(path).results != {}
