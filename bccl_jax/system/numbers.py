"""Whole numbers in what users, schedulers and file names say."""

import re


def whole_number(text: str) -> int | None:
    """The number that a text of the digits 0 to 9 says; None of any other text.

    Not for str.isdigit, which takes a superscript that int does not, nor for texts of more digits
    than anything is counted in.
    """
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None
