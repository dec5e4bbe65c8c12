"""Soft labels: which methods take them, and what these make of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.config import get_config
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.methods.shared.beside import Beside
from tests.methods.small import CONTEXT, COUNTS, LABELS, SMALL, loss_of, unit
from tests.tiny import tiny_config

SOFT = [name for name in methods.names() if methods.method_class(name).soft_labels]
# Of these classes and embeddings are candidates of one loss (tests/methods/test_paco.py), and the
# logits of the third are noisy; the last classify in their second stage (test_k_positive.py).
OTHER_LOSSES = ("paco", "gpaco", "gcl", "kcl", "tsc")


def test_the_methods_of_a_softmax_cross_entropy_take_them():
    hard = {"ldam_drw", "cuda_ldam_drw", "glmc", "concutmix", "meta_saug", "mislas", "sbcl"}
    assert set(methods.names()) - set(SOFT) == hard | {"bccl_plus"}


def create(name):
    known = methods.settings(name)
    small = {key: value for key, value in SMALL.items() if key in known}
    return methods.create(methods.settings(name, **small))


def cross_entropy(method, logits, targets):
    """In float64, with the log prior where the method has it."""
    logits = np.asarray(logits, np.float64)
    if method.prior_in_loss:
        logits = logits + np.log(COUNTS / COUNTS.sum())
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -np.mean(np.sum(targets * logs, axis=1))


@pytest.mark.parametrize("name", [name for name in SOFT if name not in OTHER_LOSSES])
def test_the_classification_loss_is_of_them_and_nothing_else(name, outputs, rng):
    method = create(name)
    state = method.init(jax.random.key(0), CONTEXT)
    contrasts = "projector" in method.heads(CONTEXT)
    seen = outputs if contrasts else outputs[0]
    if isinstance(method, Beside):
        seen = *outputs, jnp.float32(unit(rng.normal(size=(3, 6))))  # a prototype a class
    targets = rng.dirichlet(np.ones(3), size=4)
    loss, metrics, renewed = loss_of(method, seen, state, 0, jnp.float32(targets))
    hard, told, kept = loss_of(method, seen, state, 0)
    for found, labels in ((loss, targets), (hard, np.eye(3)[np.asarray(LABELS)])):
        expected = cross_entropy(method, outputs[0], labels)
        if contrasts:
            expected *= getattr(method, "weight_classification", 1.0)
            weight = getattr(method, "weight_contrastive", 1.0)
            expected += weight * float(metrics["contrastive_loss"])
        assert found == pytest.approx(expected, rel=1e-5)
    # Accuracy, contrast and queues go by the labels.
    for key in metrics.keys() - {"classification_loss"}:
        assert metrics[key] == told[key]
    jax.tree.map(np.testing.assert_array_equal, renewed, kept)


@pytest.mark.parametrize("name", methods.names())
def test_label_smoothing_is_refused_where_it_would_do_nothing(name):
    config = tiny_config(name)
    config.label_smoothing = 0.1
    if name in SOFT:
        validate(config)
        return
    message = {
        "glmc": "glmc mixes both of its views itself",
        "concutmix": "concutmix mixes the classified view itself",
        "bccl_plus": "bccl_plus may mix the classified view itself",
        "mislas": "mislas mixes images and smooths labels itself",
    }.get(name, f"the loss of {name} takes one label")
    message = f"config.label_smoothing is 0.1, but {message}"
    with pytest.raises(ConfigError, match=message):
        validate(config)


@pytest.mark.parametrize("key", ["mixup_alpha", "cutmix_alpha"])
@pytest.mark.parametrize(
    "method",
    ["cross_entropy", "bccl", "bccl,released", "ldam_drw", "paco", "glmc", "concutmix", "dro_lt"],
)
def test_mixing_is_refused_where_an_image_has_to_have_a_class(method, key):
    config = get_config(method)
    config.augment.mix_probability = 0.5
    with pytest.raises(ConfigError, match=r"mix_probability is 0.5, but no image is mixed"):
        validate(config)
    config.augment[key] = 1.0
    message = {
        "glmc": f"config.augment.{key} is 1.0, but glmc mixes both of its views itself.*leave it",
        "concutmix": f"config.augment.{key} is 1.0, but concutmix mixes the classified view.*leave",
        "ldam_drw": f"config.augment.{key} is 1, but the loss of ldam_drw takes one label",
        "bccl,released": f"config.augment.{key} is 1, but the view that this bccl classifies is.*"
        "as config.method.view_set",
        **{
            name: f"config.augment.{key} is 1, .* this {name} classifies .* contrasted by; leave it"
            for name in ("paco", "dro_lt")
        },
    }.get(method)
    if message is None:
        validate(config)
        return
    with pytest.raises(ConfigError, match=message):
        validate(config)
