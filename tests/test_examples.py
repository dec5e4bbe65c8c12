"""What the examples in docstrings print is so."""

import pytest

from tests.examples import check, examples, modules

# Its example has a run and pictures: tests/use/test_model.py runs it there.
OF_A_RUN = "bccl_jax.use.model"
ALONE = [module for module in modules() if module != OF_A_RUN]


@pytest.mark.parametrize("module", ALONE)
def test_examples_print_what_they_say(module):
    found = examples(module)
    assert found
    for test in found.values():
        check(test)


def test_an_example_that_is_wrong_fails():
    (test,) = [
        t for name, t in examples("bccl_jax.data.long_tail").items() if name == "shot_groups"
    ]
    test.examples[-1].want = "{'many': []}\n"
    with pytest.raises(AssertionError, match="Expected:"):
        check(test)
