"""Logs of TRL: what its own trainers write with log_completions comes back as groups, each completion once."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from manypaths import logs

PROMPTS = [{"prompt": f"{a} + 2 = ", "answer": str(a + 2)} for a in range(8)]


def letters(completions: list[str], log_extra: Any = None, **_: Any) -> list[float]:
    if log_extra:
        log_extra("length", [len(text) for text in completions])
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


def even(completions: list[str], **_: Any) -> list[float | None]:
    return [None if not text else float(sum(map(ord, text)) % 2 == 0) for text in completions]


class Table(TrainerCallback):
    """What TRL's table of completions has after each step, by which the files are checked."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.tables = trainer, {}

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        table = self.trainer._logs
        rewards = {name: list(values) for name, values in table["rewards"].items()}
        self.tables[state.global_step] = (list(table["completion"]), rewards, list(table["advantages"]))


def train(
    tiny_model: Path, out: Path, kind: type = GRPOTrainer, rewards: Any = (letters, even), **settings: Any
) -> Any:
    named = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 6, "logging_steps": 1}
    named |= {"learning_rate": 1e-2, "bf16": False, "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    named |= {"max_steps": 3, "save_strategy": "no", "beta": 0.0, "log_completions": True, **settings}
    evaluated = {"eval_dataset": Dataset.from_list(PROMPTS[:2])} if "eval_steps" in settings else {}
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        reward_funcs=list(rewards),
        args=GRPOConfig(str(out), **named),
        train_dataset=Dataset.from_list(PROMPTS),
        processing_class=AutoTokenizer.from_pretrained(tiny_model, padding_side="right"),
        **evaluated,
    )
    trainer.add_callback(table := Table(trainer))
    trainer.train()
    return table


def test_the_completions_of_a_training_come_back_by_group(tiny_model: Path, tmp_path: Path) -> None:
    table = train(tiny_model, tmp_path)
    log = logs.read(tmp_path)
    assert (log.kind, log.path) == (logs.TRL, tmp_path)
    assert [group.step for group in log.groups] == [1, 1, 2, 2, 3, 3]
    for step, (completions, rewards, advantages) in table.tables.items():
        groups = [group for group in log.groups if group.step == step]
        assert joined(group.completions for group in groups) == completions
        for name in ("letters", "even"):
            assert joined(group.rewards[name] for group in groups) == as_logged(rewards[name])
        assert joined(group.advantages for group in groups) == advantages
        assert joined(group.extra["length"] for group in groups) == [len(text) for text in completions]
        sums = [
            letter + (even or 0.0) for letter, even in zip(rewards["letters"], as_logged(rewards["even"]), strict=True)
        ]
        assert joined(group.total for group in groups) == pytest.approx(sums)
    assert all(group.correct is None and group.tokens is None for group in log.groups)


def joined(parts: Any) -> list[Any]:
    return [value for part in parts for value in part]


def as_logged(values: list[float]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values]
