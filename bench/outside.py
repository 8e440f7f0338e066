"""Two published data sets, read by `manypaths compare`: the tables of docs/outside.md.

    python bench/outside.py

The figures are in tests/data/outside, with their source.
"""

from pathlib import Path

from manypaths.comparison.compare import compare
from manypaths.comparison.contents import configurations
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.read import read
from manypaths.tables import markdown

DATA = Path(__file__).parents[1] / "tests" / "data" / "outside"
PODS = {"pods_gsm8k": "grpo-16", "pods_gsm8k_llama": "grpo-16", "pods_math": "grpo-8"}  # file -> its baseline
BENCHMARKS = (
    *("math500", "aime24", "olympiadbench", "minerva_math", "gsm8k", "kk_hard", "bbh_logical_deduction"),
    *("bbh_tracking", "zebra_logic_mc", "gpqa_diamond", "mmlu_pro_chemistry", "mmlu_pro_physics"),
)
COLUMNS = {"run": "method", "benchmarks": "+".join(BENCHMARKS)}
SETTINGS = [  # campaign, model, regime, baseline
    ("main", "Qwen2.5-7B-Instruct", None, "baseline"),
    ("main", "Qwen2.5-0.5B-Instruct", None, "baseline"),
    ("mixer", "Qwen2.5-7B-Instruct", None, "static"),
    ("mixer", "Qwen2.5-0.5B-Instruct", None, "static"),
    ("scale_curve", "Qwen2.5-1.5B-Instruct", None, "baseline"),
    ("scale_curve", "Qwen2.5-3B-Instruct", None, "baseline"),
    ("crossfamily", "Qwen2.5-7B-base", None, "baseline"),
    ("crossfamily", "Qwen2.5-14B-base", None, "baseline"),
    ("crossfamily", "Llama-3.1-8B-base", None, "baseline"),
    ("constrained", "Qwen2.5-7B-Instruct", "noise20_20pct_label_noise", "baseline"),
    ("constrained", "Qwen2.5-7B-Instruct", "sub25_25pct_data_subset", "baseline"),
    ("long_training", "Qwen2.5-7B-Instruct", None, "baseline"),
]


def compared(file, baseline, **reading):
    """The configurations of a file, as `compare` gives them, without the baseline."""
    runs, refused = read([DATA / f"{file}.csv"], Reading(**reading))
    if refused:
        raise ValueError(" ".join(refused))
    comparison = compare(runs, baseline)
    return comparison, configurations(comparison)[1:]


def points(item):
    low, high = (f"{100 * item[end]:+.1f}" for end in ("low", "high"))
    return f"{100 * item['value']:+.1f} [{low}, {high}]"


def saved(item):
    if item["value"] is None:
        return "not reached"
    low, high = ("unbounded" if item[end] is None else f"{item[end]:.0%}" for end in ("low", "high"))
    return f"{item['value']:.0%} [{low}, {high}]"


def verdict(item):
    """The verdict before Holm's correction, and after it."""
    positive = (item["low"] or 0.0) > 0
    better, worse = ("faster", "slower") if "paired" not in item else ("better", "worse")
    before = "not shown" if item["p"] is None or item["p"] > 0.05 else better if positive else worse
    return [before, item["verdict"]]


def pods_tables():
    for file, baseline in PODS.items():
        comparison, others = compared(file, baseline)
        target = comparison["targets"]["accuracy"]["value"]
        header = ["", "at the end, points [95 %]", "alone", "after Holm"]
        header += [f"hours saved to {target:.1%} [95 %]", "alone", "after Holm"]
        rows = []
        for other in others:
            last, hours = other["against"]["last"], other["to_target"]["hours_saved"]
            rows.append([other["name"], points(last), *verdict(last), saved(hours), *verdict(hours)])
        yield f"{file}.csv, against {baseline}", [header, *rows]


def dataflex_tables():
    excluding = shown = count = 0
    for campaign, model, regime, baseline in SETTINGS:
        where = {"campaign": campaign, "model": model} | ({"regime": regime} if regime else {})
        _, others = compared("dataflex_rl", baseline, unit="percent", columns=COLUMNS, where=where)
        rows = [["", "at the end, points [95 %]", "p", "p after Holm", "alone", "after Holm"]]
        for other in others:
            last = other["against"]["last"]
            rows.append([other["name"], points(last), f"{last['p']:.2f}", f"{last['p_holm']:.2f}", *verdict(last)])
            excluding += last["p"] <= 0.05
            shown += last["verdict"] != "not shown"
            count += 1
        yield f"{campaign}, {model}{f', {regime}' if regime else ''}, against {baseline}", rows
    yield (
        "All of them",
        [["comparisons", "interval excludes 0", "shown after Holm"], [str(count), str(excluding), str(shown)]],
    )


if __name__ == "__main__":
    for title, rows in (*pods_tables(), *dataflex_tables()):
        print(f"### {title}\n\n{markdown(rows)}\n")
