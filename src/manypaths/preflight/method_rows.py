"""The rows of the dry run's page about the methods of a recipe: what they are, what they take, what they report."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

from manypaths.preflight.workload import DEFAULTS, Workload
from manypaths.sections import Recipe


def reweighting(spec: Recipe) -> str:
    """The method as the recipe sets it."""
    method = spec.method
    if not method.reweight:
        return "none"
    options = ", ".join(f"{key} {json.dumps(value, default=str)}" for key, value in method.options.items())
    among = " among the right completions" * method.among_correct + ", shuffled: a placebo" * method.shuffled
    equal = "; groups of equal rewards keep them" * method.keep_equal_rewards
    return f"{method.reweight}{among} ({options or 'no options'}){equal}"


def inputs_and_diagnostics(spec: Recipe, run: Workload) -> dict[str, str]:
    """What the methods take and what they report, as they say themselves; no rows where torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    from manypaths.methods.bind import bind_advantage, bind_reweight, diagnostics_of
    from manypaths.methods.inputs import inputs_of

    sources = {"similarity": spec.embedder.name, "keys": spec.keys.name, "correct": spec.method.correct}
    sources["logprobs"] = _source_of_logprobs(spec, run)
    method = spec.method
    methods = {
        "reweight": bind_reweight(method.reweight, method.options, "method.reweight", method.among_correct),
        "advantage": bind_advantage(method.advantage, method.advantage_options, "method.advantage"),
    }
    inputs: dict[str, str] = {}
    diagnostics: list[str] = []
    for role, function in methods.items():
        if function is not None:
            inputs |= {key: f"{key} by {sources[key]}" if key in sources else key for key in inputs_of(function, role)}
            diagnostics += diagnostics_of(function, role)
    if not inputs:
        return {}
    return {"inputs": ", ".join(inputs.values()), "diagnostics": ", ".join(diagnostics) or "none"}


def _source_of_logprobs(spec: Recipe, run: Workload) -> str:
    """Where the input `logprobs` comes from, as `manypaths.trl.logprobs` chooses."""
    settings = {**DEFAULTS, **spec.trainer}
    if (corrects_vllm(settings) or not run.on_policy) and not settings.get("mask_truncated_completions"):
        return "TRL, which has them for its importance ratio"
    return "vLLM" if settings["use_vllm"] else "one more forward pass a generation, without gradient"


def corrects_vllm(settings: dict[str, Any]) -> bool:
    return bool(settings["use_vllm"] and settings["vllm_importance_sampling_correction"])
