"""The placebo: the keys and similarities of a group stay, and chance decides which completion has which."""

import functools
import itertools
import math
import pickle

import pytest
import torch
from test_family_keys import groups, of
from torch.testing import assert_close

from manypaths import cosine_similarity, dra, mmr, recipe
from manypaths.methods import (
    among_correct,
    darling,
    darling_correct,
    gapo,
    grpo_pos,
    ips,
    keep_equal_rewards,
    maxrl,
    rarity,
    shuffled,
)
from manypaths.methods.bind import bind_advantage, bind_reweight, replace_advantages
from manypaths.methods.inputs import inputs_of, options_of
from manypaths.training.trainer_arguments import methods_and_keys

NAN = math.nan
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
OF_KEYS = {"rarity": rarity, "gapo": gapo, "darling": darling, "darling_correct": darling_correct, "ips": ips}
OF_SIMILARITY = {"mmr": mmr, "dra": dra, "mmr among right ones": among_correct(mmr)}
METHODS = OF_KEYS | OF_SIMILARITY


def every_input(seed, **shape):
    inputs = groups(seed, **shape)
    draw = torch.Generator().manual_seed(seed)
    rows = torch.rand(*inputs["rewards"].shape, 5, generator=draw, dtype=torch.float64)
    lengths = torch.randint(1, 99, inputs["rewards"].shape, generator=draw)
    return inputs | {"similarity": cosine_similarity(rows), "lengths": lengths}


def seen(inputs, names, seed=0):
    """The inputs that a method gets when it is shuffled."""
    caught = {}

    def on_keys(rewards, keys):
        caught.update(keys=keys)
        return rewards

    def on_verdicts(rewards, correct, keys):
        caught.update(correct=correct, keys=keys)
        return rewards

    def on_both(rewards, similarity, keys):
        caught.update(similarity=similarity, keys=keys)
        return rewards

    of(shuffled({"keys": on_keys, "correct": on_verdicts, "both": on_both}[names], seed), inputs)
    return caught


def places(inputs, names="keys", seed=0):
    """The permutation of each group, as lists: whose key each completion gets."""
    numbered = torch.arange(inputs["rewards"].shape[1]).expand_as(inputs["rewards"])
    by_hand = inputs | {"keys": numbered}
    return seen(by_hand, names, seed)["keys"].tolist()


# What stays


@pytest.mark.parametrize("names", ["keys", "correct"])
def test_each_group_keeps_its_keys_and_unscored_completions_keep_theirs(names):
    inputs = every_input(0)
    unscored = inputs["rewards"].isnan()
    for seed in range(5):
        keys = seen(inputs, names, seed)["keys"]
        assert torch.equal(keys[unscored], inputs["keys"][unscored])
        assert torch.equal(keys.sort(-1).values, inputs["keys"].sort(-1).values)
        assert not torch.equal(keys, inputs["keys"])


def test_a_method_of_verdicts_keeps_the_ways_of_the_right_ones():
    """Right ones change places with right ones; wrong ones and those of unknown verdict with each other."""
    inputs, moved = every_input(1), 0
    right, scored = inputs["correct"] == 1, ~inputs["rewards"].isnan()
    for b, order in enumerate(places(inputs, "correct")):
        for i, j in enumerate(order):
            assert right[b, i] == right[b, j] and scored[b, i] == scored[b, j]
            moved += i != j
    assert moved > 100
    assert any(right[b, i] != right[b, j] for b, order in enumerate(places(inputs)) for i, j in enumerate(order))


def test_rows_and_columns_of_similarity_move_together_and_with_the_keys():
    inputs = every_input(2)
    inputs["keys"] = torch.arange(8).expand(64, 8)
    given = seen(inputs, "both")
    for b, order in enumerate(given["keys"]):
        assert torch.equal(given["similarity"][b], inputs["similarity"][b][order][:, order])
    assert_close(given["similarity"].diagonal(0, 1, 2), torch.ones(64, 8).double())


@pytest.mark.parametrize("name", OF_KEYS)
def test_the_size_of_what_a_method_gives_stays_where_rewards_differ_by_the_verdict_only(name):
    """The multiset of advantages or rewards of the right ones, and of the wrong ones, is the same."""
    inputs = every_input(3)
    scored = ~inputs["rewards"].isnan()
    inputs["correct"] = inputs["correct"].masked_fill(scored & inputs["correct"].isnan(), 0.0)
    inputs["rewards"] = inputs["correct"]
    inputs["advantages"] = torch.where(inputs["correct"] == 1, 0.6, -0.3).double()
    if name == "darling":  # of all completions: the groups in which all are right
        whole = (inputs["correct"] == 1).sum(-1) == scored.sum(-1)
        inputs = {key: values[whole] for key, values in inputs.items()}
    plain, dealt = of(METHODS[name], inputs), of(shuffled(METHODS[name]), inputs)
    assert_close(dealt.sort(-1).values, plain.sort(-1).values, equal_nan=True)
    assert not torch.allclose(dealt, plain, equal_nan=True)


# What chance decides


def test_every_permutation_has_the_same_chance():
    """Over 24,000 groups of four different rewards: 24 permutations, chi-squared below its 99.9 % point."""
    rewards = torch.rand(24_000, 4, generator=torch.Generator().manual_seed(0))
    orders = [tuple(order) for order in places({"rewards": rewards})]
    counts = [orders.count(order) for order in itertools.permutations(range(4))]
    assert sum(counts) == 24_000
    assert sum((count - 1000) ** 2 / 1000 for count in counts) < 49.7


def test_seeds_are_as_random_as_groups():
    rewards = torch.tensor([[0.1, 0.5, 0.3]])
    orders = [tuple(places({"rewards": rewards}, seed=seed)[0]) for seed in range(3000)]
    counts = [orders.count(order) for order in itertools.permutations(range(3))]
    assert sum((count - 500) ** 2 / 500 for count in counts) < 20.5


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_the_effect_of_rarity_is_none_on_average(alpha):
    """Right completions of one common and one rare way: each gets the advantage that it had, on average."""
    B, keys = 20_000, torch.tensor([1, 1, 1, 1, 2, 3])
    correct = torch.tensor([1.0, 1, 1, 1, 1, 0])
    rewards = correct + torch.rand(B, 6, generator=torch.Generator().manual_seed(1))  # each group is dealt anew
    advantages = torch.where(correct == 1, 0.5, -2.5).expand(B, 6)
    inputs = {"rewards": rewards, "correct": correct.expand(B, 6), "keys": keys.expand(B, 6), "advantages": advantages}
    given = of(shuffled(functools.partial(rarity, alpha=alpha)), inputs)
    deviation = given.std(0) / B**0.5
    assert ((given.mean(0) - advantages[0]).abs() <= 4 * deviation + 1e-6).all()
    assert (deviation[:5] > 0).all()
    assert_close(given.sum(-1), advantages.sum(-1), rtol=1e-4, atol=1e-4)


# What does not


@pytest.mark.parametrize("name", METHODS)
def test_a_group_is_shuffled_in_one_way_in_a_batch_of_any_size_and_order(name):
    method, inputs = shuffled(METHODS[name]), every_input(4, B=9)
    whole = of(method, inputs)
    alone = [of(method, {key: values[[b]] for key, values in inputs.items()}) for b in range(9)]
    assert_close(torch.cat(alone), whole, rtol=0, atol=0, equal_nan=True)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    again = of(method, {key: values[order] for key, values in inputs.items()})
    assert_close(again, whole[order], rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("name", METHODS)
def test_an_unscored_completion_changes_no_other(name):
    method, inputs = shuffled(METHODS[name]), every_input(5)
    unscored = inputs["rewards"].isnan()
    other = inputs | {key: inputs[key].masked_fill(unscored, 77) for key in ("keys", "lengths")}
    pairs = unscored.unsqueeze(1) | unscored.unsqueeze(2)
    other["similarity"] = inputs["similarity"].masked_fill(pairs, 0.123)
    assert_close(of(method, other), of(method, inputs), rtol=0, atol=0, equal_nan=True)
    # nor does one that is added in front
    padded = {key: torch.cat([values[:, :1], values], 1) for key, values in inputs.items() if values.dim() == 2}
    padded["similarity"] = torch.nn.functional.pad(inputs["similarity"], (1, 0, 1, 0), value=NAN)
    padded["rewards"][:, 0] = padded["correct"][:, 0] = NAN
    assert_close(of(method, padded)[:, 1:], of(method, inputs), equal_nan=True)


@pytest.mark.parametrize("name", METHODS)
def test_single_precision_shuffles_as_double_precision_does(name):
    inputs = every_input(6)
    single = {key: values.float() if values.is_floating_point() else values for key, values in inputs.items()}
    method = shuffled(METHODS[name])
    assert_close(of(method, single).double(), of(method, inputs), rtol=1e-4, atol=1e-4, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_shuffles_as_the_cpu_does(device):
    inputs = every_input(12)
    there = {key: values.to(device) for key, values in inputs.items()}
    for method in (shuffled(ips), shuffled(dra)):
        assert_close(of(method, there).cpu(), of(method, inputs), equal_nan=True)


def test_rounding_of_another_batch_shuffles_no_other_way():
    inputs = every_input(7)
    noise = 1e-7 * torch.rand(64, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    near = inputs | {"similarity": inputs["similarity"] + noise}
    of_similarity = shuffled(lambda rewards, similarity: rewards + similarity.sum(-1))
    assert_close(of(of_similarity, near), of(of_similarity, inputs), rtol=0, atol=1e-5, equal_nan=True)


def test_groups_that_are_equal_in_their_rewards_alone_are_shuffled_differently():
    """Many groups have nothing right; one permutation for all of them would not be chance."""
    draw = torch.Generator().manual_seed(0)
    zeros, keys = torch.zeros(200, 6), torch.randint(0, 2**62, (200, 6), generator=draw)
    dealt = seen({"rewards": zeros, "keys": keys}, "keys")["keys"]
    from_keys = [[own.index(key) for key in new] for own, new in zip(keys.tolist(), dealt.tolist(), strict=True)]
    similarity = cosine_similarity(torch.rand(200, 6, 5, generator=draw))
    similarity.diagonal(0, 1, 2).copy_(torch.arange(6.0) / 10)  # tells whose row it is
    diagonal = shuffled(lambda rewards, similarity: similarity.diagonal(0, 1, 2))(zeros, similarity)
    for orders in (from_keys, diagonal.tolist()):
        assert len({tuple(order) for order in orders}) > 150
    equal = seen({"rewards": zeros, "keys": keys[:1].expand(200, 6)}, "keys")["keys"]
    assert torch.equal(equal, dealt[:1].expand(200, 6))


@pytest.mark.parametrize("seed", [0, 7])
def test_inputs_are_not_modified_and_a_call_is_repeated_exactly(seed):
    inputs = every_input(8)
    before = {key: values.clone() for key, values in inputs.items()}
    for method in METHODS.values():
        first, again = (of(shuffled(method, seed), inputs) for _ in range(2))
        assert_close(first, again, rtol=0, atol=0, equal_nan=True)
    assert_close(inputs, before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (3, 1)])
def test_no_groups_empty_groups_and_groups_of_one(shape):
    rewards, keys = torch.ones(shape), torch.ones(shape, dtype=torch.int64)
    assert_close(shuffled(ips)(rewards, rewards, keys), rewards)
    similarity = torch.ones(*shape, shape[1])
    assert_close(shuffled(dra)(rewards, similarity), rewards, rtol=1e-5, atol=0)


# As a method


def test_it_has_the_inputs_and_options_of_its_method_and_rewards():
    assert inputs_of(shuffled(lambda keys, *, power=1: keys)) == ("rewards", "keys")
    method = shuffled(rarity)
    assert {*inputs_of(method, "advantage")} == {"rewards", "correct", "keys", "advantages"}
    assert [option.name for option in options_of(method)] == ["alpha", "rule", "clip"]
    inputs = every_input(9)
    given = of(method, inputs, alpha=0.0)
    assert_close(given, inputs["advantages"].masked_fill(inputs["rewards"].isnan(), 0.0))
    restored = pickle.loads(pickle.dumps(method))
    assert_close(of(restored, inputs), of(method, inputs), rtol=0, atol=0)


def test_it_wraps_wrappers_and_is_wrapped():
    inputs = every_input(10)
    kept = of(keep_equal_rewards(shuffled(ips)), inputs | {"rewards": torch.ones(64, 8).double()})
    assert torch.equal(kept, torch.ones(64, 8).double())
    right, wrong = inputs["correct"] == 1, inputs["correct"] == 0
    for method in (shuffled(among_correct(dra)), among_correct(shuffled(dra))):
        given = of(method, inputs)
        assert torch.equal(given[wrong], inputs["rewards"][wrong])
        assert_close(given.masked_fill(~right, 0.0).sum(-1), inputs["rewards"].masked_fill(~right, 0.0).sum(-1))


def test_a_trainer_can_take_it_as_an_advantage():
    inputs = every_input(11)
    given, diagnostics = replace_advantages(shuffled(rarity), inputs)
    assert_close(given, of(shuffled(rarity), inputs))
    assert diagnostics.keys() == {"ways"}


def test_a_method_without_keys_or_similarity_is_refused():
    with pytest.raises(
        ValueError, match="given a method of keys or similarity, got 'grpo_pos', whose inputs are rewards"
    ):
        shuffled(grpo_pos)


def test_settings_shuffle_what_compares_completions_and_nothing_else():
    method = bind_reweight("mmr", {}, "method.reweight", among=True, placebo=True)
    assert isinstance(method, among_correct) and isinstance(method.__wrapped__, shuffled)
    inputs = every_input(3)
    direct = among_correct(shuffled(functools.partial(mmr)))
    assert_close(of(method, inputs), of(direct, inputs), equal_nan=True)
    chain = bind_advantage(["maxrl", "rarity"], {}, "method.advantage", placebo=True)
    wanted = [inputs[name] for name in ("rewards", "correct", "keys")]
    base = maxrl(inputs["rewards"], inputs["correct"])
    expected = shuffled(rarity)(inputs["rewards"], inputs["correct"], inputs["keys"], base)
    assert_close(chain(*wanted, torch.zeros_like(base)), expected)
    assert not isinstance(bind_advantage("maxrl", {}, "method.advantage", placebo=True), shuffled)


def test_a_recipe_without_a_method_that_compares_is_refused_as_a_placebo():
    for names in (["mmr"], ["maxrl-rarity", "keys.name=answer"]):
        words = ["smollm2-135m", "grpo", "arithmetic", *(name for name in names if "=" not in name)]
        overrides = ["method.shuffled=true", *(name for name in names if "=" in name)]
        methods_and_keys(recipe.read(words, overrides))
    for name in ("none", "maxrl"):
        spec = recipe.read(["smollm2-135m", "grpo", "arithmetic", name], ["method.shuffled=true"])
        with pytest.raises(ValueError, match=r"method\.shuffled=true must come with a method of keys or similarity"):
            methods_and_keys(spec)
