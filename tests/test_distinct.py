"""Counts per problem that trainings and evaluations record, of a model that writes boxes, by several keys."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from statistics import fmean

import pytest
import torch
import yaml
from test_processes import start

from manypaths.cli import main
from manypaths.comparison.compare import compare
from manypaths.comparison.read import read
from manypaths.comparison.runs import read_run
from manypaths.files import read_json, read_jsonl

BOXES = ["1", "2", "3", "1.0", "2.0", "x"]


@pytest.fixture(scope="session")
def boxing_model(tiny_model, tmp_path_factory):
    """The tiny model with a token for each of some boxes, of which its completions consist."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_model), AutoModelForCausalLM.from_pretrained(tiny_model)
    tokenizer.add_tokens([f"\\boxed{{{answer}}}" for answer in BOXES])
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        head = model.get_output_embeddings().weight
        head.zero_()
        head[-len(BOXES) :].normal_(std=3.0)
    folder = tmp_path_factory.mktemp("boxing") / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "boxes.jsonl"
    rows = [{"question": "What?" + "?" * place, "answer": str(1 + place % 3)} for place in range(9)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def recipe(boxing_model, tiny_recipe, problems, tmp_path):
    changes = {
        "model": {"name": str(boxing_model), "dtype": "float32"},
        "problems": {"name": str(problems)},
        "rewards": {"accuracy": 1.0},
        "embedder": {"name": "ngram"},
        "trainer": {**tiny_recipe["trainer"], "max_steps": 2, "max_completion_length": 2},
        "evaluation": {
            "problems": {"name": str(problems)},
            "samples": 4,
            "temperature": 2.0,
            "max_new_tokens": 2,
            "batch_size": 8,
            "every": 1,
        },
    }
    path = tmp_path / "boxes.yaml"
    path.write_text(yaml.safe_dump({**tiny_recipe, **changes}))
    return path


def lengths(completions, problems):
    """A keys function: the lengths of the text and of its prompt; whoever mixes up problems gets other counts."""
    return torch.tensor([100 * len(problem) + len(text) for text, problem in zip(completions, problems, strict=True)])


def is_longest(completions, problems, size):
    """A keys function of whole groups: whether a completion is as long as the longest of its group."""
    assert size == 4 and len(completions) % size == 0
    longest = [max(map(len, completions[place - place % size :][:size])) for place in range(len(completions))]
    return torch.tensor([int(len(text) == most) for text, most in zip(completions, longest, strict=True)])


def broken(completions, problems):
    raise RuntimeError("no\nkeys\x1b")


def value(sample, line):
    """The key `answer` of a right completion, whose answer is a number here."""
    return float(sample["answer"])


KEYS = {
    "answer": value,
    "text": lambda sample, line: sample["text"],
    "test_distinct.lengths": lambda sample, line: len(sample["text"]),
    "test_distinct.is_longest": lambda sample, line: (
        len(sample["text"]) == max(len(other["text"]) for other in line["samples"])
    ),
}


def by_hand(line, key):
    """What counts.json should have of a line."""
    right = [sample for sample in line["samples"] if sample["correct"]]
    keys = Counter(key(sample, line) for sample in right)
    answers = Counter(
        sample["answer"].removesuffix(".0") for sample in line["samples"] if sample["answer"] is not None
    ).most_common()
    top = [answer for answer, count in answers if count == answers[0][1]]
    majority = fmean(answer == line["answer"] for answer in top) if top else 0.0
    return [len(line["samples"]), len(right), sorted(keys.values(), reverse=True), pytest.approx(majority)]


def assert_counted(folder, names, key):
    """The counts of each moment, or set, are those of its lines, and all sorts of them occur."""
    counts, kinds = read_json(folder / "counts.json"), set()
    assert list(counts) == list(names)
    for name, own in counts.items():
        own = own.get("boxes", own)
        lines = read_jsonl(folder / f"{name}.jsonl")
        assert own == {line["id"]: by_hand(line, key) for line in lines} and len(lines) == 9
        kinds |= {(0 < right < samples, right > 1) for samples, right, *_ in own.values()}
    assert {(True, True), (False, False)} <= kinds


def expected(line, key, k):
    """(pass@k, distinct@k) of a line: means over all k of its completions."""
    draws = [
        {key(sample, line) for sample in draw if sample["correct"]}
        for draw in itertools.combinations(line["samples"], k)
    ]
    return fmean(map(bool, draws)), fmean(map(len, draws))


@pytest.mark.parametrize("keys", KEYS)
def test_a_training_records_the_counts_of_its_completions(keys, recipe, tmp_path):
    words = [str(recipe), f"evaluation.keys={keys}"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    evaluation = tmp_path / "run" / "evaluation"
    assert_counted(evaluation, ("before", "step-1", "after"), KEYS[keys])
    assert not (evaluation / "shares.json").exists() and read_json(evaluation / "settings.json")["keys"] == keys
    results, summary = read_run(tmp_path / "run").results, read_json(evaluation / "summary.json")
    for step, when in enumerate(summary):
        score, lines = results[step]["boxes"], read_jsonl(evaluation / f"{when}.jsonl")
        assert score.measures == ["accuracy", "pass@2", "pass@4", "distinct@4", "majority"]
        for k in (1, 2, 3, 4):
            solved, distinct = map(fmean, zip(*(expected(line, KEYS[keys], k) for line in lines), strict=True))
            assert score.mean(f"pass@{k}") == pytest.approx(solved) == summary[when]["pass_at"][str(k)]
            assert score.mean(f"distinct@{k}") == pytest.approx(distinct) == summary[when]["distinct_at"][str(k)]
        assert score.mean("majority") == pytest.approx(summary[when]["majority"])
        assert score.sampling["keys"] == keys


def test_two_processes_record_the_counts_of_one(recipe, tmp_path):
    words = [recipe, "evaluation.keys=test_distinct.lengths", "trainer.per_device_train_batch_size=4"]
    process = start(*words, "--out", tmp_path / "two")
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
    assert_counted(tmp_path / "two" / "evaluation", ("before", "step-1", "after"), KEYS["test_distinct.lengths"])
    assert main(["train", *map(str, words), "trainer.max_steps=1", "--out", str(tmp_path / "one")]) == 0
    of_two, of_one = (read_json(tmp_path / name / "evaluation" / "counts.json")["before"] for name in ("two", "one"))
    assert of_two == of_one


@pytest.fixture
def evaluated(boxing_model, problems, tmp_path):
    """Evaluate the model with some keys, into one folder -> (exit code, the folder)."""

    def run(*words):
        out = tmp_path / "results"
        named = ["--problems", str(problems), "--samples", "4", "--temperature", "2", "--max-new-tokens", "2"]
        return main(["evaluate", str(boxing_model), *named, "--dtype", "float32", *words, "--out", str(out)]), out

    return run


def test_results_are_counted_again_by_other_keys_and_not_sampled_again(evaluated):
    code, out = evaluated()
    before = (out / "boxes.jsonl").read_bytes()
    assert code == 0 and read_json(out / "settings.json")["keys"] == "answer"
    assert_counted(out, ["boxes"], KEYS["answer"])
    for keys, key in KEYS.items():
        assert evaluated("--keys", keys) == (0, out)
        assert_counted(out, ["boxes"], key)
        assert read_json(out / "settings.json")["keys"] == keys and (out / "boxes.jsonl").read_bytes() == before
    settings = read_json(out / "settings.json")
    del settings["keys"]  # as an earlier version wrote it
    (out / "settings.json").write_text(json.dumps(settings))
    (out / "counts.json").unlink()
    ((run,), _) = read([out])
    assert evaluated() == (0, out)
    assert_counted(out, ["boxes"], KEYS["answer"])
    ((again,), _) = read([out])
    assert run.results == again.results and run.settings == again.settings


def test_a_keys_function_that_fails_costs_distinct_right_answers_alone(evaluated, recipe, tmp_path, capsys):
    code, out = evaluated("--keys", "test_distinct.broken")
    note = "boxes.jsonl: the keys function 'test_distinct.broken' failed (RuntimeError: no keys\\x1b)"
    assert code == 0 and note in capsys.readouterr().err
    counts, summary = read_json(out / "counts.json")["boxes"], read_json(out / "summary.json")["boxes"]
    assert all(own[2] is None for own in counts.values()) and summary["distinct_at"] is None
    assert summary["pass_at"]["4"] > 0 and len(read_jsonl(out / "boxes.jsonl")) == 9
    assert evaluated("--keys", "text") == (0, out)
    assert_counted(out, ["boxes"], KEYS["text"])
    words = [str(recipe), "evaluation.keys=test_distinct.broken", "trainer.max_steps=1"]
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    assert "before.jsonl: the keys function" in capsys.readouterr().err
    run = read_run(tmp_path / "run")
    assert run.results[1]["boxes"].measures == ["accuracy", "pass@2", "pass@4", "majority"]
    assert run.notes == ["run has no distinct@K in 2 of 2 evaluations, which did not count by key."]


def test_an_unknown_keys_function_is_refused_before_anything_is_sampled(evaluated, recipe, capsys):
    code, out = evaluated("--keys", "equation")
    assert code == 2 and not out.exists() and "did you mean 'equations'?" in capsys.readouterr().err
    assert main(["train", str(recipe), "evaluation.keys=equation", "--dry-run"]) == 2
    assert "did you mean 'equations'?" in capsys.readouterr().err


def test_other_keys_are_a_caution_of_distinct_right_answers_alone(recipe, tmp_path):
    for name, keys in (("a", "answer"), ("b", "text"), ("c", "answer")):
        words = [
            str(recipe),
            f"evaluation.keys={keys}",
            "trainer.max_steps=1",
            f"method.options.lam=0.{ord(name) - 92}",
        ]
        assert main(["train", *words, "--out", str(tmp_path / name)]) == 0
    runs = {run.name: run for run in read([tmp_path / name for name in "abc"])[0]}
    notes = compare([runs["a"], runs["b"]])["notes"]
    assert (
        "distinct@K was counted by different keys (a by answer; b by text), so that its differences mean nothing."
        in notes
    )
    assert not any("difference in accuracy" in note for note in notes)
    notes = compare([runs["a"], runs["c"]])["notes"]
    assert any("distinct@K is pass@K here" in note for note in notes) and not any(
        "different keys" in note for note in notes
    )
    for run in (runs["a"], runs["b"]):  # of one completion, so without distinct@K
        for scores in run.results.values():
            scores["boxes"].counts = {
                id: own._replace(samples=1, right=0, by_key=()) for id, own in scores["boxes"].counts.items()
            }
    assert not any("distinct@K" in note for note in compare([runs["a"], runs["b"]])["notes"])
