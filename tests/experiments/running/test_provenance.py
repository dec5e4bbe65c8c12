import importlib.metadata
import json
import subprocess

import pytest

from experiments.running import provenance

CODE = '''
"""Module."""
import os

def double(x: int) -> int:
    """Doc."""
    # Comment.
    return 2 * x
'''


def test_comments_docstrings_and_layout_are_not_code():
    bare = "import os\ndef double(x:int)->int:  return (2*x)\n"
    assert provenance.canonical(CODE) == provenance.canonical(bare)


@pytest.mark.parametrize(("old", "new"), [("2 * x", "x * 2"), ("x: int", "y: int"), ("2 ", "2.0 ")])
def test_any_change_of_code_is(old, new):
    assert provenance.canonical(CODE) != provenance.canonical(CODE.replace(old, new))


def test_the_hash_is_of_the_package_as_it_lies(tmp_path, monkeypatch):
    package = tmp_path / "bccl_jax"
    (package / "reporting").mkdir(parents=True)
    (package / "step.py").write_text(CODE)
    (package / "reporting" / "plots.py").write_text("x = 1\n")
    monkeypatch.setattr(provenance, "PACKAGE", package)
    compute = provenance.code_hash.__wrapped__
    before = compute()
    (package / "reporting" / "plots.py").write_text("x = 2\n")
    # Where they lie once installed.
    for folder in ("configs", "experiments"):
        (package / folder).mkdir()
        (package / folder / "digits.py").write_text("x = 2\n")
    assert compute() == before
    (package / "step.py").write_text(CODE.replace("2 * x", "3 * x"))
    assert compute() != before


def distribution(folder, origin):
    """An installed one, with what pip says of its origin."""
    place = folder / "bccl_jax-0.1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("Name: bccl_jax\n")
    if origin is not None:
        (place / "direct_url.json").write_text(json.dumps(origin))
    return importlib.metadata.Distribution.at(place)


@pytest.mark.parametrize(
    ("origin", "commit"),
    [
        ({"url": "https://x/y.git", "vcs_info": {"vcs": "git", "commit_id": "a" * 40}}, "a" * 10),
        ({"url": "file:///somewhere", "dir_info": {}}, ""),
        (None, ""),
    ],
)
def test_an_installed_package_has_the_commit_that_pip_installed(
    tmp_path, monkeypatch, origin, commit
):
    # The repository around it, of whatever project, is not asked.
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "site-packages" / "bccl_jax")
    installed = distribution(tmp_path / "site-packages", origin)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: installed)
    assert provenance.commit.__wrapped__() == commit


def test_a_repository_has_the_commit_that_is_checked_out(tmp_path, monkeypatch):
    package = tmp_path / "bccl_jax"
    package.mkdir()
    (package / "step.py").write_text(CODE)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    monkeypatch.setattr(provenance, "PACKAGE", package)
    found = provenance.commit.__wrapped__()
    assert len(found) == 10
    (package / "step.py").write_text("")
    assert provenance.commit.__wrapped__() == f"{found}+"
