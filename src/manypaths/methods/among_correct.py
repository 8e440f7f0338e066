"""Diversity among the right completions only: a wrapper around any reweighter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from manypaths.methods.wrapped import Reweighter, Wrapped

ALL_RIGHT = ("share", "leave")


class among_correct(Wrapped):
    """A reweighter that moves credit among the right completions of a group, and leaves the wrong ones alone.

    The method sees the right completions of a group alone; the others are unscored for it. What it gives to the right
    ones is shifted so that their mean is what it was, so a group is neither paid more nor less for being right. Wrong
    completions, and those of which it is unknown whether they are right, keep their rewards; so does every group with
    fewer than two right completions.

    As published, MMR and DRA work on all completions of a group, right or wrong. Where nothing in a group is right but
    its rewards differ, for instance by a reward for form, they then raise the wrong completion that is least like the
    others. We have found this wrapper published nowhere.

    A right completion can end below a wrong one only if the method spreads the rewards of right ones by more than their
    distance to the wrong ones. Of rewards 0 and 1 it cannot for MMR with the adaptive lam, which is 0.5 where all
    rewards of the right ones are equal, nor for DRA of similarities that are not negative. It can for MMR with a small
    lam, and for DRA without a floor where similarities are negative.

    Args:
        reweight: a method, see `manypaths.methods.inputs`, such as `manypaths.mmr`. The result has its inputs and
            options, `rewards` and `correct`.
        all_right: "share" moves credit in groups where every scored completion is right, too: zero-variance groups then
            teach diversity. "leave" leaves them as they are.

    Raises:
        ValueError: `all_right` is another word; when called, where the method does not return the shape of its rewards.

    Example:
        >>> rewards, correct = torch.tensor([[1.0, 1, 1, 0]]), torch.tensor([[1.0, 1, 1, 0]])
        >>> similarity = torch.eye(4).unsqueeze(0)
        >>> similarity[0, :2, :2] = 1  # the first two are copies
        >>> among_correct(dra)(rewards, similarity, correct)
        tensor([[0.8333, 0.8333, 1.3333, 0.0000]])
    """

    def __init__(self, reweight: Reweighter, all_right: str = "share") -> None:
        if all_right not in ALL_RIGHT:
            raise ValueError(f"all_right must be {' or '.join(ALL_RIGHT)}, got {all_right!r}.")
        super().__init__(reweight, also=["correct"])
        self._all_right = all_right

    def __call__(self, *inputs: Tensor, **named: Any) -> Tensor:
        given = self.given(inputs, named)
        rewards: Tensor = given["rewards"]
        scored = ~rewards.isnan()
        right = (given["correct"] == 1) & scored
        moved = right & (right.sum(-1, keepdim=True) > 1)
        if self._all_right == "leave":
            moved &= (scored & ~right).any(-1, keepdim=True)
        adjusted = self.call({**given, "rewards": rewards.masked_fill(~moved, torch.nan)})
        count = moved.sum(-1, keepdim=True).clamp(min=1)
        lost = (rewards - adjusted).masked_fill(~moved, 0.0).sum(-1, keepdim=True) / count
        return torch.where(moved, adjusted + lost, rewards)
