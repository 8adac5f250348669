"""One's own grids over time: counts, rain, temperatures, with a unit, gaps and what else is known.

Files are `.npy`, `.npz`, `.h5`, netCDF or zarr (see `e3d.data.readers.grids`), read in pieces. Values
are mapped to what a model sees by a range of the training part, which is kept with the run. What was
not measured is NaN in the files, or the value of `dataset.missing`, or outside `dataset.mask`: it is
0 in the frames and False in 'valid' beside them (see `e3d.model.beside`).
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources.calendar import FEATURES
from e3d.data.sources.dataset import Dataset, register_dataset
from e3d.data.sources.file_facts import stated_unit
from e3d.data.sources.grid_scales import KINDS, choose_scale, fixed_range, training_ends
from e3d.data.sources.grid_sequences import GridSequences
from e3d.data.sources.grid_setup import GridSetup, hashable, open_setup
from e3d.data.sources.grid_survey import Survey, survey
from e3d.data.sources.grid_timeline import (
    find_files,
    sequence_starts,
    split_of_frames,
    state_of,
)
from e3d.data.sources.hour_averages import average_day
from e3d.data.sources.scales import TRANSFORMS, Scale
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.options.option import option
from e3d.options.rules import (
    FRACTIONS,
    LAYOUT,
    MOST,
    MOST_PIXELS,
    TEXT,
    VARIABLES,
    Rule,
    number,
    one_of,
    optional,
    several,
    sizes,
    whole,
)

CROP = Rule(
    f'() or {sizes((64, 64), MOST_PIXELS).allowed}',
    lambda value: value in ((), []) or sizes((64, 64), MOST_PIXELS).accepts(value),
)
NO_TRUTH = 'none of what is to be forecast was measured'
SCALE = Rule(
    "'minmax', 'meanstd' or two rising numbers, such as '0,80'",
    lambda value: isinstance(value, str) and (value in KINDS or fixed_range(value) is not None),
)
DATES = Rule(
    """() or two ISO dates, such as "('2020-01-01', '2020-07-01')\"""",
    lambda value: (
        isinstance(value, tuple | list)
        and len(value) in (0, 2)
        and all(isinstance(item, str) for item in value)
    ),
)


def open_grids(dataset: Mapping[str, Any], split: str, seed: int = 0) -> GridSequences:
    """Opens a split of grids.

    Args:
      dataset: the section of a config, see `GridsDataset`.
      split: 'train', 'validation' or 'test'.
      seed: of the places of crops.

    Raises:
      InputError: files or values that cannot be used, or a split without sequences.
    """
    files = find_files(dataset['path'])
    mask = os.path.expanduser(dataset['mask'])  # or the name of a field
    if os.path.exists(mask):
        files.append(Path(mask))
    signature = tuple(map(state_of, files))
    looked = _look(hashable(dataset), signature)
    setup, place = looked.setup, looked.place
    _check_crop(dataset['crop'], setup)
    starts = sequence_starts(setup.timeline, place, split, dataset)
    length = dataset['input_frames'] + dataset['output_frames']
    forecast = np.arange(dataset['input_frames'], length)
    measured = looked.found.measured[starts[:, None] + forecast].any(axis=1)
    left_out = tuple(
        LeftOut(f'the sequence from frame {start:,} on', NO_TRUTH) for start in starts[~measured]
    )
    if not measured.any():
        why = NO_TRUTH
        if not len(starts):
            why = (
                f'its part of the time has no {length} frames that follow each other'
                f'{setup.timeline.in_steps} (dataset.input_frames and dataset.output_frames)'
            )
        raise InputError(
            f"The split '{split}' of {dataset['path']} has no sequences: {why}. Change "
            'dataset.split_fractions or dataset.split_dates, or use fewer frames.'
        )
    return GridSequences(
        setup=setup,
        split=split,
        starts=starts[measured],
        scale=looked.scale,
        masked=looked.masked,
        seed=seed,
        account=looked.account,
        left_out=left_out,
        average_day=looked.average_day,
        ends=training_ends(setup, looked.found),
    )


def _check_crop(crop: Sequence[int], setup: GridSetup) -> None:
    size = setup.timeline.pieces[0].file.grids[setup.targets[0]].shape[2:4]
    if any(cut > side for cut, side in zip(crop, size, strict=False)):
        raise InputError(
            f'dataset.crop={tuple(crop)}: must be at most the size of the frames, {size}; () takes them '
            'whole.'
        )


@dataclasses.dataclass(frozen=True)
class _Looked:
    """What all splits of the same files share."""

    setup: GridSetup
    place: np.ndarray
    found: Survey
    scale: Scale
    masked: bool
    account: tuple[str, ...]

    @functools.cached_property
    def average_day(self) -> Callable[[Scale], np.ndarray | None]:
        """See the function; made when it is first asked for in a scale."""
        training = self.place == SPLITS.index('train')
        return functools.cache(lambda scale: average_day(self.setup, scale, training))


@functools.lru_cache(maxsize=2)
def _look(items: tuple[tuple[str, Any], ...], signature: tuple[Any, ...]) -> _Looked:
    """Opens files and looks through all their values once, until they change."""
    del signature
    dataset = dict(items)
    setup = open_setup(dataset)
    place, rule = split_of_frames(
        setup.timeline, dataset['split_fractions'], dataset['split_dates']
    )
    training = place == SPLITS.index('train')
    if not training.any():
        raise InputError(
            f'No frame of {dataset["path"]} is for training. Change dataset.split_fractions or '
            'dataset.split_dates.'
        )
    found = survey(
        setup.timeline,
        setup.read,
        setup.variables,
        setup.targets,
        training,
        dataset['transform'],
    )
    masked = setup.mask is not None or bool(found.gaps & set(setup.targets))
    return _Looked(
        setup=setup,
        place=place,
        found=found,
        scale=choose_scale(setup, found),
        masked=masked,
        account=_account(setup, found, rule),
    )


def _account(setup: GridSetup, found: Survey, rule: str) -> tuple[str, ...]:
    timeline = setup.timeline
    files = {piece.file.path: piece.file for piece in timeline.pieces}
    first = next(iter(files.values()))
    where = str(first.path) if len(files) == 1 else f'{len(files)} files, the first {first.path}'
    lines = [f'{where}: {timeline.length:,} frames{_describe_times(setup)}']
    kinds = {'forecast': setup.targets, 'known ahead': setup.known, 'known before': setup.others}
    for kind, names in kinds.items():
        lines += [f'{kind}: {_describe(name, setup)}' for name in names]
    if setup.dataset['static']:
        lines.append(f'fixed: {", ".join(setup.dataset["static"])}')
    if setup.dataset['calendar']:
        lines.append(f'of the calendar: {", ".join(setup.dataset["calendar"])}')
    absent = [
        f"'{name}' in {path}: {file.grids[name].absent}"
        for path, file in files.items()
        for name in setup.variables
        if file.grids[name].absent
    ]
    if absent:
        others = f'; {len(absent) - 1:,} more are like that' if absent[1:] else ''
        lines.append(f'{absent[0]}{others}')
    if timeline.elsewhere:
        lines.append(timeline.elsewhere)
    if found.gaps:
        lines.append(f'with gaps: {", ".join(sorted(found.gaps))}')
    return (*lines, rule)


def _describe_times(setup: GridSetup) -> str:
    """When the frames are, and which of them follow each other."""
    timeline, several = setup.timeline, len(setup.timeline.runs)
    if timeline.times is None:
        return f' in {several:,} series without times: the frames of each are taken to follow each other'
    stated = timeline.pieces[0].file.times
    form = f' (read as {stated.form})' if stated and stated.form else ''
    return (
        f', {timeline.times[0]} to {timeline.times[-1]}{form}{timeline.in_steps}, in {several:,} '
        f'stretch{"es" * (several != 1)} without a gap in time{_describe_step(setup)}'
    )


def _describe_step(setup: GridSetup) -> str:
    """What ends stretches where there are several, and which of them are of no use."""
    timeline, dataset = setup.timeline, setup.dataset
    if not timeline.step or len(timeline.runs) == 1:
        return ''
    lengths = np.diff(timeline.runs)
    frames = int(lengths[lengths < dataset['input_frames'] + dataset['output_frames']].sum())
    unused = f'; {frames:,} frames are in stretches too short for a sequence' if frames else ''
    return f' or a step much unlike that{unused}'


def _describe(name: str, setup: GridSetup) -> str:
    grid = setup.timeline.pieces[0].file.grids[name]
    unit, given = stated_unit(grid.unit), setup.dataset['unit'] if name in setup.targets else ''
    if given and unit not in ('', given):
        unit = f'{given}, as dataset.unit says, where the file says {unit}'
    unit = unit or given
    return f'{name} {list(grid.shape[2:])} [H, W, C]{f" in {unit}" if unit else ""}'


@register_dataset('grids')
@dataclasses.dataclass(frozen=True)
class GridsDataset(Dataset):
    """Grids over time; path: a file .npy, .npz, .h5, .nc, a zarr store, or a folder of such files."""

    variables: tuple[str, ...] = option(
        (), 'names of the variables that are read; (): all with a time axis', VARIABLES
    )
    targets: tuple[str, ...] = option(
        (), 'those among them that are forecast; (): all but those known ahead', VARIABLES
    )
    known: tuple[str, ...] = option(
        (), 'those among them that are known ahead, as a weather forecast', VARIABLES
    )
    static: tuple[str, ...] = option(
        (),
        'fields [H, W] of the file that a model sees as well, as the height of the ground',
        VARIABLES,
    )
    calendar: tuple[str, ...] = option(
        (), 'what a model is told of each date, also ahead', several(FEATURES)
    )
    mask: str = option(
        '', "a file, or a field of the file: not 0 where there are values; '': everywhere", TEXT
    )
    missing: float | None = option(
        None,
        'the stored number that stands for no value, beside NaN and the _FillValue of files; None: none',
        optional(number(-MOST)),
    )
    scale: str = option(
        'minmax',
        'what 0 and 1 stand for: the least and the largest value of each channel in the training '
        "part, or 'meanstd', mean and mean plus standard deviation, or fixed numbers 'LOW,HIGH'",
        SCALE,
    )
    transform: str = option(
        '',
        "what is done to values before: 'log1p', or 'dBZ' of rain in mm/h",
        one_of('', *TRANSFORMS),
    )
    unit: str = option(
        '',
        "name of the unit, and before it what a stored 1 is, as '0.1 mm/h'; '': as the file says",
        TEXT,
    )
    layout: str = option('', "axes of the arrays in order; '': they tell themselves", LAYOUT)
    crop: tuple[int, ...] = option(
        (),
        'height and width that are cut out at random for training, and of the tiles in which larger '
        'frames are forecast; (): whole frames',
        CROP,
    )
    stride: int = option(1, 'frames from the start of one sequence to that of the next', whole(1))
    split_fractions: tuple[float, ...] = option(
        (0.8, 0.1, 0.1), 'shares of training, validation and test, in the order of time', FRACTIONS
    )
    split_dates: tuple[str, ...] = option(
        (), 'first date of the validation and of the test; (): split_fractions', DATES
    )

    resizable = False  # a cell is a place
    hold_out = 'dataset.split_fractions'
    open = staticmethod(open_grids)

    @staticmethod
    def size_of_frames(dataset: Mapping[str, Any]) -> tuple[str, tuple[int, int]] | None:
        """As `Dataset.size_of_frames`."""
        return ('crop', tuple(dataset['crop'])) if dataset['crop'] else None

    @staticmethod
    def problems(dataset: Mapping[str, Any]) -> Iterable[str]:
        """As `Dataset.problems`."""
        if dataset['copy_test']:
            yield f'dataset.copy_test={tuple(dataset["copy_test"])}: must be () for grids'
        fixed = fixed_range(dataset['scale'])
        if dataset['transform'] and fixed and fixed[0] < 0:
            yield (
                f'dataset.scale={dataset["scale"]!r}: must begin at 0 or above with '
                f'dataset.transform={dataset["transform"]!r}'
            )
