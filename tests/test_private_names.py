"""The private names of other projects on which src/manypaths relies: all of them are listed, and work as we use them.

A release that changes one fails here, with what to do, rather than in somebody's training. verl is installed in an
environment of its own, and so tests/verl/test_verl.py has the names of verl.
"""

import argparse
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
from forked import SERVER
from private_names import NAMES, gone
from test_trl import trainer_of
from transformers.integrations import deepspeed
from trl import GRPOTrainer, RLOOTrainer

from manypaths.embed import _without_zero3

SOURCE = Path(__file__).parent.parent / "src" / "manypaths"
PUBLIC = {"_asdict", "_exit", "_fields", "_make", "_replace"}  # of named tuples and os: documented


def private_names(path):
    """Names with one leading underscore: those a module takes from objects, those it defines, those it takes from its
    parent class."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    names = {node.attr for node in attributes}
    for node in nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            names |= {word.value for word in node.args[1:2] if isinstance(word, ast.Constant)}
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("manypaths"):
            names |= {alias.name for alias in node.names}
    taken = {name for name in names if name.startswith("_") and not name.startswith("__")}
    of_parent = {node.attr for node in attributes if ast.unparse(node.value) == "super()"}
    own = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    own |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"}
    own |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    return taken, own, of_parent & taken


def test_every_private_name_is_listed():
    used = {}
    for room in {path.parent for path in SOURCE.rglob("*.py")}:
        modules = {path.stem: private_names(path) for path in room.glob("*.py")}
        own = set().union(*(defined for _, defined, _ in modules.values()))
        for module, (taken, _, of_parent) in modules.items():
            for name in (taken - own | of_parent) - PUBLIC:
                used.setdefault(name, set()).add(module)
    listed = {name: set(use.modules.split()) for name, use in NAMES.items()}
    missing = {name: modules for name, modules in used.items() if not modules <= listed.get(name, set())}
    assert not missing, f"List these in tests/private_names.py, and pin them in a test: {missing}"
    unused = {name: modules for name, modules in listed.items() if not modules <= used.get(name, set())}
    assert not unused, f"No module of ours uses these. Delete them from tests/private_names.py: {unused}"


@pytest.mark.parametrize("name", [name for name, use in NAMES.items() if use.owner.startswith("verl")])
def test_names_of_verl_are_pinned_beside_verl(name):
    assert f'"{name}"' in (Path(__file__).parent / "verl" / "test_verl.py").read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_generate", ["prompts"]),
        ("_generate_and_score_completions", ["inputs"]),
        ("_calculate_rewards", ["inputs", "prompts", "completions", "completion_ids_list"]),
        ("_compute_loss", ["model", "inputs"]),
        ("_prepare_inputs", ["generation_batch"]),
        ("_log_metric", ["name", "value"]),
        ("_get_train_sampler", ["dataset"]),
        ("_save_optimizer_and_scheduler", ["output_dir"]),
        ("_load_optimizer_and_scheduler", ["checkpoint"]),
    ],
)
def test_methods_of_grpo_trainer_have_the_same_parameters(name, parameters):
    method = getattr(GRPOTrainer, name, None)
    assert method is not None and list(inspect.signature(method).parameters) == ["self", *parameters], gone(name)


def test_log_probabilities_are_computed_in_batches_of_a_size():
    name = "_get_per_token_logps_and_entropies"
    parameters = list(inspect.signature(getattr(GRPOTrainer, name, lambda: None)).parameters)
    first = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"]
    assert parameters[: len(first)] == first, gone(name)


KEPT = ("_metrics", "_pending_metrics", "_pending_extra_logs", "_logs")


@pytest.fixture(scope="module")
def step(tiny_model, tmp_path_factory):
    """A trainer after one step, and what it held during the step."""
    seen = {}

    class Watched(GRPOTrainer):
        def _generate(self, prompts):
            seen["_generate"] = super()._generate(prompts)
            return seen["_generate"]

        def _get_train_sampler(self, *arguments):
            seen["_get_train_sampler"] = super()._get_train_sampler(*arguments)
            return seen["_get_train_sampler"]

        def _calculate_rewards(self, *arguments):
            seen["_calculate_rewards"] = super()._calculate_rewards(*arguments)
            seen.update({name: dict(getattr(self, name, {})) for name in KEPT[1:3]})
            return seen["_calculate_rewards"]

        def _compute_loss(self, model, inputs):
            seen["_compute_loss"] = inputs
            return super()._compute_loss(model, inputs)

        def _get_per_token_logps_and_entropies(self, model, *inputs, **named):
            computed = super()._get_per_token_logps_and_entropies(model, *inputs, **named)
            if "_calculate_rewards" not in seen:  # between sampling and rewards
                seen["_get_per_token_logps_and_entropies"] = model is self.model, inputs, computed
            return computed

    def lengths(completions, log_extra, log_metric, **_):
        log_extra("length", [len(text) for text in completions])
        log_metric("mine", 1.0)
        return [float(len(text)) for text in completions]

    settings = {"steps": 2, "steps_per_generation": 2}  # two updates of one generation: old log-probabilities are kept
    trainer = trainer_of(tiny_model, tmp_path_factory.mktemp("step"), Watched, rewards=lengths, **settings)
    trainer.train()
    return trainer, seen


def test_generate_returns_eight_values(step):
    generated = step[1].get("_generate", ())
    assert len(generated) == 8, gone("_generate")
    prompt_ids, completion_ids, tool_mask, completions, logprobs, fields, images, tool_images = generated
    assert len(prompt_ids) == len(completion_ids) == len(completions) == 16, gone("_generate")
    assert all(isinstance(ids, list) for ids in completion_ids), gone("_generate")
    assert all(isinstance(text, str) for text in completions), gone("_generate")
    assert tool_mask is None and logprobs is None and fields == {} and not images and not tool_images, gone("_generate")


def test_rewards_have_a_row_per_completion_and_a_column_per_function(step):
    assert step[1].get("_calculate_rewards", torch.empty(0)).shape == (16, 1), gone("_calculate_rewards")


def test_the_loss_reads_the_old_log_probabilities(step):
    assert step[1].get("_compute_loss", {}).get("old_per_token_logps") is not None, gone("_compute_loss")


def test_the_old_log_probabilities_are_of_the_policy_and_computed_before_the_rewards(step):
    name = "_get_per_token_logps_and_entropies"
    of_policy, inputs, computed = step[1].get(name, (False, (), ()))
    assert of_policy and len(computed) == 3, gone(name)
    assert computed[0].shape == (16, inputs[2]) and (computed[0] <= 0).all(), gone(name)


def test_the_sampler_draws_rows_of_the_data(step):
    rows = list(step[1].get("_get_train_sampler", ()))
    assert rows and all(isinstance(row, int) for row in rows), gone("_get_train_sampler")


def test_values_that_reward_functions_log_wait_for_the_end_of_a_generation(step):
    trainer, seen = step
    lengths = [len(text) for text in seen["_generate"][3]]
    assert seen["_pending_metrics"] == {"mine": [1.0]}, gone("_pending_metrics")
    assert seen["_pending_extra_logs"] == {"length": lengths}, gone("_pending_extra_logs")
    for name in KEPT[1:3]:
        assert not getattr(trainer, name, None), gone(name)


def test_metrics_are_lists_until_they_are_logged(step):
    trainer, _ = step
    metrics = getattr(trainer, "_metrics", {}).get("train")
    assert isinstance(metrics, dict), gone("_metrics")
    metrics["ours"].append(2.0)
    trainer.log({})
    assert trainer.state.log_history[-1].get("ours") == 2.0, gone("_metrics")


def test_the_table_of_completions_is_of_all_processes(step):
    trainer, seen = step
    logs, texts = getattr(trainer, "_logs", None), seen["_generate"][3]
    assert logs is not None and list(logs["completion"]) == texts, gone("_logs")
    assert len(logs["prompt"]) == len(logs["advantages"]) == len(texts), gone("_logs")
    assert list(logs["rewards"]["lengths"]) == [float(len(text)) for text in texts], gone("_logs")
    assert list(logs["extra"]["length"]) == [len(text) for text in texts], gone("_logs")


@pytest.mark.parametrize("trainer", [GRPOTrainer, RLOOTrainer])
def test_a_generation_is_kept_until_its_last_micro_step(trainer):
    source = inspect.getsource(trainer._prepare_inputs)
    assert "self._buffered_inputs = [" in source and "self._buffered_inputs[" in source, gone("_buffered_inputs")


def test_trl_decides_by_a_function_of_its_module_whether_triton_runs():
    runs = getattr(trl.trainer.utils, "_use_triton", None)
    assert runs is not None and runs(torch.device("cpu")) is False, gone("_use_triton")
    assert "_use_triton(" in inspect.getsource(trl.trainer.utils.add_fused_lm_head), gone("_use_triton")


def choose_a_device():
    assert not PartialState._shared_state
    PartialState(cpu=True)
    assert PartialState._shared_state and str(PartialState().device).startswith("cpu")


def test_the_state_of_accelerate_is_empty_until_a_device_is_chosen():
    process = SERVER.Process(target=choose_a_device)
    process.start()
    process.join()
    assert process.exitcode == 0, gone("_shared_state")


@pytest.mark.parametrize("stage", [2, 3])
def test_a_model_is_loaded_whole_under_zero3_whose_configuration_is_put_back(stage):
    class Configuration:
        def is_zero3(self):
            return stage == 3

    name = "_hf_deepspeed_config_weak_ref"
    assert hasattr(deepspeed, name), gone(name)
    configuration, before = Configuration(), deepspeed._hf_deepspeed_config_weak_ref
    try:
        deepspeed.set_hf_deepspeed_config(configuration)
        assert deepspeed._hf_deepspeed_config_weak_ref() is configuration, gone(name)
        with pytest.raises(KeyError), _without_zero3():
            assert not deepspeed.is_deepspeed_zero3_enabled()
            raise KeyError
        assert deepspeed._hf_deepspeed_config_weak_ref() is configuration
        assert deepspeed.is_deepspeed_zero3_enabled() == (stage == 3)
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = before


def test_without_zero3_no_private_name_is_asked_for(monkeypatch):
    monkeypatch.setattr(deepspeed, "is_deepspeed_zero3_enabled", lambda: False)
    monkeypatch.delattr(deepspeed, "_hf_deepspeed_config_weak_ref")
    with _without_zero3():
        pass


def test_sets_and_chains_of_equations_keep_their_order():
    from math_verify import parse

    (members, *_), (chain, *_) = parse(r"$\{3, 1, 2\}$"), parse("$x = 3 = y$")
    written = [getattr(parsed, "_unsorted_args", ()) for parsed in (members, chain)]
    assert [str(member) for member in written[0]] == ["3", "1", "2"], gone("_unsorted_args")
    assert [str(link.rhs) for link in written[1]] == ["3", "y"], gone("_unsorted_args")


def test_functions_registered_for_the_end_of_python_run_once():
    assert callable(getattr(atexit, "_run_exitfuncs", None)), gone("_run_exitfuncs")
    script = "import atexit, os; atexit.register(print, 'done', flush=True); atexit._run_exitfuncs(); os._exit(3)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (3, "done\n"), gone("_run_exitfuncs")


def test_a_parser_lists_its_arguments():
    parser = argparse.ArgumentParser(add_help=False)
    added = [parser.add_argument("--out"), parser.add_argument_group("more").add_argument("word")]
    assert getattr(parser, "_actions", None) == added, gone("_actions")
