"""The page of `manypaths explain` in a real browser: wide and narrow, with hostile texts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from conftest import WIDTHS, Browser

from manypaths.explain.choices import Choice, read_choice
from manypaths.explain.effect import Effect, Neighbour, OfGroup
from manypaths.explain.page import write_page
from manypaths.explain.report import Report
from manypaths.logs import Log, LoggedGroup

TEXTS = [
    "</title><script>window.pwned = 1</script>",
    "<img src=https://example.org/x.png onerror='window.pwned = 2'>",
    "unbroken" * 200,
    "3 + 4 = 7",
]
LABELS = ("GRPO", "mmr", "mmr-paper method.options.lam=0.9", "method-" + "x" * 60)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 12 groups of 4 completions and 3 methods."""
    folder, spec = tmp_path_factory.mktemp("explain"), read_choice("none").spec
    group = LoggedGroup(1, TEXTS[2], TEXTS, {"r": [1.0, 1.0, 0.0, 0.0]}, [1.0, 1.0, 0.0, 0.0])
    near = [Neighbour((index + 1) % 4, 0.9) for index in range(4)]
    effects = []
    for place, label in enumerate(LABELS):
        advantages = [0.5, 0.5 + place, -0.5, -0.5 - place]
        of_group = OfGroup([1.0, 1.0 - place / 4, 0.0, 0.0], advantages, place / 4, near, None)
        effects.append(Effect(Choice(label, spec), [of_group] * 12))
    log = Log(folder / "a-long-name-of-a-log-without-a-break.jsonl", "JSON lines", [group] * 12)
    write_page(Report(log, effects, "group", [TEXTS[0], TEXTS[2]]), folder / "explain.html", 100)
    return folder / "explain.html"


@pytest.mark.parametrize(("width", "scheme"), itertools.product(WIDTHS, ("light", "dark")))
def test_the_page_fits_and_shows_every_group(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme=scheme)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelectorAll('.completions tbody tr').length") == 12 * 4
    assert browser.run("return window.pwned") is None and browser.run("return document.scripts.length") == 0
    heads = browser.run(
        "return [...document.querySelectorAll('#summary thead th')].map(e => getComputedStyle(e).overflowWrap)"
    )
    assert set(heads) == {"normal"}  # a word of a head is whole, and the table may scroll sideways
    texts = browser.run("return [...document.querySelectorAll('#g0 .completions .text')].map(e => e.textContent)")
    assert texts == TEXTS
    cells = "[...document.querySelectorAll('#g0 .completions td')].map(e => e.getBoundingClientRect())"
    assert browser.run(f"return Math.max(...{cells}.map(box => box.right))") <= width


def test_a_link_leads_to_its_completion(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="#g11-2")
    assert browser.run("return document.querySelector(':target').id") == "g11-2"
    assert browser.run("return document.querySelector(':target').getBoundingClientRect().top") < 900
    links = browser.run("return [...document.querySelectorAll('a')].map(a => a.hash.slice(1))")
    assert links and all(browser.run("return !!document.getElementById(arguments[0])", name) for name in set(links))
