"""The data set a config names, opened for random access."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources import arrays, moving_mnist
from e3d.data.sources.copy_test import CopySequences
from e3d.data.sources.kth import open_kth
from e3d.data.sources.layouts import plain_dataset
from e3d.data.sources.moving_actions import ActionClips, MovingActions
from e3d.data.sources.moving_digits import MovingDigits
from e3d.data.sources.scales import PIXELS, Scale
from e3d.data.sources.something_something import open_something_something
from e3d.data.sources.splits import SPLITS
from e3d.data.sources.taxibj import open_taxibj
from e3d.data.sources.video_folder import open_video_folder
from e3d.errors import InputError
from e3d.files import local_path

# As many sequences as an endless source has; the largest length that grain shuffles is 2**32.
ENDLESS = 2**31


class Source(Protocol):
    """Sequences by random access; can be pickled, so that worker processes can read it.

    It may have `class_names`, a `value_range`, `bounds`, `simple_forecasts()`, an `account` and
    `left_out`, see the functions of these names, and say by `split` that it has the sequences of
    another split.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, np.ndarray]: ...


def class_names(source: Source) -> tuple[str, ...]:
    """What the labels of a source stand for; () for one that has no labels."""
    return tuple(_stated(source, 'class_names', ()))


def shown_part(source: Source) -> tuple[float, bool]:
    """What the sequences of a source with labels show of their clips.

    Returns:
      The fraction of the whole clip at whose end what may be observed ends, and whether every
      sequence begins with its clip.
    """
    return _stated(source, 'shown_part', (1.0, True))


def value_range(source: Source) -> tuple[float, float] | None:
    """What 0 and 1 stand for in the unit of the data; None for what has no other unit."""
    return _stated(source, 'value_range', None)


def scale(source: Source) -> Scale:
    """What the values of the frames stand for."""
    return Scale(value_range(source), _stated(source, 'bounds', PIXELS.bounds))


def validates_on_test(source: Source) -> bool:
    """Whether a source that was opened for validation has the sequences of the test split.

    So it is where a data set has nothing for validation, as in the published codes. What is chosen
    by such a validation is chosen on the test.
    """
    return _stated(source, 'split', None) == 'test'


def account(source: Source) -> tuple[str, ...]:
    """What was understood of the user's files, in lines: layout, rate, rule of division and so on."""
    return tuple(_stated(source, 'account', ()))


def left_out(source: Source) -> tuple[LeftOut, ...]:
    """What of the user's files is not used, in whatever split."""
    return tuple(_stated(source, 'left_out', ()))


def shared_clips(source: Source, other: Source) -> int:
    """How many clips, out of the same records, two sources both have sequences of."""
    first, second = (_clips_of(one) for one in (source, other))
    return len(first & second)


def _clips_of(source: Source) -> set[tuple[str, int]]:
    """Folder and first record of the clips; none for what is not read from records of clips."""
    starts = _stated(source, 'starts', None)
    folder = _stated(source, 'folder', '')
    if not folder or starts is None:
        return set()
    return {(folder, int(record)) for record in np.unique(starts[:, 0])}


def simple_forecasts(source: Source) -> dict[str, np.ndarray]:
    """What the data themselves forecast without learning, as flows do by the calendar.

    Returns:
      By name, float32 `[len(source), T_out, H, W, C]`; none for most data.
    """
    forecasts = _stated(source, 'simple_forecasts', None)
    if not forecasts:
        return {}
    if isinstance(source, CopySequences) and source.between > source.length:
        more = source.between - source.length
        return {name: frames[:, :-more] for name, frames in forecasts().items()}
    return forecasts()


def _stated(source: Source, name: str, default: Any) -> Any:
    """An attribute of a source, in the copy test of the one whose sequences are repeated."""
    inner = source.source if isinstance(source, CopySequences) else source
    return getattr(inner, name, default)


@dataclasses.dataclass(frozen=True)
class EndlessDigits:
    """A fresh training sequence for every index: {'frames': uint8 [T, H, W, 1]}."""

    moving_digits: MovingDigits
    seed: int

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {'frames': self.moving_digits.sequence(self.seed, 'train', index)}


def open_source(dataset: Mapping[str, Any], split: str, seed: int = 0) -> Source:
    """Opens a split of the data set that `dataset.name` names.

    Args:
      dataset: the section `dataset` of a config.
      split: 'train', 'validation' or 'test'.
      seed: of the training sequences where they are drawn. Fixed sets do not depend on it, so
        that runs of any seed are measured by the same sequences.

    Returns:
      `len(source)` sequences, `source[index] -> {'frames': [T, H, W, C]}` with T as
      `e3d.data.sources.layouts.layout_of` has it: input_frames + output_frames, in the copy test more.
      Where there are classes, with 'label'; with 'repeated', how many of the first frames are there
      twice because the clip has fewer; and, where it is not input_frames, with 'clip_frames', how
      many the whole clip has; all int32.
      Uint8 or float32 in [0, 1] (flows after those of the training may exceed 1).

    Raises:
      InputError: unknown names, values no sequence can have, missing or unreadable files.
      RunError: preparing a fixed set failed during the work.
    """
    if split not in SPLITS:
        raise InputError(f"There is no split '{split}'; they are {', '.join(SPLITS)}.")
    for key in ('input_frames', 'output_frames'):
        if dataset[key] < 1:
            raise InputError(f'dataset.{key} is {dataset[key]}; it must be at least 1.')
    if dataset['name'] not in _OPENERS:
        raise InputError(
            f"There is no data set '{dataset['name']}'; dataset.name must be one of "
            f'{", ".join(sorted(_OPENERS))}.'
        )
    source = _OPENERS[dataset['name']](plain_dataset(dataset), split, seed)
    between = sum(dataset.get('copy_test', ()))
    length = dataset['input_frames'] + dataset['output_frames']
    return CopySequences(source, between, length) if between else source


def _open_moving_mnist(dataset: Mapping[str, Any], split: str, seed: int) -> Source:
    """Opens generated digits, or with `digits='array'` stored ones, as `dataset.path` says.

    `split_fractions` divides a single stored array. `test_path`, if not empty, names a stored
    array whose sequences are all for testing, whatever the training sequences are: the way to
    report on mnist_test_seq.npy.
    """
    length = dataset['input_frames'] + dataset['output_frames']
    layout = dataset.get('layout', '')
    if dataset.get('test_path') and dataset['digits'] == 'array':
        _check_other_file(dataset['path'], dataset['test_path'])
    if split == 'test' and dataset.get('test_path'):
        return arrays.open_array(dataset['test_path'], split, length, (0, 0, 1), layout)
    if dataset['digits'] == 'array':
        fractions = dataset.get('split_fractions', arrays.FRACTIONS)
        return arrays.open_array(dataset['path'], split, length, tuple(fractions), layout)
    moving_digits = MovingDigits(
        digits=dataset['digits'],
        path=dataset['path'],
        canvas=tuple(dataset['canvas']),
        num_digits=dataset['num_digits'],
        digit_size=dataset['digit_size'],
        speed=dataset['speed'],
        length=length,
    )
    if split == 'train' and dataset['endless']:
        moving_digits.load_digits(split)  # now, so that what is wrong with them shows at once
        return EndlessDigits(moving_digits, seed)
    sizes = {other: dataset[f'{other}_size'] for other in SPLITS}
    if dataset['endless']:
        sizes['train'] = 0
    return moving_mnist.open_split(moving_digits, sizes, dataset['data_dir'], split)


def _check_other_file(path: str, test_path: str) -> None:
    """Raises InputError where a file for testing is that which is trained on."""
    files = [local_path(text, 'The path of the array') for text in (path, test_path) if text]
    if len(files) == 2 and all(map(os.path.exists, files)) and os.path.samefile(*files):
        raise InputError(
            f"dataset.test_path is '{test_path}', the file that is trained on (dataset.path). Give "
            "another one, or dataset.test_path='' to have that file divided by "
            'dataset.split_fractions.'
        )


def _open_moving_actions(dataset: Mapping[str, Any], split: str, seed: int) -> ActionClips:
    """Clips of `input_frames`, and as many frames after them as are predicted in training."""
    actions = MovingActions(
        digits=dataset['digits'],
        path=dataset['path'],
        canvas=tuple(dataset['canvas']),
        digit_size=dataset['digit_size'],
        directions=dataset['directions'],
        travel=dataset['travel'],
        clip_frames=dataset['input_frames'],
        length=dataset['input_frames'] + dataset['output_frames'],
    )
    actions.load_digits(split)  # now, so that what is wrong with them shows at once
    if split == 'train':
        # Another stream than that of the fixed splits: these do not depend on the run's seed.
        return ActionClips(actions, seed, split, ENDLESS)
    return ActionClips(actions, 0, split, dataset[f'{split}_size'])


def _without_seed(opener: Callable) -> Callable:
    return lambda dataset, split, seed: opener(dataset, split)


_OPENERS = {
    'kth': open_kth,
    'moving_actions': _open_moving_actions,
    'moving_mnist': _open_moving_mnist,
    'something_something': _without_seed(open_something_something),
    'taxibj': _without_seed(open_taxibj),
    'video_folder': _without_seed(open_video_folder),
}
