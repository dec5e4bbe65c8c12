"""SCL and BCL: a classifier beside a contrast, tied to BCCL and to what the network holds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import logit_compensation_loss
from bccl_jax.losses.contrastive import balanced_contrastive_loss
from bccl_jax.methods.base import Batch, Context, Progress
from bccl_jax.methods.bccl import BCCL
from bccl_jax.methods.bcl import BalancedContrast
from bccl_jax.methods.scl import SupervisedContrast
from bccl_jax.models.heads import class_weights
from bccl_jax.models.network import Network
from tests.methods.small import CONTEXT, COUNTS, LABELS, SMALL, loss_of
from tests.training.conftest import TwoLayers

SIZES = {"projector_dim": SMALL["projector_dim"], "projector_hidden": SMALL["projector_hidden"]}


def test_scl_is_bccl_without_centroids_and_compensation(outputs):
    bccl = BCCL(**SMALL, centroid_loss=False, class_complement=False, logit_compensation=False)
    expected, _, _ = loss_of(bccl, outputs, bccl.init(None, CONTEXT), 0)
    scl = SupervisedContrast(**SIZES)
    found, metrics, _ = loss_of(scl, (*outputs, None), scl.init(None, CONTEXT), 0)
    assert found == pytest.approx(expected, rel=1e-6)
    assert metrics["contrastive_loss"] > 0
    assert not scl.prior_in_loss


def test_bcl_weighs_its_two_losses(outputs, rng):
    logits, embeddings = outputs
    prototypes = rng.normal(size=(3, embeddings.shape[1]))
    prototypes = np.float32(prototypes / np.linalg.norm(prototypes, axis=1, keepdims=True))
    bcl = BalancedContrast(**SIZES)
    state = bcl.init(None, CONTEXT)
    found, metrics, _ = loss_of(bcl, (logits, embeddings, prototypes), state, 0)
    contrast = jax.jit(functools.partial(balanced_contrastive_loss, temperature=0.1))(
        embeddings, np.tile(LABELS, 2), prototypes
    )
    classification = jax.jit(logit_compensation_loss)(logits, LABELS, COUNTS)
    assert metrics["contrastive_loss"] == pytest.approx(float(contrast), rel=1e-6)
    assert found == pytest.approx(float(0.6 * contrast + 2 * classification), rel=1e-6)
    assert bcl.prior_in_loss


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_prototypes_come_from_the_classifier_and_train_it(kind, rng):
    method = BalancedContrast(**SIZES, classifier=kind, weight_classification=0.0)
    context = Context(COUNTS, epochs=10, dtype=jnp.float32, norm_groups=2)
    network = Network(TwoLayers(), method.heads(context))
    images = [np.float32(rng.normal(size=(4, 2, 2, 3))) for _ in range(3)]
    init = jax.jit(functools.partial(network.init, method=method.init_forward))
    variables = init(jax.random.key(0), images[0])

    def apply(params, forward, *inputs):
        outputs, renewed = network.apply(
            {**variables, "params": params}, *inputs, method=forward, mutable=["batch_stats"]
        )
        return outputs, renewed["batch_stats"]

    def loss(params):
        batch, progress = Batch(tuple(images), LABELS), Progress(jnp.int32(0), jnp.int32(0))
        state = method.init(None, context)
        return method.loss(apply, params, batch, state, jax.random.key(0), progress)[0]

    gradient = jax.jit(jax.grad(loss))(variables["params"])["heads_classifier"]
    kernels = [leaf for leaf in jax.tree.leaves(gradient) if leaf.ndim == 2]
    # Of every class, those that the batch has and the one that it has not.
    assert [kernel.shape for kernel in kernels] == [(8, 3)]
    assert np.all(np.abs(kernels[0]).max(axis=0) > 0)

    @jax.jit
    def beside(params):
        return apply(params, lambda net: method.beside(net, images[0]))[0]

    found = beside(variables["params"])
    params = variables["params"]["heads_classifier"]
    rows = np.asarray(params.get("Dense_0", params)["kernel"], np.float64).T
    mlp = jax.tree.map(np.asarray, variables["params"]["heads_prototypes"])
    hidden = rows @ mlp["Dense_0"]["kernel"]
    hidden = (hidden - hidden.mean(axis=0)) / np.sqrt(hidden.var(axis=0) + 1e-5)
    out = np.maximum(hidden, 0) @ mlp["Dense_1"]["kernel"] + mlp["Dense_1"]["bias"]
    expected = out / np.linalg.norm(out, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    weights, _ = apply(variables["params"], lambda net: class_weights(net.heads["classifier"]))
    np.testing.assert_allclose(weights, rows, rtol=1e-6)


@pytest.mark.parametrize("method", [SupervisedContrast, BalancedContrast])
def test_something_must_be_trained(method):
    with pytest.raises(ConfigError, match="weight_contrastive and config.method.weight_class"):
        method(weight_contrastive=0.0, weight_classification=0.0).validate(10)
