"""What of a recipe makes the trainer: rewards, methods with their inputs, dynamic sampling, the history of prompts."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

from trl import GRPOConfig

from manypaths import keys, rewards
from manypaths.methods.bind import Method, bind_advantage, bind_reweight, bind_selection, compares
from manypaths.methods.effect import check_effect
from manypaths.methods.inputs import check_inputs, inputs_of
from manypaths.sections import Recipe
from manypaths.trainers import available, check_selection, trl_scaling
from manypaths.trl import PromptHistory, Replay, check
from manypaths.trl.replay import check_replay
from manypaths.trl.replay_bank import accepted

REMEDIES = {  # for an input that a method wants and a recipe does not give
    "correct": "Set method.correct=accuracy, the reward by which a completion is correct (above 0.5).",
    "keys": "Set keys.name=answer, another function of manypaths.keys, or one of yours by its dotted path.",
    **dict.fromkeys(("advantages", "adjusted"), "Only a method.advantage has it: name the method there."),
}


def method_arguments(spec: Recipe, config: GRPOConfig) -> dict[str, Any]:
    """The arguments of `DiverseGRPOTrainer` that come from the recipe's rewards, method, keys and dynamic sampling.

    Raises:
        ValueError: for what is unknown, does not fit, or is missing for the method, with the setting that mends it.
    """
    functions = rewards.bind(spec.rewards, spec.reward_options, config.max_completion_length)
    method, sampling = spec.method, spec.dynamic_sampling
    check(config, importance_ratio=method.importance_ratio)
    methods, history = methods_and_keys(spec), _history(spec)
    functions_by_role = {role: methods[role] for role in ("reweight", "advantage")}
    functions_by_role["select"] = methods["select"][1] if methods["select"] else None
    wants_correct = any("correct" in inputs_of(own, role) for role, own in functions_by_role.items() if own is not None)
    wants_correct |= methods["replay"] is not None or history is not None
    return {
        "reward_funcs": list(functions.values()),
        **methods,
        "correct": _position(functions, "method.correct", method.correct if wants_correct else None),
        "importance_ratio": method.importance_ratio,
        "skip_zero_advantage": method.skip_zero_advantage,
        "dynamic_sampling": _position(functions, "dynamic_sampling.reward", sampling.reward),
        "max_batches": sampling.max_batches,
        "history": history,
    }


def methods_and_keys(spec: Recipe) -> dict[str, Any]:
    """The recipe's `reweight`, `advantage`, `keys`, `select` and `replay`, bound; None where it names none.

    Raises:
        ValueError: for an unknown name, options that do not fit, and an input that the recipe does not give.
    """
    method = spec.method
    methods: dict[str, Method | None] = {
        "reweight": bind_reweight(
            method.reweight,
            method.options,
            "method.reweight",
            method.among_correct,
            method.keep_equal_rewards,
            method.shuffled,
        ),
        "advantage": bind_advantage(
            method.advantage, method.advantage_options, "method.advantage", placebo=method.shuffled
        ),
    }
    if method.shuffled and not any(own is not None and compares(own, role) for role, own in methods.items()):
        raise ValueError("method.shuffled=true must come with a method of keys or similarity, got none. Remove it.")
    if spec.embedder.name == "keys" and spec.keys.name is None:
        raise ValueError("embedder.name=keys must come with keys.name, such as keys.name=answer.")
    if spec.keys.options and spec.keys.name is None:
        raise ValueError(f"keys.options must come with keys.name, got {spec.keys.options} without. Name the function.")
    of_texts = {"similarity", *(["keys"] if spec.keys.name is not None else [])}
    of_trainer = available("DiverseGRPOTrainer", correct=method.correct is not None)
    if spec.select.rule is None and (spec.select.count is not None or spec.select.options):
        raise ValueError("select.count and select.options must come with select.rule, such as mmr, got none. Set it.")
    select = bind_selection(spec.select.rule, spec.select.count, spec.select.options, "select")
    for role, function in {**methods, "select": select}.items():
        if function is not None:
            check_inputs(function, role, {*of_texts, *of_trainer[role]}, REMEDIES)
    if select is not None:
        check_selection(SimpleNamespace(**spec.trainer), select.keywords["count"])
    scaling = trl_scaling(SimpleNamespace(**spec.trainer))
    if methods["reweight"] is not None and methods["advantage"] is None and scaling is not None:
        check_effect(methods["reweight"], scaling)
    if spec.evaluation is not None:
        keys.bind(spec.evaluation.keys, {})
    made = keys.bind(spec.keys.name, spec.keys.options) if spec.keys.name is not None else None
    return {
        **methods,
        "keys": made,
        "select": None if select is None else (spec.select.count, select),
        "replay": _replay(spec, made, {*of_texts, *of_trainer["replay"]}),
    }


def _replay(spec: Recipe, made: keys.Keys | None, inputs: set[str]) -> Replay | None:
    """The recipe's verified replay, None where its weight is null."""
    if spec.replay.weight is None:
        return None
    check_inputs(accepted, "replay", inputs, REMEDIES)
    check_replay(replay := Replay(spec.replay.weight, spec.replay.capacity), made)
    return replay


def _history(spec: Recipe) -> PromptHistory | None:
    """The recipe's history of prompts, which is empty; None where its target is null."""
    if spec.history.target is None:
        return None
    if spec.method.correct is None:
        raise ValueError(f"history must be given correct, which is missing here. {REMEDIES['correct']}")
    return PromptHistory(**asdict(spec.history))


def _position(functions: dict[str, Any], setting: str, name: str | None) -> int | None:
    """Where the reward that a setting names stands; two rewards of a recipe may have functions of one name."""
    if name is None:
        return None
    if name not in functions:
        raise ValueError(f"{setting} must be one of {', '.join(functions)}, got {name!r}.")
    return list(functions).index(name)
