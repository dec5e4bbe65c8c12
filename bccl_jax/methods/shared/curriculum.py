"""What CUDA adds to the class of another method; `methods/cuda.py` tells how it works."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from bccl_jax.augment.curriculum import LEVELS
from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Between
from bccl_jax.methods.shared.levels import draw_tests, next_levels, positions
from bccl_jax.settings.bounds import Real, Whole, shown

# By the options of the authors' code, its schedules and the commands of its README, which has a
# command of balanced softmax on CIFAR-100-LT, with Cutout, of LDAM-DRW on ImageNet-LT and of
# cross-entropy on iNaturalist 2018. With a contrast both have ColorJitter.
_EITHER = {
    "optimizer.learning_rate": 0.1,
    "optimizer.weight_decay": 2e-4,
    "optimizer.warmup_epochs": 5,
    "optimizer.schedule": "step",
    "augment.strong.policy": "none",
}
CIFAR = _EITHER | {
    "epochs": 200,
    "batch_size": 128,
    "optimizer.step_epochs": (160, 180),
    "optimizer.step_factor": 0.01,
}
PHOTOGRAPHS = _EITHER | {
    "epochs": 100,
    "batch_size": 256,
    "optimizer.step_epochs": (60, 80),
    "optimizer.step_factor": 0.1,
}
INATURALIST = PHOTOGRAPHS | {"batch_size": 512}
_NO_JITTER = {"augment.strong.jitter": (0.0, 0.0, 0.0, 0.0)}

# Tells what the tests draw from what the method below does.
_TESTS = 0x7E575


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """What CUDA adds to the method whose class follows it in a list of bases.

    It is no `base.Method` by itself, or its settings would stand before those of that method.

    Attributes:
      curriculum_probability: that an image is augmented by the level of its class.
      curriculum_accept: share of a class's tested images that has to be exceeded at every level,
        so that the class rises; 1 keeps all classes at level 0.
      curriculum_images: tested images of a class at level 0; level s has s + 1 times as many.
      curriculum_epochs: epochs between two tests.
    """

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cifar": CIFAR,
        "photographs": PHOTOGRAPHS,
        "inaturalist2018": INATURALIST | _NO_JITTER,
    }

    curriculum_probability: Annotated[float, Real(0, 1)] = 0.5
    curriculum_accept: Annotated[float, Real(0, 1)] = 0.6
    curriculum_images: Annotated[int, Whole(1, 100_000)] = 10
    curriculum_epochs: Annotated[int, Whole(1, 1_000_000)] = 1

    @property
    def views(self):
        """See `base.Method.views`."""
        first, *others = super().views
        return ("curriculum" if first == "strong" else first, *others)

    def validate(self, epochs):
        """See `base.Method.validate`."""
        super().validate(epochs)
        if self.views[0] != "curriculum":
            raise ConfigError(
                f"config.method.view_set is {shown(self.view_set)}, whose classified view is no "
                "strong one, but the curriculum is one of strong views; write 'strong+sim'"
            )

    def init(self, key, context):
        """Returns {"levels": int32 [K], "base": the state of the method below}."""
        levels = jnp.zeros(context.num_classes, jnp.int32)
        return {"levels": levels, "base": super().init(key, context)}

    def follow(self, state, params, first=False):
        """See `base.Method.follow`."""
        return state | {"base": super().follow(state["base"], params, first)}

    def split_over_classes(self, state):
        """See `base.Method.split_over_classes`."""
        return {"levels": False, "base": super().split_over_classes(state["base"])}

    def view_inputs(self, state, labels):
        """Level and chance of each image; see `base.Method.view_inputs`."""
        chance = jnp.full(labels.shape, self.curriculum_probability, jnp.float32)
        own = {"level": state["levels"][labels], "chance": chance}
        return {**super().view_inputs(state["base"], labels), **own}

    def loss(self, apply, params, batch, state, key, progress):
        """The loss of the method below; see `base.Method.loss`."""
        loss, (metrics, base, batch_stats) = super().loss(
            apply, params, batch, state["base"], key, progress
        )
        return loss, (metrics, state | {"base": base}, batch_stats)

    def logits(self, apply, params, images, state):
        """See `base.Method.logits`."""
        return super().logits(apply, params, images, state["base"])

    def refresh_due(self, epoch, epochs=0):
        """See `base.Method.refresh_due`."""
        return self._tests_due(epoch, epochs) or super().refresh_due(epoch, epochs)

    def _tests_due(self, epoch: int, epochs: int) -> bool:
        # After the last epoch no image is drawn any more.
        return epoch > 0 and epoch != epochs and epoch % self.curriculum_epochs == 0

    def refresh(self, state, key, between=None):
        """Lets the method below renew its state, and tests the levels where that is due."""
        base, report = state["base"], {}
        if super().refresh_due(between.epoch, between.epochs):
            base, report = super().refresh(base, key, between)
        state = state | {"base": base}
        if not self._tests_due(between.epoch, between.epochs):
            return state, report
        levels, told = self._tested(state, jax.random.fold_in(key, _TESTS), between)
        return state | {"levels": levels}, report | told

    def _tested(
        self, state: dict, key: jax.Array, between: Between
    ) -> tuple[jax.Array, dict[str, float]]:
        """The levels after a test, int32 [K], and what to log of them."""
        draw_key, view_key = jax.random.split(key)
        labels, levels = between.labels("train"), np.asarray(state["levels"])
        rng = np.random.default_rng(np.ravel(jax.random.key_data(draw_key)))
        indices, at = draw_tests(labels, levels, self.curriculum_images, rng)
        found = between.compute(
            self.predicted,
            view="curriculum",
            indices=indices,
            key=view_key,
            inputs={"level": at, "chance": np.ones(len(at), np.float32)},
        )
        # Without the photographs that cannot be decoded.
        at = at[positions(found.indices, indices)]
        correct, trials = np.zeros((2, len(levels), LEVELS + 1), np.int64)
        np.add.at(trials, (found.labels, at), 1)
        np.add.at(correct, (found.labels, at), found.outputs == found.labels)
        levels = next_levels(levels, correct, trials, self.curriculum_accept)
        told = {
            "level": float(levels.mean()),
            "level_of_images": float(levels[labels].mean()),
            "tested_images": len(found.labels),
        }
        at_level = np.bincount(levels, minlength=LEVELS + 1)
        told |= {f"classes_at_level_{level}": int(n) for level, n in enumerate(at_level)}
        return jnp.asarray(levels), told

    def predicted(self, apply, params, images, state):
        """The class of each image, int32 [B], by the method's logits."""
        return jnp.argmax(self.logits(apply, params, images, state), axis=-1)
