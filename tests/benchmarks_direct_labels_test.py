"""Names beside lines do not lie on each other, and each is joined to its own line."""

import itertools

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmarks.direct_labels import label_ends, spread
from e3d.evaluation.styles import styles_of


def test_what_has_room_stays_and_what_has_not_is_moved_apart():
    assert spread([0.9, 0.1, 0.5], 0.2) == [0.9, 0.1, 0.5]
    np.testing.assert_allclose(spread([0.5, 0.5, 0.5], 0.2), [0.3, 0.5, 0.7], atol=1e-12)
    np.testing.assert_allclose(spread([0.5, 0.4, 0.9], 0.2), [0.55, 0.35, 0.9], atol=1e-12)


def test_it_is_the_least_move_that_keeps_the_order():
    values = np.random.default_rng(0).uniform(size=12)
    gap = 0.07
    found = np.array(spread(values, gap))[np.argsort(values)]
    assert (np.diff(found) > gap - 1e-12).all()
    moved = ((found - np.sort(values)) ** 2).sum()
    for shift in np.random.default_rng(1).normal(scale=1e-3, size=(1000, 12)):
        other = found + shift
        if (np.diff(other) >= gap).all():
            assert ((other - np.sort(values)) ** 2).sum() > moved


def test_names_are_told_apart_where_lines_end_together():
    figure = Figure(figsize=(7.5, 3.8), layout='constrained')
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    styles = styles_of(['e3d_lstm', 'predrnn', 'convlstm', 'frnn', 'gated'])
    ends = [3.65, 3.62, 3.66, 1.2, 3.62]
    lines = [
        axes.plot([1, 2], [2, end], **style.of_line)[0]
        for end, style in zip(ends, styles.values(), strict=True)
    ]
    label_ends(axes, lines, list(styles.values()))
    canvas.draw()
    names = axes.texts
    assert [name.get_text() for name in names] == [style.label for style in styles.values()]
    for name, end, line in zip(names, ends, lines, strict=True):
        assert name.xy == (2, end)
        assert name.arrow_patch.get_edgecolor() == to_rgba(line.get_color())
    boxes = [Text.get_window_extent(name) for name in names]  # without the joining lines
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    assert all(box.x0 > axes.bbox.x1 and box.x1 <= figure.bbox.x1 for box in boxes)
    heights = dict(zip([name.get_text() for name in names], [box.y0 for box in boxes], strict=True))
    assert heights['ConvLSTM'] > heights['E3D-LSTM'] > heights['PredRNN'] > heights['FRNN']
