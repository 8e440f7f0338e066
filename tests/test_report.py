"""Laws of the report: tables, CSV, JSON, pictures and page tell the same, whatever the names; no network, no script."""

import csv
import html
import io
import json
import re
import xml.etree.ElementTree as xml
from html.parser import HTMLParser
from statistics import fmean

import pytest
from matplotlib.figure import Figure
from PIL import Image
from test_compare import GRPO, MMR, leaves, made_up, two

from manypaths.comparison import figures, report
from manypaths.comparison.compare import compare
from manypaths.comparison.report import configurations
from manypaths.names import metric, shown_metrics
from manypaths.tables import markdown

FILES = ["comparison.csv", "comparison.json", "comparison.md", "curves.png", "curves.svg", "report.html"]
BROKEN = "$x^$"
HOSTILE = {
    "a script": "</title><script>alert(1)</script>",
    "a picture": "<img src=https://example.org/x.png onerror=alert(1)>",
    "quotes": "\"'><b onclick='alert(1)' title=\"",
    "a template": "{{tables}} {{title}} \\g<0> \\1",
    "line separators": "a\u2028b\u2029c\u0085d\u202ee",
    "long": "x" * 300,
    "entities": "&lt;b&gt; &amp; ]]> --> <!-- <svg x",
    "an underscore": "_hidden",
    "mathematics": "a $b$ c",
    "broken mathematics": BROKEN,
    "not Latin": "数学 \U0001f642",
    "a bar": "a|b",
    "two lines": "a\nb",
}


def many(count=3, seeds=(1, 2), **more):
    """Configurations, the first of them the baseline; they differ in a setting."""
    names = ["grpo", *(f"method{number}" for number in range(1, count))]
    settings = [GRPO, *({**MMR, "number": number} for number in range(1, count))]
    return [
        made_up(f"{name}-{seed}", seed, 1 + place / 3, settings=own, **more)
        for place, (name, own) in enumerate(zip(names, settings, strict=True))
        for seed in seeds
    ]


SHOWN = {  # cases whose pictures are drawn, too
    "usual": many(),
    "one configuration with one evaluation": many(1, steps=[0], clock=[]),
    "ten configurations without a clock": many(10, seeds=[1], clock=[], parts={}, curves={}, machine=None),
    "500 steps": many(2, seeds=[1], steps=range(0, 501, 10)),
}
CASES = {
    **SHOWN,
    "one configuration": two([1, 2])[:2],
    "ten configurations": many(10, seeds=[1], curves={}),
    "one evaluation": many(steps=[0], clock=[]),
    "no clock": many(clock=[], parts={}, curves={}, machine=None),
    "one seed": many(seeds=[1]),
    "two benchmarks": many(benchmarks=("arithmetic", "gsm8k")),
    "published": [made_up("r1-1", settings={**GRPO, "model.name": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"})],
}
CASES = {name: compare(runs) for name, runs in CASES.items()}
CASES["never reached"] = compare(two(), target=1.0)
CASES["reached at the start"] = compare(two(), target=0.01)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Folders with the report of each case that is shown."""
    folder = tmp_path_factory.mktemp("reports")
    for name in SHOWN:
        assert report.write(CASES[name], folder / name) == folder / name / "report.html"
    return folder


def named(names):
    """A comparison of configurations with these names, which also stand in their settings; the rest is always alike."""
    runs = []
    for number, name in enumerate(names):
        run = made_up(f"run {number}", None, curves={}, settings={**MMR, "name": name, "number": number})
        run.name = name
        runs.append(run)
    return compare(runs)


class Page(HTMLParser):
    """A page as a browser takes it apart; a tag that is not closed in its turn is an error."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} twice: {attrs}"
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        place = self.open[-1] if self.open else ""
        self.text[place] = self.text.get(place, "") + data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def cells_of(table):
    """The rows of a Markdown table, without the line under its head."""
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()]
    assert all(set(cell) == {"-"} for cell in rows[1])
    return [rows[0], *rows[2:]]


def numbers(text):
    """Every number that a cell shows; percentages as shares."""
    pairs = re.findall(r"([-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?)(%?)", text)
    return [float(number) / (100 if percent else 1) for number, percent in pairs]


# Files


@pytest.mark.parametrize("name", SHOWN)
def test_everything_is_written_and_opens(written, name):
    folder = written / name
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    with Image.open(folder / "curves.png") as picture:
        picture.load()
        assert min(picture.size) > 400 and len(picture.convert("L").histogram()) == 256
    root = xml.parse(folder / "curves.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    words = "".join(root.itertext())
    assert all(configuration["name"] in words for configuration in configurations(CASES[name]))
    assert json.loads((folder / "comparison.json").read_text()) == json.loads(json.dumps(CASES[name]))
    assert (folder / "comparison.md").read_text() == report.text(CASES[name]) + "\n"
    assert (folder / "comparison.csv").read_text() == report.lines(CASES[name])


def test_the_same_comparison_is_written_as_the_same_bytes(written, tmp_path):
    case = "one configuration with one evaluation"
    report.write(compare(SHOWN[case]), tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (written / case / name).read_bytes(), name


# CSV


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_the_csv_is_in_the_json_and_the_other_way_round(name):
    comparison = json.loads(json.dumps(CASES[name]))
    rows = list(csv.DictReader(io.StringIO(report.lines(CASES[name]))))
    assert all(list(row) == ["configuration", "quantity", "step", "value", "low", "high"] for row in rows)
    for configuration in configurations(comparison):
        own = [row for row in rows if row["configuration"] == configuration["name"]]
        written_numbers = {float(row[key]) for row in own for key in ("step", "value", "low", "high") if row[key]}
        leaf_numbers = {place: leaf for place, leaf in leaves(configuration).items() if type(leaf) in (int, float)}
        assert written_numbers <= {float(leaf) for leaf in leaf_numbers.values()}
        apart = ("hours", "seeds", "differs")  # hours of an evaluation: of the clock; what was set: of the recipe
        required = {
            float(leaf) for place, leaf in leaf_numbers.items() if place[0] not in apart and place[-1] != "hours"
        }
        assert required <= written_numbers
        curve = [row for row in own if row["quantity"] == "accuracy"]
        assert [[float(row[key]) for key in ("step", "value", "low", "high")] for row in curve] == [
            [estimate[key] for key in ("step", "value", "low", "high")] for estimate in configuration["curve"]
        ]
        for quantity, place in (("accuracy last", "last"), ("accuracy peak", "peak")):
            [row] = [row for row in own if row["quantity"] == quantity]
            assert [float(row[key]) for key in ("step", "value", "low", "high")] == [
                configuration[place][key] for key in ("step", "value", "low", "high")
            ]
        for key, estimate in configuration["to_target"].items():
            [row] = [row for row in own if row["quantity"] == key.replace("_", " ")]
            assert [float(row[end]) if row[end] else None for end in ("value", "low", "high")] == list(
                estimate.values()
            )


# Markdown


@pytest.mark.parametrize("name", CASES)
def test_the_tables_parse_back_to_the_values(name):
    comparison = CASES[name]
    parsed = {
        title: cells_of(table) for title, table in re.findall(r"## (.*)\n\n((?:\|.*\n?)+)", report.text(comparison))
    }
    assert parsed == dict(report.tables(comparison))
    compared = configurations(comparison)
    accuracy = next(iter(parsed.values()))
    race = parsed[f"Steps and hours to {report.goal(comparison)}"]
    for configuration, row, raced in zip(compared, accuracy[1:], race[1:], strict=True):
        assert row[0] == raced[0] == configuration["name"] and int(row[1]) == len(configuration["runs"])
        for place, when in ((2, "last"), (5, "peak")):
            estimate = configuration[when]
            assert numbers(row[place]) == pytest.approx(
                [estimate["value"], estimate["low"], estimate["high"]], abs=0.00051
            )
            assert float(row[place + 1]) == estimate["step"]
            if "against" in configuration:
                difference = configuration["against"][when]
                points = [100 * difference[key] for key in ("value", "low", "high")]
                assert numbers(row[place + 2]) == pytest.approx(points, abs=0.051)
            else:
                assert row[place + 2] == ""
        for place, unit, near in ((1, "steps", 0.006), (3, "hours", 0.06)):
            target = configuration["to_target"][unit]
            if unit == "hours" and not configuration["seconds"]:
                assert raced[place] == "not measured"
            elif target["value"] is None:
                assert raced[place] == "not reached"
            else:
                finite = [target[key] for key in ("value", "low", "high") if target[key] is not None]
                assert numbers(raced[place]) == pytest.approx(finite, rel=near, abs=0.001)
                assert raced[place].count("unbounded") == 3 - len(finite)
            saved = configuration["to_target"][f"{unit}_saved"]
            never = "against" not in configuration or saved["value"] is None or raced[place] == "not measured"
            assert (raced[place + 1] == "") == never
            if not never:
                finite = [saved[key] for key in ("value", "low", "high") if saved[key] is not None]
                assert numbers(raced[place + 1]) == pytest.approx(finite, abs=0.0051)


@pytest.mark.parametrize("name", CASES)
def test_a_table_stands_where_its_values_were_measured_and_holds_them(name):
    comparison = CASES[name]
    compared, tables = configurations(comparison), dict(report.tables(comparison))
    timed = [configuration for configuration in compared if configuration["seconds"]]
    expected = {"Seconds a step": [configuration["seconds"] for configuration in timed]}
    for when, place in (("last", "at the end"), ("peak", "at the peak step")):
        shares = [configuration[when]["benchmarks"] for configuration in compared]
        expected[f"Accuracy {place}, by benchmark"] = shares if len(comparison["benchmarks"]) > 1 else []
    means = [
        {metric(key).title: fmean(value for _, value, *_ in metrics[key]) for key in shown_metrics(metrics)}
        for metrics in (configuration["metrics"] for configuration in compared)
    ]
    expected["Means over the training"] = means if any(means) else []
    for title, values in expected.items():
        assert (title in tables) == bool(values), title
        if values:
            header, *rows = tables[title]
            shown = [dict(zip(header[1:], row[1:], strict=True)) for row in rows]
            assert [{key for key, cell in row.items() if cell} for row in shown] == [set(row) for row in values]
            near = 0.0051 if title.startswith("Means") else 0.00051
            for cells, exact in zip(shown, values, strict=True):
                assert [numbers(cells[key]) for key in exact] == [
                    [pytest.approx(exact[key], abs=near)] for key in exact
                ]


def test_the_settings_that_differ_are_a_table():
    tables = dict(report.tables(compare(two())))
    assert tables["What differs from grpo"] == [
        ["", "setting", "here", "in grpo"],
        ["mmr", "method.reweight", '"mmr"', "null"],
    ]


def test_no_table_shows_a_power_of_ten():
    comparison = compare(two([1, 2], steps=range(0, 3001, 500)), target=0.5)
    assert "e+0" not in report.text(comparison) + "".join(panel.words for panel in figures.panels(comparison))


@pytest.mark.parametrize("name", CASES)
def test_all_lines_of_a_table_are_equally_long(name):
    for _, rows in report.tables(CASES[name]):
        lines = markdown(rows).splitlines()
        assert len({len(line) for line in lines}) == 1 and len(lines) == len(rows) + 1
        assert all(line.startswith("| ") and line.endswith(" |") for line in lines)


@pytest.mark.parametrize("cell", ["a", "", "数学", pytest.param("a|b"), pytest.param("a\nb")])
def test_a_table_keeps_its_cells(cell):
    rows = [["head", "more"], [cell, "1"], ["x", cell]]
    parsed = cells_of(markdown(rows))
    assert [len(row) for row in parsed] == [2, 2, 2] and parsed[0] == rows[0] and parsed[1][1] == "1"


# Sentences


def test_a_sentence_holds_the_numbers_of_the_tables():
    comparison = compare(two())
    [sentence] = report.sentences(comparison)
    last, race = configurations(comparison)[1]["against"]["last"], configurations(comparison)[1]["to_target"]
    accuracies = "{:+.1f} [{:+.1f}, {:+.1f}] points: ".format(*(100 * last[k] for k in ("value", "low", "high")))
    assert sentence.startswith(f"mmr against grpo, at the end: {accuracies}")
    assert f"To {report.goal(comparison)}: " in sentence
    for unit in ("steps", "hours"):
        saved = race[f"{unit}_saved"]
        assert f"{unit}, saved {saved['value']:.0%} [" in sentence


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, "better (95 % CI excludes 0)"),
        (-0.2, -0.1, "worse (95 % CI excludes 0)"),
        (-0.1, 0.1, "no difference shown"),
        (0, 0, "no difference"),
    ],
)
def test_shown_is_what_leaves_out_zero(low, high, verdict):
    comparison = compare(two())
    configurations(comparison)[1]["against"]["last"] |= {"low": low, "high": high}
    [sentence] = report.sentences(comparison)
    assert f"points: {verdict}" in sentence


# The page


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_is_whole_and_asks_the_network_for_nothing(written, name):
    text = (written / name / "report.html").read_text()
    page = Page(text)
    assert {"script", "iframe", "object", "embed", "img", "form", "base"}.isdisjoint(tag for tag, _ in page.tags)
    assert [attributes["href"] for attributes in page.all("link")] == ["data:,"]
    for tag, attributes in page.tags:
        for key, value in attributes.items():
            assert key not in ("src", "srcset", "action", "data", "poster", "ping", "background") and key[:2] != "on"
            assert key not in ("href", "xlink:href") or value.startswith(("#", "data:"))
            if "://" in (value or ""):
                assert key.startswith("xmlns") or key == "rdf:resource", (tag, key, value)
    assert set(re.findall(r"url\((.)", text)) <= {"#"} and "@import" not in text and "{{" not in text
    assert "default-src 'none'" in text


@pytest.mark.parametrize("name", SHOWN)
def test_every_figure_tells_in_words_what_it_shows(written, name):
    page = Page((written / name / "report.html").read_text())
    panels = figures.panels(CASES[name])
    pictures = page.all("svg")
    assert len(page.all("figure")) == len(pictures) == len(panels) >= 1
    for picture, panel in zip(pictures, panels, strict=True):
        assert picture["role"] == "img" and picture["aria-label"] == panel.words
        assert all(f"{configuration['name']}: " in panel.words for configuration in configurations(CASES[name]))


@pytest.mark.parametrize("name", CASES)
def test_the_page_has_every_cell_sentence_and_note(name):
    comparison = CASES[name]
    names = [configuration["name"] for configuration in configurations(comparison)]
    page = Page(report.page(comparison, [], [(label, "red", "solid") for label in names]))
    tables = list(report.tables(comparison))
    head = [cell for _, rows in tables for cell in rows[0]]
    assert page.text["th"] == "".join(cell for _, rows in tables for cell in [*rows[0], *(row[0] for row in rows[1:])])
    assert page.text["td"] == "".join(cell for _, rows in tables for row in rows[1:] for cell in row[1:])
    assert {attributes["data-name"] for attributes in page.all("td")} <= set(head) - {""}
    assert page.text["h2"] == "".join(title for title, _ in tables)
    assert "".join(report.sentences(comparison)) in page.text["p"]
    assert page.text["li"] == "".join([*comparison["notes"], *names])


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """The report of configurations with hostile names, and one of the same with harmless names."""
    folder = tmp_path_factory.mktemp("evil")
    names = [name for name in HOSTILE.values() if name != BROKEN]
    report.write(named(names), folder / "evil")
    usual = named([f"name{number}" for number in range(len(names))])
    (folder / "usual").mkdir()
    harmless = [configuration["name"] for configuration in configurations(usual)]
    legend = [(name, *figures.look(name, harmless)) for name in harmless]
    (folder / "usual" / "report.html").write_text(report.page(usual, figures.inline(figures.panels(usual)), legend))
    return folder


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_are_text_and_no_more(evil):
    text, usual = ((evil / name / "report.html").read_bytes().decode() for name in ("evil", "usual"))
    page, other = Page(text), Page(usual)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in other.tags]
    for (_, attributes), (_, others) in zip(page.tags, other.tags, strict=True):
        assert list(attributes) == list(others)
        assert all(value == others[key] for key, value in attributes.items() if key not in ("aria-label", "data-name"))
    names = [name for name in HOSTILE.values() if name != BROKEN]
    assert page.text["h1"] == f"{len(names) - 1} configurations against {names[0]}" == report.title(
        named(names)
    ) and page.text["title"].startswith(page.text["h1"])
    for name in names:
        assert all(f"{name}: " in attributes["aria-label"] for attributes in page.all("svg"))
        assert html.escape(name) in text and (name not in text or name == html.escape(name))
        assert json.dumps(name, ensure_ascii=False)[:77] in page.text["td"]  # the setting


@pytest.mark.parametrize("name", [name for name in HOSTILE if HOSTILE[name] != BROKEN])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_hostile_name_is_in_the_legend_of_the_pictures(name, evil):
    words = " ".join("".join(xml.parse(evil / "evil" / "curves.svg").getroot().itertext()).split())
    assert " ".join(HOSTILE[name][:47].split()) in words


def test_a_name_that_is_broken_mathematics_is_drawn(tmp_path):
    report.write(named([BROKEN]), tmp_path)


# Figures


def test_the_words_of_a_panel_hold_first_last_and_highest():
    comparison = compare(many())
    for panel in figures.panels(comparison):
        form = "{:.1%}" if panel.share else "{:.2f}"
        for name, curve in panel.curves.items():
            values = [value for _, value, _, _ in curve]
            (start, *_), (end, *_) = curve[0], curve[-1]
            first, last, highest = (form.format(value) for value in (values[0], values[-1], max(values)))
            assert f"{name}: {first} at {start:.3g}, {last} at {end:.3g}, highest {highest}" in panel.words
        assert panel.words.startswith(f"{panel.title} over {panel.across}. ") and panel.words.endswith(".")


def test_a_panel_has_the_curves_of_the_comparison():
    comparison = compare(many())
    panels = {(panel.title, panel.across): panel for panel in figures.panels(comparison)}
    assert [(title, across) for title, across in panels] == [
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
            assert panels["Accuracy", across.rstrip("s") + "s"].curves[configuration["name"]] == curve
        assert panels["Entropy", "steps"].curves[configuration["name"]] == configuration["metrics"]["entropy"]
    assert [panel.level for panel in panels.values()] == [comparison["targets"]["accuracy"]["value"]] * 2 + [None] * 4


@pytest.mark.parametrize("count", [1, 3, 10])
def test_a_configuration_keeps_its_colour_and_no_two_look_alike(count):
    comparison = compare(many(count, seeds=[1]))
    names, looks = [configuration["name"] for configuration in configurations(comparison)], {}
    for panel in figures.panels(comparison):
        axes = Figure().subplots()
        figures.draw(panel, axes, names)
        for line in axes.get_lines():
            if (name := line.get_label()) in names:
                assert line.get_color() == figures.look(name, names)[0]
                looks.setdefault(name, set()).add((line.get_color(), line.get_linestyle()))
    assert set(looks) == set(names) and all(len(used) == 1 for used in looks.values())
    assert len(set.union(*looks.values())) == count


def test_no_two_of_ten_look_alike_in_the_legend_of_the_page(written):
    page = Page((written / "ten configurations without a clock" / "report.html").read_text())
    assert len({swatch["style"] for swatch in page.all("i")}) == 10


@pytest.mark.parametrize("name", SHOWN)
def test_whatever_there_is_is_drawn(written, name):
    panels = figures.panels(CASES[name])
    names = [configuration["name"] for configuration in configurations(CASES[name])]
    timed = any(
        point["hours"] is not None for configuration in configurations(CASES[name]) for point in configuration["curve"]
    )
    assert ("hours" in {panel.across for panel in panels}) == timed
    drawn = re.findall(r"<figure>(.*?)</figure>", (written / name / "report.html").read_text(), re.DOTALL)
    for panel, svg in zip(panels, drawn, strict=True):
        root = xml.fromstring(svg.replace(" role=img", ""))
        shown = "".join(root.itertext())
        assert panel.title in shown and panel.across in shown
        assert "width" not in root.attrib and "height" not in root.attrib and root.attrib["viewBox"]
        assert figures.INK not in svg and figures.PALE not in svg
        styles = [element.get("style", "") for element in root.iter()]
        for curve_name in panel.curves:
            colour = figures.look(curve_name, names)[0]
            assert any(f"fill: {colour}" in style for style in styles)  # the band, or a point
        lines = [style for style in styles if "stroke-width: 1.6" in style]
        assert [re.search("stroke: (#......)", style)[1] for style in lines] == [
            figures.look(curve_name, names)[0] for curve_name in panel.curves
        ]
        many = max(map(len, panel.curves.values())) >= 30
        assert ("<use" in svg) and (many or len(re.findall("<use", svg)) > 5)


def test_half_a_clock_is_drawn_for_those_that_have_it():
    runs = many()
    runs[0].clock = runs[1].clock = []
    panels = {(panel.title, panel.across): panel for panel in figures.panels(compare(runs))}
    assert list(panels["Accuracy", "steps"].curves) == ["grpo", "method1", "method2"]
    assert list(panels["Accuracy", "hours"].curves) == ["method1", "method2"]
