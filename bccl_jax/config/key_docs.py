"""What each key means, read from where it is documented, and a whole config with that beside it.

The comments of `bccl_jax/config/fields.py` and the docstrings of the methods are the one source.
"""

import ast
import inspect
import re
import textwrap

import ml_collections

from bccl_jax import config as default
from bccl_jax import methods

# Of a comment, in a function and behind its sign.
_WIDTH = 94


def meanings(method: str) -> dict[str, str]:
    """What each key of a config means, in the order of the sources.

    Args:
      method: whose settings are in the config.

    Returns:
      {"data.name": text in one line, ...}.

    Raises:
      ConfigError: no method has that name.
    """
    source = inspect.getsource(default.get_config)
    lines = source.splitlines()
    groups, found = {"config": ""}, {}
    for statement in ast.parse(source).body[0].body:
        if not isinstance(statement, ast.Assign):
            continue
        target = ast.unparse(statement.targets[0])
        owner, _, last = target.rpartition(".")
        if owner not in groups:
            continue
        key = f"{groups[owner]}{last}"
        for alias in statement.targets[1:]:
            groups[ast.unparse(alias)] = f"{key}."
        if key == "method":
            found["method.name"] = "The method, with its own settings below."
            found |= {f"method.{name}": text for name, text in _of_settings(method).items()}
        elif len(statement.targets) == 1:
            found[key] = _comment_above(lines, statement.lineno - 1)
    return found


def as_python(config: ml_collections.ConfigDict) -> str:
    """A config as a config file that gives it back, with what each key means above it."""
    flat = default.flatten(config)
    imports = f", imports={config.imports!r}" if config.imports else ""
    lines = [
        '"""Every key of a config, as --print_config wrote it: save it and name it by --config."""',
        "",
        "from bccl_jax import config as default",
        "",
        "",
        "def get_config():",
        '    """Returns the config."""',
        f"    config = default.get_config({config.method.name!r}{imports})",
    ]
    for key, meaning in meanings(config.method.name).items():
        value = tuple(flat[key]) if isinstance(flat[key], list) else flat[key]
        comment = textwrap.wrap(meaning, _WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += ["", *(f"    # {line}" for line in comment), f"    config.{key} = {value!r}"]
    return "\n".join([*lines, "    return config", ""])


def first_sentence(text: str) -> str:
    """The first sentence of what a key means."""
    return text.partition(". ")[0].rstrip(".")


def _comment_above(lines: list[str], number: int) -> str:
    comment = []
    while (line := lines[number - 1].strip()).startswith("#"):
        comment.insert(0, line.removeprefix("#").strip())
        number -= 1
    return " ".join(comment)


def _of_settings(method: str) -> dict[str, str]:
    """The "Attributes" of a method's docstring and of those of the classes that it extends."""
    found = {name: "" for name in methods.settings(method) if name != "name"}
    for owner in methods.method_class(method).__mro__:
        section = inspect.cleandoc(vars(owner).get("__doc__") or "").partition("Attributes:")[2]
        # Up to the next section, by whatever their lines are indented.
        section = textwrap.dedent(re.split(r"\n(?=\S)", section)[0].strip("\n"))
        for entry in re.split(r"\n(?=\w)", section):
            name, _, text = entry.partition(": ")
            name = name.partition(" (")[0]
            if name in found and not found[name]:
                found[name] = " ".join(text.split())
    return found
