"""A run whose config.json is older than a key goes on, and keeps its name."""

import json

import pytest

from bccl_jax.config import flatten, get_config
from bccl_jax.errors import WorkdirError
from bccl_jax.workdir.directory import Workdir
from experiments.designing.hashing import hash_of

FREE = ("train_folder", "test_folder", "validation_folder")
FREE += ("path_column", "label_column", "split_column")


@pytest.fixture
def older(tmp_path):
    """The directory of a run that knew neither a ground nor folders of splits."""
    run = tmp_path / "run"
    run.mkdir()
    saved = flatten(get_config())
    for key in ("data.background", *(f"data.{key}" for key in FREE)):
        del saved[key]
    (run / "config.json").write_text(json.dumps(saved))
    (run / "metrics.jsonl").write_text("a record\n")
    return Workdir(run)


def test_a_key_that_is_missing_there_has_its_default(older):
    assert older.check(get_config())


def test_another_value_of_it_is_another_run(older):
    config = get_config()
    config.data.background = (0, 0, 0)
    message = r"data\.background is \[255, 255, 255\] there and \[0, 0, 0\] here"
    with pytest.raises(WorkdirError, match=message):
        older.check(config)
    with pytest.raises(WorkdirError, match=message):
        older.check(config, evaluating=True)


@pytest.mark.parametrize("key", FREE)
def test_where_the_data_lies_may_differ(older, key):
    """What the images are is compared by themselves."""
    config = get_config()
    config.data[key] = "elsewhere"
    assert older.check(config)


def test_published_hashes_stay_as_they_were():
    flat = flatten(get_config())
    known = {k: v for k, v in flat.items() if k != "data.background"}
    assert hash_of(flat) == hash_of(known)
    assert hash_of(flat | {"data.background": [0, 0, 0]}) != hash_of(known)
