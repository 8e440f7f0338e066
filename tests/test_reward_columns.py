"""Rewards on the columns that trainers pass: golds of every kind, parsed messages, the tokens of tools."""

from __future__ import annotations

import json
import math
import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from trl.rewards import get_repetition_penalty_reward, get_soft_overlong_punishment, think_format_reward

from manypaths.grading import Grader, shared_grader
from manypaths.problems import load
from manypaths.rewards import accuracy, cosine, cosine_as_released, format_as_released, reward, think, think_answer

GOLDS = ["4", 4, 4.0, -0.5, 1e20, 0.1, ["4", "5"], ["4", 5, 6.0], ["7"], "\\boxed{4}", "so 2+2 is #### 4", True]
COMPLETIONS = [
    "\\boxed{4}",
    "\\boxed{4, 5}",
    "\\boxed{5, 4}",
    "\\boxed{7}",
    "\\boxed{-0.5}",
    "\\boxed{0.1}",
    "4",
    "\\boxed{}",
]
COMPLETIONS += ["\\boxed{4, 5, 6}", "\\boxed{10^{20}}", "\\boxed{[4, 5]}"]
NO_GOLD = [None, math.nan, np.float32("nan"), pd.NA, pd.NaT, "", "  ", [], torch.tensor(math.nan), np.array([])]


@pytest.mark.parametrize("gold", GOLDS, ids=repr)
def test_a_gold_has_the_same_meaning_in_a_script_and_in_a_file(gold: object, tmp_path: Any) -> None:
    """The command line reads the file. A script passes the value itself, or as an element of numpy or pandas."""
    (tmp_path / "set.json").write_text(json.dumps([{"problem": "?", "answer": gold}]))
    (problem,) = load(str(tmp_path / "set.json"))
    by_file = accuracy(COMPLETIONS, [problem.answer] * len(COMPLETIONS))
    assert sum(filter(None, by_file)) > 0 or gold is True
    for same in (gold, np.array(gold) if not isinstance(gold, (str, list)) else gold, pd.Series([gold])[0]):
        assert accuracy(COMPLETIONS, [same] * len(COMPLETIONS)) == by_file
    assert accuracy(COMPLETIONS, pd.Series([gold] * len(COMPLETIONS))) == by_file


@pytest.mark.parametrize("gold", NO_GOLD, ids=repr)
@pytest.mark.parametrize("name", ["accuracy", "cosine", "cosine_as_released"])
def test_a_missing_gold_is_no_gold(name: str, gold: object) -> None:
    column: Any = [gold, "4"]
    scores = reward(name, 100)(completions=["\\boxed{4}"] * 2, completion_ids=[[0]] * 2, answer=column)
    assert scores[0] is None and scores[1] > 0.9


def test_columns_of_numpy_and_pandas_are_read() -> None:
    completions = ["\\boxed{4}", "\\boxed{5}", "\\boxed{6}"]
    for column in (np.array([4, 4, 4]), np.array([4.0, 4.0, np.nan]), pd.Series([4, 5, None]), pd.array([4, pd.NA, 6])):
        expected = [None if pd.isna(gold) else float(gold == 4 + place) for place, gold in enumerate(column)]
        assert accuracy(completions, column) == expected


def test_a_gold_that_is_an_object_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a text, a number or a list, got an object with the keys 'value'"):
        accuracy(["\\boxed{4}"], [{"value": 4}])
    with pytest.raises(ValueError, match="'accuracy': answer must have one gold answer per completion, 2, got 1"):
        accuracy(["4", "4"], ["4"])


def test_equal_completions_are_graded_once() -> None:
    """Forty copies are graded by math-verify once."""
    pairs: list[Any] = []
    grader, ask = shared_grader(), shared_grader()._ask
    try:
        grader._ask = lambda *pair: pairs.append(pair) or ask(*pair)
        assert accuracy(["so \\boxed{\\frac{x^2 - 1}{x + 1}}"] * 40, ["x - 1"] * 40) == [1.0] * 40
    finally:
        del grader._ask
    assert len(pairs) == 1


@pytest.mark.parametrize(("processes", "workers"), [("2", 2), ("64", 1)])
def test_processes_on_one_machine_share_its_cores(processes: str, workers: int, monkeypatch: Any) -> None:
    """Otherwise the processes of a training would slow each other's grading down until it times out."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    answers = [f"\\boxed{{\\frac{{x^2 - 1}}{{x + 1}} + {place}}}" for place in range(6)]
    with Grader() as grader:
        assert grader.grade(answers, [f"x + {place - 1}" for place in range(6)]) == [True] * 6
        assert len(grader._idle[os.getpid()]) == workers


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": 3}}}
TOOL = {"role": "tool", "name": "add", "content": "the same line\n" * 10}


def turn(content: str, reasoning: str | None = None, calls: bool = False) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    return message | ({"reasoning_content": reasoning} if reasoning else {}) | ({"tool_calls": [CALL]} if calls else {})


@pytest.mark.parametrize("opened", [False, True])
def test_think_reads_parsed_reasoning(opened: bool) -> None:
    parsed = [turn("y", "x")]
    as_text = "<think>" * (not opened) + "\nx\n</think>\n\ny"
    assert think([parsed, as_text], opened=opened) == [1.0, 1.0]
    assert think_format_reward([[{"content": "<think>" * opened + as_text}]]) == [1.0]
    assert think([[turn("y")], "y", []], opened=opened) == [0.0, 0.0, 0.0]
    assert format_as_released([parsed, as_text]) == [1.0, 1.0]


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_reasoning_has_several_names(key: str) -> None:
    message = {"role": "assistant", "content": "<answer>7</answer>", key: "so"}
    block = {"role": "assistant", "content": [{"type": "thinking", "thinking": "so"}, {"type": "text", "text": "y"}]}
    for opened in (False, True):
        assert think([[message], [block]], opened=opened) == [1.0, 1.0]
        assert think_answer([[message], [block]], opened=opened) == [1.0, 0.0]


def test_every_turn_needs_reasoning_and_the_last_one_an_answer() -> None:
    called, answered = turn("", "which tool", calls=True), turn("<answer>5</answer>", "so 5")
    assert think([[called, TOOL, answered], [turn("", calls=True), TOOL, answered], [called, TOOL]]) == [1.0, 0.0, 1.0]
    assert think_answer([[called, TOOL, answered], [called, TOOL], [answered, TOOL, called]]) == [1.0, 0.0, 0.0]
    assert format_as_released([[called, TOOL, answered], [turn(""), TOOL, answered]]) == [1.0, 0.0]


OWN, OF_TOOL = [*range(20), 0, 1, 2, 3], [7, 8, 9] * 60
IDS = [OWN[:10] + OF_TOOL + OWN[10:], OWN]
MASK = [[1] * 10 + [0] * len(OF_TOOL) + [1] * 14, [1] * len(OWN)]
WITH_TOOL: Any = [[turn("", calls=True), TOOL, turn("\\boxed{5}")], [turn("\\boxed{5}")]]


def test_the_tokens_of_a_tool_do_not_count() -> None:
    columns: dict[str, Any] = {"completions": WITH_TOOL, "completion_ids": IDS, "tool_mask": MASK, "trainer_state": 1}
    assert reward("repetition")(**columns) == get_repetition_penalty_reward(3, -1.0)([OWN, OWN])
    assert reward("overlong", 30)(**columns) == get_soft_overlong_punishment(30, 6)([OWN, OWN]) == [0.0, 0.0]
    assert cosine(**columns, answer=["5", "5"], max_completion_length=48) == pytest.approx([0.75, 0.75])
    plain = {**columns, "tool_mask": None, "trainer_state": None}
    assert cosine(**plain, answer=["5", "5"], max_completion_length=48) == pytest.approx([0.5, 0.75])
    assert reward("repetition")(completion_ids=IDS, tool_mask=[MASK[0], None]) == reward("repetition")(**columns)
    with pytest.raises(ValueError, match="'overlong': tool_mask must have one entry per token, 204, got 2"):
        reward("overlong", 30)(completion_ids=IDS, tool_mask=[[1, 0], [1]])


def test_the_characters_of_a_tool_do_not_count() -> None:
    without = [[message for message in completion if message["role"] == "assistant"] for completion in WITH_TOOL]
    assert cosine_as_released(WITH_TOOL, ["5", "5"]) == cosine_as_released(without, ["5", "5"])


@pytest.mark.parametrize("name", ["repetition", "overlong", "cosine"])
def test_tokens_of_tools_without_a_tool_mask_are_warned_of(name: str) -> None:
    columns: dict[str, Any] = {"completions": WITH_TOOL, "completion_ids": IDS, "answer": ["5", "5"]}
    with pytest.warns(UserWarning, match=f"{name!r} counts the tokens of tools' answers as the model's"):
        reward(name, 30)(**columns, trainer_state=object())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reward(name, 30)(**columns)  # AsyncGRPOTrainer passes the model's own tokens
        reward(name, 30)(**columns, tool_mask=MASK, trainer_state=object())
        reward(name, 30)(completions=["a", "b"], completion_ids=IDS, answer=["5", "5"], trainer_state=object())
