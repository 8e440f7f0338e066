"""pyproject.toml allows the versions that were run: from those of the constraints files up to the next major one."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import ROOT, pyproject

PROJECT = pyproject()["project"]
FILES = ("constraints.txt", "constraints-verl.txt", "constraints-oldest.txt")


def pins(name):
    lines = [line for file in FILES for line in (ROOT / file).read_text("utf-8").splitlines()]
    pairs = [line.split("==") for line in lines if "==" in line]
    return [version for pinned, version in pairs if canonicalize_name(pinned) == canonicalize_name(name)]


EXTRAS = PROJECT["optional-dependencies"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(line for extra, lines in EXTRAS.items() if extra != "dev" for line in lines),
]


@pytest.mark.parametrize("requirement", sorted(set(REQUIREMENTS)))
def test_bounds_are_what_was_run(requirement):
    name, specifier = Requirement(requirement).name, Requirement(requirement).specifier
    allowed = [version for version in pins(name) if version in specifier]
    lowest = next(part.version for part in specifier if part.operator in (">=", "=="))
    assert any(f"{version}.".startswith(f"{lowest}.") for version in allowed), f"{lowest} was not run"
    assert f"{int(allowed[0].split('.')[0]) + 1}.0" not in specifier, "the next major version was not run"


def test_the_required_python_is_the_oldest_that_was_run():
    classified = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d", line)]
    oldest = min(classified, key=lambda version: int(version.partition(".")[2]))
    assert PROJECT["requires-python"] == f">={oldest}"
    assert f"VERSIONS_{oldest} := --constraint constraints-oldest.txt" in (ROOT / "Makefile").read_text("utf-8")
