"""Files that survive a killed process: atomic writes, readers that name what is damaged, one writer per folder."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import math
import os
import sys
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

LOCK = ".lock"  # an empty file in the folder that it guards; it stays there, only holding it has a meaning
PARTIAL = ".partial"
LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # errors after which content is not on the disk
# What readers of damaged or hostile files raise.
DAMAGED = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
ABANDONED = 600.0  # seconds after which no process writes to a partial file any more


def atomic_write(path: Path, content: str | bytes) -> None:
    """Replace the content of a file at once: a reader sees the old content or the new one, also after a crash.

    The content is written to a new file beside `path`, flushed to the disk, and renamed to `path`.

    Args:
        path: The file; its folder is made where it is missing.
        content: The new content; text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a new file beside `path` to write to; at the end it is renamed to `path`, after an error it is removed."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    partial.touch(exist_ok=False)
    try:
        yield partial
        _flush_to_disk(partial)
        os.replace(partial, path)
        _flush_to_disk(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def append(path: Path, text: str) -> None:
    """Add text to the end of a file and flush it to the disk; a killed process may leave a part of the text."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder of complete files, after all of them are flushed to the disk."""
    for path in [*source.rglob("*"), source]:
        _flush_to_disk(path)
    source.rename(target)
    _flush_to_disk(target.parent)


def _flush_to_disk(path: Path) -> None:
    """Raise OSError for a full or broken disk, of which a network's file system may say only now."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:  # some file systems have no fsync for folders, and Windows has none
        if error.errno in LOST:
            raise


def as_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON, in which NaN and infinity do not exist: they become null."""
    try:
        return json.dumps(value, indent=indent, allow_nan=False)
    except ValueError:  # there is a NaN, or an infinity; to look for them takes longer than to write
        return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, {} where the file is missing.

    Raises:
        ValueError: The file is damaged; the message names it.
    """
    try:
        return _object(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Restore it from a copy, or remove it.") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file, [] where the file is missing.

    An incomplete last line, as a killed process leaves it, is skipped.

    Raises:
        ValueError: Another line is damaged; the message has its number.
    """
    return [record for record, _ in stream_jsonl(path)] if path.exists() else []


def stream_jsonl(path: Path, is_whole: bool = False) -> Iterator[tuple[dict[str, Any], bytes]]:
    """(object, line with its newline) for each line of a JSON lines file of any size; otherwise as `read_jsonl`.

    A file whose name ends with .gz is decompressed. Raises ValueError also where it is no whole gzip file.

    Args:
        path: The file.
        is_whole: Whether the file was written at once, so that an incomplete last line is damage, too.
    """
    for number, line in enumerate(_lines(path), 1):
        try:
            record = _object(line)
        except ValueError as error:
            if not (is_whole or line.endswith(b"\n")):
                return
            raise ValueError(f"{path}, line {number}, is damaged ({error}). Mend or remove that line.") from error
        yield record, line if line.endswith(b"\n") else line + b"\n"  # an editor may have removed the last newline


def _lines(path: Path) -> Iterator[bytes]:
    if path.suffix != ".gz":
        with path.open("rb") as file:
            yield from file
        return
    try:
        with gzip.open(path) as file:
            yield from file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}). Restore it from a copy, or remove it.") from error


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=lambda _: None)  # earlier versions wrote NaN and Infinity
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it must be a JSON object, got {type(value).__name__}")
    return value


@contextlib.contextmanager
def only_writer(folder: Path, patience: float = 1.0) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is missing.

    The operating system keeps the lock (flock) and releases it when the process ends, however it ends. A folder that
    several machines share needs a file system with flock across machines, such as NFS since Linux 2.6.12 or Lustre
    mounted with `flock`. On a file system without flock a note is printed, and the folder is not guarded.

    Args:
        folder: The folder.
        patience: Seconds to wait while the lock is held; at least 1, because `in_use` holds it briefly.

    Raises:
        ValueError: Another process, or this one, holds the lock.
    """
    import filelock  # a dependency of torch

    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder, timeout=patience)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(_in_use_message(folder)) from None
    except (OSError, NotImplementedError) as error:
        print(f"Note: {folder} cannot be locked ({error}); start no second command on it.", file=sys.stderr)
    try:
        remove_partials(folder.rglob(f".*{PARTIAL}"))
        yield
    finally:
        lock.release()


def remove_partials(paths: Iterable[Path]) -> None:
    """Remove the partial files of killed writers; recent ones may belong to a writer that works without the lock."""
    for path in paths:
        with contextlib.suppress(OSError):
            if path.name.endswith(PARTIAL) and path.is_file() and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def in_use(folder: Path) -> bool:
    """Whether a command holds the lock of a folder; False on a file system without flock."""
    import filelock

    if not (folder / LOCK).exists():
        return False
    try:
        with _lock(folder, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


def _lock(folder: Path, timeout: float) -> Any:
    """A lock of the operating system; where there is none, a newer filelock would use the file's existence instead."""
    import filelock

    path = folder / LOCK
    options: dict[str, Any] = {"timeout": timeout, "thread_local": False}
    try:
        return filelock.FileLock(path, fallback_to_soft=False, **options)
    except TypeError:  # an older filelock, which has only the lock of the system
        return filelock.FileLock(path, **options)


def check_out(path: Path, kind: str = "folder") -> None:
    """Check that --out can be written, before anything is read or loaded; nothing is made.

    Args:
        path: A folder or a file, which need not exist, nor the folders that it is in.
        kind: folder or file.

    Raises:
        ValueError: It is there as the other kind, or what it is in is no folder or cannot be written.
    """
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    is_it = there == path.absolute()
    if is_it and there.is_dir() != (kind == "folder"):
        cause = f"that is a {'folder' if there.is_dir() else 'file'}"
    elif not is_it and not there.is_dir():
        cause = f"{str(there)!r} is a file"
    elif not os.access(there, os.W_OK | os.X_OK if there.is_dir() else os.W_OK):
        cause = f"{str(there)!r} cannot be written"
    else:
        return
    raise ValueError(f"--out must be a {kind} that can be written, got {str(path)!r}: {cause}. Give another.")


def refuse_if_in_use(folder: Path) -> None:
    """Raise ValueError where a command holds the lock of a folder."""
    if in_use(folder):
        raise ValueError(_in_use_message(folder))


def _in_use_message(folder: Path) -> str:
    return f"{str(folder)!r} is in use by another command. Wait until that has ended, or give another --out."


def content_of(folder: Path) -> list[Path]:
    """The files in a folder, without its lock and the partial files of killed writers."""
    return [path for path in folder.iterdir() if path.name != LOCK and not path.name.endswith(PARTIAL)]
