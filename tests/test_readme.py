"""The README: its script runs, its grids can be swept, its tree names every room."""

import re
from pathlib import Path

from manypaths.cli import main
from manypaths.training.sweep import jobs, read_grid

README = Path(__file__).parent.parent / "README.md"


def test_the_script_trains(tiny_model, tmp_path, monkeypatch, capsys):
    script, callbacks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(script.strip().splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    assert len(callbacks.split("\n\n")) == 2 and len(callbacks.strip().splitlines()) == 4
    training = "trainer.train()\n"
    assert script.endswith(training)
    script = script.removesuffix(training) + callbacks + training
    scope = {"MODEL": str(tiny_model), "problems": [{"prompt": "1 + 1 = ", "answer": "2"}]}
    exec(compile(script, str(README), "exec"), scope)
    history = scope["trainer"].state.log_history
    assert scope["trainer"].state.global_step == 2
    assert any("rewards/diversity/mean" in entry for entry in history)
    assert main(["inspect", "runs/groups"]) == 0 and Path("runs/groups/inspect.html").exists()


def test_grids_that_are_shown_can_be_swept(tmp_path):
    (shown,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "grid.yaml").write_text(shown)
    assert [job.name for job in jobs(read_grid(tmp_path / "grid.yaml"))][:2] == ["grpo-1", "mmr-1"]
    assert len(jobs(read_grid(README.parent / "bench" / "sweep.yaml"))) == 35


def test_the_tree_names_every_room():
    text = README.read_text(encoding="utf-8")
    for path in (README.parent / "src" / "manypaths").iterdir():
        name = f"{path.name}/" if (path / "__init__.py").exists() else path.name
        if path.suffix == ".py" or name.endswith("/"):
            assert name == "__init__.py" or f" {name}" in text, f"README.md does not say what {name} is for"


def test_the_line_where_a_method_enters_trl_is_linked():
    (path, line), *_ = re.findall(r"\]\((src/manypaths/trl/trainer\.py)#L(\d+)\)", README.read_text(encoding="utf-8"))
    text = (README.parent / path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    assert "adjust(self.reweight" in text, f"README.md links line {line} of {path}; put the right number there"
