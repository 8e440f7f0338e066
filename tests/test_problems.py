"""Problem sets: what is shipped, sums made here, files of the user, and every way a file can be wrong."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from manypaths.problems import BENCHMARKS, PROMPT, arithmetic, fingerprint, load, render

KINDS = ("gain", "loss", "bags", "share", "three-piles", "gain-then-loss", "two-colours", "discount")


def value(expression: str) -> Fraction:
    """The value of integers joined by + - * /, left to right, products first."""
    tokens = re.findall(r"\d+|[-+*/]", expression)
    assert "".join(tokens) == expression.replace(" ", ""), expression
    assert all(token.isdigit() for token in tokens[::2]) and len(tokens) % 2 == 1, expression
    terms = [Fraction(tokens[0])]
    for operator, number in zip(tokens[1::2], map(Fraction, tokens[2::2]), strict=True):
        if operator in "*/":
            terms[-1] = terms[-1] * number if operator == "*" else terms[-1] / number
        else:
            terms.append(number if operator == "+" else -number)
    return sum(terms)


def file_of(folder: Path, content: str | bytes, name: str = "own.jsonl") -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(("name", "split", "count"), [("gsm8k", "train", 7473), ("gsm8k", "test", 1319)])
def test_gsm8k_is_shipped_whole(name, split, count):
    check_shipped(load(name, split=split), count)


def test_svamp_is_shipped_whole():
    check_shipped(load("svamp"), 1000)


def check_shipped(problems, count):
    assert len(problems) == count
    assert len({problem.id for problem in problems}) == count
    for problem in problems:
        assert re.fullmatch(r"-?\d+(,\d{3})*(\.\d+)?", problem.answer), problem
        assert problem.question == problem.question.strip() != ""


def test_the_first_split_is_the_default_and_limit_keeps_the_first():
    assert load("gsm8k", limit=3) == load("gsm8k", split="train")[:3]
    assert load("gsm8k", limit=3) != load("gsm8k", split="test", limit=3)


def test_the_same_seed_makes_the_same_sums_and_another_seed_others():
    assert arithmetic(50, 1) == arithmetic(50, 1)
    assert arithmetic(50, 1) != arithmetic(50, 2)
    assert load("arithmetic", options={"count": 20, "seed": 5}) == arithmetic(20, 5)
    assert load("arithmetic", limit=20) == arithmetic(20, 0)


def test_limit_keeps_the_first_sums_too():
    assert load("arithmetic", limit=5, options={"count": 20, "seed": 5}) == arithmetic(20, 5)[:5]


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_is_a_chain_of_true_equations_that_ends_in_the_answer(kind):
    problems = arithmetic(150, 3, kinds=[kind]) + arithmetic(30, 4, kinds=[kind], held_out=True)
    for problem in problems:
        assert len(set(problem.ways)) >= 2 or len(set(re.findall(r"\d+", problem.ways[0].partition("=")[0]))) == 1
        for way in problem.ways:
            equations = [equation.split(" = ") for equation in way.replace("so ", "").split(", ")]
            for left, right in equations:
                assert value(left) == value(right), way
            assert equations[-1][1] == problem.answer, way
        assert int(problem.answer) > 0


def test_the_numbers_of_a_sum_are_the_numbers_of_its_question():
    for problem in arithmetic(200, 6):
        in_question = set(re.findall(r"\d+", problem.question))
        first = set(re.findall(r"\d+", problem.ways[0].partition("=")[0]))
        assert first <= in_question, problem


@pytest.mark.parametrize("seed", range(12))
def test_held_out_sums_are_never_trained_on(seed):
    trained = {problem.ways[0] for problem in arithmetic(500, seed)}
    held_out = {problem.ways[0] for other in range(3) for problem in arithmetic(100, seed + other, held_out=True)}
    assert not trained & held_out


def test_questions_and_ids_are_unique_and_operands_stay_in_range():
    problems = arithmetic(300, 8, kinds=["gain"], largest=9)
    assert len({problem.question for problem in problems}) == len({problem.id for problem in problems}) == 300
    for problem in problems:
        assert all(2 <= int(number) <= 9 for number in re.findall(r"\d+", problem.question))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": ["gain", "gian"]}, ["Unknown kinds", "gian", "three-piles"]),
        ({"kinds": []}, ["kinds"]),
        ({"count": 5, "kinds": ["gain"], "largest": 1}, ["largest"]),
        ({"count": 500, "kinds": ["gain"], "largest": 3}, ["number of different sums", "got 500"]),
        ({"counts": 3}, ["do not fit", "counts"]),
        ({"count": "many"}, ["do not fit"]),
    ],
)
def test_sums_that_cannot_be_made_are_refused_with_the_reason(options, words):
    with pytest.raises(ValueError) as caught:
        load("arithmetic", options=options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


ROWS = [{"problem": "1 + 1?", "answer": 2}, {"problem": "2 + 2?", "answer": "4", "id": "two"}]


@pytest.mark.parametrize("name", ["own.json", "own.jsonl"])
@pytest.mark.parametrize("layout", ["list", "indented list", "lines", "lines with gaps", "with a byte order mark"])
def test_a_list_and_lines_read_the_same(name, layout, tmp_path):
    lines = "\n".join(map(json.dumps, ROWS))
    content = {
        "list": json.dumps(ROWS),
        "indented list": "\n " + json.dumps(ROWS, indent=2),
        "lines": lines,
        "lines with gaps": lines.replace("\n", "\r\n\n") + "\n\n",
        "with a byte order mark": "\ufeff" + json.dumps(ROWS),
    }[layout]
    first, two = load(file_of(tmp_path, content, name))
    assert (first.id, first.question, first.answer, first.ways) == ("0", "1 + 1?", "2", ())
    assert (two.id, two.question, two.answer) == ("two", "2 + 2?", "4")


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path):
    question = "One\u2028two\u2029three\x0bfour\x85five?"
    path = file_of(tmp_path, json.dumps({"question": question, "answer": 1}, ensure_ascii=False) + "\n")
    assert [problem.question for problem in load(path)] == [question]


@pytest.mark.parametrize(
    ("value", "answer"),
    [(51.0, "51"), (-3.0, "-3"), (0.5, "0.5"), (7, "7"), ("51.0", "51.0"), (0, "0"), (1e300, str(int(1e300)))],
)
def test_whole_floats_lose_their_point(value, answer, tmp_path):
    assert load(file_of(tmp_path, json.dumps({"question": "?", "answer": value})))[0].answer == answer


def test_columns_are_found_by_usual_names_or_as_requested(tmp_path):
    path = file_of(tmp_path, json.dumps({"Question": "usual?", "mine": "asked?", "final_answer": 1, "gold": 2}))
    assert load(path)[0].question == "usual?"
    assert load(path)[0].answer == "1"
    loaded = load(path, problem_column="mine", answer_column="gold")[0]
    assert (loaded.question, loaded.answer) == ("asked?", "2")


@pytest.mark.parametrize(
    ("content", "named", "words"),
    [
        ("", {}, ["empty"]),
        ("\n \n", {}, ["empty"]),
        ("[]", {}, ["empty"]),
        ('{"problem": "a", "answer": 1}\n\n{"problem": \n', {}, ["not JSON", "line 3"]),
        ('[\n{"problem": "a", "answer": 1},\n{"problem": \n]', {}, ["not JSON", "line 4"]),
        (b'{"problem": "a", "answer": 1}\n{"problem": "\xff", "answer": 1}', {}, ["not JSON", "line 2"]),
        ("[1, 2]", {}, ["objects"]),
        ('{"problem": "a", "answer": 1}\n[1]\n', {}, ["objects"]),
        ('"text"', {}, ["objects"]),
        ('{"frage": "a", "answer": 1}', {}, ["problem column", "frage, answer", "problem_column"]),
        ('{"problem": "a", "antwort": 1}', {}, ["answer column", "problem, antwort", "answer_column"]),
        ('{"problem": "a", "answer": 1}', {"problem_column": "q"}, ["'q'", "problem, answer", "problem_column"]),
        ('{"problem": "a", "answer": 1}', {"answer_column": "g"}, ["'g'", "problem, answer", "answer_column"]),
        ('{"problem": "a", "answer": 1}\n{"problem": " ", "answer": 1}', {}, ["'problem'", "row 2"]),
        ('{"problem": "a", "answer": 1}\n{"answer": 1}', {}, ["'problem'", "row 2"]),
        ('{"problem": "a", "answer": null}', {}, ["'answer'", "row 1"]),
        ('{"problem": 5, "answer": 1}', {}, ["'problem'", "row 1"]),
        ('{"problem": "a", "answer": 1}', {"limit": 0}, ["limit", "0"]),
        ('{"problem": "a", "answer": 1}', {"limit": -1}, ["limit", "-1"]),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(content, named, words, tmp_path):
    path = file_of(tmp_path, content)
    with pytest.raises(ValueError) as caught:
        load(path, **named)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "limit" in named or path in str(caught.value)


def test_a_missing_file_and_an_unknown_split_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.jsonl' does not exist"):
        load(str(tmp_path / "gone.jsonl"))
    with pytest.raises(ValueError, match="split must be one of train, test for gsm8k, got 'dev'"):
        load("gsm8k", split="dev")


def test_a_question_goes_into_a_text_or_into_messages_and_braces_stay():
    question = r"Is {x} in \boxed{}?"
    assert render("Q: {question}\n\\boxed{} {other}", question) == f"Q: {question}\n\\boxed{{}} {{other}}"
    rendered = render([{"role": "system", "content": "Be {brief}."}, *PROMPT], question)
    assert rendered == [
        {"role": "system", "content": "Be {brief}."},
        {"role": "user", "content": f"{question}\nPut the final answer in \\boxed{{}}."},
    ]
    assert "{question}" in PROMPT[0]["content"], "rendering leaves the prompt itself alone"


def test_a_shuffle_depends_on_its_seed_and_comes_before_the_limit():
    whole, few = load("svamp", shuffle=1), load("svamp", shuffle=1, limit=50)
    assert few == whole[:50] != load("svamp", limit=50)
    assert sorted(whole, key=lambda problem: problem.id) == sorted(load("svamp"), key=lambda problem: problem.id)
    assert few != load("svamp", shuffle=2, limit=50)
    with pytest.raises(ValueError, match=r"options\.seed"):
        load("arithmetic", shuffle=1)


def test_benchmarks_come_from_local_files_with_the_columns_of_their_public_copies(tmp_path):
    rows = {
        "aime24.jsonl": {"id": 60, "problem": "q", "solution": "s", "answer": "204", "question": "q"},
        "amc23.jsonl": {"id": 0, "problem": "q", "answer": 27.0, "question": "q"},
        "math500.jsonl": {"problem": "q", "solution": "s", "answer": "\\frac{1}{2}", "unique_id": "test/1.json"},
        "minerva_math.jsonl": {"problem": "q", "solution": "first \\boxed{9}, so $\\boxed{1.6}$ cm", "idx": 3},
        "olympiadbench.jsonl": {"id": 7, "question": "q", "final_answer": ["2,3"], "unit": None},
    }
    for file, row in rows.items():
        (tmp_path / file).write_text(json.dumps(row) + "\n")
    loaded = {name: load(name, data_dir=str(tmp_path))[0] for name in BENCHMARKS}
    answers = {name: (problem.id, problem.question, problem.answer) for name, problem in loaded.items()}
    assert answers == {
        "aime24": ("60", "q", "204"),
        "math500": ("test/1.json", "q", "\\frac{1}{2}"),
        "amc23": ("0", "q", "27"),
        "minerva": ("3", "q", "1.6"),
        "olympiadbench": ("7", "q", "2,3"),
    }
    (tmp_path / "aime24.jsonl").unlink()
    with pytest.raises(ValueError, match=r"aime24\.jsonl"):
        load("aime24", data_dir=str(tmp_path))


def test_a_fingerprint_is_of_questions_and_answers_in_any_order():
    problems = arithmetic(20, 1)
    assert fingerprint(problems) == fingerprint(problems[::-1]) != fingerprint(problems[1:])
    assert len(fingerprint(problems)) == 12
    assert {len(benchmark.fingerprint) for benchmark in BENCHMARKS.values()} == {12}
