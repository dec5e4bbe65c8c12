"""Recipes that several configs share."""

from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config.published import own_settings, published_recipe
from bccl_jax.errors import ConfigError
from bccl_jax.settings.suggestions import did_you_mean, nearest

PHOTOGRAPH_BACKBONES = ("resnet50", "resnext50")


def photographs(
    variant: str = "", changes: Mapping[str, Any] | None = None, published: Sequence[str] = ()
) -> ml_collections.ConfigDict:
    """The ImageNet-LT recipe of Kim & Ko 2025, section 4.1, which the other photographs vary.

    What the paper leaves open is BCL's (Zhu et al. 2022): the colours of the strong view, the
    cosine classifier of scale 30.

    Args:
      variant: a method, a preset of it, a backbone of `PHOTOGRAPH_BACKBONES`, or several of these,
        separated by commas; "" for BCCL with ResNet-50.
      changes: what the data set has otherwise, by flat config key; a method's published recipe
        comes after it.
      published: see `default.get_config`.

    Returns:
      The config, of `data.name` "imagenet_lt" unless changed.

    Raises:
      ConfigError: a part of the variant is none of these, two are of a kind, or a preset is not
        the method's.
    """
    chosen: dict[str, str] = {}
    for part in filter(None, map(str.strip, variant.split(","))):
        kind = _kind(part)
        if chosen.get(kind, part) != part:
            raise ConfigError(f"{chosen[kind]!r} and {part!r} are two {kind}s; name one of them")
        chosen[kind] = part
    method = chosen.get("method", "bccl")
    preset = chosen.get("preset", "")
    if preset and "method" not in chosen:
        (example, *_) = methods.having_preset(preset)
        raise ConfigError(f"{preset!r} is a preset of a method; write {example},{preset}")
    if preset and preset not in methods.presets(method):
        raise ConfigError(f"{preset!r} is no preset of {method!r}; leave one of them out")

    own = published_recipe(method, published) if preset == methods.PUBLISHED else {}
    reading = "" if preset == methods.PUBLISHED else preset
    config = default.get_config(f"{method},{reading}" if reading else method)
    config.epochs = 100
    config.dtype = "bfloat16"
    config.data.name = "imagenet_lt"
    config.data.imbalance = 0.0
    config.model.backbone = chosen.get("backbone", "resnet50")

    config.augment.mean = (0.485, 0.456, 0.406)
    config.augment.std = (0.229, 0.224, 0.225)
    config.augment.size = 224
    config.augment.strong.crop = "resized"
    config.augment.strong.jitter = (0.4, 0.4, 0.4, 0.0)
    config.augment.strong.policy = "randaugment"
    config.augment.strong.fill = (124, 116, 104)
    config.augment.strong.cutout = 0

    config.optimizer.learning_rate = 0.1
    if preset != "released":
        config.optimizer.warmup_epochs = 0
    config.eval.batch_size = 256
    config.checkpoint.every_epochs = 1
    if preset == "released":
        config.method.update(
            view_set="sim+sim", temperature=0.07, projector_hidden=2048, projector_dim=2048
        )
    elif "num_centroids" in config.method:
        config.method.update(
            temperature=0.07,
            warmup_epochs=10,
            # Four times as many, as on CIFAR, would be 17 GB on iNaturalist 2018.
            queue_size=64,
            projector_hidden=1024,
            projector_dim=2048,
            classifier="cosine",
        )
    else:
        settings = own_settings(method, (*published, "photographs"))
        if not settings and "projector_dim" in config.method:
            # What BCCL has of these here.
            config.method.update(
                temperature=0.07, projector_hidden=1024, projector_dim=2048, classifier="cosine"
            )
        config.update_from_flattened_dict(settings)
    if config.method.name == "sbcl":
        # Of its authors' code for photographs.
        config.method.update(
            subclass_size=20, refresh_epochs=5, projector_hidden=2048, projector_dim=128
        )
    if "curriculum_accept" in config.method:
        # Of CUDA's code, whatever method it is over.
        config.method.curriculum_accept = 0.4
    config.update_from_flattened_dict({**(changes or {}), **own})
    return config


def _kind(part: str) -> str:
    """What a part of a variant names."""
    if part in methods.names():
        return "method"
    if part in PHOTOGRAPH_BACKBONES:
        return "backbone"
    if methods.having_preset(part):
        return "preset"
    known = [*methods.names(), *PHOTOGRAPH_BACKBONES, *methods.presets("bccl"), methods.PUBLISHED]
    raise ConfigError(
        f"{part!r} is neither a method nor a backbone; there are {', '.join(known)}"
        f"{did_you_mean(nearest(part, known))}"
    )
