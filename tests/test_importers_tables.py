"""Tables of other software: what goes in comes out, whatever the order, and no file crashes or hangs the reader."""

import os
import random
import time

import pytest

from manypaths.comparison.importers import read_csv
from manypaths.comparison.runs import Score


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ROWS = [
    ("grpo", 1, 0, "aime24", 0.125, 0.0),
    ("grpo", 1, 50, "aime24", 0.25, 60.0),
    ("grpo", 1, 50, "amc23", 0.5, 60.0),
    ("grpo", 2, 50, "amc23", 0.625, 61.0),
    ("mmr", 1, 50, "amc23", 0.75, 90.0),
]
HEADER = ("run", "seed", "step", "benchmark", "accuracy", "seconds")


def table(path, header, rows, separator=","):
    lines = [separator.join(map(str, row)) for row in (header, *rows)]
    return write(path, "\n".join(lines) + "\n")


def test_a_table_comes_out(tmp_path):
    first, second, third = read_csv(table(tmp_path / "a.csv", HEADER, ROWS))
    assert [(run.name, run.group, run.seed) for run in (first, second, third)] == [
        ("grpo-seed1", "grpo", 1),
        ("grpo-seed2", "grpo", 2),
        ("mmr-seed1", "mmr", 1),
    ]
    assert first.results == {
        0: {"aime24": Score.of_mean(0.125)},
        50: {"aime24": Score.of_mean(0.25), "amc23": Score.of_mean(0.5)},
    }
    assert first.clock == [(0, 0.0), (50, 60.0)] and third.clock == [(50, 90.0)]
    assert second.results == {50: {"amc23": Score.of_mean(0.625)}} and first.notes == []


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_rows_and_columns_does_not_matter(seed, tmp_path):
    draw = random.Random(seed)
    places = draw.sample(range(6), 6)
    rows = [[row[place] for place in places] for row in draw.sample(ROWS, len(ROWS))]
    mixed = read_csv(table(tmp_path / "b.csv", [HEADER[place] for place in places], rows))
    assert mixed == read_csv(table(tmp_path / "a.csv", HEADER, ROWS))
    assert [list(run.results) for run in mixed] == [[0, 50], [50], [50]]


def test_percent_is_a_share_and_hours_are_seconds(tmp_path):
    plain = read_csv(table(tmp_path / "a.csv", HEADER, ROWS))
    rows = [(*row[:4], 100 * row[4], row[5] / 3600) for row in ROWS]
    percent = read_csv(table(tmp_path / "b.csv", (*HEADER[:5], "hours"), rows))
    assert [run.results for run in percent] == [run.results for run in plain]
    for expected, actual in zip(plain, percent, strict=True):
        assert actual.clock == [(step, pytest.approx(seconds)) for step, seconds in expected.clock]
        assert actual.notes == ["b.csv: some accuracies are above 1, so all are read as percentages."]


def test_rows_of_problems_are_their_mean(tmp_path):
    draw = random.Random(0)
    rows, means = [], []
    for run, seed, step, benchmark, _, seconds in ROWS:
        shares = {f"p{at}": [draw.randint(0, 1) for _ in range(4)] for at in range(5)}
        rows += [(run, seed, step, benchmark, hit, seconds, name) for name, hits in shares.items() for hit in hits]
        mean = sum(sum(hits) for hits in shares.values()) / 20
        means.append((run, seed, step, benchmark, mean, seconds))
    plain = read_csv(table(tmp_path / "a.csv", HEADER, means))
    shuffled = read_csv(table(tmp_path / "b.csv", (*HEADER, "Question_ID"), draw.sample(rows, len(rows))))
    for expected, actual in zip(plain, shuffled, strict=True):
        assert (expected.name, expected.clock, list(expected.results)) == (
            actual.name,
            actual.clock,
            list(actual.results),
        )
        for step, scores in expected.results.items():
            for benchmark, score in scores.items():
                by_problem = actual.results[step][benchmark]
                assert by_problem.mean("accuracy") == pytest.approx(score.mean("accuracy")) and score.shares is None
                assert sorted(by_problem.shares) == ["p0", "p1", "p2", "p3", "p4"]
    hits = [row[4] for row in rows if row[:4] == ROWS[0][:4] and row[6] == "p2"]
    assert shuffled[0].results[0]["aime24"].shares["p2"] == sum(hits) / 4


@pytest.mark.parametrize(
    ("text", "name", "benchmark"),
    [
        ("step,accuracy\n3,0.5\n", "plain", "accuracy"),
        ("\ufeffStep;Acc;Task\r\n\r\n3;0.5;aime24\r\n;;\r\n", "plain", "aime24"),
        ("\n\nglobal_step\tpass@1\tmodel\n3\t0.5\tqwen\n", "qwen", "accuracy"),
        ("Wall time,Step,Value\n1739500000.5,3.0,0.5\n", "plain", "accuracy"),  # TensorBoard's
        ('experiment, iteration, score, dataset\n"a, b", 3, "0.5", x\n', "a, b", "x"),
        ("\tstep\taccuracy\n0\t3\t0.5\n", "plain", "accuracy"),  # pandas' index
    ],
)
def test_usual_names_and_separators(text, name, benchmark, tmp_path):
    (run,) = read_csv(write(tmp_path / "plain.csv", text))
    assert (run.name, run.group, run.seed, run.clock) == (name, name, None, [])
    assert run.results == {3: {benchmark: Score.of_mean(0.5)}}
    assert len(run.notes) == ("time" in text)  # a date, not the time since training began


def test_of_two_columns_of_a_kind_one_is_taken_with_a_note(tmp_path):
    (run,) = read_csv(write(tmp_path / "a.csv", "method,model,step,accuracy\nmmr,qwen,3,0.5\n"))
    assert run.group == "qwen" and run.notes == ["a.csv: run is read from model, not from method."]


@pytest.mark.parametrize("times", [(60, 50), (1.7e9, 1.7e9 + 9)])
def test_times_that_are_not_since_the_beginning_are_left_out(times, tmp_path):
    rows = [(step, 0.5, seconds) for step, seconds in enumerate(times)]
    (run,) = read_csv(table(tmp_path / "a.csv", ("step", "accuracy", "seconds"), rows))
    assert run.clock == [] and "times are left out" in run.notes[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ".* must have a header and rows, got 0 lines"),
        ("step,accuracy\n,\n\n", ".* must have a header and rows, got 1 lines"),
        ("stp,accuracy\n1,0.5\n", ".* must have a column step or global_step or iteration, got stp, accuracy"),
        ("step,right\n1,0.5\n", ".* must have a column accuracy or score or .*, got step, right"),
        ("step,accuracy\n1,0.5\n2,half\n", "Line 3 of .* a number of at least 0 as accuracy, got 'half'"),
        ("step,accuracy\n\n2,\n", "Line 3 of .* a number of at least 0 as accuracy, got ''"),
        ("step,accuracy\n2,nan\n", "Line 2 of .* got 'nan'"),
        ("step,accuracy\n2,inf\n", "Line 2 of .* got 'inf'"),
        ("step,accuracy\n2,-0.5\n", "Line 2 of .* got '-0.5'"),
        ("step,accuracy\n2,120\n", "Line 2 of .* at most 100 percent, got 120"),
        ("step,accuracy\n1.5,0.5\n", "Line 2 of .* a whole number of at least 0 as step, got '1.5'"),
        ("step,accuracy\n" + "9" * 5000 + ",0.5\n", "Line 2 of .* a whole number of at least 0 as step"),
        ("step,accuracy,seed\n1,0.5,x\n", "Line 2 of .* a whole number of at least 0 as seed"),
        ("step,accuracy,seconds\n1,0.5,-3\n", "Line 2 of .* a number of at least 0 as seconds"),
        ("step,accuracy\n1,0,5\n", "Line 2 of .* must have 2 cells, as the header has, got 3"),
        ("step,accuracy\n1\n", "Line 2 of .* a number of at least 0 as accuracy"),
        ("step,accuracy\n1,0.5\n1,0.6\n", "Line 3 of .* a run, seed, step and benchmark of its own, or a problem"),
        ("step,accuracy,id\n1,0.5,\n", "Line 2 of .* must have a problem, got none"),
        (b"step,accuracy\n1,\xff\n", ".* must be a CSV file in UTF-8"),
        ('step,accuracy\n1,"' + "x" * 200_000, ".* must be a CSV file in UTF-8, .*field larger"),
        ("[" * 200_000, ".* must have a header and rows|.* must be a CSV file in UTF-8"),
        ("step,accuracy\n" + "x" * 100_000 + ",1\n", "Line 2"),
    ],
)
def test_a_wrong_table_is_refused_with_a_sentence(text, sentence, tmp_path):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=rf"(?s)^(?:{sentence}).*\. [A-Z][a-z ]+\.$") as refused:
        read_csv(path)
    assert str(path) in str(refused.value) and len(str(refused.value)) < 600


def test_many_rows_take_no_time(tmp_path):
    began = time.perf_counter()
    rows = [(f"run{step % 7}", step, 0.5, problem) for step in range(500) for problem in range(40)]
    assert len(read_csv(table(tmp_path / "a.csv", ("run", "step", "accuracy", "problem"), rows))) == 7
    assert time.perf_counter() - began < 20


def test_where_there_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "a.csv"):
        with pytest.raises(ValueError, match=r"must be a CSV file, got no file\. Name one\.$"):
            read_csv(path)
