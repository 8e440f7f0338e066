"""The pictures of a comparison: curves, and pass@K against accuracy, with the numbers of the comparison."""

import copy
import re
import xml.etree.ElementTree as xml

import numpy
import pytest
from matplotlib.figure import Figure
from test_compare import made_up
from test_report import ARMS, CASES, SHOWN, Page, counted, many, written

from manypaths.comparison import style, tradeoff
from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations, drawn_measures, has_race
from manypaths.comparison.figures import save
from manypaths.comparison.labels import Crowd, arrange, cover
from manypaths.comparison.numbers import SHARE, unit_of, with_interval
from manypaths.comparison.panels import draw, panels
from manypaths.comparison.protocol import Protocol

assert written  # a fixture
DIVERSE = CASES["pass@4 with a margin"]


def inline(folder, name):
    return re.findall(r"<figure>(.*?)</figure>", (folder / name / "report.html").read_text(), re.DOTALL)


# Curves


@pytest.mark.parametrize("name", CASES)
def test_the_words_of_a_panel_hold_first_last_and_highest(name):
    for panel in panels(CASES[name]):
        for curve_name, curve in panel.curves.items():
            values = [value for _, value, _, _ in curve]
            part = panel.words.partition(f"{curve_name}: ")[2].partition(";")[0].rstrip(".")
            shown = [float(text) for text in re.findall(r"(?<![\d.])\d+(?:\.\d+)?", part.replace(",", ""))]
            factor = 1 if panel.unit is None else panel.unit.factor
            exact = [factor * values[0], curve[0][0], factor * values[-1], curve[-1][0], factor * max(values)]
            assert shown == pytest.approx(exact, abs=0.051, rel=0.006)
        assert panel.words.startswith(f"{panel.title} over {panel.across}. ") and panel.words.endswith(".")


def test_a_panel_has_the_curves_of_the_comparison():
    comparison = compare(many())
    drawn = {(panel.title, panel.across): panel for panel in panels(comparison)}
    assert [(title, across) for title, across in drawn] == [
        ("Accuracy", "steps"),
        ("Accuracy", "hours"),
        ("Similarity of siblings", "steps"),
        ("Vendi score", "steps"),
        ("Zero-variance groups", "steps"),
        ("Entropy", "steps"),
    ]
    for configuration in configurations(comparison):
        for across in ("step", "hours"):
            curve = [(point[across], point["value"], point["low"], point["high"]) for point in configuration["curve"]]
            assert drawn["Accuracy", across.rstrip("s") + "s"].curves[configuration["name"]] == curve
        assert drawn["Entropy", "steps"].curves[configuration["name"]] == configuration["metrics"]["entropy"]
    assert [panel.level for panel in drawn.values()] == [comparison["targets"]["accuracy"]["value"]] * 2 + [None] * 4


@pytest.mark.parametrize(
    ("metric", "titles"),
    [
        ("accuracy", ["Accuracy", "pass@4"]),
        ("pass@4", ["pass@4", "Accuracy"]),
        ("distinct@4", ["Distinct right answers among 4", "pass@4"]),
    ],
)
def test_the_metric_is_drawn_and_what_it_is_traded_for(metric, titles):
    comparison = compare(counted({"grpo": 0, "mmr": 0.5}), "grpo", metric=metric)
    assert [panel.title for panel in panels(comparison)] == titles
    for panel, name in zip(panels(comparison), drawn_measures(comparison), strict=True):
        assert panel.level == comparison["targets"][name]["value"] and panel.unit is unit_of(name)


def test_one_evaluation_is_no_curve():
    comparison = CASES["one evaluation"]
    assert not has_race(comparison) and "Accuracy" not in {panel.title for panel in panels(comparison)}


@pytest.mark.parametrize("count", [1, 3, 10, 24])
def test_a_configuration_keeps_its_colour_and_no_two_look_alike(count):
    comparison = compare(many(count, seeds=[1]))
    names, looks = [configuration["name"] for configuration in configurations(comparison)], {}
    for panel in panels(comparison):
        axes = Figure().subplots()
        draw(panel, axes, names)
        for line in axes.get_lines():
            if (name := line.get_label()) in names:
                assert line.get_color() == style.look(name, names)[0]
                looks.setdefault(name, set()).add((line.get_color(), line.get_linestyle()))
    assert set(looks) == set(names) and all(len(used) == 1 for used in looks.values())
    assert len(set.union(*looks.values())) == count


def test_no_two_of_ten_look_alike_in_the_legend_of_the_page(written):
    page = Page((written / "ten configurations without a clock" / "report.html").read_text())
    assert len({swatch["style"] for swatch in page.all("i")}) == 10 == len(page.all("b"))


@pytest.mark.parametrize("name", [name for name in SHOWN if has_race(CASES[name])])
def test_whatever_there_is_is_drawn(written, name):
    drawn, pictures = panels(CASES[name]), inline(written, name)
    names = [configuration["name"] for configuration in configurations(CASES[name])]
    timed = any(
        point["hours"] is not None for configuration in configurations(CASES[name]) for point in configuration["curve"]
    )
    assert ("hours" in {panel.across for panel in drawn}) == timed
    for panel, svg in zip(drawn, pictures[len(pictures) - len(drawn) :], strict=True):
        root = xml.fromstring(svg.replace(" role=img", ""))
        shown = "".join(root.itertext())
        assert panel.title in shown and panel.across in shown
        assert "width" not in root.attrib and "height" not in root.attrib and root.attrib["viewBox"]
        assert style.INK not in svg and style.PALE not in svg
        styles = [element.get("style", "") for element in root.iter()]
        for curve_name in panel.curves:
            colour = style.look(curve_name, names)[0]
            assert any(f"fill: {colour}" in text for text in styles)  # the band, or a point
        lines = [text for text in styles if "stroke-width: 1.6" in text]
        assert [re.search("stroke: (#......)", text)[1] for text in lines] == [
            style.look(curve_name, names)[0] for curve_name in panel.curves
        ]
        many_points = max(map(len, panel.curves.values())) >= 30
        assert ("<use" in svg) and (many_points or len(re.findall("<use", svg)) > 5)


def test_half_a_clock_is_drawn_for_those_that_have_it():
    runs = many()
    runs[0].clock = runs[1].clock = []
    drawn = {(panel.title, panel.across): panel for panel in panels(compare(runs))}
    assert list(drawn["Accuracy", "steps"].curves) == ["grpo", "method1", "method2"]
    assert list(drawn["Accuracy", "hours"].curves) == ["method1", "method2"]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_no_half_of_the_curves_stays_blank(count, tmp_path):
    logged = ["diversity/similarity", "diversity/vendi_score", "entropy", "groups/zero_std"][: count - 1]
    curves = {name: [(step, 0.5 + step / 100) for step in range(31)] for name in logged}
    runs = [made_up(f"grpo-{seed}", seed, clock=[], parts={}, curves=curves) for seed in (1, 2)]
    assert len(save(compare(runs), tmp_path)) == count
    root = xml.parse(tmp_path / "curves.svg").getroot()
    width, places = float(root.attrib["viewBox"].split()[2]), {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        if re.fullmatch(r"(axes|legend)_\d+", group.attrib.get("id", "")):
            texts = group.iter("{http://www.w3.org/2000/svg}text")
            places[group.attrib["id"]] = max(float(text.attrib["x"]) for text in texts)
    *axes, legend = places.values()
    assert len(axes) == count and max(axes) > 0.9 * width
    is_beside = count > 1 and count % 2 == 1
    assert (legend > 0.5 * width) == is_beside and (axes[-1] < 0.5 * width) == is_beside


# pass@K against accuracy

PAIR = ("accuracy", "pass@4")


def sides_of(comparison):
    return zip(*(configurations(comparison, name) for name in PAIR), strict=True)


def ends(item):
    return item["low"], item["high"]


@pytest.mark.parametrize("name", ["pass@4 with a margin", "a protocol", "all measures", "paired"])
def test_the_tradeoff_has_the_differences_that_the_tables_have(name):
    comparison = CASES[name]
    trade = tradeoff.tradeoff(comparison)
    assert trade.pair == PAIR and trade.baseline == "grpo" and trade.margin == comparison["margin"]
    assert trade.heading == "pass@4 against accuracy, minus grpo, at the end"
    base, *points = trade.points
    assert (base.x, base.y, base.x_interval, base.y_interval) == (0, 0, None, None)
    (across, up), *sides = sides_of(comparison)
    assert f"grpo: accuracy {with_interval(across['last'], SHARE)}, pass@4 {with_interval(up['last'], SHARE)};" in (
        trade.words
    )
    for point, (across, up) in zip(points, sides, strict=True):
        across_, up_ = (side["against"]["last"] for side in (across, up))
        assert point.name == across["name"]
        assert (point.x, point.y) == (across_["value"], up_["value"])
        assert (point.x_interval, point.y_interval) == (ends(across_), ends(up_))
        both = ", ".join(
            f"{measure} {with_interval(item, SHARE, signed=True)} points, {item['verdict']}"
            for measure, item in zip(PAIR, (across_, up_), strict=True)
        )
        assert f"{point.name}: {both}" in trade.words
        assert point.is_shown == any(item["verdict"] in ("better", "worse") for item in (across_, up_))


@pytest.mark.parametrize("end", ["low", "high"])
def test_an_interval_with_an_open_end_is_not_in_the_tradeoff(end):
    comparison = copy.deepcopy(DIVERSE)
    for side in comparison["configurations"][1:]:
        side["measures"]["accuracy"]["against"]["last"][end] = None
    _, *points = tradeoff.tradeoff(comparison).points
    assert [point.x_interval for point in points] == [None] * len(points)
    assert None not in [point.y_interval for point in points]


def test_the_intervals_of_the_tradeoff_are_paired_where_the_differences_are():
    runs = counted({"grpo": 0, "mmr": 0.6}, 10, luck=0.8)
    paired, unpaired = (
        tradeoff.tradeoff(compare(runs, "grpo", metric="pass@4", paired=wish)).points[1] for wish in (True, False)
    )
    assert paired.y == unpaired.y
    low, high = paired.y_interval
    assert unpaired.y_interval[0] < low < high < unpaired.y_interval[1]


def test_a_configuration_alone_is_a_point_with_its_own_values():
    comparison = compare(counted({"grpo": 0}), margin=2)
    trade = tradeoff.tradeoff(comparison)
    assert trade.baseline is None and trade.margin is None and trade.signs == []
    assert trade.heading == "pass@4 against accuracy, at the end"
    [point], [(across, up)] = trade.points, sides_of(comparison)
    assert (point.x, point.y) == (across["last"]["value"], up["last"]["value"])
    assert (point.x_interval, point.y_interval) == (ends(across["last"]), ends(up["last"]))


def test_pass_at_k_is_that_of_the_metric_or_of_the_protocol_else_the_largest_and_none_without_it():
    runs = counted({"grpo": 0, "mmr": 0.5}, samples=16)

    def shown(**question):
        return tradeoff.tradeoff(compare(runs, "grpo", **question)).pair[1]

    assert shown() == "pass@16" and shown(metric="pass@4") == "pass@4" and shown(metric="distinct@4") == "pass@16"
    endpoints = {"accuracy": ["pass@2"], "distinct@4": ["pass@8"]}
    for metric, secondary in endpoints.items():
        protocol = Protocol("made up", "grpo", ["mmr"], [metric], secondary)
        comparison = compare(runs, protocol=protocol)
        assert tradeoff.tradeoff(comparison).pair[1] == secondary[0]
        assert drawn_measures(comparison) == [metric, secondary[0]]
    assert drawn_measures(compare(runs, "grpo", metric="pass@4")) == ["pass@4", "accuracy"]
    mixed = [*runs_with(runs[:3], 16), *counted({"mmr": 0.5}, samples=4)]
    assert tradeoff.tradeoff(compare(mixed, "grpo")).pair[1] == "pass@4"
    assert tradeoff.tradeoff(compare(many())) is None


def runs_with(runs, samples):
    assert all(counts.samples == samples for run in runs for counts in run.results[0]["made-up"].counts.values())
    return runs


def crosses(trade, names):
    """The axes, and [(colour, x, y)] of every line that is drawn."""
    axes = Figure(figsize=(8, 5)).subplots()
    tradeoff.draw(trade, axes, names)
    return axes, [(line.get_color(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


def test_a_cross_has_both_intervals_and_an_open_end_has_no_bar():
    trade = tradeoff.tradeoff(DIVERSE)
    trade.points[1].y_interval = None
    names = [point.name for point in trade.points]
    axes, lines = crosses(trade, names)
    for place, point in enumerate(trade.points):
        colour = style.COLOURS[place]
        if point.x_interval is not None:
            assert (colour, list(point.x_interval), [point.y, point.y]) in lines
        if point.y_interval is not None:
            assert (colour, [point.x, point.x], list(point.y_interval)) in lines
        assert (colour, [point.x], [point.y]) in lines
        assert sum(own == colour for own, _, _ in lines) == 3 - (point.x_interval, point.y_interval).count(None)
        [marker] = [line for line in axes.get_lines() if line.get_color() == colour and len(line.get_xdata()) == 1]
        assert marker.get_marker() == style.MARKERS[place]
        assert (marker.get_fillstyle() == "full") == point.is_shown
    assert {point.is_shown for point in trade.points} == {True, False}
    assert (style.INK, [0.0], [0.0]) in lines  # the ring of the baseline
    assert (style.INK, [-0.03, -0.03], [0, 1]) in lines  # the margin, in the view
    assert axes.get_xlim()[0] < -0.03
    assert axes.get_xlabel().split("\n") == ["accuracy, points", *trade.signs]
    assert trade.signs == ["hollow: neither difference is shown", "dashed line: 3 points lower in accuracy, the margin"]


def test_the_quadrant_in_which_both_are_higher_is_shaded():
    axes, _ = crosses(tradeoff.tradeoff(DIVERSE), list(ARMS))
    [shade] = axes.collections
    (left, low), (right, top) = shade.get_paths()[0].get_extents().get_points()
    assert (left, low) == (0, 0) and right == axes.get_xlim()[1] and top == axes.get_ylim()[1]
    assert tradeoff.HIGHER in [text.get_text() for text in axes.texts]
    alone, _ = crosses(tradeoff.tradeoff(compare(counted({"grpo": 0}))), ["grpo"])
    assert len(alone.collections) == 0 and tradeoff.HIGHER not in [text.get_text() for text in alone.texts]


@pytest.mark.parametrize("gains", [[0, 0.01, 0.02, 0.5, 0.51, 1], [place / 50 for place in range(13)]])
def test_names_stand_beside_their_points_and_cover_neither_one_another_nor_a_point(gains, tmp_path):
    names = [f"method-{place}" for place in range(len(gains))]
    comparison = compare(counted(dict(zip(names, gains, strict=True)), 2), names[0])
    trade = tradeoff.tradeoff(comparison)
    axes, _ = crosses(trade, names)
    labels = [text for text in axes.texts if text.get_text() not in ("", tradeoff.HIGHER)]
    assert [text.get_text() for text in labels] == [f"{names[0]} (baseline)", *names[1:]]
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place])
    points = [axes.transData.transform((point.x, point.y)) for point in trade.points]
    assert not any(box.contains(*point) for box in boxes for point in points)
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)
    save(comparison, tmp_path)
    words = "".join(xml.parse(tmp_path / "tradeoff.svg").getroot().itertext())
    assert all(words.count(name) >= 1 for name in names) and "legend_1" not in (tmp_path / "tradeoff.svg").read_text()


WIDE = [(-0.05, 0.02), (0.06, 0.05), (-0.02, -0.06), (0.03, -0.03)]  # accuracy and pass@4 of arms far from one another


def spread_out(margin=0.05):
    """Four arms and the baseline, each with an interval through the place on its right where its name would stand."""
    arms = [
        tradeoff.Point(f"arm-{place}", x, y, (x - 0.01, x + 0.05), (y - 0.01, y + 0.02), "", place != 2)
        for place, (x, y) in enumerate(WIDE)
    ]
    bare = [tradeoff.Point(name, x, y, None, None, "") for name, x, y in (("base", 0, 0), ("edge", -0.054, -0.04))]
    pole = tradeoff.Point("pole", 0.012, 0.06, None, (-0.03, 0.08), "")  # its interval is right of the baseline
    top = tradeoff.Point("top", 0.115, 0.085, None, None, "")  # beside the words of the quadrant
    return tradeoff.Tradeoff(PAIR, [bare[0], *arms, bare[1], pole, top], margin)


@pytest.mark.parametrize("dpi", [50, 100, 144])
def test_a_name_is_near_its_point_and_covers_no_interval_and_not_the_margin_where_there_is_room(dpi):
    trade = spread_out()
    axes = Figure(figsize=(8, 5), dpi=dpi).subplots()
    assert tradeoff.draw(trade, axes, [point.name for point in trade.points])
    axes.figure.canvas.draw()
    names = {text.get_text(): text.get_window_extent() for text in axes.texts if text.get_text()}
    assert names.keys() == {"base (baseline)", *(point.name for point in trade.points[1:]), tradeoff.HIGHER}
    bars = [line for line in axes.get_lines() if len(line.get_xdata()) == 2 and line.get_color() != style.PALE]
    assert len(bars) == 2 * 4 + 1 + 1, "the intervals, and the margin"
    assert not any(name.overlaps(other) for text, name in names.items() for more, other in names.items() if more < text)
    ends = [line.get_transform().transform(list(zip(*line.get_data(), strict=True))) for line in bars]
    for point in trade.points:
        name = names[point.name + " (baseline)" * (point is trade.points[0])]
        x, y = axes.transData.transform((point.x, point.y))
        across, up = max(name.x0 - x, x - name.x1, 0), max(name.y0 - y, y - name.y1, 0)
        assert 0 < (across**2 + up**2) ** 0.5 * 72 / dpi < 20
        for (left, bottom), (right, top) in ends:
            assert right <= name.x0 or name.x1 <= left or top <= name.y0 or name.y1 <= bottom


@pytest.mark.parametrize("dpi", [72, 200])
def test_the_name_of_a_hidden_point_has_a_line_from_the_point_to_the_name(dpi):
    crowded = [(place / 4000, place % 3 / 4000) for place in range(9)]
    points = [tradeoff.Point(f"arm-{place}", x, y, None, None, "") for place, (x, y) in enumerate(crowded)]
    far = tradeoff.Point("far", 0.1, 0.1, None, None, "")
    trade = tradeoff.Tradeoff(PAIR, [*points, far])
    axes = Figure(figsize=(8, 5), dpi=dpi).subplots()
    assert tradeoff.draw(trade, axes, [point.name for point in trade.points])
    axes.figure.canvas.draw()
    names = {text.get_text(): text for text in axes.texts if text.get_text()}
    lines = [text for text in axes.texts if not text.get_text()]
    assert len(lines) >= 3
    for line in lines:
        start = axes.transData.transform(line.xy)
        end = start + numpy.array(line.xyann) * dpi / 72
        [own] = [point for point in trade.points if (point.x, point.y) == line.xy]
        box = names[own.name + " (baseline)" * (own is trade.points[0])].get_window_extent()
        assert box.x0 - 8 <= end[0] <= box.x1 + 8 and box.y0 - 8 <= end[1] <= box.y1 + 8
        assert numpy.hypot(*line.xyann) > 14
    boxes = [text.get_window_extent() for text in names.values()]
    assert not any(box.overlaps(other) for place, box in enumerate(boxes) for other in boxes[:place])


def test_a_tradeoff_is_in_points_with_the_baseline_in_a_cross_of_its_own():
    trade = spread_out()
    trade.points[0].x, trade.points[0].y = 0.0, 0.0
    axes, lines = crosses(trade, [point.name for point in trade.points])
    assert (style.PALE, [0.0, 0.0], [0, 1]) in lines and (style.PALE, [0, 1], [0.0, 0.0]) in lines
    assert axes.xaxis.get_major_formatter()(0.05, 0) == "+5" == axes.yaxis.get_major_formatter()(0.05, 0)
    signs = " Hollow: neither difference is shown. Dashed line: 5 points lower in accuracy, the margin."
    assert trade.words.endswith(signs)
    comparison = compare(counted({"grpo": 0}))
    alone = tradeoff.tradeoff(comparison)
    axes, lines = crosses(alone, ["grpo"])
    [point] = alone.points
    assert (style.PALE, [point.x] * 2, [0, 1]) in lines and (style.PALE, [0, 1], [point.y] * 2) in lines
    assert point.x != point.y and axes.get_xlabel() == "accuracy"
    assert axes.xaxis.get_major_formatter()(0.05, 0) == "5 %" == axes.yaxis.get_major_formatter()(0.05, 0)


def test_so_many_names_as_fit_are_labelled_and_one_more_is_not():
    def labelled(count):
        places = [(place % 6 / 10, place // 6 / 10) for place in range(count)]
        points = [tradeoff.Point(f"a{place}", x, y, None, None, "") for place, (x, y) in enumerate(places)]
        axes = Figure(figsize=(16, 10)).subplots()
        return tradeoff.draw(tradeoff.Tradeoff(PAIR, points), axes, [point.name for point in points])

    assert labelled(tradeoff.LABELLED) and not labelled(tradeoff.LABELLED + 1)


def test_names_that_have_no_room_are_in_a_legend(tmp_path):
    names = [f"method-{place}-{'x' * 20}" for place in range(tradeoff.LABELLED + 2)]
    comparison = compare(counted(dict.fromkeys(names, 0), 2), names[0])
    axes, _ = crosses(tradeoff.tradeoff(comparison), names)
    assert [text.get_text() for text in axes.texts] == [tradeoff.HIGHER]
    save(comparison, tmp_path)
    assert "legend_1" in (tmp_path / "tradeoff.svg").read_text()
    words = "".join(xml.parse(tmp_path / "tradeoff.svg").getroot().itertext())
    assert all(name in words for name in names)


@pytest.mark.parametrize("count", [2, 13, 24])
def test_names_are_arranged_without_covering_anything_or_not_at_all(count):
    random = numpy.random.default_rng(count)
    arranged = 0
    for _ in range(5):
        spread = random.choice([10, 40, 120])
        points = [tuple(place) for place in random.normal((270, 170), spread, (count, 2)).clip(5, 335)]
        taken = [(480.0, 330.0, 540.0, 345.0)]
        boxes = arrange(Crowd(540, 345, points, [], taken), ["x" * int(random.integers(3, 20)) for _ in points])
        if boxes is None:
            continue
        arranged += 1
        markers = [(x - 3, y - 3, x + 3, y + 3) for x, y in points]
        assert len(boxes) == count
        for place, box in enumerate(boxes):
            assert not any(cover(box, other) for other in [*taken, *markers, *boxes[:place]])
            assert box[0] >= 0 and box[1] >= 0 and box[2] <= 540 and box[3] <= 345
    assert arranged >= (5 if count == 2 else 1)
    assert arrange(Crowd(30, 30, [(15, 15)]), ["a name that is too long"]) is None
    assert arrange(Crowd(200, 60, [(100, 30)] * 12), ["a long name"] * 12) is None


def test_every_picture_of_the_page_tells_in_words_what_it_shows_the_tradeoff_first(written):
    for name, case in ((name, CASES[name]) for name in SHOWN):
        page = Page((written / name / "report.html").read_text())
        trade = tradeoff.tradeoff(case)
        words = [*([trade.words] if trade else []), *(panel.words for panel in panels(case))]
        pictures = page.all("svg")
        assert [picture["aria-label"] for picture in pictures] == words and len(page.all("figure")) == len(words)
        assert all(picture["role"] == "img" for picture in pictures)
        for text in words:
            assert all(f"{configuration['name']}: " in text for configuration in configurations(case))
