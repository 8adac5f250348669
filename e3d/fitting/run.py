"""A trained run with what is done with it: forecasts, and what a notebook shows of it."""

import html
import os
from typing import Any

import numpy as np

from e3d.errors import InputError
from e3d.evaluation.pictures import draw_animation
from e3d.evaluation.recognition import format_recognition
from e3d.evaluation.report import format_table
from e3d.files import read_json
from e3d.fitting.animation import Animation, animate
from e3d.model import Recognizer, forecast_from, observe
from e3d.model.streaming import StreamState
from e3d.pixel_values import as_array
from e3d.prediction.forecast import check_finite, checked_horizon, forecast
from e3d.prediction.inputs import (
    checked_frames,
    preparation_for,
    prepare_frames,
    seen_frame,
    with_channels,
)
from e3d.prediction.recognize import Recognized, recognize
from e3d.runs import trained_run
from e3d.runs.state import count_parameters
from e3d.runs.workdir import resolve_workdir
from e3d.tasks.evaluator import REPORT_NAME

MAX_BYTES = 2**26  # of an evaluation.json


class Run(trained_run.Run):
    """A trained run, of `e3d.load_run` or `e3d.fit`.

    Attributes:
      model: the flax module.
      params: the parameters to forecast with: the moving average where the run keeps one.
      config: of the run.
      frame_shape: (H, W, C) of the frames it was trained on.
      step: number of updates it has seen.
      scale: what the values of the frames stand for.
      collections: what the model keeps beside its parameters, or None.
      report: of its evaluation on the test split, or None, as where another checkpoint was evaluated
        last: metrics such as 'mse', 'psnr' and 'ssim', their values by frame ('mse_per_frame'), and
        the same of forecasts without learning ('last_frame', 'mean_image').
    """

    __slots__ = ()

    def forecast(
        self, frames: np.ndarray, horizon: int | None = None, members: int | None = None
    ) -> np.ndarray:
        """Continues a clip, or a batch of clips; the same as `e3d.forecast` of this run.

        Args:
          frames: `[T, H, W]`, `[T, H, W, C]` or `[B, T, H, W, C]`; uint8, uint16, bool or floats in
            [0, 1], or numbers in the unit of the data where they have one.
          horizon: how many frames to forecast; by default as many as in training.
          members: how many futures, of a run with `model.noise_channels`.

        Returns:
          Float32 `[horizon, H, W, C]` or `[B, horizon, H, W, C]`, in [0, 1] or in the unit; with
          `members` a leading axis of these.

        Raises:
          InputError: the frames or the horizon cannot be used.
          RunError: the forecast is not finite, or memory does not suffice.

        Example:
          >>> run.forecast(clip, horizon=3).shape
          (3, 16, 16, 1)
        """
        return forecast(self, frames, horizon, members)

    def show(self, frames: np.ndarray, horizon: int | None = None) -> Animation:
        """Moving pictures of a forecast beside the clip, for a notebook or a file.

        The last `horizon` frames of the clip are not shown to the model: on the left is the clip as it
        is, on the right what the model makes of it, framed in blue while it sees the clip and in
        orange where it forecasts.

        Args:
          frames: one clip, as for `forecast`, with more than `horizon` frames.
          horizon: how many of them to forecast; by default as many as in training.

        Returns:
          An animation; `.save('forecast.gif')` writes it.

        Raises:
          InputError: as `forecast`, or the clip is too short.

        Example:
          >>> run.show(clip, horizon=2).save('forecast.gif')
        """
        horizon, gaps = checked_horizon(horizon, self), 'valid' in self.beside
        clip = with_channels(as_array(frames, 'The clip'), self)
        clip = checked_frames(clip, self, 'The clip')
        if clip.ndim != 4 or horizon >= len(clip):
            raise InputError(
                f'The clip has shape {np.shape(frames)}; to show a forecast of {horizon} frames it must '
                f'be [T, H, W] or [T, H, W, C] with T > {horizon}.'
            )
        preparation = preparation_for(self, clip.shape[1:3])
        seen = self.config.dataset.input_frames
        clip = prepare_frames(clip[-seen - horizon :], preparation, self.scale, 'The clip', gaps)
        future = self.scale.from_unit(self.forecast(self.scale.to_unit(clip[:-horizon]), horizon))
        observed = np.ones(len(clip) - horizon, bool)
        return animate(draw_animation(clip, future, observed, self.channel_names))

    def observe(self, state: StreamState, frame: np.ndarray) -> tuple[StreamState, np.ndarray]:
        """Takes in the next frame of a stream: `e3d.observe`, of frames as `forecast` takes them.

        Args:
          state: of `e3d.start` or `e3d.load_stream` with the model and the parameters of this run, or
            of the frame before.
          frame: `[H, W, C]`, or `[B, H, W, C]` of several clips; uint8, uint16, bool or floats in
            [0, 1], or numbers in the unit of the data where they have one. It is brought to the size
            and the color of the training.

        Returns:
          The new state, and of a forecaster the next frame, `[H, W, C]` or `[B, H, W, C]` float32 in
          [0, 1] or in the unit; of a recognizer the probabilities of the classes, `[classes]` or
          `[B, classes]`.

        Raises:
          InputError: the frame cannot be used, or the model sees more than frames, as which values
            are gaps.
          RunError: the next frame is not finite.

        Example:
          >>> state = e3d.start(run.model, run.params, run.frame_shape)
          >>> state, following = run.observe(state, clip[0])
          >>> following.shape
          (16, 16, 1)
        """
        model = _streamed(self)
        state, result = observe(model, self.params, state, seen_frame(frame, self))
        if isinstance(model, Recognizer):
            return state, np.asarray(result)
        batch = np.reshape(result, (-1, 1, *result.shape[-3:]))
        return state, _in_unit(self, batch).reshape(result.shape)

    def forecast_from(self, state: StreamState, horizon: int) -> np.ndarray:
        """Forecasts what follows the frames that `observe` took in: `e3d.forecast_from`, in their unit.

        Args:
          state: of `observe`; it stays as it is.
          horizon: how many frames.

        Returns:
          Float32 `[B, horizon, H, W, C]` in [0, 1], or in the unit of the data where they have one.

        Raises:
          InputError: the run recognizes, nothing was observed, a horizon below 1, or as `observe`.
          RunError: the forecast is not finite.

        Example:
          >>> run.forecast_from(state, horizon=4).shape
          (1, 4, 16, 16, 1)
        """
        return _in_unit(self, forecast_from(_streamed(self), self.params, state, horizon))

    def recognize(self, frames: np.ndarray) -> Recognized:
        """What happens in a clip, for the run of a recognizer; the same as `e3d.recognize`.

        Args:
          frames: of the whole clip, `[T, H, W]` or `[T, H, W, C]`, as for `forecast`.

        Returns:
          Probabilities of the classes, by the part of the clip that was observed.

        Raises:
          InputError: the frames cannot be used, or the run forecasts and does not recognize.
        """
        return recognize(self, frames)

    def _repr_html_(self) -> str:
        height, width, channels = self.frame_shape
        facts = {
            'model': f'{self.config.model.name}, {count_parameters(self.params):,} parameters',
            'frames': f'{height} x {width} x {channels}',
            'updates': f'{self.step:,}',
        }
        rows = ''.join(
            f'<tr><th style="text-align:left">{name}</th>'
            f'<td style="text-align:left">{html.escape(value)}</td></tr>'
            for name, value in facts.items()
        )
        table = (
            '' if self.report is None else f'<pre>{html.escape(describe_report(self.report))}</pre>'
        )
        return f'<table>{rows}</table>{table}'


def _streamed(run: trained_run.Run) -> Any:
    """The model of a run; raises InputError where it sees more than frames, which no stream holds."""
    if run.beside:
        raise InputError(
            f'The model of the run sees {" and ".join(sorted(run.beside))} beside the frames, which a '
            'stream does not hold. Use run.forecast with the last frames where these are gaps alone '
            '(valid), else e3d.predict_file with a file of all variables.'
        )
    return run.model


def _in_unit(run: trained_run.Run, prediction: Any) -> np.ndarray:
    """A forecast `[B, T, H, W, C]` of the model within the bounds of the data, in their unit."""
    prediction = np.asarray(prediction, np.float32)
    check_finite(prediction)
    return run.scale.to_unit(run.scale.clip(prediction))


def load_run(
    workdir: str | os.PathLike[str], best: bool = False, checkpoint: str | int = 'newest'
) -> Run:
    """Opens a trained run for use.

    Args:
      workdir: of the run, as it was given to `train` or to `--workdir`.
      best: the same as `checkpoint='best'`.
      checkpoint: 'newest'; 'best', the one with the least error on the validation split; or the
        step of one that was kept.

    Raises:
      InputError: there is no run, it has no such checkpoint, or the checkpoint cannot be read or
        does not fit its config.

    Example:
      >>> trained = e3d.load_run('runs/mine')
      >>> trained.step, trained.config.model.name, trained.frame_shape
      (2, 'convlstm', (32, 32, 1))
    """
    run = Run(*trained_run.load_run(workdir, best, checkpoint))
    report = stored_report(workdir)
    own = report is not None and report.get('step') == run.step
    return run._replace(report=report if own else None)


def stored_report(workdir: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The report of the run's own data and lengths; None where there is none that can be read."""
    try:
        report = read_json(resolve_workdir(workdir) / f'{REPORT_NAME}.json', MAX_BYTES)
    except InputError:
        return None
    return report if isinstance(report, dict) and 'protocol' in report else None


def describe_report(report: Any) -> str:
    """A report as text; one of an earlier version as far as it goes."""
    try:
        return format_recognition(report) if 'confusion' in report else format_table(report)
    except (KeyError, TypeError, ValueError):
        return str(report.get('protocol'))
