"""Rows: a comparison of rows is that of their run folders, a damaged file is a sentence, no kill leaves half a file."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from test_compare import write_run

from manypaths import result_rows
from manypaths.cli import main
from manypaths.comparison.compare import compare
from manypaths.comparison.read import read
from manypaths.comparison.runs import read_run
from manypaths.counts import Counts
from manypaths.files import read_json, read_jsonl
from manypaths.result_rows import ROWS, Failure, Row

STEPS = (0, 10, 20)
DATA = Path(__file__).parent / "data"


def counted(folder, keyless=()):
    """A run folder whose evaluations are counts of eight completions, and whose metrics have few digits."""
    draw, evaluation = random.Random(folder.name), folder / "evaluation"
    shares = read_json(evaluation / "shares.json")
    for benchmarks in shares.values():
        for problem, share in benchmarks["arithmetic"].items():
            right = round(8 * share)
            by_key = [1] * (right // 2) + [right - right // 2] * (right > 0)
            values = [8, right, None if problem in keyless else by_key, draw.choice([0.0, 0.5, 1.0])]
            benchmarks["arithmetic"][problem] = values
    (evaluation / "counts.json").write_text(json.dumps(shares))
    (evaluation / "shares.json").unlink()
    (evaluation / "settings.json").write_text(
        json.dumps({"model": "/a/b", "samples": 8, "temperature": 1.0, "keys": "answer", "environments": [1]})
    )
    lines = [{name: rounded(value) for name, value in line.items()} for line in read_jsonl(folder / "metrics.jsonl")]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def rounded(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value


def swept(out, names=("grpo-1", "grpo-2", "mmr-1", "mmr-2")):
    """Run folders of a small sweep."""
    folders = []
    for name in names:
        method, _, seed = name.partition("-")
        pace = {"grpo": 1.0, "mmr": 1.6}[method]
        folders.append(counted(write_run(out / name, int(seed), None if method == "grpo" else method, pace, STEPS)))
    return folders


def write_rows(out, rows):
    result_rows.write(out, rows, out / ".locks")
    return out / ROWS


def compared(*paths):
    runs, refused = read(paths)
    return json.dumps(compare(runs, left_out=refused))


def test_the_comparison_of_rows_is_that_of_their_run_folders(tmp_path):
    folders = swept(tmp_path / "out")
    (folders[0] / "metrics.jsonl").open("a").write('{"step": 21, "reward": NaN}\n')  # a line without seconds
    (folders[3] / "summary.json").unlink()
    added = folders[1] / "evaluation" / "step-20"
    shutil.copytree(DATA / "old_run" / "evaluation", added)
    (added / "settings.json").write_text('{"temperature": 0.5}')
    expected = compared(tmp_path / "out")
    assert "mmr-2 is not finished" in expected and "1 of its lines have no seconds" in expected
    file = write_rows(tmp_path / "out", map(result_rows.of_folder, folders))
    assert compared(file) == compared(tmp_path / "out") == expected
    alone = shutil.copy(file, tmp_path / "alone.jsonl.gz")
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(gzip.decompress(file.read_bytes()))
    assert compared(alone) == compared(plain) == expected
    for folder in folders[1:]:  # a folder of which some runs are left, and paths of runs that are gone
        shutil.rmtree(folder)
    folders[1].mkdir()  # without a run
    assert compared(tmp_path / "out") == compared(*folders) == expected


def test_evaluations_of_every_kind_become_rows_and_back(tmp_path):
    shares, counts = write_run(tmp_path / "shares-1"), swept(tmp_path, ["grpo-1"])[0]
    keyless = counted(write_run(tmp_path / "keyless-1"), keyless=["arithmetic-3"])
    script = tmp_path / "script-1"
    shutil.copytree(counts, script)
    (script / "recipe.yaml").rename(script / "script.json")
    (script / "script.json").write_text('{"seed": 1}')
    old = DATA / "old_run"
    for folder in (shares, counts, keyless, script, old):
        row = result_rows.of_folder(folder)
        again = result_rows.from_json(json.loads(result_rows.to_json(row)), tmp_path)
        assert again.evaluations == row.evaluations and len(row.evaluations) > 1
        assert result_rows.to_json(again) == result_rows.to_json(row)
        lines = {line["step"]: line for line in read_jsonl(folder / "metrics.jsonl")}
        for line, kept in zip(lines.values(), again.metrics, strict=True):
            assert {"step", "seconds/update", "reward"} <= kept.keys() <= line.keys() | {"groups/zero_std"} | set(kept)
            for name, value in kept.items():
                assert name not in line or value == pytest.approx(line[name], rel=5.1e-5)
    assert read_run(shares).results[0]["arithmetic"].sampling["samples"] == 4  # as its recipe has it
    assert "/a/b" not in result_rows.to_json(result_rows.of_folder(counts))


def test_a_failed_run_is_named_and_a_run_that_is_there_twice_counts_once(tmp_path):
    folders = swept(tmp_path / "out")
    failed = Row("mmr-3", failed=Failure(-9, "Out of \x1b[31mmemory"))
    file = write_rows(tmp_path / "out", [*map(result_rows.of_folder, folders), failed])
    elsewhere = shutil.copytree(folders[1], tmp_path / "elsewhere" / "renamed-2")
    sentence = "mmr-3 failed (exit code -9); the last line of its log: Out of \x1b[31mmemory."
    twice = "2 rows are left out, because the same run is read from elsewhere: grpo-1, grpo-2."
    for paths, notes in [([file], [sentence]), ([folders[0], elsewhere, file], [sentence, twice])]:
        runs, refused = read(paths)
        assert len(runs) == 4 and not refused
        assert [note for run in runs for note in run.notes] == notes
    (folders[3] / "summary.json").unlink()
    rows = [Row("mmr-2", failed=Failure(1, "late")), Row("mmr-1", failed=Failure(1, "mended since"))]
    write_rows(tmp_path / "out", rows)
    for paths in ([*folders, file], [tmp_path / "out"], [tmp_path / "out", file]):
        runs, refused = read(paths)
        notes = [note for run in runs for note in run.notes]
        assert len(runs) == 4 and not refused
        assert any(note.startswith("mmr-2 failed (exit code 1)") for note in notes)
        assert not any("mended" in note for note in notes)


def test_failed_runs_alone_are_named(tmp_path, capsys):
    file = write_rows(tmp_path, [Row("mmr-3", failed=Failure(1, "no \x1b[31mmemory"))])
    assert main(["compare", str(file)]) == 2
    printed = capsys.readouterr().err
    assert "mmr-3 failed (exit code 1)" in printed and "\x1b" not in printed


def test_runs_of_two_sweeps_keep_apart_what_differs(tmp_path):
    for part in ("a", "b"):
        (folder,) = swept(tmp_path / part, ["grpo-1"])
        metrics = folder / "metrics.jsonl"
        metrics.write_text(metrics.read_text().replace("0.1", "0.2" if part == "b" else "0.1"))
        write_rows(tmp_path / part, [result_rows.of_folder(folder)])
        shutil.rmtree(folder)
    runs, _ = read([tmp_path / "a" / ROWS, tmp_path / "b" / ROWS])
    assert [run.name for run in runs] == ["a", "b"] and runs[0].curves != runs[1].curves


def test_a_row_of_a_version_without_a_setting_is_of_the_configuration_that_has_its_default(tmp_path):
    folders = swept(tmp_path / "out", ["grpo-1", "grpo-2"])
    rows = []
    for folder in folders:
        spec = yaml.safe_load((folder / "recipe.yaml").read_text())
        spec["pretrain"] = {"problems": None, "count": 30}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(spec))
        rows.append(result_rows.of_folder(folder))
    old = json.loads(result_rows.to_json(rows[0]))
    del old["recipe"]["pretrain"]["problems"], old["recipe"]["replay"]
    given = json.dumps(old)
    assert result_rows.from_json(old, tmp_path) == result_rows.from_json(json.loads(given), tmp_path)
    assert result_rows.from_json(old, tmp_path).recipe == rows[0].recipe and json.dumps(old) == given
    file = write_rows(tmp_path / "rows", [result_rows.from_json(old, tmp_path), rows[1]])
    assert len({run.group for run in read([file])[0]}) == 1
    failed = Row("grpo-3", failed=Failure(1, ""))
    assert result_rows.from_json(json.loads(result_rows.to_json(failed)), tmp_path).recipe == {}


GOOD = json.loads(result_rows.to_json(result_rows.of_folder(DATA / "old_run")))
COUNTS = GOOD["evaluations"][0]["sets"]["arithmetic"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"manypaths_row": 2}, "line 1, was written by a newer manypaths. Update manypaths"),
        ({"manypaths_row": "1"}, "manypaths_row must be 1, got '1'"),
        ({"name": "../x"}, "name must be that of a run folder"),
        ({"name": 3}, "name must be that of a run folder"),
        ({"finished": "yes"}, "finished must be a JSON bool"),
        ({"recipe": []}, "recipe must be a JSON dict"),
        ({"failed": {"code": "x"}}, "is damaged"),
        ({"failed": {"code": 1.5, "last_line": ""}}, "code must be an integer"),
        ({"failed": 3}, "is damaged"),
        ({"metrics": [3]}, "is damaged"),
        ({"metrics": [{"step": [1, 2], "reward": [1]}]}, "is damaged"),
        ({"metrics": [{"step": ["1"]}]}, "a step must be an integer"),
        ({"metrics": [{"reward": [1]}]}, "is damaged"),
        ({"evaluations": [{"step": 1, "settings": 3, "sets": {}}]}, "settings must be a JSON dict"),
        ({"evaluations": [{"step": 1}]}, "is damaged"),
        ({"evaluations": [{"step": 1, "settings": {}, "sets": {"a": {**COUNTS, "samples": [1]}}}]}, "is damaged"),
        (
            {"evaluations": [{"step": 1, "settings": {}, "sets": {"a": {**COUNTS, "by_key": [[99]] * 4}}}]},
            "counts of a problem must be",
        ),
        (
            {"evaluations": [{"step": 1, "settings": {}, "sets": {"a": {**COUNTS, "problem": [[1]] * 4}}}]},
            "problem must hold names",
        ),
        (
            {"evaluations": [{"step": 1, "settings": {}, "sets": {"a": {"problem": ["p", "p"], "share": [0, 1]}}}]},
            "problem must hold different names",
        ),
        ({"evaluations": [{"step": 1, "settings": {}, "sets": {"a": {"problem": ["p"], "share": [2]}}}]}, "from 0 to"),
        ({"evaluations": [{"step": 1, "settings": {}, "sets": {"a": {"problem": ["p"], "share": [1, 0]}}}]}, "damaged"),
        ({"recipe": {"seed": "x"}}, "seed of its recipe must be a whole number"),
        ({"recipe": {"trainer": 3}, "finished": False}, "AttributeError"),
    ],
)
def test_a_damaged_row_is_a_sentence_that_names_its_file(change, complaint, tmp_path):
    for end in ("jsonl", "jsonl.gz"):
        text = (json.dumps({**GOOD, **change}) + "\n").encode()
        path = tmp_path / f"some.{end}"
        path.write_bytes(gzip.compress(text) if end == "jsonl.gz" else text)
        runs, (sentence,) = read([path])
        assert not runs and complaint in sentence and str(tmp_path / "some") in sentence


def test_a_damaged_file_is_a_sentence_and_not_written_over(tmp_path):
    (folder,) = swept(tmp_path, ["grpo-1"])
    file = write_rows(tmp_path, [result_rows.of_folder(folder)])
    whole = file.read_bytes()
    twice = gzip.compress(gzip.decompress(whole) * 2)
    garbage = [(whole[: len(whole) // 2], "damaged"), (b"no gzip", "damaged"), (whole[:30] + whole[40:], "damaged")]
    garbage.append((gzip.compress(gzip.decompress(whole) + b'{"manypaths_row": 1, "name": "mm'), "line 2, is damaged"))
    empty = [(b"", "it is empty"), (gzip.compress(b""), "it is empty")]
    garbage.append((gzip.compress(b"[]\n"), "damaged"))
    for content, complaint in [*garbage, *empty, (twice, "second row of 'grpo-1'")]:
        file.write_bytes(content)
        runs, refused = read([file])
        assert not runs and str(file) in refused[0] and complaint in refused[0]
        runs, refused = read([tmp_path])
        assert [run.name for run in runs] == ["grpo-1"] and str(file) in refused[0]
        if (content, complaint) in garbage:
            with pytest.raises(ValueError, match="damaged"):
                write_rows(tmp_path, [Row("mmr-1")])
            assert file.read_bytes() == content


WRITER = """
import random, sys, time
from pathlib import Path
from manypaths import result_rows
from manypaths.result_rows import Failure, Row

out, worker = Path(sys.argv[1]), sys.argv[2]
for number in range(10**6):
    row = Row(f"run-{worker}-{number % 7}", failed=Failure(number, random.Random(number).randbytes(30_000).hex()))
    result_rows.write(out, [row], out / ".locks")
    time.sleep(0.02)
"""


def test_writers_that_are_killed_at_any_moment_leave_whole_rows(tmp_path):
    draw, file, numbers = random.Random(1), tmp_path / ROWS, {}

    def read_again():
        rows = {row.name: row.failed for row in result_rows.read(file)}
        for failed in rows.values():
            assert failed.last_line == random.Random(failed.code).randbytes(30_000).hex()
        assert numbers.keys() <= rows.keys()
        numbers.update({name: failed.code for name, failed in rows.items()})

    for _ in range(3):
        before = file.stat().st_mtime_ns if file.exists() else 0
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(number)], start_new_session=True)
            for number in range(2)
        ]
        while not file.exists() or file.stat().st_mtime_ns == before:
            time.sleep(0.01)
        end = time.monotonic() + 0.5 + draw.random() / 2
        while time.monotonic() < end:
            read_again()
        for writer in writers:
            os.killpg(writer.pid, signal.SIGKILL)
            writer.wait()
        read_again()
    assert len(numbers) >= 7 and max(numbers.values()) > 0
    stale = time.time() - 10_000
    partials = [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    for path in partials:
        os.utime(path, (stale, stale))
    write_rows(tmp_path, [Row("last-1")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".locks", ROWS]


def test_rows_of_a_study_are_small(tmp_path):
    """120 lines of metrics and seven evaluations of 128 problems with 32 completions each."""
    draw, steps = random.Random(1), range(0, 121, 20)
    folder = write_run(tmp_path / "grpo-1", 1, steps=steps)
    counts = {}
    for when in read_json(folder / "evaluation" / "shares.json"):
        counts[when] = {"colouring": {}}
        for problem in range(128):
            by_key = sorted((draw.randint(1, 8) for _ in range(draw.randint(0, 4))), reverse=True)
            counts[when]["colouring"][f"colouring-{problem}"] = Counts(
                32, sum(by_key), tuple(by_key), float(bool(by_key))
            )
    (folder / "evaluation" / "counts.json").write_text(json.dumps(counts))
    size = write_rows(tmp_path, [result_rows.of_folder(folder)]).stat().st_size
    assert size < 6_000
    assert read_run(folder).results[120]["colouring"].counts == counts["after"]["colouring"]
