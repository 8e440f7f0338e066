"""The numbers of docs/evidence.md are those that `manypaths compare` prints from the rows beside it."""

import re
import shutil
from pathlib import Path

import pytest

from manypaths import result_rows
from manypaths.cli import main
from manypaths.training.grid import jobs, read_grid
from manypaths.training.sweep import without_folder

ROOT = Path(__file__).parent.parent
GRIDS = {  # file of rows -> the grid of its runs
    "colouring": "study",
    "one-way": "study_one_way",
    "same-rate": "study_same_rate",
    "rates": "study_rates",
    "sums": "real_sums",
    "countdown-smollm2": "real_countdown",
}
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Rows of the table of primary endpoints, and of that of distinct right answers, by arm."""
    out = tmp_path_factory.mktemp("evidence")
    rows, protocol = ROOT / "docs/evidence/colouring.jsonl.gz", ROOT / "bench/study_protocol.yaml"
    assert main(["compare", str(rows), "--protocol", str(protocol), "--out", str(out)]) == 0
    report = (out / "comparison.md").read_text("utf-8")
    titles = ("Primary endpoints", "Secondary endpoint: distinct@8 better at the end")
    blocks = [report.split(f"\n## {title} (p after Holm over 12 arms)\n\n")[1].split("\n\n")[0] for title in titles]
    return [{cells(line)[0]: cells(line)[1:] for line in block.splitlines()} for block in blocks]


def test_the_table_of_the_page_has_the_differences_and_verdicts_of_the_comparison(tables):
    primary, distinct = tables
    rows = {match[1]: cells(match[0]) for match in re.finditer(r"^\| .* \| `([\w-]+)` \| .*$", PAGE, re.MULTILINE)}
    assert len(rows) == 12 and rows.keys() <= primary.keys()
    for arm, row in rows.items():
        pass_at_8, _, accuracy, _, verdict = primary[arm]
        assert row[3:6] == [pass_at_8, accuracy, distinct[arm][0]]
        assert row[6].replace("*", "").replace("below .001", "below 0.001") == verdict


def test_the_table_of_the_page_has_the_learning_rates_of_the_grid():
    grid = (ROOT / "bench" / "study.yaml").read_text("utf-8")
    for arm, rate in re.findall(r"^\| .* \| `([\w-]+)` \| (\S+) \|", PAGE, re.MULTILINE):
        assert re.search(rf"^    {arm}: \[.*trainer.learning_rate={rate}\]", grid, re.MULTILINE)


@pytest.mark.parametrize("rows", GRIDS)
def test_the_rows_are_those_of_their_grid_run_for_run_with_its_recipes(tmp_path, rows):
    shutil.copy(ROOT / f"docs/evidence/{rows}.jsonl.gz", tmp_path / result_rows.ROWS)
    runs = jobs(read_grid(ROOT / f"bench/{GRIDS[rows]}.yaml"))
    assert without_folder(runs, tmp_path) == {job.name for job in runs}  # refuses a row of another recipe
    assert {row.name for row in result_rows.read(tmp_path / result_rows.ROWS)} == {job.name for job in runs}
