"""The rooms of `experiments`: each imports those below it alone, and no module grows too long."""

import ast
import graphlib
import pathlib

import experiments

ROOT = pathlib.Path(experiments.__file__).parent
# From the lowest up; commands stand above all.
ROOMS = ("designing", "records", "running", "tables", "figures", "embeddings", "reporting")
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in ROOT.rglob("*.py")
}


def level(module):
    parts = module.split(".")
    return ROOMS.index(parts[1]) if len(parts) > 2 else len(ROOMS)


def imported(path):
    """The modules of `experiments` that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & MODULES.keys()


def test_every_module_is_in_a_room_or_a_command():
    above = {path.stem for path in ROOT.glob("*.py")}
    assert above == {"__init__", "run", "report", "embedding_picture", "methods_page"}
    assert {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} == set(ROOMS)


def test_imports_go_downwards_without_a_cycle():
    graph = {module: imported(path) for module, path in MODULES.items()}
    upwards = [
        (m, other) for m, below in graph.items() for other in below if level(other) > level(m)
    ]
    assert upwards == []
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_module_is_longer_than_300_lines():
    long = {m: len(path.read_text().splitlines()) for m, path in MODULES.items()}
    assert {m: lines for m, lines in long.items() if lines > 300} == {}
