"""The configs of data sets, by their names or by config files."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re

import ml_collections

from bccl_jax import config as default
from bccl_jax.config import shipped
from bccl_jax.errors import ConfigError
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.system.names import plain, shown

from . import config_files
from .config_files import FLAG
from .hashing import place

# Data sets by the name that --dataset takes, and the shipped config of each.
CONFIGS = {
    "cifar10": "cifar10_lt",
    "cifar100": "cifar100_lt",
    "cifar100_middle": "cifar100_middle",
    "cifar100_small": "cifar100_small",
    "digits": "digits_lt",
    "imagenet_lt": "imagenet_lt",
    "inaturalist2018": "inaturalist2018",
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A data set with every setting but the method's.

    Attributes:
      label: what tables and file names call it; another data set has another one.
      file: path of its config file, or a bare name; "" for a data set of `CONFIGS`.
      argument: of the config file, behind the method; "" for none.
      data_dir: where the data lies; None for where the config says.
    """

    label: str
    file: str = ""
    argument: str = ""
    data_dir: str | None = None

    def config(self, method: str) -> ml_collections.ConfigDict:
        """The config with the settings of a method.

        Args:
          method: maybe with a preset, as in "bccl,released".

        Raises:
          ConfigError: the config file cannot be used, or not with this method.
        """
        if self.file:
            config = config_files.load(self.file, method, self.argument)
        else:
            config = shipped.get_config(CONFIGS[self.label], method)
        if self.data_dir is not None:
            config.data.dir = self.data_dir
        return config

    @property
    def told(self) -> str:
        """What the label stands for; "" for a data set of `CONFIGS`."""
        if not self.file:
            return ""
        argument = f" with `{self.argument}`" if self.argument else ""
        config = self.config("bccl")
        where = ""
        if self.data_dir is not None or place(default.flatten(config)):
            where = f", its data in `{config.data.dir}`"
        return f"`{self.label}` is `{self.file}`{argument}{where}."


def find(named: str, data_dir: str | None = None) -> Recipe:
    """What --dataset means.

    Args:
      named: a name of `CONFIGS`; or "FILE.py" or "FILE.py:ARGUMENT" of a config file, of a shipped
        one its bare name too; one without an argument that `CONFIGS` has is that data set.
      data_dir: where the data lies; None for where the config says.

    Raises:
      ConfigError: there is no such data set, or the file is no config file for any method.
    """
    if named in CONFIGS:
        return Recipe(named, data_dir=data_dir)
    file, _, argument = named.partition(":")
    is_shipped = file in shipped.names()
    if not (is_shipped or file.endswith(".py") or os.sep in file or os.path.exists(file)):
        raise ConfigError(_unknown(file, argument))
    if not is_shipped and (os.path.isdir(file) or file.endswith(".csv")):
        raise ConfigError(
            f"{FLAG}={shown(file)} is no config file; for pictures of your own write "
            f"{FLAG}=folder --data-dir={shown(file)}"
        )
    path = pathlib.Path(os.path.abspath(shipped.resolved(file, FLAG)))
    is_shipped = path.parent == shipped.folder()
    if is_shipped and not argument:
        for name, config in CONFIGS.items():
            if config == path.stem:
                return Recipe(name, data_dir=data_dir)
    config_files.check_argument(file, argument)
    recipe = Recipe("", file, argument, data_dir)
    where = place(default.flatten(recipe.config("bccl")))
    label = "_".join(filter(None, [path.stem, argument, _stem(where)]))
    label = re.sub(r"[^\w.+-]+", "_", plain(label))
    if where or not is_shipped:
        # Two files or two folders may have one name.
        identity = json.dumps([str(path), argument, where], sort_keys=True)
        label += f"-{hashlib.sha256(os.fsencode(identity)).hexdigest()[:6]}"
    return dataclasses.replace(recipe, label=label)


def get_config(dataset: str, method: str) -> ml_collections.ConfigDict:
    """The config of a data set, as `find` knows it, with the settings of a method."""
    return find(dataset).config(method)


def _stem(where: dict) -> str:
    return pathlib.Path(where["data.dir"]).name.removesuffix(".csv") if where else ""


def _unknown(name: str, argument: str) -> str:
    if argument and name in CONFIGS:
        file = f"{CONFIGS[name]}:{argument}"
        return f"{FLAG}={name}:{argument}: a name takes no argument; write {FLAG}={file}"
    there = [*CONFIGS, *shipped.names()]
    return (
        f"{FLAG}: no data set is called {shown(name)!r}; there are {', '.join(CONFIGS)}, and "
        "config files, shipped ones by their bare names, as folder"
        f"{did_you_mean(nearest(name, there), f'{FLAG}=')}"
    )
