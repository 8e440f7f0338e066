"""Methods from verdicts: equal to released code, true to the papers' claims, and a closed form in the trainer."""

import itertools
import math
from fractions import Fraction
from functools import partial

import pytest
import reference
import reference_verdicts
import test_methods
import torch
from family import cases
from torch.testing import assert_close

from manypaths.methods import ADVANTAGES, focal, maxrl, nsr, passk, pkpo, psr, w_reinforce
from manypaths.methods.diagnostics import collected
from manypaths.methods.inputs import inputs_of
from manypaths.methods.pkpo import ESTIMATORS
from manypaths.methods.subsets import current_k, share_within

NAN = math.nan
train = test_methods.train  # a fixture
START = torch.tensor(0.0)


def of(method, **inputs):
    """What a method makes of a case's inputs, at the beginning of the training."""
    return method(*(inputs.get(name, START) for name in inputs_of(method, "advantage")))


def binary(G, n):
    """Verdicts of one group, n of G right, as rewards and as `correct`."""
    verdicts = (torch.arange(G) < n).double().unsqueeze(0)
    return {"rewards": verdicts, "correct": verdicts}


def ids(case):
    return case.name


# Released code, and the code of third parties


@pytest.mark.parametrize("case", cases("maxrl_binary"), ids=ids)
def test_maxrl_equals_the_released_code_on_verdicts(case):
    assert_close(of(maxrl, **case.inputs), case.expected["advantage"])


@pytest.mark.parametrize("case", cases("maxrl"), ids=ids)
def test_maxrl_with_partial_credit_equals_the_released_code_on_rewards(case):
    released = partial(maxrl, partial_credit=True, eps=1e-6)
    if case.name == "negative rewards":
        assert case.expected["advantage"].argmax() == case.inputs["rewards"].argmin()  # the worst one is reinforced
        with pytest.raises(ValueError, match=r"must not be negative with partial_credit, got -0\.967"):
            of(released, **case.inputs)
    else:
        assert_close(of(released, **case.inputs), case.expected["advantage"])


@pytest.mark.parametrize("case", cases("pass_at_k_training"), ids=ids)
def test_passk_equals_the_released_code(case):
    assert_close(of(partial(passk, eps=1e-6, **case.options), **case.inputs), case.expected["advantage"])


@pytest.mark.parametrize("case", cases("pkpo"), ids=ids)
def test_pkpo_equals_the_papers_listing(case):
    assert {"s", "sloo_minus_one"} <= case.expected.keys()
    for estimator in ESTIMATORS:
        if estimator in case.expected:
            made = of(partial(pkpo, estimator=estimator, **case.options), **case.inputs)
            assert_close(made, case.expected[estimator])


@pytest.mark.parametrize("case", cases("pkpo_binary_loo"), ids=ids)
def test_the_baseline_of_maxrls_authors_is_pkpo_without_its_factor_less_the_mean_of_the_others(case):
    k, (_, G) = case.options["k"], case.inputs["correct"].shape
    weights = pkpo(case.inputs["correct"], START, k=k) * G / k
    others = (weights.sum(-1, keepdim=True) - weights) / (G - 1)
    assert_close(weights - others, case.expected["advantage"])


MODES = {"positive": psr, "negative": nsr, "weighted": w_reinforce}


@pytest.mark.parametrize("case", cases("psr_nsr"), ids=ids)
def test_psr_and_nsr_equal_the_released_code(case):
    assert_close(of(MODES[case.options["mode"]], **case.inputs), case.expected["advantage"])


@pytest.mark.parametrize("case", cases("focal"), ids=ids)
def test_focal_on_grpo_equals_the_code_of_ucpos_authors(case):
    correct = case.inputs["correct"]
    grpo = (correct - correct.mean()) / (correct.std() + 1e-8)
    assert_close(of(partial(focal, **case.options), advantages=grpo, correct=correct), case.expected["advantage"])


# Worked numbers: what a right completion gets more than a wrong one, by the number that is right


def advantages_of(method, G, n):
    grpo = torch.tensor([reference.advantages(binary(G, n)["rewards"][0].tolist())], dtype=torch.float64)
    return of(method, advantages=grpo, **binary(G, n))


@pytest.mark.parametrize(
    ("method", "of_8", "of_16"),
    [
        (maxrl, [8, 4, 2, 1.33, 1.14], [16, 8, 4, 2, 1.33, 1.07]),
        (partial(passk, k=2), [1.98, 1.43, 1.04, 0.77, 0], [2.82, 2.02, 1.47, 1.10, 0.92, 0]),
        (partial(passk, k=4), [1.14, 0.70, 0.24, 0, 0], [1.85, 1.26, 0.81, 0.40, 0.09, 0]),
        (partial(passk, k=8), [0, 0, 0, 0, 0], [1.07, 0.63, 0.27, 0.02, 0, 0]),
        (partial(pkpo, k=4), [0.500, 0.286, 0.057, 0, 0], [0.250, 0.200, 0.121, 0.031, 0.002, 0]),
        (focal, [2.65, 1.87, 1.32, 1.08, 1.00], [3.87, 2.74, 1.94, 1.37, 1.12, 1.00]),
        (partial(focal, gamma=1.0), [2.47, 1.62, 0.94, 0.54, 0.35], [3.75, 2.56, 1.68, 0.97, 0.56, 0.25]),
    ],
)
def test_the_gap_between_right_and_wrong(method, of_8, of_16):
    for G, counts, expected in ((8, (1, 2, 4, 6, 7), of_8), (16, (1, 2, 4, 8, 12, 15), of_16)):
        gaps = [advantages_of(method, G, n)[0] for n in counts]
        gaps = torch.stack([values[0] - values[-1] for values in gaps])
        assert_close(gaps, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=0.0051)


def test_four_rewards_through_pkpo():
    rewards = torch.tensor([[0, 0.2, 0.5, 1]], dtype=torch.float64)
    assert_close(pkpo(rewards, START, k=2), torch.tensor([[0, 2, 8, 23]]).double() / 60)
    assert_close(pkpo(rewards, START, k=2, estimator="s"), torch.tensor([[17, 17, 20, 30]]).double() / 60)


# Edges: which groups teach


ALL = [maxrl, passk, pkpo, psr, nsr, w_reinforce, focal]
UNTOUCHED = {  # what all get where all are right, all are wrong, and of a group of one that is right
    maxrl: (0, 0, 0),
    passk: (0, 0, 0),
    pkpo: (0, 0, 0),
    psr: (1, 0, 1),
    nsr: (0, -1, 0),
    w_reinforce: (0.1, -1, 0.1),
    focal: (0, 0, 0),
}


@pytest.mark.parametrize("method", ALL)
def test_zero_variance_groups(method):
    all_right, all_wrong, alone = (advantages_of(method, G, n) for G, n in ((8, 8), (8, 0), (1, 1)))
    for made, expected in zip((all_right, all_wrong, alone), UNTOUCHED[method], strict=True):
        assert_close(made, torch.full_like(made, expected), rtol=0, atol=0)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_pkpo_of_equal_rewards_is_equal_and_nothing_under_sloo_minus_one(k, estimator):
    made = pkpo(torch.full((1, 8), 2.5), START, k=k, estimator=estimator)
    assert_close(made, made[:, :1].expand(1, 8))
    assert estimator != "sloo_minus_one" or not made.any()


@pytest.mark.parametrize("method", [maxrl, partial(passk, k=1), partial(passk, k=3), partial(pkpo, k=1)])
def test_advantages_sum_to_zero(method):
    for G in (2, 5, 16, 64):
        for n in range(G + 1):
            made = of(method, **binary(G, n))
            assert_close(made.sum(), torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize("method", ALL)
def test_a_completion_of_an_unknown_verdict_counts_for_nobody(method):
    """Its own advantage is 0; focal alone keeps the one that it has, times the weight. pkpo needs no verdicts."""
    verdicts = torch.tensor([[1.0, NAN, 0.0, 0.0, NAN, 1.0, 0.0, 0.0]], dtype=torch.float64)
    known = ~verdicts.isnan()
    rewards = verdicts.nan_to_num(0.1)
    own = torch.tensor([[1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 0.0, 1.0]], dtype=torch.float64)
    made = of(method, rewards=rewards, correct=verdicts, advantages=own)
    if method is not pkpo:
        alone = of(method, rewards=rewards[known][None], correct=verdicts[known][None], advantages=own[known][None])
        assert_close(made[known][None], alone)
        assert_close(made[~known], own[~known] * (2 / 3) ** 0.5 if method is focal else torch.zeros(2).double())
    unknown = of(method, rewards=rewards, correct=torch.full_like(verdicts, NAN), advantages=own)
    assert method is pkpo or torch.equal(unknown, own if method is focal else torch.zeros_like(own))


@pytest.mark.parametrize("method", [method for method in ALL if "rewards" in inputs_of(method)])
@pytest.mark.parametrize("rubbish", [NAN, 1.0, 0.0, -7.0])
def test_the_verdict_of_an_unscored_completion_changes_nothing(method, rubbish):
    inputs = test_methods.groups(3, G=8)
    unscored = inputs["rewards"].isnan()
    other = inputs | {"correct": inputs["correct"].masked_fill(unscored, rubbish)}
    assert torch.equal(of(method, **other), of(method, **inputs))
    assert not of(method, **inputs)[unscored].any()


@pytest.mark.parametrize("device", ["cpu"] + ["cuda"] * torch.cuda.is_available())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("method", ALL)
def test_dtype_and_device_are_kept_and_empty_batches_pass(method, dtype, device):
    inputs = {name: values.to(device, dtype) for name, values in binary(6, 2).items()}
    with collected() as diagnostics:
        made = of(method, advantages=inputs["rewards"], progress=START.to(device), **inputs)
    assert made.dtype == dtype and made.isfinite().all()
    assert {values.device.type for values in (made, *diagnostics.values())} == {device}
    for shape in ((0, 4), (2, 0)):
        empty = torch.zeros(shape, dtype=dtype, device=device)
        assert of(method, rewards=empty, correct=empty, advantages=empty).shape == shape


# pass@k


def test_pass_at_1_training_is_grpo_with_the_population_standard_deviation():
    for n in range(1, 8):
        verdicts = binary(8, n)["rewards"]
        expected = (verdicts - verdicts.mean()) / verdicts.std(correction=0)
        assert_close(of(partial(passk, k=1), **binary(8, n)), expected)


@pytest.mark.parametrize("k", [1, 2, 4, 7, 8])
def test_where_pass_at_k_training_teaches(k):
    """Where some completion is right and k or more are wrong: with k = G nowhere."""
    for n in range(9):
        made = of(partial(passk, k=k), **binary(8, n))
        assert made.any() == (0 < n <= 8 - k)


@pytest.mark.parametrize("k", [2, 4, 8, 31])
def test_pkpo_of_verdicts_has_its_closed_form_and_is_exact_to_groups_of_64(k):
    for G, n in itertools.product((33, 64), (1, 5, 20, 32)):
        w = G - n
        expected = Fraction(k, G) * Fraction(math.comb(w, k - 1), math.comb(G - 1, k - 1))
        made = of(partial(pkpo, k=k), **binary(G, n))
        assert_close(made[0, :n], torch.full((n,), float(expected), dtype=torch.float64), rtol=1e-13, atol=0)
        assert not made[0, n:].any()


@pytest.mark.parametrize("k", [2, 3, 16, 63, 64])
def test_pkpo_is_exact_in_groups_of_64_of_real_rewards(k):
    """Against fractions of whole numbers, by the order of the rewards instead of enumeration."""
    G = 64
    rewards = torch.randperm(1000, generator=torch.Generator().manual_seed(k))[:G].sort().values
    whole = math.comb(G, k)
    second = [sum((r - q) * math.comb(j, k - 2) for j, q in enumerate(rewards[:i].tolist())) for i, r in
              enumerate(rewards.tolist())]  # fmt: skip
    later = [sum(q * math.comb(j - 1, k - 2) for j, q in enumerate(rewards.tolist()) if j > i) for i in range(G)]
    best = [r * math.comb(i, k - 1) + later[i] for i, r in enumerate(rewards.tolist())]
    for estimator, expected in (("sloo_minus_one", second), ("s", best)):
        made = pkpo(rewards.double().unsqueeze(0), START, k=k, estimator=estimator)
        exact = torch.tensor([float(Fraction(value, whole)) for value in expected], dtype=torch.float64)
        assert_close(made[0], exact, rtol=1e-12, atol=0)


def test_pkpo_moves_and_scales_with_rewards():
    """Of rewards a r + b: a times the weights under sloo_minus_one; s gains b k/G."""
    rewards = test_methods.groups(5, G=9, unscored=0)["rewards"]
    for k in (1, 2, 4):
        assert_close(pkpo(3 * rewards + 100, START, k=k), 3 * pkpo(rewards, START, k=k))
        moved, own = (pkpo(values, START, k=k, estimator="s") for values in (rewards + 100, rewards))
        assert_close(moved, own + 100 * k / 9)


@pytest.mark.parametrize("k", [2, 3])
def test_the_gradients_of_pkpo_are_those_of_the_expected_best_of_k(k):
    """By all draws of G from a policy of three outcomes: the sum of weights times scores is the gradient of max@k."""
    G, values = 4, torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    logits = torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64, requires_grad=True)
    logp = logits.log_softmax(0)
    draws = torch.tensor(list(itertools.product(range(3), repeat=G)))
    chance = logp[draws].sum(-1).exp().detach()
    best = torch.tensor(list(itertools.product(range(3), repeat=k)))
    expected = torch.autograd.grad((logp[best].sum(-1).exp() * values[best].amax(-1)).sum(), logits, retain_graph=True)
    for estimator in ESTIMATORS:
        weights = pkpo(values[draws], START, k=k, estimator=estimator)
        estimated = (chance * (weights * logp[draws]).sum(-1)).sum()
        assert_close(torch.autograd.grad(estimated, logits, retain_graph=True), expected)


def test_the_gradient_of_maxrl_is_that_of_the_sum_of_pass_at_k_over_k():
    """Its centred form has order G - 1 (Theorem 5): the gradient of sum over k < G of pass@k / k."""
    G = 4
    logit = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    logp = torch.stack([torch.nn.functional.logsigmoid(-logit), torch.nn.functional.logsigmoid(logit)])
    draws = torch.tensor(list(itertools.product(range(2), repeat=G)))
    chance = logp[draws].sum(-1).exp().detach()
    weights = maxrl(draws.double(), draws.double()) / G
    estimated = torch.autograd.grad((chance * (weights * logp[draws]).sum(-1)).sum(), logit, retain_graph=True)
    wrong = logp[0].exp()
    objective = sum((1 - wrong**k) / k for k in range(1, G))
    assert_close(estimated, torch.autograd.grad(objective, logit))


def test_the_share_of_subsets_is_a_ratio_of_binomials():
    for whole, part in ((8, 8), (8, 3), (64, 63), (64, 40), (3, 0), (0, 0)):
        for k in (0, 1, 2, 5, 8, 33, 64):
            exact = math.comb(part, k) / math.comb(whole, k) if k <= whole else float(k == 0)
            made = share_within(torch.tensor(float(part)).double(), torch.tensor(float(whole)).double(), k)
            assert_close(made, torch.tensor(exact, dtype=torch.float64), rtol=1e-13, atol=0)


def test_what_is_no_part_of_the_whole_has_no_share():
    whole = torch.tensor(3.0, dtype=torch.float64)
    for part, expected in ((-1.0, 0.0), (5.0, 1.0)):  # more than the whole is the whole
        assert share_within(torch.tensor(part).double(), whole, 2) == expected


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_group_of_few_scored_completions_among_thousands_is_as_alone(estimator):
    rewards = torch.randn(1, 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    padded = torch.cat([rewards, torch.full((1, 2700), NAN, dtype=torch.float64)], dim=1)
    made = pkpo(padded, START, k=290, estimator=estimator)
    assert_close(made[:, :300], pkpo(rewards, START, k=290, estimator=estimator))
    assert not made[:, 300:].any()


# Schedules


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (3, [3, 3, 3, 3, 3, 3, 3]),
        ([4, 1], [4, 4, 3, 3, 2, 1, 1]),  # straight line: 4, 3.5625, 3.0625, 2.5, 1.75, 1.1875, 1
        ([8, 4, 1], [8, 7, 5, 4, 3, 1, 1]),
        ([1, 4], [1, 1, 2, 3, 3, 4, 4]),
        ([2], [2, 2, 2, 2, 2, 2, 2]),
    ],
)
def test_a_schedule_is_a_straight_line_that_is_rounded_with_halves_up(k, expected):
    moments = [0.0, 0.146, 0.313, 0.5, 0.75, 0.938, 1.0]
    assert [current_k("passk", k, torch.tensor(moment)) for moment in moments] == expected
    for method in (passk, pkpo):
        for moment, now in zip(moments, expected, strict=True):
            inputs = binary(8, 2) | {"progress": torch.tensor(moment)}
            with collected() as diagnostics:
                made = of(partial(method, k=k), **inputs)
            assert torch.equal(made, of(partial(method, k=now), **inputs))
            assert diagnostics["k"].tolist() == [float(now)]


@pytest.mark.parametrize("method", [passk, pkpo])
@pytest.mark.parametrize("k", [0, -1, 2.0, 2.5, True, "4", None, [], [4, 0], [4, 1.5], [[4]]])
def test_another_k_is_refused(method, k):
    with pytest.raises(ValueError, match=f"{method.__name__}'s k must be a whole number of 1 or more, or a list"):
        of(partial(method, k=k), **binary(4, 1))


@pytest.mark.parametrize("progress", [-0.1, 1.5, NAN])
def test_a_progress_that_is_no_share_is_refused(progress):
    with pytest.raises(ValueError, match="passk's progress must be the share of the training that is done, 0 to 1"):
        of(passk, progress=torch.tensor(progress), **binary(4, 1))


# What is refused


@pytest.mark.parametrize("method", [maxrl, passk, psr, nsr, w_reinforce])
def test_what_is_no_verdict_is_refused(method):
    rewards = torch.tensor([[1.1, 0.1]])
    with pytest.raises(ValueError, match=rf"{method.__name__}'s correct must be 1, 0, or NaN .* got 1.1\. Pass verdi"):
        of(method, rewards=rewards, correct=rewards)
    with pytest.raises(ValueError, match=rf"{method.__name__}'s correct must be \[B, G\], here \[1, 2\], got \[1, 3\]"):
        of(method, rewards=rewards, correct=torch.zeros(1, 3))
    with pytest.raises(ValueError, match=f"{method.__name__}'s rewards must be floating-point"):
        of(method, rewards=torch.zeros(2), correct=torch.zeros(2))


@pytest.mark.parametrize(
    ("method", "option", "values"),
    [
        (maxrl, "eps", (-1e-6, NAN, math.inf)),
        (passk, "eps", (-1e-6, NAN, math.inf)),
        (w_reinforce, "weight", (-0.1, NAN, math.inf)),
        (focal, "gamma", (-0.5, NAN, math.inf)),
        (pkpo, "estimator", ("loo", "")),
    ],
)
def test_options_out_of_range_are_refused(method, option, values):
    for value in values:
        with pytest.raises(ValueError, match=f"{method.__name__}'s {option} must be "):
            of(partial(method, **{option: value}), advantages=torch.zeros(1, 4), **binary(4, 1))


# In the trainer


def by_hand(method, options, texts, raw, progress):
    """The advantages of a group by the loops of reference_verdicts.py."""
    inputs = {"rewards": raw, "correct": test_methods.accuracy(texts), "advantages": reference.advantages(raw)}
    oracle = getattr(reference_verdicts, method)
    if "k" in options:
        options = options | {"k": current_k(method, options["k"], torch.tensor(progress))}
    names = [name for name in inputs_of(ADVANTAGES[method], "advantage") if name in inputs]
    return oracle(**{name: inputs[name] for name in names}, **options)


RECIPES = {  # by recipe: the method, and options of the run
    "maxrl": ("maxrl", {}),
    "passk": ("passk", {"k": 2}),  # groups of 4 learn nothing with the default, 4
    "pkpo": ("pkpo", {}),
    "psr": ("psr", {}),
    "nsr": ("nsr", {}),
    "w-reinforce": ("w_reinforce", {}),
    "focal": ("focal", {}),
}


@pytest.mark.parametrize("variant", ["grpo", "dr-grpo", "dapo"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_three_steps_have_the_advantages_of_the_closed_form(train, recipe, variant):
    method, options = RECIPES[recipe]
    if method == "passk":
        options = {"k": [2, 1]} if variant == "grpo" else options
    if method == "pkpo" and variant == "grpo":
        options = {"k": [4, 1]}
    overrides = [f"method.advantage_options.{name}={value}" for name, value in options.items()]
    trainer, steps = train(variant, recipe, "method.correct=accuracy", *overrides)
    assert len(steps) == 3 and trainer.importance_ratio
    different = 0
    for number, step in enumerate(steps):
        for texts, raw, trained in test_methods.per_group(step):
            if method == "focal" and variant == "dr-grpo":
                mean = sum(raw) / len(raw)
                own = [reward - mean for reward in raw]
                expected = reference_verdicts.focal(advantages=own, correct=test_methods.accuracy(texts))
            else:
                expected = by_hand(method, options, texts, raw, number / 3)
            assert_close(trained, torch.tensor(expected), rtol=1e-4, atol=1e-4)
            different += len(set(expected)) > 1
    assert different
    if "k" in options:
        sizes = [step["metrics"]["diversity/k"][-1] for step in steps]
        assert sizes == [current_k(method, options["k"], torch.tensor(number / 3)) for number in range(3)]


def test_advantages_after_one_another_in_the_trainer(train):
    """MaxRL, and the focal weight on what it gives."""
    settings = ["method.correct=accuracy", "method.advantage=[maxrl,focal]"]
    _, steps = train("grpo", *settings, "method.advantage_options.focal.gamma=1.0")
    for texts, raw, trained in (group for step in steps for group in test_methods.per_group(step)):
        correct = test_methods.accuracy(texts)
        first = reference_verdicts.maxrl(rewards=raw, correct=correct)
        expected = [own * (1 - sum(correct) / 4) for own in first]
        assert_close(trained, torch.tensor(expected), rtol=1e-4, atol=1e-4)
