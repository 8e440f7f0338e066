"""Every block of code in the documents: it is run here, by the build of the site, or by a named test, or says why not.

The line before a fence says which: nothing (Python is run here in the order of its page, with `MODEL` a tiny model;
shell lines are run here), `<!-- run by tests/test_x.py: ... -->`, or `<!-- not run: the reason -->`. Blocks with
`exec="on"` are run when the site is built, where an error is a warning and a warning fails the build. Whether it is run
or not, each line with the command `manypaths` has to fit its parser, and the recipes that it names have to merge.
"""

import doctest
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from manypaths import cli
from manypaths.cli import main
from manypaths.recipe import read
from manypaths.training.grid import jobs, read_grid

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
PYTHON, SHELL = ("python", "py"), ("sh", "bash", "shell", "console")
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S
)


@dataclass
class Block:
    language: str
    options: str
    code: str
    mark: str | None  # what the comment before the fence says


def blocks(page, languages):
    """The blocks of a page in these languages."""
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        if match["language"] in languages:
            before = text[: match.start()].rstrip("\n").splitlines()
            mark = re.fullmatch(r"\s*<!-- ((?:not run|run by).+) -->", before[-1]) if before else None
            code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.M)
            yield Block(match["language"], match["options"], code, mark and mark[1])


def shell_lines(code):
    """The lines of a shell block: continued lines are joined, comments dropped, variables of the block filled in."""
    values = {}
    for line in code.replace("\\\n", " ").splitlines():
        if assigned := re.match(r'^(\w+)="([^"]*)"', line):
            values[assigned[1]] = assigned[2]
            continue
        for name, value in values.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line.split(" | ")[0], comments=True)
        if words:
            yield words


def commands(page):
    """The words behind `manypaths`, of every line of every shell block of a page."""
    for block in blocks(page, SHELL):
        for words in shell_lines(block.code):
            words = [word for word in words if not re.fullmatch(r"[A-Z_]+=\S*", word)]
            if words[:1] == ["manypaths"]:
                yield words[1:]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_block_is_run_or_says_why_not(page):
    for block in blocks(page, (*PYTHON, *SHELL)):
        if 'exec="on"' in block.options:
            assert page.is_relative_to(ROOT / "docs"), f"only the build of the site runs it:\n{block.code}"
        elif block.mark and block.mark.startswith("run by"):
            file = re.match(r"run by (tests/\w+\.py): ", f"{block.mark}: ")
            assert file and page.name in (ROOT / file[1]).read_text("utf-8"), f"{block.mark} does not read {page.name}"
        elif block.mark:
            assert len(block.mark) > len("not run: ") + 10, f"no reason: {block.mark}"
        elif block.language in SHELL:
            for words in shell_lines(block.code):
                assert words[0] == "manypaths", f"say how it is run, or why not:\n{block.code}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_command_fits_the_parser_and_its_recipes_merge(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in commands(page):
        try:
            options = cli._parse(words)
        except SystemExit:
            pytest.fail(f"{page.name}: manypaths {shlex.join(words)} is refused by the parser")
        if options.name in ("train", "recipes") and options.recipes:
            read(*([word for word in options.recipes if ("=" in word) == override] for override in (False, True)))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_blocks_run_in_the_order_of_their_page(page, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    scope = {"MODEL": str(tiny_model), "__name__": "__main__"}
    for block in blocks(page, PYTHON):
        if block.mark or 'exec="on"' in block.options:
            continue
        if file := re.search(r'title="([\w.]+)"', block.options):
            Path(file[1]).write_text(block.code)
        else:
            exec(compile(block.code, str(page), "exec"), scope)
    for block in blocks(page, SHELL):
        if not block.mark and 'exec="on"' not in block.options:
            for words in shell_lines(block.code):
                assert main(words[1:]) == 0, shlex.join(words)


SESSIONS = [
    name for name, page in zip(NAMES, PAGES, strict=True) if re.search("^(    )?>>> ", page.read_text("utf-8"), re.M)
]


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_print_what_the_page_shows(name):
    results = doctest.testfile(str(ROOT / name), module_relative=False)
    assert results.failed == 0 and results.attempted


def test_grids_that_are_shown_can_be_swept(tmp_path):
    grids = [block.code for page in PAGES for block in blocks(page, ("yaml",)) if "seeds:" in block.code]
    assert grids
    for grid in grids:
        (tmp_path / "grid.yaml").write_text(grid)
        assert [job.name for job in jobs(read_grid(tmp_path / "grid.yaml"))][:2] == ["grpo-1", "mmr-1"]
    assert len(jobs(read_grid(ROOT / "bench" / "sweep.yaml"))) == 35
