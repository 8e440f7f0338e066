"""What counts as correct, and that no text can hang, crash or confuse the grader."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from manypaths import grading
from manypaths.grading import LONGEST, Grader, extract, grade, is_correct, number, shared_grader

SOURCE = Path(grading.__file__).parents[1]

GSM8K = (
    "Josh buys a house for $80,000.\nSo he made a profit of 200,000-130,000=$<<200000-130000=70000>>70,000\n#### 70000"
)
MATH = r"Therefore, the polar coordinates are $\boxed{\left( 3, \frac{\pi}{2} \right)}.$"

# (content of the last box, gold answer, verdict, why). The gold answers marked with a name are that benchmark's.
CASES = [
    # plain numbers
    ("18", "18", True, "GSM8K: the same"),
    ("19", "18", False, "GSM8K: another"),
    ("70,000", GSM8K, True, "GSM8K: the gold follows ####"),
    ("80,000", GSM8K, False, "GSM8K: not a number of the solution"),
    ("$70000", GSM8K, True, "a dollar"),
    (r"\$70{,}000.00", GSM8K, True, "an escaped dollar, a LaTeX comma, cents"),
    ("204", "204", True, "AIME"),
    ("027", "27.0", True, "AMC: a float, a leading zero"),
    ("27.1", "27.0", False, "AMC"),
    ("51", "51.0", True, "SVAMP"),
    ("1,234", "1234", True, "a thousands separator"),
    ("1,23", "123", False, "a comma that separates no thousands"),
    (r"32348", r"\$32,\!348", True, "MATH: spaced thousands"),
    ("-5", "5", False, "the sign"),
    ("+2", "2", True, "Minerva: a plus"),
    ("−5", "-5", True, "a typographic minus"),
    (".5", "0.50", True, "no leading zero"),
    ("0.5", "1/2", True, "a decimal and a fraction"),
    (r"\frac{1}{2}", "0.5", True, "a LaTeX fraction"),
    (r"-\dfrac{35}{9}", r"-\frac{35}{9}", True, "MATH: display style"),
    (r"\frac43", r"\frac{4}{3}", True, "MATH: no braces"),
    (r"\frac{8}{6}", r"\frac43", True, "not in lowest terms"),
    (r"\frac{3}{4}", r"\frac43", False, "upside down"),
    (r"2\frac{1}{2}", r"\frac{21}{2}", False, "a mixed number is no product of digits"),
    (r"\frac{9}{5}", r"1\frac{4}{5}", True, "MATH: a mixed number"),
    ("0.333", "1/3", False, "a rounded third"),
    ("18%", "18", True, "a percent sign is ignored"),
    (r"50\%", "0.5", True, "or is a hundredth"),
    (r"40\%", "0.5", False, "another percentage"),
    ("18.", "18", True, "a full stop"),
    (" 18\n", "18", True, "spaces"),
    (r"4.5 \times 10^{33}", "4.5e33", True, "Minerva: a power of ten"),
    (r"4.5 × 10^33", "4.5e33", True, "without LaTeX"),
    ("4.5e32", "4.5e33", False, "Minerva: the exponent"),
    ("0.001", "1e-3", True, "Minerva"),
    (r"5 \times 10^{-25}", "2.88e-19", False, "Minerva: both are tiny"),
    (r"5 \times 10^{-25} \, \mathrm{J}", "2.88e-19", False, "with a unit too"),
    (r"2.88 \times 10^{-19} \text{ J}", "2.88e-19", True, "the unit is ignored"),
    (r"15 \text{ cm}^2", r"15\mbox{ cm}^2", True, "MATH: a squared unit"),
    (r"16", r"15\mbox{ cm}^2", False, "MATH"),
    ("5.4", r"5.4 \text{ cents}", True, "MATH: the gold has the unit"),
    ("18 apples", "18", True, "a unit in plain letters"),
    ("18 or 20", "18", False, "two answers are not one"),
    ("1, 2, 3, 18", "18", False, "nor is a list that has it"),
    (r"9 \cdot 2 = 18", "18", True, "the end of an equation"),
    ("18 = 19", "18", False, "not its beginning"),
    ("eighteen", "18", False, "a word"),
    ("", "18", False, "nothing"),
    ("", "", False, "nothing is never correct"),
    ("18", "", False, "no gold"),
    # expressions
    ("x=3", "3", True, "an assignment"),
    ("3", "x=3", True, "the other way round"),
    ("y=3", "x=3", False, "another unknown"),
    ("p-q", "p - q", True, "MATH: spaces"),
    ("q-p", "p - q", False, "MATH: the order"),
    ("6+9i", "9i + 6", True, "MATH: a complex number"),
    (r"(3, \pi/2)", MATH, True, "MATH: the gold is a solution with a box"),
    (r"(\pi/2, 3)", MATH, False, "MATH: the order in a pair"),
    (r"5\sqrt{2}", r"\sqrt{50}", True, "a root"),
    (r"70 \sqrt2", r"70 \sqrt{2}", True, "MATH: no braces"),
    ("90", r"90^\circ", True, "MATH: degrees"),
    ("52_8", "52_8", True, "MATH: a base"),
    ("east", r"\text{east}", True, "MATH: a word"),
    ("west", r"\text{east}", False, "MATH: another word"),
    ("C", r"\text{(C)}", True, "MATH: a choice"),
    ("B", r"\text{(C)}", False, "MATH: another choice"),
    ("-2,1", "1,-2", True, "MATH: solutions in any order"),
    ("-2", "1,-2", False, "MATH: one of two"),
    (r"[-2,7]", r"x \in [-2,7]", True, "MATH: an interval"),
    (r"(-2,7)", r"x \in [-2,7]", False, "MATH: an open one"),
    (r"(-\infty,2)\cup(3,\infty)", r"(-\infty, 2) \cup (3, \infty)", True, "MATH: a union"),
    (r"\{-2, 1-\sqrt5, 1+\sqrt5\}", r"\{1\pm\sqrt{5},-2\}", True, "MATH: a set"),
    (
        r"\begin{pmatrix}-\frac13\\ \frac23\\ \frac53\end{pmatrix}",
        r"\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix}",
        True,
        "MATH: a vector",
    ),
    (r"\frac{e^t}{3}", "e^{t} / 3", True, "Minerva"),
    (r"\tau \ln \Delta", r"-\tau \ln \Delta", False, "Minerva: the sign"),
    (r"I(0) e^{-t/(RC)}", "I(0) e^{-\\frac{t}{R C}}\n", True, "Minerva: a line break after the gold"),
    (r"\frac{1}{2(n+1)}", r"$\frac{1}{2 n+2}$", True, "OlympiadBench: dollars around"),
    ("84, 69", "$69$,$84$", True, "OlympiadBench: dollars around each"),
    ("(6,3),(9,3),(9,5)", "$(6,3),(9,3),(9,5),(54,5)$", False, "OlympiadBench: one is missing"),
    (r"$x^2+2x+1$", "(x+1)^2", True, "dollars inside the box"),
]

PWNED = Path(tempfile.gettempdir()) / f"manypaths-{os.getpid()}"

# Boxed, none of these may take long, run anything, or be called equal to x + 3.
HOSTILE = {
    "tower of powers": r"9^{9^{9^9}}",
    "memory": r"2^{10^{10}}",
    "exponent": "1e999999999",
    "long number": "9" * 100_000,
    "almost too long": "9" * (LONGEST - 2),
    "factorial": r"(10^9)!",
    "nested powers": "x^{" * 400 + "}" * 400,
    "nested parentheses": "(" * 200 + "x" + ")" * 200,
    "nested braces": "{" * 100_000 + "}" * 100_000,
    "nested braces, short": "{" * 900 + "}" * 900,
    "megabyte of spaces": "1" + " " * 1_000_000 + "x",
    "spaces": "1" + " " * (LONGEST - 3) + "x",
    "megabyte of letters": "x" * 1_000_000,
    "code": f"__import__('os').system('touch {PWNED}')",
    "code as text": f"\\text{{__import__('os').system('touch {PWNED}')}}",
    "surrogate, null, separator": "\ud800\x00\u2028\u2029\x1b\r x",
    "right to left": "\u202e3+x",
    "line breaks": '18\n["x", "x"]\ntrue\n',
}


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader(seconds=30) as shared:
        yield shared


@pytest.mark.parametrize(("answer", "gold", "verdict", "why"), CASES)
def test_case(grader: Grader, answer: str, gold: str, verdict: bool, why: str) -> None:
    assert grader.is_correct(f"First \\boxed{{7}}, no: ${{x}}$ \\boxed{{{answer}}}.", gold) is verdict, why
    assert grader.timed_out == 0


def test_cases_are_enough() -> None:
    assert len({case[:2] for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("no box", None),
        ("", None),
        (r"\boxed{}", ""),
        (r"\boxed{18}", "18"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{1} then \fbox{2}", "2"),
        (r"\boxed {2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{7} and \boxed{unclosed", "7"),
        (r"\boxed{unclosed, and \boxed{7} then", "7"),
        (r"\boxed{7} } } {", "7"),
        (r"{ { \boxed{7}", "7"),
        (r"\boxed{a \boxed{b} c}", "b"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\\boxed{7}", "7"),
        (r"\boxed{a \\ b}", r"a \\ b"),
        (r"\boxed 7", "7"),
        (r"$\boxed -1/2$ is it", "-1/2"),
        (r"\boxed{7}, in the \boxed notation", "7"),
        (r"\boxedx{8}", None),
        ("\\boxed{\ud800\x00\u2028}", "\ud800\x00\u2028"),
    ],
)
def test_extract(text: str, content: str | None) -> None:
    assert extract(text) == content


def test_extract_returns_any_balanced_content_of_the_last_box() -> None:
    chance = random.Random(0)

    def balanced(depth: int) -> str:
        parts = ["x", " 1", r"\frac", r"\{", r"\}", r"\\", "é", "\n", "$"]
        if depth:
            parts += ["{" + balanced(depth - 1) + "}" for _ in range(3)]
        return "".join(chance.choices(parts, k=chance.randrange(6)))

    for _ in range(500):
        first, last = balanced(3), balanced(4)
        assert extract(f"so {first} \\boxed{{{first}}} and \\boxed{{{last}}} \\boxed{{{{{last}") == last


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "\\boxed", "\\boxed ", "\\boxed 7", "\\", "{", "\\boxed{}", "\\fbox{a}}"]
)
def test_extract_takes_linear_time(piece: str) -> None:
    start = time.monotonic()
    extract(piece * 300_000)
    extract(piece * 150_000 + "}" * 150_000)
    extract("\\boxed" + " " * 300_000)
    assert time.monotonic() - start < 5  # about 0.3; quadratic takes a minute


def test_number_is_exact_whatever_the_notation() -> None:
    chance = random.Random(1)
    for _ in range(500):
        value = Fraction(chance.randrange(-(10**9), 10**9), 10 ** chance.randrange(4))
        top, bottom = abs(value.numerator), value.denominator
        sign = "-" if value < 0 else ""
        decimal = f"{float(value):.3f}"
        grouped = f"{int(abs(value)):,}" + decimal[-4:]
        written = [
            decimal,
            sign + grouped,
            sign + grouped.replace(",", "{,}"),
            sign + grouped.replace(",", ",\\!"),
            f"{sign}{top}/{bottom}",
            f"{sign}\\frac{{{top}}}{{{bottom}}}",
            f"{sign}\\tfrac {{{top * 3}}} {{{bottom * 3}}}",
            f"{decimal}\\%",
            f"{decimal} \\text{{ miles}}",
            f"{decimal}000e0",
            f"{decimal} \\cdot 10^{{0}}",
        ]
        assert [number(text) for text in written] == [value] * len(written)


@pytest.mark.parametrize(
    "text", ["", ".", "-", "e5", "1/0", r"\frac{1}{0}", "1 2", "1,23", "1e9999", "x", "2/3/4", r"2\frac{1}{2}", "1_000"]
)
def test_number_is_none_for_anything_else(text: str) -> None:
    assert number(text) is None


def test_plain_numbers_and_equal_texts_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere")
    texts = ["\\boxed{1,000}", "\\boxed{2}", "no box", "\\boxed{" + "9" * 100_000 + "}", "\\boxed{x+1}", "\\boxed{1/3}"]
    with Grader() as grader:
        assert grader.grade(texts, ["1000", "3", "3", "3", " x+1.", "0.333"]) == [
            True,
            False,
            False,
            False,
            True,
            False,
        ]
        with pytest.raises(FileNotFoundError):
            grader.is_correct("\\boxed{x+1}", "1+x")


def test_an_answer_longer_than_the_limit_is_wrong_unread() -> None:
    with Grader() as grader:
        for length, verdict in ((LONGEST, True), (LONGEST + 1, False)):
            assert grader.is_correct("\\boxed{" + "7" * length + "}", "7" * length) is verdict


def test_grade_wants_one_gold_for_each_text() -> None:
    assert grade(["\\boxed{1}", "\\boxed{x+1}", "\\boxed{3}"], ["1", "1+x", "4"]) == [True, True, False]
    assert grade([], []) == []
    with pytest.raises(ValueError):
        grade(["\\boxed{1}"], ["1", "2"])


@pytest.fixture(scope="module")
def impatient() -> Iterator[Grader]:
    with Grader(seconds=0.5) as shared:
        yield shared


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_wrong_in_time(impatient: Grader, text: str) -> None:
    start = time.monotonic()
    assert impatient.is_correct(f"\\boxed{{{text}}}", "x+3") is False
    assert impatient.is_correct(text, "x+3") is False
    assert time.monotonic() - start < 20  # about 1
    assert not PWNED.exists()


def test_a_worker_out_of_time_is_counted_and_replaced() -> None:
    with Grader(seconds=1.5) as grader:
        bomb = "\\boxed{" + HOSTILE["tower of powers"] + "}"
        start = time.monotonic()
        assert grader.grade(["\\boxed{x+1}", bomb, "\\boxed{x+1}", "\\boxed{x+2}"], ["1+x"] * 4) == [
            True,
            False,
            True,
            False,
        ]
        assert 1.5 < time.monotonic() - start < 15
        assert grader.timed_out == 1


def test_broken_off_in_the_middle_the_next_verdict_is_right() -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Grader(seconds=1.5) as grader:
            grader.is_correct("\\boxed{x+1}", "1+x")
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(Interrupt):
                grader.is_correct("\\boxed{" + HOSTILE["tower of powers"] + "}", "1+x")
            assert grader.is_correct("\\boxed{x+1}", "1+x")
            assert grader.timed_out == 0
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_two_threads_at_once(grader: Grader) -> None:
    wrong: list[tuple[int, int]] = []

    def work(me: int) -> None:
        for i in range(40):
            if grader.is_correct(f"\\boxed{{x+{i}}}", f"{i + (i + me) % 2}+x") is not ((i + me) % 2 == 0):
                wrong.append((me, i))

    threads = [threading.Thread(target=work, args=(me,)) for me in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert grader.timed_out == 0


def test_leaving_a_with_ends_the_workers_and_the_grader_works_again() -> None:
    grader = Grader(seconds=30)
    for _ in range(2):
        with grader:
            assert grader.is_correct("\\boxed{x+1}", "1+x")
            (worker,) = grader._idle[os.getpid()]
        assert worker.poll() is not None
        assert worker.stdin and worker.stdin.closed


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_a_worker_is_small_and_leaves_ctrl_c_to_its_caller(grader: Grader) -> None:
    assert grader.is_correct("\\boxed{x+1}", "1+x")
    worker = grader._idle[os.getpid()][-1]
    process = Path(f"/proc/{worker.pid}")
    assert str(grading.MEMORY) in next(
        line for line in (process / "limits").read_text().splitlines() if line.startswith("Max address space")
    )
    assert b"OMP_NUM_THREADS=1" in (process / "environ").read_bytes().split(b"\0")
    assert "torch" not in (process / "maps").read_text()
    worker.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert worker.poll() is None
    assert grader.is_correct("\\boxed{x+1}", "1+x")


def test_the_shared_grader_is_one() -> None:
    assert shared_grader() is shared_grader()
    assert is_correct("\\boxed{1+x}", "x+1")
    assert shared_grader()._idle[os.getpid()]


def run_script(folder: Path, code: str, path: str = "") -> str:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*([path] if path else []), str(SOURCE)])}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_script_without_a_main_guard_and_its_forked_child(tmp_path: Path) -> None:
    code = r"""
    import os, time
    from manypaths.grading import Grader, is_correct
    print("once", is_correct(r"\boxed{x+1}", "1+x"), is_correct(r"\boxed{x+2}", "1+x"), flush=True)
    grader = Grader(seconds=2)
    assert grader.is_correct(r"\boxed{x+1}", "1+x")
    if os.fork() == 0:
        time.sleep(0.5)  # until the parent's worker is busy
        os._exit(not grader.is_correct(r"\boxed{x+1}", "1+x") or grader.timed_out)
    assert not grader.is_correct(r"\boxed{9^{9^{9^9}}}", "x+3")
    print(os.wait()[1], grader.is_correct(r"\boxed{x+1}", "1+x"), grader.timed_out)
    """
    assert run_script(tmp_path, code) == "once True False\n0 True 1\n"


def test_what_is_printed_in_the_worker_is_no_verdict(tmp_path: Path) -> None:
    noise = """
    import os, sys, threading, time
    def talk():
        while True:
            os.write(1, b"true\\n")
            time.sleep(0.001)
    if "-c" in sys.orig_argv:
        threading.Thread(target=talk, daemon=True).start()
    """
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(noise))
    code = r"""
    from manypaths.grading import grade
    print(grade([rf"\boxed{{x+{i}}}" for i in range(50)], ["x+50"] * 50).count(True))
    """
    assert run_script(tmp_path, code, path=str(tmp_path)) == "0\n"


def test_without_math_verify_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('No module named math_verify')")
    code = r"""
    from manypaths.grading import is_correct
    try:
        is_correct(r"\boxed{x+1}", "1+x")
    except RuntimeError as error:
        print(error)
    """
    assert run_script(tmp_path, code) == "math-verify did not start: ImportError: No module named math_verify\n"


def test_the_worker_ends_when_its_caller_is_killed(tmp_path: Path) -> None:
    code = r"""
    import json, os
    from manypaths.grading import _start
    idle, busy = _start(2.0), _start(2.0)
    busy.stdin.write(json.dumps([r"9^{9^{9^9}}", "x+3"]) + "\n")
    print(idle.pid, busy.pid, flush=True)
    os.kill(os.getpid(), 9)
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, env=environment)
    pids = done.stdout.split()
    assert len(pids) == 2, done.stderr

    def alive(pid: str) -> bool:
        status = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
        return status != "" and not status.startswith("Z")

    deadline = time.monotonic() + 15
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, pids))


def test_grading_and_rewards_import_nothing_heavy() -> None:
    for module in ("grading", "rewards"):
        tree = ast.parse((SOURCE / "manypaths" / f"{module}.py").read_text())
        for node in tree.body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name == "manypaths.grading" or name.split(".")[0] in sys.stdlib_module_names, (module, name)
