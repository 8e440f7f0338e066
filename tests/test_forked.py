"""What the other tests of several processes rely on: a failure of any process fails the test, at once."""

import os
import time

import pytest
from forked import in_two_processes, run_command


def rank_and_sum(first, second):
    return int(os.environ["RANK"]), first + second


def second_fails():
    if os.environ["RANK"] == "1":
        raise KeyError("of the second")
    time.sleep(60)


def second_dies():
    if os.environ["RANK"] == "1":
        os._exit(1)
    time.sleep(60)


def test_the_first_process_answers():
    assert in_two_processes(rank_and_sum, 2, 3) == (0, 5)


@pytest.mark.parametrize(
    ("function", "message"), [(second_fails, "KeyError: 'of the second'"), (second_dies, "without an answer")]
)
def test_a_process_that_fails_ends_the_other(function, message):
    with pytest.raises(AssertionError, match=message):
        in_two_processes(function, timeout=30)


def test_a_command_writes_to_its_file_and_has_an_exit_code(tmp_path):
    process = run_command(["train", "mrr"], tmp_path / "output")
    process.join(60)
    assert process.exitcode == 2 and "Unknown recipe 'mrr'" in (tmp_path / "output").read_text()
