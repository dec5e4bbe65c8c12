"""A trained run in the hand: classes, probabilities, logits and features of any images."""

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from bccl_jax.classifier.features import features_of
from bccl_jax.classifier.image_classifier import inference
from bccl_jax.classifier.reading import Saved, read
from bccl_jax.devices.jax_settings import check_precision, usual
from bccl_jax.devices.mesh import replicated
from bccl_jax.devices.selftest import check_devices
from bccl_jax.errors import ConfigError, DataError, NonFiniteLossError
from bccl_jax.settings.bounds import Whole
from bccl_jax.system.names import shown
from bccl_jax.use.adjusting import factor_of, offset_of
from bccl_jax.use.given import Item, items_of
from bccl_jax.use.passes import compute
from bccl_jax.use.seeing import Sight

# Images of a batch, of photographs some gigabytes of activations.
_BATCH = 64
_SIZES = Whole(1, 2**20)


class Top(NamedTuple):
    """The most probable classes of images, some of which may be broken.

    Attributes:
      classes: int32 [n, k], of the n images that could be decoded, in their order; the most
        probable class first.
      probabilities: float32 [n, k].
      broken: the reason by the position, of the others.
    """

    classes: np.ndarray
    probabilities: np.ndarray
    broken: dict[int, str]


class Model:
    """What a run trained, ready to be used; made by `load`.

    Images are given as `predict` says. Threads may use one model at the same time.

    Args:
      saved: a checkpoint.
      batch_size: images that the devices have at a time, at most.

    Attributes:
      classes: names of the K classes, in the order of all outputs.
      config: of the run.
      results: figures that the run ended with, as its results.json has them: "last", "best",
        "best_epoch", "chosen_on" and the "step" of the last; empty for one that did not end.
      epoch: complete epochs that the weights were trained for.
    """

    def __init__(self, saved: Saved, batch_size: int = _BATCH, max_pixels: int | None = None):
        if not _SIZES.allows(batch_size):
            raise ConfigError(f"batch_size is {shown(repr(batch_size))}; it must be {_SIZES}")
        classifier = saved.classifier
        self._saved, self._batch_size = saved, int(batch_size)
        self._sight = Sight.of(saved, max_pixels)
        self._offsets: dict[str, np.ndarray] = {}
        self._features: dict[str | None, Callable] = {}
        self._logits = self._compiled(classifier.method.logits)
        self._softmax = jax.jit(lambda logits, offset: jax.nn.softmax(logits - offset[None, :]))
        self.classes: tuple[str, ...] = classifier.class_names
        self.config: ml_collections.ConfigDict = classifier.config
        self.results: dict[str, Any] = saved.results
        self.epoch: int = saved.epoch

    def __repr__(self):
        which, told = self._saved.which, f"epoch {self.epoch}"
        top1 = self.results.get(which, {}).get("top1")
        if self._saved.averaged:
            told += ", averaged"
        elif top1 is not None:
            told += f", top-1 {top1:.2f} %"
        which = f"{which} checkpoint" if which in ("last", "best") else f"step {which}"
        return (
            f"<{self.config.method.name} on {self.config.data.name}, {self.config.model.backbone}, "
            f"{len(self.classes)} classes, {which} ({told})>"
        )

    def predict(self, images: Any, *, adjust: float | None = None) -> np.ndarray:
        """The most probable class of each image.

        Args:
          images: the path of a file, of a folder or a pattern such as "photos/*.jpg"; the bytes of
            a file; an image of Pillow; an array [H, W] or [H, W, C] of one image or [N, H, W, C] of
            several, C being 1, 3 or 4; or a list of these. Any size will do: an array is treated
            as a file of these pixels would be. Its dtype says what is white: 255 in uint8, 1 in
            floating numbers, which lie from 0 to 1. Other integers, such as uint16, are refused.
          adjust: of post-hoc logit adjustment, how much of the log prior is taken from the logits;
            None for what the run was evaluated with, which is 0 unless it says so.

        Returns:
          Names of classes, [N].

        Raises:
          ConfigError: the loss has the prior in it already, so that adjusting would correct twice.
          DataError: an image is none, or cannot be decoded.
        """
        found = self.predict_proba(images, adjust=adjust).argmax(axis=-1)
        return np.array(self.classes)[found]

    def predict_proba(self, images: Any, *, adjust: float | None = None) -> np.ndarray:
        """The probability of each class, float32 [N, K]; see `predict`."""
        return self._all_of(images, self._probabilities(adjust))

    def logits(self, images: Any) -> np.ndarray:
        """The logits, float32 [N, K], not adjusted; see `predict`."""
        return self._all_of(images, self._logits)

    def embed(self, images: Any, *, head: str | None = None) -> np.ndarray:
        """Features of the network, float32 [N, D]; see `predict`.

        Args:
          images: as `predict` takes them.
          head: what is put on the backbone's features, such as "projector", of the methods that
            have one; None takes the features as they are.

        Raises:
          ConfigError: the method has no such head.
          DataError: an image is none, or cannot be decoded.
        """
        if head not in self._features:
            self._features[head] = self._compiled(features_of(self._saved.classifier, head))
        return self._all_of(images, self._features[head])

    def names(self, images: Any) -> list[str]:
        """What each image is called, in the order of all outputs: a path where there is one."""
        return [item.name for item in items_of(images)]

    def top(
        self,
        items: Sequence[Item],
        number: int,
        adjust: float | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> Top:
        """The most probable classes of images of which some may be broken.

        Args:
          items: of `given.items_of`.
          number: k, of classes; all where there are fewer.
          adjust: see `predict`.
          advance: called with the number of images that were done since the last call.

        Raises:
          ConfigError: see `predict`.
        """
        probabilities, number = self._probabilities(adjust), min(number, len(self.classes))

        def run(images):
            return jax.lax.top_k(probabilities(images), number)

        (found, classes), broken = self._over(items, run, advance)
        return Top(classes, found, broken)

    def _probabilities(self, adjust: float | None) -> Callable[[jax.Array], jax.Array]:
        offset = self._offset(adjust)
        return lambda images: self._softmax(self._logits(images), offset)

    @usual()
    def _over(
        self,
        items: Sequence[Item],
        run: Callable[[jax.Array], Any],
        advance: Callable[[int], None] | None = None,
    ) -> tuple[Any, dict[int, str]]:
        mesh = self._saved.classifier.mesh
        with jax.set_mesh(mesh):
            outputs, broken = compute(run, items, self._sight, mesh, self._batch_size, advance)
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(outputs)):
            raise NonFiniteLossError(
                f"the network's outputs are not finite, as its weights of epoch {self.epoch} may "
                "not be; take another checkpoint, or a run that ended well"
            )
        return outputs, broken

    def _all_of(self, images: Any, run: Callable[[jax.Array], jax.Array]) -> np.ndarray:
        items = items_of(images)
        outputs, broken = self._over(items, run)
        if broken:
            first = min(broken)
            raise DataError(
                f"{len(broken)} of {len(items)} images cannot be decoded, "
                f"{shown(items[first].name)} the first ({broken[first]}); take them out, or let "
                "python -m bccl_jax.predict skip and name them"
            )
        return outputs

    def _compiled(self, forward: Callable) -> Callable[[jax.Array], jax.Array]:
        """Images uint8 [B, H, W, 3] -> what `forward`, called as `Method.logits`, makes of them."""
        classifier, variables = self._saved.classifier, self._saved.variables

        @functools.partial(jax.jit, out_shardings=replicated(classifier.mesh))
        def compute_batch(variables, images):
            apply = inference(classifier.network, variables.batch_stats)
            images = classifier.normalize(images)
            return forward(apply, variables.params, images, variables.method)

        return functools.partial(compute_batch, variables)

    def _offset(self, adjust: float | None) -> np.ndarray:
        """What is taken from the logits, float32 [K]."""
        # Whatever was given has a text, also what cannot be.
        asked, classifier = repr(adjust), self._saved.classifier
        if asked not in self._offsets:
            self._offsets[asked] = offset_of(classifier, factor_of(classifier, adjust))
        return self._offsets[asked]


@usual()
def load(
    run: str | os.PathLike,
    checkpoint: str | int | None = None,
    *,
    average: bool = False,
    imports: Sequence[str] | None = None,
    batch_size: int = _BATCH,
    max_pixels: int | None = None,
) -> Model:
    """Loads what a run trained; no data set is needed.

    Args:
      run: the run's directory.
      checkpoint: "last", "best" or a step; None for the last one, whose figures are those to be
        reported: the best epoch is chosen on the test set, unless there is a validation split.
      average: whether the averaged weights of a run with `config.optimizer.ema` are taken.
      imports: files of one's own that register what the run was made with, in place of those that
        it remembers.
      batch_size: images that the devices have at a time, at most.
      max_pixels: a picture of more is taken for broken; None for `config.data.max_pixels` of the
        run.

    Returns:
      The model.

    Raises:
      ConfigError: the run's config cannot be used here.
      DeviceError: a device computes wrong.
      WorkdirError: there is no run, or no such checkpoint, or it is damaged, or it has no average.

    Examples:
      >>> model = load("runs/digits_lt")
      >>> model.classes
      ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
      >>> names = model.predict("new/*.png")
      >>> probabilities = model.predict_proba("new/*.png")
      >>> probabilities.shape, probabilities.dtype  # a row for each picture
      ((2, 10), dtype('float32'))
    """
    which = "last" if checkpoint is None else str(checkpoint)
    saved = read(run, which, average, imports=imports, to_predict=True)
    check_precision()
    check_devices(saved.classifier.mesh.local_devices)
    return Model(saved, batch_size, max_pixels)
