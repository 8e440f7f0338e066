"""Which module may import which: imports point one way, and a new arrow fails until the table here has it."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "manypaths"

# module: (modules of ours, packages needed to import it, packages that its functions import when called)
MODULES = {
    "__init__": ("reweight", "", ""),
    "reweight": ("", "torch", ""),
    "advantage": ("", "torch", ""),
    "names": ("", "", ""),
    "contracts": ("names reweight", "torch", ""),
    "diversity": ("reweight", "torch", ""),
    "hub": ("", "", "huggingface_hub"),
    "checkpoint": ("files hub", "", "torch transformers peft safetensors"),
    "resume": ("checkpoint files", "", ""),
    "embed": ("checkpoint hub", "torch", "sentence_transformers transformers"),
    "grading_signs": ("", "", ""),
    "grading_sets": ("", "", ""),
    "grading_names": ("grading_sets", "", ""),
    "grading_logic": ("grading_names", "", ""),
    "grading_vectors": ("grading_names", "", ""),
    "grading_text": ("grading_logic grading_names grading_sets grading_signs grading_vectors", "", ""),
    "grading_numbers": ("", "", ""),
    "grading_worker": ("", "", "latex2sympy2_extended math_verify sympy"),
    "grading": ("grading_numbers grading_sets grading_text grading_vectors grading_worker", "", ""),
    "golds": ("grading", "", ""),
    "printable": ("", "", ""),
    "rows": ("printable", "", "datasets pyarrow"),
    "columns": ("messages printable", "", ""),
    "choices": ("", "", ""),
    "problem_columns": ("choices columns golds grading messages printable", "", ""),
    "problems": ("hub printable problem_columns rows", "", "datasets"),
    "unboxed": ("grading", "", ""),
    "grade_file": ("choices columns files golds grading messages metrics printable problems rows unboxed", "", ""),
    "metrics": ("grading statistics", "", ""),
    "generate": ("checkpoint", "", "torch transformers vllm"),
    "server": ("generate printable", "", ""),
    "files": ("", "", "filelock"),
    "page": ("files", "", ""),
    "tables": ("", "", ""),
    "published": ("tables", "", ""),
    "runs": ("files metrics recipe", "yaml", ""),
    "elsewhere": ("runs", "", ""),
    "statistics": ("", "numpy", ""),
    "curves": ("runs statistics", "numpy", ""),
    "cautions": ("curves runs", "", ""),
    "compare": ("cautions curves elsewhere runs statistics", "numpy", ""),
    "figures": ("files", "matplotlib", ""),
    "report": ("figures files published tables", "", ""),
    "sweep": ("files recipe rewards trainer_settings workload", "yaml", ""),
    "recipe": ("", "yaml", ""),
    "workload": ("problems recipe", "yaml", ""),
    "memory": ("recipe workload", "", ""),
    "trainer_settings": ("recipe", "", "torch transformers trl"),
    "dry_run": ("memory recipe rewards trainer_settings workload", "", "trl peft"),
    "messages": ("", "", ""),
    "rewards": ("golds grading messages", "", "trl"),
    "sampling": ("checkpoint cpu generate printable recipe server", "yaml", "torch"),
    "evaluate_command": (
        "embed evaluate files generate grading printable problems recipe resume rows sampling server",
        "yaml torch",
        "",
    ),
    "__main__": ("cli", "", ""),
    "evaluate": ("files generate grading metrics problems tables", "", ""),
    "cpu": ("", "torch transformers trl", ""),
    "tool_mask": ("", "torch trl", ""),
    "data_order": ("", "transformers", ""),
    "dynamic_sampling": ("contracts names reweight tool_mask", "torch accelerate datasets transformers", ""),
    "trl": (
        "advantage contracts data_order diversity dynamic_sampling embed messages names reweight wrapper",
        "torch accelerate transformers trl",
        "",
    ),
    "grouping": ("messages", "", ""),
    "wrapper": ("contracts diversity embed grouping messages names reweight", "torch", "accelerate"),
    "verl": ("contracts diversity embed recipe reweight", "torch omegaconf tensordict transfer_queue verl", ""),
    "verl_plugin": ("", "", ""),
    "slime": ("contracts embed grouping reweight wrapper", "torch", ""),
    "record": ("files generate messages recipe trl", "torch transformers", ""),
    "run": (
        "advantage reweight checkpoint embed files generate grading metrics problems page recipe rewards evaluate cpu "
        "record resume rows runs sampling trainer_settings trl workload",
        "accelerate torch transformers peft trl",
        "datasets",
    ),
    "launch": ("machine", "", "accelerate torch"),
    "machine": ("__init__", "", "torch"),
    "readiness": ("machine memory problems recipe workload", "", "packaging"),
    "doctor": ("machine readiness", "", ""),
    "cli": (
        "__init__ compare curves doctor dry_run evaluate evaluate_command files grade_file grading launch page "
        "printable published recipe report run sweep",
        "",
        "",
    ),
}


def imports(path):
    """(full name, whether only when a function is called) of everything that a file imports."""

    def visit(node, lazy):
        for child in ast.iter_child_nodes(node):
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            inside = inside or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                parts = ["manypaths"] * (child.level > 0) + [child.module] * (child.module is not None)
                source = ".".join(parts)
                names = [f"manypaths.{alias.name}" for alias in child.names] if source == "manypaths" else [source]
                yield from ((name, inside) for name in names)
            yield from visit(child, inside)

    return list(visit(ast.parse(path.read_text("utf-8")), False))


def arrows(path):
    """What a file imports: (modules of ours, packages at import, packages when called)."""
    ours, needed, called = set(), set(), set()
    for name, lazy in imports(path):
        package, *inside = name.split(".")
        if package == "manypaths":
            is_module = inside and (inside[0] in MODULES or (PACKAGE / f"{inside[0]}.py").exists())
            ours.add(inside[0] if is_module else "__init__")
        elif package not in sys.stdlib_module_names:
            (called if lazy else needed).add(package)
    return ours, needed, called


def complaints(path):
    """A sentence for every arrow of a file that the table does not have."""
    if path.stem not in MODULES:
        return [f"{path.name} is not in the table of tests/test_imports.py: add a line for what it may import."]
    allowed = [set(each.split()) for each in MODULES[path.stem]]
    allowed[2] |= allowed[1]
    verbs = ("imports our", "cannot be imported without", "imports, in a function,")
    end = "If it is meant, add it to tests/test_imports.py."
    return [
        f"{path.name} {verb} {name}: a new arrow, {path.stem} -> {name}. {end}"
        for verb, known, found in zip(verbs, allowed, arrows(path), strict=True)
        for name in sorted(found - known)
    ]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_new_arrow(path):
    assert not complaints(path), "\n".join(complaints(path))


def test_arrows_point_one_way():
    """No circle; nothing imports the command line, and nothing but that imports the run."""
    ours = {module: set(row[0].split()) for module, row in MODULES.items()}
    list(graphlib.TopologicalSorter(ours).static_order())
    assert [module for module in ours if "cli" in ours[module]] == ["__main__"]
    assert [module for module in ours if "run" in ours[module]] == ["cli"]


def reach(module):
    """The modules of ours that are imported with one, and the packages from outside that this takes."""
    waiting, seen, outside = [module], set(), set()
    while waiting:
        seen.add(module := waiting.pop())
        found = [name.split(".") for name, lazy in imports(PACKAGE / f"{module}.py") if not lazy]
        waiting += {name[1] for name in found if name[0] == "manypaths" and name[1:] and name[1] in MODULES} - seen
        outside |= {name[0] for name in found} - {"manypaths"} - sys.stdlib_module_names
    return seen, outside


def test_the_public_names_need_torch_alone():
    assert reach("__init__") == ({"__init__"}, set())
    assert reach("reweight") == ({"reweight"}, {"torch"})
    import manypaths

    assert all(callable(getattr(manypaths, name)) for name in manypaths.__all__)
    with pytest.raises(AttributeError, match="no attribute 'rgra'"):
        _ = manypaths.rgra


def test_a_comparison_needs_no_torch():
    assert reach("compare")[1] == {"numpy", "yaml"}
    assert reach("report")[1] == set() and reach("figures")[1] == {"matplotlib"}


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("reweight.py", "from manypaths.embed import embedder", "reweight.py imports our embed: a new arrow, reweight"),
        ("reweight.py", "from . import trl", "a new arrow, reweight -> trl"),
        ("reweight.py", "from .trl import Groups", "a new arrow, reweight -> trl"),
        ("rewards.py", "import manypaths.trl", "a new arrow, rewards -> trl"),
        ("rewards.py", "from manypaths import grading, recipe", "a new arrow, rewards -> recipe"),
        ("trl.py", "from manypaths import mmr", "a new arrow, trl -> __init__"),
        ("run.py", "def f():\n    from manypaths import cli", "a new arrow, run -> cli"),
        ("reweight.py", "import numpy as np", "reweight.py cannot be imported without numpy: a new arrow"),
        ("recipe.py", "import torch", "a new arrow, recipe -> torch"),
        ("recipe.py", "def f():\n    import trl.trainer", "recipe.py imports, in a function, trl: a new arrow"),
        ("problems.py", "def f():\n    from torch import Tensor", "a new arrow, problems -> torch"),
        ("embed.py", "if True:\n    import sentence_transformers", "without sentence_transformers: a new arrow"),
        ("utils.py", "", "utils.py is not in the table"),
    ],
)
def test_a_new_arrow_is_named(name, code, complaint, tmp_path):
    (tmp_path / name).write_text(code)
    (found,) = complaints(tmp_path / name)
    assert complaint in found


def test_what_the_table_allows_passes(tmp_path):
    (tmp_path / "trl.py").write_text("import json, torch.nn\nfrom manypaths.reweight import mmr\nfrom trl import X")
    assert complaints(tmp_path / "trl.py") == []
