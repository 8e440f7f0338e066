"""Functions by name: ours from a dict, a user's by its dotted path; their options, and whether given ones fit."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any


def find_function(kind: str, name: str, ours: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """The function that a recipe names.

    Modules of the working directory come first, as under `python -m`: so `manypaths train` and each process that a
    launcher starts find the same.

    Args:
        kind: what the function is, for messages: `reward`, `keys function`.
        name: a key of `ours`, or a dotted path, "package.module.function".
        ours: the functions that have a name here.

    Raises:
        ValueError: no such function (the message has the nearest name), its module cannot be imported, or what has the
            name cannot be called or is a class.
    """
    if name in ours:
        return ours[name]
    path, _, attribute = name.rpartition(".")
    if path and (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(path)
    except (ModuleNotFoundError, TypeError, ValueError) as error:
        missing = getattr(error, "name", None) or path
        if f"{path}.".startswith(f"{missing}."):  # the module itself, not one that it imports
            raise ValueError(_unknown(kind, name, ours, f" ({error})" if path else "")) from error
        raise ValueError(
            f"{kind.capitalize()} {name!r}: its module {path} imports {missing!r}, which is not installed."
        ) from error
    except Exception as error:  # a user's module may raise anything
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(
            f"{kind.capitalize()} {name!r}: its module {path} cannot be imported ({cause}). Mend it."
        ) from error
    if not hasattr(module, attribute):
        why = f" (module {path!r} has no attribute {attribute!r})"
        raise ValueError(_unknown(kind, name, ours, why, dir(module)))
    function: Callable[..., Any] = getattr(module, attribute)
    if not callable(function):
        raise ValueError(f"{kind.capitalize()} {name!r} must be a function, got {function!r}.")
    if isinstance(function, type):
        raise ValueError(
            f"{kind.capitalize()} {name!r} must be a function, got a class. Name an instance of it that the module "
            "makes."
        )
    return function


def option_defaults(function: Callable[..., Any], inputs: Collection[str] | None = None) -> tuple[dict[str, Any], bool]:
    """(the options that a function names, with their defaults; whether it takes any other, which `**_` does not).

    Args:
        function: any callable; one without a signature, such as some builtins, has no options.
        inputs: the names of parameters that are data, not options; None means all but the keyword-only ones.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}, False
    options = {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind == parameter.KEYWORD_ONLY
        or (inputs is not None and parameter.kind == parameter.POSITIONAL_OR_KEYWORD)
    }
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD and parameter.name != "_" for parameter in parameters)
    return {name: default for name, default in options.items() if name not in (inputs or ())}, takes_any


def check_options(
    caller: str, function: Callable[..., Any], options: Mapping[str, Any], inputs: Collection[str] | None = None
) -> None:
    """Raise ValueError where an option is none of a function's, or is one of its inputs.

    Args:
        caller: the function, for the message: "Reward 'cosine'".
        options: {name: value}.
        function, inputs: as in `option_defaults`.
    """
    takes, takes_any = option_defaults(function, inputs)
    wrong = [name for name in options if name not in takes and (name in (inputs or ()) or not takes_any)]
    if wrong:
        names = f"the options {', '.join(takes)}" if takes else "no options"
        raise ValueError(f"{caller} takes {names}, got {', '.join(map(repr, wrong))}. Leave it out.")


def _unknown(
    kind: str, name: str, ours: Mapping[str, Callable[..., Any]], why: str, of_module: Sequence[str] = ()
) -> str:
    path, _, attribute = name.rpartition(".")
    near = [f"{path}.{other}" for other in difflib.get_close_matches(attribute, of_module, n=1)]
    near = near or difflib.get_close_matches(name, ours, n=1, cutoff=0.0)
    return (
        f"No {kind} is called {name!r}{why}; did you mean {near[0]!r}? There are {', '.join(ours)}, and any "
        'function by its path, "package.module.function", also of a module in the working directory.'
    )
