"""DisAlign, GCL and MiSLAS: the loss of each stage by loops, and what ties them to others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax import methods
from bccl_jax.augment.mixing import Mixing, mix
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.clouds import draw_noise
from bccl_jax.methods.base import Batch, Progress
from bccl_jax.methods.disalign import DisAlign
from bccl_jax.methods.gcl import GaussianClouds
from bccl_jax.methods.mislas import MiSLAS
from tests.methods.small import CONTEXT, COUNTS, LABELS
from tests.tiny import tiny_config

KEY = jax.random.key(0)
COSINES = np.random.default_rng(3).uniform(-1, 1, (4, 3))


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def in_stage(method, logits, stage, targets=None):
    """Loss and new state where the network gives these logits."""
    views = (jnp.zeros((4, 2, 2, 3)),)

    def apply(params, forward, images):
        del params, forward, images
        return jnp.float32(logits), {}

    @jax.jit
    def compute(targets):
        own, where = method.init(KEY, CONTEXT), Progress(jnp.int32(0), jnp.int32(0), stage)
        batch = Batch(views, LABELS, targets)
        loss, (_, state, _) = method.loss(apply, None, batch, own, KEY, where)
        return loss, state

    loss, state = compute(targets)
    return float(loss), state


@pytest.mark.parametrize("soft", [False, True])
def test_disalign_weighs_classes_in_its_second_stage(soft, rng):
    logits = rng.normal(size=(4, 3))
    shares = rng.dirichlet(np.ones(3), 4) if soft else np.eye(3)[np.asarray(LABELS)]
    weights = [(n / sum(COUNTS)) ** -1.2 for n in COUNTS]
    logs = log_softmax(logits)
    above = -sum(shares[i, k] * weights[k] * logs[i, k] for i, k in np.ndindex(4, 3))
    below = sum(shares[i, k] * weights[k] for i, k in np.ndindex(4, 3))
    targets = jnp.float32(shares) if soft else None
    assert in_stage(DisAlign(), logits, 1, targets)[0] == pytest.approx(above / below, rel=1e-5)
    plain = -np.sum(shares * logs) / 4
    assert in_stage(DisAlign(), logits, 0, targets)[0] == pytest.approx(plain, rel=1e-5)
    assert in_stage(DisAlign(weighting=0.0), logits, 1, targets)[0] == pytest.approx(
        plain, rel=1e-5
    )


@pytest.mark.parametrize("soft", [False, True])
def test_gcl_clouds_in_both_stages_and_takes_a_margin_in_the_second(soft, rng):
    shares = rng.dirichlet(np.ones(3), 4) if soft else np.eye(3)[np.asarray(LABELS)]
    noise = np.abs(np.asarray(draw_noise(KEY, (4, 3)), np.float64))
    # ln 40 - ln n over ln 4.
    clouded = COSINES - 0.5 * noise * [0, 0.5, 1]
    first = -np.sum(shares * log_softmax(30 * clouded)) / 4
    second = 0.0
    for i, k in np.ndindex(4, 3):
        log_share = log_softmax(20 * (clouded[i] - 0.1 * np.eye(3)[k])[None])[0, k]
        second -= shares[i, k] * (1 - np.exp(log_share)) * log_share / 4
    targets = jnp.float32(shares) if soft else None
    for stage, expected, scale in ((0, first, 30), (1, second, 20)):
        loss, state = in_stage(GaussianClouds(), 30 * COSINES, stage, targets)
        assert loss == pytest.approx(expected, rel=1e-4)
        assert float(state["scale"]) == scale
    same = GaussianClouds(refit_scale=30.0, refit_margin=0.0, refit_focus=0.0)
    assert in_stage(same, 30 * COSINES, 1, targets)[0] == pytest.approx(first, rel=1e-4)


def test_gcl_predicts_by_the_scale_of_its_stage():
    method = GaussianClouds()

    def apply(params, forward, images):
        del params, forward, images
        return jnp.float32(30 * COSINES), None

    for stage, scale in ((0, 30), (1, 20)):
        _, state = in_stage(method, 30 * COSINES, stage)
        logits = method.logits(apply, None, None, state)
        np.testing.assert_allclose(logits, scale * COSINES, rtol=1e-6)


def test_the_first_stage_alone_is_an_option_of_gcl():
    method = GaussianClouds(refit_epochs=0)
    (only,) = method.stages(7)
    assert only.epochs == 7
    assert not only.trains
    with pytest.raises(ConfigError, match="start_from names the first stage.*nothing would be"):
        GaussianClouds(refit_epochs=0, start_from="run").validate(7)
    with pytest.raises(ConfigError, match="the clouds of gcl are of cosines"):
        GaussianClouds(classifier="linear").validate(100)


def test_mislas_mixes_first_and_smooths_by_class_then(rng):
    logits = rng.normal(size=(4, 3))
    # The share is drawn with the images, which are the same here.
    onehot = jnp.eye(3)[LABELS]
    _, mixed = mix(jnp.zeros((4, 2, 2, 3)), onehot, KEY, Mixing(mixup_alpha=1.0))
    assert 0 < float(mixed.max(axis=1).min()) < 1
    expected = -np.sum(np.asarray(mixed, np.float64) * log_softmax(logits)) / 4
    assert in_stage(MiSLAS(), logits, 0)[0] == pytest.approx(expected, rel=1e-5)
    hard = -np.sum(np.asarray(onehot) * log_softmax(logits)) / 4
    assert in_stage(MiSLAS(mix_alpha=0.0), logits, 0)[0] == pytest.approx(hard, rel=1e-5)
    # Of 40, 20 and 10 images t is 1, 1/3 and 0.
    given = 0.1 + 0.3 * np.sin(np.array([1, 1 / 3, 0]) * np.pi / 2)
    second = 0.0
    for row, label in zip(log_softmax(logits), np.asarray(LABELS), strict=True):
        for k in range(3):
            share = given[label] / 3 + (1 - given[label]) * (k == label)
            second -= share * row[k] / 4
    assert in_stage(MiSLAS(), logits, 1)[0] == pytest.approx(second, rel=1e-5)
    none = MiSLAS(smooth_head=0.0, smooth_tail=0.0)
    assert in_stage(none, logits, 1)[0] == pytest.approx(hard, rel=1e-5)


def test_mislas_without_its_own_is_lws(rng):
    """Of classifier and scales LWS trains the latter: rate, smoothing and mixing aside."""
    mislas = MiSLAS(
        mix_alpha=0.0, smooth_head=0.0, smooth_tail=0.0, shift_statistics=False, classifier_rate=0.0
    )
    lws = methods.create(methods.settings("lws"))
    logits = jnp.float32(rng.normal(size=(4, 3)))
    for stage in (0, 1):
        assert in_stage(mislas, logits, stage)[0] == pytest.approx(
            in_stage(lws, logits, stage)[0], rel=1e-6
        )
    assert mislas.heads(CONTEXT) == lws.heads(CONTEXT)


def test_a_tail_that_is_smoothed_more_is_refused():
    with pytest.raises(ConfigError, match="rare classes would be smoothed more"):
        MiSLAS(smooth_tail=0.5).validate(20)


@pytest.mark.parametrize("key", ["label_smoothing", "augment.mixup_alpha", "augment.cutmix_alpha"])
def test_mislas_softens_labels_itself(key):
    config = tiny_config("mislas")
    config.update_from_flattened_dict({key: 0.5})
    with pytest.raises(ConfigError, match=f"config.{key} is 0.5, but mislas mixes images and"):
        validate(config)


@pytest.mark.usefixtures("_no_picture", "_two_layers")
def test_a_rate_is_a_factor_of_the_step(shared_assemblies, rng):
    """Of one step of MiSLAS's second stage, weight decay included."""
    images = jnp.asarray(rng.integers(0, 256, (160, 8, 8, 3)), jnp.uint8)
    batch = {"image": images, "label": jnp.arange(160, dtype=jnp.int32) % 10}
    steps = []
    for rate in (1.0, 0.2):
        config = tiny_config("mislas")
        config.model.backbone, config.batch_size = "two_layers", 160
        config.method.classifier_rate = rate
        run = shared_assemblies(config)
        state = run.init_state()
        after, _ = jax.jit(run.stages[1].train_step)(state, batch)
        both = (x.params["heads_classifier"] for x in (state, after))
        steps.append(jax.tree.map(lambda x, y: np.asarray(y) - np.asarray(x), *both))
    whole, part = steps
    np.testing.assert_array_equal(whole["scale"], part["scale"])
    for name in ("kernel", "bias"):
        one, other = (step["classifier"]["Dense_0"][name] for step in (whole, part))
        assert np.abs(one).max() > 1e-4
        np.testing.assert_allclose(other, 0.2 * one, rtol=1e-3, atol=1e-6)
