"""An evaluation at a moment of a training, in all of its processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object

from manypaths.evaluation.evaluate import evaluate_sets
from manypaths.evaluation.sampling import Sampler
from manypaths.evaluation.summary import add_moment, moments
from manypaths.problems import Problem
from manypaths.terminal import say


def shards_weights(config: Any) -> bool:
    """Whether each process holds a part of the weights alone, ZeRO-3 and FSDP, by a trainer's configuration."""
    fsdp = config.fsdp or os.environ.get("ACCELERATE_USE_FSDP") == "true"
    return bool(fsdp) or (config.deepspeed_plugin is not None and config.deepspeed_plugin.zero_stage == 3)


def evaluate_at(
    moment: str,
    step: int,
    folder: Path,
    problems: Sequence[Problem],
    name: str,
    sampler: Sampler,
    settings: dict[str, Any],
) -> None:
    """Evaluate into RUN/evaluation, unless that was done at this moment of the training.

    Args:
        moment: before, step-N or after.
        step: The optimiser steps until then.
        folder: RUN/evaluation.
        problems: One or more.
        name: The name of the problem set.
        sampler: The model.
        settings: What `sampling.settings_of` returned.

    Raises:
        ValueError: A file of the folder is damaged.
    """
    if moment in moments(folder):
        return
    state = PartialState()
    if state.is_main_process:
        say(f"Evaluating on {len(problems)} held-out problems, {moment.replace('-', ' ')}")
    measures = evaluate_sets(
        {moment: list(problems)},
        sampler,
        folder,
        settings,
        progress=state.is_main_process,
        processes=(state.process_index, state.num_processes),
        gather=gather_object,
    )
    if state.is_main_process:
        add_moment(folder, moment, step, name, measures[moment])
