"""What --mode=eval does: the figures of what a run saved and, if asked for, their details."""

import pathlib

import ml_collections

from bccl_jax.devices.mesh import is_lead
from bccl_jax.evaluation.details_folder import DetailsFolder
from bccl_jax.evaluation.saved import Another, evaluate_checkpoints
from bccl_jax.evaluation.written import worst_of, write_details
from bccl_jax.reporting import console, remarks
from bccl_jax.reporting.labels import label
from bccl_jax.system.names import printable
from bccl_jax.system.progress import under_way


def evaluate(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    checkpoint: str | None,
    another: Another | None = None,
    details: DetailsFolder | None = None,
) -> int:
    """Evaluates, prints and writes.

    Args:
      config: of the run.
      workdir: its directory, or a shared file.
      checkpoint: "last", "best" or a step; None for all that have a name.
      another: pictures in the place of the run's test split.
      details: where they are written; None for nowhere.

    Returns:
      The exit code.

    Raises:
      BcclError: as `evaluate_checkpoints` and `write_details`.
    """
    found = evaluate_checkpoints(config, workdir, checkpoint, another=another, details=details)
    if not is_lead():
        return 0
    rows = {}
    for which, saved in found.items():
        which, _, average = which.partition(" ")
        row = label(config, which, saved.epoch, saved.chosen_on, bool(average))
        rows[row] = saved.evaluation.record()
    names = next(iter(found.values())).evaluation.class_names
    print(f"{console.table(rows)}\n\n{console.wrapped(remarks.explain(rows, names))}")
    undecoded = sorted({name for s in found.values() for name in s.evaluation.undecoded})
    for name in undecoded:
        print(f"left out: {printable(name)} cannot be decoded")
    if details is not None:
        print("", *worst_of(found), sep="\n", flush=True)
        with under_way("writing the details"):
            folders = write_details(found, details)
        print("", *(f"details  {folder}" for folder in folders), sep="\n")
    return 0
