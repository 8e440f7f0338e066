"""What `manypaths explain` computes of logged groups is what the trainer computed, whatever the method."""

import json
import random
import statistics

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from manypaths import keys, recipe
from manypaths.callbacks import RecordGroups
from manypaths.embed import NgramEmbedder
from manypaths.explain import effects as effects_module
from manypaths.explain.choices import Choice, read_choice, scale_of
from manypaths.explain.effects import effects
from manypaths.explain.summary import agreement, summarise
from manypaths.logs import Log, LoggedGroup
from manypaths.methods.bind import bind_advantage, bind_reweight
from manypaths.trl import DiverseGRPOTrainer

PLAIN = Choice("GRPO", read_choice("none").spec)
METHODS = [name.removeprefix("methods/") for name in recipe.shipped() if name.startswith("methods/")]
REFUSED = {  # method -> what its refusal names
    "rgra": "the importance ratio in the loss",
    "entropy": "entropy bonus",
    "history": "which prompts are sampled",
    "replay": "completions of earlier steps",
    "ucpo": "logprobs",
    "unlikeliness": "logprobs",
}
SHOWN = [name for name in METHODS if name not in REFUSED]


def words(random_numbers):
    return " ".join(
        random_numbers.choice(["4 + 3 = 7", "so", "the answer", "is 7", "2 * 5 = 10", "no"]) for _ in range(6)
    )


def some_groups(sizes=(4, 6, 4, 1, 6), seed=0, unscored=True):
    """Groups of random texts; of some it is unknown whether they are right, and some are unscored."""
    rng = random.Random(seed)
    groups = []
    for place, size in enumerate(sizes):
        correct = [rng.choice([True, False]) for _ in range(size)]
        total = [float(verdict) + rng.choice([0.0, 0.2]) for verdict in correct]
        if unscored and place == 1:
            total[2] = None
        texts = [words(rng) for _ in range(size)]
        tokens = [len(text) for text in texts]
        group = LoggedGroup(place // 2, f"prompt {place}", texts, {"r": total}, total, correct=correct, tokens=tokens)
        groups.append(group)
    return groups


def advantages_of(groups, name, scale="group"):
    effect = effects(groups, PLAIN, [read_choice(name)], scale)[1]
    return [torch.tensor(of_group.advantages) for of_group in effect.groups]


def permuted(group, order):
    columns = ("completions", "total", "correct", "tokens")
    values = {name: [getattr(group, name)[index] for index in order] for name in columns}
    return LoggedGroup(group.step, group.prompt, rewards={"r": values["total"]}, **values)


# The trainer's own numbers


def letters(completions, **_):
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


def even(completions, **_):
    return [float(sum(map(ord, text)) % 2 == 0) for text in completions]


def trained(tiny_model, out, scale, spec):
    """The lines of groups.jsonl of a training by the trainer of TRL with the method of a recipe."""
    method = spec.method
    reweight = bind_reweight(method.reweight, method.options, "", method.among_correct, method.keep_equal_rewards)
    args = GRPOConfig(
        str(out), max_steps=2, num_generations=4, per_device_train_batch_size=16, max_completion_length=6,
        scale_rewards=scale, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = DiverseGRPOTrainer(
        AutoModelForCausalLM.from_pretrained(tiny_model),
        [letters, even],
        args,
        Dataset.from_list([{"prompt": f"{a} + 2 = "} for a in range(8)]),
        processing_class=AutoTokenizer.from_pretrained(tiny_model, padding_side="right"),
        reweight=reweight,
        advantage=bind_advantage(method.advantage, method.advantage_options, ""),
        embedder=NgramEmbedder(),
        keys=keys.bind(spec.keys.name, {}) if spec.keys.name else None,
        correct="even",
        skip_zero_advantage=True,
    )
    trainer.add_callback(RecordGroups(trainer, out))
    trainer.train()
    return [json.loads(line) for line in (out / "groups.jsonl").read_text("utf-8").splitlines()]


def logged_group(line):
    rows = line["completions"]
    return LoggedGroup(
        step=line["step"],
        prompt=line["prompt"],
        completions=[row["text"] for row in rows],
        rewards={name: [row["rewards"][name] for row in rows] for name in rows[0]["rewards"]},
        total=[row["raw"] for row in rows],
        advantages=[row["advantage"] for row in rows],
        extra={"adjusted": [row["adjusted"] for row in rows]},
    )


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("none", "group"),
        ("mmr-paper", "group"),
        ("mmr method.correct=even", "batch"),
        ("dra method.correct=even", "none"),
        ("ips method.correct=even keys.name=text", "none"),
        ("maxrl method.correct=even", "group"),
        ("logdet", "batch"),
    ],
)
def test_the_numbers_are_those_of_the_training(name, scale, tiny_model, tmp_path):
    choice = read_choice(name)
    lines = trained(tiny_model, tmp_path / "run", scale, choice.spec)
    groups = [logged_group(line) for line in lines]
    assert len(groups) == 8 and len({group.step for group in groups}) == 2
    plain, effect = effects(groups, PLAIN, [choice], scale)
    for group, of_group in zip(groups, effect.groups, strict=True):
        torch.testing.assert_close(torch.tensor(of_group.adjusted), torch.tensor(group.extra["adjusted"]))
        torch.testing.assert_close(torch.tensor(of_group.advantages), torch.tensor(group.advantages))
    for of_group, line in zip(plain.groups, lines, strict=True):
        near = [(row["nearest"], row["similarity"]) for row in line["completions"]]
        assert [(own.index, round(own.similarity, 4)) for own in of_group.neighbours] == near
    assert agreement(groups, effect) == (8, 8)
    changed = summarise(groups, plain, effect).changed
    assert (changed == 0) == (name == "none") == (agreement(groups, plain) == (8, 8))


# Laws


def test_every_method_is_shown_or_refused_with_what_is_missing():
    groups = some_groups()
    for name in METHODS:
        if name in REFUSED:
            with pytest.raises(ValueError, match=REFUSED[name]):
                effects(groups, PLAIN, [read_choice(name)], "group")
        else:
            assert len(effects(groups, PLAIN, [read_choice(name)], "group")) == 2


@pytest.mark.parametrize("name", [name for name in SHOWN if name != "mmr-released"])
def test_the_order_of_completions_decides_nothing(name):
    groups, rng = some_groups(seed=1), random.Random(2)
    orders = [rng.sample(range(len(group.completions)), len(group.completions)) for group in groups]
    mixed = [permuted(*pair) for pair in zip(groups, orders, strict=True)]
    pairs = zip(advantages_of(groups, name), advantages_of(mixed, name), orders, strict=True)
    for own, other, order in pairs:
        torch.testing.assert_close(other, own[order])


@pytest.mark.parametrize("name", SHOWN)
def test_groups_do_not_depend_on_one_another(name, monkeypatch):
    groups = some_groups(seed=3)
    together = advantages_of(groups, name)
    alone = [advantages_of([group], name)[0] for group in groups]
    monkeypatch.setattr(effects_module, "AT_ONCE", 5)
    for values in (alone, advantages_of(groups, name)):
        for own, other in zip(together, values, strict=True):
            torch.testing.assert_close(other, own)


def test_none_changes_nothing():
    groups = some_groups()
    plain, effect = effects(groups, PLAIN, [read_choice("none")], "group")
    assert effect.groups == plain.groups
    summary = summarise(groups, plain, effect)
    assert (summary.changed, summary.signs, summary.raised, summary.lowered) == (0, 0, None, None)
    assert summary.share == 0.0


@pytest.mark.parametrize("name", ["mmr-paper", "maxrl", "dra", "setpo"])
def test_the_share_is_that_of_the_change_in_the_advantages(name):
    plain, effect = effects(some_groups(seed=4), PLAIN, [read_choice(name)], "group")
    shares = 0
    for own, other in zip(plain.groups, effect.groups, strict=True):
        scored = [index for index, reward in enumerate(own.adjusted) if reward is not None]
        before, after = ([values.advantages[index] for index in scored] for values in (own, other))
        changes = [new - old for old, new in zip(before, after, strict=True)]
        centred = [change - sum(changes) / len(changes) for change in changes]
        whole = sum(map(abs, before)) + sum(map(abs, centred))
        if whole > 1e-6:
            assert other.share == pytest.approx(sum(map(abs, centred)) / whole, abs=1e-4)
            shares += other.share > 0.01
    assert shares


def test_the_batch_is_all_scored_completions_of_a_step():
    groups = some_groups(seed=6)
    (plain,) = effects(groups, PLAIN, [], "batch")
    for group, of_group in zip(groups, plain.groups, strict=True):
        rewards = [reward for other in groups if other.step == group.step for reward in other.total]
        deviation = statistics.stdev(reward for reward in rewards if reward is not None)
        mean = statistics.fmean(reward for reward in group.total if reward is not None)
        expected = [0.0 if reward is None else (reward - mean) / (deviation + 1e-4) for reward in group.total]
        assert of_group.advantages == pytest.approx(expected, abs=1e-5)


def test_a_factor_that_the_scaling_takes_out_is_no_change():
    group = LoggedGroup(1, "", ["a b c", "a b d", "e f"], {"r": [0.0, 0.0, 1.0]}, [0.0, 0.0, 1.0])
    plain, effect = effects([group], PLAIN, [read_choice("dra-paper")], "group")
    assert effect.groups[0].adjusted[2] < 0.8
    summary = summarise([group], plain, effect)
    assert summary.changed == 0 and summary.share < 1e-3
    assert summarise([group], *effects([group], PLAIN, [read_choice("dra-paper")], "none")).changed == 1


def test_an_unscored_completion_is_nobodys_neighbour_and_has_advantage_0():
    groups = some_groups()
    plain, effect = effects(groups, PLAIN, [read_choice("mmr-paper")], "group")
    for own in (plain.groups[1], effect.groups[1]):
        assert own.adjusted[2] is None and own.advantages[2] == 0.0 and own.neighbours[2] is None
        assert all(near is None or near.index != 2 for near in own.neighbours)
    assert plain.groups[3].neighbours == [None] and plain.groups[3].advantages == [0.0]


def test_neighbours_among_right_completions_are_right():
    groups = some_groups(unscored=False)
    (effect,) = effects(groups, PLAIN, [read_choice("mmr")], "group")[1:]
    for group, of_group in zip(groups, effect.groups, strict=True):
        for verdict, near in zip(group.correct, of_group.neighbours, strict=True):
            assert near is None or (verdict and group.correct[near.index])
    assert any(near for of_group in effect.groups for near in of_group.neighbours)


def test_ways_are_equal_where_keys_are():
    texts = ["1 + 1 = 2", "so 1 + 1 = 2", "2 - 1 = 1", "no"]
    group = LoggedGroup(1, "", texts, {}, [1.0, 1.0, 1.0, 0.0], correct=[True, True, True, False])
    (effect,) = effects([group], PLAIN, [read_choice("ips")], "group")[1:]
    assert effect.groups[0].ways == [0, 0, 1, 2]
    summary = summarise([group], effects([group], PLAIN, [], "group")[0], effect)
    assert summary.raised.completion == 2 and summary.raised.same_way == 0 and summary.lowered.same_way in (0, 1)


# What a log must have


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mmr", "must be given correct, which is missing here. .*--correct NAME. The log has r"),
        ("darling keys.name=null", "must be given keys, which is missing here. Add keys.name=answer"),
        ("mmr-paper embedder.name=keys", "embedder.name=keys must come with keys.name"),
        ("mmr-paper method.options.lam=2", "lam"),
        ("mmr-paper embedder.name=a/b/c", "hub name"),
    ],
)
def test_what_is_missing_is_named(name, sentence):
    group = LoggedGroup(1, "", ["a", "b"], {"r": [1.0, 0.0]}, [1.0, 0.0])
    with pytest.raises(ValueError, match=sentence) as caught:
        effects([group], PLAIN, [read_choice(name)], "group")
    assert f"--method '{name}'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mmmr", "Did you mean 'mmr"),
        ("mmr method.option.lam=1", "method.option"),
        ("method.options.lam=1", "must name a recipe"),
        ("mmr 'open", "must be recipes and overrides"),
        ("mmr select-mmr", "must not select completions"),
    ],
)
def test_words_that_name_no_method_are_refused(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_choice(name)


def test_a_method_that_changes_in_the_course_of_the_training_is_refused():
    with pytest.raises(ValueError, match="must not change with the progress of the training"):
        effects(some_groups(), PLAIN, [read_choice("pkpo method.advantage_options.k=[4,1]")], "group")


def test_one_scaling_holds_for_all_methods(tmp_path):
    log = Log(tmp_path / "log.jsonl", "JSON lines", some_groups())
    assert scale_of(log, None, None, [read_choice("mmr")]) == "group"
    assert scale_of(log, None, "none", [read_choice("mmr dr-grpo")]) == "none"
    with pytest.raises(ValueError, match="Set --scale-rewards none"):
        scale_of(log, None, None, [read_choice("mmr"), read_choice("mmr dr-grpo")])
    without_steps = Log(log.path, log.kind, [LoggedGroup(None, "", ["a"], {}, [1.0])])
    with pytest.raises(ValueError, match="which groups are of the same step"):
        scale_of(without_steps, None, "batch", [])
