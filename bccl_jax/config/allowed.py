"""What each key of the config may be: one table, and the check that goes through it.

A new key that is a text or a switch needs no line here; one of numbers does, and a test tells so.
The bounds of a method's settings stand beside its fields (`bccl_jax/methods/NAME.py`). The upper
ends are no recommendations: beyond them numbers overflow, memory runs out, or nobody means it.
"""

import functools
import types
from collections.abc import Mapping
from typing import Any

import ml_collections

from bccl_jax import methods
from bccl_jax.augment.views import CROPS, STRONG_POLICIES
from bccl_jax.config import flatten, get_config
from bccl_jax.config.importing import FILES
from bccl_jax.data.photographs.decoding import MAX_PIXELS
from bccl_jax.data.sampling import SAMPLERS
from bccl_jax.data.sources import DATASETS, SOURCES
from bccl_jax.errors import ConfigError
from bccl_jax.models import BACKBONES
from bccl_jax.optimization.optimizer import OPTIMIZERS
from bccl_jax.optimization.schedule import SCHEDULES
from bccl_jax.settings.bounds import (
    Bound,
    Choice,
    Joined,
    Real,
    Rising,
    Several,
    Switch,
    Text,
    Whole,
    each,
    shown,
)
from bccl_jax.settings.suggestions import did_you_mean, key_like, nearest
from bccl_jax.tracking import TRACKERS

_EPOCHS = 1_000_000
_SIDE = 4096
_SHARE = Real(0, 1)
# Of a crop's area; below a hundredth a crop of a small image would have no pixel.
_SCALE = each(2, Real(0.01, 1), rising=True)
_RATIO = each(2, Real(0.1, 10), rising=True)
# Brightness, contrast, saturation; half the circle is all hues.
_JITTER = Several((Real(0, 10), Real(0, 10), Real(0, 10), Real(0, 0.5)))

BOUNDS: Mapping[str, Bound] = {
    # JAX and NumPy take 32 bits of a seed; JAX would drop the others silently.
    "seed": Whole(0, 2**32 - 1),
    "epochs": Whole(1, _EPOCHS, also=(0,)),
    # Batch normalisation and contrast both need another image to compare with.
    "batch_size": Whole(2, 2**20, also=(0,)),
    "accumulation": Whole(1, 2**19),
    "devices": Whole(0, 2**16),
    "dtype": Choice(("float32", "bfloat16")),
    "engine": Choice(("auto", "scan", "loop")),
    "label_smoothing": Real(0, 1, open_end=True),
    "imports": FILES,
    "trackers": Joined(TRACKERS),
    "data.name": Choice(DATASETS),
    "data.source": Choice(SOURCES),
    "data.dir": Text(path=True, filled=True),
    "data.lists": Text(path=True),
    "data.train_folder": Text(path=True),
    "data.test_folder": Text(path=True),
    "data.validation_folder": Text(path=True),
    "data.background": each(3, Whole(0, 255)),
    # More Pillow itself refuses.
    "data.max_pixels": Whole(1, 2 * MAX_PIXELS),
    "data.imbalance": Real(1, 1e6, also=(0,)),
    "data.classes": Whole(2, 10**6, also=(0,)),
    "data.pixels": Whole(0, _SIDE),
    "data.subset_seed": Whole(0, 2**32 - 1),
    "data.sampler": Choice(SAMPLERS),
    # More would leave classes without a training image.
    "data.validation_fraction": Real(0, 0.99),
    "data.test_fraction": Real(0, 1, open_end=True),
    "data.workers": Whole(-1, 1024),
    # Each holds two batches.
    "data.threads": Whole(1, 128),
    "data.max_broken": _SHARE,
    # Of images in [0, 1]; figures of levels to 255 have to be divided by 255.
    "augment.mean": each(3, _SHARE),
    "augment.std": each(3, Real(0.001, 1)),
    "augment.size": Whole(0, _SIDE),
    "augment.eval_resize": Whole(0, 2 * _SIDE),
    # Below the share would be 0 or 1 in float32 anyway, above always a half.
    "augment.mixup_alpha": Real(0.001, 1000, also=(0,)),
    "augment.cutmix_alpha": Real(0.001, 1000, also=(0,)),
    "augment.mix_probability": _SHARE,
    "augment.strong.crop": Choice(CROPS),
    "augment.strong.crop_padding": Whole(0, _SIDE),
    "augment.strong.scale": _SCALE,
    "augment.strong.ratio": _RATIO,
    "augment.strong.jitter": _JITTER,
    "augment.strong.policy": Choice(STRONG_POLICIES),
    # Each is compiled anew.
    "augment.strong.num_ops": Whole(1, 16),
    "augment.strong.magnitude": Real(0, 10),
    "augment.strong.magnitude_std": Real(0, 100),
    "augment.strong.fill": each(3, Whole(0, 255)),
    "augment.strong.cutout": Whole(0, 2 * _SIDE),
    "augment.sim.scale": _SCALE,
    "augment.sim.ratio": _RATIO,
    "augment.sim.jitter": _JITTER,
    "augment.sim.jitter_prob": _SHARE,
    "augment.sim.grayscale_prob": _SHARE,
    "augment.sim.blur_prob": _SHARE,
    "augment.sim.blur_sigma": each(2, Real(0.01, 20), rising=True),
    "model.backbone": Choice(BACKBONES),
    "model.batch_norm": Choice(("global", "device")),
    "model.pretrained": Text(path=True),
    "optimizer.name": Choice(OPTIMIZERS),
    # Far beyond what trains; a float32 takes them.
    "optimizer.learning_rate": Real(1e-30, 1e30, also=(0,)),
    "optimizer.schedule": Choice(SCHEDULES),
    "optimizer.warmup_epochs": Whole(0, _EPOCHS, also=(-1,)),
    "optimizer.step_epochs": Rising(Real(0.001, _EPOCHS), most=100),
    "optimizer.step_factor": Real(1e-6, 1),
    "optimizer.momentum": Real(0, 1, open_end=True),
    # Of what a float32 nearer to 1 lacks, few digits would be left, and at last none.
    "optimizer.beta1": Real(0, 0.99999),
    "optimizer.beta2": Real(0, 0.99999),
    # Where a gradient's square is too small for a float32, this alone divides the gradient.
    "optimizer.epsilon": Real(1e-16, 1),
    "optimizer.clip_norm": Real(1e-6, 1e6, also=(0,)),
    # As of beta2.
    "optimizer.ema": Real(0, 0.99999),
    "optimizer.sam_rho": Real(1e-6, 100, also=(0,)),
    "optimizer.weight_decay": Real(0, 1),
    "eval.every_epochs": Whole(1, _EPOCHS),
    "eval.batch_size": Whole(1, 2**20),
    "eval.many_above": Whole(0, 2**31 - 1),
    "eval.few_below": Whole(0, 2**31 - 1),
    "eval.logit_adjustment": Real(-100, 100),
    "eval.calibration_bins": Whole(1, 10_000),
    "checkpoint.every_epochs": Whole(1, _EPOCHS),
    "checkpoint.every_steps": Whole(0, 2**31 - 1),
}


# What a user may register more of, so that an unknown name may be of a file that is not imported.
_REGISTERED = ("data.name", "model.backbone")


def bounds(method: str) -> Mapping[str, Bound]:
    """The bounds of every key of a config with the settings of a method.

    Raises:
      ConfigError: no method has that name.
    """
    return _bounds(method, methods.method_class(method))


@functools.cache
def _bounds(method: str, known_as: type) -> Mapping[str, Bound]:
    # A method of one's own may be registered anew.
    del known_as
    stated = BOUNDS | {f"method.{key}": bound for key, bound in methods.bounds(method).items()}
    found = {}
    for key, default in flatten(get_config(method)).items():
        by_kind = Switch() if isinstance(default, bool) else Text()
        found[key] = stated.get(key, by_kind)
    return types.MappingProxyType(found)


def check_keys(config: ml_collections.ConfigDict) -> None:
    """Checks that a config has the keys of `bccl_jax.config.get_config`, no more and no fewer.

    Raises:
      ConfigError: a key is unknown, with the one that may be meant, or missing.
    """
    if not isinstance(config, ml_collections.ConfigDict):
        raise ConfigError(
            f"the config is {shown(config)}; it must be what bccl_jax.config.get_config gives"
        )
    flat, name = flatten(config), config.get("method", {})
    name = name.get("name") if isinstance(name, ml_collections.ConfigDict) else None
    known = bounds("bccl" if name is None else name)
    for key in known:
        group = next((part for part in _groups(key) if part in flat), None)
        if group is not None:
            raise ConfigError(
                f"config.{group} is {shown(flat[group])}; it must be the group of keys that "
                "bccl_jax.config.get_config gives"
            )
    if name is None:
        raise ConfigError(_lacks("method.name"))
    methods.check_settings(config.method)
    groups = {group for key in flat for group in _groups(key)}
    for key in known:
        if key in groups:
            raise ConfigError(f"config.{key} is a group of keys; it must be one value")
        if key not in flat:
            raise ConfigError(_lacks(key))
    for key in flat:
        if key not in known:
            raise ConfigError(unknown_key(key, flatten(get_config(name))))


def check_values(config: ml_collections.ConfigDict) -> None:
    """Checks each value of a config that has the right keys, by itself.

    Raises:
      ConfigError: a value is of another kind or out of bounds; named are key, value and bounds.
    """
    flat = flatten(config)
    for key, bound in bounds(config.method.name).items():
        if not bound.allows(flat[key]):
            value = tuple(flat[key]) if isinstance(flat[key], list) else flat[key]
            meant = nearest(value, bound.known) if isinstance(bound, Choice) else ""
            hint = did_you_mean(meant) or (methods.of_a_file() if key in _REGISTERED else "")
            raise ConfigError(f"config.{key} is {shown(value)}; it must be {bound}{hint}")


def unknown_key(key: str, known: Mapping[str, Any]) -> str:
    """The sentence on a key that a flattened config does not have."""
    if key.startswith("method."):
        return methods.unknown_setting(key.removeprefix("method."), known["method.name"])
    meant = did_you_mean(key_like(key, known), "config.")
    return f"the config has no key {key!r}{meant or '; --print_config shows all of them'}"


def _lacks(key: str) -> str:
    return (
        f"the config lacks the key {key}; start from bccl_jax.config.get_config() and change what "
        "differs"
    )


def _groups(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def keys_taking(value: str, group: str, method: str) -> list[str]:
    """The keys of a group that take this of a few words, such as model.backbone "resnet8"."""
    return [
        key
        for key, bound in bounds(method).items()
        if key.startswith(f"{group}.") and isinstance(bound, Choice) and bound.allows(value)
    ]
