"""The key `diversity` of verl's configuration: what it may hold, and the methods that it names."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from manypaths import embed, keys
from manypaths.completion_inputs import CompletionInputs
from manypaths.methods import REWEIGHTERS, Reweighter
from manypaths.methods.bind import bind_reweight
from manypaths.names import nearest
from manypaths.typed import check_arguments

# the advantage estimators of verl that compare the summed reward of a completion with those of its siblings
GROUPED = ("grpo", "grpo_vectorized", "rloo", "rloo_vectorized", "reinforce_plus_plus_baseline", "opo", "gpg")


@dataclass
class Diversity:
    """The key `diversity` of verl's configuration; what is left out is verl's own.

    `method` names a function of `manypaths.methods.REWEIGHTERS`, `options` are its named arguments. With
    `among_correct` it moves credit among the right completions of a group only, and with `keep_equal_rewards` groups
    whose raw scores are all equal keep them. `embedder` is ngram, or a sentence-transformers model (hub id, folder,
    package:NAME), `embedder_options` go to it; left out it is ngram where there is a method; `keys` makes similarity of
    the keys, 1 where two are equal and 0 elsewhere. `keys` names a function of `manypaths.keys`, or one of yours by its
    dotted path, `keys_options` go to it. `correct: score` says that a completion is correct where verl's score is above
    0.5, for methods with that input. Without a method diversity is only measured.
    """

    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    among_correct: bool = False
    keep_equal_rewards: bool = False
    embedder: str | None = None
    embedder_options: dict[str, Any] = field(default_factory=dict)
    keys: str | None = None
    keys_options: dict[str, Any] = field(default_factory=dict)
    correct: str | None = None


def check(config: DictConfig) -> Diversity:
    """The settings under `diversity`; ValueError for what is unknown, of a wrong type, or means nothing in verl."""
    given = config.get("diversity")
    content = OmegaConf.to_container(given, resolve=True) if OmegaConf.is_config(given) else given or {}
    if not isinstance(content, dict):
        raise ValueError(f"diversity must hold keys such as diversity.method=mmr, got {content!r}.")
    names = [setting.name for setting in fields(Diversity)]
    for key in content:
        if key not in names:
            raise ValueError(f"Unknown key diversity.{key}. {nearest(str(key), names)}")
    spec = Diversity(**check_arguments(Diversity, content, "diversity."))
    _check_embedder(spec)
    if spec.correct not in (None, "score"):
        raise ValueError(f"diversity.correct must be score, the only reward that verl has, got {spec.correct!r}.")
    inputs_for(spec, reweighter_for(spec), embed.NgramEmbedder())
    if spec.method is None:
        if spec.options or spec.among_correct or spec.keep_equal_rewards:
            methods = ", ".join(REWEIGHTERS)
            raise ValueError(
                f"diversity.options, .among_correct and .keep_equal_rewards must come with diversity.method: {methods}."
            )
        return spec
    estimator = getattr(config.algorithm.adv_estimator, "value", config.algorithm.adv_estimator)
    if estimator not in GROUPED:
        raise ValueError(
            f"algorithm.adv_estimator must be one that compares siblings, {', '.join(GROUPED)}, with "
            f"diversity.method={spec.method}, got {estimator!r}."
        )
    if config.actor_rollout_ref.rollout.n < 2:
        raise ValueError(
            f"actor_rollout_ref.rollout.n must be 2 or more with diversity.method={spec.method}, got "
            f"{config.actor_rollout_ref.rollout.n}."
        )
    return spec


def reweighter_for(spec: Diversity) -> Reweighter | None:
    wrappers = spec.among_correct, spec.keep_equal_rewards
    return bind_reweight(spec.method, spec.options, "diversity.method", *wrappers)


def inputs_for(spec: Diversity, reweight: Reweighter | None, embedder: embed.Embedder | None) -> CompletionInputs:
    """What the method wants; ValueError for what verl does not have or the settings do not give."""
    return CompletionInputs(
        None if spec.embedder == "keys" else embedder,
        keys.bind(spec.keys, spec.keys_options) if spec.keys is not None else None,
        methods={"reweight": reweight},
        available={"reweight": ("rewards", "lengths", *(("correct",) if spec.correct else ()))},
        remedies={
            "similarity": "Set diversity.keys=answer with diversity.embedder=keys, or another diversity.embedder.",
            "keys": "Set diversity.keys=answer.",
            "correct": "Set diversity.correct=score: correct is a completion whose score is above 0.5.",
            "advantages": "verl computes them afterwards.",
        },
    )


def embedder_for(spec: Diversity) -> embed.Embedder | None:
    """A model goes onto the CPU unless `embedder_options.device` says otherwise: verl's workers use the GPUs."""
    if spec.embedder == "keys":
        return None
    if spec.embedder in (None, "ngram"):
        return embed.embedder("ngram", **spec.embedder_options) if spec.embedder or spec.method else None
    return embed.embedder(spec.embedder, **{"device": "cpu"} | spec.embedder_options)


def _check_embedder(spec: Diversity) -> None:
    if spec.embedder != "keys":
        embed.check(spec.embedder or "ngram", spec.embedder_options)
    elif spec.keys is None:
        raise ValueError("diversity.embedder=keys must come with diversity.keys, such as diversity.keys=answer.")
    if spec.keys_options and spec.keys is None:
        raise ValueError(f"diversity.keys_options must come with diversity.keys, got {spec.keys_options} without.")
