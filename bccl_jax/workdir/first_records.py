"""What a new run's directory says of it, by the names of its records."""

import ml_collections

from bccl_jax.config.flattening import flatten
from bccl_jax.config.places import places
from bccl_jax.config.remembering import remembered
from bccl_jax.config.sizing import image_shape
from bccl_jax.data.split import Dataset
from bccl_jax.workdir import identity


def first_records(
    config: ml_collections.ConfigDict, sized: ml_collections.ConfigDict, dataset: Dataset
) -> dict[str, dict | list]:
    """The JSON values of the records of a run, in the order in which they are to be written.

    Args:
      config: what was asked for.
      sized: the same with what follows the size of the data filled in.
      dataset: of the run.
    """
    return {
        "classes": identity.class_table(dataset),
        "splits": identity.digests(dataset),
        "image_shape": list(image_shape(sized, dataset.train)),
        "inputs": {"photographs": dataset.train.encoded},
        "sized": remembered(sized),
        "places": places(flatten(config)),
        # The last one: it is what makes a directory that of a run.
        "config": remembered(config),
    }
