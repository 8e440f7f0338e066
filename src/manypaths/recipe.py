"""Strict recipes: YAML files merged in order, overridden on the command line, checked key by key.

A recipe is what a run is made of. `trainer` and `lora` are the keyword arguments of TRL's `GRPOConfig` and of
PEFT's `LoraConfig`, under their own names; everything else is ours and is the dataclasses below. An unknown
key is an error that names the nearest key.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from manypaths.names import nearest
from manypaths.typed import build
from manypaths.yaml_text import from_yaml, to_yaml

SHIPPED = Path(str(files("manypaths") / "recipes"))
DTYPES = ("bfloat16", "float16", "float32", "float64", "half", "float", "double")  # those of torch that can be trained
RENAMED_KEYS = {"method.policy_ratio": "method.importance_ratio"}  # key of an earlier version -> its name today
# Keys that recipes of earlier versions lack, and their defaults.
ADDED_KEYS = {
    "method.correct": None,
    "method.among_correct": False,
    "method.shuffled": False,
    "keys.name": None,
    "replay.weight": None,
    "replay.capacity": 16,
    "evaluation.keys": "answer",
    "cluster": None,
}
RENAMED_VALUES = {  # key -> {value of an earlier version: its name today}
    "method.advantage": {"positive": "grpo_pos", "reward": "reinforce", "best": "raft"}
}


@dataclass
class Model:
    """`name` as in `manypaths.checkpoint`; `end_tokens`: texts of one token each that end a completion.

    Raises ValueError for a `dtype` that torch cannot train.
    """

    name: str
    dtype: str = "bfloat16"
    end_tokens: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"model.dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}.")


@dataclass
class Problems:
    """A set for `manypaths.problems.load`; `options` go to the arithmetic generator.

    Raises ValueError for a `limit` below 1.
    """

    name: str
    split: str | None = None
    problem_column: str | None = None
    answer_column: str | None = None
    shuffle: int | None = None
    limit: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_counts("problems", self, "limit")


@dataclass
class Evaluation:
    """Held-out problems, and how to sample completions for them; temperature 0 is greedy.

    The model is evaluated before and after training, and after `every` so many steps where that is set. `keys` names a
    function as `keys.name` does: distinct@K counts correct completions with different keys. By `answer` a problem with
    one right answer has one way, so distinct@K is pass@K, but for spellings that the key keeps apart (18 and 18 km).
    Raises ValueError for a number out of its range, and for several greedy samples, which would all be the same.
    """

    problems: Problems
    every: int | None = None
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    batch_size: int = 32
    keys: str = "answer"

    def __post_init__(self) -> None:
        _check_counts("evaluation", self, "every", "samples", "max_new_tokens", "batch_size")
        check_sampling(self, "evaluation.")


@dataclass
class Method:
    """How rewards become a gradient. Unset fields mean plain GRPO.

    `reweight` names a function of `manypaths.methods.REWEIGHTERS`, `options` are its named arguments. With
    `among_correct` it moves credit among right completions only, and with `keep_equal_rewards` zero-variance groups
    keep their raw rewards. With `shuffled` its keys or similarities, or those of the advantage, are those of other
    completions of the group: a placebo (`manypaths.methods.shuffled`). `advantage` names a function of
    `manypaths.methods.ADVANTAGES`, `advantage_options` are its named arguments; of a list of names, each works on the
    advantages of the one before it, and the options are {name: arguments}. `correct` names the reward by which a
    completion is correct, above 0.5, for methods with such an input. Without `importance_ratio` there is no pi / pi_old
    and nothing clips (RGRA).
    """

    reweight: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    among_correct: bool = False
    keep_equal_rewards: bool = False
    shuffled: bool = False
    advantage: str | list[str] | None = None
    advantage_options: dict[str, Any] = field(default_factory=dict)
    correct: str | None = None
    importance_ratio: bool = True


@dataclass
class DynamicSampling:
    """DAPO's: zero-variance groups of the reward named `reward` are replaced; null keeps all groups.

    A step samples `max_batches` generation batches at most. Raises ValueError where that is below 1.
    """

    reward: str | None = None
    max_batches: int = 10

    def __post_init__(self) -> None:
        _check_counts("dynamic_sampling", self, "max_batches")


@dataclass
class Replay:
    """Verified replay (arXiv 2610.11064): `weight` is its lambda, such as 0.1, and null is none.

    The bank of a prompt holds `capacity` ways at most. Raises ValueError for numbers out of their range.
    """

    weight: float | None = None
    capacity: int = 16

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < math.inf:
            raise ValueError(f"replay.weight must be above 0, got {self.weight}. Set null for no replay.")
        _check_counts("replay", self, "capacity")


@dataclass
class Embedder:
    """`name`: ngram, or a sentence-transformers model (hub id, folder, package:NAME); `options` go to it.

    With the name `keys` two completions have similarity 1 where their keys are equal, and 0 elsewhere.
    """

    name: str = "ngram"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Keys:
    """When two completions count as the same way: where the keys are equal that `name` gives them.

    `name` is a function of `manypaths.keys`, or the dotted path of another function; `options` are its named
    arguments. null where no method has keys as an input.
    """

    name: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Record:
    """Which groups are recorded: the first `groups` (null: all) of step 1 and of `every` so many steps.

    Raises ValueError for a number below 1.
    """

    every: int = 1
    groups: int | None = None

    def __post_init__(self) -> None:
        _check_counts("record", self, "every", "groups")


@dataclass
class Recipe:
    """Everything a run depends on.

    `prompt` is a text, or a list of chat messages, that contains {question}. `rewards` are names and weights, null
    leaves one out; `reward_options` are named arguments, by reward. `cluster` names a start that several seeds share:
    runs that have it are one configuration if they differ in seed, cluster and model.name alone. `departs` lists, for a
    paper's recipe, what of the published setting it cannot keep. Raises ValueError for a prompt without {question}.
    """

    model: Model
    problems: Problems
    trainer: dict[str, Any]
    prompt: str | list[dict[str, str]] = "{question}"
    rewards: dict[str, float | None] = field(default_factory=lambda: {"accuracy": 1.0})
    reward_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    method: Method = field(default_factory=Method)
    dynamic_sampling: DynamicSampling = field(default_factory=DynamicSampling)
    replay: Replay = field(default_factory=Replay)
    embedder: Embedder = field(default_factory=Embedder)
    keys: Keys = field(default_factory=Keys)
    lora: dict[str, Any] | None = None
    evaluation: Evaluation | None = None
    record: Record = field(default_factory=Record)
    seed: int = 1
    cluster: int | str | None = None
    departs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rewards = {name: weight for name, weight in self.rewards.items() if weight is not None}
        if "{question}" not in str(self.prompt):
            raise ValueError(f"prompt must contain {{question}}, got {self.prompt!r}. Add it where the problem stands.")


def check_sampling(settings: Any, prefix: str = "") -> None:
    """Raise ValueError for `temperature`, `top_p` or `samples` out of range; `prefix` goes before their names."""
    if not 0 <= settings.temperature < math.inf:
        raise ValueError(f"{prefix}temperature must be 0 (greedy) or more, got {settings.temperature}.")
    if not 0 < settings.top_p <= 1:
        raise ValueError(f"{prefix}top_p must be above 0 and at most 1, got {settings.top_p}.")
    if settings.samples > 1 and not settings.temperature:
        raise ValueError(
            f"{prefix}samples must be 1 with {prefix}temperature 0, got {settings.samples}: greedy samples are all the "
            f"same. Set {prefix or '--'}temperature, such as 0.6."
        )


def _check_counts(section: str, settings: object, *names: str) -> None:
    """Raise ValueError unless each of these settings is null or 1 or more."""
    for name in names:
        if (count := getattr(settings, name)) is not None and count < 1:
            raise ValueError(f"{section}.{name} must be 1 or more, got {count}.")


def shipped() -> dict[str, Path]:
    """The recipes that come with the package: "methods/mmr" -> its file."""
    paths = [path for path in sorted(SHIPPED.rglob("*.yaml")) if path.parent.name != "launch"]
    return {str(path.relative_to(SHIPPED).with_suffix("")): path for path in paths}


def find(name: str) -> Path:
    """The path of a recipe: a file's own, or that of a shipped one, named "methods/mmr" or just "mmr".

    Raises:
        ValueError: There is no such recipe; the message names the nearest one.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            return Path(name)
        raise ValueError(f"Recipe file {name!r} does not exist.")
    paths = shipped()
    last_names = [key.rpartition("/")[2] for key in paths]
    matches = [paths[key] for key, last in zip(paths, last_names, strict=True) if name in (key, last)]
    if len(matches) == 1:
        return matches[0]
    raise ValueError(f"Unknown recipe {name!r}. {nearest(name, [*paths, *last_names])}")


def read(names: Iterable[str], overrides: Iterable[str] = ()) -> Recipe:
    """Merge recipes from left to right, apply overrides, check every key, type and bound.

    Mappings merge key by key; anything else replaces.

    Args:
        names: Recipes as for `find`.
        overrides: Texts `section.key=value`, the value in YAML.

    Raises:
        ValueError: A recipe, key or value is unknown, missing, of a wrong type, out of its range, or has the name of
            an earlier version.
    """
    return _resolve(content(names), list(overrides))


def read_recorded(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """As `read`, of the recipe in a run folder, which may have names of an earlier version."""
    return _resolve(with_current_names(content([str(path)])), list(overrides))


def _resolve(merged: dict[str, Any], overrides: Sequence[str]) -> Recipe:
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ValueError(f"An override must be section.key=value, got {override!r}.")
        nested = from_yaml(value, f"The value of override {override!r}")
        for part in reversed(_path(key, merged.get("rewards"), overrides)):
            nested = {part: nested}
        _merge(merged, nested)
    _refuse_earlier_names(merged)
    return typing.cast(Recipe, build(Recipe, merged))


def with_current_names(content: dict[str, Any], within: str = "") -> dict[str, Any]:
    """The content of a recipe whose keys and values may have names of an earlier version, under the names of today.

    Args:
        content: Nested mappings, unchecked; they are not changed.
        within: The section of `content` and a dot, "" for a whole recipe.
    """
    renamed = {}
    for key, value in content.items():
        current = RENAMED_KEYS.get(f"{within}{key}", f"{within}{key}")
        if isinstance(value, dict):
            value = with_current_names(value, f"{current}.")
        elif isinstance(value, str):
            value = RENAMED_VALUES.get(current, {}).get(value, value)
        renamed[current.removeprefix(within)] = value
    return renamed


def _refuse_earlier_names(content: dict[str, Any], within: str = "") -> None:
    for key, value in content.items():
        path = f"{within}{key}"
        if path in RENAMED_KEYS:
            raise ValueError(f"{path} must have its name of today, {RENAMED_KEYS[path]}. Rename it.")
        if isinstance(value, dict):
            _refuse_earlier_names(value, f"{path}.")
        elif isinstance(value, str) and value in RENAMED_VALUES.get(path, {}):
            current = RENAMED_VALUES[path][value]
            raise ValueError(f"{path} must be {current}, got {value!r}, its name of an earlier version. Rename it.")


def _path(key: str, rewards: Any, overrides: Sequence[str]) -> list[str]:
    """The nested keys of an override; the name of a reward may be a dotted path, and is a single key."""
    section, *parts = key.split(".")
    if section not in ("rewards", "reward_options") or not parts:
        return [section, *parts]
    if section == "rewards":
        return [section, ".".join(parts)]
    weighted = {*(rewards or {}), *(override.partition("=")[0].removeprefix("rewards.") for override in overrides)}
    lengths = [count for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in weighted]
    count = lengths[0] if lengths else max(1, len(parts) - 1)
    return [section, ".".join(parts[:count]), *parts[count:]]


def content(names: Iterable[str], within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Recipes merged from left to right, unchecked; the recipes under `include` of a recipe come before it.

    Args:
        names: Recipes as for `find`.
        within: The recipes that include these.

    Raises:
        ValueError: A recipe does not exist, is no mapping in YAML, or includes itself.
    """
    merged: dict[str, Any] = {}
    for name in names:
        path = find(name)
        if path in within:
            raise ValueError(f"Recipe {path} includes itself.")
        own = from_yaml(path.read_bytes(), f"Recipe {path}")
        if not isinstance(own, dict):
            raise ValueError(f"Recipe {path} must hold keys and values, got {type(own).__name__}. Write key: value.")
        _merge(merged, content(own.pop("include", []), (*within, path)))
        _merge(merged, own)
    return merged


def dump(recipe: Recipe) -> str:
    """The resolved recipe as YAML; reading it gives an equal recipe."""
    return to_yaml(dataclasses.asdict(recipe))


def _merge(into: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
