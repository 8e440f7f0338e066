"""Results of other software: what goes in comes out, whatever the order, and no file crashes or hangs the reader."""

import json
import os
import random
import time

import pytest
from test_trl import trainer_of

from manypaths.comparison.importers import read_lighteval, read_trainer_state
from manypaths.comparison.runs import Score
from manypaths.embed import NgramEmbedder
from manypaths.names import PARTS
from manypaths.trl import DiverseGRPOTrainer


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lighteval(path, results, model="model"):
    """A results file as lighteval writes it; `results` maps tasks to metrics, or to an accuracy."""
    metrics = {
        task: {"extractive_match": metrics, "extractive_match_stderr": 0.05} if isinstance(metrics, float) else metrics
        for task, metrics in results.items()
    }
    general = {"lighteval_sha": "?", "model_name": model, "total_evaluation_time_secondes": "1721.39"}
    return write(path, json.dumps({"config_general": general, "results": metrics, "versions": {}}))


def state(path, log, **more):
    step = max([0, *(entry.get("step", 0) for entry in log)])
    return write(path, json.dumps({"global_step": step, "log_history": log, **more}))


def numbered(values, key="step_time", every=1):
    return [{"step": (at + 1) * every, key: value} for at, value in enumerate(values)]


# lighteval


def test_lighteval_scores_come_out(tmp_path):
    tree = tmp_path / "open-rs"
    results = {"custom|aime24|0": 0.2333, "custom|math_500|0": 0.8, "all": 0.5, "custom|_average|0": 0.5}
    lighteval(tree / "a" / "results_2025-02-14.json", results, "_fsx_ckpt_run_20250214_1600_checkpoint-800_")
    lighteval(tree / "b" / "results_2025-02-15.json", {"custom|aime24|0": 0.3}, "_fsx_ckpt_checkpoint-50_")
    run = read_lighteval(tree)
    assert (run.name, run.group, run.seed, run.clock, run.notes) == ("open-rs", "open-rs", None, [], [])
    assert run.results == {
        50: {"aime24": Score.of_mean(0.3, 0.05)},
        800: {"aime24": Score.of_mean(0.2333, 0.05), "math500": Score.of_mean(0.8, 0.05)},
    }
    assert list(run.results) == [50, 800]
    assert read_lighteval(tree / "a" / "results_2025-02-14.json").results == {800: run.results[800]}


@pytest.mark.parametrize(
    ("model", "folder", "step"),
    [
        ("_fsx_run_20250214_1600_checkpoint-800_", "a", 800),
        ("org/model", "checkpoint-800/results", 800),
        ("model_step-000000350", "a", 350),
        ("model", "step_350", 350),
        ("model", "global_step_50/actor", 50),
        ("model", "evals/150/model", 150),
        ("ckpts/150", "a", 150),
        ("step_100_then_checkpoint-20", "50", 20),
        ("Step-3.5-Flash", "a", 0),
        ("multistep-3", "a", 0),
        (None, "a1", 0),
        ([[7]], "a1", 0),
    ],
)
def test_the_step_is_found_in_a_name(model, folder, step, tmp_path):
    lighteval(tmp_path / "t" / folder / "results_1.json", {"aime24|0": 0.5}, model)
    run = read_lighteval(tmp_path / "t")
    assert list(run.results) == [step]
    assert [note for note in run.notes if "no step" in note] == (
        ["t: 1 of 1 files name no step, so they count as step 0."] * (not step)
    )


@pytest.mark.parametrize(
    ("task", "benchmark"),
    [
        ("custom|aime24|0", "aime24"),
        ("lighteval|math_500|0|0", "math500"),
        ("amc23|0", "amc23"),
        ("minerva", "minerva"),
        ("minerva_math:algebra|4", "minerva_math:algebra"),  # lm-eval's name for MATH
        ("custom|olympiad_bench|0", "olympiadbench"),
        ("lighteval|gpqa:diamond|0", "gpqa:diamond"),
    ],
)
def test_tasks_become_benchmarks(task, benchmark, tmp_path):
    lighteval(tmp_path / "results_1.json", {task: 0.5})
    assert list(read_lighteval(tmp_path).results[0]) == [benchmark]


@pytest.mark.parametrize(
    ("metrics", "taken"),
    [
        ({"math_pass@1:16_samples": 0.2, "extractive_match": 0.3}, "extractive_match"),
        ({"maj@n": 0.2, "math_pass@1:16_samples": 0.3, "math_pass@1:32_samples": 0.4}, "math_pass@1:16_samples"),
        ({"maj@n": 0.2, "pass@k:k=10&n=16": 0.1, "pass@k:k=1&n=16": 0.3}, "pass@k:k=1&n=16"),
        ({"math_pass@10:16_samples": 0.3, "acc": 0.2}, "math_pass@10:16_samples"),
        ({"text": "yes", "flag": True, "none": None, "acc_stderr": 0.2, "acc": 0.3}, "acc"),
    ],
)
def test_of_several_metrics_one_is_taken_with_a_note(metrics, taken, tmp_path):
    lighteval(tmp_path / "results_1.json", {"aime24": {**metrics, f"{taken}_stderr": 0.01}})
    run = read_lighteval(tmp_path)
    assert run.results[0]["aime24"] == Score.of_mean(0.3, 0.01)
    assert any(f"aime24: accuracy is {taken}, of " in note for note in run.notes) == (taken != "acc")


def test_of_several_files_the_newest_by_name_counts(tmp_path):
    for folder, name, accuracy in (("b", "results_2", 0.2), ("a", "results_3", 0.3), ("c", "results_1", 0.1)):
        lighteval(tmp_path / "checkpoint-5" / folder / f"{name}.json", {"aime24": accuracy})
    run = read_lighteval(tmp_path)
    assert run.results[5]["aime24"].mean("accuracy") == 0.3
    assert "2 scores repeat a step and benchmark; the newest file counts." in run.notes[0]


@pytest.mark.parametrize(
    ("folder", "group", "seed"),
    [("mmr-seed3", "mmr", 3), ("mmr_seed12", "mmr", 12), ("mmr-3", "mmr-3", None), ("mmr_s3", "mmr_s3", None)],
)
def test_a_seed_is_told_by_the_word_alone(folder, group, seed, tmp_path):
    lighteval(tmp_path / folder / "results_1.json", {"aime24": 0.5})
    run = read_lighteval(tmp_path / folder)
    assert (run.name, run.group, run.seed) == (folder, group, seed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -0.1, 10**400])
def test_values_that_are_not_shares_are_left_out_with_a_note(value, tmp_path):
    lighteval(tmp_path / "results_1.json", {"aime24": {"extractive_match": value}, "amc23": 0.5})
    run = read_lighteval(tmp_path)
    assert list(run.results[0]) == ["amc23"] and "must be from 0 to 1" in run.notes[0]


DEEP = "[" * 200_000
HOSTILE = {
    "empty": "",
    "cut off": '{"results": {"aime24": ',
    "deep": DEEP,
    "deep and whole": DEEP + "]" * 200_000,
    "huge int": '{"results": ' + "9" * 100_000 + "}",
    "list": "[1, 2]",
    "number": "7",
    "null": "null",
    "not text": b"\xff\xfe\x00\xd8\x00",
    "nothing": "{}",
    "lists": '{"config_general": [], "results": [[]], "log_history": {"step": 1}}',
    "list in a dict": '{"config_general": {"model_name": []}, "results": {"aime24": [0.5]}, "log_history": 3}',
    "nan": '{"results": {"aime24": {"extractive_match": NaN}}, "log_history": null}',
    "no tasks": '{"results": {"all": {"acc": 0.5}, "|0": {"acc": 0.5}, "": {}}, "log_history": "x"}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_json_is_refused_with_a_sentence(content, tmp_path):
    for read, name in ((read_lighteval, "results_1.json"), (read_trainer_state, "trainer_state.json")):
        path = write(tmp_path / name, content)
        for source in (path, tmp_path):
            with pytest.raises(ValueError, match=rf"(?s)^.*{name}.*\.$") as refused:
                read(source)
            assert len(str(refused.value)) < 600


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_broken_file_among_good_ones_is_a_note(content, tmp_path):
    lighteval(tmp_path / "e" / "checkpoint-5" / "results_1.json", {"aime24": 0.5})
    write(tmp_path / "e" / "checkpoint-6" / "results_1.json", content)
    run = read_lighteval(tmp_path / "e")
    assert run.results == {5: {"aime24": Score.of_mean(0.5, 0.05)}} and "checkpoint-6" in run.notes[0]
    state(tmp_path / "t" / "checkpoint-5" / "trainer_state.json", numbered([2.0]))
    write(tmp_path / "t" / "checkpoint-6" / "trainer_state.json", content)
    run = read_trainer_state(tmp_path / "t")
    assert run.clock == [(1, 2.0)] and "checkpoint-6" in run.notes[0]


def test_long_names_and_many_keys_take_no_time(tmp_path):
    began = time.perf_counter()
    names = ["pass@k:" * 50_000, "pass@k:" + "k=" * 200_000, "step-1" * 50_000 + "x", "|" * 300_000, "1" * 300_000]
    lighteval(tmp_path / "results_1.json", {name: {name: 0.5} for name in names} | {"b": 0.5}, names[2])
    assert read_lighteval(tmp_path).results[0]["b"].mean("accuracy") == 0.5
    log = [{"step": step, "eval_" + "accuracy" * 9 + str(step): 2.0} for step in range(20_000)]
    log.append({"step": 1, **{start + "accuracy" * 50_000 + "/x": 2.0 for start in ("eval_", "rewards/")}})
    assert read_trainer_state(state(tmp_path / "trainer_state.json", log)).results == {}
    assert time.perf_counter() - began < 20


def test_names_that_utf8_cannot_hold_are_mended(tmp_path):
    lighteval(tmp_path / "results_1.json", {"\ud800task": {"\ud801": 0.5, "b": 2.0}, "amc23": {"\ud802": 7.0}})
    run = read_lighteval(tmp_path)
    json.dumps([run.notes, list(run.results[0])], ensure_ascii=False).encode()


def test_where_there_is_nothing(tmp_path):
    os.mkfifo(tmp_path / "results_1.json")
    os.mkfifo(tmp_path / "trainer_state.json")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "results_1.json"):
        with pytest.raises(ValueError, match=r"must hold results of lighteval, got no results_\*\.json\. Name"):
            read_lighteval(path)
        with pytest.raises(
            ValueError, match=r"must be a trainer_state\.json or hold one, got none\. Name its folder\.$"
        ):
            read_trainer_state(path)


# trainer states


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
    run = read_trainer_state(tmp_path / "mine")
    assert (run.name, run.group, run.seed) == ("mine", "mine", None)
    held_out = {entry["step"]: entry["eval_rewards/accuracy/mean"] for entry in log if "eval_reward" in entry}
    assert list(held_out) == [2, 4]
    assert run.results == {step: {"held-out": Score.of_mean(value)} for step, value in held_out.items()}
    assert "mine: accuracy is eval_rewards/accuracy/mean." in run.notes
    train = [entry for entry in log if "reward" in entry]
    assert run.curves == {key: [(entry["step"], entry[key]) for entry in train] for key in ("entropy", "reward")}
    spent = [every * sum(entry["step_time"] for entry in train[: at + 1]) for at in range(len(train))]
    assert run.clock == [(entry["step"], pytest.approx(seconds)) for entry, seconds in zip(train, spent, strict=True)]
    assert run.clock[-1][0] == 4 and 0 < run.clock[-1][1] < log[-1]["train_runtime"]
    assert read_trainer_state(tmp_path / "mine" / "checkpoint-2").name == "mine"
    assert list(read_trainer_state(tmp_path / "mine" / "checkpoint-2" / "trainer_state.json").results) == [2]
    (tmp_path / "mine" / "trainer_state.json").unlink()
    assert read_trainer_state(tmp_path / "mine").results == run.results


def test_the_state_of_our_trainer_has_parts(tiny_model, tmp_path):
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, steps=4, logging_steps=2, embedder=NgramEmbedder())
    trainer.train()
    trainer.save_state()
    log = [entry for entry in trainer.state.log_history if "reward" in entry]
    run = read_trainer_state(tmp_path / "trainer_state.json")
    means = {part: sum(entry[f"seconds/{part}"] for entry in log) / len(log) for part in PARTS}
    assert run.parts == pytest.approx(means) and run.clock[-1] == (4, pytest.approx(4 * sum(means.values())))
    measures = {"diversity/similarity", "diversity/vendi_score", "groups/zero_std"}
    assert set(run.curves) == measures | {"entropy", "reward"}
    assert run.results == {} and "no accuracy was logged" in run.notes[-1]


def test_metrics_of_an_earlier_version_and_diagnostics_are_curves(tmp_path):
    log = [{"step": 4, "groups/without_spread": 0.5, "diversity/gloss": 2.0, "diversity/void": None, "loss": 1.0}]
    run = read_trainer_state(state(tmp_path / "trainer_state.json", log))
    assert run.curves == {"groups/zero_std": [(4, 0.5)], "diversity/gloss": [(4, 2.0)]}


def test_time_does_not_depend_on_how_often_it_is_logged(tmp_path):
    times = [random.Random(0).uniform(1, 9) for _ in range(12)]
    imported = read_trainer_state(state(tmp_path / "a" / "trainer_state.json", numbered(times)))
    fives = [sum(times[:5]) / 5, sum(times[5:10]) / 5]
    log = [*numbered(fives, every=5), {"step": 12, "step_time": sum(times[10:]) / 2, "train_runtime": 999.0}]
    fewer = read_trainer_state(state(tmp_path / "b" / "trainer_state.json", log))
    assert fewer.clock == [(step, pytest.approx(dict(imported.clock)[step])) for step in (5, 10, 12)]
    assert imported.notes[0] == "a: times are TRL's step_time, which excludes the optimiser."


def test_time_of_the_parts_goes_before_step_time_and_that_before_the_runtime(tmp_path):
    path, parts = tmp_path / "trainer_state.json", {f"seconds/{part}": at + 1.0 for at, part in enumerate(PARTS)}
    run = read_trainer_state(state(path, [{"step": 4, "step_time": 1.0, **parts}, {"step": 4, "train_runtime": 99}]))
    assert run.clock == [(4, 60.0)] and run.parts == dict(zip(PARTS, [1.0, 2.0, 3.0, 4.0, 5.0], strict=True))
    run = read_trainer_state(state(path, [{"step": 2, "reward": 1}, {"step": 0}, {"step": 8, "train_runtime": 80.0}]))
    assert run.clock == [(2, 20.0), (8, 80.0)] and run.parts == {} and "evenly" in run.notes[0]
    assert read_trainer_state(state(path, [{"step": 2, "reward": 1}])).clock == []


@pytest.mark.parametrize(
    ("metrics", "results", "notes"),
    [
        ({"eval_accuracy": 0.25, "rewards/accuracy/mean": 0.5}, {"held-out": 0.25}, ["is eval_accuracy."]),
        ({"eval_rewards/accuracy_reward": 0.25}, {"held-out": 0.25}, ["eval_rewards/accuracy_reward."]),
        ({"rewards/my_Accuracy/mean": 0.5}, {"training": 0.5}, ["rewards/my_Accuracy/mean, of training batches, not"]),
        ({"rewards/accuracy/std": 0.5, "eval_accuracy/timed_out": 0.5}, {}, ["no accuracy was logged"]),
        ({"eval_reward": 0.5, "reward": 0.5}, {}, ["no accuracy was logged"]),
        (
            {"eval_rewards/accuracy/mean": 2.0, "rewards/accuracy/mean": 0.5},
            {"training": 0.5},
            ["eval_rewards/accuracy/mean is no accuracy", "of training batches"],
        ),
        ({"eval_accuracy": float("nan")}, {}, ["eval_accuracy is no accuracy", "no accuracy was logged"]),
        (
            {"eval_accuracy": 10**4000, "reward": [1], "entropy": {}, "step_time": "x"},
            {},
            ["eval_accuracy is no", "no"],
        ),
        ({"eval_accuracy": None}, {}, ["no accuracy was logged"]),
        ({"step_time": -1.0, "train_runtime": float("nan")}, {}, ["no accuracy was logged"]),
    ],
)
def test_accuracy_is_held_out_else_of_training_else_none(metrics, results, notes, tmp_path):
    run = read_trainer_state(state(tmp_path / "trainer_state.json", [{"step": 3, **metrics}]))
    assert run.results == ({3: {name: Score.of_mean(value) for name, value in results.items()}} if results else {})
    assert len(run.notes) == len(notes) and all(part in note for part, note in zip(notes, run.notes, strict=True))
    assert run.clock == []


def test_entries_of_a_log_that_are_none_are_counted(tmp_path):
    odd = [[], 7, {"loss": 1}, {"step": -1}, {"step": "3"}, {"step": 1.5}, {"step": True}, {"step": 10**30}]
    path = write(tmp_path / "trainer_state.json", json.dumps({"log_history": [*odd, {"step": 2, "eval_accuracy": 1}]}))
    run = read_trainer_state(path)
    assert run.results == {2: {"held-out": Score.of_mean(1.0)}} and "8 entries of log_history" in run.notes[0]


def test_a_step_whose_accuracy_is_no_number_is_left_out(tmp_path):
    values = numbered([0.5, float("nan"), "0.5", None], "eval_accuracy")
    run = read_trainer_state(state(tmp_path / "mine" / "trainer_state.json", values))
    assert run.results == {1: {"held-out": Score.of_mean(0.5)}}
    assert run.notes == ["mine: eval_accuracy is not a number at 2 steps.", "mine: accuracy is eval_accuracy."]


def test_of_several_checkpoints_the_last_counts(tmp_path):
    for step in (5, 20, 100):
        state(tmp_path / f"checkpoint-{step}" / "trainer_state.json", [{"step": step, "eval_accuracy": 0.5}])
    assert list(read_trainer_state(tmp_path).results) == [100]
