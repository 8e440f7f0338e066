"""The entry point "manypaths" of the group verl.plugins, which `import verl` loads.

Every process of a run imports verl, and most of them, such as the engines that sample, do not use its trainers.
Therefore this module imports nothing of verl: once verl's trainers are imported, it adds ours to them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

TRAINERS = "verl.trainer.ppo.v1"


class AfterTrainers(MetaPathFinder):
    """An import hook for verl's trainers alone: they load as usual, and `manypaths.verl` is imported after them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != TRAINERS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_then_register(module: ModuleType) -> None:
                execute(module)
                register()

            spec.loader.exec_module = execute_then_register  # type: ignore[method-assign]
        return spec


def register() -> None:
    """Import `manypaths.verl`, which adds its trainer to verl's. A failure is a warning: verl works without it."""
    try:
        importlib.import_module("manypaths.verl")
    except Exception as error:
        warnings.warn(
            f"trainer.v1.trainer_mode=manypaths is not available: {type(error).__name__}: {error}", stacklevel=2
        )


if TRAINERS in sys.modules:
    register()
else:
    sys.meta_path.insert(0, AfterTrainers())
