"""The rewards, called as TRL calls them."""

from __future__ import annotations

from typing import Any

import pytest

from manypaths.rewards import REWARDS, accuracy, boxed, reward, text_of


def said(content: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ([], ""),
        ([said("one")], "one"),
        ([{"content": "no role"}], "no role"),
        ([said(None)], ""),
        ([{"role": "assistant", "tool_calls": []}], ""),
        ([said([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])], "ab"),
        ([said([{"type": "text", "text": None}])], ""),
        ([said("call"), said("the tool says \\boxed{7}", "tool"), said("done")], "call\ndone"),
        ([said("a question", "user")], ""),
    ],
)
def test_text_of(completion: Any, text: str) -> None:
    assert text_of(completion) == text


@pytest.mark.parametrize("as_messages", [False, True])
def test_rewards_read_texts_and_messages_alike(as_messages: bool) -> None:
    texts = ["<think>\nso\n</think>\n\\boxed{18}", "\\boxed{19}", "18", "\\boxed{ }", ""]
    completions: list[Any] = [[said(text)] for text in texts] if as_messages else texts
    columns = {
        "prompts": [""] * 5,
        "completion_ids": [[0]] * 5,
        "answer": ["#### 18", 18, 18.0, None, "18"],
        "trainer_state": None,
        "log_extra": None,
    }
    assert reward("accuracy")(completions=completions, **columns) == [1.0, 0.0, 0.0, None, 0.0]
    assert reward("boxed")(completions=completions, **columns) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_boxed_looks_at_the_last_closed_box() -> None:
    assert boxed(["\\boxed{7} \\boxed{8", "\\boxed{7} \\boxed{}", "\\boxed{7", "\\boxed 7"]) == [1.0, 0.0, 0.0, 1.0]


def test_scores_are_floats() -> None:
    assert [type(x) for f in (boxed,) for x in f(["a"])] == [float]
    assert [type(x) for x in accuracy(["\\boxed{1}", "\\boxed{x}"], ["1", None])] == [float, type(None)]


def test_accuracy_asks_for_one_answer_per_completion() -> None:
    with pytest.raises(ValueError):
        accuracy(["\\boxed{1}", "\\boxed{2}"], ["1"])


def test_accuracy_logs_what_ran_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from manypaths import rewards
    from manypaths.grading import Grader

    logged: list[tuple[str, float]] = []
    with Grader(seconds=1) as quick:
        monkeypatch.setattr(rewards, "shared_grader", lambda: quick)
        for answers in (["\\boxed{9^{9^{9^9}}}", "\\boxed{3}"], ["\\boxed{4}", "\\boxed{3}"]):
            accuracy(answers, ["x+3", "3"], log_metric=lambda *pair: logged.append(pair))
    assert logged == [("accuracy/timed_out", 1), ("accuracy/timed_out", 0)]


def test_names_are_those_that_are_logged() -> None:
    assert set(REWARDS) == {"accuracy", "boxed"}
    for name, function in REWARDS.items():
        assert function.__name__ == name
        assert reward(name) is function


def test_a_dotted_path_is_any_function() -> None:
    assert reward("manypaths.rewards.accuracy") is accuracy
    assert reward("math.sqrt")(4) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acuracy", "called 'acuracy'; did you mean 'accuracy'"),
        ("Boxed", "did you mean 'boxed'"),
        ("", "Known are accuracy, boxed"),
        ("no_such_package.boxed", "No module named 'no_such_package'.*did you mean 'boxed'"),
        ("math.no_such_function", "no attribute 'no_such_function'"),
        ("..accuracy", "did you mean 'accuracy'"),
        ("math.pi", "not a function but 3.14"),
    ],
)
def test_an_unknown_reward_is_named_with_its_nearest(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        reward(name)
