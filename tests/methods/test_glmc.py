"""GLMC beside loops over its outputs, and what reaches its network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.augment.mixing import mix_globally_and_locally
from bccl_jax.data.sampling import class_shares
from bccl_jax.methods.base import Batch, Context, Progress
from bccl_jax.methods.glmc import GLMC
from bccl_jax.training.assemble import assemble
from tests.losses.test_mixture import cosine_loop, softmax_loop
from tests.methods.small import CONTEXT, COUNTS, LABELS
from tests.tiny import NO_OFFSETS, tiny_config

OTHERS = jnp.array([2, 1, 1, 0])
KEY = jax.random.key(7)


@pytest.fixture
def batch(rng):
    """Four images of 6 x 6 pixels, two views of each, beside four others."""
    first, second = (
        tuple(jnp.asarray(rng.normal(size=(4, 6, 6, 3)), jnp.float32) for _ in range(2))
        for _ in range(2)
    )
    return Batch(first, LABELS, None, (Batch(second, OTHERS),))


@pytest.fixture
def made(rng):
    """Outputs of both views: logits of both classifiers, projections, predictions."""
    return tuple(
        tuple(jnp.asarray(rng.normal(size=(4, width)), jnp.float32) for _ in range(2))
        for width in (3, 3, 5, 5)
    )


def loss_of(method, batch, outputs, epoch, seen=None):
    """The loss and its metrics, whatever the network; `seen` gets the images that reach it."""
    state = method.init(None, CONTEXT)

    def apply(params, forward, images):
        if seen is not None:
            seen.append(np.asarray(images))
        return outputs, "renewed statistics"

    progress = Progress(jnp.int32(10 * epoch), jnp.int32(epoch))
    loss, (metrics, same, batch_stats) = method.loss(apply, None, batch, state, KEY, progress)
    assert batch_stats == "renewed statistics"
    assert same is state
    return loss, metrics


@pytest.mark.parametrize("epoch", [0, 40, 99])
@pytest.mark.parametrize("gamma", [0.0, 4.0])
def test_the_loss_matches_loops(batch, made, epoch, gamma):
    method = GLMC(weight_consistency=gamma, label_weighting=0.5)
    loss, metrics = loss_of(method, batch, made, epoch)
    views, share = mix_globally_and_locally(batch.views, batch.others[0].views, KEY, alpha=1.0)
    share = float(share)
    assert 0.05 < share < 0.95
    labels = share * np.eye(3)[LABELS] + (1 - share) * np.eye(3)[OTHERS]
    weights = COUNTS**-0.5 / np.mean(COUNTS**-0.5)
    a = 1 - (epoch / 100) ** 2
    weighted, plain, projections, predictions = (
        [np.asarray(x, np.float64) for x in views] for views in made
    )
    expected = sum(
        a * softmax_loop(plain[view], labels)
        + (1 - a) * softmax_loop(weighted[view], labels * weights)
        + gamma * cosine_loop(predictions[view], projections[1 - view])
        for view in (0, 1)
    )
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["consistency_loss"]) == pytest.approx(
        cosine_loop(predictions[0], projections[1]) + cosine_loop(predictions[1], projections[0]),
        rel=1e-5,
    )


def test_the_network_sees_the_mixed_views_image_by_image(batch, made):
    seen = []
    loss_of(GLMC(), batch, made, 3, seen)
    (blended, pasted), share = mix_globally_and_locally(
        batch.views, batch.others[0].views, KEY, alpha=1.0
    )
    np.testing.assert_array_equal(seen[0], np.stack([blended, pasted], 1).reshape(8, 6, 6, 3))
    first = share * batch.views[0] + (1 - share) * batch.others[0].views[0]
    np.testing.assert_allclose(seen[0][0::2], first, rtol=1e-5, atol=1e-6)
    both = np.stack([batch.views[1], batch.others[0].views[1]])
    assert np.all((seen[0][1::2] == both).any(axis=0))


def test_at_the_end_it_is_its_weighted_half(batch, made):
    method = GLMC(weight_consistency=0.0)

    def loss(weighted, plain, epoch):
        return loss_of(method, batch, (weighted, plain, *made[2:]), epoch)[0]

    def gradients(epoch):
        weighted, plain = jax.grad(loss, argnums=(0, 1))(*made[:2], epoch)
        return [float(jnp.abs(jnp.stack(g)).max()) for g in (weighted, plain)]

    of_weighted, of_plain = gradients(0)
    assert of_weighted == 0 < of_plain
    of_weighted, of_plain = gradients(100)
    assert of_plain == 0 < of_weighted


def test_with_equal_classes_weighting_changes_nothing(batch, made):
    method = GLMC()
    even = method.init(None, Context(np.array([7, 7, 7]), 100, jnp.float32))["class_weights"]
    np.testing.assert_allclose(even, np.ones(3), rtol=1e-6)
    # One classifier in place of both makes the loss that of every epoch.
    same = (made[0], made[0], *made[2:])
    method = GLMC(label_weighting=0.0)
    first, last = (float(loss_of(method, batch, same, epoch)[0]) for epoch in (0, 90))
    assert first == pytest.approx(last, rel=1e-6)


@pytest.mark.parametrize("resampling", [0.0, 0.2, 1.0])
def test_the_second_stream_draws_images_by_a_power_of_their_class_count(resampling):
    (sampler,) = GLMC(resampling=resampling).streams
    of_image = np.repeat(COUNTS, COUNTS) ** -resampling
    expected = [of_image[np.repeat(COUNTS, COUNTS) == n].sum() / of_image.sum() for n in COUNTS]
    np.testing.assert_allclose(class_shares(sampler, COUNTS), expected, rtol=1e-9)


@pytest.mark.usefixtures("_two_layers")
def test_the_weighted_classifier_predicts(rng):
    config = tiny_config("glmc")
    config.model.backbone = "two_layers"
    run = assemble(config)
    state = run.init_state()
    images = rng.integers(0, 256, (5, 8, 8, 3), np.uint8)

    def confidences(params):
        changed = state.replace(params=params)
        return run.classifier.predict(changed, images, *NO_OFFSETS)[1]

    before = confidences(state.params)
    for head, matters in (("classifier", True), ("plain_classifier", False), ("predictor", False)):
        name = f"heads_{head}"
        moved = jax.tree.map(lambda x: x + rng.normal(size=x.shape), state.params[name])
        after = confidences({**state.params, name: moved})
        assert np.array_equal(before, after) != matters
