"""`manypaths compare`, from parsed arguments to printed output."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from manypaths.files import check_out
from manypaths.printable import lines, one_line

LEFT_OUT = 3  # the exit code of a comparison from which a path or a run was left out


@dataclass(frozen=True)
class Question:
    """What a comparison is to answer: the options of `manypaths compare`, and the keys of a grid of `sweep`.

    `metric`, `baseline`, `target`, `margin` and `paired` are as `manypaths.comparison.compare.compare` takes them;
    `protocol` is a file (`manypaths.comparison.protocol`), beside which the others must not be set.
    """

    metric: str | None = None
    baseline: str | None = None
    target: str | float | None = None
    margin: float | None = None
    paired: bool | None = None
    protocol: Path | None = None


@dataclass(frozen=True)
class Files:
    """How files of other software are read: the texts of `--unit`, `--columns` and `--where`."""

    unit: str | None = None
    columns: Sequence[str] = field(default_factory=list)
    where: Sequence[str] = field(default_factory=list)


def compare(options: argparse.Namespace) -> int:
    """Compare the runs `options.runs`, or print the published tables -> the exit code."""
    if options.published:
        from manypaths.comparison import published

        print(published.page())
        return 0
    if not options.runs:
        raise ValueError("Name run folders, such as: manypaths compare runs/grpo-1 runs/mmr-1, or --published.")
    names = ("metric", "baseline", "target", "margin", "paired", "protocol")
    question = Question(**{name: getattr(options, name) for name in names})
    if options.out is not None:
        check_out(options.out)
    check(question, curves=options.out is not None)
    return print_comparison(options.runs, question, options.out, Files(options.unit, options.columns, options.where))


def check(question: Question, curves: bool) -> str | None:
    """Check what can be checked before the runs are there.

    Args:
        question: What the comparison is to answer.
        curves: Whether the curves of the runs will be drawn.

    Returns:
        The baseline that the question or its protocol names, None where it is left open.

    Raises:
        ValueError: The target, the margin or the protocol is not valid, or a package for comparing or drawing is not
            installed.
    """
    needed = ["numpy", "matplotlib"] if curves else ["numpy"]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"{' and '.join(missing)} must be installed to compare runs. Run: pip install numpy matplotlib pyyaml"
        )
    from manypaths.comparison.curves import rise_of
    from manypaths.comparison.protocol import check_margin, read_protocol

    rise_of(question.target)
    check_margin(question.margin)
    if question.protocol is not None:
        names = ("metric", "baseline", "target", "margin", "paired")
        if others := [name for name in names if getattr(question, name) is not None]:
            raise ValueError(f"A protocol must settle {', '.join(others)}, got both. Leave one of them out.")
        return read_protocol(question.protocol).baseline
    return question.baseline


def print_comparison(
    paths: Sequence[Path],
    question: Question,
    out: Path | None,
    files: Files | None = None,
    left_out: Sequence[str] = (),
) -> int:
    """Compare runs and print the report.

    Args:
        paths: Run folders and whatever else `manypaths compare` reads.
        question: What the comparison is to answer.
        out: A folder for tables, curves and the report; None writes nothing.
        files: How files of other software are read.
        left_out: A sentence for each run that failed.

    Returns:
        The exit code: 0, or `LEFT_OUT`.

    Raises:
        ValueError: There is nothing to compare, no such baseline, or an option does not fit the files.
    """
    from manypaths.comparison import compare, read, report
    from manypaths.comparison.importers.reading import Reading
    from manypaths.comparison.protocol import read_protocol
    from manypaths.counts import ACCURACY

    protocol = None if question.protocol is None else read_protocol(question.protocol)
    files = files or Files()
    metric = question.metric if protocol is None else protocol.metric
    reading = Reading.of(metric, files.unit, files.columns, files.where)
    runs, refused = read.read(paths, reading)
    _print_left_out(refused)
    comparison = compare.compare(
        runs,
        question.baseline,
        question.target,
        metric=reading.measure or ACCURACY,
        margin=question.margin,
        paired=question.paired,
        protocol=protocol,
        left_out=[*left_out, *refused],
    )
    _print_left_out([sentence for sentence in comparison["left_out"] if sentence not in refused])
    written = f"\n\nReport: {report.write(comparison, out)}" if out is not None else ""
    print(lines(report.text(comparison) + written))
    return LEFT_OUT if comparison["left_out"] else 0


def _print_left_out(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(f"Left out: {one_line(sentence)}", file=sys.stderr)
