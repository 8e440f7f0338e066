"""The numbers of docs/evidence.md are those that `manypaths compare` prints from the rows beside it."""

import re
import shutil
from pathlib import Path

import pytest

from manypaths import result_rows
from manypaths.cli import main
from manypaths.comparison.configurations import configured, grouped
from manypaths.comparison.differences import against
from manypaths.comparison.equal_accuracy import Path as PathOfPass
from manypaths.comparison.equal_accuracy import at_equal_accuracy
from manypaths.comparison.numbers import unit_of, with_interval
from manypaths.comparison.read import read
from manypaths.training.grid import jobs, read_grid
from manypaths.training.sweep import without_folder

ROOT = Path(__file__).parent.parent
GRIDS = {  # file of rows -> the grid of its runs
    "colouring": "study",
    "one-way": "study_one_way",
    "same-rate": "study_same_rate",
    "rates": "study_rates",
    "longer": "study_longer",
    "countdown": "study_countdown",
    "family": "study_family",
    "countdown-longer": "study_countdown_longer",
    "sums": "real_sums",
    "countdown-smollm2": "real_countdown",
}
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


DISTINCT = "Secondary endpoint: distinct@8 better at the end"
CORRECTED = " (p after Holm over 12 arms)"


def compared(name, protocol, out):
    """title -> (arm -> cells) of each table that a comparison with a protocol writes."""
    rows = ROOT / f"docs/evidence/{name}.jsonl.gz"
    assert main(["compare", str(rows), "--protocol", str(ROOT / f"bench/{protocol}.yaml"), "--out", str(out)]) == 0
    sections = (out / "comparison.md").read_text("utf-8").split("\n## ")[1:]
    blocks = {title: block.strip().split("\n\n")[0] for title, _, block in (part.partition("\n") for part in sections)}
    return {title: {cells(line)[0]: cells(line)[1:] for line in block.splitlines()} for title, block in blocks.items()}


def rows_of_the_page(third):
    """Name in the grid -> cells, of the table whose third cell matches."""
    lines = re.finditer(rf"^\| .* \| `([\w-]+)` \| {third} \|.*$", PAGE, re.MULTILINE)
    return {match[1]: cells(match[0]) for match in lines}


def test_the_table_of_the_page_has_the_differences_and_verdicts_of_the_comparison(tmp_path):
    tables = compared("colouring", "study_protocol", tmp_path)
    primary, distinct = tables[f"Primary endpoints{CORRECTED}"], tables[f"{DISTINCT}{CORRECTED}"]
    rows = rows_of_the_page(r"\de-\d")
    assert len(rows) == 12 and rows.keys() <= primary.keys()
    for arm, row in rows.items():
        pass_at_8, _, accuracy, _, verdict = primary[arm]
        assert row[3:6] == [pass_at_8, accuracy, distinct[arm][0]]
        assert row[6].replace("*", "").replace("below .001", "below 0.001") == verdict


def test_the_table_of_the_second_task_has_those_of_its_comparison(tmp_path):
    tables = compared("countdown", "study_countdown_protocol", tmp_path)
    primary, distinct = tables[f"Primary endpoints{CORRECTED}"], tables[f"{DISTINCT}{CORRECTED}"]
    equal = tables["pass@8 at equal accuracy on countdown (128 problems)"]
    rows = rows_of_the_page(r"[+-].*")
    assert len(rows) == 12 and rows.keys() <= primary.keys()
    for arm, row in rows.items():
        pass_at_8, _, accuracy, _, verdict = primary[arm]
        assert row[2:5] == [pass_at_8, accuracy, distinct[arm][0]]
        assert [row[5].replace("*", ""), row[6]] == [verdict, equal[arm][3]]


def test_the_table_of_the_page_has_the_learning_rates_of_the_grid():
    grid = (ROOT / "bench" / "study.yaml").read_text("utf-8")
    for arm, rate in re.findall(r"^\| .* \| `([\w-]+)` \| (\de-\d) \|", PAGE, re.MULTILINE):
        assert re.search(rf"^    {arm}: \[.*trainer.learning_rate={rate}\]", grid, re.MULTILINE)


@pytest.mark.parametrize("rows", GRIDS)
def test_the_rows_are_those_of_their_grid_run_for_run_with_its_recipes(tmp_path, rows):
    shutil.copy(ROOT / f"docs/evidence/{rows}.jsonl.gz", tmp_path / result_rows.ROWS)
    runs = jobs(read_grid(ROOT / f"bench/{GRIDS[rows]}.yaml"))
    assert without_folder(runs, tmp_path) == {job.name for job in runs}  # refuses a row of another recipe
    assert {row.name for row in result_rows.read(tmp_path / result_rows.ROWS)} == {job.name for job in runs}


ARMS_BY_WORDS = {  # (arm, learning rate and steps) on the page -> name of the configuration
    ("MMR among the right", "1e-4, 120"): "mmr-1e-4",
    ("MMR among the right", "3e-5, 300"): "mmr-longer",
    ("MaxRL", "1e-4, 120"): "maxrl-1e-4",
    ("MaxRL", "3e-5, 300"): "maxrl-longer",
    ("MaxRL with rarity", "1e-4, 120"): "maxrl-rarity",
    ("MMR as published", "1e-4, 120"): "mmr-paper",
    ("PODS's half", "1e-4, 120"): "select-pods",
    ("MMR's half", "1e-4, 120"): "select-mmr",
    ("MMR's half", "3e-5, 300"): "select-mmr-longer",
    ("GRPO", "3e-4, 120"): "grpo-3e-4",
}


def paths_of(*names):
    """Name of a configuration -> its accuracy and pass@8, from files of rows."""
    of_runs = grouped(read([ROOT / f"docs/evidence/{name}.jsonl.gz" for name in names])[0], "pass@8")
    both = [configured(of_runs.groups, of_runs.benchmarks, name)[0] for name in ("accuracy", "pass@8")]
    return {pair[0].name: PathOfPass(*pair) for pair in zip(*both, strict=True)}


def test_the_rest_of_the_family_has_the_differences_of_its_rows():
    paths = paths_of("colouring", "family")
    results, base = (ROOT / "docs/results.md").read_text("utf-8"), paths["grpo"]
    section = results.split("\n## The rest of the family")[1].split("\n## ")[0]
    rows = [cells(line) for line in section.splitlines() if re.match(r"\| .* \| `", line)]
    assert len(rows) == 22
    for _, name, *shown in rows:
        own = paths[name.strip("`")]
        items = [against(own.measure, base.measure, True, None)["last"]]
        items += [against(own.accuracy, base.accuracy, True, None)["last"], at_equal_accuracy(own, base, True)]
        written = [with_interval(item, unit_of("pass@8"), signed=True) for item in items]
        assert [cell.strip("*") for cell in shown] == written, name


def test_the_differences_at_equal_accuracy_are_those_of_the_rows():
    paths = paths_of("colouring", "same-rate", "longer")
    rows = [cells(line) for line in PAGE.splitlines() if re.match(r"\| .* \| \de-\d, \d+ \| `grpo", line)]
    assert len(rows) == 12
    above = None
    for arm, setting, base_name, seeds, both_at, steps, difference in rows:
        name = f"{above}-shuffled".replace("-1e-4", "") if "placebo" in arm else ARMS_BY_WORDS[arm, setting]
        above, base = name, paths[base_name.strip("`")]
        item = at_equal_accuracy(paths[name], base, True)
        assert seeds == str(min(len(side.accuracy.units) for side in (paths[name], base)))
        assert both_at == f"{100 * item['accuracy']:.1f}%"
        assert steps == f"{item['step']:.0f}, {item['baseline_step']:.0f}"
        assert difference == with_interval(item, unit_of("pass@8"), signed=True), name
