"""The savings on a CPU change the amount of work, not the results."""

import logging
from contextlib import contextmanager

import pytest
import torch
import transformers
import trl.trainer.utils
from test_trl import trainer_of
from transformers import LlamaForCausalLM, LlamaModel

from manypaths import cpu

STEPS = 3


def parameters_and_rows(tiny_model, out, monkeypatch):
    """Train -> (parameters, number of positions that were projected onto the vocabulary at each loss)."""
    projected = []
    kernel = trl.trainer.utils._ChunkedLogProbFunction

    class Spy:
        @staticmethod
        def apply(hidden, *others):
            projected.append(len(hidden))
            return kernel.apply(hidden, *others)

    with monkeypatch.context() as patch:
        patch.setattr(trl.trainer.utils, "_ChunkedLogProbFunction", Spy)
        trainer = trainer_of(tiny_model, out, steps=STEPS)
        trainer.train()
    return [parameter.detach() for parameter in trainer.model.parameters()], projected


def test_scoring_completions_only_trains_the_same_parameters(tiny_model, tmp_path, monkeypatch):
    plain, everything = parameters_and_rows(tiny_model, tmp_path, monkeypatch)
    with cpu.score_completions_only():
        ours, completions = parameters_and_rows(tiny_model, tmp_path, monkeypatch)
    torch.testing.assert_close(ours, plain)
    assert len(everything) == len(completions) == STEPS
    assert all(few <= 8 * 8 < many for few, many in zip(completions, everything, strict=True))


def test_trl_is_unchanged_afterwards():
    before = trl.trainer.utils._use_triton
    with pytest.raises(KeyError), cpu.score_completions_only():
        assert trl.trainer.utils._use_triton(torch.device("cpu"))
        raise KeyError
    assert trl.trainer.utils._use_triton is before


def test_the_head_gets_contiguous_input_and_gives_the_same_logits(tiny_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model).requires_grad_(False)
    ids = torch.arange(12).view(3, 4) + 65
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda _, args, __: seen.append(args[0].is_contiguous()))
    plain = model(ids, logits_to_keep=2).logits
    cpu.keep_head_input_contiguous(model)
    ours = model(ids, logits_to_keep=2).logits
    torch.testing.assert_close(ours, plain)
    assert seen == [False, True]


def loaded(tiny_model):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model)


@contextmanager
def counted(model):
    """The number of positions in each call of the first layer."""
    calls = []
    layer = model.get_decoder().layers[0]
    handle = layer.register_forward_hook(lambda _, args, __: calls.append(args[0].shape[0] * args[0].shape[1]))
    yield calls
    handle.remove()


def batch():
    """Two prompts of 5 and 7 tokens, padded on the left, with four completions of 3 tokens each, shuffled."""
    prompts = torch.arange(14).view(2, 7).repeat_interleave(4, 0) + 65
    ids = torch.cat([prompts, torch.arange(24).view(8, 3) + 97], 1)
    mask = torch.ones_like(ids)
    mask[:4, :2] = 0
    mixed = torch.tensor([3, 5, 0, 7, 1, 2, 6, 4])
    return {"input_ids": ids[mixed], "attention_mask": mask[mixed]}


@pytest.mark.parametrize("symbols", [1, 2, 3, 50])
@pytest.mark.parametrize("shape", [(1, 4), (6, 1), (7, 5), (12, 9)])
def test_most_is_computed_once(shape, symbols):
    rows = torch.randint(symbols, shape, generator=torch.Generator().manual_seed(symbols))
    width, once, owner = cpu.shared_beginning(rows)
    assert torch.equal(rows[once][owner, :width], rows[:, :width])
    saved = [cut * (len(rows) - len({tuple(row[:cut]) for row in rows.tolist()})) for cut in range(rows.shape[1] + 1)]
    assert width * (len(rows) - len(once)) == max(saved)


def test_prompts_run_once_give_the_same_logits_and_gradients(tiny_model):
    results = []
    for once in (False, True):
        model = loaded(tiny_model).train()
        if once:
            cpu.run_prompts_once(model)
        with counted(model) as calls:
            logits = model(**batch(), use_cache=False).logits
        kept = logits[batch()["attention_mask"].bool()]
        kept.square().mean().backward()
        results.append([kept, *(parameter.grad for parameter in model.parameters())])
        assert calls == ([2 * 7, 8 * 3] if once else [8 * 10])
    torch.testing.assert_close(results[1], results[0])


def test_prompts_run_once_give_the_same_samples(tiny_model):
    model, inputs = loaded(tiny_model), {key: value[:, :7] for key, value in batch().items()}
    samples = []
    for once in (False, True):
        if once:
            cpu.run_prompts_once(model)
        torch.manual_seed(0)
        with counted(model) as calls:
            samples.append(model.generate(**inputs, do_sample=True, max_new_tokens=5, eos_token_id=None))
        assert calls == [2 * 7 if once else 8 * 7] + [8] * 4
    assert torch.equal(*samples)


def test_prompts_run_once_train_the_same_parameters(tiny_model, tmp_path):
    results = []
    for once in (False, True):
        trainer = trainer_of(tiny_model, tmp_path, steps=STEPS, gradient_checkpointing=False)
        if once:
            cpu.run_prompts_once(trainer.model)
        with counted(trainer.model) as calls:
            trainer.train()
        results.append(([parameter.detach() for parameter in trainer.model.parameters()], sum(calls)))
    torch.testing.assert_close(results[1][0], results[0][0])
    assert results[1][1] < 0.7 * results[0][1]


KINDS = ["checkpointing", "dropout", "past", "all hidden states", "little in common", "packed", "other positions"]


@pytest.mark.parametrize("kind", [*KINDS, "embeddings beside", "hidden states by configuration"])
def test_prompts_run_as_before_where_once_would_be_wrong_or_slow(tiny_model, kind):
    model, inputs = loaded(tiny_model).train(), batch()
    if kind == "checkpointing":
        model.gradient_checkpointing_enable()
    if kind == "dropout":
        model.get_decoder().layers[1].append = torch.nn.Dropout(0.1)
    if kind == "past":
        past = model(input_ids=torch.ones(8, 2, dtype=torch.long), use_cache=True).past_key_values
        inputs = {"input_ids": inputs["input_ids"], "past_key_values": past}
    if kind == "all hidden states":
        inputs["output_hidden_states"] = True
    if kind == "little in common":
        inputs = {"input_ids": torch.arange(80).view(8, 10)}
        inputs["input_ids"][:, 0] = 1
    if kind == "packed":  # two texts in each row, by their positions
        inputs = {"input_ids": inputs["input_ids"], "position_ids": torch.arange(10).remainder(5).expand(8, 10)}
    if kind == "other positions":  # equal tokens at different positions
        inputs["position_ids"] = torch.arange(10) + 3 * torch.arange(8)[:, None]
    if kind == "embeddings beside":
        inputs = {"inputs_embeds": model.get_input_embeddings()(inputs["input_ids"])}
    if kind == "hidden states by configuration":
        model.config.output_hidden_states = True
    plain = model(**inputs, use_cache=False if kind == "past" else None)
    if kind == "past":
        past.crop(-10)
    cpu.run_prompts_once(model)
    with counted(model) as calls:
        ours = model(**inputs)
    assert calls == [8 * 10]
    if kind != "dropout":
        torch.testing.assert_close(ours.logits, plain.logits)


CLASSES = {"Llama": {}, "Qwen2": {}, "Qwen3": {"head_dim": 8}, "SmolLM3": {"pad_token_id": 0}, "Gemma": {"head_dim": 8}}


@pytest.mark.parametrize("name", CLASSES)
def test_prompts_run_once_in_models_of_other_classes(name):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    sizes |= {"num_hidden_layers": 3, "vocab_size": 200}
    model = transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, f"{name}Config")(**sizes | CLASSES[name])
    ).eval()
    inputs = batch()
    plain = model(**inputs).logits
    cpu.run_prompts_once(model)
    embedded = []
    model.get_input_embeddings().register_forward_hook(lambda _, args, __: embedded.append(args[0].numel()))
    torch.testing.assert_close(
        model(**inputs).logits[inputs["attention_mask"].bool()], plain[inputs["attention_mask"].bool()]
    )
    assert embedded == [2 * 7, 8 * 3]


class ForgetfulDecoder(LlamaModel):
    """A decoder of an imagined release: it takes a cache by either name and ignores it."""

    def forward(self, *args, cache=None, past_key_values=None, **named):
        return super().forward(*args, **named)


class Forgetful(LlamaForCausalLM):
    def __init__(self, config):
        super().__init__(config)
        self.model = ForgetfulDecoder(config)


@pytest.fixture
def warnings(caplog):
    cpu._warn_once.cache_clear()
    caplog.set_level(logging.WARNING, logger="manypaths.cpu")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "manypaths.cpu"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_savings_that_work_are_used_and_the_trial_changes_nothing_else(tiny_model, dtype, warnings):
    model = loaded(tiny_model).to(dtype).train()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    plain, state = model.get_decoder().forward, torch.get_rng_state()
    cpu.keep_head_input_contiguous(model)
    cpu.run_prompts_once(model)
    with cpu.score_completions_only():
        assert trl.trainer.utils._use_triton(torch.device("cpu"))
    assert model.get_decoder().forward != plain and model.get_output_embeddings()._forward_pre_hooks
    assert warnings() == []
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_saving_that_changes_results_is_not_used(tiny_model, warnings):
    model = Forgetful(loaded(tiny_model).config).eval()
    plain = model(**batch()).logits
    cpu.keep_head_input_contiguous(model)
    cpu.run_prompts_once(model)
    torch.testing.assert_close(model(**batch()).logits, plain, rtol=0, atol=0)
    (message,) = warnings()
    assert "A saving on the CPU is not used, running the prompts once" in message
    assert transformers.__version__ in message and "a step takes longer" in message


def forget_the_mask(forward):
    return lambda *args, **named: forward(*args, **{**named, "attention_mask": None})


def forget_the_gradient(forward):
    def detached(*args, **named):
        output = forward(*args, **named)
        output.last_hidden_state = output.last_hidden_state.detach().requires_grad_()
        return output

    return detached


@pytest.mark.parametrize("mistake", [forget_the_mask, forget_the_gradient])
def test_a_wrong_mask_and_a_lost_gradient_are_noticed(tiny_model, mistake, warnings, monkeypatch):
    share = cpu._share_beginnings

    def wrongly(model):
        share(model)
        decoder = model.get_decoder()
        decoder.forward = mistake(decoder.forward)

    monkeypatch.setattr(cpu, "_share_beginnings", wrongly)
    model = loaded(tiny_model)
    plain = model.get_decoder().forward
    cpu.run_prompts_once(model)
    assert model.get_decoder().forward == plain and len(warnings()) == 1


@pytest.mark.parametrize("missing", ["_use_triton", "add_fused_lm_head"])
def test_without_trls_private_names_training_works_as_in_trl(tiny_model, tmp_path, monkeypatch, warnings, missing):
    original = getattr(trl.trainer.utils, missing)
    monkeypatch.delattr(trl.trainer.utils, missing)
    with cpu.score_completions_only():
        monkeypatch.setattr(trl.trainer.utils, missing, original, raising=False)
        _, rows = parameters_and_rows(tiny_model, tmp_path, monkeypatch)
    (message,) = warnings()
    assert "scoring the completions only" in message and missing in message
    assert all(many > 8 * 8 for many in rows)


def test_without_the_kind_of_layer_prompts_run_as_before(tiny_model, monkeypatch, warnings):
    monkeypatch.delattr(transformers.cache_utils, "DynamicLayer")
    model = loaded(tiny_model)
    plain = model.get_decoder().forward
    cpu.run_prompts_once(model)
    assert model.get_decoder().forward == plain and "DynamicLayer" in warnings()[0]


def test_a_model_without_plain_keys_and_values_trains_as_before(warnings):
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = transformers.MistralConfig(**sizes, num_hidden_layers=2, vocab_size=200, sliding_window=4)
    model = transformers.MistralForCausalLM(config)
    plain = model.get_decoder().forward
    cpu.run_prompts_once(model)
    assert model.get_decoder().forward == plain
    assert "cache something other than the keys and values" in warnings()[0]
