"""Config files by path: what they give is a config, or the sentence that says why they do not."""

import contextlib
import inspect
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ml_collections

from bccl_jax import config as default
from bccl_jax.config import shipped
from bccl_jax.config.allowed import check_keys
from bccl_jax.config.importing import FILES, absolute, import_files
from bccl_jax.config.places import PLACES, led
from bccl_jax.config.remembering import files_of
from bccl_jax.config.shared import is_shared, of_shared
from bccl_jax.errors import BcclError, ConfigError, WorkdirError
from bccl_jax.settings.bounds import shown
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system import listed_files
from bccl_jax.system.environment import expanded
from bccl_jax.system.names import printable
from bccl_jax.system.names import shown as shown_path
from bccl_jax.system.python_files import execute, in_one_sentence
from bccl_jax.system.tensor_files import TensorFile

# What a run's directory calls the config that it was started with.
RUN_CONFIG = "config.json"
_START = "start from bccl_jax.config.get_config(), change what differs and return it"


def load(
    named: str, option: str = "--config", imports: Sequence[str] | None = None
) -> ml_collections.ConfigDict:
    """Returns what the `get_config` of a config file gives, or the config of a run.

    Args:
      named: "FILE.py", "FILE.py:ARGUMENT" to call `get_config(ARGUMENT)`, "DIR/config.json" of a
        run's directory, or a shared file; a shipped file goes by its bare name too, as "digits_lt".
      option: that it was named by, for the messages.
      imports: files of one's own to import before; in place of those that a run remembers.

    Returns:
      The config, with all keys of the default one; its values are not checked yet. Its `imports`
      name every file that what it names was registered in.

    Raises:
      ConfigError: the file is missing or is no config file, or its code fails; named are the file
        and, where there is one, the line.
      DataError: it is a file of arrays, and none that was shared.
    """
    if is_of_run(named):
        return of_run(pathlib.Path(named), imports)
    if is_shared(named):
        return of_shared(named, imports)
    import_files({"imports": tuple(imports or ())})
    written, colon, argument = named.partition(":")
    arguments = [argument] if colon else []
    path = _checked_path(written, option)
    with in_one_sentence(named, path):
        get_config = _get_config_of(path)
        _check_call(get_config, f"{option}={written}", arguments)
        config = get_config(*arguments)
        _check_kind(config)
        # A frozen one could not be changed by the command line.
        config = ml_collections.ConfigDict(config)
        import_files(default.flatten(config))
        check_keys(config)
        config.imports = files_of(config)
    return config


def takes_argument(path: str, option: str = "--config") -> bool:
    """Whether the `get_config` of a config file takes an argument, such as a method's name.

    Args:
      path: of the file, or the bare name of a shipped one.
      option: that it was named by, for the messages.

    Raises:
      ConfigError: the file is missing or is no config file, or its code fails.
    """
    path = _checked_path(path, option)
    with in_one_sentence(path, path):
        get_config = _get_config_of(path)
        try:
            inspect.signature(get_config).bind("")
        except TypeError:
            return False
        except ValueError:  # a function that does not say what it takes
            return True
    return True


def _get_config_of(path: str) -> Callable:
    get_config = getattr(execute(path), "get_config", None)
    if not callable(get_config):
        raise ConfigError(f"it has no function get_config; {_START}")
    return get_config


def is_of_run(named: str) -> bool:
    """Whether a name is that of a run's own record of its config, and not of a config file."""
    path = pathlib.Path(named)
    try:
        return path.name == RUN_CONFIG and path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte in it
        return False


def no_run(path: str | os.PathLike) -> BcclError:
    """Why there is no run at a path: nothing is there, or no shared file, or another directory."""
    named = shown_path(path)
    try:
        path = expanded(path)
        if path.is_file():
            TensorFile(path)
        elif not path.exists():
            return WorkdirError(
                f"{named} is not there; correct the path, which is that of a run's directory or of "
                "a shared file"
            )
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte in it
        if isinstance(error, BcclError):
            return error
        reason = getattr(error, "strerror", None) or error
        return WorkdirError(f"{named} cannot be a run ({reason}); correct the path")
    return WorkdirError(
        f"{named} holds no run (no {RUN_CONFIG}); name the directory of one, or a shared file"
    )


def of_run(path: pathlib.Path, imports: Sequence[str] | None = None) -> ml_collections.ConfigDict:
    """Returns the config that a run wrote into its directory.

    Its paths lead where they led when the run was trained, whatever the working directory is now.

    Args:
      path: of that file.
      imports: files of one's own in place of those that it remembers.

    Raises:
      ConfigError: it is damaged, or of another version of the project, or a file of one's own that
        it needs is missing or fails.
    """
    flat, recorded = _object(path), path.with_name(PLACES)
    if recorded.is_file():
        flat = led(flat, _object(recorded))
    if imports is not None:
        flat["imports"] = list(imports)
    else:
        _check_outside(flat.get("imports"), path)
    import_files(flat)
    with _damage_told(path):
        return default.unflatten(flat)


def _check_outside(imports: Any, path: pathlib.Path) -> None:
    """Refuses code that came with a run's directory: whoever made the one made the other.

    Nothing of this project puts any there.
    """
    folder = os.path.join(os.path.realpath(path.parent), "")
    named = [file for file in imports if isinstance(file, str)] if FILES.allows(imports) else []
    for file in named:
        if os.path.realpath(absolute(file)).startswith(folder):
            raise ConfigError(
                f"{printable(path)} names {printable(file)}, which lies in the directory of the "
                "run itself, where it may have come with it; look at it, and name it by "
                "--config.imports=FILE.py, or of bccl_jax.predict by --imports=FILE.py"
            )


def _object(path: pathlib.Path) -> dict:
    with _damage_told(path):
        found = json.loads(listed_files.read(path))
        if not isinstance(found, dict):
            raise ConfigError("it holds no object")
    return found


@contextlib.contextmanager
def _damage_told(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except listed_files.DamagedFileError as error:
        raise ConfigError(str(error)) from error
    except (OSError, ValueError, RecursionError, BcclError) as error:
        raise ConfigError(
            f"{printable(path)} is not the config of a run ({error}); restore it, or name the "
            "config file by --config"
        ) from error


def _checked_path(written: str, option: str) -> str:
    """The path of the config file that is named, which is there."""
    if not written.strip():
        raise ConfigError(f"{option} is empty; write {option}=digits_lt, for example")
    path = shipped.resolved(written, option)
    try:
        file = pathlib.Path(path)
        if file.is_dir():
            there = _listed(file)
            raise ConfigError(
                f"{option}={path} is a folder; "
                + (f"name one of its files: {there}" if there else "name a config file")
            )
        if file.is_file():
            if file.suffix == ".safetensors":  # a shared one was taken before
                raise no_run(path)
            if file.suffix != ".py":
                raise ConfigError(
                    f"{option}={path} is no Python file; a config file ends in .py and has a "
                    "function get_config"
                )
            with file.open("rb"):
                return path
    except OSError as error:
        raise ConfigError(f"{option}={shown(path)} cannot be read ({error.strerror})") from error
    raise ConfigError(f"{option}={path} names no file{_nearest_file(path, option)}")


def _nearest_file(path: str, option: str) -> str:
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".py")
    files = {}
    for folder in (pathlib.Path(path).parent, pathlib.Path("configs")):
        if folder.is_dir():
            for file in sorted(folder.glob("*.py")):
                files.setdefault(file.stem, str(file))
    # What is not in the folder that was written is shorter by its bare name.
    beside = pathlib.Path(path).parent
    if not (beside.is_dir() and beside.samefile(shipped.folder())):
        files |= {name: name for name in shipped.names()}
    # A module's dotted name has the file's last.
    for asked in (name, name.rpartition(".")[2]):
        if close := nearest(asked, files):
            return did_you_mean(f"{option}={files[close]}")
    return f"; the package has {', '.join(shipped.names())}"


def _listed(folder: pathlib.Path) -> str:
    names = sorted(file.name for file in folder.glob("*.py") if file.stem != "__init__")
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _check_call(get_config: Callable, written: str, arguments: list[str]) -> None:
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        if arguments:
            raise ConfigError(f"its get_config takes no argument; write {written}") from error
        raise ConfigError(f"its get_config needs an argument; write {written}:ARGUMENT") from error
    except ValueError:  # a function that does not say what it takes
        return


def _check_kind(config) -> None:
    if config is None:
        raise ConfigError("its get_config returns nothing; end it with `return config`")
    if not isinstance(config, ml_collections.ConfigDict):
        raise ConfigError(
            f"its get_config returns {shown(config, 40)} (a {type(config).__name__}), which is no "
            f"config; {_START}"
        )
