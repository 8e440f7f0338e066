"""The rows that a sweep writes: of runs that ended, that failed, and that a killed process left without one."""

import shutil
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from test_compare import write_run as write_any_run

from manypaths import recipe, result_rows
from manypaths.files import only_writer
from manypaths.result_rows import ROWS, Failure, Row
from manypaths.training import sweep
from manypaths.training.grid import Job

DATA = Path(__file__).parent / "data"
WORDS = ["smollm2-135m", "grpo", "arithmetic"]


def job(name):
    return Job(name, [*WORDS, f"seed={name[-1]}"])


def write_run(run):
    """A finished run of the recipe of `job`."""
    (write_any_run(run) / "recipe.yaml").write_text(recipe.dump(job(run.name).recipe))
    return run


def rows(out):
    return {row.name: row for row in result_rows.read(out / ROWS)}


@pytest.fixture
def train(monkeypatch):
    """Replace the training of a run by a function of the run folder, which returns an exit code."""

    def replace(function):
        monkeypatch.setattr(sweep, "_train", lambda job, out, cores: function(out / job.name))
        monkeypatch.setattr(sweep, "PAUSE", 0.01)

    return replace


def test_a_failed_run_is_a_row_until_a_later_attempt_ends(tmp_path, train, capsys):
    def fail(run):
        run.with_name(f"{run.name}.log").write_text("step 1\n\x1b[31mout of memory\n\n")
        return -9

    train(lambda run: -9)
    assert list(sweep.run([job("mmr-1")], tmp_path)) == ["mmr-1"]
    assert rows(tmp_path)["mmr-1"].failed == Failure(-9, "")  # there is no log
    train(fail)
    assert list(sweep.run([job("mmr-1")], tmp_path)) == ["mmr-1"]
    assert "mmr-1: failed (-9); \\x1b[31mout of memory" in capsys.readouterr().out
    assert rows(tmp_path)["mmr-1"].failed == Failure(-9, "\\x1b[31mout of memory")
    assert not rows(tmp_path)["mmr-1"].finished and not rows(tmp_path)["mmr-1"].recipe

    def fail_later(run):
        run.with_name(f"{run.name}.log").touch()
        (write_run(run) / "summary.json").unlink()
        return 1

    train(fail_later)
    assert list(sweep.run([job("mmr-1"), job("mmr-2")], tmp_path)) == ["mmr-1", "mmr-2"]
    assert rows(tmp_path)["mmr-1"].metrics and rows(tmp_path)["mmr-2"].failed == Failure(1, "")
    train(lambda run: (run / "summary.json").write_text("{}") and 0)
    assert list(sweep.run([job("mmr-1")], tmp_path)) == []
    assert rows(tmp_path)["mmr-1"].finished and rows(tmp_path)["mmr-1"].failed is None
    assert rows(tmp_path)["mmr-2"].failed


def test_finished_runs_that_lack_a_row_get_one(tmp_path, train, capsys):
    write_run(tmp_path / "grpo-1"), write_run(tmp_path / "grpo-2")
    other, damaged = write_run(tmp_path / "other-1"), write_run(tmp_path / "grpo-3")
    (damaged / "metrics.jsonl").write_text("{\n{}\n")
    runs = [job("grpo-1"), job("grpo-2"), job("grpo-3")]
    assert list(sweep.run(runs, tmp_path)) == []
    assert list(rows(tmp_path)) == ["grpo-1", "grpo-2"]
    for name, row in rows(tmp_path).items():
        assert result_rows.to_json(row) == result_rows.to_json(result_rows.of_folder(tmp_path / name))
    assert capsys.readouterr().err.count("grpo-3 has no row, because of its folder") == 1
    before = (tmp_path / ROWS).stat().st_mtime_ns
    assert list(sweep.run(runs[:2], tmp_path)) == [] and (tmp_path / ROWS).stat().st_mtime_ns == before

    def goes_on_elsewhere(run):  # in a process of a killed sweep, which has no sweep to write its row
        held = only_writer(run)
        held.__enter__()
        summary = write_run(run) / "summary.json"
        summary.unlink()
        threading.Timer(0.3, lambda: (summary.write_text("{}"), held.__exit__(None, None, None))).start()
        return 2

    train(goes_on_elsewhere)
    assert list(sweep.run([job("mmr-1")], tmp_path)) == [] and rows(tmp_path)["mmr-1"].finished
    assert other.name not in rows(tmp_path)


def test_benchmarks_that_were_added_to_a_run_are_in_its_row_after_the_next_sweep(tmp_path):
    run = write_run(tmp_path / "mmr-1")
    assert list(sweep.run([job("mmr-1")], tmp_path)) == []
    added = run / "evaluation" / "step-20"
    shutil.copytree(DATA / "old_run" / "evaluation", added)
    (added / "settings.json").write_text('{"temperature": 0.5}')
    expected = result_rows.to_json(result_rows.of_folder(run))
    assert result_rows.to_json(rows(tmp_path)["mmr-1"]) != expected
    assert list(sweep.run([job("mmr-1")], tmp_path)) == []
    assert result_rows.to_json(rows(tmp_path)["mmr-1"]) == expected
    before = (tmp_path / ROWS).stat().st_mtime_ns
    assert list(sweep.run([job("mmr-1")], tmp_path)) == [] and (tmp_path / ROWS).stat().st_mtime_ns == before


def test_a_run_that_failed_and_was_finished_outside_of_the_sweep_gets_a_new_row(tmp_path):
    write_run(tmp_path / "mmr-1")
    result_rows.write(tmp_path, [Row("mmr-1", failed=Failure(1, ""))], tmp_path / sweep.LOCKS / ROWS)
    assert list(sweep.run([job("mmr-1")], tmp_path)) == []
    assert rows(tmp_path)["mmr-1"].finished and rows(tmp_path)["mmr-1"].failed is None


def test_a_run_that_fails_does_not_replace_the_row_of_a_finished_run(tmp_path, train):
    result_rows.write(tmp_path, [result_rows.of_folder(write_run(tmp_path / "mmr-1"))], tmp_path / sweep.LOCKS / ROWS)
    before = (tmp_path / ROWS).read_bytes()
    (tmp_path / "mmr-1" / "summary.json").unlink()  # such as a folder of which a part was copied
    train(lambda run: 1)
    assert list(sweep.run([job("mmr-1")], tmp_path)) == ["mmr-1"]
    assert (tmp_path / ROWS).read_bytes() == before


def nested(depth):
    return [nested(depth - 1)] if depth else 0


@pytest.mark.parametrize(
    "sections",
    [
        {"history": {"discount": 10**400}},
        {"problems": {"name": "x", "options": {"seed": nested(900)}}},
        {"colour": "\x1b[31m"},
    ],
    ids=["large", "deep", "unknown"],
)
def test_a_hostile_recipe_in_a_row_stops_a_sweep_with_a_sentence(sections, tmp_path, train):
    recipe = {"model": {"name": "x"}, "problems": {"name": "x"}, "trainer": {}, **sections}
    result_rows.write(tmp_path, [Row("mmr-1", finished=True, recipe=recipe)], tmp_path / sweep.LOCKS / ROWS)
    train(lambda run: pytest.fail("it trains"))
    with pytest.raises(ValueError, match="has the run mmr-1 of another recipe") as error:
        sweep.run([Job("mmr-1", ["tiny-0.2m", "colouring"])], tmp_path)
    assert str(error.value).isprintable()


def test_a_damaged_file_of_rows_stops_a_sweep_before_it_trains(tmp_path, train):
    (tmp_path / ROWS).write_bytes(b"no rows")
    train(lambda run: pytest.fail("it trains"))
    with pytest.raises(ValueError, match=r"rows\.jsonl\.gz is damaged"):
        sweep.run([job("mmr-1")], tmp_path)


def test_a_row_without_a_folder_is_a_finished_run_of_its_own_recipe(tmp_path, train, capsys):
    row = Row("grpo-1", finished=True, recipe=asdict(recipe.read(WORDS, ["seed=1"])))
    result_rows.write(tmp_path, [row], tmp_path / sweep.LOCKS / ROWS)
    train(lambda run: pytest.fail("it trains"))
    assert list(sweep.run([Job("grpo-1", [*WORDS, "seed=1"])], tmp_path)) == []
    assert capsys.readouterr().out == f"Finished, for {tmp_path / ROWS} has their rows: grpo-1\n"
    with pytest.raises(ValueError, match=r"has the run grpo-1 of another recipe \(seed: 1 there, seed: 2 here\)"):
        sweep.run([Job("grpo-1", [*WORDS, "seed=2"])], tmp_path)
    result_rows.write(tmp_path, [replace(row, recipe={"seed": 1})], tmp_path / sweep.LOCKS / ROWS)
    with pytest.raises(ValueError, match="of another recipe"):
        sweep.run([Job("grpo-1", [*WORDS, "seed=1"])], tmp_path)
    result_rows.write(tmp_path, [replace(row, finished=False, failed=Failure(1, ""))], tmp_path / sweep.LOCKS / ROWS)
    spec = recipe.read(WORDS, ["seed=2"])
    train(lambda run: (write_run(run) / "recipe.yaml").write_text(recipe.dump(spec)) and 0)
    assert list(sweep.run([Job("grpo-1", [*WORDS, "seed=2"])], tmp_path)) == [] and rows(tmp_path)["grpo-1"].finished
