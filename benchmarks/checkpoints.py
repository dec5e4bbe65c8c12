"""What the digests of a checkpoint cost beside the rest of it: python -m benchmarks.checkpoints.

A state of random numbers is saved and restored. Its files are in the memory of the system when they
are read back, so that a slow disk is not measured.
"""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from bccl_jax.system import digests
from bccl_jax.workdir.checkpoint import Checkpoints
from benchmarks.common import parser, report


@struct.dataclass
class State:
    """As much of a run's state as `Checkpoints` looks at.

    Attributes:
      step: int32 [].
      arrays: float32 [n] each.
    """

    step: jax.Array
    arrays: list[jax.Array]


def state_of(megabytes: int, parts: int = 60) -> State:
    """A state of so many megabytes in some arrays, of numbers that cannot be packed."""
    rng = np.random.default_rng(0)
    size = megabytes * 10**6 // 4 // parts
    arrays = [jnp.asarray(rng.standard_normal(size, np.float32)) for _ in range(parts)]
    return State(jnp.int32(1), arrays)


def measure(state: State) -> dict[str, float]:
    """Seconds of each part, once; "digests of it" are within the save in the background."""
    with tempfile.TemporaryDirectory() as folder:
        directory = pathlib.Path(folder) / "checkpoints"
        started = time.perf_counter()
        with Checkpoints(directory) as checkpoints:
            checkpoints.save(state, {})
            handed_over = time.perf_counter()
            checkpoints.wait()
            written = time.perf_counter()
        path = directory / "1"
        with Checkpoints(directory, read_only=True) as checkpoints:
            begun = time.perf_counter()
            checkpoints.check_whole(1)
            verified = time.perf_counter()
            jax.block_until_ready(checkpoints.restore(1, state)[0])
            restored = time.perf_counter()
        hashing = time.perf_counter()
        digests.write(path)
        return {
            "save, the run waits": handed_over - started,
            "save, in the background": written - handed_over,
            "digests of it": time.perf_counter() - hashing,
            "comparing with digests": verified - begun,
            "restore after that": restored - verified,
        }


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row for each part of writing and reading a checkpoint."""
    flags = parser(__doc__, "checkpoints")
    flags.add_argument("--megabytes", type=int, default=500, help="of the state")
    options = flags.parse_args(argv)
    state = state_of(options.megabytes)
    found = [measure(state) for _ in range(options.repeats)]
    rows = [
        {
            "part": part,
            "seconds": statistics.median(run[part] for run in found),
            "least": min(run[part] for run in found),
        }
        for part in found[0]
    ]
    report(rows, {"megabytes": options.megabytes, "repeats": options.repeats}, options.json)


if __name__ == "__main__":
    main()
