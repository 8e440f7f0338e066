"""Facts about this machine, as one dict of plain values: for `manypaths doctor`, and for a bug report.

torch is imported in a process of its own and the hub is contacted in a thread, each with a time limit, so that nothing
here hangs or crashes. psutil and huggingface_hub are used where they are installed. No fact holds a path, a user's name
or a token. (torch.utils.collect_env runs nvidia-smi, pip and compilers without a time limit, and needs torch.)
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manypaths import __version__
from manypaths.preflight.packages import PACKAGES, installed, requirements

TORCH_SECONDS, COMMAND_SECONDS, HUB_SECONDS = 60, 10, 3.0
PROBE = "import json, manypaths.preflight.machine as here; print('\\n' + json.dumps(here.torch_facts()))"
HUB_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"  # whose description is requested from the hub


def facts(models: Iterable[str], data: Iterable[str], offline: bool = False) -> dict[str, Any]:
    """The facts; sizes are in bytes, and None is unknown.

    Args:
        models: models on the hub to look for in the local cache, and `data`: data sets.
        offline: do not contact the hub.
    """
    cache, cached = Path.home(), []
    with suppress(ImportError):
        from huggingface_hub.constants import HF_HUB_CACHE

        cache = Path(HF_HUB_CACHE)
        cached = [name for name in models if is_cached(cache, name)]
        cached += [name for name in data if any(cache.glob(f"datasets--{name.replace('/', '--')}/snapshots/*/*"))]
    distributions = {name: installed(name) for name in ("manypaths", *PACKAGES)}
    return {
        "manypaths": __version__,
        "installed": distributions["manypaths"][0] is not None,
        "python": platform.python_version(),
        "system": platform.platform(),
        "environment": sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ,
        "cores": {"usable": usable_cores(), "all": os.cpu_count()},
        "memory": memory(),
        "disk": {"here": _free(Path.cwd()), "cache": _free(cache), "shm": _free(Path("/dev/shm"))},
        "packages": {name: distributions[name][0] for name in PACKAGES},
        "requirements": requirements({name: lines for name, (_, lines) in distributions.items()}),
        "torch": _torch() if importlib.util.find_spec("torch") else None,
        "nvidia": nvidia(),
        "amd": Path("/dev/kfd").exists(),
        "hub": hub(offline),
        "cached": cached,
    }


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity, and the quota of its cgroup rounded up."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [line.split() for line in _cgroup("cpu.max", root)]
    microseconds = zip(_cgroup("cpu/cpu.cfs_quota_us", root), _cgroup("cpu/cpu.cfs_period_us", root), strict=False)
    limits = [-(-int(quota) // int(period)) for quota, period in (*quotas, *microseconds) if quota.isdigit()]
    return max(1, min([cores, *limits]))


def memory(root: Path = Path("/")) -> dict[str, int | None]:
    """Bytes of memory that the machine and the cgroups allow this process: {all, free}."""
    whole, free = None, None
    try:
        import psutil

        whole, free = psutil.virtual_memory()[:2]
    except ImportError:
        with suppress(AttributeError, ValueError, OSError):
            whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
            available = re.search(r"MemAvailable: +(\d+) kB", (root / "proc/meminfo").read_text())
            free = int(available[1]) * 1024 if available else None
    files = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    for limits, uses in files:
        for limit, use in zip(_cgroup(limits, root), _cgroup(uses, root), strict=False):
            if limit.isdigit() and int(limit) < (whole or 2**62):
                whole, free = int(limit), min(int(limit) - int(use), int(limit) if free is None else free)
    return {"all": whole, "free": free}


def _cgroup(name: str, root: Path) -> list[str]:
    """A setting of this process's cgroup and of those above it; `cpu/...` and `memory/...` are of version 1."""
    controller, _, file = name.rpartition("/")
    top, values = root / "sys/fs/cgroup" / controller, []
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                place = top / path.strip("/")
                folders = [folder for folder in (place, *place.parents) if folder.is_relative_to(top)]
                values += [(folder / file).read_text().strip() for folder in folders if (folder / file).is_file()]
    return values


def torch_facts() -> dict[str, Any]:
    """The build and the devices of torch; every device adds two numbers. Imports torch."""
    import torch

    kind = torch.accelerator.current_accelerator()
    count = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    devices = [_device(torch, kind.type, index) for index in range(count)] if kind else []
    unseen = (torch.version.cuda or torch.version.hip) and not devices
    backends = ("gloo", "nccl", "xccl") if torch.distributed.is_available() else ()
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "devices": devices,
        "backends": [name for name in backends if getattr(torch.distributed, f"is_{name}_available", bool)()],
        "refused": _error(torch.cuda.init) if unseen else None,
    }


def _device(torch: Any, kind: str, index: int) -> dict[str, Any]:
    """An accelerator: name, kind, bytes, free bytes, whether it computes bfloat16, the error of an addition on it."""
    of, facts = getattr(torch, kind), {"name": kind, "kind": kind, "memory": None, "free": None, "bf16": None}
    with suppress(Exception):
        if kind == "mps":
            facts.update(name=platform.machine(), memory=of.recommended_max_memory())
        else:
            facts.update(name=of.get_device_name(index), memory=of.get_device_properties(index).total_memory)
            with of.device(index):
                facts.update(bf16=of.is_bf16_supported(including_emulation=False), free=of.mem_get_info()[0])
    return {**facts, "error": _error(lambda: (torch.ones(2, device=f"{kind}:{index}") + 1).sum().item())}


def _torch() -> dict[str, Any]:
    """`torch_facts` from a process of its own, or the error with which it ended."""
    variables = {**os.environ, "PYTHONSAFEPATH": "1"}  # a folder torch in the working directory is not torch
    code, out, err = _run([sys.executable, "-c", PROBE], TORCH_SECONDS, variables)
    try:
        return dict(json.loads(out.strip().splitlines()[-1]))
    except (ValueError, IndexError):
        errors = [line for line in err.splitlines() if re.match(r"[\w.]*(Error|Exception|Warning|Interrupt)\b", line)]
        return {"error": _plain(errors[-1]) if errors else f"import torch ended with {code}"}


def nvidia() -> dict[str, Any]:
    """NVIDIA's GPUs by the driver, without torch: {present, driver, gpus, hidden}."""
    query = ["--query-gpu=driver_version,name,memory.total", "--format=csv,noheader,nounits"]
    code, out, _ = _run(["nvidia-smi", *query], COMMAND_SECONDS)
    rows = [[cell.strip() for cell in line.split(",")] for line in out.splitlines() if line.count(",") == 2]
    rows = rows if code == "0" else []
    files = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/proc/driver/nvidia/version").exists()
    return {
        "present": files or bool(rows),
        "driver": rows[0][0] if rows else None,
        "gpus": [f"{name}, {size} MiB" for _, name, size in rows],
        "hidden": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def _run(command: list[str], seconds: float, variables: dict[str, str] | None = None) -> tuple[str, str, str]:
    """Run a command, at most so many seconds -> (how it ended, stdout, stderr)."""
    named: dict[str, Any] = {"capture_output": True, "text": True, "errors": "replace", "env": variables}
    try:
        done = subprocess.run(command, timeout=seconds, check=False, stdin=subprocess.DEVNULL, **named)
    except subprocess.TimeoutExpired:
        return f"no answer in {seconds:g} s", "", ""
    except OSError:
        return "not found", "", ""
    return str(done.returncode) if done.returncode >= 0 else f"signal {-done.returncode}", done.stdout, done.stderr


def hub(offline: bool) -> dict[str, Any]:
    """The Hugging Face hub: {host, state, why, token}; state is reachable, unreachable, offline or skipped."""
    try:
        from huggingface_hub import HfApi, constants
    except ImportError:
        return {"host": "the hub", "state": "skipped", "why": "huggingface_hub is missing", "token": False}
    variables = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # get_token() may ask a server
    token = any(map(os.environ.get, variables)) or Path(constants.HF_TOKEN_PATH).is_file()
    facts = {"host": urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2], "token": token}
    if constants.HF_HUB_OFFLINE:
        return {**facts, "state": "offline", "why": "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"}
    if offline:
        return {**facts, "state": "skipped", "why": "--offline"}
    why = [f"no answer in {HUB_SECONDS:g} s"]

    def ask() -> None:
        try:
            HfApi().model_info(HUB_MODEL, timeout=HUB_SECONDS, token=False)
            why[:] = [""]
        except Exception as error:
            why[:] = [_plain(str(error))]

    asking = threading.Thread(target=ask, daemon=True)  # the look-up of a name has no time limit of its own
    asking.start()
    asking.join(HUB_SECONDS)
    return {**facts, "state": "unreachable" if why[0] else "reachable", "why": why[0]}


def is_cached(cache: Path, name: str) -> bool:
    """Whether the configuration and all weights of a model on the hub are in the local cache."""
    from huggingface_hub import try_to_load_from_cache

    def path(file: str) -> str | None:
        cached = try_to_load_from_cache(name, file, cache_dir=cache)
        return cached if isinstance(cached, str) else None

    weights = ["model.safetensors"]
    if index := path("model.safetensors.index.json"):
        weights = json.loads(Path(index).read_text("utf-8"))["weight_map"].values()
    return all(path(file) for file in {"config.json", *weights})


def _free(folder: Path) -> int | None:
    """Free bytes on the disk of a folder, which need not exist yet."""
    with suppress(OSError):
        return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free
    return None


def _error(work: Callable[[], Any]) -> str | None:
    try:
        work()
    except Exception as error:
        return _plain(f"{type(error).__name__}: {error}")
    return None


def _plain(text: str) -> str:
    """The first words of an error, with only the last name of every path and nothing of a URL but its host."""
    for private in (sys.prefix, str(Path.home())):  # which may hold spaces
        text = text.replace(private, "~") if len(private) > 1 else text
    text = re.sub(r"(\w+://)(?:[^\s/@]*@)?([^\s/]*)\S*", r"\1\2", " ".join(text.split()))
    text = re.sub(r"(?<![\w/:])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\'\"]+)*[/\\]([^\s/\\'\"]+)", r"\1", text)
    return text if len(text) <= 200 else text[:197] + "..."
