"""Every private name of another project that src/manypaths relies on is here, with what is relied on.

A release that changes one fails here, by its name, rather than somewhere in a training. What can be tried while it runs
tries itself there too (`manypaths.cpu.same_results`). verl is pinned to one version and has its own tests.
"""

import ast
import atexit
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trl.trainer.utils
from accelerate import PartialState
from test_trl import trainer_of
from transformers.integrations import deepspeed
from trl import GRPOTrainer

from manypaths.embed import _whole

SOURCE = Path(__file__).parent.parent / "src" / "manypaths"
PUBLIC = {"_asdict", "_exit", "_fields", "_make", "_replace"}  # of named tuples and os: documented

# name: (whose, which of our modules use it, for what)
NAMES = {
    "_generate": ("trl.GRPOTrainer", "dynamic_sampling tool_mask", "a batch that is sampled already goes in here"),
    "_generate_and_score_completions": (
        "trl.GRPOTrainer",
        "trainer dynamic_sampling",
        "the advantages are replaced here",
    ),
    "_calculate_rewards": ("trl.GRPOTrainer", "trainer dynamic_sampling tool_mask", "the diversity column"),
    "_compute_loss": ("trl.GRPOTrainer", "trainer", "RGRA leaves the old log-probabilities out"),
    "_log_metric": ("trl.GRPOTrainer", "trainer dynamic_sampling", "metrics of a generation"),
    "_metrics": ("trl.GRPOTrainer", "trainer dynamic_sampling", "seconds of a step, means over all that was sampled"),
    "_pending_metrics": ("trl.GRPOTrainer", "dynamic_sampling", "emptied after a generation that failed"),
    "_pending_extra_logs": ("trl.GRPOTrainer", "dynamic_sampling", "columns that a reward function logs"),
    "_get_train_sampler": ("trl.GRPOTrainer", "trainer", "the order of each epoch, after a resume too"),
    "_logs": ("trl.GRPOTrainer", "trainer record", "texts and advantages of all processes"),
    "_use_triton": ("trl.trainer.utils", "cpu", "only the completions' tokens are scored"),
    "_shared_state": ("accelerate.PartialState", "embed", "empty until accelerate has chosen a device"),
    "_hf_deepspeed_config_weak_ref": ("transformers.integrations.deepspeed", "embed", "the configuration of ZeRO-3"),
    "_unsorted_args": ("latex2sympy2_extended", "worker", "links of a chain and members of a set as written"),
    "_run_exitfuncs": ("atexit", "launch", "what others do at the end of Python, before os._exit"),
}


def private_names(path):
    """Names beginning with one underscore that a module takes from objects, and those that it defines itself."""
    tree = ast.parse(path.read_text("utf-8"))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    taken = {node.attr for node in attributes if node.attr.startswith("_") and not node.attr.startswith("__")}
    of_parent = {node.attr for node in attributes if ast.unparse(node.value) == "super()"}
    own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"}
    return taken, own, of_parent & taken


def test_every_private_name_is_in_the_table():
    modules = {path.stem: private_names(path) for path in SOURCE.rglob("*.py") if not path.stem.startswith("verl")}
    own = set().union(*(defined for _, defined, _ in modules.values()))
    used = {}
    for module, (taken, _, of_parent) in modules.items():
        for name in (taken - own | of_parent) - PUBLIC:
            used.setdefault(name, set()).add(module)
    unknown = {
        name: modules for name, modules in used.items() if not modules <= set(NAMES.get(name, ("", "", ""))[1].split())
    }
    assert set(NAMES) <= set().union(*(taken for taken, _, _ in modules.values())), "nobody uses some of NAMES"
    assert not unknown, f"say in NAMES who owns these and what for: {unknown}"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("_generate", ["self", "prompts"]),
        ("_generate_and_score_completions", ["self", "inputs"]),
        ("_calculate_rewards", ["self", "inputs", "prompts", "completions", "completion_ids_list"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("_log_metric", ["self", "name", "value"]),
    ],
)
def test_methods_of_grpo_trainer_take_what_they_took(name, arguments):
    assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == arguments


def test_what_grpo_trainer_keeps_during_a_step(tiny_model, tmp_path):
    seen = {}

    class Watched(GRPOTrainer):
        def _generate(self, prompts):
            generated = super()._generate(prompts)
            seen["generated"], seen["prompts"] = generated, prompts
            return generated

        def _calculate_rewards(self, *arguments):
            rewards = super()._calculate_rewards(*arguments)
            seen["metrics"], seen["extra"] = dict(self._pending_metrics), dict(self._pending_extra_logs)
            return rewards

    def told(completions, log_extra, log_metric, **_):
        log_extra("length", [len(text) for text in completions])
        log_metric("mine", 1.0)
        return [float(len(text)) for text in completions]

    trainer = trainer_of(tiny_model, tmp_path, Watched, rewards=told, steps=1)
    trainer.train()
    prompt_ids, completion_ids, tool_mask, completions, logprobs, extra, images, tool_images = seen["generated"]
    count = len(seen["prompts"])
    assert [len(column) for column in (prompt_ids, completion_ids, completions)] == [count] * 3
    assert all(isinstance(ids, list) for ids in completion_ids) and all(isinstance(text, str) for text in completions)
    assert tool_mask is None and logprobs is None and extra == {} and not images and not tool_images
    assert seen["metrics"] == {"mine": [1.0]}
    assert seen["extra"] == {"length": [len(text) for text in completions]}
    assert not trainer._pending_metrics and not trainer._pending_extra_logs
    assert "step_time" in {name for entry in trainer.state.log_history for name in entry}
    assert isinstance(trainer._metrics["train"], dict)
    assert list(trainer._logs["completion"]) == completions and len(trainer._logs["advantages"]) == count
    assert list(trainer._logs["rewards"]["told"]) == [float(len(text)) for text in completions]


def test_trl_asks_its_own_module_whether_triton_runs():
    assert trl.trainer.utils._use_triton(torch.device("cpu")) is False
    assert "_use_triton(" in inspect.getsource(trl.trainer.utils.add_fused_lm_head)


def test_accelerates_state_is_empty_until_it_has_chosen():
    script = (
        "from accelerate.state import PartialState\n"
        "assert not PartialState._shared_state\n"
        "PartialState(cpu=True)\n"
        "assert PartialState._shared_state and str(PartialState().device).startswith('cpu')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert isinstance(PartialState._shared_state, dict)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_model_is_loaded_whole_under_zero3_whose_configuration_is_put_back(stage):
    class Configuration:
        def is_zero3(self):
            return stage == 3

    configuration, before = Configuration(), deepspeed._hf_deepspeed_config_weak_ref
    try:
        deepspeed.set_hf_deepspeed_config(configuration)
        assert deepspeed._hf_deepspeed_config_weak_ref() is configuration
        with pytest.raises(KeyError), _whole():
            assert not deepspeed.is_deepspeed_zero3_enabled()
            raise KeyError
        assert deepspeed._hf_deepspeed_config_weak_ref() is configuration
        assert deepspeed.is_deepspeed_zero3_enabled() == (stage == 3)
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = before


def test_without_zero3_no_private_name_is_asked_for(monkeypatch):
    monkeypatch.setattr(deepspeed, "is_deepspeed_zero3_enabled", lambda: False)
    monkeypatch.delattr(deepspeed, "_hf_deepspeed_config_weak_ref")
    with _whole():
        pass


def test_sets_and_chains_of_equations_keep_their_order():
    from math_verify import parse

    (members, *_), (chain, *_) = parse(r"$\{3, 1, 2\}$"), parse("$x = 3 = y$")
    assert [str(member) for member in members._unsorted_args] == ["3", "1", "2"]
    assert [str(link.rhs) for link in chain._unsorted_args] == ["3", "y"]


def test_what_others_registered_for_the_end_of_python_runs_once():
    script = "import atexit, os; atexit.register(print, 'done', flush=True); atexit._run_exitfuncs(); os._exit(3)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (3, "done\n") and callable(atexit._run_exitfuncs)
