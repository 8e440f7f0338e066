"""The evaluations of a run, where their accuracy can be compared with that of the first steps of its training."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manypaths import results, run_folder
from manypaths.counts import Counts
from manypaths.files import read_json
from manypaths.printable import shown
from manypaths.problems import MADE

ACCURACY = "accuracy"  # the reward that grades as an evaluation does
BEFORE = "before"
WHICH = ("count", "seed", "held_out")  # options of a set that say which problems it has, and not of what kind they are
MOST_TRUNCATED = 0.05  # of the completions of an evaluation with a shorter limit than the training

NONE = "The log has no evaluation before the training."
OF_SCRIPT = (
    "The run is of a script, which does not record its problems, so whether the evaluation before the training has "
    "problems of the same kind is unknown."
)
Decoding = Mapping[str, float | bool]


@dataclass(frozen=True)
class HeldOut:
    """How often held-out problems were solved, before the training and later.

    Args:
        shares: {step: of each problem, the share of its completions that are right}; step 0 is before the training.
        sampling: how the evaluation sampled, where that raises its accuracy as a rule: words that end a sentence; else
            empty.
        all_groups: whether the training recorded groups as it sampled them, and not groups that a rule chose.
    """

    shares: Mapping[int, tuple[float, ...]]
    sampling: str = ""
    all_groups: bool = True


def read_held_out(run: Path, content: Mapping[str, Any], decoding: Decoding, limit: int | None) -> HeldOut:
    """The evaluations of a run.

    Args:
        run: the folder of the run.
        content: its recipe.
        decoding: how the training samples, by the names of `manypaths.check.settings`.
        limit: tokens at which the training cuts a completion off; None if unknown.

    Raises:
        ValueError: there is none before the training, one is damaged, or their accuracy cannot be compared with that of
            the training; the message is a sentence.
        OSError: a file cannot be read.
    """
    evaluation = content.get("evaluation")
    summary = read_json(run / run_folder.EVALUATION / run_folder.SUMMARY)
    measures = summary.get(BEFORE)
    if not isinstance(measures, dict):
        raise ValueError(NONE)
    if not run_folder.is_run(run):
        raise ValueError(OF_SCRIPT)
    if not isinstance(evaluation, dict):
        raise ValueError(NONE)
    if ACCURACY not in _section(content, "rewards"):
        raise ValueError("The training has no reward accuracy, which grades as the evaluation does.")
    if _section(content, "history").get("target") is not None:
        raise ValueError("The training chose its prompts by their rewards (history.target).")
    _check_kind(_section(content, "problems"), _section(evaluation, "problems"))
    sampled = {**evaluation, **read_json(run / run_folder.EVALUATION / run_folder.SETTINGS)}
    _check_limit(limit, sampled.get("max_new_tokens"), measures.get("truncated"))
    words = _sampling(decoding, _number(sampled, "temperature", 0.0), _number(sampled, "top_p", 1.0))
    is_dynamic = _section(content, "dynamic_sampling").get("reward") is not None
    return HeldOut(_by_step(run, summary, evaluation["problems"]["name"]), words, not is_dynamic)


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = content.get(name)
    if section is None:
        return {}
    if not isinstance(section, dict):
        raise ValueError(f"The settings of the run are damaged: {name} must have keys, got {shown(section)}.")
    return section


def _number(settings: Mapping[str, Any], name: str, default: float) -> float:
    value = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"The settings of the evaluation are damaged: {name} must be a number, got {shown(value)}.")
    return float(value)


def _check_kind(training: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    """Raise ValueError unless both sets have one name, and where they are made the same options but for `WHICH`."""
    names = training.get("name"), evaluation.get("name")
    if not all(isinstance(name, str) for name in names):
        raise ValueError("The settings of the run do not name its problems.")
    if names[0] != names[1]:
        raise ValueError(
            f"The training has problems of {shown(names[0])} and the evaluation of {shown(names[1])}, which may be of "
            "different difficulty."
        )
    own, theirs = (_kind(names[0], _section(section, "options")) for section in (training, evaluation))
    differing = sorted(name for name in {*own, *theirs} if own.get(name) != theirs.get(name))
    if differing:
        raise ValueError(
            f"The problems of the training and of the evaluation differ in {', '.join(map(shown, differing[:3]))}, "
            "so they may be of different difficulty."
        )


def _kind(name: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a set that say of what kind its problems are, with the defaults of a set that is made."""
    parameters = inspect.signature(MADE[name]).parameters.values() if name in MADE else ()
    defaults = {entry.name: entry.default for entry in parameters if entry.default is not entry.empty}
    kind = {**defaults, **options}
    return {
        option: list(value) if isinstance(value, tuple) else value
        for option, value in kind.items()
        if option not in WHICH
    }


def _check_limit(limit: int | None, most: object, truncated: object) -> None:
    """Raise ValueError where the evaluation cut completions off that the training may have let go on."""
    if not isinstance(truncated, int | float) or not truncated > MOST_TRUNCATED:
        return
    if limit is None or not isinstance(most, int) or most < limit:
        raise ValueError(
            f"The evaluation cut {truncated:.0%} of its completions off, at a limit that is or may be below that of "
            "the training."
        )


def _sampling(decoding: Decoding, temperature: float, top_p: float) -> str:
    """Words for an evaluation that samples cooler than the training. Raises ValueError for one that samples hotter."""
    own, own_top_p = float(decoding.get("temperature", 1.0)), float(decoding.get("top_p", 1.0))
    ours, theirs = _in_words(own, own_top_p), _in_words(temperature, top_p)
    narrow = decoding.get("top_k", 0) > 0 or decoding.get("min_p", 0.0) > 0
    if temperature and (own < temperature or own_top_p < top_p or narrow):
        more = " and a top_k or min_p" if narrow else ""
        raise ValueError(
            f"The training samples with {ours}{more}, and the evaluation with {theirs}, which alone may make the "
            "training more accurate."
        )
    if temperature < own or top_p < own_top_p:
        return f"; the evaluation samples with {theirs} and the training with {ours}, which as a rule favours the first"
    return ""


def _in_words(temperature: float, top_p: float) -> str:
    words = f"temperature {temperature:.3g}" if temperature else "temperature 0 (greedy)"
    return words if top_p == 1 else f"{words} and top_p {top_p:.3g}"


def _by_step(run: Path, summary: Mapping[str, Any], name: str) -> dict[int, tuple[float, ...]]:
    """{step: the share of right completions of each problem} of the evaluations, step 0 for the one before."""
    folder = run / run_folder.EVALUATION
    counts, shares = read_json(folder / run_folder.COUNTS), read_json(folder / results.SHARES)
    by_step = {}
    for moment, measures in summary.items():
        step = 0 if moment == BEFORE else measures.get("step")
        own, old = counts.get(moment, {}), shares.get(moment, {})
        if isinstance(step, int) and (own or old or step == 0):
            by_step[step] = tuple(
                _share(value)
                for set_name in own or old or [name]
                for value in results.counted(folder, moment, own.get(set_name), old.get(set_name, {})).values()
            )
    return by_step


def _share(value: Counts | float) -> float:
    share = value.right / value.samples if isinstance(value, Counts) else float(value)
    if not 0 <= share <= 1:
        raise ValueError(f"The evaluation is damaged: a share must be from 0 to 1, got {share}.")
    return share
