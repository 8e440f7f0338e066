"""The wheel in an environment of its own: the commands that a person runs first, from a folder outside the clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("manypaths")
CLONE = Path(__file__).parents[2]
TWO_STEPS = {
    "model.dtype": "float32",
    "prompt": "'{question} '",
    "trainer.per_device_train_batch_size": 8,
    "trainer.num_generations": 4,
    "trainer.max_completion_length": 8,
    "trainer.max_steps": 2,
    "trainer.use_cpu": "true",
    "trainer.bf16": "false",
    "embedder.name": "ngram",
    "problems.options.count": 8,
    "evaluation.problems.options.count": 4,
    "evaluation.max_new_tokens": 4,
}


def manypaths(*words: str | Path, cwd: Path) -> str:
    """Run a command -> its stdout."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([SCRIPT, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of two steps."""
    folder = tmp_path_factory.mktemp("outside")
    overrides = [f"{key}={value}" for key, value in TWO_STEPS.items()]
    words = ("smollm2-135m", "grpo", "mmr", "arithmetic", f"model.name={tiny_model}", *overrides)
    manypaths("train", *words, "--out", "run", cwd=folder)
    return folder / "run"


def test_the_package_is_the_installed_one(tmp_path: Path) -> None:
    where = [sys.executable, "-c", "import manypaths; print(manypaths.__file__)"]
    file = Path(subprocess.run(where, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.strip())
    assert file.is_relative_to(sys.prefix) and not file.is_relative_to(CLONE / "src")


def test_recipes_are_listed(tmp_path: Path) -> None:
    assert "methods/mmr" in manypaths("recipes", cwd=tmp_path).split()
    assert "reweight: mmr" in manypaths("recipes", "smollm2-135m", "grpo", "mmr", "arithmetic", cwd=tmp_path)


def test_a_shipped_grid_is_listed(tmp_path: Path) -> None:
    lines = manypaths("sweep", "diversity", "--dry-run", cwd=tmp_path).splitlines()
    assert len(lines) == 5 + 15 and lines[0].startswith("open     starts/colouring/1: manypaths pretrain tiny-0.2m")


def test_two_steps_of_training_leave_groups_weights_and_accuracies(run: Path) -> None:
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert max(line["step"] for line in metrics) == 2
    assert {json.loads(line)["step"] for line in (run / "groups.jsonl").read_text("utf-8").splitlines()} == {1, 2}
    assert list((run / "model").iterdir())
    assert json.loads((run / "summary.json").read_text("utf-8"))


def test_the_pages_of_a_run_and_of_a_comparison(run: Path) -> None:
    manypaths("inspect", run, "--out", "groups.html", cwd=run.parent)
    assert "</html>" in (run.parent / "groups.html").read_text("utf-8")
    manypaths("compare", run, "--out", "comparison", cwd=run.parent)
    assert any(path.suffix == ".html" for path in (run.parent / "comparison").iterdir())


def test_a_run_and_a_log_of_another_trainer_are_explained(run: Path, tmp_path: Path) -> None:
    manypaths("explain", run, "--method", "mmr", "--method", "dra", "--out", tmp_path / "run.html", cwd=tmp_path)
    texts = ("3 + 4 = \\boxed{7}", "4 + 3 = \\boxed{7}", "3 + 4 = \\boxed{6}", "\\boxed{7}")
    rows = [{"prompt": "3 + 4 = ", "completion": text, "reward": float("7}" in text)} for text in texts]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = manypaths("explain", "log.jsonl", "--correct", "reward", cwd=tmp_path)
    assert "mmr" in table and "dra" in table
    for page in ("run.html", "log.explain.html"):
        assert "</html>" in (tmp_path / page).read_text("utf-8")


def test_a_run_is_checked(run: Path, tmp_path: Path) -> None:
    done = subprocess.run([SCRIPT, "check", run], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1) and done.stdout and not done.stderr
