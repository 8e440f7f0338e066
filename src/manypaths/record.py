"""The run folder: what is written during training, and how far it reaches when a run is taken up again.

Its files are listed in the README.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import asdict
from importlib.metadata import distributions
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from manypaths.files import write_whole
from manypaths.generate import Prompt
from manypaths.messages import text_of
from manypaths.recipe import Recipe, canonical, dump, read, to_yaml
from manypaths.trl import DiverseGRPOTrainer, Groups

PACKAGES = ("manypaths", "torch", "transformers", "trl", "peft", "accelerate", "datasets", "sentence-transformers")
LAUNCH = ("WORLD_SIZE", "ACCELERATE_", "FSDP_")  # variables that say how many processes there are, and what shards them
ROOM = 64 * 2**20  # bytes that must be free on the disk of a run folder before anything is loaded


class Recorder(TrainerCallback):
    """Writes metrics.jsonl and groups.jsonl of a run while its trainer works.

    `golds` has the gold answers of all problems with a prompt: of several that differ each is recorded, "4 or 5", for
    the prompt does not tell which of the problems was sampled.
    """

    def __init__(self, run: Path, spec: Recipe, golds: dict[str, list[str]]) -> None:
        self.run, self.method, self.record = run, spec.method.reweight, spec.record
        self.golds = {prompt: " or ".join(dict.fromkeys(answers)) for prompt, answers in golds.items()}
        self.trainer: DiverseGRPOTrainer | None = None  # set once it is made

    def on_substep_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self._write_groups(state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self._write_groups(state.global_step)

    def _write_groups(self, step: int) -> None:
        assert self.trainer is not None
        groups, self.trainer.groups = self.trainer.groups, None
        if groups is None or groups.similarity is None or not self.trainer.accelerator.is_main_process:
            return
        if step > 1 and step % self.record.every:
            return
        first = slice(self.record.groups)
        lam = None if groups.lam is None else groups.lam[first].cpu()
        groups = Groups(groups.raw[first].cpu(), groups.adjusted[first].cpu(), groups.similarity[first].cpu(), lam)
        with open(self.run / "groups.jsonl", "a", encoding="utf-8") as file:
            for line in group_lines(self.trainer, groups):
                known = {"step": step, "method": self.method, "answer": self.golds.get(line["prompt"])}
                file.write(json.dumps({**known, **line}) + "\n")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if not logs or "loss" not in logs or not state.is_world_process_zero:
            return
        with open(self.run / "metrics.jsonl", "a", encoding="utf-8") as file:
            known = {key: number(value) if isinstance(value, float) else value for key, value in logs.items()}
            file.write(json.dumps({"step": state.global_step, **known}) + "\n")
        rewards = {key: logs[key] for key in logs if key.startswith("rewards/") and "mean" in key}
        means = [f"{key.split('/')[1]} {mean:.2f}" for key, mean in rewards.items() if mean is not None]
        means = means or ["answers used again"]
        spent = sum(value for key, value in logs.items() if key.startswith("seconds/"))
        print(f"step {state.global_step}/{state.max_steps}: {', '.join(means)}; {spent:.1f} s a step", flush=True)


def group_lines(trainer: DiverseGRPOTrainer, groups: Groups) -> list[dict[str, Any]]:
    """The groups of the last generation as the trainer used them, advantages included, one dict per group."""
    assert groups.similarity is not None
    logs, size, unscored = trainer._logs, groups.raw.shape[1], groups.raw.isnan()
    nobody = torch.eye(size, dtype=torch.bool, device=unscored.device) | unscored.unsqueeze(1) | unscored.unsqueeze(2)
    nearest = groups.similarity.masked_fill(nobody, -torch.inf).max(-1)

    def completion(group: int, index: int) -> dict[str, Any]:
        row, paired = group * size + index, bool(nearest.values[group, index].isfinite())
        return {
            "text": text_of(logs["completion"][row]),
            "rewards": {name: number(logs["rewards"][name][row]) for name in trainer.reward_func_names},
            "raw": number(groups.raw[group, index].item()),
            "adjusted": number(groups.adjusted[group, index].item()),
            "advantage": logs["advantages"][row],
            "nearest": int(nearest.indices[group, index]) if paired else None,
            "similarity": round(nearest.values[group, index].item(), 4) if paired else None,
        }

    return [
        {
            "group": group,
            "prompt": prompt_text(logs["prompt"][group * size]),
            "lam": None if groups.lam is None else groups.lam[group].item(),
            "completions": [completion(group, index) for index in range(size)],
            "similarity": [[round(value, 4) for value in row] for row in groups.similarity[group].tolist()],
        }
        for group in range(len(groups.raw))
    ]


def prompt_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(str(message["content"]) for message in prompt)


def number(value: float) -> float | None:
    return None if math.isnan(value) else value  # JSON has no word for NaN


def claim(run: Path, spec: Recipe) -> None:
    """Make a run folder, or make sure, with a ValueError, that the one there is of this recipe and can be written."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run) as probe:
            probe.write(bytes(2**16))
        free = shutil.disk_usage(run).free
    except OSError as error:
        raise ValueError(f"The run folder {str(run)!r} cannot be written: {error}. Give another --out.") from error
    if free < ROOM:
        raise ValueError(f"The disk of {str(run)!r} is full: {free >> 20} MiB are free, a run asks for {ROOM >> 20}.")
    there = run / "recipe.yaml"
    if there.exists():
        old, new = (to_yaml(canonical(asdict(recipe))).splitlines() for recipe in (read([str(there)]), spec))
        pairs = zip_longest(old, new, fillvalue="nothing")
        differing = [f"{theirs.strip()} there, {ours.strip()} here" for theirs, ours in pairs if theirs != ours]
        if differing:
            raise ValueError(
                f"{str(run)!r} holds the run of another recipe ({'; '.join(differing[:3])}). Give another --out, "
                "or no recipe at all to go on with that run."
            )
    elif any(run.iterdir()):
        raise ValueError(f"{str(run)!r} is not empty and holds no run. Give --out a new or an empty folder.")
    else:
        write_whole(there, dump(spec))


def last_checkpoint(run: Path) -> Path | None:
    """The newest checkpoint that was written to its end, which is when trainer_state.json is there and whole."""
    found = [(step, folder) for folder in (run / "checkpoints").glob("checkpoint-*") if (step := _step(folder))]
    return max(found)[1] if found else None


def _step(checkpoint: Path) -> int:
    """The step of a checkpoint; 0 when it was not written to its end."""
    try:
        return int(json.loads((checkpoint / "trainer_state.json").read_text())["global_step"])
    except (OSError, ValueError, KeyError):
        return 0


def forget_after(run: Path, last: Path | None) -> None:
    """Drop what was recorded after a checkpoint (None: everything), for those steps will run again."""
    step = 0 if last is None else _step(last)
    for path in (run / "metrics.jsonl", run / "groups.jsonl"):
        if path.exists():
            partial = path.with_name(f".{path.name}.partial")
            with path.open(encoding="utf-8") as old, partial.open("w", encoding="utf-8") as new:
                whole = (line for line in old if line.endswith("\n"))  # the file may be larger than the memory
                new.writelines(line for line in whole if json.loads(line)["step"] <= step)
            partial.replace(path)
    late = [path for path in (run / "evaluation").glob("step-*.jsonl*") if int(path.name.split(".")[0][5:]) > step]
    for name in ("summary.json", "shares.json") if late else ():
        known = json.loads((run / "evaluation" / name).read_text("utf-8"))
        left = {when: found for when, found in known.items() if when not in {path.stem for path in late}}
        write_whole(run / "evaluation" / name, json.dumps(left, indent=2 if name == "summary.json" else None))
    for path in late:
        path.unlink()


def environment() -> dict[str, Any]:
    """Versions, commit and hardware of this process."""
    installed = {one.metadata["Name"]: one.version for one in distributions()}
    here = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    return {
        "versions": {name: installed.get(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "launch": {key: os.environ[key] for key in sorted(os.environ) if key.startswith(LAUNCH)},
        "commit": subprocess.run(here, capture_output=True, text=True, check=False).stdout.strip() or None,
    }
