"""The page of a log of another trainer in a real browser: what is unknown is said, and nothing is made up for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import WIDTHS, Browser

from manypaths.training.inspect_page import write_page

HOSTILE = "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>\x1b[31m"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_log_without_steps_and_similarity_is_shown(browser: Browser, tmp_path: Path, width: int) -> None:
    rows = [
        {"prompt": f"{number} {HOSTILE}", "completion": f"{at} {HOSTILE}", "reward": at % 2, "truncated": at == 2}
        for number in range(25)
        for at in range(3)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    browser.open(write_page(path), width)
    text = "return document.querySelector(arguments[0]).innerText"
    assert browser.run(text, "#size") == "JSON lines: 2 parts, 25 groups, 75 completions"
    assert browser.run(text, "#steps output") == "Part 2"
    assert browser.run("return document.querySelectorAll('.group').length") == 5
    notes = browser.run(text, "#notes")
    for words in ("no adjusted rewards", "similarity of the completions is unknown", "parts of 20"):
        assert words in notes
    assert browser.run("return document.querySelectorAll('canvas, .why, .bar, .foot button').length") == 0
    assert browser.run("return document.getElementById('compare').offsetParent") is None
    header, card = browser.run(text, ".group header"), browser.run(text, "#group-20 .card:nth-child(3)")
    assert "similarity unknown" in header and "plain GRPO" not in header
    assert "cut off" in card and "total reward" in card and "onerror" in card and "raised" not in card
    browser.run("document.getElementById('previous').click()")
    assert browser.run(text, "#steps output") == "Part 1"
    assert browser.run("return window.pwned") is None and browser.log("browser") == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
