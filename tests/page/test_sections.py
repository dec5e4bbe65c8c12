"""What sections tell is what records and arrays have, computed in another way."""

import base64
import dataclasses

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from sklearn.neighbors import NearestNeighbors

from bccl_jax.config import flatten, get_config
from bccl_jax.evaluation.size_groups import size_groups
from bccl_jax.methods.base import Stage
from bccl_jax.page import charts
from bccl_jax.page.differences import against
from bccl_jax.page.markup import Markup, joined, name, tag
from bccl_jax.page.nearest import candidates, nearest
from bccl_jax.page.recipe import changes
from bccl_jax.page.section import Chart
from bccl_jax.page.sections import (
    calibration,
    classes,
    comparison,
    confusions,
    inside,
    profile,
    training,
)
from bccl_jax.page.thumbnails import SIDE, thumbnail
from tests.page.made_up import made_up
from tests.page.reading import Page
from tests.tiny import shipped_config

NAMES = tuple(f"class {k}" for k in range(12))


def unpacked(values):
    """What Plotly makes of packed numbers."""
    found = np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(f"<{values['dtype']}"))
    return found.reshape([int(n) for n in values.get("shape", f"{len(found)}").split(",")])


def chart(section, title):
    return next(p for p in section.parts if isinstance(p, Chart) and p.title.startswith(title))


def rows(section, caption):
    """The cells of a table, row by row."""
    html = "".join(part for part in section.parts if isinstance(part, Markup))
    made = html.partition(f"<caption>{caption}")[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [Page(cell).text for cell in row.replace("<td", "\0<td").split("\0")]
        for row in made.split("<tr>")[1:]
    ]


def test_elements_hold_what_they_are_given_and_nothing_more():
    made = tag("p", "<b>", tag("br"), None, "&", class_='"x"', data_at=3, hidden=True, title=None)
    assert made == '<p class="&quot;x&quot;" data-at="3" hidden>&lt;b&gt;<br>&amp;</p>'
    assert joined(["<", Markup("<i></i>")]) == "&lt;<i></i>"
    assert name("a\nb\udcff") == "<bdi>&#x27;a\\nb\\udcff&#x27;</bdi>"


def test_packed_numbers_are_the_same_in_the_browser(rng):
    for values in (rng.normal(size=(3, 4)).astype(np.float32), np.arange(5), np.array([np.nan])):
        np.testing.assert_array_equal(unpacked(charts.packed(values)), values)


def test_single_points_are_drawn():
    for values, mode in (
        ([1.0], "lines+markers"),
        ([np.nan, 1, np.nan, *np.ones(40)], "lines+markers"),
        (np.ones(40), "lines"),
    ):
        assert charts.line(range(len(values)), values, "x", "red")["mode"] == mode


@pytest.mark.parametrize(
    ("values", "ticks"),
    [([5, 100], [5, 10, 20, 50, 100]), ([1, 4980], [1, 10, 100, 1000]), ([0, 0], [1]), ([7], [])],
)
def test_ticks_of_a_logarithmic_axis_are_few_round_numbers(values, ticks):
    made = charts.log_axis("x", np.array(values))
    assert made["tickvals"] == ticks
    low, high = made["range"]
    assert all(low <= np.log10(value) <= high for value in values if value)


@pytest.mark.parametrize("last", [1, 7, 100, 400, 12345])
def test_ticks_of_epochs_are_whole_and_at_most_ten(last):
    made = charts.epochs(last)
    assert made["dtick"] == int(made["dtick"])
    assert last / made["dtick"] <= 10


def test_a_name_in_a_chart_is_cut_before_it_is_escaped():
    assert charts.label("<" * 20, 5) == "\u2068&lt;&lt;…&lt;&lt;\u2069"
    assert charts.label("plain") == "plain"


def test_classes_are_told_as_scikit_learn_counts_them():
    run = made_up(NAMES, images=9)
    judged = run.looked.details.evaluation.judged
    wanted = precision_recall_fscore_support(
        judged.labels, judged.predictions, zero_division=np.nan
    )
    section = classes.section(run)
    found = rows(section, "Classes, the worst first")
    assert len(found) == 12
    accuracies = [float(row[4]) for row in found]
    assert accuracies == sorted(accuracies)
    for title, group, trained, tested, recall, precision, f1 in found:
        k = NAMES.index(title)
        assert group == run.group_of[k]
        assert (int(trained), int(tested)) == (run.class_counts[k], 9)
        np.testing.assert_allclose(
            [float(precision), float(recall), float(f1)],
            [100 * column[k] for column in wanted[:3]],
            atol=0.05,
        )
    drawn = chart(section, "Accuracy by class").figure["data"]
    points = {
        text: (x, y)
        for trace in drawn
        if "text" in trace
        for text, x, y in zip(
            trace["text"], unpacked(trace["x"]), unpacked(trace["y"]), strict=True
        )
    }
    for k, title in enumerate(NAMES):
        np.testing.assert_allclose(
            points[title], [run.class_counts[k], run.per_class[k]], rtol=1e-6
        )


def test_the_csv_of_a_page_has_every_class(rng):
    run = made_up(tuple(f"c,{k}" for k in range(100)))
    html = "".join(part for part in classes.section(run).parts if isinstance(part, Markup))
    data = html.partition("base64,")[2].partition('"')[0]
    lines = base64.b64decode(data).decode().splitlines()
    assert len(lines) == 101
    assert sorted(int(line.split('",')[1].split(",")[0]) for line in lines[1:]) == [*range(100)]


def test_confusion_is_scikit_learns_by_the_size_of_the_classes():
    run = made_up(NAMES, images=9)
    judged = run.looked.details.evaluation.judged
    (trace,) = chart(confusions.section(run), "Where").figure["data"]
    matrix = confusion_matrix(judged.labels, judged.predictions, normalize="true")
    order = np.argsort(-run.class_counts, kind="stable")
    np.testing.assert_allclose(unpacked(trace["customdata"]), 100 * matrix[order][:, order], 1e-5)
    np.testing.assert_allclose(unpacked(trace["z"]) ** 2, matrix[order][:, order], 1e-5)


def test_many_classes_are_confused_in_groups():
    run = made_up(tuple(f"c{k}" for k in range(200)))
    (trace,) = chart(confusions.section(run), "Where").figure["data"]
    shares = unpacked(trace["customdata"])
    assert shares.shape == (20, 21)
    np.testing.assert_allclose(shares.sum(axis=1), 100, rtol=1e-5)
    judged = run.looked.details.evaluation.judged
    first = np.isin(judged.labels, size_groups(run.class_counts, 20)[0])
    right = (judged.labels == judged.predictions)[first].mean()
    np.testing.assert_allclose(shares[0, 0], 100 * right, rtol=1e-5)


def test_reliability_is_told_in_words_and_bars():
    run = made_up(NAMES, images=9)
    section = calibration.section(run)
    judged = run.looked.details.evaluation.judged
    right, sure = (judged.predictions == judged.labels).mean(), judged.confidences.mean()
    assert f"{100 * right:.1f} % of the predictions are right" in section.parts[0]
    assert f"is {100 * sure:.1f} %: the network is overconfident" in section.parts[0]
    bars = chart(section, "Reliability").figure["data"][0]
    images = unpacked(bars["customdata"])[:, 0]
    assert images.sum() == len(judged.labels)


def test_without_its_pictures_a_run_is_told_by_its_last_record():
    run = made_up(NAMES, looked=False)
    whole = made_up(NAMES)
    assert run.figures.of == "the test images"
    assert run.figures.record == whole.figures.record
    np.testing.assert_array_equal(run.totals.correct, whole.totals.correct)
    watched = dataclasses.replace(run, parts={"validation": "v", "test": "t"})
    # What its last epoch confused are pictures of the validation split.
    assert watched.totals is None
    assert "no record has which classes" in confusions.section(watched).lacking[0]
    ongoing = dataclasses.replace(run, results={})
    assert (ongoing.figures.epoch, ongoing.finished) == (6, False)


def test_bars_are_the_classes_with_their_names():
    run = made_up(NAMES)
    traces = chart(profile.section(run), "Training images").figure["data"]
    found = {
        text: count
        for trace in traces
        for text, count in zip(trace["text"], unpacked(trace["y"]), strict=True)
    }
    assert found == dict(zip(NAMES, run.class_counts.tolist(), strict=True))


def test_stages_that_have_begun_are_marked():
    run = dataclasses.replace(made_up(NAMES), stages=(Stage(2), Stage(3), Stage(9)))
    assert training.stage_starts(run) == [3, 6]
    shapes = chart(training.section(run), "Learning rate").figure["layout"]["shapes"]
    assert [shape["x0"] for shape in shapes] == [2.5, 5.5]


def test_what_is_inside_a_method_is_drawn_where_it_is_kept():
    titles = [part.title for part in inside.section(made_up(NAMES)).parts]
    assert titles == [
        "Cosines of embeddings within and between classes",
        "What each loss sends to the backbone",
        "Movement of the centroids",
        "Fill of each class's queue",
        "Age of the embeddings in each class's queue",
    ]
    moved = chart(inside.section(made_up(NAMES)), "Movement").figure["data"][0]
    np.testing.assert_array_equal(unpacked(moved["x"]), [1, 3, 5])
    np.testing.assert_array_equal(unpacked(moved["y"]), 9)


def test_differences_are_those_of_images_and_their_intervals_cover_a_bootstraps():
    first, other = (made_up(NAMES, n, s, images=40) for s, n in enumerate(("first", "other")))
    (found,), reasons = against([first, other])
    assert reasons == []
    right = [run.looked.details.evaluation.correct.astype(int) for run in (first, other)]
    labels = first.looked.details.evaluation.judged.labels
    for shot, difference in found.differences.items():
        wanted = other.figures.record[shot] - first.figures.record[shot]
        assert difference.mean == pytest.approx(wanted)
        group = first.groups.get(shot, np.ones(len(NAMES), bool))
        own = np.flatnonzero(group[labels])
        rng = np.random.default_rng(0)
        drawn = own[rng.integers(len(own), size=(4000, len(own)))]
        means = 100 * (right[1] - right[0])[drawn].mean(axis=1)
        np.testing.assert_allclose(
            [difference.low, difference.high], np.quantile(means, [0.025, 0.975]), atol=0.8
        )
    assert 0 < found.p <= 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"class_names": NAMES[::-1]}, "their classes are not the same"),
        ({"parts": {"test": "another"}}, "their test images are not the same"),
        ({"looked": None, "unseen": "no pictures."}, "other was not looked at: no pictures"),
    ],
)
def test_runs_on_other_images_are_not_compared(change, reason):
    first = made_up(NAMES, "first")
    other = dataclasses.replace(made_up(NAMES, "other", 1), **change)
    found, reasons = against([first, other])
    assert found == []
    assert reason in reasons[0]
    section = comparison.section([first, other])
    assert section.lacking == tuple(reasons)
    assert [p.title for p in section.parts if isinstance(p, Chart)] == ["Accuracy over epochs"]


def test_nearest_are_scikit_learns(rng):
    queries, others = rng.normal(size=(5, 7)), rng.normal(size=(30, 7))
    found = nearest(queries, others, 3)
    model = NearestNeighbors(n_neighbors=3, metric="cosine").fit(others)
    distances, indices = model.kneighbors(queries)
    np.testing.assert_array_equal(found.candidates, indices)
    np.testing.assert_allclose(found.cosines, 1 - distances, atol=1e-12)
    assert nearest(queries, others[:2], 3).candidates.shape == (5, 2)


def test_of_many_images_those_of_the_classes_that_matter_are_compared():
    labels = np.repeat(np.arange(10), 50)
    np.testing.assert_array_equal(candidates(labels, np.array([1]), 500, 3), np.arange(500))
    chosen = candidates(labels, np.array([7, 2, 7]), 499, 20)
    np.testing.assert_array_equal(np.bincount(labels[chosen]), [0, 0, 20, 0, 0, 0, 0, 20])
    assert len(set(chosen)) == 40


def test_thumbnails_are_small_and_keep_their_shape(rng):
    large = rng.integers(256, size=(300, 200, 3)).astype(np.uint8)
    made = Page(thumbnail(large, 'a "quoted" name')).tags[0][1]
    assert (made["alt"], made["height"], made["width"]) == ('a "quoted" name', str(SIDE), "75")
    assert len(made["src"]) < 12_000
    small = Page(thumbnail(large[:8, :8], "x")).tags[0][1]
    assert (small["class"], small["width"]) == ("pixels", str(SIDE))
    assert small["src"].startswith("data:image/png")


def test_a_runs_changes_are_those_from_the_nearest_recipe():
    config = shipped_config("digits_lt", "bccl")
    assert changes(flatten(config)) == ("digits_lt:bccl", {})
    config.epochs, config.data.dir = 7, "elsewhere"
    assert changes(flatten(config)) == ("digits_lt:bccl", {"epochs": (100, 7)})
    own = flatten(get_config("bccl")) | {"data.name": "mine", "seed": 3}
    recipe, changed = changes(own)
    assert recipe == ""
    assert changed["seed"] == (0, 3)
