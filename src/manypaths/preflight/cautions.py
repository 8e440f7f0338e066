"""What a recipe is warned of, before a run and in its dry run."""

from __future__ import annotations

import importlib.util

from manypaths.preflight.workload import DEFAULTS
from manypaths.sections import Recipe

OF_SHARE = ("maxrl", "passk", "pkpo", "focal")  # advantages that depend on the share of right completions in the group
CHANGES_SHARE = ("mmr", "max_variance")  # rules of selection that do not keep it on average
MOMENTS = {"at the beginning": 0.0, "in the middle": 0.5, "at the end": 1.0}  # of the training


def cautions(spec: Recipe) -> list[str]:
    """A sentence for each known harm of a recipe; none for most."""
    return [*_acts_on_wrong_ones(spec), *_learns_nothing(spec), *_selects_in_vain(spec)]


def _acts_on_wrong_ones(spec: Recipe) -> list[str]:
    method = spec.method
    weighted = [name for name, weight in spec.rewards.items() if weight]
    others = [name for name in weighted if name != method.correct]
    if method.reweight is None or method.among_correct or not others or len(weighted) < 2:
        return []
    if not _tells_wrong_ones_apart(spec):
        return []
    listed = " and ".join(others)
    return [
        f"{method.reweight} acts on all completions of a group here, and {listed} can differ where nothing in it is "
        "right: then a wrong completion gains where it is least like the others. Set method.among_correct=true "
        "to move credit among right completions only."
    ]


def _tells_wrong_ones_apart(spec: Recipe) -> bool:
    """Whether a reweighter, in a group where nothing is right, looks at more than the rewards; without torch, yes.

    Random groups are reweighted twice, with the same rewards and other similarities, keys, lengths and likelihoods.
    """
    if importlib.util.find_spec("torch") is None:
        return True
    import torch

    from manypaths.methods.bind import adjust, bind_reweight
    from manypaths.methods.groups import cosine_similarity

    method = bind_reweight(spec.method.reweight, spec.method.options, "method.reweight")
    assert method is not None
    draw = torch.Generator().manual_seed(0)
    rewards = torch.rand(4, 8, generator=draw)
    centred = []
    for _ in range(2):
        inputs = {"rewards": rewards, "correct": torch.zeros(4, 8), "progress": torch.tensor(0.5)}
        inputs["similarity"] = cosine_similarity(torch.rand(4, 8, 5, generator=draw))
        inputs["keys"], inputs["lengths"] = torch.randint(1, 4, (2, 4, 8), generator=draw).unbind()
        inputs["logprobs"] = -torch.rand(4, 8, generator=draw)
        adjusted, _ = adjust(method, inputs)
        centred.append(adjusted - adjusted.mean(1, keepdim=True))
    return not torch.allclose(centred[0], centred[1], atol=1e-6)


def _learns_nothing(spec: Recipe) -> list[str]:
    """Where an advantage is 0 for all completions of a group of this size, whatever number of them is right."""
    name, options = spec.method.advantage, spec.method.advantage_options
    if name is None or importlib.util.find_spec("torch") is None:
        return []
    import torch

    from manypaths.methods.bind import bind_advantage, replace_advantages

    size = {**DEFAULTS, **spec.trainer}["num_generations"]
    method = bind_advantage(name, options, "method.advantage")
    if method is None or size < 2:
        return []
    correct = (torch.arange(size) < torch.arange(1, size).unsqueeze(1)).float()  # 1, 2, ... size - 1 are right
    whole = torch.arange(size).expand(size - 1, size)
    inputs = {"rewards": correct, "adjusted": correct, "correct": correct, "keys": whole, "lengths": whole + 1}
    inputs |= {"similarity": torch.eye(size).expand(size - 1, size, size), "logprobs": -whole - 1.0}
    inputs["advantages"] = correct - correct.mean(-1, keepdim=True)
    silent = []
    for moment, done in MOMENTS.items():
        advantages, _ = replace_advantages(method, {**inputs, "progress": torch.tensor(done)})
        silent += [moment] * (not advantages.any())
    if not silent:
        return []
    when = "" if len(silent) == len(MOMENTS) else f" {' and '.join(silent)} of the training"
    names = name if isinstance(name, str) else ", ".join(name)
    return [
        f"method.advantage={names} gives 0 to all completions in groups of {size}{when}, however many are right, so "
        "nothing is learnt. Raise trainer.num_generations, or change method.advantage_options."
    ]


def _selects_in_vain(spec: Recipe) -> list[str]:
    """Where a selection leaves nothing out, or changes what the advantage depends on."""
    rule, count, own = spec.select.rule, spec.select.count, spec.method.advantage
    if rule is None:
        return []
    size = {**DEFAULTS, **spec.trainer}["num_generations"]
    whole = f"select.count={count} leaves no completion out of groups of {size}. Lower it, or sample larger groups."
    of_share = [name for name in ([own] if isinstance(own, str) else own or []) if name in OF_SHARE]
    if not of_share or rule not in CHANGES_SHARE or count == size:
        return [whole] * (count == size)
    return [
        f"select.rule={rule} changes the share of right completions in a group, on which method.advantage="
        f"{', '.join(of_share)} depends, so that a prompt which is seldom solved counts as an easier one: set "
        "select.rule=random, which keeps the share on average, or select none."
    ]
