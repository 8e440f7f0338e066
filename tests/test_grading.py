"""What the grader calls correct, and that no text can hang, crash or confuse it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from manypaths import grading
from manypaths.grading import LONGEST, Grader, extract, gold_problem, grade, is_correct, number, quantity, shared_grader

SOURCE = Path(grading.__file__).parents[2]


def rows_of(name: str) -> list[dict[str, Any]]:
    """The JSON objects of a file of test data, one a line, each with the whole completion as its "text"."""
    lines = (Path(__file__).parent / "data" / name).read_text("utf-8").split("\n")[:-1]
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [{"text": f"First \\boxed{{7}}, no: ${{x}}$ \\boxed{{{row.get('answer')}}}.", **row} for row in rows]


# "answer" is the content of the last box, or "text" is the completion; "gold" is the gold answer; "correct" is the
# verdict by mathematics and by the policy in the docstring of manypaths.grading, not by the code; "why" is the reason.
# The gold answers are from AIME24, AMC23, MATH-500, Minerva, OlympiadBench and GSM8K.
CASES = rows_of("grading_cases.jsonl")

# Cases from public threads and data sets, with their "source"; "debatable" marks verdicts on which readers differ.
REPORTED = rows_of("grading_reported.jsonl")

# (text, gold) with a wrong verdict, and why it stays wrong.
EXCEPTIONS = {
    (
        "So the result is \\boxed{\\text{odd function}}.",
        "odd",
    ): "a noun behind the word of a gold answer makes a different answer",
    ("So the result is \\boxed{5 \\times 10^{-6} \\text{ m}}.", "5 \\mu\\text{m}"): "units are not converted",
}

PWNED = Path(tempfile.gettempdir()) / f"manypaths-{os.getpid()}"

# In a box, none of these may take long, run code, or count as equal to x + 3.
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


def test_cases(grader: Grader) -> None:
    """Every verdict in the test data is right, except for a few reported cases, which err on the side of wrong."""
    cases = CASES + REPORTED
    verdicts = grader.grade([case["text"] for case in cases], [case["gold"] for case in cases])
    differ = [case for case, verdict in zip(cases, verdicts, strict=True) if verdict is not case["correct"]]
    failures = [case for case in differ if (case["text"], case["gold"]) not in EXCEPTIONS]
    assert not failures, "\n".join(f"{case['text']!r} | {case['gold']!r}: {case['why']}" for case in failures)
    assert len(differ) == len(EXCEPTIONS) and all(case["correct"] for case in differ)
    assert len(EXCEPTIONS) <= 0.02 * len(REPORTED)


def test_cases_are_enough() -> None:
    assert len({(case["text"], case["gold"]) for case in CASES}) == len(CASES) >= 300
    assert 0.4 < sum(case["correct"] for case in CASES) / len(CASES) < 0.6
    assert len({(case["text"], case["gold"]) for case in REPORTED}) >= 500


def test_a_batch_has_the_verdicts_of_single_completions_in_any_order(grader: Grader) -> None:
    cases = random.Random(2).sample(CASES, 40)
    texts, golds = [case["text"] for case in cases], [case["gold"] for case in cases]
    timed_out = grader.timed_out
    verdicts = grader.grade(texts * 2, golds * 2)
    assert verdicts == [grader.is_correct(text, gold) for text, gold in zip(texts, golds, strict=True)] * 2
    assert grader.grade(texts[::-1], golds[::-1]) == verdicts[:40][::-1]
    assert grader.timed_out == timed_out


def test_equal_questions_of_a_batch_reach_a_worker_once_from_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[tuple[str | None, str, int]] = []
    both = threading.Barrier(2, timeout=30)

    def ask(question: grading.Question) -> bool:
        assert question.readings
        questions.append((question.readings[0], question.gold, threading.get_ident()))
        both.wait()
        return question.readings == ("x+1",)

    monkeypatch.setattr(grading.grader, "WORKERS", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    grader = Grader()
    monkeypatch.setattr(grader, "_ask", ask)
    texts = ["\\boxed{x+1}", "no box", "\\boxed{x+2}", "so \\boxed{x+1}", "\\boxed{1+x}"]
    assert grader.grade(texts * 50, ["1+x"] * 250) == [True, False, False, True, True] * 50
    assert sorted(question[:2] for question in questions) == [("x+1", "1+x"), ("x+2", "1+x")]
    assert len({question[2] for question in questions}) == 2


@pytest.mark.parametrize(
    ("gold", "problem"),
    [
        *((case["gold"], None) for case in CASES[::40] if case["gold"]),
        (r"so \boxed{x+1}", None),
        (r"6\times 7=42 #### x+1", None),
        (r"\text{no solution}", None),
        ("Yes", None),
        ("", "empty"),
        (r"\boxed{}", "empty"),
        (" $ $. ", "empty"),
        ("x" * (LONGEST + 1), "longer than"),
        ("x+1}", "braces"),
        ("{x+1", "braces"),
        ("np.arcsin(10/13)", None),  # Minerva, 5
        (r"1-\frac{1}{\mathrm{e}}", None),
        ("9 (apples)", None),  # ASDiv
        ("t(0,4]", "cannot read"),  # OlympiadBench, 2045
        (r"$f(x)=a x+b$, where $b$ is an arbitrary integer, and $\mho(a)=0$", "cannot read"),  # OlympiadBench, 1965
        (r"\frac{0}{0}", "cannot read"),
    ],
)
def test_gold_problem(gold: str, problem: str | None, grader: Grader) -> None:
    reported = grader.gold_problem(gold)
    assert reported is None if problem is None else reported and problem in reported
    if problem is None:
        assert grader.is_correct(f"\\boxed{{{extract(gold) or gold.rpartition('####')[2]}}}", gold)


def test_the_shared_gold_problem() -> None:
    assert gold_problem("18") is None
    assert gold_problem(r"\frac{270}7\text{ degrees}") is None


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
        (r"\boxed{7} and \boxed{unclosed", None),
        (r"\boxed{7} and \boxed{", None),
        (r"\boxed{7} and \boxed", None),
        (r"\boxed{7} and \framebox{8}", "8"),
        (r"\boxed{7} and \boxed{\frac{1}{2}", None),
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
        text = f"so {first} \\boxed{{{first}}} and \\boxed{{{last}}} {{{last}"
        assert extract(text) == last
        assert extract(f"{text} \\boxed{{{{{last}") is None


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "\\boxed", "\\boxed ", "\\boxed 7", "\\", "{", "\\boxed{}", "\\fbox{a}}"]
)
def test_extract_takes_linear_time(piece: str) -> None:
    start = time.process_time()
    extract(piece * 100_000)
    extract(piece * 50_000 + "}" * 50_000)
    extract("\\boxed" + " " * 100_000)
    assert time.process_time() - start < 2  # about 0.1; a quadratic time would be 7


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
            f"{sign}{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}",
            f"{sign}{top // bottom} {top % bottom}/{bottom}",
        ]
        assert [number(text) for text in written] == [value] * len(written)


NO_NUMBERS = [
    "",
    ".",
    "-",
    "e5",
    "1/0",
    r"\frac{1}{0}",
    "1 2",
    "1,23",
    "1,2345",
    "1e9999",
    "x",
    "2/3/4",
    "1_000x",
    "2!",
]
NO_NUMBERS += [r"2\frac{-1}{2}", "2^3", "18 or 20", "6m", "5/", "5 -", "5^", "1..2", r"2\pi", "2 pi", "x = 2"]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_number_is_none_for_other_texts(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("18 bananas", 18, ("bananas",)),
        (r"15\mbox{ cm}^2", 15, ("cm", "2")),
        (r"\frac{600}{7}\ \mathrm{km} / \mathrm{h}", Fraction(600, 7), ("km", "/", "h")),
        (r"-1 \frac{1}{2}^\circ", Fraction(-3, 2), ("degree",)),
        ("52_{8}", 52, ("_", "8")),
        (r"0.1\overline{6}", Fraction(1, 6), ()),
        (r"62.5 \%", Fraction(125, 2), ("%",)),
        (r"1.5 \text{ million}", 1_500_000, ()),
        (r"\$3 million", 3_000_000, ("dollars",)),
        ("2 dozen", 24, ()),
        (r"0.1\dot{6}", Fraction(1, 6), ()),
        (r"0.\dot{1}4285\dot{7}", Fraction(1, 7), ()),
        (r"0.1666\ldots", Fraction(1, 6), ()),
        ("0.(3)", Fraction(1, 3), ()),
        ("6.3 x 10^{-7}", Fraction("6.3e-7"), ()),
        ("9 (apples)", 9, ("apples",)),
        (r"4.5 \times 10^{33} \text{ erg per s}", Fraction("4.5e33"), ("erg", "/", "s")),
    ],
)
def test_quantity(text: str, value: Fraction, unit: tuple[str, ...]) -> None:
    assert quantity(text) == (value, unit)


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


def test_an_answer_longer_than_the_limit_is_wrong() -> None:
    with Grader() as grader:
        for length, verdict in ((LONGEST, True), (LONGEST + 1, False)):
            assert grader.is_correct("\\boxed{" + "7" * length + "}", "7" * length) is verdict


def test_grade_needs_as_many_golds_as_texts() -> None:
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


RUN = f"touch {PWNED}"
PIECES: dict[str, Callable[[random.Random], str]] = {
    "tower": lambda chance: "^{".join(chance.choices("xyzn23", k=chance.randrange(2, 5))) + "}" * chance.randrange(5),
    "factorial": lambda chance: f"{chance.randrange(300)}!",
    "braces": lambda chance: (
        chance.choice(["{", "\\boxed{", "\\frac{1}{", "\\left(", "}", "\\sqrt{"]) * chance.randrange(1, 30)
    ),
    "digits": lambda chance: str(chance.randrange(10 ** chance.randrange(1, 60))),
    "control": lambda chance: "".join(
        chr(chance.choice([chance.randrange(32), 0x202E, 0xD800, 0x2028, 0x85])) for _ in range(8)
    ),
    "macro": lambda chance: chance.choice(
        [
            r"\def\x{\x\x}\x",
            rf"\write18{{{RUN}}}",
            rf"\immediate\write18{{{RUN}}}",
            r"\input{/etc/passwd}",
            r"\csname x\endcsname",
        ]
    ),
    "sum": lambda chance: r"\sum_{k=1}^{\infty} " + chance.choice(["", "=", ",", "!", "_", "x_{7}"]),
    "code": lambda chance: chance.choice(
        [
            f"__import__('os').system('{RUN}')",
            f"eval(compile(\"open('{PWNED}','w')\",'','exec'))",
            f"[x for x in ().__class__.__base__.__subclasses__()][{chance.randrange(300)}]",
            f"$({RUN})",
            f"`{RUN}`; {RUN} && {RUN} | sh",
            f"\\text{{'); {RUN} #}}",
            f'"]\n["x", "x"]\n{RUN}\n',
        ]
    ),
    "mathematics": lambda chance: chance.choice(
        [r"\frac", r"\int_0^1", "=", r"\in", "<", ",", ";", r"\cup", "&", r"\\", "x", "+", "|"]
    ),
    "nothing": lambda chance: chance.choice(["", " ", "{}", "$", "\\", "\\ ", "\n", "%"]),
}
BOMBS = (
    r"9^{9^{9^{%d}}}",
    "9999999%d!",
    r"\frac{1}{9^{9^{9}}+%d}",
    r"\prod_{k=1}^{10^9} (k+%d)",
    r"\sum_{k=1}^{10^9} k^{k+%d}",
    r"2^{10^{10}+%d}",
)


def hostile(count: int, bombs: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(text, gold answer) pairs, all different and all wrong; `bombs` of them would never end."""
    chance = random.Random(seed)
    period = count // bombs
    for index in range(count):
        gold = chance.choice(
            ["-1234567", r"\frac{x+3}{17}", r"\sqrt{17.5}", r"(\sqrt{2},\infty)", r"\text{north}", "No one"]
        )
        is_bomb = index % period == period // 2
        if is_bomb:
            piece, gold = BOMBS[index // period % len(BOMBS)] % (index % 7 + seed + 1), "-1234567"
        elif index % 200 == 7:  # longer than the limit
            piece = chance.choice(["9", "{", "x^{", "\\boxed{", "\\", " ", "9" * 9 + "\n"]) * 10 ** chance.randrange(
                4, 6
            )
        else:
            piece = ", ".join(make(chance) for make in chance.choices(list(PIECES.values()), k=chance.randrange(1, 4)))
        yield f"{index} \\boxed{{{piece}}}" if is_bomb or chance.random() < 0.9 else f"{index} {piece}", gold


class Result(NamedTuple):
    """What `grade_hostile` measures."""

    right: int  # completions called right
    over: float  # the longest time beyond the grader's limit, in seconds
    works: bool  # whether the grader still works afterwards, and counted the bombs


def grade_hostile(grader: Grader, count: int, bombs: int, seed: int = 0) -> Result:
    grader.is_correct("\\boxed{x+1}", "1+x")
    right, longest, timed_out = 0, 0.0, grader.timed_out
    for text, gold in hostile(count, bombs, seed):
        start = time.monotonic()
        right += grader.is_correct(text, gold)
        longest = max(longest, time.monotonic() - start)
    works = [grader.is_correct(text, "1+x") for text in ("\\boxed{x+1}", "\\boxed{x+2}")] == [True, False]
    return Result(right, longest - grader.seconds, works and grader.timed_out - timed_out >= bombs)


def check_hostile(result: Result) -> None:
    assert result.right == 0
    assert result.over < 1
    assert result.works
    assert not PWNED.exists()


def test_thousands_of_hostile_completions(impatient: Grader) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 4000
    check_hostile(grade_hostile(impatient, count, bombs=len(BOMBS)))
    assert len(set(hostile(count, bombs=len(BOMBS)))) == count
    # In units of 1 KiB (macOS: bytes); the largest of the workers so far, which are children of our children.
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit < 2**28
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit < grading.MEMORY


def test_a_megabyte_is_wrong_in_its_time(impatient: Grader) -> None:
    for piece in ("9", "{", "\\boxed{", "x^{", "\x00", "\\text{a} "):
        start = time.monotonic()
        assert not impatient.is_correct("\\boxed{" + piece * (1_000_000 // len(piece)) + "}", "18")
        assert time.monotonic() - start < impatient.seconds + 1


def test_hostile_completions_in_a_thread(impatient: Grader) -> None:
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(grade_hostile(impatient, 100, bombs=1, seed=1)))
    thread.start()
    thread.join()
    check_hostile(results[0])


def test_hostile_completions_in_an_event_loop(impatient: Grader) -> None:
    async def inside() -> Result:
        return grade_hostile(impatient, 100, bombs=1, seed=2)

    async def in_executor() -> Result:
        return await asyncio.get_running_loop().run_in_executor(None, grade_hostile, impatient, 100, 1, 3)

    check_hostile(asyncio.run(inside()))
    check_hostile(asyncio.run(in_executor()))


class Hostile:
    """A data set of one item: the result of `grade_hostile` in the process that loads it."""

    def __init__(self, grader: Grader) -> None:
        self.grader = grader

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Result:
        return grade_hostile(self.grader, 100, bombs=1, seed=4)


def test_hostile_completions_in_a_forked_data_loader_worker(impatient: Grader) -> None:
    from torch.utils.data import DataLoader

    assert impatient.is_correct("\\boxed{x+1}", "1+x")  # its worker is the parent's, and not for the child
    loader = DataLoader(Hostile(impatient), num_workers=1, batch_size=None, multiprocessing_context="fork")
    check_hostile(next(iter(loader)))
    assert impatient.is_correct("\\boxed{x+1}", "1+x")


def test_a_worker_out_of_time_is_counted_and_replaced(impatient: Grader) -> None:
    bomb, timed_out = "\\boxed{" + HOSTILE["tower of powers"] + "}", impatient.timed_out
    start = time.monotonic()
    texts = ["\\boxed{x+1}", bomb, "\\boxed{x+1}", "\\boxed{x+2}"]
    assert impatient.grade(texts, ["1+x"] * 4) == [True, False, True, False]
    assert impatient.seconds < time.monotonic() - start < 15
    assert impatient.timed_out == timed_out + 1


def test_after_an_interrupted_question_the_next_verdict_is_right(grader: Grader) -> None:
    class Interrupt(Exception):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    previous, timed_out = signal.signal(signal.SIGALRM, interrupt), grader.timed_out
    try:
        assert grader.is_correct("\\boxed{x+1}", "1+x")
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Interrupt):
            grader.is_correct("\\boxed{" + HOSTILE["tower of powers"] + "}", "1+x")
        assert grader.is_correct("\\boxed{x+1}", "1+x")
        assert grader.timed_out == timed_out
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_two_threads_at_once(grader: Grader) -> None:
    wrong: list[tuple[int, int]] = []
    timed_out = grader.timed_out

    def work(thread: int) -> None:
        for i in range(40):
            is_equal = (i + thread) % 2 == 0
            if grader.is_correct(f"\\boxed{{x+{i}}}", f"{i if is_equal else i + 1}+x") is not is_equal:
                wrong.append((thread, i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert grader.timed_out == timed_out


def test_leaving_a_with_block_ends_the_workers_and_the_grader_works_again() -> None:
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


def test_there_is_one_shared_grader() -> None:
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
    from manypaths.grading import is_correct, shared_grader
    grader = shared_grader()
    grader.seconds = 2.0
    print("once", is_correct(r"\boxed{x+1}", "1+x"), is_correct(r"\boxed{x+2}", "1+x"), flush=True)
    assert grader.is_correct(r"\boxed{x+1}", "1+x")
    if os.fork() == 0:
        time.sleep(0.5)  # until the parent's worker is busy
        os._exit(not grader.is_correct(r"\boxed{x+1}", "1+x") or grader.timed_out)
    assert not grader.is_correct(r"\boxed{9^{9^{9^9}}}", "x+3")
    print(os.wait()[1], grader.is_correct(r"\boxed{x+1}", "1+x"), grader.timed_out)
    """
    assert run_script(tmp_path, code) == "once True False\n0 True 1\n"


def test_output_in_the_worker_is_not_a_verdict(tmp_path: Path) -> None:
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
    from manypaths.grading import grade, grader
    grader.WORKERS = 1
    print(grade([rf"\boxed{{x+{i}}}" for i in range(50)], ["x+50"] * 50).count(True))
    """
    assert run_script(tmp_path, code, path=str(tmp_path)) == "0\n"


def test_without_math_verify_an_error_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "math_verify.py").write_text("raise ImportError('No module named math_verify')")
    code = r"""
    from manypaths.grading import is_correct
    try:
        is_correct(r"\boxed{x+1}", "1+x")
    except RuntimeError as error:
        print(error)
    """
    sentence = (
        "math-verify did not start: ImportError: No module named math_verify. Install it: pip install math-verify\n"
    )
    assert run_script(tmp_path, code) == sentence


def test_the_worker_ends_when_its_caller_is_killed(tmp_path: Path) -> None:
    code = r"""
    import json, os
    from manypaths.grading.grader import _start
    idle, busy = _start(1.0), _start(1.0)
    busy.stdin.write(json.dumps([[r"9^{9^{9^9}}"], "x+3"]) + "\n")
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


PUMPED = [
    "5" + unit * (1900 // len(unit)) + end for unit in (" \\circ", " { \\circ }", "\n", " abc-", "^{2}") for end in "!x"
]
PUMPED += ["5 " + "kilogram" * 200, "5 \\text{" + "kilogram" * 200 + "}", "5 " + "k" * 1900 + "!"]


@pytest.mark.parametrize("answer", PUMPED, ids=range(len(PUMPED)))
def test_settling_takes_linear_or_at_worst_quadratic_time(answer: str) -> None:
    """In the caller's process. Patterns that backtrack take exponential time on these, or the eighth power."""
    start = time.process_time()
    assert not shared_grader().is_correct(f"\\boxed{{{answer}}}", "5 kilograms north")
    assert time.process_time() - start < 2
