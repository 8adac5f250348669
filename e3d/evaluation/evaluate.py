"""Metrics of a forecaster over a whole split, beside forecasts that need no learning."""

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
from e3d.evaluation.metrics import frame_metrics
from e3d.evaluation.perceptual.measure import TRUTH, Perception
from e3d.files import atomic_write

TRIVIAL_FORECASTS = {'last_frame': 'repeat the last frame', 'mean_image': 'mean training image'}

METRICS = ('mse', 'mae', 'psnr', 'ssim', 'lpips', 'mse_mean', 'mae_mean', 'ssim_data_range_2')
HEADINGS = {
    'mse': 'MSE ↓',
    'mae': 'MAE ↓',
    'rmse': 'RMSE ↓',
    'psnr': 'PSNR ↑',
    'ssim': 'SSIM ↑',
    'lpips': 'LPIPS ↓',
    'fvd': 'FVD ↓',
}

_frame_metrics = jax.jit(frame_metrics, static_argnames='bounds')


def evaluate(
    forecast: Callable[..., Any],
    batches: Iterable[Mapping[str, np.ndarray]],
    input_frames: int,
    mean_image: np.ndarray | None,
    protocol: str,
    step: int,
    num_sequences: int | None = None,
    simple_forecasts: Mapping[str, np.ndarray] | None = None,
    value_range: tuple[float, float] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    gather: Callable[[Any], list[Any]] = lambda value: [value],
    show_progress: bool = True,
    perception: Perception | None = None,
    inputs: Sequence[str] = (),
) -> dict[str, Any]:
    """Compares forecasts with what really followed, over all sequences of a split.

    The same numbers are computed for the forecasts that need no learning, so that anyone sees
    what the model has learned: repeating the last seen frame, the mean image of the training set,
    and what else the data offer. How the sequences are cut into batches does not matter: metrics
    are those of single frames, and summed in float64.

    Args:
      forecast: from the seen frames `[B, input_frames, H, W, C]` to those that follow,
        `[B, T - input_frames, H, W, C]`; takes the `inputs` by name.
      batches: 'frames' float32 `[B, T, H, W, C]`, 'mask' bool `[B]`, False for sequences
        that only fill up a batch, and, where there are `simple_forecasts`, 'index' int `[B]`.
      input_frames: how many frames of a sequence are seen.
      mean_image: `[H, W, C]`, see the function of that name; None leaves it out.
      protocol: what is measured, in words, for the report.
      step: of the weights, for the report.
      num_sequences: how many there will be, if known; only for the time left in the progress bar.
      simple_forecasts: by name, `[N, T - input_frames, H, W, C]`; 'index' of a batch says which
        of the N are those of its sequences.
      value_range: what 0 and 1 stand for in the unit of the data, if they have one.
      bounds: the least and the largest value of a frame, see `frame_metrics`.
      gather: from a value that JSON can hold to those of all processes, where several go through
        parts of the split; each returns the report on the whole.
      show_progress: on stderr.
      perception: measures what eyes see, see `choose_metrics`.
      inputs: what of the batches the forecast needs beside the seen frames.

    Returns:
      The report: 'step', 'protocol', 'num_sequences', then every metric of `frame_metrics` as
      '<metric>', its mean over frames and sequences, and '<metric>_per_frame', a list of
      T - input_frames means; with a `value_range` 'rmse' too, the root of the mean squared error
      over all pixels, frames and sequences, in the unit of the data; with `perception` 'lpips',
      like the other metrics, and 'fvd', of whole clips; and under 'last_frame', 'mean_image' and
      the names of `simple_forecasts` the metrics of these.

    Raises:
      InputError: if there are no sequences.
      RunError: if the forecast is not finite.
    """
    simple_forecasts = simple_forecasts or {}
    trivial = [name for name in TRIVIAL_FORECASTS if name != 'mean_image' or mean_image is not None]
    sums = {name: {} for name in ('model', *trivial, *simple_forecasts)}
    count = 0
    with tqdm(
        total=num_sequences,
        desc='evaluating',
        unit=' sequences',
        leave=False,
        mininterval=0.5,
        disable=not show_progress,
    ) as progress:
        for batch in batches:
            frames, mask = np.asarray(batch['frames']), np.asarray(batch['mask'])
            seen, truth = frames[:, :input_frames], frames[:, input_frames:]
            forecasts = {
                'model': _finite(forecast(seen, **{name: batch[name] for name in inputs}), step),
                'last_frame': np.broadcast_to(seen[:, -1:], truth.shape),
            }
            if mean_image is not None:
                forecasts['mean_image'] = np.broadcast_to(mean_image, truth.shape)
            for name, frames_of_all in simple_forecasts.items():
                forecasts[name] = frames_of_all[batch['index']]
            if perception is not None:
                perception.watch(TRUTH, seen, truth, mask)
            for name, prediction in forecasts.items():
                metrics = _frame_metrics(prediction, truth, bounds=bounds)
                if perception is not None:
                    metrics['lpips'] = perception.distances(prediction, truth)
                    perception.watch(name, seen, prediction, mask)
                for metric, values in metrics.items():
                    total = np.asarray(values, np.float64)[mask].sum(axis=0)
                    sums[name][metric] = sums[name].get(metric, 0.0) + total
            count += int(mask.sum())
            progress.update(int(mask.sum()))
    clips = {} if perception is None else perception.to_json()
    parts = gather([count, jax.tree.map(np.ndarray.tolist, sums), clips])
    count = sum(part[0] for part in parts)
    if not count:
        raise InputError(
            'There are no sequences to evaluate on: the split is empty, or '
            'evaluation.max_sequences is 0.'
        )
    sums = _add([part[1] for part in parts if part[0]])
    means = {name: _means(metrics, count, value_range) for name, metrics in sums.items()}
    if perception is not None:
        for name, distance in perception.fvd([part[2] for part in parts]).items():
            means[name]['fvd'] = distance
    head = {'step': int(step), 'protocol': protocol, 'num_sequences': count}
    return head | means.pop('model') | means


def _add(parts: Sequence[Mapping[str, Mapping[str, list[float]]]]) -> dict[str, Any]:
    return {
        name: {metric: np.sum([part[name][metric] for part in parts], axis=0) for metric in metrics}
        for name, metrics in parts[0].items()
    }


def _finite(prediction: Any, step: int) -> np.ndarray:
    prediction = np.asarray(prediction)
    if not np.isfinite(prediction).all():
        raise RunError(
            f'The forecasts of the weights of step {step} hold numbers that are not finite. The '
            'training has diverged: take an earlier checkpoint, or train with a lower '
            'optimizer.learning_rate or with optimizer.clip_norm.'
        )
    return prediction


def _means(
    sums: Mapping[str, np.ndarray], count: int, value_range: tuple[float, float] | None
) -> dict[str, Any]:
    means = {}
    for metric in (metric for metric in METRICS if metric in sums):
        per_frame = sums[metric] / count
        means[metric] = float(per_frame.mean())
        means[f'{metric}_per_frame'] = per_frame.tolist()
    if value_range is not None:
        low, high = value_range
        per_frame = np.asarray(means['mse_mean_per_frame'])
        means['rmse'] = float(np.sqrt(per_frame.mean()) * (high - low))
        means['rmse_per_frame'] = (np.sqrt(per_frame) * (high - low)).tolist()
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
    with atomic_write(path) as temporary:
        temporary.write_text(text + '\n', encoding='utf-8')


def format_table(report: Mapping[str, Any]) -> str:
    """The report as text: means beside the forecasts that need no learning, then frame by frame."""
    others = describe_others(report)
    headings = {metric: heading for metric, heading in HEADINGS.items() if metric in report}
    style = {'box': box.SIMPLE_HEAD, 'title_style': '', 'title_justify': 'left'}
    title = f'{report["protocol"]}, {report["num_sequences"]:,} sequences, step {report["step"]:,}'
    summary = Table('forecast', title=title, **style)
    # Many columns, with as little between them as can be.
    frames = Table('frame', title='frame by frame', collapse_padding=True, pad_edge=False, **style)
    by_frame = [metric for metric in headings if f'{metric}_per_frame' in report]
    for metric, heading in headings.items():
        summary.add_column(heading, justify='right')
        if metric in by_frame:
            frames.add_column(heading, justify='right')
    for name in others:
        frames.add_column(f'MSE of {name.replace("_", " ")}', justify='right')

    rows = {'model': report} | {label: report[name] for name, label in others.items()}
    for label, metrics in rows.items():
        summary.add_row(label, *(_number(metric, metrics[metric]) for metric in headings))
    for index in range(len(report['mse_per_frame'])):
        own = (_number(metric, report[f'{metric}_per_frame'][index]) for metric in by_frame)
        simple = (_number('mse', report[name]['mse_per_frame'][index]) for name in others)
        frames.add_row(str(index + 1), *own, *simple)

    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(summary, f'{_verdict(report)}\n', frames, sep='')
    unit = ' RMSE: in the unit of the data.' if 'rmse' in report else ''
    eyes = ' LPIPS: AlexNet, v0.1.' if 'lpips' in report else ''
    if 'fvd' in report:
        eyes += ' FVD: whole clips, with the frames that were seen; it falls with their number.'
    console.print(
        f'MSE and MAE: summed over the pixels of a frame.{unit} PSNR: dB. SSIM: data range 1.{eyes}'
    )
    return '\n'.join(line.rstrip() for line in console.file.getvalue().splitlines())


def describe_others(report: Mapping[str, Any]) -> dict[str, str]:
    """What to call the forecasts of a report that need no learning, by name."""
    names = [
        name for name, value in report.items() if isinstance(value, Mapping) and 'mse' in value
    ]
    return {name: TRIVIAL_FORECASTS.get(name, name.replace('_', ' ')) for name in names}


def _number(metric: str, value: float) -> str:
    digits = {'psnr': 2, 'ssim': 4, 'lpips': 4}.get(metric, 2 if value >= 1 else 4)
    return f'{value:.{digits}f}'


def _verdict(report: Mapping[str, Any]) -> str:
    others = describe_others(report)
    best = min(others, key=lambda name: report[name]['mse'])
    if not report[best]['mse']:
        return f'"{others[best]}" makes no error here: nothing moves.'
    ratio = report['mse'] / report[best]['mse']
    return f'The MSE of the model is {ratio:.2f} times that of "{others[best]}".'
