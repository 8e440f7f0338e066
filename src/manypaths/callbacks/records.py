"""What is recorded while a trainer works: the metrics of its log, and groups of completions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from manypaths.messages import prompt_text, text_of
from manypaths.methods.measures import nearest_sibling
from manypaths.run_folder import append_groups, append_metrics
from manypaths.trl import Groups


class Records(TrainerCallback):
    """Writes metrics.jsonl and groups.jsonl of a run folder while a trainer of TRL works.

    Args:
        run: the folder.
        every: the groups that step 1, and every so many steps, train on are recorded, by the step that sampled them.
        groups: so many groups of a generation are recorded, the first ones; None for all.
        golds: the gold answers of all problems with a prompt, by the text of the prompt. Different ones are all
            recorded, as "4 or 5", because the prompt does not identify the problem that was sampled.
    """

    def __init__(self, run: Path, every: int, groups: int | None, golds: dict[str, list[str]]) -> None:
        self.run, self.every, self.first = run, every, groups
        self.golds = {prompt: " or ".join(dict.fromkeys(answers)) for prompt, answers in golds.items()}
        self.trainer: Any = None
        self.method: str | None = None  # what reweights the rewards of the groups

    def new_groups(self) -> Groups | None:
        """The groups of the last generation, once; None where they were returned before."""
        raise NotImplementedError

    def on_substep_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        self._write_groups(state.global_step + 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write_groups(state.global_step)
        if control.should_save or state.global_step >= state.max_steps:
            control.should_log = True  # a line ends at each checkpoint, because a run that resumes there begins one

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if control.should_save:
            control.should_log = True

    def _write_groups(self, step: int) -> None:
        groups = self.new_groups()
        if groups is None or not self.trainer.accelerator.is_main_process:
            return
        last = step + updates_of_a_generation(self.trainer.args) - 1
        if step > 1 and step % self.every and last // self.every == step // self.every:
            return
        lines = [
            {"step": step, "method": self.method, "answer": self.golds.get(line["prompt"]), **line}
            for line in group_lines(self.trainer, groups.first(self.first))
        ]
        append_groups(self.run, lines)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs and state.is_world_process_zero:
            append_metrics(self.run, {"step": state.global_step, **logs})
            self.logged(state, logs)

    def logged(self, state: Any, logs: dict[str, Any]) -> None:
        """Called by the first process after each line of metrics."""


def updates_of_a_generation(args: Any) -> int:
    """The number of updates for which a trainer of TRL uses a generation, 1 where an update has several of them."""
    uses: int = args.steps_per_generation * args.num_iterations
    micro_steps: int = args.gradient_accumulation_steps
    return math.ceil(uses / micro_steps)


def group_lines(trainer: Any, groups: Groups) -> list[dict[str, Any]]:
    """The groups of the last generation as the trainer used them, advantages included, one dict per group.

    `diagnostics` are what the methods reported: of the group, and in each completion of that completion.
    """
    logs, size, neighbours = trainer._logs, groups.raw.shape[1], nearest(groups)
    of_group, of_completion = ({name: v for name, v in groups.diagnostics.items() if v.dim() == d} for d in (1, 2))

    def completion(group: int, index: int) -> dict[str, Any]:
        row = group * size + index
        return {
            "text": text_of(logs["completion"][row]),
            "rewards": {name: logs["rewards"][name][row] for name in trainer.reward_func_names},
            "raw": groups.raw[group, index].item(),
            "adjusted": groups.adjusted[group, index].item(),
            "advantage": logs["advantages"][row],
            **neighbours[group][index],
            "diagnostics": {name: values[group, index].item() for name, values in of_completion.items()},
        }

    return [
        {
            "group": group,
            "prompt": prompt_text(logs["prompt"][group * size]),
            "diagnostics": {name: values[group].item() for name, values in of_group.items()},
            "completions": [completion(group, index) for index in range(size)],
            "similarity": None
            if groups.similarity is None
            else [[round(value, 4) for value in row] for row in groups.similarity[group].tolist()],
        }
        for group in range(len(groups.raw))
    ]


def nearest(groups: Groups) -> list[list[dict[str, Any]]]:
    """Of each completion of each group its nearest sibling and their similarity; None where there is none.

    Unscored completions and those that are not selected are nobody's neighbours.
    """
    if groups.similarity is None:
        return [[{"nearest": None, "similarity": None}] * groups.raw.shape[1] for _ in groups.raw]
    values, indices = nearest_sibling(groups.adjusted, groups.similarity)
    return [
        [
            {"nearest": index, "similarity": round(value, 4)} if value > -2 else {"nearest": None, "similarity": None}
            for index, value in zip(*group, strict=True)
        ]
        for group in zip(indices.tolist(), values.tolist(), strict=True)
    ]
