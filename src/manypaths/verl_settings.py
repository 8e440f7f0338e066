"""The key `diversity` of verl's configuration: what it may hold, and the methods that it names."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from manypaths import embed, keys
from manypaths.completion_inputs import CompletionInputs
from manypaths.methods import Reweighter
from manypaths.methods.bind import TABLES, Method, bind_advantage, bind_reweight
from manypaths.methods.effect import Scaling
from manypaths.names import nearest
from manypaths.trainers import AS_ADVANTAGE, available
from manypaths.typed import check_arguments

# the advantage estimators of verl that compare the summed reward of a completion with those of its siblings, and give
# all of its tokens one advantage
GROUPED = ("grpo", "grpo_vectorized", "rloo", "rloo_vectorized", "reinforce_plus_plus_baseline", "opo", "gpg")


@dataclass
class Diversity:
    """The key `diversity` of verl's configuration; what is left out is verl's own.

    `method` names a function of `manypaths.methods.REWEIGHTERS`, `options` are its named arguments. With
    `among_correct` it moves credit among the right completions of a group only, and with `keep_equal_rewards` groups
    whose raw scores are all equal keep them. `advantage` names a function of `manypaths.methods.ADVANTAGES`, which
    replaces verl's advantages, and `advantage_options` are its named arguments. Of a list of names, each works on the
    advantages of the one before it, and the options are {name: arguments}. With `shuffled` the keys and similarities of
    methods are those of other completions of the group, a placebo. `embedder` is ngram, or a sentence-transformers
    model (hub id, folder, package:NAME), `embedder_options` go to it; left out it is ngram where there is a method or
    an advantage; `keys` makes similarity of the keys, 1 where two are equal and 0 elsewhere. `keys` names a function of
    `manypaths.keys`, or one of yours by its dotted path, `keys_options` go to it. `correct: score` says that a
    completion is correct where verl's score is above 0.5, for methods with that input. Without a method and an
    advantage diversity is only measured.
    """

    method: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    among_correct: bool = False
    keep_equal_rewards: bool = False
    shuffled: bool = False
    advantage: str | list[str] | None = None
    advantage_options: dict[str, Any] = field(default_factory=dict)
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
    inputs_for(spec, reweighter_for(spec), advantage_for(spec), embed.NgramEmbedder(), scaling_of(config))
    if spec.method is None and (spec.options or spec.among_correct or spec.keep_equal_rewards):
        raise ValueError(
            "diversity.options, .among_correct and .keep_equal_rewards must come with diversity.method: "
            f"{', '.join(TABLES['reweight'])}."
        )
    if spec.advantage is None and spec.advantage_options:
        methods = ", ".join(TABLES["advantage"])
        raise ValueError(f"diversity.advantage_options must come with diversity.advantage: {methods}.")
    if spec.method is not None or spec.advantage is not None:
        _check_groups(spec, config)
    return spec


def _check_groups(spec: Diversity, config: DictConfig) -> None:
    """Raise ValueError for settings of verl with which a method would not do what it says."""
    setting = f"diversity.method={spec.method}" if spec.method else f"diversity.advantage={spec.advantage}"
    estimator = getattr(config.algorithm.adv_estimator, "value", config.algorithm.adv_estimator)
    if estimator not in GROUPED:
        raise ValueError(
            f"algorithm.adv_estimator must be one that compares siblings, {', '.join(GROUPED)}, with {setting}, got "
            f"{estimator!r}."
        )
    if config.actor_rollout_ref.rollout.n < 2:
        raise ValueError(
            f"actor_rollout_ref.rollout.n must be 2 or more with {setting}, got {config.actor_rollout_ref.rollout.n}."
        )
    if spec.advantage is not None and config.algorithm.use_kl_in_reward:
        raise ValueError(
            f"algorithm.use_kl_in_reward must be false with diversity.advantage={spec.advantage}, got true: the KL "
            "term is in the advantages that are replaced. Set actor_rollout_ref.actor.use_kl_loss=true instead."
        )


def reweighter_for(spec: Diversity) -> Reweighter | None:
    wrappers = spec.among_correct, spec.keep_equal_rewards, spec.shuffled
    return bind_reweight(spec.method, spec.options, "diversity.method", *wrappers)


def advantage_for(spec: Diversity) -> Method | None:
    return bind_advantage(spec.advantage, spec.advantage_options, "diversity.advantage", spec.shuffled)


def scaling_of(config: DictConfig) -> Scaling | None:
    """What verl divides scores by; None for an estimator that is refused with a method."""
    estimator = getattr(config.algorithm.adv_estimator, "value", config.algorithm.adv_estimator)
    if estimator.startswith("grpo") and config.algorithm.get("norm_adv_by_std_in_grpo", True):
        remedy = f"Set algorithm.norm_adv_by_std_in_grpo=false. {AS_ADVANTAGE}"
        return Scaling("group", "algorithm.norm_adv_by_std_in_grpo=true", remedy)
    by = "batch" if estimator == "reinforce_plus_plus_baseline" else "none"
    return Scaling(by, f"algorithm.adv_estimator={estimator}", AS_ADVANTAGE) if estimator in GROUPED else None


def inputs_for(
    spec: Diversity,
    reweight: Reweighter | None,
    advantage: Method | None,
    embedder: embed.Embedder | None,
    scaling: Scaling | None = None,
) -> CompletionInputs:
    """What the methods want; ValueError for what verl does not have or the settings do not give."""
    return CompletionInputs(
        None if spec.embedder == "keys" else embedder,
        keys.bind(spec.keys, spec.keys_options) if spec.keys is not None else None,
        methods={"reweight": reweight, "advantage": advantage},
        available=available("verl", correct=spec.correct is not None),
        remedies={
            "similarity": "Set diversity.keys=answer with diversity.embedder=keys, or another diversity.embedder.",
            "keys": "Set diversity.keys=answer.",
            "correct": "Set diversity.correct=score: correct is a completion whose score is above 0.5.",
            **dict.fromkeys(("advantages", "adjusted"), "Name the method as diversity.advantage."),
        },
        scaling=scaling,
    )


def embedder_for(spec: Diversity) -> embed.Embedder | None:
    """A model goes onto the CPU unless `embedder_options.device` says otherwise: verl's workers use the GPUs."""
    if spec.embedder == "keys":
        return None
    if spec.embedder in (None, "ngram"):
        wanted = spec.embedder or spec.method or spec.advantage
        return embed.embedder("ngram", **spec.embedder_options) if wanted else None
    return embed.embedder(spec.embedder, **{"device": "cpu"} | spec.embedder_options)


def _check_embedder(spec: Diversity) -> None:
    if spec.embedder != "keys":
        embed.check(spec.embedder or "ngram", spec.embedder_options)
    elif spec.keys is None:
        raise ValueError("diversity.embedder=keys must come with diversity.keys, such as diversity.keys=answer.")
    if spec.keys_options and spec.keys is None:
        raise ValueError(f"diversity.keys_options must come with diversity.keys, got {spec.keys_options} without.")
