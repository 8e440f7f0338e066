"""The methods that the command line names, as recipes, and how the trainer scales rewards. Nothing here needs torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manypaths import recipe
from manypaths.logs import RUN, Log
from manypaths.printable import counted
from manypaths.run_folder import is_recorded, is_run, read_recipe, read_recipe_content
from manypaths.sections import Recipe

OWN = "the run's own"
SCALES = {  # scale_rewards -> what TRL then does to the distance from the mean of the group
    "group": ", divided by the standard deviation of the group",
    "batch": ", divided by the standard deviation of all rewards of the step",
    "none": "",
}
DEFAULTS_WITH_VERDICTS, DEFAULTS = ("mmr", "dra"), ("mmr-paper", "dra-paper")  # methods, where none is named


@dataclass(frozen=True)
class Choice:
    """A method to be explained.

    Args:
        label: the words that name it.
        spec: its recipe; model, problems and trainer are blank unless the words name them.
    """

    label: str
    spec: Recipe


def read_choice(words: str, before: Mapping[str, Any] | None = None) -> Choice:
    """The method that some words name, as they would follow `manypaths train`.

    Args:
        words: recipes and overrides, separated by spaces, such as "mmr-paper method.options.lam=0.7".
        before: sections of a recipe that those of the words are merged into, see `sections_before`.

    Raises:
        ValueError: a recipe or a key is unknown, or the recipe changes no advantage of a group that was sampled.
    """
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise ValueError(f"--method must be recipes and overrides, got {words!r}: {error}.") from error
    names = [part for part in parts if "=" not in part]
    if not names:
        raise ValueError(f"--method must name a recipe, such as mmr, got {words!r}. See: manypaths recipes")
    spec = recipe.read_method(names, [part for part in parts if "=" in part], before)
    choice = Choice(" ".join(parts), spec)
    if reason := _no_effect(spec):
        raise ValueError(f"--method {choice.label!r} {reason}")
    return choice


def sections_before(own: Recipe | None, embedder: str | None) -> dict[str, Any]:
    """What holds for all methods whose recipes do not say it: by what completions are compared.

    Args:
        own: the recipe of the run that the log is, which says it unless the command line does.
        embedder: of the command line.
    """
    if embedder is not None:
        return {"embedder": {"name": embedder}}
    sections = {} if own is None else {"embedder": asdict(own.embedder)}
    if own is not None and own.embedder.name == "keys":
        sections["keys"] = asdict(own.keys)
    return sections


def default_choices(log: Log, own: Recipe | None, before: Mapping[str, Any]) -> tuple[list[Choice], list[str]]:
    """The methods where none is named, with a note on each that is left out.

    The run's own method, if the log is of a run with one; then MMR and DRA, among right completions where it is known
    which are right, else as published.
    """
    choices, notes = [], []
    if own is not None and (own.method.reweight or own.method.advantage):
        if reason := _no_effect(own):
            notes.append(f"The run's own method is left out: it {reason}")
        else:
            choices.append(Choice(OWN, own))
    has_verdicts = any(group.correct is not None for group in log.groups)
    words = DEFAULTS_WITH_VERDICTS if has_verdicts else DEFAULTS
    return choices + [read_choice(word, before) for word in words], notes


def _no_effect(spec: Recipe) -> str | None:
    """Why explain cannot show a recipe: it changes something else than advantages, or selects completions."""
    if spec.select.rule is not None:
        return (
            f"must not select completions, got select.rule={spec.select.rule}: explain shows advantages of whole "
            "groups. Leave the selection out."
        )
    changed = _others_changed(spec)
    if spec.method.reweight is None and spec.method.advantage is None and changed:
        return (
            f"must change the advantages of groups that were sampled, but it changes {' and '.join(changed)}, of which "
            "a log of completions says nothing. Leave it out."
        )
    return None


def _others_changed(spec: Recipe) -> list[str]:
    """What a recipe changes beside advantages."""
    others = [
        (not spec.method.importance_ratio, "the importance ratio in the loss"),
        (spec.history.target is not None, "which prompts are sampled"),
        (spec.replay.weight is not None, "the loss, by completions of earlier steps"),
        (bool(spec.trainer.get("entropy_coef")), "the loss, by an entropy bonus"),
    ]
    return [what for is_changed, what in others if is_changed]


def own_recipe(log: Log) -> Recipe | None:
    """The recipe of the run that a log is, or is the file of; None for a log of another trainer."""
    run = _run_of(log)
    return read_recipe(run) if log.kind == RUN and is_run(run) else None


def _run_of(log: Log) -> Path:
    return log.path if log.path.is_dir() else log.path.parent


def _trainer_settings(log: Log) -> Mapping[str, Any]:
    """The settings of TRL's trainer of the script whose run a log is; {} for any other log without a recipe."""
    run = _run_of(log)
    settings = read_recipe_content(run).get("trainer") if log.kind == RUN and is_recorded(run) else None
    return settings if isinstance(settings, Mapping) else {}


def scale_of(log: Log, own: Recipe | None, named: str | None, choices: Sequence[Choice]) -> str:
    """What differences from the mean of a group are divided by: the deviation of the group or the batch, or nothing.

    Args:
        log: the groups.
        own: the recipe of the run that the log is; it says the scaling unless the command line does, and of a run
            of a script its script.json. Else it is the group, GRPO's and TRL's default.
        named: of the command line.
        choices: the methods; one whose recipe says something else is refused.

    Raises:
        ValueError: the setting cannot be followed here.
    """
    settings = _trainer_settings(log) if own is None else own.trainer
    if settings.get("multi_objective_aggregation", "sum_then_normalize") != "sum_then_normalize":
        raise ValueError(
            f"{str(log.path)!r} must be of a run that sums rewards before it scales them, got "
            f"multi_objective_aggregation={settings['multi_objective_aggregation']}, which explain cannot compute."
        )
    scale = named or _word(settings.get("scale_rewards", "group"))
    if scale not in SCALES:
        raise ValueError(f"--scale-rewards must be one of {', '.join(SCALES)}, got {scale!r}.")
    for choice in choices:
        other = _word(choice.spec.trainer.get("scale_rewards", scale))
        if other != scale:
            raise ValueError(
                f"--method {choice.label!r} must have scale_rewards={scale}, as the other methods here, got {other}. "
                f"Set --scale-rewards {other} for all of them."
            )
    if scale == "batch" and any(group.step is None for group in log.groups):
        raise ValueError(
            f"--scale-rewards must be group or none here, got batch: {str(log.path)!r} does not say which groups are "
            "of the same step. Set --scale-rewards."
        )
    if scale == "batch" and own is not None and own.record.groups is not None:
        raise ValueError(
            f"--scale-rewards must be group or none here, got batch: {str(log.path)!r} recorded the first "
            f"{counted(own.record.groups, 'group')} of a step, and not the batch. Set --scale-rewards."
        )
    return scale


def _word(value: object) -> str:
    return {"True": "group", "False": "none"}.get(str(value), str(value))


def assumed(plain: Choice, choices: Sequence[Choice], scale: str) -> list[str]:
    """Sentences on how advantages are scaled, by what completions are compared, and what of a recipe is not shown."""
    notes = [f"Advantages are distances from the mean reward of the group{SCALES[scale]} (scale_rewards={scale})."]
    notes.append(f"Similarity is {_similarity(plain.spec)}.")
    for choice in choices:
        if choice.spec.embedder != plain.spec.embedder:
            notes.append(f"Similarity for {choice.label} is {_similarity(choice.spec)}.")
        if choice.spec.keys.name is not None:
            notes.append(f"Two completions go one way, for {choice.label}, by keys.name={choice.spec.keys.name}.")
        if changed := _others_changed(choice.spec):
            notes.append(f"{choice.label} also changes {' and '.join(changed)}, which is not shown.")
    return notes


def _similarity(spec: Recipe) -> str:
    if spec.embedder.name == "keys":
        return "1 where two keys are equal, and 0 elsewhere"
    if spec.embedder.name != "ngram":
        return f"that of the embedder {spec.embedder.name}"
    return (
        "that of the n-gram embedder, which measures shared wording, not meaning, and downloads nothing; --embedder "
        "NAME takes a sentence-transformers model"
    )
