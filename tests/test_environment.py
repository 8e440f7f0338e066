"""The name of the processor tells two machines with equal counts of cores apart."""

import platform

import pytest

from manypaths.comparison.runs import _machine
from manypaths.environment import cpu


def test_linux_lists_the_name_of_each_processor(tmp_path):
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3.0GHz: X\n\nprocessor\t: 1\nmodel name\t: other\n")
    assert cpu(listed) == "Fast CPU @ 3.0GHz: X"


@pytest.mark.parametrize("content", [None, b"", b"model name\t:\n", b"model name\t: \xff\n"])
def test_without_a_name_it_is_that_of_the_platform_or_none(tmp_path, content):
    listed = tmp_path / "cpuinfo"
    if content is not None:
        listed.write_bytes(content)
    assert cpu(listed) == (platform.processor() or None)


def test_machines_with_equal_cores_and_other_processors_differ():
    machine = {"gpus": [], "cores": 2, "threads": 1}
    names = {_machine({**machine, "cpu": name}) for name in ("A", "B", None)}
    assert names == {"A, 2 cores, 1 threads", "B, 2 cores, 1 threads", "2 cores, 1 threads"}
    assert _machine(machine) == "2 cores, 1 threads"  # of an earlier version
