"""Are the intervals and verdicts of `manypaths compare` right? Measured on simulated runs whose truth is known.

    python bench/comparison.py [QUESTION ...] [--worlds 1000] [--processes 1]

Without a question it answers all of them, in about 20 minutes on one core, and prints the tables of docs/results.md.
comparison_worlds.py has the simulated runs, comparison_questions.py, comparison_study.py, comparison_curves.py and
comparison_equal_accuracy.py what
is measured on them.
A cell with three numbers has those of 3, 5 and 10 seeds. Of n worlds a rate p has the standard error sqrt(p (1 - p) /
n): at 95 % that is 0.5 points of 2,000 worlds, 0.7 of 1,000 and 1.3 of 300.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import comparison_curves
import comparison_equal_accuracy as equal
import comparison_questions as questions
import comparison_study
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
        return {name: " / ".join(f"{100 * rate[name].mean():.1f}" for rate in rates) for name in rates[0]}


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
    head(
        "Arms with one baseline, at the end: % of worlds (8 without effect: 2,000; else 1,000)",
        "arms",
        "luck",
        "pairs",
        *names,
    )
    for correlation, paired in ((0.0, False), (0.6, False), (0.6, True)):
        setting = {"world": World("arms", correlation=correlation), "paired": paired}
        rows = [(ARMS, 0.0, 2000), (ARMS, 0.12, 1000), *[(20, 0.0, 1000)] * (correlation == 0)]
        for count, effect, worlds in rows:
            rates = bench.by_seeds(questions.arms, worlds, effects=(effect,) + (0.0,) * (count - 1), **setting)
            words = f"{count}, one is 12 points better" if effect else f"{count}, no effect"
            values = ["" if not effect and name.startswith("shown") else rates[name] for name in names]
            row(words, f"correlation {correlation}", "paired" if paired else "unpaired", *values)


def tails(bench):
    levels = questions.LEVELS
    head("One arm without an effect, 5,000 worlds: % with a p value of at most", "pairs", *levels)
    for name, paired in PAIRINGS.items():
        rates = bench.by_seeds(questions.tail, 5000, world=World("tails"), paired=paired)
        row(name, *(rates[level] for level in levels))


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
    head("Primary endpoints: pass@8 better, accuracy at most 3 points worse; 5 seeds, 200 worlds: %", *columns)
    world = World("protocol", problems=(40,), luck=0.1, correlation=0.6)
    truths = {
        "alike": Arm(),
        "pass@8 better, accuracy worse by the margin": stretched(world, 0.5, "accuracy", -0.03),
        "pass@8 alike, accuracy better": stretched(world, 1.3, "pass@8", 0.0),
        "pass@8 better, accuracy alike": stretched(world, 0.5, "accuracy", 0.0),
    }
    for name, arm in truths.items():
        for count, paired in ((1, False), (4, True)):
            setting = {"world": world, "others": [arm] * count, "paired": paired, "margin": 0.03}
            rates = bench.by_seeds(questions.protocol, 200, seeds=(5,), **setting)
            row(name, _gaps(world, [arm]), count, "paired" if paired else "unpaired", *rates.values())


def study(bench):
    design = f"{len(comparison_study.protocol().arms)} arms, {comparison_study.SEEDS} paired seeds"
    columns = ("truth", "points of pass@8, accuracy", "any arm", "each arm")
    head(f"The study, {design}, 600 worlds in which no arm helps: % in which one is said to", *columns)
    for name, (world, others) in comparison_study.false_worlds().items():
        rates = bench.of(comparison_study.false_help, 600, world=world, others=others)
        row(name, _gaps(world, others), *(f"{100 * rates[key].mean():.1f}" for key in ("any", "share")))
    columns = ("one arm gains", "points of pass@8, accuracy", "it helps", *comparison_study.ENDPOINTS, "another helps")
    head("The study, 400 worlds in which one arm gains: % in which that is said", *columns)
    for name, (world, others) in comparison_study.power_worlds().items():
        rates = bench.of(comparison_study.helps, 400, world=world, others=others)
        keys = ("first", *comparison_study.ENDPOINTS, "other")
        row(name, _gaps(world, others), *(f"{100 * rates[key].mean():.1f}" for key in keys))


def equal_accuracy(bench):
    columns = ("arm", "seeds", "pairs", "held", "better", "worse", "mean, points", "width, points")
    head("pass@8 at equal accuracy, 600 worlds: % in which the interval holds the truth, and which are shown", *columns)
    arms = {
        "the baseline again": equal.Arm(),
        "slower on the same path": equal.Arm(equal.PACE),
        "slower, 3 points gained": equal.Arm(equal.PACE, 0.03),
    }
    for name, arm in arms.items():
        for seeds, paired in ((5, True), (10, True), (20, True), (20, False)):
            rates = bench.of(equal.answers, 600, arm=arm, seeds=seeds, paired=paired)
            means = [f"{100 * rates[key].mean():.1f}" for key in ("held", "better", "worse", "value", "width")]
            row(name, seeds, "paired" if paired else "unpaired", *means)


def _gaps(world, others):
    """The true differences of the first arm from the baseline, in points."""
    arm = others[0] if others else Arm()
    gaps = [100 * (truth(world, arm, of) - truth(world, BASE, of)) for of in ("pass@8", "accuracy")]
    return ", ".join(f"{gap:+.1f}" for gap in gaps)


DESIGNS = {
    "alike, unpaired": (40.0, 0.0, False),
    "alike, paired": (40.0, 0.6, True),
    "faster, unpaired": (28.0, 0.0, False),
    "faster, paired": (28.0, 0.6, True),
}  # the pace, the correlation of the luck, and whether seeds are paired


def curves(bench):
    answers = {}
    for name, (pace, correlation, paired) in DESIGNS.items():
        setting = {"pace": pace, "problems": 128, "correlation": correlation, "paired": paired}
        for seeds in (*SEEDS, *[1] * (not paired)):
            answers[name, seeds] = bench.of(comparison_curves.quantities, 300, seeds=seeds, **setting)
    of_one = [name for name in DESIGNS if (name, 1) in answers]
    columns = [*DESIGNS, *(f"one seed, {name.split(',')[0]}" for name in of_one)]
    head("Curves, 300 worlds: % of intervals that hold the truth", "quantity", *columns)
    quantities = list(next(iter(answers.values())))
    for quantity in quantities:
        cells = [[_held(answers[name, seeds][quantity]) for seeds in SEEDS] for name in DESIGNS]
        cells += [[_held(answers[name, 1][quantity])] for name in of_one]
        row(quantity, *(" / ".join(rates) for rates in cells))
    names = [f"{what}, {pairs}" for pairs in PAIRINGS for what in ("median", "median width", "% shown")]
    head("30 % faster, 300 worlds", "quantity", "truth", *names)
    for quantity in quantities:
        cells = []
        for name in ("faster, unpaired", "faster, paired"):
            by_seeds = [_found(quantity, answers[name, seeds][quantity]) for seeds in SEEDS]
            cells += [" / ".join(filter(None, of_seeds)) for of_seeds in zip(*by_seeds, strict=True)]
        row(quantity, f"{answers['faster, paired', 3][quantity][0, 0]:.3f}", *cells)


def _held(rows):
    real, _, low, high = rows.T
    return f"{100 * ((low <= real) & (real <= high)).mean():.1f}"


def _found(quantity, rows):
    """The median, the median width, and how often the interval excludes 0 where that matters."""
    _, value, low, high = rows.T
    middle, width = numpy.median(value), numpy.median(high - low)
    shown = f"{100 * ((low > 0) | (high < 0)).mean():.0f}" if "difference" in quantity or "saved" in quantity else ""
    return f"{middle:.3f}", f"{width:.3f}" if numpy.isfinite(width) else "unbounded", shown


def verdicts(bench):
    names = ("at the end", "at the peaks", "steps saved", "hours saved")
    columns = [column for name in names for column in (f"{name}, uncorrected", name)]
    title = f"{ARMS} arms that learn like the baseline, 500 worlds (of savings 200): % with any verdict"
    head(title, "luck", "pairs", *columns)
    for correlation, paired in ((0.0, False), (0.6, True)):
        setting = {"arms": ARMS, "problems": 64, "correlation": correlation, "paired": paired}
        rates = bench.by_seeds(comparison_curves.peak_verdicts, 500, **setting)
        rates |= bench.by_seeds(comparison_curves.saving_verdicts, 200, **setting)
        row(f"correlation {correlation}", "paired" if paired else "unpaired", *(rates[name] for name in columns))


QUESTIONS = {
    question.__name__: question
    for question in (
        intervals,
        measures,
        pairing,
        arms,
        tails,
        margins,
        power,
        protocols,
        study,
        equal_accuracy,
        curves,
        verdicts,
    )
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
