"""Whether the devices compute what they should: a second's check against NumPy before a run.

Compilers and drivers have been released that compute wrong without a word: jax 0.10.2 on CPUs
(jax-ml/jax issue 39103), jax 0.11 with CUDA 13 on some GPUs (issue 40633).
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

from bccl_jax.errors import DeviceError

# Relative error that rounding may make; and, where a device may take a fast algorithm of less
# precision, absolute error as a share of the largest number. Arguments are small whole numbers,
# which bfloat16 and TF32 hold exactly, so that only a wrong result differs by more.
_ROUNDING = 1e-4
_FAST = 1e-3


def check_devices(devices: Sequence[jax.Device] | None = None) -> None:
    """Compares operations of a training step with NumPy on each device, once in a process.

    They are a convolution with its gradients, a matrix product, reductions, a softmax, a sort, a
    scattered sum, random bits, and single operations outside any larger program.

    Args:
      devices: those of this process that a run will take; None for all of them.

    Raises:
      DeviceError: a device computes wrong.
    """
    _check_once(tuple(jax.local_devices() if devices is None else devices))


@functools.cache
def _check_once(devices: tuple[jax.Device, ...]) -> None:
    given, wanted = _examples()
    # A precision of the user's own, float8 for example, might not hold the numbers.
    with jax.default_matmul_precision(None):
        for device, found in zip(devices, _run(_compiled, devices, given), strict=True):
            for name, want in wanted.items():
                _compare(device, name, found[name], want)
        for device in devices:
            for name, found, want in _run(_single_operations, device):
                _compare(device, name, found, want)


def _run(compute: Callable, *arguments) -> list:
    try:
        return list(compute(*arguments))
    except jax.errors.JaxRuntimeError as error:
        first_line = (str(error).splitlines() or ["no word from it"])[0]
        raise DeviceError(
            f"{arguments[0]} cannot run a small program of jax {jax.__version__} ({first_line}); "
            "see whether driver, CUDA and jax fit, and whether another program holds its memory"
        ) from error


def _compare(device: jax.Device, name: str, found: np.ndarray, want: np.ndarray) -> None:
    room = _ROUNDING * np.abs(want) + _ROUNDING
    if want.dtype.kind in "iu":
        room = np.zeros(want.shape)
    elif name.startswith(("a convolution", "a matrix product")):
        room = np.full(want.shape, _FAST * np.abs(want).max())
    # Not >, which NaN would pass.
    wrong = ~(np.abs(found.astype(np.float64) - want) <= room)
    if not wrong.any():
        return
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    raise DeviceError(
        f"{device} ({device.device_kind}) computes wrong under jax {jax.__version__}: {name} gives "
        f"{found[first]} in place of {want[first]}, and {wrong.sum()} of {wrong.size} numbers "
        "differ; take another release of jax or of the driver, for no result could be trusted"
    )


def operations(
    images: jax.Array,
    kernel: jax.Array,
    weights: jax.Array,
    rows: jax.Array,
    logits: jax.Array,
    counters: jax.Array,
) -> dict[str, jax.Array]:
    """What is compared, in one program; `_examples` has the same in NumPy.

    Args:
      images: float32 [B, H, W, C].
      kernel: float32 [3, 3, C, F].
      weights: float32 [B, H, W, F], of the sum whose gradients are taken.
      rows: float32 [N, 3].
      logits: float32 [K, L].
      counters: uint32 [2 * R].

    Returns:
      Arrays by the name of the operation.
    """
    dimensions = ("NHWC", "HWIO", "NHWC")

    def convolve(images, kernel):
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "SAME", dimension_numbers=dimensions
        )

    convolved, backward = jax.vjp(convolve, images, kernel)
    of_images, of_kernel = backward(weights)
    one = jnp.eye(3, dtype=jnp.float32)
    squares = jax.vmap(lambda row: jnp.sum((one @ row) ** 2))(rows)
    place = jnp.argsort(logits, axis=1)
    scattered = jnp.zeros(256, jnp.int32).at[counters % 256].add(1)
    return {
        "a convolution": convolved,
        "a convolution's gradient by its input": of_images,
        "a convolution's gradient by its kernel": of_kernel,
        "a matrix product": jnp.matmul(logits[:, :64], logits[:, :64].T),
        "a reduction of products": squares,
        "a sum": jnp.sum(weights, axis=(0, 1, 2)),
        "log-softmax": jax.nn.log_softmax(logits / 16),
        "a sort": jnp.take_along_axis(logits, place, axis=1),
        "a scattered sum": scattered,
        "random bits": jax.extend.random.threefry_2x32(jnp.uint32([7, 11]), counters),
    }


def _compiled(
    devices: tuple[jax.Device, ...], given: dict[str, np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """The results of `operations` of each device, from one program over all of them."""
    mesh = Mesh(np.array(devices), ("device",), axis_types=(AxisType.Auto,))
    each, same = PartitionSpec("device"), PartitionSpec()

    def compute(given):
        return jax.tree.map(lambda x: x[None], operations(**given))

    on_all = jax.shard_map(compute, mesh=mesh, in_specs=(same,), out_specs=each, check_vma=False)
    found = jax.device_get(jax.jit(on_all)(given))
    return [{name: x[i] for name, x in found.items()} for i in range(len(devices))]


def _single_operations(
    device: jax.Device,
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Operations that are programs of their own, as at a run's start: name, found, wanted."""
    cases: list[tuple[str, Callable, np.ndarray, np.ndarray]] = [
        ("an addition", lambda x: x + 1, np.ones(4, np.float32), np.full(4, 2.0)),
        ("a square root", jnp.sqrt, np.float32([512]), np.sqrt([512.0])),
        ("an exponential", jnp.exp, np.linspace(-4, 4, 513, dtype=np.float32), None),
    ]
    for name, operation, x, want in cases:
        want = np.exp(x.astype(np.float64)) if want is None else want
        yield name, np.asarray(operation(jax.device_put(x, device))), want


def _examples() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Arguments of `operations`, and what NumPy makes of them."""
    rng = np.random.default_rng(0)

    def whole(*shape, most=3):
        return rng.integers(-most, most + 1, shape).astype(np.float32)

    count = (np.arange(32_769) % 251 + 1).astype(np.float32)
    given = {
        "images": whole(4, 8, 8, 16),
        "kernel": whole(3, 3, 16, 16),
        "weights": whole(4, 8, 8, 16),
        # The length from which on jax 0.10.2 went wrong.
        "rows": np.stack([count, 0 * count, 0 * count], axis=1),
        "logits": whole(16, 1000, most=7),
        "counters": rng.integers(0, 2**32, 4096, dtype=np.uint32),
    }
    images, kernel, weights = (given[k].astype(np.float64) for k in ("images", "kernel", "weights"))
    around = ((0, 0), (1, 1), (1, 1), (0, 0))
    windows = _windows(np.pad(images, around))
    back = _windows(np.pad(weights, around))
    logits = given["logits"].astype(np.float64)
    scaled = logits / 16
    exponentials = np.exp(scaled).sum(axis=1, keepdims=True)
    wanted = {
        "a convolution": np.einsum("bhwcij,ijcf->bhwf", windows, kernel),
        "a convolution's gradient by its input": np.einsum(
            "bhwfij,ijcf->bhwc", back, kernel[::-1, ::-1]
        ),
        "a convolution's gradient by its kernel": np.einsum("bhwcij,bhwf->ijcf", windows, weights),
        "a matrix product": logits[:, :64] @ logits[:, :64].T,
        "a reduction of products": given["rows"][:, 0].astype(np.float64) ** 2,
        "a sum": weights.sum(axis=(0, 1, 2)),
        "log-softmax": scaled - np.log(exponentials),
        "a sort": np.sort(logits, axis=1),
        "a scattered sum": np.bincount(given["counters"] % 256, minlength=256),
        "random bits": threefry(7, 11, given["counters"]),
    }
    return given, wanted


def _windows(padded: np.ndarray) -> np.ndarray:
    """The 3 x 3 neighbourhoods of images [B, H + 2, W + 2, C]: [B, H, W, C, 3, 3]."""
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))


def threefry(first: int, second: int, counters: np.ndarray) -> np.ndarray:
    """Threefry-2x32 of 20 rounds (Salmon et al. 2011), the generator of JAX's keys.

    Args:
      first: the key's first word.
      second: its second word.
      counters: uint32 [2 * R], the first words of R blocks, then their second words.

    Returns:
      uint32 [2 * R], the first words of the results, then their second words.
    """
    keys = np.uint32([first, second, first ^ second ^ 0x1BD11BDA])
    x, y = (part.copy() for part in np.split(counters, 2))
    rotations = ((13, 15, 26, 6), (17, 29, 16, 24))
    x, y = x + keys[0], y + keys[1]
    for group in range(5):
        for turn in rotations[group % 2]:
            x = x + y
            y = ((y << np.uint32(turn)) | (y >> np.uint32(32 - turn))) ^ x
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return np.concatenate([x, y])
