"""What a figure was made with: code, commit, versions, device."""

import ast
import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import subprocess
from typing import NamedTuple

import jax

import bccl_jax
from bccl_jax.devices.computed_on import computed_on

PACKAGE = pathlib.Path(bccl_jax.__file__).resolve().parent

# Parts of the package that no figure of a run depends on; and what an installed one has within it,
# which lies beside it in the repository.
_WITHOUT_INFLUENCE = ("commands", "inspecting", "reporting", "main.py", "errors.py")
_INSTALLED_WITHIN = ("configs", "experiments")


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
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] not in _WITHOUT_INFLUENCE + _INSTALLED_WITHIN:
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
    """The commit of the code, with "+" where files differ from it.

    That of the repository, or the one that pip installed by the address of a repository; "" where
    neither is known.
    """
    # A repository around the installed package would be another project's.
    if not (PACKAGE.parent / ".git").exists():
        return _installed_commit()
    try:
        found = _git("rev-parse", "--short=10", "HEAD")
        return found + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PACKAGE.parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _installed_commit() -> str:
    """What PEP 610 has installers write down of a repository."""
    try:
        origin = importlib.metadata.distribution("bccl_jax").read_text("direct_url.json")
        return json.loads(origin or "{}").get("vcs_info", {}).get("commit_id", "")[:10]
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""


def code() -> Code:
    """The code that runs."""
    return Code(code_hash(), commit())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def device() -> str:
    """The device in words, with the number of its cores or of devices; initialises JAX."""
    found = computed_on()
    number = found.cores if jax.default_backend() == "cpu" else found.devices
    return f"{found.device}, {number} of it"
