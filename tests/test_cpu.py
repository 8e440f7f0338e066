"""The savings on a CPU change what is computed, not what comes out."""

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
