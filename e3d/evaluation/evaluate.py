"""Metrics of a forecaster over a whole split, beside forecasts that need no learning."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from e3d.data.sources.scales import PIXELS, Bound, Scale
from e3d.errors import InputError, RunError
from e3d.evaluation.balanced import balanced_errors
from e3d.evaluation.baselines import last_known
from e3d.evaluation.collection import KEPT, Collection
from e3d.evaluation.ensembles import ensemble_metrics, ensemble_report
from e3d.evaluation.events import Events, count_events, event_report
from e3d.evaluation.intervals import mean_interval, skill_interval
from e3d.evaluation.metrics import errors_in_unit, frame_metrics, within
from e3d.evaluation.optical_flow import extrapolate
from e3d.evaluation.perceptual.measure import TRUTH, Perception
from e3d.evaluation.presets import PRESETS
from e3d.evaluation.report import MEMBERS_MEAN
from e3d.evaluation.sharpness import total_gradient
from e3d.evaluation.undefined import as_json, mean_of_defined
from e3d.progress import progress

METRICS = (
    'mse', 'mae', 'psnr', 'ssim', 'lpips', 'mse_mean', 'mae_mean', 'ssim_data_range_2', 'b_mse', 'b_mae'
)  # fmt: skip
ENSEMBLE = 'ensemble'  # beside the names of the forecasts


def evaluate(
    forecast: Callable[..., Any],
    batches: Iterable[Mapping[str, np.ndarray]],
    input_frames: int,
    mean_image: np.ndarray | None,
    protocol: str,
    step: int,
    num_sequences: int | None = None,
    simple_forecasts: Mapping[str, np.ndarray] | None = None,
    scale: Scale = PIXELS,
    gather: Callable[[Any], list[Any]] = lambda value: [value],
    show_progress: bool = True,
    perception: Perception | None = None,
    inputs: Sequence[str] = (),
    presets: tuple[str, ...] = (),
    events: Events | None = None,
    optical_flow: bool = False,
    variables: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Compares forecasts with what really followed, over all sequences of a split.

    The same numbers are computed for the forecasts that need no learning, so that anyone sees
    what the model has learned: repeating the last seen frame, the mean image of the training set,
    and what else the data offer. How the sequences are cut into batches does not matter: metrics
    are those of single frames, and summed in float64.

    Args:
      forecast: from the seen frames `[B, input_frames, H, W, C]` to those that follow,
        `[B, T - input_frames, H, W, C]`; takes the `inputs` by name. Several futures of each sequence,
        `[M, B, T - input_frames, H, W, C]`, are measured together, and the first of them as the model.
      batches: 'frames' float32 `[B, T, H, W, C]`, 'mask' bool `[B]`, False for sequences
        that only fill up a batch, and 'index' int `[B]`, their places in the split; of data with
        gaps also 'valid', bool `[B, T, H, W, C]`, which values are known.
      input_frames: how many frames of a sequence are seen.
      mean_image: `[H, W, C]`, see the function of that name; None leaves it out.
      protocol: what is measured, in words, for the report.
      step: of the weights, for the report.
      num_sequences: how many there will be, if known; only for the time left in the progress bar.
      simple_forecasts: by name, `[N, T - input_frames, H, W, C]`; 'index' of a batch says which
        of the N are those of its sequences.
      scale: what the values of the frames stand for.
      gather: from a value that JSON can hold to those of all processes, where several go through
        parts of the split; each returns the report on the whole.
      show_progress: on stderr.
      perception: measures what eyes see, see `choose_metrics`.
      inputs: what of the batches the forecast needs beside the seen frames.
      presets: names of `e3d.evaluation.presets.PRESETS`, whose metrics are added.
      events: which are counted, see `choose_events`.
      optical_flow: whether the forecast of `extrapolate` is measured as well.
      variables: the name and the unit of each channel, of data whose units differ; else ().

    Returns:
      The report: 'step', 'protocol', 'num_sequences', then every metric of `frame_metrics` as
      '<metric>', its mean over frames and sequences, and '<metric>_per_frame', a list of
      T - input_frames means; of data with a unit 'rmse' and 'mae_in_unit' too, the root of the mean
      squared error and the mean absolute error over all pixels, frames and sequences, in that unit,
      and 'unit', its name, where it is known; of `variables` in place of the two errors 'variables', a
      list of each one's 'name', 'unit', 'rmse' and 'mae_in_unit'. With gaps each frame counts by the
      mean over its known pixels, however few; 'sharpness', see `total_gradient`; with events
      'events', see `event_report`, and 'csi_mean' like other metrics, that of single pixels;
      with `perception` 'lpips', like the other metrics, and 'fvd', of whole clips; and under
      'last_frame', 'mean_image', 'optical_flow' and the names of `simple_forecasts` the metrics of
      these. Of the model alone 'mse_per_sequence' in the order of the split, 'skill', one less the
      ratio of its MSE to that of the last frame, and 95 % intervals (see `e3d.evaluation.intervals`)
      as '<metric>_interval'. Of several futures 'ensemble' with 'crps', see `ensemble_report`, in the
      unit of the data, of `variables` as the model sees them, and under 'members_mean' the metrics of
      their mean. Frames without any truth count nowhere; what they leave undefined is None.

    Raises:
      InputError: if there are no sequences.
      RunError: if the forecast is not finite.
    """
    simple_forecasts = simple_forecasts or {}
    collected = Collection()
    with progress('evaluating', num_sequences, unit=' sequences', shown=show_progress) as bar:
        for batch in batches:
            frames, mask = np.asarray(batch['frames']), np.asarray(batch['mask'])
            valid = None if 'valid' not in batch else np.asarray(batch['valid'])
            frames = frames if valid is None else np.where(valid, frames, 0)
            seen, truth = frames[:, :input_frames], frames[:, input_frames:]
            known = None if valid is None else valid[:, input_frames:]
            collected.add_sequences(np.asarray(batch['index'])[mask])
            futures = _finite(forecast(seen, **{name: batch[name] for name in inputs}), step)
            several = futures.ndim > frames.ndim
            forecasts = {
                'model': futures[0] if several else futures,
                'last_frame': np.broadcast_to(last_known(seen, valid), truth.shape),
            }
            if several:
                forecasts[MEMBERS_MEAN] = _mean_of_members(futures, scale)
                compared = [scale.clip(x) for x in (futures, truth)]
                if not variables:  # a mean over several units would be that of the largest numbers
                    compared = [scale.to_unit(x) for x in compared]
                collected.add(ENSEMBLE, _measure_together(*compared, batch['index'], known), mask)
            if mean_image is not None:
                forecasts['mean_image'] = np.broadcast_to(mean_image, truth.shape)
            if optical_flow:
                forecasts['optical_flow'] = extrapolate(_filled_pair(seen, valid), truth.shape[1])
            for name, frames_of_all in simple_forecasts.items():
                forecasts[name] = frames_of_all[batch['index']]
            if perception is not None:
                perception.watch(TRUTH, seen, truth, mask)
                looks_of_truth = perception.look(truth)  # once for all forecasts
            for name, prediction in forecasts.items():
                metrics = _measure(
                    prediction, truth, known, scale, presets, events, bool(variables)
                )
                if perception is not None:
                    metrics['lpips'] = perception.distances(prediction, looks_of_truth)
                    perception.watch(name, seen, prediction, mask)
                collected.add(name, metrics, mask)
            bar.update(int(mask.sum()))
    clips = {} if perception is None else perception.to_json()
    parts = gather([collected.to_json(), clips])
    collected = Collection.merge([part[0] for part in parts])
    if not collected.count:
        raise InputError(
            'There are no sequences to evaluate on: the split is empty, or '
            'evaluation.max_sequences is 0.'
        )
    means = _means_by_forecast(collected, scale, events, variables)
    if perception is not None:
        for name, distance in perception.fvd([part[1] for part in parts]).items():
            means[name]['fvd'] = distance
    head = {'step': int(step), 'protocol': protocol, 'num_sequences': collected.count}
    head |= {'unit': scale.unit} if scale.unit else {}
    return head | means.pop('model') | means


def _measure(
    prediction: np.ndarray,
    truth: np.ndarray,
    valid: np.ndarray | None,
    scale: Scale,
    presets: tuple[str, ...],
    events: Events | None,
    by_channel: bool,
) -> dict[str, Any]:
    """The metrics of forecast frames, and the counts of their events, but for what eyes see."""
    bounds = scale.bounds
    metrics = dict(_frame_metrics(prediction, truth, valid, bounds=bounds, presets=presets))
    if by_channel or (scale.value_range is not None and not scale.is_linear):
        metrics |= errors_in_unit(prediction, truth, valid, scale, by_channel)
    if events is not None:
        metrics |= _count(prediction, truth, valid, events[1:], bounds=bounds)
    return metrics


def _means_by_forecast(
    collected: Collection,
    scale: Scale,
    events: Events | None,
    variables: Sequence[tuple[str, str]],
) -> dict[str, dict[str, Any]]:
    """What a report says of the model and of each other forecast, but for FVD."""
    together = collected.sums.pop(ENSEMBLE, None)
    means = {
        name: _means(sums, collected.counts[name], scale, variables)
        for name, sums in collected.sums.items()
    }
    if events is not None:
        for name, sums in collected.sums.items():
            means[name] |= _event_scores(sums, events.thresholds)
    if together is not None:
        found = ensemble_report(together, collected.counts[ENSEMBLE])
        means['model'] |= {ENSEMBLE: found, 'crps': found['crps']}
    means['model'] |= _of_sequences(collected, means)
    return means


def _filled_pair(seen: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
    """The last two frames, `[B, 2, H, W, C]` or one if there are no more, each without gaps."""
    if valid is None or seen.shape[1] == 1:
        return seen[:, -2:]
    pair = [last_known(seen[:, :end], valid) for end in (seen.shape[1] - 1, seen.shape[1])]
    return np.concatenate(pair, axis=1)


@functools.partial(jax.jit, static_argnames=('bounds', 'presets'))
def _frame_metrics(
    prediction: jax.Array,
    truth: jax.Array,
    valid: jax.Array | None,
    bounds: tuple[Bound, Bound],
    presets: tuple[str, ...],
) -> dict[str, jax.Array]:
    metrics = frame_metrics(prediction, truth, bounds=bounds, valid=valid)
    prediction = within(prediction, bounds)
    metrics |= {name: PRESETS[name](prediction, truth) for name in presets}
    of_prediction, of_truth = (total_gradient(frames, valid) for frames in (prediction, truth))
    return metrics | {'gradient': of_prediction, 'true_gradient': of_truth}


@functools.partial(jax.jit, static_argnames='bounds')
def _count(
    prediction: jax.Array,
    truth: jax.Array,
    valid: jax.Array | None,
    levels_and_balance: tuple[Any, Any],
    bounds: tuple[Bound, Bound],
) -> dict[str, jax.Array]:
    levels, balance = levels_and_balance
    prediction = within(prediction, bounds)
    counts = count_events(prediction, truth, levels, valid)
    if balance is None:
        return counts
    return counts | balanced_errors(prediction, truth, balance[0], balance[1], valid)


_measure_together = jax.jit(ensemble_metrics)


def _event_scores(sums: Mapping[str, np.ndarray], thresholds: tuple[float, ...]) -> dict[str, Any]:
    report = {'events': event_report(sums, thresholds)}
    single = report['events']['pool_1']
    lifted = ('csi_mean', 'csi_mean_per_frame')
    return report | {name: single[name] for name in lifted if name in single}


def _of_sequences(collected: Collection, means: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the numbers of single sequences tell of the model, and its skill by the means of all."""
    errors, baseline = (collected.of_sequences(name, 'mse') for name in ('model', 'last_frame'))
    found: dict[str, Any] = {'mse_per_sequence': [as_json(mean_of_defined(one)) for one in errors]}
    for metric in KEPT['model']:
        interval = mean_interval(collected.of_sequences('model', metric))
        if interval is not None:
            found[f'{metric}_interval'] = interval
    if means['last_frame']['mse']:
        found['skill'] = 1.0 - means['model']['mse'] / means['last_frame']['mse']
        interval = skill_interval(errors, baseline)
        if interval is not None:
            found['skill_interval'] = interval
    return found


def _mean_of_members(futures: np.ndarray, scale: Scale) -> np.ndarray:
    """The mean `[B, T_out, H, W, C]` of `[M, B, ...]`; of transformed values that in their unit."""
    within = scale.clip(futures)
    if not scale.transform:
        return within.mean(axis=0)
    return scale.from_unit(scale.to_unit(within).mean(axis=0))


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
    sums: Mapping[str, np.ndarray],
    counts: Mapping[str, np.ndarray],
    scale: Scale,
    variables: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    means: dict[str, Any] = {}
    # Where no sequence has any truth there is no mean.
    with np.errstate(invalid='ignore'):
        frames = {metric: total / counts[metric] for metric, total in sums.items()}
    for metric in (metric for metric in (*METRICS, *PRESETS) if metric in sums):
        means |= _mean_and_frames(metric, frames[metric])
    if (sums['true_gradient'] > 0).all():
        means['sharpness'] = float(sums['gradient'].sum() / sums['true_gradient'].sum())
        means['sharpness_per_frame'] = (sums['gradient'] / sums['true_gradient']).tolist()
    if variables:
        by_channel = zip(frames['squared_in_unit'].T, frames['mae_in_unit'].T, strict=True)
        means['variables'] = [
            {'name': name, 'unit': unit} | _errors(squared, absolute)
            for (name, unit), (squared, absolute) in zip(variables, by_channel, strict=True)
        ]
    elif scale.value_range is not None:
        low, high = scale.value_range
        factor = high - low if scale.is_linear else 1.0
        squared = frames['mse_mean' if scale.is_linear else 'squared_in_unit']
        absolute = frames['mae_mean' if scale.is_linear else 'mae_in_unit']
        means |= _errors(squared * factor**2, absolute * factor)
    return means


def _errors(squared: np.ndarray, absolute: np.ndarray) -> dict[str, Any]:
    """Of mean errors of frames `[T]` 'rmse' and 'mae_in_unit'."""
    root = np.sqrt(mean_of_defined(squared))
    rmse = {'rmse': as_json(root), 'rmse_per_frame': as_json(np.sqrt(squared))}
    return rmse | _mean_and_frames('mae_in_unit', absolute)


def _mean_and_frames(metric: str, per_frame: np.ndarray) -> dict[str, Any]:
    return {metric: as_json(mean_of_defined(per_frame)), f'{metric}_per_frame': as_json(per_frame)}
