"""Metrics of a forecaster over a whole split, beside the two trivial forecasts."""

import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from e3d.errors import InputError, RunError
from e3d.evaluation.files import written_whole
from e3d.evaluation.metrics import frame_metrics

TRIVIAL_FORECASTS = {'last_frame': 'repeat the last frame', 'mean_image': 'mean training image'}

METRICS = ('mse', 'mae', 'psnr', 'ssim', 'mse_mean', 'mae_mean', 'ssim_data_range_2')
HEADINGS = {'mse': 'MSE ↓', 'mae': 'MAE ↓', 'psnr': 'PSNR ↑', 'ssim': 'SSIM ↑'}

_frame_metrics = jax.jit(frame_metrics)


def evaluate(
    forecast: Callable[[np.ndarray], Any],
    batches: Iterable[Mapping[str, np.ndarray]],
    input_frames: int,
    mean_image: np.ndarray,
    protocol: str,
    step: int,
    num_sequences: int | None = None,
) -> dict[str, Any]:
    """Compares forecasts with what really followed, over all sequences of a split.

    The same numbers are computed for the forecasts that need no learning, so that anyone sees
    what the model has learnt: repeating the last seen frame, and the mean image of the training
    set. How the sequences are cut into batches does not matter: metrics are those of single
    frames, and summed in float64.

    Args:
      forecast: from the seen frames `[B, input_frames, H, W, C]` to those that follow,
        `[B, T - input_frames, H, W, C]`.
      batches: 'frames' float32 `[B, T, H, W, C]` in [0, 1] and 'mask' bool `[B]`, False for
        sequences that only fill up a batch.
      input_frames: how many frames of a sequence are seen.
      mean_image: `[H, W, C]`, see the function of that name.
      protocol: what is measured, in words, for the report.
      step: of the weights, for the report.
      num_sequences: how many there will be, if known; only for the time left in the progress bar.

    Returns:
      The report: 'step', 'protocol', 'num_sequences', then every metric of `frame_metrics` as
      '<metric>', its mean over frames and sequences, and '<metric>_per_frame', a list of
      T - input_frames means; and under 'last_frame' and 'mean_image' the metrics of these.

    Raises:
      InputError: if there are no sequences.
      RunError: if the forecast is not finite.
    """
    sums = {name: {} for name in ('model', *TRIVIAL_FORECASTS)}
    count = 0
    with tqdm(
        total=num_sequences, desc='evaluating', unit=' sequences', leave=False, mininterval=0.5
    ) as progress:
        for batch in batches:
            frames, mask = np.asarray(batch['frames']), np.asarray(batch['mask'])
            seen, truth = frames[:, :input_frames], frames[:, input_frames:]
            forecasts = {
                'model': _finite(forecast(seen), step),
                'last_frame': np.broadcast_to(seen[:, -1:], truth.shape),
                'mean_image': np.broadcast_to(mean_image, truth.shape),
            }
            for name, prediction in forecasts.items():
                for metric, values in _frame_metrics(prediction, truth).items():
                    total = np.asarray(values, np.float64)[mask].sum(axis=0)
                    sums[name][metric] = sums[name].get(metric, 0.0) + total
            count += int(mask.sum())
            progress.update(int(mask.sum()))
    if not count:
        raise InputError(
            'There are no sequences to evaluate on: the split is empty, or '
            'evaluation.max_sequences is 0.'
        )
    means = {name: _means(metrics, count) for name, metrics in sums.items()}
    head = {'step': int(step), 'protocol': protocol, 'num_sequences': count}
    return head | means.pop('model') | means


def _finite(prediction: Any, step: int) -> np.ndarray:
    prediction = np.asarray(prediction)
    if not np.isfinite(prediction).all():
        raise RunError(
            f'The forecasts of the weights of step {step} hold numbers that are not finite. The '
            'training has diverged: take an earlier checkpoint, or train with a lower '
            'optimizer.learning_rate or with optimizer.clip_norm.'
        )
    return prediction


def _means(sums: Mapping[str, np.ndarray], count: int) -> dict[str, Any]:
    means = {}
    for metric in (metric for metric in METRICS if metric in sums):
        per_frame = sums[metric] / count
        means[metric] = float(per_frame.mean())
        means[f'{metric}_per_frame'] = per_frame.tolist()
    return means


def mean_image(source: Sequence[Mapping[str, np.ndarray]], max_sequences: int = 1000) -> np.ndarray:
    """The mean of all frames of a source: the best forecast that never looks at its input.

    Args:
      source: `source[i]['frames']` is `[T, H, W, C]`, uint8 or float in [0, 1].
      max_sequences: of a longer source so many sequences count, spread evenly over it.

    Returns:
      Float32 `[H, W, C]` in [0, 1].
    """
    chosen = min(len(source), max_sequences)
    if not chosen:
        raise InputError('The training split is empty: there is no mean image of it.')
    total = 0.0
    for index in np.linspace(0, len(source) - 1, chosen).round().astype(int):
        frames = np.asarray(source[int(index)]['frames'])
        scale = 255.0 if frames.dtype == np.uint8 else 1.0
        total += frames.mean(axis=0, dtype=np.float64) / scale
    return (total / chosen).astype(np.float32)


def write_report(report: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Writes a report as JSON; the file is either whole or not there."""
    text = json.dumps(report, indent=2, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def format_table(report: Mapping[str, Any]) -> str:
    """The report as text: means beside the trivial forecasts, then frame by frame."""
    headings = {metric: heading for metric, heading in HEADINGS.items() if metric in report}
    style = {'box': box.SIMPLE_HEAD, 'title_style': '', 'title_justify': 'left'}
    title = f'{report["protocol"]}, {report["num_sequences"]:,} sequences, step {report["step"]:,}'
    summary = Table('forecast', title=title, **style)
    frames = Table('frame', title='frame by frame', **style)
    for heading in headings.values():
        summary.add_column(heading, justify='right')
        frames.add_column(heading, justify='right')
    for name in TRIVIAL_FORECASTS:
        frames.add_column(f'MSE of {name.replace("_", " ")}', justify='right')

    rows = {'model': report} | {label: report[k] for k, label in TRIVIAL_FORECASTS.items()}
    for label, metrics in rows.items():
        summary.add_row(label, *(_number(metric, metrics[metric]) for metric in headings))
    for index in range(len(report['mse_per_frame'])):
        own = (_number(metric, report[f'{metric}_per_frame'][index]) for metric in headings)
        trivial = (_number('mse', report[k]['mse_per_frame'][index]) for k in TRIVIAL_FORECASTS)
        frames.add_row(str(index + 1), *own, *trivial)

    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(summary, f'{_verdict(report)}\n', frames, sep='')
    console.print('MSE and MAE: summed over the pixels of a frame. PSNR: dB. SSIM: data range 1.')
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())


def _number(metric: str, value: float) -> str:
    digits = {'psnr': 2, 'ssim': 4}.get(metric, 2 if value >= 1 else 4)
    return f'{value:.{digits}f}'


def _verdict(report: Mapping[str, Any]) -> str:
    best = min(TRIVIAL_FORECASTS, key=lambda name: report[name]['mse'])
    if not report[best]['mse']:
        return f'"{TRIVIAL_FORECASTS[best]}" makes no error here: nothing moves.'
    ratio = report['mse'] / report[best]['mse']
    return f'The MSE of the model is {ratio:.2f} of that of "{TRIVIAL_FORECASTS[best]}".'
