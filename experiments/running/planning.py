"""Which runs are to be made, and whether they can be."""

import gc
import json
from collections.abc import Iterable

from bccl_jax import config as default
from bccl_jax.config.dataset import load_data, told_by_flag
from bccl_jax.config.validation import validate
from bccl_jax.errors import BcclError, ConfigError, WorkdirError
from bccl_jax.settings.suggestions import did_you_mean, nearest

from ..designing.design import Cell, Experiment, Scale, cells
from ..records import results
from ..records.results import Paths
from . import provenance


def plan(experiments: Iterable[Experiment], scale: Scale) -> list[Cell]:
    """The cells of several experiments in the order to run them, each run once.

    Raises:
      ConfigError: a row does not fit a data set, or no row at all does.
    """
    found = {}
    for experiment in experiments:
        for cell in cells(experiment, scale):
            found.setdefault((cell.config_hash, cell.seed), cell)
    if not found:
        raise ConfigError(
            "nothing can be run: every row that is asked for has a backbone of its own, which "
            "stands for the resnet32 of its data set; choose another --dataset, and no --backbone"
        )
    return list(found.values())


def only(planned: list[Cell], rows: list[str]) -> list[Cell]:
    """The cells of some rows, in the order that they had.

    Raises:
      ConfigError: no cell is of one of the rows.
    """
    known = dict.fromkeys(cell.row for cell in planned)
    for row in rows:
        if row not in known:
            meant = did_you_mean(nearest(row, known))
            raise ConfigError(
                f"--rows: no row is called {row!r}; there are {'; '.join(known)}{meant}"
            )
    return [cell for cell in planned if cell.row in rows]


def check(waiting: list[Cell], paths: Paths) -> None:
    """Checks every config, that the data of each is there, and that results can be written.

    Raises:
      BcclError: what `validate` and `load_data` raise, or the directory cannot be written.
    """
    for cell in waiting:
        validate(cell.config)
    data = {json.dumps(default.flatten(cell.config.data)): cell.config for cell in waiting}
    for config in data.values():
        try:
            load_data(config)
        except BcclError as error:
            # Here the folder has a flag of its own.
            raise type(error)(told_by_flag(error, "--data-dir")) from error
    gc.collect()
    try:
        paths.root.mkdir(parents=True, exist_ok=True)
        with paths.results.open("a"):
            pass
    except OSError as error:
        raise WorkdirError(
            f"--output={paths.root} cannot be written ({error.strerror}); name another directory"
        ) from error


def outstanding(planned: list[Cell], records: list[results.Record]) -> list[Cell]:
    """The cells that have no record by the code that is checked out."""
    done = {results.key(record) for record in records}
    code = provenance.code_hash()
    return [cell for cell in planned if (code, cell.config_hash, cell.seed) not in done]


def label(cell: Cell) -> str:
    """A run in words: its row, where and with which seed, and the hash of its config."""
    where = f"{cell.dataset} {cell.imbalance:g}"
    if cell.config.data.validation_fraction:
        where += " validation"
    return f"{cell.row}, {where}, seed {cell.seed} [{cell.config_hash}]"
