"""The numbers in the documents are what the code prints."""

import doctest
from pathlib import Path

from manypaths.methods import ADVANTAGES, REWEIGHTERS, SELECTIONS
from manypaths.rewards import REWARDS

METHODS = Path(__file__).parent.parent / "docs" / "methods.md"


def test_the_worked_numbers():
    results = doctest.testfile(str(METHODS), module_relative=False)
    assert results.failed == 0 and results.attempted > 30


def test_every_method_and_reward_has_its_place():
    text = METHODS.read_text("utf-8")
    rules = [f"methods.{rule.__name__}" for rule in SELECTIONS.values()]
    for name in (*REWEIGHTERS, *(f"methods.{name}" for name in ADVANTAGES), *rules, *REWARDS):
        assert f"`{name}`" in text or f"`manypaths.{name}`" in text, f"docs/methods.md does not explain {name}"
