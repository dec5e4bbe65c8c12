"""The config that a shared file holds. Nothing that it names is imported or run."""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from bccl_jax import methods
from bccl_jax.config.flattening import unflatten
from bccl_jax.config.importing import import_files
from bccl_jax.data.sources import DATASETS
from bccl_jax.errors import BcclError, ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.system.names import shown
from bccl_jax.system.tensor_files import TensorFile, is_tensor_file

# Paths of the machine that wrote the file, which are nobody else's business.
_PATHS = ("data.dir", "data.lists", "model.pretrained", "method.start_from")
# What a user may have registered, by the key that names it, and where it is known.
_NAMED = {
    "method.name": ("method", methods.names),
    "model.backbone": ("backbone", lambda: BACKBONES),
    "data.name": ("data set", lambda: DATASETS),
}


def is_shared(named: str | os.PathLike) -> bool:
    """Whether a path is that of a file that `python -m bccl_jax.share` wrote."""
    return is_tensor_file(named)


def to_share(flat: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A config as others get it, and what the files are called that it needs.

    Args:
      flat: a flattened config, as a run's directory has it.

    Returns:
      The same without absolute paths, of which the last part stays, and without imports; and the
      names of the imported files.
    """
    shortened = {
        key: os.path.basename(flat[key].rstrip("/"))
        for key in _PATHS
        if os.path.isabs(flat.get(key, "")) or flat.get(key, "").startswith("~")
    }
    files = [os.path.basename(file) for file in flat.get("imports", ())]
    return {**flat, **shortened, "imports": []}, files


def of_shared(
    path: str | os.PathLike, imports: Sequence[str] | None = None
) -> ml_collections.ConfigDict:
    """Returns the config of a shared file.

    Args:
      path: of the file.
      imports: files of one's own to import before, which whoever reads it trusts.

    Raises:
      ConfigError: it is of another version of the project, or needs what no file registered.
      DataError: it is no shared file, or damaged.
    """
    return config_in(TensorFile(pathlib.Path(path)), imports)


def config_in(file: TensorFile, imports: Sequence[str] | None = None) -> ml_collections.ConfigDict:
    """The same of a file that is open."""
    import_files({"imports": tuple(imports or ())})
    flat = file.document.get("config")
    try:
        if not isinstance(flat, dict):
            raise ConfigError("it has no config")
        _check_known(flat, file.document.get("imports"))
        return unflatten(flat | {"imports": list(imports or ())})
    except (BcclError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{shown(file.path)} cannot be used with this version of the project: {error}"
        ) from error


def _check_known(flat: Mapping[str, Any], files: Any) -> None:
    for key, (kind, known) in _NAMED.items():
        name = flat.get(key)
        if not isinstance(name, str):
            raise ConfigError(f"its config.{key} is {shown(repr(name))}")
        if name in known():
            continue
        called = [shown(file) for file in files or () if isinstance(file, str)]
        of = f" of its maker's own ({', '.join(called)})" if called else " of its maker's own"
        raise ConfigError(
            f"its {kind} {shown(name)} is{of}, and no code comes with a shared file; get it, look "
            "at it, and name it by --config.imports=FILE.py, of bccl_jax.predict --imports=FILE.py,"
            " of bccl_jax.load imports=['FILE.py']"
        )
