"""What `manypaths check` says, on the page in a real browser: findings are open, and lead to their groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import WIDTHS, Browser

from manypaths.training.inspect_page import write_page

HOSTILE = "</script><img src=x onerror='window.pwned = 1'>" + "w" * 300


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose rewards are all 0 in the last half, of a group and completions that try to break the page."""
    run = tmp_path_factory.mktemp("run")
    lines = []
    for step in range(1, 31):
        rewards = [0.0 if step > 15 else float(place) for place in range(4)]
        completions = [{"text": HOSTILE, "rewards": {HOSTILE: value}, "raw": value} for value in rewards]
        lines.append({"step": step, "group": 0, "prompt": f"{HOSTILE} {step}", "completions": completions})
    (run / "groups.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": step, "reward": 0.5}) + "\n" for step in range(1, 31))
    )
    return write_page(run)


@pytest.mark.parametrize("width", WIDTHS)
def test_findings_are_open_and_fit(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.run("return document.getElementById('checks').open")
    summary = browser.run("return document.querySelector('#checks > summary').textContent")
    assert "zero-variance groups" in summary and "8 checks" in summary
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.run("return window.pwned") is None
    titles = browser.run("return [...document.querySelectorAll('#checks li b')].map(node => node.textContent)")
    assert len(titles) == 8


def test_a_finding_leads_to_its_group(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="#step=3")
    assert browser.run("return document.querySelector('#steps output').textContent") == "Step 3"
    browser.point("#checks .where a", click=True)
    link = browser.run("return document.querySelector('#checks .where a').textContent")
    assert link == "step 30 group 0"
    shown = browser.run(  # the event of a changed address comes after the click
        """
        const step = () => document.querySelector('#steps output').textContent;
        return new Promise(done => {
          const arrived = () => step() === 'Step 30';
          const look = tries => arrived() || !tries ? done([location.hash, step()]) : setTimeout(look, 20, tries - 1);
          look(250);
        });
        """
    )
    assert shown == ["#step=30&group=0", "Step 30"]


def test_a_log_that_is_too_small_for_every_check_is_not_said_to_be_sound(browser: Browser, tmp_path: Path) -> None:
    completions = [{"text": "a", "rewards": {"r": value}, "raw": value} for value in (0.0, 1.0)]
    line = {"step": 1, "group": 0, "prompt": "p", "completions": completions}
    (tmp_path / "groups.jsonl").write_text(json.dumps(line) + "\n")
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "reward": 0.5}) + "\n")
    browser.open(write_page(tmp_path))
    summary = browser.run("return document.querySelector('#checks > summary').textContent")
    assert summary == "Nothing could be checked · 8 checks"
