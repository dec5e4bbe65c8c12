"""What of a run follows its number of epochs: where nothing does, it can go on for more of them."""

import dataclasses
from collections.abc import Iterable

import jax
import ml_collections
import numpy as np

from bccl_jax import methods
from bccl_jax.config.flattening import flatten
from bccl_jax.config.sizing import sized, stage_config
from bccl_jax.data.sampling import PROGRESSIVE
from bccl_jax.data.subset import BalancedSubset, trained_counts
from bccl_jax.methods.base import Context, Method, scheduled
from bccl_jax.optimization.schedule import FOLLOWING

# Classes that a method is asked about: what its state has of the epochs is the same for all.
_FEW = 4


def following(
    config: ml_collections.ConfigDict, longer: ml_collections.ConfigDict, class_counts: np.ndarray
) -> list[str]:
    """What would have been otherwise in the epochs of a run if it had been given more of them.

    Without any of it a run that goes on is, bit for bit, one that was given them from the start.

    Args:
      config: of the run, validated.
      longer: the same but for more `epochs`, validated.
      class_counts: int [K], training images of each class.

    Returns:
      Nouns, such as "its cosine learning rate"; empty where it can go on.
    """
    now, then = (sized(each, int(class_counts.sum())) for each in (config, longer))
    keys, others = flatten(now), flatten(then)
    found = [f"its config.{k}" for k in sorted(keys) if k != "epochs" and keys[k] != others[k]]
    method = methods.create(now.method)
    stages, more = method.stages(now.epochs), method.stages(then.epochs)
    last = scheduled(stages)[-1]
    if _but_for_the_end(stages) != _but_for_the_end(more):
        found.append(f"the stages of {now.method.name}")
    schedule = stage_config(now, last).optimizer.schedule
    if schedule in FOLLOWING:
        found.append(f"its {schedule} learning rate")
    if PROGRESSIVE in _samplers(last.sampler or now.data.sampler, method):
        found.append(f"its {PROGRESSIVE} sampler")
    if _state_follows(
        method, trained_counts(class_counts, method.streams), now.epochs, then.epochs
    ):
        found.append(f"the state of {now.method.name}")
    ended = range(1, now.epochs + 1)
    if any(method.refresh_due(e, now.epochs) != method.refresh_due(e, then.epochs) for e in ended):
        found.append(f"when {now.method.name} renews its state")
    return found


def _but_for_the_end(stages) -> tuple:
    return (*stages[:-1], dataclasses.replace(stages[-1], epochs=0))


def _samplers(first: str, method: Method) -> Iterable[str]:
    sources = method.streams
    return {first} | {s.sampler if isinstance(s, BalancedSubset) else s for s in sources}


def _state_follows(method: Method, counts: np.ndarray, epochs: int, more: int) -> bool:
    """Whether the method's own state at the start is another one for more epochs."""
    one, other = (
        jax.tree.leaves(
            method.init(jax.random.key(0), Context(counts[:_FEW], number, np.dtype("float32")))
        )
        for number in (epochs, more)
    )
    return not all(map(_same, one, other))


def _same(one: jax.Array, other: jax.Array) -> bool:
    if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
        one, other = jax.random.key_data(one), jax.random.key_data(other)
    return np.array_equal(one, other, equal_nan=bool(np.issubdtype(one.dtype, np.floating)))
