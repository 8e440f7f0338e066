"""Which room may import which: imports point one way, and a new arrow fails until the table here has it.

A room is a folder of the package, or one of its modules that lies in none.
"""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "manypaths"

# room: (rooms it may import, packages needed to import one of its modules, packages that its functions import)
ROOMS = {
    "__init__": ("methods", "", ""),
    "methods": ("functions names", "torch", ""),
    "names": ("", "", ""),
    "functions": ("", "", ""),
    "messages": ("", "", ""),
    "printable": ("", "", ""),
    "tables": ("", "", ""),
    "terminal": ("", "", "tqdm"),
    "files": ("", "", "filelock"),
    "graded": ("counts grading", "", ""),
    "results": ("counts files graded printable", "", ""),
    "hub": ("", "", "huggingface_hub"),
    "statistics": ("", "numpy", ""),
    "counts": ("", "", ""),
    "checkpoint": ("files hub", "", "peft safetensors torch transformers"),
    "embed": ("checkpoint functions hub", "torch", "sentence_transformers transformers"),
    "grouping": ("messages", "", ""),
    "typed": ("names", "", ""),
    "yaml_text": ("", "yaml", ""),
    "sections": ("", "", ""),
    "recipe": ("names sections typed yaml_text", "", ""),
    "run_folder": ("files names printable recipe results sections yaml_text", "", ""),
    "result_rows": ("counts files names printable recipe results run_folder", "", ""),
    "resume": ("checkpoint files results run_folder", "", ""),
    "cpu": ("", "torch transformers trl", ""),
    "grading": ("", "latex2sympy2_extended math_verify sympy", ""),
    "verifiers": ("grading printable", "", ""),
    "problems": ("grading hub messages printable verifiers", "", "datasets pyarrow"),
    "rewards": ("functions grading messages printable verifiers", "", "trl"),
    "keys": ("embed functions grading names verifiers", "torch", ""),
    "completion_inputs": ("embed keys methods names", "torch", ""),
    "trainers": ("methods", "", ""),
    "wrapper": ("completion_inputs embed grouping keys messages methods names trainers", "torch", "accelerate"),
    "slime": ("completion_inputs embed grouping keys messages methods trainers", "torch", ""),
    "trl": (
        "completion_inputs credentials embed environment files keys messages methods model_card names printable "
        "run_folder trainers wrapper",
        "accelerate datasets torch transformers trl",
        "",
    ),
    "verl": ("completion_inputs methods names verl_settings", "omegaconf tensordict torch transfer_queue verl", ""),
    "verl_settings": ("completion_inputs embed keys methods names trainers typed", "omegaconf", ""),
    "verl_plugin": ("", "", ""),
    "evaluation": (
        "checkpoint counts cpu embed environment files graded grading keys messages names printable problems "
        "results run_folder sections statistics tables terminal verifiers",
        "",
        "torch transformers vllm",
    ),
    "preflight": (
        "__init__ methods names printable problems recipe rewards sections statistics trainers typed",
        "yaml",
        "huggingface_hub packaging peft psutil torch transformers trl",
    ),
    "check": ("counts files logs names preflight printable problems results run_folder statistics", "", ""),
    "callbacks": (
        "checkpoint environment evaluation files messages methods problems results resume run_folder terminal trl "
        "wrapper",
        "accelerate torch transformers",
        "",
    ),
    "logs": ("files messages names printable problems run_folder", "", ""),
    "explain": (
        "completion_inputs embed files keys logs methods names preflight printable recipe run_folder sections tables",
        "torch",
        "",
    ),
    "training": (
        "callbacks check checkpoint cpu embed environment evaluation files keys logs messages methods model_card "
        "names preflight printable problems recipe result_rows resume rewards run_folder sections terminal trainers "
        "trl typed verifiers yaml_text",
        "accelerate peft tokenizers torch transformers trl yaml",
        "datasets",
    ),
    "comparison": (
        "counts files graded names printable result_rows results run_folder statistics tables typed yaml_text",
        "matplotlib numpy",
        "",
    ),
    "environment": ("", "", "torch"),
    "credentials": ("", "", ""),
    "model_card": ("credentials files printable results run_folder statistics tables yaml_text", "", "huggingface_hub"),
    "completion": ("recipe", "", "shtab"),
    "cli": (
        "__init__ check comparison completion evaluation explain grading model_card preflight printable terminal "
        "training",
        "",
        "",
    ),
    "__main__": ("cli", "", ""),
}


def module_of(path):
    """`training.run` of src/manypaths/training/run.py; a room's __init__ is the room."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def package_of(path, level):
    """The package that a relative import with so many dots names in a file of ours."""
    return ".".join(("manypaths", *path.parents[level - 1].relative_to(PACKAGE).parts))


def imports(path):
    """(full name, whether only when a function is called) of everything that a file imports."""

    def visit(node, lazy):
        for child in ast.iter_child_nodes(node):
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            inside = inside or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                package = package_of(path, child.level) if child.level else None
                source = ".".join(filter(None, (package, child.module)))
                ours = source.split(".")[0] == "manypaths"
                names = [f"{source}.{alias.name}" for alias in child.names] if ours else [source]
                yield from ((name, inside) for name in names)
            yield from visit(child, inside)

    return list(visit(ast.parse(path.read_text("utf-8")), False))


def module_named(name):
    """The module of ours that `manypaths.name` is, or that it is a name in."""
    parts = name.split(".")[1:]
    inside = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((module for module in inside if module in MODULES), "__init__")


def room_of(module):
    return module.split(".")[0]


def arrows(room, path):
    """What a file of a room imports: (other rooms, packages at import, packages when called)."""
    rooms, needed, called = set(), set(), set()
    for name, lazy in imports(path):
        package = name.split(".")[0]
        if package == "manypaths":
            rooms.add(room_of(module_named(name)))
        elif package not in sys.stdlib_module_names:
            (called if lazy else needed).add(package)
    return rooms - {room}, needed, called


def complaints(room, path):
    """A sentence for every arrow of a file that the table does not have."""
    if room not in ROOMS:
        return [f"{room} is not in the table of tests/test_imports.py: add a line for what it may import."]
    allowed = [set(words.split()) for words in ROOMS[room]]
    allowed[2] |= allowed[1]
    verbs = ("imports our", "cannot be imported without", "imports, in a function,")
    end = "If it is meant, add it to tests/test_imports.py."
    return [
        f"{room}, {path.name}, {verb} {name}: a new arrow, {room} -> {name}. {end}"
        for verb, expected, imported in zip(verbs, allowed, arrows(room, path), strict=True)
        for name in sorted(imported - expected)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_no_new_arrow(module):
    actual = complaints(room_of(module), MODULES[module])
    assert not actual, "\n".join(actual)


def test_the_table_has_no_arrow_too_many():
    for room, row in ROOMS.items():
        files = [path for module, path in MODULES.items() if room_of(module) == room]
        imported = [set().union(*columns) for columns in zip(*(arrows(room, path) for path in files), strict=True)]
        for allowed, used in zip(row, imported, strict=True):
            assert set(allowed.split()) <= used, f"{room} no longer imports {set(allowed.split()) - used}"


def test_arrows_point_one_way():
    """No circle among rooms; nothing imports the command line, and nothing but that imports the run."""
    list(graphlib.TopologicalSorter({room: row[0].split() for room, row in ROOMS.items()}).static_order())
    assert [room for room in ROOMS if "cli" in ROOMS[room][0].split()] == ["__main__"]
    assert [room for room in ROOMS if "training" in ROOMS[room][0].split()] == ["cli"]


def test_no_circle_among_the_modules_of_a_room():
    graph = {
        module: {module_named(name) for name, lazy in imports(path) if name.startswith("manypaths.") and not lazy}
        - {module, room_of(module)}
        for module, path in MODULES.items()
    }
    list(graphlib.TopologicalSorter(graph).static_order())


def reach(module):
    """The modules of ours that are imported with one, and the packages from outside that this takes."""
    waiting, seen, outside = [module], set(), set()
    while waiting:
        seen.add(module := waiting.pop())
        named = [name for name, lazy in imports(MODULES[module]) if not lazy]
        ours = {module_named(name) for name in named if name.startswith("manypaths.")}
        ours |= {room_of(module)} if room_of(module) in MODULES else set()
        waiting += sorted(ours - seen - {"__init__"})
        outside |= {name.split(".")[0] for name in named} - {"manypaths"} - sys.stdlib_module_names
    return seen, outside


def test_the_public_names_need_torch_alone():
    assert reach("__init__") == ({"__init__"}, set())
    assert reach("methods")[1] <= {"torch"}
    import manypaths

    assert all(callable(getattr(manypaths, name)) for name in manypaths.__all__)
    with pytest.raises(AttributeError, match="no attribute 'rgra'"):
        _ = manypaths.rgra


def test_a_comparison_needs_no_torch():
    assert reach("comparison.compare")[1] == {"numpy", "yaml"}
    assert reach("comparison.report")[1] == set() and reach("comparison.figures")[1] == {"matplotlib"}


@pytest.mark.parametrize(
    ("room", "code", "complaint"),
    [
        ("methods", "from manypaths.embed import embedder", "imports our embed: a new arrow, methods -> embed"),
        ("methods", "from manypaths.trl.trainer import Groups", "a new arrow, methods -> trl"),
        ("rewards", "import manypaths.trl", "a new arrow, rewards -> trl"),
        ("rewards", "from manypaths import grading, recipe", "a new arrow, rewards -> recipe"),
        ("trl", "from manypaths import mmr", "a new arrow, trl -> __init__"),
        ("training", "def f():\n    from manypaths import cli", "a new arrow, training -> cli"),
        ("methods", "import numpy as np", "cannot be imported without numpy: a new arrow"),
        ("recipe", "import torch", "a new arrow, recipe -> torch"),
        ("recipe", "def f():\n    import trl.trainer", "imports, in a function, trl: a new arrow"),
        ("rewards", "def f():\n    from torch import Tensor", "a new arrow, rewards -> torch"),
        ("embed", "if True:\n    import sentence_transformers", "without sentence_transformers: a new arrow"),
        ("utils", "", "utils is not in the table"),
    ],
)
def test_a_new_arrow_is_named(room, code, complaint, tmp_path):
    (tmp_path / "new.py").write_text(code)
    (actual,) = complaints(room, tmp_path / "new.py")
    assert complaint in actual


def test_what_the_table_allows_passes(tmp_path):
    (tmp_path / "new.py").write_text("import json, torch.nn\nfrom manypaths import methods\nfrom trl import X")
    assert complaints("trl", tmp_path / "new.py") == []
