"""Inputs of a method by name: what its signature says, what each trainer gives it, and what is refused."""

import functools
import json
import pickle
from functools import partial

import pytest
import torch
from test_slime import SCORES, WORDS, arguments, rollout
from test_trl import PROMPTS, length, trainer_of, vowels
from torch.testing import assert_close
from transformers import TrainerCallback

from manypaths import dra, keys, mmr
from manypaths.cli import main
from manypaths.embed import NgramEmbedder
from manypaths.methods import ADVANTAGES, REWEIGHTERS, keep_equal_rewards, report
from manypaths.methods.bind import adjust, bind, diagnostics_of
from manypaths.methods.inputs import INPUTS, check_inputs, inputs_of
from manypaths.slime import post_process_rewards
from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward

# What a signature says


def with_an_option(rewards, similarity, strength=1.0, *, cut=None):
    return rewards


class Method:
    def __call__(self, correct, keys):
        return correct


class Module(torch.nn.Module):
    def forward(self, rewards, correct):
        return rewards + correct


def scripted(rewards: torch.Tensor, correct: torch.Tensor) -> torch.Tensor:
    return rewards + correct


def positional_only(rewards, keys, /, strength=1.0):
    return rewards


@functools.wraps(mmr)
def wrapped(*inputs, **options):
    return mmr(*inputs, **options)


@pytest.mark.parametrize(
    ("method", "role", "inputs"),
    [
        (mmr, "reweight", ("rewards", "similarity")),
        (partial(mmr, lam=0.7), "reweight", ("rewards", "similarity")),
        (wrapped, "reweight", ("rewards", "similarity")),
        (with_an_option, "reweight", ("rewards", "similarity")),
        (Method(), "reweight", ("correct", "keys")),
        (Method().__call__, "reweight", ("correct", "keys")),
        (Module(), "reweight", ("rewards", "correct")),
        (torch.jit.script(scripted), "reweight", ("rewards", "correct")),
        (torch.jit.script(Module()), "reweight", ("rewards", "correct")),
        (torch.compile(scripted, backend="eager"), "reweight", ("rewards", "correct")),
        (positional_only, "reweight", ("rewards", "keys")),
        (lambda similarity, rewards: rewards, "reweight", ("similarity", "rewards")),
        (lambda rewards=None, keys=None: rewards, "reweight", ("rewards", "keys")),
        (lambda correct, *rest: correct, "reweight", ("correct",)),
        (lambda rewards, *rest: rewards, "reweight", ("rewards", "similarity")),
        (partial(lambda rewards, correct: rewards, correct=None), "reweight", ("rewards",)),
        (lambda lengths, advantages: advantages, "advantage", ("lengths", "advantages")),
        (partial(lambda model, rewards: rewards, "a model"), "reweight", ("rewards",)),
        (keep_equal_rewards(lambda keys, *, power=1: keys), "reweight", ("rewards", "keys")),
        (keep_equal_rewards(partial(mmr, lam=0.7)), "reweight", ("rewards", "similarity")),
        (lambda r, s: r, "reweight", ("rewards", "similarity")),  # before inputs had names
        (lambda rewards, _: rewards, "reweight", ("rewards", "similarity")),
        (lambda r, a: a, "advantage", ("rewards", "advantages")),
        (lambda adjusted, advantages: advantages, "advantage", ("adjusted", "advantages")),
        (max, "reweight", ("rewards", "similarity")),
        *((REWEIGHTERS[name], "reweight", ("rewards", "similarity")) for name in ("mmr", "dra")),
        (REWEIGHTERS["evol"], "reweight", ("rewards", "correct", "similarity")),
        *((ADVANTAGES[name], "advantage", ("rewards", "advantages", "similarity")) for name in ("setpo", "logdet")),
        (REWEIGHTERS["unlikeliness"], "reweight", ("rewards", "logprobs", "lengths")),
        (ADVANTAGES["ucpo"], "advantage", ("advantages", "correct", "logprobs", "lengths")),
        *(
            (REWEIGHTERS[name], "reweight", ("rewards", "correct", "keys"))
            for name in ("gapo", "darling_correct", "ips")
        ),
        (REWEIGHTERS["darling"], "reweight", ("rewards", "keys")),
        (ADVANTAGES["rarity"], "advantage", ("rewards", "advantages", "correct", "keys")),
        *((ADVANTAGES[name], "advantage", ("rewards", "advantages")) for name in ("grpo_pos", "reinforce", "raft")),
        *((ADVANTAGES[name], "advantage", ("rewards", "correct")) for name in ("maxrl", "psr", "nsr", "w_reinforce")),
        (ADVANTAGES["passk"], "advantage", ("rewards", "correct", "progress")),
        (ADVANTAGES["pkpo"], "advantage", ("rewards", "progress")),
        (ADVANTAGES["focal"], "advantage", ("advantages", "correct")),
    ],
)
def test_positional_parameters_name_the_inputs(method, role, inputs):
    assert inputs_of(method, role) == inputs


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda rewards, sim: rewards, "must name its inputs, got 'sim'. Known: adjusted, advantages, correct"),
        (lambda rewards, corect: rewards, "got 'corect'. Did you mean 'correct'"),
        (lambda reward: reward, "got 'reward'. Did you mean 'rewards'"),
        (lambda *, lam: lam, "must name its inputs, got none. Known: "),
        (lambda: None, "must name its inputs, got none. Known: "),
        (lambda rewards, strength=1.0, similarity=None: rewards, "must come before its options"),
        (lambda rewards, *, strength: rewards, "Option 'strength' .* must have a value"),
        (lambda rewards, *, correct=None: rewards, "Input 'correct' .* must be positional, got it keyword-only"),
        (partial(lambda rewards, correct, keys: keys, correct=None), "Input 'keys' .* must be positional"),
        (lambda r, s, *, correct=None: r, "Input 'correct' .* must be positional"),
        (lambda *inputs, keys=None: inputs[0], "Input 'keys' .* must be positional"),
        (partial(mmr, torch.zeros(1, 2)), "must leave its inputs free, got a value for rewards"),
    ],
)
def test_what_names_no_inputs_is_refused(method, message):
    with pytest.raises(ValueError, match=message):
        inputs_of(method)


def test_a_missing_input_is_named_with_its_remedy():
    with pytest.raises(ValueError, match=r"reweight 'mmr' must be given similarity, which is missing here\. Do\."):
        check_inputs(mmr, "reweight", ["rewards", "keys"], {"similarity": "Do."})
    check_inputs(mmr, "reweight", INPUTS, {})
    with pytest.raises(ValueError, match="must be given similarity"):
        adjust(mmr, {"rewards": torch.zeros(1, 2)})


def test_options_are_bound_and_tried():
    tried = bind("reweight", "mmr", {"lam": 0.7}, "method.reweight")
    rewards, similarity = torch.tensor([[1.0, 0.0]]), torch.eye(2).unsqueeze(0)
    assert_close(tried(rewards, similarity), mmr(rewards, similarity, lam=0.7))
    assert bind("reweight", None, {}, "method.reweight") is None
    assert diagnostics_of(tried, "reweight") == ["lam", "pick"] and diagnostics_of(dra, "reweight") == ["count"]
    for options, message in (
        ({"lamb": 1}, "method.reweight=mmr takes the options lam, ties, got 'lamb'"),
        ({"rewards": 1}, "method.reweight=mmr takes the options lam, ties, got 'rewards'"),
        ({"lam": "a"}, "options of method.reweight=mmr, {'lam': 'a'}, have a wrong type"),
        ({"lam": 2.0}, r"mmr's lam must be in \[0, 1\], got 2.0"),
    ):
        with pytest.raises(ValueError, match=message):
            bind("reweight", "mmr", options, "method.reweight")
    with pytest.raises(ValueError, match=r"method\.advantage=raft takes no options, got 'k'"):
        bind("advantage", "raft", {"k": 1}, "method.advantage")
    with pytest.raises(ValueError, match=r"Unknown method\.advantage 'raf'\. Did you mean 'raft'"):
        bind("advantage", "raf", {}, "method.advantage")


def test_kept_equal_rewards_are_called_as_their_method_is():
    """By position and by name, also where the wrapper adds the rewards; a list of tensors is adjusted rewards too."""
    rewards, ways = torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([[1, 2], [3, 4]])
    kept = keep_equal_rewards(lambda keys, *, power=1.0: list(keys * power))
    expected = torch.tensor([[0.0, 0.0], [6.0, 8.0]])
    assert_close(kept(rewards, ways, power=2.0), expected)
    assert_close(kept(keys=ways, rewards=rewards, power=2.0), expected)
    assert_close(kept(rewards, keys=ways, power=2.0), expected)
    assert_close(pickle.loads(pickle.dumps(keep_equal_rewards(dra)))(rewards, similarity=keys.same_key(ways)), rewards)


# What the trainers give


def shortest_correct(rewards, correct, keys, lengths):
    """Something of every input: correct completions lose by their length and by how many share their key."""
    same = (keys.unsqueeze(-1) == keys.unsqueeze(-2)).sum(-1)
    return rewards - correct.nan_to_num(0.0) * (0.01 * lengths + 0.1 * same)


def first_letter(completions, problems):
    """The same letter after the same problem."""
    pairs = zip(completions, problems, strict=True)
    return [hash_of(problem) * 1000 + ord(text[0]) if text else -1 for text, problem in pairs]


def hash_of(problem):
    return sum(map(ord, problem)) % 97


def by_hand(raw, correct, same, lengths):
    return [
        r - c * (0.01 * n + 0.1 * sum(one == other for other in same))
        for r, c, one, n in zip(raw, correct, same, lengths, strict=True)
    ]


INPUTS_OF_ALL = {"reweight": shortest_correct, "keys": first_letter, "correct": "vowels"}


def test_trl_gives_every_input(tiny_model, tmp_path):
    named = {"steps": 2, **INPUTS_OF_ALL}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [vowels, length], **named)
    trainer.train()
    groups, logs = trainer.groups, trainer._logs
    assert groups.inputs.keys() == {"rewards", "correct", "keys", "lengths", "similarity"}
    right, texts = vowels(list(logs["completion"])), list(logs["completion"])
    assert groups.inputs["correct"].flatten().tolist() == [float(reward > 0.5) for reward in right]
    lengths = groups.inputs["lengths"].flatten().tolist()
    logged = [entry["completions/mean_length"] for entry in trainer.state.log_history if "reward" in entry]
    assert sum(lengths) / 8 == pytest.approx(logged[-1])
    ragged = trainer._other_inputs(PROMPTS[:8], texts, [[1] * number for number in range(8)], torch.zeros(8, 2))
    assert ragged["lengths"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    expected = []
    for start in range(0, 8, 4):
        own = slice(start, start + 4)
        same = first_letter(texts[own], list(logs["prompt"])[own])
        raw = [a + b for a, b in zip(right[own], length(texts[own]), strict=True)]
        expected += by_hand(raw, [float(reward > 0.5) for reward in right[own]], same, lengths[own])
    assert_close(groups.adjusted.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("keys_function", [first_letter, partial(keys.bigrams, threshold=1.0)])
def test_the_wrapping_reward_gives_the_same_inputs(tiny_model, tmp_path, keys_function):
    """In TRL's own trainer, with the same advantages as in ours; keys of completions and of whole groups."""
    named, methods = {"scale_rewards": "none", "steps": 2}, INPUTS_OF_ALL | {"keys": keys_function}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [vowels, length], **methods, **named)
    ours.train()
    reward = DiverseReward([vowels, length], num_generations=4, **methods)
    plain = trainer_of(tiny_model, tmp_path, rewards=reward, **named)
    plain.train()
    assert_close(list(plain._logs["advantages"]), list(ours._logs["advantages"]), rtol=1e-5, atol=1e-6)


def test_slime_gives_every_input():
    samples = rollout()
    for at, sample in enumerate(samples):
        sample.prompt, sample.effective_response_length = f"problem {at // 4}", len(WORDS[at].split())
    args = arguments(rewards_normalization=False)
    _, by_wording = post_process_rewards(args, samples, reweight=dra, keys=partial(keys.bigrams, threshold=0.0))
    assert by_wording[0] == pytest.approx(SCORES[0] / 2) and by_wording[1] == SCORES[1], (
        "two of the first four are equal"
    )
    _, adjusted = post_process_rewards(args, samples, reweight=shortest_correct, keys=first_letter, correct="reward")
    expected = []
    for start in (0, 4):
        group = samples[start : start + 4]
        raw = [sample.reward for sample in group]
        same = first_letter([sample.response for sample in group], [sample.prompt for sample in group])
        lengths = [sample.effective_response_length for sample in group]
        expected += by_hand(raw, [float(reward > 0.5) for reward in raw], same, lengths)
    assert_close(torch.tensor(adjusted), torch.tensor(expected))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reweight": mmr}, "reweight 'mmr' must be given similarity, .* Pass embedder="),
        ({"reweight": shortest_correct}, "must be given correct, .* Pass correct=NAME"),
        ({"reweight": shortest_correct, "correct": "vowels"}, "must be given keys, .* Pass keys=manypaths.keys.answer"),
        ({"reweight": lambda advantages: advantages}, "must be given advantages, .* .*advantage="),
        (
            {"reweight": mmr, "keys": "answer"},
            "keys must be a function of completions and their problems, .* got 'answer'",
        ),
        ({"reweight": lambda adjusted: adjusted}, "must be given adjusted, .* .*advantage="),
        (
            {"reweight": mmr, "keys": lambda problems, completions: problems},
            r"keys must be a function .* parameters must be in the order \(completions, problems\)",
        ),
        ({"reweight": mmr, "keys": lambda texts: texts}, "keys must be a function .*: too many positional arguments"),
    ],
)
def test_an_input_that_is_not_there_is_refused_before_a_model_loads(given, message):
    with pytest.raises(ValueError, match=message):
        DiverseGRPOTrainer("/no/such/model", vowels, **given)
    with pytest.raises(ValueError, match=message):
        DiverseReward(vowels, num_generations=4, **given)
    with pytest.raises(ValueError, match=message.split(" .* ")[0]):
        slime = {**given, "correct": "reward"} if "correct" in given else given
        post_process_rewards(arguments(), rollout(), **slime)


def test_a_reward_that_is_not_there_is_named(tiny_model, tmp_path):
    message = "correct must be the name of a reward function, vowels, or its position, 0 to 0, got 'accuracy'"
    with pytest.raises(ValueError, match=message):
        trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, correct="accuracy")
    with pytest.raises(ValueError, match=message):
        DiverseReward(vowels, reweight=dra, embedder=NgramEmbedder(), num_generations=4, correct="accuracy")
    with pytest.raises(ValueError, match="correct must be 'reward'"):
        post_process_rewards(arguments(), rollout(), reweight=dra, embedder=NgramEmbedder(), correct="accuracy")


def test_only_what_is_asked_for_is_computed(tiny_model, tmp_path):
    """A method on rewards alone needs no embedder, and keys that nobody wants are never called."""

    def never(completions, problems):
        raise AssertionError

    named = {"reweight": lambda rewards: rewards / 2, "keys": never, "embedder": NgramEmbedder(), "steps": 1}
    named |= {"scale_rewards": "none"}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, **named)
    trainer.train()
    assert trainer.groups.inputs.keys() == {"rewards", "similarity"}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, **named | {"keys": None, "embedder": None})
    trainer.train()
    assert trainer.groups.inputs.keys() == {"rewards"} and trainer.groups.similarity is None
    logged = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert ("diversity/similarity" not in logged and logged["diversity/share"] is None) or "diversity/share" in logged
    assert_close(trainer.groups.adjusted, trainer.groups.raw / 2)


class Change(TrainerCallback):
    """Replaces attributes of a trainer after the first step."""

    def __init__(self, **attributes):
        self.attributes, self.trainer = attributes, None

    def on_step_end(self, args, state, *_, **__):
        if state.global_step == 1:
            for name, value in self.attributes.items():
                setattr(self.trainer, name, value)


def trained_with(change, tiny_model, tmp_path, **methods):
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, callbacks=[change], steps=2, **methods)
    change.trainer = trainer
    trainer.train()
    return trainer


def shorter(rewards, lengths):
    return rewards - 0.1 * lengths


def test_methods_and_embedder_may_be_replaced_between_two_steps(tiny_model, tmp_path):
    """What the new ones want is computed from then on."""
    ours = {"reweight": mmr, "embedder": NgramEmbedder(), "keys": keys.text}
    trainer = trained_with(Change(reweight=shorter), tiny_model, tmp_path, **ours)
    groups = trainer.groups
    assert_close(groups.adjusted, shorter(groups.raw, groups.inputs["lengths"]))
    trainer = trained_with(Change(embedder=None), tiny_model, tmp_path, **ours)
    assert torch.equal(trainer.groups.similarity, keys.same_key(trainer.groups.inputs["keys"]))
    trainer = trained_with(Change(embedder=NgramEmbedder(), reweight=mmr), tiny_model, tmp_path)
    assert trainer.groups.diagnostics.keys() == {"lam", "pick"}
    trainer = trained_with(Change(advantage=lambda keys, advantages: 0.0 * keys), tiny_model, tmp_path, **ours)
    assert {*trainer._logs["advantages"]} == {0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reweight": lambda rewards, keys: rewards}, "must be given keys, .* Pass keys="),
        ({"advantage": lambda correct: correct}, "must be given correct, .* Pass correct="),
        ({"embedder": None}, "'mmr' must be given similarity, .* Pass embedder="),
        ({"embedder": "a name"}, "embedder must be a function of a list of texts"),
    ],
)
def test_a_replacement_without_its_inputs_is_refused_as_it_is_made(tiny_model, tmp_path, change, message):
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=mmr, embedder=NgramEmbedder(), steps=1)
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=message):
        setattr(trainer, name, value)
    trainer.train()
    assert trainer.reweight is mmr and trainer.groups.diagnostics.keys() == {"lam", "pick"}


def test_the_method_of_a_wrapping_reward_may_be_replaced_between_two_calls():
    reward = DiverseReward(length, num_generations=2, reweight=dra, keys=keys.text)
    reward.reweight = shorter
    texts = ["a", "bb"]
    adjusted = reward(["p", "p"], texts, completion_ids=[[1], [2, 3]])
    assert_close(torch.tensor(adjusted), torch.tensor([0.1 - 0.1, 0.2 - 0.2]))
    with pytest.raises(ValueError, match=r"must be given correct, .* Pass correct=NAME"):
        reward.reweight = shortest_correct


def positional_size(completions, problems, size, /):
    return [size] * len(completions)


@pytest.mark.parametrize(
    ("function", "expected"), [(positional_size, 2), (lambda completions, problems, *, size=7: [size] * 4, 7)]
)
def test_a_keys_function_names_the_size_of_whole_groups_by_position(function, expected):
    reward = DiverseReward(length, num_generations=2, reweight=lambda rewards, keys: keys, keys=function)
    assert reward(["p", "p", "q", "q"], ["a", "b", "c", "d"]) == [expected] * 4


def test_keys_of_whole_groups(tiny_model, tmp_path):
    """Clusters of a group's wording, made after the completions of a group are together."""
    named = {"reweight": dra, "keys": partial(keys.bigrams, threshold=1.0), "steps": 1}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, **named)
    trainer.train()
    texts, prompts = (list(trainer._logs[name]) for name in ("completion", "prompt"))
    own = keys.bigrams(texts, prompts, 4, threshold=1.0).view(2, 4)
    assert torch.equal(trainer.groups.inputs["keys"], own)
    assert_close(trainer.groups.diagnostics["count"], keys.same_key(own).sum(-1) + 1e-6)


@pytest.mark.parametrize("bound", [keys.answer, keys.bind("bigrams", {"threshold": 0.5}), first_letter])
def test_a_wrapping_reward_with_keys_is_pickled(bound):
    """AsyncGRPOTrainer sends it to another process."""
    reward = DiverseReward(vowels, num_generations=2, reweight=keep_equal_rewards(dra), keys=bound, correct=0)
    arguments = (["p", "p"], [r"a \boxed{1}", r"ae \boxed{1}"])
    assert pickle.loads(pickle.dumps(reward))(*arguments) == reward(*arguments)


# Diagnostics of a method that is not in the package


def toy(rewards, correct, *, warmth=2.0):
    report("warmth", torch.full(rewards.shape[:1], warmth))
    report("places", torch.arange(rewards.shape[1]).expand(rewards.shape).double())
    return rewards * warmth


def test_diagnostics_of_any_method_are_shown_everywhere(tiny_recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(REWEIGHTERS, "toy", toy)
    method = {"reweight": "toy", "correct": "accuracy", "options": {"warmth": 3.0}}
    content = tiny_recipe | {"method": method, "evaluation": tiny_recipe["evaluation"] | {"every": 1}}
    content["trainer"] = content["trainer"] | {"max_steps": 2, "save_steps": 2, "scale_rewards": "none"}
    file = tmp_path / "toy.yaml"
    file.write_text(json.dumps(content))
    assert main(["train", str(file), "--dry-run"]) in (0, None)
    page = capsys.readouterr().out
    assert "toy (warmth 3.0)" in page and "rewards, correct by accuracy" in page and "warmth, places" in page
    assert main(["train", str(file), "method.correct=null", "--dry-run"]) == 2
    assert "reweight 'toy' must be given correct" in capsys.readouterr().err
    assert main(["train", str(file), "keys.name=answr", "--dry-run"]) == 2
    assert "did you mean 'answer'" in capsys.readouterr().err
    run = tmp_path / "run"
    assert main(["train", str(file), "--out", str(run)]) in (0, None)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert all(line["diversity/warmth"] == 3.0 and line["diversity/places"] == 1.5 for line in metrics)
    group = json.loads((run / "groups.jsonl").read_text("utf-8").splitlines()[0])
    assert group["diagnostics"] == {"warmth": 3.0}
    assert [answer["diagnostics"] for answer in group["completions"]] == [{"places": float(at)} for at in range(4)]
    shown = (run / "inspect.html").read_text("utf-8")
    assert '"warmth"' in shown and '"places"' in shown
    capsys.readouterr()
    assert main(["compare", str(run), "--out", str(tmp_path / "report")]) in (0, None)
    assert "warmth" in capsys.readouterr().out + (tmp_path / "report" / "comparison.md").read_text("utf-8")


def reporting(**reports):
    """A method that reports each value under its name and changes nothing."""

    def method(rewards):
        for name, values in reports.items():
            for value in values if isinstance(values, tuple) else (values,):
                report(name, value)
        return rewards

    return method


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (0.5, [0.5]),
        ([1, 2], [1, 2]),
        (torch.tensor(2.0), [2.0]),
        (torch.ones(2, dtype=torch.float64).numpy(), [1.0, 1.0]),
        ((torch.ones(1), torch.zeros(1)), [1.0, 0.0]),  # of a method that is called for one group after another
    ],
)
def test_numbers_of_any_kind_are_reported(values, expected):
    _, diagnostics = adjust(reporting(own=values), {"rewards": torch.zeros(2, 3)})
    assert diagnostics["own"].tolist() == expected


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        *(({name: 1.0}, "must have a name of its own") for name in ("", "similarity", "share", "raw_reward")),
        ({"own": "text"}, "Diagnostic 'own' must be numbers, got str"),
        ({"own": (torch.ones(2), torch.ones(2, 3))}, r"must have one shape, \[B\] or \[B, G\], got \[2\] and \[2, 3\]"),
    ],
)
def test_what_is_no_diagnostic_is_refused(reports, message):
    with pytest.raises(ValueError, match=message):
        adjust(reporting(**reports), {"rewards": torch.zeros(2, 3)})


def test_a_report_is_of_its_moment_and_an_error_of_the_method_is_its_own():
    def doubled(rewards):
        report("before", rewards)
        return rewards.mul_(2.0)

    assert adjust(doubled, {"rewards": torch.ones(1, 2)})[1]["before"].tolist() == [[1.0, 1.0]]
    with pytest.raises(KeyError, match="mine"):
        adjust(lambda rewards: report("own", 1.0) or {}["mine"], {"rewards": torch.ones(1, 2)})


def test_reports_of_both_methods_under_one_name_are_both_shown(tiny_model, tmp_path):
    """Nor does a reward function get at them: its metric of that name is refused."""

    def advantage(rewards, advantages):
        report("own", torch.full(rewards.shape, 3.0))
        return advantages

    methods = {"reweight": reporting(own=torch.ones(2)), "advantage": advantage}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, steps=1, **methods)
    trainer.train()
    logged = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert logged["diversity/own"] == 1.0 and logged["diversity/own_2"] == 3.0
    assert trainer.groups.diagnostics["own_2"].shape == (2, 4)

    def logging(completions, log_metric, **_):
        log_metric("diversity/own", 9.0)
        return vowels(completions)

    with pytest.raises(ValueError, match="log_metric must be given a name of your own, got 'diversity/own'"):
        trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, logging, steps=2, advantage=advantage).train()
