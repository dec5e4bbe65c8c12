"""What of the comparison needs no PyTorch."""

import argparse
import sys

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from bccl_jax.augment.views import normalize
from bccl_jax.config import views as config_views
from bccl_jax.data.sources import DATASETS
from bccl_jax.models import BACKBONES
from benchmarks.torch_twin import __main__ as comparison
from benchmarks.torch_twin import jax_side
from benchmarks.torch_twin.turns import Side


def test_ratios_are_of_speeds_and_stand_where_both_were_timed():
    parts = ["project-ready", "twin-ready-eager", "twin-ready-compiled", "twin-end-to-end-eager"]
    args = argparse.Namespace(parts=parts, batch=10)
    seconds = {"project-ready": 0.5, "twin-ready-eager": 1.0, "twin-end-to-end-eager": 2.0}
    rows = comparison.rows(args, seconds)
    assert [row["project / twin"] for row in rows] == [None, 2.0, None, None]
    assert [row["views/s"] for row in rows] == [60.0, 30.0, None, 15.0]
    assert [row["side"] for row in rows] == ["project", "twin eager", "twin compiled", "twin eager"]
    assert [row["feeding"] for row in rows] == ["ready", "ready", "ready", "end-to-end"]


def test_random_images_have_the_long_tailed_counts_of_cifar():
    args = argparse.Namespace(data_dir=None, classes=100)
    images, labels = comparison.training_split(args)
    counts = np.bincount(labels)
    assert (len(images), counts[0], counts[-1]) == (10_847, 500, 5)
    assert images.shape[1:] == (32, 32, 3)


class Means(nn.Module):
    """A backbone that compiles in no time."""

    dtype: jnp.dtype

    def __call__(self, images, train):
        return images.mean((1, 2))


def plain_views(images, key, names, mean, std, dtype, **_):
    """Views that compile in no time."""
    return len(names) * (normalize(images, mean, std, dtype),)


def test_the_project_is_timed_on_ready_views_and_by_its_own_engine(rng, tmp_path, monkeypatch):
    labels = np.repeat(np.arange(3, dtype=np.int32), [8, 4, 2])
    images = rng.integers(0, 256, (len(labels), 32, 32, 3), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    settings = {
        "data": str(tmp_path / "data.npz"),
        "backbone": "means",
        "batch": 4,
        "steps": 1,
        "dtype": "float32",
        "learning_rate": 0.01,
    }
    monkeypatch.setitem(BACKBONES, "means", Means)
    monkeypatch.setattr(config_views, "make_views", plain_views)
    monkeypatch.setitem(DATASETS, "given", {})  # which takes out again what is set there
    description, parts = jax_side.build(settings)
    assert description == {"platform": "cpu"}
    for part in ("project-ready", "project-end-to-end"):
        assert parts[part]() > 0


@pytest.mark.parametrize("python", ["no/such/python", sys.executable])
def test_a_side_that_cannot_answer_ends_in_one_sentence(python):
    with pytest.raises(SystemExit, match="error: .*(cannot be run|ended)"):
        Side(python, "no_such_module", {})
