"""Embedders: N texts in, N rows of unit length out; sentence-transformers models, and n-grams that download nothing.

An *embedder* is any callable `list[str] -> [N, D]` that returns a tensor, a numpy array or lists of numbers, such as
`encode` of a sentence-transformers model. The embedders of this module embed each distinct text once, so that equal
texts get the same row to the bit, and return an ordinary float32 tensor without gradient.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from manypaths import hub
from manypaths.checkpoint import installed_folder
from manypaths.functions import check_options

Embedder = Callable[[list[str]], Any]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BASE, PRIME = 1_540_483_477, 2**31 - 1  # of the polynomial hash of n-grams; products stay below 2**63


def embedder(name: str, **options: Any) -> Embedder:
    """The embedder of a recipe.

    Args:
        name: 'ngram' for an `NgramEmbedder`, else the model of a `SentenceEmbedder`.
        options: keyword arguments of the class.

    Raises:
        ValueError: as `check` does.
    """
    check(name, options)
    return NgramEmbedder(**options) if name == "ngram" else SentenceEmbedder(name, **options)


def check(name: str, options: Mapping[str, Any]) -> None:
    """Check what `embedder` would make, before any model is loaded.

    Args:
        name, options: as in `embedder`.

    Raises:
        ValueError: an option that the embedder does not take or a value out of bounds; a model that is neither a folder
            nor a possible hub name; a device that this machine does not have; sentence-transformers is not installed.
    """
    check_options(f"Embedder {name!r}", NgramEmbedder if name == "ngram" else SentenceEmbedder, options, ["model"])
    if name == "ngram":
        NgramEmbedder(**options)
        return
    _find_model(name)
    resolve_device_and_dtype(options.get("device"), options.get("dtype"))
    if find_spec("sentence_transformers") is None:
        raise ValueError(
            f"Embedder {name!r} must have sentence-transformers, which is not installed. Install it: "
            "pip install sentence-transformers; or set the embedder's name to ngram."
        )


class SentenceEmbedder:
    """A sentence-transformers model as an embedder; rows are float32, on the CPU.

    The row of a text within the model's window is that of the model's own `encode`. The row of a longer text is the
    mean of the rows of its windows, weighted by their numbers of tokens. Models without a window read the whole text.

    Args:
        model: a name on the hub, a folder, or `package:NAME[/FOLDER]`, a folder inside an installed package.
        batch_size: windows per forward pass.
        max_tokens: tokens of a text that count, rounded up to whole windows. (The papers use 3,584.)
        trust_remote_code: as in sentence-transformers.
        device, dtype: of the model, as in `resolve_device_and_dtype`. On MiniLM and real completions bfloat16 moves a
            similarity by 0.001, at most 0.003, and a row sum by a fortieth of the spread of row sums within a group; no
            pick of MMR changed.

    Raises:
        ValueError: there is no such model, or as `resolve_device_and_dtype` does; both before anything is loaded.
    """

    def __init__(
        self,
        model: str,
        *,
        batch_size: int = 32,
        max_tokens: int = 8192,
        trust_remote_code: bool = False,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> None:
        source, (own_place, number_type) = _find_model(model), resolve_device_and_dtype(device, dtype)
        from sentence_transformers import SentenceTransformer

        self.batch_size, self.max_tokens = batch_size, max_tokens
        on_hub = "/" in source and not Path(source).exists()
        with (
            torch.random.fork_rng(devices=[]),  # loading may draw random weights before it reads the file
            _without_zero3(),
            hub.answering("model", source) if on_hub else nullcontext(),
        ):
            self.model = SentenceTransformer(source, trust_remote_code=trust_remote_code, device=str(own_place))
        self.model.to(number_type).requires_grad_(False).eval()
        self.width = len(self.model.encode("", show_progress_bar=False))
        self.window: int | None = self.model.max_seq_length if callable(self.model.tokenizer) else None
        self.special = 0  # number of special tokens per window
        if self.window is not None:
            tokenizer = self.model.tokenizer
            tokenizer.truncation_side = "right"  # `encode` reads the first window, and `_rest` the others
            self.special = tokenizer.num_special_tokens_to_add()
            self.window = self.model.max_seq_length = min(self.window, max_tokens + self.special)

    def __call__(self, texts: list[str]) -> Tensor:
        return _embed_distinct(texts, self._embed)

    def _embed(self, texts: list[str]) -> Tensor:
        texts = [text.encode("utf-8", "replace").decode() for text in texts]  # tokenizers refuse lone surrogates
        # Sorted by length, batches need little padding; a stable sort keeps the order of summation within a text.
        rest = sorted(self._rest(texts), key=lambda pair: -len(pair[1]))
        first = self.model.encode(texts, batch_size=self.batch_size, show_progress_bar=False, convert_to_tensor=True)
        rows = first.float().cpu().view(len(texts), self.width)  # on the CPU, index_add_ is deterministic
        rows = rows * ((self.window or 1) - self.special)
        for start in range(0, len(rest), self.batch_size):
            owners, windows = zip(*rest[start : start + self.batch_size], strict=True)
            padded = self.model.tokenizer.pad({"input_ids": windows}, return_tensors="pt").to(self.model.device)
            more = self.model(dict(padded))["sentence_embedding"].float().cpu()
            weight = torch.tensor([[float(len(ids) - self.special)] for ids in windows])
            rows.index_add_(0, torch.tensor(owners), weight * more)
        return normalize(rows, dim=-1)

    def _rest(self, texts: list[str]) -> list[tuple[int, list[int]]]:
        """(index of the text, token ids) of every window but the first of each text, which `encode` reads."""
        if self.window is None or not texts:
            return []
        tokenizer, room = self.model.tokenizer, self.window - self.special
        prompt = self.model.prompts.get(self.model.default_prompt_name) or ""
        # tokenizers 0.23.1 and 0.23.2 drop most of what overflows a window (huggingface/tokenizers#2091): cut it here.
        whole = [prompt + text for text in texts]
        contents = tokenizer(whole, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        frame = tokenizer("a", return_special_tokens_mask=True)
        is_special, ids = frame["special_tokens_mask"], frame["input_ids"]
        before, after = ids[: is_special.index(0)], ids[len(ids) - is_special[::-1].index(0) :]
        most = -(-self.max_tokens // room) * room
        return [
            (index, before + content[start : start + room] + after)
            for index, content in enumerate(contents)
            for start in range(room, min(len(content), most), room)
        ]


def resolve_device_and_dtype(
    device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> tuple[torch.device, torch.dtype]:
    """The device and the number type of a `SentenceEmbedder`; loads nothing.

    Args:
        device: 'cpu' or an accelerator, such as 'cuda:1'. None and 'cuda' without an index are this process's own
            accelerator, see `own_device`; None is the CPU where there is no accelerator.
        dtype: 'float32', 'bfloat16', 'float16', or one of these as a torch.dtype. None is float32 on the CPU and
            bfloat16 on an accelerator. (Old GPUs such as the T4 only emulate bfloat16: set float16 there.)

    Raises:
        ValueError: a device that this machine does not have, or another dtype.
    """
    own, accelerators = own_device(), _accelerators()
    name = str(own if device is None else device)
    if name not in ("cpu", *accelerators, *(accelerator.split(":")[0] for accelerator in accelerators)):
        raise ValueError(
            "SentenceEmbedder's device must be 'cpu' or an accelerator of this machine, which has "
            f"{', '.join(accelerators) or 'none'}, got {name!r}. Leave it out for the process's own."
        )
    resolved = own if name == own.type else torch.device(name)
    dtype_name = ("float32" if resolved.type == "cpu" else "bfloat16") if dtype is None else str(dtype)
    dtype_name = dtype_name.removeprefix("torch.")
    if dtype_name not in DTYPES:
        raise ValueError(f"SentenceEmbedder's dtype must be one of {', '.join(DTYPES)}, got {dtype_name!r}.")
    return resolved, DTYPES[dtype_name]


def own_device() -> torch.device:
    """The device of this process: Accelerate's once it is initialised, else that of LOCAL_RANK, else the current one.

    A trainer's configuration initialises Accelerate, `use_cpu` included. sentence-transformers alone would take
    LOCAL_RANK for the index of a device, which fails where each process sees a single GPU; without LOCAL_RANK it would
    take the first GPU even after torch.cuda.set_device.
    """
    accelerate = sys.modules.get("accelerate.state")  # already imported once Accelerate is initialised
    if accelerate is not None and accelerate.PartialState._shared_state:
        device = torch.device(accelerate.PartialState().device)
        return torch.device("cpu") if device.type == "cpu" else device  # DeepSpeed's name for it is cpu:0
    if not (accelerators := _accelerators()):
        return torch.device("cpu")
    rank = int(os.environ.get("LOCAL_RANK", "-1"))
    index = torch.accelerator.current_device_index() if rank < 0 else rank % len(accelerators)
    return torch.device(accelerators[index])


@contextmanager
def _without_zero3() -> Iterator[None]:
    """Disables ZeRO-3 weight partitioning while loading a model: each process needs the whole embedder."""
    from transformers.integrations import deepspeed

    if not deepspeed.is_deepspeed_zero3_enabled():
        yield
        return
    config = deepspeed._hf_deepspeed_config_weak_ref()
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed.set_hf_deepspeed_config(config)


def _accelerators() -> list[str]:
    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return [f"{kind.type}:{index}" for index in range(torch.accelerator.device_count())] if kind else []


class NgramEmbedder:
    """Counts of character n-grams, log-scaled and hashed into columns; the same on every machine.

    The similarity of two texts, from 0 to 1, measures shared wording and not meaning. The start and the end of a text
    count as characters, so that an empty text has a row too.

    Args:
        n: (shortest, longest), the lengths of n-grams in characters.
        width: D, the number of columns.

    Raises:
        ValueError: lengths below 1 or out of order, or a width below 1.
    """

    def __init__(self, n: Sequence[int] = (1, 3), width: int = 4096) -> None:
        numbers = [*n, width] if isinstance(n, Sequence) else []
        if len(numbers) != 3 or not all(isinstance(number, int) for number in numbers) or not 1 <= n[0] <= n[1]:
            raise ValueError(f"NgramEmbedder's n must be (shortest, longest) with 1 <= shortest <= longest, got {n}.")
        if width < 1:
            raise ValueError(f"NgramEmbedder's width must be 1 or more, got {width}.")
        (self.shortest, self.longest), self.width = n, width

    def __call__(self, texts: list[str]) -> Tensor:
        return _embed_distinct(texts, self._embed)

    def _embed(self, texts: list[str]) -> Tensor:
        rows = torch.zeros(len(texts), self.width)
        end = "\uffff" * max(self.longest - 1, 1)  # a noncharacter, for the start and the end of a text
        for row, text in zip(rows, texts, strict=True):
            characters = bytearray(f"{end}{text}{end}".encode("utf-32-le", "surrogatepass"))
            codes = torch.frombuffer(characters, dtype=torch.int32)
            hashed = torch.zeros(len(codes), dtype=torch.int64)
            grams = []
            for length in range(1, self.longest + 1):  # hashed[i]: the n-gram of this length that starts at i
                hashed = (hashed[: len(codes) - length + 1] + codes[length - 1 :]) * BASE % PRIME
                grams.append(hashed)
            columns = torch.cat(grams[self.shortest - 1 :]) % self.width
            row.copy_(normalize(torch.bincount(columns, minlength=self.width).float().log1p(), dim=0))
        return rows


def _embed_distinct(texts: list[str], embed: Callable[[list[str]], Tensor]) -> Tensor:
    if isinstance(texts, str):
        raise ValueError(f"An embedder must get a list of texts, got the text {texts[:40]!r}. Put it into a list.")
    index = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    return embed(list(index))[torch.tensor([index[text] for text in texts], dtype=torch.long)]


def text_hashes(texts: Sequence[str]) -> Tensor:
    """A hash of each text, [N] int64 (blake2b, 8 bytes): the same in every process and on every machine."""
    digests = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)


def deduplicate_rows(rows: Tensor, keys: Tensor) -> Tensor:
    """Give rows of equal texts the first one's values; two processes may embed one text with different rounding.

    Args:
        rows: [N, D].
        keys: [N] int64, `text_hashes` of the texts.

    Returns:
        Rows [N, D].
    """
    first: dict[int, int] = {}
    indices = [first.setdefault(key, index) for index, key in enumerate(keys.tolist())]
    return rows[torch.tensor(indices, device=rows.device)]


def _find_model(name: str) -> str:
    """A folder with a sentence-transformers model, or a name on the hub. Raises ValueError where it is neither."""
    folder = installed_folder(name) if name.startswith("package:") else Path(name).expanduser()
    if any((folder / file).is_file() for file in ("modules.json", "config.json")):
        return str(folder)
    if folder.is_dir() or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise ValueError(f"SentenceEmbedder's model must be a hub name or a folder with modules.json, got {name!r}.")
    return name
