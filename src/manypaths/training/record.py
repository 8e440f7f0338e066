"""What a run records while it trains: the metrics of each step, and groups of completions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manypaths.callbacks.records import Records
from manypaths.names import SECONDS
from manypaths.preflight.pilot import LastSteps
from manypaths.sections import Recipe
from manypaths.terminal import Bar, caution, say
from manypaths.trl import Groups


class Recorder(Records):
    """Writes metrics.jsonl and groups.jsonl of a run while its trainer works, and prints a line for each step.

    On a terminal there is a progress bar, too.

    `golds` maps a prompt to the gold answers of all problems with that prompt. `trainer` is set after the trainer is
    made, which takes this callback.
    """

    def __init__(self, run: Path, spec: Recipe, golds: dict[str, list[str]]) -> None:
        super().__init__(run, spec.record.every, spec.record.groups, golds)
        self.method = spec.method.reweight
        self.last_steps = LastSteps(spec)
        self.bar: Bar | None = None

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self.last_steps.step = state.global_step
        if state.is_world_process_zero:
            self.bar = Bar("training", state.max_steps, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        super().on_step_end(args, state, control, **named)
        if self.bar is not None:
            self.bar.reach(state.global_step)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def new_groups(self) -> Groups | None:
        """The groups of the trainer, which forgets them."""
        groups: Groups | None = self.trainer.groups
        self.trainer.groups = None
        return groups

    def logged(self, state: Any, logs: dict[str, Any]) -> None:
        """Print the rewards and the seconds of a step, and cautions on the last steps."""
        rewards = {key: logs[key] for key in logs if key.startswith("rewards/") and "mean" in key}
        means = [f"{key.split('/')[1]} {mean:.2f}" for key, mean in rewards.items() if mean is not None]
        means = means or ["completions of the step before"]
        spent = sum(logs.get(name) or 0.0 for name in SECONDS.values())
        say(f"step {state.global_step}/{state.max_steps}: {', '.join(means)}; {spent:.1f} s a step")
        for sentence in self.last_steps.add(state.global_step, logs):
            caution(sentence)
