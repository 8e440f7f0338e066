"""Keys: which completions of a problem are the same way? Equal integers mean the same.

A *keys function* is `(completions, problems) -> [N] int64`: N texts that a model wrote and the N texts of their prompts
in, one integer for each out. It is a pure function of each completion and its problem, so that a completion has the
same key in every process. Only keys within one group are ever compared.

Completions are hostile input: nothing here executes, hangs or recurses without bound. A completion that has no key (no
answer, no equation, not parsable) has `NO_KEY`, which all of them share: gibberish is one way, not many rare ones.

A function that must see a whole group, such as one that clusters, has an attribute `whole_groups = True`. It is called
with the completions of whole groups, one after another, and with a third argument, their size G.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from manypaths.embed import text_hashes
from manypaths.functions import check_options, find_function
from manypaths.grading import LONGEST, extract
from manypaths.grading.layout import readable
from manypaths.names import name_of

__all__ = ["KEYS", "NO_KEY", "Keys", "answer", "bind", "call_keys", "hashed", "needs_whole_groups", "same_key", "text"]

Keys = Callable[..., Any]

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

NO_KEY = -1  # of every completion without a key; a hash has this value with a chance of 2**-64


def text(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The text itself, up to white space: [N] int64. Blank texts have no key."""
    return hashed([" ".join(completion.split()) or None for completion in completions])


def answer(completions: Sequence[str], problems: Sequence[str]) -> Tensor:
    """The final answer as the grader reads it, that of the last box: [N] int64.

    Equal keys are answers that the grader finds equal; some answers that only its worker finds equal have different
    keys. No box, an empty one and one longer than `manypaths.grading.LONGEST` characters have no key.
    """
    return hashed([_canonical(extract(completion) or "") for completion in completions])


KEYS: dict[str, Keys] = {"text": text, "answer": answer}


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
        completions: N texts. Where `keys` has `whole_groups`, whole groups one after another.
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
    """Whether a keys function, or the one beneath `functools.partial`, has the attribute `whole_groups = True`."""
    while isinstance(keys, functools.partial):
        keys = keys.func
    return bool(getattr(keys, "whole_groups", False))


def same_key(keys: Tensor) -> Tensor:
    """A similarity made of keys, 1 where two completions have the same key, else 0: [B, G] -> [B, G, G] float32.

    With it `mmr` and `dra` work on keys: `dra` divides a reward by the number of completions with its key.
    """
    return (keys.unsqueeze(-1) == keys.unsqueeze(-2)).float()


def hashed(names: Sequence[str | None]) -> Tensor:
    """A key for each name, [N] int64: a stable hash of the name, equal in every process; NO_KEY for None."""
    keys = text_hashes([name or "" for name in names])
    return keys.masked_fill(torch.tensor([name is None for name in names], dtype=torch.bool), NO_KEY)


def _canonical(answer: str) -> str | None:
    if len(answer) > LONGEST:
        return None
    answer = readable(answer)
    return str(Fraction(answer)) if _NUMBER.fullmatch(answer) else answer or None
