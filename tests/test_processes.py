"""Several processes (gloo, on the CPU): the same training as one, one voice for mistakes, and an end when one dies."""

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

from manypaths.cli import main
from manypaths.files import read_jsonl
from manypaths.training.launch import find_config, shipped

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where DeepSpeed finds ninja
PYTHONPATH = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PYTHONPATH, "PATH": PATH}
STEPS = 8


def compare_with_one_process(launcher, tiny_model, tmp_path, cases):
    command = [sys.executable, "-m", *launcher, layouts.__file__, str(tiny_model), str(tmp_path), ",".join(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = torch.load(tmp_path / "found.pt")
    for name in cases:
        parameters, (texts, advantages) = found[name]
        expected, (its_texts, its_advantages) = layouts.run(name, tiny_model, tmp_path, 1)
        assert texts == its_texts
        torch.testing.assert_close(advantages, its_advantages)
        if not name.endswith("one step in two"):
            torch.testing.assert_close(parameters, expected)


@pytest.mark.parametrize(
    ("processes", "cases"), [(2, [*layouts.CASES]), (4, ["none 12", "mmr 12", "dra 12", "dynamic 12", "mmr 4"])]
)
def test_a_layout_changes_nothing(tiny_model, tmp_path, processes, cases):
    """Groups of 4 in batches of 6 and 2 a process, or 3 and 1: they lie across."""
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    compare_with_one_process(torchrun, tiny_model, tmp_path, cases)


COMPILES = pytest.mark.skipif(shutil.which("g++") is None, reason="DeepSpeed compiles a part of itself with g++")


@pytest.mark.parametrize(
    "config", ["fsdp2", pytest.param("zero2", marks=COMPILES), pytest.param("zero3", marks=COMPILES)]
)
def test_shards_change_nothing(tiny_model, tmp_path, config):
    accelerate = ["accelerate.commands.launch", "--config_file", str(find_config(config)), "--mixed_precision", "no"]
    launcher = [*accelerate, "--num_processes", "2", "--main_process_port", "0"]
    compare_with_one_process(launcher, tiny_model, tmp_path, ["minilm 12"])


@pytest.fixture
def recipe(tiny_recipe, tmp_path):
    """The tiny recipe, for batches that only two processes fill with whole groups, and slowed down."""
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
    """A reward with spread, for which there is time to kill a process."""
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


def what_no_clock_decides(run):
    names = ("seconds", "time")
    lines = read_jsonl(run / "metrics.jsonl")
    return [{key: value for key, value in line.items() if not any(name in key for name in names)} for line in lines]


def test_a_process_that_dies_ends_the_others_and_the_run_goes_on(recipe, tmp_path):
    whole, cut, alone = tmp_path / "whole", tmp_path / "cut", tmp_path / "alone"
    first = start(recipe, "--out", whole)
    printed, complaints = first.communicate(timeout=300)
    assert first.returncode == 0, complaints[-3000:]
    assert printed.count(f"step {STEPS}/{STEPS}") == 1 and printed.count("Accuracy on 10 held-out problems") == 1
    assert json.loads((whole / "environment.json").read_text())["launch"]["WORLD_SIZE"] == "2"
    assert [len(read_jsonl(whole / "evaluation" / f"{when}.jsonl")) for when in ("before", "step-4", "after")] == [
        10
    ] * 3
    assert len(read_jsonl(whole / "groups.jsonl")) == 3 * STEPS  # 12 completions a step

    second = start(recipe, "--out", cut)
    wait_for(second, cut / "checkpoints" / "checkpoint-2" / "trainer_state.json")
    while len(read_jsonl(cut / "metrics.jsonl")) < 3:  # so that a step is forgotten
        time.sleep(0.05)
    workers = [one for one in psutil.Process(second.pid).children(recursive=True) if one.environ().get("RANK") == "1"]
    began = time.monotonic()
    workers[0].send_signal(signal.SIGKILL)
    _, complaints = second.communicate(timeout=60)
    assert second.returncode == 1 and time.monotonic() - began < 60
    assert "process 1 of 2 ended with SIGKILL; the others were stopped" in complaints
    assert "goes on from the last checkpoint" in complaints
    assert not any(one.is_running() and one.status() != "zombie" for one in workers)
    third = start("--out", cut)
    wait_for(third, cut / "checkpoints" / "checkpoint-4" / "trainer_state.json")
    third.send_signal(signal.SIGINT)
    assert "Stopped. The same command resumes" in third.communicate(timeout=60)[1]
    assert third.returncode == 130
    fourth = start("--out", cut)
    assert fourth.wait(timeout=300) == 0, fourth.communicate()[1][-3000:]
    assert what_no_clock_decides(cut) == what_no_clock_decides(whole)

    together = "trainer.per_device_train_batch_size=12"
    assert main(["train", str(recipe), together, "trainer.max_steps=1", "--out", str(alone)]) == 0
    assert read_jsonl(alone / "evaluation" / "before.jsonl") == read_jsonl(whole / "evaluation" / "before.jsonl")


@pytest.mark.parametrize("mistake", ["problems.name=nowhere.json", "trainer.num_generations=5"])
def test_a_mistake_is_said_once(recipe, tmp_path, mistake):
    """The one is found by the first process while the other waits, the other by both at the same time."""
    process = start(recipe, mistake, "--out", tmp_path / "run")
    _, complaints = process.communicate()
    assert process.returncode == 2
    assert complaints.count("manypaths train") == 1, complaints


def test_the_example_for_slurm_trains_on_two_machines(recipe, tmp_path):
    """Here both are this one: what SLURM brings, srun and scontrol, is played by two scripts."""
    play = {
        "scontrol": "echo localhost; echo localhost",
        "srun": 'shift; for SLURM_PROCID in 0 1; do SLURM_PROCID=$SLURM_PROCID "$@" & jobs="$jobs $!"; done; '
        "for job in $jobs; do wait $job || exit 1; done",
    }
    for name, text in play.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    run = tmp_path / "run"
    slurm = {"SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "1", "SLURM_JOB_NODELIST": "any", "OUT": str(run)}
    environment = {**ENVIRONMENT, "PATH": f"{tmp_path}:{PATH}", **slurm}
    script = ["bash", str(find_config("ddp").with_name("slurm.sh"))]
    for words in ([str(recipe), "evaluation=null", "trainer.max_steps=2"], ["evaluation=null"]):
        subprocess.run([*script, *words], env={**environment, "SLURM_JOB_NAME": "x"}, check=True, capture_output=True)
        assert [line["step"] for line in read_jsonl(run / "metrics.jsonl")] == [1, 2]
    assert json.loads((run / "environment.json").read_text())["launch"]["WORLD_SIZE"] == "2"


def test_refusals(recipe, tmp_path, monkeypatch, capsys):
    words = ["train", str(recipe), "trainer.per_device_train_batch_size=12", "--out", str(tmp_path / "run")]
    assert main([*words, "--launch", "zero4"]) == 2
    assert "--launch asks for ddp, fsdp2, multi-node, zero2, zero3 or an accelerate" in capsys.readouterr().err
    assert main([*words, "--processes", "0"]) == 2
    assert "asks for 1 or more; given 0" in capsys.readouterr().err
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert main(words) == 2
    assert "Set evaluation=null" in capsys.readouterr().err
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert main([*words, "--processes", "2"]) == 2
    assert "a launcher has started this one" in capsys.readouterr().err


@pytest.mark.parametrize("name", shipped())
def test_configurations_are_accelerates(name):
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(shipped()[name]))
    assert found.num_processes == -1  # so that --processes says it
