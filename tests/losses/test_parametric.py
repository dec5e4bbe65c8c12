import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.classification import balanced_softmax_loss, smoothed
from bccl_jax.losses.parametric import parametric_contrastive_loss
from tests.losses import public
from tests.losses.differences import slopes

# Of these five classes the last has one member in the batch, the one before it none.
LABELS, KEY_LABELS = np.array([0, 0, 1, 2, 0, 4]), np.array([1, -1, 0, 2, 2, -1, 3])
COUNTS = np.array([60, 25, 9, 4, 2])
SETTINGS = {"temperature": 0.1, "alpha": 0.05}


differentiate = jax.jit(
    jax.value_and_grad(parametric_contrastive_loss, argnums=(0, 1, 3)),
    static_argnames=("alpha", "beta", "gamma"),
)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loop(logits, z, labels, keys, key_labels, counts, temperature, alpha, beta, gamma, targets):
    """The loss in float64, one anchor, one class and one candidate at a time."""
    losses = []
    for i, label in enumerate(labels):
        centre = [u + (np.log(n / sum(counts)) if counts is not None else 0)
                  for u, n in zip(logits[i], np.ones(len(logits[i])) if counts is None else counts,
                                  strict=True)]  # fmt: skip
        found = [(np.dot(z[i], z[j]) / temperature, labels[j]) for j in range(len(z)) if j != i]
        found += [
            (np.dot(z[i], keys[j]) / temperature, key_labels[j])
            for j in range(len(keys))
            if key_labels[j] >= 0
        ]
        total = sum(np.exp(u) for u in centre) + gamma * sum(np.exp(v) for v, _ in found)
        share = np.eye(len(centre))[label] if targets is None else targets[i]
        weighted = [(beta * y, u) for y, u in zip(share, centre, strict=True)]
        weighted += [(alpha, v) for v, other in found if other == label]
        weight = sum(w for w, _ in weighted)
        if weight > 0:
            losses.append(-sum(w * (u - np.log(total)) for w, u in weighted if w) / weight)
    return np.mean(losses) if losses else 0.0


def check(
    logits, z, keys, *, labels=LABELS, key_labels=KEY_LABELS, counts=COUNTS, temperature=0.1,
    alpha=0.05, beta=1.0, gamma=1.0, targets=None,
):  # fmt: skip
    """Holds the loss and its three gradients against the loop, each argument alone."""
    given = [np.float64(np.float32(x)) for x in (logits, z, keys)]
    others = {"temperature": temperature, "alpha": alpha, "beta": beta, "gamma": gamma}

    def expected(arguments):
        u, z, keys = arguments
        return loop(u, z, labels, keys, key_labels, counts, targets=targets, **others)

    u, z, keys = np.float32(given[0]), np.float32(given[1]), np.float32(given[2])
    value, gradients = differentiate(
        u, z, labels, keys, key_labels, class_counts=counts, targets=targets, **others
    )
    assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(expected(given), rel=1e-5, abs=1e-6)
    for number, gradient in enumerate(gradients):

        def of_one(x, number=number):
            return expected([*given[:number], x, *given[number + 1 :]])

        slope = slopes(of_one, given[number])
        largest = np.abs(slope).max(initial=1e-3)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5 * largest)


@pytest.fixture
def batch(rng):
    """Logits of six anchors, their embeddings, and seven keys."""
    return rng.normal(size=(6, 5)), unit(rng.normal(size=(6, 4))), unit(rng.normal(size=(7, 4)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alpha": 1.0, "beta": 0.3, "gamma": 0.4, "temperature": 0.5},
        {"counts": None},
        {"gamma": 0.0},
        {"alpha": 0.0},
        # Then an anchor whose class is nowhere else is left out.
        {"beta": 0.0},
        {"key_labels": np.full(7, -1)},
        {"labels": np.zeros(6, int)},
        {"labels": np.array([0, 1, 2, 3, 4, 3]), "key_labels": np.full(7, -1), "beta": 0.0},
        {"labels": np.array([0, 1, 2, 3, 4, 0]), "key_labels": np.full(7, 1)},
    ],
    ids=str,
)
def test_it_matches_a_loop(batch, changes):
    check(*batch, **changes)


def test_it_matches_a_loop_where_features_are_close_together(batch, rng):
    logits, _, _ = batch
    z, keys = (unit(np.eye(4)[0] + 0.01 * rng.normal(size=(n, 4))) for n in (6, 7))
    for temperature in (0.05, 0.1):
        check(logits, z, keys, temperature=temperature)
    check(logits, np.tile(z[:1], (6, 1)), np.tile(z[:1], (7, 1)))


def test_it_matches_a_loop_with_shares_of_classes(batch, rng):
    check(*batch, targets=rng.dirichlet(np.ones(5), size=6))
    check(*batch, targets=np.float64(smoothed(LABELS, 5, 0.2)), alpha=0.4, beta=2.0)


def test_one_label_is_all_of_its_share(batch):
    logits, z, keys = batch
    arguments = logits, z, LABELS, keys, KEY_LABELS
    given = {"class_counts": COUNTS, **SETTINGS}
    found, _ = differentiate(*arguments, **given, targets=np.eye(5)[LABELS])
    np.testing.assert_allclose(found, differentiate(*arguments, **given)[0], rtol=1e-6)


def test_it_matches_a_loop_without_keys_and_with_one_anchor(batch):
    logits, z, _ = batch
    none = {"key_labels": np.zeros(0, int)}
    check(logits, z, np.zeros((0, 4)), **none)
    check(logits[:1], z[:1], np.zeros((0, 4)), labels=LABELS[:1], **none)


def test_a_loss_by_hand():
    # One anchor of class 0 with the logits (0, log 2) and a prior of (3/4, 1/4): centres 3/4 and
    # 2/4. A key of its class at right angles and one of the other class at cosine 1: exp of 0 and
    # of 1/1. With alpha 1/2 the positives are 3/4 and 1, weighted 1 and 1/2.
    loss = parametric_contrastive_loss(
        jnp.array([[0.0, np.log(2.0)]]),
        jnp.array([[1.0, 0.0]]),
        jnp.array([0]),
        jnp.array([[0.0, 1.0], [1.0, 0.0]]),
        jnp.array([0, 1]),
        class_counts=jnp.array([30, 10]),
        temperature=1.0,
        alpha=0.5,
    )
    total = 3 / 4 + 2 / 4 + 1 + np.e
    expected = -(np.log(3 / 4 / total) + 0.5 * np.log(1 / total)) / 1.5
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "setting"),
    [("paco", s) for s in ("s0", "s1", "s2")] + [("gpaco", f"s{i}") for i in range(5)],
)
def test_losses_and_gradients_are_those_of_public_code(name, setting):
    vectors = public.load(name)

    def of(key):
        return vectors[f"ordinary_{key}"]

    alpha, beta, gamma, temperature, smooth, weighted = of(
        f"{setting}_alpha_beta_gamma_temperature_smooth_weighted"
    )
    logits, features, labels = of("sup_logits"), of("features"), of("labels")
    anchors = len(logits)
    # Its smoothing shares out s among the classes that are not the label.
    targets = smoothed(labels[:anchors], 10, smooth * 10 / 9) if smooth else None

    features, value = np.float32(features), of(f"{setting}_loss")
    found, (by_logits, by_anchors, by_keys) = differentiate(
        np.float32(logits),
        features[:anchors],
        labels[:anchors],
        features[anchors:],
        labels[anchors:],
        class_counts=vectors["cls_num_list"] if weighted else None,
        temperature=temperature,
        alpha=float(alpha),
        beta=float(beta),
        gamma=float(gamma),
        targets=targets,
    )
    by_features = np.concatenate([by_anchors, by_keys])
    public.agree(found, by_features, value, of(f"{setting}_dfeatures"))
    public.agree(found, by_logits, value, of(f"{setting}_dsup_logits"))


@pytest.mark.parametrize("soft", [False, True])
def test_without_embeddings_it_is_balanced_softmax(batch, soft, rng):
    logits, z, keys = map(np.float32, batch)
    targets = np.float32(rng.dirichlet(np.ones(5), size=6)) if soft else None
    found, (slope, *none) = differentiate(
        logits, z, LABELS, keys, KEY_LABELS, class_counts=COUNTS, temperature=0.05, alpha=0.0,
        gamma=0.0, targets=targets,
    )  # fmt: skip
    expected, its_slope = jax.jit(jax.value_and_grad(balanced_softmax_loss))(
        logits, targets if soft else LABELS, COUNTS
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(slope, its_slope, rtol=1e-5, atol=1e-7)
    for gradient in none:
        np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))


def test_a_place_without_a_key_is_never_read(batch):
    logits, z, keys = map(np.float32, batch)
    keys = np.where(KEY_LABELS[:, None] < 0, np.float32(np.nan), keys)
    left = KEY_LABELS >= 0

    def of(keys, key_labels):
        value, (_, by_anchor, by_key) = differentiate(
            logits, z, LABELS, keys, key_labels, class_counts=COUNTS, **SETTINGS
        )
        return value, by_anchor, np.asarray(by_key)

    found, expected = of(keys, KEY_LABELS), of(keys[left], KEY_LABELS[left])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[2][left], expected[2], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(found[2][~left], np.zeros((2, 4)))


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_class_without_images_drops_out_and_its_label_is_infinite(batch, beta):
    counts = np.array([60, 25, 9, 0, 2])
    logits, z, keys = map(np.float32, batch)
    left = np.array([0, 1, 2, 4])

    def of(u, labels=LABELS, key_labels=KEY_LABELS, counts=counts, targets=None):
        value, (gradient, _, _) = differentiate(
            u, z, labels, keys, key_labels, class_counts=counts, targets=targets, beta=beta,
            **SETTINGS,
        )  # fmt: skip
        return value, np.asarray(gradient)

    value, gradient = of(logits)
    # Of the classes numbered anew; the one key of that class stays a candidate.
    anew = np.array([0, 1, 2, 9, 3, -1])
    without, _ = of(logits[:, left], anew[LABELS], anew[KEY_LABELS], counts[left])
    np.testing.assert_allclose(value, without, rtol=1e-6)
    assert np.all(np.isfinite(gradient))
    np.testing.assert_array_equal(gradient[:, 3], np.zeros(6))
    shares = np.eye(5, dtype=np.float32)[LABELS]
    np.testing.assert_allclose(of(logits, targets=shares)[0], value, rtol=1e-6)
    if beta:
        value, gradient = of(logits, np.array([0, 0, 1, 3, 0, 4]))
        assert value == np.inf
        assert not np.any(np.isnan(gradient))


def test_without_a_positive_there_is_no_loss(batch):
    logits, z, keys = map(np.float32, batch)

    def of(alpha):
        return differentiate(
            logits, z, np.arange(6) % 5, keys, np.full(7, -1), class_counts=COUNTS,
            temperature=0.1, alpha=alpha, beta=0.0,
        )  # fmt: skip

    value, (_, gradient, _) = of(0.0)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(gradient.shape))
    # Two of six have one in each other.
    assert of(0.05)[0] > 0


def test_it_is_compiled_and_float32_for_bfloat16(batch):
    low = [jnp.asarray(x, jnp.bfloat16) for x in batch]

    @jax.jit
    def loss(logits, z, keys):
        return parametric_contrastive_loss(
            logits, z, LABELS, keys, KEY_LABELS, class_counts=COUNTS, temperature=0.05, alpha=0.01
        )

    found = loss(*low)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, loss(*(x.astype(jnp.float32) for x in low)), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": jnp.zeros((5, 5))}, r"logits have shape \(5, 5\) and labels \(6,\)"),
        ({"embeddings": jnp.zeros((6, 3))}, r"keys have shape \(7, 4\) and embeddings \(6, 3\)"),
        ({"embeddings": jnp.zeros((5, 4))}, r"embeddings have shape \(5, 4\) and labels"),
        ({"labels": jnp.zeros(6)}, "labels are float32; pass integer classes"),
        ({"key_labels": jnp.zeros(7)}, "key_labels are float32; pass integer classes"),
        ({"key_labels": jnp.zeros(6, int)}, r"key_labels have shape \(6,\) and keys \(7, 4\)"),
        ({"class_counts": jnp.ones(4)}, r"class_counts have shape \(4,\) and logits \(6, 5\)"),
        ({"targets": jnp.ones(6)}, r"targets have shape \(6,\) and logits \(6, 5\)"),
        ({"gamma": -1.0}, "gamma are 0.05, 1.0, -1.0; none may be below 0"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_does_not_fit_is_named(batch, changes, message):
    logits, z, keys = (jnp.asarray(x, jnp.float32) for x in batch)
    given = {
        "logits": logits,
        "embeddings": z,
        "labels": jnp.asarray(LABELS),
        "keys": keys,
        "key_labels": jnp.asarray(KEY_LABELS),
        "class_counts": COUNTS,
        **SETTINGS,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        parametric_contrastive_loss(**given)
