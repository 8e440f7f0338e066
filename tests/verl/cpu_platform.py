"""The CPU as one more platform of verl's, so that its workers and its FSDP engine run where there is no GPU.

verl loads it in every process, as VERL_USE_EXTERNAL_MODULES says, and takes it, as VERL_PLATFORM says. Ray is told of
one GPU that is none.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from verl.plugin.platform.platform_cuda import PlatformCUDA
from verl.plugin.platform.platform_manager import PlatformRegistry


def nothing(*_, **__):
    """What a device does that has no caches, no streams and no random numbers of its own."""


def zero(*_, **__):
    return 0


MODULE = SimpleNamespace(
    **dict.fromkeys(("empty_cache", "synchronize", "set_device", "reset_peak_memory_stats"), nothing),
    **dict.fromkeys(("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"), zero),
    get_device_name=lambda *_: "cpu",
    get_rng_state=torch.get_rng_state,
    set_rng_state=torch.set_rng_state,
    is_available=lambda: True,
    mem_get_info=lambda *_: (0, 1),
    memory=SimpleNamespace(_set_allocator_settings=nothing),
)


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformCUDA):
    device_name, vendor_name, device_module = "cpu", "cpu", MODULE
    set_device = synchronize = manual_seed = manual_seed_all = set_allocator_settings = empty_cache = nothing
    profiler_start = profiler_stop = cudart = nothing

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return True

    def current_device(self):
        return "cpu"

    def device_count(self):
        return 1

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def is_ipc_supported(self):
        return False

    def nvtx_range(self, msg):
        return nullcontext()


initialise = torch.distributed.init_process_group


def init_process_group(*args, backend=None, **kwargs):
    """verl asks for gloo on the CPU and for the platform's backend on its device, which here is the CPU once more."""
    return initialise(*args, backend="gloo" if backend == "cpu:gloo,cpu:gloo" else backend, **kwargs)


torch.distributed.init_process_group = init_process_group
