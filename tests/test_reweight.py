"""reweight.py against the authors' released code, the naive equations of reference.py, and the laws it promises."""

import json
import math
from pathlib import Path

import pytest
import reference
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from manypaths.methods import TIES, adaptive_lambda, cosine_similarity, dra, mmr

CASES = json.loads((Path(__file__).parent / "data" / "released_code.json").read_text())["cases"]
FIXED = (0.0, 0.3, 0.5, 0.7, 0.9, 1.0)
DEVICES = ["cpu"] + ["cuda"] * torch.cuda.is_available()
NAN, INF = math.nan, math.inf


def make_groups(seed, B, G, *, ties=False, copies=False, unscored=0.0, width=8):
    """Random rewards [B, G] and embeddings [B, G, D]; `ties`: rewards of 0 or 1; `copies`: equal texts; with NaN."""
    rng = torch.Generator().manual_seed(seed)
    rewards = torch.randn(B, G, generator=rng)
    if ties:
        rewards = (rewards > 0).float()
    embeddings = torch.randn(B, G, width, generator=rng)
    if seed % 2:
        embeddings += 2  # as of answers to one question: no negative similarity
    if copies:
        source = torch.randint(0, max(G // 2, 1), (B, G), generator=rng)
        embeddings = embeddings.gather(1, source.unsqueeze(-1).expand_as(embeddings))
    rewards = rewards.masked_fill(torch.rand(B, G, generator=rng) < unscored, NAN)
    return rewards, torch.nn.functional.normalize(embeddings, dim=-1)


def random_settings(count, dtype=torch.float32):
    """Groups of 1 to 16, of every kind, each with a fixed or the adaptive lambda.

    DRA asks for float64 where similarities may be negative: sums that cancel leave few digits of float32.
    """
    for seed in range(count):
        kind = {"ties": seed % 3 == 0, "copies": seed % 4 == 0, "unscored": (0.0, 0.3)[seed % 5 == 0]}
        rewards, embeddings = make_groups(seed, 2, 1 + seed % 16, **kind)
        yield rewards.to(dtype), cosine_similarity(embeddings.to(dtype)), (None, *FIXED)[seed % 7]


def naive(method, rewards, *similarity, **named):
    """A method of reference.py on each group of a batch."""
    groups = zip(rewards.tolist(), *(matrices.tolist() for matrices in similarity), strict=True)
    return torch.tensor([method(*group, **named) for group in groups], dtype=rewards.dtype)


def full(value, G, dtype=torch.float32):
    return torch.full((1, G, G), value, dtype=dtype).masked_fill(torch.eye(G, dtype=torch.bool), 1.0)


# The authors' released code


def released(*cases):
    """Rewards [B, G] and similarity [B, G, G], the latter rounded from float64: copies of a text are exact ties."""
    similarity = cosine_similarity(torch.tensor([case["embeddings"] for case in cases], dtype=torch.float64)).float()
    return torch.tensor([case["rewards"] for case in cases]), similarity


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_equals_the_released_code(case):
    (rewards, similarity), expected = released(case), case["expected"]
    no_negative = similarity.clamp(min=0)  # as the released code has it
    assert_close(adaptive_lambda(rewards), torch.tensor([expected["mmr_sigmoid_lambda"]]))
    assert_close(mmr(rewards, no_negative, ties="first"), torch.tensor([expected["mmr_sigmoid"]]))
    for lam in FIXED:
        assert_close(mmr(rewards, no_negative, lam=lam, ties="first"), torch.tensor([expected[f"mmr_fixed_{lam}"]]))
    # Where a row sum nearly cancels, float32 leaves its inverse few digits; the sum itself is right everywhere.
    weight, expected_weight = dra(torch.ones_like(rewards), similarity), torch.tensor([expected["dra_weight"]])
    well_conditioned = weight.abs() < 4
    assert_close(1 / weight, 1 / expected_weight)
    assert_close(weight[well_conditioned], expected_weight[well_conditioned])
    assert_close(dra(rewards, similarity)[well_conditioned], torch.tensor([expected["dra"]])[well_conditioned])
    assert_close(dra(rewards, similarity), rewards * weight)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_reference_equals_the_released_code(case):
    (rewards,), (similarity,) = (tensor.tolist() for tensor in released(case))
    expected = case["expected"]
    no_negative = [[max(value, 0.0) for value in row] for row in similarity]
    counts = [1 / weight for weight in reference.dra([1.0] * len(rewards), similarity)]
    for values, published in (
        (reference.adaptive_lambda(rewards), expected["mmr_sigmoid_lambda"]),
        (reference.mmr(rewards, no_negative, ties="first"), expected["mmr_sigmoid"]),
        (counts, [1 / weight for weight in expected["dra_weight"]]),
        (reference.advantages(rewards), expected["advantage_raw"]),
        (reference.advantages(expected["mmr_sigmoid"]), expected["advantage_mmr_sigmoid"]),
    ):
        assert_close(torch.tensor(values), torch.tensor(published))


@pytest.mark.parametrize("G", [2, 4, 6, 8, 16])
def test_released_groups_in_one_batch_equal_one_by_one(G):
    cases = [case for case in CASES if len(case["rewards"]) == G]
    assert len(cases) >= 10
    rewards, similarity = released(*cases)
    similarity = similarity.clamp(min=0)
    expected = torch.tensor([case["expected"]["mmr_sigmoid"] for case in cases])
    assert_close(mmr(rewards, similarity, ties="first"), expected)
    for method in (mmr, dra):
        one_by_one = [method(rewards[[b]], similarity[[b]]) for b in range(len(cases))]
        assert_close(method(rewards, similarity), torch.cat(one_by_one))


def test_there_are_58_released_groups():
    assert len(CASES) == 58


# The naive equations


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mmr_equals_the_reference(ties, dtype):
    for rewards, similarity, lam in random_settings(224, dtype):
        adjusted = mmr(rewards, similarity, lam=lam, ties=ties)
        assert_close(adjusted, naive(reference.mmr, rewards, similarity, lam=lam, ties=ties), equal_nan=True)


def test_dra_and_adaptive_lambda_equal_the_reference():
    for rewards, similarity, _ in random_settings(224, torch.float64):
        assert_close(adaptive_lambda(rewards), naive(reference.adaptive_lambda, rewards))
        assert_close(dra(rewards, similarity), naive(reference.dra, rewards, similarity), equal_nan=True)


@pytest.mark.parametrize("ties", TIES)
def test_lambda_per_group(ties):
    rewards, embeddings = make_groups(3, 5, 6)
    similarity, lam = cosine_similarity(embeddings), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    one_by_one = [mmr(rewards[[b]], similarity[[b]], lam=lam[b].item(), ties=ties) for b in range(5)]
    assert_close(mmr(rewards, similarity, lam=lam, ties=ties), torch.cat(one_by_one))
    assert_close(mmr(rewards, similarity, lam=torch.tensor(0.3)), mmr(rewards, similarity, lam=0.3))


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("kind", [{}, {"ties": True}, {"copies": True}, {"unscored": 0.4}])
def test_reward_only_gives_the_rewards_back(ties, kind):
    rewards, embeddings = make_groups(11, 8, 7, **kind)
    assert_close(mmr(rewards, cosine_similarity(embeddings), lam=1.0, ties=ties), rewards, equal_nan=True)


def test_the_best_keeps_its_reward_and_none_gains_from_a_positive_similarity():
    for seed in (1, 3, 5, 7):
        rewards, embeddings = make_groups(seed, 8, 6)
        similarity = cosine_similarity(embeddings).clamp(min=0)
        adjusted = mmr(rewards, similarity, lam=0.7)
        best = rewards.argmax(-1, keepdim=True)
        assert_close(adjusted.gather(1, best), rewards.gather(1, best))
        others = torch.ones_like(rewards, dtype=torch.bool).scatter(1, best, False)
        assert (adjusted[others] <= (0.7 * rewards)[others] + 1e-6).all()


# The order of the completions


TIED_GROUPS = {
    "binary": ([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], [0, 1, 2, 3, 4, 5]),
    "all equal": ([3.0] * 6, [0, 1, 2, 3, 4, 5]),
    "all equal, copies": ([3.0] * 6, [0, 0, 0, 1, 1, 2]),
    "six copies": ([3.0] * 6, [0] * 6),
    "copies, other rewards": ([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [0, 0, 0, 1, 1, 1]),
    "two, tied": ([1.0, 1.0], [0, 1]),
    "two copies": ([-1.0, -1.0], [0, 0]),
    "two pairs": ([1.0, 1.0, 1.0, 1.0], [0, 0, 1, 1]),
    "two pairs, unequal rewards": ([1.0, 0.0, 1.0, 0.0], [0, 0, 1, 1]),
    "unscored": ([1.0, NAN, 1.0, 0.0, NAN, 1.0], [0, 0, 1, 2, 2, 3]),
}


@pytest.mark.parametrize("name", TIED_GROUPS)
@pytest.mark.parametrize("lam", [None, 0.0, 0.7])
def test_the_order_of_sampling_decides_nothing(name, lam):
    rewards, texts = torch.tensor([TIED_GROUPS[name][0]]), TIED_GROUPS[name][1]
    for seed in range(20):
        embeddings = make_groups(seed, 1, len(texts))[1][:, texts]
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
        similarity, shuffled = cosine_similarity(embeddings), cosine_similarity(embeddings[:, order])
        again = mmr(rewards[:, order], shuffled, lam=lam)
        assert_close(again, mmr(rewards, similarity, lam=lam)[:, order], equal_nan=True)
        similarity = cosine_similarity(embeddings.double())
        again = dra(rewards[:, order], similarity[:, order][:, :, order])
        assert_close(again, dra(rewards, similarity)[:, order], equal_nan=True)
        assert_close(adaptive_lambda(rewards[:, order]), adaptive_lambda(rewards))


def test_the_order_of_sampling_decides_nothing_in_random_groups():
    for rewards, similarity, lam in random_settings(224, torch.float64):
        order = torch.randperm(rewards.shape[1], generator=torch.Generator().manual_seed(rewards.shape[1]))
        shuffled = similarity[:, order][:, :, order]
        again = mmr(rewards[:, order], shuffled, lam=lam)
        assert_close(again, mmr(rewards, similarity, lam=lam)[:, order], equal_nan=True)
        assert_close(dra(rewards[:, order], shuffled), dra(rewards, similarity)[:, order], equal_nan=True)


def test_copies_with_equal_rewards_get_equal_adjusted_rewards():
    for seed in range(20):
        embeddings = make_groups(seed, 1, 3)[1][:, [0, 1, 0, 2, 1]]
        adjusted = mmr(torch.tensor([[1.0, 0.0, 1.0, 1.0, 0.0]]), cosine_similarity(embeddings))[0]
        assert_close(adjusted[0], adjusted[2])
        assert_close(adjusted[1], adjusted[4])


def test_among_tied_rewards_the_least_crowded_goes_first():
    similarity = torch.tensor([[[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]]])
    rewards = torch.ones(1, 3)
    # The third keeps its 1; of the twins one goes next, 0.5 - 0.5 * 0.1, and one last, 0.5 - 0.5 * 0.9.
    assert_close(mmr(rewards, similarity, lam=0.5), torch.tensor([[0.25, 0.25, 1.0]]))
    assert_close(mmr(rewards, similarity, lam=0.5, ties="first"), torch.tensor([[1.0, 0.05, 0.45]]))


# Numbers published about the released code: all similarities 0.9, groups of 6, adaptive lambda, lowest index first

PUBLISHED = {
    "all right": ([3.0] * 6, [2.04, -0.41, -0.41, -0.41, -0.41, -0.41]),
    "all wrong": ([0.0] * 6, [2.04, -0.41, -0.41, -0.41, -0.41, -0.41]),
    "all at -1": ([-1.0] * 6, [-2.03, 0.41, 0.41, 0.41, 0.41, 0.41]),
    "five right": ([3.0] * 5 + [0.0], [1.10, 0.20, 0.20, 0.20, 0.20, -1.91]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_advantages_of_tied_groups(name):
    rewards, published = PUBLISHED[name]
    adjusted = mmr(torch.tensor([rewards]), full(0.9, 6), ties="first")[0]
    assert [round(advantage, 2) for advantage in reference.advantages(adjusted.tolist())] == published


@pytest.mark.parametrize("reward", [3.0, 0.0, -1.0])
@pytest.mark.parametrize("similarity", [0.9, 1.0, 0.0, -0.1])
def test_six_equal_answers_teach_nothing(reward, similarity):
    adjusted = mmr(torch.full((1, 6), reward), full(similarity, 6))[0]
    assert_close(torch.tensor(reference.advantages(adjusted.tolist())), torch.zeros(6))


def test_five_equal_right_answers_share_the_credit():
    adjusted = mmr(torch.tensor([[3.0] * 5 + [0.0]]), full(0.9, 6))[0]
    assert_close(adjusted[:5], adjusted[:1].expand(5))
    assert adjusted[5] < adjusted[0]


# Unscored completions


@pytest.mark.parametrize("rubbish", [NAN, INF, -7.0, 1.0, 0.0])
@pytest.mark.parametrize("method", [mmr, lambda r, s: mmr(r, s, ties="first"), dra], ids=["mmr", "first", "dra"])
def test_an_unscored_completion_changes_no_other(method, rubbish):
    for seed in range(10):
        rewards, embeddings = make_groups(seed, 3, 5, ties=seed % 2 == 0)
        similarity = cosine_similarity(embeddings.double())
        more_rewards, more_similarity = torch.full((3, 7), NAN), torch.full((3, 7, 7), rubbish, dtype=torch.float64)
        place = torch.tensor([0, 2, 3, 5, 6])  # ragged: the second and the fifth are padding
        more_rewards[:, place] = rewards
        more_similarity[:, place.unsqueeze(-1), place] = similarity
        adjusted = method(more_rewards, more_similarity)
        assert_close(adjusted[:, place], method(rewards, similarity))
        assert adjusted[:, [1, 4]].isnan().all()
        assert_close(adaptive_lambda(more_rewards), adaptive_lambda(rewards))


@pytest.mark.parametrize("ties", TIES)
def test_a_group_without_a_scored_completion_stays_so(ties):
    rewards, embeddings = make_groups(0, 3, 4)
    similarity = cosine_similarity(embeddings)
    expected = mmr(rewards, similarity, ties=ties)
    rewards[1], similarity[1] = NAN, NAN
    adjusted = mmr(rewards, similarity, ties=ties)
    assert adjusted[1].isnan().all() and dra(rewards, similarity)[1].isnan().all()
    assert_close(adjusted[[0, 2]], expected[[0, 2]])
    assert adaptive_lambda(rewards)[1] == 0.5


def test_a_lone_scored_completion_keeps_its_reward():
    rewards = torch.tensor([[NAN, -2.5, NAN]])
    assert_close(mmr(rewards, torch.full((1, 3, 3), NAN).masked_fill(torch.eye(3) > 0, 1.0)), rewards, equal_nan=True)


# DRA near zero


@pytest.mark.parametrize(
    ("sum_of_others", "count"),
    [(-1.0, 0.01), (-0.995, 0.01), (-1.005, -0.01), (-1.02, -0.019999), (-0.5, 0.500001), (0.0, 1.000001)],
)
def test_dra_divides_by_nothing_nearer_to_zero_than_a_hundredth(sum_of_others, count):
    rewards = torch.tensor([[1.0, -2.0, 0.0]], dtype=torch.float64)
    assert_close(dra(rewards, full(sum_of_others / 2, 3, torch.float64)), rewards / count)


def test_dra_grows_no_reward_more_than_a_hundredfold():
    for rewards, similarity, _ in random_settings(64):
        assert not (dra(rewards, similarity).abs() > 100 * rewards.abs() * (1 + 1e-6)).any()


# Cosine similarity


def test_cosine_similarity_of_unit_rows_is_their_product_to_the_bit():
    embeddings = make_groups(1, 2, 8, width=32)[1]
    assert torch.equal(cosine_similarity(embeddings), embeddings @ embeddings.transpose(-1, -2))


@pytest.mark.parametrize("size", [1e-8, 0.5, 3.0, 1e15])
def test_cosine_similarity_does_not_mind_the_length(size):
    embeddings = make_groups(1, 2, 8)[1]
    assert_close(cosine_similarity(embeddings * size), cosine_similarity(embeddings))


@pytest.mark.parametrize("size", [1e-30, 1e-13, 1e25])
def test_cosine_similarity_does_not_mind_an_extreme_length(size):
    embeddings = make_groups(1, 2, 8)[1]
    assert_close(cosine_similarity(embeddings * size), cosine_similarity(embeddings))


def test_a_zero_vector_is_similar_to_itself_alone():
    similarity = cosine_similarity(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]]))
    assert_close(similarity, torch.eye(3))


# Forms: dtypes, devices, inputs, the number of operations, errors


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_device_are_kept(dtype, device):
    rewards, embeddings = make_groups(2, 3, 4)
    rewards, embeddings = rewards.to(device, dtype), embeddings.to(device, dtype)
    similarity = cosine_similarity(embeddings)
    assert similarity.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for result in (mmr(rewards, similarity), dra(rewards, similarity), adaptive_lambda(rewards)):
        assert result.dtype == dtype and result.device.type == device
    for result in (mmr(rewards, similarity.double()), dra(rewards, similarity.double())):
        assert result.dtype == dtype
    assert similarity.device.type == device


@pytest.mark.parametrize("ties", TIES)
def test_inputs_are_not_modified(ties):
    rewards, embeddings = make_groups(4, 3, 5, unscored=0.3)
    similarity, lam = cosine_similarity(embeddings), torch.tensor([0.1, 0.5, 0.9])
    inputs = [rewards, embeddings, similarity, lam]
    before = [tensor.clone() for tensor in inputs]
    cosine_similarity(embeddings), adaptive_lambda(rewards), dra(rewards, similarity)
    mmr(rewards, similarity, lam=lam, ties=ties)
    for tensor, copy in zip(inputs, before, strict=True):
        assert torch.equal(tensor.nan_to_num(9.0), copy.nan_to_num(9.0))


class Operations(TorchDispatchMode):
    """Counts operations, the elements that they made, and those of the largest tensor that one of them made."""

    count = largest = elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += 1
        output = function(*args, **(kwargs or {}))
        sizes = [
            tensor.untyped_storage().nbytes() // tensor.itemsize
            for tensor in tree_leaves(output)
            if torch.is_tensor(tensor)
        ]
        self.largest = max([self.largest, *sizes])
        self.elements += sum(sizes)
        return output


@pytest.mark.parametrize("ties", TIES)
def test_the_number_of_operations_does_not_grow_with_the_number_of_groups(ties):
    counts = []
    for B in (1, 64):
        rewards, embeddings = make_groups(5, B, 8, ties=True)
        with Operations() as operations:
            similarity = cosine_similarity(embeddings)
            mmr(rewards, similarity, ties=ties), dra(rewards, similarity), adaptive_lambda(rewards)
        counts.append(operations.count)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("ties", TIES)
def test_a_similarity_of_two_directions_is_read_from_the_one_that_pays(ties):
    """s_ij need not be s_ji: what completion i loses by the picked j is s_ij."""
    similarity = torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    rewards, _ = make_groups(3, 5, 6)
    assert_close(mmr(rewards, similarity, ties=ties), naive(reference.mmr, rewards, similarity, ties=ties))


@pytest.mark.parametrize(("B", "G"), [(1, 4), (64, 8), (64, 16), (8, 64)])
def test_no_tensor_is_larger_than_the_similarities(B, G):
    """Memory grows with B x G x G, or with the embeddings, B x G x D; never with (B x G) squared."""
    rewards, embeddings = make_groups(5, B, G, ties=True)
    with Operations() as operations:
        similarity = cosine_similarity(embeddings)
        for ties in TIES:
            mmr(rewards, similarity, ties=ties)
        dra(rewards, similarity)
    assert operations.largest == B * G * max(G, embeddings.shape[-1])


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("copies", [False, True])
def test_the_work_of_mmr_grows_with_the_square_of_the_group(ties, copies):
    """A pick reads its own row of the similarity; a pass over all of it per pick would make eightfold the elements."""
    made = []
    for G in (64, 128):
        rewards, embeddings = make_groups(5, 8, G, ties=True, copies=copies, width=32)
        similarity = cosine_similarity(embeddings)
        with Operations() as operations:
            mmr(rewards, similarity, ties=ties)
        made.append(operations.elements)
    assert made[1] < 4.2 * made[0]


def test_no_groups_and_empty_groups():
    for shape in ((0, 4), (2, 0)):
        rewards, similarity = torch.zeros(shape), torch.zeros(*shape, shape[1])
        assert mmr(rewards, similarity).shape == dra(rewards, similarity).shape == shape
        assert adaptive_lambda(rewards).shape == shape[:1]


OK, EYE = torch.zeros(2, 3), torch.eye(3).expand(2, 3, 3)


@pytest.mark.parametrize("method", [mmr, dra])
@pytest.mark.parametrize(
    ("rewards", "similarity", "message"),
    [
        (torch.zeros(3), EYE, r"rewards must be floating-point \[B, G\], got torch.float32 \[3\]"),
        (torch.zeros(2, 3, 1), EYE, r"rewards must be floating-point \[B, G\], got torch.float32 \[2, 3, 1\]"),
        (
            torch.zeros(2, 3, dtype=torch.long),
            EYE,
            r"rewards must be floating-point \[B, G\], got torch.int64 \[2, 3\]",
        ),
        (torch.tensor([[0.0, INF, 0.0]] * 2), EYE, "rewards must be finite, .* got infinity"),
        (torch.tensor([[0.0, -INF, 0.0]] * 2), EYE, "rewards must be finite, .* got infinity"),
        (OK, EYE[0], r"\[B, G, G\], here \[2, 3, 3\] .*got torch.float32 \[3, 3\]"),
        (OK, torch.zeros(2, 3, 4), r"here \[2, 3, 3\] for rewards \[2, 3\], got torch.float32 \[2, 3, 4\]"),
        (OK, torch.zeros(1, 6, 6), r"here \[2, 3, 3\] for rewards \[2, 3\], got torch.float32 \[1, 6, 6\]"),
        (OK, EYE.long(), r"similarity must be floating-point .* got torch.int64 \[2, 3, 3\]"),
        (OK, EYE * NAN, "similarity must be a number between every two scored completions, got NaN"),
        (OK, EYE * 1.02, r"similarity must be in \[-1, 1\], got values from 0 to 1.02. Use cosine_similarity"),
        (OK, 0 - EYE * 1.02, r"similarity must be in \[-1, 1\], got values from -1.02 to 0"),
        (OK, EYE * INF, "must be"),
    ],
)
def test_what_cannot_be_right_is_refused(method, rewards, similarity, message):
    with pytest.raises(ValueError, match=f"^{method.__name__}'s .*{message}"):
        method(rewards, similarity)


@pytest.mark.parametrize("method", [mmr, dra])
def test_similarity_may_pass_1_by_rounding(method):
    rewards = torch.tensor([[1.0, 0.0, 2.0]])  # unit vectors in bfloat16 reach 1.008
    adjusted = method(rewards, full(0.5, 3) * 1.008)
    assert_close(adjusted, method(rewards, full(0.5, 3)), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.zeros(2, 3).long(), torch.tensor([[INF, 0.0]])])
def test_adaptive_lambda_refuses_the_same_rewards(bad):
    with pytest.raises(ValueError, match=r"^adaptive_lambda\'s rewards must be"):
        adaptive_lambda(bad)


@pytest.mark.parametrize("lam", [-0.1, 1.1, NAN, torch.tensor([0.5, 2.0])])
def test_lambda_outside_0_to_1_is_refused(lam):
    with pytest.raises(ValueError, match=r"mmr's lam must be in \[0, 1\], got"):
        mmr(OK, EYE, lam=lam)


@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 1)])
def test_lambda_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=rf"lam must be a number or \[2\], got \[{shape[0]}"):
        mmr(OK, EYE, lam=torch.full(shape, 0.5))


def test_unknown_ties_are_refused():
    with pytest.raises(ValueError, match="ties must be one of diverse, first, got 'last'"):
        mmr(OK, EYE, ties="last")


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.zeros(4), r"must be \[..., G, D\], got \[4\]"),
        (torch.tensor([[0.0, NAN]]), "must be finite, got NaN or infinity"),
        (torch.tensor([[0.0, INF]]), "must be finite, got NaN or infinity"),
    ],
)
def test_cosine_similarity_refuses(embeddings, message):
    with pytest.raises(ValueError, match=f"embeddings of cosine_similarity {message}"):
        cosine_similarity(embeddings)
