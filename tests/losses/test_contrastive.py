from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from bccl_jax.losses.contrastive import (
    assign_subclasses,
    centroid_loss,
    complement_and_centroid_loss,
    supervised_contrastive_loss,
)

NUM_CLASSES, NUM_CENTROIDS, DIM = 5, 3, 6
# Class 3 has one sample, class 4 none; class 2 has no centroid, class 0 all, class 3 one.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 3])
MASK = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], bool)

STATIC = ("class_average", "chunk_size")
scl = jax.jit(supervised_contrastive_loss, static_argnames=STATIC)
cl = jax.jit(centroid_loss, static_argnames=STATIC)
joint = jax.jit(complement_and_centroid_loss, static_argnames=STATIC)
# With their gradients, in one program each.
scl_grad = jax.jit(jax.value_and_grad(supervised_contrastive_loss), static_argnames=STATIC)
cl_grad = jax.jit(jax.value_and_grad(centroid_loss), static_argnames=STATIC)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture
def embeddings(rng):
    return unit(rng.normal(size=(len(LABELS), DIM))).astype(np.float32)


@pytest.fixture
def centroids(rng):
    shape = (NUM_CLASSES, NUM_CENTROIDS, DIM)
    return unit(np.random.default_rng(1).normal(size=shape)).astype(np.float32)


def loop_subclasses(embeddings, labels, centroids, mask):
    """The valid centroid of its own class with the largest cosine, None without one."""
    nearest = []
    for z, label in zip(embeddings, labels, strict=True):
        cosines = {
            c: z @ centroids[label, c] / np.linalg.norm(centroids[label, c])
            for c in range(mask.shape[1])
            if mask[label, c]
        }
        nearest.append(max(cosines, key=cosines.get) if cosines else None)
    return nearest


def loop_loss(
    embeddings,
    labels,
    temperature,
    centroids=None,
    mask=None,
    class_average=False,
    by_subclass=False,
):
    """Eqs. 2, 5 and 6 as spec and paper word them: float64, one pair at a time."""
    embeddings = np.asarray(embeddings, np.float64)
    entries = [(z, label, None) for z, label in zip(embeddings, labels, strict=True)]
    if centroids is not None:
        centroids = np.asarray(centroids, np.float64)
        nearest = loop_subclasses(embeddings, labels, centroids, mask)
        entries = [(z, label, sub) for (z, label, _), sub in zip(entries, nearest, strict=True)]
        for k, c in np.argwhere(mask):
            entries.append((centroids[k, c], k, c))
    anchor_losses = []
    for i in range(len(labels)):
        anchor, label, subclass = entries[i]
        if by_subclass and subclass is None:
            continue
        candidates = [entry for j, entry in enumerate(entries) if j != i]
        by_class, positives = {}, []
        for vector, candidate_label, candidate_subclass in candidates:
            logit = anchor @ vector / temperature
            by_class.setdefault(candidate_label, []).append(np.exp(logit))
            same = candidate_label == label
            if same and (not by_subclass or candidate_subclass == subclass):
                positives.append(logit)
        reduce = np.mean if class_average else np.sum
        denominator = sum(reduce(exponentials) for exponentials in by_class.values())
        if positives:
            anchor_losses.append(-np.mean([logit - np.log(denominator) for logit in positives]))
    return np.mean(anchor_losses) if anchor_losses else 0.0


@pytest.mark.parametrize("class_average", [False, True])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_losses_match_a_loop_over_pairs(embeddings, centroids, temperature, class_average):
    options = {"temperature": temperature, "class_average": class_average}
    np.testing.assert_allclose(
        scl(embeddings, LABELS, **options), loop_loss(embeddings, LABELS, **options), rtol=2e-5
    )
    with_centroids = {"centroids": centroids, "mask": MASK, **options}
    np.testing.assert_allclose(
        scl(embeddings, LABELS, centroids=centroids, centroid_mask=MASK, **options),
        loop_loss(embeddings, LABELS, **with_centroids),
        rtol=2e-5,
    )
    np.testing.assert_allclose(
        cl(embeddings, LABELS, centroids, MASK, **options),
        loop_loss(embeddings, LABELS, by_subclass=True, **with_centroids),
        rtol=2e-5,
    )


def test_losses_of_bfloat16_inputs_are_computed_in_float32(embeddings, centroids):
    z, bank = jnp.asarray(embeddings, jnp.bfloat16), jnp.asarray(centroids, jnp.bfloat16)
    exact = np.asarray(z, np.float32), np.asarray(bank, np.float32)
    complement = scl(z, LABELS, temperature=0.1, centroids=bank, centroid_mask=MASK)
    expected = loop_loss(exact[0], LABELS, 0.1, exact[1], MASK)
    np.testing.assert_allclose(complement, expected, rtol=2e-5)
    subclass = cl(z, LABELS, bank, MASK, temperature=0.1)
    expected = loop_loss(exact[0], LABELS, 0.1, exact[1], MASK, by_subclass=True)
    np.testing.assert_allclose(subclass, expected, rtol=2e-5)
    assert complement.dtype == subclass.dtype == jnp.float32
    gradient = jax.eval_shape(jax.grad(scl), z, LABELS, temperature=0.1)
    assert gradient.dtype == jnp.bfloat16


@pytest.mark.parametrize("class_average", [False, True])
def test_without_valid_centroids_the_complement_is_exactly_the_plain_loss(
    embeddings, centroids, class_average
):
    options = {"temperature": 0.1, "class_average": class_average}
    plain = scl_grad(embeddings, LABELS, **options)
    empty = scl_grad(
        embeddings,
        LABELS,
        centroids=centroids,
        centroid_mask=np.zeros_like(MASK),
        **options,
    )
    assert plain[0] == empty[0]
    np.testing.assert_array_equal(plain[1], empty[1])


def test_a_missing_mask_means_that_every_centroid_is_valid(embeddings, centroids):
    complement = partial(scl, embeddings, LABELS, temperature=0.1, centroids=centroids)
    assert complement() == complement(centroid_mask=np.ones_like(MASK))


@pytest.mark.parametrize("class_average", [False, True])
def test_with_one_prototype_a_class_the_average_is_the_loss_of_bcl(embeddings, class_average):
    """BalSCL: every candidate's exponential over w_j, its class's count less [j is a positive]."""
    prototypes = unit(np.random.default_rng(2).normal(size=(NUM_CLASSES, DIM))).astype(np.float32)
    loss = scl(
        embeddings,
        LABELS,
        temperature=0.1,
        centroids=prototypes[:, None, :],
        centroid_mask=np.ones((NUM_CLASSES, 1), bool),
        class_average=class_average,
    )
    vectors = np.concatenate([embeddings, prototypes]).astype(np.float64)
    classes = np.concatenate([LABELS, np.arange(NUM_CLASSES)])
    counts = np.bincount(classes)
    exponentials = np.exp(vectors @ vectors.T / 0.1)
    total = 0.0
    for i in range(len(LABELS)):
        others = np.arange(len(classes)) != i
        positive = (classes == classes[i]) & others
        weights = counts[classes] - positive
        denominator = np.sum((exponentials[i] / weights)[others])
        total -= np.mean(np.log(exponentials[i] / denominator)[positive])
    agrees = np.isclose(loss, total / len(LABELS), rtol=2e-5)
    assert agrees == class_average


@pytest.mark.parametrize("class_average", [False, True])
def test_gradients_match_finite_differences(embeddings, centroids, class_average):
    options = {"temperature": 0.5, "class_average": class_average}
    losses = [
        (lambda z: scl(z, LABELS, centroids=centroids, centroid_mask=MASK, **options), {}),
        (
            lambda z: cl(z, LABELS, centroids, MASK, **options),
            {"by_subclass": True},
        ),
    ]
    direction = np.random.default_rng(3).normal(size=embeddings.shape)
    z, step = embeddings.astype(np.float64), 1e-5
    for loss, kind in losses:
        oracle = partial(
            loop_loss, labels=LABELS, centroids=centroids, mask=MASK, **options, **kind
        )
        slope = (oracle(z + step * direction) - oracle(z - step * direction)) / (2 * step)
        gradient = jax.jit(jax.grad(loss))(embeddings)
        np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4)
    check_grads(jax.jit(losses[0][0]), (embeddings,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2)


def test_no_gradient_reaches_the_centroids(embeddings, centroids):
    def total(bank):
        complement = scl(embeddings, LABELS, temperature=0.1, centroids=bank, centroid_mask=MASK)
        return complement + cl(embeddings, LABELS, bank, MASK, temperature=0.1)

    value, gradient = jax.jit(jax.value_and_grad(total))(centroids)
    assert value > 0
    np.testing.assert_array_equal(gradient, np.zeros_like(centroids))


@pytest.mark.parametrize("class_average", [False, True])
def test_losses_do_not_depend_on_the_order_of_the_batch(embeddings, centroids, class_average):
    order = np.random.default_rng(4).permutation(len(LABELS))
    options = {"temperature": 0.1, "class_average": class_average}
    for loss in (
        lambda z, y: scl(z, y, centroids=centroids, centroid_mask=MASK, **options),
        lambda z, y: cl(z, y, centroids, MASK, **options),
    ):
        np.testing.assert_allclose(
            loss(embeddings[order], LABELS[order]), loss(embeddings, LABELS), rtol=1e-5
        )


def test_what_invalid_centroids_hold_is_never_read(embeddings, centroids):
    garbage = np.where(MASK[:, :, None], centroids, np.nan)
    for bank in (centroids, garbage):
        complement = scl_grad(
            embeddings, LABELS, temperature=0.1, centroids=bank, centroid_mask=MASK
        )
        subclass = cl_grad(embeddings, LABELS, bank, MASK, temperature=0.1)
        if bank is centroids:
            expected = complement, subclass
    jax.tree.map(np.testing.assert_array_equal, (complement, subclass), expected)


@pytest.mark.parametrize("class_average", [False, True])
@pytest.mark.parametrize(
    ("labels", "mask", "positives", "assigned"),
    [
        ([0, 1, 2], np.zeros((3, 2), bool), False, False),  # single members, no centroid at all
        ([0], np.zeros((3, 2), bool), False, False),  # a batch of one sample
        ([0], np.array([[0, 0], [1, 1], [1, 0]], bool), False, False),  # others' centroids only
        ([0], np.array([[1, 0], [0, 0], [0, 0]], bool), True, True),  # its only candidate
        ([0, 0, 1], np.array([[0, 0], [0, 0], [1, 1]], bool), True, False),
    ],
)
def test_sparse_batches_give_finite_losses_and_gradients(
    labels, mask, positives, assigned, class_average
):
    rng = np.random.default_rng(5)
    z = unit(rng.normal(size=(len(labels), DIM))).astype(np.float32)
    bank = np.where(mask[:, :, None], unit(rng.normal(size=(3, 2, DIM))), 0).astype(np.float32)
    labels, options = np.array(labels), {"temperature": 0.05, "class_average": class_average}
    complement, complement_gradient = scl_grad(
        z, labels, centroids=bank, centroid_mask=mask, **options
    )
    subclass, subclass_gradient = cl_grad(z, labels, bank, mask, **options)
    np.testing.assert_allclose(
        complement, loop_loss(z, labels, centroids=bank, mask=mask, **options), rtol=2e-5, atol=1e-5
    )
    assert np.all(np.isfinite(complement_gradient))
    assert np.all(np.isfinite(subclass_gradient))
    if not positives:
        assert complement == 0
        assert not np.any(complement_gradient)
    if not assigned:
        assert subclass == 0
        assert not np.any(subclass_gradient)


def test_identical_embeddings_at_a_small_temperature_stay_finite():
    z = np.tile(unit(np.ones(DIM)), (6, 1)).astype(np.float32)
    value, gradient = scl_grad(z, np.array([0, 0, 0, 1, 1, 1]), temperature=0.005)
    np.testing.assert_allclose(value, np.log(5), rtol=1e-4)
    assert np.all(np.isfinite(gradient))


def test_a_diverged_embedding_is_not_hidden(embeddings):
    embeddings[3, 2] = np.nan
    assert np.isnan(scl(embeddings, LABELS, temperature=0.1))


def test_subclasses_are_the_nearest_valid_centroids_of_the_own_class(embeddings, centroids):
    expected = loop_subclasses(embeddings, LABELS, centroids, MASK)
    subclasses = jax.jit(assign_subclasses)(embeddings, LABELS, centroids, MASK)
    np.testing.assert_array_equal(subclasses, [-1 if s is None else s for s in expected])
    assert subclasses.dtype == jnp.int32
    assert set(np.asarray(subclasses)) > {-1, 1}


def test_subclasses_go_by_cosine_and_not_by_length(embeddings, centroids):
    longer = centroids * np.linspace(0.2, 4.0, NUM_CENTROIDS, dtype=np.float32)[None, :, None]
    np.testing.assert_array_equal(
        jax.jit(assign_subclasses)(embeddings, LABELS, longer, MASK),
        jax.jit(assign_subclasses)(embeddings, LABELS, centroids, MASK),
    )


def test_unsigned_byte_labels_do_not_wrap_around():
    rng = np.random.default_rng(6)
    z = unit(rng.normal(size=(6, DIM))).astype(np.float32)
    bank = unit(rng.normal(size=(256, 2, DIM))).astype(np.float32)
    mask = np.ones((256, 2), bool)
    labels = np.array([0, 0, 128, 128, 255, 255])
    for dtype in (np.uint8, np.int32):
        loss = cl(z, labels.astype(dtype), bank, mask, temperature=0.1, class_average=True)
        expected = loop_loss(z, labels, 0.1, bank, mask, class_average=True, by_subclass=True)
        np.testing.assert_allclose(loss, expected, rtol=2e-5)


@partial(jax.jit, static_argnames=STATIC)
def losses_and_gradients(embeddings, centroids, mask, **options):
    """Values (2,) of Eq. 6 and Eq. 5 and gradients (2, N, D) of the joint function."""

    def both(z):
        values = complement_and_centroid_loss(
            z, LABELS, centroids, mask, temperature=0.1, **options
        )
        return jnp.stack(values), jnp.stack(values)

    gradients, values = jax.jacrev(both, has_aux=True)(embeddings)
    return values, gradients


@pytest.mark.parametrize("class_average", [False, True])
def test_chunks_that_do_not_divide_the_classes_change_no_loss_and_no_gradient(
    embeddings, centroids, class_average
):
    garbage = np.where(MASK[:, :, None], centroids, np.nan)
    options = {"class_average": class_average}
    whole = losses_and_gradients(embeddings, garbage, MASK, **options)
    assert np.all(np.isfinite(whole[1]))
    chunked = losses_and_gradients(embeddings, garbage, MASK, chunk_size=2, **options)
    np.testing.assert_allclose(chunked[0], whole[0], rtol=1e-6)
    np.testing.assert_allclose(chunked[1], whole[1], atol=1e-6)
    at_once = losses_and_gradients(embeddings, garbage, MASK, chunk_size=5, **options)
    jax.tree.map(np.testing.assert_array_equal, at_once, whole)


@pytest.mark.parametrize("class_average", [False, True])
def test_the_joint_function_and_chunks_match_a_loop_over_pairs(
    embeddings, centroids, class_average
):
    options = {"temperature": 0.1, "class_average": class_average}
    expected = [
        loop_loss(embeddings, LABELS, centroids=centroids, mask=MASK, by_subclass=by, **options)
        for by in (False, True)
    ]
    complement = {"centroids": centroids, "centroid_mask": MASK}
    for chunk_size in (None, 2):
        chunks = {"chunk_size": chunk_size, **options}
        pair = joint(embeddings, LABELS, centroids, MASK, **chunks)
        np.testing.assert_allclose(pair, expected, rtol=2e-5)
        assert scl(embeddings, LABELS, **complement, **chunks) == pair[0]
        assert cl(embeddings, LABELS, centroids, MASK, **chunks) == pair[1]


@pytest.mark.parametrize("class_average", [False, True])
def test_chunks_without_valid_centroids_give_the_plain_loss(embeddings, class_average):
    options = {"temperature": 0.1, "class_average": class_average}
    plain = scl_grad(embeddings, LABELS, **options)
    unset = np.full((*MASK.shape, DIM), np.nan, np.float32)
    values, gradients = losses_and_gradients(
        embeddings, unset, np.zeros_like(MASK), class_average=class_average, chunk_size=2
    )
    assert values[0] == plain[0]
    assert values[1] == 0
    np.testing.assert_allclose(gradients[0], plain[1], atol=1e-6)
    assert not np.any(gradients[1])


def compiled_gradient(loss, samples=64, classes=4096, slots=5, dim=16):
    """The gradient compiled for shapes alone, on the CPU, whose memory and work the tests know."""
    arguments = (
        jax.ShapeDtypeStruct((samples, dim), jnp.float32),
        jax.ShapeDtypeStruct((samples,), jnp.int32),
        jax.ShapeDtypeStruct((classes, slots, dim), jnp.float32),
        jax.ShapeDtypeStruct((classes, slots), bool),
    )
    with jax.default_device(jax.devices("cpu")[0]):
        return jax.jit(jax.grad(loss)).lower(*arguments).compile()


def test_chunks_bound_the_memory_of_the_gradient():
    def temporary(chunk_size):
        def loss(*arguments):
            return sum(joint(*arguments, temperature=0.1, chunk_size=chunk_size))

        return compiled_gradient(loss).memory_analysis().temp_size_in_bytes

    logits = 64 * 4096 * 5 * 4
    assert temporary(None) > logits
    assert temporary(128) < logits / 4


def test_the_joint_function_saves_a_product_with_all_centroids():
    def apart(z, labels, bank, mask):
        complement = scl(z, labels, temperature=0.1, centroids=bank, centroid_mask=mask)
        return complement + cl(z, labels, bank, mask, temperature=0.1)

    def together(*arguments):
        return sum(joint(*arguments, temperature=0.1))

    product = 2 * 64 * 4096 * 5 * 16
    flops = [compiled_gradient(loss).cost_analysis()["flops"] for loss in (apart, together)]
    assert flops[0] - flops[1] > 0.9 * product


def test_shapes_that_do_not_fit_are_named(embeddings, centroids):
    with pytest.raises(ValueError, match=r"\(10, 6\).*\(9,\)"):
        scl(embeddings, LABELS[:-1], temperature=0.1)
    with pytest.raises(ValueError, match=r"\(5, 3, 5\).*\(10, 6\)"):
        cl(embeddings, LABELS, centroids[:, :, 1:], MASK, temperature=0.1)
    with pytest.raises(ValueError, match=r"\(5, 2\).*\(5, 3, 6\)"):
        assign_subclasses(embeddings, LABELS, centroids, MASK[:, 1:])
    with pytest.raises(ValueError, match="without centroids"):
        scl(embeddings, LABELS, temperature=0.1, centroid_mask=MASK)
    with pytest.raises(ValueError, match="chunk_size is 0"):
        cl(embeddings, LABELS, centroids, MASK, temperature=0.1, chunk_size=0)
