"""pyproject.toml allows the versions that were run: from those of the constraints files up to the next major one."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import ROOT, pyproject

PROJECT = pyproject()["project"]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
FILES = ("constraints.txt", "constraints-verl.txt", "constraints-oldest.txt")


def pins(name, *files):
    lines = [line for file in files or FILES for line in (ROOT / file).read_text("utf-8").splitlines()]
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


# Passed together on Python 3.12, from the wheel, with torch 2.6.0, TRL 1.16.0, transformers 5.17.0, matplotlib 3.11.0:
# installed/ and all tests of FAST in the Makefile.
@pytest.mark.parametrize("extra", [extra for extra in EXTRAS if extra not in ("dev", "docs", "verl")])
def test_the_lowest_versions_are_tested_together(extra):
    for line in (*PROJECT["dependencies"], *EXTRAS[extra]):
        requirement = Requirement(line)
        (lowest,) = (part.version for part in requirement.specifier if part.operator == ">=")
        (oldest,) = pins(requirement.name, "constraints-oldest.txt")
        assert f"{oldest}.".startswith(f"{lowest}."), f"constraints-oldest.txt has {requirement.name} {oldest}"


def test_the_required_python_is_the_oldest_that_was_run():
    classified = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d", line)]
    oldest = min(classified, key=lambda version: int(version.partition(".")[2]))
    assert PROJECT["requires-python"] == f">={oldest}"
    uses = re.findall(r"^VERSIONS_(3\.\d+) := --constraint constraints-oldest.txt$", MAKEFILE, re.MULTILINE)
    assert len(uses) == 1 and uses[0] in classified, "make test-pythons tests the lowest versions on one Python"
