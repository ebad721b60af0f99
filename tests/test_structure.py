"""Imports between the package's modules, and the lists of modules in its docstrings."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

pytest.importorskip("torch")  # an export needs it

from vsparagon.graphs import EXPORTERS

ROOT = Path(__file__).resolve().parents[1]
# Modules that an export imports, but whose changes do not affect its graphs.
NEUTRAL = {"bundled", "errors", "files", "layout", "resampling", "tiles", "tiles.extension", "tiles.geometry"}


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


def test_no_module_needs_one_that_needs_it():
    modules = {module_name(path): path for path in (ROOT / "vsparagon").rglob("*.py")}
    graph = {name: set(imported(path, modules)) & modules.keys() - {name} for name, path in modules.items()}
    assert len(graph) > 100
    TopologicalSorter(graph).prepare()
    graph["vsparagon.errors"] = {"vsparagon.filter"}
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_kept_graphs_are_those_of_all_the_code_that_makes_them(tmp_path):
    code = (
        "import sys, pathlib, vsparagon.graphs as graphs, vsparagon.bundled as bundled\n"
        "model = bundled.bundled_model('nano', 2, 'clean')\n"
        "graphs.inference_graph(model.checkpoint, pathlib.Path(sys.argv[1]))\n"
        "graphs.plan_stages(model.checkpoint, pathlib.Path(sys.argv[1]))\n"
        "print(*(name for name in sys.modules if name.startswith('vsparagon.')), sep='\\n')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    used = {name.removeprefix("vsparagon.") for name in done.stdout.split()}
    packages = {name for name in EXPORTERS if (ROOT / "vsparagon" / name).is_dir()}
    assert {name.split(".")[0] if name.split(".")[0] in packages else name for name in used} - NEUTRAL == set(EXPORTERS)


@pytest.mark.parametrize(
    "package", sorted(p.parent for p in (ROOT / "vsparagon").rglob("__init__.py")), ids=lambda p: p.name
)
def test_map_of_a_package_names_what_is_in_it(package):
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    files = {path.name for path in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    named = set(re.findall(r"^ *(\w+\.py)\b", text, re.MULTILINE))
    assert not named or named == files
