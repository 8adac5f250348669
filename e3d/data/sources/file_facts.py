"""What files of clips and of grids say of themselves, and whether others say the same."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from e3d.errors import InputError

# Steps that differ by no more are the same: months have 28 to 31 days.
SAME_STEP = 1.15
TRAINING = 'the data of the training'
UNNAMED = 'values'  # the variable of a file that names none
_SHORT = {'latitude': 'lat', 'longitude': 'lon'}  # one axis by two names
_PLACE = 1e-3  # of an axis: coordinates that differ by less were only rounded

Axes = Mapping[str, tuple[float, ...]]


class FileFacts(NamedTuple):
    """What files state, by which others are checked that are to go with them.

    Attributes:
      units: of the variables of grids by name, in the order of their channels; that of
        `dataset.unit` where the files state none, and else ''.
      axes: of grids, by the name of the dimension of the rows, then of the columns, its first and
        its last coordinate; () where it has none.
      channels: of each variable that has several, what they are called; () where nothing says.
      step: seconds from one frame to the next; 0 where files do not tell, or not alike.
    """

    units: Mapping[str, str] = {}
    axes: Mapping[str, tuple[float, ...]] = {}
    step: float = 0.0
    channels: Mapping[str, tuple[str, ...]] = {}

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        axes = {name: list(ends) for name, ends in self.axes.items()}
        channels = {name: list(labels) for name, labels in self.channels.items()}
        return {'units': dict(self.units), 'axes': axes, 'step': self.step, 'channels': channels}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> 'FileFacts':
        """What `to_json` wrote.

        Raises:
          ValueError, TypeError, KeyError: it is something else.
        """
        axes = {str(name): tuple(map(float, ends)) for name, ends in dict(stored['axes']).items()}
        step = float(stored['step'])
        if not 0 <= step < np.inf or any(len(ends) not in (0, 2) for ends in axes.values()):
            raise ValueError('the axes or the step of its files cannot be used')
        return cls(
            {str(name): str(unit) for name, unit in dict(stored['units']).items()},
            axes,
            step,
            {str(name): tuple(map(str, own)) for name, own in dict(stored['channels']).items()},
        )


def stated_unit(text: str) -> str:
    """The unit that a file states, '' for none or for what is none by its length or its letters."""
    return text.strip() if len(text) <= 40 and text.isprintable() else ''


def describe_step(step: float, dated: bool = True) -> str:
    """A step between frames in words, as '30 min'; a bare number where the times are no dates."""
    units = {'d': 86_400, 'h': 3600, 'min': 60, 's': 1}
    if dated and step < 1:
        return f'1/{1 / step:.4g} s'
    for unit, seconds in units.items():
        if dated and step % seconds == 0:
            return f'{step / seconds:g} {unit}'
    return f'{step:g} s' if dated else f'{step:g}'


def same_step(one: float, other: float) -> bool:
    """Whether two steps are the same, as far as both are known."""
    return not one or not other or max(one, other) <= SAME_STEP * min(one, other)


def describe_other_step(found: FileFacts, trained: FileFacts, name: str) -> str:
    """In which step frames are that are in another one than those of the training; '' if not."""
    if same_step(found.step, trained.step):
        return ''
    steps = describe_step(found.step), describe_step(trained.step)
    return f'{name} has a frame every {steps[0]}, but {TRAINING} have one every {steps[1]}.'


def check_variables(found: FileFacts, expected: FileFacts, name: str, other: str) -> None:
    """Raises InputError where files state different units or channels of a variable.

    Args:
      found: what is stated of some variables.
      expected: what is to be stated; a variable may be missing.
      name: what to call the files that were found.
      other: what to call the others.
    """
    for variable in found.units:
        unit, wanted = found.units[variable], expected.units.get(variable, '')
        if unit and wanted and unit != wanted:
            raise InputError(
                f"'{variable}' is in '{unit}' in {name}, but in '{wanted}' in {other}. Convert its "
                "values; or, if both mean the same, write the attribute 'units' alike."
            )
        labels, before = (facts.channels.get(variable, ()) for facts in (found, expected))
        if labels and before and labels != before:
            raise InputError(
                f"The channels of '{variable}' are {', '.join(labels)} in {name}, but "
                f'{", ".join(before)} in {other}. Give the same ones in the same order.'
            )


def check_axes(found: Axes, expected: Axes, name: str, other: str) -> None:
    """Raises InputError where rows or columns of two files run another way."""
    if is_transposed(found, expected):
        raise InputError(
            f'Rows and columns are {" and ".join(found)} in {name}, but {" and ".join(expected)} in '
            f'{other}. Transpose one of them.'
        )
    for axis, ends, before in _with_ends(found, expected):
        if (ends[1] - ends[0]) * (before[1] - before[0]) < 0:
            raise InputError(
                f"'{axis}' goes {_from_to(ends)} in {name}, but {_from_to(before)} in {other}: one of "
                'them is turned around. Sort both in the same direction.'
            )


def is_transposed(found: Axes, expected: Axes) -> bool:
    """Whether the rows of one are the columns of the other, by their names."""
    one, other = ([_short(axis) for axis in axes] for axes in (found, expected))
    return set(one) == set(other) and one != other


def describe_places(found: Axes, expected: Axes) -> str:
    """Where the cells of a file lie that lie elsewhere than those of another; '' for the same place."""
    for axis, ends, before in _with_ends(found, expected):
        if np.abs(np.subtract(ends, before)).max() > _PLACE * abs(before[1] - before[0]):
            return f"'{axis}' goes {_from_to(ends)}, not {_from_to(before)}"
    return ''


def check_facts(found: FileFacts, trained: FileFacts, name: str) -> list[str]:
    """Whether data go with a run that was trained on others.

    Args:
      found: what their files state.
      trained: what those of the training stated.
      name: what to call the data in messages.

    Returns:
      In lines, what differs and can be meant: the step, then the names of the variables, the place.

    Raises:
      InputError: units, channels, or the direction of rows and columns, are others.
    """
    # Where names differ there is one variable.
    same = dict(zip(found.units, trained.units, strict=False))
    renamed = found._replace(
        units={wanted: found.units[own] for own, wanted in same.items()},
        channels={wanted: found.channels.get(own, ()) for own, wanted in same.items()},
    )
    check_variables(renamed, trained, name, TRAINING)
    check_axes(found.axes, trained.axes, name, TRAINING)
    lines = [describe_other_step(found, trained, name)]
    variables = ', '.join(found.units), ', '.join(trained.units)
    if UNNAMED in found.units and len(trained.units) > 1:
        lines.append(
            f'The channels of {name} have no names: they are taken for {variables[1]}, in this order.'
        )
    elif variables[0] != variables[1] and UNNAMED not in variables:
        lines.append(f"'{variables[0]}' of {name} stands for '{variables[1]}' of the training.")
    moved = describe_places(found.axes, trained.axes)
    lines.append(moved and f'{name} lies elsewhere than {TRAINING}: {moved}.')
    return [line for line in lines if line]


def _with_ends(
    found: Axes, expected: Axes
) -> Iterator[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    wanted = {_short(axis): ends for axis, ends in expected.items()}
    for axis, ends in found.items():
        if ends and wanted.get(_short(axis)):
            yield axis, ends, wanted[_short(axis)]


def _short(axis: str) -> str:
    return _SHORT.get(axis.lower(), axis.lower())


def _from_to(ends: tuple[float, ...]) -> str:
    return f'from {ends[0]:g} to {ends[1]:g}'
