"""Well-formed input made wrong: bytes by bytes, lines, and values of JSON at any place."""

import json
import random
from typing import Any

from faults.fuzzing import odd

_BYTES = (b"\0", b"\xff", b"\x80", b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"\xff\xfe", b'"', b",")
_SIZES = (1, 2, 4, 8)
# Bytes of an input: each part of it may come again fifty times, and that again.
_LONGEST = 2**20


def mutated(rng: random.Random, content: bytes, others: tuple[bytes, ...] = ()) -> bytes:
    """Bytes with one to three changes, mostly one.

    Args:
      rng: that decides.
      content: well-formed.
      others: of which pieces may be put in.
    """
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
        content = _once(rng, content, others)[:_LONGEST]
    return content


def _once(rng: random.Random, content: bytes, others: tuple[bytes, ...]) -> bytes:
    size = len(content)
    at = rng.randrange(size + 1)
    to = min(size, at + rng.choice((1, 1, 2, 4, 16, 64, size)))
    match rng.randrange(10):
        case 0 if size:  # a bit
            at = rng.randrange(size)
            return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        case 1 if size:  # a byte
            at = rng.randrange(size)
            return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        case 2:  # the end is missing
            return content[:at]
        case 3:  # a piece is missing
            return content[:at] + content[to:]
        case 4:  # a piece comes again
            return content[:to] + content[at:to] * rng.choice((1, 2, 50)) + content[to:]
        case 5:  # a number in binary
            number = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1))
            width = rng.choice(_SIZES)
            raw = (number % 256**width).to_bytes(width, rng.choice(("little", "big")))
            return content[:at] + raw + content[at + width :]
        case 6:
            return content[:at] + rng.choice(_BYTES) * rng.choice((1, 1, 2, 1000)) + content[at:]
        case 7:
            other = rng.choice((*others, content))
            start = rng.randrange(len(other) + 1)
            return content[:at] + other[start : start + rng.choice((8, 64, 4096))] + content[to:]
        case 8:  # any bytes
            return content[:at] + rng.randbytes(rng.randrange(16)) + content[to:]
        case _:
            raw = odd.text(rng).encode("utf-8", "surrogatepass")
            return content[:at] + raw + content[rng.choice((at, to)) :]


def lines_mutated(rng: random.Random, content: bytes, separators: bytes) -> bytes:
    """A text of lines in which a field, a line or the order of lines is another one."""
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            lines.insert(at, odd.text(rng).encode("utf-8", "surrogatepass"))
        case 1:
            lines.insert(at, rng.choice(lines))
        case 2:
            del lines[at]
        case 3:
            rng.shuffle(lines)
        case 4:
            return rng.choice((b"\r\n", b"\r", b"\n\n", b"\0", b"\x85")).join(lines)
        case _:
            mark = bytes([rng.choice(separators)])
            fields = lines[at].split(mark)
            fields[rng.randrange(len(fields))] = odd.text(rng).encode("utf-8", "surrogatepass")
            lines[at] = mark.join(fields)
    return b"\n".join(lines)


def json_mutated(rng: random.Random, found: Any) -> Any:
    """A value of JSON with one to three changes, at any place of it; the given one stays."""
    found = json.loads(json.dumps(found))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = _changed(rng, found)
    return found


def _changed(rng: random.Random, found: Any) -> Any:
    places = [found] if isinstance(found, dict | list) and found else []
    for each in places:
        inner = each.values() if isinstance(each, dict) else each
        places += [i for i in inner if isinstance(i, dict | list) and i][:50]
    if not places or rng.random() < 0.03:
        return odd.value(rng)
    place = rng.choice(places)
    keys = list(place) if isinstance(place, dict) else range(len(place))
    key = rng.choice(keys)
    match rng.randrange(6):
        case 0:
            del place[key]
        case 1 if isinstance(place, dict):
            place[odd.text(rng)] = place.pop(key)
        case 1:
            place.insert(key, odd.value(rng))
        case 2 if isinstance(place, dict):
            place[odd.text(rng)] = odd.value(rng)
        case 2:
            place.append(place[key])
        case 3:
            place[key] = place[rng.choice(keys)]
        case _:
            place[key] = odd.value(rng)
    return found
