"""Writes docs/config_keys.md: every key of a config, from where each is documented.

python -m experiments.keys_page
"""

import pathlib
import re

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config import allowed, key_docs

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"

_INTRODUCTION = """\
# All keys of the config

<!-- Written by `python -m experiments.keys_page` from `bccl_jax/config/fields.py`, the docstrings
of `bccl_jax/methods/` and `bccl_jax/config/allowed.py`; a test compares. Change those. -->

Change any key on the command line, `--config.KEY=VALUE`, or in a config file of your own, where it
is `config.KEY = VALUE`. [Runs](running.md#settings) has examples. A wrong key or an impossible
value ends in one sentence before anything starts.

The defaults are those of CIFAR-100-LT. A shipped config changes some of them: `--print_config`
shows a config as it is, with what each key means:

    python -m bccl_jax.main --config=digits_lt --print_config
"""
_OF_METHODS = """\
## Settings of each method

`method.name` is the method itself; the config's argument sets it, as in `--config=digits_lt:bcl`.
The defaults are those at a method's plain name; another `method.preset` may bring others.
"""
_TITLES = {
    "": "The run",
    "data": "Data",
    "augment": "Augmentation",
    "augment.strong": "The strong view",
    "augment.sim": "The SimAugment views",
    "model": "Network",
    "optimizer": "Optimizer",
    "eval": "Evaluation",
    "checkpoint": "Checkpoints",
}
_HEAD = "| key | default | it may be | meaning |\n|---|---|---|---|"


def page() -> str:
    """The page, in Markdown."""
    parts, meanings = [_INTRODUCTION], key_docs.meanings("cross_entropy")
    values, bounds = _of("cross_entropy")
    for group, title in _TITLES.items():
        keys = [key for key in meanings if key.rpartition(".")[0] == group]
        rows = [_row(key, values[key], bounds[key], meanings[key]) for key in keys]
        parts.append("\n".join([f"## {title}\n", _HEAD, *rows]) + "\n")
    parts.append(_OF_METHODS)
    for name in methods.shipped():
        meanings, (values, bounds) = key_docs.meanings(name), _of(name)
        keys = [k for k in meanings if k.startswith("method.") and k != "method.name"]
        rows = [_row(key, values[key], bounds[key], meanings[key]) for key in keys]
        table = [_HEAD, *rows] if rows else ["None."]
        parts.append("\n".join([f"### {name}\n", *table]) + "\n")
    return "\n".join(parts)


def _of(method: str):
    return default.flatten(default.get_config(method)), allowed.bounds(method)


def _row(key: str, value, bound, meaning: str) -> str:
    shown = f"`{value!r}`" if value != "" else '`""`'
    # What no path may be is the same for each.
    allowed_values = re.sub(r" without NUL characters.*| that is not empty, .*", "", str(bound))
    meaning = re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", meaning)
    cells = [f"`{key}`", shown, allowed_values, meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> None:
    """Writes the page."""
    if not DOCS.is_dir():
        raise SystemExit(f"error: there is no folder {DOCS}; run it in a clone of the repository")
    path = DOCS / "config_keys.md"
    path.write_text(page(), encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
