"""The page in a real browser, wide and narrow."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import WIDTHS, Browser

from manypaths.training.inspect_page import write_page

Entry = dict[str, Any]
HOSTILE = (
    "</script><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'><!-- {{data}} &lt;b&gt; "
    "<svg onload='window.pwned = 3'> <a href='javascript:window.pwned = 4'>\u2028\u2029 \ud800"
)


def group(step: int, number: int, size: int, texts: list[str] | None = None, method: str | None = "mmr") -> Entry:
    """A group of random numbers, all different."""
    draw = random.Random(f"{step} {number} {size}")
    texts = texts or [f" {draw.randint(9, 99)} - {draw.randint(1, 8)} = \\boxed{{{at}}}" for at in range(size)]
    matrix = [[1.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            matrix[i][j] = matrix[j][i] = draw.uniform(0.5, 0.99)
    raw = [draw.uniform(0, 1) for _ in range(size)]
    adjusted = raw if method is None else [value - draw.uniform(0.2, 0.6) for value in raw]
    mean = sum(adjusted) / size
    completions = []
    for i, text in enumerate(texts):
        nearest = max((j for j in range(size) if j != i), key=lambda j: matrix[i][j])
        scores = {"rewards": {"accuracy": i % 2, "format": None}, "raw": raw[i], "adjusted": adjusted[i]}
        actual = {"nearest": nearest, "similarity": matrix[i][nearest], "advantage": adjusted[i] - mean}
        completions.append({"text": text, **scores, **actual, "diagnostics": {"pick": i}})
    about = {"step": step, "group": number, "prompt": f"Question {step}.{number}?", "answer": "4"}
    diagnostics = {"lam": 0.61}
    return {**about, "method": method, "diagnostics": diagnostics, "completions": completions, "similarity": matrix}


def page(path: Path, groups: list[Entry], diagnostics: tuple[str, ...] = ("lam",)) -> Path:
    path.mkdir(parents=True)
    steps = sorted({entry["step"] for entry in groups})
    curves = ("reward", "rewards/accuracy/mean", "diversity/similarity", *(f"diversity/{name}" for name in diagnostics))
    metrics = [{"step": step, **dict.fromkeys(curves, 0.3 + step / 1000)} for step in steps]
    for name, entries in (("groups", groups), ("metrics", metrics)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (path / "recipe.yaml").write_text(f"note: {'x' * 500}\n")
    (path / "evaluation").mkdir()
    before, after = [{"accuracy": a, "low": a - 0.05, "high": a + 0.06, "problems": 128} for a in (0.11, 0.71)]
    (path / "evaluation" / "summary.json").write_text(json.dumps({"before": before, "after": after}))
    return write_page(path)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    hostile = group(1, 0, 4, [HOSTILE, "\\frac{1}{2}" * 60, "w" * 900, ""])
    hostile |= {"prompt": HOSTILE + "p" * 600, "answer": HOSTILE, "method": HOSTILE}
    hostile["completions"][0]["rewards"] = {HOSTILE: 1.0}
    hostile |= {"diagnostics": {HOSTILE: 1e-9, "n" * 300: None}}
    hostile["completions"][0]["diagnostics"] = {HOSTILE: 2.5, "n" * 300: 123456789.0}
    toy = group(1, 0, 4, method="toy") | {"diagnostics": {"zebra": 7, "2": 0.5, "aardvark": -3e-7}}
    for place, completion in enumerate(toy["completions"]):
        completion["diagnostics"] = {"rank": place, "10": 1234567.0, "2": None}
    long = group(2, 0, 2, ["start " + "m" * 100_000 + " end", "\n" * 30 + "x"])
    unscored = group(1, 0, 4)
    for key in ("raw", "adjusted", "nearest", "similarity"):
        unscored["completions"][1][key] = None
    unscored["completions"][1]["advantage"] = 0.0
    nobody = group(1, 1, 2) | {"similarity": None}
    for completion in nobody["completions"]:
        completion |= {"raw": None, "adjusted": None, "nearest": None, "similarity": None}
    alone = group(1, 3, 2)
    alone["completions"][1] |= {"raw": None, "adjusted": None}
    equal = group(1, 2, 3)
    for completion in equal["completions"]:
        completion["raw"] = 1.0
    selected = group(1, 0, 4, method=None)
    for place, completion in enumerate(selected["completions"]):
        completion["diagnostics"] = {"selected": place % 2 == 0}
        completion["adjusted"] = completion["raw"] if place % 2 == 0 else None
    text = "so 7 - 3 = \\boxed{4} " * 14
    return {
        "toy": page(folder / "toy", [toy], (HOSTILE,)),
        "usual": page(folder / "usual", [group(step, number, 8) for step in (2, 4, 5, 9) for number in range(3)]),
        "hostile": page(folder / HOSTILE.replace("/", "")[:40], [hostile, long]),
        "plain": page(folder / "plain", [group(1, 0, 8, method=None) | {"diagnostics": {}, "similarity": None}]),
        "selected": page(folder / "selected", [selected]),
        "unscored": page(folder / "unscored", [unscored, nobody, equal, alone]),
        "two": page(folder / "two", [group(1, 0, 2)]),
        "many": page(folder / "many", [group(1, 0, 64)]),
        "long": page(
            folder / "long", [group(s, n, 8, [f"{i}: {text}" for i in range(8)]) for s in range(200) for n in range(8)]
        ),
    }


CARDS = "[...document.querySelectorAll('#group-0 .card')]"
CHOOSE = "const [name, value] = arguments, box = document.getElementById(name); box.value = value; "
CHOOSE += "box.dispatchEvent(new Event('change'))"
# The cards that are marked as chosen, and as its nearest neighbour.
LIT = f"return ['on', 'near'].map(name => {CARDS}.filter(card => card.classList.contains(name))"
LIT += ".map(card => Number(card.dataset.card)))"
# Where the two marks on the matrix have their middles, as [column, row].
BOXES = """
    const plane = document.querySelector('#group-0 canvas').getBoundingClientRect(), side = plane.width / arguments[0];
    return ['row', 'cell'].map(name => {
        const box = document.querySelector(`#group-0 .plane .${name}`).getBoundingClientRect();
        return [(box.x + box.width / 2 - plane.x) / side - 0.5, (box.y + box.height / 2 - plane.y) / side - 0.5];
    });
"""


def numbers(browser: Browser, what: str) -> list[float]:
    """One number of each card of group 0, in the order of the page: its index, mark, raw, adjusted or advantage."""
    of = {"index": "card.dataset.card", "mark": "card.querySelector('.top span:last-child').textContent"}
    term = f"[...card.querySelectorAll('dt')].find(term => term.textContent === '{what}').nextSibling.textContent"
    texts = browser.run(f"return {CARDS}.map(card => {of.get(what, term)})")
    return [float(text.replace("−", "-").strip("▲▼= ")) for text in texts]


def step_of(browser: Browser) -> tuple[int, str]:
    """The step in the page's navigation, and the first prompt."""
    shown = browser.run("return document.querySelector('#steps output').textContent")
    return int(shown.removeprefix("Step ")), browser.run("return document.querySelector('.prompt').textContent")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["usual", "hostile", "toy", "plain", "unscored", "two", "many"])
def test_page_fits_and_has_labels(browser: Browser, pages: dict[str, Path], name: str, width: int) -> None:
    for fragment in ("#step=1", "#step=2&group=0", "#step=x&group=y", ""):
        browser.open(pages[name], width, fragment)
        browser.run("for (const details of document.querySelectorAll('details')) details.open = true")
        browser.run("for (const button of document.querySelectorAll('.more')) button.click()")
        assert browser.run("return innerWidth") == width
        assert browser.run("return document.documentElement.scrollWidth") <= width
        silent = "figure => figure.getAttribute('role') !== 'img' || !figure.getAttribute('aria-label')?.trim()"
        assert browser.run(f"return [...document.querySelectorAll('svg, canvas')].filter({silent}).length") == 0
        assert browser.run("return document.querySelectorAll('svg').length") == 4
        named = "field => /[a-z0-9]/i.test((field.labels?.[0] ?? field).textContent + (field.ariaLabel ?? ''))"
        assert browser.run(f"return [...document.querySelectorAll('button, select, input')].every({named})")
        assert browser.run(f"return {CARDS}.length") >= 2


def test_page_fits_when_the_window_shrinks(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["many"], 1280)
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.call("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
    for _ in range(20):
        if browser.run("return document.documentElement.scrollWidth") <= 390:
            return
        time.sleep(0.05)
    pytest.fail("the page is wider than its window")


def test_hostile_text_is_shown_and_not_run(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"], fragment="#step=1")
    shown = HOSTILE.replace("\ud800", "\ufffd")
    for selector in (".card .text", ".prompt .text", ".gold .text", ".group header p", ".card .foot", ".card dl"):
        text = browser.run("return document.querySelector(arguments[0]).textContent.toWellFormed()", selector)
        assert shown in text, selector
    assert_no_markup(browser)


def assert_no_markup(browser: Browser) -> None:
    markup = "main script, main img, main svg, #curves img, #curves script, a[href^=java]"
    assert browser.run("return document.querySelectorAll(arguments[0]).length", markup) == 0
    time.sleep(0.2)
    assert browser.run("return window.pwned") is None


def test_diagnostics_of_shipped_methods_have_words(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["usual"])
    facts = browser.run("return document.querySelector('.group header p').textContent")
    assert facts.startswith("mmr · lam (MMR: weight on the reward) 0.61 · mean reward")
    terms = "[...card.querySelectorAll('dt')].map(term => [term.textContent, term.parentElement.title]).slice(3)"
    assert browser.run(f"return {CARDS}.map(card => {terms})")[0] == [["pick", "MMR: place in the order of picking"]]


def test_diagnostics_of_any_method_are_shown(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["toy"])
    facts = browser.run("return document.querySelector('.group header p').textContent")
    assert facts.startswith("toy · zebra 7 · 2 0.50 · aardvark −3e−7 · mean reward")
    terms = "[...card.querySelectorAll('dt')].map(term => [term.textContent, term.nextSibling.textContent])"
    last = f"return {CARDS}.map(card => {terms}.slice(3))"
    expected = [[["rank", str(place)], ["10", "1230000"], ["2", "–"]] for place in range(4)]
    assert browser.run(last) == expected
    titles = browser.run(
        "return [...document.querySelectorAll('#curves span.muted')].map(span => span.textContent.toWellFormed())"
    )
    own = HOSTILE.replace("\ud800", "\ufffd") + " (reported by the method)"
    assert titles == ["Reward, as adjusted", "Accuracy", "Similarity of siblings", own]
    assert browser.run("return document.querySelectorAll('#curves figure:last-child b')[0].textContent") == "0.30"
    assert_no_markup(browser)


def test_long_text_is_shortened_with_a_note(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["hostile"], fragment="#step=2")
    text = browser.run(f"return {CARDS}[0].querySelector('.text').textContent")
    assert text.startswith("start mmm") and text.endswith("mmm end")
    assert "96,010 characters are left out" in text and "groups.jsonl" in text
    tall = f"return {CARDS}[0].querySelector('.text').offsetHeight"
    clipped = browser.run(tall)
    browser.run(f"{CARDS}[0].querySelector('.more').click()")
    assert browser.run(tall) > 2 * clipped


@pytest.mark.parametrize("width", WIDTHS)
def test_steps_can_be_walked(browser: Browser, pages: dict[str, Path], width: int) -> None:
    browser.open(pages["usual"], width, "#step=4")
    assert step_of(browser) == (4, "Question 4.0?")
    browser.point("#next", click=True)
    assert step_of(browser) == (5, "Question 5.0?")
    browser.point("#previous", click=True)
    browser.press("left")
    assert step_of(browser) == (2, "Question 2.0?")
    browser.press("left")  # there is none before
    assert step_of(browser) == (2, "Question 2.0?")
    assert browser.run("return document.getElementById('previous').disabled")
    browser.run("document.getElementById('slider').focus()")
    browser.press("right")  # the slider's own key moves one step, not two
    assert step_of(browser) == (4, "Question 4.0?")
    browser.run("document.activeElement.blur()")
    browser.press("right")
    browser.press("right")
    browser.press("right")  # there is none behind
    assert step_of(browser) == (9, "Question 9.0?")
    assert browser.run("return location.hash") == "#step=9"
    browser.point("#curves svg", x=0.02, click=True)
    assert step_of(browser) == (2, "Question 2.0?")
    browser.point("#curves figure:last-child svg", x=0.45, click=True)  # 2 + 0.45 * 7 = 5.2
    assert step_of(browser) == (5, "Question 5.0?")
    browser.run("location.hash = '#step=9&group=2'")
    time.sleep(0.1)
    assert step_of(browser) == (9, "Question 9.0?")
    top, bar = browser.run(
        "return ['#group-2', '#steps'].map(name => document.querySelector(name).getBoundingClientRect())"
        ".map((box, at) => at ? box.bottom : box.top)"
    )
    assert bar - 2 <= top < 450 or browser.run("return scrollY + innerHeight + 2 >= document.body.scrollHeight")


def test_a_curve_shows_the_value_under_the_pointer(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["long"], fragment="#step=50")
    reading = "return document.querySelector('#curves b').textContent"
    assert browser.run(reading) == "0.35"
    browser.point("#curves svg", x=0.999)
    assert browser.run(reading) == "0.50"
    browser.point("h1")
    assert browser.run(reading) == "0.35"


def test_mark_is_the_change_against_plain_grpo(browser: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    browser.open(pages["usual"], fragment="#step=4")
    raw, adjusted, marks = (numbers(browser, what) for what in ("raw", "adjusted", "mark"))
    expected = [(a - sum(adjusted) / 8) - (r - sum(raw) / 8) for r, a in zip(raw, adjusted, strict=True)]
    assert marks == pytest.approx(expected, abs=0.02) and max(marks) > 0.05 > -0.05 > min(marks)
    signs = browser.run(f"return {CARDS}.map(card => card.querySelector('.top span:last-child').textContent[0])")
    assert signs == ["▲" if mark > 0 else "▼" if mark < 0 else "=" for mark in marks]
    why = browser.run("return document.querySelector('.why').textContent")
    assert f"Raised most: {marks.index(max(marks))} (" in why and f"Lowered most: {marks.index(min(marks))} (" in why

    shifted = group(4, 0, 8)
    for completion in shifted["completions"]:
        completion["adjusted"] -= 3
    browser.open(page(tmp_path / "shifted", [shifted]))
    assert numbers(browser, "mark") == marks
    for completion in shifted["completions"]:
        completion["adjusted"] = 0.1 * completion["raw"]  # one factor for all completions
    browser.open(page(tmp_path / "shrunk", [shifted]))
    assert max(numbers(browser, "mark")) > 0.1
    browser.point(".why [data-compare]", click=True)
    assert browser.run("return document.getElementById('compare').value") == "own"
    assert numbers(browser, "mark") == [0] * 8
    assert browser.run("return document.querySelector('.why').textContent") == "Nothing was raised or lowered."


def test_order_and_filter(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["usual"], fragment="#step=4")
    assert numbers(browser, "index") == list(range(8))
    for order, what in (("advantage", "advantage"), ("change", "mark")):
        browser.run(CHOOSE, "order", order)
        assert sorted(numbers(browser, "index")) == list(range(8)) != numbers(browser, "index")
        assert numbers(browser, what) == sorted(numbers(browser, what), reverse=True)
    browser.open(pages["unscored"])
    groups = "return [...document.querySelectorAll('.group')].map(group => group.id)"
    assert browser.run(groups) == ["group-0", "group-1", "group-2", "group-3"]
    browser.point("#spread", click=True)
    assert browser.run(groups) == ["group-0"]


def test_unscored_completions_and_plain_grpo_are_named(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["unscored"])
    assert browser.run(f"return {CARDS}.map(card => card.textContent.includes('not scored'))") == [
        False,
        True,
        False,
        False,
    ]
    assert "NaN" not in browser.run("return document.body.innerText")
    for few in ("#group-1", "#group-3"):
        assert "nothing to compare" in browser.run(f"return document.querySelector('{few} .why').textContent")
    browser.open(pages["selected"])
    left_out = browser.run(f"return {CARDS}.map(card => card.textContent.includes('not selected'))")
    assert left_out == [False, True, False, True]
    assert "the rewards of the selected completions were" in browser.run(
        "return document.querySelector('.why').textContent"
    )
    browser.open(pages["plain"])
    assert "Plain GRPO: the rewards were used" in browser.run("return document.querySelector('.why').textContent")
    assert not browser.run("return /[▲▼]/.test(document.querySelector('main').textContent)")


@pytest.mark.parametrize("name", ["usual", "two", "many"])
@pytest.mark.parametrize("order", ["sampled", "advantage"])
def test_cards_and_matrix_point_at_each_other(browser: Browser, pages: dict[str, Path], name: str, order: str) -> None:
    browser.open(pages[name], fragment="#step=4")
    browser.run(CHOOSE, "order", order)
    places = [int(index) for index in numbers(browser, "index")]
    size = len(places)
    for place in {0, 1, size - 1}:
        nearest = browser.run(
            f"{CARDS}[{place}].focus(); return +{CARDS}[{place}].querySelector('.foot button').dataset.card"
        )
        assert browser.run(LIT) == [[places[place]], [nearest]]
        (_, row), (x, y) = browser.run(BOXES, size)
        assert [row, x, y] == pytest.approx([place, places.index(nearest), place], abs=0.3)
    row, column = size - 1, 0
    browser.point("#group-0 canvas", x=(column + 0.5) / size, y=(row + 0.5) / size)
    assert browser.run(LIT) == [[places[row]], [places[column]]]
    caption = browser.run("return document.querySelector('#group-0 figcaption [role=status]').textContent")
    given = group(4 if name == "usual" else 1, 0, size)["similarity"]
    assert caption == f"{places[row]} and {places[column]}: {given[places[row]][places[column]]:.3f}"
    browser.point("h1")
    assert browser.run(LIT) == [[], []]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_run_is_quick(browser: Browser, pages: dict[str, Path], width: int) -> None:
    start = time.perf_counter()
    browser.open(pages["long"], width, "#step=100")
    assert browser.run(f"return {CARDS}.length") == 8
    assert time.perf_counter() - start < 2
    for step in (101, 102, 103):
        start = time.perf_counter()
        browser.press("right")
        assert step_of(browser) == (step, f"Question {step}.0?")
        assert time.perf_counter() - start < 1
    assert browser.run("return document.querySelectorAll('.card').length") == 64


def test_evaluation_and_recipe_are_shown(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["usual"])
    line = browser.run("return document.getElementById('evaluation').innerText")
    assert browser.run("return document.getElementById('evaluation').offsetHeight") > 0
    assert line == "Accuracy on 128 held-out problems: 11 % [6, 17] before, 71 % [66, 77] after."
    assert browser.run("return document.querySelector('#recipe pre').textContent") == f"note: {'x' * 500}\n"
    assert browser.run("return document.querySelector('h1').textContent") == "usual"
