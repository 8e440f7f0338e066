"""Completions made elsewhere: the forms of a row, which rows are one problem, and completions without a box."""

from __future__ import annotations

import json

import pytest
from test_problem_files import as_parquet, rows_in, written

from manypaths.cli import main
from manypaths.evaluation.grade_file import grade_file
from manypaths.files import read_jsonl

RIGHT, WRONG, BARE = "so \\boxed{4}", "so \\boxed{5}", "The answer is 4."


def graded(path, **named):
    """(measures, notes) of a file."""
    from pathlib import Path

    notes = []
    return grade_file(Path(path), say=notes.append, **named), notes


def verdicts(out):
    return {line["id"]: [sample["correct"] for sample in line["samples"]] for line in read_jsonl(out)}


def graded_silently(path, tmp_path, **named):
    """The verdicts of each problem, by id, of a file without notes."""
    _, notes = graded(path, out=tmp_path / "out.jsonl", **named)
    assert notes == []
    return verdicts(tmp_path / "out.jsonl")


def refusal(path, **named):
    with pytest.raises(ValueError) as caught:
        graded(path, **named)
    message = str(caught.value)
    assert message.isprintable(), message
    return message


CHAT = [{"role": "user", "content": "2 + 2? \\boxed{7}"}, {"role": "assistant", "content": RIGHT}]


@pytest.mark.parametrize(
    "row",
    [
        {"text": RIGHT},
        {"completion": RIGHT},
        {"completion": CHAT[1:]},
        {"messages": CHAT},
        {"response": {"text": RIGHT}},
        {"response": CHAT[1]},
        {"response": {"role": "assistant", "content": [{"type": "text", "text": RIGHT}]}},
        {"response": {"status_code": 200, "body": {"choices": [{"index": 0, "message": CHAT[1]}]}}},
        {"model_response": {"text": [RIGHT], "input": "?"}},
        {"output": {"message": CHAT[1]}},
        {"completion": CHAT[1:], "prompt": CHAT[:1]},
        {"resps": [[RIGHT]], "doc": {"question": "?"}},
    ],
)
def test_a_text_in_any_form_is_one_completion(row, tmp_path):
    assert graded_silently(rows_in(tmp_path, {**row, "answer": "4"}), tmp_path) == {"0": [True]}


@pytest.mark.parametrize(
    "texts",
    [
        [RIGHT, WRONG],
        [{"text": RIGHT, "correct": False}, {"text": WRONG, "correct": True}],
        [CHAT, [{"role": "assistant", "content": WRONG}]],
        [{"message": CHAT[1]}, {"message": {"role": "assistant", "content": WRONG}}],
    ],
)
def test_a_list_is_several_completions(texts, tmp_path):
    assert graded_silently(rows_in(tmp_path, {"samples": texts, "gold": 4}), tmp_path) == {"0": [True, False]}


@pytest.mark.parametrize("name", ["own.csv", "own.tsv", "own.parquet", "own.json", "own.jsonl.gz"])
def test_every_format_is_graded_alike(name, tmp_path):
    rows = [{"id": "a", "text": RIGHT, "answer": "4"}, {"id": "b", "text": "one,\nor \\boxed{5}", "answer": "4"}]
    content = {"own.json": json.dumps(rows, indent=2), "own.parquet": as_parquet(rows)}.get(name)
    if name[-3:] in ("csv", "tsv"):
        mark = "\t" if name.endswith("tsv") else ","
        content = (
            f'\ufeffid{mark}text{mark}answer\r\na{mark}"{RIGHT}"{mark}4\r\nb{mark}"one,\nor \\boxed{{5}}"{mark}4\r\n'
        )
    content = content or "\n".join(map(json.dumps, rows))
    assert graded_silently(written(tmp_path, name, content), tmp_path) == {"a": [True], "b": [False]}


@pytest.mark.parametrize("name", ["own.xml", "own.txt", "own"])
def test_what_cannot_be_read_is_refused_with_what_can(name, tmp_path):
    message = refusal(written(tmp_path, name, "<a/>"))
    assert ".jsonl" in message and ".parquet" in message


def test_lists_in_a_table_are_several_completions_as_json_and_refused_as_python(tmp_path):
    cells = json.dumps([RIGHT, WRONG]).replace('"', '""')
    measures, notes = graded(written(tmp_path, "own.csv", f'samples,answer\n"{cells}",4\n'))
    assert (measures["samples"], measures["accuracy"]) == (2, 0.5) and "JSON" in notes[0]
    assert "Python" in refusal(written(tmp_path, "own.csv", f'samples,answer\n"{[RIGHT, WRONG]!r}",4\n'))


def test_rows_with_the_same_id_are_samples_of_one_problem(tmp_path):
    rows = [{"id": 7, "question": "2 + 2?", "text": text, "answer": "4"} for text in (RIGHT, WRONG, RIGHT)]
    path = rows_in(tmp_path, *rows[:2], {"id": 8, "question": "?", "text": RIGHT, "answer": "4"}, rows[2])
    measures, notes = graded(path, out=tmp_path / "out.jsonl")
    assert "same id" in notes[0] and "4 rows, 2 problems" in notes[0]
    assert measures["problems"] == 2 and measures["accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    lines = verdicts(tmp_path / "out.jsonl")
    assert lines == {"7": [True, False, True], "8": [True]}
    for change in {"answer": "5"}, {"question": "3 + 1?"}:
        message = refusal(rows_in(tmp_path, rows[0], {**rows[0], **change}))
        assert "'7'" in message and "row 2" in message


def test_without_ids_rows_with_the_same_question_and_gold_are_one_problem(tmp_path):
    row = {"question": "2 + 2?", "text": RIGHT, "answer": "4"}
    measures, notes = graded(rows_in(tmp_path, row, {**row, "text": WRONG}, {**row, "answer": "5"}))
    assert (measures["problems"], measures["accuracy"]) == (2, 0.25) and "question" in notes[0]
    assert graded(rows_in(tmp_path, {"text": RIGHT, "answer": "4"}, {"text": RIGHT, "answer": "4"}))[0]["problems"] == 2


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        ("first \\boxed{3} hmm. #### 4", RIGHT, True),
        ("first \\boxed{3} hmm. #### 4", "\\boxed{3}", False),
        (["4"], RIGHT, True),
        ('["4"]', RIGHT, True),
        (4.0, RIGHT, True),
    ],
)
def test_golds_mean_what_they_mean_to_the_rewards(gold, text, right, tmp_path):
    measures, _ = graded(rows_in(tmp_path, {"text": text, "answer": gold}))
    assert measures["accuracy"] == right


def test_golds_of_several_parts_are_noted(tmp_path):
    path = rows_in(tmp_path, *({"text": text, "answer": ["4", "5"]} for text in ("\\boxed{5, 4}", RIGHT)))
    measures, notes = graded(path)
    assert measures["accuracy"] == 0.5 and "2 gold answers are lists" in notes[0]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": RIGHT, "answer": {"value": "4", "unit": "m"}}, ["'value', 'unit'", "answer.value", "--gold-column"]),
        ({"text": RIGHT, "answer": None}, ["no gold answer"]),
        ({"text": RIGHT, "answer": float("nan")}, ["no gold answer"]),
        ({"text": None, "answer": "4"}, ["'text'", "nothing"]),
        ({"text": 4, "answer": "4"}, ["'text'", "int"]),
        ({"samples": [], "answer": "4"}, ["'samples'", "empty"]),
        ({"samples": [{"said": RIGHT}], "answer": "4"}, ["said", "--text-column"]),
        ({"messages": CHAT[:1], "answer": "4"}, ["assistant", "user"]),
        ({"text": RIGHT, "answer": {"\x1b[31m": 1}}, ["\\x1b[31m"]),
    ],
)
def test_a_row_without_completion_or_gold_is_refused_with_its_number(row, words, tmp_path):
    message = refusal(rows_in(tmp_path, row))
    assert all(word in message for word in ("row 1", *words)), message


def test_positions_of_choices_are_letters(tmp_path):
    row = {"question": "Q?", "choices": ["w", "x", "y"]}
    rows = [{**row, "answer": place, "text": f"\\boxed{{{letter}}}"} for place, letter in enumerate("ABC")]
    measures, notes = graded(rows_in(tmp_path, *rows))
    assert measures["accuracy"] == 1 and "counted from 0" in notes[0]
    assert "counted from 1" in refusal(rows_in(tmp_path, rows[1]))
    assert graded(rows_in(tmp_path, {**rows[1], "answer": "B"}))[0]["accuracy"] == 1
    numbers = {"question": "Q?", "choices": ["7", "8"], "answer": "8", "text": "\\boxed{8}"}
    assert graded(rows_in(tmp_path, numbers))[0]["accuracy"] == 1


def test_columns_are_named_by_paths_and_templates(tmp_path):
    row = {"doc": {"target": ["4"]}, "resps": [[RIGHT]], "head": "so", "tail": "\\boxed{4}"}
    path = rows_in(tmp_path, row)
    assert graded(path, text_column="resps.0.0", gold_column="doc.target")[0]["accuracy"] == 1
    assert graded(path, text_column="{head} {tail}", gold_column="doc.target.0")[0]["accuracy"] == 1
    parts = rows_in(tmp_path, {"text": RIGHT, "whole": 4.0, "unit": None})
    assert graded(parts, gold_column="{whole}{unit}", out=tmp_path / "out.jsonl")[0]["accuracy"] == 1
    assert read_jsonl(tmp_path / "out.jsonl")[0]["answer"] == "4"
    path = rows_in(tmp_path, row)
    message = refusal(path, text_column="resps.0.1", gold_column="doc.target")
    assert "'resps.0.1'" in message and "doc, resps" in message
    assert "no gold column" in refusal(path, text_column="tail")
    verl = {"output": RIGHT, "reward_model": {"style": "rule", "ground_truth": "4"}}
    assert graded(rows_in(tmp_path, verl))[0]["accuracy"] == 1


def test_two_usual_columns_that_differ_are_refused(tmp_path):
    message = refusal(rows_in(tmp_path, {"response": RIGHT, "prediction": "4", "answer": "4"}))
    assert "'response'" in message and "'prediction'" in message and "--text-column" in message
    message = refusal(rows_in(tmp_path, {"text": RIGHT, "gold": "4", "answer": "5"}))
    assert "'gold'" in message and "'answer'" in message and "--gold-column" in message
    assert graded(rows_in(tmp_path, {"text": RIGHT, "gold": 4, "answer": "so #### 4"}))[0]["accuracy"] == 1


def test_verdicts_of_the_file_are_not_ours(tmp_path):
    own = {"correct": False, "is_correct": [False], "score": 0, "reward": -1.0}
    _, notes = graded(rows_in(tmp_path, {"text": RIGHT, "answer": "4", **own}), out=tmp_path / "out.jsonl")
    (line,) = read_jsonl(tmp_path / "out.jsonl")
    assert notes == [] and [sample["correct"] for sample in line["samples"]] == [True]
    assert set(line) == {"id", "question", "answer", "samples"}


def test_the_command_prints_that_only_a_box_is_graded_and_how_to_read_others(tmp_path, capsys):
    path = rows_in(tmp_path, *({"text": text, "answer": "4"} for text in (RIGHT, BARE, "It is $4$", "No idea.")))
    assert main(["grade", path]) == 0
    printed = capsys.readouterr().out
    assert "25.0%" in printed and "3 of 4 completions have none" in printed and "--unboxed last-number" in printed
    out = tmp_path / "out.jsonl"
    assert main(["grade", path, "--unboxed", "last-number", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "75.0%" in printed and "2 were read by their last number; 1 count" in printed
    samples = [line["samples"][0] for line in read_jsonl(out)]
    assert [sample["read"] for sample in samples] == ["box", "last-number", "last-number", None]
    assert [sample["answer"] for sample in samples] == ["4", "4", "4", None]
    assert main(["grade", path, "--unboxed", "last-math"]) == 0
    assert "1 were read by their last math; 2 count" in capsys.readouterr().out
    assert main(["grade", rows_in(tmp_path, {"text": RIGHT, "answer": "4"})]) == 0
    assert "box" not in capsys.readouterr().out


def test_a_box_goes_before_what_stands_behind_it(tmp_path):
    measures, _ = graded(rows_in(tmp_path, {"text": RIGHT + " and not 5", "answer": "5"}), unboxed_by="last-number")
    assert measures["accuracy"] == 0 and measures["read"] == {"box": 1, "last-number": 0, "last-math": 0, "none": 0}
    assert "--unboxed" in refusal(rows_in(tmp_path, {"text": RIGHT, "answer": "5"}), unboxed_by="last-word")


def test_golds_that_cannot_be_graded_are_noted(tmp_path):
    measures, notes = graded(rows_in(tmp_path, {"text": RIGHT, "answer": "4"}, {"text": RIGHT, "answer": "{\x1b[2J"}))
    assert measures["ungradable"] == 1 and "'1'" in notes[0] and "1 of 2 gold answers" in notes[1]
    assert all(note.isprintable() for note in notes)


def test_the_filters_of_one_sample_are_one_completion(tmp_path):
    rows = [
        {"doc_id": doc, "resps": [[text]], "filtered_resps": ["4"], "filter": name, "target": "4"}
        for name in ("strict-match", "flexible-extract")
        for doc, text in enumerate((RIGHT, WRONG))
    ]
    measures, [note] = graded(rows_in(tmp_path, *rows))
    once, nothing = graded(rows_in(tmp_path, *rows[:2]))
    assert measures == once and measures["samples"] == 1 and nothing == []
    assert "strict-match, flexible-extract" in note and "those of strict-match count" in note


def test_samples_with_their_own_ids_are_problems_with_a_note(tmp_path):
    rows = [{"id": n, "question": "2 + 2?", "text": RIGHT, "answer": "4"} for n in range(3)]
    measures, [note] = graded(rows_in(tmp_path, *rows, {**rows[0], "id": 3, "question": "3 + 1?"}))
    assert measures["problems"] == 4 and "2 of 4 problems have the question and gold answer of another" in note


def test_the_file_that_is_graded_is_not_written_over(tmp_path):
    path = rows_in(tmp_path, {"text": RIGHT, "answer": "4"})
    (tmp_path / "link.jsonl").symlink_to(path)
    before = (tmp_path / "own.jsonl").read_bytes()
    for out in (tmp_path / "own.jsonl", tmp_path / "link.jsonl", tmp_path):
        assert "--out must be a file of its own" in refusal(path, out=out)
    assert (tmp_path / "own.jsonl").read_bytes() == before


def test_a_missing_completion_is_refused_with_what_to_do(tmp_path):
    assert "Remove the row, or write an empty text" in refusal(rows_in(tmp_path, {"text": None, "answer": "4"}))


def test_choices_with_an_answer_key_are_graded_by_their_letter(tmp_path):
    row = {"question": "?", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"}
    assert graded_silently(rows_in(tmp_path, {**row, "text": "\\boxed{B}"}), tmp_path) == {"0": [True]}


def test_golds_that_are_sentences_are_noted(tmp_path):
    measures, notes = graded(rows_in(tmp_path, {"text": RIGHT, "solution": "We add two to two, and so it is 4."}))
    assert measures["accuracy"] == 0 and "gold answers are sentences" in notes[0]
