"""Published results: the tables of the papers, and MMR-GRPO's headline beside what its table gives."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

from manypaths.tables import markdown

Row = dict[str, Any]  # also a paper: what holds for all its rows, and its `rows`
COST = {"peak_step": "peak step", "hours": "hours", "seconds_per_step": "s/step"}
AGAINST = {"as_in_paper": "DAPO with dynamic sampling", "like_for_like": "DAPO without, like for like"}
READING = """\
Nine pairs: three models with GRPO, Dr. GRPO and DAPO; the two ways differ only in the baseline of MMR-DAPO. Mean of
rows: the mean of nine percentages. Pooled: the steps or hours of the nine runs are summed, so long runs weigh most.

The stated headline is none of these. Its 47.9 % is nearest to the pooled 47.6 % against DAPO with dynamic sampling,
its 70.2 % to the pooled 73.8 % there. In that comparison MMR-DAPO runs without dynamic sampling and DAPO with it, at 4
to 6 times the seconds per step: the time saved is due to both changes. Like for like it is 45.4 % or 57.7 %.

The peak step is chosen on the test sets, out of every 50th or 10th step; one seed, no intervals. The accuracy at these
peaks differs: the mean changes by -0.17 points against DAPO with dynamic sampling, by -0.08 points like for like."""


def tables() -> dict[str, Row]:
    """The results of "mmr-grpo", "dra-grpo" and "rgra" in data/published.json; accuracies are from 0 to 1.

    MMR-GRPO is Table 1 of arXiv 2601.09085, where an MMR row names its baselines, `like_for_like` and `as_in_paper`.
    DRA-GRPO is arXiv 2505.09655, RGRA arXiv 2603.18756.
    """
    return dict(json.loads((files("manypaths") / "data" / "published.json").read_text(encoding="utf-8")))


def rows(model: str | None = None) -> list[Row]:
    """The rows of all papers in one form.

    Args:
        model: Only rows of this model, such as "DeepSeek-R1-Distill-Qwen-7B"; None is all.

    Returns:
        Rows with `paper`, `model`, `method`, `benchmarks` (name to accuracy), `mean`, `mean_of`, `peak_step`, `hours`,
        `seconds_per_step`, `evaluated` and `reported_by`; None where a paper does not report a value.
    """
    return [
        {
            "paper": paper["paper"],
            **{key: row[key] for key in ("model", "method", "mean", "reported_by")},
            "mean_of": paper["mean_of"],
            "evaluated": row.get("evaluated", paper["evaluated"]),
            **{key: row.get(key) for key in COST},
            "benchmarks": dict(zip(paper["benchmarks"], row.get("scores", ()), strict=False)),
        }
        for paper in tables().values()
        for row in paper["rows"]
        if model is None or row["model"].casefold() == model.casefold()
    ]


def near(model_name: str) -> list[Row]:
    """`rows` of the model with this hub id, or in a folder of that name; empty for a model that is in no paper."""
    return rows(Path(model_name).name)


def pairs(paper: Row, against: str) -> list[tuple[Row, Row]]:
    """The nine (MMR row, baseline row) of MMR-GRPO's table; `against` is "like_for_like" or "as_in_paper"."""
    by_name = {(row["model"], row["method"]): row for row in paper["rows"]}
    return [(row, by_name[row["model"], row[against]]) for row in paper["rows"] if against in row]


def less(row: Row, base: Row, key: str) -> float:
    """The share of "peak_step", "hours" or "seconds_per_step" that a row saves against its baseline row."""
    return 1 - float(row[key] / base[key])


def savings(paper: Row, against: str) -> dict[str, tuple[float, float]]:
    """The shares of (steps, hours) saved in MMR-GRPO's table, as the "mean of rows" and "pooled", of the sums."""
    paired = pairs(paper, against)
    sums, base_sums = ({key: sum(pair[side][key] for pair in paired) for key in COST} for side in (0, 1))
    return {
        "mean of rows": (
            fmean(less(*pair, "peak_step") for pair in paired),
            fmean(less(*pair, "hours") for pair in paired),
        ),
        "pooled": (less(sums, base_sums, "peak_step"), less(sums, base_sums, "hours")),
    }


def accuracy_change(paper: Row, against: str) -> float:
    """The change of the mean accuracy in MMR-GRPO's table, from -1 to 1: the mean over the nine pairs."""
    return fmean(row["mean"] - base["mean"] for row, base in pairs(paper, against))


def page() -> str:
    """The results of the three papers, and MMR-GRPO's headline beside what its Table 1 gives, as Markdown."""
    mmr, dra, rgra = tables().values()
    parts = ["# Published numbers\n\nAccuracies are in percent.", *_mmr(mmr), *_dra(dra), *_rgra(rgra), *_headline(mmr)]
    return "\n\n".join(parts) + "\n"


def _mmr(paper: Row) -> list[str]:
    compared = pairs(paper, "as_in_paper")
    compared += [pair for pair in pairs(paper, "like_for_like") if pair not in compared]
    cells = [["", "", "against", "fewer steps", "less time", "mean, points", "s/step"]]
    for row, base in sorted(compared, key=lambda pair: paper["rows"].index(pair[0])):
        saved = [_percent(less(row, base, key)) for key in ("peak_step", "hours")]
        change = [f"{100 * (row['mean'] - base['mean']):+.1f}", f"{-100 * less(row, base, 'seconds_per_step'):+.1f} %"]
        cells.append([row["model"].rsplit("-", 1)[1], row["method"], base["method"], *saved, *change])
    lead = "Each method to its own peak step; a negative saving is a loss:"
    return [_title(paper), *_results(paper, COST), lead, markdown(cells)]


def _dra(paper: Row) -> list[str]:
    note = """\
With one sample per problem, one problem of AIME24 is 3.3 points of its column. The base row is that of MMR-GRPO's
table and not of one sample: 28.8 % is no whole number of 30 problems. Of the empty rows the paper has only the mean."""
    return [_title(paper), *_results(paper, {"reported_by": "reported by"}), note]


def _rgra(paper: Row) -> list[str]:
    cells: dict[str, list[str]] = {"": list(dict.fromkeys(row["model"] for row in paper["rows"]))}
    for row in paper["rows"]:
        cells.setdefault(row["method"], []).append(f"{100 * row['scores'][0]:.1f} ({100 * row['mean']:.1f})")
    lead = f"{paper['benchmarks']['gsm8k']}, and in brackets the mean of {paper['mean_of']}:"
    note = "The paper gives no seeds, epochs or clip range, and not how often GRPO reused its completions."
    return [_title(paper), lead, markdown([[method, *shares] for method, shares in cells.items()]), note]


def _headline(paper: Row) -> list[str]:
    stated = [_percent(paper["headline"][key]) for key in ("peak_step", "hours")]
    cells = [["", "fewer steps", "less time", "mean, points"], ["as the paper states it", *stated, ""]]
    for against, name in AGAINST.items():
        change = f"{100 * accuracy_change(paper, against):+.2f}"
        cells += [[f"{name}: {way}", *map(_percent, saved), change] for way, saved in savings(paper, against).items()]
    return ["## MMR-GRPO: the headline, and what the table gives", markdown(cells), READING]


def _title(paper: Row) -> str:
    return f"## {paper['paper']}: {paper['source']}\n\nEvaluation: {paper['evaluated']}."


def _results(paper: Row, more: dict[str, str]) -> list[str]:
    """A table of accuracies for each model, with a column for each field in `more` (field -> title)."""
    cells = {row["model"]: [["", *paper["benchmarks"].values(), "mean", *more.values()]] for row in paper["rows"]}
    for row in paper["rows"]:
        scores = [f"{100 * score:.1f}" for score in row.get("scores", ())] or [""] * len(paper["benchmarks"])
        others = ["" if key not in row else f"{row[key]:.2f}" if key == "hours" else str(row[key]) for key in more]
        cells[row["model"]].append([row["method"], *scores, f"{100 * row['mean']:.1f}", *others])
    return [f"{model}\n\n{markdown(rows)}" for model, rows in cells.items()]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
