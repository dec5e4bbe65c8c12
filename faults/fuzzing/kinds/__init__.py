"""Kinds of inputs, by name."""

from faults.fuzzing.kinds import (
    checkpoints,
    cifar,
    command_line,
    environment,
    lists,
    packed,
    pictures,
    results,
    run_files,
    shared,
    weights,
)
from faults.fuzzing.surface import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for module in (
        lists,
        packed,
        cifar,
        pictures,
        command_line,
        environment,
        run_files,
        checkpoints,
        shared,
        weights,
        results,
    )
    for kind in module.KINDS
}
