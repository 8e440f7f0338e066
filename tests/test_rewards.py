"""The rewards, called as TRL calls them."""

from __future__ import annotations

import inspect
import math
import pickle
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from trl.rewards import get_cosine_scaled_reward, get_repetition_penalty_reward, get_soft_overlong_punishment
from trl.rewards import think_format_reward as trl_think
from trl.trainer.utils import get_callable_name

from manypaths.messages import text_of
from manypaths.rewards import GIVEN, REWARDS, accuracy, boxed, cosine, reward

LIMIT = 100  # tokens
LENGTHS = [0, 1, 37, 50, 79, 80, 81, 90, 99, 100, 101, 250, 1000]


def message(content: Any, role: str = "assistant") -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ([], ""),
        ([message("one")], "one"),
        ([{"content": "no role"}], "no role"),
        ([message(None)], ""),
        ([{"role": "assistant", "tool_calls": []}], ""),
        ([message([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}])], "ab"),
        ([message([{"type": "text", "text": None}])], ""),
        ([message("call"), message("the tool says \\boxed{7}", "tool"), message("done")], "call\ndone"),
        ([message("a question", "user")], ""),
    ],
)
def test_text_of(completion: Any, text: str) -> None:
    assert text_of(completion) == text


@pytest.mark.parametrize("as_messages", [False, True])
def test_rewards_read_texts_and_messages_alike(as_messages: bool) -> None:
    texts = ["<think>\nso\n</think>\n\\boxed{18}", "\\boxed{19}", "18", "\\boxed{ }", ""]
    completions: list[Any] = [[message(text)] for text in texts] if as_messages else texts
    columns = {
        "prompts": [""] * 5,
        "completion_ids": [[0]] * 5,
        "answer": ["#### 18", 18, 18.0, None, "18"],
        "trainer_state": None,
        "log_extra": None,
    }
    assert reward("accuracy")(completions=completions, **columns) == [1.0, 0.0, 0.0, None, 0.0]
    assert reward("boxed")(completions=completions, **columns) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_boxed_looks_at_the_last_box_which_must_close() -> None:
    assert boxed(["\\boxed{7} \\boxed{8", "\\boxed{7} \\boxed{}", "\\boxed{7", "\\boxed 7"]) == [0.0, 0.0, 0.0, 1.0]


def test_scores_are_floats() -> None:
    assert [type(x) for f in (boxed,) for x in f(["a"])] == [float]
    assert [type(x) for x in accuracy(["\\boxed{1}", "\\boxed{x}"], ["1", None])] == [float, type(None)]


def test_accuracy_asks_for_one_answer_per_completion() -> None:
    with pytest.raises(ValueError):
        accuracy(["\\boxed{1}", "\\boxed{2}"], ["1"])


def test_accuracy_logs_what_ran_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from manypaths.grading import Grader
    from manypaths.rewards import correctness

    logged: list[tuple[str, float]] = []
    with Grader(seconds=1) as quick:
        monkeypatch.setattr(correctness, "shared_grader", lambda: quick)
        for answers in (["\\boxed{9^{9^{9^9}}}", "\\boxed{3}"], ["\\boxed{4}", "\\boxed{3}"]):
            accuracy(answers, ["x+3", "3"], log_metric=lambda *pair: logged.append(pair))
    assert logged == [("accuracy/timed_out", 1), ("accuracy/timed_out", 0)]


def test_names_are_those_that_are_logged() -> None:
    papers = {"think", "think_answer", "format_as_released", "cosine", "cosine_as_released", "repetition", "overlong"}
    assert set(REWARDS) == {"accuracy", "boxed"} | papers
    for name, function in REWARDS.items():
        bound = reward(name, LIMIT)
        assert function.__name__ == bound.__name__ == get_callable_name(bound) == name
        assert (bound is function) == (name not in ("cosine", "overlong"))


def test_a_dotted_path_is_any_function() -> None:
    assert reward("manypaths.rewards.accuracy") is accuracy
    assert reward("math.sqrt", LIMIT)(4) == 2


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("acuracy", "called 'acuracy'; did you mean 'accuracy'"),
        ("Boxed", "did you mean 'boxed'"),
        ("", "There are accuracy, boxed"),
        ("no_such_package.boxed", "No module named 'no_such_package'.*did you mean 'boxed'"),
        ("math.no_such_function", "no attribute 'no_such_function'"),
        ("..accuracy", "did you mean 'accuracy'"),
        ("math.pi", "must be a function, got 3.14"),
    ],
)
def test_an_unknown_reward_is_named_with_its_nearest(name: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        reward(name)


def called(name: str, texts: list[str], ids: Any = None, answer: Any = None, **options: Any) -> list[float | None]:
    """A bound reward, called as TRL calls it, with texts and with messages: the same numbers."""
    bound = reward(name, LIMIT, **options)
    columns = {
        "prompts": [""] * len(texts),
        "completion_ids": ids or [[0]] * len(texts),
        "answer": answer or [None] * len(texts),
        "trainer_state": None,
        "log_extra": None,
        "log_metric": lambda name, value: None,
    }
    scores = bound(completions=texts, **columns)
    assert scores == bound(completions=[[message(text)] for text in texts], **columns)
    assert all(score is None or type(score) is float for score in scores)
    return scores


THOUGHTS = {
    "<think>so</think><answer>7</answer>": (1, 1),
    " \n<think>\nso\n</think>\n\n<answer>\n7\n</answer>\n": (0, 1),
    "<think>so</think> 7": (1, 0),
    "<think></think><answer>7</answer>": (1, 0),
    "<think>so</think><answer> \n</answer>": (1, 0),
    "<think>so</think> then <answer>7</answer>": (1, 0),
    "<think>so</think><answer>7</answer>.": (1, 0),
    "well <think>so</think><answer>7</answer>": (0, 0),
    "<think>so</think><answer>7</answer><answer>8</answer>": (1, 0),
    "<think>so</think></think><answer>7</answer>": (1, 0),
    "<think>so</think><answer>7</answer><think>": (0, 0),
    "<think>so<answer>7</answer></think>": (1, 0),
    "<answer>7</answer><think>so</think>": (0, 0),
    "<think>so<think>so</think><answer>7</answer>": (0, 0),
    "<THINK>so</THINK><answer>7</answer>": (0, 0),
    "<think>so": (0, 0),
    "</think>": (0, 0),
    "so": (0, 0),
    "": (0, 0),
}


def test_think_and_think_answer() -> None:
    texts = list(THOUGHTS)
    assert called("think", texts) == [score for score, _ in THOUGHTS.values()]
    assert called("think", texts) == trl_think([[message(text)] for text in texts])
    assert called("think_answer", texts) == [score for _, score in THOUGHTS.values()]


@pytest.mark.parametrize("name", ["think", "think_answer"])
def test_opened_is_the_tag_that_the_prompt_ends_with(name: str) -> None:
    rest = [text.removeprefix("<think>") for text in THOUGHTS if text.startswith("<think>")]
    whole = called(name, ["<think>" + text for text in rest])
    assert {0.0, 1.0} == set(whole)
    assert called(name, rest, opened=True) == whole
    assert called(name, rest) == [0.0] * len(rest)
    assert called(name, list(THOUGHTS)[:3], opened=True) == [0.0] * 3  # the tag is there twice


def test_format_as_released() -> None:
    texts = {"a\n</think>\nb": 1, "\n</think>\n": 1, "a</think>\nb": 0, "a\n</think>b": 0, "": 0}
    texts |= {"a\n</think>\nb\n</think>\n": 0, "a</think>\n</think>\n": 1}
    assert called("format_as_released", list(texts)) == list(texts.values())


@pytest.mark.parametrize("bounds", [{}, {"min_value_wrong": -10, "max_value_correct": 2.0}])
def test_cosine_is_trls(bounds: dict[str, float]) -> None:
    texts, golds = zip(*[("\\boxed{7}", "7"), ("\\boxed{8}", "7"), ("\\boxed{x+1}", "1+x")] * len(LENGTHS), strict=True)
    ids = [[0] * length for length in LENGTHS for _ in range(3)]
    defaults = {"min_value_wrong": -0.5, "max_value_wrong": 0.0, "min_value_correct": 0.5, "max_value_correct": 1.0}
    theirs = get_cosine_scaled_reward(LIMIT, **defaults | bounds)
    assert called("cosine", list(texts), ids, list(golds), **bounds) == pytest.approx(
        theirs([[message(text)] for text in texts], [f"${gold}$" for gold in golds], ids)
    )


def test_cosine_by_length() -> None:
    ids = [[0] * length for length in LENGTHS]
    right = called("cosine", ["\\boxed{7}"] * len(ids), ids, ["7"] * len(ids))
    wrong = called("cosine", ["\\boxed{8}"] * len(ids), ids, ["7"] * len(ids))
    share = torch.tensor(LENGTHS).clamp(max=LIMIT) / LIMIT
    fall = (1 + torch.cos(torch.pi * share)) / 2
    torch.testing.assert_close(torch.tensor(right), 0.5 + fall / 2)
    torch.testing.assert_close(torch.tensor(wrong), -fall / 2)
    over = LENGTHS.index(LIMIT)
    assert len(set(right[over:])) == len(set(wrong[over:])) == 1
    assert right[: over + 1] == sorted(set(right), reverse=True)
    assert wrong[: over + 1] == sorted(set(wrong))


def test_cosine_as_released_is_periodic_in_characters_and_kind_to_short_wrong_answers() -> None:
    lengths = torch.tensor([9, 500, 1000, 1500, 2000, 2009, 10_009])
    rise = (1 + torch.cos(torch.pi * lengths / 1000)) / 2
    for digit, start in (("7", 0.5), ("8", -0.5)):
        texts = [f"\\boxed{{{digit}}}".rjust(length) for length in lengths.tolist()]
        scores = torch.tensor(called("cosine_as_released", texts, answer=["7"] * len(texts)))
        torch.testing.assert_close(scores, start + rise / 2)
        torch.testing.assert_close(scores[[0, 0]], scores[[5, 6]])
        torch.testing.assert_close(scores[[2, 4]], torch.tensor([start, start + 0.5]))


@pytest.mark.parametrize("name", ["accuracy", "cosine", "cosine_as_released"])
def test_graded_rewards_leave_out_what_has_no_gold_and_log_their_time(name: str) -> None:
    logged: list[tuple[str, float]] = []
    columns: dict[str, Any] = {"completion_ids": [[0], [0]], "log_metric": lambda *pair: logged.append(pair)}
    assert reward(name, LIMIT)(["\\boxed{7}", "7"], [None, None], **columns) == [None, None]
    assert logged == [(f"{name}/timed_out", 0)]
    with pytest.raises(ValueError):
        reward(name, LIMIT)(["\\boxed{7}", "7"], ["7"], **columns)


def test_cosine_grades_outside_the_main_thread() -> None:
    scores: list[float | None] = []
    column = [["\\boxed{x+2}"], ["2+x"], [[]]]
    other = threading.Thread(target=lambda: scores.extend(cosine(*column, max_completion_length=LIMIT)))
    other.start()
    other.join()
    assert scores == [1.0]


@pytest.mark.parametrize("options", [{}, {"ngram_size": 1}, {"ngram_size": 2, "max_penalty": -0.5}, {"max_penalty": 0}])
def test_repetition_is_trls(options: dict[str, Any]) -> None:
    ids = [[], [1], [1, 2, 3, 4], [5] * 5, [1, 2, 3] * 4, torch.randint(3, (200,)).tolist()]
    n, penalty = options.get("ngram_size", 3), options.get("max_penalty", -1.0)
    scores = called("repetition", [""] * len(ids), ids, **options)
    assert scores == get_repetition_penalty_reward(n, penalty)(ids)
    grams = len(ids[4]) - n + 1  # three of them differ
    assert scores[4] == pytest.approx(penalty * (1 - 3 / grams))
    assert scores[2] == 0 and all(penalty <= score <= 0 for score in scores)


@pytest.mark.parametrize(("options", "cache"), [({}, 20), ({"cache": 1}, 1), ({"cache": 99}, 99)])
def test_overlong_is_trls(options: dict[str, Any], cache: int) -> None:
    ids = [[0] * length for length in LENGTHS]
    scores = called("overlong", [""] * len(ids), ids, **options)
    assert scores == get_soft_overlong_punishment(LIMIT, cache)(ids)
    line = ((LIMIT - cache - torch.tensor(LENGTHS)) / cache).clamp(-1, 0)
    torch.testing.assert_close(torch.tensor(scores), line)


def test_the_default_cache_is_a_fifth_as_in_dapo() -> None:
    (half,) = reward("overlong", 20_480)(completion_ids=[[0] * (16_384 + 2_048)])
    assert half == -0.5
    assert [reward("overlong", 2)(completion_ids=[[0] * n])[0] for n in (1, 2)] == [0.0, -1.0]


TAGS = ["<think>", "</think>", "<answer>", "</answer>", "\n</think>\n"]
PILES = [tag * 200_000 for tag in TAGS] + [" " * 10**6, "<think>" + "\n" * 10**6, "\0" * 10**6]
PILES += ["<think>" + "</think>" * 200_000, "<think>a</think>" + " \n" * 10**6, "<think>a</think><answer>" * 100_000]
PILES += ["<" * 10**6, "<think" * 200_000, "<think>" + "</think" * 200_000, "\ud800" * 10**6]


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("name", ["think", "think_answer", "format_as_released"])
def test_a_megabyte_of_anything_is_read_in_no_time(name: str, opened: bool) -> None:
    bound = reward(name, **({"opened": opened} if name != "format_as_released" else {}))
    for pile in PILES:
        start = time.process_time()
        bound([pile])
        assert time.process_time() - start < 1, pile[:30]


def free(completions: list[str], scale: float = 1.0, *, max_completion_length: int = 8, **_: Any) -> list[float]:
    return [scale * max_completion_length for _ in completions]


def freer(completions: list[str], **anything: Any) -> list[Any]:
    return [anything for _ in completions]


def strict(completions: list[str], answer: list[str], *, max_completion_length: int, **_: Any) -> list[float]:
    return [max_completion_length for _ in completions]


HERE = "test_rewards"


def test_the_limit_is_the_recipes_unless_an_option_gives_one() -> None:
    def ten(bound: Any) -> Any:
        return bound(completions=[""], completion_ids=[[0] * 10])[0]

    assert ten(reward("overlong", 10)) == ten(reward("overlong", 99, max_completion_length=10)) == -1
    assert ten(reward("overlong", 99)) == ten(reward("overlong", None, max_completion_length=99)) == 0
    assert reward("manypaths.rewards.overlong", 10)(completion_ids=[[0] * 10]) == [-1]


def test_options_of_a_users_function_are_bound_if_it_takes_them() -> None:
    assert reward(f"{HERE}.free")(["", ""]) == [8, 8]
    assert reward(f"{HERE}.free", 16, scale=0.5)([""]) == [8]
    assert reward(f"{HERE}.free", 16, max_completion_length=2)([""]) == [2]
    assert reward(f"{HERE}.freer", 16, name="x", b=[1])([""]) == [{"name": "x", "b": [1]}]
    assert reward(f"{HERE}.strict", 16)(["a"], ["b"]) == [16]


def test_a_bound_reward_keeps_its_name_its_text_and_can_be_sent_to_another_process() -> None:
    bound = reward("repetition", 16, ngram_size=2)
    assert (bound.__name__, bound.__doc__) == ("repetition", REWARDS["repetition"].__doc__)
    assert pickle.loads(pickle.dumps(bound))(completion_ids=[[1] * 5]) == bound(completion_ids=[[1] * 5]) == [-0.75]


ORDER = "<= min_value_correct <= max_value_correct must be numbers in this order, got"


@pytest.mark.parametrize(
    ("name", "limit", "options", "complaint"),
    [
        ("boxed", 9, {"n": 1}, "'boxed' takes no options, got 'n'. Leave it out"),
        ("accuracy", 9, {"log_metric": print}, "takes no options, got 'log_metric'"),
        ("think", 9, {"openend": True}, "takes the options opened, got 'openend'"),
        ("repetition", 9, {"n": 1, "m": 2}, "takes the options ngram_size, max_penalty, got 'n', 'm'"),
        ("repetition", 9, {"completion_ids": [[1]]}, "got 'completion_ids'"),
        ("repetition", 9, {"_": 1}, "got '_'"),
        ("repetition", 9, {"max_completion_length": 9}, "got 'max_completion_length'"),
        ("overlong", 9, {"max_completion_len": 1}, "takes the options max_completion_length, cache, got"),
        ("format_as_released", 9, {"opened": True}, "takes no options"),
        ("cosine_as_released", 9, {"max_len": 9}, "takes no options"),
        (f"{HERE}.free", 9, {"scales": 2}, "takes the options scale, max_completion_length, got 'scales'"),
        (f"{HERE}.freer", 9, {"prompts": 2}, "got 'prompts'"),
        ("math.sqrt", 9, {"x": 2}, "'math.sqrt' takes no options, got 'x'"),
        ("think", 9, {"opened": 1}, "'think': opened must be true or false, got 1."),
        ("think_answer", 9, {"opened": "no"}, "'think_answer': opened must be true or false, got 'no'"),
        ("repetition", 9, {"ngram_size": 0}, "ngram_size must be an integer of 1 or more, got 0"),
        ("repetition", 9, {"ngram_size": 2.0}, "ngram_size must be an integer of 1 or more, got 2.0"),
        ("repetition", 9, {"ngram_size": True}, "got True"),
        ("repetition", 9, {"ngram_size": None}, "got None"),
        ("repetition", 9, {"max_penalty": 0.1}, "max_penalty must be 0 or less, got 0.1"),
        ("repetition", 9, {"max_penalty": "-1"}, "got '-1'"),
        ("repetition", 9, {"max_penalty": -math.inf}, "got -inf"),
        ("repetition", 9, {"max_penalty": math.nan}, "got nan"),
        ("overlong", None, {}, "'overlong' must have max_completion_length, in tokens, got none. Set trainer"),
        ("cosine", None, {}, "'cosine' must have max_completion_length, in tokens, got none. Set trainer"),
        (f"{HERE}.strict", None, {}, "must have max_completion_length, in tokens, got none"),
        ("cosine", 0, {}, "'cosine': max_completion_length must be 1 or more tokens, got 0"),
        ("cosine", 9, {"max_completion_length": -1}, "1 or more tokens, got -1"),
        ("cosine", 9, {"max_completion_length": None}, "1 or more tokens, got None"),
        ("overlong", 1, {}, "'overlong': max_completion_length must be 2 or more tokens, got 1"),
        ("overlong", 512.0, {}, "2 or more tokens, got 512.0"),
        ("overlong", 9, {"cache": 0}, "cache must be 1 or more tokens and less than the limit of 9, got 0"),
        ("overlong", 9, {"cache": 9}, "less than the limit of 9, got 9"),
        ("overlong", 9, {"cache": "2"}, "got '2'"),
        ("cosine", 9, {"min_value_wrong": 0.1}, f"{ORDER} [0.1, 0.0, 0.5, 1.0]"),
        ("cosine", 9, {"min_value_correct": 2}, f"{ORDER} [-0.5, 0.0, 2, 1.0]"),
        ("cosine", 9, {"max_value_wrong": 0.6}, ORDER),
        ("cosine", 9, {"max_value_correct": "1"}, ORDER),
        ("cosine", 9, {"max_value_correct": math.inf}, ORDER),
        ("cosine", 9, {"max_value_correct": 10**400}, ORDER),
        ("cosine", 9, {"min_value_wrong": math.nan}, ORDER),
        ("repetitions", 9, {"ngram_size": 2}, "did you mean 'repetition'"),
    ],
)
def test_wrong_options_are_refused_when_they_are_bound(name: str, limit: Any, options: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        reward(name, limit, **options)


def test_every_option_is_keyword_only() -> None:
    for function in REWARDS.values():
        for parameter in inspect.signature(function).parameters.values():
            column = parameter.name in {*GIVEN, "_"}
            assert column == (parameter.kind != parameter.KEYWORD_ONLY), (function.__name__, parameter.name)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("None", "'None' (NoneType)"),
        ("1.0", "'1.0' (float)"),
        ("'11'", "'11' (str)"),
        ("['1', '2']", "'1' (str)"),
        ("torch.tensor(1.0)", "(Tensor)"),
    ],
)
def test_what_is_no_list_of_numbers_is_refused_by_the_name_of_the_reward(
    returned: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_rewards.py").write_text(f"import torch\ndef own(completions, **_):\n    return {returned}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = reward("own_rewards.own")
    assert getattr(own, "__name__", None) == "own" and list(inspect.signature(own).parameters) == ["completions", "_"]
    with pytest.raises(ValueError, match=r"Reward 'own_rewards.own' must return a list") as caught:
        own(completions=["a", "b"])
    assert words in str(caught.value)


def test_lists_arrays_and_coroutines_of_a_users_reward_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["import torch", "def own(completions, **_): return torch.tensor([1.0, 2.0])"]
    lines += [
        "def generated(completions, **_): return (None for _ in completions)",
        "async def later(completions): ...",
    ]
    (tmp_path / "taken_rewards.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert reward("taken_rewards.own")(completions=["a", "b"]) == [1.0, 2.0]
    assert reward("taken_rewards.generated")(completions=["a", "b"]) == [None, None]
    assert inspect.iscoroutinefunction(reward("taken_rewards.later"))


def test_an_argument_that_no_recipe_has_is_refused_before_a_model_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["def own(completions, gold, **_): ...", "def option(completions, answer, *, limit, **_): return [limit]"]
    (tmp_path / "asking_rewards.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"'asking_rewards.own' must be given gold, which .* column answer"):
        reward("asking_rewards.own")
    with pytest.raises(ValueError, match=r"given limit, .*reward_options.asking_rewards.option.limit=VALUE"):
        reward("asking_rewards.option")
    assert reward("asking_rewards.option", limit=2)(completions=["a"], answer=["1"]) == [2]
