"""Names of files and classes as text for people.

Python holds a name whose bytes are not UTF-8, of an old archive for example, with each such byte as
a lone surrogate. Files are found by it, but no text file, terminal or picture takes it.
"""

import ast
import os
import re
from collections.abc import Sequence

# Characters of a name that a message shows.
_SHOWN = 300


def printable(name: str | os.PathLike) -> str:
    """A name as one line that can be printed and written as UTF-8.

    It is quoted, with escapes, where it has what cannot be printed: bytes that are not UTF-8 or
    line ends, for example.

    Args:
      name: of a file, a class or a data set.

    Returns:
      The name itself wherever that will do.
    """
    name = os.fspath(name)
    return name if name.isprintable() else repr(name)


def plain(name: str) -> str:
    """A name for something new after an old name: what is not UTF-8 in it becomes underscores."""
    return re.sub("[\ud800-\udfff]", "_", name)


def from_printable(text: str) -> str:
    """The name that `printable` made a text of; one that only looks so loses its own quotes."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        try:
            name = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            return text
        return name if isinstance(name, str) else text
    return text


def shortened(name: str, longest: int) -> str:
    """A name of at most so many letters: a long one loses its middle.

    Names that are told apart at their ends alone, as "warbler (male)" and "warbler (female)", stay
    apart.
    """
    if len(name) <= longest:
        return name
    end = (longest - 1) // 2
    return f"{name[: longest - 1 - end]}…{name[len(name) - end :]}"


def shown(text: str | os.PathLike) -> str:
    """A name from a file or a disk as one line, cut if long.

    It is quoted where it is not printable, and where nobody would see its blanks or the name.
    """
    name = os.fspath(text)
    text = printable(name) if name and name == name.strip(" ") else repr(name)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 2 :]}"


def some(names: Sequence[str]) -> str:
    """The first three of some names as a message tells them."""
    return ", ".join(shown(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
