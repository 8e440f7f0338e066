"""Settings of TRL and rewards of the user that a run refuses, in one sentence, before anything is loaded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import test_cli
from test_cli import QUICK, RECIPES, has
from trl import GRPOConfig

from manypaths import recipe
from manypaths.cli import main
from manypaths.preflight import trainer_settings
from manypaths.rewards import reward

# fixtures, which pytest finds by these names
complaint_of, refused, unloadable = test_cli.complaint_of, test_cli.refused, test_cli.unloadable

EVALUATE_ITSELF = ("leave it out, and set evaluation.every",)
SETTINGS = [
    ("trainer.eval_strategy=steps", ["trainer.eval_strategy must be no", "got 'steps'", *EVALUATE_ITSELF]),
    ("trainer.eval_strategy=epoch", ["got 'epoch'", *EVALUATE_ITSELF]),
    ("trainer.eval_on_start=true", ["trainer.eval_on_start must be false", "got True", "leave it out"]),
    ("trainer.load_best_model_at_end=true", ["load_best_model_at_end must be false", *EVALUATE_ITSELF]),
    ("trainer.save_strategy=best", ["trainer.save_strategy must be steps, epoch or no", "got 'best'"]),
    ("trainer.model_init_kwargs={dtype: float32}", ["model_init_kwargs must be left out", "section model"]),
    ("trainer.lr_scheduler_type=reduce_lr_on_plateau", ["trainer.lr_scheduler_type must", "linear or cosine"]),
]


@pytest.mark.parametrize(("override", "words"), SETTINGS)
def test_trls_own_evaluation_is_refused_with_what_to_set_instead(override, words, refused, tmp_path):
    sentence = refused(override)
    assert has(sentence, *words) and "whole groups" not in sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("override", "words"), [SETTINGS[0], SETTINGS[-1]])
def test_the_dry_run_refuses_it_too(override, words, complaint_of):
    assert has(complaint_of("train", *RECIPES, "smollm2-135m", override, "--dry-run"), *words)


@pytest.mark.parametrize(
    ("override", "words"), [SETTINGS[0], ("rewards.acuracy=1.0", ["'acuracy'", "did you mean 'accuracy'"])]
)
def test_a_sweep_refuses_it_before_its_first_run(override, words, complaint_of, tmp_path):
    grid = (
        f"recipes: [smollm2-135m, grpo, arithmetic, '{{method}}']\ngrid: {{method: {{a: [none], b: [{override}]}}}}\n"
    )
    (tmp_path / "grid.yaml").write_text(f"{grid}seeds: [1]\n")
    sentence = complaint_of("sweep", tmp_path / "grid.yaml", "--out", tmp_path / "runs")
    assert has(sentence, "The run b-1 is not valid", *words)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("value", ["no", "'no'"])
def test_eval_strategy_no_is_accepted(value, complaint_of, unloadable, tmp_path):
    named = QUICK | {"model.name": unloadable, "trainer.eval_strategy": value}
    words = [*RECIPES, *(f"{key}={value}" for key, value in named.items())]
    assert has(complaint_of("train", *words, "--out", tmp_path / "run"), "could not be loaded")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.report_to=mlflow", ["trainer.report_to must name a tracker", "'mlflow'", "leave report_to out"]),
        ("trainer.report_to=[comet_ml, flyte]", ["'comet_ml'", "leave report_to out"]),
        ("trainer.report_to=wandbb", ["'wandbb'", "wandb"]),
        ("trainer.optim=adamw_bnb_8bit", ["trainer.optim must name", "'adamw_bnb_8bit'", "adamw_torch"]),
        ("trainer.use_liger_kernel=true", ["trainer.use_liger_kernel must be false", "liger_kernel"]),
        ("trainer.use_vllm=true", ["trainer.use_vllm must be false", "vllm"]),
    ],
)
def test_a_package_that_is_not_installed_is_named_and_no_folder_is_claimed(override, words, refused, tmp_path):
    assert has(refused(override), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("trainer.loss_type=gpro", ["trainer.loss_type must be a name", "got 'gpro'", "Did you mean 'grpo'"]),
        ("trainer.scale_rewards=bacth", ["'bacth'", "Did you mean 'batch'"]),
        ("trainer.importance_sampling_level=tokens", ["'tokens'", "Did you mean 'token'"]),
        ("trainer.multi_objective_aggregation=sum", ["'sum'"]),
        ("trainer.temperature=0", ["trainer.temperature must be more than 0, got 0"]),
        ("trainer.top_p=1.5", ["trainer.top_p must be more than 0, and 1 or less, got 1.5"]),
        ("trainer.top_k=-3", ["trainer.top_k must be 0, which is off, or more, got -3"]),
        ("trainer.min_p=2.0", ["trainer.min_p must be 0 to 1, got 2.0"]),
        ("trainer.repetition_penalty=0.0", ["trainer.repetition_penalty must be more than 0, got 0.0"]),
        ("trainer.max_completion_length=0", ["trainer.max_completion_length must be 1 or more, got 0"]),
        ("trainer.lr_scheduler_type=cosine_with_min_lr", ["min_lr", "Change that setting"]),
        ("trainer.cache_implementation=often", ["cache_implementation", "often"]),
    ],
)
def test_what_trl_would_refuse_in_its_first_step_is_refused_before(override, words, refused, tmp_path):
    assert has(refused(override), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("override", ["trainer.max_steps=0", "trainer.num_train_epochs=0"])
def test_a_training_without_a_step_is_refused(override, refused):
    sentence = refused("trainer.max_steps=-1", override)
    assert has(sentence, "must have a step", override.split(".")[1].replace("=", " "), "above 0")


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"])
def test_names_that_trl_knows_are_not_refused(loss, tmp_path):
    config = GRPOConfig(str(tmp_path), loss_type=loss, scale_rewards="batch", use_cpu=True, bf16=False)
    trainer_settings.check_values(config)
    config.loss_type = loss + "x"
    with pytest.raises(ValueError, match="loss_type"):
        trainer_settings.check_values(config)


def test_the_remedy_of_whole_groups_is_given_only_where_they_are_the_reason(refused):
    assert "whole groups" not in refused("trainer.bf16=true", "trainer.fp16=true")
    assert "whole groups" in refused("trainer.num_generations=3")


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A working directory with rewards of the user; Python itself does not look there, as under a console script."""
    here = tmp_path / "here"
    (here / "package").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", str(Path.cwd()))])
    for name in list(sys.modules):
        if name.partition(".")[0] in ("own_rewards", "package", "broken", "needy"):
            monkeypatch.delitem(sys.modules, name)
    function = "def vowels(completions, scale=1.0, **_):\n    return [scale * len(text) for text in completions]\n"
    function += (
        "class Consonants:\n    def __call__(self, completions, **_):\n        return [0.0] * len(completions)\n"
    )
    (here / "own_rewards.py").write_text(function)
    (here / "package" / "inside.py").write_text(function)
    (here / "broken.py").write_text("def vowels(:\n")
    (here / "needy.py").write_text("import no_such_package_either\n")
    monkeypatch.chdir(here)
    yield here
    for name in ("own_rewards", "package", "package.inside", "broken", "needy"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("own_rewards.vowels", "override"),
        ("package.inside.vowels", "override with options"),
        ("own_rewards.vowels", "recipe"),
    ],
)
def test_a_reward_of_the_working_directory(name, written, own_module, complaint_of, unloadable, tmp_path):
    named = QUICK | {"model.name": unloadable}
    words = [*RECIPES, *(f"{key}={value}" for key, value in named.items())]
    if written == "recipe":
        (own_module / "mine.yaml").write_text(f"rewards: {{{name}: 1.0}}\nreward_options: {{{name}: {{scale: 2.0}}}}\n")
        words.append("mine.yaml")
    else:
        words += [f"rewards.{name}=1.0", f"dynamic_sampling.reward={name}"]
        words += [f"reward_options.{name}.scale=2.0"] * ("options" in written)
    assert has(complaint_of("train", *words, "--out", tmp_path / "run"), "could not be loaded")
    assert f"{name}: 1.0" in (tmp_path / "run" / "recipe.yaml").read_text()
    assert reward(name, scale=3.0)(["ab"]) == [6.0]


def test_the_dry_run_finds_it_too(own_module, complaint_of, capsys):
    assert main(["train", *RECIPES, "smollm2-135m", "rewards.own_rewards.vowels=0.5", "--dry-run"]) == 0
    assert "0.5 x own_rewards.vowels" in capsys.readouterr().out
    assert has(
        complaint_of("train", *RECIPES, "smollm2-135m", "rewards.acuracy=1", "--dry-run"), "'acuracy'", "'accuracy'"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_rewards.vowel", ["no attribute 'vowel'", "did you mean 'own_rewards.vowels'"]),
        ("own_rewards.Consonants", ["'own_rewards.Consonants' must be a function, got a class. Name an instance"]),
        ("own_reward.vowels", ["No module named 'own_reward'"]),
        ("package.outside.vowels", ["No module named 'package.outside'"]),
        ("broken.vowels", ["'broken.vowels'", "broken cannot be imported (SyntaxError"]),
        ("needy.vowels", ["module needy imports 'no_such_package_either', which is not installed"]),
    ],
)
def test_a_reward_that_cannot_be_had_is_one_sentence(name, words, own_module, refused, tmp_path):
    assert has(refused(f"rewards.{name}=1.0"), *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("overrides", "weights", "options"),
    [
        (["rewards.a.b=1"], {"a.b": 1}, {}),
        (["rewards.a.b.c=1", "rewards.boxed=0.5"], {"a.b.c": 1, "boxed": 0.5}, {}),
        (["reward_options.a.b.scale=2", "rewards.a.b=1"], {"a.b": 1}, {"a.b": {"scale": 2}}),
        (["rewards.a.b=1", "reward_options.a.b={scale: 2}"], {"a.b": 1}, {"a.b": {"scale": 2}}),
        (["rewards.a.b=1", "reward_options.a.b.x.y=2"], {"a.b": 1}, {"a.b": {"x": {"y": 2}}}),
        (["rewards={a.b: 1}", "reward_options.a.b.x=2"], {"a.b": 1}, {"a.b": {"x": 2}}),
        (["rewards.a=1", "rewards.a.b=1", "reward_options.a.b.x=2"], {"a": 1, "a.b": 1}, {"a.b": {"x": 2}}),
        (["reward_options.overlong.cache=2", "rewards.overlong=1"], {"overlong": 1}, {"overlong": {"cache": 2}}),
    ],
)
def test_a_dotted_reward_is_one_key_of_an_override(overrides, weights, options):
    spec = recipe.read(["smollm2-135m", "grpo", "arithmetic"], ["rewards.accuracy=null", *overrides])
    assert (spec.rewards, spec.reward_options) == (weights, options)
