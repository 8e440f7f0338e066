"""Laws of the report: tables, CSV, JSON and page agree, whatever the names; no network, no script."""

import csv
import html
import io
import json
import math
import re
import xml.etree.ElementTree as xml
from html.parser import HTMLParser
from statistics import fmean

import pytest
from PIL import Image
from test_compare import GRPO, MMR, leaves, made_up, two
from test_verdicts import runs_of

from manypaths.comparison import csv_rows, report, style
from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations, further_measures, has_race
from manypaths.comparison.figures import save
from manypaths.comparison.numbers import ANSWERS, SHARE, unit_of
from manypaths.comparison.page import page as page_of
from manypaths.comparison.page import title as title_of
from manypaths.comparison.planned import answers
from manypaths.comparison.protocol import Protocol
from manypaths.comparison.sentences import goal, level
from manypaths.comparison.tables import tables as tables_of
from manypaths.names import metric, shown_metrics
from manypaths.printable import escaped, one_line
from manypaths.tables import markdown

FILES = ["comparison.csv", "comparison.json", "comparison.md", "report.html"]
BROKEN = "$x^$"
# Attributes of a page that depend on names: words, and the places of the pictures, which are below a legend.
OF_NAMES = ("aria-label", "data-name", "viewbox", "d", "transform", "x", "y", "id", "clip-path", "xlink:href", "height")
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
    "colours of a terminal": "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "no characters of XML": "a\x00b\x01c\ufffe",
    "a formula": '=HYPERLINK("https://example.org")',
    "a plus": "+1+2",
    "an at": "@SUM(1)",
    "a backtick": "a`b",
    "a picture in Markdown": "![x](https://example.org/x.png)",
    "a link in Markdown": "[x](https://example.org) **bold** ~~gone~~",
    "a heading in Markdown": "# heading",
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


def counted(gains, seeds=3, **more):
    """Configurations whose completions are counted, so that they have all measures."""
    return [run for name, gain in gains.items() for run in runs_of(name, seeds, gain, **more)]


SHOWN = {  # cases whose pictures are drawn, too
    "usual": many(),
    "one configuration with one evaluation": many(1, steps=[0], clock=[]),
    "ten configurations without a clock": many(10, seeds=[1], clock=[], parts={}, curves={}, machine=None),
    "500 steps": many(2, seeds=[1], steps=range(0, 501, 10)),
    "all measures": counted({"grpo": 0, "mmr": 0.9}),
}
CASES = {
    **SHOWN,
    "one configuration": two([1, 2])[:2],
    "ten configurations": many(10, seeds=[1], curves={}),
    "one evaluation": many(steps=[0], clock=[]),
    "no clock": many(clock=[], parts={}, curves={}, machine=None),
    "one seed": many(seeds=[1]),
    "three benchmarks": many(benchmarks=("arithmetic", "gsm8k", "math500")),
    "published": [made_up("r1-1", settings={**GRPO, "model.name": "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"})],
}
CASES = {name: compare(runs) for name, runs in CASES.items()}
CASES["never reached"] = compare(two(), target=1.0)
CASES["reached at the start"] = compare(two(), target=0.01)
ARMS = {"grpo": 0, "a": 0.5, "b": 1.2, "c": -0.3, "d": 0.1, "e": 0.7}
CASES["pass@4 with a margin"] = compare(counted(ARMS), "grpo", metric="pass@4", margin=3)
CASES["paired"] = compare(counted({"grpo": 0, "mmr": 0.6}, 10, luck=0.8), "grpo", metric="distinct@4", paired=True)
PROTOCOL = Protocol(
    "made up",
    "grpo",
    ["a", "b", "gone"],
    [{"metric": "pass@4"}, {"metric": "accuracy", "claim": "not worse"}],
    ["distinct@4", {"metric": "accuracy", "at": "steps"}],
    margin=3,
)
CASES["a protocol"] = compare(counted(ARMS), protocol=PROTOCOL)


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


def agrees(cell, *exact, factor=1.0):
    """Whether a cell shows these values, each correctly rounded to as many decimals as the cell has."""
    shown = re.findall(r"[-+]?\d[\d,]*(?:\.\d+)?|unbounded", cell)
    expected = ["unbounded" if value is None else factor * value for value in exact]
    assert len(shown) == len(expected), (cell, exact)
    for text, value in zip(shown, expected, strict=True):
        if text == "unbounded" or value == "unbounded":
            assert text == value, (cell, exact)
        else:
            decimals = len(text.partition(".")[2])
            assert float(text.replace(",", "")) == pytest.approx(value, abs=0.5000001 * 10**-decimals), (cell, exact)
    return True


def bounds(item):
    return [item[key] for key in ("value", "low", "high")]


# Files


@pytest.mark.parametrize("name", SHOWN)
def test_everything_is_written_and_opens(written, name):
    folder = written / name
    pictures = {path.stem for path in folder.iterdir() if path.suffix == ".svg"}
    expected = {"one configuration with one evaluation": [], "all measures": ["curves", "tradeoff"]}.get(
        name, ["curves"]
    )
    assert sorted(pictures) == expected
    files = [f"{picture}.{kind}" for picture in expected for kind in ("png", "svg")]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, *files])
    for picture in pictures:
        assert (folder / f"{picture}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        with Image.open(folder / f"{picture}.png") as image:
            image.load()
            assert min(image.size) > 400 and len(image.convert("L").histogram()) == 256
        root = xml.parse(folder / f"{picture}.svg").getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        words = "".join(root.itertext())
        assert all(configuration["name"] in words for configuration in configurations(CASES[name]))
    assert json.loads((folder / "comparison.json").read_text()) == json.loads(json.dumps(CASES[name]))
    assert (folder / "comparison.md").read_text() == report.text(CASES[name], report.for_markdown) + "\n"
    assert (folder / "comparison.csv").read_text() == csv_rows.lines(CASES[name])


def test_the_same_comparison_is_written_as_the_same_bytes(written, tmp_path):
    for case in ("one configuration with one evaluation", "all measures"):
        report.write(compare(SHOWN[case]), tmp_path / case)
        for path in (tmp_path / case).iterdir():
            assert path.read_bytes() == (written / case / path.name).read_bytes(), path.name


def test_a_picture_of_an_earlier_comparison_does_not_stay(written, tmp_path):
    report.write(CASES["all measures"], tmp_path)
    report.write(compare(many(1, steps=[0], clock=[], curves={})), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


# CSV


def rows_of(comparison):
    return list(csv.DictReader(io.StringIO(csv_rows.lines(comparison))))


def numbers_of(row):
    return {float(row[key]) for key in csv_rows.NUMBERS[:-1] if row[key]}


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_the_json_is_in_the_csv_and_the_other_way_round(name):
    comparison, rows = json.loads(json.dumps(CASES[name])), rows_of(CASES[name])
    assert all(tuple(row) == csv_rows.COLUMNS for row in rows)

    def numbers(tree):
        found = leaves(tree)
        return {
            float(leaf) for place, leaf in found.items() if type(leaf) in (int, float, bool) and "differs" not in place
        }

    for configuration in comparison["configurations"]:
        own = [row for row in rows if row["configuration"] == configuration["name"]]
        assert set().union(*map(numbers_of, own)) == numbers(configuration)
        for measure, values in configuration["measures"].items():
            measured = [row for row in own if row["measure"] == measure]
            assert set().union(*map(numbers_of, measured)) == numbers(values)
    whole = [row for row in rows if not row["configuration"]]
    above = {key: value for key, value in comparison.items() if key != "configurations"}
    assert set().union(*map(numbers_of, whole)) == numbers(above)


@pytest.mark.parametrize("name", CASES)
def test_a_row_of_the_csv_has_the_numbers_of_its_quantity(name):
    comparison, rows = CASES[name], {}
    for row in rows_of(comparison):
        rows.setdefault((row["configuration"], row["measure"], row["quantity"]), []).append(row)

    def same(row, item):
        for key in ("step", "hours", "value", "low", "high", "p", "p_holm"):
            exact = item.get(key)
            assert row[key] == "" if exact is None else float(row[key]) == exact, (row, key)
        assert row["verdict"] == item.get("verdict", "")

    for configuration in comparison["configurations"]:
        for measure, values in configuration["measures"].items():
            at = (configuration["name"], measure)
            expected = {"last": values["last"], "peak": values["peak"]}
            expected |= {f"to target {key}": item for key, item in values["to_target"].items()}
            if "against" in values:
                expected |= {f"difference {key}": values["against"][key] for key in ("last", "peak")}
                for item in values["against"]["last"]["sensitivity"]:
                    expected[f"difference last sensitivity {item['without']}"] = item
            for quantity, item in expected.items():
                [row] = rows[(*at, quantity)]
                same(row, item)
            for row, point in zip(rows[(*at, "curve")], values["curve"], strict=True):
                same(row, point)


def test_a_benchmark_may_be_named_as_a_column():
    rows = rows_of(compare(two(benchmarks=("value", "step"))))
    quantities = {row["quantity"] for row in rows if row["measure"] == "accuracy"}
    assert {"last benchmarks value", "last benchmarks step"} <= quantities


# Markdown


@pytest.mark.parametrize("name", CASES)
def test_the_tables_parse_back_to_the_values(name):
    comparison = CASES[name]
    text = report.text(comparison)
    parsed = {title: cells_of(table) for title, table in re.findall(r"## (.*)\n\n((?:\|.*\n?)+)", text)}
    shown = [*tables_of(comparison), *(table for section in answers(comparison) for table in section.tables)]
    assert parsed == dict(shown) and len(parsed) == len(shown)
    unit, race = unit_of(comparison["metric"]), has_race(comparison)
    head, *rows = next(rows for _, rows in tables_of(comparison))
    for configuration, row in zip(configurations(comparison), rows, strict=True):
        assert row[0] == configuration["name"] and int(row[1]) == len(configuration["runs"])
        whens = ("last", "peak") if race else ("last",)
        places = [place for place, title in enumerate(head) if title.endswith("[95 %]")]
        for place, when in zip(places, whens, strict=True):
            assert agrees(row[place], *bounds(configuration[when]), factor=unit.factor)
            if race:
                assert float(row[place + 1]) == configuration[when]["step"]
            if len(rows) == 1:  # a configuration alone has no columns of differences
                assert not any("minus" in title for title in head)
                continue
            difference = row[place + 1 + race]
            if "against" in configuration:
                assert agrees(difference, *bounds(configuration["against"][when]), factor=unit.factor)
            else:
                assert difference == ""


@pytest.mark.parametrize("name", CASES)
def test_a_race_is_shown_where_there_was_one(name):
    comparison = CASES[name]
    titles = [title for title, _ in tables_of(comparison) if title.endswith(f" to {goal(comparison)}")]
    assert len(titles) == has_race(comparison)
    if not titles:
        assert "steps" not in report.text(comparison) and "Target" not in report.text(comparison)
        return
    head, *rows = dict(tables_of(comparison))[titles[0]]
    assert ("hours [95 %]" in head) == any(configuration["seconds"] for configuration in configurations(comparison))
    for configuration, row in zip(configurations(comparison), rows, strict=True):
        for cost in ("steps", "hours") if "hours [95 %]" in head else ("steps",):
            cell, *savings = row[head.index(f"{cost} [95 %]") :][: 2 if len(rows) > 1 else 1]
            target, saved = (configuration["to_target"][key] for key in (cost, f"{cost}_saved"))
            if cost == "hours" and not configuration["seconds"]:
                assert cell == "not measured" and not any(savings)
                continue
            assert cell == "not reached" if target["value"] is None else agrees(cell, *bounds(target))
            never = "against" not in configuration or saved["value"] is None
            assert all(saving == "" if never else agrees(saving, *bounds(saved), factor=100) for saving in savings)


@pytest.mark.parametrize("name", CASES)
def test_every_further_measure_has_a_table_with_its_numbers(name):
    comparison, race = CASES[name], has_race(CASES[name])
    tables = dict(tables_of(comparison))
    for measure in further_measures(comparison):
        unit = unit_of(measure)
        named = {"accuracy": "Accuracy", "majority": "Majority vote", "distinct@4": "Distinct right answers among 4"}
        title = f"{named.get(measure, measure)} on made-up (24 problems)"
        head, *rows = tables[title]
        assert (f"steps to {level(comparison, measure)} [95 %]" in head) == race
        for configuration, row in zip(configurations(comparison, measure), rows, strict=True):
            assert agrees(row[1], *bounds(configuration["last"]), factor=unit.factor)
            if "against" in configuration:
                item = configuration["against"]["last"]
                assert agrees(row[2], *bounds(item), factor=unit.factor)
                assert row[3].startswith(item["verdict"])
            else:
                assert row[2:4] == ["", ""]
            if race:
                target = configuration["to_target"]["steps"]
                assert agrees(row[4], *bounds(configuration["peak"]), factor=unit.factor)
                assert row[5] == "not reached" if target["value"] is None else agrees(row[5], *bounds(target))


def test_distinct_answers_are_no_percentages_and_accuracy_stands_for_no_other_measure():
    assert unit_of("distinct@4") is ANSWERS and unit_of("pass@4") is SHARE
    comparison = CASES["paired"]
    title, (head, *rows) = next(tables_of(comparison))
    assert title.startswith("Distinct right answers among 4 on ") and "minus grpo, answers" in head
    assert not any("%" in cell for row in rows for cell in row)
    plain = compare(two(), "grpo")
    for configuration in plain["configurations"]:
        configuration["measures"] = {"eval/reward": configuration["measures"]["accuracy"]}
    plain |= {
        "metric": "eval/reward",
        "measures": ["eval/reward"],
        "targets": {"eval/reward": plain["targets"]["accuracy"]},
    }
    text = report.text(plain)
    assert "eval/reward on arithmetic" in text and "Metric: eval/reward." in text and "ccuracy" not in text
    assert "points" not in text and not any(
        "%" in cell for _, *cells in next(tables_of(plain))[1][1:] for cell in cells
    )


@pytest.mark.parametrize("name", CASES)
def test_a_table_stands_where_its_values_were_measured_and_holds_them(name):
    comparison = CASES[name]
    compared, tables = configurations(comparison), dict(tables_of(comparison))
    timed = [configuration for configuration in compared if configuration["seconds"]]
    heading = {"accuracy": "Accuracy", "distinct@4": "Distinct right answers among 4"}
    heading = heading.get(comparison["metric"], comparison["metric"])
    factor = unit_of(comparison["metric"]).factor
    expected = {"Seconds a step": ([configuration["seconds"] for configuration in timed], 1)}
    same = all(configuration["last"]["step"] == configuration["peak"]["step"] for configuration in compared)
    for when, place in (("last", "at the end"), ("peak", "at the peak step")):
        shares = [configuration[when]["benchmarks"] for configuration in compared]
        is_shown = len(comparison["benchmarks"]) > 1 and not (when == "peak" and same)
        expected[f"{heading} {place}, by benchmark"] = (shares if is_shown else [], factor)
    means = [
        {metric(key).title: fmean(value for _, value, *_ in metrics[key]) for key in shown_metrics(metrics)}
        for metrics in (configuration["metrics"] for configuration in compared)
    ]
    for title, (values, scale) in expected.items():
        assert (title in tables) == bool(values), title
        if values:
            header, *rows = tables[title]
            shown = [dict(zip(header[1:], row[1:], strict=True)) for row in rows]
            assert [{key for key, cell in row.items() if cell} for row in shown] == [set(row) for row in values]
            for cells, exact in zip(shown, values, strict=True):
                assert all(agrees(cells[key], exact[key], factor=scale) for key in exact)
    if any(means):
        header, *rows = tables["Means over the training"]
        for row, exact in zip(rows, means, strict=True):
            assert all(agrees(cell, exact[title]) for title, cell in zip(header[1:], row[1:], strict=True))
        hidden = means[0].keys() - set(header)
        assert all(len({f"{exact[title]:.2f}" for exact in means}) == 1 for title in hidden)


def test_many_benchmarks_are_rows_and_not_columns():
    comparison = compare(two(benchmarks=("a", "b", "c", "d", "e")))
    tables = dict(tables_of(comparison))
    assert "Accuracy on 5 benchmarks (80 problems)" in tables
    head, *rows = tables["Accuracy at the end, by benchmark"]
    assert head == ["", "grpo", "mmr"] and [row[0] for row in rows] == comparison["benchmarks"]
    for row in rows:
        for cell, configuration in zip(row[1:], configurations(comparison), strict=True):
            assert agrees(cell, configuration["last"]["benchmarks"][row[0]], factor=100)
    title = "Accuracy at the end, minus grpo, points, without one benchmark"
    [_, [name, low, without, high, other]] = tables[title]
    items = {item["without"]: item for item in configurations(comparison)[1]["against"]["last"]["sensitivity"]}
    values = {name: item["value"] for name, item in items.items()}
    assert name == "mmr" and without == min(values, key=values.get) and other == max(values, key=values.get)
    assert agrees(low, *bounds(items[without]), factor=100) and agrees(high, *bounds(items[other]), factor=100)


def test_a_metric_that_is_equal_everywhere_has_no_column():
    runs = two()
    for run in runs:
        run.curves["entropy"] = [(step, 2.0) for step in range(1, 31)]
    tables = dict(tables_of(compare(runs)))
    assert (
        "entropy" not in tables["Means over the training"][0] and "Vendi score" in tables["Means over the training"][0]
    )


def test_the_settings_that_differ_are_a_table():
    tables = dict(tables_of(compare(two())))
    assert tables["What differs from grpo"] == [
        ["", "setting", "here", "in grpo"],
        ["mmr", "method.reweight", '"mmr"', "null"],
    ]


def test_no_table_shows_a_power_of_ten():
    assert "e+0" not in report.text(compare(two([1, 2], steps=range(0, 3001, 500)), target=0.5))


@pytest.mark.parametrize("name", CASES)
def test_all_lines_of_a_table_are_equally_long(name):
    for _, rows in tables_of(CASES[name]):
        lines = markdown(rows).splitlines()
        assert len({len(line) for line in lines}) == 1 and len(lines) == len(rows) + 1
        assert all(line.startswith("| ") and line.endswith(" |") for line in lines)


@pytest.mark.parametrize("cell", ["a", "", "数学", pytest.param("a|b"), pytest.param("a\nb")])
def test_a_table_keeps_its_cells(cell):
    rows = [["head", "more"], [cell, "1"], ["x", cell]]
    parsed = cells_of(markdown(rows))
    assert [len(row) for row in parsed] == [2, 2, 2] and parsed[0] == rows[0] and parsed[1][1] == "1"


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


@pytest.mark.parametrize("name", CASES)
def test_the_page_has_every_cell_sentence_and_note(name):
    comparison = {**CASES[name], "left_out": ["'b.csv' is no run: it has no recipe.yaml."]}
    names = [configuration["name"] for configuration in configurations(comparison)]
    page = Page(page_of(comparison, [("words", "<svg ></svg>")], [(label, "red", "solid", "o") for label in names]))
    sections = answers(comparison)
    verdicts = [table for section in sections for table in section.tables]
    tables = [*verdicts, *tables_of(comparison)]
    head = [cell for _, rows in tables for cell in rows[0]]
    shown = {tag: text.replace("\xa0", " ") for tag, text in page.text.items()}
    assert shown["th"] == "".join(cell for _, rows in tables for cell in [*rows[0], *(row[0] for row in rows[1:])])
    assert shown["td"] == "".join(cell for _, rows in tables for row in rows[1:] for cell in row[1:])
    assert {attributes["data-name"].replace("\xa0", " ") for attributes in page.all("td")} <= set(head) - {""}
    numbers = re.findall(r"\[[^]\"]*\d[^]\"]*\]|\(p\s(?:below\s)?[\d.]+\)", page.text["td"] + page.text["th"])
    assert [number for number in numbers if " " in number] == [], "no line ends within an interval or a p value"
    headings = page.text.get("h2", "") + page.text.get("h3", "")
    assert all(title in headings for title, _ in tables)
    assert all(section.heading in page.text.get("h2", "") for section in sections)
    assert all("".join(section.sentences) in page.text["p"] for section in sections)
    notes = [*comparison["notes"], "Left out: 'b.csv' is no run: it has no recipe.yaml."]
    assert page.text["li"] == "".join([*notes, *names])
    assert page.text["b"] == "●" * len(names)
    assert notes[-1] in report.text(comparison)


def test_verdicts_on_many_are_one_table_before_the_pictures():
    comparison = CASES["ten configurations"]
    text = page_of(comparison, [("words", "<svg ></svg>")], [])
    assert text.index("Verdicts: accuracy at the end") < text.index("<figure>") < text.index("Steps to")
    [section] = answers(comparison)
    assert section.sentences == [] and [len(rows) for _, rows in section.tables] == [10]


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """The report of configurations with hostile names, and the page of the same with harmless names."""
    folder = tmp_path_factory.mktemp("evil")
    names = [name for name in HOSTILE.values() if name != BROKEN]
    report.write(named(names), folder / "evil")
    usual = named([f"name{number}" for number in range(len(names))])
    (folder / "usual").mkdir()
    harmless = [configuration["name"] for configuration in configurations(usual)]
    legend = [(name, *style.look(name, harmless)) for name in harmless]
    (folder / "usual" / "report.html").write_text(page_of(usual, save(usual, folder / "usual"), legend))
    return folder


@pytest.mark.filterwarnings("ignore:Glyph")
def test_hostile_names_are_text_and_no_more(evil):
    text, usual = ((evil / name / "report.html").read_bytes().decode() for name in ("evil", "usual"))
    page, other = Page(text), Page(usual)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in other.tags]
    for (_, attributes), (_, others) in zip(page.tags, other.tags, strict=True):
        assert list(attributes) == list(others)
        assert all(value == others[key] for key, value in attributes.items() if key not in OF_NAMES)
    names = [name for name in HOSTILE.values() if name != BROKEN]
    title = f"{len(names) - 1} configurations against {names[0]}"
    assert page.text["h1"] == title == title_of(named(names)) and page.text["title"].startswith(title)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    for name in map(one_line, names):
        assert all(f"{name}: " in attributes["aria-label"] for attributes in page.all("svg"))
        assert html.escape(name) in text and (name not in text or name == html.escape(name))
    for name in names:
        assert one_line(json.dumps(name, ensure_ascii=False)[:77]) in page.text["td"]  # the setting


def test_hostile_names_are_harmless_in_markdown_and_csv(evil):
    text, table = ((evil / "evil" / f"comparison.{kind}").read_text() for kind in ("md", "csv"))
    for content in (text, table):
        assert content == "\n".join(map(escaped, content.split("\n")))  # printable
    assert not re.search(r"(?<!\\)<[A-Za-z/!]|\](?<!\\\])\(|(?<!\\)\*", text)
    assert all(line.count("`") == line.count("\\`") or line.count("`") % 2 == 0 for line in text.splitlines())
    assert [line for line in text.splitlines() if line.startswith("#") and "heading" in line] == []
    names = [configuration["name"] for configuration in configurations(named(list(HOSTILE.values())))]
    rows = list(csv.reader(io.StringIO(table)))
    assert {len(row) for row in rows} == {len(csv_rows.COLUMNS)}
    for row in rows:
        for cell in row:
            assert not cell.startswith(("=", "@", "\t", "\r")) and (
                cell[:1] not in "+-" or math.isfinite(float(cell or 0))
            )
    assert {"'" + one_line(name) for name in names if name[0] in "=+-@"} <= {row[0] for row in rows}


@pytest.mark.parametrize("name", [name for name in HOSTILE if HOSTILE[name] != BROKEN])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_hostile_name_is_in_the_legend_of_the_pictures(name, evil):
    words = " ".join("".join(xml.parse(evil / "evil" / "curves.svg").getroot().itertext()).split())
    assert one_line(HOSTILE[name])[:47].strip() in words


def test_a_name_that_is_broken_mathematics_is_drawn(tmp_path):
    report.write(named([BROKEN]), tmp_path)
