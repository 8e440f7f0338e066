"""The README: its script runs, its picture is what the code computes, its tree names every room."""

import re
import runpy
from pathlib import Path

from manypaths.cli import main

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


def test_the_first_page_of_the_site_shows_five_lines_that_make_a_trainer(tiny_model, tmp_path, monkeypatch):
    (lines,) = re.findall(r"```python\n(.*?)```", (README.parent / "docs" / "index.md").read_text("utf-8"), re.DOTALL)
    assert len(lines.replace("\n\n", "\n").splitlines()) == 5
    script, _ = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope = {"MODEL": str(tiny_model)}
    exec(compile(script.removesuffix("trainer.train()\n") + lines, str(README), "exec"), scope)
    assert type(scope["trainer"]).__name__ == "DiverseGRPOTrainer" and scope["trainer"].reweight is not None


def test_the_readme_is_short_and_shows_the_picture_that_is_drawn():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
    picture = runpy.run_path(str(README.parent / "bench" / "picture.py"))
    assert picture["PATH"].read_text("utf-8") == picture["svg"](), "run: python bench/picture.py --write"
    tutorial = (README.parent / "docs" / "tutorials" / "1-explain-one-group.md").read_text("utf-8")
    texts = [text.replace("\\", "\\\\") for text, _, _ in picture["COMPLETIONS"]]
    assert all(f'    "{text}",\n' in tutorial for text in texts), "the picture shows the group of the tutorial"


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
