"""The run folder: what is read from it, also where an earlier version wrote it, and what a rewind drops."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from manypaths import run_folder
from manypaths.cli import main
from manypaths.comparison.runs import read_run
from manypaths.files import atomic_write, read_json, read_jsonl
from manypaths.names import PARTS
from manypaths.recipe import dump
from manypaths.resume import rewind

OLD = Path(__file__).parent / "data" / "old_run"  # of commit 5ee801e: three steps, with the checkpoint of the second


@pytest.fixture
def old_run(tiny_model, tmp_path, monkeypatch):
    """A copy of the old run, whose recipe names the model ./tiny-model; the tokenizer is that of the model."""
    (tmp_path / "tiny-model").symlink_to(tiny_model)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD, "run")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, Path("run", "model", name))
    return Path("run")


def test_a_run_of_an_earlier_version_is_finished(old_run, capsys):
    before = {path: path.read_bytes() for path in old_run.rglob("*") if path.is_file()}
    assert main(["train", "--out", "run"]) == 0
    assert "Seconds in 3 steps" in capsys.readouterr().out
    after = {path: path.read_bytes() for path in old_run.rglob("*") if path.is_file()}
    assert after.items() >= before.items()
    assert {path.name for path in after.keys() - before.keys()} == {"inspect.html", ".lock", "README.md", "recipe.yaml"}
    assert main(["inspect", "run"]) == main(["compare", "run"]) == 0
    assert "0.0" in capsys.readouterr().out
    assert main(["evaluate", "run", "--limit", "2", "--out", "again"]) == 0


def test_a_run_of_an_earlier_version_is_resumed_to_the_weights_it_would_have_had(old_run, tmp_path, capsys):
    (old_run / "model").rename("wanted")
    (old_run / "summary.json").unlink()
    assert main(["train", "--out", "run"]) == 0
    assert "step 3/3" in (printed := capsys.readouterr().out) and "step 2/3" not in printed
    weights, expected = (load_file(Path(folder) / "adapter_model.safetensors") for folder in ("run/model", "wanted"))
    torch.testing.assert_close(weights, expected)
    lines = [read_jsonl(folder / "groups.jsonl") for folder in (old_run, OLD)]
    texts = [[[completion["text"] for completion in group["completions"]] for group in groups] for groups in lines]
    assert texts[0] == texts[1]
    for name in ("before.jsonl", "after.jsonl"):
        assert (old_run / "evaluation" / name).read_bytes() == (OLD / "evaluation" / name).read_bytes()
    counts, shares = read_json(old_run / "evaluation" / "counts.json"), read_json(OLD / "evaluation" / "shares.json")
    wrong = [1, 0, [], 0.0]  # of one completion; also of the evaluation before training, which was not repeated
    assert counts == {when: {"arithmetic": dict.fromkeys(shares[when]["arithmetic"], wrong)} for when in shares}
    assert read_run(old_run).results == read_run(OLD).results and list(counts) == ["before", "after"]


def test_a_run_of_an_earlier_version_keeps_its_recipe(old_run, capsys):
    text = (old_run / "recipe.yaml").read_text()
    assert "policy_ratio: false" in text and run_folder.read_recipe(old_run).method.importance_ratio is False
    assert run_folder.read_recipe_content(old_run)["method"]["importance_ratio"] is False
    words = ["train", "old.yaml", "--out", "run"]
    Path("old.yaml").write_text(text)
    assert main(words) == 2
    assert "method.advantage must be grpo_pos, got 'positive'" in capsys.readouterr().err
    Path("old.yaml").write_text(text.replace("positive", "grpo_pos"))
    assert main(words) == 2
    assert "method.policy_ratio must have its name of today, method.importance_ratio" in capsys.readouterr().err
    Path("old.yaml").write_text(dump(run_folder.read_recipe(old_run)))
    assert main(words) == 0
    (old_run / "recipe.yaml").write_text(text.replace("policy_ratio: false", "policy_ratio: true"))
    assert main(["train", "--out", "run"]) == 2
    assert "was changed after its run began" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_is_of_one_configuration_with_a_new_run_of_its_recipe(old_run):
    shutil.copytree(old_run, "new")
    Path("new", "recipe.yaml").write_text(dump(run_folder.read_recipe(old_run, ["seed=2"])))
    first, second = (read_run(run) for run in (old_run, Path("new")))
    assert (
        first.settings == second.settings
        and first.group == second.group
        and (first.seed, second.seed) == (1, 2)
        and first.curves == second.curves
    )
    assert "diversity/vendi_score" in first.curves and "groups/zero_std" in first.curves


def test_names_that_are_no_part_of_a_run_are_left_out(tmp_path):
    checkpoints, evaluation = tmp_path / "checkpoints", tmp_path / "evaluation"
    for name in ("checkpoint-10", "checkpoint-9", "checkpoint-best2", "damaged-checkpoint-8", "checkpoint-²"):
        (checkpoints / name).mkdir(parents=True)
    (checkpoints / "checkpoint-11").write_text("")
    assert [path.name for path in run_folder.checkpoints(tmp_path)] == ["checkpoint-9", "checkpoint-10"]
    for name in ("step-10", "step-9", "step-9-old", "mine"):
        atomic_write(evaluation / name / "settings.json", "{}")
    (evaluation / "step-8").mkdir()
    assert run_folder.benchmark_folders(tmp_path) == {step: evaluation / f"step-{step}" for step in (9, 10)}
    assert run_folder.benchmark_folder(tmp_path, 9) == evaluation / "step-9"


def test_a_run_is_named_by_its_folder_or_a_checkpoint_in_it(tmp_path):
    run = tmp_path / "run"
    assert run_folder.run_of(run) is None and run_folder.run_of(tmp_path) is None
    atomic_write(run / "recipe.yaml", "")
    assert run_folder.run_of(run) == run_folder.run_of(run / "checkpoints" / "checkpoint-2") == run
    assert run_folder.run_of(run / "evaluation" / "step-2") is None


def test_a_run_is_finished_with_its_summary_and_complete_with_its_weights(tmp_path):
    assert not run_folder.is_finished(tmp_path) and run_folder.final_summary(tmp_path) is None
    summary = run_folder.write_summary(tmp_path)
    assert run_folder.is_finished(tmp_path) and run_folder.final_summary(tmp_path) is None
    (tmp_path / "model").mkdir()
    assert run_folder.final_summary(tmp_path) == summary == read_json(tmp_path / "summary.json")


def test_a_folder_takes_the_lines_that_are_read_from_it(tmp_path):
    for step in (1, 2):
        run_folder.append_metrics(tmp_path, {"step": step, "seconds/update": step, "seconds/sampling": None})
        run_folder.append_groups(tmp_path, [{"step": step, "group": group} for group in (0, 1)])
    lines = run_folder.read_metrics(tmp_path)
    assert [line["step"] for line in lines] == [1, 2]
    assert [(line["step"], line["group"]) for line in run_folder.stream_groups(tmp_path)] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    coarse = list(run_folder.seconds_between([lines[1]]))
    assert coarse == [(2, dict.fromkeys(PARTS, 0.0) | {"update": 4.0})]


@pytest.mark.parametrize("old", [[], ["shares.json"]])
@pytest.mark.parametrize("trained", [False, True])
def test_a_rewind_drops_what_was_recorded_after_the_checkpoint(trained, old, tmp_path):
    moments, evaluation = ("before", "step-2", "step-4", "after"), tmp_path / "evaluation"
    for name in ("summary.json", "counts.json", *old):
        atomic_write(evaluation / name, json.dumps({moment: {} for moment in moments}))
    for name in [*(f"{moment}.jsonl" for moment in moments), "step-6.jsonl.part", "step-4/settings.json"]:
        atomic_write(evaluation / name, "")  # the last one is of `manypaths evaluate`
    atomic_write(tmp_path / "metrics.jsonl", '{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    rewind(tmp_path, 2, trained)
    kept = {"before", "step-2", *(["after"] if trained else [])}
    for name in ("summary.json", "counts.json", *old):
        assert set(read_json(evaluation / name)) == kept
    left = {path.name for path in evaluation.iterdir()}
    assert left == {*(f"{moment}.jsonl" for moment in kept), "step-4", "summary.json", "counts.json", *old}
    assert read_jsonl(tmp_path / "metrics.jsonl") == [{"step": 1}, {"step": 2}]


def test_recipes_differ_in_their_keys_and_not_in_shifted_lines():
    there = {"prompt": [{"role": "user", "content": "{question}"}], "rewards": {"accuracy": 1.0}, "seed": 1}
    here = {"prompt": "{question}", "rewards": {"accuracy": 1.0, "own": 2}, "seed": 1}
    assert run_folder.differences(there, here) == [
        'prompt: [{"role": "user", "content": "{question}"}] there, prompt: "{question}" here',
        "nothing there, rewards.own: 2 here",
    ]
    assert run_folder.differences(there, {**there, "seed": 1.0}) == []
    assert run_folder.differences({"lora": None}, {"lora": {"r": 2}}) == [
        "lora: null there, nothing here",
        "nothing there, lora.r: 2 here",
    ]
