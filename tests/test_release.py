"""The release: what the sdist and the wheel hold, and the wheel at work in an environment outside the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from project import ROOT, pyproject

from manypaths import __version__, recipe

IGNORED = (".git", ".*_cache", *(line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()))
NAME = f"manypaths-{__version__}"
DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "CITATION.bib", "pyproject.toml", "Makefile")
PAPERS = ("2601.09085", "2505.09655", "2603.18756")
SHIPPED = """
import json, pathlib, sys
import manypaths
from manypaths import problems, recipe
from manypaths.cli import main
from manypaths.preflight.shape import shape_of

assert pathlib.Path(manypaths.__file__).is_relative_to(sys.prefix), manypaths.__file__
for name in ("gsm8k", "svamp", "arithmetic"):
    assert problems.load(name), name
for name in recipe.shipped():
    recipe.content([name])
assert main(["compare", "--published"]) == 0
"""
WITHOUT_PACKAGES = """
from manypaths.cli import main
commands = (["recipes"], ["train", "grpo", "mmr"], ["evaluate", "x"], ["compare", "x"], ["sweep", "x.yaml"])
print([main(words) for words in commands])
"""


def run(*words: str | Path, cwd: Path) -> str:
    """Run a command without the variables by which Python would find the clone -> its stdout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_below(folder: Path) -> dict[str, bytes]:
    """{path relative to a folder: content}"""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def members(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this clone, without what builds and runs leave in it."""
    folder = tmp_path_factory.mktemp("clone") / "manypaths"
    return Path(shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*IGNORED)))


@pytest.fixture(scope="module")
def dist(clone: Path) -> Path:
    """The folder with the sdist, and with the wheel that is built from the sdist."""
    run(sys.executable, "-m", "build", "--no-isolation", ".", cwd=clone)
    assert {path.name for path in (clone / "dist").iterdir()} == {f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"}
    return clone / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"{NAME}-py3-none-any.whl"


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    install = ("--disable-pip-version-check", "--python", folder, "install", "--no-index", "--no-deps", wheel)
    run(sys.executable, "-m", "pip", *install, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def equipped(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that environment that also finds the packages of this one, behind its own."""
    folder = tmp_path_factory.mktemp("equipped") / "environment"
    shutil.copytree(environment, folder, symlinks=True)
    scripts = folder / "bin" / "manypaths"
    scripts.write_text(scripts.read_text("utf-8").replace(str(environment), str(folder)), "utf-8")
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join({sysconfig.get_path(key) for key in ("purelib", "platlib")}))
    return folder


def test_the_wheel_holds_each_file_of_the_package_and_no_other(clone: Path, wheel: Path) -> None:
    packed = {name: content for name, content in members(wheel).items() if ".dist-info/" not in name}
    source = files_below(clone / "src")
    assert packed == {name: content for name, content in source.items() if name.startswith("manypaths/")}
    assert "manypaths/py.typed" in packed and "manypaths/data/gsm8k_train.jsonl.gz" in packed


def test_the_sdist_builds_the_wheel_that_the_clone_builds(clone: Path, wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", tmp_path, ".", cwd=clone)
    assert members(tmp_path / wheel.name) == members(wheel)


def test_the_sdist_holds_tests_documents_and_benches(clone: Path, dist: Path) -> None:
    with tarfile.open(dist / f"{NAME}.tar.gz") as archive:
        packed = {member.name.removeprefix(f"{NAME}/") for member in archive if member.isfile()}
    folders = ("src/manypaths", "tests", "docs", "bench")
    expected = {f"{folder}/{name}" for folder in folders for name in files_below(clone / folder)}
    expected |= {*DOCUMENTS, *(path.name for path in clone.glob("constraints*.txt"))}
    assert expected <= packed
    assert all(name in ("PKG-INFO", "setup.cfg") or (clone / name).is_file() for name in packed)


def test_the_index_and_installers_accept_both(dist: Path) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist)
    run(sys.executable, "-m", "check_wheel_contents", dist, cwd=dist)


def test_without_any_other_package_the_command_line_says_what_is_missing(environment: Path, tmp_path: Path) -> None:
    script = environment / "bin" / "manypaths"
    assert run(script, "--version", cwd=tmp_path).strip() == __version__
    assert "compare" in run(script, "--help", cwd=tmp_path)
    done = subprocess.run(
        [environment / "bin" / "python", "-c", WITHOUT_PACKAGES], cwd=tmp_path, env={}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "[2, 2, 2, 2, 2]\n"), done.stderr
    names = ["PyYAML", "PyYAML", "PyYAML", "numpy", "PyYAML"]
    for line, name in zip(done.stderr.splitlines(), names, strict=True):
        assert re.match(rf"manypaths \w+: {name} must be installed", line), line


def test_the_installed_commands_work_outside_the_clone(equipped: Path, tmp_path: Path) -> None:
    listed = run(equipped / "bin" / "manypaths", "recipes", cwd=tmp_path)
    names = {Path(name).name for name in recipe.shipped()}
    assert names <= set(re.findall(r"[\w.-]+", listed))
    shutil.copytree(ROOT / "tests" / "data" / "old_run", tmp_path / "run")
    run(equipped / "bin" / "python", "-m", "manypaths", "inspect", "run", "--out", "page.html", cwd=tmp_path)
    assert "</html>" in (tmp_path / "page.html").read_text("utf-8")
    assert "MMR" in run(equipped / "bin" / "python", "-c", SHIPPED, cwd=tmp_path)


def test_the_citation_names_this_version_and_the_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == __version__
    references = [reference["identifiers"][0]["value"] for reference in citation["references"]]
    assert references == [f"arXiv:{paper}" for paper in PAPERS]
    bibtex = (ROOT / "CITATION.bib").read_text("utf-8")
    assert f"version = {{{__version__}}}" in bibtex and bibtex.count("{") == bibtex.count("}")
    for reference, paper in zip(citation["references"], PAPERS, strict=True):
        entry = next(entry for entry in bibtex.split("\n@") if f"eprint        = {{{paper}}}" in entry)
        title = re.sub(r"[{}]", "", re.search(r"title += \{(.*)\},\n", entry)[1])
        assert title == reference["title"] and f"{{{reference['year']}}}" in entry
        assert [author["family-names"] for author in reference["authors"]] == re.findall(r"([A-Z]\w+), [A-Z]", entry)


def test_workflows_call_targets_of_the_makefile_on_the_pythons_of_the_classifiers() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w.-]+):", makefile, re.MULTILINE))
    named = {
        target
        for path in (ROOT / ".github" / "workflows").glob("*.yml")
        for line in re.findall(r"run: make (.*)", path.read_text("utf-8"))
        for target in re.findall(r"(?:^| )([\w-]+)(?= |$)", line)
    }
    assert {"lint", "test", "test-pythons", "dist"} <= named <= targets
    pythons = re.search(r"^PYTHONS \?= (.*)", makefile, re.MULTILINE)[1].split()
    pattern = r"Python :: (3\.\d+)"
    classified = [line[1] for text in pyproject()["project"]["classifiers"] if (line := re.search(pattern, text))]
    assert classified == sorted({*pythons, "3.11"})
    tests = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8"))
    assert tests["jobs"]["pythons"]["strategy"]["matrix"]["python"] == pythons
