"""Texts in, one unit row each out: sentence-transformers models, and hashed n-grams that download nothing.

An *embedder* is any callable `list[str] -> [N, D]`: a tensor, a numpy array or lists of numbers, as `encode` of a
sentence-transformers model gives them. Those here embed each distinct text once, so equal texts get the same row to the
bit, and return an ordinary float32 tensor without gradient.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from manypaths import hub
from manypaths.checkpoint import installed_folder

Embedder = Callable[[list[str]], Any]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BASE, PRIME = 1_540_483_477, 2**31 - 1  # of the polynomial hash of n-grams; products stay below 2**63


def embedder(name: str, **options: Any) -> Embedder:
    """The embedder of a recipe: 'ngram' is `NgramEmbedder`, any other name the model of a `SentenceEmbedder`."""
    return NgramEmbedder(**options) if name == "ngram" else SentenceEmbedder(name, **options)


class SentenceEmbedder:
    """A sentence-transformers model: its name on the hub, a folder, or `package:NAME[/FOLDER]`, one inside a package.

    A text that fits the model's window gets what `encode` gives; the row of a longer one is the mean of its windows',
    weighted by their tokens. Only about the first `max_tokens` tokens count (as many whole windows as hold them; the
    papers use 3,584). Models without a window read the whole text.

    `device` and `dtype` are of the model, as `place` reads them; the rows are float32 and come back on the CPU, for
    they are few. On MiniLM and real completions bfloat16 moves a similarity by 0.001, at most 0.003, and a row sum by a
    fortieth of how far the row sums of a group lie apart; no pick of MMR changed.

    Raises ValueError for a model that is not there and as `place` does, before anything is loaded.
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
        source, (where, kind) = _find_model(model), place(device, dtype)
        from sentence_transformers import SentenceTransformer

        self.batch_size, self.max_tokens = batch_size, max_tokens
        on_hub = "/" in source and not Path(source).exists()
        with (
            torch.random.fork_rng(devices=[]),  # loading may draw weights before it reads them
            _whole(),
            hub.answering("model", source) if on_hub else nullcontext(),
        ):
            self.model = SentenceTransformer(source, trust_remote_code=trust_remote_code, device=str(where))
        self.model.to(kind).requires_grad_(False).eval()
        self.width = len(self.model.encode("", show_progress_bar=False))
        self.window: int | None = self.model.max_seq_length if callable(self.model.tokenizer) else None
        self.special = 0  # tokens that the model puts around those of a text
        if self.window is not None:
            self.special = self.model.tokenizer.num_special_tokens_to_add()
            self.window = self.model.max_seq_length = min(self.window, max_tokens + self.special)

    def __call__(self, texts: list[str]) -> Tensor:
        return _each_once(texts, self._embed)

    def _embed(self, texts: list[str]) -> Tensor:
        texts = [text.encode("utf-8", "replace").decode() for text in texts]  # tokenizers refuse lone surrogates
        # by length, so that little is padded; the windows of one text stay in their order, and so does their sum
        rest = sorted(self._rest(texts), key=lambda pair: -len(pair[1]))
        first = self.model.encode(texts, batch_size=self.batch_size, show_progress_bar=False, convert_to_tensor=True)
        rows = first.float().cpu().view(len(texts), self.width)  # on the CPU index_add_ has one order
        rows = rows * ((self.window or 1) - self.special)
        for start in range(0, len(rest), self.batch_size):
            owners, windows = zip(*rest[start : start + self.batch_size], strict=True)
            padded = self.model.tokenizer.pad({"input_ids": windows}, return_tensors="pt").to(self.model.device)
            found = self.model(dict(padded))["sentence_embedding"].float().cpu()
            weight = torch.tensor([[float(len(ids) - self.special)] for ids in windows])
            rows.index_add_(0, torch.tensor(owners), weight * found)
        return normalize(rows, dim=-1)

    def _rest(self, texts: list[str]) -> list[tuple[int, list[int]]]:
        """(which text, token ids) of every window after a text's first, which is all that `encode` reads."""
        if self.window is None or not texts:
            return []
        prompt = self.model.prompts.get(self.model.default_prompt_name) or ""
        found = self.model.tokenizer(
            [prompt + text for text in texts], truncation=True, max_length=self.window, return_overflowing_tokens=True
        )
        most = -(-self.max_tokens // (self.window - self.special))
        pairs = zip(found["overflow_to_sample_mapping"], found["input_ids"], strict=True)
        return [pair for _, windows in groupby(pairs, lambda pair: pair[0]) for pair in list(windows)[1:most]]


def place(
    device: str | torch.device | None = None, dtype: str | torch.dtype | None = None
) -> tuple[torch.device, torch.dtype]:
    """Where a `SentenceEmbedder` works, and in what type of number; nothing is loaded.

    device: 'cpu', or an accelerator as torch writes it; None is this process's own accelerator, else the CPU, and
        'cuda' without a number is likewise the process's own.
    dtype: 'float32', 'bfloat16', 'float16' or torch's own; None is float32 on the CPU, bfloat16 on an accelerator. (Old
        GPUs such as the T4 only emulate bfloat16: ask for float16 there.)

    Raises ValueError for a device that this machine has not and for any other dtype.
    """
    own, here = own_device(), _accelerators()
    asked = str(own if device is None else device)
    if asked not in ("cpu", *here, *(each.split(":")[0] for each in here)):
        raise ValueError(
            f"SentenceEmbedder asks for device 'cpu' or an accelerator of this machine, which has "
            f"{', '.join(here) or 'none'}; given {asked!r}. Leave it out for the process's own."
        )
    found = own if asked == own.type else torch.device(asked)
    name = ("float32" if found.type == "cpu" else "bfloat16") if dtype is None else str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"SentenceEmbedder asks for dtype {', '.join(DTYPES)}; given {name!r}.")
    return found, DTYPES[name]


def own_device() -> torch.device:
    """The device of this process alone: accelerate's, once it has one; else that of LOCAL_RANK; else the current one.

    The configuration of a trainer makes accelerate decide, `use_cpu` included. sentence-transformers by itself takes
    LOCAL_RANK for the number of a device, which fails where each process sees one GPU alone, and without it takes the
    first GPU, even after torch.cuda.set_device.
    """
    accelerate = sys.modules.get("accelerate.state")  # who has decided has imported it
    if accelerate is not None and accelerate.PartialState._shared_state:
        device = torch.device(accelerate.PartialState().device)
        return torch.device("cpu") if device.type == "cpu" else device  # under DeepSpeed it is called cpu:0
    if not (here := _accelerators()):
        return torch.device("cpu")
    rank = int(os.environ.get("LOCAL_RANK", "-1"))
    return torch.device(here[torch.accelerator.current_device_index() if rank < 0 else rank % len(here)])


@contextmanager
def _whole() -> Iterator[None]:
    """Load whole models within this, where ZeRO-3 has made transformers load every model in shards."""
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
    """Counts of character n-grams of `n` = (shortest, longest), log-scaled and hashed into `width` columns.

    Two texts are similar, from 0 to 1, as far as they share wording; meaning plays no part. The same on every machine.
    The two ends of a text count as characters, so that an empty one has a row too.
    """

    def __init__(self, n: Sequence[int] = (1, 3), width: int = 4096) -> None:
        (self.shortest, self.longest), self.width = n, width
        if not 1 <= self.shortest <= self.longest or width < 1:
            raise ValueError(f"NgramEmbedder asks for n = (shortest, longest) and width >= 1; given {n}, {width}.")

    def __call__(self, texts: list[str]) -> Tensor:
        return _each_once(texts, self._embed)

    def _embed(self, texts: list[str]) -> Tensor:
        rows = torch.zeros(len(texts), self.width)
        end = "\uffff" * max(self.longest - 1, 1)  # the code of no character
        for row, text in zip(rows, texts, strict=True):
            characters = bytearray(f"{end}{text}{end}".encode("utf-32-le", "surrogatepass"))
            codes = torch.frombuffer(characters, dtype=torch.int32)
            hashed = torch.zeros(len(codes), dtype=torch.int64)
            grams = []
            for length in range(1, self.longest + 1):  # hashed[at]: the n-gram of this length that starts at `at`
                hashed = (hashed[: len(codes) - length + 1] + codes[length - 1 :]) * BASE % PRIME
                grams.append(hashed)
            columns = torch.cat(grams[self.shortest - 1 :]) % self.width
            row.copy_(normalize(torch.bincount(columns, minlength=self.width).float().log1p(), dim=0))
        return rows


def _each_once(texts: list[str], embed: Callable[[list[str]], Tensor]) -> Tensor:
    if isinstance(texts, str):
        raise ValueError(f"An embedder asks for a list of texts; given one text, {texts[:40]!r}: put it into a list.")
    place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    return embed(list(place))[torch.tensor([place[text] for text in texts], dtype=torch.long)]


def text_hashes(texts: Sequence[str]) -> Tensor:
    """A number for each text, [N] int64, the same for equal texts in every process."""
    digests = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)


def deduplicate_rows(rows: Tensor, keys: Tensor) -> Tensor:
    """Rows [N, D], of texts with the same key [N] the first one's: what two processes made of a text may differ."""
    first: dict[int, int] = {}
    places = [first.setdefault(key, place) for place, key in enumerate(keys.tolist())]
    return rows[torch.tensor(places, device=rows.device)]


def _find_model(name: str) -> str:
    """A model's name -> a folder that holds one, or a name on the hub."""
    folder = installed_folder(name) if name.startswith("package:") else Path(name).expanduser()
    if any((folder / file).is_file() for file in ("modules.json", "config.json")):
        return str(folder)
    if folder.is_dir() or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise ValueError(f"SentenceEmbedder asks for a hub name or a folder with modules.json; {name!r} is neither.")
    return name
