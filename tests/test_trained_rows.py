"""Completions without a gradient are left out of the update, and its loss, gradient and metrics stay what they were."""

import os

import pytest
import torch
from forked import in_processes
from layouts import EachByItself
from peft import LoraConfig
from test_processes import COMPILES, environment_of
from test_trl import equal, steps, trained, trainer_of

from manypaths import dra
from manypaths.embed import NgramEmbedder
from manypaths.methods import grpo_pos, maxrl
from manypaths.trl import DiverseGRPOTrainer, Replay
from manypaths.trl.trained_rows import only_rows, zero_in_flat_groups

LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "sapo", "cispo", "vespo"]
STEEP = {"optim": "sgd", "learning_rate": 0.3, "lr_scheduler_type": "constant"}


def seldom(completions, **_):
    """A reward with zero-variance groups: about half of those of four."""
    return [float(sum(map(ord, text)) % 6 == 0) for text in completions]


def never(completions, **_):
    return [0.0] * len(completions)


def tenths(completions, **_):
    """Equal rewards whose mean is rounded: 0.7 for everything."""
    return [0.7] * len(completions)


class Watched(DiverseGRPOTrainer):
    """Keeps of each micro-step the advantages and lengths of its rows, and the shape of what ran through the model."""

    def __init__(self, *host, **named):
        self.seen = []
        super().__init__(*host, **named)

    def _compute_loss(self, model, inputs):
        self.seen.append([inputs["advantages"], inputs["completion_mask"].sum(1), None])
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(self, model, ids, mask, kept, **named):
        if self.seen and self.seen[-1][2] is None:
            self.seen[-1][2] = (len(ids), kept)
        return super()._get_per_token_logps_and_entropies(model, ids, mask, kept, **named)


def both(model, out, cls=DiverseGRPOTrainer, rewards=seldom, **settings):
    """The parameters of a training with skipping and of the same without, and the first one's trainer."""
    named = {**STEEP, "mask_truncated_completions": False, **settings}
    skipping = trainer_of(model, out, cls, rewards, skip_zero_advantage=True, **named)
    skipping.train()
    plain = trained(model, out, cls, rewards, **named)
    return list(skipping.model.parameters()), plain, skipping


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_parameters_are_those_without_skipping(tiny_model, tmp_path, loss, accumulation):
    named = {"loss_type": loss, "gradient_accumulation_steps": accumulation, "scale_rewards": "none"}
    if loss == "luspo":
        named["importance_sampling_level"] = "sequence"
    ours, plain, trainer = both(tiny_model, tmp_path, Watched, **named)
    torch.testing.assert_close(ours, plain)
    assert not equal(ours, trainer_of(tiny_model, tmp_path).model.parameters())
    assert any((advantages == 0).any() for advantages, _, _ in trainer.seen)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_iterations": 2, "loss_type": "bnpo"},
        {"num_iterations": 2, "importance_ratio": False},
        {"importance_sampling_level": "sequence", "num_iterations": 2},
        {"delta": 2.0, "num_iterations": 2},
        {"mask_truncated_completions": True, "loss_type": "bnpo"},
        {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "loss_type": "dapo"},
        {"reweight": dra, "embedder": NgramEmbedder()},
        {"advantage": maxrl, "correct": "seldom"},
        {"dynamic_sampling": "seldom", "max_batches": 2},
        {"peft_config": LoraConfig(r=2, target_modules=["q_proj", "v_proj"])},
    ],
    ids=lambda settings: " ".join(settings),
)
def test_so_they_are_with_other_settings(tiny_model, tmp_path, settings):
    ours, plain, trainer = both(tiny_model, tmp_path, **settings)
    torch.testing.assert_close(ours, plain)
    assert min(step["update/trained"] for step in steps(trainer) if step["update/trained"] is not None) < 1


def test_replay_acts_all_the_same(ending_model, tmp_path):
    keys = {"keys": lambda completions, problems: [len(text) % 3 for text in completions], "correct": "seldom"}
    ours, plain, trainer = both(ending_model, tmp_path, steps=8, replay=Replay(weight=2.0), **keys)
    assert len(trainer.banks) > 0
    torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_only_rows_with_a_gradient_run_as_long_as_the_longest_of_them(tiny_model, tmp_path, accumulation):
    ours = trainer_of(
        tiny_model,
        tmp_path,
        Watched,
        seldom,
        steps=6,
        skip_zero_advantage=True,
        gradient_accumulation_steps=accumulation,
        max_completion_length=24,
    )
    ours.train()
    shares = []
    for advantages, lengths, shape in ours.seen:
        own = advantages != 0
        longest = lengths[own].max().item() if own.any() else 1
        assert shape == (max(1, own.sum().item()), longest)
        shares.append(own.float().mean().item())
    means = torch.tensor(shares).view(-1, accumulation).mean(1)
    torch.testing.assert_close(torch.tensor([step["update/trained"] for step in steps(ours)]), means)
    assert {*means.tolist()} - {0.0, 1.0}


def test_where_nothing_has_a_gradient_nothing_moves_and_no_mean_is_made_up(tiny_model, tmp_path):
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, never, skip_zero_advantage=True, **STEEP)
    start = [parameter.detach().clone() for parameter in ours.model.parameters()]
    ours.train()
    assert equal(start, ours.model.parameters())
    assert [step["update/trained"] for step in steps(ours)] == [0.0] * 3
    assert [step["entropy"] for step in steps(ours)] == [None] * 3
    assert [step["clip_ratio/region_mean"] for step in steps(ours)] == [None] * 3


def test_the_rounding_of_a_mean_is_no_advantage(tiny_model, tmp_path):
    """TRL divides a mean's rounding by 1e-4, so that equal rewards move the policy a little."""
    plain = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, tenths, num_generations=8, steps=1)
    plain.train()
    assert 1e-5 < max(map(abs, plain._logs["advantages"])) < 1e-2
    ours = trainer_of(
        tiny_model, tmp_path, DiverseGRPOTrainer, tenths, num_generations=8, steps=1, skip_zero_advantage=True
    )
    ours.train()
    assert list(ours._logs["advantages"]) == [0.0] * 8
    assert steps(ours)[0]["update/trained"] == 0.0


def test_nor_is_it_one_for_a_method_that_works_on_advantages(tiny_model, tmp_path):
    named = {"num_generations": 8, "steps": 1, "skip_zero_advantage": True, "advantage": grpo_pos}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, tenths, **named)
    ours.train()
    assert list(ours._logs["advantages"]) == [0.0] * 8


def test_with_normalised_rewards_flat_groups_are_left_out_too(tiny_model, tmp_path):
    named = {"rewards": [seldom, tenths], "multi_objective_aggregation": "normalize_then_sum"}
    named |= {"per_device_train_batch_size": 32, "steps": 1}
    ours, plain, trainer = both(tiny_model, tmp_path, **named)
    flat = (trainer.groups.raw == trainer.groups.raw[:, :1]).all(1)
    own = torch.tensor(list(trainer._logs["advantages"])).view(-1, 4)
    assert flat.any() and not flat.all()
    assert torch.equal((own == 0).all(1), flat)
    torch.testing.assert_close(ours, plain)


def a_micro_batch(ratio_width):
    """Eight completions of up to five tokens: some unselected, without advantage, truncated, or of tools alone."""
    torch.manual_seed(0)
    lengths = torch.tensor([3, 5, 2, 4, 1, 4, 2, 3])
    inputs = {"prompt_ids": torch.arange(16).view(8, 2), "prompt_mask": torch.ones(8, 2, dtype=torch.int64)}
    inputs |= {"completion_ids": torch.arange(40).view(8, 5), "old_per_token_logps": torch.rand(8, 5)}
    inputs["completion_mask"] = (torch.arange(5) < lengths.unsqueeze(1)).long()
    inputs["completion_mask"][3] = 0
    inputs["tool_mask"] = torch.ones(8, 5, dtype=torch.int64)
    inputs["tool_mask"][2], inputs["tool_mask"][0, 1] = 0, 0
    inputs["advantages"] = torch.tensor([1.0, 0.0, -1.0, 2.0, -0.5, 0.5, 0.0, 0.25])
    inputs["importance_sampling_ratio"] = torch.rand(8, ratio_width)
    selected = torch.tensor([True, True, True, True, True, True, False, False])
    return inputs | {
        "num_items_in_batch": torch.tensor(30.0),
        "selected": selected,
        "share_selected": torch.tensor(0.6),
    }


def by_hand(inputs, loss_type):
    """TRL's ways to divide, of a term per token that depends on everything that a token has."""
    mask = inputs["completion_mask"] * inputs["tool_mask"]
    terms = inputs["advantages"].unsqueeze(1) * inputs["importance_sampling_ratio"] * inputs["old_per_token_logps"]
    terms = terms * (1 + inputs["completion_ids"] + inputs["prompt_ids"].sum(1, keepdim=True)) * mask
    if loss_type in ("grpo", "sapo"):
        return (terms.sum(1) / mask.sum(1).clamp(min=1)).mean()
    if loss_type in ("dr_grpo", "luspo"):
        return terms.sum(1).mean()
    return terms.sum() / (mask.sum().clamp(min=1) if loss_type == "bnpo" else inputs["num_items_in_batch"])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("ratio_width", [1, 5])
@pytest.mark.parametrize("most", [3, 5, 8])
def test_the_loss_of_a_micro_batch_by_hand(loss, ratio_width, most):
    """With vLLM's importance ratios of tokens and of sequences, tokens of tools, and truncated completions."""
    inputs = a_micro_batch(ratio_width)
    counted = (inputs["completion_mask"] * inputs["tool_mask"]).any(1)
    needed = counted & inputs["selected"] & (inputs["advantages"] != 0)
    assert needed.tolist() == [True, False, False, False, True, True, False, False]
    kept, factor = only_rows(inputs, needed, most, loss)
    assert kept["completion_ids"].shape == (most, 4) and kept["importance_sampling_ratio"].shape[1] in (1, 4)
    assert kept["prompt_ids"].shape == (most, 2) and "selected" not in kept
    own = inputs | {"completion_mask": inputs["completion_mask"] * inputs["selected"].unsqueeze(1)}
    expected = by_hand(own, loss)
    if loss in ("grpo", "sapo", "dr_grpo", "luspo"):
        expected = expected / inputs["share_selected"]
    assert expected != 0
    torch.testing.assert_close(by_hand(kept, loss) * factor, expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_advantages_of_tokens_are_cut_too_and_fill_up_rows_count_nothing(loss):
    inputs = a_micro_batch(5)
    inputs["advantages"] = torch.rand(8, 5)
    kept, _ = only_rows(inputs, torch.zeros(8, dtype=torch.bool), 2, loss)
    assert kept["advantages"].shape == (2, 1) and not kept["completion_mask"].any()
    kept, _ = only_rows(inputs, torch.arange(8) == 1, 1, loss)
    assert torch.equal(kept["advantages"], inputs["advantages"][1:2])


def test_images_are_refused():
    with pytest.raises(ValueError, match="must be of text alone, got pixel_values"):
        only_rows(a_micro_batch(1) | {"pixel_values": torch.zeros(8, 1)}, torch.ones(8, dtype=torch.bool), 8, "dapo")


def test_only_flat_groups_become_zero():
    nan = torch.nan
    adjusted = torch.tensor([[0.7, 0.7, nan], [0.7, 0.1, 0.1], [nan, nan, nan], [nan, 1.0, nan]])
    advantages = torch.arange(1.0, 13.0)
    expected = torch.tensor([0.0, 0, 0, 4, 5, 6, 0, 0, 0, 0, 0, 0])
    torch.testing.assert_close(zero_in_flat_groups(advantages, adjusted), expected)


REFUSED = [
    ({"beta": 0.1}, "KL term of beta=0.1"),
    ({"entropy_coef": 0.01}, "entropy bonus"),
    ({"use_adaptive_entropy": True}, "entropy bonus"),
    ({"top_entropy_quantile": 0.5}, "top_entropy_quantile=0.5"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_it_is_refused_before_a_model_loads_where_it_is_not_exact(tmp_path, settings, words):
    with pytest.raises(ValueError, match=f"skip_zero_advantage must be False here, got True: .*{words}.*Leave it out"):
        trainer_of(tmp_path / "no-model", tmp_path, DiverseGRPOTrainer, skip_zero_advantage=True, **settings)


@pytest.mark.parametrize(("settings", "words"), REFUSED[:2])
def test_with_none_it_is_off_there_and_the_log_says_why(tiny_model, tmp_path, caplog, settings, words):
    named = {"rewards": seldom, **settings}
    ours = trained(tiny_model, tmp_path, DiverseGRPOTrainer, skip_zero_advantage=None, **named)
    assert equal(ours, trained(tiny_model, tmp_path, DiverseGRPOTrainer, **named))
    assert words in caplog.text and "advantage 0 are run through the model" in caplog.text


def test_with_none_it_is_on_where_it_is_exact(tiny_model, tmp_path, caplog):
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, seldom, skip_zero_advantage=None)
    ours.train()
    assert min(step["update/trained"] for step in steps(ours)) < 1
    assert "advantage 0" not in caplog.text


def mixture(tiny_model, folder):
    """The folder of a model with a router loss."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig, MixtralForCausalLM

    dense = AutoModelForCausalLM.from_pretrained(tiny_model).config
    sizes = {name: getattr(dense, name) for name in ("vocab_size", "hidden_size", "intermediate_size")}
    config = MixtralConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
    MixtralForCausalLM(config).save_pretrained(folder / "moe")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder / "moe")
    return folder / "moe"


def test_a_router_loss_is_refused_when_the_model_is_there(tiny_model, tmp_path):
    with pytest.raises(ValueError, match="skip_zero_advantage must be False here, got True: the model's router loss"):
        trainer_of(mixture(tiny_model, tmp_path), tmp_path, DiverseGRPOTrainer, skip_zero_advantage=True)


def test_evaluation_runs_every_completion(tiny_model, tmp_path):
    named = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4, **STEEP}
    losses = []
    for skip in (True, False):
        ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, seldom, skip_zero_advantage=skip, **named)
        ours.train()
        losses.append([entry["eval_entropy"] for entry in ours.state.log_history if "eval_entropy" in entry])
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]))
    assert len(losses[0]) == 3


# several processes


class FirstGroupsAlone(EachByItself):
    """Of a batch of three groups, the second and third are flat, and those are the second process's."""

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        rewards[4:] = 0.25
        return rewards


CASES = {
    "grpo": (EachByItself, {"loss_type": "grpo"}),
    "bnpo": (EachByItself, {"loss_type": "bnpo"}),
    "dapo 3": (EachByItself, {"loss_type": "dapo", "gradient_accumulation_steps": 3}),
    "dr_grpo dra": (EachByItself, {"loss_type": "dr_grpo", "reweight": dra, "embedder": NgramEmbedder()}),
    "one process has nothing": (FirstGroupsAlone, {"loss_type": "grpo"}),
    "lora": (EachByItself, {"loss_type": "dapo", "peft_config": LoraConfig(r=2, target_modules=["q_proj"])}),
}


def run(name, model, out, processes, skip):
    """Three steps -> the parameters, the advantages of the last step, and the share of trained completions."""
    cls, settings = CASES[name]
    accumulation = settings.get("gradient_accumulation_steps", 1)
    trainer = trainer_of(
        model,
        out,
        cls,
        seldom,
        per_device_train_batch_size=12 // processes // (1 if accumulation == 1 else 3),
        ddp_backend="gloo" if processes > 1 else None,
        skip_zero_advantage=skip,
        **STEEP,
        **settings,
    )
    trainer.train()
    shares = [step["update/trained"] for step in steps(trainer)] if skip else []
    return trainer.accelerator.get_state_dict(trainer.model_wrapped), list(trainer._logs["advantages"]), shares


def save_runs(names, model, out, environment):
    os.environ |= environment
    torch.set_num_threads(1)
    runs = {name: run(name, model, out, int(os.environ["WORLD_SIZE"]), True) for name in names}
    if os.environ["RANK"] == "0":
        torch.save(runs, out / "runs.pt")
    torch.distributed.barrier()


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ("ddp", list(CASES)),
        ("fsdp2", ["grpo", "one process has nothing"]),
        pytest.param("zero2", ["bnpo", "one process has nothing"], marks=COMPILES),
        pytest.param("zero3", ["dapo 3", "one process has nothing"], marks=COMPILES),
    ],
    ids=["ddp", "fsdp2", "zero2", "zero3"],
)
def test_two_processes_end_as_one_without_skipping(tiny_model, tmp_path, monkeypatch, config, names):
    in_processes(2, save_runs, names, tiny_model, tmp_path, environment_of(config, monkeypatch))
    for name, (parameters, advantages, shares) in torch.load(tmp_path / "runs.pt").items():
        its_parameters, its_advantages, _ = run(name, tiny_model, tmp_path, 1, False)
        assert advantages == its_advantages
        assert min(shares) < 1 and (name != "one process has nothing" or max(shares) <= 1 / 3)
        torch.testing.assert_close(parameters, its_parameters)
