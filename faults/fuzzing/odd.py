"""Values and texts that trip readers: what a file from outside may say in any place."""

import json
import random
from typing import Any

# What stands for JSON that Python's own values cannot say, until it is text.
_RAW = {
    "@raw-digits@": "9" * 5000,
    "@raw-huge@": "1e999999",
    "@raw-nan@": "NaN",
    "@raw-minus@": "-Infinity",
    "@raw-deep@": "[" * 100_000 + "]" * 100_000,
    "@raw-deeper@": '{"a":' * 3000 + "1" + "}" * 3000,
    "@raw-lone@": '"\\udcff"',
    "@raw-twice@": '{"a": 1, "a": []}',
    "@raw-zero@": "-0.0",
}

TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\ufeff",
    "\N{RIGHT-TO-LEFT OVERRIDE}gnp",
    "\N{ZERO WIDTH SPACE}",
    "\N{SNOWMAN}",
    "e\N{COMBINING ACUTE ACCENT}",
    "\u2028",
    "\x85",
    "\x1b[2J\x1b[31mred",
    "\x07",
    "a\nb",
    "a\r",
    "\t",
    "=cmd|'/c calc'!A1",
    "@SUM(1)",
    "<script>alert(1)</script>",
    "%s%n%d",
    "{0}{a}",
    "{{",
    "$HOME",
    "~",
    "~nobody_of_this_name/x",
    "/",
    "/dev/zero",
    "/dev/stdin",
    "/etc/passwd",
    "..",
    "../..",
    "../../../../etc/passwd",
    ".",
    "C:\\x",
    "\\\\host\\share",
    "http://localhost:1/x",
    "gs://bucket/x",
    "file:///etc/passwd",
    "s3://bucket/x",
    "a/b",
    "a,b",
    '"',
    '""',
    "'",
    "#",
    "None",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e400",
    "1_000",
    "0x10",
    "0",
    "-1",
    "-0",
    "+1",
    "1.5",
    "01",
    "\N{SUPERSCRIPT TWO}",
    "\N{FULLWIDTH DIGIT ONE}",
    "\N{ARABIC-INDIC DIGIT THREE}",
    "9" * 19,
    "9" * 5000,
    "True",
    "[]",
    "()",
    "(" * 500,
    "[" * 3000,
    "{'a': 1}",
    "__import__('os').system('true')",
    "lambda: 0",
    "\udcff",
    "\ud800",
    "a" * 255,
    "a" * 5000,
    "a/" * 3000,
    "x" * 100_000,
)

NUMBERS = (
    0,
    1,
    -1,
    2,
    255,
    256,
    2**16,
    2**31 - 1,
    2**31,
    -(2**31),
    2**32,
    2**53,
    2**63 - 1,
    2**63,
    2**64,
    -(2**64),
    10**30,
    10**400,
    0.0,
    0.5,
    1.0,
    -1.5,
    1e-320,
    1e308,
)


def text(rng: random.Random) -> str:
    """Any text; of one in four a part of random characters."""
    if rng.random() < 0.25:
        high = rng.choice((0x7F, 0xFF, 0xFFFF, 0x10FFFF))
        return "".join(chr(rng.randrange(high)) for _ in range(rng.randrange(8)))
    return rng.choice(TEXTS)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Any value of JSON, and some that only its texts can say."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind in (1, 2):
        return rng.choice(NUMBERS)
    if kind == 3:
        return text(rng)
    if kind == 4:
        return rng.choice(list(_RAW))
    if kind == 5:
        return rng.choice(([], {}, [[]], [None], {"": 0}, [0] * 1000, [1, "a"], [[1, 2], [3]]))
    if kind == 6:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def as_json(found: Any, indent: int | None = None) -> bytes:
    """A value as JSON, with what its texts alone can say."""
    told = json.dumps(found, indent=indent)
    for mark, raw in _RAW.items():
        told = told.replace(f'"{mark}"', raw)
    return told.encode("utf-8", "surrogatepass")
