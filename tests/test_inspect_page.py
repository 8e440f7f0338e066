"""Laws of the data in the page: the content of a run folder comes out unchanged, whatever a model wrote. No browser."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from project import ROOT, pyproject

from manypaths import names
from manypaths.training import inspect_page
from manypaths.training.inspect_entries import LONGEST
from manypaths.training.inspect_page import write_page

Entry = dict[str, Any]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp; ]]>",
    "\x00\x07\x1b\x7f\x85\r\n\t",
    "\u2028 \u2029 \ufeff \ufffe \u202e",
    "\ud800 alone, \udfff alone",
    "{{data}} \\u003c \\\\ \" ' ` ${1}",
    "naïve 数学 \U0001f642",
    "",
]


def completion(text: str = " 7 - 3 = \\boxed{4}", **others: Any) -> Entry:
    scores = {"rewards": {"accuracy": 1.0, "format": None}, "raw": 1.0, "adjusted": 0.8, "advantage": 0.4}
    return {"text": text, **scores, "nearest": 0, "similarity": 0.97, "diagnostics": {}, **others}


def group(step: int = 1, number: int = 0, texts: list[str] | None = None, **others: Any) -> Entry:
    completions = [completion(text) for text in texts or [" 4", " 5"]]
    matrix = [[1.0] * len(completions) for _ in completions]
    about = {"step": step, "group": number, "prompt": "7 - 3?", "answer": "4", "method": "mmr"}
    return {**about, "diagnostics": {"lam": 0.61}, "completions": completions, "similarity": matrix, **others}


def as_shown(entry: Entry) -> Entry:
    """A group, as training writes it, in the data of the page."""
    unknown = {"correct": None, "tokens": None, "truncated": None}
    completions = [{**row, **unknown, "diagnostics": pairs(row)} for row in entry["completions"]]
    return {**entry, "diagnostics": pairs(entry), "completions": completions}


def pairs(entry: Entry) -> list[list[Any]]:
    return [[name, value] for name, value in entry["diagnostics"].items()]


def lines(entries: list[Entry]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def run_folder(path: Path, groups: list[Entry], metrics: list[Entry] | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "groups.jsonl").write_text(lines(groups), "utf-8")
    (path / "metrics.jsonl").write_text(lines(metrics or []), "utf-8")
    return path


class Scripts(HTMLParser):
    """The scripts of a page, as a browser finds them: (attributes, text)."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def data_of(path: Path) -> Entry:
    """The data that a browser reads from a page. The page has its two scripts and no other."""
    scripts = Scripts()
    scripts.feed(path.read_text("utf-8"))
    [(attributes, text), (others, _)] = scripts.scripts
    assert attributes == {"type": "application/json", "id": "data"} and others == {}
    assert not set("<>&\u2028\u2029") & set(text)
    data: Entry = json.loads(text, parse_constant=no_constant)
    return data


def test_a_run_comes_back_whole(tmp_path: Path) -> None:
    recorded = [group(step, number, diagnostics={} if number else {"lam": 0.5}) for step in (1, 2) for number in (0, 1)]
    metrics: list[Entry] = [
        {"step": 1, "reward": 0.25, "entropy": 1.0},
        {"step": 2, "reward": None, "diversity/lam": 0.6},
    ]
    path = write_page(run_folder(tmp_path / "run 7", recorded, metrics))
    assert path == tmp_path / "run 7" / "inspect.html"
    data = data_of(path)
    assert data["name"] == "run 7" and [curve["metric"] for curve in data["curves"]] == ["reward", "diversity/lam"]
    assert data["groups"] == [as_shown(entry) for entry in recorded]
    assert data["reported"] == {"lam": names.REPORTED["lam"]}
    assert data["metrics"] == [{"step": 1, "reward": 0.25}, {"step": 2, "diversity/lam": 0.6}]
    assert data["recipe"] is None and data["evaluation"] is None


NAMES = ["zebra", "2", "10", "aardvark", "__proto__", "constructor", *HOSTILE]


def test_diagnostics_of_any_method_are_shown_under_their_names(tmp_path: Path) -> None:
    """A method that no table lists, with names in any order and numbers of any magnitude."""
    values = {name: float(f"3e{2 - place}") for place, name in enumerate(NAMES)}
    recorded = group(method="toy", diagnostics=values)
    recorded["completions"][1]["diagnostics"] = dict(reversed(values.items())) | {"none": None}
    metrics = [{"step": 1, "groups/zero_std": 0.5, "reward": 0.1, **{f"diversity/{name}": 7e-9 for name in NAMES}}]
    data = data_of(write_page(run_folder(tmp_path, [recorded], metrics)))
    assert data["groups"] == [as_shown(recorded)]
    assert [name for name, _ in data["groups"][0]["diagnostics"]] == NAMES
    own = [name for name in NAMES if name]
    assert [curve["metric"] for curve in data["curves"]] == [
        "reward",
        "groups/zero_std",
        *sorted(f"diversity/{name}" for name in own),
    ]
    assert [curve["title"] for curve in data["curves"][2:]] == [
        f"{name} (reported by the method)" for name in sorted(own)
    ]
    assert data["reported"] == {}
    assert data["metrics"] == [{name: value for name, value in metrics[0].items() if name != "diversity/"}]


def test_runs_of_earlier_versions_are_shown(tmp_path: Path) -> None:
    old = group()
    del old["diagnostics"]
    for entry in old["completions"]:
        del entry["diagnostics"]
    metrics = [{"step": 1, "groups/without_spread": 0.5, "diversity/effective_number": 2.5, "diversity/lam": 0.6}]
    data = data_of(write_page(run_folder(tmp_path, [old | {"lam": 0.61}, old | {"lam": None}, old], metrics)))
    assert [entry["diagnostics"] for entry in data["groups"]] == [[["lam", 0.61]], [], []]
    assert [shown["diagnostics"] for entry in data["groups"] for shown in entry["completions"]] == [[]] * 6
    assert data["metrics"] == [{"step": 1, "groups/zero_std": 0.5, "diversity/vendi_score": 2.5, "diversity/lam": 0.6}]
    assert {curve["metric"] for curve in data["curves"]} == data["metrics"][0].keys() - {"step"}


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_back_as_it_was(tmp_path: Path, text: str) -> None:
    recorded = group(texts=[text, "x"], prompt=text, answer=text, method=text)
    for row in recorded["completions"]:
        row["rewards"] = {text: 1.0}
    run = run_folder(tmp_path, [recorded])
    (run / "recipe.yaml").write_text(text, "utf-8", errors="replace", newline="")
    data = data_of(write_page(run))
    assert data["groups"] == [as_shown(recorded)]
    assert data["recipe"] == text.encode("utf-8", "replace").decode().replace("\r\n", "\n")


def test_random_texts_come_back_as_they_were(tmp_path: Path) -> None:
    draw = random.Random(0)
    pieces = ["<", ">", "&", "/script", "!--", "\\", '"', "\n", "{{data}}"]
    texts = [
        "".join(
            draw.choice([draw.choice(pieces), chr(draw.randrange(0x3000)), chr(draw.randrange(0xD7F0, 0x10FFFF))])
            for _ in range(40)
        )
        for _ in range(300)
    ]
    recorded = [group(step, texts=texts[step : step + 2]) for step in range(0, 300, 2)]
    groups = data_of(write_page(run_folder(tmp_path, recorded)))["groups"]
    shown = [row["text"] for entry in groups for row in entry["completions"]]
    # Two halves of one character that a model wrote side by side are that character in JSON.
    assert shown == [json.loads(json.dumps(text)) for text in texts]


def test_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    text = write_page(run_folder(tmp_path, [group()])).read_text("utf-8")
    assert "default-src 'none'" in text
    for forbidden in (
        "://",
        "@import",
        "url(",
        '<link rel="stylesheet',
        " src=",
        "fetch(",
        "XMLHttpRequest",
        "import(",
    ):
        assert forbidden not in text, forbidden
    for unsafe in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert unsafe not in text, unsafe


def test_long_texts_keep_their_two_ends(tmp_path: Path) -> None:
    whole = "".join(chr(ord("a") + at % 26) for at in range(100_000))
    texts = [whole[:LONGEST], whole[: LONGEST + 1], whole]
    path = write_page(run_folder(tmp_path, [group(texts=texts, prompt=whole)]))
    kept, just, long = [row["text"] for row in data_of(path)["groups"][0]["completions"]]
    assert kept == texts[0]
    for short, text in ((just, texts[1]), (long, whole), (data_of(path)["groups"][0]["prompt"], whole)):
        start, left, end = short
        assert len(start) + left + len(end) == len(text) and len(start) + len(end) == LONGEST
        assert text.startswith(start) and text.endswith(end)
    assert path.stat().st_size < 100_000


def test_numbers_are_short_and_never_nan(tmp_path: Path) -> None:
    odd = completion(
        raw=math.nan,
        adjusted=math.inf,
        advantage=-math.inf,
        similarity=0.98765,
        rewards={"accuracy": math.nan, "format": 1},
    )
    recorded = group(
        completions=[odd, completion(raw=1 / 3)],
        similarity=[[1.0000001, math.nan], [-1 / 3, 1]],
        diagnostics={"a": math.nan, "b": 1e-7 / 3, "c": 123456789},
    )
    data = data_of(write_page(run_folder(tmp_path, [recorded], [{"step": 1, "reward": math.nan}])))
    [first, second] = data["groups"][0]["completions"]
    assert [first[key] for key in ("raw", "adjusted", "advantage")] == [None] * 3
    assert first["rewards"] == {"accuracy": None, "format": 1} and first["similarity"] == 0.988
    assert second["raw"] == 0.3333
    assert data["groups"][0]["similarity"] == [[1.0, None], [-0.333, 1]]
    assert data["groups"][0]["diagnostics"] == [["a", None], ["b", 3.3333e-8], ["c", 1.2346e8]]
    assert data["metrics"] == [{"step": 1}]


def test_steps_and_groups_are_in_order_and_none_is_lost(tmp_path: Path) -> None:
    recorded = [group(3, 1), group(3, 0), group(2, 0), *(group(1, at % 2, texts=[str(at)]) for at in range(6))]
    metrics = [{"step": 2, "reward": 0.2}, {"step": 1, "reward": 0.1, "diversity/lam": 0.5}, {"step": 1, "reward": 0.9}]
    data = data_of(write_page(run_folder(tmp_path, recorded, metrics)))
    assert [(shown["step"], shown["group"]) for shown in data["groups"]] == [
        *((1, at) for at in range(6)),
        (2, 0),
        (3, 0),
        (3, 1),
    ]
    assert [shown["completions"][0]["text"] for shown in data["groups"][:6]] == [str(at) for at in range(6)]
    assert data["metrics"] == [{"step": 1, "reward": 0.9, "diversity/lam": 0.5}, {"step": 2, "reward": 0.2}]


@pytest.mark.parametrize("name", ["groups.jsonl", "metrics.jsonl"])
def test_a_last_line_cut_anywhere_is_left_out(tmp_path: Path, name: str) -> None:
    run = run_folder(tmp_path, [group(1)], [{"step": 1, "reward": 0.5}])
    last: Entry = group(2, texts=["数学"]) if name == "groups.jsonl" else {"step": 2, "reward": 0.75}
    before, added = (run / name).read_bytes(), json.dumps(last, ensure_ascii=False).encode()
    for cut in range(len(added)):
        (run / name).write_bytes(before + added[:cut])
        assert [line["step"] for line in data_of(write_page(run))[name.removesuffix(".jsonl")]] == [1], cut
    (run / name).write_bytes(before + added)
    assert [line["step"] for line in data_of(write_page(run))[name.removesuffix(".jsonl")]] == [1, 2]


BAD_GROUPS = {
    "not JSON": '{"step": 1',
    "not UTF-8": b'{"step": "\xff"}',
    "not an object": "[1, 2]",
    "no completions": '{"step": 1, "group": 0, "prompt": ""}',
    "no step": json.dumps({**group(), "step": None}),
    "no text": json.dumps(group(completions=[{"raw": 1.0}], similarity=None)),
    "a word for a number": json.dumps(group(completions=[completion(raw="one"), completion()])),
    "a word for a diagnostic": json.dumps(group(diagnostics={"lam": "one"})),
    "diagnostics without names": json.dumps(group(diagnostics=[1.0])),
    "nested without end": "[" * 100_000,
}


@pytest.mark.parametrize("bad", BAD_GROUPS.values(), ids=BAD_GROUPS)
@pytest.mark.parametrize("place", [1, 2, 3])
def test_any_other_unreadable_line_is_named(tmp_path: Path, bad: str | bytes, place: int) -> None:
    run = run_folder(tmp_path, [])
    good = [json.dumps(group(step)).encode() for step in (1, 2)]
    good.insert(place - 1, bad if isinstance(bad, bytes) else bad.encode())
    (run / "groups.jsonl").write_bytes(b"\n".join(good) + b"\n")
    with pytest.raises(ValueError, match=rf"groups\.jsonl, line {place},"):
        write_page(run)


def test_an_unreadable_metric_or_summary_is_named(tmp_path: Path) -> None:
    run = run_folder(tmp_path, [group()], [{"step": 1}, {"step": 2, "reward": "high"}])
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2,"):
        write_page(run)
    run_folder(tmp_path, [group()])
    (run / "evaluation").mkdir()
    (run / "evaluation" / "summary.json").write_text('{"before": ')
    with pytest.raises(ValueError, match=r"summary\.json"):
        write_page(run)


def test_missing_files_and_groups_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere' does not exist\. Name the folder of a run"):
        write_page(tmp_path / "nowhere")
    run = run_folder(tmp_path / "run", [])
    with pytest.raises(ValueError, match=r"run' must have at least one group, got none\. Wait"):
        write_page(run)
    for name in ("metrics.jsonl", "groups.jsonl"):
        (run / name).unlink()
        with pytest.raises(ValueError, match=rf"run' must be a run folder with groups, got no {name}"):
            write_page(run)
        (run / "recipe.yaml").write_text("method: {}")
    (run / "recipe.yaml").unlink()
    with pytest.raises(ValueError, match=r"run' must be a log, got a folder without one\. What can be read"):
        write_page(run)


def test_a_damaged_file_leaves_the_page_alone(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", [group()])
    old = write_page(run).read_bytes()
    names = sorted(path.name for path in run.iterdir())
    assert names == ["groups.jsonl", "inspect.html", "metrics.jsonl"]
    (run / "groups.jsonl").write_text("no\n")
    with pytest.raises(ValueError, match="line 1"):
        write_page(run)
    assert (run / "inspect.html").read_bytes() == old
    run_folder(run, [group()])
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_page(run, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "run"]
    assert write_page(run, tmp_path / "other.html") == tmp_path / "other.html"
    assert (tmp_path / "other.html").read_bytes() == old
    assert sorted(path.name for path in run.iterdir()) == names


def test_recipe_and_evaluation_travel_along(tmp_path: Path) -> None:
    run = run_folder(tmp_path, [group()])
    (run / "recipe.yaml").write_text("method: mmr  # </script>\n")
    (run / "evaluation").mkdir()
    before = {"accuracy": 0.11, "low": 0.06, "high": math.nan, "problems": 128, "samples": 1}
    (run / "evaluation" / "summary.json").write_text(json.dumps({"before": before, "after": None, "seed": 1}))
    data = data_of(write_page(run))
    assert data["recipe"] == "method: mmr  # </script>\n"
    assert data["evaluation"] == {"before": {"accuracy": 0.11, "low": 0.06, "high": None, "problems": 128}}


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    draw = random.Random(0)
    text = "".join(draw.choice("ab 12=+\\{}") for _ in range(300))
    matrix = [[draw.random() for _ in range(8)] for _ in range(8)]
    recorded = [group(step, number, [text] * 8, similarity=matrix) for step in range(200) for number in range(8)]
    assert write_page(run_folder(tmp_path, recorded)).stat().st_size < 10e6


def test_a_run_larger_than_a_page_shows_every_so_many_steps_and_is_never_in_memory(tmp_path, monkeypatch) -> None:
    texts = ["word " * 500] * 8
    recorded = [group(step, number, texts) for step in range(1, 61) for number in (0, 1)]
    folder = run_folder(tmp_path, recorded)
    size = (folder / "groups.jsonl").stat().st_size
    assert data_of(write_page(folder))["steps"] == 60
    monkeypatch.setattr(inspect_page, "LARGEST", size // 10 + 1)
    tracemalloc.start()
    data = data_of(write_page(folder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert data["steps"] == 60
    assert sorted({shown["step"] for shown in data["groups"]}) == [10, 20, 30, 40, 50, 60]
    assert data["groups"] == [as_shown(shown) for shown in recorded if shown["step"] % 10 == 0]
    assert peak < size


def test_the_page_is_written_without_torch() -> None:
    script = "import sys, manypaths.training.inspect_page; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_part_of_the_page_is_packaged() -> None:
    package = ROOT / "src" / "manypaths"
    build = pyproject()["tool"]["setuptools"]
    packaged = {path for pattern in build["package-data"]["manypaths"] for path in package.glob(pattern)}
    assert {package / "training" / name for name in inspect_page.PARTS} <= packaged
