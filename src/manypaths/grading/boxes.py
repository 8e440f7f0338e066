r"""The final answer in a text: the content of its last `\boxed{...}`, or what stands behind GSM8K's `####`."""

from __future__ import annotations

import re

__all__ = ["extract", "final_answer"]

_TOKEN = re.compile(
    r"\\(?:boxed|fbox|framebox)(?:\s*(?P<box>\{)|\s+(?P<bare>[-+.]?\d[^\s\\{}$]*)|(?P<cut>\s*\Z))"
    r"|\\(?!\\(?:boxed|fbox|framebox)).|(?P<open>\{)|(?P<close>\})",
    re.DOTALL,
)


def extract(text: str) -> str | None:
    r"""The content of the last box, `\boxed{...}`, `\fbox{...}` or `\boxed 7`, in linear time.

    Args:
        text: A completion, or any other text.

    Returns:
        The content as it is written, of the inner box if boxes are nested; None if there is no box, or if the last box
        never closes.
    """
    last_start, content = -1, slice(0)
    newest_box = -1  # where the content of the box that was opened last starts
    open_braces: list[int] = []  # for a box where its content starts, for any other brace -1
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind in ("box", "open"):
            open_braces.append(token.end() if kind == "box" else -1)
            newest_box = token.end() if kind == "box" else newest_box
        elif kind == "bare":
            last_start, content = token.start("bare"), slice(*token.span("bare"))
        elif kind == "cut":
            newest_box = token.end()
        elif kind == "close" and open_braces and (start := open_braces.pop()) > last_start:
            last_start, content = start, slice(start, token.start())
    return text[content] if last_start >= max(0, newest_box) else None


def final_answer(solution: str) -> str:
    """The final answer in a gold text: behind its last `####`, else in its last box, else the whole text.

    A `####` that several lines follow is a heading of Markdown and does not mark an answer.

    Args:
        solution: A bare answer, an answer in a box, or a worked solution.

    Returns:
        The answer without surrounding white space.
    """
    behind_mark = solution.rpartition("####")[2].strip()
    boxed = extract(behind_mark)
    if boxed is None and (len(behind_mark.splitlines()) != 1 or behind_mark == solution.strip()):
        behind_mark, boxed = solution, extract(solution)
    return (behind_mark if boxed is None else boxed).strip()
