"""Texts in, one unit row each out: sentence-transformers models, and hashed n-grams that download nothing.

An *embedder* is any callable `list[str] -> Tensor [N, D]`, float32. Those here embed each distinct text once,
so equal texts get the same row to the bit, and return an ordinary tensor without gradient. Importing this
module needs torch alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from manypaths.checkpoint import installed_folder

Embedder = Callable[[list[str]], Tensor]

BASE, PRIME = 1_540_483_477, 2**31 - 1  # of the polynomial hash of n-grams; products stay below 2**63


def embedder(name: str, **options: Any) -> Embedder:
    """The embedder of a recipe: 'ngram' is `NgramEmbedder`, any other name the model of a `SentenceEmbedder`."""
    return NgramEmbedder(**options) if name == "ngram" else SentenceEmbedder(name, **options)


class SentenceEmbedder:
    """A sentence-transformers model: its name on the hub, a folder, or `package:NAME[/FOLDER]`, one inside a package.

    A text that fits the model's window gets what `encode` gives. A longer one is not cut off there: its tokens are
    split into windows, and its row is the mean of theirs, weighted by their tokens. Only the first `max_tokens`
    tokens of a text count, so that a megabyte of text is a bounded amount of work; None is all, and the papers use
    3,584. Models without a window, such as static word vectors, read the whole text.

    The rows come back on `device`; None is the CPU for them and sentence-transformers' own choice for the model.
    Raises ValueError for a folder that does not exist or holds no model, and for `max_tokens` below 1.
    """

    def __init__(
        self,
        model: str,
        *,
        batch_size: int = 32,
        device: str | None = None,
        trust_remote_code: bool = False,
        max_tokens: int | None = 8192,
    ) -> None:
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"SentenceEmbedder asks for max_tokens of at least 1, or None; given {max_tokens}.")
        source = _find_model(model)
        from sentence_transformers import SentenceTransformer

        self.batch_size, self.device = batch_size, torch.device(device or "cpu")
        self.max_tokens = 10**9 if max_tokens is None else max_tokens
        with torch.random.fork_rng(devices=[]):  # loading a model may draw weights before it reads them
            self.model = SentenceTransformer(source, device=device, trust_remote_code=trust_remote_code)
        self.model.requires_grad_(False).eval()
        self.width = self._encode([""]).shape[1]
        self.room: int | None = self.model.max_seq_length if callable(self.model.tokenizer) else None
        if self.room is not None:  # for the tokens of a text, between those that the model puts around them
            (bare,), (full,) = self._tokens(["a"]), self._tokens(["a"], add_special_tokens=True)
            at = next(at for at in range(len(full)) if full[at : at + len(bare)] == bare)
            prompt = self.model.prompts.get(self.model.default_prompt_name or "")
            self.head = full[:at] + (self._tokens([prompt])[0] if prompt else [])
            self.tail = full[at + len(bare) :]
            self.room = max(self.room - len(self.head) - len(self.tail), 1)

    def __call__(self, texts: list[str]) -> Tensor:
        return _each_once(texts, self._embed)

    def _embed(self, texts: list[str]) -> Tensor:
        texts = [text.encode("utf-8", "replace").decode() for text in texts]  # tokenizers refuse lone surrogates
        rows = torch.zeros(len(texts), self.width)  # on the CPU, where index_add_ has one order
        pieces = self._pieces(texts)
        whole = sorted(set(range(len(texts))) - {at for at, _ in pieces})
        if whole:
            rows[whole] = self._encode([texts[at] for at in whole])
        for start in range(0, len(pieces), self.batch_size):
            owners, ids = zip(*pieces[start : start + self.batch_size], strict=True)
            padded = self.model.tokenizer.pad(
                {"input_ids": [self.head + each + self.tail for each in ids]}, return_tensors="pt"
            )
            found = self.model(dict(padded.to(self.model.device)))["sentence_embedding"]
            weight = torch.tensor([[float(len(each))] for each in ids])
            rows.index_add_(0, torch.tensor(owners), weight * found.float().cpu())
        return normalize(rows, dim=-1).to(self.device)

    def _pieces(self, texts: list[str]) -> list[tuple[int, list[int]]]:
        """(which text, token ids) of every window; none for a text that `encode` takes whole."""
        if self.room is None or not texts:
            return []
        tokens = self._tokens(texts, truncation=True, max_length=self.max_tokens + 1)
        most = min(self.room, self.max_tokens)
        split = [(at, ids[: self.max_tokens]) for at, ids in enumerate(tokens) if len(ids) > most]
        return [(at, ids[start : start + self.room]) for at, ids in split for start in range(0, len(ids), self.room)]

    def _tokens(self, texts: list[str], **options: Any) -> list[list[int]]:
        return list(self.model.tokenizer(texts, **({"add_special_tokens": False} | options))["input_ids"])

    def _encode(self, texts: list[str]) -> Tensor:
        rows: Tensor = self.model.encode(
            texts, batch_size=self.batch_size, show_progress_bar=False, convert_to_tensor=True
        )
        return rows.float().cpu()


class NgramEmbedder:
    """Counts of character n-grams of `n` = (shortest, longest), log-scaled and hashed into `width` columns.

    Two texts are similar, from 0 to 1, as far as they share wording; meaning plays no part. Downloads nothing, and
    gives the same columns in every process and on every machine. The two ends of a text count as characters, so
    that an empty one has a row too. Raises ValueError for an empty range of `n` and for `width` below 1.
    """

    def __init__(self, n: Sequence[int] = (1, 3), width: int = 4096) -> None:
        self.shortest, self.longest = n
        self.width = width
        if not 1 <= self.shortest <= self.longest or width < 1:
            raise ValueError(
                "NgramEmbedder asks for n = (shortest, longest) with 1 <= shortest <= longest, and for width >= 1; "
                f"given n = {n}, width = {width}."
            )

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


def _each_once(texts: list[str], embed: Embedder) -> Tensor:
    if isinstance(texts, str):
        raise ValueError(f"An embedder asks for a list of texts; given one text, {texts[:40]!r}: put it into a list.")
    place = {text: at for at, text in enumerate(dict.fromkeys(texts))}
    return embed(list(place))[torch.tensor([place[text] for text in texts], dtype=torch.long)]


def _find_model(name: str) -> str:
    """A model's name -> a folder that holds one, or a name on the hub."""
    folder = installed_folder(name) if name.startswith("package:") else Path(name).expanduser()
    if not folder.is_dir() and re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        return name
    if not any((folder / file).is_file() for file in ("modules.json", "config.json")):
        raise ValueError(
            f"SentenceEmbedder asks for a folder with modules.json or config.json; given {name!r}, which "
            f"{'has neither' if folder.is_dir() else 'does not exist'}: check the path, or name a model on the hub."
        )
    return str(folder)
