"""What the model itself said: a completion, text or chat messages, as one text, as texts by turn, and its tokens."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

Completion = str | Sequence[dict[str, Any]]
ToolMask = Sequence[Sequence[int] | None] | None  # for each completion's tokens: 0 for those of a tool's answer

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


def prompt_text(prompt: Completion) -> str:
    """A prompt as one text: of chat messages their contents, a line break between two."""
    return prompt if isinstance(prompt, str) else "\n".join(str(message["content"]) for message in prompt)


def turns(completion: Completion, opened: bool = False) -> list[str]:
    """The texts of the assistant's messages, one or more.

    `opened`: <think> goes before each whose reasoning was not parsed; a chat template puts it before every message.
    """
    if isinstance(completion, str):
        return ["<think>" * opened + completion]
    own = [message for message in completion if message.get("role", "assistant") == "assistant"]
    return ["<think>" * (opened and not _has_reasoning(message)) + text_of([message]) for message in own or [{}]]


def own_tokens(
    who: str,
    completion_ids: Sequence[Sequence[int]],
    tool_mask: ToolMask = None,
    completions: Sequence[Completion] = (),
    trainer_state: object = None,
) -> list[list[int]]:
    """The tokens that the model itself wrote: `completion_ids` less those for which `tool_mask` has 0.

    TRL's GRPOTrainer puts a tool's answers into `completion_ids` and does not say where they are; `DiverseGRPOTrainer`
    passes the mask. Without it all tokens count, and a warning says so where a tool has answered. Raises ValueError for
    a mask of another length.
    """
    if tool_mask is None:
        others = any(
            message.get("role") == "tool" for one in completions if not isinstance(one, str) for message in one
        )
        if others and trainer_state is not None:  # AsyncGRPOTrainer has none, and passes the model's tokens alone
            warnings.warn(
                f"Reward {who!r} counts the tokens of tools' answers as the model's: this trainer does not tell them "
                "apart. manypaths.trl.DiverseGRPOTrainer does.",
                stacklevel=2,
            )
        return [list(ids) for ids in completion_ids]
    own = []
    for ids, mask in zip(completion_ids, tool_mask, strict=True):
        if mask is not None and len(mask) != len(ids):
            raise ValueError(f"Reward {who!r}: tool_mask must be as long as the {len(ids)} tokens, got {len(mask)}.")
        own.append([token for token, mine in zip(ids, mask or [1] * len(ids), strict=True) if mine])
    return own


def _has_reasoning(message: Mapping[str, Any]) -> bool:
    """Whether the reasoning of a message stands apart from its content, in a key or a block of its own."""
    content = message.get("content")
    blocks = [part for part in content if isinstance(part, Mapping)] if isinstance(content, (list, tuple)) else []
    return any(message.get(name) for name in REASONING) or bool(_of_types(blocks, REASONING))


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
