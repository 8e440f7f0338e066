"""Which prompts to sample: the laws of a prompt history, without a trainer."""

import itertools
import math
import random

import pytest
import torch

from manypaths.trl import PromptHistory
from manypaths.trl.history import HIGHEST, LOWEST, MOST

G = 4


def groups(*rights):
    """Groups of G completions with so many right ones, in an order that depends on the group."""
    rows = [[1.0] * right + [0.0] * (G - right) for right in rights]
    return torch.tensor([random.Random(place).sample(row, G) for place, row in enumerate(rows)]).view(-1, G)


def visited(*rights, **settings):
    """A history in which one prompt was visited so often, with so many right ones each."""
    history = PromptHistory(**settings)
    for right in rights:
        history.update(["a"], groups(right))
    return history


def by_hand(rights, size, explore=0.5, discount=0.8, prior=0.5):
    """The probability as the docstring has it, with the posterior by an integral over the Beta density."""
    visits = list(reversed(rights))
    flat = len(list(itertools.takewhile(lambda right: right in (0, G), visits)))
    if not flat:
        return 0.0
    right = sum(discount**age * count for age, count in enumerate(visits)) + prior
    wrong = sum(discount**age * (G - count) for age, count in enumerate(visits)) + prior
    same, other = (right, wrong) if visits[0] == G else (wrong, right)
    again = math.exp(
        math.lgamma(same + size) + math.lgamma(same + other) - math.lgamma(same) - math.lgamma(same + other + size)
    )
    return min(MOST, (1 - explore**flat) * again)


HISTORIES = [*itertools.product((0, 1, 3, 4), repeat=3), (4,), (0,), (2,), (4,) * 9, (0,) * 9, (1,) * 5 + (4,)]


@pytest.mark.parametrize("settings", [{}, {"discount": 1.0, "prior": 1.0, "explore": 0.2}, {"discount": 0.3}], ids=str)
def test_the_probability_is_the_closed_form(settings):
    for rights, size in itertools.product(HISTORIES, (2, 4, 16)):
        probability = visited(*rights, **settings).probability("a", size)
        assert probability == pytest.approx(by_hand(rights, size, **settings)), rights
        assert 0 <= probability <= MOST < 1


def test_the_posterior_is_the_mean_of_the_beta_density():
    """P(flat again) = the mean of x^G under Beta(s + prior, t + prior), by a sum over a fine grid."""
    history = visited(3, 4, discount=0.5, prior=1.0, explore=LOWEST)
    s, t = 0.5 * 3 + 4 + 1, 0.5 * 1 + 1
    grid = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    density = grid ** (s - 1) * (1 - grid) ** (t - 1)
    again = ((density * grid**8).sum() / density.sum()).item()
    assert history.probability("a", 8) == pytest.approx((1 - LOWEST) * again, rel=1e-5)


@pytest.mark.parametrize("explore", [0.05, 0.5, 0.95])
def test_without_discount_and_prior_it_is_the_rule_of_the_paper(explore):
    for rights in HISTORIES:
        streak = len(list(itertools.takewhile(lambda right: right in (0, G), reversed(rights))))
        probability = visited(*rights, discount=0.0, prior=0.0, explore=explore).probability("a", 8)
        assert probability == pytest.approx(min(MOST, 1 - explore**streak))


def test_easy_and_hard_are_mirror_images_with_rates_of_their_own():
    for rights in HISTORIES:
        mirrored = [G - right for right in rights]
        assert visited(*rights).probability("a", 8) == pytest.approx(visited(*mirrored).probability("a", 8))
    easy, hard = visited(G, G, explore=0.3), visited(0, 0, explore=0.3)
    for history in (easy, hard):
        history.explore_hard = 0.6
    assert easy.probability("a", 8) / hard.probability("a", 8) == pytest.approx((1 - 0.3**2) / (1 - 0.6**2))


@pytest.mark.parametrize("rights", [(4,) * 400, (0,) * 400])
def test_no_prompt_is_ever_passed_over_for_certain(rights):
    for settings in ({}, {"discount": 0.0, "prior": 0.0, "explore": LOWEST}, {"discount": 1.0, "prior": 0.0}):
        history, draw = visited(*rights, **settings), random.Random(1)
        assert history.probability("a", 2) <= MOST < 1
        assert not all(history.pass_over("a", 2, draw) for _ in range(400))


def test_prompts_without_a_history_or_with_spread_are_never_passed_over():
    history, draw = visited(4, 4, 4, 1, explore=LOWEST), random.Random(1)
    assert history.probability("a", G) == history.probability("b", G) == 0
    assert not any(history.pass_over(prompt, G, draw) for prompt in "ab" * 50)


def test_a_draw_takes_one_number_whatever_the_history_is():
    states = []
    for history in (PromptHistory(), visited(4, 4, 4), visited(2)):
        draw = random.Random(3)
        history.pass_over("a", G, draw)
        states.append(draw.getstate())
    assert states[0] == states[1] == states[2]


def test_prompts_are_passed_over_as_often_as_the_probability_says():
    history, draw, count = visited(4, 4), random.Random(2), 20_000
    share = sum(history.pass_over("a", G, draw) for _ in range(count)) / count
    expected = by_hand((4, 4), G)
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / count))


def state(history):
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in history.state_dict().items()
    }


def test_the_order_of_groups_in_an_update_has_no_effect():
    prompts, rights = list("abcabdda"), [4, 0, 2, 4, 4, 0, 0, 4]
    states = []
    for seed in range(8):
        history = visited(4)
        order = random.Random(seed).sample(range(8), 8)
        for _ in range(2):
            history.update([prompts[place] for place in order], groups(*(rights[place] for place in order)))
        states.append(state(history))
    assert all(other == states[0] for other in states)


def test_groups_of_one_prompt_in_an_update_are_one_visit():
    of_two_groups, of_whole_group = PromptHistory(), PromptHistory()
    of_two_groups.update(["a", "a"], torch.ones(2, G))
    of_whole_group.update(["a"], torch.ones(1, 2 * G))
    assert state(of_two_groups) == state(of_whole_group)
    mixed = PromptHistory()
    mixed.update(["a", "a"], groups(4, 0))
    assert mixed.probability("a", G) == 0


def test_unknown_verdicts_count_for_neither():
    nan = math.nan
    history, other = PromptHistory(), PromptHistory()
    history.update(["a", "b"], torch.tensor([[1, nan, 1, nan], [nan] * 4]))
    other.update(["a"], torch.ones(1, 2))
    assert state(history) == state(other) and len(history) == 1


def test_rates_move_by_one_step_towards_the_target():
    """Targets of a quarter: a twelfth easy, a sixth hard."""
    prompts = [f"{place}" for place in range(12)]
    for easy, hard, moves in ((1, 2, (-1, -1)), (0, 2, (1, -1)), (1, 1, (-1, 1)), (0, 0, (1, 1)), (6, 6, (-1, -1))):
        history = PromptHistory(step=0.03)
        history.update(prompts, groups(*[2] * 12))
        history.adapt()
        assert (history.explore_easy, history.explore_hard) == (0.5, 0.5)  # no prompt had a history
        history.update([*prompts, "new"], groups(*[4] * easy, *[0] * hard, *[2] * (12 - easy - hard), 4))
        history.adapt()
        assert history.explore_easy == pytest.approx(0.5 + 0.03 * moves[0])
        assert history.explore_hard == pytest.approx(0.5 + 0.03 * moves[1])
        rates = history.explore_easy, history.explore_hard
        history.adapt()
        assert (history.explore_easy, history.explore_hard) == rates  # nothing was sampled since
        for _ in range(40):
            history.update(prompts, groups(*[4] * easy, *[0] * hard, *[2] * (12 - easy - hard)))
            history.adapt()
        ends = [HIGHEST if move > 0 else LOWEST for move in moves]
        assert [history.explore_easy, history.explore_hard] == ends


def test_the_share_of_flat_groups_comes_down_to_its_target():
    """300 prompts, of which 60 % are always flat: sampled without a history 60 % of the groups are, here about 25 %."""
    draw, history = random.Random(5), PromptHistory(step=0.02)
    rights = {f"{place}": G if place < 60 else 0 if place < 180 else 2 for place in range(300)}
    shares = []
    for _ in range(300):
        chosen: list[str] = []
        while len(chosen) < 16:
            prompt = draw.choice([*rights])
            if prompt not in chosen and not history.pass_over(prompt, G, draw):
                chosen.append(prompt)
        history.update(chosen, groups(*(rights[prompt] for prompt in chosen)))
        history.adapt()
        shares.append([sum(rights[prompt] == right for prompt in chosen) / 16 for right in (G, 0)])
    easy, hard = torch.tensor(shares[-100:]).mean(0).tolist()
    assert easy == pytest.approx(0.25 / 3, abs=0.04) and hard == pytest.approx(0.5 / 3, abs=0.05)
    assert sum(map(sum, shares[:10])) / 10 > 0.5


def test_a_state_goes_through_a_file_and_back(tmp_path):
    history = PromptHistory(discount=0.7)
    for seed in range(6):
        rights = random.Random(seed).choices((0, 2, 4), k=8)
        history.update([f"{place} é" for place in range(8)], groups(*rights))
        if seed not in (3, 5):
            history.adapt()
    torch.save(history.state_dict(), tmp_path / "history.pt")
    again = PromptHistory(discount=0.7)
    again.load_state_dict(torch.load(tmp_path / "history.pt", weights_only=True))
    assert state(again) == state(history) and len(again) == len(history) == 8
    for place in range(8):
        assert again.probability(f"{place} é", 8) == history.probability(f"{place} é", 8)
    for both in (again, history):
        both.update(["0 é", "new"], groups(4, 0))
        both.adapt()
    assert state(again) == state(history)
    with pytest.raises(ValueError, match=r"The discount of the history must be 0\.7, that of the history in the check"):
        PromptHistory().load_state_dict(torch.load(tmp_path / "history.pt", weights_only=True))


def test_an_empty_history_goes_through_a_state():
    history = PromptHistory()
    history.load_state_dict(PromptHistory().state_dict())
    assert len(history) == 0 and state(history) == state(PromptHistory())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 1.5}, "target of a prompt history must be from 0 to 1, got 1.5"),
        ({"discount": -0.1}, "discount of a prompt history must be from 0 to 1, got -0.1"),
        ({"prior": math.inf}, "prior of a prompt history must be from 0 to 1000, got inf"),
        ({"explore": 0.0}, "explore of a prompt history must be from 0.05 to 0.95, got 0.0"),
        ({"step": math.nan}, "step of a prompt history must be from 0 to 1, got nan"),
        ({"step": True}, "step of a prompt history must be from 0 to 1, got True"),
        ({"target": "0.2"}, "target of a prompt history must be from 0 to 1, got '0.2'"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        PromptHistory(**settings)
