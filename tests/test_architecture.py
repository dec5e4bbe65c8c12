"""What docs/architecture.md says of rooms and imports is so."""

import graphlib

import pytest

from tests import architecture
from tests.architecture import EACH, FLOORS, PACKAGE, ROOT, WITHIN, Import, room

# Functions over arrays, of which each can be read and used alone.
PURE = {"augment", "clustering", "losses", "models"}
UNDER_PURE = {"errors", "settings"}
# What is imported where a picture is decoded: `stream` is below `pipeline`.
READERS = (f"{PACKAGE}.data.feeding.pipeline", f"{PACKAGE}.inspecting.verification")
STARTS_JAX = {"chex", "flax", "jax", "jaxlib", "optax", "orbax"}

MOST_LINES = 300
# Modules that still are longer, and how long they may be at most. Nothing is to be added here.
LONGER: dict[str, int] = {}


def listed(sentences):
    return "".join(f"\n  {sentence}" for sentence in sentences)


def said(imports):
    return listed(
        f"{architecture.where(a.importer)}:{a.line} imports {a.imported}" for a in imports
    )


def in_room(name):
    return lambda module: architecture.part(module, f"{PACKAGE}.{name}")


def test_every_room_has_one_floor():
    floors = [name for rooms in FLOORS for name in rooms]
    there = {room(module) for module in architecture.modules()} - {"__init__"}
    assert sorted(floors) == sorted(there), "FLOORS of tests/architecture.py and bccl_jax/ differ"


@pytest.mark.parametrize("name", WITHIN)
def test_every_part_of_a_room_with_floors_has_one(name):
    floors = [part for parts in WITHIN[name] for part in parts]
    assert len(floors) == len(set(floors))
    there = {in_room(name)(m) for m in architecture.modules() if room(m) == name}
    assert set(floors) - {EACH} <= there, f"WITHIN[{name!r}] names parts that are not there"
    if EACH not in floors:
        assert there <= set(floors), f"WITHIN[{name!r}] lacks parts of bccl_jax/{name}/"


def test_imports_go_down_from_floor_to_floor():
    found = list(architecture.climbing(architecture.arrows(), room, FLOORS))
    assert not found, listed(found)


@pytest.mark.parametrize("name", WITHIN)
def test_imports_within_a_room_go_down(name):
    found = list(
        architecture.climbing(architecture.within(name), in_room(name), WITHIN[name]),
    )
    assert not found, listed(found)


@pytest.mark.parametrize("of", ["rooms", "modules"])
def test_no_imports_go_round(of):
    part_of = {"rooms": room, "modules": str}[of]
    graph = architecture.graph(architecture.arrows(), part_of)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these {of} import each other: {' <- '.join(error.args[1])}")


def test_functions_over_arrays_import_no_other_room():
    found = [
        a
        for a in architecture.arrows()
        if room(a.importer) in PURE and room(a.imported) not in PURE | UNDER_PURE
    ]
    assert not found, f"only {sorted(PURE | UNDER_PURE)} may be imported there:{said(found)}"


def test_methods_do_not_know_the_training():
    arrows = architecture.arrows()
    found = [a for a in arrows if (room(a.importer), room(a.imported)) == ("methods", "training")]
    assert not found, said(found)


@pytest.mark.parametrize("reader", READERS)
def test_reader_processes_never_import_jax(reader):
    """Nor what does: a runtime would start in each of them."""
    ways, todo = {reader: reader}, [reader]
    for module in todo:
        # Python runs the packages around a module as well.
        parts = module.split(".")
        around = {".".join(parts[:end]) for end in range(1, len(parts))}
        found = architecture.imports_of(module)
        for name in sorted(around | {arrow.imported for arrow in found}):
            if name in architecture.modules() and name not in ways:
                ways[name] = f"{ways[module]} -> {name}"
                todo.append(name)
        guilty = [arrow for arrow in found if arrow.imported.partition(".")[0] in STARTS_JAX]
        assert not guilty, f"{ways[module]}:{said(guilty)}"
    assert f"{PACKAGE}.data.photographs.decode" in ways


def test_no_module_is_too_long():
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in architecture.modules().values()
    }
    long = [
        f"{path} has {count} lines, {count - most} too many"
        for path, count in lines.items()
        if count > (most := LONGER.get(path, MOST_LINES))
    ]
    assert not long, listed(long)
    done = [path for path in LONGER if lines.get(path, 0) <= MOST_LINES]
    assert not done, f"take out of LONGER, for they are short enough by now:{listed(done)}"


def test_the_picture_is_that_of_the_imports():
    assert architecture.shown() == architecture.picture(), (
        "docs/architecture.md shows another picture than the imports make; "
        "python -m tests.architecture --write mends it"
    )


def test_an_import_that_climbs_is_told_with_line_and_floors():
    losses, loop = f"{PACKAGE}.losses.margins", f"{PACKAGE}.training.loop"
    (sentence,) = architecture.climbing(
        [Import(losses, loop, 7), Import(loop, losses, 8)], room, (("losses",), ("training",))
    )
    assert sentence == (
        "bccl_jax/losses/margins.py:7 imports bccl_jax.training.loop, which does not go down: "
        "losses is on floor 0 (losses), training is on floor 1 (training)"
    )


def test_one_floor_keeps_its_rooms_apart_and_needs_to_be_given():
    one, other = f"{PACKAGE}.augment.views", f"{PACKAGE}.losses.margins"
    (apart,) = architecture.climbing([Import(one, other, 1)], room, (("augment", "losses"),))
    assert "augment is on floor 0 (augment, losses), losses is on floor 0" in apart
    (lacking,) = architecture.climbing([Import(one, other, 1)], room, (("augment",),))
    assert lacking.endswith("losses has no floor")


def test_a_picture_leaves_out_arrows_that_follow_from_others():
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set(), "e": {"a", "d"}}
    assert architecture.reduced(graph) == {
        "a": {"b"},
        "b": {"c"},
        "c": {"d"},
        "d": set(),
        "e": {"a"},
    }
