"""What matplotlib's renderer says of a figure: is all text within it, and none on other things."""

import itertools

import numpy as np
import pytest
from matplotlib.text import Text

from bccl_jax.reporting.style import styled


@styled()
def faults(figure):
    """What is wrong with a figure, in words; texts may touch each other by a pixel."""
    drawn, draw = [], Text.draw

    def noted(text, *args, **options):
        drawn.append(text)
        return draw(text, *args, **options)

    # Ticks beyond their axis are there, and are not drawn.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", noted)
        figure.draw_without_rendering()
    found = []
    width, height = figure.bbox.size
    texts = {text for text in drawn if text.get_visible() and text.get_text().strip()}
    boxes = {text: Text.get_window_extent(text) for text in texts}
    for text, box in boxes.items():
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1:
            found.append(f"outside: {text.get_text()!r} {box.extents.round()}")
    for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
        if not one.get_rotation() % 90 == other.get_rotation() % 90 == 0:
            continue
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        up = min(a.y1, b.y1) - max(a.y0, b.y0)
        if across > 1 and up > 1:
            found.append(f"on each other: {one.get_text()!r}, {other.get_text()!r}")
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    for legend, axes in itertools.product(filter(None, legends), figure.axes):
        box, data = legend.get_window_extent(), axes.bbox
        if np.all(np.minimum(box.max, data.max) - np.maximum(box.min, data.min) > 1):
            found.append(f"legend {[t.get_text() for t in legend.get_texts()]} on data")
    return found
