"""A grid of runs: valid grid files, locks, and a real sweep of a tiny model by two processes at once."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import pytest
import yaml

from manypaths import recipe, result_rows
from manypaths.cli import main
from manypaths.comparison.configurations import grouped
from manypaths.comparison.read import read
from manypaths.files import content_of, only_writer, read_jsonl
from manypaths.recipe import read as read_recipe
from manypaths.result_rows import ROWS
from manypaths.training import forked, sweep
from manypaths.training.grid import Grid, Job, jobs, read_grid
from manypaths.training.sweep import state

GRID = {
    "recipes": ["smollm2-135m", "arithmetic", "{method}", "{size}", "trainer.max_steps=2"],
    "grid": {
        "method": {"grpo": ["grpo", "none"], "mmr": ["mmr"]},
        "size": {"small": ["trainer.num_generations=4"], "usual": []},
    },
    "seeds": [3, 1],
}
TINY = ["tiny-0.2m", "colouring"]


def finish(job, out):
    """Make the folder of a finished run."""
    (out / job.name).mkdir(exist_ok=True)
    (out / job.name / "recipe.yaml").write_text(recipe.dump(job.recipe))
    (out / job.name / "summary.json").write_text("{}")


def written(folder, content):
    path = folder / "grid.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_grid_is_read(tmp_path):
    grid = read_grid(written(tmp_path, {**GRID, "baseline": "grpo-small", "target": "90%-of-rise"}))
    assert grid == Grid(GRID["recipes"], GRID["grid"], [3, 1], "grpo-small", target="90%-of-rise")
    assert read_grid(written(tmp_path, {**GRID, "target": 0.7})).target == 0.7


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("recipes: [", "is not YAML: while parsing"),
        ("", "must have recipes, grid and seeds, got no recipes, grid, seeds. Add them"),
        ("[1, 2]", "must have recipes, grid and seeds, got no recipes, grid, seeds. Add them"),
        ({"seed": [1]}, "Unknown .* 'seed'. Did you mean 'seeds'"),
        ({"seeds": ...}, "got no seeds"),
        ({"recipes": ...}, "got no recipes"),
        ({"grid": ...}, "got no grid"),
        ({"seeds": []}, r"must be one or more different integers, got \[\]"),
        ({"seeds": [1, 2, 1]}, r"must be one or more different integers, got \[1, 2, 1\]"),
        ({"seeds": ["1"]}, r"seeds .* list\[int\].* \['1'\]"),
        ({"seeds": 3}, r"seeds .* list\[int\].* 3"),
        ({"recipes": "grpo"}, r"recipes .* list\[str\].* 'grpo'"),
        ({"grid": {"method": ["grpo", "mmr"]}}, "grid .* dict"),
        ({"grid": {"method": {"grpo": "grpo"}}}, "grid .* dict"),
        ({"recipes": ["smollm2-135m", "{method}"]}, r"must contain \{size\} for the axis 'size', got .* Add it"),
        ({"recipes": [*GRID["recipes"], "{sice}"]}, r"\{sice\} in recipes names no axis. Did you mean '\{size\}'"),
        ({"grid": {**GRID["grid"], "size": {}}}, "axis 'size' must have values, got none. Add some"),
        ({"grid": {**GRID["grid"], "size": {"a/b": []}}}, "axis 'size' must consist of letters, .* got 'a/b'. Rename"),
        ({"baseline": "grpo"}, "Unknown baseline 'grpo'. Did you mean 'grpo-"),
        ({"baseline": "grpo-small-1"}, "Unknown baseline 'grpo-small-1'. Did you mean 'grpo-small'"),
    ],
    ids=str,
)
def test_an_invalid_grid_is_refused(content, complaint, tmp_path):
    if isinstance(content, dict):
        content = {key: value for key, value in {**GRID, **content}.items() if value is not ...}
    with pytest.raises(ValueError, match=complaint) as error:
        read_grid(written(tmp_path, content))
    assert "\n" not in str(error.value)


def test_jobs_are_the_product_all_of_the_first_seed_first(tmp_path):
    runs = jobs(read_grid(written(tmp_path, GRID)))
    names = ["grpo-small", "grpo-usual", "mmr-small", "mmr-usual"]
    assert [job.name for job in runs] == [f"{name}-{seed}" for seed in (3, 1) for name in names]
    start, end = ["smollm2-135m", "arithmetic"], "trainer.max_steps=2"
    assert runs[0].words == [*start, "grpo", "none", "trainer.num_generations=4", end, "seed=3"]
    assert runs[7].words == [*start, "mmr", end, "seed=1"]
    specs = [read_recipe([w for w in job.words if "=" not in w], [w for w in job.words if "=" in w]) for job in runs]
    assert [spec.seed for spec in specs] == [3] * 4 + [1] * 4
    assert [spec.method.reweight for spec in specs] == [None, None, "mmr", "mmr"] * 2


def test_a_part_of_the_grid_has_the_runs_that_the_whole_grid_has(tmp_path):
    grid = read_grid(written(tmp_path, GRID))
    part = jobs(grid, ["mmr-small", "grpo-small"])
    assert part == [job for job in jobs(grid) if "-small-" in job.name] and len(part) == 4
    with pytest.raises(ValueError, match="Unknown configuration 'mmr-smal'"):
        jobs(grid, ["mmr-smal"])


def test_a_part_of_the_grid_must_have_the_baseline(tmp_path, capsys):
    protocol = {"name": "p", "baseline": "grpo-usual", "arms": ["mmr-small"]}
    protocol["primary"] = [{"metric": "accuracy", "claim": "better"}]
    (tmp_path / "protocol.yaml").write_text(yaml.safe_dump(protocol))
    part = ["--configurations", "mmr-small", "--dry-run"]
    for settled in ({"baseline": "grpo-usual"}, {"protocol": "protocol.yaml"}):
        assert main(["sweep", str(written(tmp_path, {**GRID, **settled})), *part]) == 2
        assert "--configurations must contain the baseline grpo-usual" in capsys.readouterr().err
    assert main(["sweep", str(written(tmp_path, GRID)), *part]) == 0
    assert capsys.readouterr().out.count("manypaths train") == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["mrr"], "Unknown recipe 'mrr'. Did you mean 'mmr'"),
        (["rewards=5"], "rewards .* dict"),
        (["metod.reweight=mmr"], "Unknown recipe key 'metod'"),
    ],
)
def test_an_invalid_run_is_named(words, complaint, tmp_path):
    grid = {**GRID, "grid": {**GRID["grid"], "method": {"grpo": ["grpo"], "bad": words}}}
    with pytest.raises(ValueError, match=f"^The run bad-small-3 is not valid: {complaint}"):
        jobs(read_grid(written(tmp_path, grid)))


def test_two_runs_of_one_name_are_refused(tmp_path):
    values = {"a": {"x": [], "x-y": ["seed=1"]}, "b": {"y-z": [], "z": []}}
    grid = {"recipes": ["smollm2-135m", "grpo", "arithmetic", "{a}", "{b}"], "grid": values, "seeds": [1]}
    with pytest.raises(ValueError, match="Two runs of the grid would be named x-y-z-1"):
        jobs(read_grid(written(tmp_path, grid)))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (("grpo", "GRPO"), "Two runs of the grid would be named grpo-1 and GRPO-1, which are one name on some file"),
        (("\xe9", "e\u0301"), "must consist of letters|which are one name on some file systems"),
        (("\ufb01", "fi"), "which are one name on some file systems"),
        (("a" * 199,), "must have at most 200 bytes, got a"),
    ],
)
def test_names_that_are_one_folder_on_some_disks_are_refused(values, complaint, tmp_path):
    grid = {"recipes": ["smollm2-135m", "grpo", "arithmetic", "{a}"], "grid": {"a": {value: [] for value in values}}}
    with pytest.raises(ValueError, match=complaint):
        jobs(read_grid(written(tmp_path, {**grid, "seeds": [1]})))


def test_a_configuration_that_the_grid_has_twice_is_refused(tmp_path):
    text = "recipes: [smollm2-135m, grpo, arithmetic, '{a}']\nseeds: [1]\ngrid:\n  a:\n    x: []\n    x: [mmr]\n"
    with pytest.raises(ValueError, match=r"is not YAML: .* the key 'x' is there twice"):
        read_grid(written(tmp_path, text))


def test_an_invalid_target_is_refused_before_any_run(tmp_path, capsys):
    path = written(tmp_path, {**GRID, "target": "best"})
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "'best'" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_run_is_claimed_by_one_process_and_only_while_that_trains_it(tmp_path):
    job = Job("first")
    with sweep._claim(job, tmp_path) as ours:
        assert state(job, tmp_path) == "running"
        with sweep._claim(job, tmp_path) as theirs, sweep._claim(Job("second"), tmp_path) as other:
            assert (ours, theirs, other) == (True, False, True)
    assert state(job, tmp_path) == "open"
    with contextlib.suppress(KeyError), sweep._claim(job, tmp_path):
        raise KeyError
    with sweep._claim(job, tmp_path) as again:
        assert again
    assert content_of(tmp_path) == [tmp_path / sweep.LOCKS]


HOLDER = """
import sys, time
from pathlib import Path
from manypaths.training import grid, sweep

with sweep._claim(grid.Job("first"), Path(sys.argv[1])) as claimed:
    print(claimed, flush=True)
    time.sleep(600)
"""


def test_the_run_of_a_killed_process_is_taken_over(tmp_path):
    job = Job("first")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "True\n" and state(job, tmp_path) == "running"
        with sweep._claim(job, tmp_path) as claimed:
            assert not claimed
    finally:
        holder.kill()
        holder.wait()
    assert state(job, tmp_path) == "open"
    with sweep._claim(job, tmp_path) as claimed:
        assert claimed


def test_of_many_that_race_for_a_run_one_gets_it(tmp_path):
    holders, count, rounds = [], 8, 3
    begin, end = threading.Barrier(count), threading.Barrier(count)

    def race():
        for number in range(rounds):
            begin.wait()
            with sweep._claim(Job(str(number)), tmp_path) as claimed:
                if claimed:
                    holders.append(number)
                end.wait()

    threads = [threading.Thread(target=race) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(holders) == list(range(rounds))


def test_a_run_that_others_finish_meanwhile_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)

    def others():
        while not (tmp_path / "first.log").exists():
            time.sleep(0.001)
        finish(second, tmp_path)

    second = Job("second", TINY)
    threading.Thread(target=others, daemon=True).start()
    assert list(sweep.run([Job("first", ["nowhere"]), second], tmp_path)) == ["first"]
    assert not (tmp_path / "second.log").exists()


@pytest.mark.parametrize("began", ["before the sweep", "while the sweep starts it"])
def test_a_run_that_is_trained_outside_of_the_sweep_is_waited_for(began, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    job, started, failed = Job("first", TINY), [], []
    other = only_writer(tmp_path / "first")

    def train(job, out, cores=()):
        started.append(job.name)
        other.__enter__()
        return 2

    monkeypatch.setattr(sweep, "_train", train)
    if began == "before the sweep":
        other.__enter__()
        assert state(job, tmp_path) == "running"
    waiting = threading.Thread(target=lambda: failed.append(sweep.run([job], tmp_path)), daemon=True)
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive() and started == ([] if began == "before the sweep" else ["first"])
    finish(job, tmp_path)
    waiting.join(10)
    other.__exit__(None, None, None)
    assert not waiting.is_alive() and len(started) < 2 and failed == [{}] and state(job, tmp_path) == "finished"


def with_rewards():
    """An environment in which `test_run.letters` can be imported."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])}


SWEEP = """
import sys
from pathlib import Path
from manypaths.training import grid, sweep

sweep.PAUSE = 0.1
folder = Path(sys.argv[1])
broken = grid.Job("broken-1", [str(folder / "nowhere.yaml"), "seed=1"])
runs = grid.jobs(grid.read_grid(folder / "grid.yaml"))
print("failed:", *sweep.run([broken, *runs] if sys.argv[2] == "first" else runs, folder / "out"))
"""
NAMES = ["mmr-1", "mmr-2"]


@pytest.fixture(scope="module")
def swept(tiny_model, tmp_path_factory):
    """A sweep by two processes at once: (its folder, the output of each process)."""
    folder = tmp_path_factory.mktemp("sweep")
    tiny = {
        "model": {"name": str(tiny_model), "dtype": "float32"},
        "problems": {"name": "arithmetic", "options": {"count": 20, "seed": 1}},
        "prompt": "{question} ",
        "rewards": {"test_run.letters": 1.0},
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
    methods = {"mmr": ["method.reweight=mmr"]}
    grid = {"recipes": [str(folder / "tiny.yaml"), "{method}"], "grid": {"method": methods}, "seeds": [1, 2]}
    written(folder, {**grid, "baseline": "mmr"})
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


def row_of(name, folder):
    return result_rows.to_json(result_rows.of_folder(folder / "out" / name))


def test_two_processes_train_every_run_once(swept):
    folder, printed = swept
    began = [line for output in printed for line in output.splitlines() if "seed=" in line]
    assert sorted(line.split(":")[0] for line in began if not line.startswith("broken")) == NAMES
    for name in NAMES:
        run = folder / "out" / name
        assert (folder / "out" / f"{name}.log").read_text().count("step 1/2") == 1
        assert [line["step"] for line in read_jsonl(run / "metrics.jsonl")] == [1, 2]
        assert (run / "summary.json").exists()
    logs = [f"{name}.log" for name in ("broken-1", *NAMES)]
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted([sweep.LOCKS, *NAMES, *logs, ROWS])
    rows = result_rows.read(folder / "out" / ROWS)
    assert [(row.name, row.finished) for row in rows] == [("broken-1", False), *((name, True) for name in NAMES)]
    assert rows[0].failed.code == 2 and "nowhere.yaml' does not exist" in rows[0].failed.last_line
    assert rows[1:] == [result_rows.from_json(json.loads(text), folder) for text in map(row_of, NAMES, [folder] * 2)]


def test_a_run_that_fails_is_named_and_stops_no_other(swept):
    folder, (first, second) = swept
    (sentence,) = [line for line in first.splitlines() if line.startswith("broken-1: failed")]
    assert "failed (2)" in sentence and f"'{folder}/nowhere.yaml' does not exist" in sentence
    assert str(folder / "out" / "broken-1.log") in sentence
    assert (first.splitlines()[-1], second.splitlines()[-1]) == ("failed: broken-1", "failed:")


def test_the_runs_of_a_sweep_are_read_as_configurations_of_its_seeds(swept):
    runs, refused = read([swept[0] / "out"])
    results, notes = grouped(runs).groups, grouped(runs).notes
    assert refused == [] and [note.split(";")[0] for note in notes] == ["broken-1 failed (exit code 2)"]
    assert [(result.name, [run.seed for run in result.runs]) for result in results] == [("mmr", [1, 2])]


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and "comparison" not in path.parts]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_finished_runs_are_left_alone_and_an_unfinished_one_is_resumed(swept, monkeypatch, capsys):
    folder = swept[0]
    out, command = folder / "out", ["sweep", str(folder / "grid.yaml"), "--out", str(folder / "out")]
    monkeypatch.setattr(sweep, "PAUSE", 0.0)
    monkeypatch.setattr(
        sweep, "_train", lambda job, out, cores=(): main(["train", *job.words, "--out", str(out / job.name)])
    )
    runs, before = jobs(read_grid(folder / "grid.yaml")), contents(out)
    assert {state(job, out) for job in runs} == {"finished"}
    assert main(command) == 0 and contents(out) == before
    printed = capsys.readouterr().out
    assert f"Report: {out / 'comparison'}" in printed and "mmr" in printed and "step 1/2" not in printed
    (out / "mmr-1" / "summary.json").unlink()
    assert state(runs[0], out) == "open"
    assert main([*command, "--dry-run"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["open", "finished"] and f"--out {out / 'mmr-1'}" in listed[0]
    assert main(command) == 0
    after = contents(out)
    assert after.keys() == before.keys()
    changed = {path.relative_to(out).as_posix() for path in before if after[path] != before[path]}
    assert {"mmr-1/summary.json", ROWS} <= changed
    assert all(name.startswith("mmr-1/") for name in changed - {ROWS})
    assert "mmr-1/metrics.jsonl" not in changed


def test_the_seed_stands_inside_an_argument(tmp_path):
    grid = {**GRID, "recipes": [*GRID["recipes"], "model.name=starts/{seed}", "cluster={seed}"]}
    for job in jobs(read_grid(written(tmp_path, grid))):
        seed = job.words[-1].removeprefix("seed=")
        assert job.words[-3:-1] == [f"model.name=starts/{seed}", f"cluster={seed}"]
    with pytest.raises(ValueError, match="axis must not be called seed"):
        read_grid(written(tmp_path, {**GRID, "recipes": ["{seed}"], "grid": {"seed": {"a": ["mmr"]}}}))


def test_several_workers_train_every_run_once_and_name_those_that_fail(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    began, lock = [], threading.Lock()

    def train(job, out, cores):
        with lock:
            began.append((job.name, tuple(cores)))
        time.sleep(0.02)
        if job.name == "run-3":
            (out / f"{job.name}.log").write_text("no memory")
            return 1
        finish(job, out)
        return 0

    monkeypatch.setattr(sweep, "_train", train)
    runs = [Job(f"run-{number}", TINY) for number in range(12)]
    assert list(sweep.run(runs, tmp_path, workers=3)) == ["run-3"]
    assert sorted(name for name, _ in began) == sorted(job.name for job in runs)


def test_an_interrupted_run_ends_all_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "_train", lambda job, out, cores: forked.INTERRUPTED)
    with pytest.raises(KeyboardInterrupt):
        sweep.run([Job(f"run-{number}") for number in range(4)], tmp_path, workers=2)
    monkeypatch.setattr(sweep, "_train", lambda job, out, cores: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sweep.run([Job(f"run-{number}") for number in range(4)], tmp_path, workers=2)


def test_workers_share_the_cores_of_the_process():
    available = sorted(os.sched_getaffinity(0))
    for workers in (2, len(available)):
        parts = [forked.cores_of(worker, workers) for worker in range(workers)]
        assert sorted(core for part in parts for core in part) == (available if 1 < workers <= len(available) else [])
    assert forked.cores_of(0, 1) == forked.cores_of(3, len(available) + 1) == []


def test_a_forked_command_has_its_own_log_exit_code_and_threads(tmp_path):
    assert forked.is_possible(True)
    for _ in range(2):
        assert forked.run(["recipes"], tmp_path / "log", []) == 0
    assert (tmp_path / "log").read_text().count("variants/grpo-clip") == 2
    assert forked.run(["recipes", "grop"], tmp_path / "other", [min(os.sched_getaffinity(0))]) == 2
    assert "Unknown recipe 'grop'" in (tmp_path / "other").read_text()
