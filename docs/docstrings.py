"""Docstrings as the reference shows them: `Example:` is a section of sessions, and indented lines are a list."""

import re
from textwrap import dedent

from griffe import Extension

SECTIONS = "Args|Attributes|Example|Examples|Raises|Returns|Yields|Warns|Note|Warning"


class Sections(Extension):
    """Changes the text of each docstring before it is parsed as Google's style."""

    def on_object(self, *, obj, **_):
        if obj.docstring:
            obj.docstring.value = shown(obj.docstring.value)


def shown(text):
    """The text with a section `Examples:`, and with lists in place of indented lines outside the known sections."""
    text = re.sub(r"^Example:$", "Examples:", text, flags=re.M)
    paragraphs = text.split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        head, *lines = paragraph.split("\n")
        indented = [at for at, line in enumerate(lines) if line.startswith("    ")]
        if re.match(f"(?:{SECTIONS}):", head) or head.startswith(" ") or not indented:
            continue
        if indented != list(range(indented[0], len(lines))):
            continue
        items = dedent("\n".join(lines[indented[0] :]))
        if items.startswith(">>> "):
            items = f"```pycon\n{items}\n```"
        else:  # a line that is indented further continues its item
            items = re.sub(r"^(?= )", "  ", re.sub(r"^(?=\S)", "- ", items, flags=re.M), flags=re.M)
        paragraphs[number] = "\n".join([head, *lines[: indented[0]], "", items])
    return "\n\n".join(paragraphs)
