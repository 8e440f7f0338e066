"""A sweep ends: whatever its runs do, none is tried or waited for without end, and the others go on."""

import signal
import threading
import time
from pathlib import Path

import pytest
import yaml
from test_sweep import TINY, finish

from manypaths import recipe, result_rows
from manypaths.cli import main
from manypaths.files import LOCK, only_writer
from manypaths.result_rows import ROWS, Failure
from manypaths.training import forked, recorded, still, sweep
from manypaths.training.grid import Job

GRID = {"recipes": ["{method}", *TINY], "grid": {"method": {"grpo": ["grpo", "none"], "mmr": ["grpo", "mmr"]}}}


def job(name, *more):
    return Job(name, ["grpo", *TINY, f"seed={name[-1]}", *more])


def rows(out):
    return {row.name: row for row in result_rows.read(out / ROWS)}


@pytest.fixture
def train(monkeypatch):
    """Replace the training of a run by a function of the job and its folder; the names of the runs, as they begin."""
    began = []

    def replace(function):
        def trained(job, out, cores=()):
            began.append(job.name)
            return function(job, out)

        monkeypatch.setattr(sweep, "_train", trained)
        monkeypatch.setattr(sweep, "PAUSE", 0.01)
        return began

    return replace


def ended(function, seconds=30):
    """What a function returns, which must be within so many seconds."""
    result = []
    worker = threading.Thread(target=lambda: result.append(function()), daemon=True)
    worker.start()
    worker.join(seconds)
    assert result, "it has not ended"
    return result[0]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_ends_with_0_and_is_not_finished_fails_once_and_the_others_go_on(workers, tmp_path, train):
    def nothing(job, out):
        (out / f"{job.name}.log").write_text("bye\n")
        return 0 if job.name == "grpo-1" else finish(job, out) or 0

    began = train(nothing)
    failed = ended(lambda: sweep.run([job("grpo-1"), job("mmr-1")], tmp_path, workers))
    assert list(failed) == ["grpo-1"] and sorted(began) == ["grpo-1", "mmr-1"]
    assert failed["grpo-1"].startswith("failed (0); it ended without summary.json; bye")
    assert rows(tmp_path)["grpo-1"].failed == Failure(0, "it ended without summary.json; bye")
    assert rows(tmp_path)["mmr-1"].finished and not rows(tmp_path)["grpo-1"].finished


def test_the_exit_code_of_a_sweep_whose_runs_end_with_0_and_are_not_finished_is_1(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "PAUSE", 0.01)
    monkeypatch.setattr(forked, "run_command", lambda *_: 0)
    Path("grid.yaml").write_text(yaml.safe_dump({**GRID, "seeds": [1]}))
    assert ended(lambda: main(["sweep", "grid.yaml", "--out", "out"])) == 1
    printed = capsys.readouterr()
    assert printed.out.count("it ended without summary.json") == 2 and "nothing to compare" in printed.err


def test_a_run_that_fails_again_and_again_while_its_folder_is_in_use_has_three_attempts(tmp_path, train):
    held = []

    def killed(job, out):
        held.append(only_writer(out / job.name))
        held[-1].__enter__()
        threading.Timer(0.1, lambda: held.pop().__exit__(None, None, None)).start()
        return -9

    began = train(lambda job, out: killed(job, out) if job.name == "grpo-1" else finish(job, out) or 0)
    assert list(ended(lambda: sweep.run([job("grpo-1"), job("mmr-1")], tmp_path))) == ["grpo-1"]
    assert began.count("grpo-1") == sweep.ATTEMPTS and began.count("mmr-1") == 1
    assert rows(tmp_path)["grpo-1"].failed == Failure(-9, "")
    time.sleep(0.2)


def test_a_run_whose_process_hangs_is_named_and_given_up(tmp_path, train, monkeypatch, capsys):
    began = train(lambda job, out: finish(job, out) or 0)
    monkeypatch.setattr(still, "MOST_STILL", 0.5), monkeypatch.setattr(still, "LOOK", 0.0)
    with only_writer(tmp_path / "grpo-1"):
        failed = ended(lambda: sweep.run([job("grpo-1"), job("mmr-1")], tmp_path))
    assert list(failed) == ["grpo-1"] and began == ["mmr-1"] and rows(tmp_path)["mmr-1"].finished
    printed = capsys.readouterr().out
    assert printed.count("grpo-1 is in use by another process, for which this sweep waits.") == 1
    assert "is in use by a process that wrote nothing" in rows(tmp_path)["grpo-1"].failed.last_line
    assert rows(tmp_path)["grpo-1"].failed.code == 2


def test_a_watch_counts_from_the_last_change_and_leaves_locks_out(tmp_path, monkeypatch):
    monkeypatch.setattr(still, "MOST_STILL", 0.4), monkeypatch.setattr(still, "LOOK", 0.0)
    watch = still.Watch(lambda: [tmp_path / "log", tmp_path / "run", tmp_path / "none"])
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    for number in range(6):
        assert not watch.is_still()
        (tmp_path / "run" / "checkpoints" / "a").write_text("a" * number)
        time.sleep(0.1)
    end = time.monotonic() + 5
    while not watch.is_still() and time.monotonic() < end:
        (tmp_path / "run" / LOCK).write_text(str(time.monotonic()))
        time.sleep(0.02)
    assert watch.is_still()
    (tmp_path / "log").write_text("step 1")
    assert not watch.is_still()


@pytest.mark.parametrize("is_forked", [True, False])
def test_a_process_that_hangs_is_killed_and_its_log_says_so(is_forked, tmp_path, monkeypatch):
    monkeypatch.setattr(forked, "is_possible", lambda on_cpu: is_forked)
    monkeypatch.setattr(forked, "LOOK", 0.05)
    words = ["doctor"]  # it takes a second or more
    assert forked.run_command(words, tmp_path / "log", True, (), lambda: True) == -9
    assert forked.last_line(tmp_path / "log") == forked.STUCK


def test_an_error_of_the_system_fails_one_run_and_the_others_go_on(tmp_path, train):
    def full(job, out):
        if job.name == "grpo-1":
            raise OSError(28, "No space left on device", str(out / "x"))
        return finish(job, out) or 0

    train(full)
    failed = ended(lambda: sweep.run([job("grpo-1"), job("mmr-1")], tmp_path))
    assert list(failed) == ["grpo-1"] and "No space left on device" in failed["grpo-1"]
    assert "No space left" in rows(tmp_path)["grpo-1"].failed.last_line and rows(tmp_path)["mmr-1"].finished


def test_a_row_that_cannot_be_written_is_written_at_the_end(tmp_path, train, monkeypatch, capsys):
    original, tried = result_rows.write, []

    def write(*arguments):
        tried.append(arguments)
        if len(tried) < 3:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    monkeypatch.setattr(recorded.result_rows, "write", write)
    train(lambda job, out: 3 if job.name == "grpo-1" else finish(job, out) or 0)
    assert list(ended(lambda: sweep.run([job("grpo-1"), job("mmr-1")], tmp_path))) == ["grpo-1"]
    assert rows(tmp_path)["grpo-1"].failed.code == 3 and rows(tmp_path)["mmr-1"].finished
    assert capsys.readouterr().out.count("is not written yet: [Errno 28] No space left on device") == 2


def test_rows_that_can_never_be_written_end_a_sweep_with_their_file(tmp_path, train, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorded.result_rows, "write", full)
    train(lambda job, out: (out / f"{job.name}.log").touch() or 3)
    with pytest.raises(ValueError, match=r"rows.jsonl.gz' cannot be written: .*No space left on device. Mend that"):
        sweep.run([job("grpo-1")], tmp_path)
    assert f"grpo-1: failed (3); its log is empty ({tmp_path}/grpo-1.log)" in capsys.readouterr().out


# Interruptions


def test_an_interruption_ends_the_runs_of_all_workers_and_counts_none_as_failed(tmp_path, train, monkeypatch):
    ends, workers = threading.Event(), threading.active_count() + 2
    monkeypatch.setattr(forked, "end_all", ends.set)
    began = train(lambda job, out: -9 if ends.wait(30) else 0)
    runs = [job("grpo-1"), job("mmr-1"), job("grpo-2")]

    def interrupt():
        while len(began) < 2:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        sweep.run(runs, tmp_path, workers=2)
    assert ends.is_set()
    while threading.active_count() > workers - 2:
        time.sleep(0.01)
    assert len(began) == 2 and not (tmp_path / ROWS).exists()


@pytest.mark.parametrize("is_twice", [False, True])
def test_processes_end_after_an_interruption_also_after_a_second_one(is_twice, tmp_path, monkeypatch):
    (tmp_path / "sleeper.py").write_text(
        "import signal, sys, time\nsignal.signal(2, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(600)"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(forked, "is_possible", lambda on_cpu: False)
    monkeypatch.setattr(forked, "COMMANDS", "sleeper")
    codes, log = [], tmp_path / "log"
    process = threading.Thread(target=lambda: codes.append(forked.run_command([], log, True)), daemon=True)
    process.start()
    while forked.last_line(log) != "1":
        time.sleep(0.01)
    if is_twice:
        monkeypatch.setattr(forked, "GRACE", 600.0)
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            forked.end_all()
    else:
        forked.end_all()
    process.join(10)
    assert codes == [-9] and not forked._running


# Folders of another recipe


def changed(folder, text):
    (folder / "recipe.yaml").write_text((folder / "recipe.yaml").read_text().replace(*text))


@pytest.mark.parametrize("is_done", [True, False])
def test_a_folder_of_another_recipe_stops_a_sweep_before_it_trains(is_done, tmp_path, train):
    began = train(lambda job, out: finish(job, out) or 0)
    there = job("grpo-2", "trainer.learning_rate=1e-2", "trainer.beta=0.5")
    finish(there, tmp_path)
    if not is_done:
        (tmp_path / "grpo-2" / "summary.json").unlink()
    message = (
        r"grpo-2' holds the run of another recipe \(trainer.learning_rate: 0.01 there, .*; trainer.beta: 0.5 there, "
    )
    message += ".*move that"
    with pytest.raises(ValueError, match=message):
        sweep.run([job("grpo-1"), job("grpo-2")], tmp_path)
    assert not began and [path.name for path in tmp_path.iterdir()] == ["grpo-2"]
    assert sweep.run([there], tmp_path) == {}


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("summary.json", b"{}", "is not empty and holds no run"),
        ("script.json", b"{}", "is not empty and holds no run"),
        ("recipe.yaml", b"\xff\x00", "recipe.yaml is not YAML"),
        ("recipe.yaml", b"colour: \x1b[31m\n", "recipe.yaml is not YAML"),
        ("recipe.yaml", b"3", "recipe.yaml must hold keys and values"),
        ("recipe.yaml", b"coulour: 3", "grpo-1' is damaged: .*coulour"),
    ],
)
def test_a_folder_of_something_else_stops_a_sweep_with_its_name(file, content, complaint, tmp_path, train):
    began = train(lambda job, out: finish(job, out) or 0)
    (tmp_path / "grpo-1").mkdir()
    (tmp_path / "grpo-1" / file).write_bytes(content)
    with pytest.raises(ValueError, match=complaint) as error:
        sweep.run([job("grpo-1")], tmp_path)
    assert "grpo-1" in str(error.value) and str(error.value).isprintable() and not began


def test_the_command_refuses_folders_of_another_grid_and_trains_and_compares_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("grid.yaml").write_text(yaml.safe_dump({**GRID, "seeds": [1]}))
    finish(Job("mmr-1", ["grpo", "mmr", *TINY, "seed=1", "trainer.learning_rate=0.5"]), tmp_path)
    for option in (["--dry-run"], []):
        assert main(["sweep", "grid.yaml", "--out", ".", *option]) == 2
        printed = capsys.readouterr()
        assert "'mmr-1' holds the run of another recipe (trainer.learning_rate: 0.5 there, " in printed.err
        assert not printed.out.count("train ") and not Path("comparison").exists() and not Path("grpo-1").exists()


def test_a_run_that_a_sweep_of_another_grid_finishes_meanwhile_is_none_of_this_sweep(tmp_path, train):
    theirs = Job("grpo-1", ["grpo", *TINY, "seed=1", "trainer.learning_rate=0.5"])

    def train_theirs(job, out):
        finish(theirs, out)
        recorded.record(theirs.name, out, out / sweep.LOCKS)
        return finish(job, out) or 0

    train(train_theirs)
    failed = ended(lambda: sweep.run([job("mmr-1"), job("grpo-1")], tmp_path))
    assert (
        list(failed) == ["grpo-1"] and "holds the run of another recipe (trainer.learning_rate: 0.5" in failed["grpo-1"]
    )
    assert rows(tmp_path)["grpo-1"].recipe["trainer"]["learning_rate"] == 0.5
    assert rows(tmp_path)["mmr-1"].finished


def test_a_row_of_another_recipe_is_refused_also_beside_a_folder(tmp_path, train):
    train(lambda job, out: pytest.fail("it trains"))
    theirs = result_rows.Row("grpo-1", True, recipe={**recipe.content(["grpo", *TINY]), "seed": 1, "cluster": 3})
    result_rows.write(tmp_path, [theirs], tmp_path / sweep.LOCKS / ROWS)
    finish(job("grpo-1"), tmp_path)
    with pytest.raises(ValueError, match=r"has the run grpo-1 of another recipe \(cluster: 3 there, cluster: null"):
        sweep.run([job("grpo-1")], tmp_path)


def test_a_file_in_place_of_the_folder_is_named(tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump({**GRID, "seeds": [1]}))
    (tmp_path / "out").write_text("mine")
    for option in (["--dry-run"], []):
        assert main(["sweep", str(tmp_path / "grid.yaml"), "--out", str(tmp_path / "out"), *option]) == 2
        assert (
            f"--out must be a folder that can be written, got '{tmp_path}/out': that is a file. Give"
            in capsys.readouterr().err
        )
    (tmp_path / "grpo-1").write_text("mine")
    assert main(["sweep", str(tmp_path / "grid.yaml"), "--out", str(tmp_path)]) == 2
    assert f"'{tmp_path}/grpo-1' is not empty and holds no run" in capsys.readouterr().err
