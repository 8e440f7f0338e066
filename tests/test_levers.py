"""bench/levers.py: shares of groups with spread by all subsets, seconds of a step by hand, and the page."""

import itertools
import json
import runpy
import sys
from pathlib import Path

import pytest
from torch.testing import assert_close

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "bench" / "levers.py"


@pytest.fixture(scope="module")
def levers():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        yield runpy.run_path(str(SCRIPT))
    finally:
        sys.path.remove(str(SCRIPT.parent))
        sys.modules.pop("scaling", None)


@pytest.mark.parametrize("size", [2, 3, 4, 6])
@pytest.mark.parametrize("rewards", [[1, 0, 0, 2, 1, 0], [1, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5], [1, 0, 0, 0, 0, 0]])
def test_the_share_of_parts_with_spread_is_that_of_all_subsets(levers, rewards, size):
    subsets = list(itertools.combinations(rewards, size))
    expected = sum(len(set(subset)) > 1 for subset in subsets) / len(subsets)
    assert_close(levers["spread_of_parts"](rewards, size), expected)
    assert_close(levers["spread_of_parts"]([*rewards, None], size), expected)


def test_runs_are_measured(levers, tmp_path):
    run = tmp_path / "grpo-1"
    run.mkdir()
    groups = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    lines = [{"step": 1, "completions": [{"raw": raw} for raw in group]} for group in groups]
    (run / "groups.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = [{"step": step, "seconds/update": 3.0, "seconds/embedding": 0.1} for step in (1, 2)]
    metrics[0]["seconds/sampling"], metrics[1]["seconds/sampling"] = 4.0, 0.0
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    measured = levers["measure"]([run, run])
    assert measured.group == 4 and measured.spread.keys() == {2, 4}
    assert_close([*measured.spread.values()], [(0.5 + 0.0 + 4 / 6 + 0.0) / 4, 0.5])
    assert_close([measured.sampling, measured.similarity], [0.4, 0.02])
    (run / "metrics.jsonl").write_text(json.dumps(metrics[0] | {"update/trained": 0.5}) + "\n")
    with pytest.raises(SystemExit, match="must train all completions"):
        levers["measure"]([run])


def test_seconds_by_hand(levers):
    measured = levers["Measured"](8, {2: 0.3, 4: 0.45, 8: 0.6}, 0.25, 0.01)
    made = {lever.name: lever for lever in levers["levers"](measured, 0.8, 4)}

    def step(name):
        return levers["seconds"](made[name], 0.25, 0.01)

    assert_close(step("GRPO"), 1.0)
    assert_close(step("rows without gradient are skipped"), 0.25 + 0.75 * 0.6)
    assert_close(step("4 of 8, both kinds (MMR), skipping"), 0.25 + 0.75 * 0.6 / 2 + 0.01)
    assert_close(step("dynamic sampling"), 0.25 / 0.6 + 0.75)
    assert_close(step("dynamic sampling, prompt history"), 0.25 / 0.8 + 0.75)
    assert_close(step("2-GRPO, 4 times the prompts, skipping"), 0.25 + 0.75 * 0.3)
    assert_close(made["2-GRPO, 4 times the prompts, skipping"].prompts, 4 * 0.3 / 0.6)


def test_the_tables_of_the_page_are_what_the_script_prints(levers, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8").partition("## What each lever is worth")[2].splitlines()
    assert [line for line in page if line.startswith("|")] == printed
