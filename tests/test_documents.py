"""The numbers in the documents are what the code prints."""

import ast
import doctest
import re
from pathlib import Path

import pytest

from manypaths.methods import ADVANTAGES, REWEIGHTERS, SELECTIONS
from manypaths.rewards import REWARDS

ROOT = Path(__file__).parent.parent
METHODS = ROOT / "docs" / "methods.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_worked_numbers():
    results = doctest.testfile(str(METHODS), module_relative=False)
    assert results.failed == 0 and results.attempted > 30


def test_every_method_and_reward_has_its_place():
    text = METHODS.read_text("utf-8")
    rules = [f"methods.{rule.__name__}" for rule in SELECTIONS.values()]
    for name in (*REWEIGHTERS, *(f"methods.{name}" for name in ADVANTAGES), *rules, *REWARDS):
        assert f"`{name}`" in text or f"`manypaths.{name}`" in text, f"docs/methods.md does not explain {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_text_in_a_block_has_a_backslash_that_python_reads_as_a_control_character(page):
    """Such as "\\boxed" with one backslash, which begins with a backspace."""
    for block in re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        if block.lstrip().startswith(">>>"):
            block = "".join(example.source for example in doctest.DocTestParser().get_examples(block))
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not set(node.value) & set("\a\b\f\v\r"), block
