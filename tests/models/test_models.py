import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.errors import ConfigError
from bccl_jax.models import (
    CosineClassifier,
    LinearClassifier,
    Network,
    Projector,
    create_backbone,
    l2_normalize,
)
from bccl_jax.models.cifar_resnet import CifarResNet, option_a_shortcut
from bccl_jax.models.imagenet_resnet import ImageNetResNet

# Two programs of the same gradient are compared to five digits.


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

    def apply(key):
        variables = backbone.init(key, images, True)
        return variables, backbone.apply(variables, images, True, mutable=["batch_stats"])

    variables, (features, statistics) = jax.eval_shape(apply, jax.random.key(0))
    assert features.shape == (2, 64)
    assert features.dtype == jnp.float32
    dtypes = {x.dtype for x in jax.tree.leaves((variables, statistics))}
    assert dtypes == {jnp.dtype("float32")}


def test_convolutions_start_kaiming_normal():
    @jax.jit
    def initial_kernel():
        images = jnp.zeros((2, 8, 8, 3))
        variables = create_backbone("resnet8").init(jax.random.key(0), images, True)
        return variables["params"]["BasicBlock_2"]["Conv_1"]["kernel"]

    kernel = np.asarray(initial_kernel())
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
    variables = jax.jit(head.init)(jax.random.key(0), features)
    kernel = np.asarray(variables["params"]["kernel"], np.float64)
    expected = np.zeros((3, 4))
    for i in range(3):
        for k in range(4):
            a, b = features[i].astype(np.float64), kernel[:, k]
            expected[i, k] = 30 * a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(jax.jit(head.apply)(variables, features), expected, atol=1e-4)


@pytest.mark.parametrize(("width", "longest"), [(64, 5.0), (2048, 5.0)])
def test_a_uniform_start_is_cut_to_a_norm_of_five(width, longest):
    head = CosineClassifier(40, start="uniform")
    made = jax.jit(head.init)(jax.random.key(0), np.ones((1, width), np.float32))
    kernel = np.asarray(made["params"]["kernel"])
    norms = np.linalg.norm(np.asarray(kernel, np.float64), axis=0)
    if width == 64:  # of uniform numbers in (-1, 1) it is 4.6, seldom above 5
        assert np.mean(norms) == pytest.approx(np.sqrt(64 / 3), rel=0.05)
        assert norms.max() <= longest * (1 + 1e-6)
        assert np.abs(kernel).max() <= 1
    else:
        np.testing.assert_allclose(norms, longest, rtol=1e-5)


def test_pytorchs_start_of_the_projector_is_uniform_within_one_over_the_root_of_the_width():
    projector = Projector(hidden=200, out=100, start="pytorch", start_scale=0.5)
    init = jax.jit(projector.init, static_argnums=2)
    params = jax.device_get(init(jax.random.key(0), np.ones((2, 64), np.float32), True)["params"])
    for name, width, scale in (("Dense_0", 64, 1), ("Dense_1", 200, 0.5)):
        bound = scale / np.sqrt(width)
        for array in (params[name]["kernel"], params[name]["bias"]):
            largest = np.abs(array).max()
            assert 0.9 * bound < largest <= bound
        assert np.std(params[name]["kernel"]) == pytest.approx(bound / np.sqrt(3), rel=0.05)
    plain = shapes_of(Projector(9, 3), jnp.ones((2, 5)), True)
    assert "bias" not in plain["params"]["Dense_0"]


def test_projector_gives_unit_vectors(rng):
    projector = Projector(hidden=7, out=3, dtype=jnp.bfloat16)

    @jax.jit
    def project(features):
        variables = projector.init(jax.random.key(0), features, True)
        return projector.apply(variables, features, True, mutable=["batch_stats"])[0]

    out = project(np.float32(rng.normal(size=(6, 5))))
    assert out.shape == (6, 3)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, rtol=1e-5)


def test_a_zero_vector_stays_zero_with_finite_gradient():
    zero = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(jax.jit(l2_normalize)(zero), zero)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(l2_normalize(x))))(zero)
    assert np.isfinite(gradient).all()


def test_an_unknown_backbone_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"resnet33.*resnet8, resnet32, resnet32x4"):
        create_backbone("resnet33")


def test_an_option_that_a_backbone_lacks_is_refused_unless_it_asks_for_nothing():
    with pytest.raises(ConfigError, match=r"config\.model\.zero_init_residual.*'resnet32'") as told:
        create_backbone("resnet32", zero_init_residual=True)
    assert "choose one of resnet50, resnext50" in str(told.value)
    create_backbone("resnet32", zero_init_residual=False)
    assert create_backbone("resnet50", zero_init_residual=True).zero_init_residual


SMALL = {
    "cifar": CifarResNet(blocks=1, width=4),
    "imagenet": ImageNetResNet(stage_sizes=(1, 1), width=4, inner_factor=2, groups=4),
}


@pytest.fixture
def images(rng):
    return np.float32(rng.normal(size=(4, 16, 16, 3)))


def random_variables(rng, backbone, images):
    shapes = shapes_of(backbone, images, True)
    return jax.tree.map(lambda leaf: np.float32(rng.uniform(0.1, 0.5, leaf.shape)), shapes)


@pytest.mark.parametrize("family", SMALL)
def test_remat_changes_nothing_but_what_the_backward_pass_keeps(rng, images, family):
    plain = SMALL[family]
    again = plain.copy(remat=True)
    assert shapes_of(again, images, True) == shapes_of(plain, images, True)
    variables = random_variables(rng, plain, images)

    def loss_of(backbone):
        def loss(params):
            features, renewed = backbone.apply(
                {**variables, "params": params}, images, True, mutable=["batch_stats"]
            )
            return jnp.sum(features**2), (features, renewed)

        return loss

    found, expected = (
        jax.jit(jax.grad(loss_of(backbone), has_aux=True))(variables["params"])
        for backbone in (again, plain)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max()),
        found,
        expected,
    )

    def kept(backbone):
        def pullback(params):
            return jax.vjp(loss_of(backbone), params, has_aux=True)[1]

        return parameters(jax.eval_shape(pullback, variables["params"]))

    assert kept(again) < kept(plain) / 2


@pytest.mark.parametrize("family", SMALL)
def test_norm_groups_reach_every_normalisation_of_a_backbone(rng, images, family):
    """A batch in two groups is two batches, whose statistics are averaged."""
    variables = random_variables(rng, SMALL[family], images)

    @functools.partial(jax.jit, static_argnums=0)
    def apply(backbone, x):
        return backbone.apply(variables, x, True, mutable=["batch_stats"])

    features, renewed = apply(SMALL[family].copy(norm_groups=2), images)
    parts = [jax.device_get(apply(SMALL[family], part)) for part in np.split(images, 2)]
    np.testing.assert_allclose(features, np.concatenate([y for y, _ in parts]), atol=1e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, parts[0][1], parts[1][1])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), renewed, mean)


def test_norm_groups_reach_the_projector(rng):
    features = np.float32(rng.normal(size=(6, 5)))
    init = jax.jit(Projector(7, 3).init, static_argnums=2)
    variables = init(jax.random.key(0), features, True)

    @functools.partial(jax.jit, static_argnums=0)
    def apply(projector, x):
        return projector.apply(variables, x, True, mutable=["batch_stats"])[0]

    parts = [apply(Projector(7, 3), part) for part in np.split(features, 2)]
    whole = apply(Projector(7, 3, norm_groups=2), features)
    np.testing.assert_allclose(whole, np.concatenate(parts), atol=1e-6)
