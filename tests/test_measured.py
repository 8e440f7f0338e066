"""What the study measured is said of its methods, with the numbers of docs/evidence.md, and of no others."""

import re
from pathlib import Path

import pytest

from manypaths import recipe
from manypaths.preflight.measured import measured

EVIDENCE = Path(__file__).parent.parent / "docs" / "evidence.md"


@pytest.mark.parametrize(("method", "row"), [("mmr-paper", "MMR as published"), ("maxrl", "MaxRL")])
def test_a_method_that_traded_accuracy_for_pass_at_8_is_named_with_the_numbers_of_the_page(method, row):
    page = EVIDENCE.read_text("utf-8")
    (line,) = re.findall(rf"^\| {row} \| `[\w-]+` \| \de-\d \|.*$", page, re.MULTILINE)  # of the first task
    pass_at_8, accuracy = re.findall(r" ([+-][\d.]+) \[", line)[:2]
    [sentence] = measured(recipe.read(["smollm2-135m", "grpo", method, "gsm8k"]))
    assert f"ended {accuracy.removeprefix('-')} points of accuracy below GRPO" in sentence
    assert f"and {pass_at_8.removeprefix('+')} points of pass@8 above it" in sentence


@pytest.mark.parametrize("method", ["none", "mmr", "dra", "dra-paper", "select-mmr", "replay"])
def test_nothing_is_said_of_other_methods(method):
    assert measured(recipe.read(["smollm2-135m", "grpo", method, "gsm8k"])) == []
