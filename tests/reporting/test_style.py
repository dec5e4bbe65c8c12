"""One look for all pictures, and what matplotlib's renderer says of them."""

import ast
import json
import re
import tomllib

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from bccl_jax.data.long_tail import class_counts as long_tail
from bccl_jax.data.long_tail import shot_groups
from bccl_jax.inspecting.class_counts import class_counts
from bccl_jax.page.sections import classes, embedding, profile, training
from bccl_jax.reporting import plots, style
from bccl_jax.reporting.confusion import confusion
from bccl_jax.reporting.palette import KINDS, SHOTS
from experiments.embeddings import picture as embeddings
from experiments.embeddings.columns import Embedded
from faults.soak import picture as soak
from tests.drawn import faults
from tests.page.made_up import made_up
from tests.tiny import ROOT

SOURCES = [
    path
    for folder in ("bccl_jax", "experiments", "benchmarks", "faults")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
SPOKEN = r"Figure\(|pyplot|rcParams|rc_context|savefig|print_png"
# What makes figures for those that are styled.
WITHIN = {("experiments/figures/style.py", "frame")}
# Of others that must know of settings: a user's fonts, and the backend that is never started.
SETTINGS = {"bccl_jax/reporting/" + name for name in ("style.py", "lettering.py", "__init__.py")}


def names(number):
    return tuple(f"ant {k}" if k % 2 else f"a name with many letters {k}" for k in range(number))


def test_all_pictures_are_made_and_written_in_the_one_style():
    made, wrong = 0, []
    for path in SOURCES:
        text, where = path.read_text(), path.relative_to(ROOT).as_posix()
        # To parse all of them takes seconds.
        for node in ast.walk(ast.parse(text)) if re.search(SPOKEN, text) else ():
            spoken = getattr(node, "attr", None) or getattr(node, "module", None) or ""
            if "pyplot" in spoken:
                wrong.append(f"{where}: pyplot")
            if spoken in ("rcParams", "rc_context") and where not in SETTINGS:
                wrong.append(f"{where}: {spoken}")
            if spoken in ("savefig", "print_png") and where != "bccl_jax/reporting/style.py":
                wrong.append(f"{where}: {spoken}")
            if not isinstance(node, ast.FunctionDef):
                continue
            calls = [n for n in ast.walk(node) if isinstance(n, ast.Call)]
            if any(getattr(call.func, "id", "") == "Figure" for call in calls):
                made += 1
                by = {ast.unparse(decorator) for decorator in node.decorator_list}
                if not by & {"styled()", "style.styled()"} and (where, node.name) not in WITHIN:
                    wrong.append(f"{where}: {node.name} makes a figure without the style")
    assert wrong == []
    assert made >= 6


def test_the_style_has_the_palettes_colours_and_is_installed():
    with style.styled():
        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [to_hex(color).upper() for color in cycle] == list(KINDS)
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    (file,) = data["package-data"]["bccl_jax.reporting"]
    assert (ROOT / "bccl_jax" / "reporting" / file).is_file()


def settings():
    """Of matplotlib, as they are: to ask for a backend would choose one."""
    found = {name: value for name, value in dict.items(matplotlib.rcParams) if name != "backend"}
    return found | {"backend": matplotlib.rcParams._get("backend")}


def test_what_users_set_changes_no_picture_and_is_theirs_afterwards(tmp_path):
    counts = np.array([90, 30, 4])
    drawing = counts, shot_groups(counts), ("ant", "bee", "cow"), "title"
    plain = style.encoded(class_counts(*drawing), "png")
    own = {
        "axes.facecolor": "black",
        "font.size": 31,
        "figure.dpi": 30,
        "savefig.dpi": 20,
        "axes.grid": False,
        "xtick.direction": "in",
        "axes.formatter.use_locale": True,
    }
    with matplotlib.rc_context(own):
        before = settings()
        assert style.encoded(class_counts(*drawing), "png") == plain
        with style.styled():
            assert matplotlib.rcParams["font.size"] != 31
        with pytest.raises(ZeroDivisionError), style.styled():
            raise ZeroDivisionError
        assert settings() == before
    with matplotlib.rc_context({"font.family": ["serif"]}), style.styled():
        # But for fonts, by which the letters of names are found.
        assert matplotlib.rcParams["font.family"] == ["serif"]


def records(number, fine, classes):
    """Epochs of a run, the last of which is evaluated."""
    rng = np.random.default_rng(0)
    train = {"loss": 2.0, "contrastive_loss": 1.0, "classification_loss": 1.0, "centroid_loss": 0.5}
    found = [{"epoch": k + 1, "train": train} for k in range(number)]
    if fine:
        gradients = {"contrastive_gradient": [0.1, 0.2], "classification_gradient": [0.2, 0.1]}
        cosines = {"cosine_within": [0.5, 0.9], "cosine_between": [0.4, -0.1]}
        found[-1]["quarters"] = gradients | cosines
    shots = {"top1": 40.0, "all": 55.0, "many": 60.0, "medium": 50.0, "few": 70.0}
    found[-1]["eval"] = shots | {"per_class": rng.uniform(0, 100, classes).tolist()}
    found[-1]["eval_ema"] = found[-1]["eval"]
    return json.loads(json.dumps(found))


@pytest.mark.parametrize(
    ("epochs", "fine", "number"), [(1, True, 10), (1, False, 1), (200, False, 1000)]
)
def test_a_run_of_any_size_has_a_picture_that_reads(epochs, fine, number):
    counts = long_tail(number, 500, 100)
    counts[-1] = 0
    rows = records(epochs, fine, number)
    figure = plots.report(
        rows, counts, shot_groups(counts), names(number), "long " * 16 + "\nmore", "test"
    )
    assert faults(figure) == []
    losses, accuracies, by_class, *_ = figure.axes
    for axes in (losses, accuracies):
        for line in axes.lines:
            # One point is one, on an axis on which it is not the whole.
            alone = np.isfinite(line.get_ydata()).sum() == 1
            assert not alone or line.get_marker() not in ("", "None", None)
        assert axes.get_xlim()[0] == 0
        assert axes.get_xlim()[1] > epochs
    assert losses.get_ylim()[0] <= 0
    ticks = [text.get_text() for axes in figure.axes for text in axes.get_xticklabels()]
    assert not any("$" in text or "10^" in text or "e" in text for text in ticks)
    assert len(by_class.texts) == {10: 10, 1: 1, 1000: 6}[number]
    # An empty class stands beside the others.
    assert by_class.get_xticklabels()[-1 if number == 1 else 0] is not None
    assert "0" in [text.get_text() for text in by_class.get_xticklabels()]


@pytest.mark.parametrize("number", [1, 12, 8142])
def test_any_number_of_classes_has_a_picture_of_its_counts(number):
    counts = long_tail(number, 5000, 1000) if number > 1 else np.array([7])
    figure = class_counts(counts, shot_groups(counts), names(number), "counts")
    assert faults(figure) == []


@pytest.mark.parametrize("number", [2])
def test_a_confusion_reads(number):
    shares = np.full((number, number), 1 / number)
    labels = [f"{'m' * 23}… ({k})" for k in range(number)]
    note = "n" * 100 + "\n" + "n" * 60
    assert faults(confusion(shares, labels, labels, "title", note)) == []


def column(classes, dimensions):
    rng, counts = np.random.default_rng(1), long_tail(classes, 500, 100)
    labels = np.repeat(np.arange(classes), 4)
    features = rng.normal(size=(classes, dimensions))[labels]
    features += 0.1 * rng.normal(size=features.shape)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return Embedded("bccl", features, labels, counts, names(classes), shot_groups(counts))


def test_names_of_embeddings_lie_on_nothing():
    figure = embeddings.draw([column(10, 2), column(20, 2), column(21, 6)], 50)
    assert faults(figure) == []
    assert [len(axes.texts) for axes in figure.axes] == [10, 20, 0]


def test_the_picture_of_a_soak_reads_of_one_sample_too():
    keys = {name for row in soak.ROWS.values() for name in row.values()}
    sample = {"step": 20, **dict.fromkeys(keys, 2.0**31)}
    for samples in ([sample], [sample | {"step": 9000 * k} for k in range(40)]):
        figure = soak.draw({"epochs": samples, "resumes": samples})
        assert faults(figure) == []
        (line, *_) = figure.axes[0].lines
        assert (line.get_marker() == "o") == (len(samples) == 1)


def test_a_shot_group_has_its_colour_in_every_picture():
    counts, found = long_tail(10, 500, 100), []
    groups = shot_groups(counts)
    report = plots.report(records(3, False, 10), counts, groups, names(10), "title")
    found += [
        {line.get_label(): line.get_color() for line in report.axes[1].lines},
        dict(
            zip(groups, (to_hex(c.get_facecolor()[0]) for c in report.axes[2].collections[::2]),
                strict=True)
        ),
    ]  # fmt: skip
    bars = class_counts(counts, groups, names(10), "title").axes[0].containers[::1]
    found.append({b.get_label().partition(":")[0]: to_hex(b[0].get_facecolor()) for b in bars})
    points = embeddings.draw([column(10, 6)], 40).axes[0].collections
    found.append({n: to_hex(c.get_facecolor()[0]) for n, c in zip(groups, points, strict=False)})
    run = made_up(names(10))
    for section in (profile, classes, embedding, training):
        for chart in section.section(run).parts:
            traces = getattr(chart, "figure", {}).get("data", [])
            colors = {
                trace["name"].partition(" ")[0].strip(","): trace["marker"]["color"]
                for trace in traces
                if "marker" in trace and "name" in trace
            }
            # In one order, too.
            shots = [name for name in colors if name in SHOTS]
            assert shots == [name for name in SHOTS if name in shots]
            found.append({name: colors[name] for name in shots})
    told = [(name, color.upper()) for one in found for name, color in one.items() if name in SHOTS]
    assert len(told) >= 20
    assert {(name, color) for name, color in told if color != SHOTS[name].upper()} == set()
