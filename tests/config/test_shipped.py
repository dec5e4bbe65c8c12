"""Shipped configs go by bare names, in every directory."""

import re
import shutil

import pytest

from bccl_jax.config import files, shipped
from bccl_jax.errors import ConfigError
from tests.tiny import ROOT, shipped_config


def test_every_config_file_has_a_bare_name():
    assert shipped.names() == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
    assert shipped.folder() == ROOT / "configs"


def test_an_installed_package_has_them_within(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "digits_lt.py", tmp_path / "configs" / "alone.py")
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path)
    assert shipped.names() == ["alone"]
    assert files.load("alone:bcl") == shipped_config("digits_lt", "bcl")


def test_a_bare_name_means_the_same_in_every_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits_lt").mkdir()
    assert files.load("digits_lt") == shipped_config("digits_lt")
    assert files.load("digits_lt:bcl") == shipped_config("digits_lt", "bcl")
    assert files.takes_argument("digits_lt")
    monkeypatch.chdir(ROOT / "configs")
    assert files.load("digits_lt") == shipped_config("digits_lt")


def test_a_file_of_that_name_here_is_asked_about(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits_lt.py").write_text(
        "from bccl_jax import config as default\ndef get_config():\n"
        "    config = default.get_config()\n    config.epochs = 7\n    return config\n"
    )
    with pytest.raises(ConfigError, match="write --config=digits_lt.py for that, or --config=/"):
        files.load("digits_lt")
    assert files.load("digits_lt.py").epochs == 7
    assert files.load(str(shipped.path_of("digits_lt"))).epochs == 100


def test_what_is_not_called_so_is_one_sentence_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"names no file; did you mean --config=cifar100_lt\?"):
        files.load("cifar100_tl")
    with pytest.raises(ConfigError, match=r"no shipped config is called 'fodler'.* mean folder\?"):
        shipped.get_config("fodler")


def test_a_config_of_ones_own_may_start_from_one():
    assert shipped.get_config("folder", "bcl") == shipped_config("folder", "bcl")
    assert shipped.get_config("digits_lt") == shipped_config("digits_lt")


def test_messages_name_configs_that_are_there():
    text = "".join(path.read_text() for path in (ROOT / "bccl_jax").rglob("*.py"))
    named = set(re.findall(r"--config=([a-z]\w+)", text))
    assert {"digits_lt", "cifar100_lt"} <= named <= set(shipped.names())
