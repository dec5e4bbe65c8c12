"""Parsing the command line: its flags, the config file and the keys that are changed in it."""

import contextlib
import pathlib
import re
import sys

from absl import flags
from ml_collections import config_flags
from ml_collections.config_flags import tuple_parser

from bccl_jax.commands.flags_and_keys import overrides
from bccl_jax.commands.help import TEN, help_text
from bccl_jax.commands.mistakes import FIRST_CONFIG, check_key, no_flag, sentence, unknown_flag
from bccl_jax.errors import ConfigError, on_one_line
from bccl_jax.settings.bounds import shown
from bccl_jax.system.environment import expanded

__all__ = [
    "TEN",
    "define_config",
    "help_text",
    "no_flag",
    "overrides",
    "parse",
    "sentence",
    "unknown_flag",
]

_HELP = {"--help", "-help", "-h", "--h", "-?", "--?", "--helpshort", "-helpshort"}


class _ConfigFile(flags.ArgumentParser):
    """Loads the file of --config, and checks that the keys of --config.KEY are there."""

    config = None
    path = FIRST_CONFIG

    def parse(self, path):
        """Returns the config, its keys locked."""
        from bccl_jax.config import files as config_files

        given = overrides(sys.argv)
        # What it names may be registered there.
        imports = _files(given["imports"]) if "imports" in given else None
        self.config, self.path = config_files.load(path, imports=imports), path
        for key, value in given.items():
            check_key(re.sub(r"\[.*\]$", "", key), value, self.config)
        return self.config.lock()


def _files(text: str) -> tuple[str, ...]:
    """The files that --config.imports names, read as its flag is."""
    from bccl_jax.config.importing import FILES

    try:
        return tuple_parser.TupleParser().parse(text)
    except ValueError as error:
        raise ConfigError(f"config.imports is {shown(text)}; it must be {FILES}") from error


def define_config(name: str, text: str) -> flags.FlagHolder:
    """Defines the flag of the config file and those of its keys."""
    holder = config_flags.DEFINE_config_file(name, None, text)
    flags.FLAGS[name].parser = _ConfigFile()
    return holder


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; prints the help, or ends in one sentence, where that is due.

    Args:
      argv: the program and its arguments.

    Returns:
      The program, and arguments that are no flags.

    Raises:
      SystemExit: help was asked for (0), or a flag cannot be used.
    """
    if _HELP & set(argv[1:]):
        _register(argv)
        print(help_text())
        raise SystemExit(0)
    files = sum(argument.partition("=")[0] in ("--config", "-config") for argument in argv[1:])
    if files > 1:
        raise SystemExit(f"error: --config is given {files} times; a run has one config file")
    if not files:
        argv = argv[:1] + _of_run(argv) + argv[1:]
    try:
        return flags.FLAGS(argv)
    except Exception as error:  # of absl, of ml_collections, or of a config file
        raise SystemExit(f"error: {on_one_line(sentence(error, argv))}") from None


def _register(argv: list[str]) -> None:
    """Has the help know the methods of the files that are named beside it."""
    named = [argument.partition("=") for argument in argv[1:]]
    paths = [value for name, _, value in named if name in ("--config", "-config")]
    # What is wrong with them is told where they are used.
    with contextlib.suppress(ConfigError):
        from bccl_jax.config import files as config_files
        from bccl_jax.config.importing import import_files

        import_files({"imports": _files(overrides(argv).get("imports", "()"))})
        for path in paths:
            config_files.load(path)


def _expanded(path: str) -> pathlib.Path:
    # Shells leave the ~ of --workdir=~/runs/a; where it stands for nothing is told later.
    try:
        return expanded(path)
    except ConfigError:
        return pathlib.Path(path)


def _of_run(argv: list[str]) -> list[str]:
    """The --config of a run whose directory alone is named, if any."""
    from bccl_jax.config import files as config_files
    from bccl_jax.config.shared import is_shared

    for i, argument in enumerate(argv[1:], 1):
        name, equals, value = argument.partition("=")
        if name in ("--workdir", "-workdir"):
            path = _expanded(value if equals else "".join(argv[i + 1 : i + 2]))
            if is_shared(path):
                return [f"--config={path}"]
            own = path / config_files.RUN_CONFIG
            return [f"--config={own}"] if config_files.is_of_run(str(own)) else []
    return []
