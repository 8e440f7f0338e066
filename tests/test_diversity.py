"""Laws of the measures of diversity: closed forms, permutations, unscored completions."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from manypaths import cosine_similarity, dra, mmr
from manypaths.methods import adaptive_lambda, keep_equal_rewards, report
from manypaths.methods.bind import adjust
from manypaths.methods.measures import measures, pair_similarity, share_of_advantage, vendi_score

NAN = float("nan")


@pytest.fixture
def group():
    """Rewards [3, 6] with two unscored, similarity [3, 6, 6]."""
    draw = torch.Generator().manual_seed(0)
    rewards = torch.rand(3, 6, generator=draw)
    rewards[0, 2] = rewards[1, 5] = NAN
    return rewards, cosine_similarity(torch.randn(3, 6, 4, generator=draw))


def test_similarity_is_the_mean_over_scored_pairs(group):
    rewards, similarity = group
    for b, actual in enumerate(pair_similarity(rewards, similarity)):
        scored = [i for i in range(6) if not rewards[b, i].isnan()]
        pairs = [similarity[b, i, j] for i in scored for j in scored if i < j]
        assert_close(actual, torch.stack(pairs).mean())


@pytest.mark.parametrize(("copies", "kinds"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_copies_count_once(copies, kinds):
    similarity = torch.eye(kinds).repeat_interleave(copies, 0).repeat_interleave(copies, 1).unsqueeze(0)
    assert_close(vendi_score(torch.zeros(1, 6), similarity), torch.tensor([float(kinds)]))


def test_two_completions_of_one_similarity():
    """The eigenvalues of two completions are (1 + s) / 2 and (1 - s) / 2."""
    for s in (0.0, 0.3, 0.99):
        shares = torch.tensor([(1 + s) / 2, (1 - s) / 2])
        expected = (-(shares * shares.log()).sum()).exp()
        assert_close(vendi_score(torch.zeros(1, 2), torch.tensor([[[1.0, s], [s, 1.0]]])), expected.unsqueeze(0))


def test_unscored_completions_do_not_count(group):
    rewards, similarity = group
    others = [i for i in range(6) if i != 2]
    for measure in (pair_similarity, vendi_score):
        alone = measure(rewards[:1, others], similarity[:1, others][:, :, others])
        assert_close(measure(rewards, similarity)[:1], alone)
        assert measure(torch.full((1, 6), NAN), similarity[:1]).isnan().all()


def test_order_does_not_matter(group):
    rewards, similarity = group
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = similarity[:, order][:, :, order]
    for measure in (pair_similarity, vendi_score):
        assert_close(measure(rewards[:, order], shuffled), measure(rewards, similarity))
    adjusted = dra(rewards, similarity)
    actual = share_of_advantage(rewards[:, order], adjusted[:, order])
    assert_close(actual, share_of_advantage(rewards, adjusted))


def test_the_share_of_the_advantage():
    raw = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    adjusted = torch.tensor([[1.0, 0.0], [1.5, 0.5], [1.0, 0.4], [1.0, 1.0], [1.0, 0.5]])
    # untouched, shifted alike, diversity alone, nothing differs; reward differs by 1 and diversity takes 0.5 of it back
    expected = torch.tensor([0.0, 0.0, 1.0, NAN, 0.5 / 1.5])
    assert_close(share_of_advantage(raw, adjusted), expected, equal_nan=True)
    assert_close(share_of_advantage(7 * raw, 7 * adjusted), expected, equal_nan=True)


def reported(reweight, rewards, similarity):
    return adjust(reweight, {"rewards": rewards, "similarity": similarity})[1]


def test_the_weight_on_the_reward_is_what_mmr_used_whatever_it_is_wrapped_in(group):
    rewards, similarity = group
    adaptive, fixed = adaptive_lambda(rewards), torch.tensor([0.1, 0.2, 0.3])
    for method, expected in (
        (mmr, adaptive),
        (keep_equal_rewards(mmr), adaptive),
        (lambda r, s: mmr(r, s), adaptive),
        (keep_equal_rewards(partial(mmr, lam=0.7, ties="first")), torch.full((3,), 0.7)),
        (lambda r, s: mmr(r, s, lam=0.7), torch.full((3,), 0.7)),
        (partial(mmr, lam=fixed), fixed),
        (lambda r, s: torch.cat([mmr(r[i : i + 1], s[i : i + 1]) for i in range(3)]), adaptive),
    ):
        assert_close(reported(method, rewards, similarity)["lam"].to(rewards), expected)


@pytest.mark.parametrize("lam", [None, 5.0, torch.ones(7)])
def test_an_option_named_lam_is_not_a_diagnostic(group, lam):
    rewards, similarity = group

    def decay(rewards, similarity, lam=lam):
        return rewards * 0.5

    assert reported(decay, rewards, similarity) == {}
    assert reported(dra, rewards, similarity).keys() == {"count"}


def test_mmr_reports_the_order_of_its_picks_and_dra_its_counts():
    """Copies are picked together, under one number, and an unscored completion never."""
    rewards = torch.tensor([[1.0, 2.0, 0.0, 1.0, NAN]])
    same = torch.tensor([0, 1, 2, 0, 0])
    similarity = (same.unsqueeze(0) == same.unsqueeze(1)).float().unsqueeze(0)
    assert reported(mmr, rewards, similarity)["pick"].tolist() == [[2, 1, 4, 2, 0]]
    order = {"pick": torch.ones(1, 5, dtype=torch.int64)}
    assert "diversity/pick" not in measures(rewards, rewards, similarity, order), "the mean of an order says nothing"
    assert_close(reported(dra, rewards, similarity)["count"], torch.tensor([[2.0, 1, 1, 2, NAN]]), equal_nan=True)
    logged = measures(rewards, rewards, similarity, {"mine": torch.arange(5.0).unsqueeze(0)})["diversity/mine"]
    assert_close(logged, torch.tensor([[0.0, 1, 2, 3, NAN]]), equal_nan=True)


def test_a_method_of_your_own_reports_what_it_likes(group):
    rewards, similarity = group

    def own(rewards, similarity):
        report("temperature", torch.full((3,), 2.0))
        return rewards

    adjusted, diagnostics = adjust(own, {"rewards": rewards, "similarity": similarity})
    assert measures(rewards, adjusted, similarity, diagnostics)["diversity/temperature"].tolist() == [2.0] * 3
    with pytest.raises(ValueError, match="must have a name of its own, got 'share'"):
        report("share", torch.zeros(3))
    report("temperature", torch.zeros(3))  # outside a trainer it has no effect


def test_reports_end_with_their_reweighter(group):
    def broken(rewards, similarity):
        mmr(rewards, similarity)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        reported(broken, *group)
    assert reported(dra, *group).keys() == {"count"}
