"""Keys: equal means the same way, in every process and order, whatever a completion holds."""

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from manypaths import dra, mmr
from manypaths.grading import is_correct
from manypaths.keys import KEYS, NO_KEY, bind, call_keys, same_key

PROBLEM = "How many?"
WAYS = [
    r"First 3 + 4 = 7, so it is \boxed{7}.",
    r"4 + 3 = 7. The answer is \boxed{7.0}",
    r"2 * 4 = 8, less one: 8 - 1 = 7. \boxed{7}",
    r"It is \boxed{\frac{1}{2}}",
    r"I give up.",
    r"There are \boxed{(3 + 4) * 2} of them",
]
HOSTILE = {
    "empty": "",
    "blank": " \n\t\u3000",
    "lone surrogate": "\ud800 = \udfff \\boxed{\ud800}",
    "null": "\x00" * 1000,
    "open braces": "{" * 1_000_000,
    "open parentheses": "(" * 1_000_000,
    "boxes": "\\boxed{" * 100_000,
    "nested box": "\\boxed{" + "(" * 900 + "1" + ")" * 900 + "}",
    "minus signs": "\\boxed{" + "-" * 1900 + "1}",
    "powers": "\\boxed{" + "2^" * 900 + "2}",
    "chain": "1=" * 300_000,
    "equations": "a1 + b2 = c3 \n" * 50_000,
    "long number": "\\boxed{" + "9" * 1999 + "} = " + "9" * 500_000,
    "tower": "\\boxed{9^9^9^9^9^9}",
    "fractions": "\\frac{" * 200_000,
    "code": "\\boxed{__import__('os').system('touch executed')} = exec('1')",
    "words": " ".join(map(str, range(200_000))),
    "one word": "a" * 1_000_000,
    "backslashes": "\\" * 1_000_000,
    "digits of other scripts": "\\boxed{\u0663 + \u0664} \u0663 + \u0664 = \u0667",
}


def keys_of(name, completions, **options):
    return call_keys(bind(name, options), completions, [PROBLEM] * len(completions), len(completions))


def classes(keys):
    """Which places have the same key, whatever the keys are."""
    return [keys.tolist().index(key) for key in keys.tolist()]


@pytest.mark.parametrize("name", KEYS)
def test_a_permutation_of_the_completions_permutes_the_keys(name):
    order = torch.randperm(len(WAYS), generator=torch.Generator().manual_seed(3))
    moved = keys_of(name, [WAYS[place] for place in order])
    assert moved.tolist() == keys_of(name, WAYS)[order].tolist()
    assert len(set(moved.tolist())) > 1


def test_keys_are_equal_in_another_process():
    code = (
        "import json, sys; from manypaths.keys import KEYS, call_keys; ways = json.load(sys.stdin);"
        "print(json.dumps({n: call_keys(f, ways, ways, len(ways)).tolist() for n, f in KEYS.items()}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(WAYS),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "5"},
    )
    assert json.loads(run.stdout) == {name: keys_of(name, WAYS).tolist() for name in KEYS}


@pytest.mark.parametrize("name", KEYS)
def test_hostile_texts_are_bounded_work(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for kind, completion in HOSTILE.items():
        began = time.process_time()
        keys = keys_of(name, [completion, WAYS[0]])
        assert time.process_time() - began < 1.0, kind
        assert keys[1] == keys_of(name, [WAYS[0]])[0], kind
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", KEYS)
def test_what_has_no_key_shares_one(name):
    assert keys_of(name, ["", " \n", WAYS[0]])[:2].tolist() == [NO_KEY, NO_KEY]
    assert keys_of(name, [WAYS[0], WAYS[-1]]).ne(NO_KEY).any()


def test_gibberish_is_one_answer():
    keys = keys_of("answer", ["asdf", "qwer zxcv", r"\boxed{", r"\boxed{ }", r"\boxed{" + "1" * 3000 + "}", WAYS[0]])
    assert classes(keys) == [0, 0, 0, 0, 0, 5] and keys[0] == NO_KEY


def test_texts_are_equal_up_to_white_space():
    assert classes(keys_of("text", ["a b", " a\n\tb ", "ab", "A b", "a b"])) == [0, 0, 2, 3, 0]


def test_answers_are_equal_as_the_grader_reads_them():
    boxes = ["7", "7.0", r"\text{7}", "7\\,", "\\!7", "8", "x", "X"]
    keys = keys_of("answer", [rf"so \boxed{{{box}}}" for box in boxes])
    assert classes(keys) == [0, 0, 0, 0, 0, 5, 6, 7]


def test_equal_answer_keys_are_answers_that_the_grader_finds_equal():
    """On every pair of texts of the grading cases with one key, either is right where the other is the gold."""
    cases = [json.loads(line) for line in Path(__file__).with_name("data").joinpath("grading_cases.jsonl").open()]
    answers = list(dict.fromkeys(text for case in cases for text in (case.get("answer"), case["gold"]) if text))
    boxed = [rf"\boxed{{{answer}}}" for answer in answers]
    first = {}
    pairs = [
        (boxed[first[key]], text)
        for place, (key, text) in enumerate(zip(keys_of("answer", boxed).tolist(), boxed, strict=True))
        if key != NO_KEY and first.setdefault(key, place) != place
    ]
    assert len(pairs) > 50
    wrong = [pair for pair in pairs if not (is_correct(*pair) and is_correct(*reversed(pair)))]
    assert not wrong


def test_a_kernel_of_keys():
    keys = torch.tensor([[5, 5, 7, NO_KEY], [1, 2, 3, 4]])
    kernel = same_key(keys)
    assert kernel.dtype == torch.float32 and kernel.shape == (2, 4, 4)
    assert kernel[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert torch.equal(kernel[1], torch.eye(4))


def test_dra_on_keys_divides_by_the_number_of_completions_with_the_key():
    rewards = torch.tensor([[1.0, 1.0, 1.0, 0.0, 2.0]])
    adjusted = dra(rewards, same_key(torch.tensor([[4, 4, 4, 9, 9]])))
    assert_close(adjusted, torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0.0, 1.0]]))


def test_mmr_on_keys():
    """By hand: 3 goes first; 2 - 1 and 1 - 0 tie at twice 0.5; the last one repeats a key, 0 - 0.5."""
    rewards, keys = torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([[8, 8, 6, 6]])
    assert mmr(rewards, same_key(keys), lam=0.5).tolist() == [[3.0, 0.5, 0.5, -0.5]]


def of_length(completions, problems, *, modulus=10):
    return [len(text) % modulus for text in completions]


def rank_in_group(completions, problems, size):
    keys = []
    for start in range(0, len(completions), size):
        keys += [sorted(completions[start : start + size]).index(text) for text in completions[start : start + size]]
    return np.array(keys, dtype=np.int32)


rank_in_group.whole_groups = True


def test_a_users_function_by_its_path(tmp_path, monkeypatch):
    (tmp_path / "my_keys.py").write_text(
        "def first(completions, problems):\n    return [ord(t[0]) for t in completions]"
    )
    monkeypatch.chdir(tmp_path)
    assert keys_of("my_keys.first", ["ab", "b", "ac"]).tolist() == [97, 98, 97]
    assert keys_of("test_keys.of_length", ["abc", "a"], modulus=2).tolist() == [1, 1]


def test_a_function_of_whole_groups_gets_their_size():
    keys = call_keys(functools.partial(bind("test_keys.rank_in_group", {})), [], [], 1)
    assert keys.tolist() == [] and keys.dtype == torch.int64
    function = bind("test_keys.rank_in_group", {})
    assert call_keys(function, ["b", "a", "c", "c"], [PROBLEM] * 4, 2).tolist() == [1, 0, 0, 0]
    with pytest.raises(ValueError, match="whole groups of 3 completions, got 4"):
        call_keys(function, ["b", "a", "c", "c"], [PROBLEM] * 4, 3)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("anwser", {}, "did you mean 'answer'"),
        ("test_keys.of_lenght", {}, "did you mean 'test_keys.of_length'"),
        ("no_such_module.keys", {}, "No keys function is called 'no_such_module.keys'"),
        ("text", {"modulus": 3}, "takes no options, got 'modulus'"),
        ("test_keys.of_length", {"modulo": 3}, "takes the options modulus, got 'modulo'"),
        ("test_keys.of_length", {"problems": []}, "got 'problems'"),
        ("test_keys.PROBLEM", {}, "must be a function, got 'How many"),
        ("pathlib.Path", {}, "must be a function, got a class"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, says):
    with pytest.raises(ValueError, match=says):
        bind(name, options)


@pytest.mark.parametrize(
    ("returned", "says"),
    [
        (torch.zeros(2), "must return integers, got torch.float32"),
        ([True, False], "must return integers, got torch.bool"),
        ([1, 2, 3], r"an integer for each of 2 texts, got \[3\]"),
        ([[1], [2]], r"got \[2, 1\]"),
        (None, "must return 2 integers, got NoneType"),
        (["a", "b"], "must return 2 integers, got list"),
        ([2**70, 1], "must return 2 integers, got list"),
    ],
)
def test_what_a_keys_function_returns_is_checked(returned, says):
    def wrong(completions, problems):
        return returned

    with pytest.raises(ValueError, match=f"Keys function 'wrong' .*{says}"):
        call_keys(wrong, ["a", "b"], [PROBLEM] * 2, 2)


def test_as_many_problems_as_completions():
    with pytest.raises(ValueError, match="one problem for each of 2 completions, got 1"):
        call_keys(KEYS["text"], ["a", "b"], [PROBLEM], 2)


def test_a_keys_function_that_writes_into_its_lists_changes_nothing_else():
    def wasteful(completions, problems):
        completions.clear()
        problems.clear()
        return torch.zeros(2, dtype=torch.int8)

    completions, problems = ["a", "b"], [PROBLEM] * 2
    assert call_keys(wasteful, completions, problems, 2).dtype == torch.int64
    assert completions == ["a", "b"] and problems == [PROBLEM] * 2
