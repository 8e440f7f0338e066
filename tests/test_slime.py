"""The function for slime, on objects with the attributes that slime's own have; slime itself needs GPUs."""

import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import reference
import torch

from manypaths import dra, mmr
from manypaths.embed import NgramEmbedder
from manypaths.methods import ADVANTAGES, among_correct
from manypaths.methods.bind import bind_advantage
from manypaths.methods.inputs import inputs_of
from manypaths.slime import post_process_rewards

PAGE = Path(__file__).parent.parent / "docs" / "trainers.md"
WORDS = ["one two three", "one two", "nothing alike", "one two three", "", "zz", "zzz", "one"]
SCORES = [1.0, 0.0, 1.0, 1.0, 0.5, 2.0, 0.0, 0.0]


def arguments(**changed):
    settings = {"advantage_estimator": "grpo", "rewards_normalization": True, "grpo_std_normalization": True}
    return SimpleNamespace(**{"n_samples_per_prompt": 4, "reward_key": None, **settings, **changed})


def rollout(scores=SCORES):
    """As slime's Sample: group_index is the same for the samples of one prompt."""

    def sample(at):
        return SimpleNamespace(
            group_index=7 + at // 4, response=WORDS[at], reward=scores[at], get_reward_value=lambda _: scores[at]
        )

    return [sample(at) for at in range(8)]


def processed(args, scores=SCORES, reweight=mmr):
    return post_process_rewards(args, rollout(scores), reweight=reweight, embedder=NgramEmbedder())


def adjusted(group, scores, oracle):
    rows = NgramEmbedder()(WORDS[group]).double()
    scores = [float("nan") if score is None else score for score in scores[group]]
    return torch.tensor(oracle(scores, (rows @ rows.T).tolist()), dtype=torch.float64)


def normalised(rewards, estimator, by_deviation):
    """slime's own `_post_process_rewards`, as a loop over one group; an unscored completion has 0."""
    scored = rewards[~rewards.isnan()]
    if estimator == "ppo":
        return rewards.nan_to_num(0.0)
    centred = rewards - scored.mean()
    if estimator in ("grpo", "gspo", "cispo") and by_deviation:
        centred = centred / (scored.std() + 1e-6)
    if estimator == "rloo":
        centred = centred * len(scored) / (len(scored) - 1)
    return centred.nan_to_num(0.0)


@pytest.mark.parametrize(
    ("reweight", "oracle"), [(mmr, partial(reference.mmr, ties="diverse")), (dra, reference.dra)], ids=["mmr", "dra"]
)
@pytest.mark.parametrize("scores", [SCORES, [None, *SCORES[1:]]], ids=["scored", "one unscored"])
@pytest.mark.parametrize("by_deviation", [True, False])
@pytest.mark.parametrize("estimator", ["grpo", "gspo", "cispo", "reinforce_plus_plus_baseline", "rloo", "ppo"])
def test_it_is_the_closed_form(reweight, oracle, scores, by_deviation, estimator):
    args = arguments(advantage_estimator=estimator, grpo_std_normalization=by_deviation)
    raw, actual = processed(args, scores, reweight)
    groups = [adjusted(group, scores, oracle) for group in (slice(0, 4), slice(4, 8))]
    expected = torch.cat([normalised(group, estimator, by_deviation) for group in groups])
    assert raw == scores
    torch.testing.assert_close(torch.tensor(actual), expected.float(), rtol=1e-4, atol=1e-4)


def test_without_normalisation_it_is_the_adjusted_reward():
    _, actual = processed(arguments(rewards_normalization=False))
    expected = torch.cat(
        [adjusted(group, SCORES, partial(reference.mmr, ties="diverse")) for group in (slice(4), slice(4, 8))]
    )
    torch.testing.assert_close(torch.tensor(actual), expected.float())


def test_whole_numbers_are_rewards_as_any_other():
    whole, args = [1, 0, 1, 1, True, 2, 0, 0], arguments(rewards_normalization=False)
    assert processed(args, whole)[1] == processed(args, [float(score) for score in whole])[1]


def test_an_estimator_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"advantage estimator must be one of grpo, gspo, .*, got 'on_policy'"):
        processed(arguments(advantage_estimator="on_policy"))


def test_the_module_that_the_page_shows():
    shown = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (module,) = [line for line in shown if "manypaths.slime" in line]
    scope = {}
    exec(compile(module, str(PAGE), "exec"), scope)
    assert scope["post_process"](arguments(), rollout()) == processed(arguments())


def test_a_rollout_without_whole_groups_is_refused():
    with pytest.raises(ValueError, match="runs of 3 completions of one prompt, got 8"):
        processed(arguments(n_samples_per_prompt=3))
    samples = rollout()
    samples[3], samples[4] = samples[4], samples[3]
    with pytest.raises(ValueError, match="in runs of 3, 1, 1, 3"):
        post_process_rewards(arguments(), samples, reweight=mmr, embedder=NgramEmbedder())


@pytest.mark.parametrize("form", [lambda rows: rows.numpy(), lambda rows: rows.tolist(), lambda rows: rows.double()])
def test_an_embedder_of_another_form_is_the_same(form):
    def embedder(texts):
        return form(NgramEmbedder()(texts))

    actual = post_process_rewards(arguments(), rollout(), reweight=mmr, embedder=embedder)
    assert actual == (SCORES, pytest.approx(processed(arguments())[1], abs=1e-6))


@pytest.mark.parametrize("form", [lambda rows: rows[:4], lambda rows: rows.T, lambda rows: rows / 0])
def test_what_an_embedder_must_not_return_is_named(form):
    def embedder(texts):
        return form(NgramEmbedder()(texts))

    with pytest.raises(ValueError, match="Embedder 'embedder' must return"):
        post_process_rewards(arguments(), rollout(), reweight=mmr, embedder=embedder)


def test_what_a_reweighter_must_not_return_is_named():
    with pytest.raises(ValueError, match="Reweighter '<lambda>' must return"):
        processed(arguments(), reweight=lambda rewards, _: rewards.mean(1, keepdim=True))


# Advantages


def with_texts(scores=SCORES):
    """A rollout whose samples have what methods may want: a prompt, a loss mask, log-probabilities."""
    samples = rollout(scores)
    for at, sample in enumerate(samples):
        sample.prompt, sample.loss_mask = f"problem {at // 4}", [1, 0, 1, 1]
        sample.effective_response_length, sample.rollout_log_probs = 3, [-1.0, -9.0, -0.5 * at, 0.0]
    return samples


def same_word(completions, problems):
    return [WORDS.index(text) for text in completions]


def replaced(args, advantage, scores=SCORES, **named):
    named = {"keys": same_word, "correct": "reward", "embedder": NgramEmbedder()} | named
    return torch.tensor(post_process_rewards(args, with_texts(scores), advantage=advantage, **named)[1])


def by_group(method, scores, estimator="grpo", by_deviation=True, reweighted=None):
    """An advantage by hand on the tensors of one group at a time."""
    results = []
    for group in (slice(0, 4), slice(4, 8)):
        raw = torch.tensor([float("nan") if score is None else score for score in scores[group]])
        adjusted = raw if reweighted is None else reweighted(raw)
        rows, words = NgramEmbedder()(WORDS[group]), WORDS[group]
        inputs = {
            "rewards": adjusted,
            "adjusted": adjusted,
            "similarity": rows @ rows.T,
            "correct": torch.where(raw.isnan(), raw, (raw > 0.5).float()),
            "keys": torch.tensor(same_word(words, words)),
            "lengths": torch.full((4,), 3),
            "logprobs": torch.tensor([-1.0 - 0.5 * at for at in range(8)][group]),
            "advantages": normalised(adjusted, estimator, by_deviation),
        }
        inputs = {name: values.unsqueeze(0) for name, values in inputs.items()} | {"progress": torch.tensor(0.5)}
        returned = method(*(inputs[name] for name in inputs_of(method, "advantage")))[0]
        results.append(returned.masked_fill(raw.isnan(), 0.0))
    return torch.cat(results)


@pytest.mark.parametrize("scores", [SCORES, [None, *SCORES[1:]]], ids=["scored", "one unscored"])
@pytest.mark.parametrize("name", ADVANTAGES)
def test_each_advantage_is_that_of_its_function_on_each_group(name, scores):
    actual = replaced(arguments(), ADVANTAGES[name], scores, progress=0.5)
    torch.testing.assert_close(actual, by_group(ADVANTAGES[name], scores), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "reinforce_plus_plus_baseline"])
def test_advantages_work_on_those_of_slime_and_on_adjusted_rewards(estimator):
    """In a chain, on rewards that are reweighted first; maxrl by its closed form: G r / n - 1."""
    args = arguments(advantage_estimator=estimator)
    chain = bind_advantage(["grpo_pos", "focal"], {"focal": {"gamma": 1.0}}, "advantage")
    half = partial(torch.mul, 0.5)
    actual = replaced(args, chain, reweight=lambda rewards: rewards / 2)
    torch.testing.assert_close(actual, by_group(chain, SCORES, estimator, reweighted=half), rtol=1e-4, atol=1e-4)
    right = [4 / 3 - 1, -1.0, 4 / 3 - 1, 4 / 3 - 1, -1.0, 3.0, -1.0, -1.0]
    torch.testing.assert_close(replaced(args, ADVANTAGES["maxrl"]), torch.tensor(right))
    raw, only = post_process_rewards(args, with_texts(), advantage=ADVANTAGES["maxrl"], correct="reward")
    assert raw == SCORES and only == pytest.approx(right)


def test_log_probabilities_are_those_of_the_tokens_that_the_model_wrote():
    actual = replaced(arguments(), lambda advantages, logprobs: logprobs + 0 * advantages)
    assert actual.tolist() == [-1.0 - 0.5 * at for at in range(8)]
    samples = with_texts()
    samples[2].rollout_log_probs = None
    with pytest.raises(ValueError, match="must have samples with rollout_log_probs, got None"):
        post_process_rewards(arguments(), samples, reweight=lambda logprobs: logprobs)
    samples[2].rollout_log_probs, samples[2].loss_mask = [-1.0, -2.0], None
    _, rewards = post_process_rewards(
        arguments(rewards_normalization=False), samples, reweight=lambda rewards, logprobs: logprobs
    )
    assert rewards[2] == -3.0


def test_progress_is_a_number_or_a_function_that_is_called_for_each_rollout():
    done = iter([0.25, 0.5])
    post_process = partial(replaced, arguments(), lambda advantages, progress: 0 * advantages + progress)
    assert [post_process(progress=done.__next__)[0].item() for _ in range(2)] == [0.25, 0.5]
    assert post_process(progress=0)[0] == 0


def test_among_the_right_ones_it_is_the_wrapper():
    """The right ones share their sum by how many are like them; the others keep their rewards."""
    args = arguments(rewards_normalization=False)
    _, adjusted = post_process_rewards(
        args, with_texts(), reweight=among_correct(dra), keys=same_word, correct="reward"
    )
    shared = [0.5, 1.0, 0.5]  # the first and the fourth are equal
    moved = (3 - sum(shared)) / 3
    assert adjusted == pytest.approx([0.5 + moved, 0.0, 1 + moved, 0.5 + moved, 0.5, 2.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("changed", "named", "sentence"),
    [
        ({}, {"reweight": None}, "must be given a method, got none"),
        ({}, {"advantage": lambda progress: progress}, "must be given progress, .* slime does not say which step"),
        ({}, {"advantage": ADVANTAGES["maxrl"], "correct": None}, r"must be given correct, .* Pass correct='reward'"),
        (
            {"advantage_estimator": "ppo"},
            {"advantage": ADVANTAGES["maxrl"]},
            "one of grpo, .* with advantage=, got 'ppo'",
        ),
        ({"normalize_advantages": True}, {"advantage": ADVANTAGES["maxrl"]}, "--normalize-advantages must be left out"),
        ({}, {"reweight": ADVANTAGES["maxrl"]}, "reweight 'maxrl' must return rewards, got an advantage"),
        ({}, {"reweight": partial(ADVANTAGES["maxrl"], eps=0.1)}, "must return rewards, got an advantage"),
    ],
)
def test_what_slime_would_not_keep_or_does_not_have_is_refused(changed, named, sentence):
    with pytest.raises(ValueError, match=sentence):
        post_process_rewards(arguments(**changed), with_texts(), **{"correct": "reward"} | named)
