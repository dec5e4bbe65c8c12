"""Kinds of faults, a file for each family: what is done, to which runs, what must come of it."""

from faults.kinds import clocks, damage, kills, limits, output, room, several, signals
from faults.kinds.kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for family in (kills, signals, several, damage, room, limits, output, clocks)
    for kind in family.KINDS
}
