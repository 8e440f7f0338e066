"""The adapter inside TRL's real trainer, on a tiny random model."""

import dataclasses
from functools import partial

import pytest
import reference
import torch
from datasets import Dataset
from forked import in_two_processes
from trl import GRPOConfig, GRPOTrainer

from manypaths import dra, mmr
from manypaths.embed import NgramEmbedder
from manypaths.methods.measures import pair_similarity, share_of_advantage
from manypaths.trl import PARTS, DiverseGRPOTrainer

PROMPTS = [f"{a} + {b} =" for a in range(2, 8) for b in range(2, 8)]


def vowels(completions, **_):
    """A reward with ties and spread on the output of a random model."""
    return [float(sum(text.count(v) for v in "aeiou1357") % 3) for text in completions]


def length(completions, **_):
    return [len(text) / 10 for text in completions]


def some_unscored(completions, **_):
    """None for every fourth completion, whatever it says."""
    return [None if index % 4 == 1 else value for index, value in enumerate(vowels(completions))]


def identity(rewards, similarity):
    return rewards


def trainer_of(tiny_model, out, cls=GRPOTrainer, rewards=vowels, steps=3, **settings):
    fields = {field.name for field in dataclasses.fields(GRPOConfig)}
    ours = {key: settings.pop(key) for key in list(settings) if key not in fields}
    config = GRPOConfig(
        output_dir=str(out),
        **{
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 8,
            "max_steps": steps,
            "learning_rate": 1e-2,
            "report_to": "none",
            "save_strategy": "no",
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "logging_steps": 1,
            **settings,
        },
    )
    data = Dataset.from_list([{"prompt": prompt, "answer": "5"} for prompt in PROMPTS])
    return cls(str(tiny_model), rewards, config, data, eval_dataset=data.select(range(4)), **ours)


def trained(*named, **settings):
    """The parameters after training. A trainer seeds everything when it is made, so it is trained at once."""
    trainer = trainer_of(*named, **settings)
    trainer.train()
    return list(trainer.model.parameters())


def steps(trainer):
    """What a trainer logged, one entry per step."""
    return [entry for entry in trainer.state.log_history if "reward" in entry]


def equal(firsts, seconds):
    return all(torch.equal(first, second) for first, second in zip(firsts, seconds, strict=True))


@pytest.mark.parametrize("settings", [{}, {"reweight": None, "embedder": NgramEmbedder()}])
def test_without_a_reweighter_it_is_grpo_trainer_to_the_bit(tiny_model, tmp_path, settings):
    plain = trained(tiny_model, tmp_path)
    assert equal(plain, trained(tiny_model, tmp_path, DiverseGRPOTrainer, **settings))
    assert not equal(plain, trainer_of(tiny_model, tmp_path).model.parameters())


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo"])
def test_an_identity_reweighter_is_grpo_trainer_to_the_bit(tiny_model, tmp_path, loss):
    named = {"loss_type": loss, "rewards": [vowels, length], "reward_weights": [2.0, 0.5]}
    ours = trained(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=identity, embedder=NgramEmbedder(), **named)
    assert equal(trained(tiny_model, tmp_path, **named), ours)


def test_a_reweighter_changes_the_parameters(tiny_model, tmp_path):
    ours = trained(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=mmr, embedder=NgramEmbedder())
    assert not equal(trained(tiny_model, tmp_path), ours)


@pytest.mark.parametrize("scale", ["group", "none"])
@pytest.mark.parametrize(
    ("reweight", "oracle"),
    [
        (mmr, partial(reference.mmr, ties="diverse")),
        (partial(mmr, lam=0.7, ties="first"), partial(reference.mmr, lam=0.7, ties="first")),
        (dra, reference.dra),
    ],
)
@pytest.mark.parametrize("rewards", [vowels, some_unscored])
def test_advantages_are_the_closed_form(tiny_model, tmp_path, reweight, oracle, rewards, scale):
    ours = trainer_of(
        tiny_model,
        tmp_path,
        DiverseGRPOTrainer,
        [rewards, rewards],
        steps=1,
        scale_rewards=scale,
        reward_weights=[1.0, 0.5],
        reweight=reweight,
        embedder=NgramEmbedder(),
    )
    ours.train()
    texts = [list(ours._logs["completion"])[start : start + 4] for start in (0, 4)]
    advantages = torch.tensor(list(ours._logs["advantages"])).view(2, 4)
    scores = [rewards(texts[0] + texts[1])[start : start + 4] for start in (0, 4)]
    for group in range(2):
        raw = [float("nan") if score is None else 1.5 * score for score in scores[group]]
        rows = NgramEmbedder()(texts[group]).double()
        adjusted = torch.tensor(oracle(raw, (rows @ rows.T).tolist()), dtype=torch.float64)
        scored = ~adjusted.isnan()
        expected = adjusted - adjusted[scored].mean()
        if scale == "group":
            expected = expected / (adjusted[scored].std() + 1e-4)
        torch.testing.assert_close(advantages[group].double(), expected.nan_to_num(0.0), rtol=1e-4, atol=1e-4)
        assert (advantages[group][~scored] == 0).all()


def test_metrics_of_the_reward_functions_stay_raw(tiny_model, tmp_path):
    ours = trainer_of(
        tiny_model, tmp_path, DiverseGRPOTrainer, [vowels, length], steps=1, reweight=dra, embedder=NgramEmbedder()
    )
    ours.train()
    logged = next(entry for entry in ours.state.log_history if "reward" in entry)
    texts = list(ours._logs["completion"])
    for function in (vowels, length):
        mean = torch.tensor(function(texts)).mean().item()
        assert logged[f"rewards/{function.__name__}/mean"] == pytest.approx(mean, abs=1e-6)
    assert logged["rewards/diversity/mean"] == pytest.approx((ours.groups.adjusted - ours.groups.raw).mean().item())


@pytest.mark.parametrize(("reweight", "own"), [(None, set()), (dra, {"share", "count"}), (mmr, {"share", "lam"})])
def test_what_diversity_did_is_among_the_metrics(tiny_model, tmp_path, reweight, own):
    """They are in TRL's own logs, and so in whatever `report_to` names."""
    diverse = {"reweight": reweight, "embedder": NgramEmbedder()}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [vowels, length], steps=2, **diverse)
    ours.train()
    for logged in [entry for entry in ours.state.log_history if "reward" in entry]:
        measures = {key.removeprefix("diversity/") for key in logged if key.startswith("diversity/")}
        assert measures == {"similarity", "vendi_score"} | own
        assert 1 <= logged["diversity/vendi_score"] <= 4 and 0 <= logged["groups/zero_std"] <= 1
        parts = {key: value for key, value in logged.items() if key.startswith("seconds/")}
        assert [key.removeprefix("seconds/") for key in parts] == list(PARTS)
        assert min(parts.values()) >= 0 and sum(parts.values()) >= 0.99 * logged["step_time"]
    groups = ours.groups
    assert logged["diversity/similarity"] == pytest.approx(pair_similarity(groups.raw, groups.similarity).mean().item())
    if reweight is not None:
        share = share_of_advantage(groups.raw, groups.adjusted).nanmean().item()
        assert logged["diversity/share"] == pytest.approx(share, abs=1e-5) and share > 0


def test_evaluation_is_raw(tiny_model, tmp_path):
    ours = trainer_of(
        tiny_model, tmp_path, DiverseGRPOTrainer, steps=1, reweight=dra, embedder=NgramEmbedder(), num_generations=4
    )
    metrics = ours.evaluate()
    assert metrics["eval_reward"] == pytest.approx(metrics["eval_rewards/vowels/mean"])
    assert ours.groups is None


def test_an_unscored_completion_moves_nothing(tiny_model, tmp_path):
    def none(completions, **_):
        return [None] * len(completions)

    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, none, steps=1, reweight=mmr, embedder=NgramEmbedder())
    ours.train()
    assert set(ours._logs["advantages"]) == {0.0}
    assert ours.groups.raw.isnan().all()


def test_the_users_list_of_rewards_is_left_alone(tiny_model, tmp_path):
    rewards = [vowels]
    trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, rewards, reweight=mmr, embedder=NgramEmbedder())
    assert rewards == [vowels]


def split_group(tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 4, "num_generations": 8, "reweight": mmr, "embedder": NgramEmbedder()}
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, length, steps=1, ddp_backend="gloo", **settings)
    trainer.train()
    logs = {name: list(trainer._logs[name]) for name in ("prompt", "completion", "advantages")}
    trainer.accelerator.wait_for_everyone()
    return {"processes": trainer.accelerator.num_processes, **logs}


def test_a_group_split_over_two_processes_is_one_group(tiny_model, tmp_path):
    logs = in_two_processes(split_group, tiny_model, tmp_path)
    assert logs["processes"] == 2 and len(logs["completion"]) == 8 and len(set(logs["prompt"])) == 1
    rows = NgramEmbedder()(logs["completion"]).double()
    adjusted = reference.mmr(length(logs["completion"]), (rows @ rows.T).tolist(), ties="diverse")
    expected = torch.tensor(reference.advantages(adjusted))
    torch.testing.assert_close(torch.tensor(logs["advantages"]), expected, rtol=1e-4, atol=1e-4)


def test_refusals(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="must be given similarity, which is missing here"):
        trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=mmr)
