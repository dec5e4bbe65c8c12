"""MetaSAug beside float64 loops over a tiny linear network, and what a whole run does of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from bccl_jax.losses.margins import effective_number_weights
from bccl_jax.methods import meta_saug
from bccl_jax.methods.base import Batch, Context, Progress
from bccl_jax.methods.meta_saug import MetaSAug
from bccl_jax.training.assemble import assemble
from bccl_jax.training.loop import train_and_evaluate
from tests.clustering.test_class_covariances import over_all
from tests.losses.differences import slopes
from tests.losses.test_semantic_augmentation import loss_loop, spread_loop
from tests.methods.small import CONTEXT, COUNTS, LABELS
from tests.tiny import differing, tiny_config

pytestmark = pytest.mark.usefixtures("_hardly_optimized", "_no_picture", "_two_layers")

OTHERS = jnp.array([2, 1, 0, 2])
RATE, GAMMA, LAMBDA = 0.4, 0.3, 0.9
WEIGHTS = np.asarray(effective_number_weights(COUNTS, 0.9999), np.float64)


def linear(params, images, frozen=False):
    """Logits, features and rows of a network without any bend, in whatever precision."""
    pixels = images.reshape(len(images), -1)
    features = pixels @ params["backbone"]
    if frozen:
        features = jax.lax.stop_gradient(features)
    rows = params["heads_classifier"]["Dense_0"]["kernel"].T
    return features @ rows.T, features, rows


@pytest.fixture
def case(rng):
    """Parameters, a batch with another beside it, and covariances of three classes."""
    params = {
        "backbone": rng.normal(size=(3, 2)),
        "heads_classifier": {"Dense_0": {"kernel": rng.normal(size=(2, 3))}},
    }
    images, others = rng.normal(size=(2, 4, 1, 1, 3))
    roots = rng.normal(size=(3, 2, 2))
    return params, images, others, roots @ roots.swapaxes(1, 2)


def computed(method, case, epoch, stage=1):
    """Loss, gradient, metrics, and the state after a step of which the covariances were known."""
    params, images, others, covariances = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), case)
    state = method.follow(method.init(None, CONTEXT), params, first=True)
    assert not np.any(state["covariances"].covariances)
    if method.covariance == "diagonal":
        covariances = jnp.einsum("kdd->kd", covariances)
    state["covariances"] = state["covariances"].replace(covariances=covariances)
    batch = Batch((images,), LABELS, None, (Batch((others,), OTHERS),))

    def apply(params, forward, seen):
        """Cannot chain statistics, and says of which images they are."""
        outputs = linear(params, seen, forward is meta_saug._classify_frozen)
        outputs = outputs if stage else outputs[0]
        return outputs, "of the first" if seen is images else "of the balanced"

    @jax.jit
    def run(params, epoch):
        progress = Progress(10 * epoch, epoch, stage, jnp.float32(RATE))
        loss, (metrics, after, batch_stats) = method.loss(
            apply, params, batch, state, None, progress
        )
        # The virtual step leaves none behind.
        assert batch_stats == "of the first"
        return loss, (metrics, after)

    (loss, (metrics, after)), gradient = jax.value_and_grad(run, has_aux=True)(
        params, jnp.int32(epoch)
    )
    return float(loss), gradient, metrics, after


class Expected:
    """The same in float64, each derivative by differences."""

    def __init__(self, case, strength, *, max_margin=0.5, frozen=False, diagonal=False):
        self.params, self.images, self.others, covariances = case
        self.known = np.einsum("kdd->kd", covariances) if diagonal else covariances
        self.strength, self.max_margin, self.frozen = strength, max_margin, frozen

    def loss(self, backbone, kernel, covariances):
        logits = self.images.reshape(4, 3) @ backbone @ kernel
        spread = spread_loop(kernel.T, LABELS, covariances)
        return loss_loop(
            logits, np.asarray(LABELS), spread, COUNTS, self.strength, self.max_margin, WEIGHTS
        )

    def gradient(self, covariances):
        backbone, kernel = self.parameters()
        of_backbone = slopes(lambda x: self.loss(x, kernel, covariances), backbone)
        return of_backbone * (not self.frozen), slopes(
            lambda x: self.loss(backbone, x, covariances), kernel
        )

    def parameters(self):
        return self.params["backbone"], self.params["heads_classifier"]["Dense_0"]["kernel"]

    def judged(self, covariances):
        backbone, kernel = (
            x - RATE * g for x, g in zip(self.parameters(), self.gradient(covariances), strict=True)
        )
        logits = self.others.reshape(4, 3) @ backbone @ kernel
        return loss_loop(logits, np.asarray(OTHERS), 0 * logits, COUNTS, 0, 0, np.ones(3))

    @functools.cached_property
    def corrected(self):
        return self.known - GAMMA * slopes(self.judged, self.known, step=1e-3)


SETTINGS = {"strength": LAMBDA, "meta_learning_rate": GAMMA}


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_a_step_matches_loops(case, covariance):
    method = MetaSAug(**SETTINGS, covariance=covariance)
    loss, gradient, metrics, after = computed(method, case, epoch=85)
    expected = Expected(case, LAMBDA * 85 / 100, diagonal=covariance == "diagonal")
    corrected = expected.corrected
    moved = np.linalg.norm(corrected - expected.known)
    assert moved > 1e-3
    assert float(metrics["correction_norm"]) == pytest.approx(moved, rel=1e-3)
    assert float(metrics["meta_loss"]) == pytest.approx(expected.judged(expected.known), rel=1e-5)
    assert loss == pytest.approx(expected.loss(*expected.parameters(), corrected), rel=1e-5)
    found = gradient["backbone"], gradient["heads_classifier"]["Dense_0"]["kernel"]
    for one, other in zip(found, expected.gradient(corrected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())
    # Of a class of which nothing was seen the batch's covariance takes the place of any other.
    seen = case[1].reshape(4, 3) @ case[0]["backbone"]
    means, of_batch, counts = over_all(seen, np.asarray(LABELS), 3)
    if covariance == "diagonal":
        of_batch = np.einsum("kdd->kd", of_batch)
    np.testing.assert_allclose(after["covariances"].covariances, of_batch, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(after["covariances"].means.means, means, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after["covariances"].means.counts, counts)


@pytest.mark.parametrize("kept", [True, False])
def test_a_correction_is_kept_or_serves_its_step_alone(case, kept, monkeypatch):
    # Nothing joins, so that what is left is what was kept.
    monkeypatch.setattr(meta_saug, "merged_covariances", lambda known, new: known)
    method = MetaSAug(**SETTINGS, keep_correction=kept)
    loss, _, metrics, after = computed(method, case, epoch=85)
    expected = Expected(case, LAMBDA * 85 / 100)
    left = expected.corrected if kept else expected.known
    np.testing.assert_allclose(after["covariances"].covariances, left, rtol=1e-4, atol=1e-5)
    used = expected.loss(*expected.parameters(), expected.corrected)
    assert loss == pytest.approx(used, rel=1e-5)
    assert loss != pytest.approx(expected.loss(*expected.parameters(), expected.known), rel=1e-5)
    assert float(metrics["covariance_norm"]) == pytest.approx(
        np.linalg.norm(expected.corrected), rel=1e-5
    )


def test_frozen_features_have_no_part_in_the_virtual_step(case):
    method = MetaSAug(**SETTINGS, frozen_features=True, max_margin=0.0)
    loss, gradient, metrics, _ = computed(method, case, epoch=85)
    # rho grows over the last 20 epochs alone.
    expected = Expected(case, LAMBDA * 5 / 20, max_margin=0.0, frozen=True)
    moved = np.linalg.norm(expected.corrected - expected.known)
    assert float(metrics["correction_norm"]) == pytest.approx(moved, rel=1e-3)
    assert loss == pytest.approx(
        expected.loss(*expected.parameters(), expected.corrected), rel=1e-5
    )
    assert not np.any(gradient["backbone"])


def test_the_first_stage_is_cross_entropy(case):
    method = MetaSAug()
    loss, _, metrics, after = computed(method, case, epoch=10, stage=0)
    logits = linear(case[0], case[1])[0]
    expected = loss_loop(logits, np.asarray(LABELS), 0 * logits, COUNTS, 0, 0, np.ones(3))
    assert loss == pytest.approx(expected, rel=1e-5)
    assert set(metrics) == {"accuracy"}
    np.testing.assert_array_equal(after["covariances"].means.counts, 0)


def test_the_last_epoch_at_least_is_of_the_second_stage():
    for deferred, epochs, lengths in (
        (0.8, 200, (160, 40)),
        (1.0, 200, (199, 1)),
        (0.8, 2, (1, 1)),
        (90 / 110, 110, (90, 20)),
    ):
        stages = MetaSAug(deferred=deferred).stages(epochs)
        assert tuple(stage.epochs for stage in stages) == lengths
        assert stages[1].continues


def test_covariances_that_are_too_large_are_refused():
    context = Context(np.full(1000, 5), 10, jnp.float32)
    kernel = jax.ShapeDtypeStruct((2048, 1000), jnp.float32)
    params = {"heads_classifier": {"Dense_0": {"kernel": kernel}}}
    method = MetaSAug()
    with pytest.raises(ConfigError, match=r"1,000 matrices of 2,048 x 2,048, 15.6 GiB.*'diagonal'"):
        method.follow(method.init(None, context), params, first=True)
    state = MetaSAug(covariance="diagonal").follow({}, params, first=True)
    assert state["covariances"].covariances.shape == (1000, 2048)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer.name": "adamw"}, "optimizer.name is 'adamw', but the virtual step"),
        ({"optimizer.sam_rho": 0.05}, "optimizer.sam_rho is 0.05, but meta_saug corrects"),
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1, but the loss of meta_saug takes one"),
        ({"augment.cutmix_alpha": 1.0}, "cutmix_alpha is 1, but the loss of meta_saug takes one"),
        ({"method.classifier": "cosine"}, "classifier is 'cosine', but meta_saug.*write 'linear'"),
        ({"method.deferred": 0.0}, "stage 1 of 2 of meta_saug has no epochs.*model.pretrained"),
    ],
)
def test_what_it_cannot_go_with_is_refused(changes, message):
    config = tiny_config("meta_saug")
    config.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=message):
        validate(config)


def small_config(**changes):
    config = tiny_config("meta_saug")
    config.model.backbone = "two_layers"
    config.batch_size = 160
    config.eval.every_epochs = 4
    config.update_from_flattened_dict(changes)
    return config


def test_a_single_image_is_refused_where_it_would_be_held_out():
    config = small_config(**{"method.held_out": True, "data.imbalance": 100.0})
    with pytest.raises(ConfigError, match="has only one image"):
        assemble(config)


def test_it_starts_from_a_trained_run_and_trains_its_classifier(shared_assemblies, tmp_path):
    first = tiny_config("cross_entropy")
    short = {"model.backbone": "two_layers", "epochs": 1, "optimizer.warmup_epochs": 0}
    first.update_from_flattened_dict(short)
    trained = train_and_evaluate(first, tmp_path / "first")
    second = small_config(
        **{
            **short,
            "method.deferred": 0.0,
            "method.frozen_features": True,
            "method.frozen_learning_rate": 0.01,
            "method.covariance": "diagonal",
            "model.pretrained": str(tmp_path / "first"),
            "accumulation": 2,
            "optimizer.ema": 0.9,
            "optimizer.clip_norm": 1.0,
        }
    )
    result = train_and_evaluate(second, tmp_path / "second")
    parts = [{"p": x.state.params, "s": x.state.batch_stats} for x in (trained, result)]
    changed = differing(*parts)
    assert changed
    assert all("heads_classifier" in path for path in changed)
    for record in result.records:
        assert record["train"]["learning_rate"] == pytest.approx(0.01)
        assert record["stage"] == 2
        assert all(np.isfinite(value) for value in record["train"].values())


@pytest.mark.parametrize("changes", [{"model.remat": True}, {"dtype": "bfloat16"}])
def test_residual_networks_have_its_derivatives(changes):
    config = tiny_config("meta_saug")
    config.update_from_flattened_dict({"batch_size": 20, **changes})
    run = assemble(config)
    batch = {
        "image": jax.ShapeDtypeStruct((40, 8, 8, 3), np.uint8),
        "label": jax.ShapeDtypeStruct((40,), np.int32),
    }
    state, metrics = jax.eval_shape(run.stages[1].train_step, run.abstract_state, batch)
    assert {"meta_loss", "correction_norm"} <= metrics.keys()
    assert state.method["covariances"].covariances.shape == (10, 64, 64)
