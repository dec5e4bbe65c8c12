"""Views a second against Pillow and torchvision on the host: python -m benchmarks.augment.

Each takes uint8 arrays to uint8 arrays. Pillow and torchvision go image by image in one Python
process, as a loader's worker does; ours uses every core that it may. To compare core with core:
taskset -c 0 python -m benchmarks.augment.
"""

import functools
import random
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from bccl_jax.augment.policies import simaugment
from bccl_jax.augment.views import StrongView, strong_view
from benchmarks import pillow_views
from benchmarks.common import in_turn, parser, report

VIEWS = ("strong", "sim", "sim, half of it blurred")


def ours() -> dict[str, Callable]:
    """Views of a batch, (uint8 [B, H, W, 3], key) -> uint8 [B, H, W, 3], by name."""
    functions = (
        functools.partial(strong_view, view=StrongView()),
        simaugment,
        functools.partial(simaugment, blur_prob=0.5),
    )
    return dict(zip(VIEWS, map(jax.jit, functions), strict=True))


def pillow() -> dict[str, Callable]:
    """Views of a Pillow image, by name."""
    rng = random.Random(0)
    functions = (
        functools.partial(pillow_views.strong, rng=rng),
        functools.partial(pillow_views.sim, rng=rng),
        functools.partial(pillow_views.sim, rng=rng, blurred=0.5),
    )
    return dict(zip(VIEWS, functions, strict=True))


def torchvision(side: int) -> dict[str, Callable]:
    """The same by torchvision, whose transforms have no Cutout of one square: that is Pillow's.

    Args:
      side: of the images, in pixels.

    Returns:
      Views of a Pillow image by name; none if torchvision is not installed.
    """
    try:
        from torchvision import transforms
    except ImportError:
        return {}
    rng = random.Random(0)
    sim = [
        transforms.RandomResizedCrop(side, scale=(0.08, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
        transforms.RandomGrayscale(0.2),
    ]
    # SimCLR's kernel, a tenth of the image, made odd.
    blur = transforms.GaussianBlur(max(3, side // 10 // 2 * 2 + 1), (0.1, 2.0))
    functions = (
        transforms.Compose(
            [
                transforms.RandomCrop(side, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10),
                lambda image: pillow_views.cutout(image, rng, 16),
            ]
        ),
        transforms.Compose(sim),
        transforms.Compose([*sim, transforms.RandomApply([blur], 0.5)]),
    )
    return dict(zip(VIEWS, functions, strict=True))


def by_image(view: Callable, images: np.ndarray) -> np.ndarray:
    """Applies a view of a Pillow image to every image of a batch [B, H, W, 3]."""
    return np.stack([np.asarray(view(Image.fromarray(image))) for image in images])


def main(argv: Sequence[str] | None = None) -> None:
    """Prints one row a view and implementation."""
    flags = parser(__doc__, "augment")
    flags.add_argument("--batch", type=int, default=128, help="images (default: %(default)s)")
    flags.add_argument("--calls", type=int, default=10, help="batches of ours in one timing")
    flags.add_argument("--side", type=int, default=32, help="in pixels (default: %(default)s)")
    flags.add_argument("--views", nargs="+", choices=VIEWS, default=VIEWS)
    options = flags.parse_args(argv)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (options.batch, options.side, options.side, 3), np.uint8)
    keys = list(jax.random.split(jax.random.key(0), options.calls))
    on_device = jax.device_put(images)

    by_ours, by_pillow, by_torchvision = ours(), pillow(), torchvision(options.side)
    rows = []
    for name in options.views:
        functions = {
            "ours": lambda view=by_ours[name]: [view(on_device, key) for key in keys],
            "Pillow": functools.partial(by_image, by_pillow[name], images),
        }
        if by_torchvision:
            functions["torchvision"] = functools.partial(by_image, by_torchvision[name], images)
        found = in_turn(functions, options.repeats)
        found["ours"] /= options.calls
        rows += [_row(name, by, options.batch / found[by], found) for by in found]
        if not by_torchvision:
            rows.append(_row(name, "torchvision, which is not installed", None, found))
    report(rows, {"batch": options.batch, "side": options.side}, options.json)


def _row(view: str, by: str, rate: float | None, found: dict[str, float]) -> dict[str, Any]:
    ratio = found[by] / found["ours"] if by in found else None
    return {"view": view, "by": by, "views/s": rate, "times faster by ours": ratio}


if __name__ == "__main__":
    main()
