"""`manypaths pretrain`: the cold start of a model, new or existing, on demonstrations of a set of problems."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from manypaths import checkpoint, run_folder
from manypaths.files import LOCK, atomic_write, in_use, move_folder, only_writer
from manypaths.messages import prompt_text
from manypaths.preflight import cold_start
from manypaths.printable import one_line
from manypaths.problems import Problem, load, render
from manypaths.recipe import dump
from manypaths.sections import Pretrain, Recipe
from manypaths.typed import check_arguments
from manypaths.verifiers import MATHEMATICS

END, PAD, UNKNOWN = "<|end|>", "<|pad|>", "<|unknown|>"
NO_LABEL = -100  # of a token that the loss leaves out
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
SET_HERE = ("output_dir", "seed", "resume_from_checkpoint", "remove_unused_columns", "completion_only_loss")


def pretrain(spec: Recipe, out: Path) -> dict[str, Any]:
    """Train the model of a recipe on demonstrations, and write it into a folder.

    A model with an `architecture` is made with random weights; any other is loaded, and all its weights are trained,
    whatever the recipe says of LoRA. The result is a function of the recipe and its seed, on one machine with one
    number of threads.

    Args:
        spec: Its `model`, `pretrain`, `prompt` and `seed` are used, and its `problems` where `pretrain` has none.
        out: The folder of the result, which must be new or empty. It is then a checkpoint like any other, with the
            recipe beside the weights.

    Returns:
        {parameters, demonstrations, problems, epochs, loss}: the problems are those of the set, the epochs how often
        the training read the demonstrations, and the loss is that of the last step.

    Raises:
        ValueError: There is no such model, its problems have no ways or are held out, the prompt is no text, a setting
            is unknown, or the folder is not empty.
    """
    cold_start.check(spec)
    assert isinstance(spec.prompt, str)
    if out.exists() and any(out.iterdir()):
        raise ValueError(
            f"--out must be a new folder, got {str(out)!r}, which is not empty. Remove it, or give another."
        )
    section = spec.pretrain or Pretrain()
    config = _trainer_config(section, spec.seed)
    transformers.set_seed(spec.seed)
    problems = load(**asdict(cold_start.demonstrated(spec)))
    rows = demonstrations(problems, spec.prompt, section, spec.seed)
    if spec.model.architecture is None:
        model, tokenizer = checkpoint.load(spec.model.name, dtype=spec.model.dtype)
    else:
        tokenizer = character_tokenizer()
        model = new_model(spec.model.architecture, tokenizer).to(getattr(torch, spec.model.dtype))
    out.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in cold_start.unfinished(out):
        if (abandoned / LOCK).exists() and not in_use(abandoned):  # the process that made it was killed
            shutil.rmtree(abandoned)
    with (
        tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=cold_start.SCRATCH) as scratch,
        only_writer(Path(scratch)),
    ):
        config.output_dir = scratch
        loss, epochs = _train(model, tokenizer, rows, config)
        unfinished = Path(scratch, out.name)
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
        atomic_write(unfinished / run_folder.PRETRAINED, dump(spec))
        move_folder(unfinished, out)  # onto a folder that is empty or not there
    counts = {"parameters": model.num_parameters(), "demonstrations": len(rows), "problems": len(problems)}
    return {**counts, "epochs": epochs, "loss": loss}


def character_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each printable character of ASCII and for the line break, and one for all others."""
    vocabulary = {token: number for number, token in enumerate([PAD, END, UNKNOWN, *CHARACTERS])}
    letters = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    letters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=letters,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def new_model(architecture: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama with random weights. Raises ValueError for an argument that `LlamaConfig` does not have or refuses."""
    given = {"tie_word_embeddings": True, **architecture}
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    defaults = LlamaConfig().to_dict()
    for name in architecture:
        if name not in defaults or name in (*ids, "vocab_size"):
            raise ValueError(f"model.architecture.{name} must be an argument of LlamaConfig that is free here.")
    try:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **ids, **given))
    except Exception as error:  # transformers has error types of its own
        raise ValueError(f"model.architecture does not make a model: {one_line(error, 300)}") from error
    assert isinstance(model, LlamaForCausalLM)
    return model


def demonstrations(problems: Sequence[Problem], prompt: str, section: Pretrain, seed: int) -> list[tuple[str, str]]:
    """Pairs of a prompt and a right completion, in a random order.

    Args:
        problems: Each with one way or more.
        prompt: A text with {question}.
        section: How many, and how rare another way than the first one is.
        seed: Of the random numbers.

    Raises:
        ValueError: A problem has no ways.
    """
    if without := [problem.id for problem in problems if not problem.ways]:
        raise ValueError(
            f"problems must have worked solutions to be demonstrated, got none for {without[0]}. Take a set that is "
            "made, such as colouring."
        )
    rng = random.Random(f"demonstrations {seed}")
    pairs = []
    for number in range(section.count):
        if number % len(problems) == 0:
            order = rng.sample(range(len(problems)), len(problems))  # every problem equally often
        problem = problems[order[number % len(problems)]]
        pairs.append(
            (prompt_text(render(prompt, problem.question)), completion_of(problem, _way(problem, section, rng)))
        )
    return pairs


def _way(problem: Problem, section: Pretrain, rng: random.Random) -> str:
    if section.rare is None:
        return rng.choice(problem.ways)
    is_rare = rng.random() < section.rare  # drawn for problems with one way, too: later draws do not depend on the set
    return rng.choice(problem.ways[1:]) if is_rare and len(problem.ways) > 1 else problem.ways[0]


def completion_of(problem: Problem, way: str) -> str:
    r"""A way as a model writes it: for mathematics with the answer, in which it ends, in a box."""
    if problem.grader != MATHEMATICS:
        return way
    return f"{way.removesuffix(problem.answer)}\\boxed{{{problem.answer}}}"


def _trainer_config(section: Pretrain, seed: int) -> SFTConfig:
    check_arguments(SFTConfig, section.trainer, "pretrain.trainer.", SET_HERE)
    settings = {
        "max_steps": 300,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": not torch.accelerator.is_available(),
        "save_strategy": "no",
        "logging_steps": 50,
        "report_to": "none",
        "disable_tqdm": True,
        **section.trainer,
    }
    settings |= {"output_dir": "unused", "seed": seed, "completion_only_loss": True}
    try:
        return SFTConfig(**settings)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"TRL refuses the settings of pretrain.trainer: {error}") from error


def _train(model: Any, tokenizer: Any, rows: list[tuple[str, str]], config: SFTConfig) -> tuple[float | None, float]:
    """Train in place -> (the loss of the last log, the epochs)."""
    import datasets

    prompts = tokenizer([prompt for prompt, _ in rows])["input_ids"]
    completions = tokenizer([completion + tokenizer.eos_token for _, completion in rows])["input_ids"]
    tokens = [
        {"input_ids": [*before, *after], "labels": [NO_LABEL] * len(before) + after}
        for before, after in zip(prompts, completions, strict=True)
    ]
    trainer = SFTTrainer(model, config, train_dataset=datasets.Dataset.from_list(tokens), processing_class=tokenizer)
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return losses[-1] if losses else None, trainer.state.epoch or 0.0
