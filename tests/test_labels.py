"""Geometry of the names in a picture against brute force, and where a name stands in small pictures."""

import math

import numpy
import pytest

from manypaths.comparison.labels import LETTER, LINE, NEAR, Crowd, arrange, cover, cross, end_of_line, goes_through

RANDOM = numpy.random.default_rng(7)
TICKS = numpy.linspace(0, 1, 2001)


def box():
    left, bottom, wide, high = RANDOM.uniform((0, 0, 5, 5), (60, 60, 40, 40))
    return left, bottom, left + wide, bottom + high


def place():
    return tuple(RANDOM.uniform(0, 100, 2))


def on(line):
    """Places on a line, [2001, 2]."""
    start, stop = map(numpy.array, line)
    return start + TICKS[:, None] * (stop - start)


def depth(places, around):
    """How deep places are in a box: above 0 inside, below 0 outside."""
    left, bottom, right, top = around
    x, y = numpy.asarray(places).T
    return numpy.minimum(numpy.minimum(x - left, right - x), numpy.minimum(y - bottom, top - y))


def test_boxes_cover_one_another_where_they_have_a_place_in_common():
    for _ in range(300):
        first, second = box(), box()
        grid = numpy.stack(numpy.meshgrid(*numpy.linspace(first[:2], first[2:], 60).T), -1).reshape(-1, 2)
        deepest = numpy.minimum(depth(grid, first), depth(grid, second)).max()
        if abs(deepest) > 1:
            assert cover(first, second) == cover(second, first) == (deepest > 0)
    assert not cover((0, 0, 1, 1), (1, 0, 2, 1)) and not cover((0, 0, 1, 1), (0, 1, 1, 2)), "an edge is no place"


@pytest.mark.parametrize("fixed", [None, 0, 1])
def test_a_line_goes_through_a_box_where_a_place_of_it_is_inside(fixed):
    """`fixed` 0 makes upright lines and 1 level ones."""
    seen = set()
    for _ in range(300):
        around, start, stop = box(), place(), list(place())
        if fixed is not None:
            stop[fixed] = start[fixed]
        line = (start, tuple(stop))
        deepest = depth(on(line), around).max()
        if abs(deepest) > 0.1:
            seen.add(bool(deepest > 0))
            assert goes_through(line, around) == goes_through(line[::-1], around) == (deepest > 0)
    assert seen == {True, False}


def test_lines_cross_where_they_have_a_place_in_common():
    seen = set()
    for _ in range(300):
        first, second = (place(), place()), (place(), place())
        (a, b), (c, d) = map(numpy.array, first), map(numpy.array, second)
        along = numpy.linalg.solve(numpy.stack([b - a, c - d], 1), c - a)  # a + s (b - a) = c + t (d - c)
        inside = bool(((along > 0) & (along < 1)).all())
        seen.add(inside)
        assert cross(first, second) == cross(second, first) == inside
    assert seen == {True, False}


def test_a_line_ends_at_the_nearest_place_of_a_name_that_is_not_near():
    far = 0
    for _ in range(300):
        point, around = place(), box()
        end = end_of_line(point, around)
        grid = numpy.stack(numpy.meshgrid(*numpy.linspace(around[:2], around[2:], 60).T), -1).reshape(-1, 2)
        least = numpy.linalg.norm(grid - point, axis=1).min()
        if end is None:
            assert least < NEAR + 1
        else:
            far += 1
            assert math.dist(point, end) == pytest.approx(least, abs=1) and math.dist(point, end) > NEAR
            assert depth([end], around)[0] == pytest.approx(0, abs=1e-9)
    assert far > 50


def test_a_name_alone_stands_right_of_its_point_and_left_of_it_at_the_right_edge():
    [(left, bottom, right, top)] = arrange(Crowd(300, 200, [(150, 100)]), ["a name"])
    assert (left, right, bottom, top) == (158, pytest.approx(158 + 6 * LETTER), 100 - LINE / 2, 100 + LINE / 2)
    [(left, _, right, _)] = arrange(Crowd(300, 200, [(290, 100)]), ["a name"])
    assert right == 282 and left == pytest.approx(282 - 6 * LETTER)


@pytest.mark.parametrize("kind", ["bars", "taken"])
def test_a_name_leaves_the_place_of_an_interval_and_of_other_words(kind):
    obstacle = (150.0, 97.0, 230.0, 103.0)
    [name] = arrange(Crowd(300, 200, [(150, 100)], **{kind: [obstacle]}), ["a name"])
    assert not cover(name, obstacle) and end_of_line((150, 100), name) is None, "and is still near its point"
    everywhere = (0.0, 0.0, 300.0, 200.0)
    assert (arrange(Crowd(300, 200, [(150, 100)], **{kind: [everywhere]}), ["a name"]) is None) == (kind == "taken")


def test_a_line_to_a_name_does_not_run_over_another_point():
    """Walls leave a corridor on the right with the other point in it, and above a gap for a line alone."""
    point, other = (200.0, 150.0), (224.0, 150.0)
    walls = [(0.0, 0.0, 192.0, 200.0), (192.0, 0.0, 400.0, 135.0), (210.0, 165.0, 400.0, 200.0)]
    first, _ = arrange(Crowd(400, 300, [point, other], taken=walls), ["a name", "b"])
    end = end_of_line(point, first)
    assert end is not None and first[1] >= 200
    assert not goes_through((point, end), (other[0] - 4, other[1] - 4, other[0] + 4, other[1] + 4))


def test_one_name_without_room_leaves_none_for_the_picture():
    points = [(50.0, 50.0), (150.0, 50.0)]
    assert arrange(Crowd(200, 100, points), ["first", "second"]) is not None
    assert arrange(Crowd(200, 100, points), ["first", "x" * 60]) is None


def test_no_name_hides_a_point_and_two_that_fit_beside_their_points_do_so():
    points = [(100.0, 100.0), (112.0, 100.0)]
    first, second = arrange(Crowd(300, 200, points), ["first", "second"])
    assert not cover(first, second) and first[2] < second[0]
    for own in (first, second):
        assert not any(cover(own, (x - 4, y - 4, x + 4, y + 4)) for x, y in points)
        assert end_of_line(points[0 if own is first else 1], own) is None


@pytest.mark.parametrize(("count", "spread"), [(7, 15), (10, 30)])
def test_lines_of_a_crowd_cross_neither_lines_nor_names_where_there_is_room(count, spread):
    drawn = 0
    for seed in range(12):
        middle = numpy.random.default_rng(seed).normal((200, 150), spread, (count, 2))
        points = [tuple(point) for point in middle]
        names = arrange(Crowd(400, 300, points), ["a long name"] * count)
        ends = [end_of_line(point, name) for point, name in zip(points, names, strict=True)]
        lines = {at: (points[at], end) for at, end in enumerate(ends) if end is not None}
        drawn += len(lines)
        for at, line in lines.items():
            assert not any(goes_through(line, name) for other, name in enumerate(names) if other != at)
            assert not any(cross(line, lines[other]) for other in lines if other != at)
    assert drawn > 12
