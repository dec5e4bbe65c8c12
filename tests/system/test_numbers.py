import pytest

from bccl_jax.system.numbers import whole_number


def test_digits_are_a_number():
    assert [whole_number(text) for text in ("0", "007", "1" * 18)] == [0, 7, int("1" * 18)]


@pytest.mark.parametrize(
    "text", ["", "²", "1²", "٣", "-1", "+1", " 1", "1\n", "1_0", "1.0", "first", "9" * 5000]
)
def test_what_is_no_number_is_none(text):
    assert whole_number(text) is None
