"""Which method goes where: the table of docs/trainers.md, made of the methods' inputs and of what each trainer gives.

python bench/trainers_table.py           prints it
python bench/trainers_table.py --write   puts it into the page
"""

from __future__ import annotations

import sys
from pathlib import Path

from manypaths.methods.bind import TABLES
from manypaths.methods.inputs import inputs_of
from manypaths.trainers import ADVANTAGE, OF_TEXTS, TRAINERS

PAGE = Path(__file__).parent.parent / "docs" / "trainers.md"
BEGIN, END = "<!-- bench/trainers_table.py -->\n\n", "\n<!-- end -->"


def table() -> str:
    """Rows of methods, columns of trainers: yes, or the inputs that the trainer does not have."""
    rows = [["method", "inputs", *(f"`{name}`" if name[0].isupper() else name for name in TRAINERS)]]
    rows.append(["---"] * len(rows[0]))
    for role, methods in TABLES.items():
        for name, method in methods.items():
            inputs = inputs_of(method, role)
            shown = [f"`{own}`" for own in inputs if own not in ("rewards", *ADVANTAGE)]
            cells = [cell(given.get(role), inputs) for given in TRAINERS.values()]
            rows.append(
                [f"`{name}`" + ", an advantage" * (role == "advantage"), ", ".join(shown) or "rewards alone", *cells]
            )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cell(given: tuple[str, ...] | None, inputs: tuple[str, ...]) -> str:
    if given is None:
        return "no advantages"
    missing = [name for name in inputs if name not in (*given, *OF_TEXTS)]
    return f"no {', '.join(missing)}" if missing else "yes"


def shown(text: str) -> str:
    """The table that stands in a page."""
    return text.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(page.replace(BEGIN + shown(page) + END, BEGIN + table() + END), encoding="utf-8")
    else:
        print(table(), end="")
