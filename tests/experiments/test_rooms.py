"""The rooms of `experiments`: each imports those below it alone, and no module grows too long."""

import ast
import graphlib
import importlib.util
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


def imports(path):
    """(module, level) of what a module imports, and of what it imports from there."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level
            below = f"{node.module}." if node.module else ""
            yield from ((f"{below}{alias.name}", node.level) for alias in node.names)


def imported(path):
    """The modules of `experiments` that a module imports."""
    package = ".".join(path.parent.relative_to(ROOT.parent).parts)
    found = {
        importlib.util.resolve_name("." * level + name, package) for name, level in imports(path)
    }
    return found & MODULES.keys()


def test_every_module_is_in_a_room_or_a_command():
    above = {path.stem for path in ROOT.glob("*.py")}
    pages = {"methods_page", "leaderboard", "keys_page", "concept_figures"}
    assert above == {"__init__", "run", "report", "embedding_picture"} | pages
    assert {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} == set(ROOMS)


def test_imports_go_downwards_without_a_cycle():
    graph = {module: imported(path) for module, path in MODULES.items()}
    upwards = [
        (m, other) for m, below in graph.items() for other in below if level(other) > level(m)
    ]
    assert upwards == []
    assert "experiments.running.worker" in graph["experiments.running.runner"]
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_module_is_longer_than_300_lines():
    long = {m: len(path.read_text().splitlines()) for m, path in MODULES.items()}
    assert {m: lines for m, lines in long.items() if lines > 300} == {}


def test_modules_import_each_other_by_relative_names():
    """Installed, they are `bccl_jax.experiments`, beside no folder of the repository."""
    absolute = {
        module: named
        for module, path in MODULES.items()
        if (
            named := {
                name
                for name, level in imports(path)
                if not level and name.partition(".")[0] in ("experiments", "configs", "benchmarks")
            }
        )
    }
    assert absolute == {}
