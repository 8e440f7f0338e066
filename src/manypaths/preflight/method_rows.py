"""The rows of the dry run's page about the methods of a recipe: what they are, what they take, what they report."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from manypaths.preflight.workload import DEFAULTS, Workload
from manypaths.sections import Recipe


def method_rows(spec: Recipe, run: Workload, own: str) -> dict[str, str]:
    """The rows `reweighting`, `inputs`, `diagnostics` and `advantage`; the second and third need torch.

    Args:
        spec: the resolved recipe.
        run: its workload.
        own: TRL's advantage in words.
    """
    method, equal = spec.method, "; groups of equal rewards keep them" * spec.method.keep_equal_rewards
    among = " among the right completions" * method.among_correct
    reweight = _named("reweight", method.reweight, method.options, method.shuffled, among) if method.reweight else ""
    return {
        "reweighting": reweight + equal if reweight else "none",
        **_inputs_and_diagnostics(spec, run),
        "advantage": _advantage(spec, own),
    }


def _advantage(spec: Recipe, own: str) -> str:
    """TRL's advantage, or what is put in its place."""
    name, options = spec.method.advantage, spec.method.advantage_options
    if not name:
        return own
    names, options_by_name = ([name], {name: options}) if isinstance(name, str) else (name, options)
    placebo = spec.method.shuffled
    replaced = [_named("advantage", method, options_by_name.get(method) or {}, placebo) for method in names]
    given = "; each gets the advantages of the one before it" if len(names) > 1 else ""
    return f"{', then '.join(replaced)} in place of TRL's: {own}{given}"


def _named(role: str, name: str, options: Mapping[str, Any], placebo: bool, among: str = "") -> str:
    """A method with the values of its options; without torch those alone that the recipe sets."""
    compares_completions = True
    if importlib.util.find_spec("torch") is not None:
        from manypaths.methods.bind import bind, compares
        from manypaths.methods.inputs import options_of

        method = bind(role, name, options, f"method.{role}")
        assert method is not None
        compares_completions = compares(method, role)
        options = {option.name: option.default for option in options_of(method)}
    values = ", ".join(f"{key} {json.dumps(value, default=str)}" for key, value in options.items())
    shuffled = ", shuffled: a placebo" * (placebo and compares_completions)
    return f"{name}{among}{shuffled} ({values or 'no options'})"


def _inputs_and_diagnostics(spec: Recipe, run: Workload) -> dict[str, str]:
    """What the methods take, with where it comes from, and what they report, as they say themselves."""
    if importlib.util.find_spec("torch") is None:
        return {}
    from manypaths.methods.bind import bind_advantage, bind_reweight, bind_selection, diagnostics_of
    from manypaths.methods.inputs import inputs_of

    method, sources = spec.method, _sources(spec, run)
    wrappers = method.among_correct, method.keep_equal_rewards, method.shuffled
    methods = {
        "reweight": bind_reweight(method.reweight, method.options, "method.reweight", *wrappers),
        "advantage": bind_advantage(
            method.advantage, method.advantage_options, "method.advantage", placebo=method.shuffled
        ),
    }
    rule = spec.select
    methods["select"] = bind_selection(rule.rule, rule.count, rule.options, "select")
    bound = {role: function for role, function in methods.items() if function is not None}
    wanted = [name for role, function in bound.items() for name in inputs_of(function, role)]
    diagnostics = [name for role, function in bound.items() for name in diagnostics_of(function, role)]
    if spec.replay.weight is not None:
        wanted += ["correct", "keys"]
    if not wanted:
        return {}
    inputs = ", ".join(f"{name} by {sources[name]}" if name in sources else name for name in dict.fromkeys(wanted))
    return {"inputs": inputs, "diagnostics": ", ".join(diagnostics) or "none"}


def _sources(spec: Recipe, run: Workload) -> dict[str, str]:
    """Where each input comes from; rewards are those of the row above."""
    return {
        "similarity": "equal keys" if spec.embedder.name == "keys" else spec.embedder.name,
        "keys": spec.keys.name or "nothing (set keys.name)",
        "correct": f"{spec.method.correct} > 0.5" if spec.method.correct else "nothing (set method.correct)",
        "logprobs": _source_of_logprobs(spec, run),
        "lengths": "tokens",
        "progress": "steps",
        "advantages": "TRL",
    }


def _source_of_logprobs(spec: Recipe, run: Workload) -> str:
    """Where the input `logprobs` comes from, as `manypaths.trl.logprobs` chooses."""
    settings = {**DEFAULTS, **spec.trainer}
    if (corrects_vllm(settings) or not run.on_policy) and not settings.get("mask_truncated_completions"):
        return "TRL, which has them for its importance ratio"
    return "vLLM" if settings["use_vllm"] else "one more forward pass a generation, without gradient"


def update(spec: Recipe, run: Workload) -> dict[str, str]:
    """Which completions are selected and run through the model; one row less where torch is not installed."""
    rule = spec.select
    options = ", ".join(f"{key} {json.dumps(value, default=str)}" for key, value in rule.options.items())
    named = f"{rule.rule} ({options})" if options else rule.rule
    rows = {"selection": f"{rule.count} of {run.group} completions by {named}" if rule.rule else "none"}
    if importlib.util.find_spec("torch") is None:
        return rows
    from manypaths.trainers import acts_at_advantage_0

    chosen = "the selected completions" if rule.rule else "all completions"
    reason = acts_at_advantage_0(SimpleNamespace(**spec.trainer))
    if spec.method.skip_zero_advantage is False or reason is not None:
        return rows | {"update": chosen + f"; {reason} acts on those with advantage 0, too" * bool(reason)}
    return rows | {"update": f"{chosen} whose advantage is not 0; the loss is the same without the others"}


def corrects_vllm(settings: dict[str, Any]) -> bool:
    return bool(settings["use_vllm"] and settings["vllm_importance_sampling_correction"])
