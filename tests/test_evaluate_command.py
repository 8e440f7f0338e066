"""Where `manypaths evaluate` writes: every set keeps its results, under a name that is safe for a file."""

from __future__ import annotations

import json
import os

import pytest

from manypaths.cli import main
from manypaths.comparison.read import read
from manypaths.evaluation.grade_file import grade_file
from manypaths.evaluation.summary import summarise
from manypaths.files import read_jsonl
from manypaths.problems.rows import name_of


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("arithmetic", "arithmetic"),
        ("dir/own.jsonl", "own"),
        ("dir/own.jsonl.gz", "own"),
        ("own.parquet", "own"),
        ("own.v2.csv.gz", "own.v2"),
        ("dir/data.v2/", "data.v2"),
        ("../.hidden.jsonl", "hidden"),
        ("org/set-1.5", "set-1.5"),
        ("a\x1b[31m b:c.jsonl", "a__31m b_c"),
        ("/", "problems"),
        ("all.jsonl", "all_"),
        ("all", "all_"),
    ],
)
def test_a_set_has_a_name_that_is_safe_for_a_file(name, file_name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert name_of(name) == file_name
    assert file_name.isprintable() and os.path.basename(file_name) == file_name and not file_name.startswith(".")


def test_a_folder_is_called_by_its_own_name(tmp_path, monkeypatch):
    (tmp_path / "data.v2").mkdir()
    monkeypatch.chdir(tmp_path / "data.v2")
    assert name_of(".") == name_of("../data.v2") == "data.v2"


def own(path, *questions):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"question": text, "answer": "1"}) + "\n" for text in questions))
    return str(path)


def evaluated(model, problems, out):
    brief = ["--max-new-tokens", "2", "--dtype", "float32", "--backend", "transformers"]
    return main(["evaluate", str(model), "--problems", problems, *brief, "--out", str(out)])


def test_a_second_set_in_a_folder_is_added_and_takes_nothing_away(tiny_model, tmp_path, capsys):
    out = tmp_path / "out"
    first, other = own(tmp_path / "a.jsonl", "a", "b"), own(tmp_path / "b.jsonl", "c")
    assert evaluated(tiny_model, first, out) == 0
    before = json.loads((out / "summary.json").read_text())
    assert evaluated(tiny_model, other, out) == 0
    after, counts = (json.loads((out / name).read_text()) for name in ("summary.json", "counts.json"))
    assert list(after) == ["a", "b", "all"] and after["a"] == before["a"]
    assert counts == {"a": {id: [1, 0, [], 0.0] for id in "01"}, "b": {"0": [1, 0, [], 0.0]}}
    table = (out / "table.md").read_text()
    assert table in capsys.readouterr().out and "| a " in table and "| b " in table
    assert set(read([out])[0][0].results[0]) == {"a", "b"}


@pytest.mark.parametrize("file", ["test.jsonl", "test.jsonl.part"])
def test_another_set_of_the_same_name_is_refused_and_the_results_stay(file, tiny_model, tmp_path, capsys):
    out = tmp_path / "out"
    first, other = own(tmp_path / "a" / "test.jsonl", "a", "b"), own(tmp_path / "b" / "test.jsonl", "c", "d")
    assert evaluated(tiny_model, first, out) == 0
    (out / "test.jsonl").rename(out / file)
    kept = (out / file).read_bytes()
    assert evaluated(tiny_model, other, out) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert "other problems of that name" in message and "--out" in message
    assert (out / file).read_bytes() == kept
    assert evaluated(tiny_model, first, out) == 0 and len(read_jsonl(out / "test.jsonl")) == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--benchmarks", "svamp", "--problems", "arithmetic"], "--problems"),
        (["--problems", "svamp", "--data-dir", "."], "--data-dir"),
        (["--problems", "own.jsonl", "--revision", "main"], "--revision"),
        (["--benchmarks", "svamp,gsm8k", "--revision", "main"], "--revision"),
        (["--benchmarks", "aime24", "--data-dir", ".", "--revision", "main"], "--revision"),
        (["--problems", "arithmetic", "--split", "test"], "--split"),
        (["--problems", "arithmetic", "--problem-column", "question", "--answer-column", "answer"], "--answer-column"),
    ],
)
def test_options_that_no_set_reads_are_refused(words, expected, tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    own(tmp_path / "own.jsonl", "a")
    assert main(["evaluate", str(tiny_model), *words, "--limit", "1", "--max-new-tokens", "1", "--out", "out"]) == 2
    message = capsys.readouterr().err
    assert expected in message and "must be left out" in message and not (tmp_path / "out").exists()


def test_results_that_are_graded_again_give_the_figures_of_the_evaluation(tiny_model, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--problems", "arithmetic", "--limit", "5", "--samples", "4", "--temperature", "1"]
    assert main(["evaluate", str(tiny_model), *words, "--max-new-tokens", "4", "--out", str(out)]) == 0
    lines = read_jsonl(out / "arithmetic.jsonl")
    for place, sample in enumerate(sample for line in lines for sample in line["samples"]):  # a random model has no box
        sample["text"] = f"\\boxed{{{lines[place // 4]['answer'] if place % 3 else 0}}}"
    (out / "arithmetic.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    measures = grade_file(out / "arithmetic.jsonl", out=out / "arithmetic.jsonl.again", say=[].append)
    (out / "arithmetic.jsonl.again").rename(out / "arithmetic.jsonl")
    summary = summarise(out)["arithmetic"]
    measured = (
        "accuracy",
        "low",
        "high",
        "problems",
        "samples",
        "pass_at",
        "distinct_at",
        "majority",
        "boxed",
        "distinct",
    )
    assert {key: measures[key] for key in measured} == {key: summary[key] for key in measured}
    assert 0 < measures["accuracy"] < 1 and measures["pass_at"]["4"] == 1
    assert main(["grade", str(out)]) == 2
    assert "Give one of its files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("runs/gone", "'runs/gone' is no folder on this machine, so it is taken as a name on the hub"),
        ("{folder}", "is no run of manypaths train, and has no problems of its own"),
        ("http://localhost:1/v1", "is a server, which has no problems of its own"),
    ],
)
def test_a_model_without_problems_is_named_with_the_reason(model, words, tmp_path, capsys):
    assert main(["evaluate", model.format(folder=tmp_path)]) == 2
    err = capsys.readouterr().err
    assert words in err and "--problems or --benchmarks" in err and len(err.splitlines()) == 1
