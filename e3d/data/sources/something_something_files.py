"""The files of Something-Something v2: videos and lists as they are distributed; the classes."""

import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from e3d.data.readers.containers import VIDEO_SUFFIXES
from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.pictures import PICTURE_SUFFIXES
from e3d.data.readers.walk import walk
from e3d.errors import InputError
from e3d.files import local_path, read_json

MAX_LIST_BYTES = 2**28

INSTRUCTIONS = (
    'Qualcomm distributes it for research, 19.4 GB, after a registration at '
    'https://www.qualcomm.com/developer/software/something-something-v-2-dataset. Fetch the videos '
    'and the labels by hand, unpack both (20bn-something-something-v2/*.webm, and labels/train.json, '
    'labels/validation.json, labels/labels.json) into one folder, and name it with '
    '--config.dataset.path=FOLDER. --config=quickstart needs no download.'
)

TWICE = 'twice in a list, used once'
IN_BOTH = 'in both lists, used for testing only'

_ID = re.compile('[0-9]{1,9}')
_PART = re.compile(r'20bn-something-something-v2-[0-9a-z]{2}')

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
    """A video before its preparation.

    Attributes:
      id: its number in the lists.
      split: the list, 'train' or 'test'.
      label: by the lists.
      path: a video file or a folder of pictures; None if there is none.
    """

    id: str
    split: str
    label: int
    path: pathlib.Path | None


def find_folder(path: str) -> pathlib.Path:
    """The folder of the data set; raises InputError where a path names none."""
    folder = local_path(path, 'dataset.path') if path else pathlib.Path()
    if not path or not os.path.isdir(folder):
        found = f"is '{path}', which is not a folder" if path else 'is not given'
        raise InputError(
            f'The data set Something-Something v2 was not found: dataset.path {found}. {INSTRUCTIONS}'
        )
    return folder


class Files(NamedTuple):
    """What lies in a folder of the data set.

    Attributes:
      folder: itself.
      videos: by number, the video files, and the folders of pictures where there is no file.
      lists: the lists that were found, by kind.
      parts: the parts of the archive that were not joined and unpacked.
      left_out: what cannot be looked at.
    """

    folder: pathlib.Path
    videos: dict[str, pathlib.Path]
    lists: dict[str, pathlib.Path]
    parts: list[str]
    left_out: list[LeftOut]


def find_files(folder: pathlib.Path) -> Files:
    """Finds videos and lists in a folder and below, in as many folders as there are.

    Raises:
      InputError: no videos in it.
    """
    files = Files(folder, {}, {}, [], [])
    pictures: dict[str, pathlib.Path] = {}
    for here, subfolders, names in walk(folder, files.left_out):
        if _ID.fullmatch(here.name) and any(n.lower().endswith(PICTURE_SUFFIXES) for n in names):
            pictures.setdefault(here.name, here)
            subfolders.clear()
            continue
        for name in names:
            stem, suffix = os.path.splitext(name)
            if _ID.fullmatch(stem) and suffix.lower() in VIDEO_SUFFIXES:
                files.videos.setdefault(stem, here / name)
            elif _PART.fullmatch(name):
                files.parts.append(name)
        for kind, known in LIST_NAMES.items():
            found = next((name for name in known if name in names), None)
            if found:
                files.lists.setdefault(kind, here / found)
    for id, place in pictures.items():
        files.videos.setdefault(id, place)
    if not files.videos:
        unpack = (
            f' Unpack them first: cat {folder}/{files.parts[0][:-2]}?? | tar --extract --gzip.'
            if files.parts
            else f' {INSTRUCTIONS}'
        )
        raise InputError(
            f'There are no videos in {folder} called by their number, like 78687.webm, nor folders '
            f'of pictures of such a name.{unpack}'
        )
    return files


def list_videos(folder: pathlib.Path, num_classes: int) -> tuple[list[Video], Files]:
    """The videos that the official lists name and that belong to the classes, in their order.

    A video that is in both lists is for testing only; one that is twice in a list counts once.
    What is left out for it is added to `left_out` of the files.

    Raises:
      InputError: no lists, or lists of another form, or no videos.
    """
    files = find_files(folder)
    labels = {name: label for label, name in enumerate(read_classes(files, num_classes))}
    listed = {split: list(_read_list(find_list(files, split))) for split in ('train', 'test')}
    for_testing = {id for id, _ in listed['test']}
    videos = []
    for split, entries in listed.items():
        seen = set()
        for id, name in entries:
            if name not in labels:
                if num_classes != len(FORTY_ONE):
                    file = files.lists[split]
                    raise InputError(
                        f"{file} has the class '{name}', which the labels do not have."
                    )
            elif id in seen:
                files.left_out.append(LeftOut(id, TWICE))
            elif split == 'train' and id in for_testing:
                files.left_out.append(LeftOut(id, IN_BOTH))
            else:
                videos.append(Video(id, split, labels[name], files.videos.get(id)))
            seen.add(id)
    if not videos:
        raise InputError(f'The lists in {folder} name no video of the {num_classes} classes.')
    return videos, files


def read_classes(files: Files, num_classes: int) -> list[str]:
    """The names of the classes by label; raises InputError where their list cannot be read."""
    if num_classes == len(FORTY_ONE):
        return list(FORTY_ONE)
    labels = _read_labels(find_list(files, 'labels'), num_classes)
    return sorted(labels, key=labels.__getitem__)


def find_list(files: Files, kind: str) -> pathlib.Path:
    """The list 'train', 'test' or 'labels'; raises InputError where there is none."""
    if kind not in files.lists:
        raise InputError(
            f'{files.folder} has none of {", ".join(LIST_NAMES[kind])}, in whatever folder below. '
            f'{INSTRUCTIONS}'
        )
    return files.lists[kind]


def _read_list(file: pathlib.Path) -> Iterator[tuple[str, str]]:
    """(number, class) of the videos in a list."""
    entries = read_json(file, MAX_LIST_BYTES)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f'{file} must be a list of objects with "id" and "template".')
    for entry in entries:
        id, template = entry.get('id'), entry.get('template')
        # Only digits: the number becomes part of a path.
        id = str(id) if type(id) is int else id
        if not (isinstance(id, str) and _ID.fullmatch(id)):
            raise InputError(f'{file} has the id {id!r}; it must be a number.')
        if not isinstance(template, str):
            raise InputError(f'The video {id} in {file} has no "template", which tells its class.')
        yield id, template.replace('[', '').replace(']', '')


def _read_labels(file: pathlib.Path, num_classes: int) -> dict[str, int]:
    entries = read_json(file, MAX_LIST_BYTES)
    labels = {}
    if isinstance(entries, dict) and len(entries) == num_classes:
        numbers = {str(number): number for number in range(num_classes)}
        labels = {
            name: numbers[str(label)] for name, label in entries.items() if str(label) in numbers
        }
    if len(set(labels.values())) != num_classes:
        raise InputError(
            f'{file} must be an object that gives each of {num_classes} classes its number, from '
            f'"0" to "{num_classes - 1}".'
        )
    return labels
