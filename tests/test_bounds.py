"""pyproject.toml allows the versions that were run: from those of the constraints files up to the next major one."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project import ROOT, pyproject

PROJECT = pyproject()["project"]


def pins(name):
    lines = [line for file in ("constraints.txt", "constraints-verl.txt") for line in (ROOT / file).open()]
    pairs = [line.strip().split("==") for line in lines if "==" in line]
    return [version for pinned, version in pairs if canonicalize_name(pinned) == canonicalize_name(name)]


# Run by hand beside the other versions of constraints.txt, since torch of the pinned version is the only small build:
# the tests of methods, trainer, wrapper, dynamic sampling, runs, sampling, embedding, rewards and the CPU's savings.
RUN_BY_HAND = {"torch": "2.6"}
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
    was_run = [*allowed, RUN_BY_HAND.get(name, "")]
    assert any(f"{version}.".startswith(f"{lowest}.") for version in was_run), f"{lowest} was not run"
    assert f"{int(allowed[0].split('.')[0]) + 1}.0" not in specifier, "the next major version was not run"


def test_the_required_python_can_install_the_pinned_versions():
    tested = re.search(r"Python (3\.\d+) or newer", (ROOT / "README.md").read_text("utf-8"))[1]
    assert PROJECT["requires-python"] == f">={tested}"
