"""The savings on a CPU change what is computed, not what comes out."""

from contextlib import contextmanager

import pytest
import torch
import trl.trainer.utils
from test_trl import trainer_of

from manypaths import cpu

STEPS = 3


def parameters_and_rows(tiny_model, out, monkeypatch):
    """Train; -> (parameters, how many positions were projected onto the vocabulary at each loss)."""
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


def test_trl_is_as_it_was_afterwards():
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
    """The positions of each call of the first layer."""
    calls = []
    layer = model.get_decoder().layers[0]
    handle = layer.register_forward_hook(lambda _, args, __: calls.append(args[0].shape[0] * args[0].shape[1]))
    yield calls
    handle.remove()


def batch():
    """Two prompts of 5 and 7 tokens, padded on the left, four completions of 3 tokens for each, in no order."""
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
    found = []
    for once in (False, True):
        model = loaded(tiny_model).train()
        if once:
            cpu.run_prompts_once(model)
        with counted(model) as calls:
            logits = model(**batch(), use_cache=False).logits
        kept = logits[batch()["attention_mask"].bool()]
        kept.square().mean().backward()
        found.append([kept, *(each.grad for each in model.parameters())])
        assert calls == ([2 * 7, 8 * 3] if once else [8 * 10])
    torch.testing.assert_close(found[1], found[0])


def test_prompts_run_once_give_the_same_samples(tiny_model):
    model, inputs = loaded(tiny_model), {key: value[:, :7] for key, value in batch().items()}
    found = []
    for once in (False, True):
        if once:
            cpu.run_prompts_once(model)
        torch.manual_seed(0)
        with counted(model) as calls:
            found.append(model.generate(**inputs, do_sample=True, max_new_tokens=5, eos_token_id=None))
        assert calls == [2 * 7 if once else 8 * 7] + [8] * 4
    assert torch.equal(*found)


def test_prompts_run_once_train_the_same_parameters(tiny_model, tmp_path):
    found = []
    for once in (False, True):
        trainer = trainer_of(tiny_model, tmp_path, steps=STEPS, gradient_checkpointing=False)
        if once:
            cpu.run_prompts_once(trainer.model)
        with counted(trainer.model) as calls:
            trainer.train()
        found.append(([each.detach() for each in trainer.model.parameters()], sum(calls)))
    torch.testing.assert_close(found[1][0], found[0][0])
    assert found[1][1] < 0.7 * found[0][1]


@pytest.mark.parametrize("kind", ["checkpointing", "dropout", "past", "all hidden states", "little in common"])
def test_prompts_run_as_ever_where_once_would_be_wrong_or_slow(tiny_model, kind):
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
    cpu.run_prompts_once(model)
    with counted(model) as calls:
        model(**inputs)
    assert calls == [8 * 10]
