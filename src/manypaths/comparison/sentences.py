"""A comparison in sentences: the target, the verdict on each configuration, and what limits it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from manypaths.comparison.contents import (
    DIFFERENCE,
    MANY,
    PLAIN_DIFFERENCE,
    UNTESTED,
    Comparison,
    configurations,
    family_size,
    further_measures,
    has_race,
)
from manypaths.comparison.numbers import (
    COSTS,
    PLAIN,
    SAVED,
    Unit,
    amount,
    at_least,
    decimals,
    interval,
    number,
    p_value,
    unit_of,
    with_interval,
)
from manypaths.counts import ACCURACY, measure

FEW_SEEDS, FEW_PROBLEMS = 5, 30  # with fewer seeds, or no more problems, the difference that can be seen is named
ABOUT = re.compile(r"(?P<name>.+?)(?P<rest>(?::| has | is | ends | was | were | cannot ).*)", re.DOTALL)


def goal(comparison: Comparison) -> str:
    """The target of the metric in words."""
    rise, base = comparison["targets"][comparison["metric"]]["rise"], comparison["baseline"]
    source = "" if rise is None else f", the peak of {base}" if rise == 1 else f", {rise:.0%} of the rise of {base}"
    return level(comparison, comparison["metric"]) + source


def level(comparison: Comparison, name: str) -> str:
    """The target of a measure as a number."""
    return number(comparison["targets"][name]["value"], unit_of(name))


def lead(comparison: Comparison) -> str:
    """The sentences before everything else: baseline, metric, target and the meaning of the brackets."""
    parts = [f"Baseline: {comparison['baseline']}."]
    if comparison["measures"] != [ACCURACY]:
        parts.append(f"Metric: {measure(comparison['metric']).title}.")
    if has_race(comparison):
        parts.append(f"Target: {goal(comparison)}.")
    compared = len(comparison["configurations"]) - 1
    if compared > 1 and comparison["correction"] == "holm":
        parts.append(
            "In brackets: 95 % confidence intervals, not corrected for the number of configurations; verdicts are "
            "corrected (Holm)."
        )
    else:
        parts.append("In brackets: 95 % confidence intervals.")
    return " ".join(parts)


# Verdicts


def verdict(item: Comparison, family: int) -> str:
    """The verdict on a difference or a saving, with its p value.

    Args:
        item: With `verdict`, `p`, `p_holm` and the interval.
        family: The number of configurations that the p value is corrected for.
    """
    word = item["verdict"]
    if word in ("one seed", "one start"):
        return f"{word}, so another may disagree"
    if word == "unknown" or item["p"] is None:
        return "unknown, as there is no interval"
    corrected = family > 1 and item["p_holm"] is not None
    p = p_value(item["p_holm"] if corrected else item["p"]) + f" after Holm over {family}" * corrected
    if word != "not shown":
        return f"{word} ({p})"
    if corrected and _excludes_zero(item):
        return f"not shown after Holm over {family} ({p_value(item['p_holm'])}); the uncorrected interval excludes 0"
    return "no difference shown"


def verdict_at_the_end(item: Comparison, family: int, unit: Unit, margin: float | None) -> str:
    """The verdict on the difference at the end, with what its interval excludes and what holds within the margin.

    Args:
        item: `against["last"]` of a configuration.
        margin: The largest difference that does not matter, as a share; None for none.
    """
    words = verdict(item, family)
    high, top = item["high"], 1.0 if unit.after_value == "%" else None
    if words == "no difference shown" and high is not None and high > 0 and (top is None or high < top):
        gain = "an increase" if unit is PLAIN else "a gain"
        words += f"; {gain} above {at_least(high, unit, decimals(item, unit))} is excluded"
    if within := _within(item, unit, margin):
        words += f"; {within}"
    elif margin is not None and item.get("equivalent") is False:
        words += f"; equivalence within {amount(margin, unit)} is not shown"
    return words + _but(item)


def brief_verdict(item: Comparison, family: int, unit: Unit, margin: float | None) -> str:
    """`verdict_at_the_end` for a cell of a table, whose title says what p values are corrected for."""
    word: str = item["verdict"]
    corrected = family > 1 and item["p_holm"] is not None
    p = item["p_holm"] if corrected else item["p"]
    if word not in UNTESTED and p is not None:
        after = " after Holm" * (word == "not shown" and corrected and _excludes_zero(item))
        word += f"{after} ({p_value(p)})"
    if within := _within(item, unit, margin):
        word += f"; {within}"
    return word + ", with a caution (see the notes)" * bool(item.get("caution"))


def verdict_heading(comparison: Comparison, what: str = "verdict") -> str:
    """The head of a column of `brief_verdict`."""
    families = sorted({family_size(comparison, side["name"]) for side in comparison["configurations"][1:]})
    over = " or ".join(map(str, families))
    is_corrected = families and families != [1] and comparison["correction"] == "holm"
    return f"{what} (p after Holm over {over})" if is_corrected else f"{what} (p)"


def _within(item: Comparison, unit: Unit, margin: float | None) -> str:
    """What is shown within the margin, in words; empty for nothing."""
    if margin is None or item.get("equivalent") is None:
        return ""
    size = amount(margin, unit)
    return f"equivalent within {size}" if item["equivalent"] else f"at most {size} worse" * bool(item["at_most_worse"])


def _but(item: Comparison) -> str:
    """The caution that limits a verdict."""
    return f", but {item['caution'].removesuffix('.')}" if item.get("caution") else ""


def _excludes_zero(item: Comparison) -> bool:
    return (item["low"] or 0) > 0 or (item["high"] or 0) < 0


# One paragraph for each configuration


def sentences(comparison: Comparison, names: Sequence[str] | None = None) -> list[str]:
    """A paragraph for each configuration that is compared with the baseline; none where there are many.

    Args:
        names: The configurations; None for all.
    """
    base, *others = configurations(comparison)
    chosen = [configuration for configuration in others if names is None or configuration["name"] in names]
    return [_paragraph(comparison, configuration, base) for configuration in chosen] if len(chosen) <= MANY else []


def _paragraph(comparison: Comparison, configuration: Comparison, base: Comparison) -> str:
    name, family = comparison["metric"], family_size(comparison, configuration["name"])
    unit, last = unit_of(name), configuration["against"]["last"]
    what = "" if comparison["measures"] == [ACCURACY] else f"{measure(name).title} "
    difference = f"{with_interval(last, unit, signed=True)} {unit.of_difference}".rstrip()
    words = verdict_at_the_end(last, family, unit, comparison["margin"])
    parts = [f"{configuration['name']} against {base['name']}, {what}at the end: {difference}: {words}."]
    parts += [_pairing(configuration, unit), _design(comparison, configuration, base), _benchmarks(last)]
    parts.append(no_worse(comparison, configuration))
    if has_race(comparison):
        costs = costs_of(configuration, base)
        savings = "; ".join(_saving(configuration, base, cost, family) for cost in costs)
        parts.append(f"To {goal(comparison)}: {savings}.")
    return " ".join(filter(None, parts))


def _pairing(configuration: Comparison, unit: Unit) -> str:
    """What pairing changed."""
    last = configuration["against"]["last"]
    if not last["paired"]:
        return ""
    own, other = (interval(bounds, unit, signed=True) for bounds in (last, last["unpaired"]))
    unit_name = configuration["unit"]
    return f"Taken {unit_name} by {unit_name} over {last['pairs']} shared {unit_name}s: {own} instead of {other}."


def is_small(comparison: Comparison, configuration: Comparison, base: Comparison) -> bool:
    """Whether a design is so small that the difference that it can see is named."""
    problems: int | None = comparison["problems"]
    return _units(configuration, base) < FEW_SEEDS or (problems is not None and problems <= FEW_PROBLEMS)


def _units(configuration: Comparison, base: Comparison) -> int:
    """The number of pairs, or the smaller number of seeds or starts."""
    pairs: int | None = configuration["against"]["last"].get("pairs")
    return pairs or min(configuration["units"], base["units"])


def _design(comparison: Comparison, configuration: Comparison, base: Comparison) -> str:
    """The smallest difference that a small design can see."""
    last = configuration["against"]["last"]
    if last["detectable"] is None or last["verdict"] in UNTESTED or not is_small(comparison, configuration, base):
        return ""
    size = smallest(last, comparison["metric"])
    units = " or ".join(dict.fromkeys(f"{side['unit']}s" for side in (configuration, base)))
    design = f"{_units(configuration, base)} {units}"
    if problems := comparison["problems"]:
        design += f" and {problems} problem{'s' * (problems > 1)}"
    if size is None:
        return f"With {design} no difference is shown with a power of 80 %."
    return f"The smallest difference that {design} show with a power of 80 % is {size}."


def smallest(last: Comparison, name: str) -> str | None:
    """The smallest difference in a measure that a design can see, in words; None if it is larger than any can be."""
    top, unit = measure(name).top, unit_of(name)
    if top is not None and last["detectable"] > top:
        return None
    return at_least(last["detectable"], unit, decimals(last, unit))


def _benchmarks(last: Comparison) -> str:
    """Whether a verdict hangs on one benchmark."""
    if last["verdict"] in (*UNTESTED, "not shown") or not last["sensitivity"]:
        return ""
    needed = [item["without"] for item in last["sensitivity"] if not _excludes_zero(item)]
    if needed:
        without = "it" if len(needed) == 1 else "any one of these"
        return f"It hangs on {', '.join(needed)}: without {without} the interval includes 0."
    return f"Without any one of the {len(last['sensitivity'])} benchmarks the interval still excludes 0."


def no_worse_claim(comparison: Comparison) -> str:
    """The question whether a configuration is better in the metric, and at most the margin worse in accuracy."""
    better, _ = PLAIN_DIFFERENCE if unit_of(comparison["metric"]) is PLAIN else DIFFERENCE
    size, title = amount(comparison["margin"] or 0.0, unit_of(ACCURACY)), measure(comparison["metric"]).title
    return f"{better} in {title} and at most {size} worse in accuracy"


def no_worse_answer(comparison: Comparison, configuration: Comparison) -> str:
    """yes, no or not shown; empty without a margin or without accuracies beside the metric."""
    if comparison["margin"] is None or ACCURACY not in further_measures(comparison):
        return ""
    gain, loss = (configuration["measures"][name]["against"]["last"] for name in (comparison["metric"], ACCURACY))
    if loss["at_most_worse"] is None:
        return ""
    below = loss["high"] is not None and loss["high"] < -comparison["margin"]
    better, worse = PLAIN_DIFFERENCE if unit_of(comparison["metric"]) is PLAIN else DIFFERENCE
    if gain["verdict"] == better and loss["at_most_worse"]:
        return "yes"
    return "no" if gain["verdict"] == worse or below else "not shown"


def no_worse(comparison: Comparison, configuration: Comparison) -> str:
    """`no_worse_claim` and its answer as a sentence; empty without an answer."""
    if not (answer := no_worse_answer(comparison, configuration)):
        return ""
    gain, loss = (configuration["measures"][name]["against"]["last"] for name in (comparison["metric"], ACCURACY))
    unit, claim = unit_of(ACCURACY), no_worse_claim(comparison)
    difference = f"accuracy {with_interval(loss, unit, signed=True)} {unit.of_difference}"
    return f"{claim[:1].upper()}{claim[1:]}: {answer} ({difference}){_but(gain)}."


def _saving(configuration: Comparison, base: Comparison, cost: str, family: int) -> str:
    own, other = (
        None if side["value"] is None else number(side["value"], COSTS[cost], decimals(side, COSTS[cost]))
        for side in (configuration["to_target"][cost], base["to_target"][cost])
    )
    saved = configuration["to_target"][f"{cost}_saved"]
    if own is None and other is None:
        return f"not reached by either, in {cost}"
    if own is None or other is None:
        amounts = (
            f"not reached, against {other} {cost}" if own is None else f"{own} {cost}, not reached by {base['name']}"
        )
    else:
        amounts = f"{own} against {other} {cost}"
        if saved["value"] is not None:
            amounts += f", saved {with_interval(saved, SAVED)}"
    return f"{amounts}: {verdict(saved, family)}"


def costs_of(*compared: Comparison) -> list[str]:
    """What the race is about: steps, and hours where they were measured until the target for each of these."""
    timed = all(
        side["seconds"]
        and (side["to_target"]["steps"]["value"] is None) >= (side["to_target"]["hours"]["value"] is None)
        for side in compared
    )
    return list(COSTS) if timed else ["steps"]


# Remarks


def remarks(comparison: Comparison) -> list[str]:
    """What holds for the comparison as a whole: whether its order hangs on the choice of benchmarks."""
    halves = comparison["halves"]
    if halves is None:
        return []
    low, high = (halves[end] for end in ("low", "high"))
    return [
        f"Between halves of the benchmarks the order of the configurations has a rank correlation of "
        f"{halves['mean']:.2f} [{low:.2f}, {high:.2f}], over {halves['splits']} divisions into halves; 1 is the same "
        "order, 0 an unrelated one."
    ]


def joined(notes: Sequence[str]) -> list[str]:
    """Sentences, each once: those that differ only by the name at their start are one, with the names and their number.

    Up to three names are listed, then the number of the others.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for note in dict.fromkeys(notes):
        match = ABOUT.fullmatch(note)
        name, rest = (match["name"], match["rest"]) if match else ("", note)
        alike.setdefault(rest, []).append((name, note))
    return [_joined(members) for members in alike.values()]


def _joined(members: list[tuple[str, str]]) -> str:
    (_, note), *others = members
    if not others:
        return note
    if len(others) <= 2:
        return f"{note} The same holds for {' and '.join(name for name, _ in others)}."
    named = ", ".join(name for name, _ in others[:2])
    return f"{note} The same holds for {named} and {len(others) - 2} more ({len(members)} in all)."
