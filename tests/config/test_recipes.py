"""The numbers that recipes take from elsewhere, each written out as its source has it."""

import pytest

from bccl_jax.config import recipes
from bccl_jax.errors import ConfigError
from tests.tiny import shipped_config

# Channel means and standard deviations: the CIFAR recipes of the field (CIFAR-10's, for CIFAR-100
# too), torchvision's for ImageNet, BCL's for iNaturalist.
CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INATURALIST = (0.466, 0.471, 0.380), (0.195, 0.194, 0.192)


@pytest.mark.parametrize(
    ("name", "colors"),
    [
        ("cifar10_lt", CIFAR),
        ("cifar100_lt", CIFAR),
        ("cifar100_middle", CIFAR),
        ("cifar100_small", CIFAR),
        ("imagenet_lt", IMAGENET),
        ("places_lt", IMAGENET),
        ("tiny_imagenet_lt", IMAGENET),
        ("folder", IMAGENET),
        ("inaturalist2018", INATURALIST),
    ],
)
def test_colours_are_normalised_as_the_recipe_says(name, colors):
    augment = shipped_config(name).augment
    assert (augment.mean, augment.std) == colors


def test_cifar_views_are_the_recipes():
    augment = shipped_config("cifar100_lt").augment
    assert augment.strong.to_dict() == {
        "crop": "padded",
        "crop_padding": 4,
        "scale": (0.08, 1.0),
        "ratio": (3 / 4, 4 / 3),
        "flip": True,
        "jitter": (0.0, 0.0, 0.0, 0.0),
        "policy": "autoaugment_cifar10",
        "num_ops": 2,
        "magnitude": 10.0,
        "magnitude_std": 0.5,
        "fill": (128, 128, 128),
        "cutout": 16,
    }
    assert augment.sim.to_dict() == {
        "scale": (0.08, 1.0),
        "ratio": (3 / 4, 4 / 3),
        "flip": True,
        "jitter": (0.4, 0.4, 0.4, 0.1),
        "jitter_prob": 0.8,
        "grayscale_prob": 0.2,
        "blur_prob": 0.0,
        "blur_sigma": (0.1, 2.0),
    }


@pytest.mark.parametrize("name", ["imagenet_lt", "inaturalist2018", "places_lt"])
def test_views_of_photographs_are_the_recipes(name):
    augment = shipped_config(name).augment
    strong = augment.strong.to_dict()
    assert (strong["crop"], strong["scale"], strong["ratio"]) == (
        "resized",
        (0.08, 1.0),
        (3 / 4, 4 / 3),
    )
    assert (strong["flip"], strong["jitter"], strong["cutout"]) == (True, (0.4, 0.4, 0.4, 0.0), 0)
    # rand-n2-m10-mstd0.5 on the mean colour of ImageNet.
    assert (strong["policy"], strong["num_ops"]) == ("randaugment", 2)
    assert (strong["magnitude"], strong["magnitude_std"]) == (10.0, 0.5)
    assert strong["fill"] == (124, 116, 104)
    assert augment.sim.to_dict() == shipped_config("cifar100_lt").augment.sim.to_dict()


@pytest.mark.parametrize("name", ["imagenet_lt", "folder", "tiny_imagenet_lt"])
@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("cross_entropy,bccl", "'cross_entropy' and 'bccl' are two methods"),
        ("resnet50,resnext50", "'resnet50' and 'resnext50' are two backbones"),
        ("cross_entropy,resnext50,bccl", "'cross_entropy' and 'bccl' are two methods"),
    ],
)
def test_two_of_a_kind_are_refused(name, variant, message):
    with pytest.raises(ConfigError, match=message):
        shipped_config(name, variant)


@pytest.mark.parametrize("name", ["digits_lt", "cifar10_lt", "cifar100_lt", "cifar100_small"])
@pytest.mark.parametrize("variant", ["cross_entropy,bccl", "bccl,resnet32"])
def test_a_config_of_a_method_alone_takes_one(name, variant):
    with pytest.raises(ConfigError, match="several things where one method is due.*backbone by"):
        shipped_config(name, variant)


@pytest.mark.parametrize("variant", ["resnext50,cross_entropy", " cross_entropy, resnext50"])
def test_a_method_and_a_backbone_come_in_any_order(variant):
    config = recipes.photographs(variant)
    assert (config.method.name, config.model.backbone) == ("cross_entropy", "resnext50")
