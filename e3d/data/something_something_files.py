"""The lists of Something-Something v2 as they are distributed, and the classes of the paper."""

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from e3d.data.walk import walk
from e3d.errors import InputError
from e3d.files import read_json

MAX_LIST_BYTES = 2**28

SUFFIXES = ('.webm', '.mp4', '.mkv', '.avi')  # of the videos; they are given out as the first
SOURCE = (
    'Qualcomm gives it out for research, 19.4 GB, after a registration at '
    'https://www.qualcomm.com/developer/software/something-something-v-2-dataset. Fetch the videos '
    'and the labels by hand, unpack both (20bn-something-something-v2/*.webm, and labels/train.json, '
    'labels/validation.json, labels/labels.json) into one folder, and name it with '
    '--config.dataset.path=FOLDER. experiments/quickstart.py needs no download.'
)

# The lists under the names of both distributions.
LIST_NAMES = {
    'train': ('something-something-v2-train.json', 'train.json'),
    'test': ('something-something-v2-validation.json', 'validation.json'),
    'labels': ('something-something-v2-labels.json', 'labels.json'),
}

# Those behind the ten groups of Goyal et al. (2017), in the order of these.
FORTY_ONE = (
    'Something falling like a rock',
    'Something falling like a feather or paper',
    'Throwing something',
    'Throwing something onto a surface',
    'Throwing something in the air and letting it fall',
    'Pushing something from right to left',
    'Pulling something from right to left',
    'Pulling something from left to right',
    'Pushing something from left to right',
    'Picking something up',
    'Lifting something up completely without letting it drop down',
    'Moving something up',
    'Lifting something with something on it',
    'Taking something from somewhere',
    'Taking one of many similar things on the table',
    'Taking something out of something',
    'Putting something next to something',
    'Putting something onto something',
    'Putting something on a surface',
    'Putting something similar to other things that are already on the table',
    'Putting something behind something',
    'Putting something, something and something on the table',
    'Putting something and something on the table',
    'Putting something on a flat surface without letting it roll',
    "Putting something that can't roll onto a slanted surface, so it stays where it is",
    'Poking something so that it falls over',
    "Poking something so lightly that it doesn't or almost doesn't move",
    'Poking a stack of something so the stack collapses',
    'Poking a stack of something without the stack collapsing',
    'Tearing something into two pieces',
    'Tearing something just a little bit',
    'Pouring something into something',
    'Pouring something onto something',
    'Pouring something out of something',
    'Pouring something into something until it overflows',
    'Trying to pour something into something, but missing so it spills next to it',
    'Holding something',
    'Holding something in front of something',
    'Showing something on top of something',
    'Showing something behind something',
    'Showing something next to something',
)


class Video(NamedTuple):
    """A video before its preparation: the split and the label that the lists give it."""

    id: str
    split: str
    label: int
    path: pathlib.Path


def find_folder(path: str) -> pathlib.Path:
    """The folder of the data set; raises InputError where a path names none."""
    folder = pathlib.Path(path).expanduser()
    if not path or not os.path.isdir(folder):
        raise InputError(
            f"The data set Something-Something v2 is not at hand: dataset.path is '{path}', which is "
            f'not a folder. {SOURCE}'
        )
    return folder


def list_videos(folder: pathlib.Path, num_classes: int) -> list[Video]:
    """The videos that the official lists name and that belong to the classes, in their order.

    Raises:
      InputError: no lists, or lists of another form, or no videos.
    """
    labels = {name: label for label, name in enumerate(read_classes(folder, num_classes))}
    paths = _find_videos(folder)
    if not paths:
        raise InputError(
            f'There are no videos in {folder}, files like 78687.webm ({", ".join(SUFFIXES)}). '
            f'Unpack those of the data set there; pictures are not read. {SOURCE}'
        )
    videos = []
    for split in ('train', 'test'):
        file = find_list(folder, split)
        for id, name in _read_list(file):
            if name in labels:
                path = paths.get(id, folder / f'{id}{SUFFIXES[0]}')
                videos.append(Video(id, split, labels[name], path))
            elif num_classes != len(FORTY_ONE):
                raise InputError(f"{file} has the class '{name}', which the labels do not have.")
    if not videos:
        raise InputError(f'The lists in {folder} name no video of the {num_classes} classes.')
    return videos


def _find_videos(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The videos in a folder or below, by their number; of two with one number the first."""
    paths = {}
    for place, _, names in walk(folder, []):
        for name in names:
            id, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                paths.setdefault(id, place / name)
    return paths


def read_classes(folder: pathlib.Path, num_classes: int) -> list[str]:
    """The names of the classes by label; raises InputError where their list cannot be read."""
    if num_classes == len(FORTY_ONE):
        return list(FORTY_ONE)
    labels = _read_labels(find_list(folder, 'labels'), num_classes)
    return sorted(labels, key=labels.get)


def find_list(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """The list 'train', 'test' or 'labels' in a folder or in `labels` within.

    Raises:
      InputError: there is none.
    """
    for place in (folder, folder / 'labels'):
        for name in LIST_NAMES[kind]:
            if (place / name).is_file():
                return place / name
    raise InputError(
        f'{folder} has none of {", ".join(LIST_NAMES[kind])}, nor has a folder labels in it. {SOURCE}'
    )


def _read_list(file: pathlib.Path) -> Iterator[tuple[str, str]]:
    """(number, class) of the videos in a list."""
    entries = read_json(file, MAX_LIST_BYTES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f'{file} must be a list of objects with "id" and "template".')
    for entry in entries:
        id, template = entry.get('id'), entry.get('template')
        # Only digits: the number becomes part of a path.
        if not (isinstance(id, str) and re.fullmatch(r'[0-9]{1,9}', id)):
            raise InputError(f'{file} has the id {id!r}; it must be a number in quotes.')
        if not isinstance(template, str):
            raise InputError(f'The video {id} in {file} has no "template", which tells its class.')
        yield id, template.replace('[', '').replace(']', '')


def _read_labels(file: pathlib.Path, num_classes: int) -> dict[str, int]:
    entries = read_json(file, MAX_LIST_BYTES)
    labels = {}
    if isinstance(entries, dict) and len(entries) == num_classes:
        numbers = {str(number): number for number in range(num_classes)}
        labels = {name: numbers.get(str(label)) for name, label in entries.items()}
    if None in labels.values() or len(set(labels.values())) != num_classes:
        raise InputError(
            f'{file} must be an object that gives each of {num_classes} classes its number, from '
            f'"0" to "{num_classes - 1}".'
        )
    return labels
