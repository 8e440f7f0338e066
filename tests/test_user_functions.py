"""User functions that return, log or change invalid values, and invalid data: refused by name, or handled as in TRL.

What can be refused before a model is loaded is refused there.
"""

import math
from functools import partial, wraps

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset, IterableDataset
from test_trl import equal, identity, length, trained, trainer_of, vowels
from torch.testing import assert_close
from trl import GRPOConfig

from manypaths import dra, mmr
from manypaths.embed import NgramEmbedder
from manypaths.methods import grpo_pos
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward

EMBED = NgramEmbedder()
OURS = {"reweight": mmr, "embedder": EMBED}


def diverse(tiny_model, tmp_path, rewards=vowels, **settings):
    return trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, rewards, **{"steps": 1} | settings)


def logged(trainer):
    return next(entry for entry in trainer.state.log_history if "reward" in entry)


def half(completions, **_):
    """Different rewards in the first of two groups, equal ones in the second."""
    return [float(place % 2) if place < 4 else 0.0 for place in range(len(completions))]


# What rewards return


def one_infinite(completions, **_):
    return [math.inf, *vowels(completions)[1:]]


def too_large(completions, **_):
    return [-1e39, *vowels(completions)[1:]]


@pytest.mark.parametrize("settings", [{}, OURS, {"dynamic_sampling": 1}], ids=["plain", "mmr", "dynamic sampling"])
@pytest.mark.parametrize("reward", [one_infinite, too_large])
def test_an_infinite_reward_is_refused_by_the_name_of_its_function(tiny_model, tmp_path, settings, reward):
    message = f"Reward function '{reward.__name__}' must return finite numbers, within float32, got infinity"
    with pytest.raises(ValueError, match=message):
        diverse(tiny_model, tmp_path, [vowels, reward], **settings).train()
    with pytest.raises(ValueError, match=message):
        wrapped = DiverseReward([vowels, reward], num_generations=4, **OURS)
        trainer_of(tiny_model, tmp_path, rewards=wrapped).train()


def test_an_infinite_reward_of_no_weight_is_logged_as_in_trl(tiny_model, tmp_path):
    named = {"rewards": [vowels, one_infinite], "reward_weights": [1.0, 0.0]}
    ours = trained(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=identity, embedder=EMBED, **named)
    assert equal(ours, trained(tiny_model, tmp_path, **named))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "must return a list of numbers or None: 'NoneType' object is not iterable"),
        (0.5, "must return a list of numbers or None: 'float' object is not iterable"),
        (["0.5"] * 4, "must return a list of numbers or None: '0.5' is a text"),
        ([[0.5]] * 4, "must return a list of numbers or None: .* not 'list'"),
    ],
)
def test_a_diverse_reward_refuses_what_is_no_list_of_numbers(returned, message):
    def own(completions, **_):
        return returned

    wrapped = DiverseReward(own, num_generations=4, **OURS)
    with pytest.raises(ValueError, match=f"Reward function 'own' {message}"):
        wrapped(prompts=["a"] * 4, completions=["b"] * 4)


# What they change


def test_a_reward_function_that_is_added_later_may_be_called_diversity(tiny_model, tmp_path):
    def diversity(completions, **_):
        return [len(set(text)) / 5 for text in completions]

    ours = diverse(tiny_model, tmp_path, [vowels], **OURS)
    ours.reward_funcs.append(diversity)
    ours.reward_func_names.append("diversity")
    ours.reward_processing_classes.append(None)
    ours.reward_weights = torch.ones(2)
    ours.train()
    mean = sum(diversity(ours._logs["completion"])) / 8
    assert logged(ours)["rewards/diversity/mean"] == pytest.approx(mean)
    change = (ours.groups.adjusted - ours.groups.raw).mean().item()
    assert logged(ours)["rewards/diversity_2/mean"] == pytest.approx(change)


@pytest.mark.parametrize("where", ["reward", "embedder"])
def test_a_function_that_switches_the_policy_to_evaluation_changes_no_advantage(tiny_model, tmp_path, where):
    """A function may do so to embed or score with the policy itself."""

    def advantages(switch):
        def switching(name, function):
            def switched(*arguments, **named):
                if name == where and switch:
                    ours.model.eval()
                return function(*arguments, **named)

            return switched

        ours = diverse(
            tiny_model, tmp_path, switching("reward", vowels), reweight=dra,
            embedder=switching("embedder", EMBED), advantage=grpo_pos,
        )  # fmt: skip
        ours.train()
        assert {len(column) for column in ours._logs["rewards"].values()} == {8}
        return list(ours._logs["advantages"])

    assert advantages(switch=True) == advantages(switch=False) and min(advantages(switch=True)) == 0.0


# What they log


def test_a_metric_called_reward_is_averaged_with_the_raw_one_as_in_trl(tiny_model, tmp_path):
    def logging(completions, log_metric=None, **_):
        log_metric("reward", 8.0)
        return half(completions)

    sampled = {"dynamic_sampling": "logging", "max_batches": 2}
    with_it, without = (
        diverse(tiny_model, tmp_path, reward, **sampled | {"dynamic_sampling": 0}) for reward in (logging, half)
    )
    for trainer in (with_it, without):
        trainer.train()
    assert logged(without)["reward"] == 0.25  # of two batches
    assert logged(with_it)["reward"] == pytest.approx((8.0 + 0.25) / 2)


@pytest.mark.parametrize("batches", ["all", "first", "second"])
def test_columns_of_the_table_stay_with_their_completions(tiny_model, tmp_path, batches):
    """Two batches make a step, and a function may log in one alone. Of two calls in a batch the last counts."""
    calls = []

    def logging(completions, log_extra=None, **_):
        calls.append(completions)
        log_extra("empty", [])
        if batches == "all" or len(calls) == ["first", "second"].index(batches) + 1:
            log_extra("text", ["before"] * len(completions))
            log_extra("text", list(completions))
        return half(completions)

    ours = diverse(tiny_model, tmp_path, logging, dynamic_sampling=0, max_batches=2, log_completions=True)
    ours.train()
    table = pd.read_parquet(tmp_path / "completions" / "completions_00001.parquet")
    first, second = (list(completions[:4]) for completions in calls)
    assert table["completion"].tolist() == first + second and "empty" not in table
    expected = {"all": first + second, "first": first + [None] * 4, "second": [None] * 4 + second}[batches]
    assert [None if pd.isna(text) else text for text in table["text"]] == expected


def test_a_column_of_too_few_values_is_refused(tiny_model, tmp_path):
    def logging(completions, log_extra=None, **_):
        log_extra("by_group", [1.0, 2.0])
        return half(completions)

    message = "log_extra must be given a value for each of 8 completions, got 2 for 'by_group'"
    with pytest.raises(ValueError, match=message):
        diverse(tiny_model, tmp_path, logging, dynamic_sampling=0).train()


def test_columns_and_metrics_of_a_function_within_a_diverse_reward_are_kept(tiny_model, tmp_path):
    def logging(completions, log_metric=None, log_extra=None, **_):
        log_metric("mine", 3.0)
        log_extra("raw", list(completions))
        return vowels(completions)

    plain = trainer_of(tiny_model, tmp_path, rewards=DiverseReward(logging, num_generations=4, **OURS), steps=1)
    plain.train()
    texts = list(plain._logs["completion"])
    assert list(plain._logs["extra"]["raw"]) == texts and logged(plain)["mine"] == 3.0
    assert_close(list(plain._logs["extra"]["raw_2"]), vowels(texts))


@pytest.mark.parametrize("name", ["diversity/similarity", "rewards/raw/mean"])
def test_a_metric_of_a_diverse_reward_is_not_averaged_with_one_of_its_functions(tiny_model, tmp_path, name):
    def logging(completions, log_metric=None, **_):
        log_metric(name, 100.0)
        return vowels(completions)

    wrapped = DiverseReward(logging, num_generations=4, **OURS)
    with pytest.raises(ValueError, match=f"log_metric must be given a name of your own, got '{name}', a metric of Div"):
        trainer_of(tiny_model, tmp_path, rewards=wrapped).train()


def test_two_diverse_rewards_in_a_trainer_log_under_different_names(tiny_model, tmp_path):
    first, second = (DiverseReward(reward, num_generations=4, **OURS) for reward in (vowels, length))
    second.__name__ = "other"
    plain = trainer_of(tiny_model, tmp_path, rewards=[first, second], steps=2)
    plain.train()
    texts = list(plain._logs["completion"])
    entry = [logs for logs in plain.state.log_history if "reward" in logs][-1]
    scores = {"": vowels(texts), "_2": length(texts)}
    assert entry["rewards/length_2/mean"] == entry["rewards/raw_2/mean"]
    for suffix, raw in scores.items():
        assert entry[f"rewards/raw{suffix}/mean"] == pytest.approx(sum(raw) / 8)
        assert_close(list(plain._logs["extra"][f"raw{suffix}"]), raw)
    grouped = torch.tensor(scores["_2"]).view(2, 4)
    assert entry["groups_2/zero_std"] == (grouped.amax(1) == grouped.amin(1)).float().mean()
    assert entry["diversity_2/similarity"] == entry["diversity/similarity"]


# What is refused before a model loads


class Grouped:
    def __call__(self, r):
        return r


@wraps(mmr)
def says_that_it_is_mmr(*arguments):
    return mmr(*arguments)


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({"embedder": NgramEmbedder}, "embedder must be .* got the class NgramEmbedder itself. Pass an instance of it"),
        ({"reweight": partial(mmr, lamda=0.3)}, "reweight must be .* got 'mmr': .*unexpected keyword argument 'lamda'"),
        ({"reweight": partial(mmr, 1)}, "reweight 'mmr' must leave its inputs free, got a value for rewards"),
        ({"reweight": Grouped()}, "Positional parameters of reweight 'Grouped' must name its inputs, got 'r'"),
        ({"embedder": lambda: None}, "embedder must be .*: too many positional arguments"),
        (
            {"advantage": lambda adjusted, advantages, how: None},
            "Positional parameters of advantage .* must name its inputs, got 'how'",
        ),
    ],
)
def test_what_cannot_be_called_is_refused_before_a_model_loads(functions, message):
    with pytest.raises(ValueError, match=message):
        DiverseGRPOTrainer("/no/such/model", vowels, **OURS | functions)
    if "advantage" not in functions:
        with pytest.raises(ValueError, match=message):
            DiverseReward(vowels, num_generations=4, **OURS | functions)


def test_a_signature_that_only_looks_wrong_is_accepted():
    for reweight in (says_that_it_is_mmr, partial(partial(mmr, lam=0.3), ties="first"), dra, max):
        DiverseReward(vowels, reweight=reweight, embedder=np.asarray, num_generations=4)


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        ({"loss_type": "cispo"}, {"importance_ratio": False}, "loss_type"),
        ({}, {"dynamic_sampling": 0}, "a dataset with a length, got IterableDataset"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_settings_and_data_are_refused_before_a_model_loads(tmp_path, settings, arguments, message, named):
    config = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, **settings)
    data = IterableDataset.from_generator(lambda: iter([{"prompt": "a"}]))
    with pytest.raises(ValueError, match=message):
        if named:
            DiverseGRPOTrainer("/no/such/model", vowels, args=config, train_dataset=data, **arguments)
        else:
            DiverseGRPOTrainer("/no/such/model", vowels, config, data, **arguments)


def test_a_diverse_reward_within_the_diverse_trainer_is_refused(tiny_model, tmp_path):
    wrapped = DiverseReward(length, num_generations=4, **OURS)
    with pytest.raises(ValueError, match=r"got a DiverseReward\. Pass its functions, and its reweight"):
        diverse(tiny_model, tmp_path, [vowels, wrapped])


# The data of dynamic sampling


def test_later_batches_have_the_columns_of_the_first(tiny_model, tmp_path):
    passed = []

    def reward(completions, **columns):
        passed.append(columns.keys() & {"answer", "prompts"})
        return half(completions)

    settings = {"dynamic_sampling": 0, "max_batches": 2, "remove_unused_columns": True}
    diverse(tiny_model, tmp_path, reward, **settings).train()
    assert passed == [{"prompts"}] * 2


@pytest.mark.parametrize("picture", [np.zeros((4, 4, 3)), torch.zeros(3, 4, 4), [np.zeros((4, 4, 3))]])
def test_images_as_arrays_are_refused_too(tiny_model, tmp_path, picture):
    ours = diverse(tiny_model, tmp_path, half, dynamic_sampling=0)
    data = Dataset.from_dict({"n": list(range(40))})
    ours.train_dataset = data.with_transform(
        lambda batch: {"prompt": ["a"] * len(batch["n"]), "image": [picture] * len(batch["n"])}
    )
    with pytest.raises(ValueError, match="must have text alone, got a column image"):
        ours.train()
