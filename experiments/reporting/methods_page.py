"""docs/methods.md: every method, from its docstring, and what was measured of it, from records."""

import pathlib
from collections.abc import Mapping, Sequence

from bccl_jax import methods

from ..designing.design import Scale
from ..designing.every_method import ALL_METHODS
from ..records import gathering
from ..records.gathering import Section
from ..records.kept import (
    SIZES,
    largest_step_cost,
    ratios,
    read_records,
    step_cost,
    timed_on,
)
from ..records.results import Record
from ..tables.every_method import in_full, overview
from .method_facts import FAMILIES, MethodFacts, facts

COMMAND = "python -m experiments.methods_page"
_TITLES = {
    "small": "A fifth of CIFAR-100-LT at 16 pixels: small",
    "middle": "All classes at 16 pixels: middle",
    "full": "CIFAR-100-LT: full",
}
_SEEDS = 3


def page(records_folder: pathlib.Path) -> str:
    """The page.

    Args:
      records_folder: with record files, *.jsonl.xz, and the figures of `benchmarks.methods` at a
        size, step_cost_SIZE.json, of whatever sizes were measured.

    Returns:
      Markdown.

    Raises:
      ValueError: the docstring of a method's module lacks what the page needs.
    """
    records = read_records(records_folder)
    costs = {size: step_cost(records_folder, size) for size in SIZES}
    found = {name: facts(name) for name in methods.shipped()}
    sections = {size: _section(dataset, records) for size, dataset in SIZES.items()}
    cost = largest_step_cost(records_folder)
    to_cross_entropy = ratios(cost)
    papers = {row.name: _authors(found[row.method.partition(",")[0]]) for row in ALL_METHODS.rows}
    parts = [
        "# Methods",
        f"<!-- Written by `{COMMAND}` from the docstrings of `bccl_jax/methods/` and the files of\n"
        "`docs/records/`; a test compares. Change those. -->",
        _INTRODUCTION,
        overview(sections, papers, to_cross_entropy, sections["full"]),
        _how_to_read(cost),
    ]
    for family, title in FAMILIES.items():
        parts.append(f"## {title}")
        for name, own in found.items():
            if own.family == family:
                parts.append(_method(name, own, to_cross_entropy.get(name)))
    for size, section in sections.items():
        if section.records:
            seconds = {row["method"]: row["seconds a step"] for row in costs[size]["rows"]}
            parts += [f"## {_TITLES[size]}", in_full(section, seconds)]
            if seconds:
                parts.append(f"Steps were timed {timed_on(costs[size])}.")
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
Each method is a word behind a config, `--config=cifar100_lt:bcl`, and runs on every
data set. By itself it has the harness's recipe (*fair*): the images, backbone, optimizer, schedule,
epochs and batch of BCCL; only what is the method's own differs. `:bcl,published` is its authors'
recipe, where they have one for the data set. `--print_config` prints either. Which method to take
is on [a page of its own](choosing_a_method.md)."""


def _how_to_read(cost: Mapping) -> str:
    timed = f", {timed_on(cost)}. Another device has other ratios" if cost["rows"] else ""
    return f"""\
- *a step*: time of a training step, views included, over that of `cross_entropy`{timed}.
  CUDA's are with all classes at level 0; each level that a batch draws adds a round of operations.
- *printed*: accuracy in percent on CIFAR-100-LT at imbalance 100 in Kim & Ko 2025, ResNet-32, 200
  epochs. Figures of the methods' own papers stand below, by method.
- *small*, *middle*, *full*: what this harness reached by the fair recipe, accuracy on all classes
  of the test split in percent at the last epoch, mean ± standard deviation over three seeds unless
  said otherwise. The three sizes are in [results.md](results.md); small and middle say which of two
  methods is better at that size, and nothing of the printed figures. "–" was not measured."""


def _section(dataset: str, records: Sequence[Record]) -> Section:
    scale = Scale(seeds=_SEEDS, datasets=(dataset,), imbalances=(100.0,))
    return gathering.gather_newest(ALL_METHODS, scale, records)[0]


def _method(name: str, own: MethodFacts, ratio: float | None) -> str:
    recipes = ", ".join(methods.method_class(name).published)
    lines = [
        f"paper: {own.paper}",
        f"loss: {own.equation}",
        f"kept beyond the parameters: {own.state}",
        f"printed: {own.printed}",
        "published recipe: " + (f"{recipes}." if recipes else "none."),
    ]
    if ratio is not None:
        lines.insert(3, f"a step: {ratio:.2f} times that of `cross_entropy`.")
    bullets = "\n".join(f"- {line}" for line in lines)
    return "\n\n".join(filter(None, (f"### `{name}`", own.title, own.text, bullets)))


def _authors(own: MethodFacts) -> str:
    """Authors and year of a paper, "–" of none."""
    authors, _, rest = own.paper.partition(', "')
    years = [word.strip(".,()") for word in rest.split() if word.strip(".,()").isdecimal()]
    years = [word for word in years if len(word) == 4]
    return f"{authors} {years[0]}" if years else "–"
