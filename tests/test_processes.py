"""Several processes (gloo, on the CPU): the same training as one, one message per mistake, and an end when one dies."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import layouts
import psutil
import pytest
import torch
import yaml
from forked import in_processes

from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.training.launch import find_config, shipped

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where DeepSpeed finds ninja
PYTHONPATH = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PYTHONPATH, "PATH": PATH}
STEPS = 8


@pytest.fixture(scope="module")
def expected(tiny_model, tmp_path_factory):
    """A case of `layouts` -> its result in one process."""
    out = tmp_path_factory.mktemp("alone")
    return functools.cache(lambda name: layouts.run(name, tiny_model, out, 1))


def assert_equal_to_one_process(cases, runs, expected):
    for name in cases:
        (parameters, (texts, advantages)), (its_parameters, (its_texts, its_advantages)) = runs[name], expected(name)
        assert texts == its_texts
        kind = torch.tensor if name.startswith("logprobs") else list  # sums of a forward pass in float32 are rounded
        torch.testing.assert_close(kind(advantages), kind(its_advantages))
        if not name.endswith("one step in two"):
            torch.testing.assert_close(parameters, its_parameters)


@pytest.mark.parametrize(
    ("processes", "cases"),
    [
        (2, [name for name in layouts.CASES if name not in ("dra 12", "minilm 12")]),
        (4, ["dra 12", "dynamic 12", "mmr 4"]),
    ],
)
def test_a_layout_changes_nothing(tiny_model, tmp_path, expected, processes, cases):
    """Groups of 4 in batches of 6 and 2 per process, or 3 and 1, so that groups span processes."""
    in_processes(processes, layouts.save_runs, cases, tiny_model, tmp_path, {})
    assert_equal_to_one_process(cases, torch.load(tmp_path / "runs.pt"), expected)


COMPILES = pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed compiles a part of itself with g++")


def environment_of(config, monkeypatch):
    """The variables that `accelerate launch` sets for the processes of a configuration."""
    from accelerate.commands.launch import launch_command, launch_command_parser

    variables = {}
    with monkeypatch.context() as patch:
        patch.setattr("torch.distributed.run.run", lambda _: variables.update(os.environ))
        words = ["--config_file", str(find_config(config)), "--mixed_precision", "no", "--num_processes", "2"]
        launch_command(launch_command_parser().parse_args([*words, layouts.__file__]))
    return {"PATH": PATH} | {name: value for name, value in variables.items() if os.environ.get(name) != value}


@pytest.mark.parametrize(
    "config", ["fsdp2", pytest.param("zero2", marks=COMPILES), pytest.param("zero3", marks=COMPILES)]
)
def test_shards_change_nothing(tiny_model, tmp_path, expected, monkeypatch, config):
    environment = environment_of(config, monkeypatch)
    assert environment.get("ACCELERATE_USE_FSDP" if config == "fsdp2" else "ACCELERATE_USE_DEEPSPEED") == "true"
    cases = ["minilm 12", "logprobs 12"]
    in_processes(2, layouts.save_runs, cases, tiny_model, tmp_path, environment)
    assert_equal_to_one_process(cases, torch.load(tmp_path / "runs.pt"), expected)


@pytest.fixture
def recipe(tiny_recipe, tmp_path):
    """The tiny recipe, slowed down, with batches that only two processes fill with whole groups."""
    changes = {
        "rewards": {"accuracy": 1.0, "test_processes.slowly": 0.5},
        "embedder": {"name": "ngram"},
        "trainer": {**tiny_recipe["trainer"], "per_device_train_batch_size": 6, "max_steps": STEPS},
        "evaluation": {
            "problems": {"name": "arithmetic", "options": {"count": 10, "seed": 2, "held_out": True}},
            "max_new_tokens": 4,
            "batch_size": 2,
            "every": 4,
        },
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**tiny_recipe, **changes}))
    return path


def slowly(completions, **_):
    """A reward that differs between completions, and leaves time to kill a process."""
    time.sleep(0.2)
    return [sum(character.isalpha() for character in text) / 8 for text in completions]


def start(*words):
    command = [sys.executable, "-m", "manypaths.cli", "train", *map(str, words), "--processes", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=ENVIRONMENT, text=True, **pipes)


def wait_for(process, path):
    while not path.exists():
        assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.05)


def slurm(folder, run, *words, command='"$@"'):
    """Send the example for SLURM, in float32; two scripts play srun and scontrol, and both machines are this one."""
    scripts = {
        "scontrol": "echo localhost; echo localhost",
        "srun": f'shift; for SLURM_PROCID in 0 1; do SLURM_PROCID=$SLURM_PROCID {command} & jobs="$jobs $!"; done; '
        "for job in $jobs; do wait $job || exit 1; done",
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "multi-node.yaml").write_text(find_config("multi-node").read_text().replace("bf16", "'no'"))
    variables = {
        "CONFIG": str(folder / "multi-node.yaml"),
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "1",
        "SLURM_JOB_NODELIST": "any",
        "SLURM_JOB_NAME": "x",
    }
    environment = {**ENVIRONMENT, **variables, "PATH": f"{folder}:{PATH}", "OUT": str(run)}
    script = ["bash", str(find_config("ddp").with_name("slurm.sh")), *map(str, words)]
    done = subprocess.run(script, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def whole(recipe, tmp_path):
    """A run of the recipe on two machines, as the example for SLURM starts it: (its folder, its output)."""
    return tmp_path / "whole", slurm(tmp_path, tmp_path / "whole", recipe)


def without_times(run):
    lines = read_jsonl(run / "metrics.jsonl")
    return [{key: line[key] for key in line if "seconds" not in key and "time" not in key} for line in lines]


def test_a_run_on_two_machines_or_in_two_processes_that_die_and_are_started_again(recipe, whole, tmp_path):
    """All three give the same run. The command prints everything once."""
    cut, alone = tmp_path / "cut", tmp_path / "alone"
    whole, printed = whole
    assert printed.count(f"step {STEPS}/{STEPS}") == 1 and printed.count("Accuracy on 10 held-out problems") == 1
    assert json.loads((whole / "environment.json").read_text())["launch"]["WORLD_SIZE"] == "2"
    stages = ("before", "step-4", "after")
    assert [len(read_jsonl(whole / "evaluation" / f"{when}.jsonl")) for when in stages] == [10] * 3
    assert len(read_jsonl(whole / "groups.jsonl")) == 3 * STEPS  # 12 completions a step
    commands = slurm(tmp_path, whole, recipe, command='echo "${@:4}"').splitlines()  # sent again
    assert commands == ["manypaths"] * 2  # without the words of the recipe

    first = start(recipe, "--out", cut)
    wait_for(first, cut / "checkpoints" / "checkpoint-2" / "trainer_state.json")
    while len(read_jsonl(cut / "metrics.jsonl")) < 3:  # so that one step is trained again
        time.sleep(0.05)
    children = psutil.Process(first.pid).children(recursive=True)
    workers = [child for child in children if child.environ().get("RANK") == "1"]
    began = time.monotonic()
    workers[0].send_signal(signal.SIGKILL)
    _, complaints = first.communicate(timeout=60)
    assert first.returncode == 1 and time.monotonic() - began < 60
    assert "process 1 of 2 ended with SIGKILL; the others were stopped" in complaints
    assert "resumes from the last checkpoint" in complaints
    assert not any(child.is_running() and child.status() != "zombie" for child in children)

    second = start("--out", cut)
    wait_for(second, cut / "checkpoints" / "checkpoint-4" / "trainer_state.json")
    second.send_signal(signal.SIGINT)
    assert "Stopped. The same command resumes" in second.communicate(timeout=60)[1]
    assert second.returncode == 130

    third = start("--out", cut)
    printed, complaints = third.communicate(timeout=300)
    assert third.returncode == 0, complaints[-3000:]
    assert printed.count(f"step {STEPS}/{STEPS}") == 1 and printed.count("Accuracy on 10 held-out problems") == 1
    assert without_times(cut) == without_times(whole)

    together = "trainer.per_device_train_batch_size=12"
    assert main(["train", str(recipe), together, "trainer.max_steps=1", "--out", str(alone)]) == 0
    assert read_jsonl(alone / "evaluation" / "before.jsonl") == read_jsonl(whole / "evaluation" / "before.jsonl")


def test_a_mistake_is_printed_once(recipe, tmp_path):
    """The first process makes it while the other waits. (Where both make it: test_cli.)"""
    process = start(recipe, "problems.name=nowhere.json", "--out", tmp_path / "run")
    _, complaints = process.communicate()
    assert process.returncode == 2
    assert complaints.count("manypaths train") == 1, complaints


def test_refusals(recipe, tmp_path, monkeypatch, capsys):
    words = ["train", str(recipe), "trainer.per_device_train_batch_size=12", "--out", str(tmp_path / "run")]
    assert main([*words, "--launch", "zero4"]) == 2
    expected = "--launch must be ddp, fsdp2, multi-node, zero2, zero3 or the file of an accelerate configuration, got"
    assert f"{expected} 'zero4'" in capsys.readouterr().err
    assert main([*words, "--processes", "0"]) == 2
    assert "--processes must be 1 or more, got 0" in capsys.readouterr().err
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert main(words) == 2
    assert "Set evaluation=null" in capsys.readouterr().err
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main([*words, "--processes", "2"]) == 2
    assert "--processes and --launch must be left out of a process that a launcher started" in capsys.readouterr().err


@pytest.mark.parametrize("name", shipped())
def test_configurations_are_accelerates(name):
    from accelerate.commands.config.config_args import load_config_from_file

    assert load_config_from_file(str(shipped()[name])).num_processes == -1  # so that --processes decides
