"""One small grid for every method, so that none wins by being tuned alone (`docs/bccl_plus.md`)."""

from bccl_jax import config as default
from bccl_jax import methods

from .design import Experiment, Row

# Each halved and doubled by itself.
_FACTORS = (0.5, 2.0)
_KEYS = {"learning rate": "optimizer.learning_rate", "weight decay": "optimizer.weight_decay"}
# What weighs a method's own loss against that of classification, by the name of the setting.
_WEIGHTS = (
    "weight_contrastive",
    "weight_consistency",
    "weight_class",
    "weight_robust",
    "alpha",
)


def _grid(method: str) -> list[Row]:
    own = methods.create(default.get_config(method).method)
    rows = [Row(method, method)]
    keys = dict(_KEYS)
    if weight := next((name for name in _WEIGHTS if getattr(own, name, None)), None):
        keys[weight] = f"method.{weight}"
    for what, key in keys.items():
        rows += [Row(f"{method}, {what} x {f:g}", method, scaled={key: f}) for f in _FACTORS]
    return rows


TUNING = Experiment(
    "Learning rate, weight decay and weight of every method, each halved and doubled",
    rows=tuple(row for method in methods.shipped() for row in _grid(method)),
    reference="cross_entropy",
    on_validation=True,
)
