"""One training run: everything is checked first; then a run folder is filled, or taken up where it was cut off."""

from __future__ import annotations

import functools
import inspect
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from accelerate.utils.memory import clear_device_cache
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig

from manypaths import checkpoint, cpu, rewards, run_folder
from manypaths.embed import NgramEmbedder, SentenceEmbedder, embedder, place
from manypaths.evaluation.evaluate import evaluate_sets
from manypaths.evaluation.sampling import Sampling, end_in_vllm, load_model, of_recipe, sampler, settings_of
from manypaths.evaluation.summary import add_moment, moments
from manypaths.files import in_use, in_use_by_another, move_folder, only_writer
from manypaths.messages import prompt_text
from manypaths.methods import REWEIGHTERS, Reweighter, keep_equal_rewards
from manypaths.methods.advantages import ADVANTAGES
from manypaths.names import nearest
from manypaths.preflight import trainer_settings
from manypaths.preflight.workload import workload
from manypaths.problems import Problem, load, render
from manypaths.problems.rows import name_of
from manypaths.recipe import Recipe
from manypaths.resume import check_saving, last_checkpoint
from manypaths.training.environment import environment
from manypaths.training.inspect_page import write_page
from manypaths.training.record import Recorder
from manypaths.trl import DiverseGRPOTrainer, check
from manypaths.typed import check_arguments

SET_BY_THE_RUN = ("output_dir", "seed", "reward_weights", "remove_unused_columns", "resume_from_checkpoint")


@dataclass
class Plan:
    """A run whose every input was checked. Nothing is loaded yet, and only recipe.yaml is written."""

    recipe: Recipe
    out: Path
    problems: list[Problem]
    held_out: list[Problem]
    config: GRPOConfig
    lora: LoraConfig | None
    method: dict[str, Any]


def prepare(spec: Recipe, out: Path) -> Plan:
    """Check a recipe against the data, the disk and the trainer's own rules. Raises ValueError with a remedy."""
    check_arguments(GRPOConfig, spec.trainer, "trainer.", SET_BY_THE_RUN)
    check_arguments(LoraConfig, spec.lora or {}, "lora.")
    trainer_settings.check_kept(spec.trainer)
    if not isinstance(getattr(torch, spec.model.dtype, None), torch.dtype):
        raise ValueError(f"model.dtype asks for a torch dtype such as bfloat16; given {spec.model.dtype!r}.")
    config = _config(spec, out)
    with PartialState().main_process_first():  # one of several processes says what is wrong, and makes the folder
        return _checked(spec, out, config)


def _checked(spec: Recipe, out: Path, config: GRPOConfig) -> Plan:
    trainer_settings.check_packages(config)
    trainer_settings.check_values(config)
    method = method_arguments(spec, config)
    if "{question}" not in json.dumps(spec.prompt):
        raise ValueError("prompt asks for a text, or chat messages, that hold {question}; there is none.")
    checkpoint.find_checkpoint(spec.model.name)
    if min(spec.record.every, 1 if spec.record.groups is None else spec.record.groups) < 1:
        raise ValueError(
            f"record.every and record.groups ask for 1 or more; given {spec.record.every} and {spec.record.groups}."
        )
    if spec.evaluation is not None and _in_shards(config):
        raise ValueError(
            "evaluation asks for whole weights in every process; ZeRO-3 and FSDP have shards of them. Set "
            "evaluation=null, and use manypaths evaluate RUN afterwards."
        )
    if spec.embedder.name.startswith("package:"):
        checkpoint.installed_folder(spec.embedder.name)
    _check_options(NgramEmbedder if spec.embedder.name == "ngram" else SentenceEmbedder, spec.embedder.options)
    if spec.embedder.name != "ngram":
        place(spec.embedder.options.get("device"), spec.embedder.options.get("dtype"))
    plan = Plan(
        recipe=spec,
        out=out,
        problems=load(**asdict(spec.problems)),
        held_out=load(**asdict(spec.evaluation.problems)) if spec.evaluation else [],
        config=config,
        lora=None if spec.lora is None else LoraConfig(**{"task_type": "CAUSAL_LM", **spec.lora}),
        method=method,
    )
    if PartialState().is_main_process and in_use(out):
        raise ValueError(in_use_by_another(out))
    run_folder.prepare_run_dir(out, spec)
    return plan


def _in_shards(config: GRPOConfig) -> bool:
    fsdp = config.fsdp or os.environ.get("ACCELERATE_USE_FSDP") == "true"
    return bool(fsdp) or (config.deepspeed_plugin is not None and config.deepspeed_plugin.zero_stage == 3)


def method_arguments(spec: Recipe, config: GRPOConfig) -> dict[str, Any]:
    """What makes a `DiverseGRPOTrainer` of the recipe's rewards, method and dynamic sampling: its arguments."""
    functions = rewards.bind(spec.rewards, spec.reward_options, config.max_completion_length)
    method, sampling = spec.method, spec.dynamic_sampling
    check(config, reweight=method.reweight is not None, importance_ratio=method.importance_ratio)
    if method.advantage is not None and method.advantage not in ADVANTAGES:
        raise ValueError(f"Unknown method.advantage {method.advantage!r}. {nearest(method.advantage, ADVANTAGES)}")
    if sampling.reward is not None and sampling.reward not in functions:
        raise ValueError(f"dynamic_sampling.reward asks for one of {', '.join(functions)}; given {sampling.reward!r}.")
    if sampling.max_batches < 1:
        raise ValueError(f"dynamic_sampling.max_batches asks for 1 or more; given {sampling.max_batches}.")
    return {
        "reward_funcs": list(functions.values()),
        "reweight": _reweighter(spec),
        "advantage": ADVANTAGES[method.advantage] if method.advantage else None,
        "importance_ratio": method.importance_ratio,
        "dynamic_sampling": list(functions).index(sampling.reward) if sampling.reward else None,
        "max_batches": sampling.max_batches,
    }


def _config(spec: Recipe, out: Path) -> GRPOConfig:
    """TRL's configuration; what TRL refuses is said with a remedy."""
    size = spec.trainer.get("num_generations", 8)
    if size is None or size < 2:
        raise ValueError(f"Groups of {size} have nobody to compare with. Set trainer.num_generations to 2 or more.")
    ours = {
        "output_dir": str(out / run_folder.CHECKPOINTS),
        "seed": spec.seed,
        "reward_weights": list(spec.rewards.values()),
    }
    ours |= {"logging_steps": 1, "report_to": "none", "use_cpu": not torch.accelerator.is_available()}
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (ours | spec.trainer)["use_cpu"]:
        ours["ddp_backend"] = "gloo"
    asked = {
        key: "no" if key.endswith("_strategy") and value is False else value for key, value in spec.trainer.items()
    }
    try:
        config = GRPOConfig(**ours | asked)  # YAML takes no for false
    except (ValueError, TypeError, ImportError, RuntimeError) as error:
        whole_groups = (
            " A batch must hold whole groups: per_device_train_batch_size x gradient_accumulation_steps x devices must "
            f"be a multiple of trainer.num_generations (here {size})."
        )
        remedy = whole_groups if "generation_batch_size" in str(error) else ""
        raise ValueError(f"TRL refuses the trainer settings: {error}{remedy}") from error
    counts = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
    for name in counts:
        if getattr(config, name) < 1:
            raise ValueError(f"trainer.{name} asks for 1 or more; given {getattr(config, name)}.")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    check_saving(config, lambda: workload(spec, processes).steps)
    return config


def _reweighter(spec: Recipe) -> Reweighter | None:
    name, options = spec.method.reweight, spec.method.options
    if name is not None and name not in REWEIGHTERS:
        raise ValueError(f"Unknown method.reweight {name!r}. {nearest(name, REWEIGHTERS)}")
    if name is None:
        return None
    _check_options(REWEIGHTERS[name], options)
    reweight = functools.partial(REWEIGHTERS[name], **options)
    try:
        reweight(torch.full((1, 2), torch.nan), torch.eye(2).unsqueeze(0))
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"The options of {name}, {options}, have a wrong type: {error}.") from error
    return keep_equal_rewards(reweight) if spec.method.keep_equal_rewards else reweight


def _check_options(function: Callable[..., Any], options: dict[str, Any]) -> None:
    signature = inspect.signature(function)
    try:
        signature.bind_partial(**options)
    except TypeError as error:
        raise ValueError(f"The options of {function.__name__} do not fit: {error}. It takes {signature}.") from error


def train(plan: Plan) -> dict[str, Any] | None:
    """Run a plan to its end, from its last whole checkpoint if it was cut off -> the summary of `summarise`.

    A run that is finished is left as it is. Under a launcher every process calls this, on one folder that all of them
    see; all but the first one get None.
    """
    state = PartialState()
    with only_writer(plan.out) if state.is_main_process else nullcontext():
        if state.is_main_process:
            run_folder.prepare_run_dir(plan.out, plan.recipe)  # another command may have begun in the meantime
        return _train(plan, state)


def _train(plan: Plan, state: PartialState) -> dict[str, Any] | None:
    summary = run_folder.final_summary(plan.out)
    if summary is not None and (plan.out / run_folder.PAGE).exists():
        return summary if state.is_main_process else None
    if summary is None:
        _fill(plan, state)
    if not state.is_main_process:
        return None
    summary = summary or run_folder.write_summary(plan.out)
    try:
        write_page(plan.out)
    except ValueError as error:
        print(f"inspect.html was not written: {error}", file=sys.stderr)
    return summary


def _fill(plan: Plan, state: PartialState) -> None:
    if state.is_main_process:
        run_folder.write_environment(plan.out, environment())
    if not (plan.out / run_folder.MODEL).exists():
        _begin(plan)
        clear_device_cache(garbage_collection=True)  # trainer, optimizer and weights hold each other in cycles
    if plan.held_out:
        _measure(plan, "after", _last_step(plan.out), *_load(plan, str(plan.out / run_folder.MODEL)))


def _last_step(run: Path) -> int:
    lines = run_folder.read_metrics(run)
    if not lines:
        raise ValueError(f"{run / run_folder.METRICS} has no step, though the training is finished. Restore it.")
    return int(lines[-1]["step"])


def _begin(plan: Plan) -> None:
    embed = embedder(plan.recipe.embedder.name, **plan.recipe.embedder.options)
    model, tokenizer = _load(plan, plan.recipe.model.name)
    _measure(plan, "before", 0, model, tokenizer)
    _update(plan, model, tokenizer, embed)


def _load(plan: Plan, source: str) -> tuple[Any, Any]:
    model, tokenizer = load_model(source, Sampling(**of_recipe(plan.recipe)), on_cpu=plan.config.use_cpu)
    if plan.config.use_vllm:
        plan.config.generation_kwargs = end_in_vllm(plan.config.generation_kwargs, model)
    return model, tokenizer


def _measure(plan: Plan, when: str, step: int, model: Any, tokenizer: Any) -> None:
    """Evaluate on the held-out problems, unless that was done; the figures go into evaluation/, under `when`."""
    folder, spec, state = plan.out / run_folder.EVALUATION, plan.recipe.evaluation, PartialState()
    if when in moments(folder) or spec is None:
        return
    state.print(f"Evaluating on {len(plan.held_out)} held-out problems, {when.replace('-', ' ')}", flush=True)
    model.to(plan.config.device)
    sampling = Sampling(**of_recipe(plan.recipe))
    named: dict[str, Any] = {"model": str(plan.out), "backend": "transformers", "prompt": plan.recipe.prompt}
    measures = evaluate_sets(
        {when: plan.held_out},
        sampler(model, tokenizer, sampling),
        folder,
        settings_of(sampling, limit=spec.problems.limit, **named),
        progress=state.is_main_process,
        processes=(state.process_index, state.num_processes),
        gather=gather_object,
    )
    if state.is_main_process:
        add_moment(folder, when, step, name_of(spec.problems.name), measures[when])


class Evaluations(TrainerCallback):
    """Evaluates every so many steps while the trainer works; the time that takes belongs to no step."""

    def __init__(self, plan: Plan, tokenizer: Any) -> None:
        self.plan, self.tokenizer = plan, tokenizer

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        spec = self.plan.recipe.evaluation
        due = spec is not None and spec.every is not None and state.global_step % spec.every == 0
        if due and 0 < state.global_step < state.max_steps:
            _measure(self.plan, f"step-{state.global_step}", state.global_step, model, self.tokenizer)
            model.train()  # in evaluation mode TRL would log metrics of an evaluation


def _update(plan: Plan, model: Any, tokenizer: Any, embed: Any) -> None:
    """The training itself, from the last whole checkpoint; at its end the weights are in RUN/model."""
    spec = plan.recipe
    prompts = [render(spec.prompt, each.question) for each in plan.problems]
    rows = [{"prompt": prompt, "answer": each.answer} for prompt, each in zip(prompts, plan.problems, strict=True)]
    golds: dict[str, list[str]] = {}
    for row, each in zip(rows, plan.problems, strict=True):
        golds.setdefault(prompt_text(row["prompt"]), []).append(each.answer)
    last, state = _resume_from(plan.out), PartialState()
    recorder = Recorder(plan.out, spec, golds)
    with cpu.score_completions_only() if plan.config.use_cpu else nullcontext():
        import datasets

        trainer = DiverseGRPOTrainer(
            model,
            args=plan.config,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=plan.lora,
            callbacks=[recorder],
            embedder=embed,
            **plan.method,
        )
        recorder.trainer = trainer
        trainer.add_callback(Evaluations(plan, tokenizer))  # the last one, when the seconds of the step are counted
        trainer.remove_callback(transformers.PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=last)
        except RuntimeError as error:
            if last is None or "size mismatch" not in str(error):
                raise
            raise ValueError(
                f"{last} must be a checkpoint of this run, got weights of other sizes. Remove it: the run goes on from "
                "the checkpoint before it, or from the start."
            ) from error
    unfinished = plan.out / run_folder.UNFINISHED_MODEL
    trainer.save_model(str(unfinished))
    state.wait_for_everyone()
    if state.is_main_process:
        move_folder(unfinished, plan.out / run_folder.MODEL)
    state.wait_for_everyone()


def _resume_from(run: Path) -> str | None:
    """The folder of the checkpoint to go on from, the same in all processes; what was recorded later is dropped."""
    chosen: list[str | None] = [None]
    if PartialState().is_main_process:
        shutil.rmtree(run / run_folder.UNFINISHED_MODEL, ignore_errors=True)
        last = last_checkpoint(run)
        run_folder.rewind(run, *((0, False) if last is None else (last.step, last.finished)))
        chosen = [None if last is None else str(last.folder)]
    broadcast_object_list(chosen)
    return chosen[0]
