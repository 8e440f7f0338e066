"""Damaged and hostile tables: a sentence with the line, never a traceback, and never a number that the file lacks."""

import os
import random
import re
import time

import pytest
from importer_files import write

from manypaths.comparison.importers import read_csv
from manypaths.comparison.importers.reading import Reading

TABLES = {  # name -> (text, what the user says)
    "long": (
        "run,seed,step,benchmark,accuracy,seconds\ngrpo,1,0,x,0.125,0\ngrpo,1,50,x,0.25,60\nmmr,1,50,x,0.375,61\n",
        {},
    ),
    "percent": ("run;step;acc (%)\na;0;12,5\na;10;25,75\nb;0;33\nb;10;41,25\n", {}),
    "signs": ("run\tstep\taccuracy\na\t0\t12.5 %\na\t10\t25 %\n", {}),
    "wide": ("method,seed,aime,math\na,1,12.5,50\na,2,13.5,51\nb,1,14.5,52\n", {"columns": ["benchmarks=aime+math"]}),
    "chart": ('"Step","a - eval/acc","b - eval/acc"\n"10","0.25",""\n"20","0.5","0.75"\n', {}),
    "history": (",_step,_runtime,eval/accuracy,train/loss\n0,10,5.1,,0.7\n1,20,9.9,0.4,0.6\n", {}),
    "tensorboard": ("Wall time,Step,Value\n1617000000.1,10,2.5\n1617000100.2,20,1.25\n", {"metric": "loss"}),
    "lightning": ("step,train_loss,accuracy\n10,0.5,\n20,0.4,0.3\n30,0.3,\n40,0.2,0.5\n", {}),
    "completions": ("step,problem,accuracy,answer\n0,p,1,7\n0,p,0,8\n0,q,1,9\n", {}),
    "quoted": ('"run","step","accuracy","text"\n"a, b","10","0.5","so ""7""\nmore"\n"c","10","0.25","x"\n', {}),
}
CUT = "the last line has no line end, so the file may be cut off there."


def read(path, metric=None, columns=()):
    """The runs, or None for a refusal, which must be a sentence of printable characters that names the file."""
    try:
        return read_csv(path, Reading.of(metric, columns=columns)).runs
    except ValueError as error:
        sentence = str(error)
        assert str(path) in sentence and sentence[-1] in ".?" and sentence.isprintable() and len(sentence) < 700
        return None


def values(runs):
    """{(run, step, benchmark, measure or problem): value}."""
    return {
        (run.name, step, benchmark, name): value
        for run in runs
        for step, scores in run.results.items()
        for benchmark, score in scores.items()
        for name, value in {**score.means, **(score.shares or {}), **(score.counts or {})}.items()
    }


@pytest.mark.parametrize(("text", "said"), TABLES.values(), ids=TABLES.keys())
def test_a_table_that_is_cut_off_has_no_other_number_or_a_note(text, said, tmp_path):
    whole = values(read(write(tmp_path / "a.csv", text), **said))
    for end in range(len(text)):
        runs = read(write(tmp_path / "a.csv", text[:end]), **said)
        if runs is not None and not text[:end].endswith("\n"):
            assert any(CUT in note for note in runs[0].notes)
        elif runs is not None and "problem" not in text:
            assert values(runs).items() <= whole.items()


@pytest.mark.parametrize(("text", "said"), TABLES.values(), ids=TABLES.keys())
@pytest.mark.parametrize("sign", ["\0", '"', "\n", "\x1b[2J", "\ufeff", "\u202e", "%", "-", ";"])
def test_a_character_in_the_wrong_place_gives_a_sentence_or_a_table(text, said, sign, tmp_path):
    for place in range(len(text)):
        runs = read(write(tmp_path / "a.csv", text[:place] + sign + text[place:]), **said)
        assert runs is None or sign != "\0"
        for run in runs or []:
            names = [run.name, *run.notes, *(name for scores in run.results.values() for name in scores)]
            assert all(name.isprintable() for name in names)


@pytest.mark.parametrize(
    "cell", ["nan", "inf", "-inf", "1e400", "-0.5", "0x1", "1_0", "\u00bd", "\u0661", "NA", "1.234,5", "1,234"]
)
@pytest.mark.parametrize("column", ["accuracy", "step", "seed", "seconds"])
def test_a_cell_that_is_no_number_of_its_column_is_refused_with_its_line(cell, column, tmp_path):
    row = {"step": "1", "seed": "1", "accuracy": "0.5", "seconds": "5"}
    rows = [row, {**row, "step": "2", column: cell}]
    text = "\n".join([";".join(row), *(";".join(row.values()) for row in rows), ""])
    with pytest.raises(ValueError, match=rf"^Line 3 of .* must have .* as {column}, got '") as refused:
        read_csv(write(tmp_path / "a.csv", text))
    hint = "a number with a comma that may separate thousands or decimals; write a decimal point"
    assert (hint in str(refused.value)) == (cell == "1,234")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ".* must have a header and rows, got 0 lines"),
        ("step,accuracy\n,\n\n", ".* must have a header and rows, got 1 lines"),
        ("stp,right\n1,0.5\n", ".* must have a column that is an accuracy, got stp, right. Name it, such as --columns"),
        ("step,score\n1,0.5\n", ".* an accuracy, got step, score. Name it, such as --columns accuracy=score"),
        ("step,accuracy\n1,0.5\n2,half\n", "Line 3 of .* a number as accuracy, got 'half'"),
        ("step,accuracy\n\n2,\n", ".* must have values of accuracy, got blank cells only"),
        ("step,accuracy\n1.5,0.5\n", "Line 2 of .* a whole number of at least 0 as step, got '1.5'"),
        ("step,accuracy\n,0.5\n", "Line 2 of .* a whole number of at least 0 as step, got ''"),
        ("step,accuracy\n" + "9" * 5000 + ",0.5\n", "Line 2 of .* a whole number of at least 0 as step"),
        ("step,accuracy,seed\n1,0.5,x\n", "Line 2 of .* a whole number of at least 0 as seed"),
        ("step,accuracy,seed\n1,0.5,3\n2,0.5,\n", "Line 3 of .* a whole number of at least 0 as seed, got ''"),
        ("step,accuracy,run\n1,0.5,x\n2,0.5,\n", "Line 3 of .* a run in one line, got ''"),
        ('step,run,accuracy\n1,"x\n2",0.5\n', r"Line 2 of .* a run in one line, got 'x\\n2'"),
        ("step,accuracy,task\n1,0.5,x\n2,0.5,\n", "Line 3 of .* a benchmark in one line, got ''"),
        ("step,accuracy,cluster\n1,0.5,\n", "Line 2 of .* a cluster in one line, got ''"),
        ("step,accuracy\n1,0,5\n", "Line 2 of .* 2 cells, as the header has, got 3.* or a decimal comma in it"),
        ("step,accuracy\n1\n", "Line 2 of .* must have 2 cells, as the header has, got 1"),
        ("step,accuracy\n1,0.5\n1,0.6\n", "Line 3 of .* a run, seed, step and benchmark of its own, .* line 2. Remove"),
        ("step,accuracy,lr\n1,0.5,a\n1,0.6,b\n", "Line 3 of .*differ in lr. .* --columns run=lr. .* --where lr=a"),
        ("step,accuracy,id\n1,0.5,p\n1,0.6,p\n", "Line 3 of .* problem of its own, unless all accuracies are 0 or 1"),
        ("step,accuracy,id\n1,0.5,\n", "Line 2 of .* must have a problem, got none"),
        (
            "step,run,accuracy\n1,a-seed1,0.5\n2,a_seed1,0.5\n",
            ".* one name of a run and its seed, got 'a-seed1' and 'a_seed1'",
        ),
        (b"step,accuracy\n1,\xff\n", ".* must be a CSV file in UTF-8"),
        ("step,accuracy\n1,0.5\n".encode("utf-16-le"), ".* must be text, got a NUL character in line 1"),
        ('step,accuracy\n1,"' + "x" * 200_000, ".* must be a CSV file, got an error in line 2: field larger"),
        ('step,accuracy\n1,0.5\n2,"0.5\n3,0.5\n', ".* must be a CSV file, got an error in line 3: unexpected end"),
        ("[" * 200_000, ".* must be a CSV file, got an error in line 1"),
        ("step,accuracy\n" + "x" * 100_000 + ",1\n", "Line 2"),
    ],
)
def test_a_wrong_table_is_refused_with_a_sentence(text, sentence, tmp_path):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=rf"(?s)^(?:{sentence})") as refused:
        read_csv(path)
    message = str(refused.value)
    assert str(path) in message and message.endswith(".") and message.isprintable() and len(message) < 600


UNITS = [  # accuracies, headers of accuracies, what the user says, shares, parts of the notes or of the refusal
    ("0 0.5 1", "accuracy", None, "0 0.5 1", "shares, because no value is above 1"),
    ("0 50 100", "accuracy", None, "0 0.5 1", "percentages, because no value but 0 is 1 or less"),
    ("0.5 50 2", "accuracy", None, None, "Line 2 of .* unit of line 3 .50., got '0.5'. .* add --unit percent if all"),
    ("0.5 0.75 71", "accuracy", None, None, "Line 4 of .* unit of line 2 .0.5., got '71'"),
    ("0.5 50 2", "accuracy", "percent", "0.005 0.5 0.02", ""),
    ("0.5 50 2", "acc (%)", None, "0.005 0.5 0.02", ""),
    ("0.5 50 2", "accuracy_pct", None, "0.005 0.5 0.02", ""),
    ("0.5 0.25", "accuracy", "percent", "0.005 0.0025", "no accuracy is above 1, and all are read as percentages"),
    ("0.5% 50% 2%", "accuracy", None, "0.005 0.5 0.02", ""),
    ("50% 0.5 2%", "accuracy", None, None, "Line 3 of .* a percent sign behind accuracy, as line 2 has, got '0.5'"),
    ("50% 2%", "accuracy", "share", None, "one unit of accuracy, got share by --unit, percent by a percent sign"),
    ("0.5 0.25", "accuracy_share", "percent", None, "one unit of accuracy, got percent by --unit, share by the header"),
    ("0.5 71", "accuracy", "share", None, "Line 3 of .* a share from 0 to 1 as accuracy, got '71'"),
    ("50 171", "accuracy", None, None, "Line 3 of .* a percentage from 0 to 100 as accuracy, got '171'"),
    ("50 -1", "accuracy", None, None, "Line 3 of .* a percentage from 0 to 100 as accuracy, got '-1'"),
    ("0 0", "accuracy", None, "0 0", ""),
]


@pytest.mark.parametrize(("cells", "header", "unit", "shares", "said"), UNITS)
def test_a_unit_is_stated_or_clear_from_the_whole_column(cells, header, unit, shares, said, tmp_path):
    rows = [f"{step},{cell}" for step, cell in enumerate(cells.split())]
    path = write(tmp_path / "a.csv", "\n".join([f"step,{header}", *rows, ""]))
    if shares is None:
        with pytest.raises(ValueError, match=said):
            read_csv(path, Reading(unit=unit))
        return
    (run,) = read_csv(path, Reading(unit=unit)).runs
    means = [scores["accuracy"].mean("accuracy") for scores in run.results.values()]
    assert means == pytest.approx([float(share) for share in shares.split()])
    about_units = [note for note in run.notes if "shares" in note or "percentages" in note]
    assert len(about_units) == bool(said) and all(said in note for note in about_units)


def test_completions_have_no_unit(tmp_path):
    path = write(tmp_path / "a.csv", "problem,accuracy\np,1\np,0\n")
    for unit in (None, "percent", "share"):
        (run,) = read_csv(path, Reading(unit=unit)).runs
        assert run.results[0]["accuracy"].mean("accuracy") == 0.5
        assert not any("percent" in note for note in run.notes)


@pytest.mark.parametrize(
    ("measure", "cell", "expected"),
    [
        ("distinct@4", "3.5", 3.5),
        ("distinct@4", "4.5", "a number from 0 to 4 as distinct@4, got '4.5'"),
        ("reward", "-250", -250.0),
        ("reward", "5 %", "a number without a percent sign as reward, got '5 %'"),
        ("reward", "1e200", "a number as reward, got '1e200'"),
    ],
)
def test_other_measures_have_their_own_range(measure, cell, expected, tmp_path):
    path = write(tmp_path / "a.csv", f"step,{measure}\n1,{cell}\n")
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=re.escape(expected)):
            read_csv(path, Reading(metric=measure))
    else:
        (run,) = read_csv(path, Reading(metric=measure)).runs
        assert [score.means for score in run.results[1].values()] == [{measure: expected}]


@pytest.mark.parametrize("times", [(60, 50), (1.7e9, 1.7e9 + 9)])
def test_times_that_are_not_since_the_beginning_are_left_out(times, tmp_path):
    rows = [f"{step},0.5,{seconds}" for step, seconds in enumerate(times)]
    (run,) = read_csv(write(tmp_path / "a.csv", "\n".join(["step,accuracy,seconds", *rows, ""]))).runs
    assert run.clock == [] and any("times of a are left out" in note for note in run.notes)


def test_a_quote_that_swallows_lines_has_a_note(tmp_path):
    text = 'step,accuracy,text\n1,0.5,"a\n2,0.5,b"\n3,0.5,c\n'
    (run,) = read_csv(write(tmp_path / "a.csv", text)).runs
    assert list(run.results) == [1, 3]
    assert any("1 cells, such as one of line 2, hold what looks like lines of the table" in note for note in run.notes)


def test_many_rows_and_long_lines_take_no_time(tmp_path):
    began = time.perf_counter()
    rows = [f"run{step % 7},{step},0.5,{problem}" for step in range(500) for problem in range(40)]
    assert len(read(write(tmp_path / "a.csv", "\n".join(["run,step,accuracy,problem", *rows, ""])))) == 7
    header = ",".join(["step", "accuracy", *(f"train/{place}" for place in range(20_000))])
    (run,) = read_csv(write(tmp_path / "b.csv", f"{header}\n1,0.5{',1' * 20_000}\n")).runs
    assert any("not read: 20000 columns: train/0, " in note and len(note) < 600 for note in run.notes)
    assert read(tmp_path / "b.csv", columns=["run=qqqqqq"]) is None
    assert read(write(tmp_path / "c.csv", "step,accuracy\n1,0.5\n" + "x" * 20_000_000)) is None
    assert read(write(tmp_path / "d.csv", "/" * 100_000 + ",step\n1,0.5\n")) is None
    assert time.perf_counter() - began < 20


def test_where_there_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "a.csv"):
        with pytest.raises(ValueError, match=r"must be a CSV file, got no file\. Name one\.$"):
            read_csv(path)


def test_random_bytes_give_a_sentence_or_a_table(tmp_path):
    draw = random.Random(0)
    for _ in range(300):
        text = bytearray(TABLES[draw.choice(list(TABLES))][0].encode())
        for _ in range(draw.randrange(1, 6)):
            text[draw.randrange(len(text))] = draw.randrange(256)
        read(write(tmp_path / "a.csv", bytes(text)))


def test_options_in_sentences_are_quoted_for_a_shell(tmp_path):
    with pytest.raises(ValueError, match=re.escape("""--columns 'accuracy=$(rm -rf x)'""")):
        read_csv(write(tmp_path / "a.csv", "step,$(rm -rf x)\n1,0.5\n"))
