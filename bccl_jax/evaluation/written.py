"""Writes what is to be told of the checkpoints of a run, and says the worst of it."""

from collections.abc import Mapping

from bccl_jax.evaluation.details_folder import DetailsFolder, folder_of
from bccl_jax.evaluation.saved import SavedEvaluation
from bccl_jax.evaluation.worst import worst
from bccl_jax.system.names import printable


def worst_of(found: Mapping[str, SavedEvaluation]) -> list[str]:
    """The worst classes and the most confused pairs of each checkpoint, once of the same ones.

    Args:
      found: of `evaluate_checkpoints`, with details.

    Returns:
      Lines.
    """
    called: dict[int, list[str]] = {}
    for which, saved in found.items():
        called.setdefault(id(saved.evaluation), []).append(which)
    return [
        line
        for names in called.values()
        for line in worst(found[names[0]].details, " and ".join(names))
    ]


def write_details(found: Mapping[str, SavedEvaluation], folder: DetailsFolder) -> list[str]:
    """Writes the details of each checkpoint into a folder of its name.

    Args:
      found: of `evaluate_checkpoints`, with details.
      folder: where that was asked for.

    Returns:
      The folders, as they can be printed.

    Raises:
      BcclError: they cannot be written.
    """
    written = []
    for which, saved in found.items():
        evaluation = saved.evaluation
        about = {
            "checkpoint": which,
            "epoch": saved.epoch,
            "title": saved.details.title,
            "images": len(evaluation.judged.labels),
            "undecoded": [printable(name) for name in evaluation.undecoded],
        }
        path = folder.write(folder_of(which), saved.details.files(), about)
        written.append(printable(path))
    return written
