"""The model's own part of a completion, text or chat messages: one text, texts by message, or tokens."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

Completion = str | Sequence[dict[str, Any]]
ToolMask = Sequence[Sequence[int] | None] | None  # per completion and token: 0 for a token of a tool's answer

REASONING = ("reasoning_content", "thinking", "reasoning")  # keys of a message's reasoning in chat templates
CALLS = ("tool_use", "tool_call")  # types of content blocks that call a tool
ARGUMENTS = ("arguments", "input", "parameters")  # keys of a call's arguments


def text_of(completion: Completion) -> str:
    r"""The text that the model wrote.

    Of a message, the text has in this order, as far as they are not empty:

    - its reasoning (`reasoning_content`, `thinking` or `reasoning`) as `<think>\n...\n</think>`, the form of most
      models, with a blank line before content;
    - its content;
    - its tool calls, one per line: `name(arguments)`, with the arguments as JSON, or as their text where it was not
      parsed.

    Content may be a list of blocks. Blocks of text and refusals are content; blocks of reasoning and of calls take the
    place of the message's own. Omitted are messages of other roles (tool, user, system), images, sounds and other
    media, and the identifiers of calls. No completion raises an error.

    Args:
        completion: a text, or a list of messages. A message without a role is the assistant's.

    Returns:
        The text itself, or the assistant's messages joined by line breaks.
    """
    if isinstance(completion, str):
        return completion
    own = (message for message in completion if message.get("role", "assistant") == "assistant")
    return _lines(_text_of_message(message) for message in own)


def prompt_text(prompt: Completion) -> str:
    """A prompt as one text: of chat messages the texts of all roles, by `text_of`, with a line break between two."""
    return prompt if isinstance(prompt, str) else "\n".join(map(_text_of_message, prompt))


def turns(completion: Completion, opened: bool = False) -> list[str]:
    """The texts of the assistant's messages, one or more.

    Args:
        completion: as in `text_of`.
        opened: whether the chat template begins each message with <think>. The tag then goes before each message whose
            reasoning was not parsed.
    """
    if isinstance(completion, str):
        return ["<think>" * opened + completion]
    own = [message for message in completion if message.get("role", "assistant") == "assistant"]
    return ["<think>" * (opened and not _has_reasoning(message)) + text_of([message]) for message in own or [{}]]


def own_tokens(
    reward: str,
    completion_ids: Sequence[Sequence[int]],
    tool_mask: ToolMask = None,
    completions: Sequence[Completion] = (),
    trainer_state: object = None,
) -> list[list[int]]:
    """The tokens that the model wrote: `completion_ids` without the tokens of tools' answers.

    TRL's GRPOTrainer has tools' answers in `completion_ids` and passes no mask; `DiverseGRPOTrainer` passes it. Without
    a mask all tokens count, with a warning where a tool has answered.

    Args:
        reward: the name of the reward, for messages.
        completion_ids: N lists of tokens.
        tool_mask: N lists, 0 for each token of a tool's answer; None where no token is.
        completions: N completions, for the warning.
        trainer_state: the trainer's, for the warning. AsyncGRPOTrainer has none, and passes the model's tokens alone.

    Returns:
        N lists of tokens.

    Raises:
        ValueError: a mask and its tokens differ in length.
    """
    if tool_mask is None:
        chats = [completion for completion in completions if not isinstance(completion, str)]
        if trainer_state is not None and any(message.get("role") == "tool" for chat in chats for message in chat):
            warnings.warn(
                f"Reward {reward!r} counts the tokens of tools' answers as the model's, for this trainer passes no "
                "tool_mask. manypaths.trl.DiverseGRPOTrainer does.",
                stacklevel=2,
            )
        return [list(ids) for ids in completion_ids]
    own = []
    for ids, mask in zip(completion_ids, tool_mask, strict=True):
        if mask is not None and len(mask) != len(ids):
            raise ValueError(
                f"Reward {reward!r}: tool_mask must have one entry per token, {len(ids)}, got {len(mask)}."
            )
        own.append([token for token, is_own in zip(ids, mask or [1] * len(ids), strict=True) if is_own])
    return own


def _has_reasoning(message: Mapping[str, Any]) -> bool:
    """Whether a message has its reasoning in a key or a block of its own."""
    content = message.get("content")
    blocks = [part for part in content if isinstance(part, Mapping)] if isinstance(content, (list, tuple)) else []
    return any(message.get(name) for name in REASONING) or bool(_of_types(blocks, REASONING))


def _text_of_message(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, (list, tuple)) else [content]
    blocks = [part if isinstance(part, Mapping) else {"type": "text", "text": part} for part in parts]
    calls = message.get("tool_calls") or []
    calls = [*(calls if isinstance(calls, (list, tuple)) else [calls]), *_of_types(blocks, CALLS)]
    # one name only: for templates with two names, a message has the same reasoning under both
    thoughts = [next(filter(None, (message.get(name) for name in REASONING)), None)]
    thoughts += [block.get(block["type"]) or block.get("text") for block in _of_types(blocks, REASONING)]

    reasoning = "".join(map(_written, thoughts))
    text = "".join(_written(block.get(block["type"])) for block in _of_types(blocks, ("text", "refusal")))
    if reasoning:
        reasoning = f"<think>\n{reasoning}\n</think>" + "\n" * bool(text)
    return _lines([reasoning, text, *map(_text_of_call, calls)])


def _of_types(blocks: Sequence[Mapping[str, Any]], types: Sequence[str]) -> list[Mapping[str, Any]]:
    return [block for block in blocks if block.get("type") in types]


def _text_of_call(call: Any) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else call
    if not isinstance(function, Mapping):
        return _written(function)
    arguments = next((function[name] for name in ARGUMENTS if name in function), None)
    return f"{_written(function.get('name'))}({_written(arguments)})"


def _written(value: Any) -> str:
    """A text unchanged, "" for None, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except (RecursionError, ValueError):  # too deeply nested, or circular
        return "..."


def _lines(texts: Any) -> str:
    return "\n".join(text for text in texts if text)
