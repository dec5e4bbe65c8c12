"""A run that was given relative paths is found again from any folder."""

import json

import numpy as np
import pytest

from bccl_jax.config import get_config
from bccl_jax.config.dataset import load_data
from bccl_jax.config.files import of_run
from bccl_jax.data.split import Dataset, Split
from bccl_jax.errors import ConfigError, DataError, WorkdirError
from bccl_jax.workdir.directory import Workdir

SPLIT = Split(np.zeros((2, 4, 4, 3), np.uint8), np.arange(2, dtype=np.int32), ("a", "b"))
DATASET = Dataset("mini", SPLIT, SPLIT)


def config_of(**changes):
    config = get_config("cross_entropy")
    config.update_from_flattened_dict({"data.dir": "photos", **changes})
    return config


def start(config):
    """A directory of a run that began here and has trained for a while."""
    directory = Workdir("runs/one")
    with directory.claimed(config, config, DATASET):
        directory.records.write_text('{"step": 7}\n')
    return directory


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder that the run is started in, with its data."""
    folder = tmp_path / "home"
    (folder / "photos").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def away(tmp_path, home):
    """Another one, which has data of the same name."""
    (tmp_path / "away" / "photos").mkdir(parents=True)
    return tmp_path / "away"


def test_paths_lead_where_they_led_from_any_folder(home, away, monkeypatch):
    (home / "lists").mkdir()
    directory = start(config_of(**{"data.lists": "lists"}))
    assert json.loads(directory.config.read_text())["data.dir"] == "photos"
    monkeypatch.chdir(away)
    config = of_run(directory.config)
    assert (config.data.dir, config.data.lists) == (str(home / "photos"), str(home / "lists"))
    assert directory.check(config)
    assert directory.check(config_of(), evaluating=True)


def test_a_project_that_moved_with_its_data_is_taken_as_it_lies_now(home, tmp_path, monkeypatch):
    start(config_of())
    moved = home.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert of_run(Workdir("runs/one").config).data.dir == "photos"


def test_data_that_is_nowhere_is_named_by_its_whole_path(home, monkeypatch, tmp_path):
    config = config_of(**{"data.name": "folder"})
    directory = start(config)
    (home / "photos").rmdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"config.data.dir is {home}/photos, which is not there"):
        load_data(of_run(directory.config))


def test_data_that_moved_is_remembered_when_the_run_goes_on(home, away, monkeypatch):
    directory = start(config_of())
    monkeypatch.chdir(away)
    (home / "photos").rename(away / "pictures")
    with directory.claimed(config_of(**{"data.dir": "pictures"}), config_of(), DATASET):
        pass
    monkeypatch.chdir(home)
    assert of_run(directory.config).data.dir == str(away / "pictures")


def test_what_leads_nowhere_stays_as_it_is_given(home, away, monkeypatch):
    address = config_of(**{"data.dir": "gs://bucket/photos", "data.lists": "~nobody/lists"})
    directory = start(address)
    monkeypatch.chdir(away)
    config = of_run(directory.config)
    assert (config.data.dir, config.data.lists) == ("gs://bucket/photos", "~nobody/lists")


def test_a_run_of_a_time_before_it_was_kept_is_read_as_before(home, away, monkeypatch):
    directory = start(config_of())
    directory.places.unlink()
    monkeypatch.chdir(away)
    config = of_run(directory.config)
    assert config.data.dir == "photos"
    assert directory.check(config)


def test_weights_to_start_from_are_the_same_by_another_path(home, away, monkeypatch):
    (home / "weights.pth").touch()
    (away / "weights.pth").touch()
    directory = start(config_of(**{"model.pretrained": "weights.pth"}))
    assert directory.check(config_of(**{"model.pretrained": str(home / "weights.pth")}))
    monkeypatch.chdir(away)
    assert directory.check(of_run(directory.config))
    assert directory.check(config_of(**{"model.pretrained": "../home/weights.pth"}))
    with pytest.raises(WorkdirError, match="model.pretrained is 'weights.pth' there"):
        directory.check(config_of(**{"model.pretrained": str(away / "weights.pth")}))


@pytest.mark.parametrize("text", ["[]", '{"data.dir": '])
def test_a_damaged_record_of_places_is_told(home, text):
    directory = start(config_of())
    directory.places.write_text(text)
    with pytest.raises(ConfigError, match="places.json"):
        of_run(directory.config)
