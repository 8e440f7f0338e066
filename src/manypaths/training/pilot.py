"""`manypaths train --pilot N`: the trainer of a run samples its first prompts and times an update; nothing is kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from manypaths import cpu
from manypaths.names import CLIPPED_RATIO, TRAINED
from manypaths.preflight.pilot import Generation, Pilot
from manypaths.preflight.workload import Workload, workload
from manypaths.sections import Recipe
from manypaths.training.run import checked, load_start, new_trainer
from manypaths.training.trainer_config import lora_config, trainer_config
from manypaths.trl import DiverseGRPOTrainer

KEEPS_NOTHING = {  # settings of the trainer without which it writes, uploads or prints
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "log_completions": False,
    "push_to_hub": False,
    "disable_tqdm": True,
}


class PilotTrainer(DiverseGRPOTrainer):
    """`DiverseGRPOTrainer` with one change: it samples `count` generation batches, times an update, and stops.

    The loader, the generation and the rewards are the trainer's own, so that the first batch is the run's. All batches
    are sampled from the initial model. The last of them is then used for an update twice: the first update, in which
    libraries and memory are set up, does not count.

    Args:
        count: generation batches, 1 or more, within the first epoch. The update takes more of them where it
            accumulates over several.
        rewards: names of the reward functions in the recipe, in their order.
        host: the arguments of `DiverseGRPOTrainer`.

    Attributes:
        generations: what was sampled.
        update_seconds: of the second update, optimizer included; of the first where a run has only that, or where the
            second would be the short one at the end of an epoch.
        trained: the share of completions that it ran, None where all must be run.
    """

    def __init__(self, *host: Any, count: int, rewards: list[str], **named_host: Any) -> None:
        self.count, self.names, self.generations, self.update_seconds = count, rewards, list[Generation](), 0.0
        self.trained: float | None = None
        self._batches, self._inputs = list[Any](), list[dict[str, Any]]()  # of the update
        super().__init__(*host, **named_host)
        self.add_callback(StopAfterUpdates(self))  # after the callback that counts the seconds of the step

    def get_batch_samples(self, epoch_iterator: Iterator[Any], *more: Any) -> tuple[list[Any], Any]:
        """The micro-batches of the update; those of the generations before it are sampled here."""
        if self.state.global_step:
            return self._batches[: more[0]], None
        args = self.args
        uses = args.steps_per_generation * args.num_iterations  # of a batch: the loader repeats it as often
        for _ in range(self.count - -(-args.gradient_accumulation_steps // uses)):
            batch = [next(epoch_iterator) for _ in range(uses)].pop()
            self.model.train()  # as a training step begins
            self._prepare_inputs(batch)
            print(f"Generation {len(self.generations)}: {self.generations[-1].seconds:.1f} s", flush=True)
        self._inputs.clear()
        batches: tuple[list[Any], Any] = super().get_batch_samples(epoch_iterator, *more)
        self._batches = batches[0]
        return batches

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Inputs of a micro-batch, newly sampled in the first update only."""
        if self.state.global_step:
            return dict(self._inputs.pop(0))
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        self._inputs.append(inputs)
        return inputs

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        before = sum(self.seconds.values())
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        assert self.groups is not None
        size, metrics = self.num_generations, self._metrics["train"]
        columns = {
            name: list(self._logs["rewards"][logged])[-self.groups.raw.numel() :]
            for name, logged in zip(self.names, self.reward_func_names, strict=True)
        }
        self.generations.append(
            Generation(
                raw=self.groups.raw.tolist(),
                rewards={name: [v[i : i + size] for i in range(0, len(v), size)] for name, v in columns.items()},
                mean_length=metrics["completions/mean_length"][-1],
                cut_off=metrics[CLIPPED_RATIO][-1],
                seconds=sum(self.seconds.values()) - before,
            )
        )
        return output


class StopAfterUpdates(TrainerCallback):
    """Ends a pilot after its second update."""

    def __init__(self, trainer: PilotTrainer) -> None:
        self.trainer = trainer

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        is_whole = self.trainer.current_gradient_accumulation_steps == args.gradient_accumulation_steps
        if state.global_step == 1 or is_whole:
            self.trainer.update_seconds = self.trainer.seconds["update"]
        if shares := self.trainer._metrics["train"].get(
            TRAINED
        ):  # of the micro-batches so far: the same in each update
            self.trainer.trained = sum(shares) / len(shares)
        control.should_training_stop = control.should_training_stop or state.global_step == 2


def run_pilot(spec: Recipe, out: Path, prompts: int) -> tuple[Pilot, Workload]:
    """Sample at least so many prompts of the first steps of a run, in whole generation batches, and time an update.

    Args:
        spec: the recipe of the run.
        out: the run folder, which is neither read nor written.
        prompts: their number, 1 or more. Dynamic sampling and the history of prompts are off,
            so that each of them is sampled once.

    Returns:
        What was sampled, and the counts of the run, with its steps.

    Raises:
        ValueError: as a run raises it before it loads a model, and for more prompts than the data has.
    """
    plan = checked(spec, out, trainer_config(spec, out), lora_config(spec))
    places, problems = plan.config.generation_batch_size // plan.config.num_generations, len(plan.problems)
    if prompts > problems:
        raise ValueError(f"--pilot must be at most {problems}, the problems of the training set, got {prompts}.")
    if problems < places:
        raise ValueError(f"The training set must fill a generation batch of {places} prompts, got {problems} problems.")
    count = min(-(-prompts // places), problems // places)
    print(f"Sampling {count * places} prompts x {plan.config.num_generations} completions of each", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        quiet = replace(spec, trainer={**spec.trainer, **KEEPS_NOTHING})
        plan = replace(plan, config=trainer_config(quiet, Path(folder)))
        plan.method |= {"dynamic_sampling": None, "history": None}
        model, tokenizer, embed = load_start(plan)
        make = partial(PilotTrainer, count=count, rewards=[*spec.rewards])
        with cpu.score_completions_only() if plan.config.use_cpu else nullcontext():
            trainer = new_trainer(plan, model, tokenizer, embed, make=make)
            trainer.train()
    run = replace(workload(spec), problems=problems, steps=trainer.state.max_steps)
    return Pilot(trainer.generations, trainer.update_seconds, trainer.trained), run
