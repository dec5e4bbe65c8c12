"""What one value of a config may be: kinds of bounds that say themselves in plain words."""

import dataclasses
import math
import os
from collections.abc import Iterable
from typing import Any, Protocol

# Of a 64-bit float.
_LARGEST = 1.7976931348623157e308


class Bound(Protocol):
    """A set of values; `str` completes "it must be"."""

    def allows(self, value: Any) -> bool:
        """Whether a value is in the set, whatever it is."""


@dataclasses.dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, or one of `also`; no bool and no number of NumPy's."""

    low: int
    high: int
    also: tuple[int, ...] = ()

    def allows(self, value):
        """See `Bound`."""
        return type(value) is int and (self.low <= value <= self.high or value in self.also)

    def __str__(self):
        return f"a whole number from {self.low:,} to {self.high:,}{_or(self.also)}"


@dataclasses.dataclass(frozen=True)
class Real:
    """A number from `low` to `high` (below it where `open_end`), or one of `also`."""

    low: float
    high: float
    also: tuple[float, ...] = ()
    open_end: bool = False

    def allows(self, value):
        """See `Bound`."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        below = value < self.high if self.open_end else value <= self.high
        return (self.low <= value and below) or value in self.also

    def __str__(self):
        end = "at least {} and below {}" if self.open_end else "from {} to {}"
        return f"a number {end.format(_plain(self.low), _plain(self.high))}{_or(self.also)}"


@dataclasses.dataclass(frozen=True)
class Several:
    """As many values as `parts`, each within its own bound; where `rising` none below the last."""

    parts: tuple[Bound, ...]
    rising: bool = False

    def allows(self, value):
        """See `Bound`."""
        if not isinstance(value, tuple | list) or len(value) != len(self.parts):
            return False
        inside = all(part.allows(v) for part, v in zip(self.parts, value, strict=True))
        return inside and (not self.rising or list(value) == sorted(value))

    def __str__(self):
        number = f"{len(self.parts)} values"
        if len(set(self.parts)) == 1:
            text = f"{number}, each {self.parts[0]}"
        else:
            text = f"{number}: {'; '.join(map(str, self.parts))}"
        return f"{text}, none below the one before" if self.rising else text


@dataclasses.dataclass(frozen=True)
class Rising:
    """Up to `most` values within a bound, each above the one before; none is a number too."""

    each: Bound
    most: int

    def allows(self, value):
        """See `Bound`."""
        if not isinstance(value, tuple | list) or len(value) > self.most:
            return False
        inside = all(self.each.allows(v) for v in value)
        return inside and all(a < b for a, b in zip(value, value[1:], strict=False))

    def __str__(self):
        return f"at most {self.most} values, each {self.each} and above the one before"


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """One of a few words: those that `words` has when it is asked, for a registry may grow."""

    words: Iterable[str]

    @property
    def known(self) -> tuple[str, ...]:
        """The words there are now."""
        return tuple(self.words)

    def allows(self, value):
        """See `Bound`."""
        return isinstance(value, str) and value in self.known

    def __str__(self):
        return f"one of {', '.join(self.known)}"


@dataclasses.dataclass(frozen=True)
class Joined:
    """A text of some of a few words, each once, with commas between them; it may be empty."""

    words: tuple[str, ...]

    def allows(self, value):
        """See `Bound`."""
        parts = value.split(",") if isinstance(value, str) and value else []
        known = len({*parts}) == len(parts) and {*parts} <= {*self.words}
        return isinstance(value, str) and known

    def __str__(self):
        return f"some of {', '.join(self.words)}, joined by commas without spaces, or empty"


@dataclasses.dataclass(frozen=True)
class Switch:
    """True or False, and not 1 or 0."""

    def allows(self, value):
        """See `Bound`."""
        return isinstance(value, bool)

    def __str__(self):
        return "True or False"


@dataclasses.dataclass(frozen=True)
class Text:
    """A text that can be the name of something; a path where `path`, and not "" where `filled`."""

    path: bool = False
    filled: bool = False

    # What Linux takes, in bytes: a path, and what stands between two slashes.
    _LONGEST, _LONGEST_NAME = 4095, 255

    def allows(self, value):
        """See `Bound`."""
        if not isinstance(value, str) or "\0" in value or (self.filled and not value.strip()):
            return False
        try:
            encoded = os.fsencode(value)
        except UnicodeEncodeError:
            return False
        names = encoded.split(b"/") if self.path else []
        return len(encoded) <= self._LONGEST and all(len(n) <= self._LONGEST_NAME for n in names)

    def __str__(self):
        kind = "a path" if self.path else "a text"
        limits = f"at most {self._LONGEST:,} bytes"
        if self.path:
            limits += f", {self._LONGEST_NAME} between two slashes"
        filled = "that is not empty, " if self.filled else ""
        return f"{kind} {filled}without NUL characters and of {limits}"


@dataclasses.dataclass(frozen=True)
class Like:
    """What is of the kind of an example, where nothing more is known: the least of all bounds."""

    example: int | float | str | bool | tuple

    def allows(self, value):
        """See `Bound`."""
        if isinstance(self.example, bool):
            return isinstance(value, bool)
        if isinstance(self.example, tuple):
            # Of what is in an empty one nothing is known.
            known = [Like(part) for part in self.example] or [Like(0.0), Like("")]
            inside = isinstance(value, tuple | list)
            return inside and all(any(kind.allows(part) for kind in known) for part in value)
        if isinstance(self.example, float):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and abs(value) <= _LARGEST
        if isinstance(self.example, int):
            return type(value) is int and abs(value) < 2**63
        return Text().allows(value)

    def __str__(self):
        if isinstance(self.example, bool):
            return str(Switch())
        kinds = {tuple: "several values", float: "a number", int: "a whole number", str: "a text"}
        return f"{kinds[type(self.example)]} like {self.example!r}"


@dataclasses.dataclass(frozen=True)
class Maybe:
    """What a bound allows, or None."""

    bound: Bound

    def allows(self, value):
        """See `Bound`."""
        return value is None or self.bound.allows(value)

    def __str__(self):
        return f"{self.bound}, or None"


def each(number: int, bound: Bound, rising: bool = False) -> Several:
    """`number` values within the same bound."""
    return Several((bound,) * number, rising)


def shown(value: Any, most: int = 80) -> str:
    """A value as an error's sentence shows it: one line, not longer than `most` characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        text = f"a {type(value).__name__} of thousands of digits"
    except Exception:  # the value's own __repr__ may be anything
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 12]}...{text[-9:]}"


def _or(also: tuple) -> str:
    return "".join(f", or {_plain(value)}" for value in also)


def _plain(number: float) -> str:
    if isinstance(number, int) or (number == math.floor(number) and abs(number) < 1e6):
        return f"{int(number):,}"
    return f"{number:g}"
