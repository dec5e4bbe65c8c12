"""What a method, backbone or data set keeps to, tried on a short run: for tests of one's own."""

import contextlib
import pathlib
import tempfile
from typing import Any

import jax
import ml_collections
import numpy as np

from bccl_jax.config.files import RUN_CONFIG, of_run
from bccl_jax.errors import BcclError
from bccl_jax.training.loop import evaluate_checkpoints, train_and_evaluate


class BrokenContractError(BcclError, AssertionError):
    """A run is not what a run must be."""


class _StoppedError(Exception):
    """Ends a run before an epoch is saved."""


def check(config: ml_collections.ConfigDict, workdir: str | pathlib.Path | None = None) -> None:
    """Trains a config twice, once cut short and resumed, and reads it back from its directory.

    Args:
      config: of a run of seconds with at least two epochs; it is evaluated and saved after each.
      workdir: a new directory for both runs; None takes one that is removed in the end.

    Raises:
      BrokenContractError: a metric or a parameter is not finite, the resumed run ends elsewhere, or
        the directory alone gives other figures.
      BcclError: as `train_and_evaluate`.
    """
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="bccl_jax_contract_") as folder:
            check(config, folder)
        return
    config = ml_collections.ConfigDict(config).copy_and_resolve_references()
    config.eval.every_epochs = config.checkpoint.every_epochs = 1
    folder = pathlib.Path(workdir)
    whole = train_and_evaluate(config, folder / "whole")
    for record in whole.records:
        for name, value in record["train"].items():
            if not np.all(np.isfinite(value)):
                raise BrokenContractError(f"{name} is {value} in epoch {record['epoch']}")
    for path, array in _arrays((whole.state.params, whole.state.batch_stats)).items():
        if not np.all(np.isfinite(array.astype(np.float64))):
            raise BrokenContractError(f"the network's {path} is not finite in the end")
    _check_resumed(config, folder / "resumed", _arrays(whole.state))
    saved = of_run(folder / "whole" / RUN_CONFIG)
    found = evaluate_checkpoints(saved, folder / "whole", "last")["last"].evaluation.record()
    if found != whole.last:
        raise BrokenContractError(
            "evaluated from its directory the run has other figures than at its end: what predicts "
            "must be a function of the parameters, the batch statistics and the method's state"
        )


def _check_resumed(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, whole: dict[str, np.ndarray]
) -> None:
    def stop(run: Any, state: Any, epoch: int) -> dict[str, Any]:
        del run, state
        if epoch == config.epochs:
            raise _StoppedError
        return {}

    with contextlib.suppress(_StoppedError):
        train_and_evaluate(config, workdir, observe=stop)
    resumed = _arrays(train_and_evaluate(config, workdir).state)
    differing = [p for p, array in whole.items() if array.tobytes() != resumed[p].tobytes()]
    if differing:
        raise BrokenContractError(
            f"a run that was resumed ends with another {differing[0]} ({len(differing)} arrays "
            "differ): whatever is random must come from the keys that are handed over, and what a "
            "step needs to know of earlier ones must lie in the method's state"
        )


def _arrays(state: Any) -> dict[str, np.ndarray]:
    """Every array of a state by its path, keys as their data."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        found[jax.tree_util.keystr(path)] = np.asarray(leaf)
    return found
