"""The config files that come with the package: by bare names, from any directory."""

import pathlib

import ml_collections

from bccl_jax.errors import ConfigError
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.python_files import imported

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]


def folder() -> pathlib.Path:
    """Where they lie: within the installed package, or beside it in the repository."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Their bare names, as "digits_lt"."""
    return sorted(path.stem for path in folder().glob("*.py"))


def path_of(name: str) -> pathlib.Path:
    """The path of one.

    Args:
      name: bare.

    Raises:
      ConfigError: there is none of that name.
    """
    there = names()
    if name not in there:
        raise ConfigError(
            f"no shipped config is called {name!r}; there are {', '.join(there)}"
            f"{did_you_mean(nearest(name, there))}"
        )
    return folder() / f"{name}.py"


def resolved(named: str, option: str = "--config") -> str:
    """The path that a bare name stands for; a path stays as it is.

    A bare name means the same in every directory: a file `NAME.py` that happens to lie in the
    present one is neither taken in its place nor passed over without a word.

    Args:
      named: as it was written, without an argument.
      option: that it was named by, for the message.

    Raises:
      ConfigError: it may mean either.
    """
    if named not in names():
        return named
    shipped, here = folder() / f"{named}.py", pathlib.Path(f"{named}.py")
    if here.is_file() and not here.samefile(shipped):
        raise ConfigError(
            f"{option}={named} is a config of the package, but here lies {here} as well; write "
            f"{option}={here} for that, or {option}={shipped}"
        )
    return str(shipped)


def get_config(name: str, *arguments: str) -> ml_collections.ConfigDict:
    """The config of one, for a config file of one's own to start from.

    Args:
      name: bare, as "folder".
      *arguments: of its `get_config`, such as a method's name.

    Raises:
      ConfigError: there is none of that name, or it does not take the arguments.
    """
    return imported(str(path_of(name))).get_config(*arguments)
