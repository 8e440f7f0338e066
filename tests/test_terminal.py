"""Bars and colours on a terminal, and whole lines without either in a pipe: looked at from outside of the process."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from manypaths.evaluation.evaluate import evaluate
from manypaths.evaluation.generate import Sample
from manypaths.problems import Problem

BAR = """
import sys
from manypaths.terminal import Bar, caution, say
bar = Bar("training", 4, 1)
for step in (2, 3, 4):
    bar.reach(step, f"note {step}")
    say(f"step {step}")
caution("mind the step")
bar.close()
say("done")
"""
COMPLAINT = "from manypaths.cli import main; main(['recipes', 'mrr'])"
LOADING = """
import logging
from manypaths.terminal import quieten_libraries
quieten_libraries()
from huggingface_hub.utils import tqdm as of_the_hub
from transformers.utils.logging import tqdm as of_transformers
for tqdm in (of_transformers, of_the_hub):
    list(tqdm(range(3), desc="Loading weights"))
logging.getLogger("DeepSpeed").warning("Setting accelerator to CPU. If you have GPU or other accelerator, ...")
logging.getLogger("DeepSpeed").warning("another warning")
"""


def environment(**more) -> dict[str, str]:
    unset = ("NO_COLOR", "TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
    return {name: value for name, value in os.environ.items() if name not in unset} | {"TERM": "xterm"} | more


def in_pipe(script: str) -> tuple[str, str]:
    """What a script writes to stdout and to stderr, byte for byte."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment())
    return done.stdout.decode(), done.stderr.decode()


def on_terminal(script: str, **more) -> str:
    """What a script writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more)
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            part = b""
        if not part:
            break
        written += part
    os.close(ours)
    assert process.wait() == 0
    return written.decode()


def test_a_pipe_gets_whole_lines_without_bars_and_colours():
    assert in_pipe(BAR) == ("step 2\nstep 3\nstep 4\ndone\n", "Caution: mind the step\n")
    out, err = in_pipe(COMPLAINT)
    assert out == "" and err.startswith("manypaths recipes: Unknown recipe 'mrr'.") and err.count("\n") == 1


def test_a_terminal_gets_a_bar_below_whole_lines():
    written = on_terminal(BAR)
    assert "training" in written and "4/4" in written
    for line in ("step 2", "step 3", "step 4", "done"):
        assert f"\r{line}\r\n" in written or f"\n{line}\r\n" in written, written
    assert "\x1b[1;33mCaution:\x1b[0m mind the step\r\n" in written
    assert written.rstrip().endswith("done")


def test_no_color_and_a_dumb_terminal_get_no_colours():
    assert "\x1b[1;31mmanypaths recipes:\x1b[0m Unknown" in on_terminal(COMPLAINT)
    assert "\x1b" not in on_terminal(COMPLAINT, NO_COLOR="1")
    assert "\x1b" not in on_terminal(BAR, TERM="dumb")


def test_other_libraries_write_no_bars_into_a_pipe():
    out, err = in_pipe(LOADING)
    assert "\r" not in out + err and "Loading weights" not in err and "Setting accelerator" not in out + err
    assert "another warning" in out + err


@pytest.mark.parametrize("name", ["svamp", None])
def test_an_evaluation_in_a_pipe_ends_with_its_score(name, capsys):
    problems = [Problem(str(number), f"{number} + 1 = ?", str(number + 1)) for number in range(3)]

    def generate(prompts, samples):
        return [[Sample("\\boxed{2}", True, 3)] * samples for _ in prompts]

    evaluate(problems, generate, prompt="{question}", at_once=1, progress=name)
    err = capsys.readouterr().err
    assert err == ("svamp: 3/3 problems, 33.3% so far, 0 s left\n" if name else "")
