import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from bccl_jax.data.long_tail import shot_groups
from bccl_jax.inspecting.class_counts import class_counts, save_class_counts
from bccl_jax.reporting.palette import SHOTS as COLORS

COUNTS = np.array([3, 200, 50, 7, 120, 50])
NAMES = ("ant", "bee", "cow", "dog", "a$b", "a name of more than twenty-four letters")


def test_few_classes_are_bars_with_names_the_largest_first():
    figure = class_counts(COUNTS, shot_groups(COUNTS), NAMES, "title")
    (axes,) = figure.axes
    tops = {
        round(bar.get_y() + bar.get_height() / 2): (
            bar.get_x() + bar.get_width(),
            bar.get_facecolor(),
        )
        for bar in axes.patches
    }
    shots = ["many", "many", "medium", "medium", "few", "few"]
    for rank, (count, shot) in enumerate(zip([200, 120, 50, 50, 7, 3], shots, strict=True)):
        top, color = tops[rank]
        assert top == pytest.approx(count)
        assert color == to_rgba(COLORS[shot])
    ticks = [tick.get_text() for tick in axes.get_yticklabels()]
    # Classes of one size keep their order.
    assert ticks == ["bee", "a$b", "cow", "a name of mo…our letters", "dog", "ant"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "many: 2 classes, 320 images",
        "medium: 2 classes, 100 images",
        "few: 2 classes, 10 images",
    ]
    # The largest class on top.
    assert axes.yaxis_inverted()
    assert axes.get_xscale() == "log"
    assert figure.get_suptitle() == "title"


def test_many_classes_are_steps_of_which_the_ends_are_told():
    counts = np.arange(1, 301)[::-1]
    names = tuple(f"class {k}" for k in range(300))
    (axes,) = class_counts(counts, shot_groups(counts), names, "title").axes
    drawn = [patch.get_data() for patch in axes.patches]
    np.testing.assert_array_equal(np.concatenate([data.values for data in drawn]), counts)
    np.testing.assert_array_equal([data.edges[0] for data in drawn], [-0.5, 199.5, 280.5])
    assert [text.get_text() for text in axes.texts] == ["class 0: 300", "class 299: 1"]


@pytest.mark.parametrize("counts", [[5, 5, 5], [9, 0, 0], [0, 0], [1], [5] * 50, [0] * 50])
def test_any_counts_make_a_picture(tmp_path, counts):
    counts = np.array(counts)
    names = tuple(f"name {k}" for k in range(len(counts)))
    save_class_counts(tmp_path / "picture.png", counts, shot_groups(counts), names, "title")
    with Image.open(tmp_path / "picture.png") as image:
        assert image.width == 990
