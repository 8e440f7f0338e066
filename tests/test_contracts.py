"""What embedders, reweighters and advantage functions may return: honest forms mean the same, others are named."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch.testing import assert_close

from manypaths import cosine_similarity, dra, mmr
from manypaths.methods import keep_equal_rewards
from manypaths.methods.bind import adjust, replace_advantages
from manypaths.methods.contracts import call_embedder
from manypaths.names import name_of

NAN, INF = float("nan"), float("inf")
TEXTS = ["one", "two", "three", "four"]
ROWS = torch.tensor([[1.0, 0.5], [0.25, -1.0], [0.0, 2.0], [1.0, 0.5]])
REWARDS = torch.tensor([[1.0, 0.0, 1.0], [0.5, NAN, 2.0]])
SIMILARITY = cosine_similarity(torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)))
INPUTS = {"rewards": REWARDS, "similarity": SIMILARITY}


class Encoder:
    def encode(self, texts):
        return ROWS.numpy()[: len(texts)]


def read_only():
    array = ROWS.numpy().copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "returned",
    [
        ROWS,
        ROWS.to(torch.bfloat16),
        ROWS.half(),
        ROWS.double(),
        ROWS.clone().requires_grad_() * 1,
        ROWS.T.contiguous().T,
        ROWS.to_sparse(),
        csr_matrix(ROWS.numpy()),
        ROWS.numpy(),
        ROWS.numpy().astype("float16"),
        ROWS.flip(0).numpy()[::-1],
        read_only(),
        ROWS.tolist(),
        tuple(map(tuple, ROWS.tolist())),
        list(ROWS),
        list(ROWS.numpy()),
        [row.clone().requires_grad_() for row in ROWS],
    ],
    ids=range(17),
)
@pytest.mark.filterwarnings("error")
def test_an_embedder_may_return_tensors_arrays_and_lists(returned):
    rows = call_embedder(lambda texts: returned, TEXTS)
    assert rows.dtype in (torch.float32, torch.float64) and not rows.requires_grad
    assert_close(rows, ROWS.to(rows.dtype))


def test_an_embedder_of_counts_and_no_texts_at_all():
    assert_close(
        call_embedder(lambda texts: [[len(text), 1] for text in texts], ["a", "ab"])[1], torch.tensor([2.0, 1])
    )
    assert call_embedder(lambda texts: torch.zeros(0, 3), []).shape == (0, 3)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (ROWS[:2], r"'own' must return \[N, D\], a row for each of 4 texts, got \[2, 2\]"),
        (ROWS.T.contiguous(), r"got \[2, 4\]"),
        (ROWS.flatten(), r"got \[8\]"),
        (ROWS.view(4, 1, 2), r"got \[4, 1, 2\]"),
        (ROWS[:, :0], r"got \[4, 0\]"),
        ([], r"got \[0\]"),
        (ROWS / 0, "'own' must return finite numbers"),
        (torch.full((4, 2), NAN), "finite numbers"),
        (ROWS.to(torch.complex64), "real numbers, got torch.complex64"),
        (None, "must return a tensor, an array or lists of numbers, got NoneType"),
        (["a", "b", "c", "d"], "got list"),
        ([[1.0], [1.0, 2.0], [], [1.0]], "got list"),
        (np.array(["a", "b", "c", "d"]), "got ndarray"),
        ({"sentence_embedding": ROWS}, "got dict"),
    ],
    ids=range(14),
)
def test_what_an_embedder_must_not_return_is_named(returned, message):
    def own(texts):
        return returned

    with pytest.raises(ValueError, match=message):
        call_embedder(own, TEXTS)


@pytest.mark.parametrize("form", [torch.Tensor.double, torch.Tensor.numpy, torch.Tensor.tolist])
def test_a_reweighter_may_return_tensors_arrays_and_lists(form):
    adjusted, _ = adjust(lambda rewards, similarity: form(dra(rewards, similarity)), INPUTS)
    assert adjusted.dtype == torch.float32
    assert_close(adjusted, dra(REWARDS, SIMILARITY), equal_nan=True)


BROKEN = {
    "broadcast": (lambda r, s: r.nanmean(1, keepdim=True), r"must return \[B, G\], here \[2, 3\], got \[2, 1\]"),
    "row": (lambda r, s: r[:1], r"got \[1, 3\]"),
    "per group": (lambda r, s: r.nanmean(1), r"got \[2\]"),
    "turned": (lambda r, s: r.T, r"got \[3, 2\]"),
    "nothing": (lambda r, s: None, "got NoneType"),
    "a pair": (lambda r, s: (r, s), "got tuple"),
    "NaN": (lambda r, s: r / (r - r), "finite rewards for scored completions"),
    "infinity": (lambda r, s: r + INF, "finite rewards for scored completions"),
    "overflow": (lambda r, s: r.double() * 1e300, "finite rewards for scored completions"),
    "scored": (lambda r, s: r.nan_to_num(0.0), "must return NaN where the reward is NaN"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_reweighter_must_not_return_is_named(name):
    method, message = BROKEN[name]
    method.__name__ = "halved"
    with pytest.raises(ValueError, match=rf"Reweighter 'halved' must return .*{message.removeprefix('must return ')}"):
        adjust(keep_equal_rewards(partial(method)) if name == "scored" else method, INPUTS)


def test_keeping_equal_rewards_broadcasts_nothing():
    with pytest.raises(ValueError, match=r"returns \[B, G\], here \[2, 3\], got \[2, 1\]"):
        keep_equal_rewards(BROKEN["broadcast"][0])(REWARDS, SIMILARITY)


def test_what_they_write_into_is_a_copy():
    def halve(rewards, similarity):
        similarity.zero_()
        return rewards.mul_(0.5)

    def spoil(adjusted, advantages):
        adjusted.zero_()
        return advantages.mul_(2.0)

    rewards, similarity, advantages = REWARDS.clone(), SIMILARITY.clone(), REWARDS.nan_to_num(0.0)
    adjusted, _ = adjust(halve, {"rewards": rewards, "similarity": similarity})
    assert_close(adjusted, REWARDS / 2, equal_nan=True)
    assert_close(
        replace_advantages(spoil, {"rewards": rewards, "advantages": advantages})[0], 2 * REWARDS.nan_to_num(0.0)
    )
    assert_close(rewards, REWARDS, equal_nan=True)
    assert_close(similarity, SIMILARITY)
    assert_close(advantages, REWARDS.nan_to_num(0.0))
    texts = list(TEXTS)
    call_embedder(lambda batch: (batch.reverse(), ROWS)[1], texts)
    assert texts == TEXTS


@pytest.mark.parametrize(
    ("advantage", "message"),
    [
        (lambda r, a: a.mean(1, keepdim=True), r"must return \[B, G\], here \[2, 3\], got \[2, 1\]"),
        (lambda r, a: a.flatten(), r"got \[6\]"),
        (lambda r, a: None, "got NoneType"),
        (lambda r, a: a / 0, "finite advantages for scored completions"),
        (lambda r, a: torch.full_like(a, NAN), "finite advantages for scored completions"),
    ],
)
def test_what_an_advantage_must_not_return_is_named(advantage, message):
    with pytest.raises(ValueError, match=f"Advantage '<lambda>' .*{message}"):
        replace_advantages(advantage, {"rewards": REWARDS, "advantages": REWARDS.nan_to_num(0.0)})


def test_the_unscored_have_no_advantage():
    for returned in (NAN, 3.0, INF):
        values = torch.where(REWARDS.isnan(), returned, 1.0)
        actual = replace_advantages(
            lambda r, a, values=values: values, {"rewards": REWARDS, "advantages": torch.zeros(2, 3)}
        )[0]
        assert actual.tolist() == [[1, 1, 1], [1, 0, 1]]


def test_the_name_of_what_is_called():
    assert name_of(keep_equal_rewards(partial(mmr, lam=0.7))) == "mmr"
    assert name_of(Encoder().encode) == "encode" and name_of(Encoder()) == "Encoder"
    assert_close(call_embedder(Encoder().encode, TEXTS), ROWS)
