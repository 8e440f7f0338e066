"""Several processes on this machine that run one command, started by accelerate or torchrun."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from manypaths.preflight.machine import usable_cores


def launch(words: Sequence[str], processes: int | None, config: str | None, *, on_cpu: bool = False) -> int:
    """Run `manypaths WORDS` in several processes, and print the equivalent command first.

    When one process fails, the others are stopped and a sentence names the failed one.

    Args:
        words: The arguments of `manypaths`.
        processes: The number of processes; None is one per GPU, or 1.
        config: An accelerate configuration: the name of a shipped one or a YAML file. None is DDP by torchrun, because
            accelerate needs MPI for DDP on the CPU.
        on_cpu: Whether the processes use no GPU.

    Returns:
        The exit code.

    Raises:
        ValueError: The configuration is unknown, there are more processes than GPUs (unless there are none), or a
            launcher already started this process.
    """
    if "LOCAL_RANK" in os.environ:
        raise ValueError("--processes and --launch must be left out of a process that a launcher started. Remove them.")
    if processes is not None and processes < 1:
        raise ValueError(f"--processes must be 1 or more, got {processes}.")
    file = None if config is None else find_config(config)
    import torch
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed import run as torchrun

    devices = 0 if on_cpu else torch.accelerator.device_count()
    count = processes or max(1, devices)
    _check_devices(count, devices, file)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # for ninja
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // count)))
    command = ["-m", "manypaths.cli", *words]
    start: Any
    if file is None:
        command = ["--standalone", "--nproc-per-node", str(count), *command]
        start, options, shown = torchrun.run, torchrun.get_args_parser().parse_args(command), "torchrun"
    else:
        command = ["--config_file", str(file), "--num_processes", str(count), *command]
        start, options, shown = launch_command, launch_command_parser().parse_args(command), "accelerate launch"
    print("Starting:", shown, *command, flush=True)
    return _exit_code(lambda: start(options), count)


def _exit_code(run: Callable[[], object], count: int) -> int:
    """Call a launcher of `count` processes -> the exit code; a failure or an interruption gets one sentence."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    try:
        run()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == 2:  # the process has printed its error
            return 2
        how = f"exit code {failure.exitcode}" if failure.exitcode > 0 else failure.signal_name()
        print(
            f"manypaths: process {rank} of {count} ended with {how}; the others were stopped. Its output is above. "
            "The same command resumes from the last checkpoint.",
            file=sys.stderr,
        )
        return 1
    except SignalException as stopped:  # torchrun has passed the signal on to the processes
        print("Stopped. The same command resumes from the last checkpoint.", file=sys.stderr)
        return 128 + stopped.sigval
    return 0


def _check_devices(count: int, devices: int, file: Path | None) -> None:
    """Refuse more processes than GPUs, if there are any; an accelerate configuration may name several machines."""
    if not 0 < devices < count:
        return
    if file is not None:
        from accelerate.commands.config.config_args import load_config_from_file

        settings = load_config_from_file(str(file))
        devices = count if settings.use_cpu else devices * settings.num_machines
    if devices < count:
        raise ValueError(
            f"--processes must be at most {devices}, the number of GPUs, got {count}: each process needs its own GPU. "
            "Lower it, or train on the CPU with trainer.use_cpu=true."
        )


def exit_process(code: int) -> NoReturn:
    """Run the atexit handlers (of wandb, for example), flush, and end the process without the interpreter's shutdown.

    During that shutdown, threads of gloo may abort a process whose work is done.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def shipped() -> dict[str, Path]:
    """The accelerate configurations that come with the package, by name."""
    folder = Path(str(files("manypaths") / "recipes" / "launch"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """The file of an accelerate configuration, by its shipped name or its path. ValueError where there is none."""
    configurations = shipped()
    if name in configurations:
        return configurations[name]
    if not Path(name).is_file():
        raise ValueError(
            f"--launch must be {', '.join(configurations)} or the file of an accelerate configuration, got {name!r}."
        )
    return Path(name)
