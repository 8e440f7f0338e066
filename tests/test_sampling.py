"""One way to sample: what a run measures of itself and what `manypaths evaluate` measures of it are the same."""

from __future__ import annotations

import json
import shutil

import datasets
import pytest
import yaml
from transformers import GenerationConfig
from trl import GRPOConfig, GRPOTrainer

from manypaths.cli import main
from manypaths.files import read_lines
from manypaths.sampling import Sampling, load_model
from manypaths.trl import DiverseGRPOTrainer

PROMPTS = ["12 + 7 =", "a", "The answer to everything is", "{x}", "9", "one two three four five six", "a\nb", "zz zz"]


def texts(path):
    return [[[one["text"], one["tokens"], one["truncated"]] for one in line["samples"]] for line in read_lines(path)]


@pytest.fixture
def many_ends(tiny_model, tmp_path):
    """The tiny model, whose generation_config ends completions at its `<|end|>`, A and B."""
    folder = tmp_path / "many_ends"
    shutil.copytree(tiny_model, folder)
    GenerationConfig(eos_token_id=[256, 65, 66], pad_token_id=257).save_pretrained(folder)
    return folder


GREEDY = {"max_new_tokens": 12}
SAMPLED = {"samples": 3, "temperature": 1.0, "top_p": 0.9, "batch_size": 5, "max_new_tokens": 12}


@pytest.mark.parametrize(
    ("dtype", "lora", "evaluation"),
    [("float32", True, GREEDY), ("float32", False, SAMPLED), ("bfloat16", True, SAMPLED)],
)
def test_a_run_evaluated_afterwards_gives_the_completions_of_its_own_evaluation(
    dtype, lora, evaluation, tiny_recipe, many_ends, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    tiny_recipe["model"] = {"name": str(many_ends), "dtype": dtype, "end_tokens": ["\n"]}
    tiny_recipe["lora"] = tiny_recipe["lora"] if lora else None
    tiny_recipe["rewards"], tiny_recipe["seed"] = {"accuracy": 1.0, "boxed": 0.5}, 7
    tiny_recipe["trainer"] |= {"max_steps": 2, "bf16": dtype == "bfloat16"}
    tiny_recipe["evaluation"] |= evaluation | {"every": None}
    tiny_recipe["evaluation"]["problems"]["options"]["count"] = 20
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["train", "tiny.yaml", "--out", "run"]) == 0
    assert main(["evaluate", "run", "--out", "again"]) == 0
    own = texts(tmp_path / "run" / "evaluation" / "after.jsonl")
    assert texts(tmp_path / "again" / "arithmetic.jsonl") == own
    assert any(len({text for text, *_ in each}) > 1 for each in own) == ("samples" in evaluation)
    assert "as the run evaluates itself.\n" in capsys.readouterr().out
    first, second = (
        json.loads((tmp_path / name / "settings.json").read_text()) for name in ("run/evaluation", "again")
    )
    assert first == second and {"dtype", "end_tokens", "seed", "batch_size", "backend"} < set(first)


def test_a_trainer_ends_completions_where_trl_does_and_where_the_recipe_says(many_ends, tmp_path):
    data = datasets.Dataset.from_list([{"prompt": "a"}] * 4)
    args = GRPOConfig(str(tmp_path), use_cpu=True, num_generations=2, per_device_train_batch_size=2, report_to="none")
    theirs = GRPOTrainer(str(many_ends), lambda prompts, **_: [0.0] * len(prompts), args, data)
    chosen = Sampling(dtype="float32", end_tokens=["\n", "A"])
    model, tokenizer = load_model(str(many_ends), chosen, on_cpu=True)
    ours = DiverseGRPOTrainer(model, lambda prompts, **_: [0.0] * len(prompts), args, data, processing_class=tokenizer)
    added = tokenizer("\nA", add_special_tokens=False).input_ids
    assert set(theirs.eos_token_ids) == {256, 65, 66}
    assert sorted(ours.eos_token_ids) == sorted({*theirs.eos_token_ids, *added}) and len(added) == 2
