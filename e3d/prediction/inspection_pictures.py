"""Pictures of what happens inside a forecaster, see `e3d.model.inspection`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from e3d.evaluation.figures import make_plain
from e3d.evaluation.strips import MOST_COLUMNS
from e3d.model.inspection import Inspection

HEAT = 'magma'
QUERY = '#00a0ff'  # the square around a query; seen on black, gray and white
LAYERS = ('#d55e00', '#0064c8', '#1b1f6b', '#f0b000', '#88305f', '#6cc4ee')


def draw_attention(
    found: Inspection, pictures: np.ndarray, layer: int, steps: Sequence[int], patch: int
) -> Figure:
    """The frames that entered, and below them what each query of a layer reads of each step.

    Args:
      found: with weights.
      pictures: of its frames, uint8 `[T, H, W, 3]`.
      layer: from 0.
      steps: whose queries are drawn, from 0; a row for each and for each place.
      patch: side of a place in pixels.
    """
    assert found.weights is not None
    count = len(found.frames)
    evenly = np.linspace(0, count - 1, min(count, MOST_COLUMNS)).round().astype(int)
    columns = sorted({*evenly.tolist(), *steps})
    queries = [(step, place) for step in steps for place in range(len(found.places))]
    shape = (1 + len(queries), len(columns))
    figure = Figure(
        figsize=(1.6 + 0.75 * shape[1], 0.6 + 0.95 * shape[0]), dpi=130, layout='constrained'
    )
    grid = figure.subplots(*shape, squeeze=False)
    side = found.weights.shape[-2] * patch, found.weights.shape[-1] * patch
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, step in zip(grid[0], columns, strict=True):
        axes.imshow(pictures[step])
        color = 'black' if found.observed[step] else '#d55e00'
        axes.set_title(f't = {step + 1}', fontsize=7, color=color)
    grid[0, 0].set_ylabel('entered\n(orange: own\nforecast)', fontsize=7)
    for row, (step, place) in zip(grid[1:], queries, strict=True):
        weights = found.weights[layer, step, place]
        shares, highest = weights.sum(axis=(-2, -1)), weights.max()
        for axes, read in zip(row, columns, strict=True):
            if read < step:
                extent = (-0.5, side[1] - 0.5, side[0] - 0.5, -0.5)
                axes.imshow(weights[read], cmap=HEAT, vmin=0, vmax=highest or 1, extent=extent)
                axes.set_xlabel(f'{shares[read]:.1%}', fontsize=7)
            elif read == step:
                axes.imshow(pictures[step])
                top, left = found.places[place] * patch
                square = [(left, top), (left + patch, top + patch)]
                (x0, y0), (x1, y1) = square
                outline = np.array([x0, x1, x1, x0, x0]) - 0.5, np.array([y0, y0, y1, y1, y0]) - 0.5
                axes.plot(*outline, color=QUERY, linewidth=1.5)
                axes.set_xlabel('query', fontsize=7, color=QUERY)
            else:
                axes.axis('off')
        row[0].set_ylabel(f'read at\nt = {step + 1}\nmost {highest:.2%}', fontsize=7)
    title = f'layer {layer + 1}: weights of RECALL by remembered step and place'
    figure.suptitle(title, fontsize=9)
    return figure


def draw_steps(found: Inspection, steps: Sequence[int], patch: int) -> Figure:
    """How much of the weights of each query falls on each remembered step, a line for each layer."""
    assert found.by_step is not None
    queries = [(step, place) for step in steps for place in range(len(found.places))]
    figure = Figure(figsize=(3.6 * len(queries), 2.8), dpi=130, layout='constrained')
    for axes, (step, place) in zip(
        figure.subplots(1, len(queries), squeeze=False, sharey=True)[0], queries, strict=True
    ):
        times = np.arange(1, step + 1)
        for layer, shares in enumerate(found.by_step[:, step, place]):
            style = {'color': LAYERS[layer % len(LAYERS)], 'marker': 'os^dvP'[layer % 6]}
            axes.plot(times, 100 * shares[:step], label=f'layer {layer + 1}', markersize=4, **style)
        if step:
            axes.axhline(100 / step, color='#777777', linestyle=':', label='all alike')
        row, column = found.places[place] * patch
        axes.set_title(f'step t = {step + 1}, pixel {row},{column}', fontsize=9)
        axes.set(xlabel='remembered step t', ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        make_plain(axes)
    figure.axes[0].set_ylabel('share of the weights (%)')
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc='outside right center', fontsize=8
    )
    return figure


def draw_gates(found: Inspection) -> Figure:
    """How many values of each gate are below 0.1 and from 0.9 on, by step and layer."""
    names = list(found.gates)
    figure = Figure(figsize=(2.6 * len(names) + 1, 2.9), dpi=130, layout='constrained')
    for axes, name in zip(
        figure.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True
    ):
        for layer, shares in enumerate(found.gates[name]):
            times = np.arange(1, len(shares) + 1)
            color = LAYERS[layer % len(LAYERS)]
            axes.plot(times, 100 * shares[:, 0], color=color, label=f'layer {layer + 1}, below 0.1')
            axes.plot(times, 100 * shares[:, -1], '--', color=color, label='from 0.9 on')
        axes.set_title(f'gate {name}', fontsize=9)
        axes.set(xlabel='step t', ylim=(0, 100))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        make_plain(axes)
    figure.axes[0].set_ylabel('share of the values (%)')
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc='outside right center', fontsize=8
    )
    return figure
