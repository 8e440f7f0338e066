"""Strict recipes: YAML files merged in order, overridden on the command line, checked key by key.

A recipe is what a run is made of. `trainer` and `lora` are the keyword arguments of TRL's `GRPOConfig` and of
PEFT's `LoraConfig`, under their own names; everything else is ours and is the dataclasses below. An unknown
key is an error that names the nearest known one.
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


@dataclass
class Model:
    """`name` as in `manypaths.checkpoint`; `end_tokens`: texts of one token each that end an answer."""

    name: str
    dtype: str = "bfloat16"
    end_tokens: list[str] = field(default_factory=list)


@dataclass
class Problems:
    """A set for `manypaths.problems.load`; `options` go to the arithmetic generator."""

    name: str
    split: str | None = None
    problem_column: str | None = None
    answer_column: str | None = None
    shuffle: int | None = None
    limit: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Evaluation:
    """Held-out problems, and how to sample answers to them; temperature 0 is greedy.

    They are answered before and after training, and after `every` so many steps where that is set. Raises ValueError
    for a number out of its range, and for greedy samples, which are all the same, asked for more than once.
    """

    problems: Problems
    every: int | None = None
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name in ("every", "samples", "max_new_tokens", "batch_size"):
            if (count := getattr(self, name)) is not None and count < 1:
                raise ValueError(f"evaluation.{name} must be 1 or more, got {count}.")
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"evaluation.temperature must be 0 (greedy) or more, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"evaluation.top_p must be above 0 and at most 1, got {self.top_p}.")
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                f"evaluation.samples must be 1 with evaluation.temperature 0, got {self.samples}: greedy samples are "
                "all the same. Set evaluation.temperature, such as 0.6."
            )


@dataclass
class Method:
    """How rewards become a gradient; what is left out is GRPO.

    `reweight` names a function of `manypaths.methods.REWEIGHTERS`, `options` are its named arguments, and with
    `keep_equal_rewards` groups whose raw rewards are all equal keep them. `advantage` names a function of
    `manypaths.methods.ADVANTAGES`. `correct` names the reward by which a completion is correct, above 0.5, for methods
    with such an input. Without `importance_ratio` there is no pi / pi_old and nothing clips (RGRA).
    """

    reweight: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    keep_equal_rewards: bool = False
    advantage: str | None = None
    correct: str | None = None
    importance_ratio: bool = True


@dataclass
class DynamicSampling:
    """DAPO's: groups in which the reward named `reward` has no spread are replaced; null keeps all groups.

    A step samples `max_batches` generation batches at most.
    """

    reward: str | None = None
    max_batches: int = 10


@dataclass
class Embedder:
    """`name`: ngram, or a sentence-transformers model (hub id, folder, package:NAME); `options` go to it.

    With the name `keys` two completions have similarity 1 where their keys are equal, and 0 elsewhere.
    """

    name: str = "ngram"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Keys:
    """What makes two completions one way: `name` is that of a function of `manypaths.keys` or a dotted path of yours.

    `options` are its named arguments. null where no method asks for keys.
    """

    name: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Record:
    """What is written of the groups, for a look at them: in step 1 and `every` so many, the first `groups` (all)."""

    every: int = 1
    groups: int | None = None


@dataclass
class Recipe:
    """Everything a run depends on.

    `prompt` is a text, or a list of chat messages, that holds {question}. `rewards` are names and weights, null
    leaves one out; `reward_options` are named arguments, by reward. `departs` says, for a paper's recipe, what of the
    published setting it cannot keep.
    """

    model: Model
    problems: Problems
    trainer: dict[str, Any]
    prompt: str | list[dict[str, str]] = "{question}"
    rewards: dict[str, float | None] = field(default_factory=lambda: {"accuracy": 1.0})
    reward_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    method: Method = field(default_factory=Method)
    dynamic_sampling: DynamicSampling = field(default_factory=DynamicSampling)
    embedder: Embedder = field(default_factory=Embedder)
    keys: Keys = field(default_factory=Keys)
    lora: dict[str, Any] | None = None
    evaluation: Evaluation | None = None
    record: Record = field(default_factory=Record)
    seed: int = 1
    departs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rewards = {name: weight for name, weight in self.rewards.items() if weight is not None}


def shipped() -> dict[str, Path]:
    """The recipes that come with the package: "methods/mmr" -> its file."""
    found = [path for path in sorted(SHIPPED.rglob("*.yaml")) if path.parent.name != "launch"]
    return {str(path.relative_to(SHIPPED).with_suffix("")): path for path in found}


def find(name: str) -> Path:
    """A file, "methods/mmr" or just "mmr" -> the recipe's path. ValueError names the nearest one."""
    if Path(name).suffix in (".yaml", ".yml"):
        if Path(name).is_file():
            return Path(name)
        raise ValueError(f"Recipe file {name!r} does not exist.")
    known = shipped()
    matches = [path for key, path in known.items() if name in (key, key.rpartition("/")[2])]
    if len(matches) == 1:
        return matches[0]
    raise ValueError(f"Unknown recipe {name!r}. {nearest(name, [*known, *(key.rpartition('/')[2] for key in known)])}")


def read(names: Iterable[str], overrides: Iterable[str] = ()) -> Recipe:
    """Merge recipes from left to right, apply `section.key=value` overrides, check -> Recipe.

    Mappings merge key by key; anything else replaces. ValueError for what is unknown, missing or of a wrong type.
    """
    merged, overrides = content(names), list(overrides)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ValueError(f"An override is written section.key=value; given {override!r}.")
        nested = from_yaml(value, f"The value of override {override!r}")
        for part in reversed(_path(key, merged.get("rewards"), overrides)):
            nested = {part: nested}
        _merge(merged, nested)
    return typing.cast(Recipe, build(Recipe, merged))


def _path(key: str, rewards: Any, overrides: Sequence[str]) -> list[str]:
    """The keys along which an override goes; the name of a reward may be a dotted path, and is one key."""
    section, *parts = key.split(".")
    if section not in ("rewards", "reward_options") or not parts:
        return [section, *parts]
    if section == "rewards":
        return [section, ".".join(parts)]
    weighed = {*(rewards or {}), *(each.partition("=")[0].removeprefix("rewards.") for each in overrides)}
    lengths = [count for count in range(len(parts), 0, -1) if ".".join(parts[:count]) in weighed]
    count = lengths[0] if lengths else max(1, len(parts) - 1)
    return [section, ".".join(parts[:count]), *parts[count:]]


def content(names: Iterable[str], within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Recipes merged from left to right, unchecked; what a recipe lists under `include` comes before itself."""
    merged: dict[str, Any] = {}
    for name in names:
        path = find(name)
        if path in within:
            raise ValueError(f"Recipe {path} includes itself.")
        own = from_yaml(path.read_bytes(), f"Recipe {path}")
        if not isinstance(own, dict):
            raise ValueError(f"Recipe {path} asks for keys and values; it holds {type(own).__name__}.")
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
