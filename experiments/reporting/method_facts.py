"""What the docstring of a method's module says of it."""

import ast
import dataclasses
import inspect
import re

from bccl_jax import methods

# The lines that end a module's docstring, "Paper: ..." each; what goes on is indented.
_FACTS = ("Family", "Paper", "Equation", "State", "Printed")
FAMILIES = {
    "losses": "Losses",
    "classifiers": "Classifiers over features of cross-entropy",
    "contrast": "Contrast beside the classifier",
    "images": "Images and features made for the tail",
}


@dataclasses.dataclass(frozen=True)
class MethodFacts:
    """A method in words.

    Attributes:
      title: the first sentence.
      text: paragraphs on how it works, what it costs and where it differs from its authors' code.
      family: a key of `FAMILIES`.
      paper: authors, title, venue and year.
      equation: the loss in one line.
      state: what it keeps beyond the parameters.
      printed: figures of its own paper or of Kim & Ko 2025.
    """

    title: str
    text: str
    family: str
    paper: str
    equation: str
    state: str
    printed: str


def facts(name: str) -> MethodFacts:
    """Reads what the docstring of a method's module says.

    Args:
      name: of a method of the package.

    Raises:
      ValueError: the docstring lacks a line or has an unknown family; the message names it.
    """
    module = inspect.getmodule(methods.method_class(name))
    source = inspect.getsource(module)
    return parsed(ast.get_docstring(ast.parse(source)) or "", module.__name__)


def parsed(docstring: str, where: str) -> MethodFacts:
    """The facts of a docstring.

    Args:
      docstring: cleaned of its indentation.
      where: it stands, for the error.

    Raises:
      ValueError: as `facts` does.
    """
    prose, mark, ending = docstring.partition(f"\n{_FACTS[0]}: ")
    entries = re.split(r"\n(?=[A-Z]\w+: )", f"{_FACTS[0]}: {ending}" if mark else "")
    found = {}
    for entry in filter(None, entries):
        key, _, value = entry.partition(": ")
        found[key] = " ".join(value.split())
    if tuple(found) != _FACTS:
        raise ValueError(
            f"the docstring of {where} must end with the lines {', '.join(_FACTS)}, in this order; "
            f"it has {', '.join(found) or 'none of them'}"
        )
    if found["Family"] not in FAMILIES:
        raise ValueError(
            f"the docstring of {where} has the family {found['Family']!r}; there are "
            f"{', '.join(FAMILIES)}"
        )
    title, _, text = prose.strip().partition("\n\n")
    own = {key.lower(): found[key] for key in _FACTS}
    return MethodFacts(title=" ".join(title.split()), text=text.strip(), **own)
