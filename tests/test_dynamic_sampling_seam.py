"""Dynamic sampling beside the rest of TRL: its metrics, the order of the data, media, evaluation, a step that fails."""

import math

import pytest
import reference
import torch
from datasets import Dataset
from forked import in_two_processes
from test_dynamic_sampling import Watched, by_prompt, constant, interesting, is_dull
from test_trl import PROMPTS, length, steps, trainer_of, vowels
from torch.testing import assert_close
from trl import GRPOConfig, GRPOTrainer

from manypaths import mmr
from manypaths.embed import NgramEmbedder
from manypaths.names import distinct
from manypaths.trl.text_alone import text_alone

MMR = {"reweight": mmr, "embedder": NgramEmbedder()}


def by_loops(scores, weights, size=4):
    """TRL's metrics of the rewards of a step, by loops: `scores` lists those of all sampled completions by function."""
    metrics = {}
    for name, column in scores.items():
        mean = sum(column) / len(column)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in column) / (len(column) - 1))
        metrics |= {f"rewards/{name}/mean": mean, f"rewards/{name}/std": deviation}
    raw = [sum(w * value for w, value in zip(weights, row, strict=True)) for row in zip(*scores.values(), strict=True)]
    mean = sum(raw) / len(raw)
    metrics |= {"reward": mean, "reward_std": math.sqrt(sum((value - mean) ** 2 for value in raw) / (len(raw) - 1))}
    groups = [raw[start : start + size] for start in range(0, len(raw), size)]
    metrics["frac_reward_zero_std"] = sum(max(group) == min(group) for group in groups) / len(groups)
    return metrics


@pytest.mark.parametrize("diverse", [{}, MMR], ids=["none", "mmr"])
@pytest.mark.parametrize("first", [constant, interesting], ids=["cold start", "partly filled"])
def test_metrics_of_rewards_are_raw_and_of_all_sampled_completions(tiny_model, tmp_path, first, diverse):
    scores = {first.__name__: [], "length": []}

    def recorded(function):
        def reward(prompts, completions, **_):
            rewards = function(prompts=prompts, completions=completions)
            scores[function.__name__] += rewards
            return rewards

        reward.__name__ = function.__name__
        return reward

    rewards, weights = [recorded(first), recorded(length)], [1.0, 0.5]
    named = {"dynamic_sampling": first.__name__, "max_batches": 3, "reward_weights": weights, **diverse}
    ours = trainer_of(tiny_model, tmp_path, Watched, rewards, steps=2, **named)
    ours.train()
    done = dict.fromkeys(scores, 0)
    for entry in steps(ours):
        count = int(entry["dynamic_sampling/batches"]) * 8
        of_step = {name: column[done[name] : done[name] + count] for name, column in scores.items()}
        done = {name: place + count for name, place in done.items()}
        for name, value in by_loops(of_step, weights).items():
            assert entry[name] == pytest.approx(value, abs=1e-5), name
        assert entry["groups/zero_std"] == pytest.approx(entry["frac_reward_zero_std"])
    assert all(place == len(scores[name]) for name, place in done.items())


@pytest.mark.parametrize("scale", ["group", "none"])
def test_where_nothing_is_replaced_the_metrics_are_trls_own(tiny_model, tmp_path, scale):
    def ranked(completions, **_):
        return [index % 4 + length([text])[0] for index, text in enumerate(completions)]

    histories = []
    for cls, more in ((GRPOTrainer, {}), (Watched, {"dynamic_sampling": "ranked"})):
        trainer = trainer_of(tiny_model, tmp_path, cls, [ranked, vowels], scale_rewards=scale, **more)
        trainer.train()
        histories.append(steps(trainer))
    for plain, ours in zip(*histories, strict=True):
        names = [key for key in plain if "reward" in key or "completions/" in key]
        assert {"reward", "reward_std", "rewards/ranked/mean", "completions/mean_length"} <= set(names)
        for name in names:
            assert ours[name] == pytest.approx(plain[name], abs=1e-5), name


def test_evaluation_while_training_is_trls_own(tiny_model, tmp_path):
    named = {"dynamic_sampling": "interesting", "eval_strategy": "steps", "eval_steps": 1}
    ours = trainer_of(tiny_model, tmp_path, Watched, [interesting, length], steps=2, **named, **MMR)
    ours.train()
    evaluated = [entry for entry in ours.state.log_history if "eval_reward" in entry]
    plain = trainer_of(tiny_model, tmp_path, rewards=[interesting, length], steps=1).evaluate()
    rewards = [{key for key in logged if "reward" in key} for logged in (*evaluated, plain)]
    assert len(evaluated) == 2 and rewards[0] == rewards[1] == rewards[2]
    assert not any("dynamic_sampling" in key or "diversity" in key for key in evaluated[0])


# The order of the data


def in_groups(prompts):
    """The prompt of every group of 4."""
    assert all(len(set(prompts[start : start + 4])) == 1 for start in range(0, len(prompts), 4))
    return prompts[::4]


def expected_order(prompts, batches, places):
    """By loops: each step begins with the loader's next batch; the rows that follow it in the data are the others."""
    usable, order = len(prompts) // places, []
    for step, count in enumerate(batches):
        start = (step % usable) * places
        order += [prompts[(start + place) % len(prompts)] for place in range(count * places)]
    return order


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 20},
        {"steps": 10, "gradient_accumulation_steps": 2},
        {"steps": 7, "gradient_accumulation_steps": 4, "steps_per_generation": 1},  # 18 batches are no whole steps
        {"steps": 42, "steps_per_generation": 2, "num_iterations": 2},
    ],
    ids=str,
)
def test_without_shuffling_later_batches_follow_in_the_order_of_the_data(tiny_model, tmp_path, settings):
    generated = settings.get("steps_per_generation", settings.get("gradient_accumulation_steps", 1))
    named = {"shuffle_dataset": False, "dynamic_sampling": "interesting", "max_batches": 40, "seed": 3, **settings}
    ours = trainer_of(tiny_model, tmp_path, Watched, interesting, **named)  # for more than an epoch
    batches = []
    sample = ours._fill_batch

    def counted(inputs):
        before = len(ours.sampled)
        filled = sample(inputs)
        batches.append((len(ours.sampled) - before) // (8 * generated))
        return filled

    ours._fill_batch = counted
    ours.train()
    assert max(batches) > 1 and in_groups(ours.sampled) == expected_order(PROMPTS, batches, 2 * generated)


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_resumed_training_samples_the_same_prompts(tiny_model, tmp_path, shuffle):
    named = {"steps": 5, "save_steps": 2, "shuffle_dataset": shuffle, "gradient_accumulation_steps": 2}
    named |= {"dynamic_sampling": "interesting", "max_batches": 40, "save_strategy": "steps"}
    whole = trainer_of(tiny_model, tmp_path / "whole", Watched, interesting, **named)
    whole.train()
    resumed = trainer_of(tiny_model, tmp_path / "resumed", Watched, interesting, **named)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    last = len(resumed.sampled)
    assert 0 < last < len(whole.sampled) and resumed.sampled == whole.sampled[-last:]


def in_order(tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 6, "steps": 2, "ddp_backend": "gloo", "max_batches": 20}
    settings |= {"dynamic_sampling": "by_prompt", "shuffle_dataset": False}
    trainer = trainer_of(tiny_model, tmp_path, Watched, by_prompt, **settings)
    trainer.train()
    ranks = [None] * 2
    torch.distributed.all_gather_object(ranks, trainer.sampled)
    trainer.accelerator.wait_for_everyone()
    return ranks, [int(entry["dynamic_sampling/batches"]) for entry in steps(trainer)]


def test_two_processes_follow_the_order_of_the_data_too(tiny_model, tmp_path):
    (first, second), batches = in_two_processes(in_order, tiny_model, tmp_path)
    pairs = [first[start : start + 6] + second[start : start + 6] for start in range(0, len(first), 6)]
    order = [prompt for pair in pairs for prompt in pair]
    assert in_groups(order) == expected_order(PROMPTS, batches, 3) and max(batches) > 1


# What cannot be moved between batches

IMAGE = {"type": "image", "image": "no.png"}


def chat(block=None):
    content = [{"type": "text", "text": "What is this?"}, *([] if block is None else [block])]
    return [{"role": "user", "content": content}]


def interesting_chat(completions, **_):
    return [float(index % 4) for index in range(len(completions))]


def trainer_on(tiny_model, out, data):
    config = GRPOConfig(
        str(out), per_device_train_batch_size=8, num_generations=4, max_completion_length=8, max_steps=1,
        report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
    )  # fmt: skip
    return Watched(str(tiny_model), interesting_chat, config, data, dynamic_sampling="interesting_chat")


@pytest.mark.parametrize("block", [IMAGE, {"type": "video", "video": "no.mp4"}, {"type": "audio", "audio": "no.wav"}])
def test_media_that_a_transform_puts_into_a_message_are_refused(tiny_model, tmp_path, block):
    data = Dataset.from_dict({"n": list(range(40))})
    data = data.with_transform(lambda batch: {"prompt": [chat(block) for _ in batch["n"]]})
    with pytest.raises(ValueError, match=f"must have text alone, got a block of type '{block['type']}' in a message"):
        trainer_on(tiny_model, tmp_path, data)


@pytest.mark.parametrize(
    "row",
    [{"prompt": chat(IMAGE)}, {"prompt": chat(), "image": "no.png"}, {"prompt": chat(), "images": ["no.png"]}],
    ids=["message", "image", "images"],
)
def test_media_in_a_few_rows_are_refused_before_sampling(tiny_model, tmp_path, row):
    data = Dataset.from_dict({"n": list(range(40))})

    def rows(batch):
        plain = {"prompt": chat(), "image": None, "images": None}
        both = [{**plain, **row} if n else plain for n in batch["n"]]
        return {key: [example[key] for example in both] for key in plain if key == "prompt" or key in row}

    ours = trainer_on(tiny_model, tmp_path, data.with_transform(rows))
    with pytest.raises(ValueError, match="Dynamic sampling must have text alone"):
        ours.train()
    assert ours.sampled == [] == ours.updated


def test_generation_that_returns_more_than_text_is_refused():
    text = ([[1]], [[2]], None, ["a"], None, {}, None, [])
    assert text_alone(text) == ([[1]], [[2]], ["a"], None)
    assert text_alone((*text[:7], [[]])) == text_alone(text)
    for place, value in ((2, [[1]]), (5, {"answer": ["a"]}), (6, [["image"]]), (7, [["image"]])):
        with pytest.raises(ValueError, match="must have text alone"):
            text_alone((*text[:place], value, *text[place + 1 :]))
    for other in (text[:7], (*text, None)):
        with pytest.raises(ValueError, match=rf"must return 8 values, got {len(other)}: this version of TRL"):
            text_alone(other)


# A step that fails


class Failure(Exception):
    pass


@pytest.mark.parametrize("where", ["reward", "embedder", "reweighter", "advantage"])
def test_a_step_that_fails_leaves_nothing_behind(tiny_model, tmp_path, where):
    failing = {"reward": False, "embedder": False, "reweighter": False, "advantage": False, where: True}

    def fail_once(part):
        if failing[part]:
            failing[part] = False
            raise Failure

    def logging(prompts, completions, log_extra=None, log_metric=None, **_):
        log_extra("said", [f"{prompt}{text}" for prompt, text in zip(prompts, completions, strict=True)])
        log_metric("count", float(len(prompts)))
        fail_once("reward")
        return interesting(prompts, completions)

    embed = NgramEmbedder()
    ours = trainer_of(
        tiny_model, tmp_path, Watched, [logging, length], steps=2, dynamic_sampling="logging", max_batches=30,
        embedder=lambda texts: (fail_once("embedder"), embed(texts))[1],
        reweight=lambda rewards, similarity: (fail_once("reweighter"), mmr(rewards, similarity))[1],
        advantage=lambda adjusted, advantages: (fail_once("advantage"), advantages)[1],
    )  # fmt: skip
    with pytest.raises(Failure):
        ours.train()
    sampled = len(ours.sampled)
    assert ours._sampled is None and (where == "advantage" or ours.groups is None)
    evaluated = ours.evaluate()
    assert len(ours.sampled) == sampled + 16 and evaluated["eval_rewards/length/mean"] > 0
    ours.train()
    pairs = list(zip(ours._logs["prompt"], ours._logs["completion"], strict=True))
    assert list(ours._logs["extra"]["said"]) == [f"{prompt}{text}" for prompt, text in pairs]
    for start in (0, 4):
        texts = [text for _, text in pairs[start : start + 4]]
        rows = embed(texts).double()
        raw = [rank + tens for rank, tens in zip(range(4), length(texts), strict=True)]
        expected = reference.advantages(reference.mmr(raw, (rows @ rows.T).tolist()))
        actual = torch.tensor(list(ours._logs["advantages"]))[start : start + 4]
        assert_close(actual, torch.tensor(expected), rtol=1e-4, atol=1e-4)


# Which reward function


def test_a_position_selects_the_reward_function(tiny_model, tmp_path):
    def good(completions, **_):
        return [0.5] * len(completions)

    first, good = good, interesting

    def other(prompts, completions, **_):
        return good(prompts, completions)

    other.__name__ = "good"
    rewards = [first, other]
    with pytest.raises(ValueError, match=r"must name one reward function, got 'good', the name of 2\. .* 0 or 1"):
        trainer_of(tiny_model, tmp_path, Watched, list(rewards), dynamic_sampling="good")
    ours = trainer_of(tiny_model, tmp_path, Watched, list(rewards), dynamic_sampling=1, max_batches=30, steps=2)
    ours.train()
    assert ours.updated and not any(is_dull(prompt) for prompt, _ in ours.updated)
    for wrong in (2, -1, True):
        with pytest.raises(ValueError, match="or its position, 0 to 1, got"):
            trainer_of(tiny_model, tmp_path, Watched, list(rewards), dynamic_sampling=wrong)


@pytest.mark.parametrize(
    ("names", "different"),
    [
        ([], []),
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a_2", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2", "a_2"], ["a", "a_3", "a_2", "a_2_2"]),
    ],
)
def test_names_become_distinct(names, different):
    assert distinct(names) == different
