"""Runs of the command line on a tiny random model: the run folder, resuming after SIGKILL."""

import json
import time

import pytest
import yaml
from forked import run_command

from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.results import share_correct

STEPS = 6


@pytest.fixture
def recipe(tiny_recipe, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_recipe))
    return path


def letters(completions, **_):
    """A reward that varies among the completions of a random model."""
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


def seldom(completions, **_):
    """A reward with many zero-variance groups."""
    return [float(sum(map(ord, text)) % 5 == 0) for text in completions]


def repeatable(run):
    """The metrics of a run without times."""
    return [
        {key: value for key, value in line.items() if "seconds" not in key and "time" not in key}
        for line in read_jsonl(run / "metrics.jsonl")
    ]


def test_a_run_folder_is_complete(recipe, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", str(recipe), "--out", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "Accuracy on 8 held-out problems" in printed and str(run / "inspect.html") in printed
    for name in ("recipe.yaml", "environment.json", "inspect.html", "model", "checkpoints/checkpoint-6"):
        assert (run / name).exists(), name
    summary, counts = (json.loads((run / "evaluation" / name).read_text()) for name in ("summary.json", "counts.json"))
    assert {when: entry["step"] for when, entry in summary.items()} == {"before": 0, "step-3": 3, "after": STEPS}
    for when in summary:
        lines = read_jsonl(run / "evaluation" / f"{when}.jsonl")
        shares = {id: right / samples for id, (samples, right, *_) in counts[when]["arithmetic"].items()}
        assert shares == {line["id"]: share_correct(line) for line in lines} and len(lines) == 8
    metrics = read_jsonl(run / "metrics.jsonl")
    assert [line["step"] for line in metrics] == list(range(1, STEPS + 1))
    for line in metrics:
        parts = [line[f"seconds/{part}"] for part in ("sampling", "rewards", "embedding", "reweighting", "update")]
        assert min(parts) >= 0 and sum(parts) >= 0.9 * line["step_time"]
        assert 0.5 <= line["diversity/lam"] < 1 and -1 <= line["diversity/similarity"] <= 1
    groups = read_jsonl(run / "groups.jsonl")
    assert [(line["step"], line["group"]) for line in groups] == [(s, g) for s in range(1, STEPS + 1) for g in (0, 1)]
    for group in groups:
        assert group["answer"].isdigit() and len(group["completions"]) == 4 and len(group["similarity"]) == 4
        assert abs(sum(completion["advantage"] for completion in group["completions"])) < 1e-3
        for index, completion in enumerate(group["completions"]):
            others = [(s, j) for j, s in enumerate(group["similarity"][index]) if j != index]
            assert completion["similarity"] == max(others)[0] == group["similarity"][index][completion["nearest"]]

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.jsonl")}
    assert main(["train", "--out", str(run)]) == 0  # finished already: says so again, changes nothing
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*.jsonl")}
    assert main(["train", str(recipe), "seed=2", "--out", str(run)]) == 2
    assert "seed: 1 there, seed: 2 here" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--max-new-tokens", "4", "--out", str(tmp_path / "again")]) == 0
    assert "| arithmetic | 8 " in capsys.readouterr().out
    briefly = ["--benchmarks", "svamp", "--limit", "2", "--samples", "1", "--temperature", "0", "--max-new-tokens", "2"]
    for model, step in ((run, STEPS), (run / "checkpoints" / "checkpoint-2", 2)):  # into the run, for `compare`
        assert main(["evaluate", str(model), *briefly]) == 0
        assert len(read_jsonl(run / "evaluation" / f"step-{step}" / "svamp.jsonl")) == 2


def test_fewer_groups_can_be_recorded(recipe, tmp_path, capsys):
    fewer = ["evaluation=null", "record.every=3", "record.groups=1", "trainer.save_strategy=no"]  # to YAML a false
    assert main(["train", str(recipe), *fewer, "--out", str(tmp_path / "run")]) == 0
    groups = read_jsonl(tmp_path / "run" / "groups.jsonl")
    assert [(line["step"], line["group"]) for line in groups] == [(1, 0), (3, 0), (6, 0)]
    assert not any((tmp_path / "run" / "checkpoints").iterdir())
    assert main(["train", str(recipe), "record.groups=0", "--out", str(tmp_path / "other")]) == 2
    assert "record.groups must be 1 or more, got 0" in capsys.readouterr().err


def test_steps_that_use_completions_again_are_recorded_too(recipe, tmp_path):
    run = tmp_path / "run"
    again = ["trainer.num_iterations=2", "trainer.max_steps=4", "evaluation=null", "method.importance_ratio=false"]
    assert main(["train", str(recipe), "trainer.use_bias_correction_kl=false", *again, "--out", str(run)]) == 0
    metrics = read_jsonl(run / "metrics.jsonl")
    assert [line["step"] for line in metrics] == [1, 2, 3, 4]
    assert ["reward" in line for line in metrics] == [line["seconds/sampling"] > 0 for line in metrics]
    assert all(line["seconds/update"] > 0 for line in metrics)
    assert [line["step"] for line in read_jsonl(run / "groups.jsonl")] == [1, 1, 3, 3]


def test_a_killed_run_ends_as_if_it_had_not_been(recipe, tmp_path):
    """With dynamic sampling and a real SIGKILL; test_resume.py has the moments at which a run writes."""
    overrides = ["rewards={test_run.seldom: 1.0}", "dynamic_sampling.reward=test_run.seldom"]
    overrides += ["trainer.learning_rate=1e-4"]
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    output = tmp_path / "output"
    process = run_command(["train", str(recipe), *overrides, "--out", str(uninterrupted)], output)
    process.join()
    assert process.exitcode == 0, output.read_text()
    process = run_command(["train", str(recipe), *overrides, "--out", str(killed)], output)
    while len(read_jsonl(killed / "metrics.jsonl")) < 3:  # past checkpoint-2, short of checkpoint-4
        assert process.is_alive(), output.read_text()
        time.sleep(0.001)
    process.kill()
    process.join()
    assert not (killed / "model").exists()
    with open(killed / "groups.jsonl", "a") as file:
        file.write('{"step": 3, "cut o')
    (killed / "checkpoints" / "checkpoint-4").mkdir(exist_ok=True)  # incomplete: killed before its last file
    (killed / "checkpoints" / "checkpoint-4" / "trainer_state.json").write_text("")
    process = run_command(["train", str(recipe), *overrides, "--out", str(killed)], output)
    process.join()
    assert process.exitcode == 0, output.read_text()
    assert repeatable(killed) == repeatable(uninterrupted)
    assert sum(line["dynamic_sampling/thrown_away"] for line in repeatable(uninterrupted)) > 0
    assert read_jsonl(killed / "groups.jsonl") == read_jsonl(uninterrupted / "groups.jsonl")
    for name in ("before.jsonl", "step-3.jsonl", "after.jsonl", "counts.json"):
        assert (killed / "evaluation" / name).read_text() == (uninterrupted / "evaluation" / name).read_text(), name


def test_evaluating_on_the_way_changes_nothing_else(recipe, tmp_path):
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    for run, every in ((often, "1"), (seldom, "null")):
        assert main(["train", str(recipe), f"evaluation.every={every}", "--out", str(run)]) == 0
    assert repeatable(often) == repeatable(seldom)
    assert len(json.loads((often / "evaluation" / "summary.json").read_text())) == STEPS + 1
