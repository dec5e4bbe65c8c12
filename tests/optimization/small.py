from bccl_jax import config as default


def settings(**changes):
    """Of twenty epochs, with a few keys of the optimizer changed."""
    config = default.get_config("cross_entropy")
    config.epochs = 20
    config.optimizer.update(changes)
    return config
