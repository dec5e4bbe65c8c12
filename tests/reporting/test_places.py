"""Where names, ticks and pictures of a picture go."""

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bccl_jax.reporting.name_places import free_places
from bccl_jax.reporting.picture_grid import picture_grid
from bccl_jax.reporting.scales import log_ticks, marked, plain

BOUNDS = (0, 0, 300, 200)


@settings(max_examples=40)
@given(
    anchors=arrays(float, (8, 2), elements=st.floats(0, 200)),
    sizes=arrays(float, (8, 2), elements=st.floats(4, 90)),
)
def test_names_lie_on_no_other_and_within_bounds(anchors, sizes):
    sizes[:, 1] = 12
    places = free_places(anchors, sizes, anchors, BOUNDS)
    boxes = np.concatenate([places - sizes / 2, places + sizes / 2], axis=1)
    there = boxes[~np.isnan(boxes).any(axis=1)]
    assert (there >= 0).all()
    assert (there <= [300, 200, 300, 200]).all()
    for i, one in enumerate(there):
        for other in there[:i]:
            apart = (one[:2] >= other[2:]) | (one[2:] <= other[:2])
            assert apart.any()
    # The first has all room but for the points.
    assert not np.isnan(places[0]).any()


def test_a_name_rather_goes_aside_than_onto_points():
    anchor, size = np.array([[100.0, 100.0]]), np.array([[40.0, 10.0]])
    beside = np.stack([np.linspace(102, 150, 20), np.full(20, 100.0)], axis=1)
    (free,) = free_places(anchor, size, anchor, BOUNDS)
    assert free[0] > 100
    (aside,) = free_places(anchor, size, np.concatenate([anchor, beside]), BOUNDS)
    assert aside[0] < 100
    assert aside[1] == 100


def test_names_without_a_place_are_none():
    anchors, sizes = np.full((9, 2), 10.0), np.full((9, 2), 14.0)
    places = free_places(anchors, sizes, anchors, (0, 0, 40, 40))
    there = ~np.isnan(places).any(axis=1)
    assert 0 < there.sum() < 9
    assert there[0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (4, 120, [5, 10, 20, 50, 100]),
        (0.4, 3, [0.5, 1, 2]),
        (1, 5000, [1, 10, 100, 1000]),
        (6, 9, []),
    ],
)
def test_ticks_of_a_logarithmic_axis(low, high, expected):
    np.testing.assert_allclose(log_ticks(low, high), expected)


def test_numbers_are_written_plainly():
    assert [plain(x) for x in (1000.0, 0.02, 1e6, 0.5)] == ["1,000", "0.02", "1,000,000", "0.5"]


def test_points_that_no_line_would_show_are_marked():
    assert marked([1.0])
    assert marked([1.0] * 30)
    assert not marked([1.0] * 31)
    assert marked([*[1.0] * 40, None, 2.0, None, *[1.0] * 40])
    assert not marked([*[1.0] * 40, None, *[1.0] * 40])


def test_a_grid_has_its_pictures_pixel_for_pixel_where_it_says(rng):
    pictures = [rng.integers(256, size=(8, w, 3)).astype(np.uint8) for w in (8, 5, 8)]
    rows = [pictures[:2], pictures[2:]]
    captions = [[[("m" * 40, "red")]] * 2, [[("a", "black"), ("b", "black")]]]
    grid = picture_grid(rows, "title", ["one\ntwo", "w" * 99], [["ant", "few"], ["bee"]], captions)
    assert grid.zoom == 12
    assert [len(row) for row in grid.corners] == [2, 1]
    for row, corners in zip(rows, grid.corners, strict=True):
        for picture, (top, left) in zip(row, corners, strict=True):
            height, width = (12 * side for side in picture.shape[:2])
            found = grid.drawing[top : top + height, left : left + width]
            np.testing.assert_array_equal(found[::12, ::12], picture)
            assert (found == picture.repeat(12, 0).repeat(12, 1)).all()
    # What is written above and below a picture ends where the picture does.
    right = grid.drawing[:, -8:]
    assert (right == 255).all()


@pytest.mark.parametrize("name", ["m" * 40, "a warbler of the north that is black-throated"])
def test_a_caption_stays_below_its_picture(name):
    picture = np.full((8, 8, 3), 200, np.uint8)
    captions = [[[(f"true: {name}", "red"), ("certain", "blue")], [("cat", "black")]]]
    grid = picture_grid([[picture, picture]], "title", captions=captions)
    ((top, left), (_, right)), side = grid.corners[0], 8 * grid.zoom
    red, blue = (
        np.argwhere((grid.drawing[..., channel] > 200) & (grid.drawing.min(axis=2) < 100))
        for channel in (0, 2)
    )
    assert red[:, 0].min() >= top + side
    assert (red[:, 1].min(), red[:, 1].max()) >= (left, left + side // 2)
    assert red[:, 1].max() < left + side < right
    # More than one line of it, and none on what follows.
    assert red[:, 0].max() - red[:, 0].min() > 20
    assert red[:, 0].max() < blue[:, 0].min()


def test_a_grid_of_no_picture_has_its_title():
    grid = picture_grid([], "no mistake in 800 images")
    assert grid.corners == []
    ink = np.flatnonzero((grid.drawing < 128).any(axis=(0, 2)))
    # Whole: as much air on the right as on the left.
    assert ink[0] < 16
    assert ink[-1] < grid.drawing.shape[1] - 5


def test_letters_come_from_the_first_font_that_has_them():
    picture = [[np.zeros((96, 96, 3), np.uint8)]]
    # Among matplotlib's own fonts this one lacks letters such as ñ.
    with matplotlib.rc_context({"font.family": ["cmsy10", "DejaVu Sans"]}):
        mixed = picture_grid(picture, "ññññ").drawing
    with matplotlib.rc_context({"font.family": ["DejaVu Sans"]}):
        np.testing.assert_array_equal(picture_grid(picture, "ññññ").drawing, mixed)
    with matplotlib.rc_context({"font.family": ["cmsy10"]}):
        assert not np.array_equal(picture_grid(picture, "ññññ").drawing, mixed)
