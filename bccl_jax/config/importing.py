"""The files of one's own that a config names are imported, so that what they register is there."""

import os
from collections.abc import Mapping
from typing import Any

from bccl_jax import methods
from bccl_jax.data.sources import DATASETS
from bccl_jax.errors import ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.settings.bounds import Like, shown
from bccl_jax.system import names
from bccl_jax.system.environment import expanded
from bccl_jax.system.python_files import imported, in_one_sentence

# What `config.imports` may be.
FILES = Like(("mine.py",))


def import_files(flat: Mapping[str, Any]) -> None:
    """Imports the files of `config.imports`, each once in a process.

    One that is missing is no matter where all that the config names is there, as after an import
    from where the file lies now.

    Args:
      flat: a flattened config, or some of its keys.

    Raises:
      ConfigError: a file is missing, or its code fails; named are the file, the key and, where
        there is one, the line.
    """
    files = flat.get("imports", ())
    if not FILES.allows(files):
        raise ConfigError(f"config.imports is {shown(files)}; it must be {FILES}")
    for file in files:
        path = absolute(file)
        if os.path.isfile(path):
            with in_one_sentence(f"config.imports={names.shown(path)}", path):
                imported(path)
        elif not _known(flat):
            raise ConfigError(
                f"config.imports names {names.shown(path)}, which is no file; restore it, or say "
                "where it is by --config.imports=FILE.py"
            )


def absolute(file: str) -> str:
    """The path of a file of one's own from the root, so that it is found from anywhere."""
    return os.path.abspath(expanded(file))


def _known(flat: Mapping[str, Any]) -> bool:
    return (
        flat.get("method.name") in methods.names()
        and flat.get("model.backbone") in [*BACKBONES]
        and flat.get("data.name") in [*DATASETS]
    )
