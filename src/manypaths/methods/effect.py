"""Whether a reweighter has an effect, and one of its own size, after what a trainer does to rewards next.

A trainer subtracts the mean of a group's rewards; GRPO then divides by their standard deviation. Two things follow:

- A reweighter that only scales or shifts the rewards of a group does nothing: the trainer cancels it.
- A small bonus is blown up in zero-variance groups. Divided by its own standard deviation it has the size of a whole
  reward there, whatever its weight, and far more than in groups whose rewards differ.

Both are found by trying the reweighter, a pure function, on random groups.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from manypaths.methods.bind import adjust
from manypaths.methods.groups import cosine_similarity, has_nonzero_std
from manypaths.names import name_of

BLOWN_UP = 20.0  # docs/trainers.md has what methods have
EQUAL = 1e-6  # standard deviations below it are rounding
SAME = 1e-4  # advantages that differ by less are equal: methods may compute in float32


@dataclass(frozen=True)
class Scaling:
    """What a trainer divides rewards by after it has subtracted the mean of their group.

    by: `group` or `batch`, whose standard deviation it divides by; `none`: it does not divide.
    setting: the trainer's setting that says so, for messages.
    remedy: what to do instead, for messages.
    """

    by: str
    setting: str
    remedy: str


def check_effect(reweight: Callable[..., Any], scaling: Scaling) -> None:
    """Refuse a reweighter that the trainer's scaling cancels, and a bonus that it blows up.

    The scaled differences from the mean of the group are compared, of adjusted and of raw rewards, on 24 random groups
    of 8: with verdicts alone, with a reward for form, and with real rewards. Shares of right ones differ, and four
    groups have zero variance. The identity, which leaves all rewards as they are, is accepted. A reweighter that raises
    an error on random groups (because its own tensors are on a GPU, for instance) is not checked.

    Args:
        reweight: a method, see `manypaths.methods.inputs`.
        scaling: of the trainer.

    Raises:
        ValueError: all differences are equal, though rewards are not; or, divided by the standard deviation of the
            group, they change `BLOWN_UP` times as much in zero-variance groups as in others, as root mean squares.
    """
    try:
        raw, adjusted = _tried(reweight)
    except Exception:  # of the user's function; in training it is raised with what the trainer has
        return
    changes = scaled(adjusted, scaling.by) - scaled(raw, scaling.by)
    if not torch.allclose(adjusted, raw, equal_nan=True) and changes.abs().max() < SAME:
        changed = "the mean" if scaling.by == "none" else "the scale and the mean"
        raise ValueError(
            f"reweight {name_of(reweight)!r} must change more than {changed} of a group's rewards, which the trainer "
            f"takes out again ({scaling.setting}): it would have no effect. {scaling.remedy}"
        )
    equal, unequal = _sizes(raw, changes)
    if scaling.by == "group" and equal > BLOWN_UP * unequal:
        times = f"{equal / unequal:.0f} times" if unequal > SAME else "far more than"
        raise ValueError(
            f"reweight {name_of(reweight)!r} must change groups whose rewards are equal by at most {BLOWN_UP:g} times "
            f"what it changes others, got {times} that: the trainer divides by the standard deviation of the group "
            f"({scaling.setting}), which is that of a small bonus there. Keep equal rewards (keep_equal_rewards), or: "
            f"{scaling.remedy}"
        )


def blow_up(reweight: Callable[..., Any]) -> float:
    """How many times as much a reweighter changes zero-variance groups as others, after division by their deviation."""
    raw, adjusted = _tried(reweight)
    equal, unequal = _sizes(raw, scaled(adjusted, "group") - scaled(raw, "group"))
    return equal / unequal


def _tried(reweight: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """Raw and adjusted rewards of the random groups; random numbers go on as if nothing had been tried."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        tried = [(inputs["rewards"], adjust(reweight, inputs)[0]) for inputs in trials()]
    raw, adjusted = (torch.cat(rewards) for rewards in zip(*tried, strict=True))
    return raw, adjusted


def _sizes(raw: Tensor, changes: Tensor) -> tuple[float, float]:
    """Root mean squares of changes [B, G], averaged over zero-variance groups, and over the others."""
    size, varied = changes.square().mean(1).sqrt(), has_nonzero_std(raw)
    return size[~varied].mean().item(), size[varied].mean().item()


def scaled(rewards: Tensor, by: str) -> Tensor:
    """Differences from the mean of the group, scaled as a trainer does it: [B, G] -> [B, G]; 0 for what is equal."""
    centred = (rewards - rewards.nanmean(1, keepdim=True)).nan_to_num(0.0)
    if by == "none":
        return centred
    deviation = centred.square().mean(None if by == "batch" else 1, keepdim=True).sqrt()
    return torch.where(deviation > EQUAL, centred / deviation, 0.0)


def trials() -> Iterator[dict[str, Tensor]]:
    """Every input of the random groups, at the beginning of a training, in its middle and at its end."""
    for progress in (0.0, 0.5, 1.0):
        yield {**_groups(), "progress": torch.tensor(progress)}


@functools.cache
def _groups() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    verdicts, form, real = torch.rand(3, 24, 8, generator=rng, dtype=torch.float64)
    correct = (verdicts < torch.linspace(0.1, 0.9, 24, dtype=torch.float64).unsqueeze(1)).double()
    correct[:2], correct[2:4] = 1.0, 0.0
    rewards = correct.clone()
    rewards[8:14] += 0.2 * (form[8:14] < 0.7)
    rewards[14:] = (6 * real[14:]).floor() / 5
    correct[14:] = (rewards[14:] > 0.5).double()
    embeddings = torch.rand(24, 8, 4, generator=rng, dtype=torch.float64)
    embeddings[:, 1] = embeddings[:, 0]  # copies of one another
    lengths = torch.randint(20, 4000, (24, 8), generator=rng)
    return {
        "rewards": rewards,
        "correct": correct,
        "similarity": cosine_similarity(embeddings),
        "keys": torch.randint(0, 4, (24, 8), generator=rng),
        "lengths": lengths,
        "logprobs": -lengths * torch.rand(24, 8, generator=rng, dtype=torch.float64),
    }
