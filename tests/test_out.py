"""A place for results that cannot be written is named before anything is read, loaded or trained."""

import os
from pathlib import Path

import pytest

from manypaths.cli import main
from manypaths.files import check_out

GRID = Path(__file__).parents[1] / "bench" / "study.yaml"
COMMANDS = {  # command -> its words, with inputs that do not exist, and the kind of its --out
    "evaluate": (["no/model", "--benchmarks", "svamp"], "folder"),
    "compare": (["no-run"], "folder"),
    "grade": (["no.jsonl"], "file"),
    "explain": (["no.jsonl"], "file"),
    "inspect": (["no.jsonl"], "file"),
    "pretrain": (["tiny-0.2m", "colouring"], "folder"),
    "sweep": (["diversity"], "folder"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_names_an_out_that_is_something_else(command, tmp_path, capsys):
    words, kind = COMMANDS[command]
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    taken = tmp_path / ("folder" if kind == "file" else "file")
    for out in (taken, tmp_path / "file" / "below" / "it"):
        assert main([command, *words, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert f"'{tmp_path}" in error and "--out must be a" in error and error.count("\n") == 1, error
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_made_and_what_can_be_written_is_accepted(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path, kind in ((tmp_path / "a/b", "folder"), (tmp_path, "folder"), (tmp_path / "a/b", "file")):
        check_out(path, kind)
    check_out(tmp_path / "file", "file")
    check_out(Path("relative/one"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and not Path("relative").exists()


def test_a_folder_without_the_right_to_write_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != tmp_path)  # root may write everywhere
    with pytest.raises(ValueError, match=f"got '{tmp_path}/new/out': '{tmp_path}' cannot be written. Give another"):
        check_out(tmp_path / "new" / "out")
