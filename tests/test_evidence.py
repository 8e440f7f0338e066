"""The numbers of docs/evidence.md are those that `manypaths compare` prints from the rows beside it."""

import re
from pathlib import Path

import pytest

from manypaths.cli import main

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Rows of the primary and the secondary table of the study, by arm."""
    out = tmp_path_factory.mktemp("evidence")
    rows, protocol = ROOT / "docs/evidence/colouring.jsonl.gz", ROOT / "bench/study_protocol.yaml"
    assert main(["compare", str(rows), "--protocol", str(protocol), "--out", str(out)]) == 0
    report = (out / "comparison.md").read_text("utf-8")
    parts = re.split(r"^## (Primary|Secondary) endpoints.*$", report, flags=re.MULTILINE)
    blocks = [part.strip().split("\n\n")[0] for part in (parts[2], parts[4])]
    return [{cells(line)[0]: cells(line)[1:] for line in block.splitlines()} for block in blocks]


def test_the_table_of_the_page_has_the_differences_and_verdicts_of_the_comparison(tables):
    primary, secondary = tables
    rows = {match[1]: cells(match[0]) for match in re.finditer(r"^\| .* \| `([\w-]+)` \| .*$", PAGE, re.MULTILINE)}
    assert len(rows) == 12 and rows.keys() <= primary.keys()
    for arm, row in rows.items():
        pass_at_8, _, accuracy, _, verdict = primary[arm]
        assert row[3:6] == [pass_at_8, accuracy, secondary[arm][0]]
        assert row[6].replace("*", "").replace("below .001", "below 0.001") == verdict


def test_the_table_of_the_page_has_the_learning_rates_of_the_grid():
    grid = (ROOT / "bench" / "study.yaml").read_text("utf-8")
    for arm, rate in re.findall(r"^\| .* \| `([\w-]+)` \| (\S+) \|", PAGE, re.MULTILINE):
        assert re.search(rf"^    {arm}: \[.*trainer.learning_rate={rate}\]", grid, re.MULTILINE)
