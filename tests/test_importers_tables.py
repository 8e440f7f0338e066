"""Tables of other software: what goes in comes out, in whatever layout, unit and order it is written."""

import itertools
import random
from collections import Counter
from statistics import fmean

import pytest
from importer_files import write

from manypaths.comparison.importers import read_csv
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.read import read as read_paths
from manypaths.comparison.runs import Score
from manypaths.counts import Counts


def table(path, header, rows, separator=","):
    lines = [separator.join(map(str, row)) for row in (header, *rows)]
    return write(path, "\n".join(lines) + "\n")


def read(path, metric=None, unit=None, columns=(), where=()):
    return read_csv(path, Reading.of(metric, unit, columns, where)).runs


def contents(runs):
    """Runs without their notes and groups, so that a run of a file and one of a column are alike."""
    return [(run.name, run.seed, run.cluster, run.clock, run.results) for run in runs]


def notes(runs):
    """The notes of runs without the name of their file."""
    assert not any(run.notes for run in runs[1:])
    return [note.partition(": ")[2] for note in runs[0].notes]


SHARES = "accuracy is read as shares, because no value is above 1. If they are percentages: --unit percent."
PERCENT = "accuracy is read as percentages, because no value but 0 is 1 or less."
ROWS = [
    ("grpo", 1, 0, "aime24", 0.125, 0.0),
    ("grpo", 1, 50, "aime24", 0.25, 60.0),
    ("grpo", 1, 50, "amc23", 0.5, 60.0),
    ("grpo", 2, 50, "amc23", 0.625, 61.0),
    ("mmr", 1, 50, "amc23", 0.75, 90.0),
]
HEADER = ("run", "seed", "step", "benchmark", "accuracy", "seconds")


def test_a_table_comes_out(tmp_path):
    runs = read(table(tmp_path / "a.csv", HEADER, ROWS))
    assert [(run.name, run.group, run.seed) for run in runs] == [
        ("grpo-seed1", "grpo", 1),
        ("grpo-seed2", "grpo", 2),
        ("mmr-seed1", "mmr", 1),
    ]
    first, second, third = runs
    assert first.results == {
        0: {"aime24": Score.of_mean(0.125)},
        50: {"aime24": Score.of_mean(0.25), "amc23": Score.of_mean(0.5)},
    }
    assert first.clock == [(0, 0.0), (50, 60.0)] and third.clock == [(50, 90.0)]
    assert second.results == {50: {"amc23": Score.of_mean(0.625)}} and notes(runs) == [SHARES]


# the same results in several layouts


def several(draw):
    """Random results: {(run, seed, step, benchmark): accuracy}, of shares that percentages hold exactly."""
    keys = itertools.product(("grpo", "mmr"), (1, 2), (0, 50, 100), ("aime24", "amc23"))
    return {key: draw.randint(3, 199) / 200 for key in keys}


def long_rows(results, scale=1.0):
    return [
        (run, seed, step, benchmark, f"{value * scale:.12g}") for (run, seed, step, benchmark), value in results.items()
    ]


def wide_rows(results, scale=1.0):
    keys = dict.fromkeys(key[:3] for key in results)
    return [(*key, *(f"{results[(*key, name)] * scale:.12g}" for name in ("aime24", "amc23"))) for key in keys]


LONG = ("run", "seed", "step", "benchmark", "accuracy")
WIDE = ("run", "seed", "step", "aime24", "amc23")


@pytest.mark.parametrize("seed", range(3))
def test_layouts_units_and_separators_hold_the_same(seed, tmp_path):
    results = several(random.Random(seed))
    expected = contents(read(table(tmp_path / "long.csv", LONG, long_rows(results))))
    percent = long_rows(results, 100)
    benchmarks = ["benchmarks=aime24+amc23"]
    same = [
        read(table(tmp_path / "said.csv", LONG, percent), unit="percent"),
        read(table(tmp_path / "assumed.csv", LONG, percent)),
        read(table(tmp_path / "header.csv", (*LONG[:4], "accuracy_percent"), percent)),
        read(table(tmp_path / "brackets.csv", (*LONG[:4], "Acc (%)"), percent)),
        read(table(tmp_path / "signs.csv", LONG, [(*row[:4], f"{row[4]} %") for row in percent])),
        read(table(tmp_path / "semicolon.csv", LONG, percent, ";")),
        read(table(tmp_path / "tab.tsv", LONG, percent, "\t")),
        read(
            table(tmp_path / "comma.csv", LONG, [[str(cell).replace(".", ",") for cell in row] for row in percent], ";")
        ),
        read(write(tmp_path / "utf16.csv", (tmp_path / "long.csv").read_text().encode("utf-16"))),
        read(
            write(
                tmp_path / "windows.csv", b"\xef\xbb\xbf" + (tmp_path / "long.csv").read_bytes().replace(b"\n", b"\r\n")
            )
        ),
        read(table(tmp_path / "wide.csv", WIDE, wide_rows(results)), columns=benchmarks),
        read(table(tmp_path / "wide2.csv", WIDE, wide_rows(results, 100)), columns=benchmarks, unit="percent"),
    ]
    for runs in same:
        assert close(contents(runs), expected)
    fractions = sum("." in row[4] for row in percent)
    assert f"{fractions} of 24 numbers of accuracy are read with a decimal comma." in notes(same[7])


def close(actual, expected):
    """Whether contents are equal; of two accuracies that differ by rounding, too."""
    flat = [
        [
            (name, seed, cluster, clock, step, benchmark)
            for name, seed, cluster, clock, by_step in runs
            for step, scores in by_step.items()
            for benchmark in scores
        ]
        for runs in (actual, expected)
    ]
    means = [
        [score.means["accuracy"] for *_, by_step in runs for scores in by_step.values() for score in scores.values()]
        for runs in (actual, expected)
    ]
    return flat[0] == flat[1] and means[0] == pytest.approx(means[1])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_rows_and_columns_does_not_matter(seed, tmp_path):
    draw = random.Random(seed)
    completions = [
        (run, step, draw.choice("pqr"), draw.randint(0, 1), draw.choice("xy"))
        for run in ("a", "b")
        for step in (0, 5)
        for _ in range(9)
    ]
    chart = [(step, draw.random(), draw.random(), draw.random()) for step in range(4)]
    for header, rows, columns in (
        (HEADER, ROWS, ()),
        (WIDE, wide_rows(several(draw)), ["benchmarks=aime24+amc23"]),
        (("run", "step", "problem", "accuracy", "key"), completions, ()),
        (("Step", "a - eval/acc", "b - eval/acc", "b - eval/acc__MIN"), chart, ()),
    ):
        places = draw.sample(range(len(header)), len(header))
        mixed = [[row[place] for place in places] for row in draw.sample(rows, len(rows))]
        runs = read(table(tmp_path / "a.csv", header, rows), columns=columns)
        assert read(table(tmp_path / "a.csv", [header[place] for place in places], mixed), columns=columns) == runs
        assert all(list(run.results) == sorted(run.results) for run in runs)


def test_hours_are_seconds(tmp_path):
    plain = read(table(tmp_path / "a.csv", HEADER, ROWS))
    hours = read(table(tmp_path / "b.csv", (*HEADER[:5], "hours"), [(*row[:5], row[5] / 3600) for row in ROWS]))
    for expected, actual in zip(plain, hours, strict=True):
        assert actual.clock == [(step, pytest.approx(seconds)) for step, seconds in expected.clock]


# nothing is dropped without a note


NOTED = {
    "long": ("run,seed,step,task,accuracy,loss,lr", "a,1,5,x,0.5,2.0,1e-5", "b,1,5,x,0.25,1.0,1e-5"),
    "run and others": ("run,model,method,steps,acc,acc_stderr,wall_time", "a,m,q,5,0.5,0.1,7", "b,m,q,5,0.7,0.1,9"),
    "lightning": ("epoch,step,val_acc,train_loss", "0,5,,0.5", "0,9,0.5,", "1,10,,0.4", "1,19,0.625,"),
    "keras": ("epoch,val_accuracy,loss,val_loss", "0,0.5,1.0,2.0", "1,0.75,0.5,1.0"),
    "wandb": (",_step,_runtime,_timestamp,eval/accuracy,train/loss", "0,1,5.5,17e8,,3", "1,2,6.5,17e8,0.5,2"),
    "chart": ('Step,"a - eval/acc","a - eval/acc__MAX","a - _step"', "1,0.5,0.75,1", "2,0.5,0.5,2"),
    "problems": (
        "step,problem,accuracy,answer,key,text",
        "1,p,1,7,k,so 7",
        "1,p,1,7,l,so 7",
        "1,p,0,8,k,so 8",
        "1,q,1,9,l,so 9",
    ),
    "shares": ("step,problem,accuracy,answer,seconds,hours", "1,p,0.5,7,60,1", "1,q,0.25,8,60,1"),
    "measures": ("step,accuracy,pass@8,distinct@8,majority,n", "1,0.5,0.75,3.5,1.0,8", "2,0.5,1.0,4.5,1.0,8"),
}


@pytest.mark.parametrize("lines", NOTED.values(), ids=NOTED.keys())
def test_a_column_counts_or_is_named(lines, tmp_path):
    header, *rows = [line.split(",") for line in lines]
    whole = read(table(tmp_path / "a.csv", header, rows))
    for place, name in enumerate(header):
        rest = [[*row[:place], *row[place + 1 :]] for row in (header, *rows)]
        try:
            without = contents(read(table(tmp_path / "a.csv", rest[0], rest[1:])))
        except ValueError:
            continue  # the column is needed
        is_index = name == ""
        plain = name.strip('"')
        assert (without != contents(whole)) or is_index or any(plain in note for note in notes(whole)), name


def test_blank_cells_are_counted(tmp_path):
    draw = random.Random(1)
    cells = [[draw.choice(["", draw.randint(2, 9) / 10]) for _ in range(3)] for _ in range(20)]
    rows = [(step, *row) for step, row in enumerate(cells)]
    runs = read(table(tmp_path / "a.csv", ("step", "x", "y", "z"), rows), columns=["benchmarks=x+y+z"])
    read_values = sum(len(scores) for scores in runs[0].results.values())
    blank = 60 - read_values
    assert read_values == sum(cell != "" for row in cells for cell in row) and 0 < blank < 60
    assert f"{blank} of 60 cells of accuracy are blank and left out." in notes(runs)


# headers


@pytest.mark.parametrize(
    ("text", "name", "benchmark", "said"),
    [
        ("step,accuracy\n3,0.5\n", "plain", "accuracy", []),
        ("\ufeffStep;Acc;Task\r\n\r\n3;0.5;aime24\r\n;;\r\n", "plain", "aime24",
         ["accuracy is read from Acc, benchmark is read from Task."]),
        ("\n\nglobal_step\tpass@1\tmodel\n3\t0.5\tqwen\n", "qwen", "accuracy",
         ["accuracy is read from pass@1, run is read from model, step is read from global_step."]),
        ('experiment, iteration, Accuracy, dataset\n"a, b", 3, "0.5", x\n', "a, b", "x",
         ["benchmark is read from dataset, run is read from experiment, step is read from iteration."]),
        ("\tstep\taccuracy\n0\t3\t0.5\n", "plain", "accuracy", []),  # pandas' index
        (",_step,eval/accuracy\n0,3,0.5\n", "plain", "eval",
         ["accuracy is read from eval/accuracy, step is read from _step."]),
        ("epoch,val_acc\n3,0.5\n", "plain", "val", ["accuracy is read from val_acc, step is read from epoch."]),
        ("arm,steps,pass_at_1\na,3,0.5\n", "a", "accuracy",
         ["accuracy is read from pass_at_1, run is read from arm, step is read from steps."]),
    ],
)  # fmt: skip
def test_well_known_headers_and_separators(text, name, benchmark, said, tmp_path):
    runs = read(write(tmp_path / "plain.csv", text))
    assert contents(runs) == [(name, None, None, [], {3: {benchmark: Score.of_mean(0.5)}})]
    assert notes(runs) == [*said, SHARES]


@pytest.mark.parametrize(
    ("header", "pair", "option"),
    [
        ("step,accuracy,accuracy", "accuracy and accuracy", "Rename one."),
        ("step,accuracy,Accuracy", "accuracy and Accuracy", "columns accuracy=accuracy"),
        ("step,pass@1,acc", "pass@1 and acc", "columns accuracy=pass@1"),
        ("step,a/accuracy,b/accuracy", "a/accuracy and b/accuracy", "columns benchmarks=a/accuracy+b/accuracy"),
        ("step,accuracy,method,model", "method and model", "columns run=method+model"),
        ("_step,accuracy,train/global_step", "_step and train/global_step", "columns step=_step"),
        ("step,accuracy,run,run", "run and run", "Rename one."),
    ],
)
def test_two_columns_that_may_mean_the_same_are_refused(header, pair, option, tmp_path):
    path = write(tmp_path / "a.csv", f"{header}\n" + ",".join("0" * (header.count(",") + 1)) + "\n")
    with pytest.raises(ValueError, match="must have one column that is the ") as refused:
        read(path)
    assert pair in str(refused.value) and option in str(refused.value)


def test_the_user_names_columns_metrics_and_lines(tmp_path):
    rows = [("x", "m", 1, 10, 0.5, 2.5), ("x", "n", 1, 10, 0.25, 1.5), ("y", "m", 1, 10, 0.75, -0.5)]
    path = table(tmp_path / "a.csv", ("method", "model", "s", "t", "quality", "my reward"), rows)
    names = ["run=method+model,seed=s,step=t,accuracy=quality"]
    runs = read(path, columns=names)
    assert [(run.name, run.results[10]["accuracy"].mean("accuracy")) for run in runs] == [
        ("x/m-seed1", 0.5),
        ("x/n-seed1", 0.25),
        ("y/m-seed1", 0.75),
    ]
    assert notes(runs) == ["not read: my reward.", SHARES]
    runs = read(path, metric="my reward", columns=["run=method,seed=s", "step=t"], where=["model=m"])
    assert [run.results[10]["my reward"].means for run in runs] == [{"my reward": 2.5}, {"my reward": -0.5}]
    assert notes(runs) == ["not read: quality.", "2 of 3 lines are read, those where model is m."]
    assert len(read(path, columns=names, where=["method=x+y,model=n+m"])) == 3
    blank = table(
        tmp_path / "b.csv", ("run", "regime", "step", "accuracy"), [("x", "", 1, 0.5), ("x", "noise", 1, 0.25)]
    )
    runs = read(blank, where=["regime="])
    assert runs[0].results == {1: {"accuracy": Score.of_mean(0.5)}}
    assert "1 of 2 lines are read, those where regime is empty." in notes(runs)
    assert "no line has z in method." in notes(read(path, columns=names, where=["method=x+z"]))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"columns": ["rnu=method"]}, "A column must mean run, seed, .*, got 'rnu'. Did you mean 'run'?"),
        ({"columns": ["run=methd"]}, "have one column 'methd' for --columns run, got none. Did you mean 'method'?"),
        ({"columns": ["run"]}, "--columns must be NAME=VALUE,NAME=VALUE, got 'run'"),
        ({"columns": ["run=a", "run=b"]}, "--columns must have run once, got it twice"),
        ({"columns": ["benchmark=method,benchmarks=accuracy"]}, "must have benchmark or benchmarks, got both"),
        ({"columns": ["benchmarks=accuracy+accuracy"]}, "must have one column that is the accuracy of accuracy"),
        ({"where": ["methud=x"]}, "must have one column 'methud' for --where, got none. Did you mean 'method'?"),
        ({"where": ["method=grop"]}, "must have lines with 'grop' in 'method', got none. Did you mean 'grpo'?"),
        ({"unit": "percents"}, "The unit must be percent or share, got 'percents'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_with_the_nearest_name(options, sentence, tmp_path):
    path = write(tmp_path / "a.csv", "method,step,accuracy\ngrpo,3,0.5\n")
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        read(path, **options)


# exports of loggers


def test_a_chart_of_wandb_has_a_run_in_each_column(tmp_path):
    header = [
        "Step",
        *(f'"{run} - eval/accuracy{end}"' for run in ("grpo-seed1", "mmr") for end in ("", "__MIN", "__MAX")),
    ]
    runs = read(
        table(tmp_path / "a.csv", header, [(10, 0.25, 0.25, 0.25, "", "", ""), (20, 0.5, 0.5, 0.5, 0.75, 0.5, 0.75)])
    )
    assert contents(runs) == [
        ("grpo-seed1", 1, None, [], {10: {"eval": Score.of_mean(0.25)}, 20: {"eval": Score.of_mean(0.5)}}),
        ("mmr", None, None, [], {20: {"eval": Score.of_mean(0.75)}}),
    ]
    assert [run.group for run in runs] == ["grpo", "mmr"]
    assert any("values of mmr are means over several runs or steps" in note for note in notes(runs))
    assert "seeds are read from the names of runs, such as 1 of grpo-seed1." in notes(runs)


def test_charts_of_several_metrics_need_a_name(tmp_path):
    text = 'Step,"a - eval/accuracy","a - train/accuracy","a - loss"\n1,0.5,0.75,3.5\n'
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(ValueError, match=r"got eval/accuracy and train/accuracy\. Name one with --metric\."):
        read(path)
    for metric, benchmark, measure, value in (
        ("train/accuracy", "train", "accuracy", 0.75),
        ("loss", "loss", "loss", 3.5),
    ):
        (run,) = read(path, metric=metric)
        assert run.results == {1: {benchmark: Score.of_mean(value, measure=measure)}}
    with pytest.raises(ValueError, match=r"got loss, reward\. Name one with --metric\."):
        read(write(tmp_path / "b.csv", 'Step,"a - loss","a - reward"\n1,0.5,0.75\n'))
    runs = read(write(tmp_path / "d.csv", 'Step,"a - acc (%)","a - acc (%)__MIN"\n1,50,50\n'))
    assert contents(runs) == [("a", None, None, [], {1: {"accuracy": Score.of_mean(0.5)}})] and notes(runs) == []
    with pytest.raises(ValueError, match="must have one column that is the accuracy of a"):
        read(write(tmp_path / "c.csv", 'Step,"a - acc","a - acc"\n1,0.5,0.75\n'))  # two runs of one name


def test_the_metric_of_a_tensorboard_export_must_be_named(tmp_path):
    path = write(tmp_path / "a.csv", "Wall time,Step,Value\n1617000000.1,10,2.5\n1617000100.2,20,0.75\n")
    with pytest.raises(ValueError, match="If the value is an accuracy, add --metric accuracy, else --metric with its"):
        read(path)
    runs = read(path, metric="train/loss")
    assert [run.results[10] for run in runs] == [{"train/loss": Score.of_mean(2.5, measure="train/loss")}]
    assert notes(runs)[0] == "seconds is read from Wall time." and "times of a are left out" in notes(runs)[1]
    path = write(tmp_path / "b.csv", "Wall time,Step,Value\n1617000000.1,10,0.5\n")
    for options in ({"metric": "accuracy"}, {"columns": ["accuracy=Value"]}, {"metric": "right", "unit": "share"}):
        (run,) = read(path, **options)
        assert [score.means for score in run.results[10].values()] == [{"accuracy": 0.5}]


def test_measures_stand_side_by_side(tmp_path):
    header = ("step", "benchmark", "accuracy", "pass@8", "distinct@8", "majority", "reward")
    (run,) = read(table(tmp_path / "a.csv", header, [(5, "x", 0.25, 0.5, 3.5, 0.75, -2.0)]), metric="reward")
    means = dict(zip(header[2:], (0.25, 0.5, 3.5, 0.75, -2.0), strict=True))
    assert run.results == {5: {"x": Score(means=means)}}


# runs, seeds and clusters


def test_names_of_runs_come_from_columns_or_from_the_path(tmp_path):
    for folder in ("grpo", "mmr"):
        write(tmp_path / folder / "progress.csv", "step,accuracy\n1,0.5\n")
        write(tmp_path / folder / "named.csv", "step,run,accuracy\n1,same,0.5\n")
    files = [read(tmp_path / folder / "progress.csv")[0] for folder in ("grpo", "mmr")]
    assert files[0].group != files[1].group
    columns = [read(tmp_path / folder / "named.csv")[0] for folder in ("grpo", "mmr")]
    assert columns[0].group == columns[1].group == "same"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("run",), ("mmr-seed3",)], ("mmr-seed3", "mmr", 3)),
        ([("run", "seed"), ("mmr-seed3", 3)], ("mmr-seed3", "mmr", 3)),
        ([("run", "seed"), ("mmr-seed3", 4)], ("mmr-seed3-seed4", "mmr-seed3", 4)),
        ([("run", "seed"), ("mmr", "")], ("mmr", "mmr", None)),
        ([("run", "seed"), ("mmr-seed3", "")], ("mmr-seed3", "mmr", 3)),
        ([("run",), ("mmr-3",)], ("mmr-3", "mmr-3", None)),
        ([("run",), ("mmr_s3",)], ("mmr_s3", "mmr_s3", None)),
    ],
)
def test_a_seed_is_a_column_or_the_word(rows, expected, tmp_path):
    header, row = rows
    runs = read(table(tmp_path / "a.csv", (*header, "step", "accuracy"), [(*row, 1, 0.5)]))
    assert [(run.name, run.group, run.seed) for run in runs] == [expected]
    from_name = expected[2] is not None and row[1:] in ((), ("",))
    assert from_name == any("seeds are read from the names of runs" in note for note in notes(runs))


def test_clusters_are_starts_that_seeds_share(tmp_path):
    rows = [("mmr", start, seed, 1, 0.5) for start in ("a", "b") for seed in (1, 2)]
    runs = read(table(tmp_path / "a.csv", ("run", "cluster", "seed", "step", "accuracy"), rows))
    assert [(run.name, run.group, run.seed, run.cluster) for run in runs] == [
        ("mmr-a-seed1", "mmr", 1, "a"),
        ("mmr-b-seed1", "mmr", 1, "b"),
        ("mmr-a-seed2", "mmr", 2, "a"),
        ("mmr-b-seed2", "mmr", 2, "b"),
    ]


def test_a_table_without_a_step_is_one_evaluation(tmp_path):
    runs = read(table(tmp_path / "a.csv", ("method", "seed", "benchmark", "pass_at_1"), [("grpo", 42, "amc23", 0.575)]))
    assert runs[0].results == {0: {"amc23": Score.of_mean(0.575)}}
    assert "no column is the step, so all results are of step 0." in notes(runs)


# problems and completions


def test_rows_of_problems_are_counted_completions(tmp_path):
    draw = random.Random(0)
    rows = [
        (run, step, f"p{draw.randrange(5)}", draw.choice(["3", "4", "5", " 3", ""]), draw.choice("kl"))
        for run in ("a", "b") for step in (0, 9) for _ in range(60)
    ]  # fmt: skip
    rows = [(*row[:3], int(row[3].strip() == "3"), *row[3:]) for row in rows]
    runs = read(
        table(tmp_path / "a.csv", ("run", "step", "Question_ID", "accuracy", "answer", "key"), draw.sample(rows, 240))
    )
    for run in runs:
        for step, scores in run.results.items():
            counts = scores["accuracy"].counts
            mine = [row for row in rows if row[:2] == (run.name, step)]
            assert set(counts) == {row[2] for row in mine}
            for problem, count in counts.items():
                samples = [row for row in mine if row[2] == problem]
                by_key = Counter(row[5] for row in samples if row[3])
                votes = Counter(row[4].strip() for row in samples if row[4]).most_common()
                top = [answer for answer, number in votes if number == votes[0][1]]
                assert count == Counts(
                    len(samples),
                    sum(by_key.values()),
                    tuple(sorted(by_key.values(), reverse=True)),
                    ("3" in top) / len(top),
                )
    sizes = Counter(row[:3] for row in rows).values()
    expected = (
        f"a line is one completion, because all accuracies are 0 or 1; a problem has {min(sizes)} to {max(sizes)}."
    )
    assert notes(runs)[-1] == expected


def test_without_keys_right_answers_are_distinct_by_text(tmp_path):
    rows = [("p", 1, "7"), ("p", 1, "7 "), ("p", 1, "x"), ("p", 0, "8"), ("p", 0, "")]
    (run,) = read(table(tmp_path / "a.csv", ("problem", "accuracy", "answer"), rows))
    assert run.results[0]["accuracy"].counts == {"p": Counts(5, 3, (2, 1), 1.0)}
    (run,) = read(table(tmp_path / "a.csv", ("problem", "accuracy"), [row[:2] for row in rows]))
    assert run.results[0]["accuracy"].counts == {"p": Counts(5, 3)}


def test_a_column_of_gold_answers_is_no_answer(tmp_path):
    runs = read(table(tmp_path / "a.csv", ("problem", "accuracy", "answer"), [("p", 1, "7"), ("p", 0, "7")]))
    assert runs[0].results[0]["accuracy"].counts == {"p": Counts(2, 1)}
    assert any(
        "answer is not read as the answer of a completion, because lines 2 and 3 have the same one" in note
        for note in notes(runs)
    )


def test_a_right_completion_without_a_key_means_that_there_are_no_keys(tmp_path):
    runs = read(table(tmp_path / "a.csv", ("problem", "accuracy", "key"), [("p", 1, "a"), ("p", 1, ""), ("p", 0, "")]))
    assert runs[0].results[0]["accuracy"].counts == {"p": Counts(3, 2)}
    assert "key is not read as the key of a completion, because line 3 has none." in notes(runs)


def test_problems_with_shares_and_with_other_measures(tmp_path):
    rows = [(f"p{place}", place / 8, place / 4, 2.0 - place) for place in range(1, 4)]
    runs = read(table(tmp_path / "a.csv", ("problem", "accuracy", "pass@4", "reward"), rows), metric="reward")
    score = Score(means={"pass@4": 0.5, "reward": 0.0}, shares={row[0]: row[1] for row in rows})
    assert {name: score for scores in runs[0].results.values() for name, score in scores.items()} == {
        "accuracy": Score(means={"pass@4": 0.5}, shares=score.shares),
        "reward": Score.of_mean(fmean(row[3] for row in rows), measure="reward"),
    }
    assert "of pass@4, reward only the mean over problems is read." in notes(runs)


def test_long_texts_that_begin_alike_are_different_problems(tmp_path):
    text = "x" * 500
    (run,) = read(table(tmp_path / "a.csv", ("problem", "accuracy"), [(text + "a", 0), (text + "b", 1)]))
    counts = run.results[0]["accuracy"].counts
    assert sorted(counts.values()) == [Counts(1, 0), Counts(1, 1)] and max(map(len, counts)) < 200


def test_notes_tell_files_of_one_name_apart(tmp_path):
    paths = [write(tmp_path / name / "progress.csv", "step,acc\n1,0.5\n") for name in ("grpo", "mmr")]
    runs, refused = read_paths(paths)
    assert refused == [] and [run.name for run in runs] == ["grpo", "mmr"]
    assert [run.notes[0].partition(": ")[0] for run in runs] == ["grpo (progress.csv)", "mmr (progress.csv)"]
    seeds = [write(tmp_path / f"x-seed{seed}.TSV", "step\tacc\n1\t0.5\n") for seed in (1, 2)]
    runs, refused = read_paths(seeds)
    assert refused == [] and [(run.name, run.seed) for run in runs] == [("x-seed1", 1), ("x-seed2", 2)]
    assert runs[0].group == runs[1].group


def test_columns_and_lines_are_for_tables_alone(tmp_path):
    for reading in (Reading(columns={"run": "method"}), Reading(where={"method": "grpo"})):
        with pytest.raises(ValueError, match=r"must be for a \.csv or \.tsv table, got none"):
            read_paths([tmp_path], reading)


@pytest.mark.parametrize("seed", range(3))
def test_a_run_may_stand_in_several_tables_but_a_result_in_one(seed, tmp_path):
    draw = random.Random(seed)
    rows = [(*row, 60 * row[2]) for row in long_rows(several(draw))]
    header = (*LONG, "seconds")
    parts = [[] for _ in range(3)]
    for row in rows:
        draw.choice(parts).append(row)
    paths = [table(tmp_path / f"{place}.csv", header, part) for place, part in enumerate(parts)]
    runs, refused = read_paths(paths)
    whole = contents(read(table(tmp_path / "whole.csv", header, rows)))
    assert refused == [] and sorted(contents(runs), key=lambda run: run[:2]) == whole
    again = table(tmp_path / "again.csv", header, [draw.choice(parts[1]), ("new", 1, 0, "aime24", 0.5, 0)])
    more, refused = read_paths([*paths, again])
    assert contents(more) == contents(runs)
    assert len(refused) == 1 and "again.csv' must have results that no other table has, got accuracy of" in refused[0]


def test_tables_of_one_run_keep_their_measures_notes_and_first_times(tmp_path):
    first = table(tmp_path / "a.csv", ("run", "step", "problem", "accuracy", "seconds"), [("x", 5, "p", 0.25, 9)])
    second = table(tmp_path / "b.csv", ("run", "step", "pass@8", "seconds"), [("x", 5, 0.5, 8), ("x", 9, 0.75, 20)])
    (run,), refused = read_paths([first, second])
    assert refused == [] and run.clock == [(5, 9.0), (9, 20.0)]
    assert run.results == {
        5: {"accuracy": Score(means={"pass@8": 0.5}, shares={"p": 0.25})},
        9: {"accuracy": Score(means={"pass@8": 0.75})},
    }
    assert "x: two tables have different times of a step; the first counts." in run.notes
    assert [note.partition(":")[0] for note in run.notes[:-1]] == ["a.csv", "b.csv"]


def test_units_that_only_values_state_must_agree_between_tables(tmp_path):
    shares, percent, zeros, stated = (
        table(tmp_path / f"{name}.csv", ("run", "step", header), [(name, 1, first), (name, 2, last)])
        for name, header, first, last in (
            ("shares", "accuracy", 0.5, 0.75),
            ("percent", "accuracy", 50, 75),
            ("zeros", "accuracy", 0, 0),
            ("stated", "accuracy_percent", 0.5, 75),
        )
    )
    runs, refused = read_paths([shares, percent, zeros, stated])
    assert [run.name for run in runs] == ["shares", "zeros", "stated"]
    assert len(refused) == 1 and "percent.csv' must have accuracy in the unit of '" in refused[0]
    assert len(read_paths([percent, zeros, stated])[0]) == 3
    runs, refused = read_paths([shares, percent], Reading(unit="percent"))
    assert refused == [] and [run.results[1]["accuracy"].mean("accuracy") for run in runs] == [0.005, 0.5]
