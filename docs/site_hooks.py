"""What mkdocs does to the pages beside what its plugins do.

A block `source` becomes the lines of a function. Equations become MathML and the map of imports a
table, so that no page needs a script from elsewhere. CHANGELOG.md and CONTRIBUTING.md of the root
become pages. Links by a page's file name get the page's title; links to files outside docs/, which
the site does not hold, become the files' names.
"""

import ast
import inspect
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).resolve().parents[1]
FROM_ROOT = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
_MATH = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SOURCE = re.compile(r"^```source\n(.*?)\n```$", re.MULTILINE)
_BY_FILE = re.compile(r"\[(?:docs/)?(\w+\.md)\](?=\((?:\.\./)?\1)")
_OUTSIDE = re.compile(r"\[([^\]]*)\]\((?:\.\./)+(?!docs/)[^)]*\)")


def on_files(files, config):
    """Adds the pages that lie at the root of the repository."""
    from mkdocs.structure.files import File

    for page, name in FROM_ROOT.items():
        # Their links are from the root.
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown, config, **_):
    """Lines of functions, equations, the map of imports, and links."""
    titles = {path: title for part in config.nav for title, path in _entries(part)}
    # One that the navigation lacks is told by mkdocs.
    markdown = _BY_FILE.sub(lambda found: f"[{titles.get(found[1], found[1])}]", markdown)
    markdown = _SOURCE.sub(lambda found: code(found[1]), markdown)
    markdown = _MATH.sub(lambda found: equation(found[1]), markdown)
    markdown = _MERMAID.sub(lambda found: imports(found[1]), markdown)
    return _OUTSIDE.sub(lambda found: found[1], markdown)


def _entries(part):
    for title, below in part.items():
        if isinstance(below, str):
            yield title, below
        else:
            for each in below:
                yield from _entries(each)


def code(asked):
    """A block of Python with lines of a function as they are.

    Args:
      asked: `FILE NAME ["FROM" "TO"]`: the function, or the method of a class; of its lines those
        from the first that begins with FROM to the end of the statement that begins with TO.

    Raises:
      ValueError: there is no such function, or no such line.
    """
    path, name, *ends = shlex.split(asked)
    body = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    source = (ROOT / path).read_text(encoding="utf-8").splitlines()
    for part in name.split("."):
        found = [node for node in body.body if getattr(node, "name", None) == part]
        if not found:
            raise ValueError(f"{path} has no {name}, which a page shows")
        (body,) = found
    first, last = body.lineno, body.end_lineno
    if ends:
        first = _line(body, ends[0], source, path, asked).lineno
        last = _line(body, ends[1], source, path, asked, first).end_lineno
    lines = inspect.cleandoc("\n" + "\n".join(source[first - 1 : last]))
    return f'```python title="{path}"\n{lines}\n```'


def _line(body, begins, source, path, asked, after=0):
    """The first statement at or after a line whose own line begins so."""
    for node in sorted(
        (n for n in ast.walk(body) if isinstance(n, ast.stmt)), key=lambda n: n.lineno
    ):
        if node.lineno >= after and source[node.lineno - 1].strip().startswith(begins):
            return node
    raise ValueError(f"{path}: no statement begins with {begins!r}, as a page has it: {asked}")


def equation(latex):
    """An equation as MathML, which browsers draw by themselves.

    Args:
      latex: its source, in lines.
    """
    from latex2mathml import converter

    return (
        f'<div class="equation">{converter.convert(" ".join(latex.split()), display="block")}</div>'
    )


def imports(flowchart):
    """The edges of a flowchart of Mermaid as a table of what each package imports.

    Args:
      flowchart: its source.
    """
    named = re.findall(r'(\w+)\["\w+<br/>(.*?)"\]', flowchart)
    edges = dict(re.findall(r"^\s*(\w+) --> (.*)$", flowchart, re.MULTILINE))
    rows = [
        f"| `{name}` | {about} | {edges.get(name, '').replace(' & ', ', ')} |"
        for name, about in named
    ]
    return "\n".join(["| | what it is | imports |", "|---|---|---|", *rows])
