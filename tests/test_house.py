"""The house of the package: which room may import which, what loads when, and what every module carries."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bayesdecay

PACKAGE = Path(bayesdecay.__file__).parent
# From left to right; a module imports from its own room and from rooms to its left.
ROOMS = ["top", "data", "model", "decide", "show", "doors"]
MODEL_ONLY = {"pymc", "pytensor", "nutpie"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    """Room of a module of the package, names, units, errors and curves being the leftmost."""
    part = module.split(".")[1]
    return part if part in ROOMS else "top"


def type_checking_lines(tree: ast.Module) -> set[int]:
    """Lines that only a type checker sees."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {line for block in blocks for part in block.body for line in range(part.lineno, part.end_lineno + 1)}


def imports(path: Path, *, at_run_time: bool = False) -> set[str]:
    """Names of the modules that a file imports anywhere, in its functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = type_checking_lines(tree) if at_run_time else set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and node.lineno not in hidden:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.lineno not in hidden:
            # `from bayesdecay.data import events` names a module, `from bayesdecay.data.events import Events` a thing.
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else str(node.module))
    return found


INSIDE = [name for name in MODULES if name != "bayesdecay"]  # the front door names every room, and loads none


@pytest.mark.parametrize("module", INSIDE)
def test_imports_go_left(module):
    own = ROOMS.index(room(module))
    wrong = sorted(
        other
        for other in imports(MODULES[module])
        if other.startswith("bayesdecay.") and ROOMS.index(room(other)) > own
    )
    assert not wrong, f"{module} is in room {room(module)!r} and imports {wrong} from its right"


def test_no_import_cycle():
    graph = {name: imports(MODULES[name], at_run_time=True) & set(INSIDE) - {name} for name in INSIDE}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the cycle
    assert set(order) == set(INSIDE)


@pytest.mark.parametrize("module", INSIDE)
def test_only_the_model_room_knows_pymc(module):
    found = {name.split(".")[0] for name in imports(MODULES[module])} & MODEL_ONLY
    assert not found or room(module) == "model", f"{module} imports {sorted(found)}; only bayesdecay.model may"


@pytest.mark.parametrize("module", INSIDE)
def test_only_the_folder_of_scale_knows_pyspark(module):
    knows = any(name.split(".")[0] == "pyspark" for name in imports(MODULES[module]))
    assert not knows or module.startswith("bayesdecay.data.scale."), f"{module} imports pyspark"


@pytest.mark.parametrize("module", MODULES)
def test_module_says_what_it_is_and_what_it_offers(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{module} has no docstring"
    targets = {
        ast.unparse(target)
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    only_words = len(tree.body) == 1  # a room's front door may be its docstring and nothing else
    assert only_words or "__all__" in targets, f"{module} has no __all__"


@pytest.mark.parametrize("name", bayesdecay.__all__)
def test_public_name_resolves(name):
    value = getattr(bayesdecay, name)
    assert value is not None
    if name != "__version__":
        assert value.__name__ == name
        assert name in importlib.import_module(value.__module__).__all__


def test_editors_see_the_public_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    hidden = type_checking_lines(tree)
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.lineno in hidden]
    seen = {alias.name for node in froms for alias in node.names}
    assert seen == set(bayesdecay.__all__) - {"__version__"}
    assert set(bayesdecay.__all__) <= set(dir(bayesdecay))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'decay_model'"):
        _ = bayesdecay.decay_model


def test_import_is_light_and_quick():
    code = (
        "import time, sys, json; start = time.perf_counter(); import bayesdecay; took = time.perf_counter() - start;"
        "print(json.dumps([took, sorted({name.split('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, loaded = json.loads(done.stdout)
    assert took < 1.0
    assert not {"pymc", "pytensor", "arviz", "duckdb", "pandas", "numpy", "matplotlib", "numba"} & set(loaded)
