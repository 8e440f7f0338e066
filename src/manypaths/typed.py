"""A mapping, as YAML gives it, becomes a dataclass: every key and every type is checked."""

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
    """A dataclass from a mapping, checking keys and types all the way down."""
    values = check_arguments(kind, content, where)
    for one in dataclasses.fields(kind):
        required = one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        if required and content.get(one.name) is None:
            key = where + one.name
            raise ValueError(f"The recipe has no {key!r}. Add a recipe that sets it, or the override {key}=...")
    return kind(**values)


def check_arguments(kind: Any, content: dict[str, Any], where: str, reserved: Iterable[str] = ()) -> dict[str, Any]:
    """Check keyword arguments for a dataclass, also somebody else's (GRPOConfig, LoraConfig), without making one."""
    hints = typing.get_type_hints(kind)
    known = [one.name for one in dataclasses.fields(kind) if one.init and one.name not in reserved]
    for key in content:
        if key in reserved:
            raise ValueError(f"{where}{key} is set by the run itself; leave it out.")
        if key not in known:
            raise ValueError(f"Unknown recipe key {where + str(key)!r}. {nearest(str(key), known)}")
    return {key: _value(hints[key], value, where + key) for key, value in content.items()}


def _value(hint: Any, value: Any, where: str) -> Any:
    for kind in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(kind) and isinstance(value, dict):
            return build(kind, value, where + ".")
    if not _fits(hint, value):
        expected = re.sub(r"typing\.|manypaths\.recipe\.", "", str(hint) if typing.get_args(hint) else hint.__name__)
        raise ValueError(f"{where} asks for {expected}; given {value!r}.")
    return _typed(hint, value)


def _fits(hint: Any, value: Any) -> bool:
    """Whether a YAML value can stand for a type hint; hints beyond plain YAML types accept anything."""
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
