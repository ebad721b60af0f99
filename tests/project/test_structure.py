"""Imports between the package's modules, and the lists of modules in its docstrings."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter

import pytest
from places import ROOT

pytest.importorskip("torch")  # an export needs it

from vsparagon.onnx.graph_cache import EXPORTERS

# Packages and modules that an export imports, but whose changes do not affect its graphs.
NEUTRAL = {"colours", "errors", "geometry", "lazy", "system"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[: -(parts[-1] == "__init__") or None])


def imported(path, modules):
    """Yield the modules that a module imports, at its top or in functions, except those for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    left_out = {inner for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node not in left_out:
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full in modules else node.module


def imports():
    modules = {module_name(path): path for path in (ROOT / "vsparagon").rglob("*.py")}
    return {name: set(imported(path, modules)) & modules.keys() - {name} for name, path in modules.items()}


def test_no_module_needs_one_that_needs_it():
    graph = imports()
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()
    graph["vsparagon.errors"] = {"vsparagon.filter"}
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_no_package_needs_one_that_needs_it():
    graph = defaultdict(set)
    for name, needed in imports().items():
        graph[package_of(name)] |= {package_of(other) for other in needed} - {package_of(name)}
    assert "vsparagon.models" in graph["vsparagon.backends"]
    TopologicalSorter(graph).prepare()
    graph["vsparagon.models"].add("vsparagon.backends")
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def package_of(module):
    """The package below `vsparagon` that a module belongs to, or the module itself."""
    return ".".join(module.split(".")[:2])


def test_kept_graphs_are_those_of_all_the_code_that_makes_them(tmp_path):
    code = (
        "import sys, pathlib, vsparagon.onnx.graph_cache as graphs, vsparagon.models.bundled as bundled\n"
        "model = bundled.bundled_model('nano', 2, 'clean')\n"
        "graphs.inference_graph(model.checkpoint, pathlib.Path(sys.argv[1]))\n"
        "graphs.plan_stages(model.checkpoint, pathlib.Path(sys.argv[1]))\n"
        "print(*(name for name in sys.modules if name.startswith('vsparagon.')), sep='\\n')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {name.split(".")[1] for name in done.stdout.split()} - NEUTRAL == set(EXPORTERS)


@pytest.mark.parametrize(
    "package", sorted(p.parent for p in (ROOT / "vsparagon").rglob("__init__.py")), ids=lambda p: p.name
)
def test_map_of_a_package_names_what_is_in_it(package):
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    files = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    named = set(re.findall(r"^ *(\w+\.py)\b", text, re.MULTILINE))
    assert named == files or (package.name == "vsparagon" and not named)
