"""What a user types: the entry point in fresh processes, the example's command, the settings of docs/verl.md."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest
import torch
from verl.trainer.ppo.core_algos import get_policy_loss_fn

from manypaths.completion_inputs import CompletionInputs
from manypaths.embed import NgramEmbedder
from manypaths.methods import mmr
from manypaths.verl import adjusted_by_uid, logged
from manypaths.verl_plugin import register
from manypaths.verl_settings import GROUPED, Diversity

SCRIPT = Path(__file__).parents[2] / "src" / "manypaths" / "recipes" / "launch" / "verl-gsm8k.sh"


def python(elsewhere, code):
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.Popen(command, env=elsewhere, stdout=subprocess.PIPE, text=True)


def test_importing_verl_makes_the_trainer_known_and_loads_no_trainer(elsewhere):
    code = """
import sys, verl
print("manypaths.verl_plugin" in sys.modules, "manypaths.verl" in sys.modules, "verl.trainer.ppo.v1" in sys.modules)
from verl.trainer.ppo.v1 import get_trainer_cls
print(get_trainer_cls("manypaths").__module__)
"""
    first = python(elsewhere, code)
    other = python(elsewhere, "import manypaths.verl\n" + code)  # either may be imported first
    assert first.communicate(timeout=200)[0].split() == ["True", "False", "False", "manypaths.verl"]
    assert other.communicate(timeout=200)[0].split() == ["True", "True", "True", "manypaths.verl"]


def test_what_hinders_us_hinders_not_verl(monkeypatch):
    monkeypatch.setitem(sys.modules, "manypaths.verl", None)  # cannot be imported
    with pytest.warns(UserWarning, match=r"trainer_mode=manypaths is not available: ModuleNotFoundError"):
        register()


def test_the_example_reaches_the_trainer_in_verls_own_process(elsewhere, tmp_path):
    """verl's command takes every override, starts Ray and, in an actor of it, makes our trainer; that refuses the last.

    Before, the example writes the problems for verl.
    """
    ours = {"DATA": str(tmp_path), "PYTHON": sys.executable, "EMBEDDER": "ngram", "GPUS": "1"}
    small = ["ray_kwargs.ray_init.num_cpus=24", "transfer_queue.backend.SimpleStorage.num_data_storage_units=1"]
    command = ["bash", str(SCRIPT), *small, "+diversity.lam=1"]
    done = subprocess.run(
        command, env=elsewhere | ours, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    printed = done.stdout + done.stderr
    assert "ValueError: Unknown key diversity.lam." in printed, printed[-4000:]
    train, test = (pandas.read_parquet(tmp_path / f"{split}.parquet") for split in ("train", "test"))
    assert (len(train), len(test)) == (7473, 1319) and train["reward_model"][0]["ground_truth"] == "72"
    assert test["reward_model"].map(lambda row: row["ground_truth"].lstrip("-").isdigit()).mean() > 0.99


def test_every_setting_of_the_page_exists(configure):
    text = (Path(__file__).parents[2] / "docs" / "verl.md").read_text("utf-8")
    settings = re.findall(r"`(\+?[a-z_0-9.]+=[^`\s]+)`", text)
    assert len(set(settings)) > 12
    configure(*{setting.partition("=")[0]: setting for setting in settings}.values())  # Hydra refuses unknown keys
    for key in re.findall(r"`\+diversity\.(\w+)", text):
        assert key in {field.name for field in dataclasses.fields(Diversity)}
    named = text.partition("summed scores of siblings: ")[2].partition(".")[0].split()
    assert [name.strip(",") for name in named] == list(GROUPED)


def test_what_a_step_logs_is_on_the_page():
    text = (Path(__file__).parents[2] / "docs" / "verl.md").read_text("utf-8")
    raw, embeddings = torch.tensor([1.0, 0.0, 1.0]), torch.eye(3)
    of_texts = CompletionInputs(NgramEmbedder(), None, {"reweight": mmr}, {"reweight": ["rewards"]})
    _, groups = adjusted_by_uid("aaa", {"rewards": raw, "embeddings": embeddings}, (), of_texts, mmr)
    names = set(logged(groups))
    assert "diversity/similarity" in names and not [name for name in names if f"`{name}`" not in text]


def test_rgra_is_a_loss_of_verl():
    logps, advantages = torch.tensor([[-1.0, -2.0]], requires_grad=True), torch.tensor([[0.5, -3.0]])
    config = SimpleNamespace(global_batch_info={})
    mask = torch.ones(1, 2)
    loss, _ = get_policy_loss_fn("gpg")(logps.detach() - 1, logps, advantages, mask, "token-mean", config)
    torch.testing.assert_close(loss, -(logps * advantages).mean())
