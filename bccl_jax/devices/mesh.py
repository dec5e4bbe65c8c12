"""The devices of a run: one mesh over the batch, on one host or many."""

import os
import sys
from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from bccl_jax.devices.lost import joined_within
from bccl_jax.errors import ConfigError
from bccl_jax.system.documentation import page
from bccl_jax.system.environment import cache_folder, can_be_written, check_xla_flags
from bccl_jax.system.numbers import whole_number

# The one axis, over which batches are split, and classes where a method asks for it.
AXIS = "data"
# What JAX_PLATFORMS may name.
_PLATFORMS = ("cpu", "cuda", "gpu", "rocm", "tpu", "proxy")
# Either has a GPU take only kernels that give the same bits; the first costs less.
_DETERMINISTIC = ("--xla_gpu_exclude_nondeterministic_ops", "--xla_gpu_deterministic_ops")


def configure(deterministic: bool) -> None:
    """Sets what JAX reads once, before it touches a device: kernels, and where compiled code lies.

    The user's own XLA_FLAGS and cache stay. A run does it first; a second time changes nothing.

    Args:
      deterministic: whether a GPU takes only kernels that give the same bits every time.

    Raises:
      ConfigError: XLA does not take XLA_FLAGS.
    """
    flags = os.environ.get("XLA_FLAGS", "").strip()
    wanted = deterministic and not any(flag in flags for flag in _DETERMINISTIC)
    started = _has_started()
    if not started:
        check_xla_flags(flags)
    # What does not begin with a dash is the name of a file that holds the flags.
    if wanted and not started and (not flags or flags.startswith("-")):
        os.environ["XLA_FLAGS"] = f"{flags} {_DETERMINISTIC[0]}=true".strip()
    elif wanted and (not started or jax.default_backend() == "gpu"):
        why = "JAX has started already" if started else "XLA_FLAGS names a file"
        print(
            f"config.deterministic has no effect, for {why}: put {_DETERMINISTIC[0]}=true into "
            "XLA_FLAGS before JAX is first used, or the same run may differ in its last bits",
            file=sys.stderr,
        )
    cache = jax.config.jax_compilation_cache_dir
    if not cache:
        if (folder := cache_folder("jax")) is not None:
            jax.config.update("jax_compilation_cache_dir", str(folder))
    elif "://" not in cache and not can_be_written(cache):
        jax.config.update("jax_compilation_cache_dir", None)
        print(
            f"JAX_COMPILATION_CACHE_DIR={cache} cannot be written: every start compiles anew",
            file=sys.stderr,
        )


def _has_started() -> bool:
    # JAX has no public word for it.
    from jax._src import xla_bridge

    return getattr(xla_bridge, "backends_are_initialized", lambda: False)()


def devices() -> list[jax.Device]:
    """The devices of all processes; starts JAX.

    Raises:
      ConfigError: JAX cannot start on what the environment or the config of JAX asks for.
    """
    try:
        return jax.devices()
    except Exception as error:  # an assertion without a word is among them
        asked = jax.config.jax_platforms
        told = str(error) if isinstance(error, RuntimeError) else ""
        reason = (
            (told.splitlines() or ["it is not installed"])[0].partition(" (set ")[0].rstrip(".")
        )
        if not asked:
            raise ConfigError(
                f"JAX cannot start ({reason}); JAX_PLATFORMS=cpu does without an accelerator"
            ) from error
        unknown = [name for name in asked.split(",") if name not in _PLATFORMS]
        if unknown:
            raise ConfigError(
                f"JAX_PLATFORMS={asked} names {unknown[0]!r}, which is no kind of device; unset "
                "it, or write cpu, cuda or tpu"
            ) from error
        if "gpu" in asked.split(","):
            # JAX's own word is of the last kind of GPU that it tried.
            reason = "there is no GPU, or no JAX for it is installed"
        raise ConfigError(
            f"JAX cannot start on JAX_PLATFORMS={asked} ({reason}); unset it to take what is "
            "there, or install JAX for it: pip install -r requirements.txt has CUDA"
        ) from error


def initialize_processes() -> bool:
    """Joins the processes of a run if the environment says that there are several.

    Read are SLURM's and Open MPI's variables, those of JAX (JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES, JAX_PROCESS_ID) and those of torchrun (MASTER_ADDR, MASTER_PORT, WORLD_SIZE,
    RANK, and LOCAL_WORLD_SIZE and LOCAL_RANK where a host has several); and
    BCCL_JAX_HEARTBEAT_SECONDS, after which a silent process counts as lost, and
    BCCL_JAX_JOIN_SECONDS, after which this process ends by `ending.LOST_PROCESS` if not all have
    come. Must come before anything else of JAX.

    Returns:
      Whether this is one process of several.

    Raises:
      ConfigError: the variables are incomplete, or the other processes cannot be reached.
    """
    environment = os.environ
    given = {}
    if "JAX_COORDINATOR_ADDRESS" in environment:
        given = _numbered("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    elif _count("WORLD_SIZE") > 1:
        given = _numbered("MASTER_ADDR", "WORLD_SIZE", "RANK")
        # torchrun itself listens on the port that it names.
        given["coordinator_address"] += f":{(_count('MASTER_PORT') or 29500) + 1}"
        if _count("LOCAL_WORLD_SIZE") > 1:
            given["local_device_ids"] = [_count("LOCAL_RANK")]
    elif _count("SLURM_STEP_NUM_TASKS") <= 1 and _count("OMPI_COMM_WORLD_SIZE") <= 1:
        return False
    if given:
        if ":" not in given["coordinator_address"]:
            raise ConfigError(
                f"JAX_COORDINATOR_ADDRESS is {given['coordinator_address']!r}; it must be HOST:PORT"
            )
        if given["process_id"] == 0:
            print(
                f"waiting for {given['num_processes']} processes at {given['coordinator_address']}",
                flush=True,
            )
    heartbeat = _count("BCCL_JAX_HEARTBEAT_SECONDS") or 100
    patience = _count("BCCL_JAX_JOIN_SECONDS") or 300
    processes = f"{given['num_processes']} processes" if given else "its processes"
    try:
        with joined_within(patience, processes):
            # SLURM and Open MPI are known to JAX itself.
            jax.distributed.initialize(
                **given,
                # Longer, for its own end is a trace.
                initialization_timeout=2 * patience,
                heartbeat_timeout_seconds=heartbeat,
                shutdown_timeout_seconds=heartbeat,
            )
    except Exception as error:  # whatever the network and the scheduler trip over
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"the processes of this run cannot be joined ({first_line}); see {page('scaling.md')} "
            "for the variables that each needs"
        ) from error
    return jax.process_count() > 1


def in_several_processes() -> bool:
    """Whether this is one process of several, without starting anything."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def _count(name):
    """What a variable says, 0 where it is not set."""
    value = os.environ.get(name) or "0"
    if (number := whole_number(value)) is None:
        raise ConfigError(f"{name} is {value!r}; set a whole number, or unset it")
    return number


def _numbered(address, processes, process):
    for name in (address, processes, process):
        value = os.environ.get(name) or ""
        if not value or (name != address and whole_number(value) is None):
            raise ConfigError(
                f"{address} and its like say that this is one process of several, but {name} is "
                f"{os.environ.get(name)!r}; set {address}, {processes} and {process}, or none"
            )
    return {
        "coordinator_address": os.environ[address],
        "num_processes": int(os.environ[processes]),
        "process_id": int(os.environ[process]),
    }


def create_mesh(config) -> Mesh:
    """The mesh of the devices that share a batch.

    Args:
      config: `devices`, `batch_size`, `accumulation` and `model.batch_norm` are read.

    Returns:
      A mesh of the one axis `AXIS`.

    Raises:
      ConfigError: there are fewer devices, they do not divide the batch, or their number has to be
        said and is not.
    """
    there = devices()
    number = config.devices or len(there)
    if number > len(there):
        raise ConfigError(f"config.devices is {number} but there are {len(there)}; lower it")
    if number < len(there) and jax.process_count() > 1:
        raise ConfigError(
            f"config.devices is {number}, fewer than the {len(there)} of all processes; "
            "leave it 0 and start fewer processes"
        )
    if config.model.batch_norm == "device" and not config.devices:
        raise ConfigError(
            "config.model.batch_norm is 'device', which makes the number of devices part of the "
            f"run; write it: config.devices={len(there)} for all there are"
        )
    processes = Counter(device.process_index for device in there)
    if len(set(processes.values())) > 1:
        raise ConfigError(
            f"the processes have {sorted(processes.values())} devices; each must have as many as "
            "the others"
        )
    part = config.batch_size // config.accumulation
    if part % number:
        raise ConfigError(
            f"config.batch_size is {config.batch_size} in {config.accumulation} parts, which "
            f"{number} devices cannot share evenly; make it a multiple of "
            f"{number * config.accumulation}, or lower config.devices"
        )
    return mesh_over(there[:number])


def mesh_over(devices: Sequence[jax.Device]) -> Mesh:
    """The mesh of the one axis `AXIS` over some devices."""
    # Auto: with axes of the Explicit type, the default, z @ z.T of a contrastive loss is an error.
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on each device."""
    return NamedSharding(mesh, PartitionSpec())


def split_over(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """An array whose `axis` the devices share, in contiguous parts."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def local_rows(batch_size: int) -> range:
    """Which rows of a batch are this process's to read: contiguous, as the mesh splits them."""
    share = batch_size // jax.process_count()
    return range(share * jax.process_index(), share * (jax.process_index() + 1))


def put(arrays, sharding: NamedSharding | None):
    """Sends this process's part of a pytree of arrays to its devices.

    Args:
      arrays: for an array split over the batch this process's `local_rows`, else the whole.
      sharding: of the arrays over all processes; None for this process's default device.

    Returns:
      The global arrays.
    """
    if sharding is None or jax.process_count() == 1:
        return jax.device_put(arrays, sharding)
    return jax.make_array_from_process_local_data(sharding, arrays)


def gather_rows(own: np.ndarray) -> np.ndarray:
    """Joins every process's `local_rows` of an array on the host to the whole batch's."""
    if jax.process_count() == 1:
        return own
    return np.asarray(multihost_utils.process_allgather(own, tiled=True))


def is_lead() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def speaks() -> bool:
    """Whether this process is the one that says something; starts nothing, as `is_lead` would."""
    return not in_several_processes() or is_lead()


def wait_for_all(what: str) -> None:
    """Returns once every process has come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
