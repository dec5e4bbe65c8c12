"""Inputs of a kind, one after the other, each of its own number alone."""

import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from faults.fuzzing.judging import Outcome, judge
from faults.fuzzing.surface import Input, Surface


class Trial(NamedTuple):
    """An input and what became of it.

    Attributes:
      number: by which, with kind and seed, the input is made again; below 0 of a well-formed one.
      entry: the input.
      outcome: of it.
    """

    number: int
    entry: Input
    outcome: Outcome


def entry_of(surface: Surface, name: str, seed: int, number: int) -> Input:
    """The input of a number: the same whatever came before it."""
    return surface.make(random.Random(f"{name} {seed} {number}"))


def well_formed(surface: Surface) -> Iterator[Trial]:
    """What a surface makes of well-formed inputs, which is a failure where it refuses one."""
    for position, entry in enumerate(surface.whole):
        outcome = judge(surface, entry)
        if outcome.what == "refused":
            outcome = Outcome("fail", "a well-formed input is refused", outcome.why)
        yield Trial(-1 - position, entry, outcome)


def trials(surface: Surface, name: str, seed: int, numbers: Iterable[int]) -> Iterator[Trial]:
    """Makes, reads and judges the inputs of some numbers."""
    for number in numbers:
        entry = entry_of(surface, name, seed, number)
        outcome = judge(surface, entry)
        yield Trial(number, entry, outcome)
