"""Methods from similarity: equal to recorded outputs, exact for copies, and true to what they promise."""

import math
from functools import partial

import pytest
import reference
import reference_similarity
import test_methods
import torch
from family import cases
from test_methods import length
from torch.testing import assert_close

from manypaths.embed import NgramEmbedder
from manypaths.keys import same_key
from manypaths.methods import cosine_similarity, evol, logdet, setpo
from manypaths.methods.bind import bind
from manypaths.methods.diagnostics import collected
from manypaths.methods.inputs import inputs_of
from manypaths.rewards import REWARDS

train = test_methods.train
NAN = math.nan
BONUSES = [setpo, logdet]
ALL = [*BONUSES, evol]


def of(method, inputs):
    return method(*(inputs[name] for name in inputs_of(method, "advantage")))


def bonus(method, similarity):
    """The bonus alone, of a group in which everything is scored."""
    nothing = torch.zeros(similarity.shape[:2], dtype=torch.float64)
    return method(nothing, nothing, similarity, weight=1.0)


def random_groups(seed, B, G, width=16, dtype=torch.float64):
    rng = torch.Generator().manual_seed(seed)
    return cosine_similarity(torch.randn(B, G, width, generator=rng, dtype=dtype) + seed % 3)


def copies_of(texts, seed=0, dtype=torch.float64):
    """Similarity of completions that are copies where `texts` are equal, [1, G, G]."""
    rows = torch.randn(max(texts) + 1, 16, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return cosine_similarity(rows[texts].unsqueeze(0))


# Recorded outputs


@pytest.mark.parametrize("case", cases("setpo"), ids=lambda case: case.name)
def test_setpo_equals_the_public_code(case):
    """It computes in float32: torch's tolerances for that."""
    made = bonus(setpo, case.inputs["similarity"]).float()
    assert_close(made, case.expected["bonus"].float())


@pytest.mark.parametrize("case", cases("log_det"), ids=lambda case: case.name)
def test_logdet_equals_its_recorded_outputs(case):
    assert_close(bonus(logdet, case.inputs["similarity"]), case.expected["bonus"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("case", cases("evol_rl"), ids=lambda case: case.name)
@pytest.mark.parametrize("tolerance", [0.0, 1e-4])
def test_evol_equals_the_released_code(case, tolerance):
    """The similarities are recorded with seven digits, which the scaling to a band blows up."""
    made = of(partial(evol, tolerance=tolerance), case.inputs)
    assert_close(made, case.expected["adjusted"], rtol=0, atol=2e-5)


def test_there_are_23_groups_and_evol_lacks_the_one_of_copies():
    assert [len(cases(name)) for name in ("setpo", "log_det", "evol_rl")] == [23, 23, 22]
    assert "copies" not in {case.name for case in cases("evol_rl")}


# Bonuses on advantages


@pytest.mark.parametrize("method", BONUSES)
def test_the_bonus_is_added_with_its_weight_and_reported_without(method):
    inputs = test_methods.groups(3)
    scored = ~inputs["rewards"].isnan()
    plain = of(partial(method, weight=0.0), inputs)
    assert torch.equal(plain[scored], inputs["advantages"][scored])
    for weight in (1.0, -2.5):
        with collected() as diagnostics:
            made = of(partial(method, weight=weight), inputs)
        reported = diagnostics[method.__name__]
        assert torch.equal(reported.isnan(), ~scored)
        assert_close((made - plain)[scored], weight * reported[scored])
        assert not made[~scored].any()


@pytest.mark.parametrize("method", BONUSES)
def test_neither_rewards_nor_advantages_change_the_bonus(method):
    inputs = test_methods.groups(4)
    other = inputs | {"rewards": -7 * inputs["rewards"], "advantages": inputs["advantages"] + 3}
    scored = ~inputs["rewards"].isnan()
    assert_close((of(method, other) - 3)[scored], of(method, inputs)[scored])


@pytest.mark.parametrize("method", BONUSES)
@pytest.mark.parametrize("G", [2, 3, 8, 64])
def test_the_rarer_completion_gets_the_larger_bonus(method, G):
    """G - 1 copies and one of another direction; copies get the same."""
    texts = [0] * (G - 1) + [1]
    made = bonus(method, copies_of(texts).clamp(0.0, 1.0))[0]
    assert_close(made[: G - 1], made[:1].expand(G - 1))
    assert G == 2 or made[-1] > made[0]


@pytest.mark.parametrize("method", BONUSES)
def test_the_only_scored_completion(method):
    """SetPO leaves its bonus open, here 0; DQO's is log det(1 + 1)."""
    rewards = torch.tensor([[NAN, 2.0, NAN], [NAN, NAN, NAN]])
    similarity = torch.full((2, 3, 3), NAN).masked_fill(torch.eye(3, dtype=torch.bool), 1.0)
    made = method(rewards, torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0]]), similarity, weight=1.0)
    expected = 0.5 + (math.log(2) if method is logdet else 0.0)
    assert_close(made, torch.tensor([[0.0, expected, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("method", BONUSES)
@pytest.mark.parametrize("weight", [NAN, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_refused(method, weight):
    with pytest.raises(ValueError, match=f"{method.__name__}'s weight must be a finite number, got"):
        bind("advantage", method.__name__, {"weight": weight}, "method.advantage")


# SetPO


def test_four_completions_of_which_three_are_alike():
    near = torch.full((1, 4, 4), 0.9, dtype=torch.float64)
    near[0, 3] = near[0, :, 3] = 0.2
    near[0].fill_diagonal_(1.0)
    right = torch.ones(1, 4, dtype=torch.float64)

    def shown(values):
        return [round(value, 3) for value in values[0].tolist()]

    assert shown(bonus(setpo, near)) == [-0.022, -0.022, -0.022, 0.155]
    assert shown(bonus(logdet, near)) == [0.364, 0.364, 0.364, 0.677]
    assert shown(evol(right, right, near)) == [0.5, 0.5, 0.5, 1.0]
    verdicts = torch.tensor([[1.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    assert shown(evol(right, verdicts, near)) == [0.75, 0.75, 0.75, -0.5]


@pytest.mark.parametrize("G", [2, 5, 64])
def test_setpo_gives_copies_nothing_and_different_ones_the_same(G):
    """All copies: D is -log 2 with and without one. All different: -log(1 + 1/G) less -log(1 + 1/(G - 1))."""
    assert_close(bonus(setpo, torch.ones(1, G, G)), torch.zeros(1, G).double(), atol=1e-12, rtol=0)
    expected = math.log1p(1 / (G - 1)) - math.log1p(1 / G)
    assert_close(bonus(setpo, torch.eye(G).unsqueeze(0)), torch.full((1, G), expected).double())


def test_similarities_below_zero_count_as_zero_in_setpo_and_evol():
    similarity, (rewards, correct) = random_groups(0, 3, 6), torch.ones(2, 3, 6).double()
    assert (similarity < 0).any()
    for method in (partial(setpo, rewards, rewards), partial(evol, rewards, correct)):
        assert torch.equal(method(similarity), method(similarity.clamp(min=0)))


# The log-determinant


@pytest.mark.parametrize("G", [1, 2, 7, 16, 64])
def test_one_factorisation_equals_all_determinants(G):
    """Of random groups and of ones of copies, in float64 and, for float32 similarities, to their precision."""
    texts = (torch.arange(G) % max(G // 3, 1)).tolist()
    for similarity in (random_groups(G, 1, G), copies_of(texts), torch.ones(1, G, G).double()):
        expected = torch.tensor([reference_similarity.volume_bonus(similarity[0].tolist())], dtype=torch.float64)
        assert_close(bonus(logdet, similarity), expected, rtol=1e-11, atol=1e-12)
        assert_close(bonus(logdet, similarity.float()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [[64], [1] * 64, [32, 32], [40, 20, 3, 1], [2, 1], [1]])
def test_logdet_of_classes_of_copies_has_a_closed_form(sizes):
    """A class of m copies adds log(m + 1) to the determinant; one copy fewer adds log m."""
    keys = torch.cat([torch.full((m,), key) for key, m in enumerate(sizes)]).unsqueeze(0)
    made = bonus(logdet, same_key(keys))[0]
    expected = torch.cat([torch.full((m,), math.log((m + 1) / m), dtype=torch.float64) for m in sizes])
    assert_close(made, expected, rtol=1e-13, atol=0)


def test_the_bonus_of_logdet_lies_between_0_and_log_2():
    for seed in range(12):
        made = bonus(logdet, random_groups(seed, 8, 1 + 5 * seed, dtype=torch.float32))
        assert (made > 0).all() and (made <= math.log(2) + 1e-6).all()


def test_logdet_centred_is_the_bonus_as_a_reward_of_dr_grpo():
    """Rewards plus the weighted bonus, less their mean."""
    inputs = test_methods.groups(6)
    rewards, scored = inputs["rewards"], ~inputs["rewards"].isnan()
    centred = {"advantages": rewards - rewards.nanmean(-1, keepdim=True)}
    made = of(partial(logdet, weight=0.7, centre=True), inputs | centred)
    raised = rewards + of(partial(logdet, weight=0.7), inputs | {"advantages": torch.zeros_like(rewards)})
    assert_close(made[scored], (raised - raised.nanmean(-1, keepdim=True))[scored])


def test_a_similarity_that_is_not_positive_semi_definite_is_refused():
    similarity = 2 * torch.eye(4).unsqueeze(0) - 1  # 1 on the diagonal and -1 elsewhere: an eigenvalue of -2
    with pytest.raises(ValueError, match="logdet's similarity must be positive semi-definite"):
        bonus(logdet, similarity)
    rewards = torch.tensor([[1.0, NAN, 0.0, NAN]])  # of the scored ones it is
    assert logdet(rewards, torch.zeros(1, 4), similarity).isfinite().all()


# EVOL-RL


@pytest.mark.parametrize("seed", range(8))
def test_the_bands_of_evol(seed):
    """Right ones earn 0.5 to 1, and both ends are taken; wrong ones -1 to -0.5; none passes the other band."""
    rng = torch.Generator().manual_seed(seed)
    correct = torch.randint(0, 2, (20, 9), generator=rng).double()
    rewards = torch.randn(20, 9, generator=rng, dtype=torch.float64)
    made = evol(rewards, correct, random_groups(seed, 20, 9))
    for verdict, low in ((1, 0.5), (0, -1.0)):
        for group in range(20):
            members = made[group][correct[group] == verdict]
            if len(members) > 2:
                assert_close(torch.stack([members.min(), members.max()]), torch.tensor([low, low + 0.5]).double())
            elif len(members) == 2:  # equally novel if each is most like the other
                assert members.min() >= low and members.max() <= low + 0.5 and members.sum() == 2 * low + 0.5
            else:
                assert (members == low + 0.5).all()
    assert torch.equal(made, evol(3 * rewards - 7, correct, random_groups(seed, 20, 9)))


def test_rounding_does_not_spread_copies_over_the_band_and_does_in_the_released_code():
    """Two pairs of copies, similarities of float32: all four are equally novel."""
    spread = 0
    for seed in range(200):
        similarity = copies_of([0, 0, 1, 1], seed, torch.float32).double()
        right = torch.ones(1, 4, dtype=torch.float64)
        assert_close(evol(right, right, similarity), torch.full_like(right, 0.75), rtol=0, atol=0)
        spread += evol(right, right, similarity, tolerance=0.0).max().item() == 1.0
    assert spread > 50


@pytest.mark.parametrize(("gap", "expected"), [(2e-5, [0.75, 0.75, 0.75]), (1e-3, [0.5, 0.5, 1.0])])
def test_the_tolerance_of_evol(gap, expected):
    similarity = torch.full((1, 3, 3), 0.9, dtype=torch.float64)
    similarity[0, 2] = similarity[0, :, 2] = 0.9 - 2 * gap
    right = torch.ones(1, 3, dtype=torch.float64)
    assert_close(evol(right, right, similarity), torch.tensor([expected]).double())


def test_all_copies_earn_the_middle_of_their_band():
    correct = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0]])
    made = evol(torch.zeros(1, 5), correct, torch.ones(1, 5, 5))
    assert_close(made, torch.tensor([[0.75, 0.75, 0.75, -0.75, -0.75]]))


def test_a_completion_of_an_unknown_verdict_keeps_its_reward_and_changes_no_other():
    correct = torch.tensor([[1.0, NAN, 0.0, 1.0, NAN, 0.0, 1.0]], dtype=torch.float64)
    rewards, similarity = torch.linspace(-1, 1, 7).double().unsqueeze(0), random_groups(1, 1, 7)
    made, known = evol(rewards, correct, similarity), ~correct[0].isnan()
    alone = evol(rewards[:, known], correct[:, known], similarity[:, known][:, :, known])
    assert torch.equal(made[:, ~known], rewards[:, ~known])
    assert_close(made[:, known], alone)
    nobody = torch.full_like(correct, NAN)
    assert torch.equal(evol(rewards, nobody, similarity), rewards)


@pytest.mark.parametrize("tolerance", [-1e-9, NAN, math.inf])
def test_another_tolerance_is_refused(tolerance):
    with pytest.raises(ValueError, match="evol's tolerance must be a finite number of at least 0, got"):
        bind("reweight", "evol", {"tolerance": tolerance}, "method.reweight")


def test_a_reward_in_the_place_of_a_verdict_is_refused():
    with pytest.raises(ValueError, match=r"evol's correct must be 1, 0, or NaN .* got 1\.1"):
        evol(torch.ones(1, 2), torch.tensor([[1.1, 0.0]]), torch.eye(2).unsqueeze(0))


# All of them


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_is_kept_and_empty_batches_pass(method, dtype):
    inputs = {name: values.to(dtype) for name, values in test_methods.groups(2).items() if values.is_floating_point()}
    inputs["similarity"] = inputs["similarity"].clamp(-1, 1)
    made = of(method, inputs)
    assert made.dtype == dtype and torch.equal(made.isnan(), inputs["rewards"].isnan() & (method is evol))
    for shape in ((0, 4), (2, 0)):
        empty = torch.zeros(shape, dtype=dtype)
        given = {"rewards": empty, "advantages": empty, "correct": empty, "similarity": torch.zeros(*shape, shape[1])}
        assert of(method, given).shape == shape


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("rubbish", [NAN, math.inf, -7.0])
def test_the_similarity_of_an_unscored_completion_may_be_anything(method, rubbish):
    inputs = test_methods.groups(5)
    unscored = inputs["rewards"].isnan()
    pairs = unscored.unsqueeze(1) | unscored.unsqueeze(2)
    other = inputs | {"similarity": inputs["similarity"].masked_fill(pairs, rubbish)}
    assert torch.equal(of(method, other).nan_to_num(9.0), of(method, inputs).nan_to_num(9.0))


@pytest.mark.parametrize("method", ALL)
def test_a_similarity_that_cannot_be_right_is_refused(method):
    inputs = test_methods.groups(5, unscored=0)
    for similarity, message in ((inputs["similarity"] * 2, r"in \[-1, 1\]"), (inputs["similarity"][0], r"\[B, G, G\]")):
        with pytest.raises(ValueError, match=f"{method.__name__}'s similarity must be .*{message}"):
            of(method, inputs | {"similarity": similarity})


# In the trainer, from the recipes


def centred(rewards):
    return [reward - sum(rewards) / len(rewards) for reward in rewards]


def by_hand(recipe, raw, correct, similarity, own):
    """Advantages of one group; `own` makes the host's of rewards."""
    if recipe == "evol":
        return own(reference_similarity.evol(rewards=raw, correct=correct, similarity=similarity))
    options = {"weight": 0.5, "centre": True} if recipe == "logdet" else {}
    oracle = getattr(reference_similarity, recipe)
    return oracle(rewards=raw, advantages=own(raw), similarity=similarity, **options)


def half_right(completions, **_):
    return [float(sum(map(ord, text)) % 2) for text in completions]


@pytest.mark.parametrize("variant", ["grpo", "dr-grpo", "dapo"])
@pytest.mark.parametrize("recipe", ["setpo", "logdet", "evol"])
def test_three_steps_have_the_advantages_of_the_closed_form(train, monkeypatch, recipe, variant):
    monkeypatch.setitem(REWARDS, "accuracy", half_right)
    _, steps = train(variant, recipe, "trainer.num_generations=8", "method.correct=accuracy")
    assert len(steps) == 3
    own = centred if variant == "dr-grpo" else reference.advantages
    for texts, trained in ((step["completion"], step["advantages"]) for step in steps):  # one group
        correct, rows = half_right(texts), NgramEmbedder()(texts).double()
        raw = [a + 0.1 * b for a, b in zip(correct, length(texts), strict=True)]
        expected = by_hand(recipe, raw, correct, (rows @ rows.T).tolist(), own)
        assert_close(torch.tensor(trained), torch.tensor(expected), rtol=1e-4, atol=1e-3)
        assert any(abs(a - b) > 0.01 for a, b in zip(expected, own(raw), strict=True))
