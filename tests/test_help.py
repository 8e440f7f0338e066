"""The help of every command: examples that the parser accepts, a metavar for every value, and lines that fit."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys

import pytest

from manypaths import cli, recipe
from manypaths.completion import SHELLS

WIDTH = 120


def commands() -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands, by name."""
    (subparsers,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(subparsers.choices)


COMMANDS = commands()
PARSERS = {"": cli.parser(), **COMMANDS}


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def help_of(name: str, capsys) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*name.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_commands_of_the_package_are_here():
    assert {"train", "evaluate", "grade", "compare", "sweep", "inspect", "recipes", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", PARSERS)
def test_two_examples_or_more_are_calls_of_the_command(name, capsys):
    _, _, examples = help_of(name, capsys).partition("\nexamples:\n")
    lines = [line for line in examples.partition("\n\n")[0].splitlines() if line.strip()]
    assert len(lines) >= 2 and len(set(lines)) == len(lines)
    for line in lines:
        program, *words = shlex.split(line)
        options = cli._parse(words)
        assert program == "manypaths" and words[0] == (name or words[0]) and callable(options.command), line


@pytest.mark.parametrize("name", PARSERS)
def test_every_value_has_a_metavar_or_choices_and_every_argument_a_help(name):
    for action in PARSERS[name]._actions:
        label = "/".join(action.option_strings) or action.dest
        assert action.help or isinstance(action, argparse._SubParsersAction), f"{name} {label} has no help"
        takes_value = action.nargs != 0
        if takes_value and not action.choices:
            assert action.metavar, f"{name} {label} has no metavar"
        if takes_value and action.metavar:
            assert not re.search("[a-z]", str(action.metavar)), f"{name} {label} has the metavar {action.metavar}"


@pytest.mark.parametrize("name", PARSERS)
def test_the_help_fits_and_says_what_it_means(name, capsys):
    text = help_of(name, capsys)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "usual names" not in " ".join(text.split())
    assert "\t" not in text and "\x1b" not in text and "%(" not in text


def test_the_list_of_commands_says_what_each_does(capsys):
    text = help_of("", capsys)
    for name in COMMANDS:
        assert re.search(rf"^    {name} +\S+ \S+", text, re.MULTILINE), name


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_has_every_command(shell, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--print-completion", shell])
    script = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(name in script for name in COMMANDS) and "smollm2-135m" in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ins"], ["inspect"]),
        (["--print-completion", "z"], ["zsh"]),
        (["train", "smollm2-135m", "mmr-p"], ["mmr-paper"]),
        (["train", "grpo", "--dr"], ["--dry-run"]),
        (["evaluate", "runs/a", "--backend", "v"], ["vllm"]),
        (["grade", "samples.js"], ["samples.jsonl"]),
        (["sweep", "div"], ["diversity"]),
    ],
)
def test_bash_completes_a_word(words, expected, capsys, tmp_path):
    (tmp_path / "samples.jsonl").touch()
    with pytest.raises(SystemExit):
        cli.main(["--print-completion", "bash"])
    script = capsys.readouterr().out
    (function,) = re.findall(r"complete -o bashdefault -F (\w+) manypaths", script)
    line = " ".join(map(shlex.quote, ["manypaths", *words]))
    script += f"\nCOMP_WORDS=({line}); COMP_CWORD={len(words)}; {function}; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.split() == expected, done.stderr


def test_completion_without_shtab_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--print-completion", "bash"])
    assert ended.value.code == 2 and "pip install shtab" in capsys.readouterr().err


def test_a_completion_script_names_all_recipes(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--print-completion", "bash"])
    script = capsys.readouterr().out
    assert all(f" {name.rpartition('/')[2]}" in script for name in recipe.shipped())
