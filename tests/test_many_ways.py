"""Problems with many right answers: all ways by brute force, one way, held-out instances, equal by seed."""

from __future__ import annotations

import itertools

import pytest

from manypaths.problems import MADE, load
from manypaths.verifiers import VERIFIERS, colouring

WAYS = ["colouring"]


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
    """What the parts may not share: for a graph its pairs, without the given colours."""
    return problem.answer.partition(", given")[0]


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("ways", ["one", "many"])
def test_held_out_problems_share_no_instance_with_any_other(name, ways):
    trained = {instance(p) for seed in (1, 2) for p in load(name, options={"count": 300, "seed": seed, "ways": ways})}
    held_out = {
        instance(problem)
        for own in ("one", "many")
        for problem in load(name, options={"count": 80, "seed": 3, "ways": own, "held_out": True})
    }
    assert trained and held_out and not trained & held_out


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
        ({"nodes": 3, "count": 500}, ["at most", "500"]),
    ],
)
def test_graphs_that_cannot_be_drawn_are_refused_with_the_reason(options, words):
    with pytest.raises(ValueError) as caught:
        load("colouring", options=options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_every_generator_is_in_the_help():
    from manypaths.evaluation.arguments import evaluate as add

    assert callable(add) and set(WAYS) <= set(MADE)
