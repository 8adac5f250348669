"""Curves of metrics over the forecast frames, model beside forecasts that need no learning."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from e3d.evaluation.figures import add_legend, make_plain, save_figure
from e3d.evaluation.report import describe_others
from e3d.evaluation.styles import simple_styles, styles_of

PANELS = {'mse': 'MSE, sum over a frame', 'psnr': 'PSNR (dB)', 'ssim': 'SSIM', 'lpips': 'LPIPS'}


def write_curves(
    report: Mapping[str, Any],
    paths: Sequence[str | os.PathLike[str]],
    model: str = 'model',
    unit: str = '',
) -> None:
    """Draws MSE, PSNR, SSIM and LPIPS by frame; of data with a unit RMSE in that in place of MSE.

    Args:
      report: of `e3d.evaluation.evaluate.evaluate`.
      paths: of the picture; the suffixes tell the kinds (.png, .svg, .pdf).
      model: name of the model.
      unit: of the data.
    """
    panels = dict(PANELS)
    if 'rmse' in report:
        panels = {'rmse': f'RMSE ({unit})' if unit else 'RMSE', **panels}
        del panels['mse']
    panels = {metric: label for metric, label in panels.items() if metric in report}
    others = describe_others(report)
    figure = Figure(figsize=(3.2 * len(panels), 3.0), dpi=150, layout='constrained')
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (metric, label) in zip(drawn, panels.items(), strict=True):
        for name, style in zip(others, simple_styles(others.values()).values(), strict=True):
            _draw(axes, report[name].get(f'{metric}_per_frame'), style.of_line)
        _draw(axes, report[f'{metric}_per_frame'], styles_of([model])[model].of_line)
        axes.set(xlabel='forecast frame', ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        make_plain(axes)
    *others_lines, own_line = figure.axes[0].lines
    add_legend(
        figure,
        [own_line, *others_lines],
        loc='outside upper center',
        ncols=min(1 + len(others_lines), len(panels)),
        fontsize='small',
    )
    save_figure(figure, paths)


def _draw(axes: Any, values: Sequence[float | None] | None, style: Mapping[str, Any]) -> None:
    """Draws a curve, with gaps where a value is not known."""
    if values is not None:
        known = [float('nan') if value is None else value for value in values]
        axes.plot(range(1, len(known) + 1), known, **style)
