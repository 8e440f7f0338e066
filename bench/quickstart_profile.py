"""Time the parts of a quickstart step with prompts run per completion and once; print the table of docs/results.md.

    python bench/quickstart_profile.py

Every round runs both ways on the same prompts and with the same random numbers; medians over the rounds.
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset

from manypaths import checkpoint, cpu, recipe
from manypaths.problems import render
from manypaths.training import run
from manypaths.trl import DiverseGRPOTrainer

RECIPES = ["smollm2-135m-pypi", "dr-grpo", "mmr", "arithmetic", "quickstart"]
ROUNDS = 3


def make_trainer(folder: str) -> DiverseGRPOTrainer:
    plan = run.prepare(recipe.read(RECIPES, ["method.reweight=null", "method.options={}"]), Path(folder, "run"))
    model, tokenizer = checkpoint.load(plan.recipe.model.name)
    model.generation_config.eos_token_id = checkpoint.end_tokens(tokenizer, plan.recipe.model.end_tokens)
    cpu.keep_head_input_contiguous(model)
    rows = [{"prompt": render(plan.recipe.prompt, it.question), "answer": it.answer} for it in plan.problems]
    named = {"args": plan.config, "train_dataset": Dataset.from_list(rows), "processing_class": tokenizer}
    return DiverseGRPOTrainer(model, peft_config=plan.lora, **named, **plan.method)


def seconds(trainer: DiverseGRPOTrainer, batch: list, seed: int) -> tuple[float, float]:
    """(sampling, forward and backward pass) of one step, the completions in a random order, as in TRL."""
    torch.manual_seed(seed)
    started = time.perf_counter()
    inputs = trainer._generate_and_score_completions(batch)
    sampled = time.perf_counter()
    order = torch.randperm(len(batch))
    rows = {key: value[order] if torch.is_tensor(value) and value.dim() else value for key, value in inputs.items()}
    with trainer.compute_loss_context_manager():
        loss = trainer.compute_loss(trainer.model, rows)
    trainer.accelerator.backward(loss)
    return sampled - started, time.perf_counter() - sampled


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, cpu.score_completions_only():
        trainer = make_trainer(folder)
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        batch, base = next(iter(trainer.get_train_dataloader())), trainer.model.get_base_model()
        decoder = base.get_decoder()
        ways = {"run for each completion": decoder.forward}
        cpu.run_prompts_once(base)
        ways["run once"] = decoder.forward
        spent: dict[str, list[tuple[float, float]]] = {}
        for seed in range(ROUNDS + 1):  # the first round warms up
            for name, decoder.forward in ways.items():
                spent.setdefault(name, []).append(seconds(trainer, batch, seed))
    print("| prompts | sampling, s | update, s |\n|---|---|---|")
    for name, rounds in spent.items():
        print(f"| {name} | {' | '.join(f'{statistics.median(part):.2f}' for part in zip(*rounds[1:], strict=True))} |")
