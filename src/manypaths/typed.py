"""Dataclasses from the mappings of YAML, with every key and every type checked."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from manypaths.names import nearest

UNIONS = (typing.Union, types.UnionType)


def build(kind: Any, content: dict[str, Any], where: str = "") -> Any:
    """An instance of a dataclass from a mapping, nested dataclasses included.

    Args:
        kind: The dataclass.
        content: Its fields by name.
        where: The section of `content` and a dot, for messages.

    Raises:
        ValueError: A key is unknown or missing, or a value has a wrong type.
    """
    values = check_arguments(kind, content, where)
    for field in dataclasses.fields(kind):
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and content.get(field.name) is None:
            key = where + field.name
            override = _first_key(typing.get_type_hints(kind)[field.name], key)
            raise ValueError(f"The recipe has no {key!r}. Add a recipe that sets it, or the override {override}=...")
    return kind(**values)


def check_arguments(kind: Any, content: dict[str, Any], where: str, reserved: Iterable[str] = ()) -> dict[str, Any]:
    """Check keyword arguments of a dataclass, also of another library (GRPOConfig, LoraConfig), without making one.

    Args:
        kind: The dataclass.
        content: The arguments by name.
        where: The section of `content` and a dot, for messages.
        reserved: Fields that may not be given.

    Returns:
        The arguments, with numbers of the types that the fields have.

    Raises:
        ValueError: A key is unknown or reserved, or a value has a wrong type.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.init and field.name not in reserved]
    for key in content:
        if key in reserved:
            raise ValueError(f"{where}{key} is set by the run itself; leave it out.")
        if key not in names:
            raise ValueError(f"Unknown recipe key {where + str(key)!r}. {nearest(str(key), names)}")
    return {key: _value(hints[key], value, where + key) for key, value in content.items()}


def _first_key(hint: Any, where: str) -> str:
    """The first key of a section, such as model.name of model; of any other value its own name."""
    sections = [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]
    return f"{where}.{dataclasses.fields(sections[0])[0].name}" if sections else where


def _value(hint: Any, value: Any, where: str) -> Any:
    for kind in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            return build(kind, value, where + ".")
    if not _fits(hint, value):
        if (key := _first_key(hint, where)) != where:
            raise ValueError(
                f"{where} must be a section with keys, got {value!r}. Write {key}=... for one of its keys."
            )
        expected = re.sub(r"typing\.|manypaths\.sections\.", "", str(hint) if typing.get_args(hint) else hint.__name__)
        raise ValueError(f"{where} must be {expected}, got {value!r}.")
    return _typed(hint, value)


def _fits(hint: Any, value: Any) -> bool:
    """Whether a YAML value has the type of a hint; a hint beyond YAML's own types accepts every value but null."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return any(_fits(member, value) for member in inner)
    if origin is typing.Literal:
        return value in inner
    if origin is list:
        return isinstance(value, list) and all(_fits(inner[0], item) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(inner[0], k) and _fits(inner[1], v) for k, v in value.items())
    if hint in (int, float):
        return _is_number(value) and isinstance(value, (int, hint))
    if hint in (str, bool, list, dict, type(None)):
        return isinstance(value, hint)
    return hint is Any or (value is not None and not dataclasses.is_dataclass(hint))


def _typed(hint: Any, value: Any) -> Any:
    """A value that fits a hint, its numbers of the hint's type: 1 and 1.0 become one value."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        fitting = [member for member in inner if _fits(member, value)]
        return _typed(float if _is_number(value) and float in fitting else fitting[0], value)
    if origin is list:
        return [_typed(inner[0], item) for item in value]
    if origin is dict:
        return {_typed(inner[0], key): _typed(inner[1], item) for key, item in value.items()}
    return hint(value) if hint in (int, float) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
