import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError
from tests.tiny import shipped_config

PHOTOGRAPHS = ["imagenet_lt", "inaturalist2018", "places_lt", "tiny_imagenet_lt", "folder"]


@pytest.mark.parametrize("name", ["digits_lt", "cifar10_lt", "cifar100_lt", *PHOTOGRAPHS])
@pytest.mark.parametrize("method", methods.names())
def test_every_shipped_config_is_valid_for_every_method(name, method):
    validate(shipped_config(name, method))


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_have_variants_by_the_configs_argument(name):
    config = shipped_config(name)
    assert (config.method.name, config.model.backbone) == ("bccl", "resnet50")
    assert config.data.name == name
    config = shipped_config(name, "resnext50,cross_entropy")
    assert (config.method.name, config.model.backbone) == ("cross_entropy", "resnext50")
    with pytest.raises(ConfigError, match="'resnet51' is neither a method nor a backbone"):
        shipped_config(name, "resnet51")


def test_imagenet_and_inaturalist_have_the_papers_recipe():
    for name, weight_decay in (("imagenet_lt", 5e-4), ("inaturalist2018", 1e-4)):
        config = shipped_config(name)
        assert (config.epochs, config.batch_size, config.augment.size) == (100, 128, 224)
        optimizer = config.optimizer
        assert (optimizer.learning_rate, optimizer.schedule) == (0.1, "cosine")
        assert (optimizer.warmup_epochs, optimizer.weight_decay) == (0, weight_decay)
        method = config.method
        assert (method.temperature, method.warmup_epochs, method.num_centroids) == (0.07, 10, 5)
        assert (method.projector_hidden, method.projector_dim) == (1024, 2048)
        assert (method.classifier, method.classifier_scale) == ("cosine", 30.0)
        strong = config.augment.strong
        assert (strong.crop, strong.scale, strong.cutout) == ("resized", (0.08, 1.0), 0)
        assert (strong.policy, strong.num_ops, strong.magnitude) == ("randaugment", 2, 10.0)


def test_the_default_is_the_papers_cifar_recipe():
    config = default.get_config()
    assert (config.epochs, config.batch_size, config.dtype) == (200, 128, "float32")
    assert config.optimizer.to_dict() == {
        "name": "sgd",
        "learning_rate": 0.15,
        "schedule": "cosine",
        "warmup_epochs": 5,
        "step_epochs": (160, 180),
        "step_factor": 0.1,
        "momentum": 0.9,
        "nesterov": False,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "clip_norm": 0.0,
        "ema": 0.0,
        "sam_rho": 0.0,
        "weight_decay": 5e-4,
        "decay_norm_and_bias": True,
    }
    assert config.method.warmup_epochs == 20
    assert (config.method.num_centroids, config.method.refresh_epochs) == (5, 5)
    assert (config.method.projector_hidden, config.method.projector_dim) == (512, 128)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dtype", "float16"),
        ("epochs", -1),
        ("batch_size", -3),
        ("data.name", "cifar1000"),
        ("data.source", "web"),
        ("data.imbalance", 0.5),
        ("data.imbalance", float("nan")),
        ("optimizer.learning_rate", float("inf")),
        ("eval.logit_adjustment", float("nan")),
        ("batch_size", 1),
        ("data.validation_fraction", 1.0),
        ("augment.strong.policy", "autoagument"),
        ("augment.strong.cutout", -1),
        ("augment.sim.scale", (0.5, 1.5)),
        ("augment.sim.scale", (0.9, 0.1)),
        ("augment.sim.jitter", (0.4, 0.4)),
        ("augment.strong.crop", "random"),
        ("augment.strong.scale", (0.5, 1.5)),
        ("augment.strong.fill", (128, 128)),
        ("augment.size", -1),
        ("accumulation", 3),
        ("accumulation", 128),
        ("devices", -1),
        ("data.workers", -2),
        ("data.max_broken", 1.5),
        ("data.test_fraction", 1.0),
        ("model.batch_norm", "local"),
        ("checkpoint.every_steps", -1),
        ("augment.sim.jitter_prob", 1.2),
        ("augment.std", (0.0, 0.1, 0.1)),
        ("model.backbone", "resnet31"),
        ("optimizer.schedule", "linear"),
        ("optimizer.warmup_epochs", 200),
        ("optimizer.momentum", 1.5),
        ("optimizer.name", "adam"),
        ("optimizer.beta2", 1.0),
        ("optimizer.epsilon", 0.0),
        ("optimizer.clip_norm", -1.0),
        ("eval.every_epochs", 0),
        ("eval.few_below", 200),
        ("method.name", "bcll"),
        ("method.classifier", "quadratic"),
        ("method.preset", "sec44"),
        ("method.temperature", 0.0),
        ("method.warmup_epochs", 200),
        ("method.num_centroids", 257),
        ("method.queue_size", 0),
        ("method.clustering", "dbscan"),
        ("method.queue_dtype", "float8"),
        ("method.class_chunk", -1),
    ],
)
def test_an_impossible_value_is_refused_by_its_key(key, value):
    config = default.get_config()
    with config.unlocked():
        config.update_from_flattened_dict({key: value})
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert f"config.{key}" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "key", "value", "usual", "other"),
    [
        ("adamw", "momentum", 0.8, 0.9, "sgd"),
        ("adamw", "nesterov", True, False, "sgd"),
        ("sgd", "beta1", 0.8, 0.9, "adamw"),
        ("sgd", "beta2", 0.99, 0.999, "adamw"),
        ("sgd", "epsilon", 1e-6, 1e-08, "adamw"),
    ],
)
def test_a_setting_of_the_other_optimizer_is_refused_with_the_mend(name, key, value, usual, other):
    config = default.get_config()
    config.optimizer.name = name
    validate(config)
    config.optimizer[key] = value
    message = (
        f"config.optimizer.{key} is {value}, but config.optimizer.name is '{name}', which has no "
        f"{key}; leave it at {usual}, or set config.optimizer.name to '{other}'"
    )
    with pytest.raises(ConfigError) as error:
        validate(config)
    assert str(error.value) == message
    config.optimizer.name = other
    validate(config)


def test_settings_of_another_method_are_refused_with_the_mend():
    config = default.get_config("bccl")
    config.method.name = "cross_entropy"
    with pytest.raises(ConfigError, match=r"--config=digits_lt:cross_entropy"):
        validate(config)


def test_a_setting_that_no_method_has_is_refused():
    with pytest.raises(ConfigError, match="'method.temprature'; did you mean config.method.temp"):
        methods.settings("bccl", temprature=0.1)


def test_flatten_gives_what_json_gives_back():
    flat = default.flatten(default.get_config())
    assert flat["augment.sim.scale"] == [0.08, 1.0]
    assert flat["method.weight_centroid"] is None
    assert flat["data.name"] == "cifar100"
