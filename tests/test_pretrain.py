"""`manypaths pretrain`: models by seed, new or existing, their demonstrations, and `train` with them."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
import torch

from manypaths import checkpoint, recipe, run_folder
from manypaths.cli import main
from manypaths.preflight import cold_start
from manypaths.problems import Problem, load
from manypaths.sections import Pretrain
from manypaths.training.command import demonstrated
from manypaths.training.pretrain import CHARACTERS, character_tokenizer, completion_of, demonstrations
from manypaths.verifiers import VERIFIERS
from manypaths.verifiers.countdown import target_and_numbers

SMALL = [
    "tiny-0.2m",
    "colouring",
    "problems.options.count=40",
    "problems.options.nodes=4",
    "problems.options.joined=[3,5]",
    "model.architecture.hidden_size=16",
    "model.architecture.intermediate_size=16",
    "model.architecture.num_hidden_layers=1",
    "model.architecture.num_attention_heads=2",
    "model.architecture.num_key_value_heads=2",
    "pretrain.count=64",
    "pretrain.trainer.max_steps=3",
    "pretrain.trainer.per_device_train_batch_size=8",
]


def test_a_model_from_scratch_is_equal_by_seed_and_trains_as_any_other(tmp_path, capsys):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert main(["pretrain", *SMALL, f"seed={seed}", "--out", str(tmp_path / name)]) == 0
    output = capsys.readouterr().out
    assert "parameters, 64 demonstrations of 40 problems, 1 or 2 each, read 0.375 times" in output
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[0] == weights[1] != weights[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]
    model, tokenizer = checkpoint.load(str(tmp_path / "a"), dtype="float32")
    assert model.config.eos_token_id == tokenizer.eos_token_id and len(tokenizer) == model.config.vocab_size
    short = ["trainer.max_steps=2", "trainer.per_device_train_batch_size=16", "evaluation.problems.options.count=4"]
    short += ["evaluation.problems.options.nodes=4", "evaluation.problems.options.joined=[3,5]", "evaluation.samples=4"]
    run = ["train", *SMALL, "grpo", "none", f"model.name={tmp_path / 'a'}", *short, "--out", str(tmp_path / "run")]
    assert main(run) == 0
    summary = run_folder.final_summary(tmp_path / "run")
    assert summary["steps"] == 2 and set(summary["evaluation"]) == {"before", "after"}
    lines = [json.loads(line) for line in (tmp_path / "run/evaluation/after.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    for line in lines:
        for sample in line["samples"]:
            assert sample["correct"] == VERIFIERS["colouring"].is_right(sample["text"], line["answer"])
            assert sample["answer"] == VERIFIERS["colouring"].read(sample["text"])
    for group in run_folder.stream_groups(tmp_path / "run"):
        for own in group["completions"]:
            assert own["rewards"]["accuracy"] == VERIFIERS["colouring"].is_right(own["text"], group["answer"])


def test_an_existing_model_goes_on_from_its_weights_with_its_own_tokenizer(tmp_path, capsys):
    assert main(["pretrain", *SMALL, "--out", str(tmp_path / "new")]) == 0
    existing = [word for word in SMALL[2:] if "architecture" not in word]
    existing = ["smollm2-135m", "colouring", *existing, f"model.name={tmp_path / 'new'}", "model.dtype=float32"]
    still = [*existing, "pretrain.trainer.learning_rate=0"]
    assert main(["pretrain", *still, "--out", str(tmp_path / "still")]) == 0
    assert main(["pretrain", *existing, "--out", str(tmp_path / "moved")]) == 0
    weights = [
        dict(checkpoint.load(str(tmp_path / name), dtype="float32")[0].named_parameters())
        for name in ("new", "still", "moved")
    ]
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[0].items())
    assert not any(torch.equal(weights[2][name], weight) for name, weight in weights[0].items())
    tokenizers = [json.loads((tmp_path / name / "tokenizer.json").read_text()) for name in ("new", "still")]
    assert tokenizers[0] == tokenizers[1]
    capsys.readouterr()
    assert main(["pretrain", *existing]) == 2
    assert "--out must be the folder" in capsys.readouterr().err


def spec_of(*words):
    return recipe.read([word for word in words if "=" not in word], [word for word in words if "=" in word])


OPTIONS = "{count: 30, seed: 5, nodes: 4, colours: 3, joined: [3, 5], ways: many}"
OTHERS = f"pretrain.problems={{name: colouring, options: {OPTIONS}}}"


def test_a_model_learns_the_problems_of_its_cold_start_whatever_it_is_to_be_trained_on(tmp_path, capsys):
    directly = [*SMALL, "problems.options.count=30", "problems.options.seed=5"]
    for name, words in {"directly": directly, "apart": [*SMALL, OTHERS], "of the training": SMALL}.items():
        assert main(["pretrain", *words, "--out", str(tmp_path / name)]) == 0
    assert capsys.readouterr().out.count("64 demonstrations of 30 problems, 2 or 3 each") == 2
    weights = {path.name: (path / "model.safetensors").read_bytes() for path in tmp_path.iterdir()}
    assert weights["apart"] == weights["directly"] != weights["of the training"]
    same, apart, other = (cold_start.made_of(spec_of(*words)) for words in (directly, [*SMALL, OTHERS], SMALL))
    assert same == apart != other
    recorded = recipe.read_recorded(tmp_path / "apart" / run_folder.PRETRAINED)
    assert recorded == spec_of(*SMALL, OTHERS) and cold_start.made_of(recorded) == apart


def test_no_held_out_problem_has_the_numbers_of_a_demonstration():
    options = {"numbers": 3, "largest": 12, "target": [1, 20], "ways": "any"}
    words = ["tiny-0.2m", "countdown", f"pretrain.problems={json.dumps({'name': 'countdown', 'options': options})}"]
    spec = spec_of(*words, "pretrain.problems.options.count=1500", "evaluation.problems.options.largest=9")
    shown = load(spec.pretrain.problems.name, options=spec.pretrain.problems.options)
    held_out = load("countdown", options={**options, "count": 100, "seed": 2, "held_out": True})
    numbers = [{target_and_numbers(problem.answer)[1] for problem in part} for part in (shown, held_out)]
    assert cold_start.demonstrated(spec) == spec.pretrain.problems and not numbers[0] & numbers[1]
    assert cold_start.demonstrated(spec_of("tiny-0.2m", "countdown")) == spec_of("tiny-0.2m", "countdown").problems


def test_every_problem_is_demonstrated_equally_often_and_other_ways_are_as_rare_as_asked():
    problems = load("colouring", options={"count": 50, "seed": 1})
    pairs = demonstrations(problems, "{question}=", Pretrain(count=5000, rare=0.2), 7)
    assert Counter(Counter(prompt for prompt, _ in pairs).values()) == {100: 50}
    by_prompt = {f"{problem.question}=": problem for problem in problems}
    others = [way != by_prompt[prompt].ways[0] for prompt, way in pairs]
    assert abs(sum(others) / 5000 - 0.2) < 0.02
    assert all(way in by_prompt[prompt].ways for prompt, way in pairs)
    assert pairs == demonstrations(problems, "{question}=", Pretrain(count=5000, rare=0.2), 7)
    assert pairs != demonstrations(problems, "{question}=", Pretrain(count=5000, rare=0.2), 8)
    never = demonstrations(problems, "{question}=", Pretrain(count=500, rare=0.0), 7)
    assert all(way == by_prompt[prompt].ways[0] for prompt, way in never)
    evenly = Counter(way for _, way in demonstrations(problems[:1], "{question}", Pretrain(count=6000, rare=None), 7))
    expected = 6000 / len(problems[0].ways)
    assert set(evenly) == set(problems[0].ways) and all(abs(n - expected) < 5 * expected**0.5 for n in evenly.values())


@pytest.mark.parametrize(
    ("count", "size", "words"),
    [
        (30_000, 1500, "30,000 demonstrations of 1,500 problems, 20 each"),
        (64, 40, "64 demonstrations of 40 problems, 1 or 2 each"),
        (40, 2000, "40 demonstrations of 40 of 2,000 problems, 1 each"),
    ],
)
def test_the_count_by_problem_is_what_is_demonstrated(count, size, words):
    assert demonstrated(count, size) == words
    problems = [Problem(str(number), f"question {number}", "1", ways=("1",)) for number in range(size)]
    pairs = demonstrations(problems, "{question}", Pretrain(count=count), 1)
    often = set(Counter(prompt for prompt, _ in pairs).values())
    assert words.endswith(f"{' or '.join(map(str, sorted(often)))} each")


def test_a_sum_is_demonstrated_with_its_answer_in_a_box():
    (sum_,) = load("arithmetic", options={"count": 1, "seed": 0})
    for way in sum_.ways:
        assert completion_of(sum_, way) == f"{way[: -len(sum_.answer)]}\\boxed{{{sum_.answer}}}"
    with pytest.raises(ValueError, match="worked solutions"):
        demonstrations([Problem("x", "q", "4")], "{question}", Pretrain(), 1)


def test_the_tokenizer_has_one_token_for_each_character_and_gives_the_text_back():
    tokenizer, rng = character_tokenizer(), random.Random(0)
    for _ in range(100):
        text = "".join(rng.choice(CHARACTERS) for _ in range(30))
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == 30 and tokenizer.decode(ids) == text
    assert tokenizer("aéb")["input_ids"][1] == tokenizer.unk_token_id
    assert tokenizer.decode(tokenizer("ab<|end|>")["input_ids"], skip_special_tokens=True) == "ab"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["smollm2-135m", "colouring", "model.name=./nowhere"], "does not exist"),
        (["tiny-0.2m", "gsm8k", "prompt='{question}'"], "worked solutions"),
        (["tiny-0.2m", "arithmetic"], "prompt must be a text"),
        (["tiny-0.2m", "colouring", "model.architecture.hidden=3"], "model.architecture.hidden"),
        (["tiny-0.2m", "colouring", "model.architecture.hidden_size=63"], "model.architecture"),
        (["tiny-0.2m", "colouring", "pretrain.trainer.max_step=3"], "max_step"),
        (["tiny-0.2m", "colouring", "pretrain.trainer.seed=3"], "set by the run"),
        (["tiny-0.2m", "colouring", "pretrain.rare=2"], "pretrain.rare"),
        (
            ["tiny-0.2m", "colouring", "problems.options.count=9", "problems.options.held_out=true"],
            "problems.options.held_out must be false",
        ),
        (
            ["tiny-0.2m", "colouring", "pretrain.problems={name: colouring, options: {count: 9, held_out: true}}"],
            "pretrain.problems.options.held_out must be false",
        ),
        (["tiny-0.2m", "colouring", "pretrain.problems={options: {count: 5}}"], "no 'pretrain.problems.name'"),
        (["tiny-0.2m", "colouring", "pretrain.problems={name: colouring, count: 5}"], "pretrain.problems.count"),
        (["tiny-0.2m", "colouring", "pretrain.problems=colouring"], "pretrain.problems must be"),
        (["tiny-0.2m", "colouring", "pretrain.problems={name: colouring, limit: 0}"], "limit must be 1 or more"),
        (["tiny-0.2m", "colouring", "pretrain.problems={name: svamp}"], "worked solutions"),
        (
            ["smollm2-135m", "colouring", "model.name=./nowhere", "pretrain.problems={name: countdown, shuffle: 1}"],
            "shuffle must be left out",
        ),
        (["seed=3"], "Name a model"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(tmp_path, capsys, words, message):
    briefly = ["pretrain.count=8", "pretrain.trainer.max_steps=1", "pretrain.trainer.per_device_train_batch_size=2"]
    assert main(["pretrain", *briefly, *words, "--out", str(tmp_path / "new")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_folder_with_anything_in_it_is_left_as_it_is(tmp_path, capsys):
    (tmp_path / "mine").write_text("kept")
    assert main(["pretrain", *SMALL, "--out", str(tmp_path)]) == 2
    assert "not empty" in capsys.readouterr().err and (tmp_path / "mine").read_text() == "kept"


def test_a_run_without_its_cold_start_says_how_to_make_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, "grpo", "none", "--out", str(tmp_path / "run")]) == 2
    assert "manypaths pretrain MODEL PROBLEMS --out ./models/tiny-0.2m" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
