"""Keys: equal means the same way, in every process and order, whatever a completion holds."""

import functools
import json
import os
import subprocess
import sys
import time
from itertools import combinations, pairwise
from random import Random

import numpy as np
import pytest
import torch
from scipy.cluster import hierarchy
from test_grading_canonical import ROWS, answers_of
from torch.testing import assert_close

from manypaths import dra, mmr
from manypaths.grading import canonical
from manypaths.keys import KEYS, NO_KEY, bind, call_keys, needs_whole_groups, same_key
from manypaths.keys.expressions import DEEPEST, LONGEST_SIDE
from manypaths.keys.word_bigrams import LONGEST

PROBLEM = "How many?"
WAYS = [
    r"First 3 + 4 = 7, so it is \boxed{7}.",
    r"4 + 3 = 7. The answer is \boxed{7.0}",
    r"2 * 4 = 8, less one: 8 - 1 = 7. \boxed{7}",
    r"It is \boxed{\frac{1}{2}}",
    r"I give up.",
    r"There are \boxed{(3 + 4) * 2} of them",
    r"I choose \boxed{A, C}",
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
    "operators": "/" * 1_000_000,
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
    assert keys_of(name, WAYS).ne(NO_KEY).any()


def test_gibberish_is_one_answer():
    keys = keys_of("answer", ["asdf", "qwer zxcv", r"\boxed{", r"\boxed{ }", r"\boxed{" + "1" * 3000 + "}", WAYS[0]])
    assert classes(keys) == [0, 0, 0, 0, 0, 5] and keys[0] == NO_KEY


def test_texts_are_equal_up_to_white_space():
    assert classes(keys_of("text", ["a b", " a\n\tb ", "ab", "A b", "a b"])) == [0, 0, 2, 3, 0]


def test_answers_are_equal_as_the_grader_reads_them():
    boxes = ["7", "7.0", r"\text{7}", "7\\,", "\\!7", "8", "x", "X"]
    keys = keys_of("answer", [rf"so \boxed{{{box}}}" for box in boxes])
    assert classes(keys) == [0, 0, 0, 0, 0, 5, 6, 7]


def test_answer_keys_are_equal_where_canonical_texts_are():
    """tests/test_grading_canonical.py holds that the grader finds answers with equal canonical texts equal."""
    answers = sorted({answer for row in ROWS for answer in answers_of(row)})
    first: dict[str, int] = {}
    expected = [first.setdefault(canonical(answer), place) for place, answer in enumerate(answers)]
    assert classes(keys_of("answer", [rf"so \boxed{{{answer}}}" for answer in answers])) == expected
    assert len(answers) - len(first) > 500


def distinct(name, completions, **options):
    """The number of ways among completions."""
    return len(set(keys_of(name, completions, **options).tolist()))


@pytest.mark.parametrize(
    "same",
    [
        ["3 + 4 = 7", "7 = 4+3", "so 3 apples + 4 apples = 7 apples.", "$3 + $4 = $7", "<<3+4=7>>7", "**3 + 4 = 7**"],
        ["2 * 3 * 4 = 24", r"\[ 4 \times (3 \cdot 2) = \boxed{24} \]", "- 2 × 3 × 4 = 24.0", "1. 24 = 4 * 2 * 3"],
        ["8 - 2 = 6 and 6 / 2 = 3", "8 − 2 = 6\n8 - 2 = 6\n6 ÷ 2 = 3", r"\frac{6}{2} = 3, since 8 - 2 = 6"],
        ["x = 3 + 4 = 7", "3 + 4 = 7, so x = 4 + 3"],
        [r"\begin{aligned} a &= b \\ c &= d^2 \end{aligned}", "a = b, c = d^{2}", "a=b c = d^2 = d**2"][:2],
    ],
)
def test_equations_are_a_set_without_order(same):
    assert distinct("equations", same) == 1 and NO_KEY not in keys_of("equations", same)


@pytest.mark.parametrize(
    "different",
    [
        ["3 + 4 = 7", "3 + 4 = 8", "3 - 4 = 7", "3 + 4 = 7, 1 + 1 = 2", "3 * 4 = 7", "34 = 7"],
        ["8 - 2 = 6", "2 - 8 = 6", "8 / 2 = 6", "8^2 = 6", "8 * 2 = 6"],
        ["x = 3", "X = 3", "y = 3", "x_1 = 3", "2x = 3", "x^2 = 3", "5! = 3", "5 = 3", "\\pi = 3"],
    ],
)
def test_other_equations_have_other_keys(different):
    assert distinct("equations", different) == len(different)


@pytest.mark.parametrize("prose", ["No equation.", "3 + 4 is 7", "= 7", "x =", "the total = many things", "(3 + 4 = 7"])
def test_prose_has_no_equation(prose):
    assert keys_of("equations", [prose]).tolist() == [NO_KEY]


@pytest.mark.parametrize(
    "same",
    [
        [
            "(1 + 2) * 3",
            "3*(2+1)",
            r"3 \times \left(1 + 2\right)",
            "[2 + 1] · 3",
            "3(1+2)",
            "(1.0 + 2)*3 = 9",
            "y = 3(2+1)",
        ],
        ["1 + (2 + 3)", "3 + 2 + 1", "+1+2+3", "((1 + 2)) + 3"],
        ["a * b / c", r"\frac{a}{c} b", "a/c*b", "b * (a / c)"],
        ["4 - 3 + 2", "2 + 4 - 3", "-3 + 4 + 2"],
        ["-x^2", "-(x^2)", "- x ** 2"],
        ["a * -b", "-a*b", "-(a*b)"],
        [r"\sin^2 x + \sqrt{2}", r"\sqrt 2 + (\sin x)^2", r"\sqrt{2}+\sin^{2}(x)"],
    ],
)
@pytest.mark.parametrize("form", ["{}", r"<think>1 + 1</think> It is \boxed{{{}}}.", "First.<answer> {} </answer>"])
def test_commuted_operands_are_the_same_expression(same, form):
    completions = [form.format(expression) for expression in same]
    assert distinct("expression", completions) == 1 and NO_KEY not in keys_of("expression", completions)


@pytest.mark.parametrize(
    "different",
    [
        ["(1 + 2) * 3", "3 * 3", "9", "1 * 3 + 2 * 3", "1 + 2 * 3", "(1 + 3) * 2"],
        ["a - (b + c)", "a - b - c", "a - b + c", "b - a - c"],
        ["2^3^2", "(2^3)^2", "2^(3*2)", "2*3^2"],
        [r"\sqrt{2}x", r"\sqrt{2x}", "2x", r"\sin{2}x"],
        ["50%", "50", "50!", "0.5"],
        ["x_1 + 1", "x + 1", "x_{1} + 1"][:2],
    ],
)
def test_other_expressions_have_other_keys(different):
    assert distinct("expression", different) == len(different) and NO_KEY not in keys_of("expression", different)


@pytest.mark.parametrize(
    "gibberish", ["(1 + 2", "1 + 2)", "1 2", "1 +* 2", "two + 3", "3 apples", "__import__('os')", "1; 2", "()", "x[0"]
)
def test_what_is_no_arithmetic_has_no_expression(gibberish):
    assert keys_of("expression", [rf"\boxed{{{gibberish}}}"]).tolist() == [NO_KEY]


def test_an_expression_as_deep_and_long_as_the_bounds_and_beyond():
    for build, bound in (
        (lambda n: "(" * n + "1" + ")" * n, DEEPEST),
        (lambda n: "1" + "+1" * n, LONGEST_SIDE // 2 - 1),
    ):
        inside, outside = keys_of("expression", [build(bound), build(bound + 1)]).tolist()
        assert inside != NO_KEY and outside == NO_KEY


GROUP = [
    "we add three and four and get seven",
    "We add three and four, and get seven",
    "we add four and three and get seven",
    "draw a triangle and measure its longest side",
    "draw the triangle and measure its longest side",
    "guess",
]


def test_bigrams_cluster_wordings():
    assert classes(keys_of("bigrams", GROUP)) == [0, 0, 0, 3, 3, 5]


def test_a_larger_threshold_only_joins_clusters():
    thresholds = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
    parts = [classes(keys_of("bigrams", GROUP, threshold=threshold)) for threshold in thresholds]
    for finer, coarser in pairwise(parts):
        assert all(coarser[first] == coarser[place] for place, first in enumerate(finer))
    assert len(set(parts[0])) == 6 and len(set(parts[-1])) == 1


def test_bigrams_are_average_linkage():
    """Against scipy, on random texts whose distances do not tie."""
    random = Random(5)
    texts = [" ".join(random.choices("abcdef", k=30 + place)) for place in range(12)]
    pairs = [set(pairwise(text.split())) for text in texts]
    distances = [1 - len(a & b) / len(a | b) for a, b in combinations(pairs, 2)]
    for threshold in (0.3, 0.4, 0.5, 0.6):
        expected = hierarchy.fcluster(hierarchy.average(distances), threshold, "distance")
        assert classes(keys_of("bigrams", texts, threshold=threshold)) == classes(expected), threshold


def test_groups_are_clustered_apart():
    keys = call_keys(bind("bigrams", {}), GROUP + GROUP[::-1], [PROBLEM] * 12, 6)
    assert keys[:6].tolist() == keys[6:].tolist()[::-1] == keys_of("bigrams", GROUP).tolist()
    alone = call_keys(bind("bigrams", {}), GROUP[:2], [PROBLEM] * 2, 1)
    assert alone[0] != alone[1]


def test_the_characters_behind_the_bound_do_not_count():
    long = "a b " * (LONGEST // 4)
    assert distinct("bigrams", [long, long + "x y"], threshold=0.0) == 1


def test_copies_weigh_as_often_as_they_occur():
    """By hand: sets ab; ab, bc; bc, cd with distances 1/2, 2/3, 1. The first two join at 1/2. The third is then
    (1 + 2/3) / 2 = 5/6 away, and (1 + 2 * 2/3) / 3 = 7/9 with a copy of the second."""
    texts = ["a b", "a b c", "b c d"]
    assert distinct("bigrams", texts, threshold=0.8) == 2
    assert distinct("bigrams", [*texts, "a b c"], threshold=0.8) == 1


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
    assert needs_whole_groups(function) and not needs_whole_groups(functools.partial(function, size=3))
    with pytest.raises(ValueError, match="whole groups of 3 completions, got 4"):
        call_keys(function, ["b", "a", "c", "c"], [PROBLEM] * 4, 3)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("anwser", {}, "did you mean 'answer'"),
        ("test_keys.of_lenght", {}, "did you mean 'test_keys.of_length'"),
        ("no_such_module.keys", {}, "No keys function is called 'no_such_module.keys'"),
        ("text", {"modulus": 3}, "takes no options, got 'modulus'"),
        ("test_keys.of_length", {"modulo": 3}, "takes the options modulus, got 'modulo'"),
        ("test_keys.of_length", {"problems": []}, "got 'problems'"),
        ("bigrams", {"threshold": 1.5}, r"threshold must be in \[0, 1\], got 1.5"),
        ("bigrams", {"threshold": "0.5"}, "threshold must be in .*, got '0.5'"),
        ("bigrams", {"size": 4}, "takes the options threshold, got 'size'"),
        ("test_keys.PROBLEM", {}, "must be a function, got 'How many"),
        ("pathlib.Path", {}, "must be a function, got a class"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        bind(name, options)


@pytest.mark.parametrize(
    ("returned", "complaint"),
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
def test_what_a_keys_function_returns_is_checked(returned, complaint):
    def wrong(completions, problems):
        return returned

    with pytest.raises(ValueError, match=f"Keys function 'wrong' .*{complaint}"):
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
