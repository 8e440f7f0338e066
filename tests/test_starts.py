"""The starts of a sweep: made once for each seed, before its runs, and refused where a folder holds something else."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from test_pretrain import SMALL
from test_sweep import finish

from manypaths import recipe, result_rows
from manypaths.cli import main
from manypaths.files import LOCK, only_writer
from manypaths.preflight import cold_start
from manypaths.run_folder import PRETRAINED, read_recipe
from manypaths.training import forked, starts, sweep
from manypaths.training.grid import Job, jobs, read_grid, starts_of, usual_workers

SHORT = ["trainer.max_steps=2", "trainer.per_device_train_batch_size=16", "evaluation.samples=4"]
SHORT += [f"evaluation.problems.options.{value}" for value in ("count=4", "nodes=4", "joined=[3,5]")]
RELATIVE = {"recipes": SMALL, "folder": "starts/{seed}"}
OUTSIDE = ["tiny-0.2m", "colouring"]


def grid_in(folder, **changes):
    content = {
        "starts": {"recipes": SMALL, "folder": str(folder / "starts" / "{seed}")},
        "recipes": [*SMALL, "{method}", *SHORT],
        "grid": {"method": {"grpo": ["grpo", "none"], "mmr": ["grpo", "mmr"]}},
        "seeds": [1, 2],
        "baseline": "grpo",
        **changes,
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (["tiny-0.2m", "colouring"], r"starts must have recipes and folder, got \['tiny-0.2m', 'colouring'\]. Write"),
        ({"recipes": OUTSIDE}, "starts must have recipes and folder, got no folder. Add recipes:"),
        ({"folder": "starts/{seed}"}, "got no recipes. Add"),
        ({"recipes": OUTSIDE, "folder": "starts"}, "starts.folder must contain {seed}, .* got 'starts'"),
        ({"recipes": OUTSIDE, "folder": "a #{seed}"}, "starts.folder must be a path that YAML reads as a text"),
        ({"recipes": OUTSIDE, "folder": "a: {seed}"}, "starts.folder"),
        ({"recipes": OUTSIDE, "folder": "{seed}"}, "starts.folder must be a path that YAML reads as a text"),
        ({"recipes": OUTSIDE, "folder": "a\x1b{seed}"}, "starts.folder must be a path .*x1b"),
        ({"recipes": OUTSIDE, "out": "starts/{seed}"}, "Unknown .* 'starts.out'"),
        ({"recipes": "tiny-0.2m", "folder": "s/{seed}"}, r"starts.recipes must be list\[str\], got 'tiny-0.2m'"),
        ({"recipes": ["tiny-0.3m"], "folder": "s/{seed}"}, "starts.recipes are not valid: Unknown recipe 'tiny-0.3m'"),
        ({"recipes": ["tiny-0.2m", "arithmetic"], "folder": "s/{seed}"}, "not valid: prompt must be a text"),
        (
            {"recipes": [*OUTSIDE, "pretrain.problems={name: cover, options: {held_out: 1}}"], "folder": "s/{seed}"},
            "not valid: pretrain.problems.options.held_out must be false, got 1",
        ),
    ],
    ids=str,
)
def test_invalid_starts_are_refused_before_anything_is_written(changed, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = grid_in(tmp_path, starts=changed)
    with pytest.raises(ValueError, match=complaint):
        jobs(read_grid(path))
    assert main(["sweep", str(path), "--out", "out"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("word", ["model.name=other", "cluster=3"])
def test_runs_must_not_set_what_their_start_sets(word, tmp_path):
    path = grid_in(tmp_path, recipes=[*SMALL, "{method}", word])
    with pytest.raises(ValueError, match=f"{word.partition('=')[0]} must be left out of a grid with starts"):
        jobs(read_grid(path))


def test_the_runs_of_a_seed_share_its_start(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    wanted = {"recipes": [*SMALL, "pretrain.rare=0.{seed}"], "folder": "starts/{seed}"}
    path = grid_in(tmp_path, starts=wanted)
    runs = jobs(read_grid(path))
    assert [run.start.folder for run in runs] == [Path("starts", str(seed)) for seed in (1, 1, 2, 2)]
    assert [run.words[-3:] for run in runs[::2]] == [
        [f"model.name=starts/{n}", f"cluster={n}", f"seed={n}"] for n in "12"
    ]
    assert [start.words for start in starts_of(runs)] == [[*SMALL, f"pretrain.rare=0.{n}", f"seed={n}"] for n in "12"]
    assert main(["sweep", str(path), "--dry-run"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in listed[:2]] == [
        ["open", f"starts/{n}:", "manypaths", "pretrain"] for n in "12"
    ]
    assert listed[1].endswith(" seed=2 --out starts/2") and all("manypaths train" in line for line in listed[2:])
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep by two workers whose starts are made: (its folder, what it printed)."""
    folder = tmp_path_factory.mktemp("starts")
    command = [sys.executable, "-m", "manypaths", "sweep", str(grid_in(folder, starts=RELATIVE)), "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_each_start_is_made_once_before_the_runs_of_its_seed(swept):
    folder, printed = swept
    lines = printed.splitlines()
    for seed in "12":
        start = Path("starts", seed)
        (began,) = (number for number, line in enumerate(lines) if line.startswith(f"{start}: manypaths pretrain"))
        (ended,) = (
            number for number, line in enumerate(lines) if line.startswith(f"{start}: ") and line.endswith(" s")
        )
        trained = [number for number, line in enumerate(lines) if f" seed={seed}" in line and number != began]
        assert began < ended < min(trained) and len(trained) == 2
        assert (folder / "starts" / f"{seed}.log").read_text().count("64 demonstrations") == 1
        assert recipe.read_recorded(folder / start / PRETRAINED).seed == int(seed)
        for method in ("grpo", "mmr"):
            spec = read_recipe(folder / "out" / f"{method}-{seed}")
            assert (spec.model.name, spec.cluster, spec.seed) == (str(start), int(seed), int(seed))
    names = [starts.LOCKS, "1", "1.log", "2", "2.log"]
    assert sorted(path.name for path in (folder / "starts").iterdir()) == names
    weights = [(folder / "starts" / seed / "model.safetensors").read_bytes() for seed in "12"]
    assert weights[0] != weights[1]
    assert ("2 runs are trained at a time" in printed) == (forked.core_count() == 2)
    assert (folder / "out" / "comparison").is_dir()


@pytest.fixture
def copy(swept, tmp_path, monkeypatch):
    """A copy of the sweep, which is the working directory: the folder of the copy."""
    shutil.copytree(swept[0], tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_a_sweep_that_is_finished_makes_no_start_again(copy, capsys):
    shutil.rmtree("starts")
    for option in (["--dry-run"], []):
        assert main(["sweep", "grid.yaml", "--out", "out", *option]) == 0
        assert "manypaths pretrain" not in capsys.readouterr().out and not Path("starts").exists()


def test_finished_runs_whose_start_has_other_settings_are_refused(copy, capsys):
    content = {"recipes": [*SMALL, "pretrain.rare=0.5"], "folder": "starts/{seed}"}
    grid_in(copy, starts=content)
    for option in (["--dry-run"], []):
        assert main(["sweep", "grid.yaml", "--out", "out", *option]) == 2
        captured = capsys.readouterr()
        assert (
            "'starts/1' holds a start of another recipe (pretrain.rare: 0.1 there, pretrain.rare: 0.5 here)"
            in captured.err
        )
        assert "remove that folder and the runs that began with it" in captured.err
        assert "Left out" not in captured.err and "mmr" not in captured.out


def test_a_start_that_is_made_again_beside_its_finished_runs_is_named(swept, tmp_path, monkeypatch, capsys):
    shutil.copytree(swept[0] / "out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "mmr-1")

    def fail(runs, out, workers, shared):
        shared.failed.update({run.name: "failed" for run in runs})

    monkeypatch.setattr(sweep, "_train_all", fail)
    monkeypatch.chdir(tmp_path)
    runs = jobs(read_grid(grid_in(tmp_path, starts=RELATIVE, seeds=[1, 2, 3])))
    (tmp_path / "out" / result_rows.ROWS).unlink()
    assert list(sweep.run(runs, tmp_path / "out")) == ["mmr-1", "grpo-3", "mmr-3"]
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note: ")]
    assert len(notes) == 1 and "starts/1 is made again" in notes[0] and "train these runs again" in notes[0]


def test_a_start_of_another_recipe_is_refused_before_anything_trains(swept, tmp_path, capsys):
    shutil.copytree(swept[0] / "starts", tmp_path / "starts")
    content = {"recipes": [*SMALL, "pretrain.rare=0.5"], "folder": str(tmp_path / "starts" / "{seed}")}
    command = ["sweep", str(grid_in(tmp_path, starts=content, seeds=[3, 2])), "--out", str(tmp_path / "out")]
    for option in ([], ["--dry-run"]):
        assert main([*command, *option]) == 2
        captured = capsys.readouterr()
        assert f"'{tmp_path}/starts/2' holds a start of another recipe" in captured.err
        assert "pretrain.rare: 0.1 there, pretrain.rare: 0.5 here" in captured.err
        assert "manypaths train" not in captured.out
    assert not (tmp_path / "out").exists() and not (tmp_path / "starts" / "3").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "must be the folder of a start, or not exist, but has no pretrain.yaml"),
        (b"\xff\x00", "is damaged: Recipe .* is not YAML"),
        (b"model: 3\n", "is damaged: "),
        (b"colour: \x1b[31m\n", "is damaged: "),
    ],
)
def test_a_folder_with_something_else_is_refused_with_its_name(content, complaint, tmp_path, capsys):
    folder = tmp_path / "starts" / "2"
    folder.mkdir(parents=True)
    (folder / ("notes" if content is None else PRETRAINED)).write_bytes(content or b"mine")
    assert main(["sweep", str(grid_in(tmp_path)), "--out", str(tmp_path / "out")]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert str(folder) in sentence and "\x1b" not in sentence
    (start,) = starts_of(jobs(read_grid(grid_in(tmp_path, seeds=[2]))))
    with pytest.raises(ValueError, match=complaint):
        starts.is_made(start)


def test_settings_of_the_runs_do_not_make_another_start(swept):
    folder = str(swept[0] / "starts" / "{seed}")
    same = starts.Starts([*SMALL, "trainer.learning_rate=1", "model.name=x"], folder)
    assert starts.is_made(starts.of_seed(same, 1))
    others = ("pretrain.problems={name: cover}", 'name: "colouring" there, .*name: "cover" here')
    for word, difference in (
        ("model.dtype=float64", 'model.dtype: "float64" here'),
        ("model.architecture=null", "model.architecture.hidden_size: 16 there, nothing here"),
        others,
    ):
        with pytest.raises(ValueError, match=f"holds a start of another recipe .*{difference}"):
            starts.is_made(starts.of_seed(starts.Starts([*SMALL, word], folder), 1))


def waited_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_start_whose_process_was_killed_is_made_again_and_leaves_no_half_folder(tmp_path):
    (start,) = starts_of(jobs(read_grid(grid_in(tmp_path, seeds=[1]))))
    words = [*start.words, "pretrain.trainer.max_steps=100000", "--out", str(start.folder)]
    killed = subprocess.Popen([sys.executable, "-m", "manypaths", "pretrain", *words], stdout=subprocess.DEVNULL)
    try:
        waited_for(lambda: starts.state(start) == "running")
        assert not starts.make(start) and not start.is_there
    finally:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
    assert starts.state(start) == "open" and not start.folder.exists()
    assert len(cold_start.unfinished(start.folder)) == 1
    assert starts.make(start) and start.is_there and starts.state(start) == "made"
    assert sorted(path.name for path in start.folder.parent.iterdir()) == [starts.LOCKS, "1", "1.log"]
    assert LOCK not in os.listdir(start.folder)


def test_a_start_that_another_process_makes_is_left_to_it_and_other_seeds_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    began = []

    def train(job, out, cores=()):
        began.append(job.name)
        finish(job, out)
        return 0

    monkeypatch.setattr(sweep, "_train", train)
    runs = jobs(read_grid(grid_in(tmp_path)))
    runs[2].start.is_there = runs[3].start.is_there = True
    with only_writer(starts._lock(runs[0].start)):
        worker = threading.Thread(target=sweep.run, args=(runs, tmp_path / "out"), daemon=True)
        worker.start()
        waited_for(lambda: len(began) == 2)
        time.sleep(0.1)
        assert began == ["grpo-2", "mmr-2"] and worker.is_alive()
        runs[0].start.is_there = True
    worker.join(30)
    assert not worker.is_alive() and began[2:] == ["grpo-1", "mmr-1"]


def test_a_start_that_fails_is_tried_once_and_the_runs_of_its_seed_alone_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    monkeypatch.chdir(tmp_path)
    content = {"recipes": [*SMALL, "pretrain.trainer.max_step={seed}"], "folder": "starts/{seed}"}
    monkeypatch.setattr(sweep, "_train", lambda job, out, cores=(): finish(job, out) or 0)
    runs = jobs(read_grid(grid_in(tmp_path, starts=content)))
    for run in runs:
        run.start.is_there = run.name.endswith("-2")
    failed = sweep.run(runs, tmp_path / "out", workers=2)
    assert sorted(failed) == ["grpo-1", "mmr-1"] and failed["grpo-1"] == failed["mmr-1"]
    assert failed["grpo-1"].startswith("failed (2); The start starts/1 was not made (2, see starts/1.log): ")
    assert "max_step'. Did you mean" in failed["grpo-1"]
    assert capsys.readouterr().out.count("starts/1: manypaths pretrain ") == 1
    rows = {row.name: row for row in result_rows.read(tmp_path / "out" / result_rows.ROWS)}
    assert {name: row.finished for name, row in rows.items()} == {run.name: run.name.endswith("-2") for run in runs}
    assert rows["mmr-1"].failed.code == 2 and "was not made" in rows["mmr-1"].failed.last_line


def test_a_sweep_whose_starts_all_fail_ends_with_1_and_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    content = {"recipes": [*SMALL, "pretrain.trainer.max_step=3"], "folder": str(tmp_path / "starts" / "{seed}")}
    assert main(["sweep", str(grid_in(tmp_path, starts=content)), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert sorted(re.findall(rf"The start {tmp_path}/starts/([12]) was not made \(2, see", printed.out)) == list("1122")
    assert "max_step'. Did you mean" in printed.out and "so there is nothing to compare" in printed.err
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix == ".log"]


def test_the_shipped_grid_is_that_of_the_study_with_starts_of_its_own():
    grid = read_grid(recipe.find_grid("diversity"))
    study = yaml.safe_load((Path(__file__).parent.parent / "bench" / "study.yaml").read_text())
    assert grid.recipes == [word for word in study["recipes"] if not word.startswith(starts.SET_HERE)]
    assert grid.grid["method"].items() <= study["grid"]["method"].items() and "grpo" in grid.grid["method"]
    runs = jobs(grid)
    assert len(runs) == 15 and usual_workers(runs) == min(15, forked.core_count())
    assert usual_workers([*runs, Job("large")]) == 1


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("diversty", "Unknown grid 'diversty'. Did you mean 'diversity'?"),
        ("grid.yaml", "Grid file 'grid.yaml' does not exist"),
    ],
)
def test_an_unknown_grid_is_refused_with_the_nearest_name(name, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", name]) == 2
    assert complaint in capsys.readouterr().err and not list(tmp_path.iterdir())
