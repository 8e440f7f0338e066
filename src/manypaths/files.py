"""Files that survive a kill: replaced whole, read with a sentence for what is damaged, and one writer at a time."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK = ".lock"  # in the folder that it guards; empty, and left there, for only its being held means something
PARTIAL = ".partial"
ABANDONED = 600.0  # seconds after which a partial file is nobody's


def atomic_write(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, a crash or a second writer leaves the old content or the new one, never a mix.

    The content goes to a file of a name of its own beside `path`, onto the disk, and then into the place of `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to: it takes the place of `path` at the end, or is removed after an error."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    partial.touch(exist_ok=False)
    try:
        yield partial
        _onto_disk(partial)
        os.replace(partial, path)
        _onto_disk(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def append(path: Path, text: str) -> None:
    """Add text to the end of a file, onto the disk; a kill may leave a part of it."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder of finished files, once all of them are on the disk."""
    for path in [*source.rglob("*"), source]:
        _onto_disk(path)
    source.rename(target)
    _onto_disk(target.parent)


def _onto_disk(path: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems have no fsync for folders, and Windows has none
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def as_json(value: Any, indent: int | None = None) -> str:
    """Strict JSON: NaN and infinity, which it has no word for, become null."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file, {} where the file is missing; ValueError that names a damaged one."""
    try:
        return _object(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Restore it from a copy, or remove it.") from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON lines file; ValueError names a damaged line.

    A missing file is empty, and a last line that is cut short, which a kill leaves, is left out.
    """
    return [record for record, _ in stream_jsonl(path)] if path.exists() else []


def stream_jsonl(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """(object, line) of each line of a JSON lines file that may be larger than the memory; as `read_jsonl`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = _object(line)
            except ValueError as error:
                if not line.endswith(b"\n"):
                    return
                raise ValueError(f"{path}, line {number}, is damaged ({error}). Mend or remove that line.") from error
            yield record, line if line.endswith(b"\n") else line + b"\n"  # an editor may take the last one away


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, parse_constant=lambda _: None)  # NaN and Infinity, of earlier versions, are missing
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object must be there, got {type(value).__name__}")
    return value


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made if need be; ValueError where another process, or this one, has it.

    The operating system holds the lock (flock) and drops it when the process ends, however it ends. On a folder that
    several machines share this takes a file system that passes flock on, as NFS since Linux 2.6.12 and Lustre mounted
    with `flock` do; where there is no flock at all, a note says that nothing guards the folder.
    """
    import filelock  # a dependency of torch

    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder, timeout=1.0)  # `in_use` holds it for a moment
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(_in_use_message(folder)) from None
    except (OSError, NotImplementedError) as error:
        print(f"Note: {folder} cannot be locked ({error}); start no second command on it.", file=sys.stderr)
    try:
        _remove_partials(folder)
        yield
    finally:
        lock.release()


def _remove_partials(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; a new file may be of one that works without the lock."""
    for path in folder.rglob(f".*{PARTIAL}"):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def in_use(folder: Path) -> bool:
    """Whether a command holds the lock of a folder; False where there are no locks."""
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
    """The system's lock or none: a newer filelock would else take the mere file for it, even after a kill."""
    import filelock

    path = folder / LOCK
    own: dict[str, Any] = {"timeout": timeout, "thread_local": False}
    try:
        return filelock.FileLock(path, fallback_to_soft=False, **own)
    except TypeError:  # an older filelock, which has no other lock than the system's
        return filelock.FileLock(path, **own)


def refuse_if_in_use(folder: Path) -> None:
    """Raise ValueError where a command holds the lock of a folder."""
    if in_use(folder):
        raise ValueError(_in_use_message(folder))


def _in_use_message(folder: Path) -> str:
    return f"{str(folder)!r} is in use by another command. Wait until that has ended, or give another --out."


def content_of(folder: Path) -> list[Path]:
    """What is in a folder, apart from its lock and from what a writer that was killed left there."""
    return [path for path in folder.iterdir() if path.name != LOCK and not path.name.endswith(PARTIAL)]
