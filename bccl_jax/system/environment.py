"""What the environment says of folders and of XLA, made usable or told in one sentence."""

import contextlib
import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from bccl_jax.errors import ConfigError

# Parses XLA_FLAGS and nothing else; what XLA does not know ends the process.
_PARSE = "from jaxlib import xla_client; xla_client.CompileOptions()"


def check_jax_variables() -> None:
    """Imports JAX where variables of its own are set, for it fails on one that it cannot read.

    Raises:
      ConfigError: it cannot be imported with them.
    """
    own = sorted(name for name in os.environ if name.startswith("JAX_"))
    if not own:
        return
    try:
        import jax  # noqa: F401
    except Exception as error:  # JAX has no error of its own for it
        raise ConfigError(
            f"JAX does not start with what the environment sets ({str(error).rstrip('.')}); "
            f"correct or unset it (set are {', '.join(own)})"
        ) from error


def expanded(path: str | os.PathLike) -> pathlib.Path:
    """A path of the user's with ~ replaced by the folder that it stands for.

    Raises:
      ConfigError: nothing says which folder that is.
    """
    try:
        return pathlib.Path(path).expanduser()
    except RuntimeError as error:
        whose, home = pathlib.Path(path).parts[0], os.environ.get("HOME")
        raise ConfigError(
            f"{os.fspath(path)}: no home folder is known for {whose} (HOME is {home!r}); write the "
            "whole path"
        ) from error


def cache_folder(name: str) -> pathlib.Path | None:
    """Where things may lie that can be made anew; None where nothing can be written.

    Args:
      name: of the folder, which is made.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has a relative one ignored.
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(home):
        return None
    folder = pathlib.Path(home) / "bccl_jax" / name
    return folder if can_be_written(folder) else None


def can_be_written(folder: str | os.PathLike) -> bool:
    """Whether files can be made in a folder, which is made if it is not there."""
    with contextlib.suppress(OSError):
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    return False


@functools.cache
def check_xla_flags(given: str) -> None:
    """Tries flags in a process of its own, for XLA ends the process where it does not know one.

    Args:
      given: the value of XLA_FLAGS, "" for none.

    Raises:
      ConfigError: XLA does not take them.
    """
    if not given:
        return
    environment = {**os.environ, "XLA_FLAGS": given}
    done = subprocess.run(
        [sys.executable, "-c", _PARSE], env=environment, capture_output=True, text=True
    )
    # XLA's lines are "F1127 07:03:12.613714 7118 FILE:LINE] WHAT".
    told = re.findall(r"^[EF]\d{4} .*?\] (.*)$", done.stderr, re.MULTILINE)
    if done.returncode and told:
        raise ConfigError(
            f"XLA does not take the environment's XLA_FLAGS={given!r}: {told[0].rstrip('. ')}; "
            "correct or unset it"
        )
