import pytest

from bccl_jax import config as default
from bccl_jax.config.sizing import sized
from tests.tiny import shipped_config


def numbers(config):
    optimizer = config.optimizer
    warmups = (optimizer.warmup_epochs, config.method.warmup_epochs)
    return config.batch_size, config.epochs, optimizer.learning_rate, *warmups


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (3, (3, 200, 0.1 * 3 / 128, 5, 20)),
        (33, (8, 200, 0.1 * 8 / 128, 5, 20)),
        (646, (32, 200, 0.025, 5, 20)),
        (10_847, (128, 184, 0.1, 5, 18)),
        (115_846, (128, 100, 0.1, 5, 10)),
    ],
)
def test_a_folder_is_sized_to_its_images(images, expected):
    config = shipped_config("folder")
    assert numbers(sized(config, images)) == pytest.approx(expected)
    # The config that was asked for is left as it is.
    assert numbers(config) == (0, 0, 0.0, -1, -1)


def test_what_is_said_is_kept_and_warm_ups_end_within_a_short_run():
    config = shipped_config("folder")
    config.epochs = 3
    config.optimizer.learning_rate = 0.7
    assert numbers(sized(config, 646)) == (32, 3, 0.7, 0, 1)


def test_adamw_has_a_smaller_learning_rate_where_the_batch_decides_it():
    config = shipped_config("folder")
    config.optimizer.name = "adamw"
    assert sized(config, 646).optimizer.learning_rate == pytest.approx(0.001 * 32 / 128)


def test_the_evaluation_crop_keeps_the_proportion_of_imagenets():
    for name, expected in (("imagenet_lt", 256), ("tiny_imagenet_lt", 64), ("folder", 256)):
        assert sized(shipped_config(name), 5000).augment.eval_resize == expected
    config = shipped_config("folder")
    config.augment.size = 32
    assert sized(config, 5000).augment.eval_resize == 37


def test_a_config_without_gaps_is_itself():
    config = default.get_config()
    assert sized(config, 5000) is config
