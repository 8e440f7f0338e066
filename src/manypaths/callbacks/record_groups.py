"""`RecordGroups`: the groups and the metrics of a training by a script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from manypaths.callbacks.records import Records
from manypaths.callbacks.script import begin, check_trainer, end
from manypaths.messages import prompt_text
from manypaths.run_folder import METRICS, append_metrics
from manypaths.trl import Groups
from manypaths.trl.described import method_of
from manypaths.trl.normalize_then_sum import raw_rewards
from manypaths.wrapper import DiverseReward


class RecordGroups(Records):
    """Records the groups of completions and the metrics of TRL's GRPOTrainer or RLOOTrainer, or of ours.

    `manypaths inspect` and `manypaths compare` read the folder. Rewards and advantages are those of the trainer's own
    log of completions. With several processes the first one writes. A training that is resumed from a checkpoint drops
    what was recorded after it; for that, the trainer logs a line at each checkpoint, and one at its last step.

    Args:
        trainer: the trainer, to which the callback is then added.
        out: the run folder; None for the trainer's `output_dir`.
        every: the groups that step 1, and every so many steps, train on are recorded.
        groups: so many groups of a generation are recorded, the first ones; None for all.
        answer_column: the column of the training data with the gold answers, which the page then shows.
        settings: what a comparison must know of this run beside the trainer's arguments and the names of the reward
            functions, such as {"data": "gsm8k"}. Runs that differ by their seed alone are repetitions.

    Raises:
        ValueError: for another trainer, reward functions of one name, a number below 1 and a missing column; when the
            training begins, for a folder with the records of another training.

    Example:
        >>> trainer.add_callback(RecordGroups(trainer, "runs/mine"))
    """

    def __init__(
        self,
        trainer: Any,
        out: str | Path | None = None,
        *,
        every: int = 1,
        groups: int | None = None,
        answer_column: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        check_trainer("RecordGroups", trainer)
        for name, number in (("every", every), ("groups", groups)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be 1 or more, got {number}.")
        names = trainer.reward_func_names
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(
                f"Reward functions must have names of their own, got {twice[0]!r} {names.count(twice[0])} times. TRL "
                "logs rewards by name, so that only those of the last function would be recorded. Set their __name__."
            )
        super().__init__(Path(out or trainer.args.output_dir), every, groups, _golds(trainer, answer_column))
        self.trainer, self.settings = trainer, settings or {}
        self._generation: Any = None  # the micro-batches that TRL made of the generation that was recorded last

    def on_train_begin(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        begin(self.run, self.trainer, state, self.settings)
        self.method = method_of(self.trainer)[0]
        if state.global_step and state.is_world_process_zero and not (self.run / METRICS).exists():
            append_metrics(self.run, {"step": state.global_step})  # what was before is unknown, its seconds too

    def on_train_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        end(self.run, self.trainer, state)

    def new_groups(self) -> Groups | None:
        """The groups of a generation when its first micro-step has ended; None in the other micro-steps."""
        generation = self.trainer._buffered_inputs
        if generation is None or generation is self._generation:
            return None
        self._generation = generation
        groups = getattr(self.trainer, "groups", None)
        return groups if isinstance(groups, Groups) else logged_groups(self.trainer)


def logged_groups(trainer: Any) -> Groups:
    """The groups of the last generation by TRL's log of completions.

    The raw rewards are unknown, NaN, where a `DiverseReward` adjusts them before TRL sees them; the rewards of which
    the advantages were made are unknown where an RLOOTrainer changes them, by a KL penalty or by clipping.
    """
    logs, size = trainer._logs, trainer.num_generations
    rewards = torch.tensor([list(logs["rewards"][name]) for name in trainer.reward_func_names]).T
    aggregation = getattr(trainer, "multi_objective_aggregation", "sum_then_normalize")
    summed = raw_rewards(rewards, trainer.reward_weights.cpu(), size, aggregation).view(-1, size)
    unknown = torch.full_like(summed, torch.nan)
    reweighted = any(isinstance(function, DiverseReward) for function in trainer.reward_funcs)
    clipped = getattr(trainer, "reward_clip_range", None)
    penalised = hasattr(trainer, "reward_clip_range") and trainer.beta != 0.0  # RLOO subtracts beta * KL
    return Groups(unknown if reweighted else summed, unknown if clipped or penalised else summed, {}, {})


def _golds(trainer: Any, column: str | None) -> dict[str, list[str]]:
    golds: dict[str, list[str]] = {}
    if column is None:
        return golds
    names = getattr(trainer.train_dataset, "column_names", None) or []
    if column not in names:
        raise ValueError(f"answer_column must be a column of the training data, {', '.join(names)}, got {column!r}.")
    for row in trainer.train_dataset.select_columns(["prompt", column]):
        golds.setdefault(prompt_text(row["prompt"]), []).append(str(row[column]))
    return golds
