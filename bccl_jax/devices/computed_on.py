"""What a run computes on, in words: a figure of speed or of rounding depends on it."""

import os
import pathlib
import platform
from typing import NamedTuple

import jax


class ComputedOn(NamedTuple):
    """What a process computes on.

    Attributes:
      device: the kind of the devices; of CPUs the model's name.
      devices: how many JAX has.
      cores: of the CPU that the process may use.
    """

    device: str
    devices: int
    cores: int


def computed_on() -> ComputedOn:
    """Returns it; initialises JAX."""
    device = jax.devices()[0]
    kind = _cpu_model() if device.platform == "cpu" else device.device_kind
    return ComputedOn(kind, jax.device_count(), len(os.sched_getaffinity(0)))


def _cpu_model() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
