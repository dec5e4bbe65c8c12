"""K-positive contrast: the loss against loops, public code and supervised contrast; the draws."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.contrastive import supervised_contrastive_loss
from bccl_jax.losses.k_positive import draw_positives, k_positive_contrastive_loss
from tests.losses import public
from tests.losses.differences import slopes


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loop(z, own, keys, candidates, positives, temperature, targets=(), own_targets=None, weight=0):
    """The loss in float64, one anchor and one candidate at a time."""
    losses = []
    for i, anchor in enumerate(z):
        logits = [np.dot(anchor, own[i]) / temperature]
        drawn = [(1.0, logits[0])]
        for j, key in enumerate(keys):
            if candidates[i][j]:
                logits.append(np.dot(anchor, key) / temperature)
                if positives[i][j]:
                    drawn.append((1.0, logits[-1]))
        for t, target in enumerate(targets):
            logits.append(np.dot(anchor, target) / temperature)
            if own_targets[i][t]:
                drawn.append((weight, logits[-1]))
        most = max(logits)
        total = most + np.log(sum(np.exp(v - most) for v in logits))
        losses.append(sum(w * (total - v) for w, v in drawn) / len(drawn))
    return np.mean(losses)


def make(rng, kind="ordinary"):
    """Five anchors, seven keys of four classes, of which two places are empty, three targets."""
    labels, key_labels = np.array([0, 0, 1, 2, 3]), np.array([0, 1, -1, 0, 2, 0, -1])
    z, own, keys, targets = (unit(rng.normal(size=(n, 4))) for n in (5, 5, 7, 3))
    if kind == "crowded":
        near = unit(rng.normal(size=4))
        z, own, keys, targets = (
            unit(near + 1e-3 * rng.normal(size=x.shape)) for x in (z, own, keys, targets)
        )
    if kind == "one class":
        labels, key_labels = labels * 0, np.where(key_labels < 0, -1, 0)
    if kind == "empty":
        key_labels = np.full(7, -1)
    if kind == "no keys":
        keys, key_labels = keys[:0], key_labels[:0]
    candidates = np.broadcast_to(key_labels >= 0, (5, len(keys)))
    pool = candidates & (labels[:, None] == key_labels[None, :])
    positives = pool & (rng.random(pool.shape) < 0.6)
    own_targets = labels[:, None] == np.arange(3)[None, :]
    arrays = [np.float64(np.float32(x)) for x in (z, own, keys, targets)]
    return arrays, candidates, positives, own_targets


@functools.partial(jax.jit, static_argnums=5)
def loss_and_gradients(arrays, candidates, positives, own_targets, temperature, weight):
    def loss(z, own, keys, targets):
        return k_positive_contrastive_loss(
            z, own, keys, candidates=candidates, positives=positives, temperature=temperature,
            targets=targets, own_targets=own_targets, target_weight=weight,
        )  # fmt: skip

    return jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(*arrays)


KINDS = ("ordinary", "crowded", "one class", "empty", "no keys")


@pytest.mark.parametrize(
    ("kind", "weight", "temperature"),
    [
        *itertools.product(KINDS, [0.0, 0.2], [0.07]),
        ("ordinary", 0.2, 0.002),
        ("crowded", 3.0, 0.002),
        ("ordinary", 0.2, 50.0),
    ],
)
def test_loss_and_gradients_are_those_of_the_loop(rng, kind, weight, temperature):
    arrays, candidates, positives, own_targets = make(rng, kind)
    given = {"targets": ()} if not weight else {"own_targets": own_targets, "weight": weight}

    def expected(z, own, keys, targets):
        extra = given | ({"targets": targets} if weight else {})
        return loop(z, own, keys, candidates, positives, temperature, **extra)

    low = [jnp.asarray(x, jnp.float32) for x in arrays]
    masks = (jnp.asarray(mask) for mask in (candidates, positives, own_targets))
    found, gradients = loss_and_gradients(low, *masks, temperature, weight)
    assert float(found) == pytest.approx(expected(*arrays), rel=1e-5, abs=1e-6)
    step = 1e-6 * min(temperature, 1)
    for place, gradient in enumerate(gradients):
        at = functools.partial(_with, expected, arrays, place)
        slope = slopes(at, arrays[place], step)
        largest = max(np.abs(slope).max(initial=0), 0.02 / temperature)
        np.testing.assert_allclose(gradient, slope, atol=3e-5 * largest)


def _with(function, arrays, place, value):
    return function(*arrays[:place], value, *arrays[place + 1 :])


def test_a_loss_by_hand():
    # The own key at cosine 1; of the class one key, drawn, at 0, another, not drawn, at 1; a key of
    # another class at 0; its target at 0: exp of 1, 0, 1, 0 and 0 at temperature 1.
    found = k_positive_contrastive_loss(
        jnp.array([[1.0, 0.0]]),
        jnp.array([[1.0, 0.0]]),
        jnp.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]]),
        candidates=jnp.ones((1, 3), bool),
        positives=jnp.array([[True, False, False]]),
        temperature=1.0,
        targets=jnp.array([[0.0, 1.0]]),
        own_targets=jnp.array([[True]]),
        target_weight=0.2,
    )
    log_total = np.log(2 * np.e + 3)
    assert float(found) == pytest.approx((log_total - 1 + log_total + 0.2 * log_total) / 3)


def public_draw(mask, rand):
    """Which of the allowed ones public code draws with these numbers, one after the other."""
    left, chosen = mask.copy(), np.zeros_like(mask)
    for numbers in rand:
        for i, row in enumerate(left):
            allowed = np.flatnonzero(row)
            if len(allowed):
                taken = allowed[int(np.floor(numbers[i] * len(allowed)))]
                chosen[i, taken], left[i, taken] = True, False
    return chosen


@pytest.mark.parametrize("tag", ["kcl6", "kcl_all", "tsc6_sep", "tsc6_tr2_sep_tw.5", "tsc_all_sep"])
def test_losses_and_gradients_are_those_of_public_code(tag):
    vectors = public.load("targeted_supcon")

    def of(name):
        return vectors[f"ordinary_{name}"]

    number, targeted, repeat, _, weight, temperature = of(f"{tag}_numpos_targeted_tr_sep_tw_T")
    labels, queue, queue_labels = of("labels"), of("queue"), of("queue_labels")
    positives = labels[:, None] == queue_labels[None, :]
    if number:
        positives = public_draw(positives, of(f"{tag}_rand"))
    given = {}
    if targeted:
        repeated = np.repeat(np.arange(10), int(repeat))
        given = {
            "targets": jnp.asarray(vectors["targets_unit"][repeated], jnp.float32),
            "own_targets": jnp.asarray(of(f"{tag}_assignment")[labels][:, None] == repeated),
            "target_weight": float(weight),
        }

    @jax.jit
    def loss(raw):
        return k_positive_contrastive_loss(
            raw / jnp.linalg.norm(raw, axis=1, keepdims=True),
            jnp.asarray(unit(of("k_raw")), jnp.float32),
            jnp.asarray(queue, jnp.float32),
            # Its empty places hold random vectors, and are candidates.
            candidates=jnp.ones(positives.shape, bool),
            positives=jnp.asarray(positives),
            temperature=float(temperature),
            **given,
        )

    public.check(loss, of("q_raw"), of(f"{tag}_loss"), of(f"{tag}_dq_raw"))


@pytest.mark.parametrize("tag", ["k0", "k6"])
def test_within_a_batch_it_is_what_public_code_has_on_cifar(tag):
    vectors = public.load("targeted_supcon")

    def of(name):
        return vectors[f"ordinary_cifar_{name}"]

    features, labels = of("features"), np.tile(of("labels"), 2)  # view by view
    image = np.arange(48) % 24
    others = image[:, None] != image[None, :]
    pool = others & (labels[:, None] == labels[None, :])
    positives = public_draw(pool, of("k6_rand")) if tag == "k6" else pool

    @jax.jit
    def loss(features):
        z = features.swapaxes(0, 1).reshape(48, -1)
        return k_positive_contrastive_loss(
            z, jnp.roll(z, 24, axis=0), z, candidates=jnp.asarray(others),
            positives=jnp.asarray(positives), temperature=0.07,
        )  # fmt: skip

    public.check(loss, features, of(f"{tag}_loss"), of(f"{tag}_dfeatures"))


@pytest.mark.parametrize("labels", [[0, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0], [0, 1, 2, 3, 4, 5]])
def test_of_all_keys_without_a_queue_it_is_supervised_contrast(rng, labels):
    both = np.repeat(labels, 2)
    z = jnp.asarray(unit(rng.normal(size=(12, 5))), jnp.float32)
    image = np.arange(12) // 2
    others = image[:, None] != image[None, :]

    @jax.jit
    def loss(z):
        partners = z.reshape(6, 2, 5)[:, ::-1].reshape(12, 5)
        pool = jnp.asarray(others & (both[:, None] == both[None, :]))
        return k_positive_contrastive_loss(
            z, partners, z, candidates=jnp.asarray(others),
            positives=draw_positives(jax.random.key(0), pool, 0), temperature=0.1,
        )  # fmt: skip

    found, slope = jax.value_and_grad(loss)(z)
    expected, its_slope = jax.value_and_grad(
        jax.jit(lambda z: supervised_contrastive_loss(z, jnp.asarray(both), temperature=0.1))
    )(z)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(slope, its_slope, rtol=1e-4, atol=1e-6)


def test_what_is_no_candidate_is_never_read(rng):
    arrays, candidates, positives, own_targets = make(rng)
    z, own, keys, targets = (jnp.asarray(x, jnp.float32) for x in arrays)
    there = jnp.array([True, False, True])

    @jax.jit
    def loss(z, keys, targets):
        return k_positive_contrastive_loss(
            z, own, keys, candidates=jnp.asarray(candidates),
            positives=jnp.ones(positives.shape, bool), temperature=0.1, targets=targets,
            own_targets=jnp.asarray(own_targets), target_candidates=there, target_weight=0.2,
        )  # fmt: skip

    gone = keys.at[np.array([2, 6])].set(jnp.nan), targets.at[1].set(jnp.inf)
    for found, expected in zip(
        jax.tree.leaves(jax.value_and_grad(loss, (0, 1, 2))(z, *gone)),
        jax.tree.leaves(jax.value_and_grad(loss, (0, 1, 2))(z, keys, targets)),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    nothing = jnp.zeros(3, bool)
    plain = k_positive_contrastive_loss(
        z, own, keys, candidates=jnp.asarray(candidates), positives=jnp.asarray(positives),
        temperature=0.1,
    )  # fmt: skip
    untargeted = k_positive_contrastive_loss(
        z, own, keys, candidates=jnp.asarray(candidates), positives=jnp.asarray(positives),
        temperature=0.1, targets=targets, own_targets=jnp.asarray(own_targets),
        target_candidates=nothing, target_weight=0.2,
    )  # fmt: skip
    np.testing.assert_allclose(untargeted, plain, rtol=1e-6)


def test_it_is_float32_for_bfloat16(rng):
    arrays, candidates, positives, _ = make(rng)
    low = [jnp.asarray(x, jnp.bfloat16) for x in arrays[:3]]
    masks = {"candidates": jnp.asarray(candidates), "positives": jnp.asarray(positives)}
    found = k_positive_contrastive_loss(*low, temperature=0.07, **masks)
    assert found.dtype == jnp.float32
    high = [x.astype(jnp.float32) for x in low]
    np.testing.assert_allclose(
        found, k_positive_contrastive_loss(*high, temperature=0.07, **masks), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"own_keys": jnp.ones((4, 4))}, r"anchors have shape \(5, 4\) and own_keys \(4, 4\)"),
        ({"keys": jnp.ones((7, 3))}, r"keys have shape \(7, 3\) and anchors \(5, 4\)"),
        ({"candidates": jnp.ones((5, 6), bool)}, r"candidates are bool of shape \(5, 6\)"),
        ({"positives": jnp.ones((5, 7))}, r"positives are float32 of shape \(5, 7\).*\[5, 7\]"),
        ({"targets": jnp.ones((3, 5))}, r"targets have shape \(3, 5\)"),
        ({"own_targets": None}, r"own_targets are None; pass bool \[5, 3\]"),
        ({"own_targets": jnp.ones((5, 3))}, r"own_targets are \('float32', \(5, 3\)\)"),
        ({"target_candidates": jnp.ones(5, bool)}, r"target_candidates have shape \(5,\)"),
        ({"target_weight": -0.1}, "target_weight is -0.1; it may not be below 0"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_what_does_not_fit_is_named(changes, message):
    given = {
        "anchors": jnp.ones((5, 4)),
        "own_keys": jnp.ones((5, 4)),
        "keys": jnp.ones((7, 4)),
        "candidates": jnp.ones((5, 7), bool),
        "positives": jnp.ones((5, 7), bool),
        "targets": jnp.ones((3, 4)),
        "own_targets": jnp.ones((5, 3), bool),
        "target_weight": 0.2,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        k_positive_contrastive_loss(**given, temperature=0.1)


def test_each_row_has_so_many_of_its_pool_and_all_of_a_smaller_one(rng):
    pool = rng.random((60, 30)) < rng.random((60, 1))
    pool[:3] = [[False] * 30, [True] * 30, [False] * 29 + [True]]
    for count in (0, 1, 6, 29, 30, 40):
        chosen = np.asarray(draw_positives(jax.random.key(count), jnp.asarray(pool), count))
        assert not np.any(chosen & ~pool)
        most = pool.sum(axis=1)
        np.testing.assert_array_equal(chosen.sum(axis=1), np.minimum(most, count or 30))


@pytest.mark.parametrize(("size", "count"), [(6, 3), (4, 3), (7, 1)])
def test_every_set_is_as_likely(size, count):
    """By the statistic of a chi-squared test, with a bound that one in a million passes."""
    from scipy.stats import chi2

    places = np.array([1, 3, 4, 8, 9, 11, 12])[:size]
    rows = 20_000
    pool = np.zeros((rows, 14), bool)
    pool[:, places] = True
    chosen = np.asarray(jax.jit(draw_positives, static_argnums=2)(jax.random.key(3), pool, count))
    sets = [frozenset(s) for s in itertools.combinations(places.tolist(), count)]
    found = [frozenset(np.flatnonzero(row).tolist()) for row in chosen]
    observed = np.array([found.count(s) for s in sets])
    assert observed.sum() == rows
    expected = rows / len(sets)
    assert np.sum((observed - expected) ** 2 / expected) < chi2.isf(1e-6, len(sets) - 1)


def test_rows_are_drawn_apart_and_by_the_key():
    pool = jnp.ones((50, 40), bool)
    one, again, other = (draw_positives(jax.random.key(k), pool, 3) for k in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.mean(np.all(one == other, axis=1)) < 0.1
    assert len(np.unique(one, axis=0)) > 40


def test_an_impossible_draw_is_named():
    for pool, count in ((jnp.ones(3, bool), 1), (jnp.ones((2, 3), bool), -1)):
        with pytest.raises(ValueError, match="pass a mask"):
            draw_positives(jax.random.key(0), pool, count)


def test_memory_is_of_anchors_times_keys():
    """By the compiler's account; one array of anchors, keys and dimensions would be 64 MiB."""

    def gradient(anchors, keys, labels, key_labels, key):
        def loss(anchors):
            candidates = jnp.broadcast_to(key_labels >= 0, (64, 4096))
            pool = candidates & (labels[:, None] == key_labels[None, :])
            return k_positive_contrastive_loss(
                anchors, anchors, keys, candidates=candidates,
                positives=draw_positives(key, pool, 6), temperature=0.07,
            )  # fmt: skip

        return jax.grad(loss)(anchors)

    shapes = [((64, 64), "float32"), ((4096, 64), "float32"), ((64,), "int32"), ((4096,), "int32")]
    arguments = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    arguments.append(jax.eval_shape(lambda: jax.random.key(0)))
    needs = jax.jit(gradient).lower(*arguments).compile().memory_analysis()
    assert needs.temp_size_in_bytes < 10 * 4 * 64 * 4096
