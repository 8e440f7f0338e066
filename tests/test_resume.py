"""A run that is stopped, damaged or finished and then resumed equals an uninterrupted run."""

import gc
import json
import math
import os
import shutil
import subprocess
import sys
import weakref
import zipfile
from pathlib import Path

import pytest
import yaml
from kill_points import contents, differing, without_clock

from manypaths.checkpoint import damaged_file
from manypaths.cli import main
from manypaths.environment import commit
from manypaths.files import only_writer, read_json, read_jsonl
from manypaths.recipe import read
from manypaths.resume import last_checkpoint
from manypaths.training import run as runs
from manypaths.training.record import Recorder

STEPS = 4


@pytest.fixture(scope="module")
def recipe(tiny_model, tmp_path_factory):
    """A recipe of four steps with a constant learning rate, so that an extra step would change the weights."""
    content = {
        "model": {"name": str(tiny_model), "dtype": "float32"},
        "lora": {"r": 2, "target_modules": ["q_proj", "v_proj"], "lora_dropout": 0.1},
        "problems": {"name": "arithmetic", "options": {"count": 40, "seed": 1}},
        "prompt": "{question} ",
        "rewards": {"test_run.letters": 1.0},
        "method": {"reweight": "mmr"},
        "trainer": {
            "num_generations": 4,
            "per_device_train_batch_size": 4,
            "max_completion_length": 4,
            "max_steps": STEPS,
            "save_steps": 2,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "bf16": False,
            "use_cpu": True,
            "disable_tqdm": True,
        },
        "evaluation": {
            "problems": {"name": "arithmetic", "options": {"count": 4, "seed": 2, "held_out": True}},
            "max_new_tokens": 2,
            "batch_size": 2,
            "every": 1,
        },
    }
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def uninterrupted(recipe, tmp_path_factory):
    """A run from its start to its end."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    assert main(["train", str(recipe), "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copy(uninterrupted, tmp_path):
    """A copy without model/ and summary.json, as if it had been stopped after its last checkpoint."""
    shutil.copytree(uninterrupted, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "model")
    (tmp_path / "copy" / "summary.json").unlink()
    return tmp_path / "copy"


def test_stopped_at_any_moment_a_run_ends_as_if_it_had_not_been(recipe, tmp_path):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, str(here / "kill_points.py"), str(recipe), str(tmp_path / "runs"), "--moments", "6"]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failures"] == {} and sum(report["moments"].values()) > 200
    assert report["tried"].keys() == report["moments"].keys()  # each kind of moment; more by hand, with --moments 100


def test_what_a_writer_that_was_killed_left_is_no_content(recipe, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".recipe.yaml.0123456789abcdef.partial").write_text("model:")
    runs.prepare(read([str(recipe)]), folder)
    (folder / "recipe.yaml").rename(folder / "notes")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        runs.prepare(read([str(recipe)]), folder)


def test_a_finished_training_that_is_resumed_trains_nothing(recipe, uninterrupted, copy, capsys):
    before = {name: (copy / name).read_bytes() for name in ("metrics.jsonl", "groups.jsonl")}
    assert main(["train", str(recipe), "--out", str(copy)]) == 0
    assert "step " not in capsys.readouterr().out
    assert before == {name: (copy / name).read_bytes() for name in before}
    assert differing(contents(uninterrupted), contents(copy)) == []


def test_a_finished_training_of_several_epochs_trains_nothing_either(recipe, tmp_path):
    words = ["trainer.max_steps=-1", "trainer.num_train_epochs=2", "problems.options.count=2", "evaluation=null"]
    words += ["trainer.save_strategy=epoch", "--out", str(tmp_path / "run")]
    assert main(["train", str(recipe), *words]) == 0
    expected = contents(tmp_path / "run")
    assert expected["steps"] == STEPS
    shutil.rmtree(tmp_path / "run" / "model")
    assert main(["train", str(recipe), *words]) == 0
    assert differing(expected, contents(tmp_path / "run")) == []


FILES = ("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
DAMAGE = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "empty": lambda path: os.truncate(path, 0),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize(
    "settings",
    [
        {"save_strategy": "epoch", "num_iterations": 2},
        {"save_strategy": "epoch", "gradient_accumulation_steps": 2},
        {"save_steps": 5},
    ],
    ids=str,
)
def test_a_run_resumed_in_a_later_epoch_ends_as_if_it_had_not_been_stopped(settings, recipe, tmp_path):
    settings = {"max_steps": -1, "num_train_epochs": 4, **settings}
    words = [f"trainer.{name}={value}" for name, value in settings.items()]
    words += ["problems.options.count=3", "evaluation=null"]
    uninterrupted, stopped = tmp_path / "uninterrupted", tmp_path / "stopped"
    assert main(["train", str(recipe), *words, "--out", str(uninterrupted)]) == 0
    shutil.copytree(uninterrupted, stopped)
    shutil.rmtree(stopped / "model")
    (stopped / "summary.json").unlink()
    steps = sorted(int(path.name.split("-")[1]) for path in stopped.glob("checkpoints/checkpoint-*"))
    for step in steps[1:]:
        shutil.rmtree(stopped / "checkpoints" / f"checkpoint-{step}")
    assert main(["train", "--out", str(stopped)]) == 0
    assert differing(contents(uninterrupted), contents(stopped)) == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_before_a_damaged_checkpoint_the_one_before_it_is_used(name, damage, uninterrupted, tmp_path):
    shutil.copytree(uninterrupted / "checkpoints", tmp_path / "checkpoints")
    DAMAGE[damage](tmp_path / "checkpoints" / "checkpoint-4" / name)
    sentences = []
    last = last_checkpoint(tmp_path, sentences.append)
    assert (last.step, last.finished) == (2, False)
    (sentence,) = sentences
    assert "checkpoint-4 cannot be resumed from" in sentence and name in sentence
    assert ("is missing" if damage == "missing" else "is damaged") in sentence and "\n" not in sentence
    DAMAGE[damage](tmp_path / "checkpoints" / "checkpoint-2" / name)
    assert last_checkpoint(tmp_path, sentences.append) is None and "checkpoint-2 cannot be resumed from" in sentences[1]
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))
    kept = name != "trainer_state.json"  # else it was stopped while it was written
    assert len(list((tmp_path / "checkpoints").glob("damaged-*"))) == 2 * kept


def test_one_flipped_byte_of_an_optimizer_is_damage(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted / "checkpoints" / "checkpoint-4", tmp_path / "checkpoint-4")
    assert damaged_file(tmp_path / "checkpoint-4") is None
    path = tmp_path / "checkpoint-4" / "optimizer.pt"
    with zipfile.ZipFile(path) as archive:
        tensor = archive.read(max(archive.infolist(), key=lambda member: member.file_size))
    content = bytearray(path.read_bytes())
    content[content.index(tensor)] ^= 1
    path.write_bytes(content)
    assert damaged_file(tmp_path / "checkpoint-4").startswith("optimizer.pt is damaged")


@pytest.mark.parametrize("damaged", [["checkpoint-4"], ["checkpoint-4", "checkpoint-2"]])
def test_a_run_whose_checkpoints_are_damaged_ends_as_if_they_were_not(damaged, recipe, uninterrupted, copy, capsys):
    for name in damaged:
        DAMAGE["cut"](copy / "checkpoints" / name / "optimizer.pt")
    assert main(["train", str(recipe), "--out", str(copy)]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name} cannot be resumed from: optimizer.pt is damaged" in printed for name in damaged)
    assert f"step {3 if len(damaged) == 1 else 1}/4" in printed
    assert differing(contents(uninterrupted), contents(copy)) == []


def test_checkpoints_of_weights_alone_are_refused(uninterrupted, tmp_path):
    shutil.copytree(uninterrupted / "checkpoints", tmp_path / "checkpoints")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (tmp_path / "checkpoints" / "checkpoint-4" / name).unlink()
    with pytest.raises(ValueError, match=r"holds weights alone \(trainer\.save_only_model\)"):
        last_checkpoint(tmp_path)
    assert (tmp_path / "checkpoints" / "checkpoint-4").exists()


@pytest.mark.parametrize("name", ["metrics.jsonl", "groups.jsonl", "evaluation/summary.json", "evaluation/counts.json"])
def test_a_damaged_file_of_a_run_is_named_in_one_sentence(name, recipe, copy, capsys):
    DAMAGE["cut"](copy / "checkpoints" / "checkpoint-4" / "optimizer.pt")  # so that all of them are read
    if name.endswith("l"):
        (copy / name).write_bytes(b"\0\0\n" + (copy / name).read_bytes())
    else:
        DAMAGE["cut"](copy / name)
    assert main(["train", str(recipe), "--out", str(copy)]) == 2
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("manypaths train: ") and str(copy / name) in complaint and "is damaged (" in complaint


def test_metrics_that_end_before_the_checkpoint_are_refused(recipe, copy, capsys):
    path = copy / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert main(["train", str(recipe), "--out", str(copy)]) == 2
    assert f"{path} must reach step 4, of which there is a checkpoint, got 3" in capsys.readouterr().err
    path.unlink()
    assert main(["train", str(recipe), "--out", str(copy)]) == 2
    assert "got 0: lines are lost" in capsys.readouterr().err
    assert (copy / "checkpoints" / "checkpoint-4").exists()


def test_damaged_weights_of_a_finished_run_are_named(recipe, uninterrupted, copy, capsys):
    shutil.copytree(uninterrupted / "model", copy / "model")
    DAMAGE["cut"](copy / "model" / "adapter_model.safetensors")
    for name in ("summary.json", "counts.json"):
        kept = {when: own for when, own in read_json(copy / "evaluation" / name).items() if when != "after"}
        (copy / "evaluation" / name).write_text(json.dumps(kept))
    assert main(["train", str(recipe), "--out", str(copy)]) == 2
    assert "could not be loaded: adapter_model.safetensors is damaged" in capsys.readouterr().err


def test_a_second_command_in_one_folder_is_refused(recipe, uninterrupted, capsys):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    with only_writer(uninterrupted):
        assert main(["train", str(recipe), "--out", str(uninterrupted)]) == 2
    assert f"{str(uninterrupted)!r} is in use by another command. Wait until that" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    assert {path.name for path in before if before[path] != after[path]} <= {".lock"} and before.keys() == after.keys()


@pytest.mark.parametrize("word", ["logging_steps=3", "logging_steps=9", "logging_strategy=epoch"])
def test_logging_every_so_many_steps_changes_no_figure(word, recipe, uninterrupted, tmp_path):
    folder = tmp_path / "run"
    assert main(["train", str(recipe), f"trainer.{word}", "--out", str(folder)]) == 0
    expected, content = contents(uninterrupted), contents(folder)
    assert set(differing(expected, content)) == {"metrics.jsonl", "recipe.yaml"}
    fine, coarse = (read_jsonl(run / "metrics.jsonl") for run in (uninterrupted, folder))
    assert coarse[-1]["step"] == STEPS and len(coarse) < len(fine)
    before = 0
    for line in coarse:  # a line holds means over the steps since the line before
        for key in ("loss", "reward", "diversity/similarity"):
            over = [step[key] for step in fine if before < step["step"] <= line["step"]]
            assert line[key] == pytest.approx(sum(over) / len(over), rel=1e-4, abs=1e-6), key
        before = line["step"]


def slow(completions, **_):
    import time

    time.sleep(0.1)
    return [float(sum(map(ord, text)) % 7) for text in completions]


def test_the_seconds_of_a_run_are_those_that_were_spent(recipe, tmp_path):
    words = ["rewards={test_resume.slow: 1.0}", "trainer.logging_steps=2", "evaluation=null"]
    assert main(["train", str(recipe), *words, "--out", str(tmp_path / "run")]) == 0
    assert read_json(tmp_path / "run" / "summary.json")["seconds"]["rewards"] > STEPS * 0.1


def test_a_run_stopped_between_two_lines_of_metrics_ends_as_if_it_had_not_been(recipe, tmp_path):
    words = ["trainer.logging_steps=3", "trainer.max_steps=6", "evaluation=null"]
    assert main(["train", str(recipe), *words, "--out", str(tmp_path / "uninterrupted")]) == 0
    shutil.copytree(tmp_path / "uninterrupted", tmp_path / "stopped")
    shutil.rmtree(tmp_path / "stopped" / "model")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "stopped" / "checkpoints" / f"checkpoint-{step}")
    assert main(["train", str(recipe), *words, "--out", str(tmp_path / "stopped")]) == 0
    assert differing(contents(tmp_path / "uninterrupted"), contents(tmp_path / "stopped")) == []


def test_the_evaluation_at_the_end_holds_one_model(recipe, tmp_path, monkeypatch):
    trainers, alive = [], []

    class Watched(runs.DiverseGRPOTrainer):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            trainers.append((weakref.ref(self), weakref.ref(self.model)))

    measure = runs._measure

    def watched(plan, when, *more):
        if when == "after":
            alive.extend(reference() is not None for pair in trainers for reference in pair)
        return measure(plan, when, *more)

    monkeypatch.setattr(runs, "DiverseGRPOTrainer", Watched)
    monkeypatch.setattr(runs, "_measure", watched)
    gc.disable()
    try:
        assert main(["train", str(recipe), "evaluation.every=null", "--out", str(tmp_path / "run")]) == 0
    finally:
        gc.enable()
    assert alive == [False, False]


@pytest.mark.parametrize("share", ["0.5", "0.3"])
def test_a_share_of_the_steps_may_be_saved(share, recipe, tmp_path):
    plan = runs.prepare(read([str(recipe)], [f"trainer.save_steps={share}"]), tmp_path / "run")
    assert plan.config.save_steps == float(share)


def test_a_share_between_two_generations_is_refused(recipe, tmp_path):
    again = ["trainer.num_iterations=2", "trainer.save_steps=0.25"]
    with pytest.raises(ValueError, match=r"save_steps, here 1 \(0\.25 of all\), to a multiple"):
        runs.prepare(read([str(recipe)], again), tmp_path / "run")
    runs.prepare(read([str(recipe)], [again[0], "trainer.save_steps=0.5"]), tmp_path / "run")
    unknown = [*again, "trainer.max_steps=-1", "problems={name: somebody/set, options: {}}"]
    with pytest.raises(ValueError, match=r"save_steps must be a number of steps where trainer\.max_steps is not set"):
        runs.prepare(read([str(recipe)], unknown), tmp_path / "run")


def test_metrics_are_strict_json(tmp_path):
    class State:
        is_world_process_zero, global_step, max_steps = True, 1, 2

    spec = read(["smollm2-135m", "grpo", "mmr", "arithmetic"])
    logs = {"loss": math.inf, "reward": math.nan, "entropy": 1.5, "nested": [-math.inf]}
    Recorder(tmp_path, spec, {}).on_log(None, State, None, logs)
    text = (tmp_path / "metrics.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] is None
    assert without_clock(json.loads(text)) == {
        "step": 1,
        "loss": None,
        "reward": None,
        "entropy": 1.5,
        "nested": [None],
    }


def test_the_commit_is_that_of_the_package_alone(tmp_path):
    def git(*words):
        author = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(["git", "-C", str(tmp_path), *author, *words], check=True, capture_output=True)

    package, ours = tmp_path / ".venv" / "lib" / "manypaths", tmp_path / "src" / "manypaths"
    for folder in (package, ours):
        folder.mkdir(parents=True)
    git("init")
    git("commit", "--allow-empty", "-m", "theirs")
    assert commit(package) is None and len(commit(ours)) == 40


def test_a_finished_run_is_left_as_it_is(uninterrupted, capsys):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    assert main(["train", "--out", str(uninterrupted)]) == 0
    assert f"Seconds in {STEPS} steps" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}


@pytest.mark.parametrize("ending", ["", "model", "summary.json"])
def test_a_recipe_that_was_changed_after_its_run_began_is_refused(ending, uninterrupted, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    if ending:
        (run / ending).rename(tmp_path / "away")
    recipe = run / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace(f"max_steps: {STEPS}", "max_steps: 9"))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert main(["train", "--out", str(run)]) == 2
    assert capsys.readouterr().err.endswith(
        f"{str(recipe)!r} was changed after its run began. Restore it, or train with it in another --out.\n"
    )
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    recipe.write_bytes(b"\xef\xbb\xbf# a note\n" + text.replace("\n", "\r\n").encode())
    assert main(["train", "--out", str(run)]) == 0


def test_copies_under_names_of_the_users_are_no_part_of_a_run(recipe, uninterrupted, copy, capsys):
    checkpoints, evaluation = copy / "checkpoints", copy / "evaluation"
    shutil.copytree(checkpoints / "checkpoint-2", checkpoints / "checkpoint-best2")
    (checkpoints / "checkpoint-9").write_text("")
    shutil.rmtree(checkpoints / "checkpoint-4")
    shutil.copy(evaluation / "step-1.jsonl", evaluation / "step-1-old.jsonl")
    assert main(["evaluate", str(copy)]) == 2
    assert str(checkpoints / "checkpoint-2") in capsys.readouterr().err
    assert main(["train", str(recipe), "--out", str(copy)]) == 0
    (evaluation / "step-1-old.jsonl").unlink()
    assert differing(contents(uninterrupted), contents(copy)) == []


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("metrics.jsonl", b'{"loss": 1}\n', "line 1, is damaged (it has no step)"),
        ("metrics.jsonl", b'{"step": "4"}\n', "line 1, is damaged (it has no step)"),
        ("evaluation/summary.json", b'{"before": 3, "after": 4}', "is damaged (its values must be objects)"),
    ],
)
def test_what_no_run_writes_is_named_in_a_finished_training(name, content, complaint, uninterrupted, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    (run / "summary.json").unlink()
    (run / name).write_bytes(content)
    assert main(["train", "--out", str(run)]) == 2
    assert complaint in capsys.readouterr().err


def test_an_evaluation_that_was_removed_is_made_again_as_far_as_it_can(uninterrupted, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    shutil.rmtree(run / "evaluation")
    (run / "summary.json").unlink()
    assert main(["train", "--out", str(run)]) == 0
    assert list(read_json(run / "summary.json")["evaluation"]) == ["after"]


def test_a_checkpoint_of_another_run_is_named(recipe, copy, tmp_path, capsys):
    other, last = tmp_path / "other", copy / "checkpoints" / "checkpoint-4"
    assert main(["train", str(recipe), "lora.r=4", "evaluation=null", "--out", str(other)]) == 0
    shutil.rmtree(last)
    shutil.copytree(other / "checkpoints" / "checkpoint-4", last)
    assert main(["train", "--out", str(copy)]) == 2
    assert f"{last} must be a checkpoint of this run" in capsys.readouterr().err
