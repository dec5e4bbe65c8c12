import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss
from bccl_jax.losses.margins import effective_number_weights, ldam_loss, ldam_margins
from bccl_jax.models.heads import CosineClassifier
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("ldam")
COUNTS, LABELS = VECTORS["cls_num_list"], VECTORS["ordinary_labels"]
DRW = VECTORS["drw_weights_epoch160"]
differentiate = jax.jit(jax.value_and_grad(ldam_loss))


def loop(cosines, labels, counts, max_margin, scale, weights):
    """The loss in float64, one image at a time."""
    constant = max_margin / max(n**-0.25 for n in counts)
    total = 0.0
    for row, label in zip(np.asarray(cosines, np.float64), labels, strict=True):
        own = np.exp(scale * (row[label] - constant * counts[label] ** -0.25))
        others = sum(np.exp(scale * z) for k, z in enumerate(row) if k != label)
        total -= weights[label] * np.log(own / (own + others))
    return total / sum(weights[label] for label in labels)


def test_margins_are_those_of_public_code():
    np.testing.assert_allclose(ldam_margins(COUNTS), VECTORS["m_list"], rtol=1e-5)


def test_margins_by_hand():
    # Fourth roots of 16, 1 and 81.
    found = ldam_margins(np.array([16, 1, 81]), 0.6)
    np.testing.assert_allclose(found, [0.3, 0.6, 0.2], rtol=1e-6)
    assert found.dtype == jnp.float32
    # One without images has the largest.
    np.testing.assert_allclose(ldam_margins(np.array([16, 0, 1])), [0.25, 0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize(("name", "weights"), [("noweight", None), ("drw", DRW)])
def test_losses_and_gradients_are_those_of_public_code(name, weights):
    found = differentiate(
        np.float32(VECTORS["ordinary_cosine_logits"]), LABELS, COUNTS, class_weights=weights
    )
    expected = (VECTORS[f"ordinary_ldam_{name}_{which}"] for which in ("loss", "dlogits"))
    public.agree(*found, *expected)


def test_without_margin_and_scale_it_is_weighted_cross_entropy_of_public_code():
    logits, plain = np.float32(VECTORS["ordinary_logits"]), {"max_margin": 0.0, "scale": 1.0}
    found = differentiate(logits, LABELS, COUNTS, class_weights=DRW, **plain)
    public.agree(*found, VECTORS["ordinary_ce_drw_loss"], VECTORS["ordinary_ce_drw_dlogits"])
    np.testing.assert_allclose(
        differentiate(logits, LABELS, COUNTS, **plain)[0],
        jax.jit(cross_entropy_loss)(logits, LABELS),
        rtol=1e-6,
    )


@pytest.mark.parametrize("max_margin", [0.5, 0.2])
@pytest.mark.parametrize("scale", [1.0, 20.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_matches_a_loop(max_margin, scale, weighted, rng):
    cosines, labels = rng.uniform(-1, 1, (5, 4)), np.array([3, 0, 1, 1, 2])
    counts, weights = np.array([90, 40, 7, 2]), np.array([0.1, 0.5, 1.0, 2.4])

    def expected(x):
        return loop(x, labels, counts, max_margin, scale, weights if weighted else np.ones(4))

    # Differences of float32 inputs, so that both see the same ones.
    cosines = cosines.astype(np.float32).astype(np.float64)
    found = differentiate(
        np.float32(cosines),
        labels,
        counts,
        max_margin=max_margin,
        scale=scale,
        class_weights=weights if weighted else None,
    )
    public.agree(*found, expected(cosines), slopes(expected, cosines))


def test_a_margin_by_hand():
    # Margins of 0.5 for one image and 0.25 for sixteen; scale 2 makes the logits' gap -1 and -0.5.
    for label, gap in ((0, -1.0), (1, -0.5)):
        loss = ldam_loss(jnp.zeros((1, 2)), jnp.array([label]), np.array([1, 16]), scale=2.0)
        assert float(loss) == pytest.approx(np.log(1 + np.exp(-gap)), rel=1e-6)


def test_it_takes_what_a_cosine_classifier_of_scale_one_gives():
    head = CosineClassifier(10, scale=1.0)
    params = {"params": {"kernel": jnp.asarray(VECTORS["ordinary_normedlinear_w"], jnp.float32)}}
    cosines = head.apply(params, jnp.asarray(VECTORS["ordinary_normedlinear_x"], jnp.float32))
    np.testing.assert_allclose(cosines, VECTORS["ordinary_normedlinear_out"], rtol=1e-5, atol=1e-6)


def test_a_batch_whose_classes_all_weigh_nothing_has_no_loss(rng):
    loss, gradient = differentiate(
        np.float32(rng.normal(size=(2, 3))),
        np.array([0, 0]),
        np.array([3, 2, 1]),
        class_weights=np.float32([0.0, 1.0, 2.0]),
    )
    assert float(loss) == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_it_is_compiled_and_float32_for_bfloat16(rng):
    cosines = jnp.asarray(rng.uniform(-1, 1, (4, 3)), jnp.bfloat16)
    labels, counts = jnp.array([0, 1, 2, 0]), jnp.array([9, 4, 0])
    weights = effective_number_weights(counts, 0.999)
    loss = jax.jit(ldam_loss)(cosines, labels, counts, class_weights=weights)
    assert loss.dtype == jnp.float32
    again = ldam_loss(cosines.astype(jnp.float32), labels, counts, class_weights=weights)
    np.testing.assert_allclose(loss, again, rtol=1e-6)


@pytest.mark.parametrize("epoch", [0, 159, 160, 199])
def test_weights_are_those_of_public_code(epoch):
    found = effective_number_weights(COUNTS, 0.0 if epoch < 160 else 0.9999)
    np.testing.assert_allclose(found, VECTORS[f"drw_weights_epoch{epoch}"], rtol=1e-5)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found.sum(), 10, rtol=1e-6)


def test_weights_of_reweighting_are_those_of_public_code():
    found = effective_number_weights(COUNTS, 0.9999)
    np.testing.assert_allclose(found, VECTORS["reweight_weights_beta0.9999"], rtol=1e-5)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.9999, 1 - 1e-6, 1 - 1e-12])
def test_weights_match_a_loop(beta):
    counts = [1, 2, 50, 1280, 100_000]
    effective = [sum(beta**i for i in range(n)) for n in counts]  # (1 - beta^n) / (1 - beta)
    expected = np.array([1 / e for e in effective])
    found = jax.jit(effective_number_weights, static_argnums=1)(jnp.array(counts), beta)
    np.testing.assert_allclose(found, 5 * expected / expected.sum(), rtol=1e-5)


def test_weights_by_hand():
    # Effective numbers of 1, 1.5 and 1.75.
    found = effective_number_weights(np.array([1, 2, 3]), 0.5)
    expected = np.array([1, 2 / 3, 4 / 7])
    np.testing.assert_allclose(found, 3 * expected / expected.sum(), rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_a_class_without_images_weighs_nothing(beta):
    found = effective_number_weights(np.array([5, 0, 5]), beta)
    np.testing.assert_allclose(found, [1.5, 0, 1.5], rtol=1e-6)


@pytest.mark.parametrize("beta", [1.0, -0.1, float("nan")])
def test_beta_out_of_bounds_is_named(beta):
    with pytest.raises(ValueError, match="beta is .*; pass a number from 0 to below 1"):
        effective_number_weights(np.array([1, 2]), beta)


def test_shapes_that_do_not_fit_are_named():
    logits, labels, counts = jnp.zeros((2, 3)), jnp.zeros(2, int), jnp.ones(3)
    for wrong in (
        (logits[0], labels, counts),
        (logits, labels[:1], counts),
        (logits, labels[:, None], counts),
        (logits, labels, counts[:2]),
    ):
        with pytest.raises(ValueError, match="logits have shape .*labels .*class_counts"):
            ldam_loss(*wrong)
    with pytest.raises(
        ValueError, match=r"class_weights have shape \(2,\) and class_counts \(3,\)"
    ):
        ldam_loss(logits, labels, counts, class_weights=jnp.ones(2))
    with pytest.raises(ValueError, match="labels are float32; pass integer classes"):
        ldam_loss(logits, jnp.zeros(2), counts)
    for function in (ldam_margins, lambda x: effective_number_weights(x, 0.9)):
        with pytest.raises(ValueError, match=r"class_counts has shape \(2, 1\)"):
            function(np.ones((2, 1)))
