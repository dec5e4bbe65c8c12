"""What a method may look at between two epochs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np


class Passed(NamedTuple):
    """What a pass over images found; without the photographs that cannot be decoded.

    Attributes:
      outputs: what its forward function returns, arrays [n, ...] in the order of the indices: NumPy
        arrays, or arrays that every device has in whole.
      labels: int32 [n].
      indices: int64 [n], which images of the split these are.
    """

    outputs: Any
    labels: np.ndarray
    indices: np.ndarray


class Compute(Protocol):
    """A compiled pass over images of a split, with the network and the state as they are."""

    def __call__(
        self,
        forward: Callable,
        role: str = "train",
        *,
        view: str = "plain",
        indices: np.ndarray | None = None,
        key: jax.Array | None = None,
        inputs: Mapping[str, np.ndarray] | None = None,
        on_device: bool = False,
    ) -> Passed:
        """Computes something of images, batch by batch; the devices share each batch.

        It is compiled once for each forward function, view and split, whatever the epoch and the
        number of images. A function that is made anew at each call is the same one as long as what
        it closes over, or is bound to it, is equal.

        Args:
          forward: (apply, params, images, state) -> a pytree of arrays [B, ...], as `Method.logits`
            is one. `apply` runs in inference mode, images are normalised [B, H, W, 3] and the state
            is the method's own. It must look at each image alone, for a batch may be filled up.
          role: "train" for the images that the first stream is drawn from, "held_out" for those
            that it never has, or the name of another split.
          view: "plain" for images as they are, of photographs the central crop; else one of the
            views that a method may ask for. Of photographs the crop is that of the view.
          indices: int [n], which images of the split, in this order and as often as they are named;
            None for all.
          key: decides what the view draws; with the config it decides it alone, whatever the number
            of devices. Needed but for "plain".
          inputs: arrays [n, ...] that the view takes beside images and key, by name, such as a
            strength of each image; what is not given is what `Method.view_inputs` makes of the
            state.
          on_device: whether the arrays stay on the devices, where each has them in whole.

        Returns:
          What it found, the same in every process.

        Raises:
          ConfigError: there is no such split, view or image, no key, or not what the view takes; or
            the forward function is bound to an array, which belongs into the state.
          DataError: more photographs than `config.data.max_broken` allows cannot be decoded.
        """


class Between(NamedTuple):
    """What a method may look at between two epochs.

    Attributes:
      epoch: complete epochs.
      epochs: of the run. A refresh that is another one for more of them, at the same epochs, would
        make a run that goes on for more another one than was asked for.
      params: the network's parameters.
      features: (split name, or "train") -> (float32 [N, D], labels int32 [N]) of the backbone with
        running statistics over the images of a split as they are, on the host: the simplest of what
        `compute` computes. Raises ConfigError where the run has no such split.
      compute: a pass of the method's own over images, under a view of its choice.
      labels: (split name, as `compute` takes it) -> int32 [N], to choose images by.
    """

    epoch: int
    epochs: int
    params: Any
    features: Callable[[str], tuple[np.ndarray, np.ndarray]]
    compute: Compute | None = None
    labels: Callable[[str], np.ndarray] | None = None
