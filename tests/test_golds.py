"""A gold value has the same meaning in every file and script."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy
import pandas
import pytest
import torch

from manypaths.grading import is_correct
from manypaths.grading.golds import final_answer, gold_text, note_on_sentences


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("4", "4"),
        (" 4 ", "4"),
        ("Step \\boxed{3} hmm. #### 4", "Step \\boxed{3} hmm. #### 4"),
        (4, "4"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (1e300, str(int(1e300))),
        (float("inf"), "\\infty"),
        (True, "True"),
        (Decimal("1.50"), "1.50"),
        (Fraction(1, 3), "1/3"),
        (numpy.int64(7), "7"),
        (numpy.float64(7), "7"),
        (torch.tensor(7), "7"),
        (1e-7, "0.0000001"),
        (numpy.float32(0.1), "0.1"),
        (torch.tensor(-1.7), "-1.7"),
        (numpy.array([0.1, 2.5, 3], "float32"), "0.1, 2.5, 3"),
        (numpy.float32(1 / 4096), "0.000244140625"),
        (numpy.finfo("float32").max, str(int(numpy.finfo("float32").max))),
    ],
)
def test_a_text_or_a_number_stands_for_itself(value, text):
    assert gold_text(value) == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        numpy.nan,
        numpy.float32("nan"),
        pandas.NA,
        pandas.NaT,
        "nan",
        "<NA>",
        "",
        " \n",
        [],
        [None],
        (),
    ],
)
def test_a_missing_value_is_not_a_gold_answer(value):
    assert gold_text(value) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (["4", "5"], "4, 5"),
        (("4", 5.0), "4, 5"),
        (["4"], "4"),
        ([["4", "5"]], "4, 5"),
        (numpy.array([1, 2]), "1, 2"),
        ('["34"]', "34"),
        ('["4", "5"]', "4, 5"),
        (["$\\boxed{4}$", "so \\boxed{3}\n#### 5"], "4, 5"),
        ("['4', '5']", "4, 5"),
        ("[1, 2]", "[1, 2]"),
        ("{1, 2}", "{1, 2}"),
        ("{'", "{'"),
        ("None", "None"),
        ('["no JSON"', '["no JSON"'),
    ],
)
def test_a_list_holds_the_parts_of_one_answer(value, text):
    assert gold_text(value) == text


def test_all_parts_of_a_list_are_needed_in_any_order():
    gold = gold_text(["4", "5"])
    assert is_correct(r"\boxed{5, 4}", gold) and not is_correct(r"\boxed{4}", gold)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"style": "rule", "ground_truth": "4"}, "object with the keys 'style', 'ground_truth'"),
        ('{"value": "4"}', "object with the keys 'value'"),
        ("{'value': 4}", "object with the keys 'value'"),
        ([{"text": "4"}], "object with the keys 'text'"),
        (["4", None], "every place"),
        (["4", float("nan")], "every place"),
        ([["1", "2"], ["3", "4"]], "no lists"),
        (b"4", "bytes"),
        ({4, 5}, "set"),
    ],
)
def test_an_object_or_an_incomplete_list_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        gold_text(value)


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("4", "4"),
        ("first \\boxed{9}, so $\\boxed{1.6}$ cm", "1.6"),
        ("Step one \\boxed{3} hmm. #### 4", "4"),
        ("\\boxed{3}\n#### \\boxed{4}", "4"),
        ("#### Step 1\n...\n#### Step 2\nso \\boxed{5}.", "5"),
        ("5 apples\n#### 5\n", "5"),
        ("\\boxed{3} ####", "3"),
        ("\\boxed{3}\n#### Check\nFirst line.\nSecond line.", "3"),
    ],
)
def test_a_mark_has_precedence_over_a_box_before_it(solution, answer):
    assert final_answer(solution) == answer


@pytest.mark.parametrize("gold", ["We add one. The answer is: 4", "Because A is more than B, it is C."])
def test_the_note_names_a_gold_answer_that_is_a_sentence(gold):
    note = note_on_sentences(["4", gold])
    assert note is not None and note.startswith("1 of 2 gold answers are sentences") and repr(gold) in note


@pytest.mark.parametrize("gold", ["4", "5 apples", "no real solution", "\\text{June 20}", "\\frac{\\sin x}{\\cos y}"])
def test_other_gold_answers_are_not_sentences(gold):
    assert note_on_sentences([gold]) is None
