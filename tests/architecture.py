"""The rooms of `bccl_jax`, their floors, the imports between them, and a picture of all that.

    python -m tests.architecture            # prints the picture
    python -m tests.architecture --write    # puts it into docs/architecture.md

A room is a subpackage, or a module beside them. Imports are read from the source, also those within
functions, and nothing is imported for it. The one import that this does not see is that of a method
by its name, in `methods/__init__.py`, which goes down.
"""

import ast
import functools
import importlib.util
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "bccl_jax"
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- picture: python -m tests.architecture --write -->", "<!-- end of picture -->"

# From the lowest up; those on one floor do not know each other.
Floors = tuple[tuple[str, ...], ...]
FLOORS: Floors = (
    ("errors",),
    ("settings", "system"),
    ("devices", "clustering", "tracking"),
    ("augment", "losses", "models", "optimization"),
    ("data",),
    ("methods",),
    ("config",),
    ("reporting",),
    ("inspecting", "workdir"),
    ("classifier",),
    ("evaluation", "use"),
    ("training", "page"),
    ("commands",),
    ("main", "predict", "share", "export", "report", "datasets", "__main__"),
)
# Every part of a room that no floor names.
EACH = "every other one"
WITHIN: dict[str, Floors] = {
    "data": (
        ("__init__", "encoded", "long_tail", "sampling", "checks"),
        ("subset", "split"),
        ("order",),
        ("photographs", "downloading"),
        ("formats",),
        ("sources",),
        ("tested", "fingerprint"),
        ("feeding",),
        ("packing",),
    ),
    # `shared` is what methods have in common beyond the seam, so that it may stand on `base`. Those
    # of CUDA are another method each, under a curriculum, and `bccl_plus` is BCCL and more.
    "methods": (
        ("seam",),
        ("base",),
        ("shared",),
        (EACH,),
        (
            "bccl_plus",
            "cuda",
            "cuda_balanced_softmax",
            "cuda_bccl",
            "cuda_bcl",
            "cuda_ldam_drw",
        ),
        ("__init__",),
    ),
}


class Import(NamedTuple):
    """One import.

    Attributes:
      importer: the module.
      imported: another one, or what is not of the package.
      line: where the importer says so.
    """

    importer: str
    imported: str
    line: int


@functools.cache
def modules() -> dict[str, pathlib.Path]:
    """The modules of the package by name; a package's own is its `__init__.py`."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imports_of(module: str) -> tuple[Import, ...]:
    """Everything that a module imports, wherever it does."""
    path, found = modules()[module], set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            below = [f"{origin}.{alias.name}" for alias in node.names]
            names = [name if name in modules() else origin for name in below]
        found |= {Import(module, name, node.lineno) for name in names if name != module}
    return tuple(sorted(found, key=lambda arrow: (arrow.line, arrow.imported)))


def arrows() -> list[Import]:
    """The imports of modules of the package by others of it."""
    return [
        arrow for module in modules() for arrow in imports_of(module) if arrow.imported in modules()
    ]


def room(module: str) -> str:
    """The room that a module is in, or is."""
    return part(module, PACKAGE)


def part(module: str, package: str) -> str:
    """What of a package a module is or is in."""
    return module.removeprefix(package).lstrip(".").partition(".")[0] or "__init__"


def within(name: str) -> list[Import]:
    """The imports of a room's modules by others of the same room."""
    return [a for a in arrows() if room(a.importer) == room(a.imported) == name]


def floor(name: str, floors: Floors) -> int | None:
    """How high something is, from 0; None where no floor has it."""
    for wanted in (name, EACH):
        for height, parts in enumerate(floors):
            if wanted in parts:
                return height
    return None


def climbing(
    imports: Iterable[Import], part_of: Callable[[str], str], floors: Floors
) -> Iterator[str]:
    """A sentence for each import that does not go down from floor to floor.

    Args:
      imports: all of them.
      part_of: module -> what has a floor.
      floors: of these.

    Yields:
      The module and the line, what it imports, and the floors of both.
    """
    for importer, imported, line in imports:
        upper, lower = part_of(importer), part_of(imported)
        heights = floor(upper, floors), floor(lower, floors)
        if upper == lower or (None not in heights and heights[0] > heights[1]):
            continue
        places = [
            f"{name} is on floor {height} ({', '.join(floors[height])})"
            if height is not None
            else f"{name} has no floor"
            for name, height in zip((upper, lower), heights, strict=True)
        ]
        yield (
            f"{where(importer)}:{line} imports {imported}, which does not go down: "
            f"{', '.join(places)}"
        )


def where(module: str) -> str:
    """The path of a module from the root."""
    return str(modules()[module].relative_to(ROOT)) if module in modules() else module


def graph(imports: Iterable[Import], part_of: Callable[[str], str] = str) -> dict[str, set[str]]:
    """What each part imports of the others."""
    found = {}
    for importer, imported, _ in imports:
        upper, lower = part_of(importer), part_of(imported)
        found.setdefault(lower, set())
        found.setdefault(upper, set())
        if upper != lower:
            found[upper].add(lower)
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """A graph without cycles and without the arrows that follow from the others."""

    def reached(start):
        found = [start]
        for name in found:
            found += graph[name] - set(found)
        return found

    return {
        upper: {
            lower
            for lower in below
            if not any(lower in reached(other) for other in below - {lower})
        }
        for upper, below in graph.items()
    }


def about(name: str) -> str:
    """What is in a room: the first sentence of its docstring."""
    text = ast.get_docstring(ast.parse(modules()[f"{PACKAGE}.{name}"].read_text(encoding="utf-8")))
    return re.split(r"\.(?=\s|$)", text or "", maxsplit=1)[0].replace('"', "'").replace("\n", " ")


def picture() -> str:
    """The rooms, floor by floor, as a mermaid flowchart: each arrow is an import.

    An arrow is left out where a way along others leads to the same room.
    """
    below = reduced(graph(arrows(), room))
    lines = ["```mermaid", "flowchart TB"]
    for rooms in reversed(FLOORS):
        lines += [f'    {name}["{name}<br/>{about(name)}"]' for name in rooms]
    height = functools.partial(floor, floors=FLOORS)
    for upper in (name for rooms in reversed(FLOORS) for name in rooms):
        lowers = sorted(below.get(upper, ()), key=lambda name: (-height(name), name))
        lines += [f"    {upper} --> {' & '.join(lowers)}"] if lowers else []
        # Lines that are not drawn hold the rooms of a floor in one row.
        next_floor = FLOORS[height(upper) - 1] if height(upper) else ()
        unseen = [name for name in next_floor if name not in lowers]
        lines += [f"    {upper} ~~~ {' & '.join(unseen)}"] if unseen else []
    return "\n".join([*lines, "```"])


def shown() -> str:
    """The picture that the document shows."""
    return _split(DOCUMENT.read_text(encoding="utf-8"))[1].strip()


def write() -> None:
    """Puts the picture into the document, between its two marks."""
    before, _, after = _split(DOCUMENT.read_text(encoding="utf-8"))
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{picture()}\n\n{END}{after}", encoding="utf-8")


def _split(text: str) -> tuple[str, str, str]:
    before, _, rest = text.partition(BEGIN)
    found, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{DOCUMENT.name} lacks the lines {BEGIN} and {END}")
    return before, found, after


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        print(picture())
