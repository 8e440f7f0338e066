"""`manypaths grade`, from parsed arguments to printed output."""

from __future__ import annotations

import argparse

from manypaths.evaluation.grade_file import grade_file
from manypaths.printable import counted


def grade(options: argparse.Namespace) -> int:
    """Grade the completions in the file `options.samples`, and print how many are correct -> the exit code."""
    result = grade_file(
        options.samples, options.text_column, options.gold_column, options.out, unboxed_by=options.unboxed
    )
    samples, share = result["samples"], f"{result['accuracy']:.1%} [{result['low']:.1%}, {result['high']:.1%}]"
    print(f"mean@{samples} over {counted(result['problems'], 'problem')}: {share}")
    print(f"pass@{samples} {result['pass_at'][str(samples)]:.1%}, majority {result['majority']:.1%}")
    counts = result["read"]
    total = sum(counts.values())
    if without := total - counts["box"]:
        print(f"Only a \\boxed{{}} is graded, and {without:,} of {total:,} completions have none.", end=" ")
        if options.unboxed:
            way = options.unboxed.replace("-", " ")
            print(f"Of these, {counts[options.unboxed]:,} were read by their {way}; {counts['none']:,} count as wrong.")
        else:
            print("They count as wrong; --unboxed last-number or --unboxed last-math reads them.")
    return 0
