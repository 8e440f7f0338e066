"""Fixtures of several test files: a tiny random language model, made here so that no test needs a network."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

END, PAD, USER, ASSISTANT = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>"
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module", autouse=True)
def imported_modules_are_not_searched_for_garbage() -> None:
    """Exclude from garbage collection what exists before the module's tests run, mostly the imported libraries.

    accelerate calls `gc.collect()` in each training. Over torch, transformers and TRL one call takes 0.3 s or more,
    longer than the training of a tiny model.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the end of Python collect the frozen objects, so that their destructors run as usual."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def modules_of_a_test_are_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove from `sys.modules` what a test imported from its own folder, and restore `sys.path`.

    Several tests write a module of one name, such as the `my_rewards.py` of the documentation.
    """
    before, searched = {*sys.modules}, [*sys.path]
    yield
    sys.path[:] = searched
    for name in {*sys.modules} - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path_factory.getbasetemp()):
            del sys.modules[name]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama (2 layers of width 16) and a tokenizer of single bytes and four special tokens.

    The weights are equal in every session. The tokenizer decodes what it encodes, in any alphabet. `<|end|>` ends a
    completion, `<|pad|>` pads, and there is a chat template.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={letter: id for id, letter in enumerate(letters)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytewise,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    tokenizer.chat_template = TEMPLATE
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.5,  # far from uniform, so that greedy completions depend on the prompt
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    folder = tmp_path_factory.mktemp("tiny") / "model"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def ending_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with every fourth byte as an end token, so that completions of a few tokens end by themselves."""
    folder = tmp_path_factory.mktemp("ending") / "model"
    shutil.copytree(tiny_model, folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": [256, *range(0, 256, 4)]}))
    return folder


@pytest.fixture
def tiny_recipe(tiny_model: Path) -> dict[str, Any]:
    """A recipe for the tiny model. Sampling, data order and initial weights depend on its seed alone."""
    return {
        "model": {"name": str(tiny_model), "dtype": "float32"},
        "lora": {"r": 2, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.1},
        "problems": {"name": "arithmetic", "options": {"count": 40, "seed": 1}},
        "prompt": "{question} ",
        "rewards": {"accuracy": 1.0, "test_run.letters": 0.5},
        "method": {"reweight": "mmr"},
        "trainer": {
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 8,
            "max_steps": 6,
            "save_steps": 2,
            "learning_rate": 1e-2,
            "bf16": False,
            "disable_tqdm": True,
        },
        "evaluation": {
            "problems": {"name": "arithmetic", "options": {"count": 8, "seed": 2, "held_out": True}},
            "max_new_tokens": 4,
            "every": 3,
        },
    }
