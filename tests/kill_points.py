"""Stop a run at many of the moments at which it writes, resume it, and compare it with an uninterrupted run.

    python tests/kill_points.py RECIPE FOLDER --moments 100

A moment is the opening of a file for writing, a write, a rename, a removal, a new folder. A write is stopped when half
of it is done, as is the writing of a file by torch or safetensors. Every run is a fork of one process that has imported
everything, so that only its files survive. Prints JSON: the number of moments, those tried by kind, and what differed.
"""

import argparse
import builtins
import collections
import contextlib
import gc
import io
import json
import os
import sys
import time
from pathlib import Path

import safetensors.torch
import torch

from manypaths.files import read_json, read_jsonl
from manypaths.recipe import read
from manypaths.training import run as runs

STOPPED = 77
EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


class Moments:
    """Counts the moments at which this process changes something in `folder`, and ends it at number `stop`."""

    def __init__(self, folder: Path, stop: int | None) -> None:
        self.folder, self.stop, self.names = str(folder), stop, []
        self.open, self.save, self.serialize = io.open, torch.save, safetensors.torch.serialize_file
        sys.addaudithook(self.audit)
        builtins.open = io.open = self.open_counted
        torch.save = self.halved(torch.save, 1)
        safetensors.torch.serialize_file = self.halved(safetensors.torch.serialize_file, 1)

    def reached(self, name: str) -> bool:
        self.names.append(name)
        return len(self.names) == self.stop

    def audit(self, event, arguments):
        writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in EVENTS) and self.inside(arguments[0]) and self.reached(event):
            os._exit(STOPPED)

    def inside(self, path) -> bool:
        with contextlib.suppress(TypeError):
            return os.fsdecode(path).startswith(self.folder)
        return False

    def open_counted(self, path, mode="r", *more, **named):
        file = self.open(path, mode, *more, **named)
        if not set(mode) & set("wax+") or not self.inside(path):
            return file
        write = file.write

        def write_counted(content):
            if self.reached("write"):
                write(content[: len(content) // 2])
                file.flush()
                os._exit(STOPPED)
            return write(content)

        file.write = write_counted
        return file

    def halved(self, function, place):
        def wrapped(*arguments, **named):
            result = function(*arguments, **named)
            path = arguments[place]
            if self.inside(path) and self.reached(function.__name__):
                os.truncate(path, os.path.getsize(path) // 2)
                os._exit(STOPPED)
            return result

        return wrapped


def forked(recipe: Path, folder: Path, stop: int | None, log: Path) -> int:
    """Train in a fork, until the end or until moment `stop` -> its exit code; the moments' names go into `log`."""
    if (child := os.fork()) == 0:
        code = 1
        with contextlib.suppress(BaseException), log.with_suffix(".out").open("a") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            moments = Moments(folder, stop)
            try:
                runs.train(runs.prepare(read([str(recipe)]), folder))
                log.write_text(json.dumps(moments.names))
                code = 0
            except BaseException:
                import traceback

                traceback.print_exc()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def without_clock(entry):
    """An entry of metrics.jsonl or summary.json, less what a clock decides."""
    return {key: value for key, value in entry.items() if "seconds" not in key and "time" not in key}


def contents(folder: Path) -> dict[str, object]:
    """What must be equal in an uninterrupted run and in one that was resumed."""
    evaluation = folder / "evaluation"
    content = {path.name: path.read_text() for path in sorted(evaluation.glob("[!.]*.json*"))}
    for name in ("summary.json", "settings.json"):  # seconds; the path of the run
        content.pop(name, None)
    summary = read_json(evaluation / "summary.json")
    content["evaluations"] = {when: without_clock(entry) for when, entry in summary.items()}
    content["metrics.jsonl"] = [without_clock(line) for line in read_jsonl(folder / "metrics.jsonl")]
    content["groups.jsonl"] = (folder / "groups.jsonl").read_bytes()
    content["recipe.yaml"] = (folder / "recipe.yaml").read_text()
    content["weights"] = {path.name: path.read_bytes() for path in (folder / "model").glob("*.safetensors")}
    content["files"] = sorted(path.name for path in folder.iterdir() if not path.name.endswith(".partial"))
    content["steps"] = read_json(folder / "summary.json")["steps"]
    return content


def differing(whole: dict[str, object], other: dict[str, object]) -> list[str]:
    return [key for key in {**whole, **other} if whole.get(key) != other.get(key)]


def spread(names: list[str], total: int) -> list[int]:
    """About `total` numbers of moments, evenly spread over each kind, with one or more of each kind."""
    places: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        places.setdefault(name, []).append(number)
    chosen = []
    for numbers in places.values():
        count = max(1, round(total * len(numbers) / len(names)))
        chosen += [numbers[(2 * index + 1) * len(numbers) // (2 * count)] for index in range(count)]
    return sorted(set(chosen))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--moments", type=int, default=100)
    options = parser.parse_args()
    gc.freeze()  # accelerate calls gc.collect() in each training; searching the imported libraries is most of its time
    began = time.process_time() + sum(os.times()[2:4])
    options.folder.mkdir(parents=True, exist_ok=True)
    log = options.folder / "moments.json"
    whole = options.folder / "whole"
    assert forked(options.recipe, whole, None, log) == 0, log.with_suffix(".out").read_text()
    names, expected = json.loads(log.read_text()), contents(whole)
    failures = {}
    tried = spread(names, options.moments)
    for stop in tried:
        folder = options.folder / f"stopped-{stop}"
        codes = forked(options.recipe, folder, stop, log), forked(options.recipe, folder, None, log)
        differs = differing(expected, contents(folder)) if codes == (STOPPED, 0) else [f"exit codes {codes}"]
        if differs:
            failures[f"{stop} ({names[stop - 1]})"] = differs
    seconds = time.process_time() + sum(os.times()[2:4]) - began
    kinds, all_kinds = (dict(collections.Counter(some)) for some in ([names[stop - 1] for stop in tried], names))
    report = {"moments": all_kinds, "tried": kinds, "cpu_seconds": round(seconds), "failures": failures}
    print(json.dumps(report))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
