"""Problems with many right answers: all ways by brute force, one way, held-out instances, equal by seed."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from manypaths import keys
from manypaths.problems import load
from manypaths.problems.countdown import expressions
from manypaths.verifiers import VERIFIERS, colouring, countdown, cover

WAYS = ["colouring", "countdown", "cover"]


def brute_force(problem):
    graph = colouring.graph(problem.answer)
    answers = map("".join, itertools.product("123456789"[: graph.colours], repeat=graph.nodes))
    return [answer for answer in answers if VERIFIERS["colouring"].is_right(answer, problem.answer)]


@pytest.mark.parametrize("options", [{}, {"nodes": 5, "colours": 4}, {"nodes": 4, "joined": [0, 6], "ways": "any"}])
def test_the_ways_of_a_graph_are_all_its_proper_colourings(options):
    for problem in load("colouring", options={"count": 25, "seed": 3, **options}):
        assert list(problem.ways) == brute_force(problem)
        assert len(problem.ways) > 1 or options.get("ways") == "any"


def test_the_question_of_a_graph_shows_its_condition():
    (problem, *_) = load("colouring", options={"count": 1, "seed": 0, "nodes": 4})
    graph = colouring.graph(problem.answer)
    rows = problem.question.split(" ")
    assert [row[0] for row in rows] == [str(dict(graph.given).get(node, "?")) for node in range(4)]
    shown = {(a, b) for b, row in enumerate(rows) for a, mark in enumerate(row[1:]) if mark == "ABCD"[a]}
    assert shown == set(graph.edges) and all(len(row) == node + 1 for node, row in enumerate(rows))


@pytest.mark.parametrize("name", WAYS)
def test_with_one_way_exactly_one_answer_is_right_and_a_share_is_kept(name):
    assert {len(problem.ways) for problem in load(name, options={"count": 60, "seed": 4, "ways": "one"})} == {1}
    assert min(len(problem.ways) for problem in load(name, options={"count": 60, "seed": 4, "ways": "many"})) > 1
    quarter = [len(problem.ways) == 1 for problem in load(name, options={"count": 60, "seed": 4, "ways": 0.25})]
    assert sum(quarter) == 15 and sum(quarter[:20]) == 5


@pytest.mark.parametrize("name", WAYS)
def test_the_first_way_is_right_and_so_are_all_others(name):
    for problem in load(name, options={"count": 40, "seed": 5, "ways": 0.3}):
        assert problem.grader == name and len(set(problem.ways)) == len(problem.ways)
        assert all(VERIFIERS[name].is_right(way, problem.answer) for way in problem.ways)


@pytest.mark.parametrize("name", WAYS)
def test_the_same_seed_draws_the_same_problems_and_another_seed_others(name):
    options = {"count": 50, "seed": 6}
    assert load(name, options=options) == load(name, options=options)
    assert load(name, options=options) != load(name, options={**options, "seed": 7})
    assert len({problem.answer for problem in load(name, options=options)}) == 50


def instance(problem):
    """What the parts may not share: the pairs of a graph, the numbers of a countdown, the items of a cover."""
    if problem.grader == "countdown":
        return problem.answer.partition(" from ")[2]
    return problem.answer.partition(", given")[0].partition(", not")[0]


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("ways", ["one", "many"])
def test_held_out_problems_share_no_instance_with_any_other(name, ways):
    trained = {instance(p) for seed in (1, 2) for p in load(name, options={"count": 120, "seed": seed, "ways": ways})}
    held_out = {
        instance(problem)
        for own in ("one", "many")
        for problem in load(name, options={"count": 40, "seed": 3, "ways": own, "held_out": True})
    }
    assert trained and held_out and not trained & held_out


def test_numbers_in_another_order_are_one_problem_of_a_set_and_on_one_side_of_the_split():
    def numbers(problem):
        return tuple(sorted(map(int, problem.question.partition(" from ")[2].split())))

    options = {"numbers": 3, "largest": 6, "ways": "any"}
    training = [
        problem for seed in (1, 2) for problem in load("countdown", options={"count": 90, "seed": seed, **options})
    ]
    held_out = load("countdown", options={"count": 40, "seed": 3, "held_out": True, **options})
    for problems in (training[:90], training[90:], held_out):
        values = [problem.question.partition(" from ")[0] for problem in problems]
        assert len(set(zip(values, map(numbers, problems), strict=True))) == len(problems)
    orders = {problem.question.partition(" from ")[2] for problem in training}
    assert len(orders) > len({numbers(problem) for problem in training})  # several orders of some numbers were drawn
    assert not {numbers(problem) for problem in training} & {numbers(problem) for problem in held_out}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ways": "two"}, ["ways must be", "two"]),
        ({"ways": 1.5}, ["ways must be", "1.5"]),
        ({"ways": True}, ["ways must be"]),
        ({"count": 0}, ["count"]),
        ({"node": 3}, ["do not fit", "node"]),
        ({"nodes": 12}, ["nodes", "12"]),
        ({"joined": [5, 3]}, ["joined"]),
        ({"nodes": 3, "count": 60}, ["at most", "60"]),
    ],
)
def test_graphs_that_cannot_be_drawn_are_refused_with_the_reason(options, words):
    with pytest.raises(ValueError) as caught:
        load("colouring", options=options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def trees(numbers):
    """Every way to join numbers in this order by + - * /: (value, form), where brackets of nested sums do not count.

    The form of a sum is its sign, its parts that are added and its parts that are taken away, in order; of a product
    likewise.
    """
    if len(numbers) == 1:
        yield Fraction(numbers[0]), numbers[0]
    for cut in range(1, len(numbers)):
        for (a, left), (b, right) in itertools.product(trees(numbers[:cut]), trees(numbers[cut:])):
            for sign, inverse, value in (("+", 0, a + b), ("+", 1, a - b), ("*", 0, a * b), ("*", 1, b and a / b)):
                if sign == "*" and inverse and not b:
                    continue
                parts = [[], []]
                for form, turn in ((left, 0), (right, inverse)):
                    own = form[1:] if isinstance(form, tuple) and form[0] == sign else ([form], [])
                    for side in (0, 1):
                        parts[side ^ turn] += own[side]
                yield value, (sign, sorted(parts[0], key=repr), sorted(parts[1], key=repr))


@pytest.mark.parametrize("numbers", [(2, 3), (1, 2, 3), (2, 2, 5), (3, 3, 3), (1, 3, 4, 6), (2, 2, 3, 8)])
def test_the_ways_to_a_value_are_the_forms_of_all_expressions(numbers):
    forms = {}
    for order in set(itertools.permutations(numbers)):
        for value, form in trees(order):
            if value > 0 and value.denominator == 1:
                forms.setdefault(int(value), set()).add(repr(form))
    ours = expressions(numbers)
    assert {value: len(texts) for value, texts in ours.items()} == {value: len(own) for value, own in forms.items()}
    for value, texts in ours.items():
        own = keys.expression(list(texts), [""] * len(texts)).tolist()
        assert len(set(own)) == len(texts) and keys.NO_KEY not in own
        assert all(VERIFIERS["countdown"].is_right(text, countdown.condition(value, numbers)) for text in texts)


def test_the_key_of_a_countdown_is_equal_for_commuted_operands_alone():
    def key(text):
        return keys.expression([text], [""]).item()

    assert key("(8-6)*4*3") == key("3*(4*(8-6))") == key("4*3*(8-6)") == key("(8 - 6) × 3 × 4")
    assert key("8-3+4") == key("4+8-3") == key("(8-3)+4")
    assert (
        len({key("8*3"), key("8+3"), key("8-3"), key("3-8"), key("8/3"), key("3/8"), key("8*(3+1)"), key("8*3+1")}) == 8
    )


def test_the_ways_of_a_cover_are_all_right_choices():
    for problem in load("cover", options={"count": 30, "seed": 3, "items": 5, "choose": 2, "marks": 4, "ways": "any"}):
        own = cover.choice(problem.answer)
        chosen = ["".join(pair) for pair in itertools.combinations("ABCDE", own.size)]
        right = [pair for pair in chosen if own.need <= own.marks[pair[0]] | own.marks[pair[1]]]
        assert list(problem.ways) == [pair for pair in right if frozenset(pair) not in own.excluded]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("countdown", {"numbers": 5}, ["numbers must be", "5"]),
        ("countdown", {"target": [9, 3]}, ["target", "9, 3"]),
        ("countdown", {"largest": 1, "count": 5}, ["at most", "5"]),
        ("cover", {"items": 1}, ["items must be", "1"]),
        ("cover", {"choose": 7}, ["choose", "7"]),
        ("cover", {"excluded": 99}, ["excluded", "99"]),
    ],
)
def test_numbers_and_items_that_cannot_be_drawn_are_refused_with_the_reason(name, options, words):
    with pytest.raises(ValueError) as caught:
        load(name, options=options)
    assert all(word in str(caught.value) for word in words), str(caught.value)
