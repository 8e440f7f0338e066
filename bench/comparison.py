"""Are the intervals and verdicts of `manypaths compare` right? Measured on simulated runs whose truth is known.

    python bench/comparison.py [QUESTION ...] [--worlds 1000] [--processes 1]

Without a question it answers all of them, in about 15 minutes on one core, and prints the tables of docs/results.md.
comparison_worlds.py has the simulated runs, comparison_questions.py and comparison_curves.py what is measured on them.
A cell with three numbers has those of 3, 5 and 10 seeds. Of n worlds a rate p has the standard error sqrt(p (1 - p) /
n): at 95 % that is 0.5 points of 2,000 worlds, 0.7 of 1,000 and 1.1 of 400.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import comparison_curves
import comparison_questions as questions
import numpy
from comparison_questions import PAIRINGS, SEEDS, SHARED, STARTS, WORLDS, stretched
from comparison_worlds import BASE, MEASURES, Arm, World, truth

ARMS = 8


class Bench:
    """Asks questions in many worlds."""

    def __init__(self, pool, worlds):
        self.pool, self.worlds = pool, worlds

    def of(self, question, default, **settings):
        """{name: [worlds] what a question gives in each}."""
        worlds = self.worlds or default
        answers = list(self.pool.map(partial(question, **settings), range(worlds), chunksize=max(1, worlds // 40)))
        return {name: numpy.array([answer[name] for answer in answers], float) for name in answers[0]}

    def by_seeds(self, question, default, seeds=SEEDS, **settings):
        """{name: "3 seeds / 5 seeds / 10 seeds"}: the percentages of worlds."""
        rates = [self.of(question, default, seeds=count, **settings) for count in seeds]
        return {name: " / ".join(f"{rate[name].mean():.1%}".rstrip("%") for rate in rates) for name in rates[0]}


def row(*cells):
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(title, *columns):
    print(f"\n{title}\n")
    row(*columns)
    print(f"{'|---' * len(columns)}|")


COVERAGE = ("own", "unpaired", "paired", "gain excluded, unpaired", "gain excluded, paired")


def intervals(bench):
    head("Intervals of accuracy, 2,000 worlds: % that hold the truth", "world", *COVERAGE)
    for world in WORLDS:
        rates = bench.by_seeds(questions.coverage, 2000, world=world)
        measure = next(iter(rates))[0]
        row(world.name, *(rates[measure, name] for name in COVERAGE))


def measures(bench):
    head("Intervals of other measures, 2,000 worlds: % that hold the truth", "world", "measure", *COVERAGE)
    few = World("30 problems, correlation 0.6", problems=(30,), correlation=0.6)
    for world in (World("correlation 0"), SHARED, STARTS, few):
        rates = bench.by_seeds(questions.coverage, 2000, world=world, measures=MEASURES)
        for measure in MEASURES:
            row(world.name, measure, *(rates[measure, name] for name in COVERAGE))


def pairing(bench):
    columns = ("correlation", "width paired / unpaired", "shown unpaired", "shown paired", "wrong sign, paired")
    head("A difference of 12, 8, 5 points with 3, 5, 10 seeds, 2,000 worlds: % shown", *columns)
    for correlation in (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9):
        world = World("pairs", correlation=correlation)
        widths = [bench.of(questions.pairing, 2000, world=world, seeds=count) for count in SEEDS]
        ratios = [numpy.median(width["width, paired"]) / numpy.median(width["width, unpaired"]) for width in widths]
        shown = [" / ".join(f"{100 * width[f'shown, {name}'].mean():.1f}" for width in widths) for name in PAIRINGS]
        wrong = " / ".join(f"{100 * width['wrong, paired'].mean():.1f}" for width in widths)
        row(correlation, " / ".join(f"{ratio:.2f}" for ratio in ratios), *shown, wrong)


def arms(bench):
    names = ("any false, uncorrected", "any false", "shown, uncorrected", "shown", "any gain excluded wrongly")
    head(f"{ARMS} arms and one baseline at the end, 1,000 worlds: % of worlds", "arms", "luck", "pairs", *names)
    for correlation, (name, paired) in (
        (0.0, ("unpaired", False)),
        (0.6, ("unpaired", False)),
        (0.6, ("paired", True)),
    ):
        world = World("arms", correlation=correlation)
        setting = {"world": world, "paired": paired}
        rates = bench.by_seeds(questions.arms, 1000, effects=(0.0,) * ARMS, **setting)
        row("no effect", f"correlation {correlation}", name, *(rates[key] for key in names))
        effects = (0.12,) + (0.0,) * (ARMS - 1)
        rates = bench.by_seeds(questions.arms, 1000, effects=effects, **setting)
        row("one is 12 points better", f"correlation {correlation}", name, *(rates[key] for key in names))


def margins(bench):
    names = [f"{claim}, {name}" for claim in ("equivalent", "at most worse") for name in PAIRINGS]
    head("A margin of 5 points, 2,000 worlds: % in which it is claimed", "true difference", "luck", *names)
    for luck in (0.3, 0.1):
        world = World("margins", luck=luck, correlation=0.6)
        for gap in (-0.1, -0.05, 0.0, 0.05, 0.1):
            rates = bench.by_seeds(questions.margins, 2000, world=world, margin=0.05, gap=gap)
            row(f"{100 * gap:+.0f} points", f"{luck} logits", *(rates[name] for name in names))


def power(bench):
    columns = ("world", "pairs", "seeds", "median, points", "10 % to 90 %, points", "shown at the median, %")
    head("The difference that is detectable with a power of 80 %, 2,000 worlds", *columns)
    for world in (World("correlation 0"), SHARED, World("30 problems", problems=(30,), correlation=0.6)):
        for seeds in SEEDS:
            said = bench.of(questions.stated, 2000, world=world, seeds=seeds)
            for name, paired in PAIRINGS.items():
                low, middle, high = numpy.nanquantile(said[name], [0.1, 0.5, 0.9])
                setting = {"world": world, "seeds": seeds, "gap": min(0.38, float(middle)), "paired": paired}
                shown = bench.of(questions.shown, 2000, **setting)["shown"].mean()
                row(
                    world.name,
                    name,
                    seeds,
                    f"{100 * middle:.1f}",
                    f"{100 * low:.1f} to {100 * high:.1f}",
                    f"{100 * shown:.1f}",
                )


def protocols(bench):
    columns = ("truth", "points of pass@8, accuracy", "arms", "pairs", "an arm succeeds", "better at pass@8")
    head("Primary endpoints: pass@8 better, accuracy at most 3 points worse; 5 seeds, 400 worlds: %", *columns)
    world = World("protocol", problems=(40,), luck=0.1, correlation=0.6)
    truths = {
        "alike": Arm(),
        "pass@8 better, accuracy worse by the margin": stretched(world, 0.5, "accuracy", -0.03),
        "pass@8 alike, accuracy better": stretched(world, 1.3, "pass@8", 0.0),
        "pass@8 better, accuracy alike": stretched(world, 0.5, "accuracy", 0.0),
    }
    for name, arm in truths.items():
        gaps = [100 * (truth(world, arm, of) - truth(world, BASE, of)) for of in ("pass@8", "accuracy")]
        for count, paired in ((1, False), (1, True), (4, True)):
            setting = {"world": world, "others": [arm] * count, "paired": paired, "margin": 0.03}
            rates = bench.by_seeds(questions.protocol, 400, seeds=(5,), **setting)
            row(name, f"{gaps[0]:+.1f}, {gaps[1]:+.1f}", count, "paired" if paired else "unpaired", *rates.values())


def curves(bench):
    columns = ("seeds", "luck, pairs", "faster by", "quantity", "truth", "median", "median width", "truth inside, %")
    head("Peaks, targets and savings, 400 worlds", *columns, "without 0, %")
    for seeds in (3, 5, 10, 1):
        for correlation, paired in ((0.0, False), (0.6, True)):
            for pace in (40.0, 28.0):
                if seeds > 1 or not paired:
                    setting = {"seeds": seeds, "pace": pace, "problems": 128, "correlation": correlation}
                    answers = bench.of(comparison_curves.quantities, 400, **setting, paired=paired)
                    words = f"{correlation}, {'paired' if paired else 'unpaired'}"
                    _quantities((seeds, words, f"{1 - pace / 40:.0%}"), answers)


def _quantities(start, answers):
    for name, rows in answers.items():
        real, value, low, high = rows.T
        middle, width = numpy.median(value), numpy.median(high - low)
        cells = [f"{number:.3f}" if numpy.isfinite(number) else "none" for number in (middle, width)]
        shown = f"{100 * ((low > 0) | (high < 0)).mean():.1f}" if "difference" in name or "saved" in name else ""
        row(*start, name, f"{real.mean():.3f}", *cells, f"{100 * ((low <= real) & (real <= high)).mean():.1f}", shown)


def verdicts(bench):
    names = ("at the end", "at the peaks", "steps saved", "hours saved")
    columns = [column for name in names for column in (f"{name}, uncorrected", name)]
    head(f"{ARMS} arms that learn like the baseline, 400 worlds: % with any verdict", "luck", "pairs", *columns)
    for correlation, paired in ((0.0, False), (0.6, False), (0.6, True)):
        setting = {"arms": ARMS, "problems": 64, "correlation": correlation, "paired": paired}
        rates = bench.by_seeds(comparison_curves.verdicts, 400, **setting)
        row(f"correlation {correlation}", "paired" if paired else "unpaired", *(rates[name] for name in columns))


QUESTIONS = {
    question.__name__: question
    for question in (intervals, measures, pairing, arms, margins, power, protocols, curves, verdicts)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--worlds", type=int, help="for all questions; each has its own number, which its title names")
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    for name in options.questions or QUESTIONS:
        if name not in QUESTIONS:
            parser.error(f"A question must be {', '.join(QUESTIONS)}, got {name!r}.")
    with ProcessPoolExecutor(options.processes) as workers:
        for name in options.questions or QUESTIONS:
            QUESTIONS[name](Bench(workers, options.worlds))
