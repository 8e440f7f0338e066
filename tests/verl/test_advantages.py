"""Advantages in the place of verl's own, in its trainer and its TransferQueue."""

import math

import pytest
import torch
from test_verl import ANSWERS, advantages, put, similarities
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size

from manypaths.methods import ADVANTAGES, REWEIGHTERS, report
from manypaths.methods.inputs import inputs_of
from manypaths.verl import DiversePPOTrainer
from manypaths.verl_settings import GROUPED, check

SETTINGS = ["+diversity.keys=text", "+diversity.correct=score"]


def by_uid(values_of):
    """One value for each answer: `values_of(texts, scores) -> values` of each uid."""
    values = {}
    for uid in {key[0] for key in ANSWERS}:
        group = {key: answer for key, answer in ANSWERS.items() if key[0] == uid}
        values |= dict(zip(group, values_of(*map(list, zip(*group.values(), strict=True))), strict=True))
    return torch.tensor([values[key] for key in ANSWERS])


def grpo(scores):
    """verl's advantages of one uid: of a completion alone, its score."""
    if len(scores) == 1:
        return [scores[0] / (1 + 1e-6)]
    mean = sum(scores) / len(scores)
    std = math.sqrt(sum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    return [(score - mean) / (std + 1e-6) for score in scores]


def at(step, ours):
    """The trainer in a step of 8."""
    ours.global_steps, ours.total_training_steps = step, 8
    return ours


def called(method, tokenizer, role="advantage", step=3):
    """A method by hand on the tensors of one uid at a time, without padding."""

    def values_of(texts, scores):
        lengths = [len(tokenizer(text)["input_ids"]) + 1 for text in texts]
        inputs = {
            "rewards": scores,
            "adjusted": scores,
            "advantages": grpo(scores),
            "similarity": similarities(texts),
            "correct": [float(score > 0.5) for score in scores],
            "logprobs": [-float(length) for length in lengths],
        }
        inputs = {name: torch.tensor([values]) for name, values in inputs.items()}
        inputs |= {"keys": torch.tensor([[texts.index(text) for text in texts]]), "lengths": torch.tensor([lengths])}
        inputs["progress"] = torch.tensor((step - 1) / 8)
        return method(*(inputs[name] for name in inputs_of(method, role)))[0].tolist()

    return by_uid(values_of)


@pytest.mark.parametrize("name", ADVANTAGES)
def test_each_advantage_is_that_of_its_function_on_each_uid(queue, trainer, tokenizer, name):
    ours = at(3, trainer(f"+diversity.advantage={name}", *SETTINGS))
    actual, metrics, scores = advantages(queue, ours, put(queue, tokenizer, ANSWERS))
    torch.testing.assert_close(actual, called(ADVANTAGES[name], tokenizer), rtol=1e-5, atol=1e-5)
    assert scores == [score for _, score in ANSWERS.values()] and metrics["timing_s/diversity"] > 0


@pytest.mark.parametrize("name", REWEIGHTERS)
def test_each_reweighter_is_that_of_its_function_on_each_uid(queue, trainer, tokenizer, name):
    """Seen through rloo's advantages: n / (n - 1) times the distance to the mean; alone, the adjusted score."""
    ours = trainer(f"+diversity.method={name}", "algorithm.adv_estimator=rloo", *SETTINGS)
    actual, _, _ = advantages(queue, at(3, ours), put(queue, tokenizer, ANSWERS))
    adjusted = dict(zip(ANSWERS, called(REWEIGHTERS[name], tokenizer, "reweight").tolist(), strict=True))
    for key, advantage in zip(ANSWERS, actual.tolist(), strict=True):
        others = [value for place, value in adjusted.items() if place[0] == key[0] and place != key]
        mean = sum(others) / len(others) if others else 0.0
        assert advantage == pytest.approx(adjusted[key] - mean, abs=1e-4)


@pytest.mark.parametrize("estimator", GROUPED)
def test_maxrl_is_the_closed_form_whatever_the_estimator(queue, trainer, tokenizer, estimator):
    """G r / n - 1 in a group with a right answer, else 0; the returns are the advantages, as verl has them."""
    ours = trainer("+diversity.advantage=maxrl", "+diversity.correct=score", f"algorithm.adv_estimator={estimator}")
    actual, _, _ = advantages(queue, ours, batch := put(queue, tokenizer, ANSWERS))

    def maxrl(_, scores):
        right = [score > 0.5 for score in scores]
        return [len(right) * own / sum(right) - 1 if any(right) else 0.0 for own in right]

    torch.testing.assert_close(actual, by_uid(maxrl))
    rows = queue.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=["advantages", "returns"])
    for row, returns in zip(rows["advantages"].unbind(), rows["returns"].unbind(), strict=True):
        assert torch.equal(row, returns)


def test_it_works_on_the_adjusted_scores_and_after_other_advantages(queue, trainer, tokenizer, monkeypatch):
    """Half the score, verl's advantages of that, half of the negative ones, minus the adjusted score."""
    monkeypatch.setitem(REWEIGHTERS, "half", lambda rewards, keys: rewards / 2)
    monkeypatch.setitem(ADVANTAGES, "minus", lambda advantages, rewards, *, weight=0.0: advantages - weight * rewards)
    monkeypatch.setitem(
        ADVANTAGES, "damped", lambda advantages, lengths: torch.where(advantages < 0, 0.5, 1) * advantages
    )
    named = ["+diversity.method=half", "+diversity.advantage=[damped,minus]"]
    ours = trainer(*named, "+diversity.advantage_options.minus.weight=2.0", *SETTINGS)
    actual, metrics, scores = advantages(queue, ours, put(queue, tokenizer, ANSWERS))

    def by_hand(_, scores):
        own = grpo([score / 2 for score in scores])
        return [(0.5 if x < 0 else 1) * x - 2 * score / 2 for x, score in zip(own, scores, strict=True)]

    torch.testing.assert_close(actual, by_uid(by_hand), rtol=1e-5, atol=1e-5)
    assert metrics["diversity/adjusted_reward"] == pytest.approx(metrics["diversity/raw_reward"] / 2)
    assert scores == [score for _, score in ANSWERS.values()]


def test_progress_and_what_a_method_reports(queue, trainer, tokenizer, monkeypatch):
    """The first of 8 steps is at 0, and the last at 7/8. A diagnostic of both methods is logged twice."""

    def scheduled(advantages, progress):
        report("seen", progress.expand_as(advantages))
        return advantages * 0 + progress

    def reweight(rewards, progress):
        report("seen", 2 * progress.expand_as(rewards))
        return rewards + 0

    monkeypatch.setitem(ADVANTAGES, "scheduled", scheduled)
    monkeypatch.setitem(REWEIGHTERS, "reweight", reweight)
    ours = trainer("+diversity.advantage=scheduled", "+diversity.method=reweight")
    for step in (1, 3, 8):
        actual, metrics, _ = advantages(queue, at(step, ours), put(queue, tokenizer, ANSWERS))
        assert actual.tolist() == [(step - 1) / 8] * len(ANSWERS)
        assert (metrics["diversity/seen"], metrics["diversity/seen_2"]) == ((step - 1) / 4, (step - 1) / 8)


def test_rows_that_fill_up_a_batch_and_earlier_outputs(queue, trainer, tokenizer):
    """A row that fills up has 0; all outputs of a session have the advantage of the last one."""
    ours = trainer("+diversity.advantage=maxrl", *SETTINGS)
    several = {**ANSWERS, ("a", 3, 1): ("it is 5", 0.0), ("a", 3, 0): ("let me use a tool", 1.0)}
    batch = put(queue, tokenizer, several)
    actual, _, _ = advantages(queue, ours, batch)
    padded, _, _ = advantages(queue, ours, upsample_batch_to_divisible_size(batch, 8, tokenizer.eos_token_id))
    assert torch.equal(padded, torch.cat([actual, torch.zeros(len(padded) - len(actual))]))
    place = list(several).index
    assert actual[place(("a", 3, 0))] == actual[place(("a", 3, 1))] == -1.0
    torch.testing.assert_close(actual[place(("a", 0, 0))], torch.tensor(4 / 3 - 1))


def test_a_score_of_nan(queue, trainer, tokenizer):
    """Its advantage is 0, and it counts for no other; verl's own advantages of the group are NaN, and not worked on."""
    unscored = {**ANSWERS, ("a", 3, 0): ("it is 5", math.nan)}
    actual, _, _ = advantages(queue, trainer("+diversity.advantage=psr", *SETTINGS), put(queue, tokenizer, unscored))
    assert actual.tolist() == [float(score > 0.5) for _, score in unscored.values()]
    with pytest.raises(ValueError, match=r"verl's own advantages must be numbers for .*=focal, got NaN"):
        advantages(queue, trainer("+diversity.advantage=focal", *SETTINGS), put(queue, tokenizer, unscored))


REFUSED = {
    "unknown": (["+diversity.advantage=maxlr"], "Unknown diversity.advantage 'maxlr'. Did you mean 'maxrl'?"),
    "reweighter": (["+diversity.advantage=mmr"], "Unknown diversity.advantage 'mmr'. It is a method for reweight."),
    "as a reweighter": (["+diversity.method=maxrl"], "Unknown diversity.method 'maxrl'. It is a method for advantage."),
    "options alone": (["+diversity.advantage_options.k=1"], "advantage_options must come with diversity.advantage: "),
    "option": (["+diversity.advantage=focal", "+diversity.advantage_options.gama=1"], "the options gamma, got 'gama'"),
    "no correct": (["+diversity.advantage=maxrl"], "Set diversity.correct=score"),
    "twice": (["+diversity.advantage=[focal,focal]", *SETTINGS], "must name one method or several different ones"),
    "gae": (["+diversity.advantage=grpo_pos", "algorithm.adv_estimator=gae"], "that compares siblings, grpo, grpo_vec"),
    "kl": (
        ["+diversity.advantage=grpo_pos", "algorithm.use_kl_in_reward=true"],
        "algorithm.use_kl_in_reward must be false with diversity.advantage=grpo_pos",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_mean_nothing_are_refused(configure, case):
    overrides, sentence = REFUSED[case]
    with pytest.raises(ValueError) as raised:
        DiversePPOTrainer(configure(*overrides))
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_the_kl_term_may_be_in_the_reward_of_a_reweighter(configure):
    assert check(configure("+diversity.method=mmr", "algorithm.use_kl_in_reward=true")).method == "mmr"


def test_a_reweighter_that_verl_would_cancel_is_refused_by_its_settings(configure, monkeypatch):
    monkeypatch.setitem(REWEIGHTERS, "tripled", lambda rewards: 3 * rewards)
    method = "+diversity.method=tripled"
    with pytest.raises(ValueError, match=r"must change more .* \(algorithm.norm_adv_by_std_in_grpo=true\)"):
        check(configure(method))
    with pytest.raises(ValueError, match=r"must change more .*reinforce_plus_plus_baseline"):
        check(configure(method, "algorithm.adv_estimator=reinforce_plus_plus_baseline"))
    for settings in ("algorithm.norm_adv_by_std_in_grpo=false", "algorithm.adv_estimator=rloo"):
        assert check(configure(method, settings)).method == "tripled"
