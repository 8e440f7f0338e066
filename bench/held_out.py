"""How many held-out problems are training problems in other letters: python bench/held_out.py

Of the shipped recipes of problems with many right answers: held-out problems whose instance (a graph, numbers, items)
is one of the training under other names of its nodes, colours, items and marks, and problems that two seeds share.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict

from manypaths import recipe
from manypaths.problems import Problem, load
from manypaths.verifiers.colouring import graph
from manypaths.verifiers.cover import choice


def shape(problem: Problem) -> object:
    """What is left of an instance without the names in it: equal for two that differ by names alone."""
    if problem.grader == "countdown":
        return problem.answer.partition(" from ")[2]  # numbers in order of size
    if problem.grader == "colouring":
        own = graph(problem.answer)
        orders = itertools.permutations(range(own.nodes))
        return min(sorted(sorted((order[a], order[b])) for a, b in own.edges) for order in orders)
    items = choice(problem.answer)
    marks = sorted(items.need)
    renamed = (dict(zip(marks, order, strict=True)) for order in itertools.permutations(marks))
    return min(sorted(sorted(names[mark] for mark in own) for own in items.marks.values()) for names in renamed)


def main() -> None:
    """Print a line for each set."""
    for name in ("colouring", "countdown", "cover"):
        spec = recipe.read(["tiny-0.2m", "grpo", name])
        assert spec.evaluation is not None
        training, held_out = load(**asdict(spec.problems)), load(**asdict(spec.evaluation.problems))
        other = {**asdict(spec.problems), "options": {**spec.problems.options, "seed": 7}}
        shapes = {str(shape(problem)) for problem in training}
        renamed = sum(str(shape(problem)) in shapes for problem in held_out)
        shared = len({problem.answer for problem in training} & {problem.answer for problem in load(**other)})
        print(
            f"{name}: {renamed} of {len(held_out)} held-out instances have the shape of a training instance, of which "
            f"there are {len(shapes)}; seeds {spec.problems.options['seed']} and 7 share {shared} of "
            f"{len(training)} problems."
        )


if __name__ == "__main__":
    main()
