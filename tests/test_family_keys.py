"""The methods from keys: recorded outputs, worked numbers, what each promises, and three steps of the real trainer."""

import itertools
import math
from functools import partial

import pytest
import reference
import reference_verdicts
import test_methods
import torch
from family import cases
from test_methods import first_letters, length
from torch.testing import assert_close

from manypaths.keys import NO_KEY
from manypaths.methods import darling, darling_correct, gapo, ips, rarity
from manypaths.methods.bind import bind
from manypaths.methods.diagnostics import collected
from manypaths.methods.inputs import inputs_of
from manypaths.rewards import REWARDS

train = test_methods.train
NAN = math.nan


def of(method, inputs, **options):
    return method(*(inputs[name] for name in inputs_of(method, "advantage")), **options)


def grpo(rewards, epsilon=1e-6):
    """GRPO's advantages with the epsilon of family.json."""
    return (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + epsilon)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


# The recorded outputs

RULES = {"rare_redistributed": "redistributed", "rare_right": "right", "rare_all": "all"}


@pytest.mark.parametrize(("name", "rule"), RULES.items())
def test_rarity_equals_its_recorded_outputs(name, rule):
    for case in cases(name):
        base = grpo(case.inputs["rewards" if rule == "all" else "correct"])
        given = of(rarity, case.inputs | {"advantages": base}, rule=rule, **case.options)
        assert_close(given, case.expected["advantage"], msg=case.name)


@pytest.mark.parametrize(("name", "reading"), [("gapo", "signed"), ("gapo_absolute", "absolute")])
def test_gapo_equals_its_recorded_outputs(name, reading):
    for case in cases(name):
        given = of(gapo, case.inputs, reading=reading, **case.options)
        assert_close(given, case.expected["adjusted"], msg=case.name)


def test_darling_equals_the_released_code():
    for case in cases("darling"):
        ones = case.inputs | {"rewards": torch.ones_like(case.inputs["rewards"])}
        released = partial(darling_correct, released=True)
        for name, method in {"": darling, "_correct": released}.items():
            adjusted = of(method, case.inputs)
            assert_close(of(method, ones), case.expected[f"diversity{name}"], msg=case.name)
            assert_close(adjusted, case.expected[f"adjusted{name}"], msg=case.name)
            assert_close(adjusted - adjusted.mean(), case.expected[f"advantage{name}"], msg=case.name)


def test_darling_differs_from_the_released_code_for_wrong_completions_and_a_lone_right_one_only():
    for case in cases("darling"):
        right = case.inputs["correct"] == 1
        same = right & (right.sum() > 1)
        ours, released = of(darling_correct, case.inputs), case.expected["adjusted_correct"]
        assert_close(ours[same], released[same], msg=case.name)
        assert torch.equal(ours[~same], case.inputs["rewards"][~same])


def test_ips_equals_its_recorded_outputs():
    """Those divide every reward; for rewards of 0 and 1 it is the same."""
    binary = 0
    for case in cases("ips"):
        given = of(ips, case.inputs, partial_credit=True, **case.options)
        assert_close(given, case.expected["adjusted"], msg=case.name)
        if torch.equal(case.inputs["rewards"], case.inputs["correct"]):
            assert torch.equal(of(ips, case.inputs, **case.options), given)
            binary += 1
    assert binary > 20


# Worked numbers: eight completions, the first four are right

RIGHT = row(1, 1, 1, 1, 0, 0, 0, 0)
EIGHT = {"rewards": RIGHT, "correct": RIGHT, "keys": torch.tensor([[0, 0, 0, 1, 2, 2, 3, 4]])}
ON_GRPO = EIGHT | {"advantages": grpo(RIGHT)}


def rounded(values, digits=3):
    return [round(value, digits) for value in values[0].tolist()]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 0.8}, [0.692] * 3 + [1.666] + [-0.935] * 4),
        ({"alpha": 1.0}, [0.624] * 3 + [1.871] + [-0.935] * 4),
        ({"alpha": 0.8, "rule": "right"}, [0.388] * 3 + [0.935] + [-0.935] * 4),
        ({"alpha": 1.0, "rule": "all"}, [0.312] * 3 + [0.935] + [-0.468] * 2 + [-0.935] * 2),
        ({"alpha": 0.5, "rule": "all"}, [0.540] * 3 + [0.935] + [-0.661] * 2 + [-0.935] * 2),
    ],
)
def test_worked_numbers_of_rarity(options, expected):
    assert rounded(of(rarity, ON_GRPO, **options)) == expected


def test_worked_numbers_of_adjusted_rewards():
    assert rounded(of(ips, EIGHT)) == [2.667] * 3 + [8.0] + [0.0] * 4
    assert rounded(grpo(of(ips, EIGHT))) == [0.242] * 3 + [2.174] + [-0.725] * 4
    for reading in ("signed", "absolute"):
        assert rounded(of(gapo, EIGHT, valid=5, reading=reading)) == [0.45] * 3 + [0.95] + [-1.0] * 4
    ones = EIGHT | {"rewards": torch.ones(1, 8)}
    assert rounded(of(darling, ones)) == [0.714] * 3 + [1.0] + [0.857] * 2 + [1.0] * 2
    assert rounded(of(darling_correct, ones, released=True)) == [0.333] * 3 + [1.0] + [0.1] * 4
    for method, expected in {
        darling: [0.321] * 3 + [0.607] + [-0.393] * 4,
        darling_correct: [0.083] * 3 + [0.75] + [-0.25] * 4,
    }.items():
        adjusted = of(method, EIGHT)
        assert rounded(adjusted - adjusted.mean()) == expected


def test_the_readings_of_gapo_differ_for_an_answer_rarer_than_its_share():
    """Nine right completions give one answer and one gives the other, of two: shares .9 and .1."""
    right, keys = torch.ones(1, 10), torch.tensor([[0] * 9 + [1]])
    assert rounded(gapo(right, right, keys, valid=2)) == [0.6] * 9 + [1.4]
    assert rounded(gapo(right, right, keys, valid=2, reading="absolute")) == [0.6] * 10


# Rarity


def groups(seed, B=64, G=8, dtype=torch.float64):
    """Random verdicts, keys and advantages; some completions are unscored, and of some the verdict is unknown."""
    draw = torch.Generator().manual_seed(seed)
    correct = (torch.rand(B, G, generator=draw) < torch.rand(B, 1, generator=draw)).to(dtype)
    rewards = correct + 0.1 * torch.randint(0, 3, (B, G), generator=draw)
    keys = torch.randint(NO_KEY, 2, (B, G), generator=draw)
    correct[torch.rand(B, G, generator=draw) < 0.1] = NAN
    unscored = torch.rand(B, G, generator=draw) < 0.15
    rewards[unscored], correct[unscored] = NAN, NAN
    advantages = torch.randn(B, G, generator=draw, dtype=dtype)
    return {"rewards": rewards, "correct": correct, "keys": keys, "advantages": advantages}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
def test_a_way_that_m_right_completions_go_gets_m_to_1_minus_alpha_of_the_credit(alpha):
    """Eq. 4, and the credit as a whole is kept."""
    inputs = groups(0)
    right = inputs["correct"] == 1
    inputs["advantages"] = torch.where(right, 0.7, -0.4).double()
    given = of(rarity, inputs, alpha=alpha)
    compared = 0
    for b in range(64):
        own, keys = given[b][right[b]], inputs["keys"][b][right[b]]
        assert_close(own.sum(), torch.full_like(own, 0.7).sum())
        ways = [(own[keys == key].sum(), int((keys == key).sum())) for key in set(keys.tolist())]
        for (mass, m), (other, k) in itertools.pairwise(ways):
            assert_close(mass / other, torch.tensor((m / k) ** (1 - alpha)).double())
            compared += m != k
    assert compared > 10
    assert torch.equal(given[~right & ~inputs["rewards"].isnan()].unique(), torch.tensor([-0.4]).double())


def test_one_way_or_one_right_completion_leaves_a_group_as_it_is_unless_credit_is_not_redistributed():
    keys = torch.tensor([[5, 5, 5, 6], [5, 6, 7, 7]])
    correct = torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0]])
    advantages = torch.tensor([[0.5, 0.5, 0.5, -1.5], [1.5, -0.5, -0.5, -0.5]])
    assert_close(rarity(correct, advantages, correct, keys), advantages)
    plain = rarity(correct, advantages, correct, keys, rule="right", alpha=1.0)
    assert_close(plain, torch.tensor([[0.5 / 3] * 3 + [-1.5], [1.5, -0.5, -0.5, -0.5]]))


def test_nothing_right_and_zero_variance_groups_stay():
    keys = torch.tensor([[1, 1, 2]])
    advantages = torch.tensor([[0.3, -0.1, -0.2]])
    for correct in (torch.zeros(1, 3), torch.full((1, 3), NAN)):
        assert torch.equal(rarity(torch.tensor([[0.2, 0.1, 0.0]]), advantages, correct, keys), advantages)
    assert not rarity(torch.ones(1, 3), torch.zeros(1, 3), torch.ones(1, 3), keys).any()


def test_a_right_completion_of_negative_advantage_keeps_it():
    """The rare way, without its reward for form, is not punished for being rare."""
    rewards = row(1.1, 1.1, 1.1, 1.0, 0.0)
    correct, keys = row(1, 1, 1, 1, 0), torch.tensor([[1, 1, 2, 3, 4]])
    advantages = row(0.3, 0.3, 0.3, -0.1, -0.8)
    given = rarity(rewards, advantages, correct, keys, alpha=1.0)
    assert_close(given, row(0.225, 0.225, 0.45, -0.1, -0.8))


def test_the_other_completions_keep_their_advantages_and_unscored_ones_have_none():
    inputs = groups(1)
    unscored = inputs["rewards"].isnan()
    credit = (inputs["correct"] == 1) & (inputs["advantages"] > 0)
    for rule in ("redistributed", "right"):
        given = of(rarity, inputs, rule=rule)
        assert torch.equal(given[~credit & ~unscored], inputs["advantages"][~credit & ~unscored])
        assert not given[unscored].any()
    assert (inputs["correct"].isnan() & ~unscored).any()


def test_the_default_alpha_keeps_weights_in_the_range_that_the_paper_clips_to():
    """Every split of up to 13 right completions into ways, and one of 14; alpha 0.8 leaves it at 8, with 3.2."""

    def splits(n, largest):
        if n == 0:
            yield []
        for m in range(min(n, largest), 0, -1):
            for rest in splits(n - m, m):
                yield [m, *rest]

    def weights(split, **options):
        ones = torch.ones(1, sum(split), dtype=torch.float64)
        keys = torch.tensor([[key for key, m in enumerate(split) for _ in range(m)]])
        return rarity(ones, ones, ones, keys, **options)

    for n in range(1, 14):
        every = torch.cat([weights(split) for split in splits(n, n)])
        assert every.min() >= 0.3 and every.max() <= 3.0
    assert weights([13, 1]).max() > 3.0
    assert round(weights([7, 1], alpha=0.8).max().item(), 1) == 3.2


def test_a_clip_bounds_the_weights():
    ones, keys = torch.ones(1, 8), torch.tensor([[1] * 7 + [2]])
    free = rarity(ones, ones, ones, keys, alpha=1.0)
    assert_close(free, torch.tensor([[4 / 7] * 7 + [4.0]]))
    assert_close(rarity(ones, ones, ones, keys, alpha=1.0, clip=[0.6, 3.0]), free.clamp(0.6, 3.0))


def test_it_reports_the_number_of_ways():
    keys = torch.tensor([[5, 5, 6, NO_KEY, NO_KEY, 9], [1, 2, 3, 4, 5, 6]])
    correct = torch.tensor([[1.0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]])
    with collected() as diagnostics:
        rarity(correct, torch.ones(2, 6), correct, keys)
    assert_close(diagnostics["ways"], torch.tensor([3.0, 0.0]))


# GAPO, DARLING, IPS


def test_gapo_leaves_unknown_verdicts_their_rewards_and_counts_them_for_nobody():
    rewards = torch.tensor([[0.3, 1.0, 1.0, 0.0], [0.3, 0.1, 0.0, 0.2]])
    correct = torch.tensor([[NAN, 1.0, 1.0, 0.0], [NAN] * 4])
    keys = torch.tensor([[7, 7, 8, 7]] * 2)
    assert_close(gapo(rewards, correct, keys), torch.tensor([[0.3, 0.5, 0.5, -1.0], [0.3, 0.1, 0.0, 0.2]]))


def test_gapo_without_the_number_of_answers_is_that_of_very_many():
    inputs = groups(2)
    assert_close(of(gapo, inputs), of(gapo, inputs, valid=1e12), equal_nan=True)


@pytest.mark.parametrize("method", [darling, darling_correct, partial(darling_correct, released=True), ips, gapo])
def test_the_only_scored_completion_is_compared_with_none(method):
    rewards = torch.tensor([[NAN, 1.0, NAN]])
    given = of(method, {"rewards": rewards, "correct": rewards, "keys": torch.tensor([[1, 1, 1]])})
    lone = {"darling_correct": 0.1, "gapo": 0.0}  # the first as released
    name = getattr(method, "__name__", None) or method.func.__name__
    assert_close(given[0, 1].item(), 1.0 if method is darling_correct else lone.get(name, 1.0), rtol=1e-6, atol=0)


def test_ips_does_not_pay_a_rare_wrong_completion_for_its_form():
    """15 of 16 are right in one way; the last has the reward for form alone. Eq. 9 puts it above them."""
    rewards = torch.tensor([[1.1] * 15 + [0.1]])
    correct, keys = torch.tensor([[1.0] * 15 + [0.0]]), torch.tensor([[1] * 15 + [2]])
    adjusted = ips(rewards, correct, keys)
    assert_close(adjusted, torch.tensor([[1.1 * 16 / 15] * 15 + [0.1]]))
    divided = ips(rewards, correct, keys, partial_credit=True)
    assert divided[0, -1] > divided[0, 0]


def test_ips_with_alpha_0_leaves_rewards_and_in_between_takes_the_power():
    ones, keys = torch.ones(1, 4), torch.tensor([[1, 1, 1, 2]])
    assert torch.equal(ips(ones, ones, keys, alpha=0.0), ones)
    assert_close(ips(ones, ones, keys, alpha=0.5), torch.tensor([[0.75**-0.5] * 3 + [2.0]]))
    assert_close(ips(ones, ones, keys, eps=0.5), torch.tensor([[4 / 3] * 3 + [2.0]]))


def test_of_binary_rewards_no_right_completion_falls_below_a_wrong_one():
    inputs = groups(3)
    right, wrong = inputs["correct"] == 1, inputs["correct"] == 0
    for method in (gapo, darling, darling_correct, ips):
        adjusted = of(method, inputs | {"rewards": inputs["correct"]})
        for b in range(64):
            if right[b].any() and wrong[b].any():
                assert adjusted[b][right[b]].min() > adjusted[b][wrong[b]].max() - 1e-9


def test_where_all_are_right_diversity_alone_moves_the_rewards_and_equal_ways_do_not():
    ones = torch.ones(1, 4)
    for method in (gapo, darling, darling_correct, ips):
        one_way, two_ways = (
            of(method, {"rewards": ones, "correct": ones, "keys": torch.tensor([keys])})[0]
            for keys in ([3, 3, 3, 3], [3, 3, 3, 4])
        )
        assert one_way.unique().numel() == 1 and two_ways[3] > two_ways[0]


def test_completions_without_a_key_share_one_way():
    ones, keys = torch.ones(1, 4), torch.tensor([[NO_KEY, NO_KEY, NO_KEY, 5]])
    assert_close(ips(ones, ones, keys), torch.tensor([[4 / 3, 4 / 3, 4 / 3, 4.0]]))


# What cannot be right


@pytest.mark.parametrize("method", [rarity, gapo, darling, darling_correct, ips])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rewards": torch.zeros(8)}, r"rewards must be floating-point \[B, G\]"),
        ({"rewards": torch.full((1, 8), math.inf)}, "rewards must be finite"),
        ({"keys": torch.zeros(1, 8)}, "keys must be whole numbers, such as int64, got torch.float32"),
        ({"keys": torch.zeros(1, 7, dtype=torch.int64)}, r"keys must be \[B, G\], here \[1, 8\] .*, got \[1, 7\]"),
    ],
)
def test_wrong_inputs_are_refused(method, changed, message):
    with pytest.raises(ValueError, match=f"^{method.__name__}'s {message}"):
        of(method, ON_GRPO | changed)


@pytest.mark.parametrize(
    ("role", "name", "options", "message"),
    [
        ("advantage", "rarity", {"alpha": 1.5}, r"rarity's alpha must be in \[0, 1\], got 1.5"),
        ("advantage", "rarity", {"rule": "rare"}, "rule must be one of redistributed, right, all, got 'rare'"),
        ("advantage", "rarity", {"clip": [3.0, 0.3]}, r"clip must be \[least, largest\], .*, got \[3.0, 0.3\]"),
        ("advantage", "rarity", {"clip": 3.0}, "wrong type"),
        ("reweight", "gapo", {"valid": 0}, "valid must be the number of valid answers, at least 1, or null, got 0"),
        ("reweight", "gapo", {"reading": "other"}, "reading must be one of signed, absolute, got 'other'"),
        ("reweight", "gapo", {"reading": "absolute"}, "reading=absolute must come with valid"),
        ("reweight", "darling", {"least": 2.0}, r"darling's least must be in \[0, 1\], got 2.0"),
        ("reweight", "darling_correct", {"least": NAN}, r"darling_correct's least must be in \[0, 1\], got nan"),
        ("reweight", "ips", {"eps": 0.0}, r"eps must be in \(0, 1\], got 0.0"),
        ("reweight", "ips", {"alpha": -1.0}, r"alpha must be in \[0, 1\], got -1.0"),
    ],
)
def test_wrong_options_are_refused_when_they_are_bound(role, name, options, message):
    with pytest.raises(ValueError, match=message):
        bind(role, name, options, f"method.{role}")


# In the trainer, from the recipes


def by_hand(recipe, raw, correct, keys, own):
    """Advantages of one group; `own` makes the host's of rewards."""
    if recipe.endswith("rarity"):
        base = own(raw) if recipe == "rarity" else reference_verdicts.maxrl(rewards=raw, correct=correct)
        return reference.rarity(advantages=base, correct=correct, keys=keys)
    oracle = getattr(reference, recipe.replace("-", "_"))
    inputs = {"rewards": raw, "correct": correct, "keys": keys}
    without = {"gapo": "rewards", "darling": "correct"}.get(recipe)
    return own(oracle(**{name: values for name, values in inputs.items() if name != without}))


def centred(rewards):
    return [reward - sum(rewards) / len(rewards) for reward in rewards]


def mostly_right(completions, **_):
    return [float(sum(map(ord, text)) % 3 > 0) for text in completions]


@pytest.mark.parametrize("variant", ["grpo", "dr-grpo", "dapo"])
@pytest.mark.parametrize("recipe", ["rarity", "maxrl-rarity", "gapo", "darling", "darling-correct", "ips"])
def test_three_steps_have_the_advantages_of_the_closed_form(train, monkeypatch, recipe, variant):
    monkeypatch.setitem(REWARDS, "accuracy", mostly_right)
    of_test = ["keys.name=test_methods.first_letters", "method.correct=accuracy", "trainer.num_generations=8"]
    _, steps = train(variant, recipe, *of_test)
    assert len(steps) == 3
    own = centred if variant == "dr-grpo" else reference.advantages
    moved = 0
    for texts, trained in ((step["completion"], step["advantages"]) for step in steps):  # one group
        correct, keys = mostly_right(texts), first_letters(texts, texts)
        raw = [a + 0.1 * b for a, b in zip(correct, length(texts), strict=True)]
        expected = by_hand(recipe, raw, correct, keys, own)
        # TRL adds up raw rewards and the change: equal sums of these differ by rounding, which GRPO divides by 1e-4.
        assert_close(torch.tensor(trained), torch.tensor(expected), rtol=1e-4, atol=1e-3)
        moved += any(abs(a - b) > 0.01 for a, b in zip(expected, own(raw), strict=True))
    assert moved
