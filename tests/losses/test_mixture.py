"""GLMC's losses beside float64 loops, by hand and beside public code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import cross_entropy_loss, smoothed
from bccl_jax.losses.margins import inverse_count_weights
from bccl_jax.losses.mixture import cumulative_loss, negative_cosine
from tests.losses import public
from tests.losses.differences import slopes

VECTORS = public.load("glmc")
COUNTS = VECTORS["cls_num_list"]
WEIGHTS = VECTORS["per_cls_weights_label_weighting1.0"]
differentiate = jax.jit(jax.value_and_grad(cumulative_loss, argnums=(0, 1)))
differentiate_cosine = jax.jit(jax.value_and_grad(negative_cosine, argnums=(0, 1)))


def of_case(name):
    return VECTORS[f"ordinary_{name}"]


@pytest.mark.parametrize("power", [0.5, 1.0, 1.2])
def test_weights_are_those_of_public_code(power):
    found = inverse_count_weights(COUNTS, power)
    np.testing.assert_allclose(found, VECTORS[f"per_cls_weights_label_weighting{power}"], rtol=1e-5)
    assert found.dtype == jnp.float32


def test_weights_by_hand():
    # 1, 1/2 and 1/4 are 7/4 together.
    found = inverse_count_weights(np.array([1, 2, 4]), 1.0)
    np.testing.assert_allclose(found, np.array([12, 6, 3]) / 7, rtol=1e-6)
    np.testing.assert_allclose(inverse_count_weights(np.array([5, 0, 9]), 0.0), [1.5, 0, 1.5])
    found = inverse_count_weights(np.array([10**6, 1]), 8.0)
    np.testing.assert_allclose(found, [2e-48, 2], rtol=1e-5, atol=1e-30)
    with pytest.raises(ValueError, match=r"class_counts has shape \(2, 1\)"):
        inverse_count_weights(np.ones((2, 1)), 1.0)


def softmax_loop(logits, shares):
    """Mean over the images of -sum_k y_k log softmax_k, in float64."""
    total = 0.0
    for row, own in zip(np.asarray(logits, np.float64), shares, strict=True):
        log_sum = row.max() + np.log(sum(np.exp(z - row.max()) for z in row))
        total -= sum(y * (z - log_sum) for y, z in zip(own, row, strict=True))
    return total / len(logits)


def loop(plain, weighted, shares, weights, epoch, epochs):
    a = 1 - (epoch / epochs) ** 2
    return a * softmax_loop(plain, shares) + (1 - a) * softmax_loop(weighted, shares * weights)


def whole_loss(inputs, epoch):
    """Of both views, both classifiers, and their consistency."""
    z1, z2, labels = (np.float32(of_case(name)) for name in ("z1", "z2", "mixup_y"))
    views = sum(
        cumulative_loss(
            inputs[f"output_{view}"],
            inputs[f"output_cb_{view}"],
            labels,
            inverse_count_weights(COUNTS, 1.0),
            epoch,
            VECTORS["epochs"],
        )
        for view in (1, 2)
    )
    consistency = negative_cosine(inputs["p1"], z2) + negative_cosine(inputs["p2"], z1)
    return views + VECTORS["contrast_weight"] * consistency


differentiate_whole = jax.jit(jax.value_and_grad(whole_loss))


@pytest.mark.parametrize("epoch", [0, 50, 150, 199])
def test_losses_and_gradients_are_those_of_public_code(epoch):
    names = ["output_1", "output_2", "output_cb_1", "output_cb_2", "p1", "p2"]
    inputs = {name: np.float32(of_case(name)) for name in names}
    np.testing.assert_array_equal(of_case("mixup_y"), of_case("cutmix_y"))
    found, gradients = differentiate_whole(inputs, epoch)
    assert float(found) == pytest.approx(float(of_case(f"epoch{epoch}_loss")), rel=1e-5)
    for name, gradient in gradients.items():
        expected = of_case(f"epoch{epoch}_d{name}")
        largest = np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("epoch", [0, 3, 10])
@pytest.mark.parametrize("which", ["plain", "weighted"])
def test_it_matches_a_loop(epoch, which, rng):
    """Of labels of two classes, of one alone, and of a class that weighs nothing."""
    shares = np.array([[0.3, 0.7, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 1, 0]])
    weights = np.asarray(inverse_count_weights(np.array([9, 2, 0, 1]), 1.2), np.float64)
    logits = {
        name: rng.normal(size=shares.shape).astype(np.float32).astype(np.float64) * 3
        for name in ("plain", "weighted")
    }

    def expected(x):
        now = {**logits, which: x}
        return loop(now["plain"], now["weighted"], shares, weights, epoch, 10)

    # Where the gradient is zero throughout, it must be so exactly.
    found, (by_plain, by_weighted) = differentiate(
        np.float32(logits["plain"]), np.float32(logits["weighted"]), shares, weights, epoch, 10
    )
    public.agree(
        found,
        by_plain if which == "plain" else by_weighted,
        expected(logits[which]),
        slopes(expected, logits[which]),
    )


def test_a_loss_by_hand():
    # Half-way a is 3/4. Equal logits of two classes cost log 2; the label's weight is 3.
    loss = cumulative_loss(
        jnp.zeros((1, 2)), jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), jnp.array([0.5, 3.0]), 5, 10
    )
    assert float(loss) == pytest.approx(np.log(2) * (0.75 + 0.25 * 3), rel=1e-6)


def test_it_goes_from_plain_to_weighted_cross_entropy(rng):
    plain, weighted = (np.float32(rng.normal(size=(6, 5))) for _ in range(2))
    labels = np.array([0, 3, 1, 1, 4, 2])
    shares, weights = smoothed(labels, 5, 0.0), np.float32([0.1, 0.4, 1.0, 1.5, 2.0])
    run, cross_entropy = jax.jit(cumulative_loss), jax.jit(cross_entropy_loss)
    first = run(plain, weighted, shares, weights, 0, 20)
    np.testing.assert_allclose(first, cross_entropy(plain, labels), rtol=1e-6)
    last = run(plain, weighted, shares, weights, 20, 20)
    expected = np.mean(
        [
            weights[label] * cross_entropy(weighted[i : i + 1], labels[i : i + 1])
            for i, label in enumerate(labels)
        ]
    )
    np.testing.assert_allclose(last, expected, rtol=1e-6)


def test_shapes_of_a_cumulative_loss_are_named():
    two, weights = jnp.zeros((2, 3)), jnp.ones(3)
    for wrong in (
        (two[:1], two, two, weights),
        (two, two[:, :2], two, weights),
        (two, two, jnp.zeros(2), weights),
        (two, two, two, weights[:2]),
        (two[0], two[0], two[0], weights),
    ):
        with pytest.raises(ValueError, match="classifiers' logits have shapes .*class_weights"):
            cumulative_loss(*wrong, 0, 1)


def cosine_loop(predictions, projections):
    total = 0.0
    for p, z in zip(predictions, projections, strict=True):
        lengths = np.sqrt(sum(x * x for x in p)) * np.sqrt(sum(x * x for x in z))
        total -= sum(x * y for x, y in zip(p, z, strict=True)) / lengths
    return total / len(predictions)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e25])
@pytest.mark.parametrize("close", [False, True])
def test_the_cosine_matches_a_loop_whatever_the_lengths(scale, close, rng):
    directions = rng.normal(size=(2, 4, 6))
    if close:
        directions = directions[:1, :1] + 0.05 * directions
    p, z = directions.astype(np.float32).astype(np.float64)

    found, (gradient, _) = differentiate_cosine(np.float32(p * scale), np.float32(z / scale))
    assert float(found) == pytest.approx(cosine_loop(p, z), rel=1e-5)
    expected = slopes(lambda x: cosine_loop(x, z), p)
    np.testing.assert_allclose(
        np.asarray(gradient, np.float64) * scale,
        expected,
        rtol=1e-4,
        atol=1e-5 * np.abs(expected).max() if not close else 1e-6,
    )


def test_a_cosine_by_hand():
    p, z = jnp.array([[3.0, 0], [1, 1]]), jnp.array([[0.0, 2], [5, 0]])
    assert float(negative_cosine(p, z)) == pytest.approx(-np.sqrt(0.5) / 2, rel=1e-6)


def test_projections_carry_no_gradient(rng):
    _, (_, gradient) = differentiate_cosine(*np.float32(rng.normal(size=(2, 3, 5))))
    np.testing.assert_array_equal(gradient, np.zeros((3, 5)))


def test_vectors_of_zeros_have_no_cosine_and_no_gradient():
    p, z = np.float32([[0.0, 0], [1, 0]]), np.float32([[1.0, 2], [0, 0]])
    found, (gradient, _) = differentiate_cosine(p, z)
    assert float(found) == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 2)))


def test_bfloat16_is_compared_in_float32(rng):
    p, z = jnp.asarray(rng.normal(size=(2, 3, 5)), jnp.bfloat16)
    found = negative_cosine(p, z)
    assert found.dtype == jnp.float32
    expected = cosine_loop(*(np.asarray(x, np.float64) for x in (p, z)))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_shapes_of_a_cosine_are_named():
    with pytest.raises(ValueError, match=r"predictions have shape \(2, 3\) and projections \(2, 4"):
        negative_cosine(jnp.zeros((2, 3)), jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match="pass two of one shape"):
        negative_cosine(jnp.zeros(3), jnp.zeros(3))
