"""One self-contained HTML page of what methods would have done, in the look of a run's page. It has no script.

Completions may contain anything: every text is escaped, and characters that are not printable are shown as such.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from manypaths.explain.report import COLUMNS, Report, rows
from manypaths.explain.summary import Change, changes_of, extreme, is_flat
from manypaths.explain.words import because, change, names_of, signed
from manypaths.files import atomic_write
from manypaths.printable import counted

LONGEST = 4000  # characters of one text; the middle of a longer one is left out
FOLDED = 400  # characters of a text from which on it is folded
WORDS = {"up": ("▲", "raised"), "down": ("▼", "lowered")}


def write_page(report: Report, out: Path, most: int) -> None:
    """Write the page.

    Args:
        report: what is shown.
        out: the HTML file.
        most: so many groups are shown, evenly spaced over the log, beside those with the largest changes.
    """
    own = files("manypaths.explain")
    look = files("manypaths.training").joinpath("inspect_page.css").read_text("utf-8")
    names, shown = names_of(report.log), _shown(report, most)
    parts = {
        "style": look + own.joinpath("explain_page.css").read_text("utf-8").rstrip(),
        "title": _text(report.log.path.resolve().name),
        "size": _text(_size(report, len(shown))),
        "table": _table(rows(report.summaries())),
        "columns": "".join(f"<p><b>{name}</b>: {_text(meaning)}.</p>" for name, meaning in COLUMNS.items()),
        "extremes": "".join(_extremes(report, names)),
        "notes": "".join(f"<li>{_text(note)}</li>" for note in report.notes),
        "contents": "".join(f'<a href="#g{place}">{names[place]}</a> ' for place in shown),
        "groups": "\n".join(_group(report, place, names[place]) for place in shown),
    }
    template = own.joinpath("explain_page.html").read_text("utf-8")
    atomic_write(out, re.sub(r"\{\{(\w+)\}\}", lambda name: parts[name[1]], template))


def _shown(report: Report, most: int) -> list[int]:
    """The places of the groups on the page, in the order of the log."""
    count = len(report.log.groups)
    summaries = report.summaries()
    extremes = {moved.group for own in summaries for moved in (own.raised, own.lowered) if moved is not None}
    return sorted(extremes | {place * count // most for place in range(most)} if count > most else set(range(count)))


def _size(report: Report, shown: int) -> str:
    groups = report.log.groups
    completions = sum(len(group.completions) for group in groups)
    part = f"; {shown:,} groups are shown here" if shown < len(groups) else ""
    return f"{report.log.kind} · {counted(len(groups), 'group')}, {counted(completions, 'completion')}{part}"


def _table(table: Sequence[Sequence[str]]) -> str:
    head, *body = table
    cells = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    lines = "".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in body
    )
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"


def _extremes(report: Report, names: Sequence[str]) -> Iterator[str]:
    """A paragraph for each method on its largest changes, with links to them."""
    for summary in report.summaries()[1:]:
        sentences = [
            f'<b class="{way}">{WORDS[way][1].capitalize()} most:</b> <a href="#g{moved.group}-{moved.completion}">'
            f"{names[moved.group]}, completion {moved.completion}</a>, from {_text(change(moved))}."
            for way, moved in (("up", summary.raised), ("down", summary.lowered))
            if moved is not None
        ]
        yield f"<p><b>{_text(summary.label)}</b> · {' '.join(sentences) or 'changes no advantage.'}</p>"


def _group(report: Report, place: int, name: str) -> str:
    """The section of a group: its prompt, what each method changes in it, and a row for each completion."""
    group, plain = report.log.groups[place], report.effects[0].groups[place]
    by_method = {effect.choice.label: effect.groups[place] for effect in report.effects[1:]}
    flat = " · flat: all its rewards are equal" * is_flat(plain)
    changes = {label: {c.completion: c for c in changes_of(place, plain, own)} for label, own in by_method.items()}
    heads = ["", "reward", report.effects[0].choice.label, *by_method, "nearest", "completion"]
    body = "".join(_row(report, place, index, changes) for index in range(len(group.completions)))
    return (
        f'<section class="group" id="g{place}"><header><h2><a href="#g{place}">{name.capitalize()}</a></h2>'
        f'<p class="muted">{len(group.completions)} completions{flat}</p></header>'
        f'<div class="prompt">{_folded(group.prompt)}</div>'
        f"{''.join(_why(label, list(moved.values()), place) for label, moved in changes.items())}"
        f'<table class="completions"><thead><tr>{"".join(f"<th>{_text(head)}</th>" for head in heads)}</tr></thead>'
        f"<tbody>{body}</tbody></table></section>"
    )


def _why(label: str, changes: Sequence[Change], place: int) -> str:
    parts = [
        f'<span class="{way}">{WORDS[way][0]} {WORDS[way][1]} most</span> <a href="#g{place}-{moved.completion}">'
        f"{moved.completion}</a>, {_text(change(moved))}"
        for way, sign in (("up", 1), ("down", -1))
        if (moved := extreme(changes, sign)) is not None
    ]
    return f'<p class="reason"><b>{_text(label)}</b> · {". ".join(parts) or "changes nothing here"}.</p>'


def _row(report: Report, place: int, index: int, changes: Mapping[str, Mapping[int, Change]]) -> str:
    group, plain = report.log.groups[place], report.effects[0].groups[place]
    is_right = group.correct[index] if group.correct else None
    verdict, word = ("", "") if is_right is None else ("✓", "correct") if is_right else ("✗", "wrong")
    near, total = plain.neighbours[index], group.total[index]
    cells = [
        ("reward", "not scored" if total is None else f"{total:.4g}"),
        (report.effects[0].choice.label, "" if total is None else signed(plain.advantages[index])),
        *((label, _changed(moved.get(index))) for label, moved in changes.items()),
        ("nearest", "" if near is None else f'<a href="#g{place}-{near.index}">{near.index}</a> {near.similarity:.2f}'),
    ]
    numbers = "".join(f'<td class="number" data-name="{_text(name)}">{cell}</td>' for name, cell in cells)
    return (
        f'<tr id="g{place}-{index}"><th scope="row" class="number">{index} <span class="muted" title="{word}">{verdict}'
        f"</span></th>{numbers}<td>{_folded(group.completions[index])}</td></tr>"
    )


def _changed(moved: Change | None) -> str:
    """The advantage that a method gives, marked where it is another than GRPO's."""
    if moved is None or not moved.is_change:
        return "" if moved is None else f'<span class="muted">{signed(moved.after)}</span>'
    way = "up" if moved.size > 0 else "down"
    mark, word = WORDS[way]
    title = f"{word} by {abs(moved.size):.2f}{because(moved)}"
    return f'<span class="{way}" title="{_text(title)}">{mark} {signed(moved.after)}</span>'


def _folded(text: str) -> str:
    """A text of any length; a long one opens on request."""
    if not text.strip():
        return f'<span class="muted">{"(white space only)" if text else "(empty)"}</span>'
    half = LONGEST // 2
    left_out = f'<span class="gap">{len(text) - LONGEST:,} characters are left out here; the log has them.</span>'
    whole = _text(text) if len(text) <= LONGEST else _text(text[:half]) + left_out + _text(text[-half:])
    if len(text) < FOLDED:
        return f'<div class="text" dir="auto">{whole}</div>'
    start = _text(" ".join(text[:FOLDED].split()))
    return f'<details><summary dir="auto">{start} …</summary><div class="text" dir="auto">{whole}</div></details>'


def _text(text: str) -> str:
    """A text for HTML: markup escaped, and every character that is not printable, but line ends, made visible."""
    return html.escape("".join(_visible(character) for character in text))


def _visible(character: str) -> str:
    if character in "\n\t" or character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return chr(0x2400 + ord(character)) if character < " " else repr(character)[1:-1]
