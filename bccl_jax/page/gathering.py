"""The runs of a report, read and looked at."""

import collections
import dataclasses
import os
import sys
from collections.abc import Sequence

from bccl_jax.config.dataset import told_by_flag
from bccl_jax.errors import BcclError
from bccl_jax.page.looking import look
from bccl_jax.page.told import Told, told
from bccl_jax.system.names import printable
from bccl_jax.workdir.opened import config_of, opened

# Pictures of one kind on a page, and of one run.
_PICTURES, _OF_RUN = 48, 12


@dataclasses.dataclass(frozen=True)
class Asked:
    """What of each run is told.

    Attributes:
      checkpoint: "last", "best" or a step; None for the last one.
      average: the averaged weights in the place of the raw ones.
      imports: files of one's own, in place of those that a run remembers.
      data_dir: where the data of the runs lies; None for where it lay.
      records_only: whether nothing is computed.
    """

    checkpoint: str | None = None
    average: bool = False
    imports: Sequence[str] | None = None
    data_dir: str | None = None
    records_only: bool = False


def gather(paths: Sequence[str], asked: Asked) -> list[Told]:
    """Reads runs, and looks at their pictures where these are at hand.

    What keeps them from being looked at is said, and is no error: records tell most of a run.

    Args:
      paths: directories of runs, or shared files.
      asked: what of them.

    Raises:
      BcclError: one is no run, or what its directory says is damaged.
    """
    read = [told(path, asked.imports) for path in paths]
    names = _names(paths, [run.name for run in read])
    pictures = min(_OF_RUN, max(_PICTURES // len(paths), 2))
    found = []
    for path, run, name in zip(paths, read, names, strict=True):
        looked, unseen = None, "only what the run recorded was asked for (--records_only)."
        if not asked.records_only:
            try:
                looked = _looked(path, asked, pictures)
            except BcclError as error:
                told_so = told_by_flag(error, "--data_dir")
                unseen = f"the run's test images could not be evaluated: {told_so}."
                print(f"{name}: {unseen}", file=sys.stderr, flush=True)
        found.append(dataclasses.replace(run, name=name, looked=looked, unseen=unseen))
    return found


def _looked(path: str, asked: Asked, pictures: int):
    config = config_of(opened(path), asked.imports)
    if asked.data_dir is not None:
        with config.unlocked():
            config.data.dir = asked.data_dir
    return look(path, config, asked.checkpoint, asked.average, asked.imports, pictures=pictures)


def _names(paths: Sequence[str], names: list[str]) -> list[str]:
    """A name of its own for each run: the last part of its path, else the whole, else numbered."""
    if len(set(names)) < len(names):
        names = [printable(os.path.normpath(path)) for path in paths]
    seen, found = collections.Counter(), []
    for each in names:
        seen[each] += 1
        found.append(each if seen[each] == 1 else f"{each} ({seen[each]})")
    return found
