"""The diversity column leaves the user's names, weights and metrics alone, and embedders of any kind work."""

import math
from functools import partial

import pandas as pd
import pytest
import reference
import torch
from test_trl import equal, identity, length, steps, trained, trainer_of, vowels
from torch.testing import assert_close
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from manypaths import dra, mmr, recipe
from manypaths.callbacks.records import group_lines
from manypaths.embed import NgramEmbedder
from manypaths.names import distinct
from manypaths.training.run import method_arguments
from manypaths.trl import DiverseGRPOTrainer
from manypaths.typed import build
from manypaths.wrapper import DiverseReward

EMBED = NgramEmbedder()


def diversity(completions, **_):
    """A reward function of the user with the name of our column."""
    return [len(set(text)) / 5 for text in completions]


def named(name, function):
    def reward(completions, **columns):
        return function(completions, **columns)

    reward.__name__ = name
    return reward


def diverse(tiny_model, tmp_path, rewards=vowels, **settings):
    return trainer_of(
        tiny_model, tmp_path, DiverseGRPOTrainer, rewards, **{"reweight": mmr, "embedder": EMBED} | settings
    )


def expected_advantages(trainer, functions, weights, oracle=reference.mmr):
    """Advantages by loops, of the completions in the trainer's table: two groups of 4."""
    texts = list(trainer._logs["completion"])
    scores = [function(texts) for function in functions]
    expected = []
    for start in (0, 4):
        rows = EMBED(texts[start : start + 4]).double()
        raw = [sum(w * s[i] for w, s in zip(weights, scores, strict=True)) for i in range(start, start + 4)]
        expected += reference.advantages(oracle(raw, (rows @ rows.T).tolist()))
    return torch.tensor(expected)


def advantages(trainer):
    return torch.tensor(list(trainer._logs["advantages"]))


# Names


@pytest.mark.parametrize("functions", [[vowels, diversity], [diversity]], ids=["beside another", "alone"])
@pytest.mark.parametrize(("reweight", "oracle"), [(mmr, reference.mmr), (dra, reference.dra)])
def test_a_reward_function_may_be_called_diversity(tiny_model, tmp_path, functions, reweight, oracle):
    ours = diverse(tiny_model, tmp_path, list(functions), steps=1, reweight=reweight)
    ours.train()
    weights = [1.0] * len(functions)
    assert_close(advantages(ours), expected_advantages(ours, functions, weights, oracle), rtol=1e-4, atol=1e-4)
    texts, (logged,) = list(ours._logs["completion"]), steps(ours)
    assert logged["rewards/diversity/mean"] == pytest.approx(sum(diversity(texts)) / 8)
    change = (ours.groups.adjusted - ours.groups.raw).mean().item()
    assert logged["rewards/diversity_2/mean"] == pytest.approx(change) and change != 0
    lines = group_lines(ours, ours.groups)
    recorded = [completion["rewards"] for line in lines for completion in line["completions"]]
    assert_close([rewards["diversity"] for rewards in recorded], diversity(texts))
    assert recorded[0].keys() == {function.__name__ for function in functions}


def test_reward_functions_of_one_name_are_kept_apart(tiny_model, tmp_path):
    functions = [named("good", vowels), named("good_2", vowels), named("good", length)]
    ours = diverse(tiny_model, tmp_path, list(functions), steps=1, reward_weights=[1.0, 0.5, 2.0])
    ours.train()
    assert_close(advantages(ours), expected_advantages(ours, functions, [1.0, 0.5, 2.0]), rtol=1e-4, atol=1e-4)
    texts, (logged,) = list(ours._logs["completion"]), steps(ours)
    for name, function in {"good": vowels, "good_2": vowels, "good_3": length}.items():
        assert logged[f"rewards/{name}/mean"] == pytest.approx(sum(function(texts)) / 8)
        assert_close(list(ours._logs["rewards"][name]), function(texts))


@pytest.mark.parametrize("names", [("good", "good"), ("raw", "adjusted"), ("adjusted", "adjusted")])
def test_names_of_functions_within_a_diverse_reward_are_kept_apart(tiny_model, tmp_path, names):
    first, second = (named(name, function) for name, function in zip(names, (vowels, length), strict=True))
    wrapped = DiverseReward([first, second], reweight=mmr, embedder=EMBED, num_generations=4)
    plain = trainer_of(tiny_model, tmp_path, rewards=[wrapped], steps=1)
    plain.train()
    texts, (logged,) = list(plain._logs["completion"]), steps(plain)
    raw = [first + second for first, second in zip(vowels(texts), length(texts), strict=True)]
    means = [
        sum(values) / 8 for values in (vowels(texts), length(texts), raw, plain._logs["rewards"][wrapped.__name__])
    ]
    for name, mean in zip(distinct([*names, "raw", "adjusted"]), means, strict=True):
        assert logged[f"rewards/{name}/mean"] == pytest.approx(mean), name


def test_two_rewards_of_one_name_in_a_recipe_are_kept_apart(tiny_recipe, tmp_path, monkeypatch):
    (tmp_path / "first_rewards.py").write_text("def good(completions, **_):\n    return [1.0] * len(completions)\n")
    (tmp_path / "other_rewards.py").write_text("def good(completions, **_):\n    return [2.0] * len(completions)\n")
    monkeypatch.syspath_prepend(tmp_path)
    tiny_recipe["rewards"] = {"first_rewards.good": 1.0, "other_rewards.good": 1.0}
    tiny_recipe["dynamic_sampling"] = {"reward": "other_rewards.good"}
    spec = build(recipe.Recipe, tiny_recipe)
    arguments = method_arguments(spec, GRPOConfig(str(tmp_path / "out"), use_cpu=True, bf16=False))
    chosen = arguments["reward_funcs"][arguments["dynamic_sampling"]]
    assert chosen(completions=["a"]) == [2.0]


@pytest.mark.parametrize("name", ["diversity/similarity", "diversity/share", "seconds/rewards", "groups/zero_std"])
def test_a_metric_of_ours_is_not_averaged_with_one_of_the_users(tiny_model, tmp_path, name):
    def logging(completions, log_metric=None, **_):
        log_metric(name, 100.0)
        return vowels(completions)

    with pytest.raises(ValueError, match=f"log_metric must be given a name of your own, got '{name}'"):
        diverse(tiny_model, tmp_path, logging).train()
    plain = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, logging, steps=1)
    if name.startswith("diversity/"):  # which is not logged without a method
        plain.train()
        assert steps(plain)[0][name] == 100.0


# Evaluation


@pytest.mark.parametrize("before", [False, True])
def test_what_evaluation_returns_can_be_logged_as_in_plain_trl(tiny_model, tmp_path, before, capsys):
    evaluations = []
    for cls, more in ((GRPOTrainer, {}), (DiverseGRPOTrainer, {"reweight": mmr, "embedder": EMBED})):
        trainer = trainer_of(tiny_model, tmp_path, cls, [vowels, length], steps=1, **more)
        if not before:
            trainer.train()
        evaluations.append(trainer.evaluate())
        trainer.log_metrics("eval", evaluations[-1])
        trainer.save_metrics("eval", evaluations[-1])
    plain, ours = evaluations
    assert set(plain) == set(ours) and None not in ours.values()
    assert "eval_rewards/vowels/mean" in capsys.readouterr().out
    if before:  # the same weights and seed
        assert {key: plain[key] for key in plain if "reward" in key} == {
            key: ours[key] for key in ours if "reward" in key
        }


def test_columns_of_the_table_of_completions_have_one_length_after_an_evaluation(tiny_model, tmp_path):
    settings = {"log_completions": True, "eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    ours = diverse(tiny_model, tmp_path, [vowels, length], steps=2, **settings)
    ours.eval_dataset = ours.eval_dataset.select([0])
    ours.train()
    table = pd.read_parquet(tmp_path / "completions" / "completions_00002.parquet")
    assert_close(table["vowels"].tolist(), vowels(table["completion"]))
    assert table["diversity"].isna().tolist() == [False] * 4 + [True] * 4  # 4 of training, 4 of the evaluation


# Weights


class Curriculum(TrainerCallback):
    """Sets the trainer's weights before the second step."""

    def __init__(self, trainer, weights):
        self.trainer, self.weights = trainer, weights

    def on_step_begin(self, args, state, *_, **__):
        if state.global_step == 1:
            self.trainer.reward_weights = torch.tensor(self.weights)


def with_curriculum(trainer, weights):
    trainer.add_callback(Curriculum(trainer, weights))
    trainer.train()
    return trainer


def test_weights_that_a_callback_sets_count_as_in_plain_trl(tiny_model, tmp_path):
    rewards = [vowels, length]
    plain = with_curriculum(trainer_of(tiny_model, tmp_path, rewards=rewards), [0.0, 2.0])
    ours = with_curriculum(diverse(tiny_model, tmp_path, rewards, reweight=identity), [0.0, 2.0])
    assert equal(plain.model.parameters(), ours.model.parameters())
    assert ours.reward_weights.tolist() == [0.0, 2.0] and ours.reward_func_names == ["vowels", "length"]
    assert not equal(plain.model.parameters(), trained(tiny_model, tmp_path, rewards=rewards))


def test_weights_may_be_changed_in_place(tiny_model, tmp_path):
    """A schedule may keep the trainer's own tensor."""

    class Schedule(TrainerCallback):
        def __init__(self, weights):
            self.weights = weights

        def on_step_begin(self, args, state, *_, **__):
            self.weights[0] = 1.0 / (1 + state.global_step)

    parameters = []
    for more in ({}, {"cls": DiverseGRPOTrainer, "reweight": identity, "embedder": EMBED}):
        trainer = trainer_of(tiny_model, tmp_path, rewards=[vowels, length], reward_weights=[1.0, 0.5], **more)
        trainer.add_callback(Schedule(trainer.reward_weights))
        trainer.train()
        parameters.append(list(trainer.model.parameters()))
    assert equal(*parameters)


@pytest.mark.parametrize("weights", [[0.25, 2.0], [0.25, 2.0, 1.0]])
def test_advantages_follow_weights_that_changed(tiny_model, tmp_path, weights):
    ours = with_curriculum(diverse(tiny_model, tmp_path, [vowels, length], steps=2), weights)
    assert_close(advantages(ours), expected_advantages(ours, [vowels, length], weights[:2]), rtol=1e-4, atol=1e-4)
    assert ours.evaluate()["eval_reward"] != 0


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
def test_weights_of_another_number_are_refused(tiny_model, tmp_path, weights):
    message = f"reward_weights must have a weight for each of 2 reward functions, got {len(weights)}"
    with pytest.raises(ValueError, match=message):
        with_curriculum(diverse(tiny_model, tmp_path, [vowels, length]), weights)


# Embedders and methods of every kind


class Encoder:
    """Like a sentence-transformers model: `encode` returns a numpy array."""

    def encode(self, texts):
        return EMBED(texts).numpy()


@pytest.mark.parametrize(
    "embedder",
    [Encoder().encode, lambda texts: EMBED(texts).tolist(), lambda texts: list(EMBED(texts).requires_grad_())],
    ids=["numpy", "lists", "rows with gradient"],
)
def test_the_same_rows_in_another_form_train_the_same_parameters(tiny_model, tmp_path, embedder):
    ours = [
        trained(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=dra, embedder=function)
        for function in (EMBED, embedder)
    ]
    assert equal(*ours)


@pytest.mark.parametrize("reuse", [{}, {"steps_per_generation": 2}, {"num_iterations": 2}], ids=str)
def test_an_embedder_may_use_the_policy_and_no_gradient_reaches_it(tiny_model, tmp_path, reuse):
    def parameters(detach):
        ours = diverse(tiny_model, tmp_path, reweight=dra, embedder=lambda texts: embed(texts), **reuse)

        def embed(texts):
            table, read = ours.model.get_input_embeddings(), ours.processing_class
            rows = torch.stack([table(torch.tensor(read(f"{text}.").input_ids)).mean(0) for text in texts])
            assert rows.requires_grad
            return rows.detach() if detach else rows

        ours.train()
        assert not ours.groups.adjusted.requires_grad
        return list(ours.model.parameters())

    assert equal(parameters(detach=False), parameters(detach=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reweight": "mmr"}, "reweight must be a function of inputs by name, .*got 'mmr'"),
        ({"embedder": "all-MiniLM-L6-v2"}, "embedder must be a function of a list of texts, .*got 'all-MiniLM-L6-v2'"),
        ({"advantage": "positive"}, "advantage must be a function .*got 'positive'"),
        ({"embedder": torch.nn.Module()}, "got the model Module itself. Pass its encode"),
    ],
)
def test_what_is_no_function_is_refused_before_a_model_loads(tmp_path, arguments, message):
    if isinstance(arguments.get("embedder"), torch.nn.Module):
        arguments["embedder"].encode = EMBED
    with pytest.raises(ValueError, match=message):
        DiverseGRPOTrainer("/no/such/model", vowels, **{"reweight": mmr, "embedder": EMBED} | arguments)


def scaled(rewards, similarity, lam=5.0):
    """A user's method with an option called lam."""
    return rewards * lam - 5 * similarity.mean(-1)


@pytest.mark.parametrize(
    ("method", "lam"),
    [
        (lambda rewards, similarity: mmr(rewards, similarity, lam=0.7), 0.7),
        (partial(mmr, lam=0.7), 0.7),
        (scaled, None),
        (partial(scaled, lam=torch.ones(2, 1)), None),
        (lambda rewards, similarity, lam=None: dra(rewards, similarity), None),
    ],
    ids=["mmr in a function", "mmr with options", "lam of another method", "one per group", "unused lam"],
)
def test_the_metric_lam_is_reported_by_mmr_and_is_no_argument_of_that_name(tiny_model, tmp_path, method, lam):
    ours = diverse(tiny_model, tmp_path, reweight=method, steps=1)
    ours.train()
    assert steps(ours)[0].get("diversity/lam") == (None if lam is None else pytest.approx(lam))
    assert ("diversity/lam" in steps(ours)[0]) == ("lam" in ours.groups.diagnostics) == (lam is not None)


def in_place(rewards, similarity):
    adjusted = dra(rewards, similarity)
    similarity.zero_()
    return rewards.copy_(adjusted)


def test_a_method_that_writes_into_the_rewards_changes_no_raw_reward(tiny_model, tmp_path):
    def ones(adjusted, advantages):
        adjusted.fill_(7.0)
        return advantages

    tidy = diverse(tiny_model, tmp_path, steps=2, reweight=dra)
    tidy.train()
    messy = diverse(tiny_model, tmp_path, steps=2, reweight=in_place, advantage=ones)
    messy.train()
    assert equal(tidy.model.parameters(), messy.model.parameters())
    for name in ("raw", "adjusted", "similarity"):
        assert torch.equal(getattr(tidy.groups, name), getattr(messy.groups, name))
    shared = [key for key in steps(tidy)[1] if key.startswith(("reward", "diversity/"))]
    assert [steps(tidy)[1][key] for key in shared] == [steps(messy)[1][key] for key in shared]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"embedder": lambda texts: EMBED(list(dict.fromkeys(texts))[:4])}, r"Embedder '<lambda>' .* got \[4, 4096\]"),
        ({"embedder": lambda texts: EMBED(texts).T.contiguous()}, r"Embedder .* got \[4096, 8\]"),
        ({"embedder": lambda texts: EMBED(texts) * math.nan}, "Embedder .* finite"),
        ({"reweight": lambda r, s: r.mean(1, keepdim=True)}, r"Reweighter '<lambda>' .* got \[2, 1\]"),
        ({"reweight": lambda r, s: r.mean(1)}, r"Reweighter .* got \[2\]"),
        ({"reweight": lambda r, s: r / (r - r)}, "Reweighter .* finite"),
        ({"advantage": lambda r, a: a.mean(1, keepdim=True)}, r"Advantage '<lambda>' .* got \[2, 1\]"),
    ],
)
def test_values_of_a_wrong_shape_are_refused_and_leave_nothing_behind(tiny_model, tmp_path, broken, message):
    ours = diverse(tiny_model, tmp_path, [vowels, length], **broken)
    before = [parameter.clone() for parameter in ours.model.parameters()]
    with pytest.raises(ValueError, match=message):
        ours.train()
    assert equal(before, ours.model.parameters())
    assert ours.reward_func_names == ["vowels", "length"] and ours.reward_weights.tolist() == [1.0, 1.0]
    ours.reweight, ours.embedder, ours.advantage = partial(mmr, lam=0.7), EMBED, None
    ours.train()
    oracle = partial(reference.mmr, lam=0.7)
    assert_close(advantages(ours), expected_advantages(ours, [vowels, length], [1, 1], oracle), rtol=1e-4, atol=1e-4)
