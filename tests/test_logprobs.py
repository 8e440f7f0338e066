"""The input `logprobs` in TRL's trainer: its sums, by a forward pass written out, wherever they come from."""

import time

import pytest
import torch
from accelerate.utils import gather
from forked import in_two_processes
from peft import LoraConfig
from test_trl import length, trainer_of, vowels
from torch.testing import assert_close
from trl import GRPOTrainer

from manypaths.trl import DiverseGRPOTrainer
from manypaths.wrapper import DiverseReward


def unchanged(rewards, logprobs):
    return rewards


class ByHand(DiverseGRPOTrainer):
    """Keeps, for each generation, the input and the same by hand: one completion at a time, without padding."""

    def __init__(self, *host, **named):
        super().__init__(*host, **named)
        self.pairs, self.passes = [], 0

    def _another_pass(self, *ids):
        self.passes += 1
        return super()._another_pass(*ids)

    def _calculate_rewards(self, *arguments):
        rewards = super()._calculate_rewards(*arguments)
        if self._in_training:
            prompt_ids, completion_ids, masks, *_ = self._generated
            masks = masks or [[1] * len(ids) for ids in completion_ids]
            self.model.eval()
            own = [self.summed(*row) for row in zip(prompt_ids, completion_ids, masks, strict=True)]
            self.model.train()
            self.pairs.append((self.groups.inputs["logprobs"].flatten(), gather(torch.tensor(own))))
        return rewards

    @torch.no_grad()
    def summed(self, prompt, completion, mask):
        logits = self.model(input_ids=torch.tensor([prompt + completion])).logits[0] / self.temperature
        logps = logits.float().log_softmax(-1)
        return sum(
            logps[len(prompt) + at - 1, token].item()
            for at, (token, own) in enumerate(zip(completion, mask, strict=True))
            if own
        )


def lora(**more):
    return {"peft_config": LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", **more)}


# settings, and the number of further passes in three steps
CASES = {
    "one pass": ({}, 3),
    "temperature": ({"temperature": 0.6}, 3),
    "padded to a multiple": ({"pad_to_multiple_of": 8}, 3),
    "accumulated": ({"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}, 3),
    "two generations a step": ({"gradient_accumulation_steps": 2, "steps_per_generation": 1}, 6),
    "two updates a generation": ({"num_iterations": 2}, 0),
    "half a generation an update": ({"steps_per_generation": 2}, 0),
    "reference": ({"beta": 0.1}, 3),
    "reference, two updates": ({"beta": 0.1, "num_iterations": 2}, 0),
    "LoRA and its reference": ({"beta": 0.1, **lora(init_lora_weights=False)}, 3),
    "LoRA and its reference, two updates": ({"beta": 0.1, "num_iterations": 2, **lora(init_lora_weights=False)}, 0),
    "LoRA's dropout": (lora(init_lora_weights=False, lora_dropout=0.5), 3),
    "truncated ones masked": ({"mask_truncated_completions": True, "num_iterations": 2}, 2),
    "dynamic sampling": ({"dynamic_sampling": "vowels"}, 3),
}


def train(tiny_model, out, name, **more):
    settings, _ = CASES[name]
    trainer = trainer_of(tiny_model, out, ByHand, [vowels, length], reweight=unchanged, **settings, **more)
    trainer.train()
    return trainer


@pytest.mark.parametrize("name", CASES)
def test_the_sums_are_those_of_a_forward_pass_by_hand(tiny_model, tmp_path, name):
    trainer = train(tiny_model, tmp_path, name)
    assert trainer.passes == CASES[name][1] and len(trainer.pairs) >= 2
    for summed, by_hand in trainer.pairs:
        assert summed.dtype == torch.float32 and len({round(value, 3) for value in summed.tolist()}) > 4
        assert_close(summed, by_hand)


def in_a_process(tiny_model, out):
    torch.set_num_threads(1)
    pairs = []
    for name in ("one pass", "two updates a generation", "LoRA and its reference"):
        pairs += train(tiny_model, out, name, per_device_train_batch_size=6, ddp_backend="gloo").pairs
    return [tuple(values.tolist() for values in pair) for pair in pairs]


def test_two_processes_gather_them(tiny_model, tmp_path):
    pairs = in_two_processes(in_a_process, tiny_model, tmp_path)
    assert len(pairs) == 8
    for summed, by_hand in pairs:
        assert len(summed) == 12
        assert_close(torch.tensor(summed), torch.tensor(by_hand))


@pytest.mark.parametrize("peft", [{}, lora(lora_dropout=0.5)], ids=["whole", "LoRA with dropout"])
def test_a_method_that_asks_for_them_and_changes_nothing_is_grpo_to_the_bit(tiny_model, tmp_path, peft):
    def its_own(rewards, advantages, logprobs):
        return advantages

    ours = trainer_of(tiny_model, tmp_path, ByHand, advantage=its_own, **peft)
    ours.train()
    plain = trainer_of(tiny_model, tmp_path, GRPOTrainer, **peft)
    plain.train()
    assert ours.passes == 3
    for weight, expected in zip(ours.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_without_a_method_that_asks_there_is_no_pass(tiny_model, tmp_path):
    trainer = trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, reweight=lambda rewards, lengths: rewards, steps=1)
    trainer._another_pass = None
    trainer.train()
    assert trainer.groups.inputs.keys() == {"rewards", "lengths"} and trainer._generated is None


def test_the_seconds_of_the_pass_are_those_of_sampling(tiny_model, tmp_path):
    class Slow(DiverseGRPOTrainer):
        def _another_pass(self, *ids):
            logps = super()._another_pass(*ids)
            time.sleep(0.5)
            return logps

    trainer = trainer_of(tiny_model, tmp_path, Slow, reweight=unchanged, steps=1)
    trainer.train()
    assert trainer.seconds["sampling"] > 0.5 > trainer.seconds["rewards"] + trainer.seconds["embedding"]


# Sources beside TRL's own


def rolled_out(logprobs):
    """A rollout function: two tokens of an environment among five, and a log-probability for each token."""

    def rollout(prompts, trainer):
        tokens = [[40 + place, 41, 42, 43, 44 + place] for place in range(len(prompts))]
        ids = [trainer.processing_class(prompt)["input_ids"] for prompt in prompts]
        masks = [[1, 0, 0, 1, 1] for _ in prompts]
        return {"prompt_ids": ids, "completion_ids": tokens, "logprobs": logprobs(len(prompts)), "env_mask": masks}

    return rollout


def given(count):
    return [[-float(place), -100.0, float("nan"), -0.25, -1.0] for place in range(count)]


def one_missing(count):
    return [*given(count - 1), [-1.0, None, -1.0, -1.0, -1.0]]


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")
@pytest.mark.parametrize(
    ("logprobs", "settings", "passes"),
    [
        (given, {}, 0),
        (lambda count: None, {}, 1),
        (one_missing, {}, 1),
        (lambda count: None, {"num_iterations": 2}, 0),
        (lambda count: None, {"mask_truncated_completions": True}, 1),
    ],
)
def test_tokens_of_tools_count_in_no_source(tiny_model, tmp_path, logprobs, settings, passes):
    named = {"rollout_func": rolled_out(logprobs), "reweight": unchanged, "steps": 1, **settings}
    trainer = trainer_of(tiny_model, tmp_path, ByHand, **named)
    trainer.train()
    (summed, by_hand), *_ = trainer.pairs
    assert trainer.passes == passes
    expected = torch.tensor([-place - 1.25 for place in range(8)]) if logprobs is given else by_hand
    assert_close(summed, expected)


@pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")
def test_a_log_probability_for_each_token_is_wanted(tiny_model, tmp_path):
    short = {"rollout_func": rolled_out(lambda count: [[-1.0]] * count), "reweight": unchanged}
    with pytest.raises(ValueError, match="rollout_func must return a log-probability for each token"):
        trainer_of(tiny_model, tmp_path, DiverseGRPOTrainer, **short).train()


def test_a_reward_function_has_none():
    with pytest.raises(ValueError, match=r"must be given logprobs, which is missing here\. .* Take DiverseGRPOTrainer"):
        DiverseReward(vowels, reweight=unchanged, num_generations=4)
