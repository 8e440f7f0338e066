"""Keys: integers that are equal where two completions solve a problem in the same way.

A *keys function* is `(completions, problems) -> [N] int64`: N texts that a model wrote and the N texts of their prompts
in, one integer for each out. It is a pure function of each completion and its problem, so that a completion has the
same key in every process. Only keys of one problem are compared: within a group and, for verified replay, over a whole
training.

Completions are hostile input: nothing here executes, hangs or recurses without bound. Completions without a key (no
answer, no equation, not parsable) share the key `NO_KEY`: gibberish is one way, not many rare ones.

A function that must see whole groups, such as one that clusters, has a third parameter `size`. It is called with the
completions of whole groups, one after another, and with their size G. In verl, where groups differ in size, smaller
ones are filled up with blank completions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from manypaths.embed import text_hashes
from manypaths.functions import check_options, find_function
from manypaths.grading import canonical, extract
from manypaths.keys import expressions
from manypaths.keys.word_bigrams import clusters
from manypaths.names import name_of
from manypaths.verifiers import VERIFIERS

__all__ = [
    "KEYS", "NO_KEY", "Keys", "answer", "bigrams", "bind", "call_keys", "colouring", "cover", "equations", "expression",
    "hashed", "needs_whole_groups", "same_key", "text",
]  # fmt: skip

Keys = Callable[..., Any]

NO_KEY = -1  # of every completion without a key; a hash has this value with a chance of 2**-64


def text(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The text itself, up to white space: [N] int64. Blank texts have no key."""
    return hashed([" ".join(completion.split()) or None for completion in completions])


def answer(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The final answer as the grader reads it, that of the last box: [N] int64.

    The grader finds answers with equal keys equal (`manypaths.grading.canonical`); answers that only its worker finds
    equal, such as x(x + 1) and x^2 + x, have different keys. A completion without a box, with an empty one or with one
    longer than `manypaths.grading.LONGEST` characters has no key.
    """
    return hashed([canonical(extract(completion) or "") or None for completion in completions])


def equations(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The set of equations written down, as `manypaths.keys.expressions.equations` reads them: [N] int64.

    3 + 4 = 7, 7 = 4 + 3 and 3 apples + 4 apples = 7 are one equation. The order of equations and their number of
    occurrences do not count. A completion without an equation has no key.
    """
    return hashed([";".join(expressions.equations(completion)) or None for completion in completions])


def expression(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    r"""The canonical tree of the arithmetic expression that is the answer: [N] int64.

    For problems such as Countdown, where the answer is an expression: (1 + 2) * 3 and 3 \times (2 + 1) are the same
    way, 3 * 3 is another. The expression is the content of the last box, else of the last <answer>, else the whole
    text; of an equation it is the first side with an operator. What is no arithmetic, as `manypaths.keys.expressions`
    reads it, has no key. Nothing is evaluated.
    """
    return hashed([expressions.expression(_answer_text(completion)) for completion in completions])


def colouring(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The colours of all nodes, as `manypaths.verifiers.colouring` reads them, right or wrong: [N] int64."""
    return hashed([VERIFIERS["colouring"].read(completion) for completion in completions])


def cover(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The set of chosen items, as `manypaths.verifiers.cover` reads it, in any order, right or wrong: [N] int64."""
    return hashed([VERIFIERS["cover"].read(completion) for completion in completions])


def bigrams(completions: Sequence[str], problems: Sequence[str], size: int, *, threshold: float = 0.8) -> Tensor:
    """Clusters of completions with common word bigrams within each group, see `manypaths.keys.word_bigrams`: [N] int64.

    Bigrams measure wording, not meaning. Their distances are said to be nearer to people's judgement of approaches than
    embeddings are; the source of that, arXiv 2606.29985, finds every measure of this kind a poor proxy. It clusters
    nothing: average linkage and the threshold are assumptions of this function. Completions of one small model
    (SmolLM2-135M, GSM8K, temperature 0.7) had distances of 0.78 to 0.97 within a group, the middle 90 %, and 5 to 8
    clusters in a group of 8 at the default; better models repeat more of their wording. A completion without a word has
    no key.

    Args:
        completions: whole groups of `size`, one after another.
        threshold: largest mean Jaccard distance within a cluster, in [0, 1]; at 0 only equal sets of bigrams are the
            same way.

    Raises:
        ValueError: a threshold outside [0, 1].
    """
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise ValueError(f"Keys function 'bigrams': threshold must be in [0, 1], got {threshold!r}.")
    groups = [completions[start : start + size] for start in range(0, len(completions), size)]
    return hashed([name for group in groups for name in clusters(group, threshold)])


KEYS: dict[str, Keys] = {
    "text": text,
    "answer": answer,
    "equations": equations,
    "expression": expression,
    "colouring": colouring,
    "cover": cover,
    "bigrams": bigrams,
}


def bind(name: str, options: Mapping[str, Any]) -> Keys:
    """The keys function of a recipe, with its options bound.

    Args:
        name: a name in `KEYS`, or the dotted path of a user's function, "package.module.function", also of a module in
            the working directory.
        options: its keyword-only arguments.

    Raises:
        ValueError: as `manypaths.functions.find_function` does, for options that the function does not take and, of the
            functions here, for values out of bounds.
    """
    function = find_function("keys function", name, KEYS)
    check_options(f"Keys function {name!r}", function, options)
    if not options:
        return function
    bound = functools.update_wrapper(functools.partial(function, **options), function)
    if name in KEYS:
        call_keys(bound, [], [], 1)  # each checks its own options
    return bound


def call_keys(keys: Keys, completions: Sequence[str], problems: Sequence[str], size: int) -> Tensor:
    """Call a keys function, and check what it returns.

    Args:
        keys: any keys function. It gets copies of the lists.
        completions: N texts. Where `keys` needs whole groups, those, one after another.
        problems: the N texts of their prompts.
        size: G, completions per group.

    Returns:
        The keys, [N] int64, on the CPU.

    Raises:
        ValueError: the function returned something else than N integers; or there are not N problems, or not whole
            groups for a function that needs them.
    """
    who, count = f"Keys function {name_of(keys)!r}", len(completions)
    if len(problems) != count:
        raise ValueError(f"{who} must get one problem for each of {count} completions, got {len(problems)}.")
    whole = needs_whole_groups(keys)
    if whole and (size < 1 or count % size):
        raise ValueError(f"{who} must get whole groups of {size} completions, got {count} completions.")
    returned = keys(list(completions), list(problems), *([size] if whole else []))
    try:
        tensor = returned.detach().cpu() if isinstance(returned, Tensor) else torch.as_tensor(returned)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{who} must return {count} integers, got {type(returned).__name__}: {error}.") from error
    if tensor.shape != (count,):
        raise ValueError(f"{who} must return [N], an integer for each of {count} texts, got {list(tensor.shape)}.")
    if count and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise ValueError(f"{who} must return integers, got {tensor.dtype}.")
    return tensor.to(torch.int64)


def needs_whole_groups(keys: Keys) -> bool:
    """Whether a keys function has a positional parameter `size`, and so must see whole groups."""
    try:
        size = inspect.signature(keys).parameters.get("size")
    except (TypeError, ValueError):  # some builtins have no signature
        return False
    return size is not None and size.kind in (size.POSITIONAL_ONLY, size.POSITIONAL_OR_KEYWORD)


def same_key(keys: Tensor) -> Tensor:
    """A similarity made of keys, 1 where two completions have the same key, else 0: [B, G] -> [B, G, G] float32.

    With it `mmr` and `dra` work on keys: `dra` divides a reward by the number of completions with its key.
    """
    return (keys.unsqueeze(-1) == keys.unsqueeze(-2)).float()


def hashed(names: Sequence[str | None]) -> Tensor:
    """A key for each name, [N] int64: a stable hash of the name, equal in every process; NO_KEY for None."""
    keys = text_hashes([name or "" for name in names])
    return keys.masked_fill(torch.tensor([name is None for name in names], dtype=torch.bool), NO_KEY)


def _answer_text(completion: str) -> str:
    boxed = extract(completion)
    return completion.rpartition("<answer>")[2].partition("</answer>")[0] if boxed is None else boxed
