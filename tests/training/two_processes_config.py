"""The digits config shrunk to two layers, which compile at once, and no picture."""

from bccl_jax.models import BACKBONES
from bccl_jax.training import results
from tests.tiny import tiny_config
from tests.training.conftest import TwoLayers


def get_config():
    BACKBONES["two_layers"] = TwoLayers
    results.save_report = lambda *args: None
    config = tiny_config().unlock()
    config.model.backbone = "two_layers"
    config.epochs = 5
    config.eval.every_epochs = 3
    return config
