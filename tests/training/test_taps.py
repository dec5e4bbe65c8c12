"""The gradients at the backbone that a training step logs, over a backbone of one layer."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bccl_jax.losses.classification import cross_entropy_loss, logit_compensation_loss
from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.methods import base
from bccl_jax.methods.bccl import BCCL
from bccl_jax.methods.bccl_plus import BCCLPlus
from bccl_jax.models import Network
from bccl_jax.models.taps import sinks, tapped
from bccl_jax.training.state import TrainState
from bccl_jax.training.step import make_train_step
from tests.tiny import differing

COUNTS = np.array([40, 20, 10])
CONTEXT = base.Context(COUNTS, epochs=100, dtype=jnp.float32)
BATCH = {
    "image": np.random.default_rng(1).integers(0, 255, (8, 2, 2, 3), np.uint8),
    "label": np.array([0, 1, 2, 0, 1, 0, 0, 2], np.int32),
}


class Flat(nn.Module):
    """A backbone of one dense layer."""

    @nn.compact
    def __call__(self, images, train):
        return nn.Dense(4)(images.reshape(images.shape[0], -1))


class Tapped(base.Method):
    """Cross-entropy with a tap."""

    taps = ("classification",)

    def loss(self, apply, params, batch, state, key, progress):
        def forward(network, images):
            features = network.backbone(images, train=True)
            return network.heads["classifier"](tapped(network, "classification", features))

        logits, batch_stats = apply(params, forward, batch.views[0])
        return cross_entropy_loss(logits, batch.labels), ({}, state, batch_stats)


class Untapped(Tapped):
    """The same of which nobody asks for the gradient."""

    taps = ()


def normalized(images, key=None):
    del key
    return (images.astype(jnp.float32) / 255,)


@functools.cache
def after_a_step(method_class, accumulation=1):
    """The state before, the state and the metrics after one step."""
    method = method_class()
    network, optimizer = Network(Flat(), method.heads(CONTEXT)), optax.sgd(0.1)
    init = functools.partial(network.init, method=method.init_forward)
    params = init(jax.random.key(0), *normalized(BATCH["image"]))["params"]
    state = TrainState(
        jnp.int32(0), jax.random.key(1), params, {"unused": 0.0}, optimizer.init(params), {}
    )
    step = make_train_step(
        network, method, optimizer, optax.constant_schedule(0.1), normalized, 10, accumulation
    )
    return state, *jax.jit(step)(state, BATCH)


def gradient_at_the_backbone(params, batch):
    """Norm of softmax less one-hot, through the classifier's weights, in float64."""
    backbone, head = (
        jax.tree.map(lambda x: np.asarray(x, np.float64), tree)
        for tree in (params["backbone"]["Dense_0"], params["heads_classifier"])
    )
    (images,) = normalized(batch["image"])
    features = np.asarray(images, np.float64).reshape(len(images), -1) @ backbone["kernel"]
    (head,) = head.values()
    exponentials = np.exp((features + backbone["bias"]) @ head["kernel"] + head["bias"])
    off = exponentials / exponentials.sum(axis=1, keepdims=True) - np.eye(3)[batch["label"]]
    return np.linalg.norm(off @ head["kernel"].T / len(images))


def test_a_step_logs_the_norm_of_the_gradient():
    before, _, metrics = after_a_step(Tapped)
    expected = gradient_at_the_backbone(before.params, BATCH)
    assert float(metrics["classification_gradient"]) == pytest.approx(expected, rel=1e-5)


def test_of_a_batch_in_parts_the_mean_over_the_parts_is_logged():
    before, _, metrics = after_a_step(Tapped, accumulation=2)
    parts = [{name: array[start::2] for name, array in BATCH.items()} for start in (0, 1)]
    expected = np.mean([gradient_at_the_backbone(before.params, part) for part in parts])
    assert float(metrics["classification_gradient"]) == pytest.approx(expected, rel=1e-5)


def test_a_step_without_taps_is_the_same_step():
    _, tapped, metrics = after_a_step(Tapped)
    _, untapped, fewer = after_a_step(Untapped)
    assert differing(tapped, untapped) == []
    assert metrics.keys() - fewer.keys() == {"classification_gradient"}
    for name, value in fewer.items():
        np.testing.assert_array_equal(metrics[name], value)


SMALL = {"centroid_loss": False, "projector_dim": 6, "projector_hidden": 5, "queue_size": 8}


def at_the_backbone(method, rng):
    """What the taps say of a batch, features [3, 8, 4] of its views, and what runs a pass."""
    network = Network(Flat(), method.heads(CONTEXT))
    views = tuple(jnp.asarray(rng.normal(size=(8, 2, 2, 3)), jnp.float32) for _ in range(3))
    init = functools.partial(network.init, method=method.init_forward)
    variables = jax.jit(init)(jax.random.key(0), views[0])
    state = method.init(jax.random.key(2), CONTEXT)

    def run(forward, *inputs, **more):
        return network.apply(
            {**variables, **more}, *inputs, method=forward, mutable=["batch_stats"]
        )

    @jax.jit
    def compute():
        def loss(sinks):
            def apply(params, forward, *inputs):
                return run(forward, *inputs, taps=sinks)

            batch = base.Batch(views, jnp.asarray(BATCH["label"]))
            return method.loss(apply, None, batch, state, jax.random.key(3), None)[0]

        features, _ = run(
            lambda network, x: network.backbone(x, train=True), jnp.concatenate(views)
        )
        return jax.grad(loss)(sinks(method.taps)), features.reshape(3, 8, -1)

    return *compute(), run


def of_classification(run):
    """The compensated loss of the features [B, 4] of one view, as a function of them."""

    def loss(features):
        logits, _ = run(lambda network, x: network.heads["classifier"](x), features)
        return logit_compensation_loss(logits, jnp.asarray(BATCH["label"]), jnp.asarray(COUNTS))

    return loss


def squares(gradient):
    return np.sum(np.asarray(gradient, np.float64) ** 2)


def test_bccl_taps_what_its_two_weighted_losses_send_to_the_backbone(rng):
    weights = {"weight_contrastive": 0.5, "weight_classification": 2.0}
    method = BCCL(**SMALL, **weights, class_complement=False)
    assert {f"{name}_gradient" for name in method.taps} < set(method.fine_metrics)
    found, features, run = at_the_backbone(method, rng)

    def contrastive(features):
        embeddings, _ = run(lambda network, x: network.heads["projector"](x, train=True), features)
        doubled = jnp.tile(jnp.asarray(BATCH["label"]), 2)
        return supervised_contrastive_loss(embeddings, doubled, temperature=0.1)

    contrasted = jax.jit(jax.grad(contrastive))(features[1:].reshape(16, -1))
    assert float(found["contrastive"]) == pytest.approx(0.5**2 * squares(contrasted), rel=1e-4)
    classified = jax.jit(jax.grad(of_classification(run)))(features[0])
    assert float(found["classification"]) == pytest.approx(2**2 * squares(classified), rel=1e-4)


def test_bccl_plus_taps_what_the_classification_of_every_view_sends_to_the_backbone(rng):
    """The mean over three views: a third of each one's own gradient."""
    found, features, run = at_the_backbone(BCCLPlus(**SMALL, all_classified=True), rng)
    gradient = jax.jit(jax.grad(of_classification(run)))
    of_views = [squares(gradient(view)) / 9 for view in features]
    assert of_views[1] > 0.1 * of_views[0]
    assert float(found["classification"]) == pytest.approx(sum(of_views), rel=1e-4)


def test_bccl_plus_taps_what_the_mixed_view_sends_to_the_backbone(rng):
    """A part of the gradient alone would not grow with the weight."""
    plain, light, heavy = (
        float(
            at_the_backbone(BCCLPlus(**SMALL, regmixup_weight=w), np.random.default_rng(4))[0][
                "classification"
            ]
        )
        for w in (0.0, 1.0, 2.0)
    )
    assert light > plain
    assert heavy - plain == pytest.approx(4 * (light - plain), rel=1e-4)
