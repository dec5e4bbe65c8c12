"""DisAlign's map of logits and its loss: public code, loops in float64, and where it starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss, weighted_cross_entropy_loss
from bccl_jax.losses.margins import inverse_count_weights
from bccl_jax.models.heads import AlignedClassifier, CosineClassifier, LinearClassifier
from bccl_jax.models.rescaling import aligned
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("disalign")
COUNTS, LABELS = VECTORS["cls_num_list"], VECTORS["ordinary_labels"]
PARAMS = {
    "classifier": {
        "Dense_0": {"kernel": VECTORS["ordinary_weight"].T, "bias": VECTORS["ordinary_bias"]}
    },
    "confidence": {
        "kernel": VECTORS["ordinary_confidence_weight"].T,
        "bias": VECTORS["ordinary_confidence_bias"],
    },
    "magnitude": VECTORS["ordinary_logit_scale"][0],
    "margin": VECTORS["ordinary_logit_bias"][0],
}
PARAMS = jax.tree.map(jnp.float32, PARAMS)
HEAD = AlignedClassifier(LinearClassifier(10), 10)
X = jnp.float32(VECTORS["ordinary_x"])


def test_the_head_is_the_layer_of_public_code():
    found = HEAD.apply({"params": PARAMS}, X)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, VECTORS["ordinary_out"], rtol=1e-5, atol=1e-6)
    before = HEAD.apply({"params": PARAMS}, X, method="unaligned")
    np.testing.assert_allclose(before, VECTORS["ordinary_logit_before"], rtol=1e-5, atol=1e-6)


def test_the_papers_form_is_the_same_map():
    magnitude = PARAMS["magnitude"] - 1
    found = aligned(
        jnp.float32(VECTORS["ordinary_logit_before"]),
        jnp.float32(VECTORS["ordinary_confidence"][:, 0]),
        magnitude,
        PARAMS["margin"],
    )
    np.testing.assert_allclose(found, VECTORS["ordinary_paperform_out"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("power", [1.2, 0.0])
def test_loss_and_gradients_are_those_of_public_code(power):
    weights = inverse_count_weights(COUNTS, power)
    tag = f"ordinary_scale{power}"

    @jax.jit
    def loss(changes, x=X):
        logits = HEAD.apply({"params": PARAMS | changes}, x)
        return weighted_cross_entropy_loss(logits, jnp.asarray(LABELS), weights)

    public.check(lambda x: loss({}, x), X, VECTORS[f"{tag}_loss"], VECTORS[f"{tag}_dx"])
    for name, told in (("magnitude", "logit_scale"), ("margin", "logit_bias")):
        public.check(
            lambda value, name=name: loss({name: value}),
            PARAMS[name],
            VECTORS[f"{tag}_loss"],
            VECTORS[f"{tag}_d{told}"][0],
        )
    for name, told in (("kernel", "weight"), ("bias", "bias")):
        public.check(
            lambda value, name=name: loss({"confidence": PARAMS["confidence"] | {name: value}}),
            PARAMS["confidence"][name],
            VECTORS[f"{tag}_loss"],
            VECTORS[f"{tag}_dconfidence_{told}"].T,
        )


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 1.2])
def test_weights_are_those_of_public_code(power):
    found = inverse_count_weights(COUNTS, power)
    np.testing.assert_allclose(found, VECTORS[f"grw_weights_scale{power}"], rtol=1e-5)


@pytest.mark.parametrize("classifier", [LinearClassifier(5), CosineClassifier(5)])
def test_at_its_start_it_is_the_classifier_bit_for_bit(classifier, rng):
    x = jnp.float32(rng.normal(size=(6, 4)))
    head = AlignedClassifier(classifier, 5)
    variables = head.init(jax.random.key(0), x)
    own = classifier.apply({"params": variables["params"]["classifier"]}, x)
    np.testing.assert_array_equal(head.apply(variables, x), own)
    np.testing.assert_array_equal(head.apply(variables, x, method="unaligned"), own)


def test_from_a_magnitude_of_1_the_predictions_are_the_same_and_more_certain(rng):
    x = jnp.float32(rng.normal(size=(6, 16)))
    head = AlignedClassifier(LinearClassifier(5), 5, magnitude_start=1.0)
    variables = head.init(jax.random.key(0), x)
    params = variables["params"]
    np.testing.assert_array_equal(params["magnitude"], VECTORS["init_logit_scale"][0][:5])
    np.testing.assert_array_equal(params["margin"], VECTORS["init_logit_bias"][0][:5])
    kernel = params["confidence"]["kernel"]
    np.testing.assert_array_equal(kernel.T, np.float32(VECTORS["init_confidence_weight"]))
    # As of PyTorch's layers, of 16 inputs here.
    assert 0 < abs(float(params["confidence"]["bias"][0])) < 0.25
    own = np.asarray(head.apply(variables, x, method="unaligned"), np.float64)
    kernel, bias = np.asarray(kernel), np.asarray(params["confidence"]["bias"])
    confidence = 1 / (1 + np.exp(-(np.asarray(x) @ kernel + bias)))
    np.testing.assert_allclose(head.apply(variables, x), own * (1 + confidence), rtol=1e-5)


def test_it_matches_a_loop_with_its_slopes(rng):
    logits, confidence = rng.normal(size=(3, 4)), rng.uniform(size=3)
    magnitude, margin = rng.normal(size=4), rng.normal(size=4)
    weigh = rng.normal(size=(3, 4))

    def loop(magnitude):
        found = 0.0
        for i, k in np.ndindex(3, 4):
            paper = (1 + magnitude[k]) * logits[i, k] + margin[k]
            value = confidence[i] * paper + (1 - confidence[i]) * logits[i, k]
            found += weigh[i, k] * value
        return found

    def ours(magnitude):
        given = map(jnp.float32, (logits, confidence))
        return jnp.sum(jnp.float32(weigh) * aligned(*given, magnitude, jnp.float32(margin)))

    found, slope = jax.value_and_grad(ours)(jnp.float32(magnitude))
    assert float(found) == pytest.approx(loop(magnitude), rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(slope, slopes(loop, magnitude), rtol=1e-4, atol=1e-5)


def test_the_weighted_loss_matches_a_loop(rng):
    logits, weights = rng.normal(size=(5, 4)), rng.uniform(0.1, 3, 4)
    labels, shares = rng.integers(0, 4, 5), rng.dirichlet(np.ones(4), 5)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    for given, own in ((labels, np.eye(4)[labels]), (np.float32(shares), shares)):
        above = sum(-own[i, k] * weights[k] * logs[i, k] for i, k in np.ndindex(5, 4))
        below = sum(own[i, k] * weights[k] for i, k in np.ndindex(5, 4))
        found = weighted_cross_entropy_loss(jnp.float32(logits), jnp.asarray(given), weights)
        assert float(found) == pytest.approx(above / below, rel=1e-5)


def test_by_hand_and_at_the_edges():
    logits = jnp.array([[0.0, 0.0], [0.0, np.log(3.0)]])
    found = weighted_cross_entropy_loss(logits, jnp.array([0, 1]), jnp.array([3.0, 1.0]))
    assert float(found) == pytest.approx((3 * np.log(2) + np.log(4 / 3)) / 4, rel=1e-6)
    labels = jnp.array([0, 0])
    # One class alone: its weight counts beside no other, whatever it is.
    compute = jax.jit(weighted_cross_entropy_loss)
    for weight in (1e-20, 1.0, 1e20):
        found = compute(logits, labels, jnp.array([weight, 5.0]))
        assert float(found) == pytest.approx((np.log(2) + np.log(4)) / 2, rel=1e-5)
    loss = jax.jit(jax.value_and_grad(weighted_cross_entropy_loss))
    found, slope = loss(logits, labels, jnp.array([0.0, 5.0]))
    assert float(found) == 0
    np.testing.assert_array_equal(slope, 0)
    found, slope = loss(jnp.array([[3e4, -3e4]]), jnp.array([1]), jnp.ones(2))
    assert float(found) == pytest.approx(6e4)
    assert np.all(np.isfinite(slope))
    equal = weighted_cross_entropy_loss(logits, labels, jnp.ones(2))
    np.testing.assert_allclose(equal, cross_entropy_loss(logits, labels), rtol=1e-6)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="one confidence an image"):
        aligned(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(3), jnp.ones(3))
    with pytest.raises(ValueError, match="a magnitude and a margin a class"):
        aligned(jnp.ones((2, 3)), jnp.ones(2), jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match="one weight a class"):
        weighted_cross_entropy_loss(jnp.ones((2, 3)), jnp.array([0, 1]), jnp.ones(2))
    with pytest.raises(ValueError, match="labels are float32, one each"):
        weighted_cross_entropy_loss(jnp.ones((2, 3)), jnp.ones(2), jnp.ones(3))
