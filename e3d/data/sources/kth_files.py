"""The clips of KTH: zip archives as they are distributed, video files or folders of pictures.

A clip is called `person01_boxing_d1`. `00sequences.txt`, beside the clips, tells which of its
frames show the action.
"""

import functools
import io
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from e3d.data.readers.archives import check_member, open_archive, read_member
from e3d.data.readers.containers import VIDEO_SUFFIXES
from e3d.data.readers.downloads import fetch
from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_folders import known_order, order_folder, picture_frames
from e3d.data.readers.timing import Timing
from e3d.data.readers.videos import measure_video, video_frames
from e3d.data.readers.walk import walk
from e3d.data.sources.clip_records import AbsentError, RawClip
from e3d.errors import InputError
from e3d.files import read_bytes

URL = 'https://www.csc.kth.se/cvap/actions/'
SEQUENCES = '00sequences.txt'
# The archives and their SHA-1 checksums.
ARCHIVES = {
    'boxing.zip': 'adb36ed9c29c846d44d2ba15f348bd115c951bbd',
    'handclapping.zip': 'd3b81261aa822ef63d0d1523f945bfaff27814d2',
    'handwaving.zip': '0792f7cd69f7f895a205c08ac212ddaa7177e370',
    'jogging.zip': '21943bdbcef9dad106db0d74661e49eaeaa15a25',
    'running.zip': 'da83bb313edfd4455fffdda6263696fa10d43c6f',
    'walking.zip': 'a3e81537271a0ab4576591774baa38c2d97b7e3a',
}
INSTRUCTIONS = (
    f'Fetch {", ".join(ARCHIVES)} (1.0 GB together) and {SEQUENCES} from {URL} by hand into one '
    'folder, and name it with --config.dataset.path=FOLDER.'
)
ACTIONS = tuple(name.removesuffix('.zip') for name in ARCHIVES)

MAX_CLIP_BYTES = 2**28  # of an AVI file in an archive; the largest genuine one has a few MiB
MAX_SEQUENCES_BYTES = 2**20

# Names as they are given out, and as people write them: another suffix or case, spaces.
_SEPARATOR = '[ _.-]{1,3}'
_CLIP = re.compile(
    rf'person[ _.-]?(\d\d?){_SEPARATOR}({"|".join(ACTIONS)}){_SEPARATOR}d([1-4])'
    rf'(?:{_SEPARATOR}uncomp)?',
    re.IGNORECASE,
)
_SEQUENCES = re.compile(r'00sequences(?: ?\(\d+\))?\.txt', re.IGNORECASE)
SAME_CLIP = 'another form of a clip of KTH'

_RANGE = re.compile('([0-9]{1,6}) ?- ?([0-9]{1,6})')

Ranges = dict[str, list[tuple[int, int]] | None]


class Found(NamedTuple):
    """Where a clip lies.

    Attributes:
      path: of a video file, an archive or a folder of pictures.
      member: of the archive; otherwise ''.
    """

    path: pathlib.Path
    member: str = ''


class Files(NamedTuple):
    """What lies in a folder of the data set.

    Attributes:
      clips: by name.
      sequences: the file that tells which frames show the action; None if there is none.
      left_out: what is not used.
    """

    clips: dict[str, Found]
    sequences: pathlib.Path | None
    left_out: list[LeftOut]

    @property
    def paths(self) -> list[pathlib.Path]:
        """All files and folders of pictures that are read."""
        return sorted({clip.path for clip in self.clips.values()} | {*filter(None, self[1:2])})


def download(folder: pathlib.Path) -> None:
    """Fetches the official archives and `00sequences.txt`, those that are not there yet.

    Raises:
      InputError: they cannot be had; says how to go on by hand.
      RunError: they cannot be written.
    """
    try:
        for name, sha1 in {SEQUENCES: '', **ARCHIVES}.items():
            fetch(URL + name, folder / name, sha1)
    except InputError as error:
        raise InputError(
            f'The data set KTH was not found. {error} {INSTRUCTIONS} --config=quickstart needs no '
            'download.'
        ) from error


def list_clips(files: Files) -> list[RawClip]:
    """All clips that were found, and those that should be there.

    What is kept of a clip (`RawClip.about`) are the numbers of its frames, from the names of
    pictures, or None where they are 1, 2, 3, ...; the frames, counted from 0, before which pictures
    are missing; and its ranges in `00sequences.txt`, or None without that file. A clip that is named
    there but not found is listed too; reading it raises InputError.

    Raises:
      InputError: another `00sequences.txt`.
    """
    found, ranges = files.clips, read_ranges(files.sequences)
    raw_clips = []
    for name in sorted(found | (ranges or {})):
        clip = found.get(name)
        about: dict[str, Any] = {
            'numbers': None,
            'gaps': [],
            'ranges': ranges and ranges.get(name, []),
        }
        if clip is None:
            missing = functools.partial(_missing, known=(ranges or {}).get(name) is None)
            raw_clips.append(RawClip(name, missing, about))
            continue
        left_out: tuple[LeftOut, ...] = ()
        if clip.path.is_dir():
            order = known_order(clip.path)
            about |= {'numbers': _whole(order.numbers), 'gaps': order.gaps}
            left_out = order.left_out_of(name)
        read, describe = functools.partial(_read, clip), functools.partial(_describe, clip)
        raw_clips.append(RawClip(name, read, about, describe, left_out, clip.path.is_dir()))
    return raw_clips


def find_files(folder: pathlib.Path) -> Files:
    """The clips that lie in a folder or below; of two with one name the first.

    Raises:
      InputError: no clips, or a damaged or dangerous archive.
    """
    if not os.path.isdir(folder):
        raise InputError(
            f"dataset.path is '{folder}', which is not a folder; it must be the one with the "
            f'archives ({", ".join(ARCHIVES)}), the .avi files or the folders of pictures.'
        )
    clips: dict[str, Found] = {}
    sequences, left_out = None, []

    def add(name: str | None, clip: Found) -> None:
        if name and clips.setdefault(name, clip) is not clip:
            place = (clip.path / clip.member).relative_to(folder).as_posix()
            left_out.append(LeftOut(place, SAME_CLIP))

    for here, subfolders, names in walk(folder, left_out):
        for name in names:
            path = here / name
            if path.suffix.lower() in VIDEO_SUFFIXES:
                add(_clip_name(path.stem), Found(path))
            elif path.suffix.lower() == '.zip':
                for clip, member in _archived_clips(path, left_out).items():
                    add(clip, Found(path, member))
            elif _SEQUENCES.fullmatch(name):
                sequences = sequences or path
        for name in [name for name in subfolders if _clip_name(name)]:
            subfolders.remove(name)
            add(_clip_name(name), Found(here / name))
    if not clips:
        raise InputError(
            f'There are no clips of KTH in {folder}. Expected: the archives '
            f'{", ".join(ARCHIVES)}, files like person01_boxing_d1_uncomp.avi, or folders of '
            'pictures with such names.'
        )
    return Files(clips, sequences, left_out)


def _clip_name(text: str) -> str | None:
    """The name of a clip as in `person01_boxing_d1`, from that of a file; None for other files."""
    match = _CLIP.fullmatch(text)
    return match and f'person{int(match[1]):02d}_{match[2].lower()}_d{match[3]}'


def read_ranges(file: pathlib.Path | None) -> Ranges | None:
    """The frames (first, last), counted from 1, that show the action, from `00sequences.txt`.

    Returns:
      By clip; None for one that the data set lacks. None if there is no file.

    Raises:
      InputError: the file has another form.
    """
    if file is None:
        return None
    ranges: Ranges = {}
    for line in read_bytes(file, MAX_SEQUENCES_BYTES).decode('latin-1').splitlines():
        first, *words = line.split() or ['']
        name = _clip_name(first)
        if not name:
            continue  # the lines of text above
        pairs = None if words == ['*missing*'] else _parse_ranges(words)
        if name in ranges or pairs == []:
            raise InputError(
                f'{file} has the line {line[:80]!r}; it must be like "person01_boxing_d1  frames  '
                '1-95, 96-185", one for each clip, frames counted from 1.'
            )
        ranges[name] = pairs
    if not ranges:
        raise InputError(
            f'{file} has no line like "person01_boxing_d1  frames  1-95, 96-185"; get the original '
            f'from {URL}{SEQUENCES}, or remove it to use all frames.'
        )
    return ranges


def _parse_ranges(words: list[str]) -> list[tuple[int, int]]:
    """The ranges of a line after its name, `frames 1-95, 96-185`; [] where it has another form."""
    if words[:1] != ['frames']:
        return []
    items = ' '.join(words[1:]).split(',')
    matches = [match for item in items if (match := _RANGE.fullmatch(item.strip()))]
    if len(matches) < len(items):
        return []
    pairs = [(int(match[1]), int(match[2])) for match in matches]
    return pairs if all(1 <= first <= last for first, last in pairs) else []


def _archived_clips(path: pathlib.Path, left_out: list[LeftOut]) -> dict[str, str]:
    """The members of an archive that are clips; nothing is ever unpacked to disk.

    An archive of another name than the official ones is left out if it is damaged.
    """
    try:
        return _members(path)
    except InputError as error:
        if path.name.lower() in ARCHIVES:
            raise
        left_out.append(LeftOut(path.name, str(error), damaged=True))
        return {}


def _members(path: pathlib.Path) -> dict[str, str]:
    clips = {}
    with open_archive(path) as archive:
        for member in archive.infolist():
            parts = pathlib.PurePosixPath(member.filename.replace('\\', '/'))
            if parts.is_absolute() or '..' in parts.parts or ':' in parts.as_posix():
                raise InputError(
                    f"{path} holds '{member.filename}', a path that leads out of the archive; it "
                    'is not the original. Nothing was unpacked.'
                )
            name = _clip_name(parts.stem)
            if name and parts.suffix.lower() in VIDEO_SUFFIXES:
                check_member(archive, member, MAX_CLIP_BYTES)
                clips[name] = member.filename
    return clips


def _whole(numbers: list[Any] | None) -> list[int] | None:
    """Numbers of frames; None where there are none, or times instead."""
    return numbers if numbers and all(isinstance(number, int) for number in numbers) else None


def _read(clip: Found) -> Iterator[np.ndarray]:
    if clip.path.is_dir():
        yield from picture_frames(order_folder(clip.path).files)
    else:
        yield from (frame.pixels for frame in video_frames(*_opened(clip)))


def _describe(clip: Found) -> tuple[Timing | None, str]:
    if clip.path.is_dir():
        return None, f'pictures {known_order(clip.path).account}'
    return measure_video(*_opened(clip)).timing, ''


def _opened(clip: Found) -> tuple[pathlib.Path, io.BytesIO | None]:
    """The path of a video, and its content if it lies in an archive."""
    if not clip.member:
        return clip.path, None
    with open_archive(clip.path) as archive:
        content = read_member(archive, archive.getinfo(clip.member), MAX_CLIP_BYTES)
    return clip.path / clip.member, io.BytesIO(content)


def _missing(known: bool) -> Iterator[np.ndarray]:
    reason = 'lacking in the data set itself' if known else 'named in the list but not there'
    raise AbsentError(reason)
    yield
