"""Names of metrics: every metric has a title, old names are read, and a method's own diagnostics need no row."""

import json

import pytest

from manypaths import run_folder
from manypaths.methods import ADVANTAGES, REWEIGHTERS
from manypaths.methods.bind import diagnostics_of
from manypaths.names import METRICS, PARTS, RENAMED, REPORTED, SECONDS, current, is_diagnostic, metric, shown_metrics

EARLIER = json.loads(  # a line of metrics.jsonl of commit 5ee801e, some of TRL's metrics left out
    '{"step": 2, "entropy": 5.21, "reward": 0.113, "rewards/accuracy/mean": 0.25, "rewards/diversity/mean": -0.137, '
    '"groups/without_spread": 0.5, "diversity/similarity": 0.0625, "diversity/effective_number": 3.7, '
    '"diversity/share": 0.41, "diversity/lam": 0.53, "seconds/sampling": 0.012, "seconds/update": 0.02, "loss": 0.0}'
)


def test_a_line_of_an_earlier_version_has_todays_names():
    line = current(EARLIER)
    assert (line["groups/zero_std"], line["diversity/vendi_score"]) == (0.5, 3.7)
    assert not RENAMED.keys() & line.keys() and len(line) == len(EARLIER)
    assert {key: line[key] for key in line.keys() & EARLIER.keys()} == {
        key: EARLIER[key] for key in EARLIER if key not in RENAMED
    }
    assert current(line) == line
    for both in (EARLIER | {"groups/zero_std": 0.75}, {"groups/zero_std": 0.75} | EARLIER):
        assert current(both)["groups/zero_std"] == 0.75


def test_the_metrics_of_an_earlier_run_folder_have_todays_names(tmp_path):
    (tmp_path / run_folder.METRICS).write_text(json.dumps(EARLIER) + "\n")
    assert run_folder.read_metrics(tmp_path) == [current(EARLIER)]


def test_todays_names_of_renamed_metrics_are_rows_of_the_table():
    assert set(RENAMED.values()) <= set(METRICS) and not RENAMED.keys() & set(METRICS)


def test_what_is_shown_are_the_rows_of_the_table_and_then_diagnostics():
    logged = ["diversity/zeal", "loss", "seconds/update", "entropy", "diversity/lam", "diversity/similarity"]
    logged += ["rewards/diversity/mean", "diversity/", "diversity", "diversity_2/lam", "entropy"]
    assert shown_metrics(logged) == ["diversity/similarity", "entropy", "diversity/lam", "diversity/zeal"]
    assert shown_metrics(reversed([*METRICS])) == [*METRICS]
    assert [name for name in logged if is_diagnostic(name)] == ["diversity/zeal", "diversity/lam"]


@pytest.mark.parametrize(
    ("name", "title", "heading", "half"),
    [
        ("diversity/vendi_score", "Vendi score", "Vendi score", "0.50"),
        ("groups/zero_std", "zero-variance groups", "Zero-variance groups", "0.50"),
        ("diversity/zeal", "zeal (reported by the method)", "zeal (reported by the method)", "0.50"),
        ("diversity/a/b", "a/b (reported by the method)", "a/b (reported by the method)", "0.50"),
        ("diversity/lam", "lam (MMR: weight on the reward)", "lam (MMR: weight on the reward)", "0.50"),
        ("rewards/accuracy/mean", "accuracy", "Accuracy", "0.50"),
        ("seconds/update", "update", "Update", "0.500"),
        ("loss", "loss", "Loss", "0.50"),
        ("", "", "", "0.50"),
    ],
)
def test_every_metric_has_a_title_and_a_format(name, title, heading, half):
    shown = metric(name)
    assert (shown.title, shown.heading, format(0.5, shown.format)) == (title, heading, half)


def test_every_diagnostic_of_a_shipped_method_has_words_and_no_other_name_has():
    reported = set()
    for role, methods in (("reweight", REWEIGHTERS), ("advantage", ADVANTAGES)):
        for method in methods.values():
            reported.update(diagnostics_of(method, role))
    assert reported == set(REPORTED) and not {f"diversity/{name}" for name in reported} & set(METRICS)


def test_seconds_are_named_after_the_parts_of_a_step():
    assert list(SECONDS) == list(PARTS) and [metric(name).title for name in SECONDS.values()] == list(PARTS)
    assert all(metric(name).unit == "s" for name in SECONDS.values())
