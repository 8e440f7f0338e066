"""The shape of a decoder: its parameters and its linear layers, counted on torch's meta device.

The models of the shipped recipes were counted beforehand (`data/architectures.json`), so that neither torch nor a
download is needed for them.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

BLOCK = {f"self_attn.{name}_proj" for name in "qkvo"} | {f"mlp.{name}_proj" for name in ("gate", "up", "down")}


@dataclass(frozen=True)
class Shape:
    """A decoder of equal blocks; `linears` are (inputs, outputs) of the linear layers of one block, by name."""

    parameters: int
    layers: int
    vocabulary: int
    tied: bool  # the head shares the weights of the embeddings
    linears: dict[str, tuple[int, int]]

    @property
    def inner(self) -> int:
        """Width inside the MLP."""
        return self.linears["mlp.down_proj"][0]

    @property
    def hidden(self) -> int:
        return self.linears["mlp.down_proj"][1]

    @property
    def queries(self) -> int:
        """Width of all heads' queries together."""
        return self.linears["self_attn.q_proj"][1]

    @property
    def keys(self) -> int:
        """Width of all heads' keys together, and of their values."""
        return self.linears["self_attn.k_proj"][1]


def shape_of(name: str) -> Shape | None:
    """The shape of a model, without loading or downloading it.

    Args:
        name: a hub id, a folder with a config.json, or a folder with a LoRA adapter, which stands for its base model.

    Returns:
        The shape; None where no config.json is on this machine, torch or transformers is missing, or the blocks are not
        those of Llama (`BLOCK`), for which `memory` has its formulas.
    """
    folder = Path(name).expanduser()
    if (adapter := folder / "adapter_config.json").is_file():
        return shape_of(json.loads(adapter.read_text("utf-8"))["base_model_name_or_path"])
    shipped = json.loads((files("manypaths") / "data" / "architectures.json").read_text("utf-8"))
    if name in shipped and not folder.is_dir():
        entry = shipped[shipped[name] if isinstance(shipped[name], str) else name]["shape"]
        linears = {layer: (inputs, outputs) for layer, (inputs, outputs) in entry.pop("linears").items()}
        return Shape(**entry, linears=linears)
    if not (importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")):
        return None
    from transformers import AutoConfig

    try:
        place = str(folder) if folder.is_dir() else name
        return count(AutoConfig.from_pretrained(place, local_files_only=True, trust_remote_code=False))
    except Exception:  # a config.json may hold anything, and transformers may raise anything for it
        return None


def count(config: Any) -> Shape | None:
    """Count a model on torch's meta device, where its weights take no memory.

    Args:
        config: a transformers config, such as `LlamaConfig()`.

    Returns:
        The shape; None for quantised weights, and for blocks with other linear layers than `BLOCK`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    blocks = getattr(model.base_model, "layers", None)
    if getattr(config, "quantization_config", None) or not blocks:
        return None
    layers = {name: layer for name, layer in blocks[0].named_modules() if isinstance(layer, torch.nn.Linear)}
    linears = {name: (layer.in_features, layer.out_features) for name, layer in layers.items()}
    parameters, table = sum(weight.numel() for weight in model.parameters()), model.get_input_embeddings().weight
    tied = model.get_output_embeddings().weight is table
    return Shape(parameters, len(blocks), len(table), tied, linears) if set(linears) == BLOCK else None
