"""Published results of other projects, read by `compare`: docs/outside.md has what bench/outside.py prints."""

import importlib.util
from pathlib import Path

import pytest

from manypaths.tables import markdown

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "outside.md").read_text("utf-8")


@pytest.fixture(scope="module")
def outside():
    spec = importlib.util.spec_from_file_location("outside", ROOT / "bench" / "outside.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_every_table(outside):
    tables = [*outside.pods_tables(), *outside.dataflex_tables()]
    assert len(tables) == PAGE.count("\n### ") == 16
    for title, rows in tables:
        assert f"### {title}\n\n{markdown(rows)}\n" in PAGE, title


def test_after_holm_no_setting_is_better_at_the_end_that_five_are_alone(outside):
    _, others = outside.compared("pods_gsm8k", "grpo-16")
    verdicts = [outside.verdict(other["against"]["last"]) for other in others]
    assert [alone for alone, _ in verdicts].count("better") == 5
    assert [verdict for _, verdict in verdicts].count("better") == 0
    assert ["worse", "worse"] in verdicts


def test_every_run_of_the_files_counts_or_is_said_to_be_left_out(outside):
    for file, baseline in outside.PODS.items():
        lines = (outside.DATA / f"{file}.csv").read_text().splitlines()[1:]
        comparison, _ = outside.compared(file, baseline)
        counted = [run for configuration in comparison["configurations"] for run in configuration["runs"]]
        assert len(counted) + len(comparison["left_out"]) == len({tuple(line.split(",")[:2]) for line in lines})
        assert len(comparison["left_out"]) == (file == "pods_gsm8k_llama")
    runs = 0
    for campaign, model, regime, baseline in outside.SETTINGS:
        where = {"campaign": campaign, "model": model} | ({"regime": regime} if regime else {})
        comparison, _ = outside.compared("dataflex_rl", baseline, unit="percent", columns=outside.COLUMNS, where=where)
        runs += sum(len(configuration["runs"]) for configuration in comparison["configurations"])
    assert runs == 171
