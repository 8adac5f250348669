"""Files of grids in the order of time: which frames follow each other, and which split they are in."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3d.data.readers import grids, labeled_grids
from e3d.data.readers.grids import GridFile
from e3d.data.readers.picture_order import natural_key
from e3d.data.sources.file_facts import (
    UNNAMED,
    FileFacts,
    check_axes,
    check_variables,
    describe_places,
    describe_step,
    stated_unit,
)
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.files import local_path, regular_file

# A step that is more than so many times the usual one, or of which the usual one is, ends a stretch:
# there is a gap, or another rate. Months differ by less.
GAP = 1.5
SUFFIXES = grids.SUFFIXES | labeled_grids.SUFFIXES
INSTRUCTIONS = (
    'Name a file, or a folder of files of one kind, with --config.dataset.path=PATH: .npy, .npz, .h5, '
    'netCDF (.nc) or a zarr store, with arrays [T, H, W], [T, H, W, C] or [N, T, H, W, C].'
)


class Piece(NamedTuple):
    """A series of a file: the frames `first` to `first + length` of the timeline."""

    file: GridFile
    series: int
    first: int
    length: int


class Timeline(NamedTuple):
    """All frames of all files, counted through.

    Attributes:
      pieces: what they come from.
      times: of each frame, dates or float64, see `grid_times.Times`; None where the files have none.
      runs: int [R, 2], first and one after the last frame of what follows in the usual step.
      step: the usual one, in s for dates; 0 where there is none.
      elsewhere: how many files are of other places than the first one, in words; '' if none is.
    """

    pieces: tuple[Piece, ...]
    times: np.ndarray | None
    runs: np.ndarray
    step: float = 0.0
    elsewhere: str = ''

    @property
    def length(self) -> int:
        """Number of frames."""
        return self.pieces[-1].first + self.pieces[-1].length

    @property
    def in_steps(self) -> str:
        """' in steps of 30 min', or of a number where the times are not dates; '' without a step."""
        return f' in steps of {describe_step(self.step, self.has_dates)}' if self.step else ''

    @property
    def has_dates(self) -> bool:
        """Whether the times are those of a calendar."""
        return self.times is not None and self.times.dtype.kind == 'M'

    def read(self, name: str, start: int, stop: int, missing: float | None) -> np.ndarray:
        """The frames of a variable, float32 `[t, H, W, C]` in its unit, NaN where none was measured.

        `missing` is the stored number that stands for no value, beside what the files say.
        """
        parts = []
        for piece in self.pieces:
            low, high = max(start, piece.first), min(stop, piece.first + piece.length)
            if low < high:
                grid = piece.file.grids[name]
                ends = low - piece.first, high - piece.first
                parts.append(grid.read(piece.series, *ends, missing))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def state_of(path: Path) -> tuple[str, int, int]:
    """What changes when a file or a store does: its times, and how much it holds."""
    files = [path, *(path.rglob('*') if path.is_dir() else ())]
    stats = [os.stat(file) for file in files]
    return str(path), max(one.st_mtime_ns for one in stats), sum(one.st_size for one in stats)


def find_files(path: str) -> list[Path]:
    """The files of grids that a path names; a zarr store counts as one.

    Raises:
      InputError: there are none, or of several kinds.
    """
    place = local_path(path, 'dataset.path') if path else None
    if not place or not os.path.exists(place):
        raise InputError(
            f"The grids were not found: dataset.path is '{path}', which does not exist. {INSTRUCTIONS}"
        )
    if labeled_grids.is_labeled(place):
        return [place]
    if not place.is_dir():
        if place.suffix.lower() not in SUFFIXES:
            raise InputError(f'{place} is no file of grids, by its suffix. {INSTRUCTIONS}')
        return [regular_file(place)]
    # In the order of their numbers, which counts where nothing states times: 10 comes after 9.
    files = sorted(place.iterdir(), key=lambda file: (natural_key(file.name), file.name))
    found = [file for file in files if not file.name.startswith('.')]
    found = [f for f in found if f.suffix.lower() in SUFFIXES or labeled_grids.is_labeled(f)]
    kinds = {file.suffix.lower() for file in found}
    if len(kinds) != 1:
        many = (
            f'holds files of several kinds ({", ".join(sorted(kinds))})' if kinds else 'holds none'
        )
        raise InputError(f'The folder {place} {many}. {INSTRUCTIONS}')
    return found


def open_file(path: Path, layout: str = '', wanted: Sequence[str] = ()) -> GridFile:
    """Opens a file of grids or a zarr store by what reads it, see `open_grid_file`."""
    labeled = labeled_grids.is_labeled(path)
    read = labeled_grids.open_labeled_grids if labeled else grids.open_grid_file
    return grids.explain_damage(read(path, layout, wanted))


def open_timeline(path: str, layout: str, wanted: Sequence[str]) -> Timeline:
    """Opens the files of a path and puts them in order.

    Args:
      path: of a file, a zarr store, or a folder of them.
      layout: see `open_grid_file`.
      wanted: names of the variables that must be there and fit together; () for all.

    Raises:
      InputError: what is wrong with the files.
    """
    files = []
    for path_of_file in find_files(path):
        opened = open_file(path_of_file, layout, wanted)
        if not opened.grids:
            raise InputError(
                f'{opened.path} holds no grids over time, only fields [H, W]: '
                f'{", ".join(opened.fields)}. Each variable must have a time axis: [T, H, W], '
                '[T, H, W, C] or [N, T, H, W, C].'
            )
        # The one array of an .npy file has no name but that of the file, which may be of its day.
        if path_of_file.suffix.lower() == '.npy' and not wanted:
            (grid,) = opened.grids.values()
            opened = opened._replace(grids={UNNAMED: grid._replace(name=UNNAMED)})
        files.append(opened)
    names = list(wanted) or list(files[0].grids)
    for file in files:
        _check_variables(file, names, files[0])
    return _in_order(files, names)._replace(elsewhere=_elsewhere(files, names[0]))


def stated_facts(file: GridFile, names: Sequence[str]) -> FileFacts:
    """What a file states of variables, of the axes the first of them; the step takes all files."""
    of_names = {name: file.grids[name] for name in names}
    return FileFacts(
        units={name: stated_unit(grid.unit) for name, grid in of_names.items()},
        axes=of_names[names[0]].axes,
        channels={name: grid.channels for name, grid in of_names.items() if grid.channels},
    )


def _check_variables(file: GridFile, names: Sequence[str], first: GridFile) -> None:
    missing = [name for name in names if name not in file.grids]
    if missing:
        raise InputError(
            f"{file.path} has no variable '{missing[0]}' with a time axis; it has "
            f'{", ".join(file.grids)}. Name some of them with dataset.variables.'
        )
    found, expected = stated_facts(file, names), stated_facts(first, names)
    check_variables(found, expected, str(file.path), str(first.path))
    shapes = {name: file.grids[name].shape for name in names}
    for name, shape in shapes.items():
        other = shapes[names[0]]
        if shape[:4] != other[:4]:
            raise InputError(
                f"'{name}' in {file.path} has {_sizes(shape)}, but '{names[0]}' has {_sizes(other)}; "
                'variables must share series, times, rows and columns. Name those that do with '
                'dataset.variables.'
            )
        own = file.grids[name].axes
        check_axes(own, expected.axes, f"'{name}' of {file.path}", str(first.path))
        if shape[2:] != first.grids[name].shape[2:]:
            raise InputError(
                f"'{name}' has {_sizes(shape)} in {file.path}, but "
                f'{_sizes(first.grids[name].shape)} in {first.path}; all files must have one grid.'
            )
    if file.times is not None and len(file.times.values) != shapes[names[0]][1]:
        raise InputError(
            f"{file.path} has {len(file.times.values):,} times, but '{names[0]}' has "
            f'{shapes[names[0]][1]:,} of them. Each frame needs one.'
        )


def _elsewhere(files: Sequence[GridFile], name: str) -> str:
    first = files[0].grids[name].axes
    told = [(file.path, describe_places(file.grids[name].axes, first)) for file in files]
    moved = [(path, words) for path, words in told if words]
    if not moved:
        return ''
    path, words = moved[0]
    count = f'{len(moved):,} of {len(files):,} files'
    return f'{count} lie elsewhere than {files[0].path}: in {path} {words}'


def _sizes(shape: tuple[int, ...]) -> str:
    return ', '.join(f'{axis}={size}' for axis, size in zip('NTHWC', shape, strict=True))


def _in_order(files: list[GridFile], names: Sequence[str]) -> Timeline:
    _check_alike(files)
    for file in files:
        _check_rising(file)
    if files[0].times is not None:
        files = sorted(files, key=lambda file: file.times.values[0])  # type: ignore[union-attr]
    pieces: list[Piece] = []
    for file in files:
        series, length = file.grids[names[0]].shape[:2]
        for one in range(series):
            first = pieces[-1].first + pieces[-1].length if pieces else 0
            pieces.append(Piece(file, one, first, length))
    stated = [piece.file.times for piece in pieces]
    borders = [(piece.first, piece.first + piece.length) for piece in pieces]
    if None in stated:
        return Timeline(tuple(pieces), None, np.array(borders))
    times = np.concatenate([times.values for times in stated if times is not None])
    steps = _steps(times)
    if len(pieces) > len(files):  # series beside each other, of the same times
        steps[[first - 1 for first, _ in borders[1:]]] = np.nan
    if (steps <= 0).any():
        where = int(np.argmax(steps <= 0))
        raise InputError(
            f'Files of {files[0].path.parent} overlap in time, at {times[where + 1]}; each time must '
            'be there once. Remove one of them.'
        )
    # The middle one of those that there are: a mean of two would be a rate that no frames have.
    known = np.sort(steps[~np.isnan(steps)])
    usual = float(known[(len(known) - 1) // 2]) if known.size else 0.0
    breaks = np.flatnonzero(~((steps <= GAP * usual) & (usual <= GAP * steps))) + 1
    ends = np.concatenate([[0], breaks, [len(times)]]).astype(int)
    return Timeline(tuple(pieces), times, np.stack([ends[:-1], ends[1:]], axis=1), usual)


def _steps(times: np.ndarray) -> np.ndarray:
    """From each time to the next, float64; of dates in seconds."""
    steps = np.diff(times)
    return steps / np.timedelta64(1, 's') if steps.dtype.kind == 'm' else steps


def _check_alike(files: Sequence[GridFile]) -> None:
    """Raises InputError where files do not say in the same way when their frames are."""
    ways = [_way_of_times(file) for file in files]
    for file, way in zip(files, ways, strict=True):
        if way != ways[0]:
            raise InputError(
                f'{file.path} has {way}, but {files[0].path} has {ways[0]}; all files of a folder must '
                'say alike when their frames are. ISO dates, such as 2020-05-01T13:00, always do.'
            )


def _way_of_times(file: GridFile) -> str:
    if file.times is None:
        return 'no times'
    if file.times.form:
        return f'times as {file.times.form}'
    return 'dates' if file.times.values.dtype.kind == 'M' else 'times as plain numbers'


def _check_rising(file: GridFile) -> None:
    if file.times is None:
        return
    steps = _steps(file.times.values)
    if (steps > 0).all():
        return
    where = int(np.argmax(steps <= 0))
    kind = 'has the time {} twice' if steps[where] == 0 else 'goes back in time at {}'
    raise InputError(
        f'{file.path} {kind.format(file.times.values[where + 1])}; each time must be later than the one '
        'before. Sort it, and leave one of each.'
    )


def split_of_frames(
    timeline: Timeline, fractions: Sequence[float], dates: Sequence[str]
) -> tuple[np.ndarray, str]:
    """The place in SPLITS of the split of each frame, and the rule in words.

    Args:
      timeline: of all frames.
      fractions: shares of the splits, in the order of time. Where there are enough series that do
        not follow each other, they are divided as a whole.
      dates: of the first frame of the validation and of the test; () divides by fractions.

    Raises:
      InputError: the dates cannot be parsed, do not rise, or there are none in the files.
    """
    if dates:
        return _split_by_dates(timeline, dates)
    shares = ', '.join(f'{share:g}' for share in fractions)
    ends = np.cumsum(fractions)[:-1]
    apart = timeline.times is None or len(timeline.pieces) > len(
        {id(piece.file) for piece in timeline.pieces}
    )
    borders = np.rint(ends * len(timeline.pieces)).astype(int)
    counts = np.diff([0, *borders, len(timeline.pieces)])
    if apart and all(count for count, share in zip(counts, fractions, strict=True) if share):
        place = np.searchsorted(borders, range(len(timeline.pieces)), side='right')
        place = np.repeat(place, [piece.length for piece in timeline.pieces])
        return place, f'divided by dataset.split_fractions=({shares}), series by series'
    borders = np.rint(ends * timeline.length).astype(int)
    place = np.searchsorted(borders, range(timeline.length), side='right')
    return place, f'divided by dataset.split_fractions=({shares}), in the order of time'


def _split_by_dates(timeline: Timeline, dates: Sequence[str]) -> tuple[np.ndarray, str]:
    try:
        first, second = (np.datetime64(date, 's') for date in dates)
    except ValueError as error:
        raise InputError(
            f'dataset.split_dates={tuple(dates)}: must be two ISO dates, such as 2020-05-01 ({error}).'
        ) from error
    if not timeline.has_dates:
        raise InputError(
            f'dataset.split_dates={tuple(dates)}: the files have no dates. Use '
            'dataset.split_fractions.'
        )
    if not first <= second:
        raise InputError(
            f'dataset.split_dates={tuple(dates)}: the date of the test must not be before that of the '
            'validation.'
        )
    place = np.searchsorted([first, second], timeline.times, side='right')  # type: ignore[call-overload]
    return place, f'divided by dataset.split_dates: validation from {first}, test from {second}'


def sequence_starts(
    timeline: Timeline,
    place: np.ndarray,
    split: str,
    dataset: Mapping[str, Any],
) -> np.ndarray:
    """The first frame of each sequence of a split, int [N].

    No sequence crosses a gap. One for training lies wholly in its part; of the others all that is to
    be forecast lies in the part of their split.
    """
    ahead = dataset['input_frames']
    length = ahead + dataset['output_frames']
    starts = [
        np.arange(first, end - length + 1, dataset['stride'])
        for first, end in timeline.runs.tolist()
    ]
    found = np.concatenate(starts) if starts else np.zeros(0, int)
    first = found if split == 'train' else found + ahead
    wanted = SPLITS.index(split)
    return found[(place[first] == wanted) & (place[found + length - 1] == wanted)]
