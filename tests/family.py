"""The recorded outputs of released code, tests/data/family.json, as tensors."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

FAMILY = json.loads((Path(__file__).parent / "data" / "family.json").read_text("utf-8"))


@dataclass(frozen=True)
class Case:
    """One group through one released function.

    `inputs` are named as those of a method (manypaths.methods.inputs), as a batch of one group: [1, G] or [1, G, G].
    `expected` has what the function gave by name, such as advantage, adjusted or bonus, [1, G], or [1] for a number of
    the whole group.
    """

    name: str
    inputs: dict[str, Tensor]
    options: dict[str, Any]
    expected: dict[str, Tensor]


def cases(method: str, dtype: torch.dtype = torch.float64) -> list[Case]:
    """Every case of a method of family.json but `replay`, whose cases are `FAMILY["methods"]["replay"]["cases"]`.

    Args:
        method: a key of FAMILY["methods"], such as "maxrl".
        dtype: of all inputs and outputs but `keys` and `lengths`, which are int64.
    """
    return [_case(case, dtype) for case in FAMILY["methods"][method]["cases"]]


def _case(case: dict[str, Any], dtype: torch.dtype) -> Case:
    group, options = FAMILY["groups"][case["group"]], case.get("options", {})
    inputs = {
        name: torch.tensor([values], dtype=torch.int64 if name in ("keys", "lengths") else dtype)
        for name, values in group.items()
        if name != "name"
    }
    expected = {name: torch.tensor([values], dtype=dtype) for name, values in case["expected"].items()}
    name = ", ".join([group["name"], *(f"{option}={value}" for option, value in options.items())])
    return Case(name, inputs, options, expected)
