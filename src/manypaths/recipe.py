"""Strict recipes: YAML files merged in order, overridden on the command line, checked key by key.

A recipe is what a run is made of; its sections are the dataclasses of sections.py. An unknown key is an error that
names the nearest key.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from manypaths.names import nearest
from manypaths.sections import Recipe
from manypaths.typed import build
from manypaths.yaml_text import from_yaml, to_yaml

SHIPPED = Path(str(files("manypaths") / "recipes"))
NO_RECIPES = ("launch", "sweeps")  # folders of other files
RENAMED_KEYS = {"method.policy_ratio": "method.importance_ratio"}  # key of an earlier version -> its name today
# Keys that recipes of earlier versions lack, and their defaults.
ADDED_KEYS = {
    "method.correct": None,
    "method.among_correct": False,
    "method.shuffled": False,
    "method.skip_zero_advantage": False,
    "model.architecture": None,
    "pretrain": None,
    "pretrain.problems": None,
    "select.rule": None,
    "select.count": None,
    "keys.name": None,
    "history.target": None,
    "history.discount": 0.8,
    "history.prior": 0.5,
    "history.explore": 0.5,
    "history.step": 0.01,
    "replay.weight": None,
    "replay.capacity": 16,
    "evaluation.keys": "answer",
    "cluster": None,
}
RENAMED_VALUES = {  # key -> {value of an earlier version: its name today}
    "method.advantage": {"positive": "grpo_pos", "reward": "reinforce", "best": "raft"}
}


def shipped() -> dict[str, Path]:
    """The recipes that come with the package: "methods/mmr" -> its file."""
    paths = [path for path in sorted(SHIPPED.rglob("*.yaml")) if path.parent.name not in NO_RECIPES]
    return {str(path.relative_to(SHIPPED).with_suffix("")): path for path in paths}


def shipped_grids() -> dict[str, Path]:
    """The grids of `manypaths sweep` that come with the package: "diversity" -> its file."""
    return {path.stem: path for path in sorted((SHIPPED / "sweeps").glob("*.yaml"))}


def find_grid(name: str) -> Path:
    """The path of a grid: a file's own, or that of a shipped one. Raises ValueError where there is none."""
    if Path(name).is_file():
        return Path(name)
    if name in shipped_grids():
        return shipped_grids()[name]
    if Path(name).suffix in (".yaml", ".yml"):
        raise ValueError(f"Grid file {name!r} does not exist.")
    raise ValueError(f"Unknown grid {name!r}. {nearest(name, shipped_grids())} Or name a YAML file.")


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


def read_method(names: Iterable[str], overrides: Iterable[str] = (), before: Mapping[str, Any] | None = None) -> Recipe:
    """As `read`, of recipes that say how rewards become advantages and need not say what is trained.

    Args:
        names, overrides: As of `read`.
        before: Sections that recipes and overrides are merged into. Model, problems and trainer are blank.
    """
    merged: dict[str, Any] = {"model": {"name": ""}, "problems": {"name": ""}, "trainer": {}}
    _merge(merged, copy.deepcopy(dict(before or {})))
    _merge(merged, content(names))
    return _resolve(merged, list(overrides))


def read_recorded(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """As `read`, of the recipe in a run folder, which may have names of an earlier version."""
    return read_content(content([str(path)]), overrides)


def read_content(content: dict[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """As `read`, of nested mappings, which may have names of an earlier version."""
    return _resolve(with_current_names(content), list(overrides))


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
    _refuse_without_section(merged)
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


def with_added_keys(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a recipe in which settings that its version did not have are as today's default.

    So recipes of two versions are equal where their runs are. `content` is not changed.
    """
    content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
    for name, default in ADDED_KEYS.items():
        section, _, key = name.rpartition(".")
        settings = content if not section else content.setdefault(section, None if section == "evaluation" else {})
        if isinstance(settings, dict):
            settings.setdefault(key, default)
    return content


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


def _refuse_without_section(content: dict[str, Any]) -> None:
    """Raise ValueError for a key outside of every section, which may be an argument of TRL's GRPOConfig.

    A key that looks like one of the recipe's own is left to the check that names the nearest.
    """
    own = [field.name for field in dataclasses.fields(Recipe)]
    for key in content:
        if key not in own and not difflib.get_close_matches(str(key), own, n=1, cutoff=0.75):
            raise ValueError(
                f"Unknown recipe key {str(key)!r}. An argument of TRL's GRPOConfig is written trainer.{key}. Known: "
                f"{', '.join(sorted(own))}."
            )


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
