"""A real sweep that is killed at random moments and started again ends with the rows of a sweep that is left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from test_sweep import with_rewards

from manypaths import result_rows
from manypaths.cli import main
from manypaths.result_rows import ROWS

KILLS, LIMIT = 3, 400.0  # seconds that a start may take on a busy machine
SETTINGS = {
    "problems": {"name": "arithmetic", "options": {"count": 20, "seed": 1}},
    "prompt": "{question} ",
    "rewards": {"test_run.letters": 1.0},
    "trainer": {
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "max_completion_length": 4,
        "max_steps": 6,
        "save_steps": 2,
        "learning_rate": 1e-2,
        "bf16": False,
        "use_cpu": True,
        "disable_tqdm": True,
    },
    "evaluation": {
        "problems": {"name": "arithmetic", "options": {"count": 4, "seed": 2, "held_out": True}},
        "samples": 2,
        "temperature": 1.0,
        "max_new_tokens": 2,
        "every": 3,
    },
}


def started(folder, out):
    """A sweep of two workers, as a group of processes of its own."""
    words = ["-m", "manypaths.cli", "sweep", str(folder / "grid.yaml"), "--out", str(out), "--workers", "2"]
    with open(f"{out}.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, *words], env=with_rewards(), stdout=log, stderr=log, start_new_session=True
        )


def progress(out):
    """The number of lines of metrics and of rows, and of files of evaluations and checkpoints."""
    lines = sum(path.read_bytes().count(b"\n") for path in out.glob("*/metrics.jsonl"))
    files = sum(1 for pattern in ("*/evaluation/*", "*/checkpoints/*", "*/summary.json") for _ in out.glob(pattern))
    return lines + files + len(result_rows.read(out / ROWS))


def killed(folder, out, draw):
    """Start a sweep, and kill all of its processes when it has got a little further."""
    goal = progress(out) + draw.randint(1, 15)
    sweep = started(folder, out)
    limit = time.monotonic() + LIMIT
    while progress(out) < goal and sweep.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(draw.random() / 10)
    os.killpg(sweep.pid, signal.SIGKILL)
    return sweep.wait()


def rows_of(out):
    """The rows of a sweep by name, without what was measured in seconds."""
    rows = {}
    for row in result_rows.read(out / ROWS):
        content = json.loads(result_rows.to_json(row))
        for block in content["metrics"]:
            for name in [name for name in block if name.startswith("seconds/") or name == "step_time"]:
                block.pop(name)
        rows[row.name] = content
    return rows


@pytest.fixture(scope="module")
def sweeps(tiny_model, tmp_path_factory):
    """The folder of a grid, the folder of a sweep that was left alone, and that of one that was killed."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "tiny.yaml").write_text(
        yaml.safe_dump({"model": {"name": str(tiny_model), "dtype": "float32"}, **SETTINGS})
    )
    grid = {
        "recipes": [str(folder / "tiny.yaml"), "{method}"],
        "grid": {"method": {"grpo": ["method.reweight=null"], "mmr": ["method.reweight=mmr"]}},
        "seeds": [1, 2],
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    draw, alone = random.Random(20), started(folder, folder / "alone")
    try:
        codes = [killed(folder, folder / "often", draw) for _ in range(KILLS)]
        last = started(folder, folder / "often")
        assert (last.wait(LIMIT), alone.wait(LIMIT)) == (0, 0), (folder / "often.log").read_text()
    finally:
        for sweep in (alone,):
            if sweep.poll() is None:
                os.killpg(sweep.pid, signal.SIGKILL)
    assert -signal.SIGKILL in codes
    return folder, folder / "alone", folder / "often"


def test_a_sweep_that_is_killed_ends_with_the_rows_of_one_left_alone(sweeps):
    _, alone, often = sweeps
    rows = rows_of(alone)
    assert list(rows) == ["grpo-1", "grpo-2", "mmr-1", "mmr-2"] and rows_of(often) == rows
    for row in rows.values():
        assert row["finished"] and row["failed"] is None and row["metrics"][0]["step"] == [1, 2, 3, 4, 5, 6]
        assert [evaluation["step"] for evaluation in row["evaluations"]] == [0, 3, 6]


def test_a_sweep_with_rows_alone_trains_nothing_and_compares_them(sweeps, tmp_path, capsys):
    folder, alone, _ = sweeps
    shutil.copy(alone / ROWS, tmp_path)
    command = ["sweep", str(folder / "grid.yaml"), "--out", str(tmp_path)]
    assert main([*command, "--dry-run"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["finished"] * 4
    assert main(command) == 0
    finished = f"Finished, for {tmp_path / ROWS} has their rows: grpo-1, grpo-2, mmr-1, mmr-2"
    assert capsys.readouterr().out.splitlines()[0] == finished
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison", ROWS]
    ours, theirs = (json.loads((out / "comparison" / "comparison.json").read_text()) for out in (tmp_path, alone))
    for comparison in (ours, theirs):
        for configuration in comparison["configurations"]:
            configuration["seconds"] = configuration["metrics"] = None
    assert [side["runs"] for side in ours["configurations"]] == [["grpo-1", "grpo-2"], ["mmr-1", "mmr-2"]]
    for key in ("notes", "left_out", "problems", "measures"):
        assert ours[key] == theirs[key]
    for own, other in zip(ours["configurations"], theirs["configurations"], strict=True):
        assert own["measures"]["pass@2"]["last"] == other["measures"]["pass@2"]["last"]


def test_a_row_of_another_recipe_is_refused(sweeps, tmp_path, capsys):
    folder, alone, _ = sweeps
    shutil.copy(alone / ROWS, tmp_path)
    before = (tmp_path / ROWS).read_bytes()
    grid = yaml.safe_load((folder / "grid.yaml").read_text())
    grid["recipes"] += ["trainer.learning_rate=1e-3"]
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    for more in ([], ["--dry-run"]):
        assert main(["sweep", str(tmp_path / "grid.yaml"), "--out", str(tmp_path), *more]) == 2
        printed = capsys.readouterr().err
        assert "has the run grpo-1 of another recipe (trainer.learning_rate: 0.01 there, " in printed
        assert "trainer.learning_rate: 0.001 here)" in printed
    assert (tmp_path / ROWS).read_bytes() == before and not (tmp_path / "grpo-1").exists()
