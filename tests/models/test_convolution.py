import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.models.convolution import Conv, convolve


def by_loops(x, kernel, stride, groups=1):
    """Cross-correlation with zero padding, one output pixel at a time, group by group."""
    if groups > 1:
        parts = zip(np.split(x, groups, axis=3), np.split(kernel, groups, axis=3), strict=True)
        return np.concatenate([by_loops(*part, stride) for part in parts], axis=3)
    size = kernel.shape[0]
    margin = size // 2
    padded = np.pad(x, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    rows, columns = (range(0, n, stride) for n in x.shape[1:3])
    out = np.zeros((len(x), len(rows), len(columns), kernel.shape[3]))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = padded[:, row : row + size, column : column + size]
            out[:, i, j] = np.tensordot(window, kernel, 3)
    return out


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("image", [(6, 6), (7, 4)])
def test_convolution_and_gradients_in_float64(rng, size, stride, image):
    check_in_float64(rng, image, (size, size, 3, 4), stride)


# Groups that four divides, that it does not, and of one channel each.
@pytest.mark.parametrize(
    ("kernel_shape", "stride", "groups"),
    [((3, 3, 2, 16), 1, 8), ((3, 3, 3, 12), 2, 6), ((3, 3, 1, 3), 2, 3), ((1, 1, 2, 8), 2, 4)],
)
def test_grouped_convolution_and_gradients_in_float64(rng, kernel_shape, stride, groups):
    check_in_float64(rng, (6, 5), kernel_shape, stride, groups)


def check_in_float64(rng, image, kernel_shape, stride, groups=1):
    with jax.enable_x64(True):
        x = rng.normal(size=(2, *image, kernel_shape[2] * groups))
        kernel = rng.normal(size=kernel_shape)
        cotangent = rng.normal(size=(2, *(-(-n // stride) for n in image), kernel_shape[3]))

        @jax.jit
        def both(x, kernel, cotangent):
            out, pull = jax.vjp(lambda x, kernel: convolve(x, kernel, stride, groups), x, kernel)
            return out, *pull(cotangent)

        out, x_gradient, kernel_gradient = jax.device_get(both(x, kernel, cotangent))
        np.testing.assert_allclose(out, by_loops(x, kernel, stride, groups), rtol=1e-10, atol=1e-12)

        # The convolution is linear in each argument: <conv(x, k), g> = <x, dx> = <k, dk>, for any
        # x and k, is what a gradient is.
        for _ in range(3):
            other_x, other_kernel = rng.normal(size=x.shape), rng.normal(size=kernel.shape)
            np.testing.assert_allclose(
                np.sum(other_x * x_gradient),
                np.sum(by_loops(other_x, kernel, stride, groups) * cotangent),
            )
            np.testing.assert_allclose(
                np.sum(other_kernel * kernel_gradient),
                np.sum(by_loops(x, other_kernel, stride, groups) * cotangent),
            )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_module_is_flax_linens_with_the_same_variables(rng, dtype, groups):
    x = jnp.asarray(rng.normal(size=(2, 5, 5, 6)), jnp.float32)
    ours = Conv(4, stride=2, dtype=dtype, groups=groups)
    flax = nn.Conv(
        4,
        (3, 3),
        strides=2,
        padding=1,
        feature_group_count=groups,
        use_bias=False,
        dtype=dtype,
    )
    variables = ours.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
        jnp.shape, flax.init(jax.random.key(0), x)
    )
    found, expected = ours.apply(variables, x), flax.apply(variables, x)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("kernel_shape", "groups", "convolutions"),
    [
        # Two forward, two for the kernels, one for the image between them.
        ((3, 3, 4, 4), 1, 5),
        # Of a 1x1 kernel all is products of matrices, but for the forward pass with a stride.
        ((1, 1, 4, 4), 1, 1),
        # A kernel's gradient in four parts.
        ((3, 3, 1, 4), 4, 2 + 2 * 4 + 1),
    ],
)
def test_within_a_scan_the_cpu_compiler_finds_its_layout_for_every_convolution(
    kernel_shape, groups, convolutions
):
    """Else it falls back to a loop over pixels; see the module's docstring."""
    kernels = jnp.ones((2, *kernel_shape))

    def epoch(kernels, images):
        def step(kernels, x):
            def loss(kernels):
                y = convolve(x, kernels[0], 1, groups)
                return jnp.sum(convolve(y, kernels[1], 2, groups) ** 2)

            return kernels - jax.grad(loss)(kernels), None

        return jax.lax.scan(step, kernels, images)[0]

    compiled = jax.jit(epoch, backend="cpu").lower(kernels, jnp.ones((3, 8, 8, 8, 4))).compile()
    layouts = [
        line.split("dim_labels=")[1].split(",")[0]
        for line in compiled.as_text().splitlines()
        if " convolution(" in line
    ]
    assert len(layouts) == convolutions
    assert set(layouts) == {"b01f_01io->b01f"}
