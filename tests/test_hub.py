"""Trainings and runs on the hub, which a local stand-in takes the place of."""

from __future__ import annotations

import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import test_callbacks
import yaml
from hub_server import TOKEN, serving

from manypaths.callbacks import EvaluateProblems
from manypaths.cli import main
from manypaths.trl import DiverseGRPOTrainer


@pytest.fixture
def hub(monkeypatch):
    """The stand-in, which the hub's client asks."""
    with serving() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)  # made once, with the address of that time
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub
        assert not hub.unknown


def test_a_recipe_with_push_to_hub_ends_with_a_model_on_the_hub(hub, tiny_recipe, tmp_path, capsys):
    tiny_recipe["trainer"] |= {
        "max_steps": 2,
        "push_to_hub": True,
        "hub_private_repo": True,
        "hub_model_id": "ada/tiny",
    }
    tiny_recipe["rewards"] = {"accuracy": 1.0, "boxed": 0.5}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(run)]) == 0
    assert f"Model: {hub.endpoint}/ada/tiny" in capsys.readouterr().out
    files = hub.files["models/ada/tiny"]
    assert hub.private["models/ada/tiny"] is True and hub.messages[-1] == "Weights after the training run"
    for name in ("README.md", "recipe.yaml", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"):
        assert files[name] == (run / "model" / name).read_bytes(), name
    after = json.loads((run / "evaluation" / "summary.json").read_text())["after"]
    assert f"{after['accuracy']:.1%}" in files["README.md"].decode() and b"with MMR-GRPO, by" in files["README.md"]
    assert files["recipe.yaml"] == (run / "recipe.yaml").read_bytes()

    words = ["publish", str(run), "--to", "ada/tiny", "--dataset", "ada/tiny-groups", "--no-private"]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main([*words, "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert set(hub.files) == {"models/ada/tiny"} and "Nothing was sent or written." in listed
    assert main(words) == 0
    records = hub.files["datasets/ada/tiny-groups"]
    assert hub.private["datasets/ada/tiny-groups"] is False
    assert records["groups.jsonl"] == (run / "groups.jsonl").read_bytes()
    assert records["evaluation/after.jsonl"] == (run / "evaluation" / "after.jsonl").read_bytes()
    assert {f"  {name}" for name in records} <= {line.rpartition("  ")[0].rstrip() for line in listed.splitlines()} | {
        "  README.md"
    }
    front = yaml.safe_load(records["README.md"].decode().split("---")[1])
    assert {entry["config_name"]: entry["data_files"] for entry in front["configs"]} == {
        "groups": "groups.jsonl",
        "metrics": "metrics.jsonl",
        "evaluation": "evaluation/*.jsonl",
    }
    model = ["evaluate", str(run / "model"), "--problems", "svamp", "--limit", "1", "--max-new-tokens", "2"]
    assert main([*model, "--out", str(tmp_path / "evaluated")]) == 0  # weights, although recipe.yaml lies beside them


@pytest.mark.parametrize("strategy", ["every_save", "checkpoint", "all_checkpoints"])
def test_what_trl_pushes_with_a_checkpoint_has_no_arguments_of_the_trainer(hub, tiny_recipe, tmp_path, strategy):
    tiny_recipe["trainer"] |= {"max_steps": 2, "save_steps": 1, "save_strategy": "steps", "push_to_hub": True}
    tiny_recipe["trainer"] |= {"hub_model_id": "ada/tiny", "hub_strategy": strategy, "hub_always_push": True}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(run)]) == 0
    files = hub.files["models/ada/tiny"]
    assert any("Training in progress" in message for message in hub.messages), "TRL pushed no checkpoint"
    assert (run / "checkpoints" / "training_args.bin").is_file() and "adapter_model.safetensors" in files
    within = {"every_save": "", "checkpoint": "last-checkpoint/", "all_checkpoints": "checkpoint-2/"}[strategy]
    assert not within or f"{within}trainer_state.json" in files
    assert not [name for name in files if name.endswith("training_args.bin")]


def test_a_hub_that_refuses_stops_a_run_before_a_model_is_loaded(hub, tiny_recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    tiny_recipe["trainer"] |= {"push_to_hub": True, "hub_model_id": "ada/tiny"}
    tiny_recipe["model"]["name"] = str(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("no weights")
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "ada/tiny was not sent to the hub" in err and "401" in err and "hf auth login" in err
    assert "Traceback" not in err and not (tmp_path / "run").exists()


def test_a_token_in_a_recipe_is_refused_because_the_recipe_is_published(tiny_recipe, tmp_path, capsys):
    tiny_recipe["trainer"]["hub_token"] = "hf_secret"
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "trainer.hub_token must be left out" in err and "hf_secret" not in err and not (tmp_path / "run").exists()


def test_no_repository_is_made_for_a_recipe_with_a_credential(hub, tiny_recipe, tmp_path, capsys):
    tiny_recipe["trainer"] |= {"push_to_hub": True, "hub_model_id": "ada/tiny", "generation_kwargs": {"api_key": "sk"}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["train", str(tmp_path / "tiny.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert "got trainer.generation_kwargs.api_key" in capsys.readouterr().err
    assert not hub.files and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["{run}"], ["--to", "--dataset"]),
        (["{run}/gone", "--to", "a/b"], ["must be the folder of a run"]),
        (["{run}", "--to", "a/b"], ["no model/", "--dataset"]),
        (["{run}", "--dataset", "not a name"], ["not a name", "was not sent"]),
    ],
)
def test_what_cannot_be_published_is_one_line(words, expected, tmp_path, capsys):
    (tmp_path / "script.json").write_text("{}")
    assert main(["publish", *(word.format(run=tmp_path) for word in words)]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and all(word in err for word in expected), err


def test_a_script_pushes_trls_card_with_the_method_and_the_accuracy(hub, tiny_model, tmp_path):
    settings = {"push_to_hub": True, "hub_model_id": "ada/script", "hub_strategy": "end"}
    trainer = test_callbacks.trainer_of(tiny_model, tmp_path / "out", DiverseGRPOTrainer, steps=1, **settings)
    problems = [{"prompt": "1 + 1 = ", "answer": "2"}, {"prompt": "1 + 2 = ", "answer": "3"}]
    trainer.add_callback(EvaluateProblems(trainer, problems, tmp_path / "records", every=None, samples=2))
    trainer.train()
    trainer.save_model(str(tmp_path / "saved"))
    text = (tmp_path / "saved" / "README.md").read_text()
    assert {"README.md", "model.safetensors"} <= set(hub.files["models/ada/script"])
    pushed = hub.files["models/ada/script"]["README.md"].decode()
    after = json.loads((tmp_path / "records" / "evaluation" / "summary.json").read_text())["after"]
    for card in (text, pushed):
        assert "## Quick start" in card and "Cite TRL as" in card  # TRL's own
        assert "# Training with manypaths" in card and "with MMR-GRPO" not in card.partition("# Training with")[0]
        assert "`mmr`" in card and "NgramEmbedder" in card and "Wei, Kangda" in card
        assert f"{after['low']:.1%} to {after['high']:.1%}" in card
        assert "manypaths" in yaml.safe_load(card.split("---")[1])["tags"]


def test_trls_arguments_of_a_card_still_work_and_damaged_records_do_not_stop_a_training(tiny_model, tmp_path, capsys):
    trainer = test_callbacks.trainer_of(tiny_model, tmp_path / "out", DiverseGRPOTrainer, save_strategy="steps")
    trainer.create_model_card(model_name="my-model", dataset_name="ada/data", tags="own-tag")
    text = Path(tmp_path, "out", "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["datasets"] == "ada/data" and {"own-tag", "manypaths", "grpo", "trl"} <= {*front["tags"]}
    assert "# Model Card for my-model" in text and "The model was not evaluated" in text
    trainer.create_model_card()
    assert Path(tmp_path, "out", "README.md").read_text().count("# Training with manypaths") == 1

    callback = EvaluateProblems(trainer, [{"prompt": "1", "answer": "2"}], tmp_path / "records", samples=1)
    trainer.add_callback(callback)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "script.json").write_text("{")
    trainer.save_model()
    assert "The model card has no results" in capsys.readouterr().err
    assert "not evaluated" in Path(tmp_path, "out", "README.md").read_text()


def test_a_card_has_no_accuracy_of_other_weights(tiny_model, tmp_path, capsys):
    """A trainer that trained nothing, whose callback names the folder of an earlier training."""
    trainer = test_callbacks.trainer_of(tiny_model, tmp_path / "out", DiverseGRPOTrainer)
    trainer.add_callback(EvaluateProblems(trainer, [{"prompt": "1", "answer": "2"}], tmp_path / "records", samples=1))
    (tmp_path / "records" / "evaluation").mkdir(parents=True)
    (tmp_path / "records" / "script.json").write_text("{}")
    figures = {"step": 9, "accuracy": 0.75, "low": 0.5, "high": 0.9, "problems": 4, "samples": 1}
    (tmp_path / "records" / "evaluation" / "summary.json").write_text(json.dumps({"after": figures}))
    trainer.save_model()
    text = Path(tmp_path, "out", "README.md").read_text()
    assert "not evaluated" in text and "75.0%" not in text and "0 updates" in text
    assert "has those of step 9, not 0" in capsys.readouterr().err
    trainer.state.global_step = 9
    trainer.save_model()
    text = Path(tmp_path, "out", "README.md").read_text()
    assert "75.0%" in text and "9 updates" in text
