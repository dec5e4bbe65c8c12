"""Config files of a data set: one config for each method."""

import ml_collections

from bccl_jax import methods
from bccl_jax.config import files
from bccl_jax.errors import ConfigError
from bccl_jax.system.names import shown

# What such a file is named by.
FLAG = "--dataset"


def check_argument(file: str, argument: str) -> None:
    """Checks that the argument of a data set's config file is no method.

    Raises:
      ConfigError: it is one, or a preset of one.
    """
    for word in map(str.strip, argument.split(",")):
        having = methods.having_preset(word)
        if word in methods.names() or having:
            method = word if word in methods.names() else f"{having[0]}:{word}"
            raise ConfigError(
                f"{FLAG}={file}:{argument} names {word!r}, but methods are not the data set's: "
                f"write {FLAG}={file} and --methods={method}"
            )


def load(file: str, method: str, argument: str) -> ml_collections.ConfigDict:
    """The config that a file gives for a method.

    Args:
      file: path of the config file.
      method: maybe with a preset, as in "bccl,released".
      argument: of the file, behind the method; "" for none.

    Raises:
      ConfigError: the file cannot be used, or not with this method.
    """
    given = ",".join(filter(None, [method, argument]))
    try:
        if not files.takes_argument(file, FLAG):
            raise ConfigError(
                "its get_config takes no argument, but every method needs a config of its own; "
                'begin it with `def get_config(method="bccl"):` and '
                "`config = bccl_jax.config.get_config(method)`"
            )
        config = files.load(f"{file}:{given}", FLAG)
    except ConfigError as error:
        text = str(error).removeprefix(f"{file}:{given}: ").removeprefix(f"{file}: ")
        # Which argument to give is no question here.
        text, foreign, _ = text.partition(", which the config's argument chooses")
        if foreign:
            text += "; set it where config.method.name is that alone"
        named = text if text.startswith(FLAG) else f"{FLAG}={shown(file)}: {text}"
        raise ConfigError(named) from error
    name, preset = methods.variant(method)
    reading = "" if preset == methods.PUBLISHED else preset
    if config.method.name != name or (reading and config.method.preset != reading):
        raise ConfigError(
            f"{FLAG}={shown(file)}: get_config({given!r}) gives a config of "
            f"{config.method.name}; begin it with `config = bccl_jax.config.get_config(method)`"
        )
    return config
