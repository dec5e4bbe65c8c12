"""A page as a reader of HTML has it: what is open, what is named, what would be loaded."""

import json
import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Reads a page and notes what is wrong with it.

    Attributes:
      wrong: ends that belong to no beginning, and what stays open.
      tags: (name, attributes) in order.
      text: all that is to be read, without scripts and styles.
      scripts: (type, content).
    """

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.wrong, self.tags, self.text, self.scripts, self._open = [], [], "", [], []
        self.feed(html)
        self.close()
        self.wrong += [f"<{name}> stays open" for name in self._open]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.wrong.append(f"<{tag}> has an attribute twice")
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append([dict(attrs).get("type"), ""])
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"</{tag}> ends nothing")

    def handle_data(self, data):
        inside = self._open[-1] if self._open else None
        if inside == "script":
            self.scripts[-1][1] += data
        elif inside != "style":
            self.text += data

    @property
    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]

    @property
    def addresses(self):
        """Everything that a browser might load or follow."""
        kinds = ("src", "href", "action", "data", "poster", "srcset", "background")
        return [a[kind] for _, a in self.tags for kind in kinds if a.get(kind)]

    @property
    def headings(self):
        return [int(tag[1]) for tag, _ in self.tags if re.fullmatch("h[1-6]", tag)]

    @property
    def figures(self):
        return next(json.loads(text) for kind, text in self.scripts if kind == "application/json")
