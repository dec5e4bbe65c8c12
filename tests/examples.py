"""The examples in docstrings, run by doctest."""

import doctest
import importlib
import re

from tests.tiny import ROOT


def modules():
    """Names of the package's modules that have examples."""
    paths = sorted((ROOT / "bccl_jax").rglob("*.py"))
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if re.search(r"^ +>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def examples(module):
    """{function: its examples}."""
    found = doctest.DocTestFinder().find(importlib.import_module(module))
    return {test.name.removeprefix(f"{module}."): test for test in found if test.examples}


def check(test):
    """Runs the examples of a function; each must print what the docstring says."""
    told = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)
