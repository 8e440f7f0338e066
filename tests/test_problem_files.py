"""Problems from files as people have them: every format, every way to name a column, no text lost silently."""

from __future__ import annotations

import csv
import gzip
import json
import time

import pyarrow
import pyarrow.parquet
import pytest

from manypaths import recipe
from manypaths.preflight.workload import workload
from manypaths.problems import Problem, fingerprint, load

ROWS = [{"question": "1 + 1?", "answer": "2"}, {"question": 'Say "a, b"\nor c?', "answer": "04"}]
READ = [Problem("0", "1 + 1?", "2"), Problem("1", 'Say "a, b"\nor c?', "04")]


def as_csv(rows, delimiter=","):
    quoted = ['"' + text.replace('"', '""') + '"' for row in rows for text in row.values()]
    lines = [delimiter.join(rows[0])] + [delimiter.join(quoted[at : at + 2]) for at in range(0, len(quoted), 2)]
    return "\n".join(lines) + "\n"


def as_parquet(rows):
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def written(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)
    return str(path)


def rows_in(folder, *rows):
    return written(folder, "own.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def refusal(path, **named):
    with pytest.raises(ValueError) as caught:
        load(path, say=lambda _: None, **named)
    message = str(caught.value)
    assert message.isprintable(), message
    return message


def silently(path, **named):
    """The problems of a file, which are read without a note."""
    notes = []
    problems = load(path, say=notes.append, **named)
    assert notes == []
    return problems


def noted(path, *words, **named):
    """The problems of a file, which are read with notes that have these words."""
    notes = []
    problems = load(path, say=notes.append, **named)
    assert all(any(word in note for note in notes) for word in words), notes
    return problems


LAYOUTS = {
    "own.json": json.dumps(ROWS, indent=2),
    "lines.json": "\n".join(map(json.dumps, ROWS)),
    "own.JSONL": json.dumps(ROWS),
    "own.ndjson": "\n".join(map(json.dumps, ROWS)),
    "own.csv": as_csv(ROWS),
    "marked.csv": "\ufeff" + as_csv(ROWS).replace("\n", "\r\n").replace('b"\r\n', 'b"\n').replace('b""\r\n', 'b""\n'),
    "semicolons.csv": as_csv(ROWS, ";"),
    "own.tsv": as_csv(ROWS, "\t"),
    "own.parquet": as_parquet(ROWS),
}


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_format_reads_the_same(name, packed, tmp_path):
    assert silently(written(tmp_path, name + packed, LAYOUTS[name])) == READ


def test_a_list_under_a_key_is_read_and_named(tmp_path):
    for indent in None, 0, 1:
        path = written(tmp_path, "own.json", json.dumps({"version": 1, "data": ROWS}, indent=indent))
        assert noted(path, "'data'") == READ
    both = written(tmp_path, "both.json", json.dumps({"train": ROWS[:1], "test": ROWS[1:]}))
    assert "train, test" in refusal(both)
    assert [problem.question for problem in noted(both, "'test'", split="test")] == [READ[1].question]
    assert "'dev'" in refusal(both, split="dev")


def test_a_folder_with_data_files_or_saved_by_datasets_is_read(tmp_path):
    import datasets

    written(tmp_path, "plain/data.parquet", as_parquet(ROWS))
    assert silently(str(tmp_path / "plain")) == READ
    datasets.DatasetDict({"test": datasets.Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "saved"))
    assert silently(str(tmp_path / "saved")) == READ
    assert "test" in refusal(str(tmp_path / "saved"), split="train")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("own.xml", "<a/>", [".parquet", ".csv"]),
        ("own.xlsx", b"PK", [".parquet", ".csv"]),
        ("own.txt", "question", [".jsonl"]),
        ("own.zst", b"x", [".gz"]),
        ("own", json.dumps(ROWS), [".jsonl"]),
        ("folder/readme.md", "x", [".jsonl"]),
        ("own.parquet", b"PAR1 and no more", ["whole parquet"]),
        ("own.csv", 'question,answer\n"a,1\n', ["CSV", "line"]),
        ("own.csv", "question,answer\na,1\nb,2,3\n", ["2 cells", "3", "line 3"]),
        ("own.csv", "question,answer\na,1\nb\n", ["2 cells", "1", "line 3"]),
        ("own.csv", "question,answer,answer\na,1,2\n", ["'answer' twice"]),
        ("own.csv", b"question,answer\n\xff,1\n", ["UTF-8", "line 2"]),
        ("own.csv", "question,answer\n", ["empty"]),
        ("own.csv", "", ["empty"]),
        ("own.json", json.dumps({"question": {"0": "a"}, "answer": {"0": "1"}}), ["list of objects", "question"]),
        ("own.jsonl", '{"question": "a", "answer": 1\n{"question": "b", "answer": 1}\n', ["not JSON", "line 1"]),
        ("own.json", '{"question": "a", "answer": 1\n\n{"question": "b", "answer": 1}\n', ["not JSON", "line 1"]),
        ("own.json", '{\n "data": [\n  {"question" "b"}\n ]\n}', ["not JSON", "line 3"]),
        ("own.jsonl", "[" * 100_000, ["line 1", "deep"]),
        ("own.jsonl", '{"question": "a", "answer": 1}\n\x1b[2J\n', ["line 2"]),
    ],
)
def test_what_cannot_be_read_is_refused_at_once_in_one_sentence(name, content, words, tmp_path):
    path = written(tmp_path, name, content)
    began = time.monotonic()
    message = refusal(str(tmp_path / "folder") if name.startswith("folder") else path)
    assert all(word in message for word in words), message
    assert "hub" not in message and time.monotonic() - began < 2


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    for name in ("own.jsonl.gz", "own.parquet"):
        path = written(tmp_path, name, as_parquet(ROWS * 50))
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert "not a whole" in refusal(path)


@pytest.mark.parametrize(
    "name",
    ["gone.csv", "gone.parquet", "gone.jsonl.gz", "gone.xml", "./gone", "/gone/gone", "~/gone", "a/b/c", "two words"],
)
def test_what_looks_like_a_path_is_never_looked_up_on_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "does not exist" in refusal(name)
    assert "Download" in refusal("https://example.org/own.jsonl")


def test_an_unreachable_hub_is_an_error_within_seconds(monkeypatch):
    """Also where the environment does not say that there is no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    assert "could not be loaded from the hub" in refusal("nobody/nothing")
    assert time.monotonic() - began < 15
    assert constants.HF_HUB_OFFLINE is False


def test_one_object_is_one_row(tmp_path):
    for indent in None, 0, 2:
        assert silently(written(tmp_path, "own.json", json.dumps(ROWS[0], indent=indent))) == READ[:1]


def test_a_map_of_parquet_is_an_object(tmp_path):
    table = pyarrow.table(
        {
            "question": ["?"],
            "answer": pyarrow.array([[("truth", "4")]], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "own.parquet")
    assert "'truth'" in refusal(str(tmp_path / "own.parquet"))
    assert silently(str(tmp_path / "own.parquet"), answer_column="answer.truth")[0].answer == "4"


def test_a_split_of_a_plain_file_is_refused(tmp_path):
    for name in ("own.jsonl", "own.csv"):
        path = written(tmp_path, name, "question,answer\na,1\n" if name.endswith("csv") else json.dumps(ROWS[0]))
        assert "without splits" in refusal(path, split="test")


VERL = {
    "data_source": "openai/gsm8k",
    "prompt": [{"role": "user", "content": "How many?"}],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "4"},
    "extra_info": {"index": 0, "split": "train", "question": "How many? And a tail"},
}


def test_rows_of_verl_are_read_without_a_flag(tmp_path):
    path = written(tmp_path, "train.parquet", as_parquet([VERL]))
    assert silently(path) == [Problem("0", "How many?", "4")]
    named = {"problem_column": "extra_info.question", "answer_column": "reward_model.ground_truth"}
    assert silently(path, **named) == [Problem("0", "How many? And a tail", "4")]
    assert silently(path, problem_column="prompt.0.content")[0].question == "How many?"


def test_a_column_whose_name_has_dots_comes_before_a_path(tmp_path):
    row = {"q.text": "column?", "q": {"text": "path?"}, "a": {"b": [1, 2]}}
    path = rows_in(tmp_path, row)
    assert silently(path, problem_column="q.text", answer_column="a.b.1") == [Problem("0", "column?", "2")]
    for name in ("q.txet", "a.b.2", "a.c", "q.text.more"):
        assert repr(name) in refusal(path, problem_column=name, answer_column="a.b.0")


def test_the_users_turn_of_chat_messages_is_the_problem(tmp_path):
    user, system = {"role": "user", "content": "How many?"}, {"role": "system", "content": "Be brief."}
    blocks = {"role": "user", "content": [{"type": "text", "text": "How many?"}]}
    assert silently(rows_in(tmp_path, {"prompt": [blocks], "answer": 1}))[0].question == "How many?"
    assert noted(rows_in(tmp_path, {"prompt": [system, user], "answer": 1}), "user's turn")[0].question == "How many?"
    picture = {"role": "user", "content": [{"type": "image", "image": "x"}, {"type": "text", "text": "How many?"}]}
    assert "image" in refusal(rows_in(tmp_path, {"prompt": [picture], "answer": 1}))
    shots = [user, {"role": "assistant", "content": "4"}, user]
    assert "user, assistant, user" in refusal(rows_in(tmp_path, {"prompt": shots, "answer": 1}))
    assert "system" in refusal(rows_in(tmp_path, {"prompt": [system], "answer": 1}))


def test_the_assistants_turn_of_chat_messages_is_the_gold(tmp_path):
    row = {"prompt": [{"role": "user", "content": "?"}], "completion": [{"role": "assistant", "content": "#### 4"}]}
    assert silently(rows_in(tmp_path, row), answer_column="completion") == [Problem("0", "?", "4")]
    assert "completion" in refusal(rows_in(tmp_path, row))


def test_a_template_puts_columns_together(tmp_path):
    row = {"Body": "A is 2.", "Question": "What is A?", "n": 3, "none": None, "Answer": 2}
    path = rows_in(tmp_path, row)
    for template, text in {
        "{Body} {Question}": "A is 2. What is A?",
        "{Question}\nIn \\boxed{}: {{{n}}}": "What is A?\nIn \\boxed{}: {3}",
        "{none} {Question}": "What is A?",
        "{Question}": "What is A?",
    }.items():
        assert silently(path, problem_column=template)[0].question == text
    assert noted(path, "{Body}", answer_column="{Answer}{n}")[0].answer == "23"
    message = refusal(path, problem_column="{Body} {Qeustion}")
    assert "'Qeustion'" in message and "Body, Question" in message
    assert "row 2" in refusal(
        rows_in(tmp_path, row, {"Question": "?", "Answer": 1}), problem_column="{Body} {Question}"
    )


SVAMP = {
    "ID": "chal-1",
    "Body": "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack",
    "Question": "How much do you have to pay to buy each pack?",
    "Equation": "( 76.0 - 25.0 )",
    "Answer": 51.0,
    "Type": "Subtraction",
}


def test_svamp_and_asdiv_are_read_with_their_body(tmp_path):
    problems = noted(written(tmp_path, "SVAMP.json", json.dumps([SVAMP], indent=4)), "{Body} {Question}")
    assert problems == [problem for problem in load("svamp") if problem.id == "chal-1"]
    joined = {**SVAMP, "question_concat": f"{SVAMP['Body']} {SVAMP['Question']}"}
    assert noted(rows_in(tmp_path, joined), "{Body} {Question}") == problems
    lower = {key.lower(): value for key, value in SVAMP.items()} | {"answer": "9 (apples)", "solution-type": "Sum"}
    (problem,) = noted(rows_in(tmp_path, lower), "{body} {question}")
    assert problem.question == problems[0].question


CHOICES = {
    "MMLU": ({"question": "Q?", "subject": "x", "choices": ["w", "x", "y", "z"]}, "answer", [0, 3], "AD"),
    "letters": ({"question": "Q?", "A": "w", "B": "x", "C": "y", "D": "z"}, "answer", ["B", "c"], "BC"),
    "AQuA": (
        {"question": "Q?", "options": ["A)w", "B)x", "C)y", "D)z"], "rationale": "so it is"},
        "correct",
        "DA",
        "DA",
    ),
    "ARC": (
        {"question": "Q?", "choices": {"text": ["w", "x", "y", "z"], "label": ["1", "2", "3", "4"]}},
        "answerKey",
        "24",
        "BD",
    ),
    "MedQA": ({"question": "Q?", "options": {"A": "w", "B": "x", "C": "y", "D": "z"}}, "answer", ["x", "y"], "BC"),
    "MedMCQA": ({"question": "Q?", "opa": "w", "opb": "x", "opc": "y", "opd": "z"}, "cop", [0, 2], "AC"),
    "AGIEval": (
        {"passage": None, "question": "Q?", "options": ["(A)w", "(B)x", "(C)y", "(D)z"], "answer": None},
        "label",
        "BA",
        "BA",
    ),
    "counted from 1": (
        {"question": "Q?", "option1": "w", "option2": "x", "option3": "y", "option4": "z"},
        "answer",
        "14",
        "AD",
    ),
}


@pytest.mark.parametrize("shape", CHOICES)
def test_multiple_choice_is_read_with_its_choices(shape, tmp_path):
    row, column, answers, letters = CHOICES[shape]
    problems = noted(rows_in(tmp_path, *({**row, column: answer} for answer in answers)), "choices", column)
    assert {problem.question for problem in problems} == {"Q?\nA. w\nB. x\nC. y\nD. z"}
    assert [problem.answer for problem in problems] == list(letters)


def test_choices_whose_answers_can_be_read_two_ways_or_none_are_refused(tmp_path):
    row = {"question": "Q?", "choices": ["w", "x", "y", "z"]}
    message = refusal(rows_in(tmp_path, {**row, "answer": 2}))
    assert "counted from 0" in message and "counted from 1" in message
    message = refusal(rows_in(tmp_path, {**row, "answer": "v"}))
    assert "'answer'" in message and "problem_column=question" in message
    assert silently(rows_in(tmp_path, {**row, "answer": "v"}), problem_column="question")[0].answer == "v"
    template = noted(
        rows_in(tmp_path, {**row, "answer": 3}, {**row, "answer": 0}), "0", problem_column="{question} {choices}"
    )
    assert [(problem.question[:8], problem.answer) for problem in template] == [("Q? A. w\n", "D"), ("Q? A. w\n", "A")]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("context", "A is 2."),
        ("Passage", "short"),
        ("premise", "All men are mortal."),
        ("options", "a ) 38 , b ) 27"),
        ("choices", ["only"]),
        ("input", "3 4"),
        ("image", "pictures/1.png"),
        ("image_url", "x.png"),
        ("tableData", [["a", 1]]),
        ("scene", "It is a day in the life of Ann."),
        ("clues", ["Ann is tall", "Bob is small"]),
        ("Numbers", "7.0 4.0"),
        ("情景", "小明有三个苹果，小红有四个苹果。"),
    ],
)
def test_text_that_a_problem_may_need_is_not_left_out_silently(column, value, tmp_path):
    row = {"question": "What is A?", column: value, "answer": "2"}
    path = rows_in(tmp_path, {**row, column: None}, row)
    message = refusal(path)
    assert repr(column) in message and "problem_column" in message
    assert ("only text" if "image" in column else f"{{{column}}}") in message
    assert [problem.question for problem in silently(path, problem_column="question")] == ["What is A?"] * 2
    if isinstance(value, str):
        whole = silently(path, problem_column=f"{{{column}}} {{question}}")
        assert whole[1].question == f"{value} What is A?"


@pytest.mark.parametrize(
    "more",
    [
        {"solution": "We add the two and have #### 2", "level": "Level 5", "type": "Algebra of sets and of numbers"},
        {"context": None, "unit": None, "subfield": "Theory of numbers and more"},
        {"problem_source": "a long name of a book", "context_id": "c1", "url": "https://example.org/a b c d"},
        {"context": "What is A?", "choices": []},
        {"messages": [{"role": "user", "content": "What is A?"}, {"role": "assistant", "content": "2"}]},
        {"tags": ["algebra", "sets"], "metadata": {"a": "b"}, "score": 0.5, "verified": True},
        {"generated_solution": "one two three four five", "original_question": "Another one of the kind?"},
        {"finish_reasons": ["stop", "length"], "is_complete": [True, False], "canary": "never in training corpora"},
        {"__index_level_0__": 3, "uuid": "123e4567-e89b-12d3-a456-426614174000"},
    ],
)
def test_columns_that_no_problem_needs_are_left_out(more, tmp_path):
    assert silently(rows_in(tmp_path, {"question": "What is A?", "answer": "2", **more}))[0].question == "What is A?"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("first \\boxed{3} hmm. #### 4", "4"),
        ("first \\boxed{3}, so \\boxed{4}", "4"),
        (["4"], "4"),
        ('["4"]', "4"),
        ([{"role": "assistant", "content": "so \\boxed{4}"}], "4"),
    ],
)
def test_golds_are_read_out_of_what_stands_around_them(answer, expected, tmp_path):
    assert silently(rows_in(tmp_path, {"question": "?", "answer": answer}))[0].answer == expected


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"value": "4", "unit": "cm"}, ["'value', 'unit'", "answer.value"]),
        (["4", None], ["every place"]),
        (float("nan"), ["no gold answer"]),
        (" ", ["no gold answer"]),
        ([], ["no gold answer"]),
    ],
)
def test_a_gold_that_is_none_is_refused_with_its_row(answer, words, tmp_path):
    message = refusal(rows_in(tmp_path, {"question": "?", "answer": 1}, {"question": "??", "answer": answer}))
    assert all(word in message for word in ("row 2", "'answer'", *words)), message


def test_golds_of_several_parts_are_noted(tmp_path):
    rows = {"question": "?", "answer": ["4", "5"]}, {"question": "??", "answer": ["4"]}
    assert noted(rows_in(tmp_path, *rows), "1 gold answers are lists")[0].answer == "4, 5"


def test_two_answers_that_differ_are_refused(tmp_path):
    path = rows_in(tmp_path, {"question": "?", "answer": "4", "final_answer": "5"})
    assert "'answer'" in refusal(path) and "'final_answer'" in refusal(path)
    assert silently(path, answer_column="final_answer")[0].answer == "5"
    same = rows_in(tmp_path, {"question": "?", "answer": "so #### 1,000", "final_answer": 1000, "solution": "long"})
    assert silently(same)[0].answer == "1,000"


def test_rows_with_the_same_id_are_one_problem_or_refused(tmp_path):
    row, other = {"id": "a", "question": "x", "answer": "1"}, {"id": "b", "question": "y", "answer": "1"}
    path = rows_in(tmp_path, row, other, row)
    assert [problem.id for problem in noted(path, "3 rows, 2 problems")] == ["a", "b"]
    assert len(noted(path, "3 rows", limit=2, shuffle=3)) == 2
    for change in {"question": "z"}, {"answer": "2"}:
        message = refusal(rows_in(tmp_path, row, other, {**row, **change}))
        assert "'a'" in message and "row 3" in message
    mixed = rows_in(tmp_path, {"id": "1", "question": "x", "answer": 1}, {"question": "y", "answer": 1})
    assert len({problem.id for problem in silently(mixed)}) == 2


def test_ids_are_of_one_column_and_what_is_missing_is_none(tmp_path):
    rows = [{"id": float("nan"), "idx": number, "question": f"{number}?", "answer": 1} for number in (5, 6)]
    assert [problem.id for problem in silently(rows_in(tmp_path, *rows))] == ["5", "6"]
    rows[0]["id"] = "5"
    assert [problem.id for problem in silently(rows_in(tmp_path, *rows))] == ["5", "1"]


def test_what_spreadsheets_write_around_a_table_is_no_row(tmp_path):
    assert silently(written(tmp_path, "own.csv", "question, answer \n1 + 1?,2\n , \n,\n")) == READ[:1]


def test_escape_codes_of_a_file_reach_no_terminal(tmp_path):
    for row in (
        {"\x1b[31mred": "a"},
        {"question": "?", "answer": {"\x1b]0;title\x07": 1}},
        {"question": 5, "\u202e": 1},
    ):
        refusal(rows_in(tmp_path, row))
    refusal(written(tmp_path, "\x1b[31m.jsonl", ""))
    refusal("\x1b[31mgone.jsonl")


@pytest.mark.parametrize("name", ["own.csv", "own.parquet", "own.jsonl.gz"])
def test_the_dry_run_counts_the_problems_that_train_reads(name, tmp_path):
    rows = [{"id": str(number // 2), "question": f"{number // 2}?", "answer": "1"} for number in range(8)]
    content = {"own.parquet": as_parquet(rows)}.get(name, "\n".join(map(json.dumps, rows)))
    if name == "own.csv":
        content = "id,question,answer\n" + "".join(",".join(row.values()) + "\n" for row in rows)
    path = written(tmp_path, name, content)
    spec = recipe.read(["smollm2-135m", "grpo", "mmr", "gsm8k"], [f"problems.name={path}", "problems.split=null"])
    assert workload(spec).problems == len(load(path)) == 4


def test_a_fingerprint_is_the_same_from_every_format(tmp_path):
    sets = [load(written(tmp_path, name, content)) for name, content in LAYOUTS.items()]
    assert {fingerprint(problems) for problems in sets} == {fingerprint(READ)}


def test_evaluate_and_train_refuse_a_file_before_a_model_is_loaded(tiny_model, tmp_path, capsys, monkeypatch):
    from manypaths.cli import main

    path = rows_in(tmp_path, {"question": "What is A?", "context": "A is 2.\x1b[31m", "answer": "2"})
    model, out = str(tiny_model), str(tmp_path / "out")
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    settings = [f"model.name={model}", f"problems.name={path}", "problems.split=null"]
    for words in (
        ["evaluate", model, "--problems", path, "--backend", "transformers", "--out", out],
        ["train", "smollm2-135m", "grpo", "mmr", "gsm8k", *settings, "--out", out],
    ):
        assert main(words) == 2
        message = capsys.readouterr().err
        assert "'context'" in message and "problem_column" in message and "\x1b" not in message
        assert len(message.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_evaluate_reads_a_file_by_a_template(tiny_model, tmp_path, capsys):
    from manypaths.cli import main

    path, out = written(tmp_path, "own.parquet", as_parquet([SVAMP])), tmp_path / "out"
    named = ["--problem-column", "{Body} {Question}", "--answer-column", "Answer", "--max-new-tokens", "2"]
    words = ["evaluate", str(tiny_model), "--problems", path, *named, "--backend", "transformers", "--out", str(out)]
    assert main(words) == 0, capsys.readouterr().err
    (line,) = [json.loads(line) for line in (out / "own.jsonl").read_text().splitlines()]
    assert (line["id"], line["answer"]) == ("chal-1", "51") and line["question"].startswith("Each pack")


def test_train_reads_a_column_by_a_template_in_an_override(tmp_path):
    path = written(tmp_path, "own.csv", "Body,Question,Answer\nA is 2.,What is A?,2\n")
    column = "problems.problem_column='{Body} {Question}'"
    spec = recipe.read(
        ["smollm2-135m", "grpo", "mmr", "gsm8k"], [f"problems.name={path}", column, "problems.split=null"]
    )
    assert [problem.question for problem in load(**vars(spec.problems))] == ["A is 2. What is A?"]


@pytest.mark.parametrize("column", ["distractor1", "Incorrect Answer 1", "wrong_answers"])
def test_wrong_choices_are_never_advised_as_a_part_of_the_question(column, tmp_path):
    message = refusal(rows_in(tmp_path, {"question": "Which?", column: "not this one", "answer": "this one"}))
    assert "choices that are wrong" in message and "problem_column=question" in message and "{" not in message


def test_solutions_that_mark_no_answer_are_noted(tmp_path):
    rows = [{"question": "1 + 1?", "solution": text} for text in ("We add one to it: 2", "so \\boxed{2}", "add #### 2")]
    noted(rows_in(tmp_path, *rows), "1 of 3 gold answers are sentences")
    silently(rows_in(tmp_path, *rows[1:]))


LETTERED = {"question": "Which one?", "options": ["a thing", "b thing", "c thing"]}


@pytest.mark.parametrize("other", [{"answer_index": 1}, {"answer_index": 2}, {"label": "B"}, {"correct": "b thing"}])
def test_answers_of_a_choice_that_agree_are_read(other, tmp_path):
    assert noted(rows_in(tmp_path, {**LETTERED, "answer": "B", **other}), "letters")[0].answer == "B"


@pytest.mark.parametrize("other", [{"answer_index": 0}, {"label": "C"}, {"correct": "a thing"}])
def test_answers_of_a_choice_that_differ_are_refused(other, tmp_path):
    message = refusal(rows_in(tmp_path, {**LETTERED, "answer": "B", **other}))
    assert "different answers in 'answer' and" in message and "answer_column" in message


def test_choices_of_any_name_in_a_template_have_letters_as_golds(tmp_path):
    rows = [{"ctx": "A man sits.", "endings": ["up", "down", "still"], "label": label} for label in "02"]
    named = {"problem_column": "{ctx}\n{endings}", "answer_column": "label"}
    problems = noted(rows_in(tmp_path, *rows), "positions counted from 0", **named)
    assert [problem.answer for problem in problems] == ["A", "C"]
    assert problems[0].question == "A man sits.\nA. up\nB. down\nC. still"
    assert "from 0 or positions counted from 1" in refusal(rows_in(tmp_path, {**rows[0], "label": "1"}), **named)


def test_reading_a_csv_file_changes_no_setting_of_the_process(tmp_path):
    """Python's csv module has one limit of a cell's length, for everybody."""
    before = csv.field_size_limit()
    (tmp_path / "long.csv").write_text(f"question,answer\n{'x' * (before + 1)},1\n")
    assert len(load(str(tmp_path / "long.csv"))[0].question) == before + 1
    assert csv.field_size_limit() == before
