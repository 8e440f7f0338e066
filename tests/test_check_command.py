"""`manypaths check` of a run: its exit status, its output, and the same findings on the page of the run."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from manypaths.check.diagnosis import TITLES
from manypaths.cli import main
from manypaths.training import inspect_page
from manypaths.training.inspect_page import write_page

STEPS, SIZE = 20, 4
HOSTILE = "</script>\x1b[31m\u202e"


def run_folder(path: Path, *, flat: bool, reward: str = "accuracy") -> Path:
    """A run of two groups a step; where `flat`, nothing is right in the last half."""
    path.mkdir()
    draw = random.Random(0)
    lines = []
    for step in range(1, STEPS + 1):
        for number in range(2):
            right = [0.0 if flat and step > STEPS // 2 else float(place < 2) for place in range(SIZE)]
            completions = [
                {"text": f"{step} {number} {place} {draw.random()}", "rewards": {reward: value}, "raw": value}
                for place, value in enumerate(right)
            ]
            lines.append(
                {"step": step, "group": number, "prompt": f"{step}.{number} {HOSTILE}", "completions": completions}
            )
    metrics = [{"step": step, "completions/clipped_ratio": 0.02} for step in range(1, STEPS + 1)]
    for name, entries in (("groups", lines), ("metrics", metrics)):
        (path / f"{name}.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    recipe = "method: {correct: accuracy}\ntrainer: {temperature: 0.7, max_completion_length: 16}\n"
    (path / "recipe.yaml").write_text(recipe)
    return path


def test_the_exit_status_says_whether_something_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(run_folder(tmp_path / "sound", flat=False))]) == 0
    output = capsys.readouterr().out
    assert "0 of 8 checks found something" in output and "FOUND" not in output and "at 16 tokens" in output
    assert main(["check", str(run_folder(tmp_path / "flat", flat=True))]) == 1
    output = capsys.readouterr().out
    assert "FOUND: zero-variance groups" in output and "20 all wrong, 0 all right" in output
    assert "Groups: step 20 group 1; step 20 group 0;" in output and "1 of 8 checks found something" in output
    assert "not checkable: entropy beside diversity" in output


def test_json_has_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(run_folder(tmp_path / "flat", flat=True)), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in data["checks"]}
    assert list(checks) == list(TITLES) and data["groups"] == 2 * STEPS
    flat = checks["flat"]
    assert flat["state"] == "found" and flat["figure"]["value"] == 1 and flat["figure"]["low"] > 0.8
    assert flat["groups"][0] == {"step": STEPS, "group": 1} and flat["advice"]
    assert checks["entropy"]["figure"] is None and checks["entropy"]["state"] == "not checkable"


@pytest.mark.parametrize("content", [None, "not a log", '{"step": 1}\n'])
def test_what_is_no_log_is_refused(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.jsonl"
    if content is not None:
        path.write_text(content)
    assert main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("manypaths check: ") and str(path) in error and error.count("\n") == 1


def test_the_metrics_of_a_trainer_are_checked_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def history(steps: int) -> str:
        lines = [{"step": step, "frac_reward_zero_std": 0.9, "completions/clipped_ratio": 0.5} for step in range(steps)]
        return json.dumps({"log_history": [*lines, {"step": steps - 1, "train_loss": 0.1}]})

    for steps in (4, 20, 12):
        (tmp_path / f"checkpoint-{steps}").mkdir()
        (tmp_path / f"checkpoint-{steps}" / "trainer_state.json").write_text(history(steps))
    assert main(["check", str(tmp_path), "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in data["checks"]}
    assert {name for name in states if states[name] == "found"} == {"flat", "cut off"} and "no groups" in data["notes"][
        0
    ]
    assert "steps 10 to 19" in data["checks"][0]["sentence"]
    few = tmp_path / "checkpoint-4" / "trainer_state.json"
    assert main(["check", str(few)]) == 0
    assert "8 not checkable" in capsys.readouterr().out
    lines = ("[{}]", "3", '[{"step": "x"}]', '[{"step": 1e400}]', '[{"step": null}]')
    for content in ("{", "{}", *(f'{{"log_history": {history}}}' for history in lines)):
        few.write_text(content)
        assert main(["check", str(few)]) == 2
        error = capsys.readouterr().err
        assert str(few) in error and "damaged" in error and error.count("\n") == 1


def test_groups_come_before_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "flat", flat=True)
    (run / "trainer_state.json").write_text('{"log_history": []}')
    (run / "recipe.yaml").unlink()
    assert main(["check", str(run)]) == 1
    assert "40 groups" in capsys.readouterr().out


def page_data(page: Path) -> Any:
    text = page.read_text("utf-8")
    return json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_the_page_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run", flat=True)
    main(["check", str(run), "--json"])
    data = page_data(write_page(run))
    assert data["checks"] == json.loads(capsys.readouterr().out)["checks"] and data["unchecked"] is None
    shown = {(group["step"], group["group"]) for group in data["groups"]}
    assert all((at["step"], at["group"]) in shown for check in data["checks"] for at in check["groups"])


def test_a_page_without_checks_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_folder(tmp_path / "run", flat=True)
    (run / "recipe.yaml").write_text("- \x1b")
    data = page_data(write_page(run))
    assert data["checks"] == [] and "recipe.yaml" in data["unchecked"] and data["unchecked"].isprintable()
    monkeypatch.setattr(inspect_page, "LARGEST", 1000)
    assert "too large" in page_data(write_page(run))["unchecked"]
