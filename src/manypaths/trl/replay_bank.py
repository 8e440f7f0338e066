"""Verified replay (arXiv 2610.11064) without a trainer: banks of right completions, and the term of the loss.

A *way* is the key of a right completion (`manypaths.keys`). The bank of a prompt holds one right completion for each
way that the policy has found, its *exemplar*. Each update replays one bank.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manypaths.keys import NO_KEY

TOKENS = "i"  # array's letter for the 4 bytes of a token


@dataclass(frozen=True)
class Replay:
    """Settings of verified replay, arXiv 2610.11064.

    Args:
        weight: lambda of the paper, above 0.
        capacity: the maximum number of ways in the bank of a prompt.

    Raises:
        ValueError: for another weight or capacity.
    """

    weight: float = 0.1
    capacity: int = 16

    def __post_init__(self) -> None:
        number = isinstance(self.weight, int | float) and not isinstance(self.weight, bool)
        if not number or not 0 < self.weight < math.inf:
            raise ValueError(
                f"The weight of replay must be a number above 0, got {self.weight!r}. Leave replay out for none."
            )
        if not isinstance(self.capacity, int) or isinstance(self.capacity, bool) or self.capacity < 1:
            raise ValueError(f"The capacity of replay must be a whole number of 1 or more, got {self.capacity!r}.")

    def factor(self, group: int) -> float:
        """The factor of the term in groups of G completions: weight (G - 1) / G^2, as in the paper."""
        return self.weight * (group - 1) / group**2


@dataclass(frozen=True)
class Bank:
    """The exemplars of one prompt, in the order of their keys."""

    prompt: Sequence[int]
    completions: list[Sequence[int]]


class Banks:
    """The banks of all prompts, by the tokens of the prompt.

    The first exemplar of a way stays, and no way is ever removed. Of several completions of one group with a new key
    the lexicographically smallest tokens are kept. A bank that has less room than a group has new ways takes those with
    the smallest keys. A token takes 4 bytes.

    Args:
        capacity: the maximum number of ways of a prompt.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._turn = 0  # position of the bank that `take` returns next
        self._prompts: list[array[int]] = []  # in the order of their first right completion
        self._exemplars: list[dict[int, array[int]]] = []  # per prompt: key -> tokens
        self._positions: dict[bytes, int] = {}  # of a prompt in both lists

    def __len__(self) -> int:
        """The number of banks; none is empty."""
        return len(self._prompts)

    @property
    def ways(self) -> int:
        """The number of exemplars in all banks."""
        return sum(map(len, self._exemplars))

    def add(self, prompt: Sequence[int], found: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Add the accepted completions of one group.

        Args:
            prompt: the tokens of the prompt.
            found: the key and the tokens of each accepted completion.
        """
        if not found:
            return
        tokens = array(TOKENS, prompt)
        position = self._positions.setdefault(tokens.tobytes(), len(self._prompts))
        if position == len(self._prompts):
            self._prompts.append(tokens)
            self._exemplars.append({})
        exemplars = self._exemplars[position]
        new: dict[int, array[int]] = {}
        for key, completion in found:
            if key not in exemplars:
                candidate = array(TOKENS, completion)
                new[key] = min(new.get(key, candidate), candidate)
        for key in sorted(new)[: self.capacity - len(exemplars)]:
            exemplars[key] = new[key]

    def take(self) -> Bank | None:
        """The next bank in turn; None while there is none. A bank that is new comes at the end of the current round."""
        if not self._prompts:
            return None
        position = self._turn if self._turn < len(self._prompts) else 0
        self._turn = position + 1
        exemplars = self._exemplars[position]
        return Bank(self._prompts[position], [exemplars[key] for key in sorted(exemplars)])

    def contents(self) -> dict[tuple[int, ...], dict[int, tuple[int, ...]]]:
        """Everything that the banks hold: tokens of the prompt -> key -> tokens of its exemplar, in order."""
        return {
            tuple(prompt): {key: tuple(exemplars[key]) for key in sorted(exemplars)}
            for prompt, exemplars in zip(self._prompts, self._exemplars, strict=True)
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint: numbers and flat tensors."""
        pairs = [pair for exemplars in self._exemplars for pair in sorted(exemplars.items())]
        return {
            "capacity": self.capacity,
            "turn": self._turn,
            "prompts": _joined(self._prompts),
            "prompt_lengths": torch.tensor([len(prompt) for prompt in self._prompts], dtype=torch.int64),
            "ways": torch.tensor([len(exemplars) for exemplars in self._exemplars], dtype=torch.int64),
            "keys": torch.tensor([key for key, _ in pairs], dtype=torch.int64),
            "completions": _joined([completion for _, completion in pairs]),
            "completion_lengths": torch.tensor([len(completion) for _, completion in pairs], dtype=torch.int64),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the place of the banks that `state_dict` described.

        Raises:
            ValueError: they have another capacity.
        """
        if state["capacity"] != self.capacity:
            raise ValueError(
                f"The capacity of replay must be {state['capacity']}, that of the banks in the checkpoint, got "
                f"{self.capacity}. Resume with the settings with which the training began."
            )
        self._turn = state["turn"]
        self._prompts = _split(state["prompts"], state["prompt_lengths"])
        self._positions = {prompt.tobytes(): position for position, prompt in enumerate(self._prompts)}
        pairs = iter(
            zip(state["keys"].tolist(), _split(state["completions"], state["completion_lengths"]), strict=True)
        )
        self._exemplars = [dict(next(pairs) for _ in range(count)) for count in state["ways"].tolist()]


def accepted(rewards: Tensor, correct: Tensor, keys: Tensor) -> Tensor:
    """Which completions the verifier accepted and keys tell apart: scored, correct, and with a key; [B, G] bool.

    Args:
        rewards: [B, G], NaN where a completion is unscored.
        correct: [B, G], 1 where the verifier accepted a completion; 0 and NaN are no acceptance.
        keys: [B, G] int64; `manypaths.keys.NO_KEY` is no way.
    """
    return ~rewards.isnan() & (correct == 1) & (keys != NO_KEY)


def complete(tokens: Sequence[int], ends: Collection[int], longest: int) -> bool:
    """Whether a completion was ended by the model itself, within the limit, after something else than end tokens.

    Args:
        tokens: the tokens of the completion, its end token included.
        ends: the tokens that end a completion.
        longest: the maximum number of tokens.
    """
    return 0 < len(tokens) <= longest and tokens[-1] in ends and any(token not in ends for token in tokens)


def replay_loss(logprobs: Tensor, lengths: Tensor) -> Tensor:
    """The mean over ways of -log pi(e) / |e|, arXiv 2610.11064, Eq. 3: [n] and [n] -> [].

    Args:
        logprobs: sums of the log-probabilities of an exemplar's tokens.
        lengths: numbers of these tokens.
    """
    return -(logprobs / lengths).mean()


def own_part(ways: int, step: int, steps: int, process: int, processes: int) -> range | None:
    """The ways that a process replays in a micro-step, so that all of them are replayed once in an update.

    Args:
        ways: the number of ways of the bank.
        step: the micro-step of the gradient accumulation, of `steps`.
        process: the index of the process, of `processes`.

    Returns:
        Positions in the bank, none for a process that is left over; None where no process has any in this micro-step.
    """
    size = -(-ways // (steps * processes))
    if step * processes * size >= ways:
        return None
    start = min((step * processes + process) * size, ways)
    return range(start, min(start + size, ways))


def _joined(rows: Sequence[array[int]]) -> Tensor:
    tokens = bytearray(b"".join(row.tobytes() for row in rows))
    return torch.frombuffer(tokens, dtype=torch.int32) if tokens else torch.empty(0, dtype=torch.int32)


def _split(tokens: Tensor, lengths: Tensor) -> list[array[int]]:
    ends = lengths.cumsum(0).tolist()
    return [array(TOKENS, tokens[start:end].tolist()) for start, end in zip([0, *ends], ends, strict=False)]
