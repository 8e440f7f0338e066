"""Training on some completions of each group: the update is that of a training that sampled these alone."""

import os
import re
from functools import partial

import pytest
import torch
from forked import in_processes
from layouts import EachByItself
from peft import LoraConfig
from test_processes import COMPILES, environment_of
from test_trained_rows import STEEP, mixture, seldom
from test_trl import equal, steps, trained, trainer_of, vowels

from manypaths import mmr
from manypaths.callbacks.records import nearest
from manypaths.embed import NgramEmbedder
from manypaths.methods import ADVANTAGES, maxrl, select_max_variance, select_mmr, select_random
from manypaths.methods.bind import replace_advantages
from manypaths.methods.diagnostics import report
from manypaths.recipe import read
from manypaths.training.trainer_arguments import methods_and_keys
from manypaths.trl import DiverseGRPOTrainer

LOSSES = ["grpo", "bnpo", "dr_grpo", "dapo"]
RULES = {"mmr": (2, "mmr"), "max_variance": (2, "max_variance"), "random": (3, partial(select_random, seed=5))}
NAMED = {"mmr": {"embedder": NgramEmbedder(), "correct": 0}}


def even(rewards, *, count):
    """A rule of one's own: the first completions of each group."""
    return (torch.arange(rewards.shape[1]) < count).expand_as(rewards) & ~rewards.isnan()


def odd(completions, **_):
    """1 and 0 in turn, whatever was written."""
    return [float(place % 2) for place, _ in enumerate(completions)]


def nothing(rewards, *, count):
    return torch.zeros_like(rewards, dtype=torch.bool)


class TheFirstTwo(DiverseGRPOTrainer):
    """Groups of two: the first two of the four completions that `EachByItself` samples in groups of four."""

    calls = 0

    def _generate_single_turn(self, prompt_ids, *more):
        first = 1000 * self.calls
        self.calls += 1
        completions = []
        for row, ids in enumerate(prompt_ids):
            torch.manual_seed(first + 4 * (row // 2) + row % 2)
            completions.append(super()._generate_single_turn([ids], *more)[0][0])
        return completions, None


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("skip", [False, True])
def test_it_is_a_training_that_sampled_the_selected_completions_alone(tiny_model, tmp_path, loss, skip):
    """Groups of four of which the first two are trained on, against groups of those two, to GRPO's own parameters."""
    named = {"loss_type": loss, **STEEP}
    ours = trained(tiny_model, tmp_path, EachByItself, vowels, select=(2, even), skip_zero_advantage=skip, **named)
    alone = trained(
        tiny_model, tmp_path, TheFirstTwo, vowels, num_generations=2, per_device_train_batch_size=4, **named
    )
    torch.testing.assert_close(ours, alone)
    assert not equal(ours, trained(tiny_model, tmp_path, EachByItself, vowels, **named))


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo"])
@pytest.mark.parametrize("settings", [{"beta": 0.1}, {"num_iterations": 2}, {"scale_rewards": "batch"}])
def test_so_it_is_with_other_terms_and_scales(tiny_model, tmp_path, loss, settings):
    named = {"loss_type": loss, **STEEP, **settings}
    ours = trained(tiny_model, tmp_path, EachByItself, vowels, select=(2, even), **named)
    alone = trained(
        tiny_model, tmp_path, TheFirstTwo, vowels, num_generations=2, per_device_train_batch_size=4, **named
    )
    torch.testing.assert_close(ours, alone)


@pytest.mark.parametrize("loss", LOSSES)
def test_micro_batches_of_any_size_give_one_update(tiny_model, tmp_path, loss):
    """TRL shuffles completions into micro-batches; how many of them a micro-batch has does not matter but for bnpo."""
    named = {"rewards": vowels, "select": (2, even), "loss_type": loss, "steps": 1, **STEEP}
    whole = trained(tiny_model, tmp_path, DiverseGRPOTrainer, per_device_train_batch_size=8, **named)
    parts = trained(
        tiny_model, tmp_path, DiverseGRPOTrainer, per_device_train_batch_size=2, gradient_accumulation_steps=4, **named
    )
    start = trainer_of(tiny_model, tmp_path).model.parameters()
    assert not equal(whole, start)
    if loss != "bnpo":
        torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_sees_its_inputs_and_decides_whose_advantage_counts(tiny_model, tmp_path, rule):
    """Advantages by hand: among the selected ones of each group, 0 for the others."""
    count, function = RULES[rule]
    ours = trainer_of(
        tiny_model,
        tmp_path,
        DiverseGRPOTrainer,
        [seldom, vowels],
        num_generations=8,
        select=(count, function),
        **NAMED.get(rule, {}),
    )
    ours.train()
    groups, inputs = ours.groups, ours.groups.inputs
    by_hand = {
        "mmr": lambda: select_mmr(groups.raw, inputs["similarity"], inputs["correct"], count=count),
        "max_variance": lambda: select_max_variance(groups.raw, count=count),
        "random": lambda: select_random(groups.raw, inputs["lengths"], count=count, seed=5),
    }[rule]()
    assert torch.equal(groups.diagnostics["selected"], by_hand) and by_hand.sum() == count
    among = groups.raw[by_hand]
    advantages = torch.zeros(8)
    advantages[by_hand[0]] = (among - among.mean()) / (among.std() + 1e-4)
    torch.testing.assert_close(torch.tensor(list(ours._logs["advantages"])), advantages)


def test_with_a_reweighter_and_an_advantage_the_selected_ones_are_the_group(tiny_model, tmp_path):
    named = {"embedder": NgramEmbedder(), "correct": "seldom", "select": (3, even), "num_generations": 8}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [seldom, vowels], reweight=mmr, **named)
    ours.train()
    groups = ours.groups
    expected = mmr(groups.raw[:, :3], groups.similarity[:, :3, :3])
    torch.testing.assert_close(groups.adjusted[:, :3], expected)
    assert groups.adjusted[:, 3:].isnan().all() and not groups.raw.isnan().any()
    scaled = (expected - expected.mean()) / (expected.std() + 1e-4)
    torch.testing.assert_close(torch.tensor(list(ours._logs["advantages"])[:3]), scaled[0])
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [seldom, vowels], advantage=maxrl, **named)
    ours.train()
    correct = ours.groups.inputs["correct"][:, :3]
    expected = torch.nn.functional.pad(maxrl(correct, correct), (0, 5)).flatten()
    torch.testing.assert_close(torch.tensor(list(ours._logs["advantages"])), expected)


@pytest.mark.parametrize("name", ["focal", "ucpo", "raft"])
def test_verdicts_of_completions_that_are_left_out_change_no_advantage(tiny_model, tmp_path, name):
    named = {"select": (4, even), "num_generations": 8, "advantage": ADVANTAGES[name], "correct": "odd"}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, odd, steps=1, scale_rewards="none", **named)
    ours.train()
    inputs = {key: values[:, :4] for key, values in ours.groups.inputs.items() if values.dim() == 2}
    inputs |= {"rewards": ours.groups.raw[:, :4], "adjusted": ours.groups.raw[:, :4]}
    inputs["advantages"] = inputs["rewards"] - inputs["rewards"].mean(1, keepdim=True)
    among, _ = replace_advantages(ADVANTAGES[name], inputs)
    assert among.any() and ours.groups.inputs.get("correct", ours.groups.raw)[:, 4:].any()
    torch.testing.assert_close(torch.tensor(list(ours._logs["advantages"])), torch.nn.functional.pad(among, (0, 4))[0])


def of_tools(cls):
    """Every other token of a completion is a tool's, as TRL marks those."""

    class OfTools(cls):
        def _generate(self, prompts):
            generated = super()._generate(prompts)
            masks = [[place % 2 for place, _ in enumerate(ids)] for ids in generated[1]]
            return (*generated[:2], masks, *generated[3:])

    return OfTools


@pytest.mark.parametrize("loss", LOSSES)
def test_tokens_of_tools_count_in_no_divisor(tiny_model, tmp_path, loss):
    named = {"loss_type": loss, "mask_truncated_completions": False, **STEEP}
    ours = trained(tiny_model, tmp_path, of_tools(EachByItself), vowels, select=(2, even), **named)
    alone = trained(
        tiny_model, tmp_path, of_tools(TheFirstTwo), vowels, num_generations=2, per_device_train_batch_size=4, **named
    )
    torch.testing.assert_close(ours, alone)


def test_an_entropy_bonus_is_a_mean_over_the_selected_completions(tiny_model, tmp_path):
    named = {"loss_type": "dapo", "entropy_coef": 0.5, **STEEP}
    ours = trained(tiny_model, tmp_path, EachByItself, vowels, select=(2, even), **named)
    alone = trained(
        tiny_model, tmp_path, TheFirstTwo, vowels, num_generations=2, per_device_train_batch_size=4, **named
    )
    torch.testing.assert_close(ours, alone)


def test_neighbours_and_diagnostics_are_of_the_selected_ones(tiny_model, tmp_path):
    def weights(rewards, similarity):
        report("weight", torch.arange(1.0, 9.0).expand_as(rewards))
        return rewards

    named = {"select": (3, even), "reweight": weights, "num_generations": 8, "embedder": NgramEmbedder()}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, vowels, steps=1, **named)
    ours.train()
    assert steps(ours)[0]["diversity/weight"] == 2.0
    (of_group,) = nearest(ours.groups)
    assert {neighbour["nearest"] for neighbour in of_group[:3]} <= {0, 1, 2}
    assert [neighbour["nearest"] for neighbour in of_group[3:]] == [None] * 5


def test_columns_of_the_table_of_completions_have_one_length(tiny_model, tmp_path):
    named = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4, "eval_on_start": True}
    named |= {"select": (2, even), "reweight": mmr, "embedder": NgramEmbedder(), "log_completions": True}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [seldom, vowels], **named)
    ours.train()
    logs = ours._logs
    assert {len(column) for column in (logs["prompt"], logs["advantages"], *logs["rewards"].values())} == {8}
    assert not torch.tensor(list(logs["rewards"]["vowels"])).isnan().any()


@pytest.mark.parametrize("settings", [{}, {"multi_objective_aggregation": "normalize_then_sum"}])
def test_metrics_and_logs_are_of_all_completions(tiny_model, tmp_path, settings):
    named = {"rewards": [seldom, vowels], "steps": 2, "learning_rate": 0.0, **settings}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, select=(2, even), **named)
    ours.train()
    plain = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, **named)
    plain.train()
    for own, its in zip(steps(ours), steps(plain), strict=True):
        for name in ("rewards/seldom/mean", "rewards/vowels/std", "reward", "reward_std", "groups/zero_std"):
            assert own[name] == pytest.approx(its[name], nan_ok=True)
        assert own["update/trained"] == 0.5 and own["completions/mean_length"] == its["completions/mean_length"]
    for name in ("seldom", "vowels"):
        assert list(ours._logs["rewards"][name]) == list(plain._logs["rewards"][name])
    assert list(ours._logs["completion"]) == list(plain._logs["completion"])


def test_several_normalised_rewards_are_normalised_among_the_selected_ones(tiny_model, tmp_path):
    named = {"multi_objective_aggregation": "normalize_then_sum", "rewards": [seldom, vowels], **STEEP}
    ours = trained(tiny_model, tmp_path, EachByItself, select=(2, even), **named)
    alone = trained(tiny_model, tmp_path, TheFirstTwo, num_generations=2, per_device_train_batch_size=4, **named)
    torch.testing.assert_close(ours, alone)


def test_a_rule_that_selects_nothing_moves_nothing(tiny_model, tmp_path):
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, vowels, select=(2, nothing), **STEEP)
    start = [parameter.detach().clone() for parameter in ours.model.parameters()]
    ours.train()
    assert equal(start, ours.model.parameters())
    assert [step["update/trained"] for step in steps(ours)] == [0.0] * 3


def test_dynamic_sampling_fills_the_batch_before_completions_are_selected(tiny_model, tmp_path):
    named = {"dynamic_sampling": "seldom", "max_batches": 3, "select": (2, "max_variance")}
    ours = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, [seldom, vowels], **named)
    ours.train()
    chosen, unfilled = ours.groups.diagnostics["selected"], ours.groups.raw.isnan().all(1)
    assert torch.equal(chosen.sum(1), torch.where(unfilled, 0, 2))


@pytest.mark.parametrize(
    ("select", "words"),
    [
        (4, "select must be (count, rule), such as (4, 'mmr'), got 4"),
        ((1, "mmr"), "count must be a whole number of 2 or more, got 1"),
        ((2, "mrm"), "mrm"),
        ((2, "mmr"), "select 'select_mmr' must be given similarity, which is missing here"),
        ((5, "random"), "select's count must be at most num_generations, here 4, got 5. Set a smaller count"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_loads(tmp_path, select, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        trainer_of(tmp_path / "no-model", tmp_path, DiverseGRPOTrainer, select=select)


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo"])
@pytest.mark.parametrize("bonus", [{"entropy_coef": 0.01}, {"use_adaptive_entropy": True}])
def test_an_entropy_bonus_that_the_factor_would_multiply_is_refused(tmp_path, loss, bonus):
    named = {"select": (2, "random"), "loss_type": loss, **bonus}
    with pytest.raises(ValueError, match=rf"select must be left out with loss_type='{loss}' and an entropy bonus"):
        trainer_of(tmp_path / "no-model", tmp_path, DiverseGRPOTrainer, **named)


def test_so_is_a_router_loss(tiny_model, tmp_path):
    named = {"select": (2, "random"), "loss_type": "grpo"}
    with pytest.raises(ValueError, match="select must be left out with loss_type='grpo' and a model with a router"):
        trainer_of(mixture(tiny_model, tmp_path), tmp_path, DiverseGRPOTrainer, **named)


def test_a_count_without_a_rule_is_refused():
    spec = read(["smollm2-135m", "arithmetic", "grpo"], ["select.count=4"])
    with pytest.raises(ValueError, match=r"must come with select\.rule"):
        methods_and_keys(spec)
    spec = read(["smollm2-135m", "arithmetic", "select-mmr"], ["method.correct=accuracy", "trainer.num_generations=2"])
    with pytest.raises(ValueError, match="at most num_generations, here 2, got 4"):
        methods_and_keys(spec)


@pytest.mark.parametrize("rule", ["select-mmr", "select-pods", "select-random"])
@pytest.mark.parametrize("method", ["none", "mmr"])
def test_the_shipped_recipes_train(tiny_recipe, tmp_path, rule, method):
    import yaml

    from manypaths.cli import main
    from manypaths.files import read_jsonl

    trainer = {**tiny_recipe["trainer"], "num_generations": 8, "max_steps": 2}
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**tiny_recipe, "trainer": trainer, "embedder": {"name": "ngram"}}))
    words = [method, rule, str(path), "method.correct=accuracy"]
    assert read(["smollm2-135m", "arithmetic", method, rule]).select.count == 4
    assert main(["train", *words, "--out", str(tmp_path / "run")]) == 0
    (first, *_) = read_jsonl(tmp_path / "run" / "groups.jsonl")
    selected = [completion["diagnostics"]["selected"] for completion in first["completions"]]
    assert selected.count(True) == 4 and selected.count(False) == 4
    assert all(c["advantage"] == 0 for c in first["completions"] if not c["diagnostics"]["selected"])
    assert (tmp_path / "run" / "inspect.html").exists()


# several processes

CASES = {
    "mmr": {"select": (2, "mmr"), "embedder": NgramEmbedder(), "correct": "seldom", "loss_type": "grpo"},
    "random, skipping": {"select": (2, "random"), "skip_zero_advantage": True, "loss_type": "dapo"},
    "max_variance, mmr": {
        "select": (2, "max_variance"),
        "reweight": mmr,
        "embedder": NgramEmbedder(),
        "loss_type": "dr_grpo",
        "peft_config": LoraConfig(r=2, target_modules=["q_proj"]),
    },
}


def run(name, model, out, processes):
    trainer = trainer_of(
        model,
        out,
        EachByItself,
        [vowels, seldom],
        per_device_train_batch_size=12 // processes,
        ddp_backend="gloo" if processes > 1 else None,
        **STEEP,
        **CASES[name],
    )
    trainer.train()
    chosen = trainer.groups.diagnostics["selected"]
    return trainer.accelerator.get_state_dict(trainer.model_wrapped), list(trainer._logs["advantages"]), chosen


def save_runs(names, model, out, environment):
    os.environ |= environment
    torch.set_num_threads(1)
    runs = {name: run(name, model, out, int(os.environ["WORLD_SIZE"])) for name in names}
    if os.environ["RANK"] == "0":
        torch.save(runs, out / "runs.pt")
    torch.distributed.barrier()


@pytest.mark.parametrize(
    ("config", "names"), [("ddp", list(CASES)), pytest.param("zero3", ["mmr"], marks=COMPILES)], ids=["ddp", "zero3"]
)
def test_two_processes_select_and_end_as_one(tiny_model, tmp_path, monkeypatch, config, names):
    in_processes(2, save_runs, names, tiny_model, tmp_path, environment_of(config, monkeypatch))
    for name, (parameters, advantages, chosen) in torch.load(tmp_path / "runs.pt").items():
        its_parameters, its_advantages, its_chosen = run(name, tiny_model, tmp_path, 1)
        assert advantages == its_advantages and torch.equal(chosen, its_chosen)
        torch.testing.assert_close(parameters, its_parameters)
