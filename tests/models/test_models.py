import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.models import (
    CosineClassifier,
    LinearClassifier,
    Network,
    Projector,
    create_backbone,
    l2_normalize,
)
from bccl_jax.models.cifar_resnet import option_a_shortcut


def parameters(tree):
    return sum(x.size for x in jax.tree.leaves(tree))


def shapes_of(module, *inputs):
    return jax.eval_shape(lambda key: module.init(key, *inputs), jax.random.key(0))


def counted_by_hand(blocks, width):
    """Weights of 3x3 convolutions and two parameters a normalised channel, layer by layer."""
    total = 3 * 9 * width + 2 * width
    channels = width
    for stage in range(3):
        out = width * 2**stage
        for _ in range(blocks):
            total += channels * 9 * out + out * 9 * out + 4 * out
            channels = out
    return total


@pytest.mark.parametrize(
    ("name", "blocks", "width"), [("resnet8", 1, 16), ("resnet32", 5, 16), ("resnet32x4", 5, 64)]
)
def test_backbones_have_the_parameters_counted_by_hand(name, blocks, width):
    images = jnp.zeros((2, 32, 32, 3))
    variables = shapes_of(create_backbone(name), images, True)
    assert parameters(variables["params"]) == counted_by_hand(blocks, width)


def test_resnet32_with_ten_classes_has_464154_parameters():
    network = Network(create_backbone("resnet32"), {"classifier": LinearClassifier(10)})

    def forward(network, images):
        return network.heads["classifier"](network.backbone(images, train=True))

    variables = jax.eval_shape(
        lambda key: network.init(key, jnp.zeros((2, 32, 32, 3)), method=forward),
        jax.random.key(0),
    )
    assert parameters(variables["params"]) == 464_154


def test_features_are_float32_and_parameters_too_when_computing_in_bfloat16():
    backbone = create_backbone("resnet8", dtype=jnp.bfloat16)
    images = jnp.ones((2, 8, 8, 3))
    variables = backbone.init(jax.random.key(0), images, True)
    features, statistics = backbone.apply(variables, images, True, mutable=["batch_stats"])
    assert features.shape == (2, 64)
    assert features.dtype == jnp.float32
    dtypes = {x.dtype for x in jax.tree.leaves((variables, statistics))}
    assert dtypes == {jnp.dtype("float32")}


def test_convolutions_start_kaiming_normal():
    variables = create_backbone("resnet8").init(jax.random.key(0), jnp.zeros((2, 8, 8, 3)), True)
    kernel = np.asarray(variables["params"]["BasicBlock_2"]["Conv_1"]["kernel"])
    assert kernel.shape == (3, 3, 64, 64)
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 64)), rtol=0.02)
    # A truncated normal would have nothing beyond two of its deviations.
    assert np.abs(kernel).max() > 3 * kernel.std()


def test_option_a_shortcut_subsamples_and_pads_channels_on_both_sides(rng):
    x = rng.normal(size=(2, 4, 4, 16)).astype(np.float32)
    out = np.asarray(option_a_shortcut(jnp.asarray(x), 32, 2))
    assert out.shape == (2, 2, 2, 32)
    np.testing.assert_array_equal(out[..., 8:24], x[:, ::2, ::2])
    assert not out[..., :8].any()
    assert not out[..., 24:].any()


def test_cosine_classifier_is_scale_times_the_cosine(rng):
    features = rng.normal(size=(3, 5)).astype(np.float32)
    head = CosineClassifier(4, scale=30.0)
    variables = head.init(jax.random.key(0), jnp.asarray(features))
    kernel = np.asarray(variables["params"]["kernel"], np.float64)
    expected = np.zeros((3, 4))
    for i in range(3):
        for k in range(4):
            a, b = features[i].astype(np.float64), kernel[:, k]
            expected[i, k] = 30 * a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(head.apply(variables, features), expected, atol=1e-4)


def test_projector_gives_unit_vectors(rng):
    features = jnp.asarray(rng.normal(size=(6, 5)), jnp.float32)
    projector = Projector(hidden=7, out=3, dtype=jnp.bfloat16)
    variables = projector.init(jax.random.key(0), features, True)
    out, _ = projector.apply(variables, features, True, mutable=["batch_stats"])
    assert out.shape == (6, 3)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)


def test_a_zero_vector_stays_zero_with_finite_gradient():
    zero = jnp.zeros((1, 3))
    np.testing.assert_array_equal(l2_normalize(zero), zero)
    gradient = jax.grad(lambda x: jnp.sum(l2_normalize(x)))(zero)
    assert np.isfinite(gradient).all()


def test_an_unknown_backbone_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"resnet33.*resnet8, resnet32, resnet32x4"):
        create_backbone("resnet33")
