"""The clips in a folder of anyone's: which files and folders are clips, and which are the same."""

import collections
import os
import pathlib
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from e3d.data.readers.clip_arrays import ARRAY_SUFFIXES
from e3d.data.readers.containers import VIDEO_SUFFIXES
from e3d.data.readers.left_out import LeftOut
from e3d.data.readers.picture_folders import MAY_MOVE, is_picture_name, moves
from e3d.data.readers.pictures import PICTURE_SUFFIXES
from e3d.data.readers.walk import walk
from e3d.data.sources.video_folder_splits import rank, split_of
from e3d.errors import InputError
from e3d.files import local_path

CLIP_SUFFIXES = (*VIDEO_SUFFIXES, *ARRAY_SUFFIXES)
PICTURES = 'pictures'  # the form of a folder of them
# Of several forms of one clip, that which is nearest to the original.
PREFERENCE = (*VIDEO_SUFFIXES, PICTURES, *ARRAY_SUFFIXES, *MAY_MOVE)

# What tells the workdir of a run and the folder of a sweep, and what they have drawn.
CONFIG_FILE, RUN_FILES = 'config.json', {'metrics.jsonl', 'checkpoints'}
SWEEP_FILE = 'sweep.csv'
SAMPLES_FOLDER = 'samples'
PROBED = 3  # of the pictures that are called alike

# What may well hold clips, but is not read; other files (lists, labels) are passed over.
PACKED = (
    *('.zip', '.tar', '.tgz', '.gz', '.bz2', '.xz', '.7z', '.rar', '.part', '.crdownload'),
    *('.h5', '.hdf5', '.mat', '.nc', '.pt', '.pkl', '.tfrecord', '.lmdb', '.heic', '.exr', '.raw'),
)

DRAWN = 'drawn by a run or sweep'
UNREAD = 'of a kind that is not read: unpack or convert it'
BESIDE_FILES = 'pictures beside clips: frames or thumbnails of these'
BESIDE_PICTURES = 'beside the pictures of a clip'
OTHER_FORM = 'another form of a clip with the same name'
SAME_FILE = 'a link to a file that is used under another name'

# What a folder is called that has one of the forms of clips, and is no class or camera.
_OF_A_FORM = re.compile(
    r'(videos?|movies?|arrays?|masks?|depth|flow|rgb|'
    + '|'.join(suffix.strip('.') for suffix in CLIP_SUFFIXES)
    + r')([\W_]|$)',
    re.IGNORECASE,
)
# What folders of frames are called: 'frames', 'clip_frames'.
_OF_FRAMES = re.compile(r'[\W_]*(frames?|images?|imgs?|pngs?|jpe?gs?)$', re.IGNORECASE)


def find_clips(path: str) -> tuple[dict[str, pathlib.Path], list[LeftOut]]:
    """The clips below a folder by their path within it, each once; and what is none.

    Pictures are a clip where they have a folder of their own. Beside videos they are left out; so
    they are beside arrays and animations, unless they are numbered and more. What runs and sweeps have
    drawn is left out. Of the forms that a clip has (files and folders of pictures with the same
    stem in the same folder, or in two trees as in videos/a.mp4 and frames/a/) one is taken.

    Raises:
      InputError: no such folder, or there are no clips.
    """
    root = local_path(path, 'dataset.path') if path else pathlib.Path()
    if not path or not os.path.isdir(root):
        found = f"is '{path}', which is not a folder" if path else 'is not given'
        raise InputError(
            f'dataset.path {found}; name the folder of your clips with --config.dataset.path=FOLDER.'
        )
    left_out: list[LeftOut] = []
    clips: dict[str, pathlib.Path] = {}
    others = collections.Counter[str]()
    for folder, subfolders, names in walk(root, left_out):
        drawn = _drawn(names, subfolders)
        subfolders[:] = [name for name in subfolders if name not in drawn]
        names = [name for name in names if name not in drawn]
        pictures = [name for name in names if is_picture_name(name)]
        moving = _moving(folder, pictures)
        pictures = [name for name in pictures if name not in moving]
        files = [name for name in names if name.lower().endswith(CLIP_SUFFIXES) or name in moving]
        others.update(pathlib.Path(name).suffix.lower() for name in {*names} - {*files, *pictures})
        here = folder.relative_to(root)
        kept = files
        reasons = dict.fromkeys(drawn, DRAWN)
        if pictures and _are_the_clip(pictures, files):
            clips[here.as_posix()] = folder
            kept, reasons = [], reasons | dict.fromkeys(files, BESIDE_PICTURES)
        else:
            reasons |= dict.fromkeys(pictures, BESIDE_FILES)
        reasons |= dict.fromkeys((name for name in names if name.lower().endswith(PACKED)), UNREAD)
        clips |= {(here / name).as_posix(): folder / name for name in kept}
        left_out += [LeftOut((here / name).as_posix(), why) for name, why in reasons.items()]
    if not clips:
        raise _no_clips(root, others, left_out)
    for same, reason in ((_same_file, SAME_FILE), (_same_clip(clips), OTHER_FORM)):
        first = _first_of_each(clips, same)
        left_out += [LeftOut(name, reason) for name in clips if name not in first]
        clips = {name: clips[name] for name in clips if name in first}
    return clips, left_out


def _drawn(names: Iterable[str], subfolders: Iterable[str]) -> set[str]:
    """What of a folder a run or a sweep has drawn: pictures, and the folder of samples."""
    here = {*names, *subfolders}
    of_run = CONFIG_FILE in here and RUN_FILES & here
    if not of_run and SWEEP_FILE not in here:
        return set()
    pictures = {name for name in names if name.lower().endswith(PICTURE_SUFFIXES)}
    samples = {name for name in subfolders if name.startswith(SAMPLES_FOLDER)}
    return pictures | (samples if of_run else set())


def _moving(folder: pathlib.Path, pictures: Iterable[str]) -> set[str]:
    """Those of the pictures that are clips of their own.

    Of those called alike up to their numbers the first ones are opened, and all only if one moves.
    """
    alike: dict[str, list[str]] = {}
    for name in pictures:
        alike.setdefault(_without_numbers(name), []).append(name)
    return {
        name
        for names in alike.values()
        if any(moves(folder / name) for name in names[:PROBED])
        for name in names
        if moves(folder / name)
    }


def _without_numbers(name: str) -> str:
    return re.sub(r'\d+', '0', name)


def _are_the_clip(pictures: Sequence[str], files: Sequence[str]) -> bool:
    """Whether the pictures of a folder are a clip, and not the other files there."""
    if not files:
        return True
    videos = any(name.lower().endswith(VIDEO_SUFFIXES) for name in files)
    forms = collections.Counter(map(_without_numbers, pictures))
    numbered = max(forms.values(), default=0)  # beside which there may be a cover
    return not videos and numbered > max(len(files), len(pictures) - numbered)


def _no_clips(
    root: pathlib.Path, others: collections.Counter[str], left_out: Sequence[LeftOut]
) -> InputError:
    found = [f'{count} {suffix or "without a suffix"}' for suffix, count in others.most_common()]
    found += [f"'{one.name}' ({one.reason})" for one in left_out if one.reason != UNREAD][:1]
    there = f' There is: {", ".join(found[:5])}.' if found else ''
    return InputError(
        f'There are no clips in {root}.{there} Clips are files with the suffixes '
        f'{", ".join(CLIP_SUFFIXES)}, pictures with several frames, and folders of pictures '
        f'({", ".join(PICTURE_SUFFIXES)}).'
    )


def _first_of_each(
    clips: Mapping[str, pathlib.Path], same: Callable[[str, pathlib.Path], Hashable]
) -> set[str]:
    """The names of clips, one of those for which `same(name, path)` is equal.

    Folders of pictures alone are never the same clip, whatever their names.
    """
    names_of: dict[Hashable, list[str]] = {}
    for name, path in clips.items():
        names_of.setdefault(same(name, path), []).append(name)
    kept = set()
    for names in names_of.values():
        ordered = sorted(names, key=lambda name: (PREFERENCE.index(_form(clips[name])), rank(name)))
        kept.add(ordered[0])
        if _form(clips[ordered[0]]) == PICTURES and same is not _same_file:
            kept |= {name for name in names if _form(clips[name]) == PICTURES}
    return kept


def _same_file(name: str, path: pathlib.Path) -> Hashable:
    try:
        status = path.stat()
    except OSError:  # reading it will say so again
        return name
    return status.st_dev, status.st_ino


def _same_clip(
    clips: Mapping[str, pathlib.Path],
) -> Callable[[str, pathlib.Path], Hashable]:
    """What is equal for the forms of one clip, as a function of its name and path."""
    videos: dict[str, list[str]] = {}  # by folder
    forms: dict[str, dict[str, set[str]]] = {}  # by split and tree
    for name, path in clips.items():
        split, top, _ = _tree(name)
        forms.setdefault(split, {}).setdefault(top, set()).add(_form(path))
        if _form(path) in VIDEO_SUFFIXES:
            videos.setdefault(name.rpartition('/')[0], []).append(name)
    parallel = {split for split, of_trees in forms.items() if _are_parallel(of_trees)}

    def stem_of(name: str, path: pathlib.Path) -> str:
        if _form(path) != PICTURES:
            return os.path.splitext(name)[0]
        parent, _, last = name.rpartition('/')
        stem, suffix = os.path.splitext(_OF_FRAMES.sub('', last))
        if not stem and len(videos.get(parent, ())) == 1:  # a/clip.mp4 beside a/frames
            return os.path.splitext(videos[parent][0])[0]
        last = stem if suffix.lower() in VIDEO_SUFFIXES else stem + suffix
        return '/'.join(filter(None, (parent, last))) or name

    def same(name: str, path: pathlib.Path) -> Hashable:
        split, top, below = _tree(stem_of(name, path))
        return (split, below) if split in parallel else (split, top, below)

    return same


def _are_parallel(forms: Mapping[str, set[str]]) -> bool:
    """Whether trees hold the same clips in one form each, as videos/a.mp4 and frames/a do.

    It is not so for x/a.mp4 and y/a.mp4; nor for boxing/1.avi and walking/1.mp4, so a tree must be named
    for its form. The videos may lie beside a tree that is named for frames.

    Args:
      forms: of the clips in each tree; '' for those beside the trees.
    """
    if len(forms) < 2 or any(len(of_tree) > 1 for of_tree in forms.values()):
        return False
    if '' in forms and not all(_OF_FRAMES.search(top) for top in forms if top):
        return False
    if not any(_OF_FRAMES.search(top) or _OF_A_FORM.match(top) for top in forms):
        return False
    found = [form for of_tree in forms.values() for form in of_tree]
    videos = sum(form in VIDEO_SUFFIXES for form in found)
    return len(set(found)) == len(found) or videos == 1


def _tree(name: str) -> tuple[str, str, str]:
    """A name in parts: a folder at the top that is a split, the next folder, what lies in it."""
    first, _, rest = name.partition('/')
    split, name = (f'{first}/', rest) if split_of(name) and split_of(f'{first}/x') else ('', name)
    top, _, below = name.partition('/')
    return (split, top, below) if below else (split, '', top)


def _form(path: pathlib.Path) -> str:
    """PICTURES, or the suffix of a file."""
    suffix = path.suffix.lower()
    return PICTURES if path.is_dir() else suffix
