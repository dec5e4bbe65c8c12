"""Whether BCCL's settings agree with each other and with the length of a run."""

import dataclasses

from bccl_jax.errors import ConfigError
from bccl_jax.methods.base import Method
from bccl_jax.methods.shared.readings import misnamed


def check_agreement(method: Method, epochs: int) -> None:
    """Checks what no bound of a single setting can say.

    Args:
      method: BCCL with its settings.
      epochs: length of the run.

    Raises:
      ConfigError: two settings contradict each other, or one would have no effect.
    """
    if not any(method.weights):
        raise ConfigError(
            f"config.method.preset and the weights beside it are {method.weights}, so that "
            "nothing would be trained; raise one of config.method.weight_contrastive, "
            "config.method.weight_centroid and config.method.weight_classification"
        )
    if method.num_centroids > method.queue_size:
        raise ConfigError(
            f"config.method.num_centroids is {method.num_centroids}, more than the "
            f"{method.queue_size} embeddings of a queue; lower it or raise "
            "config.method.queue_size"
        )
    if method.split_classes and method.clustering != "kmeans":
        raise ConfigError(
            f"config.method.clustering is {method.clustering!r}, which needs all queues in one "
            'place; take "kmeans" or set config.method.split_classes to False'
        )
    if other := misnamed(method.preset, dataclasses.asdict(method)):
        raise ConfigError(
            f"config.method.preset is {method.preset!r} but the settings beside it are those of "
            f"{other!r}, which the config's argument chooses, as in "
            "--config=cifar100_lt:bccl,released; of itself the key changes the "
            "weights alone"
        )
    if method.one_view_counts and not method.class_average:
        raise ConfigError(
            "config.method.one_view_counts is True but config.method.class_average is not, so "
            "that nothing is averaged; set both or neither"
        )
    if method.one_view_counts and method.contrasted != 2:
        raise ConfigError(
            "config.method.one_view_counts is True, which is for two contrasted views, but "
            f"config.method.view_set is {method.view_set!r}; choose another view_set, or False"
        )
    if (method.temperature_start is None) != (method.temperature_epochs == 0):
        raise ConfigError(
            f"config.method.temperature_start is {method.temperature_start} and "
            f"config.method.temperature_epochs {method.temperature_epochs}; set both or neither"
        )
    for name in ("temperature_epochs", "contrastive_ramp_epochs"):
        if getattr(method, name) > epochs:
            raise ConfigError(
                f"config.method.{name} is {getattr(method, name)} in a run of {epochs} epochs, "
                "so that its end is never reached; lower it or raise config.epochs"
            )
    if method.refresh_twice and method.refresh_epochs == 1:
        raise ConfigError(
            "config.method.refresh_twice is True but config.method.refresh_epochs is 1, so "
            "that every epoch is clustered already; set the first to False"
        )
    usual = method.centroids_on_sphere and method.kmeans_start == "plus_plus"
    if method.clustering != "kmeans" and not usual:
        raise ConfigError(
            f"config.method.clustering is {method.clustering!r}, whose centroids are always on "
            "the sphere; set config.method.centroids_on_sphere to True and "
            "config.method.kmeans_start to 'plus_plus'"
        )
    first = method.warmup_epochs or method.refresh_epochs
    if first >= epochs:
        raise ConfigError(
            f"config.method.warmup_epochs is {method.warmup_epochs} and "
            f"config.method.refresh_epochs {method.refresh_epochs} in a run of {epochs} epochs, "
            "so that no centroid would ever be used; lower them or raise config.epochs"
        )
