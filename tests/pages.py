"""The commands that README.md and the pages of docs/ tell a reader to type, and their files.

A block is fenced, or indented by four spaces. It holds commands if its first line begins with one
of `PROGRAMS` or sets a variable; then every line of it must, so that none is passed over. A block
marked `bash` is a script and one command. Python blocks whose first line is a comment with a
file's name are that file.
"""

import functools
import re
import shlex
from typing import NamedTuple

from bccl_jax.commands.console import chosen
from tests.tiny import ROOT

# What a command line begins with.
PROGRAMS = {
    *("python", "python3", "pip", "make", "bccl_jax", "srun", "source", "cd", "mkdir", "xz"),
    *("git", "sha256sum", "tensorboard", "wandb"),
}
# Files at the root that people read like pages.
AT_ROOT = ("README.md", "CONTRIBUTING.md")
_SET = re.compile(r"\w+=")
_BLOCK = re.compile(
    r"^(?P<mark>```+)(?P<kind>[^\n]*)\n(?P<fenced>.*?)^(?P=mark)[ ]*$"
    r"|(?:(?<=\n\n)|\A)(?P<indented>(?: {4}[^\n]*\n|\n(?= {4}))+)",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """Code of a page: what kind it says it is, the text, and the number of its first line."""

    kind: str
    text: str
    line: int


class Command(NamedTuple):
    """One command of a page.

    Attributes:
      page: as `pages` names it.
      line: where it stands there.
      text: as it stands there, on one line and without its remark.
      words: of the shell, variables of the page in place; empty for a script.
      output: the file that `>` sends its output to, or "".
    """

    page: str
    line: int
    text: str
    words: tuple[str, ...]
    output: str = ""

    @property
    def program(self) -> list[str]:
        """The words without variables of the environment and without `srun` before them."""
        words = list(self.words)
        while words and _SET.match(words[0]):
            del words[0]
        if words and words[0] == "srun":
            del words[: next((i for i, w in enumerate(words) if w == "python"), len(words))]
        return words

    @property
    def module(self) -> tuple[str, list[str]]:
        """The module that it runs and its arguments; ("", []) where it runs none."""
        words = self.program
        if words[:1] == ["bccl_jax"]:
            module, arguments = chosen(words[1:])
            # Installed they lie within the package.
            return module.replace("bccl_jax.experiments", "experiments"), arguments
        if words[:1] in (["python"], ["python3"]) and words[1:2] == ["-m"]:
            return words[2], words[3:]
        return "", []

    def __str__(self):
        return f"{self.page}:{self.line}: {self.text}"


@functools.cache
def pages() -> dict[str, str]:
    """{name: text}, of docs/ by the path from there, beside files `AT_ROOT`."""
    docs = ROOT / "docs"
    found = {path.relative_to(docs).as_posix(): path for path in sorted(docs.rglob("*.md"))}
    found |= {name: ROOT / name for name in AT_ROOT if (ROOT / name).exists()}
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


def blocks(text: str) -> list[Block]:
    """The code of a page."""
    return [
        Block(
            (found["kind"] or "").strip() if found["fenced"] is not None else "",
            found["fenced"] if found["fenced"] is not None else _dedented(found["indented"]),
            text.count("\n", 0, found.start()) + 1 + (found["fenced"] is not None),
        )
        for found in _BLOCK.finditer(text)
    ]


def files(text: str) -> dict[str, str]:
    """{name: code} of the files that a page shows."""
    found = {}
    for block in blocks(text):
        if block.kind == "python" and (named := re.match(r"# (\w+\.py)\n", block.text)):
            found[named[1]] = block.text
    return found


@functools.cache
def commands() -> tuple[Command, ...]:
    """Those of all pages, page by page in their order."""
    return tuple(command for page, text in pages().items() for command in commands_of(page, text))


def commands_of(page: str, text: str) -> list[Command]:
    """The commands of a page.

    Raises:
      ValueError: a line among commands is none.
    """
    found, variables = [], {}
    for block in blocks(text):
        if block.kind == "bash":
            found.append(Command(page, block.line, block.text, ()))
        elif block.kind in ("", "sh") and _begins(block.text):
            for number, line in _logical(block.text):
                for words, output in _split(line):
                    if not _is_command(words):
                        raise ValueError(f"{page}:{block.line + number}: is no command: {line}")
                    words = tuple(part for word in words for part in _expanded(word, variables))
                    if all(_SET.match(word) for word in words):
                        variables |= dict(word.split("=", 1) for word in words)
                        continue
                    where = block.line + number
                    found.append(Command(page, where, shlex.join(words), words, output))
    return found


def _dedented(text):
    return "".join(line[4:] if line.strip() else "\n" for line in text.splitlines(keepends=True))


def _begins(text):
    first = text.strip().partition("\n")[0]
    word = first.partition(" ")[0]
    return word in PROGRAMS or bool(re.match(r"[A-Z_]+=", word) and "{" not in first)


def _logical(text):
    """(line from 0, text) of the lines, those that end in a backslash joined with the next."""
    number, waiting = 0, None
    for i, line in enumerate(text.splitlines()):
        if not line.strip():
            continue
        if waiting is None:
            number, waiting = i, ""
        waiting += line.strip()
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
        else:
            yield number, waiting
            waiting = None


def _split(line):
    """The commands of a line, each as (words, the file of its output)."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found, words, output = [], [], ""
    tokens = list(lexer)
    for i, token in enumerate(tokens):
        if token in ("&&", "|"):
            found.append((words, output))
            words, output = [], ""
        elif i and tokens[i - 1] == ">":
            output = token
        elif token != ">":
            words.append(token)
    return [*found, (words, output)]


def _is_command(words):
    return bool(words) and (words[0] in PROGRAMS or bool(_SET.match(words[0])))


def _expanded(word, variables):
    if found := re.fullmatch(r"\$(\w+)", word):
        return shlex.split(variables[found[1]])
    return [word]
