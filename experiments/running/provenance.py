"""What a figure was made with: code, commit, versions, device."""

import ast
import functools
import hashlib
import importlib.metadata
import pathlib
import platform
import subprocess
from typing import NamedTuple

import jax

from benchmarks.common import machine

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Parts of the package that no figure of a run depends on.
_WITHOUT_INFLUENCE = ("commands", "inspecting", "reporting", "main.py", "errors.py")


class Code(NamedTuple):
    """What a command was started with.

    Attributes:
      hash: as `code_hash`.
      commit: as `commit`.
    """

    hash: str
    commit: str


_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


@functools.cache
def code_hash() -> str:
    """Twelve hexadecimal digits of the code that shapes a run.

    Comments, docstrings and layout do not enter, so that a better sentence does not part results
    that the same code made.
    """
    digest = hashlib.sha256()
    package = ROOT / "bccl_jax"
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if name.parts[0] not in _WITHOUT_INFLUENCE:
            digest.update(f"{name.as_posix()}\0{canonical(path.read_text())}\0".encode())
    return digest.hexdigest()[:12]


def canonical(source: str) -> str:
    """The syntax tree of a Python module, without docstrings, the same in every Python version."""
    return _serialized(ast.parse(source))


def _serialized(node) -> str:
    if isinstance(node, list):
        return f"[{','.join(_serialized(item) for item in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list) and _starts_with_docstring(value):
            value = value[1:]
        # What is empty is left out, for newer versions have fields that older ones lack.
        if value is not None and value != []:
            fields.append(f"{name}={_serialized(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def _starts_with_docstring(body: list) -> bool:
    first = body[0] if body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


@functools.cache
def commit() -> str:
    """The commit that is checked out, with "+" where files differ from it; "" without git."""
    try:
        found = _git("rev-parse", "--short=10", "HEAD")
        return found + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def code() -> Code:
    """The code that is checked out."""
    return Code(code_hash(), commit())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def device() -> str:
    """The device in words, with the number of its cores or of devices; initialises JAX."""
    found = machine()
    on_cpu = jax.default_backend() == "cpu"
    return f"{found['device']}, {found['cores'] if on_cpu else found['devices']} of it"
