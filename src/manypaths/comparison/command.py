"""`manypaths compare`, from parsed arguments to printed output."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from manypaths.printable import lines, one_line


def compare(options: argparse.Namespace) -> int:
    """Compare the runs `options.runs`, or print the published tables -> the exit code."""
    if options.published:
        from manypaths.comparison import published

        print(published.page())
        return 0
    if not options.runs:
        raise ValueError("Name run folders, such as: manypaths compare runs/grpo-1 runs/mmr-1, or --published.")
    check(options.target, curves=options.out is not None)
    print_comparison(options.runs, options.baseline, options.target, options.out)
    return 0


def check(target: str | float | None, curves: bool) -> None:
    """Check what can be checked before the runs are there.

    Args:
        target: The accuracy to reach, as `--target` takes it.
        curves: Whether the curves of the runs will be drawn.

    Raises:
        ValueError: The target is not valid, or a package for comparing or drawing is not installed.
    """
    needed = ["numpy", "matplotlib"] if curves else ["numpy"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} must be installed to compare runs. Run: pip install numpy matplotlib pyyaml"
        )
    from manypaths.comparison.curves import rise_of

    rise_of(target)


def print_comparison(paths: Sequence[Path], baseline: str | None, target: str | float | None, out: Path | None) -> None:
    """Compare runs and print the report.

    Args:
        paths: Run folders and whatever else `manypaths compare` reads.
        baseline: The name of a configuration; None is the first that does not reweight.
        target: The accuracy to reach; None is the baseline's highest.
        out: A folder for tables, curves and the report; None writes nothing.

    Raises:
        ValueError: There is nothing to compare, or no such baseline.
    """
    from manypaths.comparison import compare, read, report

    runs, refused = read.read(paths)
    for reason in refused:
        print(f"Left out: {one_line(reason)}", file=sys.stderr)
    comparison = compare.compare(runs, baseline, target)
    written = f"\n\nReport: {report.write(comparison, out)}" if out is not None else ""
    print(lines(report.text(comparison) + written))
