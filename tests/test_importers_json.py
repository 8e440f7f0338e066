"""JSON of other software, damaged, hostile, or of an unknown kind: a sentence with the file, never a wrong number."""

import json
import os
import random
import re
import time

import pytest
from importer_files import json_lines, lighteval, lm_eval, numbered, state, write

from manypaths.comparison import read
from manypaths.comparison.importers import holds_json, read_json, runs_in
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.runs import Score

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
    "other software": '{"name": "vite", "version": "1.0", "results": null}',
    "lm-eval with lists": '{"results": {"a,b": {"acc,none": []}, "c": 3}, "n-samples": 3, "group_subtasks": {"c": 3}}',
    "lm-eval with inf": '{"results": {"c": {"acc,none": Infinity, "acc_stderr,none": -1}}, "configs": {"c": 1}}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("name", ["results_1.json", "trainer_state.json", "all_results.json", "metrics.jsonl"])
def test_hostile_json_is_refused_with_a_sentence(content, name, tmp_path):
    path = write(tmp_path / "a" / name, content)
    for source in (path, tmp_path / "a"):
        with pytest.raises(ValueError, match=rf"(?s)^.*{name}.*\.$") as refused:
            read_json(source)
        assert len(str(refused.value)) < 800
    lighteval(tmp_path / "b" / "results_1.json", {"aime24": 0.5})
    runs, sentences = read.read([path, tmp_path / "b"])
    assert [run.name for run in runs] == ["b"] and len(sentences) == 1 and name in sentences[0]


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_broken_file_among_good_ones_is_a_note(content, tmp_path):
    lighteval(tmp_path / "e" / "checkpoint-5" / "results_1.json", {"aime24": 0.5})
    write(tmp_path / "e" / "checkpoint-6" / "results_1.json", content)
    (run,) = read_json(tmp_path / "e")
    assert list(run.results) == [5] and "checkpoint-6" in run.notes[0]
    state(tmp_path / "t" / "checkpoint-5" / "trainer_state.json", numbered([2.0]))
    write(tmp_path / "t" / "checkpoint-6" / "trainer_state.json", content)
    write(tmp_path / "t" / "checkpoint-5" / "all_results.json", content)
    (run,) = read_json(tmp_path / "t")
    assert run.clock == [(1, 2.0)] and "checkpoint-6" in run.notes[0]


def samples():
    """A file of each format that holds one accuracy, as (name, JSON)."""
    results = {"gsm8k": {"acc,none": 0.5, "acc_stderr,none": 0.1}}
    yield "results_1.json", json.dumps({"config_general": {"model_name": "m"}, "results": {"gsm8k|0": {"em": 0.5}}})
    yield "results_1.json", json.dumps({"results": results, "n-samples": {"gsm8k": {"original": 9, "effective": 9}}})
    yield "trainer_state.json", json.dumps({"global_step": 2, "log_history": [{"step": 2, "eval_accuracy": 0.5}]})
    yield "all_results.json", json.dumps({"epoch": 1.0, "eval_accuracy": 0.5, "eval_runtime": 3.0})
    yield "metrics.jsonl", json.dumps({"step": 2, "data": {"val-core/gsm8k/acc/mean@1": 0.5, "a": 1}}) + "\n"
    yield "metrics.json", json.dumps({"validation/accuracy": {"2": 0.5}})


def is_number(text):
    try:
        return bool(float(text) + 1)
    except ValueError:
        return False


@pytest.mark.parametrize(("name", "text"), samples())
def test_a_cut_or_changed_file_never_gives_another_number(name, text, tmp_path):
    """Every cut, and 300 changed characters: a number that stands in the file, or a sentence."""
    chance = random.Random(0)
    variants = [text[:end] for end in range(len(text))]
    for _ in range(300):
        at = chance.randrange(len(text))
        letter = chance.choice('{}[]",:0.5eNaI-\n\x1bé')
        variants.append(text[:at] + letter + text[at + 1 :])
    for number, variant in enumerate(["\ufeff" + text, *variants]):
        path = write(tmp_path / str(number) / name, variant)
        try:
            runs = read_json(path)
        except ValueError as error:
            assert name in str(error) and len(str(error)) < 2000
            assert number > 0
            continue
        scores = [score for run in runs for scores in run.results.values() for score in scores.values()]
        means = [mean for score in scores for mean in score.means.values()]
        assert all(0 <= score.means.get("accuracy", 0) <= 1 for score in scores)
        assert set(means) <= {abs(float(text)) for text in re.findall(r"[0-9][-+.0-9eE]*", variant) if is_number(text)}
        if number == 0:
            assert [score.mean("accuracy") for score in scores] == [0.5]
        assert scores or all(run.notes for run in runs)


def test_long_names_and_many_keys_take_no_time(tmp_path):
    began = time.perf_counter()
    names = ["pass@k:" * 50_000, "pass@k:" + "k=" * 200_000, "step-1" * 50_000 + "x", "|" * 300_000, "1" * 300_000]
    lighteval(tmp_path / "results_1.json", {name: {name: 0.5} for name in names} | {"b": 0.5}, names[2])
    assert read_json(tmp_path)[0].results[0]["b"].mean("accuracy") == 0.5
    tasks = {name: {f"{other},{name}": 0.5 for other in names} for name in names}
    lm_eval(tmp_path / "results_1.json", {**tasks, "b": {"acc,none": 0.5}}, names[0])
    assert read_json(tmp_path)[0].results[0]["b"].mean("accuracy") == 0.5
    log = [{"step": step, "eval_" + "accuracy" * 9 + str(step): 2.0} for step in range(20_000)]
    log.append({"step": 1, **{start + "accuracy" * 50_000 + "/x": 2.0 for start in ("eval_", "rewards/")}})
    log += [{"step": 3, f"eval_{'_' * 500}{number}_runtime": 2.0, "eval_reward": 1.0} for number in range(2000)]
    assert read_json(state(tmp_path / "t" / "trainer_state.json", log))[0].results == {}
    verl = {f"val-core/{'/acc/mean@1' * 20_000}": 0.5, "val-core/a/acc/mean@1": 0.5}
    assert "a" in read_json(json_lines(tmp_path / "a.jsonl", [{"step": 1, "data": verl}]))[0].results[1]
    assert time.perf_counter() - began < 20


def test_names_from_files_have_no_control_characters(tmp_path):
    bad = "\x1b[31m\ud800\u202e\n"
    tasks = {f"{bad}task": {"acc": 0.5, "b": 2.0}, "amc23": {f"{bad}x": 7.0}, f"{bad}|0": {"acc": float("nan")}}
    lighteval(tmp_path / "results_1.json", tasks, f"{bad}one")
    lighteval(tmp_path / "results_2.json", {"a": {"acc": 0.5}}, f"{bad}two")
    runs = read_json(tmp_path)
    log = {f"eval_{bad}_accuracy": 0.5, f"rewards/{bad}/mean": 0.5, "step": 1}
    runs += read_json(state(tmp_path / "trainer_state.json", [log]))
    runs += read_json(json_lines(tmp_path / "a.jsonl", [{"step": 1, "data": {f"val-core/{bad}/acc/mean@1": 0.5}}]))
    for run in runs:
        benchmarks = [name for scores in run.results.values() for name in scores]
        assert benchmarks and all(text.isprintable() for text in [run.name, *run.notes, *benchmarks])
        json.dumps([run.name, run.notes, benchmarks], ensure_ascii=False).encode()


def test_where_there_is_nothing(tmp_path):
    for name in ("results_1.json", "trainer_state.json", "metrics.jsonl"):
        os.mkfifo(tmp_path / name)
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "results_1.json"):
        assert not holds_json(path)
        with pytest.raises(ValueError, match=r"must be, or hold, results of lighteval .*, got none\. Name a file"):
            read_json(path)
    runs, sentences = read.read([tmp_path, tmp_path / "nowhere"])
    assert runs == [] and "has no recipe.yaml and no results" in sentences[0] and "it does not exist" in sentences[1]


def test_files_beside_are_read_or_named(tmp_path):
    state(tmp_path / "trainer_state.json", [{"step": 4, "eval_accuracy": 0.5}])
    lighteval(tmp_path / "evals" / "results_1.json", {"aime24": 0.25})
    json_lines(tmp_path / "metrics.jsonl", [{"step": 1}])
    (run,) = read_json(tmp_path)
    assert run.results == {4: {"held-out": Score.of_mean(0.5)}}
    assert "2 files results_*.json and metrics.jsonl are not read beside trainer_state.json" in run.notes[-1]


def test_a_folder_of_runs_is_its_runs(tmp_path):
    for number, name in enumerate(("grpo-seed1", "grpo-seed2", "mmr-seed1")):
        state(tmp_path / name / "trainer_state.json", [{"step": 4, "eval_accuracy": number / 4}])
    (tmp_path / "empty").mkdir()
    lighteval(tmp_path / "evals" / "a" / "results_1.json", {"aime24": 0.5})
    assert runs_in(tmp_path / "evals") == []  # results of evaluations at any depth are one tree
    assert [path.name for path in runs_in(tmp_path)] == ["evals", "grpo-seed1", "grpo-seed2", "mmr-seed1"]
    assert runs_in(tmp_path / "empty") == runs_in(tmp_path / "grpo-seed1") == runs_in(tmp_path / "nowhere") == []
    runs, sentences = read.read([tmp_path])
    seeds = [("evals", None), ("grpo-seed1", 1), ("grpo-seed2", 2), ("mmr-seed1", 1)]
    assert sentences == [] and [(run.name, run.seed) for run in runs] == seeds
    assert runs[1].group == runs[2].group != runs[3].group


@pytest.mark.parametrize("name", ["output/trainer_state.json", "results/results_1.json", "metrics.jsonl"])
def test_folders_with_the_same_last_name_are_two_configurations(name, tmp_path):
    for method, value in (("grpo", 0.25), ("mmr", 0.5)):
        path = tmp_path / method / name
        if "state" in name:
            state(path, [{"step": 4, "eval_accuracy": value}])
        elif "results" in name:
            lighteval(path, {"aime24": value})
        else:
            json_lines(path, [{"step": 4, "data": {"val-core/a/acc/mean@1": value}}])
    for paths in ([tmp_path / method / name for method in ("grpo", "mmr")],):
        runs, sentences = read.read([*paths, paths[0]])
        assert [run.name for run in runs] == ["grpo", "mmr"] and sentences == []
        assert runs[0].group != runs[1].group


def test_what_the_user_says_is_passed_on(tmp_path):
    state(tmp_path / "trainer_state.json", [{"step": 4, "reward": 3.0}])
    (run,), _ = read.read([tmp_path], Reading(metric="reward"))
    assert run.results[4]["training"].means == {"reward": 3.0}


@pytest.mark.parametrize(
    ("say", "measure"),
    [
        ({}, None),
        ({"metric": "exact_match,strict-match"}, "accuracy"),
        ({"metric": "pass@10,create_test"}, "pass@10"),
        ({"metric": "math_pass@1:16_samples"}, "accuracy"),
        ({"metric": "pass@k:k=8&n=16"}, "pass@8"),
        ({"metric": "val-core/openai/gsm8k/acc/maj@16/mean"}, "majority"),
        ({"metric": "val-core/openai/gsm8k/reward/mean@1"}, "val-core/openai/gsm8k/reward/mean@1"),
        ({"metric": "rewards/accuracy_reward/mean"}, "accuracy"),
        ({"metric": "rewards/correctness/mean"}, "rewards/correctness/mean"),
        ({"metric": "rewards/correctness/mean", "unit": "share"}, "accuracy"),
        ({"metric": "pass@8"}, "pass@8"),
    ],
)
def test_the_name_of_a_metric_states_its_measure(say, measure):
    assert Reading(**say).measure == measure
