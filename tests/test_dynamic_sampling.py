"""Dynamic sampling in TRL's real trainer: zero-variance groups never reach the update."""

import pytest
import reference
import torch
from datasets import Dataset
from forked import in_two_processes
from test_trl import PROMPTS, equal, length, trained, trainer_of
from trl import GRPOConfig, GRPOTrainer

from manypaths import mmr
from manypaths.embed import NgramEmbedder
from manypaths.trl import DiverseGRPOTrainer
from manypaths.trl.dynamic_sampling import DynamicSamplingGRPOTrainer


def is_dull(prompt):
    return int(prompt[0]) % 2 == 0


def interesting(prompts, completions, **_):
    """Equal rewards within a group on dull prompts; on the others four different ones."""
    return [1.0 if is_dull(prompt) else float(index % 4) for index, prompt in enumerate(prompts)]


def constant(completions, **_):
    return [1.0] * len(completions)


class Watched(DiverseGRPOTrainer):
    """Keeps the prompts that are sampled, and the prompts and advantages that the loss is computed of."""

    def __init__(self, *host, **named):
        self.sampled, self.updated = [], []
        super().__init__(*host, **named)

    def _generate_single_turn(self, prompt_ids, *more):
        self.sampled += [self.processing_class.decode(ids) for ids in prompt_ids]
        return super()._generate_single_turn(prompt_ids, *more)

    def _compute_loss(self, model, inputs):
        texts = self.processing_class.batch_decode(inputs["prompt_ids"], skip_special_tokens=True)
        self.updated += list(zip(texts, inputs["advantages"].tolist(), strict=True))
        return super()._compute_loss(model, inputs)


def logged(trainer, name):
    return [entry[f"dynamic_sampling/{name}"] for entry in trainer.state.log_history if "reward" in entry]


@pytest.mark.parametrize("settings", [{}, {"dynamic_sampling": "length_of_rank"}])
def test_without_zero_variance_groups_it_equals_grpo_trainer_to_the_bit(tiny_model, tmp_path, settings):
    def length_of_rank(completions, **_):
        return [length([text])[0] + index % 4 for index, text in enumerate(completions)]

    plain = trained(tiny_model, tmp_path, GRPOTrainer, length_of_rank)
    assert equal(plain, trained(tiny_model, tmp_path, DynamicSamplingGRPOTrainer, length_of_rank, **settings))


@pytest.mark.parametrize("diverse", [{}, {"reweight": mmr, "embedder": NgramEmbedder()}], ids=["none", "mmr"])
@pytest.mark.parametrize("reuse", [{}, {"num_iterations": 2}, {"gradient_accumulation_steps": 2}], ids=str)
def test_zero_variance_groups_never_reach_the_update(tiny_model, tmp_path, diverse, reuse):
    rewards = [interesting, length]
    ours = trainer_of(
        tiny_model, tmp_path, Watched, rewards, steps=4, dynamic_sampling="interesting", **diverse, **reuse
    )
    ours.train()
    batch = 8 * reuse.get("gradient_accumulation_steps", 1)
    assert len(ours.updated) == 4 * batch
    assert not any(is_dull(prompt) for prompt, _ in ours.updated)
    assert all(advantage for _, advantage in ours.updated)
    thrown_away = sum(map(is_dull, ours.sampled)) // 4
    generations = 4 // reuse.get("num_iterations", 1)
    assert thrown_away > 0
    assert sum(map(sum, zip(logged(ours, "thrown_away"), strict=True))) == pytest.approx(thrown_away)
    assert sum(logged(ours, "batches")) == len(ours.sampled) / batch > generations
    assert sum(logged(ours, "surplus")) == len(ours.sampled) / 4 - thrown_away - generations * batch / 4
    assert sum(logged(ours, "unfilled")) == 0
    pairs = zip(logged(ours, "extra_seconds"), logged(ours, "batches"), strict=True)
    extra_seconds = [seconds for seconds, batches in pairs if batches > 1]
    assert extra_seconds and min(extra_seconds) > 1e-3  # a batch of this model takes longer


@pytest.mark.parametrize("diverse", [{}, {"reweight": mmr, "embedder": NgramEmbedder()}], ids=["none", "mmr"])
@pytest.mark.parametrize("bound", [1, 3])
def test_at_the_bound_zero_variance_groups_fill_the_batch_with_advantage_0(tiny_model, tmp_path, bound, diverse):
    rewards = [constant, length]
    named = {"dynamic_sampling": "constant", "max_batches": bound, "steps": 2, **diverse}
    ours = trainer_of(tiny_model, tmp_path, Watched, rewards, **named)
    before = [parameter.clone() for parameter in ours.model.parameters()]
    ours.train()
    assert len(ours.sampled) == 2 * bound * 8 and logged(ours, "batches") == [bound, bound]
    assert logged(ours, "unfilled") == [2, 2] and logged(ours, "thrown_away") == [2 * bound - 2, 2 * bound - 2]
    assert len(ours.updated) == 2 * 8 and {advantage for _, advantage in ours.updated} == {0.0}
    assert equal(before, ours.model.parameters())


def test_a_batch_partly_filled_keeps_the_advantages_of_its_other_groups(tiny_model, tmp_path):
    def one_prompt(prompts, completions, **_):
        return [float(index % 4) if prompt == "3 + 3 =" else 1.0 for index, prompt in enumerate(prompts)]

    named = {"dynamic_sampling": "one_prompt", "max_batches": 40, "steps": 1, "gradient_accumulation_steps": 2}
    ours = trainer_of(tiny_model, tmp_path, Watched, one_prompt, **named)
    ours.train()
    (unfilled,) = logged(ours, "unfilled")
    varied = [advantage for prompt, advantage in ours.updated if prompt == "3 + 3 ="]
    assert 0 < unfilled < 4 and len(varied) == (4 - unfilled) * 4
    expected = reference.advantages([0, 1, 2, 3]) * int(4 - unfilled)
    torch.testing.assert_close(torch.tensor(sorted(varied)), torch.tensor(sorted(expected)))
    assert all(advantage == 0 for prompt, advantage in ours.updated if prompt != "3 + 3 =")


def test_logged_columns_stay_with_their_completions(tiny_model, tmp_path):
    def logging(prompts, completions, log_extra=None, **_):
        log_extra("said", [f"{prompt}{text}" for prompt, text in zip(prompts, completions, strict=True)])
        return interesting(prompts, completions)

    ours = trainer_of(tiny_model, tmp_path, Watched, logging, steps=2, dynamic_sampling="logging")
    ours.train()
    pairs = zip(ours._logs["prompt"], ours._logs["completion"], strict=True)
    assert list(ours._logs["extra"]["said"]) == [f"{prompt}{text}" for prompt, text in pairs]


def test_fresh_prompts_depend_on_the_seed_and_the_step_alone(tiny_model, tmp_path):
    def drawn(step, seed=1):
        ours.state.global_step, ours.args.seed = step, seed
        batches = ours.fresh_inputs(5, 20)
        return [[row["prompt"] for row in next(batches)] for _ in range(3)]

    ours = trainer_of(tiny_model, tmp_path, Watched, interesting, dynamic_sampling="interesting")
    first = drawn(7)
    torch.rand(3)
    assert drawn(7) == first
    assert first not in (drawn(8), drawn(7, seed=2))
    for batch in first:
        assert len(set(batch)) == 5 and all(len(set(batch[start : start + 4])) == 1 for start in range(0, 20, 4))


def by_prompt(prompts, completions, **_):
    """As `interesting`, for groups that are split over processes: the reward depends on the text, not on its place."""
    return [
        1.0 if is_dull(prompt) else float(len(set(text))) for prompt, text in zip(prompts, completions, strict=True)
    ]


def split_groups(tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 6, "steps": 2, "ddp_backend": "gloo", "max_batches": 20}
    settings |= {"dynamic_sampling": "by_prompt", "reweight": mmr, "embedder": NgramEmbedder()}
    trainer = trainer_of(tiny_model, tmp_path, Watched, [by_prompt, length], **settings)
    trainer.train()
    ranks = [None] * 2
    weights = sum(parameter.double().sum().item() for parameter in trainer.model.parameters())
    mine = {"updated": trainer.updated[-6:], "all": trainer.updated, "sampled": trainer.sampled, "weights": weights}
    torch.distributed.all_gather_object(ranks, mine)
    logs = {name: list(trainer._logs[name]) for name in ("prompt", "completion", "advantages")}
    metrics = {name: logged(trainer, name) for name in ("batches", "thrown_away", "surplus", "unfilled")}
    trainer.accelerator.wait_for_everyone()
    return ranks, logs, metrics


def test_two_processes_fill_one_batch(tiny_model, tmp_path):
    """Three groups of 4 over two processes of 6: the middle group is split."""
    ranks, logs, metrics = in_two_processes(split_groups, tiny_model, tmp_path)
    assert ranks[0]["weights"] == ranks[1]["weights"]
    sampled = [prompt for rank in ranks for prompt in rank["sampled"]]
    assert all(len(rank["all"]) == 2 * 6 and not any(is_dull(prompt) for prompt, _ in rank["all"]) for rank in ranks)
    assert metrics["unfilled"] == [0, 0] and sum(metrics["batches"]) == len(sampled) / 12
    assert sum(metrics["thrown_away"]) + sum(metrics["surplus"]) == len(sampled) / 4 - 2 * 3
    assert sum(metrics["thrown_away"]) >= sum(map(is_dull, sampled)) / 4 > 0

    for start in (0, 4, 8):
        assert len(set(logs["prompt"][start : start + 4])) == 1
        texts = logs["completion"][start : start + 4]
        rows = NgramEmbedder()(texts).double()
        raw = [len(set(text)) + tens for text, tens in zip(texts, length(texts), strict=True)]
        expected = reference.advantages(reference.mmr(raw, (rows @ rows.T).tolist()))
        advantages = torch.tensor(logs["advantages"][start : start + 4])
        torch.testing.assert_close(advantages, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    updated = sorted(advantage for rank in ranks for _, advantage in rank["updated"])
    torch.testing.assert_close(torch.tensor(updated), torch.tensor(sorted(logs["advantages"])))


def test_refusals(tiny_model, tmp_path):
    with pytest.raises(ValueError, match=r"interesting or length, or its position, 0 to 1, got 'accuracy'"):
        trainer_of(tiny_model, tmp_path, Watched, [interesting, length], dynamic_sampling="accuracy")
    with pytest.raises(ValueError, match="max_batches must be a whole number of 1 or more, got 0"):
        trainer_of(tiny_model, tmp_path, Watched, interesting, dynamic_sampling="interesting", max_batches=0)
    config = GRPOConfig(str(tmp_path), use_cpu=True, num_generations=4, max_steps=1, report_to="none")
    data = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
    for refused, message in (
        ({"train_dataset": data.to_iterable_dataset()}, "a dataset with a length, got IterableDataset"),
        ({"train_dataset": data, "rollout_func": lambda prompts, trainer: {}}, "plain text"),
    ):
        with pytest.raises(ValueError, match=message):
            Watched(str(tiny_model), interesting, config, dynamic_sampling="interesting", **refused)
