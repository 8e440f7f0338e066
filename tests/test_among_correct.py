"""Diversity among the right completions only, and advantages one after another."""

import functools

import pytest
import reference
import test_methods
import torch
from torch.testing import assert_close

from manypaths.embed import NgramEmbedder
from manypaths.methods import REWEIGHTERS, among_correct, dra, grpo_pos, keep_equal_rewards, mmr
from manypaths.methods.bind import adjust, bind_advantage, bind_reweight
from manypaths.methods.chained import chained
from manypaths.methods.inputs import inputs_of, options_of

NAN = torch.nan
train = test_methods.train  # a fixture
METHODS = {"mmr": mmr, "mmr, lam 0.9": functools.partial(mmr, lam=0.9), "dra": dra}


def groups(batch=40, size=8, seed=0, dtype=torch.float64):
    """Random groups of binary verdicts with a reward for form, some unscored, some unknown: inputs by name."""
    draw = torch.Generator().manual_seed(seed)
    correct = (torch.rand(batch, size, generator=draw) < torch.rand(batch, 1, generator=draw)).to(dtype)
    rewards = correct + 0.1 * torch.randint(0, 3, (batch, size), generator=draw)
    rows = torch.nn.functional.normalize(torch.randn(batch, size, 5, generator=draw, dtype=dtype), dim=-1)
    rewards[torch.rand(batch, size, generator=draw) < 0.1] = NAN
    correct[torch.rand(batch, size, generator=draw) < 0.05] = NAN
    return {"rewards": rewards, "similarity": rows @ rows.mT, "correct": correct}


def of(method, inputs):
    return method(*(inputs[name] for name in inputs_of(method)))


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_method_on_the_right_ones_alone_with_their_mean_kept(name):
    method, inputs = METHODS[name], groups()
    adjusted = of(among_correct(method), inputs)
    moved = 0
    for row in range(len(adjusted)):
        rewards, correct = inputs["rewards"][row], inputs["correct"][row]
        right = [place for place in range(len(rewards)) if correct[place] == 1 and not rewards[place].isnan()]
        expected = rewards.clone()
        if len(right) > 1:
            similarity = inputs["similarity"][row][right][:, right]
            alone = method(rewards[right][None], similarity[None])[0]
            expected[right] = alone + (rewards[right] - alone).mean()
            moved += not torch.allclose(expected[right], rewards[right])
        torch.testing.assert_close(adjusted[row], expected, equal_nan=True)
    assert moved > 20


@pytest.mark.parametrize("name", METHODS)
def test_groups_with_nothing_right_or_one_right_and_wrong_completions_are_untouched(name):
    inputs = groups(seed=1)
    adjusted = of(among_correct(METHODS[name]), inputs)
    right = (inputs["correct"] == 1) & ~inputs["rewards"].isnan()
    still = ~right | (right.sum(-1, keepdim=True) < 2)
    assert torch.equal(adjusted[still].nan_to_num(-9), inputs["rewards"][still].nan_to_num(-9))
    assert (right.sum(-1) == 0).any() and (right.sum(-1) == 1).any()


def test_permuted_completions_have_permuted_rewards():
    inputs, order = groups(seed=2), torch.randperm(8, generator=torch.Generator().manual_seed(3))
    permuted = {name: values[:, order] for name, values in inputs.items()}
    permuted["similarity"] = permuted["similarity"][:, :, order]
    torch.testing.assert_close(
        of(among_correct(dra), permuted), of(among_correct(dra), inputs)[:, order], equal_nan=True
    )


def test_all_right_groups_share_or_are_left():
    rewards, similarity = torch.ones(2, 4), torch.eye(4).repeat(2, 1, 1)
    similarity[:, :2, :2] = 1
    correct = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 0]])
    shared = among_correct(dra)(rewards, similarity, correct)
    left = among_correct(dra, all_right="leave")(rewards, similarity, correct)
    torch.testing.assert_close(shared[0], torch.tensor([0.75, 0.75, 1.25, 1.25]))
    assert torch.equal(left[0], rewards[0]) and torch.equal(left[1], shared[1])
    rewards[0, 3] = NAN  # an unscored completion makes no group one with something wrong
    assert torch.equal(among_correct(dra, all_right="leave")(rewards, similarity, correct)[0, :3], rewards[0, :3])
    with pytest.raises(ValueError, match="all_right must be share or leave, got 'some'"):
        among_correct(dra, all_right="some")


@pytest.mark.parametrize("size", [2, 4, 16])
def test_of_rewards_0_and_1_no_right_completion_ends_below_a_wrong_one(size):
    inputs = groups(batch=300, size=size, seed=size)
    inputs["rewards"] = torch.where(inputs["rewards"].isnan(), NAN, inputs["correct"].nan_to_num(0.0))
    positive = {**inputs, "similarity": inputs["similarity"].clamp(min=0)}  # without a floor DRA may divide by about 0
    for adjusted in (of(among_correct(mmr), inputs), of(among_correct(dra), positive)):
        right = (inputs["correct"] == 1) & ~adjusted.isnan()
        wrong = (inputs["correct"] != 1) & ~adjusted.isnan()
        least = adjusted.masked_fill(~right, torch.inf).amin(-1)
        assert (least > adjusted.masked_fill(~wrong, -torch.inf).amax(-1)).all()


def test_it_composes_with_zero_variance_groups_left_alone_and_keeps_options():
    method = among_correct(mmr)
    assert inputs_of(method) == ("rewards", "similarity", "correct")
    assert {option.name for option in options_of(method)} == {option.name for option in options_of(mmr)}
    inputs = groups(seed=5)
    assert torch.equal(
        method(**inputs, lam=0.9).nan_to_num(), of(among_correct(functools.partial(mmr, lam=0.9)), inputs).nan_to_num()
    )
    inputs["rewards"][0] = 1.0
    inputs["correct"][0] = 1.0
    assert torch.equal(of(keep_equal_rewards(method), inputs)[0], inputs["rewards"][0])
    assert not torch.equal(of(method, inputs)[0], inputs["rewards"][0])


def test_settings_name_it():
    for name in REWEIGHTERS:
        method = bind_reweight(name, {}, "method.reweight", among=True, keep_equal=True)
        assert isinstance(method, keep_equal_rewards) and isinstance(method.__wrapped__, among_correct)
    inputs = groups(dtype=torch.float32)
    adjusted, diagnostics = adjust(bind_reweight("mmr", {}, "method.reweight", among=True), inputs)
    assert torch.equal(adjusted.isnan(), inputs["rewards"].isnan()) and "lam" in diagnostics
    assert bind_reweight(None, {}, "method.reweight", among=True) is None


# Advantages one after another


def doubled(rewards, advantages):
    return 2 * advantages


def plus_progress(advantages, progress):
    return advantages + progress


def test_each_works_on_the_advantages_of_the_one_before_it():
    rewards, own = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.7, -0.7]])
    both = chained([doubled, plus_progress])
    assert inputs_of(both, "advantage") == ("rewards", "advantages", "progress")
    torch.testing.assert_close(both(rewards, own, torch.tensor(0.5)), torch.tensor([[1.9, -0.9]]))
    other = chained([plus_progress, doubled])
    torch.testing.assert_close(other(rewards, own, torch.tensor(0.5)), torch.tensor([[2.4, -0.4]]))
    assert torch.equal(own, torch.tensor([[0.7, -0.7]]))


def test_settings_name_several_with_options_by_name():
    rewards, own = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.7, -0.7]])
    method = bind_advantage(["reinforce", "grpo_pos"], {}, "method.advantage")
    assert torch.equal(method(rewards, own), grpo_pos(rewards, rewards))
    with pytest.raises(ValueError, match=r"options of method.advantage must be those of reinforce, got 'raft'"):
        bind_advantage(["reinforce"], {"raft": {}}, "method.advantage")
    with pytest.raises(ValueError, match="must name one method or several different ones, got"):
        bind_advantage(["raft", "raft"], {}, "method.advantage")
    with pytest.raises(ValueError, match=r"Unknown method\.advantage 'mmr'\. It is a method for reweight\."):
        bind_advantage("mmr", {}, "method.advantage")


# In the trainer


def among_right(oracle, raw, similarity, correct):
    """The right completions alone, shifted to the mean that they had; the others keep their rewards."""
    right = [i for i, verdict in enumerate(correct) if verdict]
    if len(right) < 2:
        return raw
    adjusted = oracle([raw[i] for i in right], [[similarity[i][j] for j in right] for i in right])
    lost = (sum(raw[i] for i in right) - sum(adjusted)) / len(right)
    moved = dict(zip(right, adjusted, strict=True))
    return [moved[i] + lost if i in moved else reward for i, reward in enumerate(raw)]


@pytest.mark.parametrize("method", ["mmr", "dra"])
def test_three_steps_of_the_recipe_have_the_advantages_of_the_closed_form(train, method):
    changed = 0
    for variant in ("grpo", "dr-grpo", "dapo"):
        _, steps = train(method, variant, "method.correct=accuracy")
        for texts, raw, trained in (group for step in steps for group in test_methods.per_group(step)):
            rows = NgramEmbedder()(texts).double()
            correct = test_methods.accuracy(texts)
            adjusted = among_right(getattr(reference, method), raw, (rows @ rows.T).tolist(), correct)
            mean = sum(adjusted) / 4
            expected = [x - mean for x in adjusted] if variant == "dr-grpo" else reference.advantages(adjusted)
            assert_close(trained, torch.tensor(expected), rtol=1e-4, atol=1e-4)
            changed += adjusted != raw
    assert changed
