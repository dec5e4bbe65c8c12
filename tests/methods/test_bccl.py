import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.clustering.queue import contents
from bccl_jax.errors import ConfigError
from bccl_jax.losses.classification import cross_entropy_loss, logit_compensation_loss
from bccl_jax.losses.contrastive import centroid_loss, supervised_contrastive_loss
from bccl_jax.methods.base import Batch
from bccl_jax.methods.bccl import BCCL
from bccl_jax.methods.shared.queued_centroids import centroid_shift
from bccl_jax.models import Network, create_backbone
from tests.methods.small import CONTEXT, COUNTS, LABELS, SMALL, loss_of, unit

# In one program each.
contrast = jax.jit(supervised_contrastive_loss)
attraction = jax.jit(centroid_loss)
compensation = jax.jit(logit_compensation_loss)


@pytest.mark.parametrize(
    ("preset", "weights"),
    [("sec43", (1, 0.1, 1)), ("eq9", (1, 1, 0.1)), ("bcl", (0.6, 0.6, 2))],
)
def test_the_total_weighs_the_three_losses_as_the_preset_says(preset, weights, outputs, clustered):
    logits, embeddings = outputs
    doubled = jnp.concatenate([LABELS, LABELS])
    centroids = (clustered.centroids, clustered.centroid_mask)
    parts = (
        contrast(
            embeddings,
            doubled,
            temperature=0.2,
            centroids=centroids[0],
            centroid_mask=centroids[1],
        ),
        attraction(embeddings, doubled, *centroids, temperature=0.2),
        compensation(logits, LABELS, jnp.asarray(COUNTS)),
    )
    expected = sum(w * float(part) for w, part in zip(weights, parts, strict=True))
    loss, metrics, _ = loss_of(BCCL(preset=preset, temperature=0.2, **SMALL), outputs, clustered)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert float(metrics["centroid_loss"]) == pytest.approx(float(parts[1]))


def test_table_4s_first_row_is_contrast_and_plain_cross_entropy(outputs, clustered):
    method = BCCL(centroid_loss=False, logit_compensation=False, **SMALL)
    loss, metrics, _ = loss_of(method, outputs, clustered)
    contrastive = contrast(
        outputs[1],
        jnp.concatenate([LABELS, LABELS]),
        temperature=0.1,
        centroids=clustered.centroids,
        centroid_mask=clustered.centroid_mask,
    )
    plain = cross_entropy_loss(outputs[0], LABELS)
    assert loss == pytest.approx(float(contrastive + plain), rel=1e-6)
    assert "centroid_loss" not in metrics


def test_weights_of_ones_own_replace_the_presets():
    method = BCCL(preset="bcl", weight_centroid=0.3)
    assert method.weights == (0.6, 0.3, 2.0)
    assert BCCL(preset="bcl", weight_centroid=0.3, centroid_loss=False).weights[1] == 0


def test_through_warm_up_eq_6_is_eq_2(outputs):
    fresh = BCCL(**SMALL).init(jax.random.key(0), CONTEXT)
    with_complement, metrics, _ = loss_of(BCCL(**SMALL), outputs, fresh)
    without, _, _ = loss_of(BCCL(class_complement=False, **SMALL), outputs, fresh)
    assert with_complement == without
    assert float(metrics["centroid_loss"]) == 0


def test_both_contrastive_views_enter_their_class_queue_in_order(outputs):
    state = BCCL(**SMALL).init(jax.random.key(0), CONTEXT)
    _, _, state = loss_of(BCCL(**SMALL), outputs, state)
    embeddings = np.asarray(outputs[1])
    np.testing.assert_array_equal(contents(state.queue, 0), embeddings[[0, 1, 4, 5]])
    np.testing.assert_array_equal(contents(state.queue, 1), embeddings[[2, 6]])
    np.testing.assert_array_equal(contents(state.queue, 2), embeddings[[3, 7]])


def test_refresh_comes_at_the_end_of_warm_up_and_every_five_epochs():
    method = BCCL(warmup_epochs=20, refresh_epochs=5)
    assert [e for e in range(1, 41) if method.refresh_due(e)] == [20, 25, 30, 35, 40]


@pytest.mark.parametrize("clustering", ["kmeans", "mean_shift", "affinity_propagation"])
def test_refresh_turns_queues_into_unit_centroids_of_their_class(clustering, outputs):
    method = BCCL(clustering=clustering, **SMALL)
    state = method.init(jax.random.key(0), CONTEXT)
    _, _, state = loss_of(method, outputs, state)
    # Class 2 is emptied: it has no centroid.
    queue = state.queue.replace(count=state.queue.count.at[2].set(0))
    renewed, report = method.refresh(state.replace(queue=queue), jax.random.key(1))
    mask = np.asarray(renewed.centroid_mask)
    assert mask[:2].any(axis=1).all()
    assert not mask[2].any()
    filled = 100 * np.asarray(queue.count).sum() / queue.features[..., 0].size
    figures = {"centroids": mask.sum(), "classes_without_centroid": 1.0, "queue_fill": filled}
    # Centroids have not moved where there were none.
    assert report == figures
    norms = np.linalg.norm(renewed.centroids, axis=-1)
    np.testing.assert_allclose(norms, mask, atol=1e-5)


@pytest.fixture(scope="module")
def small():
    """A method, its network, variables and three views."""
    method = BCCL(**SMALL)
    network = Network(create_backbone("resnet8", width=4), method.heads(CONTEXT))
    rng = np.random.default_rng(0)
    views = tuple(jnp.asarray(rng.normal(size=(4, 8, 8, 3)), jnp.float32) for _ in range(3))
    init = jax.jit(functools.partial(network.init, method=method.init_forward))
    return method, network, init(jax.random.key(0), views[0]), views


@pytest.fixture(scope="module")
def passed(small):
    """The outputs of a pass and the statistics that it renews."""
    method, network, variables, views = small

    @jax.jit
    def compute(variables, views):
        passes = []

        def apply(params, forward, *inputs):
            out, renewed = network.apply(
                variables, *inputs, method=forward, mutable=["batch_stats"]
            )
            passes.append(out)
            return out, renewed["batch_stats"]

        state = method.init(jax.random.key(0), CONTEXT)
        _, (_, _, statistics) = method.loss(
            apply, None, Batch(views, LABELS), state, jax.random.key(0), None
        )
        [outputs] = passes
        return outputs, statistics

    return compute(variables, views)


def test_the_three_views_share_one_set_of_batch_statistics(small, passed):
    _, _, variables, views = small
    _, statistics = passed
    kernel = np.asarray(variables["params"]["backbone"]["Conv_0"]["kernel"], np.float64)
    first = jax.lax.conv_general_dilated(
        jnp.concatenate(views),
        jnp.float32(kernel),
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    expected = 0.1 * np.asarray(first, np.float64).mean(axis=(0, 1, 2))
    found = statistics["backbone"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_logits_are_of_the_strong_view_and_embeddings_view_by_view(small, passed):
    _, network, variables, views = small

    def view_by_view(network, images):
        features = network.backbone(images, train=True)
        logits = network.heads["classifier"](features[:4])
        return logits, network.heads["projector"](features[4:], train=True)

    @jax.jit
    def compute(variables, images):
        return network.apply(variables, images, method=view_by_view, mutable=["batch_stats"])

    expected, _ = compute(variables, jnp.concatenate(views))
    for one, other in zip(passed[0], expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_four_contrasted_views_are_contrasted_and_queued_as_a_batch_of_them(rng):
    method = BCCL(view_set="strong+sim+sim+sim+sim", temperature=0.2, **SMALL)
    logits = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    embeddings = jnp.asarray(unit(rng.normal(size=(16, 6))), jnp.float32)
    state = method.init(jax.random.key(0), CONTEXT)
    _, metrics, state = loss_of(method, (logits, embeddings), state)
    labels = np.tile(LABELS, 4)
    expected = contrast(embeddings, jnp.asarray(labels), temperature=0.2)
    assert float(metrics["contrastive_loss"]) == pytest.approx(float(expected), rel=1e-5)
    found = [contents(state.queue, label) for label in range(3)]
    assert [len(of_class) for of_class in found] == [8, 4, 4]
    np.testing.assert_array_equal(found[2], embeddings[labels == 2])


def test_counts_of_one_view_are_for_two_contrasted_views():
    views = "strong+sim+sim+sim+sim"
    method = BCCL(view_set=views, class_average=True, one_view_counts=True, **SMALL)
    with pytest.raises(ConfigError, match="one_view_counts.*view_set is 'strong"):
        method.validate(100)


def test_the_shift_of_centroids_is_the_angle_to_the_nearest_one_of_their_class_before(rng):
    before, after = (rng.normal(size=(3, 4, 5)).astype(np.float32) for _ in range(2))
    mask_before, mask_after = (rng.random((3, 4)) < 0.7 for _ in range(2))
    mask_before[1], mask_after[1] = False, True  # a class that had none does not count
    angles = [
        min(
            np.degrees(np.arccos(new @ old / np.linalg.norm(new) / np.linalg.norm(old)))
            for old in before[k, mask_before[k]]
        )
        for k in (0, 2)
        for new in after[k, mask_after[k]]
    ]
    found = centroid_shift(before, mask_before, after, mask_after)
    np.testing.assert_allclose(found, np.mean(angles), rtol=1e-5)
    turned = np.roll(before, 1, axis=1)
    assert centroid_shift(before, mask_before, turned, np.roll(mask_before, 1, axis=1)) < 0.1
    assert np.isnan(centroid_shift(before, np.zeros_like(mask_before), after, mask_after))
