"""The callbacks in two processes record what they record in one: the same groups, and the same evaluations."""

import json
import os

import pytest
import torch
from datasets import Dataset
from forked import in_two_processes
from layouts import SamplesEachByItself
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from manypaths.callbacks import EvaluateProblems, RecordGroups
from manypaths.files import read_jsonl

PROMPTS = [{"prompt": f"{a % 5} + 2 = ", "answer": str(a % 5 + 2)} for a in range(9)]  # some are equal
HELD_OUT = [{"prompt": f"{a} + 3 = ", "answer": str(a + 3)} for a in range(5)]


class Grpo(SamplesEachByItself, GRPOTrainer):
    """TRL's GRPO."""


class IdsAlone:
    """A part of a trainer: the completions without what TRL's GRPO has beside them."""

    def _generate_single_turn(self, *arguments):
        return super()._generate_single_turn(*arguments)[0]


class IdsAndNothing:
    """The opposite of `IdsAlone`."""

    def _generate_single_turn(self, *arguments):
        return super()._generate_single_turn(*arguments), None


class Rloo(IdsAlone, SamplesEachByItself, IdsAndNothing, RLOOTrainer):
    """TRL's RLOO."""


# name: (trainer, completions of a batch over all processes, settings), for groups of 4, which may lie in two processes
CASES = {
    "plain": (Grpo, 12, {}),
    "weights": (Grpo, 12, {"reward_weights": [0.5, 3.0], "logging_steps": 2}),
    "used twice": (Grpo, 12, {"num_iterations": 2}),
    "accumulated": (Grpo, 4, {"gradient_accumulation_steps": 3}),
    "two generations": (Grpo, 4, {"gradient_accumulation_steps": 2, "steps_per_generation": 1}),
    "rloo": (Rloo, 12, {}),
}


def letters(completions, **_):
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


def even(completions, **_):
    codes = [sum(map(ord, text)) for text in completions]
    return [None if code % 3 == 0 else float(code % 2 == 0) for code in codes]


def train(name, tiny_model, run, processes):
    kind, size, settings = CASES[name]
    named = {"num_generations": 4, "per_device_train_batch_size": size // processes, "max_completion_length": 6}
    named |= {"max_steps": 3, "logging_steps": 1, "learning_rate": 0.3, "optim": "sgd", "save_strategy": "no"}
    named |= {"bf16": False, "use_cpu": True, "report_to": "none", "disable_tqdm": True, "beta": 0.0}
    named |= {"ddp_backend": "gloo"} if processes > 1 else {}
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(tiny_model),
        reward_funcs=[letters, even],
        args=(GRPOConfig if kind is Grpo else RLOOConfig)(str(run / "trainer"), **{**named, **settings}),
        train_dataset=Dataset.from_list(PROMPTS),
        processing_class=AutoTokenizer.from_pretrained(tiny_model, padding_side="right"),
    )
    trainer.add_callback(RecordGroups(trainer, run, answer_column="answer"))
    trainer.add_callback(EvaluateProblems(trainer, HELD_OUT, run, every=2, samples=2, batch_size=4))
    trainer.train()


def train_all(tiny_model, out):
    torch.set_num_threads(1)
    for name in CASES:
        train(name, tiny_model, out / name, int(os.environ["WORLD_SIZE"]))


@pytest.fixture(scope="module")
def runs(tiny_model, tmp_path_factory):
    """The folder of the runs in two processes."""
    out = tmp_path_factory.mktemp("two")
    in_two_processes(train_all, tiny_model, out)
    return out


def measures(run):
    """summary.json of the evaluations without the seconds, and counts.json."""
    summary, counts = (json.loads((run / "evaluation" / f"{name}.json").read_text()) for name in ("summary", "counts"))
    return {when: {**own, "seconds": None} for when, own in summary.items()}, counts


@pytest.mark.parametrize("name", CASES)
def test_two_processes_record_what_one_does(name, tiny_model, tmp_path, runs):
    train(name, tiny_model, tmp_path, 1)
    own, others = (read_jsonl(run / "groups.jsonl") for run in (tmp_path, runs / name))
    assert [(line["step"], line["group"], line["prompt"], line["answer"]) for line in own] == [
        (line["step"], line["group"], line["prompt"], line["answer"]) for line in others
    ]
    for line, other in zip(own, others, strict=True):
        for completion, its in zip(line["completions"], other["completions"], strict=True):
            assert completion.pop("advantage") == pytest.approx(its.pop("advantage"), abs=1e-5)
            assert completion == its
    assert measures(tmp_path) == measures(runs / name)
    for when in measures(tmp_path)[0]:
        lines, its = (read_jsonl(run / "evaluation" / f"{when}.jsonl") for run in (tmp_path, runs / name))
        assert lines == its
    steps = [[line["step"] for line in read_jsonl(run / "metrics.jsonl")] for run in (tmp_path, runs / name)]
    assert steps[0] == steps[1]
    assert json.loads((runs / name / "summary.json").read_text())["steps"] == 3
