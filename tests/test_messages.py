"""The text that a model wrote, from texts, messages and the results of TRL's parser."""

import json

import pytest
from transformers import AutoTokenizer
from trl.chat_template_utils import add_response_schema, parse_response, qwen3_chat_template

from manypaths.embed import NgramEmbedder
from manypaths.messages import prompt_text, text_of
from manypaths.rewards import think


def message(content, role="assistant", **more):
    return {"role": role, "content": content, **more}


def call(name, arguments):
    return {"type": "function", "id": "call_0", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (message("15", reasoning_content="3 * 5"), "<think>\n3 * 5\n</think>\n\n15"),
        (message("15", thinking="3 * 5"), "<think>\n3 * 5\n</think>\n\n15"),
        (message("15", reasoning="3 * 5", reasoning_content="3 * 5"), "<think>\n3 * 5\n</think>\n\n15"),
        (message("15", reasoning_content=None), "15"),
        (message("", reasoning_content="3 * 5"), "<think>\n3 * 5\n</think>"),
        (message("", tool_calls=[call("multiply", {"a": 3, "b": "é"})]), 'multiply({"a": 3, "b": "é"})'),
        (message("", tool_calls=[call("multiply", '{"a": 3}'), call("now", {})]), 'multiply({"a": 3})\nnow({})'),
        (message("so", tool_calls=[{"name": "add", "arguments": [1, 2]}]), "so\nadd([1, 2])"),
        (
            message([{"type": "thinking", "thinking": "3 * 5"}, {"type": "text", "text": "15"}]),
            "<think>\n3 * 5\n</think>\n\n15",
        ),
        (message([{"type": "tool_use", "id": "1", "name": "add", "input": {"a": 1}}]), 'add({"a": 1})'),
        (message([{"type": "image", "image": object()}, {"type": "refusal", "refusal": "no"}]), "no"),
        (message("a secret", "tool"), ""),
        (message("a secret", "user", reasoning_content="a secret"), ""),
    ],
)
def test_what_counts_as_said(message, text):
    assert text_of([message]) == text


def test_the_turns_of_a_model_stand_in_their_order_and_what_a_tool_said_is_not_among_them():
    turns = [message("", reasoning_content="product", tool_calls=[call("multiply", {"a": 3})]), message("15", "tool")]
    assert text_of([*turns, message("It is 15.")]) == '<think>\nproduct\n</think>\nmultiply({"a": 3})\nIt is 15.'


def nested(depth):
    inner = []
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    "message",
    [
        message("", tool_calls=[call("f", nested(100_000))]),
        message("", tool_calls=[call("f", {"x": float("inf"), "y": object(), 3: {1}})]),
        message("", tool_calls={"name": "f"}),
        message("", tool_calls=["f", None, 3, {}, {"function": None}, call(None, None)]),
        message({"an": "object"}),
        message(3),
        message(["a", None, 3, {}, {"type": "text", "text": 7}, {"type": "thinking"}]),
        message("\ud800", reasoning_content=["a", {"b": 1}]),
    ],
    ids=range(8),
)
def test_nothing_that_a_model_writes_raises_an_error(message):
    assert isinstance(text_of([message]), str)


@pytest.fixture
def qwen(tiny_model):
    """The tiny model's tokenizer with Qwen3's template and TRL's parser for it."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = qwen3_chat_template
    return add_response_schema(tokenizer)


def parsed(tokenizer, text):
    prompt = tokenizer("<|im_start|>assistant\n")["input_ids"]
    return parse_response(tokenizer, tokenizer(f"{text}<|im_end|>")["input_ids"], prefix=prompt)


def test_reasoning_that_trl_parsed_reads_as_it_was_written(qwen):
    text = "<think>\nthree fives\n</think>\n\nThe answer is 15."
    assert parsed(qwen, text)["content"] == "The answer is 15."
    assert text_of([parsed(qwen, text)]) == text
    assert think([[parsed(qwen, text)]]) == think([text]) == [1.0]


def similarity(tokenizer, texts):
    rows = NgramEmbedder()([text_of([parsed(tokenizer, text)]) for text in texts])
    return (rows @ rows.T)[0, 1]


@pytest.mark.parametrize(
    "texts",
    [
        ["<think>\nthree fives\n</think>\n\nIt is 15.", "<think>\nas ten and a half of ten\n</think>\n\nIt is 15."],
        [
            f"<tool_call>\n{json.dumps({'name': 'multiply', 'arguments': arguments})}\n</tool_call>"
            for arguments in ({"a": 3, "b": 5}, {"half": 10, "rest": "x"})
        ],
    ],
    ids=["reasoning", "calls"],
)
def test_lines_of_thought_and_calls_that_differ_are_no_copies(qwen, texts):
    """Their content alone is the same, which gave a similarity of 1."""
    contents = {parsed(qwen, text)["content"] for text in texts}
    assert len(contents) == 1 and similarity(qwen, texts) < 0.95


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("2 + 2?", "2 + 2?"),
        ([message("Count.", "system"), message("How many?", "user")], "Count.\nHow many?"),
        ([message(None, "system"), {"role": "user"}, message("How many?", "user")], "\n\nHow many?"),
        ([message([{"type": "image", "image": object()}, {"type": "text", "text": "How many?"}], "user")], "How many?"),
        ([message("", tool_calls=[call("add", {"a": 7})]), message("15", "tool")], 'add({"a": 7})\n15'),
    ],
)
def test_the_text_of_a_prompt_is_equal_in_every_process(prompt, text):
    """No address of an image is in it, by which equal problems would differ."""
    assert prompt_text(prompt) == text
