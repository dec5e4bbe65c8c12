"""Real handwritten digits made long-tailed: all of BCCL in two minutes on two CPU cores.

scikit-learn's 1,797 digits of 8x8 pixels; the training split has 100 images of the digit 0 down to
5 of the digit 9. Nothing is downloaded. The figures of five seeds are in docs/results.md.

    python -m bccl_jax.main --config=digits_lt
    python -m bccl_jax.main --config=digits_lt:cross_entropy
    python -m bccl_jax.main --config=digits_lt:logit_adjustment
"""

from bccl_jax import config as default


def get_config(method="bccl"):
    """Returns the config with the settings of `method`."""
    config = default.get_config(method)
    config.data.name = "digits"
    config.data.imbalance = 20.0
    config.epochs = 100
    config.batch_size = 64
    config.model.backbone = "resnet8"

    config.augment.mean = (0.305, 0.305, 0.305)
    config.augment.std = (0.376, 0.376, 0.376)
    # A mirrored or recoloured digit is another sign, so that the strong view is crop and Cutout.
    config.augment.strong.crop_padding = 1
    config.augment.strong.flip = False
    config.augment.strong.policy = "none"
    config.augment.strong.cutout = 2
    config.augment.sim.flip = False
    config.augment.sim.scale = (0.5, 1.0)
    config.augment.sim.jitter = (0.4, 0.4, 0.0, 0.0)
    config.augment.sim.grayscale_prob = 0.0

    config.optimizer.learning_rate = 0.1
    config.eval.every_epochs = 10
    config.eval.batch_size = 400
    config.eval.many_above = 50
    config.checkpoint.every_epochs = 10
    # A batch of keys, and a momentum copy that follows within a fifth of the run's 500 steps.
    smaller = {"projector_hidden": 128, "projector_dim": 64, "queue_size": 64, "momentum": 0.99}
    own = config.method
    own.update({key: min(value, own[key]) for key, value in smaller.items() if key in own})
    return config
