"""Every method: the laws that all of them keep, and three steps of TRL's real trainer against a closed form."""

import math
import types
from functools import partial
from pathlib import Path

import pytest
import reference
import torch
from datasets import Dataset
from torch.testing import assert_close
from transformers import TrainerCallback
from trl import GRPOTrainer

from manypaths import cosine_similarity, dra, methods, mmr, recipe
from manypaths.embed import NgramEmbedder
from manypaths.methods import REWEIGHTERS, advantages, has_nonzero_std, keep_equal_rewards
from manypaths.training import run
from manypaths.training.trainer_config import trainer_config
from manypaths.trl import DiverseGRPOTrainer

NAN = math.nan


def relative(rewards):
    """GRPO's advantages of [B, G], NaN where unscored."""
    return torch.tensor([reference.advantages(group) for group in rewards.tolist()], dtype=rewards.dtype)


def in_place_of_grpo(function):
    """An advantage function in the form of a reweighter: NaN where unscored."""
    return lambda rewards, _: function(rewards, relative(rewards)).masked_fill(rewards.isnan(), NAN)


# method: (rewards [B, G], similarity [B, G, G]) -> [B, G]; the same of one group, as a loop over lists
METHODS = {
    "mmr": (mmr, reference.mmr),
    "mmr, fixed lambda": (partial(mmr, lam=0.7), partial(reference.mmr, lam=0.7)),
    "dra": (dra, reference.dra),
    "dra from a floor": (partial(dra, floor=-4.0), partial(reference.dra, floor=-4.0)),
    "grpo_pos": (in_place_of_grpo(advantages.grpo_pos), lambda r, _: reference.grpo_pos(r)),
    "reinforce": (in_place_of_grpo(advantages.reinforce), lambda r, _: reference.reinforce(r)),
    "raft": (in_place_of_grpo(advantages.raft), lambda r, _: reference.raft(r)),
}


def groups(seed, B=5, G=6, unscored=0.25):
    """Random rewards with ties and unscored completions, and the similarity of random answers to one question."""
    rng = torch.Generator().manual_seed(seed)
    rewards = torch.randint(-2, 3, (B, G), generator=rng).double() / 2
    rewards = rewards.masked_fill(torch.rand(B, G, generator=rng) < unscored, NAN)
    rewards[:, 0] = 1.0
    return rewards, cosine_similarity(torch.rand(B, G, 4, generator=rng, dtype=torch.float64))


def law_equals_its_reference(method, oracle):
    for seed in range(20):
        rewards, similarity = groups(seed, G=1 + seed % 8)
        expected = [oracle(*each) for each in zip(rewards.tolist(), similarity.tolist(), strict=True)]
        assert_close(method(rewards, similarity), torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def law_the_order_decides_nothing(method, _):
    for seed in range(20):
        rewards, similarity = groups(seed)
        order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
        shuffled = method(rewards[:, order], similarity[:, order][:, :, order])
        assert_close(shuffled, method(rewards, similarity)[:, order], equal_nan=True)


def law_groups_never_mix(method, _):
    rewards, similarity = groups(0)
    alone = [method(rewards[[b]], similarity[[b]]) for b in range(len(rewards))]
    assert_close(method(rewards, similarity), torch.cat(alone), equal_nan=True)


def law_an_unscored_completion_touches_nobody(method, _):
    """It stays unscored, and what it is similar to changes nothing."""
    rewards, similarity = groups(1)
    unscored = rewards.isnan()
    other = similarity.masked_fill(unscored.unsqueeze(1) | unscored.unsqueeze(2), 0.123)
    found = method(rewards, similarity)
    assert torch.equal(found.isnan(), unscored)
    assert_close(method(rewards, other), found, equal_nan=True)


def law_shape_and_inputs_are_kept(method, _):
    rewards, similarity = groups(2)
    before = rewards.clone(), similarity.clone()
    found = method(rewards.float(), similarity.float())
    assert found.shape == rewards.shape and found.dtype == torch.float32
    assert_close((rewards, similarity), before, rtol=0, atol=0, equal_nan=True)


LAWS = [law for name, law in list(globals().items()) if name.startswith("law_")]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, name):
    law(*METHODS[name])


def test_every_method_is_in_the_table():
    for name in (*REWEIGHTERS, *advantages.ADVANTAGES):
        assert name in METHODS


# Groups without spread


def test_spread_is_a_difference_between_scored_rewards():
    rewards = torch.tensor([[1.0, 1.0, 1.0], [1.0, NAN, 1.0], [1.0, NAN, 0.5], [NAN, NAN, NAN], [NAN, 2.0, NAN]])
    assert has_nonzero_std(rewards).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("method", [mmr, dra, partial(mmr, lam=0.3)])
def test_groups_without_spread_keep_their_rewards_on_request(method):
    rewards, similarity = groups(3)
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
    rewards, similarity = groups(4, unscored=0)
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
    """In the place of the real one, which a random model never earns: ties, spread, groups without spread."""
    return [float(sum(map(ord, text)) % 3 == 0) for text in completions]


def length(completions, **_):
    return [float(len(text)) for text in completions]


class Watcher(TrainerCallback):
    """What the trainer used in each step."""

    def __init__(self):
        self.trainer, self.steps = None, []

    def on_step_end(self, *_, **__):
        logs = {name: list(self.trainer._logs[name]) for name in ("prompt", "completion", "advantages")}
        self.steps.append({**logs, "metrics": {key: list(v) for key, v in self.trainer._metrics["train"].items()}})


@pytest.fixture
def train(tiny_model, tmp_path, monkeypatch):
    """Train the tiny model by shipped recipes and overrides -> (trainer, steps)."""
    (tmp_path / "base.yaml").write_text(BASE)
    monkeypatch.setitem(run.rewards.REWARDS, "accuracy", accuracy)

    def trained(*names, cls=DiverseGRPOTrainer):
        files = [name for name in names if "=" not in name]
        overrides = ["trainer.num_generations=4", *(name for name in names if "=" in name)]
        spec = recipe.read([str(tmp_path / "base.yaml"), *files], overrides)
        config = trainer_config(spec, tmp_path / "out")
        arguments = run.method_arguments(spec, config)
        if cls is not DiverseGRPOTrainer:
            arguments = {"reward_funcs": arguments["reward_funcs"]}
        else:
            arguments["embedder"] = NgramEmbedder()
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
        yield from reference.advantages(adjusted) if scaled else [each - mean for each in adjusted]


REWEIGHTING = {
    "none": lambda r, s: r,
    "mmr": reference.mmr,
    "mmr-fixed": partial(reference.mmr, lam=0.7),
    "mmr-released": partial(reference.mmr, ties="first"),
    "dra": reference.dra,
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


ADVANTAGES = {"grpo-pos": reference.grpo_pos, "reinforce": reference.reinforce, "raft": reference.raft}


@pytest.mark.parametrize("method", ADVANTAGES)
@pytest.mark.parametrize("variant", ["grpo", "dapo-dynamic"])
def test_three_steps_of_other_advantages(train, method, variant):
    trainer, steps = train(method, variant)
    assert trainer.importance_ratio == (method == "grpo-pos") and len(steps) == 3
    for step in steps:
        texts = step["completion"]
        raw = [a + 0.1 * b for a, b in zip(accuracy(texts), length(texts), strict=True)]
        expected = [x for start in (0, 4) for x in ADVANTAGES[method](raw[start : start + 4])]
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


def same_parameters(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize(
    "reuse",
    ["trainer.num_iterations=3", "trainer.steps_per_generation=2", "trainer.num_iterations=1"],
    ids=["three updates of each answer", "answers of an older policy", "on policy"],
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
    monkeypatch.setattr(ByHand, "advantage", staticmethod(ADVANTAGES[method]))
    by_hand, _ = train("none", *settings, cls=ByHand)
    for one, other in zip(ours.model.parameters(), by_hand.model.parameters(), strict=True):
        assert_close(one, other)


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
        run.method_arguments(spec, config)
    assert named in str(caught.value)
    spec.method.importance_ratio = True
    run.method_arguments(spec, config)


# CONTRIBUTING.md's example of a new method


def test_the_example_of_a_new_method(train, monkeypatch):
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text("utf-8")
    method, oracle, row = (part.split("```")[0] for part in text.split("```python\n")[1:])
    ours, by_hand = dict(vars(methods.groups)), dict(vars(reference))
    exec(method, ours)
    exec(oracle, by_hand)
    names = {"distance": ours["distance"], "reference": types.SimpleNamespace(**by_hand)}
    for law in LAWS:
        law(*eval(f"{{{row}}}", names)["distance"])
    monkeypatch.setitem(REWEIGHTERS, "distance", ours["distance"])
    _, steps = train("grpo", "method.reweight=distance")
    expected = list(expected_advantages(steps[-1], by_hand["distance"], scaled=True))
    assert_close(torch.tensor(steps[-1]["advantages"]), torch.tensor(expected), rtol=1e-4, atol=1e-4)
