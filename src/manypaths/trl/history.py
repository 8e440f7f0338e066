"""Which prompts to sample: a history of right and wrong completions by prompt, without a trainer.

A *flat* group is one whose completions are all right or all wrong: in GRPO it has no gradient. A prompt is *easy* if
its last group was all right, and *hard* if it was all wrong. GRESO (arXiv 2506.02177) observes that a prompt whose
groups were flat is likely to give a flat group again, and passes over it with a probability, before anything is
sampled.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

LOWEST, HIGHEST = 0.05, 0.95  # bounds of the exploration rates, those of GRESO's released code
MOST = 0.95  # highest probability with which a prompt is passed over
KEY_BYTES = 16  # of the hash of a prompt
BOUNDS = {"target": (0, 1), "discount": (0, 1), "prior": (0, 1000), "explore": (LOWEST, HIGHEST), "step": (0, 1)}


class PromptHistory:
    """Counts of right and wrong completions by prompt, and the probability with which a prompt is passed over.

    A *visit* of a prompt is one update with completions of it. For a prompt whose last z visits were flat

        pass over = min(MOST, (1 - explore^z) * P(flat again)).

    The first factor is GRESO's probability (arXiv 2506.02177, the paper's equation of p_f); `explore` is its base
    exploration rate, one for easy and one for hard prompts. After each generation GRESO lowers a rate by
    `step` where the share of easy (hard) groups among the sampled ones is at its target or above, and raises it
    otherwise. Its targets are a third of `target` for easy and two thirds for hard groups, since hard prompts are the
    ones that change.

    The rest is ours. P(flat again) is the probability that the next group of G completions is all right (all wrong)
    as the last one was, under a Beta distribution of the prompt's success rate:

        P(flat again) = product over i < G of (s + prior + i) / (s + t + 2 prior + i)

    with s counts of the same outcome and t of the other. Both are discounted: at each visit older counts are multiplied
    by `discount`. So in small groups, where a prompt of moderate difficulty is often flat by chance, its other visits
    count. MOST bounds the probability away from 1. Shares are those of prompts that had a history before the update,
    because a new prompt cannot be passed over. With `discount=0` and `prior=0` P(flat again) is 1: GRESO's rule, up to
    MOST.

    The object is stateful: one object belongs to one training.

    Args:
        target: the share of flat groups that is aimed at, in [0, 1].
        discount: weight of the visits before the last one, in [0, 1].
        prior: pseudo-counts of right and of wrong completions each, in [0, 1000]; 0.5 is Jeffreys' prior.
        explore: both rates at the start, in [0.05, 0.95].
        step: change of a rate after a generation, in [0, 1]; with 0 the rates stay.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> history = PromptHistory(discount=0.8, prior=0.5, explore=0.5)
        >>> history.update(["2 + 2 ="], torch.ones(1, 4))
        >>> round(history.probability("2 + 2 =", 4), 4)  # (1 - 0.5) * (4.5 / 5) (5.5 / 6) (6.5 / 7) (7.5 / 8)
        0.3591
    """

    def __init__(
        self, target: float = 0.25, discount: float = 0.8, prior: float = 0.5, explore: float = 0.5, step: float = 0.01
    ) -> None:
        self.settings = {"target": target, "discount": discount, "prior": prior, "explore": explore, "step": step}
        for name, value in self.settings.items():
            low, high = BOUNDS[name]
            if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"The {name} of a prompt history must be from {low} to {high}, got {value!r}.")
        self.target, self.discount, self.prior, self.step = target, discount, prior, step
        self.explore_easy = self.explore_hard = float(explore)
        self._prompts: dict[bytes, tuple[float, float, int]] = {}  # key -> right, wrong, flat visits (hard: negative)
        self._easy = self._hard = self._groups = 0  # of prompts with a history, since the last `adapt`

    def __len__(self) -> int:
        """The number of prompts with a history."""
        return len(self._prompts)

    def update(self, prompts: Sequence[str], correct: Tensor) -> None:
        """Add groups; those of one prompt are one visit, and their order has no effect.

        Args:
            prompts: the prompt of each group, B.
            correct: [B, G], 1 for a right completion, 0 for a wrong one, NaN where that is unknown, which counts for
                neither.
        """
        visits: dict[bytes, tuple[int, int]] = {}
        rights, wrongs = ((correct == verdict).sum(1).tolist() for verdict in (1, 0))
        for prompt, right, wrong in zip(prompts, rights, wrongs, strict=True):
            if not right + wrong:
                continue
            key = _key(prompt)
            if key in self._prompts:
                self._groups += 1
                self._easy += not wrong
                self._hard += not right
            before = visits.get(key, (0, 0))
            visits[key] = before[0] + right, before[1] + wrong
        for key, (right, wrong) in visits.items():
            old_right, old_wrong, flat = self._prompts.get(key, (0.0, 0.0, 0))
            flat = 0 if right and wrong else (abs(flat) + 1) * (1 if right else -1)
            self._prompts[key] = self.discount * old_right + right, self.discount * old_wrong + wrong, flat

    def probability(self, prompt: str, size: int) -> float:
        """The probability with which a prompt is passed over now, at most MOST.

        Args:
            prompt: its text.
            size: G, the number of completions of its next group.
        """
        right, wrong, flat = self._prompts.get(_key(prompt), (0.0, 0.0, 0))
        if not flat:
            return 0.0
        same, other = (right, wrong) if flat > 0 else (wrong, right)
        explore = self.explore_easy if flat > 0 else self.explore_hard
        again = math.prod((same + self.prior + done) / (same + other + 2 * self.prior + done) for done in range(size))
        return min(MOST, (1 - explore ** abs(flat)) * again)

    def pass_over(self, prompt: str, size: int, draw: random.Random) -> bool:
        """Whether a prompt is passed over this time. `draw` gives one number, whatever the history is."""
        return draw.random() < self.probability(prompt, size)

    def adapt(self) -> None:
        """Move both rates by one step; to be called once after each generation, further batches included.

        Without groups of a prompt with a history since the last call nothing changes.
        """
        if not self._groups:
            return
        self.explore_easy = self._moved(self.explore_easy, self._easy / self._groups, self.target / 3)
        self.explore_hard = self._moved(self.explore_hard, self._hard / self._groups, 2 * self.target / 3)
        self._easy = self._hard = self._groups = 0

    def _moved(self, explore: float, share: float, aim: float) -> float:
        return min(HIGHEST, max(LOWEST, explore + (-self.step if share >= aim else self.step)))

    def state_dict(self) -> dict[str, Any]:
        """Everything, for a checkpoint: numbers, and three tensors with a row for each prompt."""
        keys = sorted(self._prompts)
        return {
            "settings": self.settings,
            "explore": (self.explore_easy, self.explore_hard),
            "since_adapted": (self._easy, self._hard, self._groups),
            "keys": torch.tensor(list(b"".join(keys)), dtype=torch.uint8).view(-1, KEY_BYTES),
            "counts": torch.tensor([self._prompts[key][:2] for key in keys], dtype=torch.float64).view(-1, 2),
            "flat": torch.tensor([self._prompts[key][2] for key in keys], dtype=torch.int64),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the place of the history that `state_dict` described.

        Raises:
            ValueError: it has other settings.
        """
        for name, value in state["settings"].items():
            if self.settings[name] != value:
                raise ValueError(
                    f"The {name} of the history must be {value}, that of the history in the checkpoint, got "
                    f"{self.settings[name]}. Resume with the settings with which the training began."
                )
        self.explore_easy, self.explore_hard = state["explore"]
        self._easy, self._hard, self._groups = state["since_adapted"]
        columns = (state[name].tolist() for name in ("keys", "counts", "flat"))
        self._prompts = {bytes(key): (right, wrong, flat) for key, (right, wrong), flat in zip(*columns, strict=True)}


def _key(prompt: str) -> bytes:
    """A hash of a prompt, so that a history takes the same memory for long prompts."""
    return hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
