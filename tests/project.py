"""The folder of this clone, and its pyproject.toml as a dictionary."""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
