"""Whom to train on: rules against plain loops and exhaustive search, their laws, and what users may give."""

import functools
import itertools
import math
from statistics import pvariance

import numpy as np
import pytest
import reference_selection
import torch
from test_methods import groups, of_each, permuted
from torch.testing import assert_close

from manypaths.methods import SELECTIONS, select_max_variance, select_mmr, select_random
from manypaths.methods.bind import bind_selection, choose
from manypaths.methods.contracts import check_functions
from manypaths.methods.inputs import inputs_of

NAN = math.nan
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
COUNTS = [2, 3, 4, 6, 9]


def of(rule, inputs, count, **options):
    """What a rule selects of the inputs that it names."""
    bound = functools.partial(rule, count=count, **options)
    return bound(*(inputs[name] for name in inputs_of(bound, "select")))


def mixed(seed, B=6, G=8, unscored=0.2):
    """Groups of rewards that differ, some unscored, of which some are right, some wrong and some of unknown verdict."""
    inputs, draw = groups(seed, B, G, unscored), torch.Generator().manual_seed(seed)
    rewards = torch.rand(B, G, generator=draw, dtype=torch.float64).masked_fill(inputs["rewards"].isnan(), NAN)
    correct = torch.randint(0, 2, (B, G), generator=draw).double()
    correct = correct.masked_fill(torch.rand(B, G, generator=draw) < 0.2, NAN)
    return inputs | {"rewards": rewards, "correct": correct}


def chosen(row):
    return {i for i, taken in enumerate(row.tolist()) if taken}


def places(selected, kind):
    return (selected & kind).sum(-1).tolist()


# Against loops and exhaustive search


@pytest.mark.parametrize("make", [groups, mixed])
@pytest.mark.parametrize("count", COUNTS)
def test_mmr_is_its_loop(count, make):
    """`groups` has many equal rewards, whose order similarity decides."""
    for seed in range(20):
        inputs = make(seed, G=1 + seed % 9)
        for b, row in enumerate(of(select_mmr, inputs, count)):
            own = (inputs[name][b].tolist() for name in ("rewards", "similarity", "correct"))
            assert chosen(row) == reference_selection.select_mmr(*own, count)


@pytest.mark.parametrize("make", [groups, mixed])
@pytest.mark.parametrize("count", COUNTS)
def test_mmr_of_equal_keys_is_its_loop(count, make):
    """Similarity of 0 and 1: most completions are equally far from those picked."""
    for seed in range(20):
        inputs = make(seed, G=1 + seed % 12)
        inputs["similarity"] = (inputs["keys"].unsqueeze(1) == inputs["keys"].unsqueeze(2)).double()
        for b, row in enumerate(of(select_mmr, inputs, count)):
            own = (inputs[name][b].tolist() for name in ("rewards", "similarity", "correct"))
            assert chosen(row) == reference_selection.select_mmr(*own, count)


@pytest.mark.parametrize("shift", [0.0, 1e6, -3.0])
@pytest.mark.parametrize("make", [groups, mixed])
@pytest.mark.parametrize("count", COUNTS)
def test_max_variance_is_that_of_all_subsets(count, make, shift):
    for seed in range(20):
        rewards = make(seed, G=1 + seed % 9)["rewards"] + shift
        for row, own in zip(select_max_variance(rewards, count=count), rewards.tolist(), strict=True):
            values = [own[i] for i in chosen(row)]
            assert_close(pvariance(values) if values else 0.0, reference_selection.largest_variance(own, count))


# Laws


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", SELECTIONS)
def test_a_rule_selects_count_scored_completions_or_all_of_them(name, count):
    for seed in range(20):
        for inputs in (groups(seed, G=1 + seed % 9, unscored=0.4), mixed(seed, unscored=1.0)):
            selected, scored = of(SELECTIONS[name], inputs, count), ~inputs["rewards"].isnan()
            assert selected.dtype == torch.bool and selected.shape == scored.shape
            assert not (selected & ~scored).any()
            assert torch.equal(selected.sum(-1), scored.sum(-1).clamp(max=count))


@pytest.mark.parametrize("name", ["mmr", "max_variance"])
def test_the_order_decides_nothing(name):
    for seed in range(20):
        inputs = mixed(seed)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
        selected = of(SELECTIONS[name], inputs, 4)
        assert torch.equal(of(SELECTIONS[name], permuted(inputs, order), 4), selected[:, order])
        equal = groups(seed, G=8)  # with equal rewards, of which any may be selected
        rewards = [
            inputs["rewards"].where(of(SELECTIONS[name], inputs, 4), NAN).sort(-1).values
            for inputs in (equal, permuted(equal, order))
        ]
        assert name == "mmr" or assert_close(*rewards, equal_nan=True) is None


@pytest.mark.parametrize("name", SELECTIONS)
def test_groups_never_mix(name):
    inputs = mixed(1)
    alone = [of(SELECTIONS[name], of_each(inputs, lambda values, b=b: values[[b]]), 3) for b in range(6)]
    assert torch.equal(torch.cat(alone), of(SELECTIONS[name], inputs, 3))


@pytest.mark.parametrize("name", SELECTIONS)
def test_unscored_completions_change_nothing(name):
    """Neither their other inputs nor their number."""
    inputs = mixed(2)
    unscored = inputs["rewards"].isnan()
    pairs = unscored.unsqueeze(1) | unscored.unsqueeze(2)
    other = inputs | {"similarity": inputs["similarity"].masked_fill(pairs, NAN)}
    other |= {key: inputs[key].masked_fill(unscored, 7) for key in ("correct", "lengths")}
    expected = of(SELECTIONS[name], inputs, 3)
    assert torch.equal(of(SELECTIONS[name], other, 3), expected)
    padded = {key: torch.cat([values[:, :1], values], 1) for key, values in inputs.items() if values.dim() == 2}
    padded["similarity"] = torch.nn.functional.pad(inputs["similarity"], (1, 0, 1, 0), value=NAN)
    padded["rewards"][:, 0] = NAN
    assert torch.equal(of(SELECTIONS[name], padded, 3)[:, 1:], expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", SELECTIONS)
def test_single_precision_and_other_devices_select_the_same_and_change_no_input(name, device):
    inputs = mixed(3, B=50)
    single = {key: (v.float() if v.is_floating_point() else v).to(device) for key, v in inputs.items()}
    before = {key: values.clone() for key, values in single.items()}
    selected = of(SELECTIONS[name], single, 4)
    assert selected.device.type == device
    assert torch.equal(selected.cpu(), of(SELECTIONS[name], inputs, 4))
    assert_close(single, before, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (3, 1)])
@pytest.mark.parametrize("name", SELECTIONS)
def test_no_groups_empty_groups_and_groups_of_one(name, shape):
    inputs = {"rewards": torch.ones(shape), "correct": torch.ones(shape), "lengths": torch.ones(shape).long()}
    inputs["similarity"] = torch.ones(*shape, shape[1])
    assert torch.equal(of(SELECTIONS[name], inputs, 2), torch.ones(shape, dtype=torch.bool))


# Maximal marginal relevance


@pytest.mark.parametrize(
    ("right", "wrong", "count", "expected"),
    [
        (5, 5, 4, (2, 2)),
        (5, 5, 5, (3, 2)),
        (1, 9, 4, (1, 3)),
        (9, 1, 4, (3, 1)),
        (10, 0, 4, (4, 0)),
        (0, 10, 4, (0, 4)),
    ],
)
def test_right_and_wrong_ones_share_the_places_evenly(right, wrong, count, expected):
    correct = torch.tensor([[1.0] * right + [0.0] * wrong])
    similarity = torch.rand(1, 10, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    selected = select_mmr(correct, similarity, correct, count=count)
    assert (*places(selected, correct == 1), *places(selected, correct == 0)) == expected


def test_an_unknown_verdict_counts_with_the_wrong_ones():
    inputs = mixed(4)
    wrong = inputs | {"correct": inputs["correct"].nan_to_num(0.0)}
    assert torch.equal(of(select_mmr, inputs, 4), of(select_mmr, wrong, 4))


def test_copies_are_picked_last():
    """Of each kind five completions, each of which occurs three times: six places go to six different ones."""
    rows = torch.rand(20, 10, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = torch.nn.functional.normalize(rows.repeat(1, 3, 1), dim=-1)
    correct = torch.tensor([1.0] * 5 + [0.0] * 5).repeat(3).expand(20, 30)
    for row in select_mmr(correct, rows @ rows.mT, correct, count=10):
        assert {i % 10 for i in chosen(row)} == {*range(10)}


def test_ways_get_about_equally_many_places():
    """Ways of 9, 4 and 2 right completions: six places are two for each, and eight are three for the common ones."""
    keys = torch.tensor([[1] * 9 + [2] * 4 + [3] * 2])
    correct, similarity = torch.ones(1, 15), (keys.unsqueeze(1) == keys.unsqueeze(2)).float()
    for count, expected in ((3, [1, 1, 1]), (6, [2, 2, 2]), (8, [3, 3, 2])):
        selected = select_mmr(correct, similarity, correct, count=count)
        assert [places(selected, keys == way)[0] for way in (1, 2, 3)] == expected


def test_the_highest_reward_of_each_kind_is_always_selected_and_a_crowd_is_not():
    inputs = mixed(5, B=200, unscored=0.0)
    selected = of(select_mmr, inputs, 4)
    for kind in (inputs["correct"] == 1, inputs["correct"] != 1):
        best = inputs["rewards"].masked_fill(~kind, -1.0).argmax(-1, keepdim=True)
        assert selected.gather(1, best)[kind.any(-1)].all()
    right = inputs["correct"] == 1
    pairs = inputs["similarity"].masked_fill(torch.eye(8, dtype=torch.bool), -1.0)

    def likeness(part):
        """The largest similarity of two right completions of a part; -1 where it has fewer."""
        among = part & right
        return pairs.where(among.unsqueeze(1) & among.unsqueeze(2), -1.0).amax((1, 2))

    other = of(select_random, inputs, 4)
    compared = ((selected & right).sum(-1) == 2) & ((other & right).sum(-1) == 2)
    assert compared.sum() > 50
    assert likeness(selected)[compared].mean() < likeness(other)[compared].mean() - 0.1


# The control


def test_every_subset_has_the_same_chance():
    """Over 20,000 groups of six, of which five are scored: 10 subsets, chi-squared below its 99.9 % point."""
    rewards = torch.rand(20_000, 6, generator=torch.Generator().manual_seed(0))
    rewards[:, 2] = NAN
    selected = [tuple(sorted(chosen(row))) for row in select_random(rewards, torch.ones(20_000, 6).long(), count=2)]
    counts = [selected.count(subset) for subset in itertools.combinations((0, 1, 3, 4, 5), 2)]
    assert sum(counts) == 20_000
    assert sum((count - 2000) ** 2 / 2000 for count in counts) < 27.9


def test_seeds_and_lengths_draw_anew_and_equal_groups_draw_alike():
    draw = torch.Generator().manual_seed(0)
    rewards, lengths = torch.zeros(300, 6), torch.randint(1, 99, (300, 6), generator=draw)
    by_lengths = {tuple(row) for row in select_random(rewards, lengths, count=3).tolist()}
    same = lengths[:1].expand(300, 6)
    by_seeds = {tuple(select_random(rewards[:1], same[:1], count=3, seed=seed)[0].tolist()) for seed in range(300)}
    assert len(by_lengths) == len(by_seeds) == math.comb(6, 3)
    assert len({tuple(row) for row in select_random(rewards, same, count=3).tolist()}) == 1


# What a rule must be given


@pytest.mark.parametrize("count", [1, 0, -2, 2.0, True, "4", None])
@pytest.mark.parametrize("name", SELECTIONS)
def test_a_count_below_two_or_of_another_type_is_refused(name, count):
    with pytest.raises(ValueError, match="count must be a whole number of 2 or more, got"):
        of(SELECTIONS[name], groups(0), count)
    with pytest.raises(ValueError, match="select's count must be a whole number of 2 or more, got"):
        bind_selection(name, count, {}, "select")


def test_wrong_inputs_are_refused():
    inputs = groups(0, unscored=0.0)
    rewards, similarity, correct = (inputs[name] for name in ("rewards", "similarity", "correct"))
    with pytest.raises(ValueError, match=r"select_mmr's similarity must be floating-point \[B, G, G\]"):
        select_mmr(rewards, similarity[0], correct, count=2)
    with pytest.raises(ValueError, match=r"select_mmr's correct must be 1, 0, or NaN .*, got 0\.5"):
        select_mmr(rewards, similarity, correct / 2, count=2)
    with pytest.raises(ValueError, match=r"select_random's lengths must be \[B, G\], here \[5, 6\] .*, got \[6\]"):
        select_random(rewards, inputs["lengths"][0], count=2)
    with pytest.raises(ValueError, match="select_max_variance's rewards must be finite"):
        select_max_variance(rewards / 0, count=2)


# In a trainer


def first(rewards, *, count, skip=0):
    """A user's rule: the first `count` scored ones."""
    scored = ~rewards.isnan()
    return scored & (scored.cumsum(-1) > skip) & (scored.cumsum(-1) <= count + skip)


@pytest.mark.parametrize(
    ("rule", "options", "function"),
    [
        ("mmr", {}, select_mmr),
        ("random", {"seed": 3}, functools.partial(select_random, seed=3)),
        (select_max_variance, {}, select_max_variance),
        ("test_selection.first", {"skip": 1}, functools.partial(first, skip=1)),
        (first, {}, first),
    ],
    ids=["mmr", "random, seed 3", "max_variance, the function", "a path", "a function"],
)
def test_settings_bind_a_rule(rule, options, function):
    inputs = mixed(6)
    select = bind_selection(rule, 3, options, "select")
    assert torch.equal(choose(select, inputs), of(function, inputs, 3))
    check_functions(select=select)


def test_no_rule_selects_nothing():
    assert bind_selection(None, None, {}, "select") is None


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        ("mrm", {}, "No rule of select is called 'mrm'; did you mean 'mmr'. There are mmr, max_variance, random"),
        ("mmr", {"lam": 0.5}, "select 'select_mmr' takes the options count, got 'lam'"),
        ("mmr", {"count": 5}, "options of select 'select_mmr' must not contain count"),
        ("random", {"seed": "a"}, "options of select 'select_random', .'seed': 'a'., have a wrong type"),
        (lambda rewards: rewards > 0, {}, "takes no options, got 'count'"),
        (lambda scores, *, count: scores > 0, {}, "select '<lambda>' must name its inputs, got 'scores'"),
        (lambda rewards, *, count: rewards == rewards.max(), {}, None),
        (lambda rewards, *, count: ~rewards.isinf(), {}, "must leave out unscored completions"),
    ],
    ids=range(8),
)
def test_settings_that_bind_no_rule_are_refused(rule, options, message):
    if message is None:
        assert bind_selection(rule, 4, options, "select")
    else:
        with pytest.raises(ValueError, match=message):
            bind_selection(rule, 4, options, "select")


def test_a_missing_input_is_named():
    with pytest.raises(ValueError, match="select 'select_mmr' must be given similarity, which is missing here"):
        choose(bind_selection("mmr", 2, {}, "select"), {"rewards": torch.ones(1, 4), "correct": torch.ones(1, 4)})


REWARDS = torch.tensor([[1.0, NAN, 0.0, 0.5], [1.0, 2.0, 0.0, 0.5]])
GOOD = torch.tensor([[True, False, True, False], [True, True, False, False]])


@pytest.mark.parametrize("returned", [GOOD, GOOD.numpy(), GOOD.tolist(), list(GOOD), tuple(map(tuple, GOOD.tolist()))])
def test_a_rule_may_return_tensors_arrays_and_lists(returned):
    selected = choose(functools.partial(lambda rewards, *, count: returned, count=2), {"rewards": REWARDS})
    assert selected.dtype == torch.bool and torch.equal(selected, GOOD)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (GOOD.float(), r"'own' must return truth values, torch.bool, got torch.float32"),
        (GOOD.long(), r"'own' must return truth values, torch.bool, got torch.int64"),
        (np.array([[0, 2], [1, 2]]), r"'own' must return truth values, torch.bool, got torch.int64"),
        (GOOD[0], r"'own' must return \[B, G\], here \[2, 4\], got \[4\]"),
        (GOOD.T, r"'own' must return \[B, G\], here \[2, 4\], got \[4, 2\]"),
        (~GOOD, "'own' must leave out unscored completions, whose reward is NaN, got one selected"),
        (~REWARDS.isnan(), "'own' must select at most 2 completions of a group, its count, got 4"),
        (None, "'own' must return a tensor, an array or lists of numbers, got NoneType"),
    ],
    ids=range(8),
)
def test_what_a_rule_may_not_return_is_named(returned, message):
    def own(rewards, *, count):
        return returned

    with pytest.raises(ValueError, match=message):
        choose(functools.partial(own, count=2), {"rewards": REWARDS})


def test_a_rule_works_on_copies():
    def writes(rewards, *, count):
        rewards.fill_(7.0)
        return GOOD

    given = REWARDS.clone()
    choose(functools.partial(writes, count=2), {"rewards": given})
    assert_close(given, REWARDS, rtol=0, atol=0, equal_nan=True)
