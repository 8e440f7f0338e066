"""The pictures of a comparison: curves, and pass@K against accuracy, with the numbers of the comparison."""

import re
import xml.etree.ElementTree as xml

import pytest
from matplotlib.figure import Figure
from test_compare import made_up
from test_report import CASES, SHOWN, Page, counted, many, written

from manypaths.comparison import style, tradeoff
from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations, drawn_measures, has_race
from manypaths.comparison.figures import save
from manypaths.comparison.numbers import unit_of, with_interval
from manypaths.comparison.panels import draw, panels

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


def test_the_tradeoff_has_the_points_of_all_configurations_at_the_end():
    trade = tradeoff.tradeoff(DIVERSE)
    assert trade.heading == "pass@4 against accuracy" and trade.across == "accuracy"
    across, up = (configurations(DIVERSE, name) for name in ("accuracy", "pass@4"))
    assert [point.name for point in trade.points] == [configuration["name"] for configuration in across]
    for point, x, y in zip(trade.points, across, up, strict=True):
        assert (point.x, point.y) == (x["last"]["value"], y["last"]["value"])
        assert point.x_interval == (x["last"]["low"], x["last"]["high"])
        assert point.y_interval == (y["last"]["low"], y["last"]["high"])
        both = ", ".join(
            f"{name} {with_interval(side['last'], unit_of(name))}" for name, side in (("accuracy", x), ("pass@4", y))
        )
        assert f"{point.name}: {both}" in trade.words


def test_the_largest_k_is_taken_and_none_without_pass_at_k():
    runs = counted({"grpo": 0, "mmr": 0.5}, samples=16)
    assert tradeoff.tradeoff(compare(runs, "grpo")).heading == "pass@16 against accuracy"
    mixed = [*runs_with(runs[:3], 16), *counted({"mmr": 0.5}, samples=4)]
    assert tradeoff.tradeoff(compare(mixed, "grpo")).heading == "pass@4 against accuracy"
    assert tradeoff.tradeoff(compare(many())) is None


def runs_with(runs, samples):
    assert all(counts.samples == samples for run in runs for counts in run.results[0]["made-up"].counts.values())
    return runs


def crosses(trade, names):
    """[(colour, x, y)] of every line that is drawn."""
    axes = Figure(figsize=(5, 3)).subplots()
    tradeoff.draw(trade, axes, names)
    return axes, [(line.get_color(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]


def test_a_cross_has_both_intervals_and_an_open_end_has_no_bar():
    trade = tradeoff.tradeoff(DIVERSE)
    trade.points[1].y_interval = None
    names = [point.name for point in trade.points]
    _, lines = crosses(trade, names)
    for place, point in enumerate(trade.points):
        colour = style.COLOURS[place]
        assert (colour, list(point.x_interval), [point.y, point.y]) in lines
        if point.y_interval is not None:
            assert (colour, [point.x, point.x], list(point.y_interval)) in lines
        assert (colour, [point.x], [point.y]) in lines
    assert sum(colour == style.COLOURS[1] for colour, _, _ in lines) == 2
    assert (style.INK, [trade.points[0].x], [trade.points[0].y]) in lines  # the ring of the baseline


def test_few_names_stand_beside_their_points_apart_from_one_another_and_many_in_a_legend(tmp_path):
    few = counted(dict(zip("abcdef", (0, 0.01, 0.02, 0.5, 0.51, 1), strict=True)))
    trade = tradeoff.tradeoff(compare(few, "a"))
    axes, _ = crosses(trade, list("abcdef"))
    assert [text.get_text() for text in axes.texts] == ["a (baseline)", "b", "c", "d", "e", "f"]
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 1 for box in boxes)
    names = [f"method-{number}" for number in range(9)]
    more = compare(counted(dict(zip(names, range(9), strict=True)), 2), names[0])
    axes, _ = crosses(tradeoff.tradeoff(more), names)
    assert list(axes.texts) == []
    save(more, tmp_path)
    words = "".join(xml.parse(tmp_path / "tradeoff.svg").getroot().itertext())
    assert all(name in words for name in names)


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
