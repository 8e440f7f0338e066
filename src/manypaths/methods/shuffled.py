"""The placebo of a method of keys or similarity: the same numbers, dealt to the completions of a group at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from manypaths.methods.draws import CONTENT, draws
from manypaths.methods.wrapped import Reweighter, Wrapped
from manypaths.names import name_of


class shuffled(Wrapped):
    """A method whose keys, and rows and columns of similarity, belong to other completions of the same group.

    A claim that diversity helps needs this control. Each group keeps its keys and similarities, and with them the sizes
    of its ways and the size of what the method gives; only which completion gets it is left to chance. If the method
    gains as much when it is shuffled, the gain is not from diversity.

    The scored completions of a group are permuted, each permutation with the same chance, so that one may get its own
    key back. For a method with the input `correct` the right ones change places with right ones only, and the others
    with the others: the ways among the right ones are then as many and as common as before. Unscored completions keep
    their place.

    The permutation is a function of the group and `seed` alone, so it is equal in every process, in a batch of any
    size, and in a run that is repeated. It depends on those of the inputs in `CONTENT` that the method has, and on the
    order of the scored completions. Groups that are equal in all of them are shuffled in one way. To permute a group
    is to draw again: here, and in no method, the order of the completions matters.

    Args:
        method: a reweighter or an advantage with `keys` or `similarity` as an input, see `manypaths.methods.inputs`.
            The result has its inputs and options, and `rewards`.
        seed: another number shuffles every group anew.

    Raises:
        ValueError: the method has neither input; when called, it does not return the shape of its rewards.

    Example, the credit of the rare way, which is the last one's, goes to one of the three right completions:
        >>> correct = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
        >>> keys = torch.tensor([[7, 7, 8, 9]])
        >>> ips(correct, correct, keys)
        tensor([[2., 2., 4., 0.]])
        >>> shuffled(ips, seed=1)(correct, correct, keys)
        tensor([[4., 2., 2., 0.]])
    """

    def __init__(self, method: Reweighter, seed: int = 0) -> None:
        super().__init__(method)
        self._seed = seed
        if not {"keys", "similarity"} & {*self._inner}:
            raise ValueError(
                f"shuffled must be given a method of keys or similarity, got {name_of(method)!r}, whose inputs are "
                f"{', '.join(self._inner)}."
            )

    def __call__(self, *inputs: Tensor, **named: Any) -> Tensor:
        given = self.given(inputs, named)
        place = _places({name: given[name] for name in CONTENT if name in given}, self._seed)
        if "keys" in given:
            given["keys"] = given["keys"].gather(1, place)
        if "similarity" in given:
            rows = given["similarity"].gather(1, place.unsqueeze(-1).expand_as(given["similarity"]))
            given["similarity"] = rows.gather(2, place.unsqueeze(-2).expand_as(rows))
        return self.call(given)


def _places(content: Mapping[str, Tensor], seed: int) -> Tensor:
    """Whose key or row each completion gets: [B, G] int64, a permutation of each group."""
    scored = ~content["rewards"].isnan()
    kind = scored.long()  # completions change places within a kind: unscored 0, scored 1, right ones 2
    if "correct" in content:
        kind = kind + (scored & (content["correct"] == 1)).long()
    draw = draws(content, seed)
    drawn = _sorted(kind, draw)
    return torch.empty_like(drawn).scatter(1, _sorted(kind, torch.zeros_like(draw)), drawn)


def _sorted(kind: Tensor, draw: Tensor) -> Tensor:
    """The places of completions, by kind, and within a kind by what they drew: [B, G]."""
    order = draw.argsort(dim=-1, stable=True)
    return order.gather(1, kind.gather(1, order).argsort(dim=-1, stable=True))
