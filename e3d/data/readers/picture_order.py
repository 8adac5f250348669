"""The order of the pictures in a folder, and where a stretch of them ends.

One rule for all data sets and for prediction: pictures follow each other in even steps of what
counts them in their names. Where one is missing a stretch ends, and no sequence crosses the gap.
"""

import collections
import itertools
import math
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_names import BY_DAY, READINGS, Name, read_numbers
from e3d.errors import InputError

FEW = 10  # pictures with names of another form are left out where they are so many times fewer
OTHER_NAME = 'with a name of another form than the pictures beside it'
MAX_STEPS = 20  # of the differences between numbers so many are tried as the step
TOLERANCE = 0.1  # share by which steps that count as the same differ

_COUNTING = re.compile(r'(?:^|[^a-z])(?:frame|time|t)[\W_]*$')


class Order(NamedTuple):
    """Pictures in their order.

    Attributes:
      files: all that count.
      numbers: of them, by which they are ordered; None where names hold no numbers.
      gaps: indices of the files, rising, before which a stretch ends; never 0.
      account: how the names were read, and how many gaps there are: clauses for a message.
      left_out: what is none of them.
    """

    files: list[Path]
    numbers: list[int | Fraction] | None
    gaps: list[int]
    account: str
    left_out: tuple[LeftOut, ...] = ()

    def left_out_of(self, clip: str) -> tuple[LeftOut, ...]:
        """What is none of them, by its place in the clip."""
        return tuple(one._replace(name=f'{clip}/{one.name}') for one in self.left_out)

    @property
    def last(self) -> list[Path]:
        """The files that follow the last gap: what comes before it did not lead to them."""
        return self.files[self.gaps[-1] if self.gaps else 0 :]


class _Sorted(NamedTuple):
    """The names of one form, sorted in one reading.

    Attributes:
      words: what the reading takes the numbers for.
      indices: of the names.
      keys: what tells them apart: other numbers, then the one that counts.
      gaps: as in `Order`.
      step: between the numbers that count; 0 where nothing tells it.
      exact: whether all steps but the gaps are the same.
      faults: how many steps are gaps, or otherwise differ from the usual one.
    """

    words: str
    indices: list[int]
    keys: list[tuple[int | Fraction, ...]]
    gaps: list[int]
    step: float
    exact: bool
    faults: int


def order_pictures(files: Sequence[Path]) -> Order:
    """Orders the pictures of a folder by the numbers, dates or times in their names.

    What counts is a number that differs from name to name: in `scene1_frame10` the last one, or the
    one called frame, time or t. Where another one changes, a stretch ends too. Steps may be larger
    than 1 and need not be exact: a gap is a step of at least one and a half times the usual one, or
    of at most half of it. Of several readings of the names that with the fewest gaps and uneven
    steps is taken.

    Pictures without such a number among many that have one are left out, as a cover.jpg is; where
    none has one, the order is alphabetical.

    Raises:
      InputError: two pictures have the same number or name, or there are several series.
    """
    files = sorted(files, key=lambda file: file.name)
    choices = [
        choice
        for reading in READINGS
        if any(reading.sign.search(file.stem) for file in files)
        and (choice := _sort(reading.words, [reading.read(file.stem) for file in files]))
    ]
    best = _best(choices)
    chosen = [files[index] for index in best.indices] if best else []
    stray = sorted(set(files) - set(chosen))
    _check_one_series(chosen, stray)
    if best is None or 2 * len(chosen) <= len(files):
        _check_unlike(files, [file.stem for file in files])
        files.sort(key=lambda file: natural_key(file.stem))
        return Order(
            files, None, [], 'in alphabetical order, as no numbers in their names count them'
        )
    _check_unlike(chosen, best.keys)
    numbers = [key[-1] for key in best.keys]
    others = [
        choice.words
        for choice in choices
        if 'sign' not in choice.words  # a hyphen that need not be a sign is none
        and choice.faults == best.faults
        and set(choice.indices) == set(best.indices)
        and choice.indices != best.indices
        and len(set(choice.keys)) == len(choice.keys)
    ]
    left_out = tuple(LeftOut(file.name, OTHER_NAME) for file in stray)
    return Order(chosen, numbers, best.gaps, _account(best, others), left_out)


def _best(choices: Sequence[_Sorted]) -> _Sorted | None:
    """The reading with the fewest faults, among those that place the most names."""
    most = max((len(choice.indices) for choice in choices), default=0)
    choices = [choice for choice in choices if len(choice.indices) == most]
    unique = [choice for choice in choices if len(set(choice.keys)) == most]
    # 01-02-2021 and 02-02-2021 are rather two days than two months.
    dates = [choice for choice in unique if choice.words in BY_DAY]
    if len(dates) == 2:
        unique.remove(max(dates, key=lambda choice: choice.keys[-1][-1] - choice.keys[0][-1]))
    return min(unique or choices, key=lambda choice: choice.faults, default=None)


def _sort(words: str, names: Sequence[Name | None]) -> _Sorted | None:
    """Sorts the names of the most common form with numbers; None if there is none."""
    forms = collections.defaultdict(list)
    for index, name in enumerate(names):
        if name and name.numbers:
            forms[name.texts].append(index)
    if not forms:
        return None
    texts, indices = max(forms.items(), key=lambda form: len(form[1]))
    columns = list(
        zip(*(name.numbers for name in (names[i] for i in indices) if name), strict=True)
    )
    varying = [c for c, column in enumerate(columns) if len(set(column)) > 1] or [len(columns) - 1]
    single = [c for c in varying if len(set(columns[c])) == len(indices)]
    named = [c for c in varying if _COUNTING.search(texts[c])]
    if not re.search(r'[^\W\d_]', texts[varying[-1]]):  # frame_2_10: the name is of both
        named = []
    joined = [c for c in varying if texts[c] == '.' and c - 1 in varying]  # 1.9, 2.10
    if joined or not single:  # only together do they tell the names apart
        counting = joined[-1:] or (named if len(named) == 1 else varying[-1:])
        others = [c for c in varying if c not in counting and (c + 1 in joined or c not in single)]
        return _sort_by(words, indices, columns, counting[0], others)
    others = [c for c in varying if c not in single]
    choices = [_sort_by(words, indices, columns, c, others, grouped=True) for c in single]
    ranks = [(choice.faults, c not in named, -c) for choice, c in zip(choices, single, strict=True)]
    return choices[ranks.index(min(ranks))]


def _sort_by(
    words: str,
    indices: Sequence[int],
    columns: Sequence[Sequence[int | Fraction]],
    counting: int,
    others: Sequence[int],
    grouped: bool = False,
) -> _Sorted:
    """Sorts names by one of their numbers, within what is the same in others.

    Args:
      words: see `_Sorted`.
      indices: of the names.
      columns: of each number in them its values.
      counting: the number that counts.
      others: where they change, a stretch ends.
      grouped: they count only where each of their values is in names that follow each other: a
        scene is, a score that comes again is not.
    """
    order = sorted(range(len(indices)), key=lambda row: columns[counting][row])
    if grouped:
        runs = {
            c: sum(1 for _ in itertools.groupby(columns[c][row] for row in order)) for c in others
        }
        others = [c for c in others if runs[c] == len(set(columns[c]))]
    order.sort(key=lambda row: [columns[c][row] for c in others])
    keys = [tuple(columns[c][row] for c in (*others, counting)) for row in order]
    steps = [
        float(b[-1] - a[-1]) if a[:-1] == b[:-1] else math.inf for a, b in itertools.pairwise(keys)
    ]
    step, gaps, faults = _uneven(np.array(steps))
    regular = set(np.delete(steps, np.array(gaps, int) - 1).tolist())
    sorted_indices = [indices[row] for row in order]
    return _Sorted(words, sorted_indices, keys, gaps, step, len(regular) <= 1, faults)


def _uneven(steps: np.ndarray) -> tuple[float, list[int], int]:
    """The usual step, which most others equal; the gaps; how many steps are gaps or differ else.

    Args:
      steps: float `[N - 1]`, from each number to the next; infinite where a stretch ends anyway.
    """
    known = sorted(steps[np.isfinite(steps) & (steps > 0)].tolist())
    if not known:
        return 0.0, list(range(1, len(steps) + 1)), len(steps)
    common = [step for step, _ in collections.Counter(known).most_common(MAX_STEPS)]
    faults = {
        step: int(np.count_nonzero(np.abs(steps - step) > TOLERANCE * step))
        for step in [*common, known[len(known) // 2]]
    }
    step = min(faults, key=faults.__getitem__)
    gaps = np.flatnonzero((steps <= step / 2) | (steps >= 1.5 * step)) + 1
    return step, gaps.tolist(), faults[step]


def _check_one_series(chosen: Sequence[Path], stray: Sequence[Path]) -> None:
    """Raises InputError where not only the chosen pictures are numbered, but many others too."""
    forms = collections.defaultdict(list)
    for file in stray:
        forms[read_numbers(file.stem).texts].append(file)
    for files in forms.values():
        if chosen and len(files) > max(1, len(chosen) // FEW):
            raise InputError(
                f'{files[0].parent} holds several series of pictures, as {chosen[0].name} and '
                f'{files[0].name} show. Put each into a folder of its own.'
            )


def natural_key(stem: str) -> list[tuple[str, int | Fraction]]:
    """A key that sorts `b10` after `b9`."""
    name = read_numbers(stem)
    return list(zip(name.texts, (*name.numbers, 0), strict=True))


def _check_unlike(files: Sequence[Path], keys: Sequence[Any]) -> None:
    """Raises InputError where two pictures claim the same place."""
    seen: dict[Any, Path] = {}
    for file, key in zip(files, keys, strict=True):
        if key in seen:
            raise InputError(
                f'In {file.parent}, {seen[key].name} and {file.name} have the same number; which of '
                'them is the frame cannot be told. Remove one, or rename it.'
            )
        seen[key] = file


def _account(best: _Sorted, others: Sequence[str]) -> str:
    account = f'in the order of the {best.words} in their names'
    if 'numbers' in best.words and best.step not in (0.0, 1.0):
        account += f', in steps of {"" if best.exact else "about "}{best.step:g}'
    if best.gaps:
        gaps = f'{len(best.gaps)} gap{"s" * (len(best.gaps) > 1)} in them'
        account += f'; {gaps}, which no sequence crosses: a forecast continues the last stretch'
    if others:
        account += f'; read as {others[0]}, the order would be another'
    return account
