"""What the engine computes for a method between epochs; compiled once for the run."""

import functools
from collections.abc import Callable, Hashable, Mapping

import jax
import numpy as np

from bccl_jax.augment.outside import taken
from bccl_jax.augment.views import view_names
from bccl_jax.data.split import Split
from bccl_jax.errors import ConfigError
from bccl_jax.evaluation.passes import PLAIN, make_pass
from bccl_jax.methods.base import Between, Passed
from bccl_jax.models.forward import plain_features
from bccl_jax.settings.bounds import shown
from bccl_jax.settings.suggestions import did_you_mean, nearest
from bccl_jax.training.assemble import Run
from bccl_jax.training.sameness import sameness
from bccl_jax.training.state import TrainState


class Passes:
    """The passes of one run's method over images.

    Args:
      run: the run.
    """

    def __init__(self, run: Run):
        self._run = run
        self._compiled: dict[Hashable, Callable] = {}

    def between(self, state: TrainState, epoch: int) -> Between:
        """What the method may look at after so many epochs, the last of which left the state."""
        compute = functools.partial(self._compute, state)

        def features(role):
            found = compute(_features, role)
            return found.outputs, found.labels

        def labels(role):
            return self._split(role).labels

        epochs = self._run.config.epochs
        return Between(epoch, epochs, state.params, features, compute, labels)

    @functools.cached_property
    def _splits(self) -> dict[str, Split]:
        run, splits = self._run, self._run.dataset.by_role
        if len(run.order.held_out):
            train = run.dataset.train
            splits = splits | {
                "train": train.take(run.order.trained),
                "held_out": train.take(run.order.held_out),
            }
        return splits

    def _split(self, role: str) -> Split:
        if role not in self._splits:
            raise ConfigError(f"{self._run.config.data.name} has no {role} split")
        return self._splits[role]

    def _compute(
        self,
        state: TrainState,
        forward: Callable,
        role: str = "train",
        *,
        view: str = PLAIN,
        indices: np.ndarray | None = None,
        key: jax.Array | None = None,
        inputs: Mapping[str, np.ndarray] | None = None,
        on_device: bool = False,
    ) -> Passed:
        """See `methods.base.Compute`."""
        split = chosen = self._split(role)
        if indices is None:
            indices = np.arange(len(split))
        else:
            indices = self._checked(indices, role, len(split))
            chosen = split.take(indices)
        self._check_view(view, key, inputs or {}, len(chosen))
        run = self._compile(forward, view)
        outputs, decoded = run(
            state, chosen, of=len(split), key=key, inputs=inputs, on_device=on_device
        )
        return Passed(outputs, chosen.labels[decoded], indices[decoded])

    def _compile(self, forward: Callable, view: str) -> Callable:
        """One program for each forward function and view, however often it is asked for."""
        try:
            which = sameness(forward), view
        except TypeError as error:
            raise ConfigError(
                f"{self._who} computes by a function that is bound to a {error}, so that it would "
                "be compiled anew each time; what changes belongs into the method's state, which "
                "the function is given"
            ) from None
        if which not in self._compiled:
            self._compiled[which] = make_pass(self._run.classifier, forward, view)
        return self._compiled[which]

    def _checked(self, indices: np.ndarray, role: str, images: int) -> np.ndarray:
        found = np.asarray(indices)
        whole = np.issubdtype(found.dtype, np.integer) and found.ndim == 1 and len(found)
        if not whole or found.min() < 0 or found.max() >= images:
            raise ConfigError(
                f"{self._who} asks for the images {shown(found.tolist())} of the {role} split; "
                f"name them by whole numbers from 0 to {images - 1}, at least one"
            )
        return found.astype(np.int64)

    def _check_view(
        self, view: str, key: jax.Array | None, inputs: Mapping[str, np.ndarray], images: int
    ) -> None:
        known = view_names()
        if view not in known:
            raise ConfigError(
                f"{self._who} asks for the view {shown(view)}; there are {', '.join(known)}"
                f"{did_you_mean(nearest(view, known))}"
            )
        if view != PLAIN and key is None:
            raise ConfigError(
                f"{self._who} computes under the view {view!r} without a key, which decides what "
                "it draws; hand over one that was made of refresh's, as jax.random.fold_in(key, 1)"
            )
        for name, array in inputs.items():
            if name not in taken(view) or np.shape(array)[:1] != (images,):
                takes = ", ".join(taken(view)) or "nothing beside images and key"
                raise ConfigError(
                    f"{self._who} gives the view {view!r} {name!r} of the shape "
                    f"{list(np.shape(array))} for {images} images; it takes {takes}, a row for "
                    "each image"
                )

    @property
    def _who(self) -> str:
        return f"config.method.name is {self._run.config.method.name!r}, which between epochs"


def _features(apply, params, images, state):
    del state
    return apply(params, plain_features, images)[0]
