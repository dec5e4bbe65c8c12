"""What libraries raise, in a few words."""

import errno
import os

import pytest

from bccl_jax.system.reasons import number, reason
from bccl_jax.system.space import told

# As TensorStore says it.
FULL = (
    'RESOURCE_EXHAUSTED: Error writing "params.w/0" in OCDBT database at local file "/m/5/": '
    "Failed to write 3485696 bytes to file 9: No space left on device [os_error_code='28'] "
    "[source locations='tensorstore/internal/os/file_util.cc:42']"
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError(FULL), os.strerror(errno.ENOSPC)),
        (OSError(errno.EFBIG, "whatever"), os.strerror(errno.EFBIG)),
        (
            ValueError("NOT_FOUND: none [tensorstore_spec='{\"a\": 1}'] there"),
            "NOT_FOUND: none there",
        ),
        (ValueError("\n\n the first \nthe second"), "the first"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 500), "x" * 200 + "..."),
        (ValueError("[os_error_code='99999']"), "ValueError"),
    ],
)
def test_a_reason_is_short_and_that_of_the_system_if_there_is_one(error, expected):
    assert reason(error) == expected


def test_the_number_of_an_error_is_found_in_its_text():
    assert number(ValueError(FULL)) == errno.ENOSPC
    assert number(ValueError("no number")) is None


@pytest.mark.parametrize(
    ("size", "text"),
    [(999, "999 bytes"), (1500, "1.5 kB"), (512_000_000, "512 MB"), (2_650_000_000, "2.65 GB")],
)
def test_bytes_are_told_as_people_say_them(size, text):
    assert told(size) == text
