"""What pages of the site are made of: the keys of the config, the pictures, code of the package."""

import importlib.util
import re

import numpy as np
import pytest

from bccl_jax import config as default
from bccl_jax import methods
from bccl_jax.config import flatten
from experiments import concept_figures, keys_page
from experiments.records.kept import read_records
from tests.drawn import faults
from tests.tiny import ROOT

DOCS = ROOT / "docs"


def site_hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_keys_are_what_they_would_be_written_as_now():
    written = (DOCS / "config_keys.md").read_text(encoding="utf-8")
    assert written == keys_page.page(), "run python -m experiments.keys_page"


def test_every_key_of_every_method_has_a_row_with_its_default_and_meaning():
    text = keys_page.page()
    common, *of_methods = re.split(r"^### ", text, flags=re.MULTILINE)
    assert [part.splitlines()[0] for part in of_methods] == list(methods.shipped())
    for name, part in zip(methods.shipped(), of_methods, strict=True):
        for key, value in flatten(default.get_config(name)).items():
            if key == "method.name":
                continue
            rows = [r for r in (common + part).splitlines() if r.startswith(f"| `{key}` |")]
            assert len(rows) == 1, key
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[0])[1:-1]]
            assert all(cells), rows[0]
            if key.startswith("method."):
                assert cells[1] == (f"`{value!r}`" if value != "" else '`""`')


def test_pictures_of_the_concepts_show_the_records():
    found = concept_figures.of_shown(read_records(DOCS / "records", concept_figures.RECORDS))
    assert {len(records) for records in found.values()} == {3}
    figures = concept_figures.groups_figure(found), concept_figures.classes_figure(found)
    for figure in (*figures, concept_figures.counts_figure()):
        assert faults(figure) == []
    groups = figures[0].axes[0]
    heights = [bar.get_height() for bar in groups.containers[1]]  # of logit adjustment
    few = [record["last"]["few"] for record in found["logit_adjustment"]]
    assert heights[3] == pytest.approx(sum(few) / 3)
    above, below = figures[1].axes
    plain = [record["last"]["per_class"][0] for record in found["cross_entropy"]]
    assert above.patches[0].get_height() == pytest.approx(np.mean(plain))
    gained = below.patches[0].get_height() + np.mean(plain)
    adjusted = [record["last"]["per_class"][0] for record in found["logit_adjustment"]]
    assert gained == pytest.approx(np.mean(adjusted))
    (bars, _) = concept_figures.counts_figure().axes
    assert sum(bar.get_height() for bar in bars.patches) == 10_847


@pytest.mark.parametrize("path", sorted(DOCS.glob("assets/*.png")), ids=lambda path: path.name)
def test_pictures_are_small_and_shown(path):
    assert path.stat().st_size < 80_000
    assert any(path.name in page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))


def test_code_on_pages_is_that_of_the_package():
    asked = [
        found
        for page in DOCS.glob("*.md")
        for found in re.findall(r"^```source\n(.*?)\n```$", page.read_text(), re.MULTILINE)
    ]
    assert asked
    hooks = site_hooks()
    for each in asked:
        lines = hooks.code(each).splitlines()[1:-1]
        path = ROOT / each.split()[0]
        source = {line.strip() for line in path.read_text(encoding="utf-8").splitlines()}
        assert {line.strip() for line in lines} <= source
        assert len(lines) < 25, "an excerpt that nobody reads"


def test_code_that_is_gone_is_told():
    hooks = site_hooks()
    with pytest.raises(ValueError, match="has no BCCL.lost"):
        hooks.code("bccl_jax/methods/bccl.py BCCL.lost")
    with pytest.raises(ValueError, match="no statement begins with 'nowhere'"):
        hooks.code('bccl_jax/methods/bccl.py BCCL.loss "nowhere" "return"')


def test_the_map_of_imports_is_a_table():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    (chart,) = re.findall(r"^```mermaid\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rows = site_hooks().imports(chart).splitlines()
    assert len(rows) - 2 == len(re.findall(r'\["', chart))
    assert next(row for row in rows if row.startswith("| `methods`")).endswith(
        "| data, augment, losses, models, optimization |"
    )
