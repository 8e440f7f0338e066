"""The files that sum up an evaluation: summary.json, shares.json and table.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manypaths.evaluation.measure import measure, overall
from manypaths.files import as_json, atomic_write, read_jsonl
from manypaths.problems import BENCHMARKS
from manypaths.results import share_correct
from manypaths.tables import markdown


def table(found: dict[str, dict[str, Any]]) -> str:
    """The results of benchmarks as Markdown: the papers' row of mean@n, then what else was measured of each."""
    shown = [name for name in BENCHMARKS if name in found] + [
        name for name in found if name not in {*BENCHMARKS, "all"}
    ]
    title = {name: BENCHMARKS[name].title if name in BENCHMARKS else name for name in shown}
    columns = [*shown, *(["all"] if len(shown) > 1 else [])]
    head = [
        ["", *(title.get(name, "mean") for name in columns)],
        ["mean@n", *(f"{found[name]['accuracy']:.1%}" for name in columns)],
        ["95 %", *(f"{found[name]['low']:.1%} to {found[name]['high']:.1%}" for name in columns)],
    ]
    rest = [["", "problems", "n", "pass@n", "maj@n", "distinct", "similarity", "boxed", "truncated", "tokens"]]
    for name in shown:
        one, n = found[name], str(found[name]["samples"])
        shares = [f"{one[key]:.1%}" if one[key] is not None else "" for key in ("boxed", "truncated")]
        likeness = "" if one["similarity"] is None else f"{one['similarity']:.2f}"
        tokens = "" if one["tokens"] is None else f"{one['tokens']:,.0f}"
        answers = [f"{one['pass_at'][n]:.1%}", f"{one['majority']:.1%}", f"{one['distinct']:.1f}"]
        rest.append([title[name], str(one["problems"]), n, *answers, likeness, *shares, tokens])
    return f"{markdown(head)}\n\n{markdown(rest)}"


def summarise(folder: Path) -> dict[str, dict[str, Any]]:
    """What all finished sets of a folder say, each and `all`: in summary.json, table.md and shares.json."""
    lines = {path.stem: read_jsonl(path) for path in sorted(folder.glob("*.jsonl"))}
    found: dict[str, dict[str, Any]] = {name: measure(each) for name, each in lines.items()}
    shares = {name: {line["id"]: share_correct(line) for line in each} for name, each in lines.items()}
    found["all"] = overall([list(each.values()) for each in shares.values()])
    atomic_write(folder / "summary.json", as_json(found, indent=2))
    atomic_write(folder / "shares.json", as_json(shares))
    atomic_write(folder / "table.md", table(found) + "\n")
    return found
