"""The variables of grids by what they are for: to be forecast, known ahead, known before, fixed."""

import contextlib
import functools
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3d.data.readers.array_files import map_array
from e3d.data.readers.grids import Field, Grid, GridFile, arrange_field, decode
from e3d.data.sources.calendar import calendar_features
from e3d.data.sources.file_facts import (
    FileFacts,
    check_axes,
    describe_places,
    is_transposed,
    stated_unit,
)
from e3d.data.sources.grid_timeline import (
    Timeline,
    find_files,
    open_file,
    open_timeline,
    state_of,
    stated_facts,
)
from e3d.data.sources.scales import Scale
from e3d.errors import InputError
from e3d.files import local_path

MONTHS = 13  # frames at the end, of which it is told whether they are months or years apart
_UNIT = re.compile(r'\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)?\s*(.*?)\s*')


class GridSetup(NamedTuple):
    """Opened files, and what is made of them.

    Attributes:
      dataset: the section of a config.
      timeline: all frames.
      targets, known, others: names of the variables that are forecast, known ahead, known before.
      static: fields without time, scaled to nothing yet, `[H, W, K]`; K may be 0.
      mask: where there can be values, bool `[H, W, 1]`, or `[H, W, C]` with the channels of all targets;
        None: everywhere.
      factor: by which the stored targets are multiplied.
      unit: of the targets, '' where it is not known.
    """

    dataset: Mapping[str, Any]
    timeline: Timeline
    targets: tuple[str, ...]
    known: tuple[str, ...]
    others: tuple[str, ...]
    static: np.ndarray
    mask: np.ndarray | None
    factor: float
    unit: str

    @property
    def facts(self) -> FileFacts:
        """What the files state, by which later ones are checked."""
        stated = stated_facts(self.timeline.pieces[0].file, self.variables)
        given = {name: self.dataset['unit'] for name in self.targets}
        units = {name: unit or given.get(name, '') for name, unit in stated.units.items()}
        step = self.timeline.step if self.timeline.has_dates else 0.0
        return stated._replace(units=units, step=step)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """What the channels of the frames are called."""
        names: list[str] = []
        for name in self.targets:
            grid = self.timeline.pieces[0].file.grids[name]
            labels = grid.channels or tuple(map(str, range(1, grid.shape[-1] + 1)))
            names += [f'{name} {label}' for label in labels] if labels[1:] else [name]
        return tuple(names)

    @property
    def channel_units(self) -> tuple[str, ...]:
        """The unit of each channel of the frames; '' where it is not known."""
        units = self.facts.units
        return tuple(units[name] for name in self.targets for _ in range(self.channels_of((name,))))

    @property
    def variables(self) -> tuple[str, ...]:
        """All variables with times, the targets first."""
        return self.targets + self.known + self.others

    def channels_of(self, names: tuple[str, ...]) -> int:
        """How many channels variables have together."""
        return sum(self.timeline.pieces[0].file.grids[name].shape[-1] for name in names)

    @property
    def known_channels(self) -> int:
        """Of 'known': fields, calendar, and variables with whether they are there."""
        calendar = 2 * len(self.dataset['calendar'])
        return self.static.shape[-1] + calendar + 2 * self.channels_of(self.known)

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Frames of a variable in its unit, float32 `[t, H, W, C]`; NaN where nothing was measured."""
        values = self.timeline.read(name, start, stop, self.dataset['missing'])
        if name in self.targets:
            if self.mask is not None:
                values = np.where(self._mask_of(name), values, np.float32(np.nan))
            values = values * np.float32(self.factor) if self.factor != 1 else values
        return values

    def _mask_of(self, name: str) -> np.ndarray:
        """The mask of one of the targets: that of all channels, or those of its own."""
        assert self.mask is not None
        if self.mask.shape[-1] == 1:
            return self.mask
        first = self.channels_of(self.targets[: self.targets.index(name)])
        return self.mask[..., first : first + self.channels_of((name,))]

    def read_all(self, names: tuple[str, ...], start: int, stop: int) -> np.ndarray:
        """Several variables beside each other in the channels."""
        return np.concatenate([self.read(name, start, stop) for name in names], axis=-1)

    def sequence(
        self, start: int, stop: int, scale: Scale, masked: bool, ahead: int = 0
    ) -> dict[str, np.ndarray]:
        """Frames as a model sees them and what is beside them, see `e3d.model.beside`.

        Args:
          start: the first frame.
          stop: the one after the last.
          scale: of the targets, and of what is beside them.
          masked: whether 'valid' is told, as it must be where there are gaps.
          ahead: so many steps after `stop` are in 'known' as well, and may not be in the files.

        Returns:
          'frames' float32 `[T, H, W, C]`; 'valid' `[T, H, W, C]`; 'known' `[T + ahead, H, W, K]`;
          'others' `[T, H, W, K']`; the last three only where there are any.

        Raises:
          InputError: there are gaps that are not told, or as `times`.
        """
        frames = scale.from_unit(self.read_all(self.targets, start, stop))
        valid = ~np.isnan(frames)
        sequence = {'frames': np.where(valid, frames, np.float32(0))}
        if masked:
            sequence['valid'] = valid
        elif not valid.all():
            raise InputError(
                f'{self.dataset["path"]} has gaps in the frames {start} to {stop - 1}, but the data of '
                'the training had none. Fill them, or train with data that have some.'
            )
        ranges = np.array(scale.beside, np.float32).reshape(-1, 2)
        fixed, coming = self.static.shape[-1], self.channels_of(self.known)
        if self.known_channels:
            shape = (stop - start + ahead, *frames.shape[1:3])
            parts = [np.broadcast_to(_scaled(self.static, ranges[:fixed]), (*shape, fixed))]
            if self.dataset['calendar']:
                features = calendar_features(
                    self.times(start, stop + ahead), self.dataset['calendar']
                )
                width = features.shape[-1]
                parts.append(np.broadcast_to(features[:, None, None], (*shape, width)))
            if self.known:
                values = self.read_all(self.known, start, stop + ahead)
                parts.append(with_presence(_scaled(values, ranges[fixed : fixed + coming])))
            sequence['known'] = np.concatenate([np.nan_to_num(part) for part in parts], axis=-1)
        if self.others:
            values = _scaled(self.read_all(self.others, start, stop), ranges[fixed + coming :])
            sequence['others'] = with_presence(values)
        return sequence

    def with_step(self, step: float) -> 'GridSetup':
        """The same with a step in s, where the files have too few frames to tell theirs."""
        timeline = self.timeline
        return self if timeline.step else self._replace(timeline=timeline._replace(step=step))

    def times(self, start: int, stop: int) -> np.ndarray:
        """The dates of frames, and of those that would come after the last one, datetime64.

        Raises:
          InputError: dates after the last one are asked for, and no step is known.
        """
        times = self.timeline.times
        assert times is not None
        inside = times[start:stop]
        more = stop - len(times)
        if more <= 0:
            return inside
        if not self.timeline.step:
            raise InputError(
                f'{self.dataset["path"]} has too few frames to tell in which step those that follow '
                'come, of which dataset.calendar needs the dates. Give a file with more of them.'
            )
        return np.concatenate([inside, _later(times, self.timeline.step, more)])


def _later(times: np.ndarray, step: float, count: int) -> np.ndarray:
    """The dates that come after the last one: by months where these are, else by a step in s."""
    latest, number = times[-MONTHS:], np.arange(1, count + 1)
    months = latest.astype('datetime64[M]')
    within = latest - months.astype(times.dtype)
    apart = np.unique(np.diff(months).astype(int))
    if len(apart) == 1 and apart[0] > 0 and (within == within[0]).all():
        return (months[-1] + apart * number).astype(times.dtype) + within[-1]
    return times[-1] + np.rint(1e6 * step * number).astype('timedelta64[us]')


def _scaled(values: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    return (values - ranges[:, 0]) / (ranges[:, 1] - ranges[:, 0])


def with_presence(values: np.ndarray) -> np.ndarray:
    """Values, 0 where they are missing, and in as many further channels whether they are there."""
    there = ~np.isnan(values)
    return np.concatenate(
        [np.where(there, values, np.float32(0)), there], axis=-1, dtype=np.float32
    )


def open_setup(dataset: Mapping[str, Any]) -> GridSetup:
    """Opens the files of a data set and finds what each variable is for.

    Raises:
      InputError: they cannot be read, lack something, or do not fit together.
    """
    timeline = open_timeline(dataset['path'], dataset['layout'], tuple(dataset['variables']))
    first = timeline.pieces[0].file
    names = tuple(dataset['variables']) or tuple(first.grids)
    known = tuple(dataset['known'])
    targets = tuple(dataset['targets']) or tuple(name for name in names if name not in known)
    for key, chosen in (('targets', targets), ('known', known)):
        missing = [name for name in chosen if name not in names]
        if missing:
            raise InputError(
                f"dataset.{key} names '{missing[0]}', which is none of the variables "
                f'{", ".join(names)} of {first.path}.'
            )
    both = sorted(set(targets) & set(known))
    if both or not targets:
        what = f"'{both[0]}' is in dataset.targets and" if both else 'all variables are'
        raise InputError(f'{what} in dataset.known: what is known ahead needs no forecast.')
    if dataset['calendar'] and not timeline.has_dates:
        raise InputError(
            f'dataset.calendar={tuple(dataset["calendar"])}: {first.path} has no dates, only frames. '
            'Give it a time axis of dates, or leave this out.'
        )
    factor, unit = _unit_of(targets, first, dataset['unit'])
    place_bound = [key for key in ('static', 'mask') if dataset[key]]
    if place_bound and timeline.elsewhere:
        raise InputError(
            f'dataset.{place_bound[0]} is of one place, but {timeline.elsewhere}. Name files of one '
            'place with dataset.path.'
        )
    return GridSetup(
        dataset=dict(dataset),
        timeline=timeline,
        targets=targets,
        known=known,
        others=tuple(name for name in names if name not in (*targets, *known)),
        static=_static_fields(
            first, first.grids[targets[0]], tuple(dataset['static']), dataset['missing']
        ),
        mask=_mask(dataset, first, targets),
        factor=factor,
        unit=unit,
    )


def hide_missing(frames: np.ndarray, dataset: Mapping[str, Any]) -> np.ndarray:
    """Frames in memory as `GridSetup.read` gives those of files.

    Args:
      frames: numbers `[..., H, W, C]` in the unit of the data.
      dataset: the section of a config, whose 'missing' and 'mask' tell where nothing was measured.

    Returns:
      Float32 of the same shape, NaN there.

    Raises:
      InputError: the mask is gone, or is none for such frames.
    """
    missing, unit = dataset.get('missing'), dataset.get('unit')
    if missing is not None and unit:
        factor, _ = parse_unit(unit)  # by which the stored number may be multiplied as float32 too
        missing = np.array([missing * factor, np.float32(missing) * np.float32(factor)])
    values = decode(frames, {}, missing)
    if not dataset.get('mask'):
        return values
    return np.where(_mask_without_grids(dataset, frames.shape[-3:]), values, np.float32(np.nan))


def _mask_without_grids(dataset: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """The mask of a data set for frames of a shape (H, W, C) that come from no file."""
    path, data = (local_path(dataset[key], f'dataset.{key}') for key in ('mask', 'path'))
    own = os.path.exists(path)
    if not own and not os.path.exists(data):
        raise InputError(
            f"dataset.mask is '{dataset['mask']}', which is neither a file nor, as {data} is gone, a "
            'field of the data of the training. Put back the one that it was.'
        )
    files = [path] if own else find_files(dataset['path'])
    mask = _stored_mask(hashable(dataset), path if own else None, tuple(map(state_of, files)))
    source = str(path) if own else f"'{dataset['mask']}' in {data}"
    return _checked_mask(mask, source, shape)


@functools.lru_cache(maxsize=2)
def _stored_mask(
    items: tuple[tuple[str, Any], ...], path: Path | None, signature: tuple[Any, ...]
) -> np.ndarray:
    """A mask in a file of its own, or else in the data, read once until they change.

    A stream asks for it at every frame.
    """
    del signature
    dataset = dict(items)
    if path is not None:
        return _read_mask(path, dataset['layout']).read(None)
    mask = open_setup(dataset).mask
    assert mask is not None
    return mask


def hashable(dataset: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """The items of a section, whose lists become tuples."""
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in dataset.items()}
    return tuple(sorted(values.items()))


def _unit_of(targets: tuple[str, ...], file: GridFile, wanted: str) -> tuple[float, str]:
    """What a stored number of the targets is in their unit, and its name: of several units all names."""
    stated = list(dict.fromkeys(stated_unit(file.grids[name].unit) for name in targets))
    known = [unit for unit in stated if unit]
    if not wanted:
        return 1.0, ' and '.join(known + ['a unit not stated'] * (0 < len(known) < len(stated)))
    if len(known) > 1:
        raise InputError(
            f'dataset.unit={wanted!r} is one unit, but those of {", ".join(targets)} are '
            f'{", ".join(known)} in {file.path}. Leave it out, or name variables of one unit with '
            'dataset.targets.'
        )
    return parse_unit(wanted)


def parse_unit(text: str) -> tuple[float, str]:
    """What a stored number is in the unit, and the name of that: '0.1 mm/h' is (0.1, 'mm/h').

    Raises:
      InputError: the factor is not a positive number, or there is no name.
    """
    match = _UNIT.fullmatch(text)
    try:
        factor = float(match[1] or 1) if match else math.nan
    except ValueError:
        factor = math.nan
    if not match or not match[2] or not 0 < factor < math.inf or not text.isprintable():
        raise InputError(
            f'dataset.unit={text!r} cannot be parsed: must be the name of the unit, such as mm/h, or a '
            "number > 0 before it that a stored 1 stands for, such as '0.1 mm/h'."
        )
    return factor, match[2]


def _static_fields(
    file: GridFile, target: Grid, names: tuple[str, ...], missing: float | None
) -> np.ndarray:
    """Fields of a file beside each other, `[H, W, K]`, which must lie as a target does."""
    size, read = target.shape[2:4], []
    for name in names:
        if name not in file.fields:
            raise InputError(
                f"{file.path} has no field '{name}' [H, W] without times; it has "
                f'{", ".join(file.fields) or "none"}. See dataset.static.'
            )
        field = _as_grids_lie(file.fields[name], target)
        _check_place(field, target, f"the field '{name}'")
        read.append(field.read(missing))
        if read[-1].shape != size:
            raise InputError(
                f"The field '{name}' has the shape {read[-1].shape}; it must be {size}, that of "
                'the frames.'
            )
    return np.stack(read, -1) if read else np.zeros((*size, 0), 'f4')


def _as_grids_lie(field: Field, target: Grid) -> Field:
    """A field of the same file with rows and columns as a grid has them, as far as names tell."""
    if not is_transposed(field.axes, target.axes):
        return field
    return Field(lambda missing: field.read(missing).T, dict(reversed(list(field.axes.items()))))


def _check_place(field: Field, target: Grid, name: str) -> None:
    """Raises InputError where the cells of a field are not those of a grid, by what files state."""
    frames = f"'{target.name}' of {target.file}"
    check_axes(field.axes, target.axes, name, frames)
    moved = describe_places(field.axes, target.axes)
    if moved:
        raise InputError(
            f'{name[0].upper()}{name[1:]} lies elsewhere than {frames}: {moved}. Give one of the same '
            'cells.'
        )


def _mask(
    dataset: Mapping[str, Any], file: GridFile, targets: tuple[str, ...]
) -> np.ndarray | None:
    """The mask that `dataset.mask` names: a field of the first file, or a file of its own."""
    name = dataset['mask']
    if not name:
        return None
    target = file.grids[targets[0]]
    if name in file.fields:
        field, source = _as_grids_lie(file.fields[name], target), f"'{name}' in {file.path}"
    else:
        path = local_path(name, 'dataset.mask')
        if not os.path.exists(path):
            raise InputError(
                f"dataset.mask is '{name}', which is neither a file nor one of the fields "
                f'{", ".join(file.fields) or "(none)"} of {file.path}.'
            )
        field, source = _read_mask(path, dataset['layout']), str(path)
    _check_place(field, target, f'the mask {source}')
    channels = sum(file.grids[name].shape[-1] for name in targets)
    return _checked_mask(field.read(None), source, (*target.shape[2:4], channels))


def _checked_mask(mask: np.ndarray, source: str, shape: tuple[int, ...]) -> np.ndarray:
    """A stored mask as bool `[H, W, 1]` or `[H, W, C]`, for frames of a shape (H, W, C)."""
    size = shape[:2]
    if mask.shape not in (size, (*size, 1), shape):
        raise InputError(
            f'The mask {source} has the shape {mask.shape}; it must be {size}, that of the frames, or '
            f'{shape}, with a channel for each of theirs.'
        )
    mask = np.nan_to_num(np.asarray(mask, np.float32)) != 0
    if not mask.any():
        raise InputError(
            f'The mask {source} leaves no cell: it must be True, or not 0, where there are values.'
        )
    return mask[..., None] if mask.ndim == 2 else mask


def _read_mask(path: Path, layout: str) -> Field:
    """A mask in a file of its own. Without names of its axes it lies as the grids of a layout do."""
    if path.suffix.lower() == '.npy':
        array = np.asarray(map_array(path))
        return Field(lambda missing: arrange_field(array, layout) if array.ndim == 2 else array)
    rule = (
        f'{path} must hold one mask [H, W]; one for each channel, [H, W, C], must be an .npy file.'
    )
    try:
        # No grid over time is wanted; fields are read from the file as long as it is there.
        opened = open_file(path, wanted=['a mask'])
    except InputError as error:
        raise InputError(f'{rule} {error}') from error
    with contextlib.closing(opened):
        if len(opened.fields) != 1:
            raise InputError(f'{rule} It has {", ".join(opened.fields) or "none"}.')
        (field,) = opened.fields.values()
        values = field.read(None)
        arranged = values if field.axes else arrange_field(values, layout)
        return Field(lambda missing: arranged, field.axes)
