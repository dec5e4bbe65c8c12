"""What a step needs of a device's memory: python -m benchmarks.memory.

Nothing is allocated and no picture is read: the step of a config is compiled for the shapes of its
data set, and the compiler tells what it will need. On a CPU the figures are those of the CPU's
compiler, which computes bfloat16 convolutions in float32.
"""

import argparse
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections
import numpy as np

from bccl_jax.data.encoded import EncodedImages
from bccl_jax.data.split import Split
from bccl_jax.training.assemble import Run
from benchmarks import recipe
from benchmarks.common import ROOT, parser, report

GIB = 2**30


class Unread(EncodedImages):
    """So many pictures that are named and never read."""

    def __init__(self, split: str, count: int):
        self._split, self._count = split, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:
        raise OSError("these pictures are never read")

    def name(self, index: int) -> str:
        """See `EncodedImages.name`."""
        return f"{self._split} {index}"

    def take(self, indices: np.ndarray) -> "Unread":
        """See `EncodedImages.take`."""
        return Unread(self._split, len(indices))


def assemble(config: ml_collections.ConfigDict, classes: int) -> Run:
    """Builds the run of a config for photographs over pictures that are never read.

    Args:
      config: of the run.
      classes: K.

    Returns:
      The assembly.
    """
    # A queue of keys has no more of them than there are pictures.
    pictures = max(classes, config.batch_size, config.method.get("queue_size", 0))
    labels = np.arange(pictures, dtype=np.int32) % classes
    names = tuple(map(str, range(classes)))
    train, test = (Split(Unread(s, len(labels)), labels, names) for s in ("train", "test"))
    return recipe.assemble_over(config, train, test)


def step_bytes(run: Run) -> dict[str, int]:
    """Compiles the step and asks the compiler.

    Args:
      run: of photographs.

    Returns:
      Bytes of the "state", of the "temporaries" beside it, and of the "batch".
    """
    batch, size = run.config.batch_size, run.config.augment.size
    shape = (batch, len(run.method.views), size, size, 3)
    arguments = {
        "image": jax.ShapeDtypeStruct(shape, np.uint8),
        "label": jax.ShapeDtypeStruct((batch,), np.int32),
    }
    with jax.set_mesh(run.mesh):
        step = jax.jit(run.train_step, donate_argnames="state")
        needs = step.lower(run.abstract_state, arguments).compile().memory_analysis()
    return {
        "state": tree_bytes(run.abstract_state),
        "temporaries": needs.temp_size_in_bytes,
        "batch": math.prod(shape),
    }


def tree_bytes(tree: Any) -> int:
    """Returns the bytes of all arrays of a pytree, or of their shapes; random keys aside."""
    return sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
        if not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a precision, with and without rematerialisation."""
    flags = parser(__doc__, "memory")
    flags.add_argument("--config", type=pathlib.Path, default=ROOT / "configs" / "imagenet_lt.py")
    flags.add_argument("--variant", default="", help="the config's argument")
    flags.add_argument("--classes", type=int, default=1000, help="K (default: %(default)s)")
    flags.add_argument("--batch", type=int, help="images a step (default: the config's)")
    flags.add_argument("--accumulation", type=int, default=1, help="parts of a batch")
    flags.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    flags.add_argument("--remat", nargs="+", type=int, choices=(0, 1), default=[0, 1])
    options = flags.parse_args(argv)
    rows = [
        _row(options, dtype, bool(remat)) for dtype in options.dtypes for remat in options.remat
    ]
    settings = {
        "config": options.config.stem,
        "variant": options.variant,
        "classes": options.classes,
        "accumulation": options.accumulation,
    }
    report(rows, settings, options.json)


def _row(options: argparse.Namespace, dtype: str, remat: bool) -> dict[str, Any]:
    config = recipe.load_config(options.config, options.variant)
    config.dtype = dtype
    config.model.remat = remat
    config.accumulation = options.accumulation
    if options.batch:
        config.batch_size = options.batch
    run = assemble(config, options.classes)
    found = step_bytes(run)
    return {
        "dtype": dtype,
        "remat": remat,
        "images a step": config.batch_size,
        "method's state GiB": tree_bytes(run.abstract_state.method) / GIB,
        **{f"{what} GiB": size / GIB for what, size in found.items()},
        "all GiB": sum(found.values()) / GIB,
    }


if __name__ == "__main__":
    main()
