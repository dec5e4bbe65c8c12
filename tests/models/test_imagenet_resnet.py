import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.models import create_backbone
from bccl_jax.models.imagenet_resnet import Bottleneck, ImageNetResNet, max_pool

SMALL = ImageNetResNet(stage_sizes=(1, 2), width=4)


def shapes_of(backbone, side):
    """Shapes of the variables and of what every module gives."""
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)

    def init(images):
        return backbone.init(jax.random.key(0), images, False, capture_intermediates=True)

    found = jax.eval_shape(init, images)
    outputs = flax.traverse_util.flatten_dict(found.pop("intermediates"), sep="/")
    return found, {
        name.removesuffix("__call__").strip("/"): output[0].shape
        for name, output in outputs.items()
    }


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet50", 25_557_032), ("resnext50", 25_028_904)]
)
def test_parameters_with_a_thousand_classes_are_torchvisions(name, parameters):
    variables, _ = shapes_of(create_backbone(name), 32)
    counted = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    assert counted + 1000 * (2048 + 1) == parameters


@pytest.mark.parametrize(("name", "inner"), [("resnet50", 64), ("resnext50", 128)])
def test_stages_halve_the_sides_in_their_first_3x3_convolution(name, inner):
    _, outputs = shapes_of(create_backbone(name), 224)
    assert outputs["Conv_0"] == (2, 112, 112, 64)
    assert outputs[""] == (2, 2048)
    number = 0
    for stage, size in enumerate((3, 4, 6, 3)):
        side, factor = 56 // 2**stage, 2**stage
        for block in range(size):
            before = 2 * side if stage > 0 and block == 0 else side
            within = f"Bottleneck_{number}"
            assert outputs[f"{within}/Conv_0"] == (2, before, before, inner * factor)
            assert outputs[f"{within}/Conv_1"] == (2, side, side, inner * factor)
            assert outputs[within] == (2, side, side, 256 * factor)
            assert (f"{within}/shortcut_conv" in outputs) == (block == 0)
            number += 1
    assert f"Bottleneck_{number}" not in outputs


def test_sides_that_are_odd_are_rounded_up():
    _, outputs = shapes_of(create_backbone("resnet50"), 97)
    sides = [outputs[f"Bottleneck_{last}"][1] for last in (2, 6, 12, 15)]
    assert outputs["Conv_0"][1] == 49
    assert sides == [25, 13, 7, 4]


def test_convolutions_start_kaiming_normal_over_the_fan_out():
    variables = jax.jit(
        lambda key: ImageNetResNet((1,), width=32, inner_factor=2, groups=8).init(
            key, jnp.zeros((1, 8, 8, 3)), True
        )
    )(jax.random.key(0))
    block = variables["params"]["Bottleneck_0"]
    assert block["Conv_1"]["kernel"].shape == (3, 3, 8, 64)
    for kernel, fan_out in (
        (variables["params"]["Conv_0"]["kernel"], 49 * 32),
        (block["Conv_1"]["kernel"], 9 * 64),
        (block["Conv_2"]["kernel"], 128),
    ):
        np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / fan_out), rtol=0.05)


def test_a_block_whose_last_scale_is_zero_is_its_shortcut(rng):
    x = jnp.asarray(rng.normal(size=(2, 4, 4, 8)), jnp.float32)
    block = Bottleneck(
        inner=4, features=8, stride=1, groups=1, zero_init=True, dtype=jnp.float32, norm_groups=1
    )
    y, _ = jax.jit(lambda x: block.init_with_output(jax.random.key(0), x, True))(x)
    np.testing.assert_array_equal(y, nn.relu(x))


@pytest.mark.parametrize("zero_init", [False, True])
def test_zero_init_residual_is_about_the_last_scale_of_each_block_alone(zero_init):
    backbone = SMALL.copy(zero_init_residual=zero_init)

    @jax.jit
    def initial_scales():
        params = backbone.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)), True)["params"]
        flat = flax.traverse_util.flatten_dict(params, sep="/")
        return {path: leaf for path, leaf in flat.items() if path.endswith("scale")}

    scales = {path: np.unique(leaf).tolist() for path, leaf in initial_scales().items()}
    zeros = {path for path, values in scales.items() if values == [0]}
    ones = {path for path, values in scales.items() if values == [1]}
    last = {f"Bottleneck_{number}/BatchNorm_2/scale" for number in range(3)}
    assert zeros == (last if zero_init else set())
    assert zeros | ones == set(scales)


def test_computing_in_bfloat16_keeps_features_parameters_and_statistics_in_float32():
    backbone = SMALL.copy(dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((2, 16, 16, 3), jnp.float32)

    def init(images):
        variables = backbone.init(jax.random.key(0), images, True)
        return variables, backbone.apply(
            variables,
            images,
            True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=True,
        )

    variables, (features, changed) = jax.eval_shape(init, images)
    assert features.dtype == jnp.float32
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((variables, changed["batch_stats"]))}
    assert dtypes == {jnp.dtype("float32")}
    within = changed["intermediates"]["Bottleneck_0"]
    assert {leaf.dtype for leaf in jax.tree.leaves(within)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize("image", [(6, 8), (5, 7)])
def test_max_pool_is_the_librarys_with_its_gradient(rng, image):
    # Few values, so that many are equal.
    x = jnp.asarray(rng.integers(-2, 3, (2, *image, 3)), jnp.float32)

    def library(x):
        return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))

    found, pull = jax.vjp(max_pool, x)
    expected, library_pull = jax.vjp(library, x)
    np.testing.assert_array_equal(found, expected)
    cotangent = jnp.asarray(rng.normal(size=found.shape), jnp.float32)
    np.testing.assert_allclose(pull(cotangent)[0], library_pull(cotangent)[0], rtol=1e-6)


def test_no_operation_is_one_that_a_deterministic_gpu_refuses():
    images = jnp.zeros((2, 16, 16, 3))
    variables = jax.eval_shape(lambda: SMALL.init(jax.random.key(0), images, True))

    def loss(variables):
        return jnp.sum(SMALL.apply(variables, images, True, mutable=["batch_stats"])[0])

    program = str(jax.make_jaxpr(jax.grad(loss))(variables))
    assert "conv_general_dilated" in program
    assert "scatter" not in program
