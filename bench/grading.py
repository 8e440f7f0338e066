"""The time of grading, compared with a loop over math-verify with its own timeouts on the same completions.

    python bench/grading.py [--completions 10000] [--chunk 500] [--seed 0]

Half of the completions have gold answers of GSM8K, half have answers of the kinds in MATH-500: fractions, roots,
polynomials, tuples, intervals, sets, matrices, words. A third is written like the gold answer, a third is right in
another form, a third is wrong; no two pairs are equal. Both sides are warm and take turns, a chunk at a time. The ratio
is the loop's seconds divided by ours, with its spread over the chunks.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator

from math_verify import parse, verify

from manypaths.grading import Grader
from manypaths.problems import load


def numbers(rng: random.Random) -> Iterator[tuple[str, str]]:
    """(answer, gold answer) for the numbers of GSM8K, as models write them."""
    golds = [problem.answer.rpartition("####")[2].strip().replace(",", "") for problem in load("gsm8k", split="train")]
    while True:
        gold = rng.choice(golds)
        value = int(float(gold))
        right = [
            f"{value:,}",
            f"\\${value}",
            f"{value}.00",
            f"{value} \\text{{ dollars}}",
            f"{value}\\%",
            f"x = {value}",
        ]
        wrong = [str(value + rng.randrange(1, 9)), f"{value}0", f"-{value}", f"\\frac{{{value}}}{{7}}", f"{value}.5"]
        yield rng.choice([gold, rng.choice(right), rng.choice(wrong)]), gold


def expressions(rng: random.Random) -> Iterator[tuple[str, str]]:
    """(answer, gold answer) for the kinds of answers in MATH-500."""
    while True:
        a, b, c = rng.randrange(2, 60), rng.randrange(2, 60), rng.choice([2, 3, 5, 7, 11, 13])
        gold, right, wrong = rng.choice(
            [
                (rf"\frac{{{a}}}{{{b}}}", rf"\dfrac{{{2 * a}}}{{{2 * b}}}", rf"\frac{{{b}}}{{{a + b}}}"),
                (rf"{a}\sqrt{{{c}}}", rf"\sqrt{{{a * a * c}}}", rf"{a + 1}\sqrt{{{c}}}"),
                (rf"{a}\pi", rf"\pi \cdot {a}", rf"{b + a}\pi"),
                (f"{a}x^2 - {b}x + {c}", f"{c} - {b}x + {a}x^{{2}}", f"{a}x^2 + {b}x + {c}"),
                (f"(x+{a})(x+{b})", f"x^2 + {a + b}x + {a * b}", f"x^2 + {a * b}x + {a + b}"),
                (rf"\left( {a}, \frac{{\pi}}{{{b}}} \right)", rf"({a}, \pi/{b})", rf"({b}, \frac{{\pi}}{{{a}}})"),
                (f"({a},{a + b}]", rf"\left({a}, {a + b}\right]", f"[{a},{a + b}]"),
                (f"{a},{-b}", f"{-b}, {a}", f"{-a},{b}"),
                (rf"{a} \pm \sqrt{{{c}}}", rf"{a} - \sqrt{{{c}}}, {a} + \sqrt{{{c}}}", rf"{a} + \sqrt{{{c}}}"),
                (f"{a} - {b}i", f"-{b}i + {a}", f"{b} - {a}i"),
                (
                    rf"\begin{{pmatrix}} {a} \\ -{b} \\ {c} \end{{pmatrix}}",
                    rf"\begin{{bmatrix}}{a}\\-{b}\\{c}\end{{bmatrix}}",
                    rf"\begin{{pmatrix}} {b} \\ -{a} \\ {c} \end{{pmatrix}}",
                ),
                (f"x={a}.{b}", f"{a}.{b}", f"x={b}.{a}1"),
                (rf"{a}^\circ", str(a), rf"{a + b}^\circ"),
                (
                    rf"\text{{{'abcde'[a % 5]}nn{'aeiou'[b % 5]}}}",
                    f"{'abcde'[a % 5]}nn{'aeiou'[b % 5]}",
                    r"\text{Otto}",
                ),
            ]
        )
        yield rng.choice([gold, right, wrong]), gold


def pairs_of(count: int, seed: int) -> list[tuple[str, str]]:
    """`count` different (completion, gold answer) pairs."""
    rng = random.Random(seed)
    sources = [numbers(rng), expressions(rng)]
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < count:
        answer, gold = next(sources[len(pairs) % 2])
        pairs[f"Therefore the final answer is $\\boxed{{{answer}}}$.", gold] = None
    return list(pairs)


def plain_loop(texts: list[str], golds: list[str]) -> list[bool]:
    """The verdicts of math-verify alone."""
    return [verify(parse(f"\\boxed{{{gold}}}"), parse(text)) for text, gold in zip(texts, golds, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=10_000)
    parser.add_argument("--chunk", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pairs = pairs_of(options.completions, options.seed)
    seconds: dict[str, list[float]] = {"manypaths": [], "the plain loop": []}
    same = 0
    with Grader() as grader:
        warm = ["\\boxed{x+1}", "\\boxed{x+2}", "\\boxed{x+3}", "\\boxed{x+4}"]
        start = time.perf_counter()
        grader.grade(warm, ["1+x"] * 4)
        print(f"start of the workers {time.perf_counter() - start:.1f} s, not counted below")
        plain_loop(warm, ["1+x"] * 4)
        for first in range(0, len(pairs), options.chunk):
            texts, golds = map(list, zip(*pairs[first : first + options.chunk], strict=True))
            verdicts = []
            for name, judge in (("manypaths", grader.grade), ("the plain loop", plain_loop)):
                start = time.perf_counter()
                verdicts.append(judge(texts, golds))
                seconds[name].append(time.perf_counter() - start)
            same += sum(ours == theirs for ours, theirs in zip(*verdicts, strict=True))
        print(f"{len(pairs)} completions, {grader.timed_out} out of time, {same / len(pairs):.1%} equal verdicts")
    for name, chunks in seconds.items():
        print(f"{name}: {sum(chunks):.1f} s, {1000 * sum(chunks) / len(pairs):.2f} ms a completion")
    ours, theirs = seconds.values()
    ratios = [loop / grading for grading, loop in zip(ours, theirs, strict=True)]
    spread = f"median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} chunks"
    print(f"ratio {sum(theirs) / sum(ours):.2f} ({spread}); 1 or more is at least as fast")


if __name__ == "__main__":
    main()
