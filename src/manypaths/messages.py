"""What the model itself said: a completion, text or chat messages, as one text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Completion = str | Sequence[dict[str, Any]]

REASONING = ("reasoning_content", "thinking", "reasoning")  # names that chat templates have for it
CALLS = ("tool_use", "tool_call")  # types of a content block that calls a tool
ARGUMENTS = ("arguments", "input", "parameters")


def text_of(completion: Completion) -> str:
    r"""The text that the model wrote: a text as it is; of messages those of the assistant, a line break between two.

    Of a message there are, in this order, those that are not empty:

    - its reasoning (`reasoning_content`, `thinking` or `reasoning`), as `<think>\n...\n</think>`, the form in which
      most models write it, and a blank line after it where content follows;
    - its content, a text;
    - its calls of tools, a line for each: `name(arguments)`, arguments as JSON, or as the text that was not parsed.

    Content may be a list of blocks: text and refusals are content, and blocks of reasoning and calls stand where the
    message's own would. Left out: what others said (the tool's answer, the user, the system), images, sounds and other
    media, and the identifiers of calls. A message without a role is the assistant's. Nothing that a model writes raises
    an error here.
    """
    if isinstance(completion, str):
        return completion
    own = (message for message in completion if message.get("role", "assistant") == "assistant")
    return _lines(_text_of_message(message) for message in own)


def _text_of_message(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, (list, tuple)) else [content]
    blocks = [part if isinstance(part, Mapping) else {"type": "text", "text": part} for part in parts]
    calls = message.get("tool_calls") or []
    calls = [*(calls if isinstance(calls, (list, tuple)) else [calls]), *_of_types(blocks, CALLS)]
    # templates that know two names for the reasoning are given it under both
    thoughts = [next(filter(None, (message.get(name) for name in REASONING)), None)]
    thoughts += [block.get(block["type"]) or block.get("text") for block in _of_types(blocks, REASONING)]

    reasoning = "".join(map(_written, thoughts))
    said = "".join(_written(block.get(block["type"])) for block in _of_types(blocks, ("text", "refusal")))
    if reasoning:
        reasoning = f"<think>\n{reasoning}\n</think>" + "\n" * bool(said)
    return _lines([reasoning, said, *map(_text_of_call, calls)])


def _of_types(blocks: Sequence[Mapping[str, Any]], types: Sequence[str]) -> list[Mapping[str, Any]]:
    return [block for block in blocks if block.get("type") in types]


def _text_of_call(call: Any) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(function, Mapping):
        return _written(function)
    arguments = next((function[name] for name in ARGUMENTS if name in function), None)
    return f"{_written(function.get('name'))}({_written(arguments)})"


def _written(value: Any) -> str:
    """A text as it is, anything else as JSON; nothing for None."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except (RecursionError, ValueError):  # nested deeper than Python can follow, or within itself
        return "..."


def _lines(texts: Any) -> str:
    return "\n".join(text for text in texts if text)
