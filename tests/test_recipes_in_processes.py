"""Each shipped recipe of a method trains on two processes, whose groups lie across them, exactly as it does on one."""

import os
import random

import reference
import torch
import yaml
from datasets import Dataset
from forked import in_two_processes
from torch.testing import assert_close
from transformers import AutoTokenizer

from manypaths import recipe
from manypaths.embed import NgramEmbedder
from manypaths.methods.bind import adjust, replace_advantages
from manypaths.training.trainer_arguments import method_arguments, methods_and_keys
from manypaths.training.trainer_config import trainer_config
from manypaths.trl import DiverseGRPOTrainer

RECIPES = [name.removeprefix("methods/") for name in recipe.shipped() if name.startswith("methods/")]
VARIANTS = ["grpo", "dr-grpo", "dapo"]  # of the recipes in turn
WAYS = ["2 + 3 = 5", "3 + 2 = 5", "10 / 2 = 5", "1 + 2 + 4 = 7", "14 / 2 = 7"]  # right
WAYS += ["2 + 3 = 6", "so 6 = 6", "7 + 7 = 77", "5 + 5 + 5 = 55", "1 = 2", "I do not know", "I do not know", "?"]
STEPS, GROUP, GROUPS = 3, 8, 3
RECIPE = {
    "problems": {"name": "arithmetic", "options": {"count": 4}},
    "lora": None,
    "embedder": {"name": "ngram"},
    "rewards": {f"{__name__}.right": 1.0, f"{__name__}.brief": 0.5},
    "method": {"correct": f"{__name__}.right"},
    "evaluation": None,
    "trainer": {
        "max_completion_length": 48,
        "max_steps": STEPS,
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "optim": "sgd",  # Adam would make much of the rounding of a gradient near 0
        "save_strategy": "no",
        "bf16": False,
        "disable_tqdm": True,
    },
}


def right(completions, **_):
    """Answers of 5 and 7 are right; completions with a question mark are unscored."""
    return [None if "?" in text else float(text.endswith(("{5}", "{7}"))) for text in completions]


def brief(completions, **_):
    """A reward for form, which differs where nothing is right."""
    return [None if "?" in text else 1 - len(text) / 50 for text in completions]


class Scripted(DiverseGRPOTrainer):
    """Completions that their place among those of all processes decides, and a record of each generation."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.steps = []

    def _generate_single_turn(self, prompt_ids, *_):
        first = 1000 * len(self.steps) + self.accelerator.process_index * len(prompt_ids)
        ways = [random.Random(first + row).choice(WAYS) for row in range(len(prompt_ids))]
        texts = [f"{way}, \\boxed{{{way.rpartition('= ')[2]}}}" for way in ways]
        return [[*ids, self.processing_class.eos_token_id] for ids in self.processing_class(texts)["input_ids"]], None

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        logs, groups = self._logs, self.groups
        made = {"texts": list(logs["completion"]), "advantages": torch.tensor(list(logs["advantages"]))}
        self.steps.append({**made, "adjusted": groups.adjusted, "inputs": groups.inputs})
        return output


def read(name, tiny_model, processes):
    variant = VARIANTS[RECIPES.index(name) % len(VARIANTS)]
    words = [f"model.name={tiny_model}", "model.dtype=float32", f"trainer.num_generations={GROUP}"]
    words += [f"trainer.per_device_train_batch_size={GROUPS * GROUP // processes}"]
    return recipe.read([variant, str(tiny_model.parent / f"{__name__}.yaml"), name], words)


def train(name, tiny_model, out):
    """-> (what was made of each generation, the parameters after three steps)."""
    spec = read(name, tiny_model, int(os.environ.get("WORLD_SIZE", "1")))
    config = trainer_config(spec, out)
    data = Dataset.from_list([{"prompt": f"{a} + {b} ="} for a in range(2, 8) for b in range(2, 8)])
    embedder, arguments = NgramEmbedder(), method_arguments(spec, config)
    trainer = Scripted(str(tiny_model), args=config, train_dataset=data, embedder=embedder, **arguments)
    trainer.train()
    return trainer.steps, [parameter.detach() for parameter in trainer.model.parameters()]


def save_runs(tiny_model, out):
    torch.set_num_threads(1)
    runs = {name: train(name, tiny_model, out) for name in RECIPES}
    if os.environ["RANK"] == "0":
        torch.save(runs, out / "runs.pt")
    torch.distributed.barrier()


def by_hand(spec, tokenizer, number, step):
    """Adjusted rewards and advantages [B, G] of the texts of a step, by the functions that the recipe names."""
    texts = step["texts"]
    shape = (len(texts) // GROUP, GROUP)
    verdicts, brevity = ([torch.nan if x is None else x for x in own(texts)] for own in (right, brief))
    raw = torch.tensor([a + 0.5 * b for a, b in zip(verdicts, brevity, strict=True)]).view(shape)
    methods, rows = methods_and_keys(spec), NgramEmbedder()(texts).view(*shape, -1)
    inputs = {"rewards": raw, "correct": torch.tensor(verdicts).view(shape), "similarity": rows @ rows.mT}
    inputs["lengths"] = torch.tensor([len(ids) + 1 for ids in tokenizer(texts)["input_ids"]]).view(shape)
    inputs["progress"] = torch.tensor(number / STEPS)
    if methods["keys"] is not None:
        inputs["keys"] = methods["keys"](texts, [""] * len(texts)).view(shape)
    if "logprobs" in step["inputs"]:
        inputs["logprobs"] = step["inputs"]["logprobs"]  # test_logprobs.py has them by hand
    adjusted = raw if methods["reweight"] is None else adjust(methods["reweight"], inputs)[0]
    centred = adjusted - adjusted.nanmean(1, keepdim=True)
    if spec.trainer["scale_rewards"] == "group":
        centred = torch.tensor([reference.advantages(row) for row in adjusted.tolist()])
    own = {**inputs, "rewards": adjusted, "advantages": centred.nan_to_num(0.0)}
    if methods["advantage"] is None:
        return adjusted, own["advantages"]
    return adjusted, replace_advantages(methods["advantage"], own)[0]


def test_every_recipe_trains_on_two_processes_as_on_one(tiny_model, tmp_path):
    """Groups of 8 in batches of 24, of which each process has 12: the second group lies in both."""
    (tiny_model.parent / f"{__name__}.yaml").write_text(yaml.safe_dump(RECIPE))
    in_two_processes(save_runs, tiny_model, tmp_path)
    shared, tokenizer = torch.load(tmp_path / "runs.pt"), AutoTokenizer.from_pretrained(tiny_model)
    for name in RECIPES:
        steps, parameters = train(name, tiny_model, tmp_path)
        its_steps, its_parameters = shared[name]
        spec = read(name, tiny_model, 1)
        assert len(steps) == STEPS
        for number, step in enumerate(steps):
            adjusted, advantages = by_hand(spec, tokenizer, number, step)
            close(step["adjusted"], adjusted, f"{name}, rewards of step {number} by hand")
            close(step["advantages"].view_as(advantages), advantages, f"{name}, advantages of step {number} by hand")
            assert advantages.any(), name
        assert [step.pop("texts") for step in its_steps] == [step.pop("texts") for step in steps]
        close(its_steps, steps, f"{name}, two processes")
        close(its_parameters, parameters, f"{name}, weights of two processes")


def close(actual, expected, what):
    assert_close(actual, expected, rtol=1e-4, atol=1e-5, equal_nan=True, msg=lambda text: f"{what}: {text}")
