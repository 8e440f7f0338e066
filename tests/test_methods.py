"""Every method: the laws that all of them keep, and three steps of TRL's real trainer against a closed form."""

import doctest
import importlib
import inspect
import math
import types
from functools import partial
from pathlib import Path

import pytest
import reference
import reference_logprobs
import reference_similarity
import reference_verdicts
import torch
from datasets import Dataset
from test_trl import trainer_of
from torch.testing import assert_close
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from manypaths import cosine_similarity, dra, mmr, recipe
from manypaths.embed import NgramEmbedder
from manypaths.methods import (
    ADVANTAGES,
    REWEIGHTERS,
    SELECTIONS,
    advantages,
    darling,
    darling_correct,
    evol,
    focal,
    gapo,
    has_nonzero_std,
    ips,
    keep_equal_rewards,
    logdet,
    maxrl,
    nsr,
    passk,
    pkpo,
    psr,
    rarity,
    setpo,
    shuffled,
    ucpo,
    unlikeliness,
    w_reinforce,
)
from manypaths.methods.inputs import inputs_of
from manypaths.rewards import REWARDS
from manypaths.training.trainer_arguments import method_arguments
from manypaths.training.trainer_config import trainer_config
from manypaths.trl import DiverseGRPOTrainer

NAN = math.nan


def relative(rewards):
    """GRPO's advantages of [B, G], NaN where unscored."""
    return torch.tensor([reference.advantages(group) for group in rewards.tolist()], dtype=rewards.dtype)


# method: (function of inputs by name, [B, G] or [B, G, G]; the same of the lists of one group)
METHODS = {
    "mmr": (mmr, reference.mmr),
    "mmr, fixed lambda": (partial(mmr, lam=0.7), partial(reference.mmr, lam=0.7)),
    "dra": (dra, reference.dra),
    "dra from a floor": (partial(dra, floor=-4.0), partial(reference.dra, floor=-4.0)),
    "grpo_pos": (advantages.grpo_pos, reference.grpo_pos),
    "reinforce": (advantages.reinforce, reference.reinforce),
    "raft": (advantages.raft, reference.raft),
    "maxrl": (maxrl, reference_verdicts.maxrl),
    "passk": (passk, reference_verdicts.passk),
    "passk, k 2": (partial(passk, k=2), partial(reference_verdicts.passk, k=2)),
    "passk, k 1": (partial(passk, k=1), partial(reference_verdicts.passk, k=1)),
    "pkpo": (pkpo, reference_verdicts.pkpo),
    "pkpo, k 2": (partial(pkpo, k=2), partial(reference_verdicts.pkpo, k=2)),
    "pkpo, k 1": (partial(pkpo, k=1), partial(reference_verdicts.pkpo, k=1)),
    "pkpo, s": (partial(pkpo, k=3, estimator="s"), partial(reference_verdicts.pkpo, k=3, estimator="s")),
    "pkpo, sloo": (partial(pkpo, k=3, estimator="sloo"), partial(reference_verdicts.pkpo, k=3, estimator="sloo")),
    "psr": (psr, reference_verdicts.psr),
    "nsr": (nsr, reference_verdicts.nsr),
    "w_reinforce": (w_reinforce, reference_verdicts.w_reinforce),
    "focal": (focal, reference_verdicts.focal),
    "setpo": (setpo, reference_similarity.setpo),
    "setpo, weight 0.1": (partial(setpo, weight=0.1), partial(reference_similarity.setpo, weight=0.1)),
    "logdet": (logdet, reference_similarity.logdet),
    "logdet, centred": (partial(logdet, centre=True), partial(reference_similarity.logdet, centre=True)),
    "evol": (evol, reference_similarity.evol),
    "evol, released": (partial(evol, tolerance=0.0), partial(reference_similarity.evol, tolerance=0.0)),
    "unlikeliness": (unlikeliness, reference_logprobs.unlikeliness),
    "unlikeliness, per token": (
        partial(unlikeliness, beta=1.0, per_token=True),
        partial(reference_logprobs.unlikeliness, beta=1.0, per_token=True),
    ),
    "ucpo": (ucpo, reference_logprobs.ucpo),
    "ucpo, per token": (
        partial(ucpo, tau=0.7, per_token=True),
        partial(reference_logprobs.ucpo, tau=0.7, per_token=True),
    ),
    "rarity": (rarity, reference.rarity),
    "rarity, alpha 1": (partial(rarity, alpha=1.0), partial(reference.rarity, alpha=1.0)),
    "rarity, right": (partial(rarity, rule="right"), partial(reference.rarity, rule="right")),
    "rarity, all": (partial(rarity, rule="all"), partial(reference.rarity, rule="all")),
    "gapo": (gapo, reference.gapo),
    "gapo, 5 valid": (partial(gapo, valid=5), partial(reference.gapo, valid=5)),
    "gapo, absolute": (
        partial(gapo, valid=2, reading="absolute"),
        partial(reference.gapo, valid=2, reading="absolute"),
    ),
    "darling": (darling, reference.darling),
    "darling, no least": (partial(darling, least=0.0), partial(reference.darling, least=0.0)),
    "darling_correct": (darling_correct, reference.darling_correct),
    "darling_correct, released": (
        partial(darling_correct, released=True),
        partial(reference.darling_correct, released=True),
    ),
    "ips": (ips, reference.ips),
    "ips, every reward": (
        partial(ips, eps=0.4, alpha=0.5, partial_credit=True),
        partial(reference.ips, eps=0.4, alpha=0.5, partial_credit=True),
    ),
}


def groups(seed, B=5, G=6, unscored=0.25):
    """Every input of random groups: rewards with ties and unscored completions, similarity of random completions."""
    rng = torch.Generator().manual_seed(seed)
    rewards = torch.randint(-2, 3, (B, G), generator=rng).double() / 2
    rewards = rewards.masked_fill(torch.rand(B, G, generator=rng) < unscored, NAN)
    rewards[:, 0] = 1.0
    similarity = cosine_similarity(torch.rand(B, G, 4, generator=rng, dtype=torch.float64))
    own = relative(rewards)
    correct = (rewards > 0.5).double().masked_fill(rewards.isnan(), NAN)
    keys, lengths = (torch.randint(1, 4, (B, G), generator=rng) for _ in range(2))
    logprobs = -torch.randint(1, 12, (B, G), generator=rng).double()  # with ties
    return {
        "rewards": rewards,
        "similarity": similarity,
        "correct": correct,
        "keys": keys,
        "lengths": lengths,
        "logprobs": logprobs,
        "advantages": own,
        "adjusted": rewards,
        "progress": torch.tensor(0.25),
    }


def called(method, inputs):
    """What a method makes of the inputs that it names; an advantage of an unscored completion is 0 or NaN, here NaN."""
    names = inputs_of(method, "advantage")
    returned = method(*(inputs[name] for name in names))
    if getattr(method, "func", method) not in ADVANTAGES.values() and "advantages" not in names:
        return returned
    unscored = inputs["rewards"].isnan()
    assert not returned[unscored].nan_to_num(0.0).any() or "advantages" in names
    return returned.masked_fill(unscored, NAN)


def of_each(inputs, change):
    """Inputs whose values of groups were changed; `progress` has none."""
    return {name: change(values) if values.dim() else values for name, values in inputs.items()}


def permuted(inputs, order):
    moved = of_each(inputs, lambda values: values[:, order])
    return moved | {"similarity": moved["similarity"][:, :, order]}


def one_group(inputs, oracle, b):
    """What an oracle makes of the lists of one group."""
    names = [name for name in inspect.signature(oracle).parameters if name in inputs]
    return oracle(**{name: inputs[name][b].tolist() for name in names})


def law_equals_its_reference(method, oracle):
    for seed in range(20):
        inputs = groups(seed, G=1 + seed % 8)
        expected = [one_group(inputs, oracle, b) for b in range(5)]
        assert_close(called(method, inputs), torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def law_the_order_decides_nothing(method, _):
    for seed in range(20):
        inputs = groups(seed)
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        shuffled = called(method, permuted(inputs, order))
        assert_close(shuffled, called(method, inputs)[:, order], equal_nan=True)


def law_groups_never_mix(method, _):
    inputs = groups(0)
    alone = [called(method, of_each(inputs, lambda values, b=b: values[[b]])) for b in range(5)]
    assert_close(called(method, inputs), torch.cat(alone), equal_nan=True)


def law_an_unscored_completion_changes_no_other(method, _):
    """It stays unscored, and its other inputs change nothing."""
    inputs = groups(1)
    unscored = inputs["rewards"].isnan()
    pairs = unscored.unsqueeze(1) | unscored.unsqueeze(2)
    other = inputs | {"similarity": inputs["similarity"].masked_fill(pairs, 0.123)}
    other |= {name: inputs[name].masked_fill(unscored, 2) for name in ("keys", "lengths")}
    other |= {"logprobs": inputs["logprobs"].masked_fill(unscored, NAN)}
    returned = called(method, inputs)
    assert torch.equal(returned.isnan(), unscored)
    assert_close(called(method, other), returned, equal_nan=True)


def law_shape_and_inputs_are_kept(method, _):
    inputs = {name: v.float() if v.is_floating_point() else v for name, v in groups(2).items()}
    before = {name: values.clone() for name, values in inputs.items()}
    returned = called(method, inputs)
    assert returned.shape == inputs["rewards"].shape and returned.dtype == torch.float32
    assert_close(inputs, before, rtol=0, atol=0, equal_nan=True)


LAWS = [law for name, law in list(globals().items()) if name.startswith("law_")]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, name):
    law(*METHODS[name])


def test_every_method_is_in_the_table():
    for name in (*REWEIGHTERS, *ADVANTAGES):
        assert name in METHODS


# Zero-variance groups


def test_zero_variance_is_no_difference_between_scored_rewards():
    rewards = torch.tensor([[1.0, 1.0, 1.0], [1.0, NAN, 1.0], [1.0, NAN, 0.5], [NAN, NAN, NAN], [NAN, 2.0, NAN]])
    assert has_nonzero_std(rewards).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("method", [mmr, dra, partial(mmr, lam=0.3)])
def test_zero_variance_groups_keep_their_rewards_on_request(method):
    rewards, similarity = (groups(3)[name] for name in ("rewards", "similarity"))
    rewards[1], rewards[3] = 1.0, torch.tensor([2.0, NAN, 2.0, NAN, 2.0, 2.0])
    kept, plain = keep_equal_rewards(method)(rewards, similarity), method(rewards, similarity)
    assert_close(kept[[1, 3]], rewards[[1, 3]], equal_nan=True, rtol=0, atol=0)
    assert_close(kept[[0, 2, 4]], plain[[0, 2, 4]], equal_nan=True, rtol=0, atol=0)
    assert not torch.equal(plain[1], rewards[1])


def test_from_a_floor_a_crowd_never_gains_and_without_it_the_rare_wrong_answer_loses_most():
    similarity = cosine_similarity(torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]))
    wrong = torch.full((1, 3), -1.0)
    assert dra(wrong, similarity)[0].argmin() == 2
    assert dra(wrong, similarity, floor=-1.0)[0].tolist() == [-1.0, -1.0, -1.0]
    rewards, similarity = (groups(4, unscored=0)[name] for name in ("rewards", "similarity"))
    assert (dra(rewards, similarity, floor=-1.0) <= rewards + 1e-9).all()
    with pytest.raises(ValueError, match="floor must be a finite number"):
        dra(rewards, similarity, floor=NAN)


@pytest.mark.parametrize("floor", [-1.0, 0.0, 2.0])
def test_a_reward_below_the_floor_is_refused_and_one_on_it_is_not(floor):
    similarity = cosine_similarity(torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]))
    rewards = torch.tensor([[floor, NAN, floor + 3]])
    rounded = torch.nextafter(rewards, torch.tensor(-torch.inf))
    assert_close(dra(rounded, similarity, floor=floor), dra(rewards, similarity, floor=floor), equal_nan=True)
    with pytest.raises(
        ValueError, match=f"floor must be the least .*, got floor={floor:g} and a reward of {floor - 1:g}"
    ):
        dra(rewards - 1, similarity, floor=floor)
    assert dra(rewards - 1, similarity)[0, 0].isfinite()  # the published form has no floor


# In the trainer

BASE = """
model: {name: tiny}
problems: {name: arithmetic}
rewards: {accuracy: 1.0, test_methods.length: 0.1}
trainer: {learning_rate: 0.01, max_steps: 3, per_device_train_batch_size: 8, max_completion_length: 8,
          report_to: none, save_strategy: "no", bf16: false, disable_tqdm: true, num_generations: 4}
"""


def accuracy(completions, **_):
    """In the place of the real one, which a random model never earns: ties, spread, zero-variance groups."""
    return [float(sum(map(ord, text)) % 3 == 0) for text in completions]


def length(completions, **_):
    return [float(len(text)) for text in completions]


class Watcher(TrainerCallback):
    """What the trainer used in each step."""

    def __init__(self):
        self.trainer, self.steps = None, []

    def on_step_end(self, *_, **__):
        logs = {name: list(self.trainer._logs[name]) for name in ("prompt", "completion", "advantages")}
        inputs = self.trainer.groups.inputs if isinstance(self.trainer, DiverseGRPOTrainer) else {}
        self.steps.append(
            {**logs, "inputs": inputs, "metrics": {key: list(v) for key, v in self.trainer._metrics["train"].items()}}
        )


@pytest.fixture
def train(tiny_model, tmp_path, monkeypatch):
    """Train the tiny model by shipped recipes and overrides -> (trainer, steps)."""
    (tmp_path / "base.yaml").write_text(BASE)
    monkeypatch.setitem(REWARDS, "accuracy", accuracy)

    def trained(*names, cls=DiverseGRPOTrainer):
        files = [name for name in names if "=" not in name]
        overrides = ["trainer.num_generations=4", *(name for name in names if "=" in name)]
        spec = recipe.read([str(tmp_path / "base.yaml"), *files], overrides)
        config = trainer_config(spec, tmp_path / "out")
        arguments = method_arguments(spec, config)
        if cls is not DiverseGRPOTrainer:
            arguments = {"reward_funcs": arguments["reward_funcs"]}
        else:
            arguments["embedder"] = None if spec.embedder.name == "keys" else NgramEmbedder()
        data = Dataset.from_list([{"prompt": f"{a} + {b} ="} for a in range(2, 8) for b in range(2, 8)])
        watcher = Watcher()
        trainer = cls(str(tiny_model), args=config, train_dataset=data, callbacks=[watcher], **arguments)
        watcher.trainer = trainer
        trainer.train()
        return trainer, watcher.steps

    return trained


def expected_advantages(step, oracle, scaled):
    """By hand: raw rewards, similarities, the method of reference.py, GRPO's advantages of what it gives."""
    for start in range(0, len(step["completion"]), 4):
        texts = step["completion"][start : start + 4]
        rows = NgramEmbedder()(texts).double()
        raw = [a + 0.1 * b for a, b in zip(accuracy(texts), length(texts), strict=True)]
        adjusted = oracle(raw, (rows @ rows.T).tolist())
        mean = sum(adjusted) / 4
        yield from reference.advantages(adjusted) if scaled else [reward - mean for reward in adjusted]


REWEIGHTING = {
    "none": lambda r, s: r,
    "mmr-paper": reference.mmr,
    "mmr-fixed": partial(reference.mmr, lam=0.7),
    "mmr-released": partial(reference.mmr, ties="first"),
    "dra-paper": reference.dra,
}


@pytest.mark.parametrize("variant", ["grpo", "grpo-clip", "dr-grpo", "dapo", "dapo-dynamic"])
@pytest.mark.parametrize("method", REWEIGHTING)
def test_three_steps_have_the_advantages_of_the_closed_form(train, method, variant):
    trainer, steps = train(method, variant)
    assert trainer.state.global_step == len(steps) == 3
    for step in steps:
        expected = list(expected_advantages(step, REWEIGHTING[method], variant != "dr-grpo"))
        assert_close(torch.tensor(step["advantages"]), torch.tensor(expected), rtol=1e-4, atol=1e-4)
        for start in (0, 4):
            assert variant != "dapo-dynamic" or len(set(accuracy(step["completion"][start : start + 4]))) == 2


BY_HAND = {"grpo-pos": reference.grpo_pos, "reinforce": reference.reinforce, "raft": reference.raft}


@pytest.mark.parametrize("method", BY_HAND)
@pytest.mark.parametrize("variant", ["grpo", "dapo-dynamic"])
def test_three_steps_of_other_advantages(train, method, variant):
    trainer, steps = train(method, variant)
    assert trainer.importance_ratio == (method == "grpo-pos") and len(steps) == 3
    for step in steps:
        texts = step["completion"]
        raw = [a + 0.1 * b for a, b in zip(accuracy(texts), length(texts), strict=True)]
        expected = [x for start in (0, 4) for x in BY_HAND[method](raw[start : start + 4])]
        assert_close(torch.tensor(step["advantages"]), torch.tensor(expected), rtol=1e-4, atol=1e-4)


class ByHand(GRPOTrainer):
    """REINFORCE written out. RGRA (arXiv 2603.18756): grad of 1/G sum_i 1/|o_i| sum_t [A_i log pi(o_t) - beta KL]."""

    advantage = None

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        if self.advantage is not None:
            raw = [a + 0.1 * b for a, b in zip(*self._logs["rewards"].values(), strict=True)]
            by_hand = [x for start in (0, 4) for x in self.advantage(raw[start : start + 4])]
            output["advantages"] = torch.tensor(by_hand)
            self._logs["advantages"].extend(by_hand)
        return output

    def _compute_loss(self, model, inputs):
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = inputs["completion_mask"]
        attention = torch.cat([inputs["prompt_mask"], mask], dim=1)
        logps, _, _ = self._get_per_token_logps_and_entropies(model, ids, attention, mask.size(1), compute_entropy=True)
        loss = -logps * inputs["advantages"].unsqueeze(1)
        if self.beta:
            ahead = inputs["ref_per_token_logps"] - logps
            loss = loss + self.beta * (torch.exp(ahead) - ahead - 1)
        return ((loss * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean() / self.current_gradient_accumulation_steps


def same_parameters(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize(
    "reuse",
    ["trainer.num_iterations=3", "trainer.steps_per_generation=2", "trainer.num_iterations=1"],
    ids=["three updates of each completion", "completions of an older policy", "on policy"],
)
def test_rgra_is_reinforce_by_hand_to_the_last_bit(train, reuse, beta):
    settings = ["grpo", reuse, f"trainer.beta={beta}", "trainer.use_bias_correction_kl=false"]
    rgra, steps = train("rgra", *settings)
    assert len(steps) == 3 and any(abs(x) > 0.1 for x in steps[-1]["advantages"])
    by_hand, _ = train("none", *settings, cls=ByHand)
    assert same_parameters(rgra, by_hand)
    plain, _ = train("none", *settings, cls=GRPOTrainer)
    assert same_parameters(rgra, plain) == (reuse == "trainer.num_iterations=1")


@pytest.mark.parametrize("method", ["reinforce", "raft"])
def test_reinforce_and_raft_are_their_loss_by_hand(train, method, monkeypatch):
    settings = ["grpo", "trainer.num_iterations=3", "trainer.use_bias_correction_kl=false"]
    ours, _ = train(method, *settings)
    monkeypatch.setattr(ByHand, "advantage", staticmethod(BY_HAND[method]))
    by_hand, _ = train("none", *settings, cls=ByHand)
    for weight, expected in zip(ours.model.parameters(), by_hand.model.parameters(), strict=True):
        assert_close(weight, expected)


def test_grpo_pos_keeps_the_ratio_and_clips(train):
    settings = ["grpo-clip", "trainer.num_iterations=3", "trainer.learning_rate=0.1"]
    ours, steps = train("grpo-pos", *settings)
    assert min(x for step in steps for x in step["advantages"]) == 0.0
    assert any(entry["clip_ratio/high_mean"] > 0 for entry in ours.state.log_history if "clip_ratio/high_mean" in entry)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"use_vllm": True}, "vllm_importance_sampling_correction=False"),
        ({"loss_type": "cispo"}, "loss_type"),
        ({"loss_type": "vespo"}, "loss_type"),
        ({"importance_sampling_level": "sequence"}, "importance_sampling_level"),
        ({"off_policy_mask_threshold": 0.5}, "off_policy_mask_threshold"),
        ({"delta": 1.5}, "delta"),
        ({"beta": 0.1, "use_bias_correction_kl": True}, "use_bias_correction_kl=False"),
    ],
)
def test_rgra_is_refused_where_it_would_not_be_what_it_says(tmp_path, setting, named):
    (tmp_path / "base.yaml").write_text(BASE.replace("test_methods.length: 0.1", ""))
    overrides = [f"trainer.{key}={value}" for key, value in setting.items()]
    vllm = [] if named.startswith("vllm") else ["trainer.vllm_importance_sampling_correction=false"]
    spec = recipe.read([str(tmp_path / "base.yaml"), "grpo"], [*overrides, *vllm, "method.importance_ratio=false"])
    config = trainer_config(spec, tmp_path)
    with pytest.raises(ValueError, match="RGRA") as caught:
        method_arguments(spec, config)
    assert named in str(caught.value)
    spec.method.importance_ratio = True
    method_arguments(spec, config)


# CONTRIBUTING.md's examples of new methods


def written_examples():
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text("utf-8")
    return [part.split("```")[0] for part in text.split("```python\n")[1:]]


def test_the_example_on_keys_is_the_shipped_method():
    """The file of the method, its loop in reference.py and its row in the table above, letter by letter."""
    method, _, oracles, rows = written_examples()
    assert method == Path(inspect.getfile(ips)).read_text("utf-8")
    oracle = oracles[: oracles.index("\n\n\n")]
    assert oracle.startswith("@scored_alone\ndef ips(") and oracle in Path(reference.__file__).read_text("utf-8")
    assert rows.splitlines()[0] in Path(__file__).read_text("utf-8")


@pytest.fixture
def examples(monkeypatch):
    """The two methods of CONTRIBUTING.md, `ips` as shipped and `focal` added as it says: {name: (method, oracle)}."""
    _, focal, oracles, rows = written_examples()
    ours, by_hand = {"ips": ips}, {"scored_alone": reference.scored_alone}
    exec(focal, ours)
    exec(oracles, by_hand)
    assert focal in inspect.getsource(importlib.import_module("manypaths.methods.focal"))  # the shipped method
    monkeypatch.setitem(ADVANTAGES, "focal", ours["focal"])
    return eval(f"{{{rows}}}", ours | {"reference": types.SimpleNamespace(**by_hand)})


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("name", ["ips", "focal"])
def test_law_of_the_examples(examples, law, name):
    law(*examples[name])


def test_the_example_on_correct_leaves_groups_without_a_gold_answer_as_they_are(examples):
    """A problem without a gold answer has no correct completion and no wrong one."""
    advantages = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    weighted = examples["focal"][0](advantages, torch.tensor([[torch.nan, torch.nan], [1.0, 0.0]]))
    assert_close(weighted, advantages * torch.tensor([[1.0], [0.5**0.5]]))


def per_group(step):
    """Completions, raw rewards and advantages of each group of a step."""
    for start in range(0, 8, 4):
        texts = step["completion"][start : start + 4]
        raw = [a + 0.1 * b for a, b in zip(accuracy(texts), length(texts), strict=True)]
        yield texts, raw, torch.tensor(step["advantages"][start : start + 4])


def words_of(texts):
    return [" ".join(text.split()) for text in texts]


IPS = ["method.reweight=ips", "method.correct=accuracy", "keys.name=text"]


def test_the_example_on_keys_trains(train, examples):
    """Advantages of the closed form, with the text of a completion as its key."""
    trainer, steps = train("grpo", *IPS)
    for texts, raw, trained in (group for step in steps for group in per_group(step)):
        adjusted = examples["ips"][1](rewards=raw, correct=accuracy(texts), keys=words_of(texts))
        assert_close(trained, torch.tensor(reference.advantages(adjusted)), rtol=1e-4, atol=1e-4)
    assert trainer.groups.inputs.keys() == {"rewards", "similarity", "correct", "keys"}
    assert all(0.25 <= share <= 1 for share in steps[-1]["metrics"]["diversity/key_share"])


def test_the_example_on_correct_trains(train, examples):
    _, steps = train("grpo", "method.advantage=focal", "method.correct=accuracy", "method.advantage_options.gamma=0.5")
    for texts, raw, trained in (group for step in steps for group in per_group(step)):
        expected = examples["focal"][1](advantages=reference.advantages(raw), correct=accuracy(texts))
        assert_close(trained, torch.tensor(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (IPS[:2], "reweight 'ips' must be given keys, which is missing here. Set keys.name=answer"),
        (["method.advantage=focal"], "advantage 'focal' must be given correct, .* Set method.correct=accuracy"),
        (["method.advantage=focal", "method.correct=acc"], "method.correct must be one of accuracy, .*, got 'acc'"),
        (["method.advantage=raft", "method.advantage_options.k=1"], "method.advantage=raft takes no options, got 'k'"),
        ([*IPS, "keys.name=anser"], "keys.*anser.*did you mean 'answer'"),
        (["embedder.name=keys"], "embedder.name=keys must come with keys.name"),
        (["keys.options.threshold=0.5"], "keys.options must come with keys.name, got {'threshold': 0.5} without"),
        ([*IPS, "method.options.epsilon=1"], "method.reweight=ips takes the options eps, .*, got 'epsilon'"),
        ([*IPS, "method.options.eps=a"], "options of method.reweight=ips, .* wrong type"),
    ],
)
def test_a_recipe_that_lacks_an_input_is_refused(train, examples, overrides, message):
    with pytest.raises(ValueError, match=message):
        train("grpo", *overrides)


def test_keys_make_the_similarity_of_mmr(train):
    """With embedder.name=keys two completions have similarity 1 where their keys are equal, and 0 elsewhere."""
    settings = ("keys.name=test_methods.first_letters", "embedder.name=keys")
    _, steps = train("grpo", "mmr-paper", *settings)
    alike = 0
    for texts, raw, trained in (group for step in steps for group in per_group(step)):
        keys = first_letters(texts, texts)
        kernel = [[float(key == other) for other in keys] for key in keys]
        alike += len(set(keys)) < 4
        expected = reference.advantages(reference.mmr(raw, kernel))
        assert_close(trained, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert alike


def first_letters(completions, problems):
    return [ord(text[0]) % 3 if text else 0 for text in completions]


# Examples in docstrings


EXAMPLES = [
    "mmr",
    "dra",
    "maxrl",
    "passk",
    "pkpo",
    "setpo",
    "logdet",
    "evol",
    "rarity",
    "gapo",
    "darling",
    "ips",
    "selection",
    "shuffled",
]


@pytest.mark.parametrize("module", [*(f"methods.{name}" for name in EXAMPLES), "trl.trainer"])
def test_the_examples_in_docstrings_give_what_they_show(module, tiny_model, tmp_path, monkeypatch):
    arguments = trainer_of(tiny_model, tmp_path, steps=1).args
    data = Dataset.from_list([{"prompt": f"{number} + 2 ="} for number in range(8)])
    names = {"MODEL": str(tiny_model), "rewards": length, "args": arguments, "data": data, **REWEIGHTERS, **ADVANTAGES}
    names |= {
        "NgramEmbedder": NgramEmbedder,
        "DiverseGRPOTrainer": DiverseGRPOTrainer,
        "torch": torch,
        "shuffled": shuffled,
        **{rule.__name__: rule for rule in SELECTIONS.values()},
    }
    tests = doctest.DocTestFinder().find(importlib.import_module(f"manypaths.{module}"), globs=names)
    monkeypatch.setattr(PrinterCallback, "on_log", lambda *_, **__: None)
    runner = doctest.DocTestRunner(verbose=False)
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0 and runner.summarize().attempted > 0
