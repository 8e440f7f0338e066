"""One way to sample: a run's own evaluation and `manypaths evaluate` of the run give the same completions."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import datasets
import pytest
import yaml
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig
from trl import GRPOConfig, GRPOTrainer

from manypaths import __version__, recipe
from manypaths.cli import main
from manypaths.evaluation.generate import transformers_generate
from manypaths.evaluation.sampling import Sampling, end_in_vllm, load_model, of_recipe, own_sampling
from manypaths.files import only_writer, read_jsonl
from manypaths.trl import DiverseGRPOTrainer
from manypaths.typed import build

PROMPTS = ["12 + 7 =", "a", "The answer to everything is", "{x}", "9", "one two three four five six", "a\nb", "zz zz"]


def texts(path):
    return [
        [[sample[key] for key in ("text", "tokens", "truncated")] for sample in line["samples"]]
        for line in read_jsonl(path)
    ]


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
    tiny_recipe["trainer"] |= {"max_steps": 2, "save_steps": 1, "bf16": dtype == "bfloat16"}
    tiny_recipe["evaluation"] |= evaluation | {"every": 1}
    tiny_recipe["evaluation"]["problems"]["options"]["count"] = 10
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["train", "tiny.yaml", "--out", "run"]) == 0
    assert main(["evaluate", "run", "--out", "again"]) == 0
    own = texts(tmp_path / "run" / "evaluation" / "after.jsonl")
    assert texts(tmp_path / "again" / "arithmetic.jsonl") == own
    assert any(len({text for text, *_ in row}) > 1 for row in own) == ("samples" in evaluation)
    assert "Sampling as the run evaluates itself.\n" in capsys.readouterr().out
    first, second = (
        json.loads((tmp_path / name / "settings.json").read_text()) for name in ("run/evaluation", "again")
    )
    if not lora:  # else an adapter beside the weights here, and merged into them there
        assert main(["evaluate", "run/checkpoints/checkpoint-1", "--out", "checkpoint"]) == 0
        own = texts(tmp_path / "run" / "evaluation" / "step-1.jsonl")
        assert texts(tmp_path / "checkpoint" / "arithmetic.jsonl") == own
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


def test_a_model_that_names_no_end_runs_to_the_limit(tiny_model, tmp_path):
    folder = tmp_path / "endless"
    shutil.copytree(tiny_model, folder)
    GenerationConfig(pad_token_id=257).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token": None}))
    model, tokenizer = load_model(str(folder), Sampling(dtype="float32"), on_cpu=True)
    assert model.generation_config.eos_token_id is None and tokenizer.eos_token_id is None
    rows = transformers_generate(model, tokenizer, max_new_tokens=40, temperature=1.0)(PROMPTS, 4)
    assert {(sample.tokens, sample.truncated) for row in rows for sample in row} == {(40, True)}


def test_vllm_in_training_gets_the_tokens_that_end_completions(many_ends):
    model, _ = load_model(str(many_ends), Sampling(dtype="float32", end_tokens=["A"]), on_cpu=True)
    ends = model.generation_config.eos_token_id
    assert end_in_vllm(None, model) == {"stop_token_ids": ends} and len(ends) == 4
    kwargs = {"stop_token_ids": [7, ends[0]], "min_tokens": 2}
    assert end_in_vllm(kwargs, model) == {"stop_token_ids": [7, *ends], "min_tokens": 2}
    assert kwargs["stop_token_ids"] == [7, ends[0]]


OWN_SAMPLING = {"repetition_penalty": 1.5, "top_k": 3, "min_p": 0.3, "temperature": 0.1, "no_repeat_ngram_size": 1}
OWN_SAMPLING |= {"suppress_tokens": [32, 33], "typical_p": 0.2, "max_length": 5, "do_sample": True}


@pytest.mark.parametrize("drawn", [{}, {"temperature": 1.0, "top_p": 0.9, "seed": 3}])
def test_the_sampling_settings_of_a_generation_config_change_nothing(drawn, tiny_model, tmp_path):
    folder = tmp_path / "own"
    shutil.copytree(tiny_model, folder)
    GenerationConfig(eos_token_id=256, pad_token_id=257, **OWN_SAMPLING).save_pretrained(folder)
    actual = []
    for name in (tiny_model, folder):
        model, tokenizer = load_model(str(name), Sampling(dtype="float32"), on_cpu=True)
        actual.append(transformers_generate(model, tokenizer, max_new_tokens=16, **drawn)(PROMPTS, 2))
    assert actual[0] == actual[1]
    assert model.generation_config.top_k == 3, "it is restored"
    ignored = {"repetition_penalty", "top_k", "min_p", "no_repeat_ngram_size", "suppress_tokens", "typical_p"}
    assert set(own_sampling(model)) == ignored and not own_sampling(
        load_model(str(tiny_model), Sampling(), on_cpu=True)[0]
    )
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))  # it changes nothing yet
    assert transformers_generate(adapted, tokenizer, max_new_tokens=16, **drawn)(PROMPTS, 2) == actual[0]


def test_the_settings_are_the_runs_the_papers_or_plain_and_options_come_first(tiny_recipe):
    from manypaths.evaluation.command import PAPERS, _defaults

    tiny_recipe["evaluation"] |= SAMPLED
    spec = build(recipe.Recipe, tiny_recipe | {"seed": 5})
    assert _defaults(None, None, papers=False) == vars(Sampling())
    assert _defaults(None, None, papers=True) == vars(Sampling(**PAPERS))
    assert _defaults(spec, spec.evaluation, papers=False) == vars(Sampling(**SAMPLED, seed=5, dtype="float32"))
    assert _defaults(spec, None, papers=True) == vars(Sampling(**PAPERS, dtype="float32"))
    assert of_recipe(spec)["seed"] == 5


def test_options_are_printed_and_other_settings_do_not_resume(tiny_recipe, tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_model, "run/model")
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(tiny_recipe))
    words = ["evaluate", "run", "--limit", "2"]
    assert main([*words, "--temperature", "0.5", "--seed", "1"]) == 0
    departures = "but for temperature 0.5 (the run: 0.0), limit 2."
    assert departures in capsys.readouterr().out
    for more, difference in (
        (["--dtype", "bfloat16"], "dtype 'float32' there, 'bfloat16' here"),
        (["--batch-size", "3"], "batch_size 32 there, 3 here"),
        (["--seed", "2"], "seed 1 there, 2 here"),
    ):
        assert main([*words, "--temperature", "0.5", *more]) == 2
        assert difference in capsys.readouterr().err
    path = tmp_path / "evaluations" / "run" / "settings.json"
    settings = json.loads(path.read_text())
    del settings["dtype"]
    path.write_text(json.dumps(settings))
    assert main([*words, "--temperature", "0.5"]) == 2
    assert "dtype not recorded there, 'float32' here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "words", "expected"),
    [
        ("a/b", ["--model-name", "m"], "--model-name must be left out with the backend transformers"),
        ("a/b", ["--patience", "5"], "--patience must be left out with the backend transformers"),
        ("http://here/v1", ["--dtype", "float32", "--batch-size", "2"], "--dtype and --batch-size must be left out"),
        ("http://here/v1", ["--patience", "0"], "--patience must be above 0 seconds, got 0."),
        ("http://here/v1", ["--patience", "nan"], "--patience must be above 0 seconds, got nan."),
        ("a/b", ["--temperature", "nan"], "temperature must be 0 (greedy) or more, got nan."),
        ("a/b", ["--top-p", "0"], "top_p must be above 0"),
        ("a/b", ["--max-new-tokens", "0"], "max_new_tokens must be 1 or more, got 0."),
    ],
)
def test_options_that_would_do_nothing_are_refused(model, words, expected, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", model, "--problems", "svamp", "--limit", "1", *words, "--out", str(out)]) == 2
    assert expected in capsys.readouterr().err and not out.exists()


def test_an_evaluation_resumes_elsewhere_and_records_every_environment(tiny_model, tmp_path, monkeypatch, capsys):
    words = ["evaluate", str(tiny_model), "--problems", "arithmetic", "--max-new-tokens", "2", "--limit", "1"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "settings.json"
    first = json.loads(path.read_text())
    (here,) = first["environments"]
    assert here["device"] == "cpu" and here["versions"]["torch"] == version("torch")
    there = here | {"device": "cuda"}
    path.write_text(json.dumps(first | {"environments": [there]}))
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert json.loads(path.read_text())["environments"] == [there, here]


def test_an_unfinished_run_is_refused_with_what_to_do(tiny_recipe, tiny_model, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tiny_recipe))
    assert main(["evaluate", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert "not finished" in printed and f"manypaths train --out {folder}." in printed and printed.count("\n") == 1
    for step in (4, 12):
        (folder / "checkpoints" / f"checkpoint-{step}").mkdir(parents=True)
    assert main(["evaluate", str(folder)]) == 2
    assert f"{folder}/checkpoints/checkpoint-12" in capsys.readouterr().err
    shutil.copytree(tiny_model, folder / "model")
    assert main(["evaluate", str(folder), "--benchmarks", "svamp", "--limit", "1"]) == 2
    printed = capsys.readouterr().err
    assert "not finished" in printed and "summary.json" in printed and "Errno" not in printed


def test_two_evaluations_do_not_share_a_folder(tiny_model, tmp_path, capsys):
    with only_writer(tmp_path / "out"):
        words = ["evaluate", str(tiny_model), "--problems", "svamp", "--limit", "1", "--out", str(tmp_path / "out")]
        assert main(words) == 2
    assert "in use" in capsys.readouterr().err


def test_an_evaluation_in_several_processes_is_refused(tiny_model, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["evaluate", str(tiny_model), "--problems", "svamp", "--limit", "1"]) == 2
    assert "one process, got WORLD_SIZE=2" in capsys.readouterr().err


def test_the_package_is_a_command():
    done = subprocess.run([sys.executable, "-m", "manypaths", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, __version__)


def test_grading_without_math_verify_is_one_sentence(tmp_path):
    (tmp_path / "math_verify.py").write_text("raise ImportError('broken')")
    (tmp_path / "completions.jsonl").write_text('{"completion": "so \\\\boxed{x + 1}", "answer": "1 + x"}\n')
    command = [sys.executable, "-m", "manypaths.cli", "grade", "completions.jsonl"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "math-verify did not start: ImportError: broken" in done.stderr
