"""Pictures take every name: no warning, which the test suite makes an error, and no failure."""

import subprocess
import sys
import unicodedata

import matplotlib
import numpy as np
import pytest

from bccl_jax.inspecting.class_counts import save_class_counts
from bccl_jax.reporting.lettering import LONGEST, MISSING, drawable, label
from bccl_jax.reporting.plots import save_report
from tests.tiny import ROOT

NAMES = (
    "ñandú",
    "中文字",
    "😀🥑👩‍👩‍👧❤️",
    "مرحبا",
    "עברית",
    "हिन्दी",
    "$5",
    "$\\frac{$",
    "\\$",
    "a_b^c{d}%#&~",
    "x" * 300,
    "中" * 300,
    "two\nlines\tand\x00\x1b[31m",
    "caf\udce9",
    "",
    " ",
    "e\u0301\u200d\u202e\ufeff",
)


@pytest.mark.parametrize(
    "names", [NAMES, NAMES * 3, NAMES[6:8] * 25, ("中" * 300, *NAMES * 3, "two\nlines")]
)
def test_class_counts_are_drawn_whatever_the_names_hold(names, tmp_path):
    counts = np.arange(len(names), 0, -1)
    groups = {"many": counts >= 9, "medium": counts < 9}
    save_class_counts(tmp_path / "counts.png", counts, groups, names, "".join(NAMES[:10]))
    assert (tmp_path / "counts.png").stat().st_size > 1000


def test_a_report_is_drawn_whatever_its_title_holds(tmp_path):
    evaluation = {"all": 50.0, "many": 50.0, "medium": None, "few": None, "per_class": [50.0]}
    records = [{"epoch": 1, "train": {"loss": 1.0}, "eval": evaluation}]
    names, groups = ("$\\frac{$ 中",), {"many": np.ones(1, bool)}
    path = tmp_path / "report.png"
    save_report(path, records, np.array([3]), groups, names, "中 $\\x$ 😀")
    assert path.exists()


def test_what_the_font_has_stays_and_the_rest_is_a_square():
    assert drawable("ñ$ 中\n🥑") == f"ñ$ {MISSING} {MISSING}"
    assert label("x" * LONGEST) == "x" * LONGEST
    assert label("x" * 300) == "x" * 12 + "…" + "x" * 11


def test_long_names_that_differ_at_either_end_stay_apart():
    birds = [
        f"{side}northern black-throated warbler{sex}" for side, sex in ("  ", " m", "a ", "am")
    ]
    assert len({label(bird) for bird in birds}) == len(birds)
    assert all(len(label(bird)) == LONGEST for bird in birds)


def test_a_font_of_the_users_own_is_taken(monkeypatch):
    # Among matplotlib's own fonts this one alone lacks letters such as ñ.
    with matplotlib.rc_context({"font.family": ["cmsy10"]}):
        assert drawable("ñ") == MISSING
    with matplotlib.rc_context({"font.family": ["cmsy10", "DejaVu Sans"]}):
        assert drawable("ñ") == "ñ"


BACKENDS = """
import os, sys
for name in ("module://matplotlib_inline.backend_inline", "svg"):
    os.environ["MPLBACKEND"] = name
    for module in [m for m in sys.modules if m.startswith(("matplotlib", "bccl_jax.reporting"))]:
        del sys.modules[module]
    import bccl_jax.reporting.plots
    import matplotlib
    assert os.environ["MPLBACKEND"] == name
    print(matplotlib.rcParams._get("backend") if name == "svg" else "")
"""


def test_a_backend_that_is_not_installed_is_left_alone():
    done = subprocess.run(
        [sys.executable, "-c", BACKENDS], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["svg"]


def test_a_name_is_cut_between_letters_whichever_way_its_accents_are_written():
    name = "Übergröße der Straßenbähnchen, größtenteils grün"
    apart = unicodedata.normalize("NFD", name)
    assert len(apart) > len(name)
    assert label(apart) == label(name)
    assert len(label(name)) == LONGEST
