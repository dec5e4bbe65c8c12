"""An experiment that --methods makes: one row a method, on any data set."""

import itertools

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.errors import ConfigError
from bccl_jax.settings.suggestions import did_you_mean, nearest

from .design import Experiment, Row

_FLAG = "--methods"


def compared(named: str) -> Experiment:
    """The experiment that compares methods, all others with the first one.

    Args:
      named: methods, separated by commas, each maybe with a preset, as in
        "bccl,bccl:released,cross_entropy".

    Returns:
      The experiment, of no data set and without figures of the paper.

    Raises:
      ConfigError: a method or a preset is unknown, or two of them are the same one.
    """
    if ";" in named:
        raise ConfigError(f"{_FLAG}={named}: commas separate methods, as in {_example()}")
    rows = {}
    for word in filter(None, map(str.strip, named.split(","))):
        rows[word] = Row(word, _method(word))
    if not rows:
        raise ConfigError(f"{_FLAG} names no method; write {_example()}, for example")
    for one, other in itertools.combinations(rows.values(), 2):
        if default.get_config(one.method) == default.get_config(other.method):
            raise ConfigError(
                f"{_FLAG}: {one.name} and {other.name} are the same method; leave one of them out"
            )
    return Experiment(
        f"Methods: {', '.join(rows)}",
        tuple(rows.values()),
        datasets=(),
        imbalances=(),
        reference=next(iter(rows)),
    )


def name_of(experiment: Experiment) -> str:
    """What the files of a comparison are called."""
    return "-".join(["methods", *(row.name.replace(":", "_") for row in experiment.rows)])


def _method(word: str) -> str:
    """A method as configs take it, "bccl,released" of "bccl:released"."""
    name, colon, preset = (part.strip() for part in word.partition(":"))
    known = methods.names()
    if name not in known:
        hint = did_you_mean(nearest(name, known), f"{_FLAG}=")
        if having := methods.having_preset(name):
            hint = f"; {name} is a preset, written {having[0]}:{name}"
        raise ConfigError(
            f"{_FLAG}: no method is called {name!r}; there are {', '.join(known)}{hint}"
        )
    if not colon:
        return name
    own = methods.presets(name)
    if not own:
        raise ConfigError(f"{_FLAG}={word}: {name} has no presets; write {_FLAG}={name}")
    if preset not in own:
        meant = nearest(preset, own)
        raise ConfigError(
            f"{_FLAG}={word}: {name} has no preset {preset!r}; there are {', '.join(own)}"
            f"{did_you_mean(meant and f'{name}:{meant}')}"
        )
    return f"{name},{preset}"


def _example() -> str:
    return f"{_FLAG}=bccl,cross_entropy"
