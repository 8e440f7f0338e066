"""What is on this machine: one plain dict of facts, found with the standard library alone.

No model is loaded, and nothing here hangs or crashes: torch is looked at in a process of its own and the hub in a
thread, each with a time limit. No fact holds a path, a user's name or a token, so that they can stand in a bug report.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manypaths import __version__

TORCH_SECONDS, COMMAND_SECONDS, HUB_SECONDS = 60, 10, 3.0
PROBE = "import json, manypaths.preflight.machine as here; print('\\n' + json.dumps(here.torch_facts()))"
SMALL_FILE = "HuggingFaceTB/SmolLM2-135M-Instruct/resolve/main/config.json"  # what the hub is asked for


def facts(packages: Iterable[str], models: Iterable[str], data: Iterable[str], offline: bool = False) -> dict[str, Any]:
    """Everything that is judged: sizes in bytes, None for what cannot be told.

    `packages` are distributions to look for, `models` and `data` names on the hub to look for in the local cache;
    with `offline` the hub is not asked.
    """
    cache = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"))
    hub_cache = Path(os.environ.get("HF_HUB_CACHE") or cache / "hub").expanduser()
    packages = list(packages)
    return {
        "manypaths": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "environment": sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ,
        "cores": {"usable": usable_cores(), "all": os.cpu_count()},
        "memory": memory(),
        "disk": {"here": _free(Path.cwd()), "cache": _free(hub_cache), "shm": _free(Path("/dev/shm"))},
        "packages": {name: _version(name) for name in packages},
        "asked": {name: asked for name in ("manypaths", *packages) if (asked := _requires(name, packages))},
        "torch": _torch() if importlib.util.find_spec("torch") else None,
        "nvidia": nvidia(),
        "amd": Path("/dev/kfd").exists(),
        "port": _loopback_port(),
        "hub": hub(offline, cache.expanduser()),
        "cached": [name for name in models if is_cached(hub_cache, name)]
        + [name for name in data if any(hub_cache.glob(f"datasets--{name.replace('/', '--')}/snapshots/*/*"))],
    }


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, and the quota of its cgroup rounded up."""
    known = getattr(os, "sched_getaffinity", None)
    cores = len(known(0)) if known else os.cpu_count() or 1
    quotas = [text.split() for text in _cgroup("cpu.max", root)]
    microseconds = zip(_cgroup("cpu/cpu.cfs_quota_us", root), _cgroup("cpu/cpu.cfs_period_us", root), strict=False)
    for quota, period in (*quotas, *microseconds):
        if quota.isdigit():
            cores = min(cores, -(-int(quota) // int(period)))
    return max(1, cores)


def memory(root: Path = Path("/")) -> dict[str, int | None]:
    """{all, free}: bytes that this process can have, by the machine and by its cgroups."""
    whole, free = None, None
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        lines = (root / "proc/meminfo").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        whole, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, KeyError, AttributeError):  # no Linux
        pass
    files = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limits, used in files:
        for limit, use in zip(_cgroup(limits, root), _cgroup(used, root), strict=False):
            if limit.isdigit() and int(limit) < (whole or 2**62):
                whole, free = int(limit), min(int(limit) - int(use), free if free is not None else int(limit))
    return {"all": whole, "free": free}


def _cgroup(name: str, root: Path) -> list[str]:
    """A setting of this process's cgroup and of those above it; `cpu/...` and `memory/...` are of version 1."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    controller, _, file = name.rpartition("/")
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == controller or (controller and controller in controllers.split(",")):
            top = root / "sys/fs/cgroup" / controller
            place = top / path.strip("/")
            for folder in dict.fromkeys((place, *place.parents)):
                if folder.is_relative_to(top) and (folder / file).is_file():
                    found.append((folder / file).read_text().strip())
    return found


def torch_facts() -> dict[str, Any]:
    """torch's build and devices; each device is given one addition to do. This imports torch."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        import torch

        found: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip}
        kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        count = torch.accelerator.device_count() if kind else 0
        found["devices"] = [_device(torch, kind.type, index) for index in range(count)] if kind else []
        known = torch.distributed if torch.distributed.is_available() else None
        backends = ("gloo", "nccl", "xccl")
        found["backends"] = [name for name in backends if known and getattr(known, f"is_{name}_available", bool)()]
        if (found["cuda"] or found["hip"]) and not count:
            found["refused"] = _error(torch.cuda.init)
    texts = (_plain(str(one.message)) for one in warned if issubclass(one.category, UserWarning))
    return {**found, "warned": [text for text in texts if "CUDA" in text or "GPU" in text][:2]}


def _device(torch: Any, kind: str, index: int) -> dict[str, Any]:
    """One accelerator: name, kind, bytes, free bytes, bf16 in hardware, and the error of an addition on it."""
    found: dict[str, Any] = {"name": kind, "kind": kind, "memory": None, "free": None, "bf16": None}

    def look() -> None:
        of = getattr(torch, kind)
        if kind == "mps":
            found.update(name=platform.machine(), memory=of.recommended_max_memory())
            return
        found["name"] = of.get_device_name(index)
        found["memory"] = of.get_device_properties(index).total_memory
        with of.device(index):
            found["bf16"] = of.is_bf16_supported(including_emulation=False)
            found["free"] = of.mem_get_info()[0]

    def add() -> None:
        assert (torch.ones(2, device=f"{kind}:{index}") + 1).sum().item() == 4

    return {**found, "unknown": _error(look), "error": _error(add)}


def _torch() -> dict[str, Any]:
    """`torch_facts` from a process of its own, or the error that it ended with."""
    variables = {**os.environ, "PYTHONSAFEPATH": "1"}  # what lies in the working directory is not torch
    code, out, err = _said([sys.executable, "-c", PROBE], TORCH_SECONDS, variables)
    try:
        return dict(json.loads(out.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        said = [line for line in err.splitlines() if re.match(r"[\w.]*(Error|Exception|Warning|Interrupt)\b", line)]
        return {"error": _plain(said[-1]) if said else f"import torch ended with {code}"}


def nvidia() -> dict[str, Any]:
    """NVIDIA's GPUs as the driver has them, torch or not: {present, driver, gpus}; `hidden` where a variable says."""
    query = ["--query-gpu=driver_version,name,memory.total", "--format=csv,noheader,nounits"]
    code, out, _ = _said(["nvidia-smi", *query], COMMAND_SECONDS)
    rows = [[cell.strip() for cell in line.split(",")] for line in out.splitlines() if line.count(",") == 2]
    files = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/proc/driver/nvidia/version").exists()
    return {
        "present": files or (code == "0" and bool(rows)),
        "driver": rows[0][0] if code == "0" and rows else None,
        "gpus": [f"{name}, {size} MiB" for _, name, size in rows] if code == "0" else [],
        "hidden": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _said(command: list[str], seconds: float, variables: dict[str, str] | None = None) -> tuple[str, str, str]:
    """Run a command -> (how it ended, stdout, stderr)."""
    try:
        named: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "env": variables}
        done = subprocess.run(command, timeout=seconds, check=False, stdin=subprocess.DEVNULL, **named)
    except subprocess.TimeoutExpired:
        return f"no answer in {seconds:g} s", "", ""
    except OSError:
        return "not found", "", ""
    return str(done.returncode) if done.returncode >= 0 else f"signal {-done.returncode}", done.stdout, done.stderr


def hub(offline: bool, home: Path, patience: float = HUB_SECONDS) -> dict[str, Any]:
    """The Hugging Face hub: {host, state, why, token}; state is reachable, unreachable, offline or not asked."""
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    host = urlsplit(endpoint).netloc.rpartition("@")[2]
    token = any(os.environ.get(name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
    token = token or Path(os.environ.get("HF_TOKEN_PATH") or home / "token").is_file()
    found = {"host": host, "token": token}
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            return {**found, "state": "offline", "why": f"{name} is set"}
    if offline:
        return {**found, "state": "not asked", "why": "--offline"}
    why = [f"no answer in {patience:g} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(f"{endpoint}/{SMALL_FILE}", method="HEAD")
            with urllib.request.urlopen(request, timeout=patience):
                why[:] = [""]
        except urllib.error.HTTPError as error:
            why[:] = [f"it answers {error.code}; is there a proxy?"]
        except Exception as error:
            why[:] = [_plain(str(getattr(error, "reason", error)))]

    asking = threading.Thread(target=ask, daemon=True)  # looking up a name has no time limit of its own
    asking.start()
    asking.join(patience)
    return {**found, "state": "unreachable" if why[0] else "reachable", "why": why[0]}


def is_cached(hub_cache: Path, name: str) -> bool:
    """Whether all weights of a model on the hub are in the local cache."""
    for folder in hub_cache.glob(f"models--{name.replace('/', '--')}/snapshots/*"):
        wanted = {"model.safetensors"}
        if (index := folder / "model.safetensors.index.json").is_file():
            wanted = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        if (folder / "config.json").is_file() and all((folder / file).is_file() for file in wanted):
            return True
    return False


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requires(name: str, of: list[str]) -> list[str]:
    """What a distribution asks of those in `of`, in its own words."""
    try:
        asked = requires(name) or []
    except PackageNotFoundError:
        return []
    return [one for one in asked if distribution(one) in of]


def distribution(requirement: str) -> str:
    """The name that a requirement begins with, as the index spells it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement)[0]).lower()


def _free(folder: Path) -> int | None:
    """Free bytes on the disk of a folder, which need not be there yet."""
    folder = next((each for each in (folder, *folder.parents) if each.is_dir()), folder)
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _loopback_port() -> bool:
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
        return True
    except OSError:
        return False


def _error(work: Callable[[], None]) -> str | None:
    try:
        work()
    except Exception as error:
        return _plain(f"{type(error).__name__}: {error}")
    return None


def _plain(text: str) -> str:
    """The first words of an error, with only the last name of every path and nothing of a URL but its host."""
    for known in (sys.prefix, str(Path.home())):  # which may hold spaces
        text = text.replace(known, "~") if len(known) > 1 else text
    text = re.sub(r"(\w+://)(?:[^\s/@]*@)?([^\s/]*)\S*", r"\1\2", " ".join(text.split()))
    text = re.sub(r"(?<![\w/:])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\"]+)*[/\\]([^\s/\\'\"]+)", r"\1", text)
    return text if len(text) <= 200 else text[:197] + "..."
