"""A run whose config.json is older than a key goes on, and keeps its name."""

import json

import pytest

from bccl_jax.config import flatten, get_config
from bccl_jax.errors import WorkdirError
from bccl_jax.workdir.directory import Workdir
from experiments.designing.hashing import hash_of

FREE = ("train_folder", "test_folder", "validation_folder")
# Of another kind: a picture above the limit is told as a broken one is.
LIMIT = "data.max_pixels"
FREE += ("path_column", "label_column", "split_column")
# And their values before there were keys for them.
OPTIMIZER = {"name": "sgd", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "clip_norm": 0.0}
OPTIMIZER |= {"ema": 0.0, "sam_rho": 0.0}
OTHERS = {"label_smoothing": 0.0}
OTHERS |= {"augment.mixup_alpha": 0.0, "augment.cutmix_alpha": 0.0, "augment.mix_probability": 1.0}


@pytest.fixture
def older(tmp_path):
    """The directory of a run that knew neither a ground, folders of splits nor AdamW."""
    run = tmp_path / "run"
    run.mkdir()
    saved = flatten(get_config())
    young = ("data.background", *OTHERS, *(f"data.{key}" for key in FREE))
    for key in (*young, LIMIT, *(f"optimizer.{key}" for key in OPTIMIZER)):
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


@pytest.mark.parametrize("change", [{"name": "adamw"}, {"clip_norm": 1.0}, {"ema": 0.9}])
def test_another_optimizer_is_another_run(older, change):
    config = get_config()
    config.optimizer.update(change)
    ((key, value),) = change.items()
    message = f"optimizer.{key} is {OPTIMIZER[key]!r} there and {value!r} here"
    with pytest.raises(WorkdirError, match=message):
        older.check(config)


@pytest.mark.parametrize("key", OTHERS)
def test_another_option_is_another_run(older, key):
    config = get_config()
    config.update_from_flattened_dict({key: 0.5})
    with pytest.raises(WorkdirError, match=f"{key} is {OTHERS[key]} there and 0.5 here"):
        older.check(config)


@pytest.mark.parametrize("key", FREE)
def test_where_the_data_lies_may_differ(older, key):
    """What the images are is compared by themselves."""
    config = get_config()
    config.data[key] = "elsewhere"
    assert older.check(config)


def test_the_limit_of_pixels_may_differ_and_is_in_no_hash(older):
    config = get_config()
    published = hash_of(flatten(config))
    config.data.max_pixels = 1000
    assert older.check(config)
    assert older.check(config, evaluating=True)
    before = {key: value for key, value in flatten(get_config()).items() if key != LIMIT}
    assert hash_of(flatten(config)) == published == hash_of(before)


def test_published_hashes_stay_as_they_were():
    flat = flatten(get_config())
    young = {"data.background", *OTHERS, *(f"optimizer.{key}" for key in OPTIMIZER)}
    known = {k: v for k, v in flat.items() if k not in young}
    assert hash_of(flat) == hash_of(known)
    assert hash_of(flat | {"data.background": [0, 0, 0]}) != hash_of(known)
    assert hash_of(flat | {"optimizer.name": "adamw"}) != hash_of(known)
