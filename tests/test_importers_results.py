"""Results of lighteval and lm-evaluation-harness: what goes in comes out, one run for each model, nothing guessed."""

import pytest
from importer_files import json_lines, lighteval, lm_eval

from manypaths.comparison.importers import read_json
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.run_names import RunName
from manypaths.comparison.runs import Score


def only(path, **say):
    """The one run at a path."""
    (run,) = read_json(path, Reading(**say))
    return run


# lighteval


def test_lighteval_scores_come_out(tmp_path):
    tree = tmp_path / "open-rs"
    results = {"custom|aime24|0": 0.2333, "custom|math_500|0": 0.8, "all": 0.5, "custom|_average|0": 0.5}
    lighteval(tree / "a" / "results_2025-02-14.json", results, "_fsx_ckpt_run_20250214_1600_checkpoint-800_")
    lighteval(tree / "b" / "results_2025-02-15.json", {"custom|aime24|0": 0.3}, "_fsx_ckpt_run_20250214_1600_step-50")
    run = only(tree)
    assert (run.name, run.seed, run.clock, run.notes) == ("open-rs", None, [], [])
    assert run.results == {
        50: {"aime24": of_one(0.3, 0.05)},
        800: {"aime24": of_one(0.2333, 0.05), "math500": of_one(0.8, 0.05)},
    }
    assert list(run.results) == [50, 800]
    assert only(tree / "a" / "results_2025-02-14.json").results == {800: run.results[800]}


def of_one(value, error):
    """The score of one sample per problem."""
    return Score({"accuracy": value}, {"accuracy": error}, sampling={"samples": 1})


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
    run = only(tmp_path / "t")
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
    assert list(only(tmp_path).results[0]) == [benchmark]


@pytest.mark.parametrize(
    ("metrics", "taken", "samples"),
    [
        ({"math_pass@1:16_samples": 0.3, "extractive_match": 0.2}, "math_pass@1:16_samples", 16),
        ({"math_pass@1:8_samples": 0.2, "math_pass@1:32_samples": 0.3}, "math_pass@1:32_samples", 32),
        ({"pass@k:k=1&n=4": 0.2, "pass@k:k=1&n=16": 0.3, "pass@k:k=1": 0.1}, "pass@k:k=1&n=16", 16),
        ({"pass@k:k=1": 0.2, "avg@n:n=64": 0.3}, "avg@n:n=64", 64),
        ({"codegen_pass@1:16": 0.3, "pass@1:4_samples": 0.1}, "codegen_pass@1:16", 16),
        ({"acc": 0.3, "f1": 0.9, "g-pass@16:0.5": 0.8, "pass@k": 0.7, "judge_score": 0.6}, "acc", 1),
        ({"text": "yes", "flag": True, "none": None, "acc_stderr": 0.2, "acc": 0.3}, "acc", 1),
    ],
)
def test_accuracy_is_the_metric_with_the_most_samples(metrics, taken, samples, tmp_path):
    lighteval(tmp_path / "results_1.json", {"aime24": {**metrics, f"{taken}_stderr": 0.01}})
    run = only(tmp_path)
    assert run.results[0]["aime24"] == Score({"accuracy": 0.3}, {"accuracy": 0.01}, sampling={"samples": samples})
    several = len([name for name in metrics if metrics[name] not in ("yes", True, None) and "stderr" not in name]) > 1
    assert any(f"aime24: accuracy is {taken}, of " in note for note in run.notes) == several
    backwards = dict(reversed(metrics.items()))
    lighteval(tmp_path / "results_1.json", {"aime24": {**backwards, f"{taken}_stderr": 0.01}})
    assert only(tmp_path) == run


def test_pass_at_k_and_majority_are_measures(tmp_path):
    metrics = {"pass@k:k=1&n=16": 0.25, "pass@k:k=8&n=16": 0.5, "pass@k:k=8&n=32": 0.625, "maj@16": 0.375}
    metrics |= {"pass@k:k=8&n=32_stderr": 0.125}
    lighteval(tmp_path / "results_1.json", {"aime24": metrics})
    score = only(tmp_path).results[0]["aime24"]
    assert score.means == {"accuracy": 0.25, "pass@8": 0.625, "majority": 0.375}
    assert score.errors == {"pass@8": 0.125} and score.sampling == {"samples": 16}


@pytest.mark.parametrize(
    ("write_results", "one", "other"),
    [(lighteval, "acc", "acc_norm"), (lm_eval, "exact_match,flexible-extract", "exact_match,strict-match")],
)
def test_between_several_accuracies_the_user_chooses(write_results, one, other, tmp_path):
    write_results(tmp_path / "results_1.json", {"gsm8k": {one: 0.25, other: 0.5}})
    with pytest.raises(ValueError, match=f"several metrics are accuracy: {one}, {other}. Name one with --metric"):
        only(tmp_path)
    for name, value in ((one, 0.25), (other, 0.5)):
        assert only(tmp_path, metric=name).results[0]["gsm8k"].means == {"accuracy": value}
    write_results(tmp_path / "results_1.json", {"gsm8k": {one: 0.5, other: 0.5}})
    assert only(tmp_path).results[0]["gsm8k"].means == {"accuracy": 0.5}


@pytest.mark.parametrize(("write_results", "name"), [(lighteval, "f1"), (lm_eval, "f1,none")])
def test_a_metric_that_is_no_accuracy_is_read_if_it_is_named(write_results, name, tmp_path):
    write_results(tmp_path / "results_1.json", {"drop": {name: 0.25}})
    with pytest.raises(ValueError, match=rf"drop is left out\. It has: {name}\. Name a metric with --metric"):
        only(tmp_path)
    run = only(tmp_path, metric=name)
    assert run.results[0]["drop"].means == {name: 0.25} and f"drop: {name} is a plain number" in run.notes[0]
    assert only(tmp_path, metric=name, unit="share").results[0]["drop"].means == {"accuracy": 0.25}
    assert only(tmp_path, metric=name, unit="percent").results[0]["drop"].means == {"accuracy": 0.0025}
    write_results(tmp_path / "results_1.json", {"drop": {name.replace("f1", "acc"): 0.5}})
    with pytest.raises(ValueError, match=rf"has no {name}\. It has: "):
        only(tmp_path, metric=name)
    assert only(tmp_path, metric="accuracy").results[0]["drop"].means == {"accuracy": 0.5}


def test_of_several_files_in_a_folder_the_newest_by_name_counts(tmp_path):
    for name, accuracy in (("results_2", 0.2), ("results_3", 0.3), ("results_1", 0.1)):
        lighteval(tmp_path / "checkpoint-5" / f"{name}.json", {"aime24": accuracy})
    run = only(tmp_path)
    assert run.results[5]["aime24"].mean("accuracy") == 0.3
    assert "2 scores repeat a step and benchmark; the newest file counts." in run.notes[0]


# models


@pytest.mark.parametrize("write_results", [lighteval, lm_eval])
def test_two_models_are_two_runs(write_results, tmp_path):
    accuracies = {"me/grpo-seed1": 0.25, "me/grpo-seed2": 0.375, "me/mmr-seed1": 0.5}
    for model, accuracy in accuracies.items():
        for step in (50, 100):
            folder = tmp_path / "out" / f"{model}_step-{step}"
            write_results(
                folder / "results_1.json", {"gsm8k": {"acc": accuracy, "acc,none": accuracy}}, f"{model}_step-{step}"
            )
    runs = read_json(tmp_path / "out")
    assert {run.name: list(run.results) for run in runs} == {model: [50, 100] for model in accuracies}
    assert [run.results[50]["gsm8k"].mean("accuracy") for run in runs] == list(accuracies.values())
    assert [run.seed for run in runs] == [1, 2, 1]
    assert runs[0].group == runs[1].group != runs[2].group
    beside = read_json(tmp_path / "out", named=RunName("x", "/w/x", None))
    assert [run.name for run in beside] == [f"x/{model}" for model in accuracies]


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        (("a", "me/m", "gsm8k"), ("b", "me/m", "math"), 1),  # a folder for each task
        (("a", "me/m", "gsm8k"), ("b", "me/m", "gsm8k"), 2),
        (("a", "me/m", "gsm8k"), ("a", "me/n", "math"), 2),
        (("a", None, "gsm8k"), ("b", None, "math"), 2),
        (("a", None, "gsm8k"), ("a", None, "math"), 1),
        (("checkpoint-1/a", None, "gsm8k"), ("checkpoint-2/a", None, "gsm8k"), 1),
    ],
)
def test_files_are_one_run_only_if_the_model_is_the_same(first, second, count, tmp_path):
    for number, (folder, model, task) in enumerate((first, second)):
        lighteval(tmp_path / "out" / folder / f"results_{number}.json", {task: 0.25 + number / 4}, model)
    runs = read_json(tmp_path / "out")
    assert len(runs) == count == len({run.group for run in runs}) == len({run.name for run in runs})
    values = [score.mean("accuracy") for run in runs for scores in run.results.values() for score in scores.values()]
    assert sorted(values) == [0.25, 0.5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, -0.1, 10**400])
def test_values_that_are_not_shares_are_left_out_with_a_note(value, tmp_path):
    lighteval(tmp_path / "results_1.json", {"aime24": {"extractive_match": value}, "amc23": 0.5})
    run = only(tmp_path)
    assert list(run.results[0]) == ["amc23"] and "must be from 0 to 1" in run.notes[0]


# lm-evaluation-harness


def test_lm_eval_scores_come_out(tmp_path):
    results = {
        "humaneval": {"pass@1,create_test": 0.25, "pass@1_stderr,create_test": 0.125, "pass@10,create_test": 0.5},
        "gsm8k": {"exact_match,strict-match": 0.75, "exact_match_stderr,strict-match": "N/A"},
        "vote": {"exact_match,maj@64": 0.5, "exact_match,score-first": 0.375},
        "wiki": {"acc,none": 0.125, "acc_norm,none": 0.5},  # of acc_norm less is better
    }
    better = {"wiki": {"acc": True, "acc_norm": False}}
    samples = {"gsm8k": {"original": 1319, "effective": 50}}
    more = {"higher_is_better": better, "n-samples": samples}
    lm_eval(tmp_path / "results_2026-08-22.json", results, "ckpts/grpo/checkpoint-300", **more)
    run = only(tmp_path)
    assert run.results == {
        300: {
            "humaneval": Score({"accuracy": 0.25, "pass@10": 0.5}, {"accuracy": 0.125}),
            "gsm8k": Score({"accuracy": 0.75}, sampling={"limit": 50}),
            "vote": Score({"majority": 0.5, "accuracy": 0.375}),
            "wiki": Score({"accuracy": 0.125}),
        }
    }
    assert any("gsm8k: only 50 of 1319 problems" in note for note in run.notes)


@pytest.mark.parametrize("has_value", [True, False])
def test_a_group_and_its_tasks_are_not_both_counted(has_value, tmp_path):
    own = {"acc,none": 0.5} if has_value else {" ,none": " "}
    results = {"mmlu": own, "mmlu_stem": own, "algebra": {"acc,none": 0.25}, "law": {"acc,none": 0.75}}
    groups = {"mmlu": ["mmlu_stem", "law"], "mmlu_stem": ["algebra"], "algebra": [], "law": []}
    lm_eval(tmp_path / "results_1.json", results, group_subtasks=groups)
    run = only(tmp_path)
    assert list(run.results[0]) == (["mmlu"] if has_value else ["algebra", "law"])
    assert any("the value of the group counts; its 3 tasks" in note for note in run.notes) == has_value


@pytest.mark.parametrize("damage", [None, "mean", "twice", "text", "other", "cut"])
def test_samples_beside_give_the_accuracy_of_each_problem(damage, tmp_path):
    hits = [1.0, 0.0, 1.0, 1.0]
    lm_eval(
        tmp_path / "results_2026-01-02.json", {"gsm8k": {"exact_match,strict": 0.75, "exact_match_stderr,strict": 0.1}}
    )
    rows = [
        {"doc_id": number, "filter": chosen, "exact_match": hit if chosen == "strict" else 0.0}
        for number, hit in enumerate(hits)
        for chosen in ("strict", "flexible")
    ]
    if damage == "mean":
        rows[2]["exact_match"] = 1.0
    if damage == "twice":
        rows.append(rows[0])
    if damage == "text":
        rows[0]["exact_match"] = "yes"
    date = "2026-01-03" if damage == "other" else "2026-01-02"
    file = json_lines(tmp_path / f"samples_gsm8k_{date}.jsonl", rows)
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    run = only(tmp_path)
    score = run.results[0]["gsm8k"]
    if damage is None:
        assert score.by_problem("accuracy") == {str(number): hit for number, hit in enumerate(hits)}
    else:
        assert score == Score({"accuracy": 0.75}, {"accuracy": 0.1})
        assert any("is not used" in note for note in run.notes) == (damage != "other")
    assert score.mean("accuracy") == 0.75
