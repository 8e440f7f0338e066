"""A grid of runs: what a grid file may hold, locks, and a real sweep of a tiny model by two processes at once."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest
import yaml

from manypaths.cli import main
from manypaths.comparison.compare import configurations, read
from manypaths.files import only_writer, read_jsonl
from manypaths.recipe import read as read_recipe
from manypaths.training import sweep
from manypaths.training.sweep import Grid, Job, jobs, lock, read_grid, state

GRID = {
    "recipes": ["smollm2-135m", "arithmetic", "{method}", "{size}", "trainer.max_steps=2"],
    "grid": {
        "method": {"grpo": ["grpo", "none"], "mmr": ["mmr"]},
        "size": {"small": ["trainer.num_generations=4"], "usual": []},
    },
    "seeds": [3, 1],
}


def written(folder, content):
    path = folder / "grid.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_grid_is_read(tmp_path):
    found = read_grid(written(tmp_path, {**GRID, "baseline": "grpo-small", "target": "90%-of-rise"}))
    assert found == Grid(GRID["recipes"], GRID["grid"], [3, 1], "grpo-small", "90%-of-rise")
    assert read_grid(written(tmp_path, {**GRID, "target": 0.7})).target == 0.7


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("recipes: [", "is not YAML: while parsing"),
        ("", "A grid file asks for recipes, grid and seeds; .* has no recipes, grid, seeds"),
        ("[1, 2]", "A grid file asks for recipes, grid and seeds; .* has no recipes, grid, seeds"),
        ({"seed": [1]}, "Unknown .* 'seed'. Did you mean 'seeds'"),
        ({"seeds": ...}, "has no seeds"),
        ({"recipes": ...}, "has no recipes"),
        ({"grid": ...}, "has no grid"),
        ({"seeds": []}, r"one or more different seeds; given \[\]"),
        ({"seeds": [1, 2, 1]}, r"one or more different seeds; given \[1, 2, 1\]"),
        ({"seeds": ["1"]}, r"seeds asks for list\[int\]; given \['1'\]"),
        ({"seeds": 3}, r"seeds asks for list\[int\]; given 3"),
        ({"recipes": "grpo"}, r"recipes asks for list\[str\]; given 'grpo'"),
        ({"grid": {"method": ["grpo", "mmr"]}}, "grid asks for dict"),
        ({"grid": {"method": {"grpo": "grpo"}}}, "grid asks for dict"),
        ({"recipes": ["smollm2-135m", "{method}"]}, r"axis 'size' asks for a place: put \{size\} among recipes"),
        ({"recipes": [*GRID["recipes"], "{sice}"]}, r"\{sice\} in recipes names no axis. Did you mean '\{size\}'"),
        ({"grid": {**GRID["grid"], "size": {}}}, "axis 'size' has no values. Give it some"),
        ({"grid": {**GRID["grid"], "size": {"a/b": []}}}, "Values of an axis name folders: .* given 'a/b'"),
        ({"baseline": "grpo"}, "Unknown baseline 'grpo'. Did you mean 'grpo-"),
        ({"baseline": "grpo-small-1"}, "Unknown baseline 'grpo-small-1'. Did you mean 'grpo-small'"),
    ],
    ids=str,
)
def test_what_is_no_grid_is_refused(content, complaint, tmp_path):
    if isinstance(content, dict):
        content = {key: value for key, value in {**GRID, **content}.items() if value is not ...}
    with pytest.raises(ValueError, match=complaint) as error:
        read_grid(written(tmp_path, content))
    assert "\n" not in str(error.value)


def test_jobs_are_the_product_all_of_the_first_seed_first(tmp_path):
    found = jobs(read_grid(written(tmp_path, GRID)))
    names = ["grpo-small", "grpo-usual", "mmr-small", "mmr-usual"]
    assert [job.name for job in found] == [f"{name}-{seed}" for seed in (3, 1) for name in names]
    start, end = ["smollm2-135m", "arithmetic"], "trainer.max_steps=2"
    assert found[0].words == [*start, "grpo", "none", "trainer.num_generations=4", end, "seed=3"]
    assert found[7].words == [*start, "mmr", end, "seed=1"]
    made = [read_recipe([w for w in job.words if "=" not in w], [w for w in job.words if "=" in w]) for job in found]
    assert [one.seed for one in made] == [3] * 4 + [1] * 4
    assert [one.method.reweight for one in made] == [None, None, "mmr", "mmr"] * 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["mrr"], "Unknown recipe 'mrr'. Did you mean 'mmr'"),
        (["rewards=5"], "rewards asks for dict"),
        (["metod.reweight=mmr"], "Unknown recipe key 'metod'"),
    ],
)
def test_a_run_that_cannot_be_is_named(words, complaint, tmp_path):
    grid = {**GRID, "grid": {**GRID["grid"], "method": {"grpo": ["grpo"], "bad": words}}}
    with pytest.raises(ValueError, match=f"^The run bad-small-3 cannot be: {complaint}"):
        jobs(read_grid(written(tmp_path, grid)))


def test_two_runs_of_one_name_are_refused(tmp_path):
    values = {"a": {"x": [], "x-y": ["seed=1"]}, "b": {"y-z": [], "z": []}}
    grid = {"recipes": ["smollm2-135m", "grpo", "arithmetic", "{a}", "{b}"], "grid": values, "seeds": [1]}
    with pytest.raises(ValueError, match="Two runs of the grid would be named x-y-z-1"):
        jobs(read_grid(written(tmp_path, grid)))


def test_a_target_that_is_none_is_refused_before_any_run(tmp_path, capsys):
    path = written(tmp_path, {**GRID, "target": "best"})
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "given 'best'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_lock_is_of_one_and_only_while_it_is_held(tmp_path):
    path = tmp_path / "run.lock"
    with lock(path) as ours:
        with lock(path) as theirs:
            assert (ours, theirs) == (True, False)
        assert state(Job("run"), tmp_path) == "running"
    assert state(Job("run"), tmp_path) == "open" and list(tmp_path.iterdir()) == []
    with contextlib.suppress(KeyError), lock(path) as ours:
        assert ours
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("age", "taken"), [(0, False), (sweep.DEAD - 30, False), (sweep.DEAD + 30, True)])
def test_a_lock_that_nobody_touches_is_taken_over(age, taken, tmp_path):
    path = tmp_path / "run.lock"
    path.write_text("elsewhere 1\n")
    os.utime(path, (time.time() - age,) * 2)
    with lock(path) as ours:
        assert ours == taken
        assert (path.read_text() == "elsewhere 1\n") == (not taken)
        with lock(path) as another:
            assert not another
    assert path.exists() == (not taken)


def test_a_lock_is_touched_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "BEAT", 0.01)
    path = tmp_path / "run.lock"
    with lock(path):
        os.utime(path, (0, 0))
        late = time.monotonic() + 10
        while path.stat().st_mtime < time.time() - 60:
            assert time.monotonic() < late
            time.sleep(0.01)


def test_of_many_that_race_for_a_lock_of_a_dead_machine_one_gets_it(tmp_path):
    holders, count, rounds = [], 8, 100
    begin, end = threading.Barrier(count), threading.Barrier(count)

    def race():
        for number in range(rounds):
            path = tmp_path / f"{number}.lock"
            begin.wait()
            with lock(path) as ours:
                if ours:
                    holders.append(number)
                end.wait()

    for number in range(rounds):
        (tmp_path / f"{number}.lock").touch()
        os.utime(tmp_path / f"{number}.lock", (0, 0))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=race) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(holders) == list(range(rounds))


def test_what_others_finish_meanwhile_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)

    def finish():
        while not (tmp_path / "first.log").exists():
            time.sleep(0.001)
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "summary.json").write_text("{}")

    threading.Thread(target=finish, daemon=True).start()
    assert sweep.run([Job("first", ["nowhere"]), Job("second", ["nowhere"])], tmp_path) == ["first"]
    assert not (tmp_path / "second.log").exists()


def test_a_run_that_is_trained_outside_of_the_sweep_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    job, trained = Job("first", ["nowhere"]), []
    monkeypatch.setattr(sweep, "_train", lambda job, out: trained.append(job.name))

    with only_writer(tmp_path / "first"):
        assert state(job, tmp_path) == "running"
        waiting = threading.Thread(target=sweep.run, args=([job], tmp_path), daemon=True)
        waiting.start()
        time.sleep(0.3)
        assert waiting.is_alive() and not trained
        (tmp_path / "first" / "summary.json").write_text("{}")
        waiting.join(10)
    assert not waiting.is_alive() and not trained and state(job, tmp_path) == "finished"


def with_rewards():
    """An environment in which the reward below is found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])}


def letters(completions, **_):
    """A reward on which a random model has spread."""
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


SWEEP = """
import sys
from pathlib import Path
from manypaths.training import sweep

sweep.PAUSE = 0.1
folder = Path(sys.argv[1])
broken = sweep.Job("broken-1", [str(folder / "tiny.yaml"), f"model.name={folder}/nowhere", "seed=1"])
waiting = sweep.jobs(sweep.read_grid(folder / "grid.yaml"))
print("failed:", *sweep.run([broken, *waiting] if sys.argv[2] == "first" else waiting, folder / "out"))
"""
NAMES = ["grpo-1", "mmr-1", "grpo-2", "mmr-2"]


@pytest.fixture(scope="module")
def swept(tiny_model, tmp_path_factory):
    """A sweep that two processes did at once: (its folder, what each of them printed)."""
    folder = tmp_path_factory.mktemp("sweep")
    tiny = {
        "model": {"name": str(tiny_model), "dtype": "float32"},
        "problems": {"name": "arithmetic", "options": {"count": 20, "seed": 1}},
        "prompt": "{question} ",
        "rewards": {"test_sweep.letters": 1.0},
        "trainer": {
            "num_generations": 4,
            "per_device_train_batch_size": 4,
            "max_completion_length": 4,
            "max_steps": 2,
            "save_steps": 2,
            "learning_rate": 1e-2,
            "bf16": False,
            "disable_tqdm": True,
        },
        "evaluation": {
            "problems": {"name": "arithmetic", "options": {"count": 2, "seed": 2, "held_out": True}},
            "max_new_tokens": 2,
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    values = {"grpo": ["method.reweight=null"], "mmr": ["method.reweight=mmr"]}
    grid = {"recipes": [str(folder / "tiny.yaml"), "{method}"], "grid": {"method": values}, "seeds": [1, 2]}
    written(folder, {**grid, "baseline": "grpo"})
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SWEEP, str(folder), which], env=with_rewards(), stdout=subprocess.PIPE, text=True
        )
        for which in ("first", "second")
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0]
    return folder, printed


def test_two_processes_run_every_job_once(swept):
    folder, printed = swept
    began = [line for each in printed for line in each.splitlines() if "seed=" in line]
    assert sorted(line.split(":")[0] for line in began if not line.startswith("broken")) == sorted(NAMES)
    for name in NAMES:
        run = folder / "out" / name
        assert (folder / "out" / f"{name}.log").read_text().count("step 1/2") == 1
        assert [line["step"] for line in read_jsonl(run / "metrics.jsonl")] == [1, 2] and (
            run / "summary.json"
        ).exists()
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(
        [*NAMES, *(f"{name}.log" for name in NAMES), "broken-1.log"]
    )


def test_a_run_that_fails_is_named_and_stops_no_other(swept):
    folder, (first, second) = swept
    (sentence,) = [line for line in first.splitlines() if line.startswith("broken-1: failed")]
    assert "failed (2)" in sentence and f"'{folder}/nowhere' does not exist" in sentence
    assert str(folder / "out" / "broken-1.log") in sentence
    assert (first.splitlines()[-1], second.splitlines()[-1]) == ("failed: broken-1", "failed:")


def test_the_runs_of_a_sweep_are_read_as_configurations_of_its_seeds(swept):
    runs, refused = read([swept[0] / "out"])
    found, notes = configurations(runs)
    assert refused == notes == []
    assert {one.name: [run.seed for run in one.runs] for one in found} == {"grpo": [1, 2], "mmr": [1, 2]}


def contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_what_is_finished_is_left_alone_and_what_is_not_goes_on(swept, monkeypatch):
    folder = swept[0]
    monkeypatch.setattr(sweep, "PAUSE", 0.1)
    monkeypatch.setenv("PYTHONPATH", with_rewards()["PYTHONPATH"])
    waiting, before = jobs(read_grid(folder / "grid.yaml")), contents(folder / "out")
    assert {state(job, folder / "out") for job in waiting} == {"finished"}
    assert sweep.run(waiting, folder / "out") == [] and contents(folder / "out") == before
    (folder / "out" / "mmr-1" / "summary.json").unlink()
    assert state(waiting[1], folder / "out") == "open"
    assert sweep.run(waiting, folder / "out") == []
    after = contents(folder / "out")
    assert after.keys() == before.keys()
    changed = {path.relative_to(folder / "out").as_posix() for path in before if after[path] != before[path]}
    assert {"mmr-1/summary.json", "mmr-1.log"} <= changed and all(name.startswith("mmr-1") for name in changed)
    assert "mmr-1/metrics.jsonl" not in changed
