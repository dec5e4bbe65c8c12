"""What the parts of a run were computed on: its bits are the same for as long as that is."""

import importlib.metadata
import os
import pathlib
from typing import Any

import jax

from bccl_jax.devices.computed_on import computed_on
from bccl_jax.errors import WorkdirError
from bccl_jax.system.names import shown
from bccl_jax.system.progress import say
from bccl_jax.workdir import json_files

NAME = "computed_on.json"


def now() -> dict[str, Any]:
    """What this process computes on, of all that the bits of a run depend on; starts JAX."""
    found = computed_on()
    return {
        "device": found.device,
        "devices": found.devices,
        # In which order sums are added depends on them on a CPU alone.
        "cores": found.cores if jax.default_backend() == "cpu" else None,
        "processes": jax.process_count(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "xla_flags": " ".join(sorted(os.environ.get("XLA_FLAGS", "").split())),
    }


def note(directory: pathlib.Path, step: int) -> None:
    """Records what a run is computed on from a step on, and says what is another thing than before.

    Args:
      directory: of the run, which the caller holds.
      step: done so far. What was recorded of later steps, which are made anew, is dropped.

    Raises:
      WorkdirError: the record is broken.
    """
    found = now()
    parts = [part for part in read(directory) if part["step"] < step]
    before = parts[-1]["on"] if parts else None
    if before == found:
        return
    if before is not None:
        told = "; ".join(
            f"{name} {before.get(name)!s} before and {found[name]!s} now"
            for name in found
            if before.get(name) != found[name]
        )
        say(
            f"the run in {shown(directory)} goes on with other bits than it would have had, by "
            f"rounding: {told}"
        )
    json_files.write(directory / NAME, [*parts, {"step": step, "on": found}])


def read(directory: pathlib.Path) -> list[dict[str, Any]]:
    """What the parts of a run were computed on, [] of one of a time before that was recorded.

    Returns:
      For each part the "step" that it began after, and what it was computed "on".

    Raises:
      WorkdirError: the record is broken.
    """
    path = directory / NAME
    if not path.exists():
        return []
    parts = json_files.read(path, list)
    for part in parts:
        try:
            sound = type(part["step"]) is int and isinstance(part["on"], dict)
        except (KeyError, TypeError):
            sound = False
        if not sound:
            raise WorkdirError(
                f"{shown(path)} is not the record of what a run was computed on; restore it, or "
                "delete it to go on without that"
            )
    return parts
