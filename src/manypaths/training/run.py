"""A training run: `prepare` checks everything before a model is loaded, `train` fills or resumes the run folder."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import transformers
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from accelerate.utils.memory import clear_device_cache
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig

from manypaths import checkpoint, cpu, run_folder
from manypaths.callbacks.evaluations import evaluate_at, shards_weights
from manypaths.embed import check as check_embedder
from manypaths.embed import embedder
from manypaths.environment import environment
from manypaths.evaluation.sampling import Sampling, end_in_vllm, load_model, of_recipe, sampler, settings_of
from manypaths.files import move_folder, only_writer, refuse_if_in_use
from manypaths.messages import prompt_text
from manypaths.model_card.files import write_card
from manypaths.model_card.publish import check_credentials, keep_from_hub, make_repository
from manypaths.preflight import trainer_settings
from manypaths.problems import Problem, load, render
from manypaths.problems.rows import name_of
from manypaths.resume import last_checkpoint, rewind
from manypaths.sections import Recipe
from manypaths.training.inspect_page import write_page
from manypaths.training.record import Recorder
from manypaths.training.trainer_arguments import method_arguments
from manypaths.training.trainer_config import lora_config, trainer_config
from manypaths.trl import DiverseGRPOTrainer
from manypaths.verifiers import MATHEMATICS

T = TypeVar("T", bound=DiverseGRPOTrainer)


@dataclass
class Plan:
    """A run whose every input was checked. Nothing is loaded yet, and only recipe.yaml is written."""

    recipe: Recipe
    out: Path
    config: GRPOConfig
    lora: LoraConfig | None
    method: dict[str, Any]  # arguments of DiverseGRPOTrainer
    problems: list[Problem]
    held_out: list[Problem]


def prepare(spec: Recipe, out: Path) -> Plan:
    """Check a recipe against the data, the disk and the trainer's own rules, and make the run folder.

    Args:
        spec: The recipe of a run, new or to be resumed.
        out: The run folder.

    Raises:
        ValueError: A part of the recipe cannot be carried out; the message names the remedy.
    """
    config, lora = trainer_config(spec, out), lora_config(spec)
    with PartialState().main_process_first():  # the first process alone reports a mistake, and makes the folder
        plan = checked(spec, out, config, lora)
        if PartialState().is_main_process:
            refuse_if_in_use(out)
            if config.push_to_hub:  # before anything is loaded: TRL makes it with the model in memory
                check_credentials(asdict(spec), out)
                make_repository(config.hub_model_id, config.hub_private_repo)
        run_folder.prepare_run_dir(out, spec)
        if config.push_to_hub and PartialState().is_main_process:
            keep_from_hub(Path(config.output_dir))
    return plan


def checked(spec: Recipe, out: Path, config: GRPOConfig, lora: LoraConfig | None) -> Plan:
    """The plan of a recipe, with nothing written; raises ValueError for what cannot be carried out."""
    trainer_settings.check_packages(config)
    trainer_settings.check_values(config)
    _check_models(spec)
    return Plan(
        recipe=spec,
        out=out,
        config=config,
        lora=lora,
        method=method_arguments(spec, config),
        problems=load(**asdict(spec.problems)),
        held_out=_held_out(spec, config),
    )


def _check_models(spec: Recipe) -> None:
    """Raise ValueError for a model or an embedder that cannot be loaded, as far as that shows without loading it."""
    if spec.model.architecture is not None and not Path(spec.model.name).expanduser().exists():
        raise ValueError(
            f"Model folder {spec.model.name!r} does not exist. Make it: manypaths pretrain MODEL PROBLEMS --out "
            f"{spec.model.name}, or set model.name to a folder with weights."
        )
    checkpoint.check_packages([spec.model.name, spec.embedder.name])
    checkpoint.find_checkpoint(spec.model.name)
    if spec.embedder.name != "keys":
        check_embedder(spec.embedder.name, spec.embedder.options)


def _held_out(spec: Recipe, config: GRPOConfig) -> list[Problem]:
    """The problems of the run's own evaluations; none where the recipe has no evaluation."""
    if spec.evaluation is None:
        return []
    if shards_weights(config):
        raise ValueError(
            "evaluation must be null with ZeRO-3 and FSDP, where each process has a part of the weights. Set "
            "evaluation=null, and use manypaths evaluate RUN afterwards."
        )
    return load(**asdict(spec.evaluation.problems))


def train(plan: Plan) -> dict[str, Any] | None:
    """Train and evaluate as planned, from the last complete checkpoint where the run was stopped before.

    A finished run is left as it is. Under a launcher every process calls this, on one folder that all of them see.

    Returns:
        The summary {evaluation, steps, seconds} of `run_folder.write_summary` in the first process, None in the others.

    Raises:
        ValueError: Another command uses the folder, or a file in it is damaged.
    """
    first = PartialState().is_main_process
    with only_writer(plan.out) if first else nullcontext():
        if first:
            run_folder.prepare_run_dir(plan.out, plan.recipe)  # another command may have written it in the meantime
        summary = run_folder.final_summary(plan.out)
        if summary is None:
            _train_and_evaluate(plan)
        if not first:
            return None
        if summary is None or not (plan.out / run_folder.PAGE).exists():
            summary = summary or run_folder.write_summary(plan.out)
            _write_card(plan)
            _write_page(plan.out)  # last: a run without its page gets both
        return summary


def _write_page(run: Path) -> None:
    try:
        write_page(run)
    except ValueError as error:
        print(f"{run_folder.PAGE} was not written: {error}", file=sys.stderr)


def _write_card(plan: Plan) -> None:
    try:
        write_card(plan.out)
    except ValueError as error:
        print(f"The model card was not written: {error}", file=sys.stderr)


def _train_and_evaluate(plan: Plan) -> None:
    if PartialState().is_main_process:
        run_folder.write_environment(plan.out, environment())
    if not (plan.out / run_folder.MODEL).exists():
        model, tokenizer, embed = load_start(plan)
        _measure(plan, "before", 0, model, tokenizer)
        _train_model(plan, model, tokenizer, embed)
        del model, tokenizer, embed
        clear_device_cache(garbage_collection=True)  # trainer, optimizer and weights refer to each other in cycles
    if plan.held_out:
        _measure(plan, "after", _last_step(plan.out), *_load(plan, str(plan.out / run_folder.MODEL)))


def _last_step(run: Path) -> int:
    lines = run_folder.read_metrics(run)
    if not lines:
        raise ValueError(f"{run / run_folder.METRICS} has no step, though the training is finished. Restore it.")
    return int(lines[-1]["step"])


def load_start(plan: Plan) -> tuple[Any, Any, Any]:
    """What the training starts from: the model, its tokenizer, and the embedder, which is None for keys."""
    spec = plan.recipe.embedder
    embed = None if spec.name == "keys" else embedder(spec.name, **spec.options)
    return *_load(plan, plan.recipe.model.name), embed


def _load(plan: Plan, source: str) -> tuple[Any, Any]:
    """A model and its tokenizer; with vLLM, the trainer's configuration gets the model's end tokens."""
    model, tokenizer = load_model(source, Sampling(**of_recipe(plan.recipe)), on_cpu=plan.config.use_cpu)
    checkpoint.check_prompt(tokenizer, plan.recipe.prompt)
    if plan.config.use_vllm:
        plan.config.generation_kwargs = end_in_vllm(plan.config.generation_kwargs, model)
    return model, tokenizer


def _measure(plan: Plan, moment: str, step: int, model: Any, tokenizer: Any) -> None:
    """Evaluate on the held-out problems into RUN/evaluation, unless that was done at this moment of the training."""
    spec = plan.recipe.evaluation
    if spec is None:
        return
    model.to(plan.config.device)
    sampling = Sampling(**of_recipe(plan.recipe))
    named: dict[str, Any] = {"model": str(plan.out), "backend": "transformers", "prompt": plan.recipe.prompt}
    settings = settings_of(sampling, limit=spec.problems.limit, keys=spec.keys, **named)
    folder, name = plan.out / run_folder.EVALUATION, name_of(spec.problems.name)
    evaluate_at(moment, step, folder, plan.held_out, name, sampler(model, tokenizer, sampling), settings)


class Evaluations(TrainerCallback):
    """Evaluates after every `evaluation.every` steps of the training, outside of the time of any step."""

    def __init__(self, plan: Plan, tokenizer: Any) -> None:
        self.plan, self.tokenizer = plan, tokenizer

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        spec = self.plan.recipe.evaluation
        due = spec is not None and spec.every is not None and state.global_step % spec.every == 0
        if due and 0 < state.global_step < state.max_steps:
            _measure(self.plan, f"step-{state.global_step}", state.global_step, model, self.tokenizer)
            model.train()  # else TRL would log the next step as an evaluation


def _train_model(plan: Plan, model: Any, tokenizer: Any, embed: Any) -> None:
    """Train from the last complete checkpoint, or from the start, and write the weights into RUN/model."""
    checkpoint_folder = _resume_from(plan.out)
    with cpu.score_completions_only() if plan.config.use_cpu else nullcontext():
        trainer = _trainer(plan, model, tokenizer, embed)
        try:
            trainer.train(resume_from_checkpoint=checkpoint_folder)
        except RuntimeError as error:
            if checkpoint_folder is None or "size mismatch" not in str(error):
                raise
            raise ValueError(
                f"{checkpoint_folder} must be a checkpoint of this run, got weights of other sizes. Remove it: the run "
                "resumes from the checkpoint before it, or from the start."
            ) from error
    unfinished, state = plan.out / run_folder.UNFINISHED_MODEL, PartialState()
    trainer.save_model(str(unfinished), _internal_call=True)  # a run that is pushed is pushed with its evaluation
    state.wait_for_everyone()
    if state.is_main_process:
        move_folder(unfinished, plan.out / run_folder.MODEL)
    state.wait_for_everyone()


def _trainer(plan: Plan, model: Any, tokenizer: Any, embed: Any) -> DiverseGRPOTrainer:
    golds: dict[str, list[str]] = {}
    for row in _rows(plan):
        golds.setdefault(prompt_text(row["prompt"]), []).append(row["answer"])
    recorder = Recorder(plan.out, plan.recipe, golds)
    trainer: DiverseGRPOTrainer = new_trainer(plan, model, tokenizer, embed, DiverseGRPOTrainer, callbacks=[recorder])
    recorder.trainer = trainer
    trainer.add_callback(Evaluations(plan, tokenizer))  # after the callback that counts the seconds of the step
    return trainer


def _rows(plan: Plan) -> list[dict[str, Any]]:
    """The rows of the trainer's data set; the column `grader` is there where it is not mathematics for all."""
    prompts = [render(plan.recipe.prompt, problem.question) for problem in plan.problems]
    rows = [{"prompt": p, "answer": problem.answer} for p, problem in zip(prompts, plan.problems, strict=True)]
    if any(problem.grader != MATHEMATICS for problem in plan.problems):
        rows = [{**row, "grader": problem.grader} for row, problem in zip(rows, plan.problems, strict=True)]
    return rows


def new_trainer(
    plan: Plan,
    model: Any,
    tokenizer: Any,
    embed: Any,
    make: Callable[..., T],
    callbacks: Sequence[TrainerCallback] = (),
) -> T:
    """The trainer of a plan, made by `make`, which is DiverseGRPOTrainer or a subclass of it."""
    import datasets

    trainer: T = make(
        model,
        args=plan.config,
        train_dataset=datasets.Dataset.from_list(_rows(plan)),
        processing_class=tokenizer,
        peft_config=plan.lora,
        callbacks=[*callbacks],
        embedder=embed,
        **plan.method,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def _resume_from(run: Path) -> str | None:
    """Drop what was recorded after the last complete checkpoint -> its folder, the same in all processes."""
    folder: list[str | None] = [None]
    if PartialState().is_main_process:
        shutil.rmtree(run / run_folder.UNFINISHED_MODEL, ignore_errors=True)
        if (last := last_checkpoint(run)) is None:
            rewind(run, 0)
        else:
            rewind(run, last.step, last.finished)
            folder = [str(last.folder)]
    broadcast_object_list(folder)
    return folder[0]
