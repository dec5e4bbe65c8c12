"""A run that was never trained, for all tests here."""

from tests.made_up_runs import run, written  # noqa: F401
