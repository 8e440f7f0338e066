"""Files that survive a killed process: concurrent writers, damage that is named, strict JSON, locks."""

import contextlib
import errno
import json
import math
import os
import signal
import subprocess
import sys

import pytest

from manypaths.files import LOCK, as_json, atomic_write, content_of, in_use, only_writer, read_json, read_jsonl

HAMMER = """
import sys
from pathlib import Path
from manypaths.files import atomic_write

for number in range(300):
    atomic_write(Path(sys.argv[1]), sys.argv[2] * 5000)
"""


def test_two_writers_of_one_file_never_clash(tmp_path):
    path = tmp_path / "shared.json"
    atomic_write(path, "a" * 5000)
    writers = [subprocess.Popen([sys.executable, "-c", HAMMER, str(path), letter]) for letter in "abc"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        content = path.read_text()
        seen.add((content[0], len(content), len(set(content))))
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert seen <= {(letter, 5000, 1) for letter in "abc"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.json"
    atomic_write(path, "old")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(path, "\ud800")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("code", "is_lost"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EINVAL, False)])
def test_a_disk_that_is_full_only_at_the_flush_leaves_the_old_file(code, is_lost, tmp_path, monkeypatch):
    def fsync(_):
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.json"
    atomic_write(path, "old")
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=os.strerror(code)) if is_lost else contextlib.nullcontext():
        atomic_write(path, "new")
    assert path.read_text() == ("old" if is_lost else "new") and list(tmp_path.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "usual").touch()
    atomic_write(tmp_path / "whole", "")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_json_is_strict_and_what_it_has_no_word_for_is_missing(tmp_path):
    value = {"a": [math.nan, 1.0, {"b": math.inf}], "c": (-math.inf, None, "NaN")}
    text = as_json(value)
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, 1.0, {"b": None}], "c": [None, None, "NaN"]}
    (tmp_path / "old.json").write_text('{"a": NaN, "b": [-Infinity, 2]}')  # of an earlier version
    assert read_json(tmp_path / "old.json") == {"a": None, "b": [None, 2]}


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b'{"a": 1', b"\xff", b"[1]", b"[" * 10**5])
def test_a_damaged_file_is_named(content, tmp_path):
    path = tmp_path / "summary.json"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read_json(path)
    assert f"{path} is damaged" in str(error.value) and "remove it" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\0\0\0", b'{"a": 1', b"\xff", b"[1]", b"3"])
def test_a_damaged_line_is_named_and_a_last_one_that_was_cut_off_is_left_out(content, tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + content)
    assert read_jsonl(path) == [{"step": 1}]
    path.write_bytes(b'{"step": 1}\n' + content + b'\n{"step": 3}\n')
    with pytest.raises(ValueError, match=r"line 2, is damaged \(.*\)\. Mend or remove that line\.") as error:
        read_jsonl(path)
    assert str(path) in str(error.value)


def test_a_last_line_is_left_out_wherever_it_was_cut_but_not_for_its_newline_alone(tmp_path):
    path, lines = tmp_path / "metrics.jsonl", [{"step": 1}, {"step": 2, "loss": [0.5, {"a": "}"}]}]
    first, last = (json.dumps(line).encode() + b"\n" for line in lines)
    for length in range(len(last) - 1):
        path.write_bytes(first + last[:length])
        assert read_jsonl(path) == lines[:1]
    path.write_bytes(first + last.rstrip())
    assert read_jsonl(path) == lines


def test_a_byte_order_mark_is_no_damage(tmp_path):
    (tmp_path / "saved.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "saved.json") == {"a": 1}


def test_a_missing_file_is_empty(tmp_path):
    assert read_json(tmp_path / "none.json") == {} and read_jsonl(tmp_path / "none.jsonl") == []


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    folder = tmp_path / "run"
    assert not in_use(folder)
    with only_writer(folder):
        assert in_use(folder) and content_of(folder) == []
        refused = pytest.raises(ValueError, match=r"run' is in use by another command\. Wait until that has ended")
        with refused, only_writer(folder):
            pass
    assert not in_use(folder)
    with only_writer(folder):
        pass


HOLD = """
import sys, time
from pathlib import Path
from manypaths.files import only_writer

with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_ends_with_its_process_also_with_a_kill(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n" and in_use(tmp_path)
    with pytest.raises(ValueError, match="in use by another command"), only_writer(tmp_path):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert not in_use(tmp_path)
    with only_writer(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_where_there_are_no_locks_a_note_says_so_and_nothing_is_refused(code, tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    (tmp_path / LOCK).touch()  # of a command that was killed
    monkeypatch.setattr("fcntl.flock", flock)
    assert not in_use(tmp_path)
    with only_writer(tmp_path):
        assert "cannot be locked" in capsys.readouterr().err
