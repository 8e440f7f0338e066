"""The results of lm-evaluation-harness, version 0.4 and later: metrics named `metric,filter`, tasks and groups."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import fmean
from typing import Any

from manypaths.comparison.importers.metric_names import in_lm_eval
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.task_score import Task, score_of
from manypaths.comparison.importers.values import json_lines, printed, share_of
from manypaths.comparison.runs import Score
from manypaths.counts import ACCURACY

OWN = ("n-shot", "n-samples", "group_subtasks", "higher_is_better", "configs")
MODEL = re.compile(r"(?:^|,)(?:pretrained|model|path)=([^,]+)")


def is_lm_eval(content: dict[str, Any]) -> bool:
    """Whether results by task are those of lm-evaluation-harness."""
    names = (name for metrics in content["results"].values() if isinstance(metrics, dict) for name in metrics)
    return "config_general" not in content and (any(key in content for key in OWN) or any("," in key for key in names))


def model_of(content: dict[str, Any]) -> str:
    """The name of the model, empty where the file does not state it."""
    config = content.get("config")
    arguments = config.get("model_args") if isinstance(config, dict) else None
    if isinstance(arguments, str):
        named = MODEL.search(arguments[:10_000])
        arguments = {"model": named[1]} if named else {}
    own = arguments if isinstance(arguments, dict) else {}
    names = (content.get("model_name"), own.get("pretrained"), own.get("model"), own.get("path"))
    return next((name[:1000] for name in names if isinstance(name, str) and name), "")


def scores_of(path: Path, content: dict[str, Any], reading: Reading, notes: list[str]) -> dict[str, Score]:
    """The scores of a file by task. The value of a group counts, and its tasks are not counted again."""
    scores: dict[str, Score] = {}
    groups = content.get("group_subtasks")
    groups = groups if isinstance(groups, dict) else {}
    parts = _members(content["results"], groups)
    for name, metrics in content["results"].items():
        task = _task(path, name, metrics, content)
        if name in parts or (not task.metrics and groups.get(name)):  # of a group without a value the tasks count
            continue
        if scored := score_of(task, in_lm_eval, reading, notes):
            score, taken = scored
            _count_problems(score, name, content, notes)
            scores[printed(name)] = _by_problem(path, name, taken, score, notes)
    if parts:
        names = ", ".join(sorted({printed(group) for group in parts.values()}))
        notes.append(f"Of {names} the value of the group counts; its {len(parts)} tasks are not counted again.")
    return scores


def _members(results: dict[str, Any], groups: dict[str, Any]) -> dict[str, str]:
    """task or group -> the group with a value of its own that contains it."""
    members: dict[str, str] = {}
    for group, tasks in groups.items():
        values = results.get(group)
        has_value = isinstance(values, dict) and any(
            in_lm_eval(name) is not None and type(value) in (int, float) for name, value in values.items()
        )
        if has_value and isinstance(tasks, list):
            members |= {task: group for task in tasks if isinstance(task, str) and task != group and task in results}
    return members


def _task(path: Path, name: str, metrics: Any, content: dict[str, Any]) -> Task:
    """The metrics of a task of which more is better, and their standard errors."""
    values = metrics if isinstance(metrics, dict) else {}
    better = content.get("higher_is_better")
    better = better.get(name) if isinstance(better, dict) else None
    worse = {key for key, more in better.items() if more is False} if isinstance(better, dict) else set()
    numbers: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for key, value in values.items():
        base, _, chosen = key.partition(",")
        if "," not in key or type(value) not in (int, float) or base in worse or key in worse:
            continue
        if base.endswith("_stderr"):
            errors[f"{base.removesuffix('_stderr')},{chosen}"] = value
        else:
            numbers[key] = value
    return Task(path, printed(name), numbers, errors)


def _count_problems(score: Score, name: str, content: dict[str, Any], notes: list[str]) -> None:
    """Record, and note, that only some of the problems were evaluated."""
    samples = content.get("n-samples")
    counts = samples.get(name) if isinstance(samples, dict) else None
    used, there = (counts.get("effective"), counts.get("original")) if isinstance(counts, dict) else (None, None)
    if type(used) is int and type(there) is int and used < there:
        score.sampling["limit"] = used
        notes.append(f"{printed(name)}: only {used} of {there} problems were used.")


def _by_problem(path: Path, name: str, taken: dict[str, str], score: Score, notes: list[str]) -> Score:
    """The score with the accuracy of each problem, where samples_TASK_DATE.jsonl of the same evaluation lies beside."""
    file = path.with_name(f"samples_{name}_{path.stem.removeprefix('results_')}.jsonl")
    mean = score.means.get(ACCURACY)
    if "/" in name or mean is None or set(taken) != {ACCURACY} or not file.is_file():
        return score
    metric, _, chosen = taken[ACCURACY].partition(",")
    lines, broken = json_lines(file)
    rows = [line for line in lines if line.get("filter", "none") == chosen and "doc_id" in line]
    shares = {json.dumps(row["doc_id"]): share_of(_number(row.get(metric)), None) for row in rows}
    if broken or len(shares) < len(rows) or None in shares.values() or not shares:
        notes.append(f"{str(file)!r} is not used, because not every line is one problem with a share as {metric}.")
        return score
    by_problem = {problem: share for problem, share in shares.items() if share is not None}
    if abs(fmean(by_problem.values()) - mean) > 1e-6:
        notes.append(f"{str(file)!r} is not used, because its mean differs from that of the results.")
        return score
    return Score.of_shares(by_problem, score.sampling)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, bool) else value
