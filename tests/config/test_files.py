"""A config file gives a config, or one sentence that names it."""

import errno
import json
import os
import pathlib

import numpy as np
import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config import files as config_files
from bccl_jax.config import key_docs
from bccl_jax.config.validation import validate
from bccl_jax.errors import ConfigError, DataError
from tests.tiny import shipped_config

GET = "from bccl_jax import config as default\nimport ml_collections\ndef get_config():\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it has no function get_config"),
        ("get_config = 3\n", "it has no function get_config"),
        ("def get_config(): pass\n", "returns nothing; end it with `return config`"),
        ("def get_config(): return {'epochs': 3}\n", "a dict\\), which is no config"),
        ("def get_config(): return 3\n", "returns 3 \\(a int\\)"),
        (f"{GET}    return default\n", "a module\\), which is no config"),
        (f"{GET}    return ml_collections.ConfigDict()\n", "lacks the key method.name"),
        (
            f"{GET}    c = default.get_config()\n    del c.epochs\n    return c\n",
            "lacks the key ep",
        ),
        (f"{GET}    c = default.get_config()\n    c.data = 3\n    return c\n", "line 5: TypeError"),
        (f"{GET}    c = default.get_config()\n    c.data = None\n    return c\n", "config.data is"),
        (f"{GET}    c = default.get_config()\n    c.lr = 3.0\n    return c\n", "did you mean"),
        (f"{GET}    c = default.get_config()\n    c.epochs = 1.5\n    return c\n", "'epochs'"),
        (f"{GET}    return default.get_config('bccll')\n", "did you mean bccl"),
        (f"{GET}    return defualt.get_config()\n", "line 4: NameError: name 'defualt'"),
        ("import no_such_package\n", "line 1: ModuleNotFoundError: No module named 'no_such"),
        ("from bccl_jax import nothing\n", "ImportError: cannot import name 'nothing'"),
        ("def get_config(:\n", "line 1: SyntaxError"),
        ("\tx = 1\n", "line 1: IndentationError"),
        ("raise SystemExit(0)\n", "line 1: SystemExit: 0"),
        ("import sys\nsys.exit('bye')\n", "line 2: SystemExit: bye"),
        ("raise ValueError('one\\ntwo')\n", "ValueError: one two"),
        ("def get_config(): return get_config()\n", "RecursionError"),
        ("def get_config(method): pass\n", "needs an argument; write --config=.*mine.py:ARGUMENT"),
        (
            "class E(Exception):\n    def __str__(self): raise ValueError('x')\nraise E\n",
            "cannot be used: line 3: E$",
        ),
        ("x = '\\0'\n\0", "cannot be used"),
        ("x = '\xff'\n".encode("latin-1"), "SyntaxError"),
    ],
)
def test_what_is_no_config_file_is_one_sentence_that_names_it(tmp_path, content, message):
    path = tmp_path / "mine.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message) as error:
        config_files.load(str(path))
    assert "mine.py" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_argument_that_is_not_taken_is_said(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"{GET}    return default.get_config()\n")
    with pytest.raises(ConfigError, match="takes no argument; write --config=.*mine.py"):
        config_files.load(f"{path}:bccl")
    assert config_files.load(str(path)) == default.get_config()


def test_a_frozen_config_can_be_changed(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(f"{GET}    return ml_collections.FrozenConfigDict(default.get_config())\n")
    config = config_files.load(str(path))
    config.epochs = 3
    assert (config.epochs, config.augment.sim.scale) == (3, (0.08, 1.0))


def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.touch(mode=0)
    if os.geteuid() == 0:  # who reads everything

        def refuse(self, *arguments):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(ConfigError, match="cannot be read"):
        config_files.load(str(path))


@pytest.mark.parametrize("path", ["x" * 5000 + ".py", "x" * 300 + ".py", "\0.py"])
def test_a_path_that_is_none_is_said(path):
    with pytest.raises(ConfigError, match="--config="):
        config_files.load(path)


@pytest.mark.parametrize("named", ["configs/digits_lt.py", "digits_lt.py", "configs.digits_lt"])
def test_elsewhere_the_shipped_files_go_by_their_bare_names(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="names no file; did you mean --config=digits_lt?"):
        config_files.load(named)


@pytest.mark.parametrize("method", methods.names())
def test_every_key_has_a_meaning_of_its_own(method):
    meanings = key_docs.meanings(method)
    assert meanings.keys() == default.flatten(default.get_config(method)).keys()
    without = [key for key, text in meanings.items() if not text]
    assert not without, f"write a comment above {without}"


@pytest.mark.parametrize("name", ["digits_lt", "inaturalist2018", "folder"])
@pytest.mark.parametrize("method", methods.names())
def test_a_printed_config_is_a_config_file_that_gives_it_back(tmp_path, name, method):
    config = shipped_config(name, method)
    text = key_docs.as_python(config)
    assert max(map(len, text.splitlines())) <= 100
    path = tmp_path / "printed.py"
    path.write_text(text)
    found = config_files.load(str(path))
    validate(found)
    assert found == config
    comments = [before.strip() for before in text.split("    config.")[2:]]
    assert len(comments) == len(default.flatten(config)) - 1
    for key in default.flatten(config):
        assert f"\n    config.{key} = " in text


@pytest.mark.parametrize("name", [np.array([1, 2]), np.array([]), ["bccl"], {"a"}, 3, ""])
def test_a_method_name_of_any_kind_is_one_sentence(name):
    config = default.get_config()
    with config.unlocked(), config.ignore_type():
        config.method.name = name
    with pytest.raises(ConfigError, match=r"config\.method"):
        validate(config)


def test_a_runs_directory_gives_back_its_config(tmp_path):
    config = shipped_config("cifar100_lt", "bccl,released")
    config.method.num_centroids = 3
    path = tmp_path / "config.json"
    path.write_text(json.dumps(default.flatten(config)))
    assert config_files.load(str(path)).to_dict() == config.to_dict()
    for damaged in ("{", "[]", '{"method.name": "bcll"}', '{"method.name": "bccl", "x": 1}'):
        path.write_text(damaged)
        with pytest.raises(ConfigError, match="config.json is not the config of a run"):
            config_files.load(str(path))


def test_why_there_is_no_run_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.safetensors").write_bytes(bytes(30))
    for named, message in (
        (tmp_path / "none", f"{tmp_path}/none is not there; correct the path"),
        ("~/none", "~/none is not there"),
        ("~/empty", "~/empty holds no run (no config.json); name the directory of one"),
        ("~/cut.safetensors", "cut.safetensors is no shared run, or a part of it is missing; name"),
        ("~nobody-of-that-name/run", "no home folder is known for ~nobody-of-that-name"),
        ("\0", "correct the path"),
        ("x" * 5000, "correct the path"),
    ):
        assert message in str(config_files.no_run(named)), named
    with pytest.raises(DataError, match="is no shared run, or a part of it is missing; name"):
        config_files.load(str(tmp_path / "cut.safetensors"))


@pytest.mark.parametrize("name", ["x" * 5000, "\0", ""])
def test_a_name_that_no_file_can_have_is_not_of_a_run(name):
    assert not config_files.is_of_run(f"{name}/config.json")
