"""A reweighter that the trainer's scaling cancels, and a bonus that it blows up, are refused; methods are not."""

import doctest
import inspect
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from test_slime import PAGE, arguments, rollout
from test_trl import length, trainer_of, vowels
from trl import GRPOTrainer, RLOOConfig

from manypaths import mmr
from manypaths.embed import NgramEmbedder
from manypaths.methods import REWEIGHTERS, among_correct, keep_equal_rewards
from manypaths.methods.bind import adjust, bind_reweight
from manypaths.methods.effect import Scaling, check_effect, scaled, trials
from manypaths.slime import post_process_rewards
from manypaths.trainers import trl_scaling
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward

GROUP, BATCH, NONE = (Scaling(by, f"scale_rewards={by!r}", "Do otherwise.") for by in ("group", "batch", "none"))


def scale_of_group(rewards, correct):
    """What makes focal weights, MaxRL and pass@k of GRPO: a factor for each group."""
    return rewards * (1.5 - correct.nanmean(1, keepdim=True))


def mean_of_group(rewards, similarity):
    """The same bonus for all completions of a group."""
    return rewards + 1 - similarity.mean((1, 2)).unsqueeze(1)


def scale_of_all(rewards):
    return 3 * rewards - 2


def scale_in_time(rewards, progress):
    return rewards * (2 - progress) + progress


def mirrored(rewards):
    return -rewards


def ranks(rewards):
    return (rewards.unsqueeze(2) > rewards.unsqueeze(1)).sum(2).double().masked_fill(rewards.isnan(), math.nan)


def bonus(rewards, similarity, *, weight=0.05):
    return rewards + weight * (1 - similarity.mean(2))


@pytest.mark.parametrize(
    ("reweight", "cancelled_by"),
    [
        (scale_of_group, [GROUP]),
        (mean_of_group, [GROUP, BATCH, NONE]),
        (scale_of_all, [GROUP, BATCH]),
        (scale_in_time, [GROUP]),
        (mirrored, []),
        (ranks, []),
    ],
)
def test_what_the_scaling_cancels_is_refused(reweight, cancelled_by):
    for scaling in (GROUP, BATCH, NONE):
        if scaling not in cancelled_by:
            check_effect(reweight, scaling)
            continue
        with pytest.raises(ValueError) as raised:
            check_effect(reweight, scaling)
        assert reweight.__name__ in str(raised.value) and "it would have no effect. Do otherwise." in str(raised.value)
        assert f"scale_rewards='{scaling.by}'" in str(raised.value)


@pytest.mark.parametrize("by", ["group", "batch", "none"])
def test_what_is_refused_is_equal_after_scaling_whatever_the_factors(by):
    """Any positive factor and any offset of each group, or of all of them, are the affine functions that it cancels."""
    rng = torch.Generator().manual_seed(1)
    raw = torch.randn(5, 4, generator=rng, dtype=torch.float64)
    factor = {"group": torch.rand(5, 1, generator=rng) + 0.1, "batch": torch.tensor(2.5), "none": torch.tensor(1.0)}[by]
    moved = raw * factor + torch.randn(5, 1, generator=rng)
    torch.testing.assert_close(scaled(moved, by), scaled(raw, by))
    assert not torch.allclose(scaled(raw.abs(), by), scaled(raw, by))


@pytest.mark.parametrize("name", REWEIGHTERS)
@pytest.mark.parametrize("scaling", [GROUP, BATCH, NONE], ids=lambda scaling: scaling.by)
def test_every_method_has_an_effect_of_its_own_size(name, scaling):
    method = bind_reweight(name, {}, "method.reweight")
    for wrapped in (method, keep_equal_rewards(method), among_correct(method)):
        check_effect(wrapped, scaling)


def test_a_small_bonus_is_refused_where_it_is_divided_by_its_own_deviation():
    """Its size in zero-variance groups is that of a large one; kept equal, or not divided, it has its own."""
    for small in (partial(bonus, weight=0.01), bonus, partial(mmr, lam=0.99)):
        with pytest.raises(ValueError, match=r"got \d+ times that: the trainer divides by .*scale_rewards='group'"):
            check_effect(small, GROUP)
        check_effect(small, NONE)
        check_effect(small, BATCH)
        check_effect(keep_equal_rewards(small), GROUP)
    for large in (partial(bonus, weight=1.0), partial(mmr, lam=0.7), partial(mmr, lam=0.9)):
        check_effect(large, GROUP)


def test_the_ratio_in_the_message_is_that_of_root_mean_squares():
    inputs = next(iter(trials()))
    raw, adjusted = inputs["rewards"], adjust(bonus, inputs)[0]
    sizes = {True: [], False: []}
    for before, after in zip(raw.tolist(), adjusted.tolist(), strict=True):
        change = [new - old for new, old in zip(standard(after), standard(before), strict=True)]
        sizes[len(set(before)) == 1].append(math.sqrt(sum(x * x for x in change) / 8))
    equal, unequal = (sum(sizes[kind]) / len(sizes[kind]) for kind in (True, False))
    with pytest.raises(ValueError, match=f"got {equal / unequal:.0f} times that"):
        check_effect(bonus, GROUP)


def standard(values):
    mean = sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / deviation if deviation > 1e-6 else 0.0 for value in values]


def test_the_numbers_of_the_page():
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.failed == 0 and results.attempted == 4


def test_a_reweighter_is_tried_without_a_trace():
    """The identity is accepted; random numbers stay as they were, and what cannot be tried is not."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    check_effect(lambda rewards, similarity: rewards, GROUP)
    check_effect(lambda rewards, keys: rewards + torch.rand_like(rewards), GROUP)
    assert torch.equal(torch.get_rng_state(), before)

    def on_a_device(rewards, lengths):
        raise RuntimeError("Expected all tensors to be on the same device")

    check_effect(on_a_device, GROUP)


# In the trainers

REFUSED = "'scale_of_all' must change more than"


def test_trl_refuses_it_by_its_settings_before_a_model_loads(tmp_path):
    named = {"reweight": scale_of_group, "correct": 0}
    with pytest.raises(ValueError, match=r"'scale_of_group' must change more .* \(scale_rewards='group'\)"):
        DiverseGRPOTrainer("/no/such/model", vowels, **named)
    assert trl_scaling(SimpleNamespace(scale_rewards=False)).by == "none"
    assert trl_scaling(SimpleNamespace(scale_rewards=True)).by == trl_scaling(SimpleNamespace()).by == "group"
    gdpo = SimpleNamespace(scale_rewards="none", multi_objective_aggregation="normalize_then_sum")
    assert trl_scaling(gdpo).by == "batch" and trl_scaling(SimpleNamespace(scale_rewards="bacth")) is None


def test_trl_takes_it_where_it_has_an_effect(tiny_model, tmp_path):
    named = {"reweight": scale_of_all, "steps": 1}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, scale_rewards="none", **named)
    trainer.train()
    with pytest.raises(ValueError, match="'mean_of_group' must change more than the mean"):
        trainer.inputs.replace(NgramEmbedder(), {"reweight": mean_of_group, "advantage": None})
    trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, advantage=lambda advantages, rewards: rewards, **named)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [({}, True), ({"scale_rewards": "none"}, False), ({"multi_objective_aggregation": "normalize_then_sum"}, True)],
)
def test_the_wrapping_reward_asks_the_trainer(tiny_model, tmp_path, settings, refused):
    reward = DiverseReward([vowels, length], reweight=scale_of_all, num_generations=4)
    trainer = trainer_of(tiny_model, tmp_path, GRPOTrainer, reward, steps=1, **settings)
    if refused:
        with pytest.raises(ValueError, match=REFUSED):
            trainer.train()
    else:
        trainer.train()


def test_in_rloo_the_wrapping_reward_is_centred_or_scaled_by_the_batch(tmp_path):
    reward = DiverseReward(vowels, reweight=scale_of_all, num_generations=4)
    config = partial(RLOOConfig, str(tmp_path), use_cpu=True, bf16=False)
    assert reward._scaling_in(config()) is None
    assert reward._scaling_in(config(normalize_advantages=True)).by == "batch"
    with pytest.raises(ValueError, match="'mean_of_group' must change more than the mean"):
        DiverseReward(vowels, reweight=mean_of_group, embedder=NgramEmbedder(), num_generations=4)


def test_slime_refuses_it_by_its_settings():
    for changed in (
        {"grpo_std_normalization": False},
        {"advantage_estimator": "rloo"},
        {"rewards_normalization": False},
    ):
        post_process_rewards(arguments(**changed), rollout(), reweight=scale_of_all)
    with pytest.raises(ValueError, match=f"{REFUSED} .*--advantage-estimator gspo.*--disable-grpo-std-normalization"):
        post_process_rewards(arguments(advantage_estimator="gspo"), rollout(), reweight=scale_of_all)


def test_trials_have_every_input_of_a_reweighter():
    for inputs in trials():
        for method in REWEIGHTERS.values():
            wanted = [
                name for name, own in inspect.signature(method).parameters.items() if own.kind != own.KEYWORD_ONLY
            ]
            assert {*wanted} <= inputs.keys()
