"""Label-aware smoothing of MiSLAS: public code, by hand, loops in float64, and its edges."""

import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.losses.class_smoothing import FORMS, class_smoothing, smoothed_by_class
from bccl_jax.losses.classification import cross_entropy_loss, smoothed
from tests.losses import public

VECTORS = public.load("mislas_las")
COUNTS, LABELS = VECTORS["cls_num_list"], VECTORS["ordinary_labels"]
# What public code calls it: our form, share of the head and of the tail.
SETTINGS = {
    "concave": ("concave", 0.4, 0.1),
    "concave_c10": ("concave", 0.3, 0.0),
    "linear": ("linear", 0.4, 0.1),
    "convex": ("convex", 0.4, 0.1),
    "exp": ("power", 0.4, 0.1),
}


def shares(named):
    form, head, tail = SETTINGS[named]
    return class_smoothing(COUNTS, head=head, tail=tail, form=form)


@pytest.mark.parametrize("named", SETTINGS)
def test_shares_loss_and_gradient_are_those_of_public_code(named):
    smoothing = shares(named)
    assert smoothing.dtype == jnp.float32
    np.testing.assert_allclose(smoothing, VECTORS[f"smooth_{named}"], rtol=1e-5, atol=1e-7)
    labels = smoothed_by_class(jnp.asarray(LABELS), smoothing)
    public.check(
        lambda logits: cross_entropy_loss(logits, labels),
        VECTORS["ordinary_logits"],
        VECTORS[f"ordinary_{named}_loss"],
        VECTORS[f"ordinary_{named}_dlogits"],
    )


def test_of_mixed_images_the_loss_is_that_of_public_code():
    smoothing, order = shares("concave"), VECTORS["ordinary_mixup_perm"]
    one = smoothed_by_class(jnp.asarray(LABELS), smoothing)
    share = float(VECTORS["ordinary_mixup_lam"])
    labels = share * one + (1 - share) * one[order]
    public.check(
        lambda logits: cross_entropy_loss(logits, labels),
        VECTORS["ordinary_logits"],
        VECTORS["ordinary_mixup_loss"],
        VECTORS["ordinary_mixup_dlogits"],
    )


@pytest.mark.parametrize("form", FORMS)
def test_it_matches_a_loop(form, rng):
    counts = np.append(rng.integers(1, 300, 8), 0)
    found = class_smoothing(counts, head=0.7, tail=0.2, form=form, power=0.3)
    there = counts[counts > 0]
    for count, share in zip(counts, found, strict=True):
        t = (max(count, there.min()) - there.min()) / (there.max() - there.min())
        risen = {
            "concave": np.sin(t * np.pi / 2),
            "linear": t,
            "convex": 1 + np.sin(3 * np.pi / 2 + t * np.pi / 2),
            "power": t**0.3,
        }[form]
        assert float(share) == pytest.approx(0.2 + 0.5 * risen, abs=1e-6)


def test_labels_by_hand():
    labels = smoothed_by_class(jnp.array([0, 2]), jnp.array([0.3, 0.0, 0.6]))
    np.testing.assert_allclose(labels, [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_classes_of_one_size_and_classes_without_images(form):
    np.testing.assert_allclose(
        class_smoothing(np.array([7, 7, 0]), head=0.4, tail=0.1, form=form), [0.4, 0.4, 0.1]
    )
    # In float32 the counts of a large data set are not close.
    found = class_smoothing(np.array([10**7, 1, 10**7 - 1]), head=0.4, tail=0.1, form=form)
    np.testing.assert_allclose(found, [0.4, 0.1, 0.4], rtol=1e-4)


def test_of_one_share_it_is_label_smoothing():
    smoothing = class_smoothing(COUNTS, head=0.25, tail=0.25)
    labels = jnp.asarray(LABELS)
    np.testing.assert_allclose(
        smoothed_by_class(labels, smoothing), smoothed(labels, len(COUNTS), 0.25), rtol=1e-6
    )
    none = class_smoothing(COUNTS, head=0.0, tail=0.0)
    np.testing.assert_array_equal(smoothed_by_class(labels, none), smoothed(labels, 10, 0.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_counts": np.ones((2, 2))}, "one count a class"),
        ({"head": 1.2}, "head is 1.2 and tail 0.1; pass numbers from 0 to 1"),
        ({"tail": -0.1}, "tail -0.1"),
        ({"form": "exp"}, "form is 'exp'; pass one of concave, linear"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        class_smoothing(**{"class_counts": np.ones(3), "head": 0.4, "tail": 0.1} | arguments)


def test_labels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="pass integer classes"):
        smoothed_by_class(jnp.ones(3), jnp.ones(3))
    with pytest.raises(ValueError, match="one share a class"):
        smoothed_by_class(jnp.array([0]), jnp.ones((3, 1)))
