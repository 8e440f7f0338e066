"""GDPO with a reweighter in TRL's real trainer: rewards are normalised, their sum is reweighted and then scaled."""

import math
from functools import partial

import pytest
import reference
import torch
from forked import in_two_processes
from test_trl import identity, length, steps, trainer_of, vowels
from trl import GRPOTrainer

from manypaths import mmr
from manypaths.embed import NgramEmbedder
from manypaths.methods import grpo_pos
from manypaths.trl import DiverseGRPOTrainer
from manypaths.trl.normalize_then_sum import raw_rewards

WEIGHTS = [1.0, 0.5]
OURS = {"reweight": mmr, "embedder": NgramEmbedder()}


def few(completions, **_):
    """One scored completion in a group of four."""
    return [value if index % 4 == 2 else None for index, value in enumerate(length(completions))]


def most(completions, **_):
    return [None if index % 4 == 1 else value for index, value in enumerate(length(completions))]


def sums(scores):
    """The weighted sum of normalised rewards of one group, as a loop; scores: a list of each function."""
    normalised = [reference.advantages([math.nan if x is None else x for x in column]) for column in scores]
    total = []
    for row in zip(*normalised, strict=True):
        known = [weight * value for weight, value in zip(WEIGHTS, row, strict=True) if not math.isnan(value)]
        total.append(sum(known) if known else math.nan)
    return total


def by_hand(texts, functions, method):
    """Advantages of groups of four: GDPO of the reweighted sums, of which each group's own mean is subtracted."""
    centred = []
    for start in range(0, len(texts), 4):
        own = texts[start : start + 4]
        rows = NgramEmbedder()(own).double()
        adjusted = method(sums([function(own) for function in functions]), (rows @ rows.T).tolist())
        mean = torch.tensor(adjusted).nanmean().item()
        centred += [value - mean for value in adjusted]
    known = torch.tensor([value for value in centred if not math.isnan(value)])
    return torch.tensor([value / (known.std().item() + 1e-4) for value in centred]).nan_to_num(0.0)


def gdpo(tiny_model, out, cls=DiverseGRPOTrainer, rewards=(vowels, length), **settings):
    named = {"multi_objective_aggregation": "normalize_then_sum", "reward_weights": WEIGHTS, "steps": 1, **settings}
    return trainer_of(tiny_model, out, cls, list(rewards), **named)


@pytest.mark.parametrize("rewards", [(vowels, length), (most, length), (most, few)])
@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo"])
def test_advantages_are_the_closed_form(tiny_model, tmp_path, rewards, loss):
    trainer = gdpo(tiny_model, tmp_path, rewards=rewards, loss_type=loss, steps=2, **OURS)
    trainer.train()
    texts = list(trainer._logs["completion"])
    expected = by_hand(texts, rewards, partial(reference.mmr, ties="diverse"))
    torch.testing.assert_close(torch.tensor(list(trainer._logs["advantages"])), expected, rtol=1e-4, atol=1e-4)
    raw = [value for start in range(0, 8, 4) for value in sums([f(texts[start : start + 4]) for f in rewards])]
    torch.testing.assert_close(trainer.groups.raw.flatten(), torch.tensor(raw), equal_nan=True, rtol=1e-4, atol=1e-4)
    scores = [[score for score in function(texts) if score is not None] for function in rewards]
    last = steps(trainer)[-1]
    names = [function.__name__ for function in rewards]
    for name, own in zip(names, scores, strict=True):
        assert last[f"rewards/{name}/mean"] == pytest.approx(sum(own) / len(own))


@pytest.mark.parametrize("rewards", [(vowels, length), (most, few)])
def test_with_the_identity_it_is_what_trl_does(tiny_model, tmp_path, rewards):
    def advantages(**named):
        trainer = gdpo(tiny_model, tmp_path, rewards=rewards, **named)
        trainer.train()
        return torch.tensor(list(trainer._logs["advantages"]))

    ours, own = advantages(reweight=identity, embedder=NgramEmbedder()), advantages(cls=GRPOTrainer)
    torch.testing.assert_close(ours, own, rtol=1e-4, atol=1e-5)
    assert own.abs().max() > 0.1


def test_an_advantage_gets_those_of_the_adjusted_rewards(tiny_model, tmp_path):
    trainer = gdpo(tiny_model, tmp_path, advantage=grpo_pos, **OURS)
    trainer.train()
    expected = by_hand(list(trainer._logs["completion"]), [vowels, length], partial(reference.mmr, ties="diverse"))
    torch.testing.assert_close(torch.tensor(list(trainer._logs["advantages"])), expected.clamp(min=0.0))


def test_the_update_takes_them(tiny_model, tmp_path):
    """Also where rows are evaluated, whose rewards stay raw."""
    passed = []

    class Passed(DiverseGRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            output = super()._generate_and_score_completions(inputs)
            passed.append((self.model.training, output["advantages"].clone(), list(self._logs["advantages"])))
            return output

    trainer = gdpo(tiny_model, tmp_path, cls=Passed, eval_strategy="steps", eval_steps=1, **OURS)
    trainer.train()
    (training, advantages, logged), *others = passed
    assert training and advantages.tolist() == pytest.approx(logged)
    assert others and not any(training for training, *_ in others)


def two_processes(tiny_model, tmp_path):
    trainer = gdpo(
        tiny_model, tmp_path, per_device_train_batch_size=4, num_generations=4, ddp_backend="gloo", seed=7, **OURS
    )
    trainer.train()
    trainer.accelerator.wait_for_everyone()
    logs = [list(trainer._logs[name]) for name in ("completion", "advantages")]
    return trainer.accelerator.num_processes, *logs


def test_the_batch_of_two_processes_is_one_batch(tiny_model, tmp_path):
    processes, texts, advantages = in_two_processes(two_processes, tiny_model, tmp_path)
    expected = by_hand(texts, [vowels, length], partial(reference.mmr, ties="diverse"))
    assert processes == 2 and len(texts) == 8
    torch.testing.assert_close(torch.tensor(advantages), expected, rtol=1e-4, atol=1e-4)


def test_the_sum_of_a_zero_variance_group_is_equal():
    rewards = torch.tensor([[0.1, 0.3]] * 7 + [[0.1, 0.3]])
    for aggregation in ("sum_then_normalize", "normalize_then_sum"):
        raw = raw_rewards(rewards, torch.tensor(WEIGHTS), 4, aggregation)
        assert len(set(raw.tolist())) == 1
