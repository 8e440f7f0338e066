"""The final answer in a text: the content of its last box."""

from __future__ import annotations

import re

__all__ = ["extract", "final_answer"]

_TOKEN = re.compile(
    r"\\(?:boxed|fbox|framebox)(?:\s*(?P<box>\{)|\s+(?P<bare>[-+.]?\d[^\s\\{}$]*)|(?P<cut>\s*\Z))"
    r"|\\(?!\\(?:boxed|fbox|framebox)).|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)


def extract(text: str) -> str | None:
    r"""The content of the last `\boxed{...}`, `\fbox{...}` or `\boxed 7`, the inner one of nested boxes; None if there
    is no box, or the last one never closes."""
    last, span = -1, slice(0)
    begun = -1  # the box that began last
    opened: list[int] = []  # where the content of each open box starts, -1 for any other open brace
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind in ("box", "open"):
            opened.append(token.end() if kind == "box" else -1)
            begun = token.end() if kind == "box" else begun
        elif kind == "bare":
            last, span = token.start("bare"), slice(*token.span("bare"))
        elif kind == "cut":
            begun = token.end()
        elif kind == "close" and opened and (start := opened.pop()) > last:
            last, span = start, slice(start, token.start())
    return text[span] if last >= max(0, begun) else None


def final_answer(solution: str) -> str:
    """The answer in a gold text: behind its last `####`, else in its last box, else all of it.

    A `####` with several lines behind it is a heading, and no mark.
    """
    behind = solution.rpartition("####")[2].strip()
    boxed = extract(behind)
    if boxed is None and (len(behind.splitlines()) != 1 or behind == solution.strip()):
        behind, boxed = solution, extract(solution)
    return (behind if boxed is None else boxed).strip()
