"""The report of made-up runs in a real browser: wide and narrow, light and dark."""

from __future__ import annotations

import json
import math
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import WIDTHS, Browser

from manypaths.comparison import report
from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations
from manypaths.comparison.page import title
from manypaths.comparison.protocol import Protocol
from manypaths.comparison.runs import Run, Score
from manypaths.counts import Counts
from manypaths.names import METRICS, PARTS
from manypaths.printable import one_line

NAMES = (
    "grpo",
    "mmr-of-all-completions-and-their-embeddings-with-lambda-0.61-and-cosine-similarity-of-the-last-layer",
    "dra: " + "unbroken" * 12,
)
SETTINGS: dict[str, Any] = {"model.name": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "trainer.max_steps": 100}
HOSTILE = (
    "</title><script>window.pwned = 1</script>",
    "\"'><img src=https://example.org/x.png onerror='window.pwned = 2'>",
    "{{tables}}\u2028\u2029 <svg onload='window.pwned = 3'>",
    "h" * 300,
)


def runs(names: tuple[str, ...], seeds: int = 3, clock: bool = True) -> list[Run]:
    """Configurations that learn, each at its own pace; the first does not reweight."""
    made = []
    for (place, name), seed in product(enumerate(names), range(1, seeds + 1)):
        own = SETTINGS | {"method.reweight": None if place == 0 else "mmr", "note": "n" * 20 + str(place)}
        steps = range(0, 101, 10)
        results = {}
        for step in steps:
            chance = 0.2 + 0.6 * (1 - math.exp(-step * (place + 1) / 60)) + 0.02 * seed
            shares = {f"{n}": ((n * 37 + step * 11 + seed * 5) % 64 < 64 * chance) * 1.0 for n in range(64)}
            results[step] = {"math500": Score.of_shares(shares), "amc23": Score.of_shares({"1": 0.5, "2": 0.5})}
        waves = {
            key: [(step, 1 + place / 4 + math.sin(step / 9 + seed + number) / 5) for step in range(1, 101)]
            for number, key in enumerate(METRICS)
        }
        times = [(step, step * (40.0 + place + seed)) for step in steps if step] if clock else []
        parts = {part: 8.0 + place + number / 7 for number, part in enumerate(PARTS)} if clock else {}
        measured = {"clock": times, "parts": parts, "curves": waves, "results": results}
        made.append(Run(f"{name}-seed{seed}", name, seed, own, machine=f"{place + 1} x H100", **measured))
    return made


def counted(names: tuple[str, ...], seeds: int = 3, steps: tuple[int, ...] = (0, 50, 100)) -> list[Run]:
    """Configurations with all measures: 8 completions of each of 40 problems."""
    made = []
    for (place, name), seed in product(enumerate(names), range(1, seeds + 1)):
        results = {}
        for step in steps:
            right = [(n * 7 + seed * 3 + place + step // 10) % (4 + step // 20) for n in range(40)]
            counts = {
                f"{n}": Counts(8, own, tuple([1] * own if place % 2 else [own] * bool(own)), float(own > 4))
                for n, own in enumerate(right)
            }
            results[step] = {"math500": Score.of_counts(counts)}
        settings = {"method.reweight": None if place == 0 else name}
        made.append(Run(f"{name}-seed{seed}", name, seed, settings, results=results))
    return made


ENDPOINTS = ("distinct@8", "accuracy")
SEVENTEEN = tuple(f"method-{number}" for number in range(17))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    given = {
        "usual": compare(runs(NAMES)),
        "hostile": compare(runs(HOSTILE)),
        "one": compare(runs(NAMES[:1], seeds=1, clock=False)),
        "never": compare(runs(tuple(f"method{n}" for n in range(10)), seeds=1), target=1.0),
        "measures": compare(counted(NAMES), metric="pass@8", margin=2),
        "seventeen": compare(counted(SEVENTEEN), margin=2),
        "one evaluation": compare(counted(NAMES[:2], steps=(100,))),
        "protocol": compare(
            counted(SEVENTEEN[:4]),
            protocol=Protocol("made up", SEVENTEEN[0], list(SEVENTEEN[1:3]), ["pass@8"], ["distinct@8"], margin=2),
        ),
        "four endpoints": compare(
            counted(SEVENTEEN[:4]),
            protocol=Protocol("x", SEVENTEEN[0], list(SEVENTEEN[1:4]), ["pass@8"], ["pass@4", "pass@2", *ENDPOINTS]),
        ),
    }
    return {name: report.write(comparison, folder / name) for name, comparison in given.items()}


# Elements that stick out of the viewport, but for the parts of a wide picture that scrolls in its frame.
OUTSIDE = """
    return [...document.body.querySelectorAll('*')].filter(element => {
        const box = element.getBoundingClientRect(), head = element.closest('thead');
        const hidden = !box.width || !box.height || head && getComputedStyle(head).position === 'absolute';
        const wide = element.closest('svg.wide');
        const scrolls = wide && getComputedStyle(wide.parentElement).overflowX === 'auto';
        return !hidden && !scrolls && (box.left < -0.5 || box.right > document.documentElement.clientWidth + 0.5);
    }).map(element => `${element.tagName} ${element.textContent.slice(0, 40)}`);
"""
# The text of figures: [what it says, its height in CSS pixels].
HEIGHTS = """
    return [...document.querySelectorAll('figure svg text')].map(text => {
        const scale = text.getScreenCTM();
        return [text.textContent, parseFloat(getComputedStyle(text).fontSize) * Math.hypot(scale.a, scale.b)];
    });
"""
# Text of figures that is cut off by its figure, or that lies on other text.
CROWDED = """
    const faults = [];
    for (const svg of document.querySelectorAll('figure svg')) {
        const whole = svg.getBoundingClientRect();
        const boxes = [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()]);
        boxes.forEach(([text, a], at) => {
            if (a.left < whole.left - 1 || a.right > whole.right + 1) faults.push(`${text} is cut off`);
            if (a.top < whole.top - 1 || a.bottom > whole.bottom + 1) faults.push(`${text} is cut off`);
            for (const [other, b] of boxes.slice(at + 1))
                if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
                    faults.push(`${text} on ${other}`);
        });
    }
    return faults;
"""
# [what, ratio of contrast] of all text against what is behind it, as in WCAG.
CONTRAST = """
    const light = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = getComputedStyle(element).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    return [...document.body.querySelectorAll('p, li, h1, h2, th, td, summary, svg text')].map(element => {
        const style = getComputedStyle(element), ink = element.closest('svg') ? style.fill : style.color;
        const pair = [light(ink), light(behind(element))].sort((a, b) => b - a);
        return [element.textContent, (pair[0] + 0.05) / (pair[1] + 0.05)];
    });
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "name", ["usual", "hostile", "one", "never", "measures", "seventeen", "one evaluation", "protocol"]
)
def test_report_fits_and_speaks(browser: Browser, reports: dict[str, Path], name: str, width: int, scheme: str) -> None:
    browser.open(reports[name], width, scheme=scheme)
    browser.run("document.querySelector('details').open = true")
    assert browser.run("return innerWidth") == width
    assert browser.run(f"return matchMedia('(prefers-color-scheme: {scheme})').matches")
    assert browser.run("const page = document.documentElement; return page.scrollWidth <= page.clientWidth")
    assert browser.run(OUTSIDE) == []
    comparison = json.loads((reports[name].parent / "comparison.json").read_text())
    drawn = browser.run(
        "return [...document.querySelectorAll('figure svg')].map(element => [element.role, element.ariaLabel])"
    )
    least = {"measures": 3, "seventeen": 3, "one evaluation": 1, "protocol": 3}.get(name, 5)
    assert len(drawn) == browser.run("return document.querySelectorAll('figure').length") >= least
    for role, label in drawn:
        assert role in ("img", "image") and all(
            f"{one_line(side['name'])}: " in label for side in configurations(comparison)
        )
    assert browser.run("return window.pwned") is None
    assert browser.run("return document.querySelector('h1').textContent") == one_line(title(comparison))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["usual", "one", "never", "measures", "seventeen"])
def test_text_in_figures_can_be_read(browser: Browser, reports: dict[str, Path], name: str, width: int) -> None:
    browser.open(reports[name], width)
    heights = browser.run(HEIGHTS)
    assert len(heights) > 20 and {"Accuracy over steps", "steps"} <= {text for text, _ in heights}
    assert [text for text in heights if text[1] < 7] == []
    assert browser.run(CROWDED) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["usual", "measures"])
def test_text_stands_out(browser: Browser, reports: dict[str, Path], name: str, scheme: str) -> None:
    browser.open(reports[name], scheme=scheme)
    contrasts = browser.run(CONTRAST)
    assert len(contrasts) > 100 and [text for text in contrasts if text[1] < 4.5] == []
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")


def test_a_cell_on_a_narrow_page_shows_the_name_of_its_column(browser: Browser, reports: dict[str, Path]) -> None:
    shown = """
        const style = (cell, part) => getComputedStyle(cell, part);
        return [...document.querySelectorAll('table')].map(table => [
            [...table.querySelectorAll('thead th')].slice(1).map(element => element.textContent),
            [...table.querySelectorAll('tbody tr')].map(row => [...row.querySelectorAll('td')].map(
                cell => [style(cell).display, style(cell, '::before').content, cell.textContent])),
            getComputedStyle(table.querySelector('thead')).position,
        ])
    """
    browser.open(reports["usual"], 390)
    tables = browser.run(shown)
    narrow = [table for table in tables if len(table[0]) > 2]
    assert len(narrow) >= 6
    for head, rows, place in narrow:
        assert place == "absolute" and rows
        for row in rows:
            assert len(row) == len(head)
            for column, (display, before, text) in zip(head, row, strict=True):
                if text:
                    assert (display, before) == ("block", f'"{column}: "')
                else:
                    assert display == "none"
    browser.open(reports["usual"], 1280)
    for _, rows, place in browser.run(shown):
        assert place == "static" and {(display, before) for row in rows for display, before, _ in row} == {
            ("table-cell", "none")
        }


BOXES = """
    return [...document.querySelectorAll('h3 + div > table')].map(table => {
        const box = table.getBoundingClientRect();
        return [table.querySelectorAll('thead th').length, box.left, box.top, box.right,
                getComputedStyle(table.querySelector('td')).display];
    });
"""


def test_tables_of_one_endpoint_stand_in_pairs_and_stay_tables_on_a_narrow_page(
    browser: Browser, reports: dict[str, Path]
) -> None:
    browser.open(reports["four endpoints"], 1280)
    boxes = [box for box in browser.run(BOXES) if box[0] == 3][:4]
    assert boxes[0][2] == boxes[1][2] and boxes[0][3] < boxes[1][1], "side by side"
    assert boxes[2][1] == boxes[0][1] and boxes[2][2] > boxes[0][2] + 50, "the next two are below"
    wide = [box for box in browser.run(BOXES) if box[0] > 3]
    assert wide and all(box[3] - box[1] > 1000 for box in wide)
    browser.open(reports["four endpoints"], 390)
    assert {box[0]: box[4] for box in browser.run(BOXES)}[3] == "table-cell"
    high = (
        "return [...document.querySelectorAll('.narrow td')].filter(e => e.offsetHeight > 60).map(e => e.textContent)"
    )
    assert browser.run(high) == []


@pytest.mark.parametrize("name", ["one evaluation", "measures"])
def test_no_picture_fills_a_wide_page(browser: Browser, reports: dict[str, Path], name: str) -> None:
    browser.open(reports[name], 1280)
    widths = browser.run("return [...document.querySelectorAll('figure')].map(e => e.getBoundingClientRect().width)")
    assert widths and max(widths) < 0.55 * 1280
    assert max(height for _, height in browser.run(HEIGHTS)) < 20


def test_many_verdicts_and_the_first_picture_are_near_the_top(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["seventeen"], 1280)
    tops = browser.run(
        "return ['table', 'figure'].map(name => document.querySelector(name).getBoundingClientRect().top)"
    )
    assert tops == sorted(tops) and tops[1] < 1500
    first = browser.run("return document.querySelector('figure svg').ariaLabel")
    assert first.startswith("pass@8 against accuracy, minus method-0, at the end. ")


def test_the_legend_has_the_colours_of_the_curves(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["usual"])
    legend = browser.run(
        "return [...document.querySelectorAll('#legend li')].map(element => "
        "[element.lastChild.textContent, getComputedStyle(element.querySelector('i')).borderTopColor])"
    )
    assert [name for name, _ in legend] == list(NAMES) and len({colour for _, colour in legend}) == 3
    for at in range(browser.run("return document.querySelectorAll('figure').length")):
        strokes = browser.run(
            "return [...document.querySelectorAll('figure')[arguments[0]].querySelectorAll('path')]"
            ".map(element => getComputedStyle(element).stroke)",
            at,
        )
        assert {colour for _, colour in legend} <= set(strokes)


def test_no_word_of_a_table_is_broken_on_a_wide_page(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["usual"])
    broken = """
        const faults = [];
        for (const cell of document.querySelectorAll('thead th, td:not([data-name=here], [data-name^="in "])')) {
            const text = cell.firstChild;
            for (const word of text ? text.data.matchAll(/[^\\s-]{1,12}/g) : []) {
                const range = document.createRange();
                range.setStart(text, word.index), range.setEnd(text, word.index + word[0].length);
                if (new Set([...range.getClientRects()].map(box => Math.round(box.top))).size > 1) faults.push(word[0]);
            }
        }
        return faults;
    """
    assert browser.run(broken) == []


def test_the_legend_of_the_pictures_is_whole(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["usual"].parent / "curves.svg")
    ends = browser.run(
        "return [...document.querySelectorAll('text')]"
        ".map(text => [text.textContent, text.getBoundingClientRect().right])"
    )
    width = browser.run("return document.documentElement.getBoundingClientRect().right")
    assert [text for text, end in ends if end > width] == []


def test_the_colours_stand_out_in_the_dark(browser: Browser, reports: dict[str, Path]) -> None:
    browser.open(reports["usual"], scheme="dark")
    pairs = browser.run(
        "return [...document.querySelectorAll('#legend i')].map(element => [getComputedStyle(element).filter, "
        "getComputedStyle(element).borderTopColor, getComputedStyle(document.body).backgroundColor])"
    )

    def light(colour: str) -> float:
        channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
        red, green, blue = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    figure = browser.run("return getComputedStyle(document.querySelector('figure svg')).filter")
    assert {own for own, _, _ in pairs} == {figure}
    assert min((light(ink) + 0.05) / (light(paper) + 0.05) for _, ink, paper in pairs) >= 3
