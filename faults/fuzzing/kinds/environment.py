"""Variables of the environment: of schedulers, of folders, and our own."""

import errno
import os
import pathlib
import random

import jax

from bccl_jax.devices import mesh
from bccl_jax.errors import BcclError
from bccl_jax.system.environment import cache_folder, expanded
from faults.fuzzing import odd
from faults.fuzzing.surface import Input, Kind, Surface, consistent

_GIVEN = {
    "JAX_COORDINATOR_ADDRESS": "localhost:1234",
    "JAX_NUM_PROCESSES": "2",
    "JAX_PROCESS_ID": "0",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "SLURM_STEP_NUM_TASKS": "1",
    "OMPI_COMM_WORLD_SIZE": "1",
    "BCCL_JAX_HEARTBEAT_SECONDS": "100",
    "BCCL_JAX_JOIN_SECONDS": "300",
    "HOME": "/nowhere",
    "XDG_CACHE_HOME": "/nowhere",
}


def _environment(root: pathlib.Path) -> Surface:
    def make(rng: random.Random) -> Input:
        names = rng.sample(list(_GIVEN), rng.randrange(1, len(_GIVEN)))
        given = {name: _GIVEN[name] for name in names}
        for name in rng.sample(names, min(len(names), rng.choice((1, 1, 2)))):
            # No process has a zero byte in its environment.
            given[name] = odd.text(rng).replace("\0", "")
        lines = (f"{name}={value}" for name, value in given.items())
        return Input("environment", "\0\0".join(lines).encode("utf-8", "surrogatepass"))

    def read(entry: Input) -> None:
        given = dict(line.partition(b"=")[::2] for line in entry.content.split(b"\0\0"))
        before = dict(os.environ)
        initialize, makedirs = jax.distributed.initialize, os.makedirs

        def below(path, *arguments, **others):
            # Whoever may write anywhere would find folders of odd names all over the machine.
            if not pathlib.Path(os.path.abspath(path)).is_relative_to(root):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            makedirs(path, *arguments, **others)

        os.chdir(root)
        try:
            for name in _GIVEN:
                os.environ.pop(name, None)
            for name, value in given.items():
                os.environb[name] = value
            # What it is given is looked at; no network is.
            jax.distributed.initialize, os.makedirs = _joining, below
            mesh.initialize_processes()
            cache_folder("labels")
            expanded("~/x")
        finally:
            jax.distributed.initialize, os.makedirs = initialize, makedirs
            os.environ.clear()
            os.environ.update(before)

    whole = Input("environment", b"\0\0".join(f"{n}={v}".encode() for n, v in _GIVEN.items()))
    return Surface(make, read, (*_GIVEN, "home folder", "joined"), [whole])


def _joining(coordinator_address=None, num_processes=None, process_id=None, **others) -> None:
    if coordinator_address is None:
        return
    consistent(isinstance(coordinator_address, str), "an address", coordinator_address)
    consistent(":" in coordinator_address, "an address", coordinator_address)
    sound = type(num_processes) is int and type(process_id) is int and num_processes >= 0
    consistent(sound, "numbers", num_processes, process_id)
    for name in ("heartbeat_timeout_seconds", "initialization_timeout"):
        if not 0 < others[name] < 2**31:
            raise BcclError(f"the environment gives {name} {others[name]}")


KINDS = [Kind("environment", 5, _environment)]
