"""Scripts by which a shell completes the commands, options, files and recipes of `manypaths`; needs shtab."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "fish", "tcsh")


class PrintCompletion(argparse.Action):
    """`--print-completion SHELL`: print the script for that shell, and end."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        try:
            print(script(parser, str(values)))
        except ModuleNotFoundError as error:
            parser.error(f"--print-completion needs the package {error.name}. Run: pip install shtab pyyaml")
        parser.exit()


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell.

    Args:
        parser: The parser of all commands. An argument whose type is `Path` is completed with files, and one whose
            metavar is RECIPE or GRID with the names of shipped ones and with files.
        shell: One of `SHELLS`.

    Raises:
        ModuleNotFoundError: shtab or PyYAML is not installed.
    """
    import shtab

    from manypaths.recipe import shipped, shipped_grids

    recipes = sorted(name.rpartition("/")[2] for name in shipped())
    names = {"RECIPE": recipes, "GRID": sorted(shipped_grids())}
    for argument in _arguments_of(parser):
        if argument.metavar in names:
            vars(argument)["complete"] = shtab.cmd(f"echo {' '.join(names[str(argument.metavar)])}")
        elif argument.type is Path:
            vars(argument)["complete"] = shtab.FILE
    return shtab.complete(parser, shell)


def _arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments of a parser and of all its commands."""
    for argument in parser._actions:
        if isinstance(argument.choices, dict):  # commands and their parsers
            for command in argument.choices.values():
                yield from _arguments_of(command)
        else:
            yield argument
