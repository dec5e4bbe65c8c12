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
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    compute = provenance.code_hash.__wrapped__
    before = compute()
    (package / "reporting" / "plots.py").write_text("x = 2\n")
    assert compute() == before
    (package / "step.py").write_text(CODE.replace("2 * x", "3 * x"))
    assert compute() != before
