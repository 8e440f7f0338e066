"""Devices that are simulated: an Apple GPU, which has no float64, and a machine with four GPUs."""

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

from manypaths import dra, mmr
from manypaths.cli import main
from manypaths.evaluation.generate import transformers_generate
from manypaths.methods import adaptive_lambda, cosine_similarity, darling, gapo, ips, measures, rarity, shuffled

MPS = torch.device("mps")


class OnApple(torch.Tensor):
    """A tensor that pretends to be on an Apple GPU; its numbers are on the CPU."""


class AppleGpu(TorchFunctionMode):
    """Operations on "mps" refuse tensors of the CPU, other than scalars, and float64, as an Apple GPU does."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
        here = any(isinstance(value, OnApple) for value in tensors)
        if function == torch.Tensor.device.__get__:
            return MPS if here else torch.device("cpu")
        if here and any(not isinstance(value, OnApple) and value.dim() for value in tensors):
            raise RuntimeError("Expected all tensors to be on the same device, found mps and cpu")
        target = kwargs.get("device") or next((arg for arg in args if isinstance(arg, torch.device)), None)
        if target is not None:
            here = torch.device(target).type == "mps"
        args = tuple("cpu" if isinstance(arg, torch.device) else arg for arg in args)
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **kwargs)
        here = here and function != torch.Tensor.cpu
        return tree_map_only(
            torch.Tensor, self.on_apple if here else lambda value: value.as_subclass(torch.Tensor), result
        )

    @staticmethod
    def on_apple(value):
        if value.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return value.as_subclass(OnApple)


def test_the_simulated_gpu_refuses_what_an_apple_gpu_refuses():
    with AppleGpu():
        there = torch.rand(2, 2).to(MPS)
        assert there.device == MPS and (there + 1).device == MPS and there.cpu().device.type == "cpu"
        with pytest.raises(TypeError, match="float64"):
            there.double()
        with pytest.raises(TypeError, match="float64"):
            torch.as_tensor(0.5, dtype=torch.float64, device=MPS)
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.rand(2, 2)


def groups():
    generator = torch.Generator().manual_seed(0)
    rewards = torch.rand(3, 6, generator=generator)
    rewards[0, 1] = torch.nan
    return rewards, cosine_similarity(torch.randn(3, 6, 4, generator=generator))


def from_keys(rewards, keys):
    correct = (rewards > 0.3).to(rewards)
    rewards = darling(gapo(ips(rewards, correct, keys), correct, keys), keys)
    return shuffled(rarity)(rewards, correct, keys, rewards)


METHODS = {
    "mmr": mmr,
    "mmr, one lambda": lambda rewards, similarity: mmr(rewards, similarity, lam=0.7, ties="first"),
    "mmr, lambdas": lambda rewards, similarity: mmr(rewards, similarity, lam=adaptive_lambda(rewards)),
    "dra": lambda rewards, similarity: dra(rewards, similarity, floor=-1.0),
    "shuffled dra": shuffled(dra),
    "from keys": lambda rewards, similarity: from_keys(rewards, (similarity[..., 0] > 0).long()),
    "Vendi score": measures.vendi_score,
    "pair similarity": measures.pair_similarity,
    "share": lambda rewards, similarity: measures.share_of_advantage(rewards, mmr(rewards, similarity)),
}


@pytest.mark.parametrize("method", METHODS)
def test_an_apple_gpu_gives_what_the_cpu_gives(method):
    rewards, similarity = groups()
    expected = METHODS[method](rewards, similarity)
    with AppleGpu():
        result = METHODS[method](rewards.to(MPS), similarity.to(MPS))
        assert result.device == MPS
        result = result.cpu()
    torch.testing.assert_close(result, expected, equal_nan=True)


def test_sampling_on_the_cpu_initialises_no_gpu(tiny_model, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def refuse(*_):
        raise AssertionError("a GPU was initialised for its random state")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", refuse)
    model, tokenizer = (kind.from_pretrained(tiny_model) for kind in (AutoModelForCausalLM, AutoTokenizer))
    generate = transformers_generate(model, tokenizer, max_new_tokens=4, temperature=1.0, seed=1)
    state = torch.get_rng_state()
    assert generate(["a", "bc"], 2) == generate(["a", "bc"], 2)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def started(monkeypatch):
    """The commands that would be started, on a machine that pretends to have four GPUs."""
    from accelerate.commands import launch as accelerate
    from torch.distributed import run as torchrun

    commands = []
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    monkeypatch.setattr(torchrun, "run", commands.append)
    monkeypatch.setattr(accelerate, "launch_command", commands.append)
    for name in ("PATH", "OMP_NUM_THREADS"):  # which a launch changes
        monkeypatch.setenv(name, "")
    return commands


RECIPE = ["train", "smollm2-135m", "grpo", "mmr", "arithmetic"]


@pytest.mark.parametrize("launch", [[], ["--launch", "zero2"]])
def test_more_processes_than_gpus_are_refused(started, capsys, launch):
    assert main([*RECIPE, "--processes", "5", *launch]) == 2
    assert "--processes must be at most 4, the number of GPUs, got 5" in capsys.readouterr().err and not started


@pytest.mark.parametrize(
    "words",
    [
        ["--processes", "4"],
        ["--processes", "5", "trainer.use_cpu=true"],
        ["--processes", "8", "--launch", "multi-node"],  # two machines
        ["--launch", "zero3"],
    ],
    ids=" ".join,
)
def test_as_many_processes_as_gpus_are_started(started, words):
    assert main([*RECIPE, *words]) == 0 and len(started) == 1
