"""Methods from log-probabilities: equal to released code, their worked numbers and edges, in the trainer by recipe."""

import math
from functools import partial

import pytest
import reference
import reference_logprobs
import test_methods
import torch
from family import cases
from test_methods import accuracy, length
from torch.testing import assert_close

from manypaths import recipe
from manypaths.methods import among_correct, grpo_pos, ucpo, unlikeliness
from manypaths.methods.bind import bind_advantage
from manypaths.methods.chained import chained
from manypaths.methods.diagnostics import collected
from manypaths.preflight.dry_run import page
from manypaths.training.trainer_config import trainer_config

train = test_methods.train
NAN = math.nan


def of(method, inputs, names=("rewards", "logprobs", "lengths")):
    return method(*(inputs[name] for name in names))


def ids(case):
    return case.name


# Released code, and the code of third parties


@pytest.mark.parametrize("case", cases("unlikeliness"), ids=ids)
def test_unlikeliness_per_token_equals_the_released_code(case):
    adjusted = of(partial(unlikeliness, per_token=True, **case.options), case.inputs)
    deviation = adjusted.std(-1, keepdim=True)
    advantages = (adjusted - adjusted.mean(-1, keepdim=True)) / (deviation + 1e-6)
    assert_close(advantages, case.expected["advantage"])


@pytest.mark.parametrize("case", cases("unlikeliness_paper"), ids=ids)
def test_unlikeliness_equals_the_papers_equation(case):
    adjusted = of(partial(unlikeliness, **case.options), case.inputs)
    assert_close(adjusted, case.expected["adjusted"])


@pytest.mark.parametrize("case", cases("ucpo"), ids=ids)
def test_ucpo_per_token_equals_the_released_code(case):
    correct = case.inputs["correct"]
    own = (correct - correct.mean(-1, keepdim=True)) / (correct.std(-1, keepdim=True) + 1e-8)
    made = ucpo(own, correct, case.inputs["logprobs"], case.inputs["lengths"], per_token=True, **case.options)
    assert_close(made, case.expected["advantage"])


@pytest.mark.parametrize("case", cases("ucpo_sequence"), ids=ids)
def test_ucpo_equals_the_papers_equations(case):
    correct = case.inputs["correct"]
    own = correct - correct.mean(-1, keepdim=True)
    made = ucpo(own, correct, case.inputs["logprobs"], case.inputs["lengths"], **case.options)
    assert_close(made, case.expected["advantage"])


# Worked numbers

EXAMPLE = {
    "rewards": torch.tensor([[1.0, 1, 1, 1, 0, 0, 0, 0]], dtype=torch.float64),
    "logprobs": torch.tensor([[-4.0, -6, -8, -20, -5, -7, -9, -30]], dtype=torch.float64),
    "lengths": torch.full((1, 8), 10),
}


def shown(values, expected):
    assert_close(values, torch.tensor([expected], dtype=torch.float64), rtol=0, atol=0.00051)


def test_the_worked_numbers():
    adjusted = of(unlikeliness, EXAMPLE)
    shown(adjusted, [0.781, 0.844, 0.906, 0.969, 0, 0, 0, 0])
    shown((adjusted - adjusted.mean()) / adjusted.std(), [0.730, 0.863, 0.996, 1.129, -0.930, -0.930, -0.930, -0.930])
    right, logprobs, lengths = EXAMPLE.values()
    shown(ucpo(right - 0.5, right, logprobs, lengths), [0.4, 0.4, 0.4, 0.8, -0.5, -0.5, -0.5, -0.5])
    grpo = test_methods.relative(right)
    made = ucpo(grpo, right, logprobs, lengths, per_token=True)
    shown(made, [0.835, 0.854, 0.877, 1.176, -0.935, -0.935, -0.935, -0.935])


# What they do to groups


@pytest.mark.parametrize("per_token", [False, True])
def test_ucpo_keeps_the_sum_of_the_right_ones_and_everything_of_the_others(per_token):
    for seed in range(20):
        inputs = test_methods.groups(seed, unscored=0)
        own, correct = inputs["advantages"], inputs["correct"]
        made = ucpo(own, correct, inputs["logprobs"], inputs["lengths"], tau=0.6, per_token=per_token)
        assert torch.equal(made[correct == 0], own[correct == 0])
        assert_close((made * correct).sum(-1), (own * correct).sum(-1))


def test_ucpo_leaves_groups_of_equal_verdicts_or_one_right_one_and_without_a_positive_sum():
    logprobs, lengths = torch.tensor([[-1.0, -2.0, -9.0]]), torch.full((1, 3), 4)
    for own, correct in (
        ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ([2.0, -1.0, -1.0], [1.0, 0.0, 0.0]),
        ([0.3, 0.2, -0.5], [NAN, NAN, NAN]),
        ([-0.5, -0.2, 0.7], [1.0, 1.0, 0.0]),
    ):
        own = torch.tensor([own])
        with collected() as diagnostics:
            made = ucpo(own, torch.tensor([correct]), logprobs, lengths, tau=1.0)
        assert torch.equal(made, own) and diagnostics["largest_share"].isnan().all()


def test_ucpo_gives_a_part_to_the_unlikeliest_and_with_the_sums_nearly_all_of_it():
    own, correct = torch.tensor([[0.5, 0.5, -1.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    logprobs, lengths = torch.tensor([[-40.0, -60.0, -1.0]]), torch.full((1, 3), 20)
    assert_close(ucpo(own, correct, logprobs, lengths), torch.tensor([[0.4, 0.6, -1.0]]))
    e = math.e
    expected = torch.tensor([[0.4 + 0.2 / (1 + e), 0.4 + 0.2 * e / (1 + e), -1.0]])
    assert_close(ucpo(own, correct, logprobs, lengths, per_token=True), expected)
    assert torch.equal(ucpo(own, correct, logprobs, lengths, tau=0.0), own)
    far, correct = torch.tensor([[-4.0, -4000.0, -8000.0]]), torch.ones(1, 3)  # no share of probability below 1e-6
    expected = torch.tensor([[0.0, 0.75, 0.75]])
    own = torch.full((1, 3), 0.5)
    assert_close(ucpo(own, correct, far, lengths, tau=1.0, per_token=True), expected)
    assert_close(ucpo(own, correct, far, lengths, tau=1.0), torch.tensor([[0.0, 0.0, 1.5]]))


def test_ucpo_works_on_advantages_of_another_method():
    own, correct, logprobs, lengths = torch.tensor([[0.5, 0.5, -1.0]]), torch.tensor([[1.0, 1, 0]]), *_few()
    both = chained([grpo_pos, ucpo])
    expected = ucpo(own.clamp(min=0), correct, logprobs, lengths)
    named = {"correct": correct, "logprobs": logprobs, "lengths": lengths, "rewards": correct, "advantages": own}
    assert_close(both(**named), expected)
    assert bind_advantage(["maxrl", "ucpo"], {"ucpo": {"tau": 0.5}}, "method.advantage") is not None


def _few():
    return torch.tensor([[-1.0, -2.0, -3.0]]), torch.full((1, 3), 2)


def test_copies_share_the_mean_of_their_ranks_whatever_their_rounding():
    logprobs, lengths = torch.tensor([[-300.0, -300.001, -20.0, -1000.0]]), torch.full((1, 4), 100)
    adjusted = unlikeliness(torch.ones(1, 4), logprobs, lengths, beta=0.4)
    assert_close(adjusted, torch.tensor([[0.85, 0.85, 0.7, 1.0]]))
    assert_close(unlikeliness(torch.ones(1, 4), torch.zeros(1, 4), lengths), torch.full((1, 4), 1 - 0.25 * 1.5 / 4))


def test_an_unscored_completion_ties_with_no_other_not_even_with_an_empty_one():
    rewards, logprobs = torch.tensor([[1.0, NAN, 1.0]]), torch.tensor([[0.0, -1.0, -2.0]])
    adjusted = unlikeliness(rewards, logprobs, torch.tensor([[0, 1, 1]]))
    assert_close(adjusted, torch.tensor([[0.875, NAN, 1.0]]), equal_nan=True)


def test_the_sum_and_the_mean_per_token_rank_differently():
    """A long completion of likely tokens is unlikely as a whole."""
    logprobs, lengths = torch.tensor([[-10.0, -30.0]]), torch.tensor([[5, 100]])
    assert_close(unlikeliness(torch.ones(1, 2), logprobs, lengths, beta=1.0), torch.tensor([[0.5, 1.0]]))
    per_token = unlikeliness(torch.ones(1, 2), logprobs, lengths, beta=1.0, per_token=True)
    assert_close(per_token, torch.tensor([[1.0, 0.5]]))


@pytest.mark.parametrize("beta", [0.01, 0.25, 1.0])
def test_in_a_group_where_all_are_right_beta_cancels(beta):
    adjusted = unlikeliness(
        torch.ones(1, 4).double(), torch.tensor([[-1.0, -2, -3, -4]]), torch.ones(1, 4).long(), beta=beta
    )
    scaled = (adjusted - adjusted.mean()) / adjusted.std()
    assert_close(scaled, torch.tensor([[-3.0, -1, 1, 3]]).double() / math.sqrt(20 / 3))


def test_among_the_right_ones_wrong_completions_keep_their_rewards_and_the_mean_stays():
    rewards = torch.tensor([[1.1, 1.1, 0.1, 0.1]])
    logprobs, lengths, correct = (
        torch.tensor([[-1.0, -3, -2, -4]]),
        torch.ones(1, 4).long(),
        torch.tensor([[1.0, 1, 0, 0]]),
    )
    made = among_correct(unlikeliness)(rewards=rewards, correct=correct, logprobs=logprobs, lengths=lengths)
    assert torch.equal(made[:, 2:], rewards[:, 2:])
    assert_close(made[:, :2], torch.tensor([[1.1 - 1.1 / 16, 1.1 + 1.1 / 16]]))


# What is refused, and types


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_type_is_kept(dtype):
    rewards, (logprobs, lengths) = torch.tensor([[1.0, 1.0, 0.0]], dtype=dtype), _few()
    for made in (unlikeliness(rewards, logprobs, lengths), ucpo(rewards, rewards, logprobs, lengths)):
        assert made.dtype == dtype and made.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprobs": torch.tensor([[-1.0, NAN, 0]])}, "logprobs must be finite for scored completions, got NaN"),
        ({"logprobs": torch.tensor([[-1.0, -math.inf, 0]])}, "logprobs must be finite"),
        ({"logprobs": torch.zeros(1, 2)}, r"logprobs must be \[B, G\], here \[1, 3\], got \[1, 2\]"),
        ({"lengths": torch.zeros(3)}, r"lengths must be \[B, G\], here \[1, 3\], got \[3\]"),
    ],
)
def test_log_probabilities_that_are_none_are_refused(changes, message):
    logprobs, lengths = (changes.get(name, own) for name, own in zip(("logprobs", "lengths"), _few(), strict=True))
    right = torch.tensor([[1.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match=f"unlikeliness's {message}"):
        unlikeliness(right, logprobs, lengths)
    with pytest.raises(ValueError, match=f"ucpo's {message}"):
        ucpo(right, right, logprobs, lengths)


@pytest.mark.parametrize("value", [-0.1, 1.1, NAN])
def test_options_out_of_range_are_refused(value):
    right = torch.tensor([[1.0, 1.0, 0.0]])
    with pytest.raises(ValueError, match=r"unlikeliness's beta must be in \[0, 1\]"):
        unlikeliness(right, *_few(), beta=value)
    with pytest.raises(ValueError, match=r"ucpo's tau must be in \[0, 1\]"):
        ucpo(right, right, *_few(), tau=value)


def test_a_reward_is_no_verdict():
    with pytest.raises(ValueError, match=r"ucpo's correct must be 1, 0, or NaN .* got 1\.1"):
        ucpo(torch.zeros(1, 3), torch.tensor([[1.1, 0.1, 0.0]]), *_few())


# In the trainer, by recipe


def by_hand(step, name, scaled):
    """Advantages of the groups of a step: raw rewards, the method as a loop, GRPO's or Dr. GRPO's advantages."""
    for group in range(2):
        texts = step["completion"][4 * group : 4 * group + 4]
        raw = [a + 0.1 * b for a, b in zip(accuracy(texts), length(texts), strict=True)]
        logprobs, lengths = (step["inputs"][input][group].tolist() for input in ("logprobs", "lengths"))
        if name == "unlikeliness":
            raw = reference_logprobs.unlikeliness(raw, logprobs, lengths)
        own = reference.advantages(raw) if scaled else [reward - sum(raw) / 4 for reward in raw]
        yield from own if name != "ucpo" else reference_logprobs.ucpo(own, accuracy(texts), logprobs, lengths)


@pytest.mark.parametrize("variant", ["grpo", "dr-grpo", "dapo", "dapo-dynamic"])
@pytest.mark.parametrize("name", ["unlikeliness", "ucpo"])
def test_three_steps_have_the_advantages_of_the_closed_form(train, name, variant):
    trainer, steps = train(name, variant, "method.correct=accuracy")
    assert trainer.state.global_step == len(steps) == 3
    for step in steps:
        expected = list(by_hand(step, name, variant != "dr-grpo"))
        assert_close(torch.tensor(step["advantages"]), torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_the_entropy_bonus_joins_any_method(train):
    trainer, steps = train("mmr-paper", "grpo", "entropy", "trainer.entropy_coef=0.5")
    plain, its_steps = train("mmr-paper", "grpo")
    assert trainer.args.entropy_coef == 0.5 and plain.args.entropy_coef == 0.0
    assert steps[0]["completion"] == its_steps[0]["completion"]
    entropies = [[step["metrics"]["entropy"][-1] for step in run] for run in (steps, its_steps)]
    assert entropies[0][-1] > entropies[1][-1] and entropies[0][0] == entropies[1][0]


# In the dry run


def line_of(page, key):
    lines = page.splitlines()
    start = next(at for at, line in enumerate(lines) if line.strip().startswith(f"{key}  "))
    more = [line.strip() for line in lines[start + 1 : start + 3] if line.startswith(" " * 20)]
    return " ".join([lines[start].split(maxsplit=1)[1], *more])


@pytest.mark.parametrize(
    ("overrides", "source"),
    [
        ([], "one more forward pass a generation, without gradient"),
        (["trainer.num_iterations=2"], "TRL, which has them for its importance ratio"),
        (["trainer.num_iterations=2", "trainer.mask_truncated_completions=true"], "one more forward pass"),
        (["trainer.use_vllm=true"], "TRL, which has them for its importance ratio"),
        (["trainer.use_vllm=true", "trainer.vllm_importance_sampling_correction=false"], "vLLM"),
    ],
)
def test_the_dry_run_names_the_source_of_log_probabilities(overrides, source):
    names = ["smollm2-135m-pypi", "arithmetic", "grpo", "unlikeliness"]
    shown = page(recipe.read(names, overrides), names)
    assert f"logprobs by {source}" in line_of(shown, "inputs")


def test_the_dry_run_shows_the_entropy_bonus(tmp_path):
    names = ["smollm2-135m-pypi", "arithmetic", "grpo", "mmr", "entropy"]
    spec = recipe.read(names, [])
    assert line_of(page(spec, names), "entropy").startswith("0.001 x the mean entropy of a token")
    assert trainer_config(spec, tmp_path).entropy_coef == 0.001
