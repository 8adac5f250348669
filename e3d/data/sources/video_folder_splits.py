"""Which clips of a folder are for training, for validation and for testing."""

import os
import re
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from e3d.data.readers.left_out import LeftOut
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError

# Names of folders that are splits, whatever their case; 'eval' is validation beside a test.
_OF_FILES = r'([\W_]*(set|split|data|videos?|clips?|frames?|images?|sequences?))?'
_NAMES = {
    'train': rf'(train|training|trn){_OF_FILES}',
    'validation': rf'(val|valid|validate|validation|dev|devel|development){_OF_FILES}',
    'test': rf'(test|tests|testing|tst){_OF_FILES}',
    'eval': rf'(eval|evaluate|evaluation){_OF_FILES}',
}
_PATTERNS = {split: re.compile(names, re.IGNORECASE) for split, names in _NAMES.items()}

OUTSIDE = 'outside the folders of the splits'
LEAK = 'a copy of a clip in another split, where it stays'
COPY = 'a copy of another clip'


class Division(NamedTuple):
    """Clips by split.

    Attributes:
      clips: the names of each split; none for validation where nothing was set aside.
      rule: by which they were divided, in words.
      left_out: names that are in no split.
    """

    clips: dict[str, list[str]]
    rule: str
    left_out: list[LeftOut]


def kind_of(folder: str) -> str | None:
    """'train', 'validation', 'test', 'eval' for the name of a folder of a split, otherwise None."""
    return next((kind for kind, names in _PATTERNS.items() if names.fullmatch(folder)), None)


def split_of(name: str) -> str | None:
    """The kind of the first folder of a split on the way to a clip; None if there is none."""
    return next(filter(None, map(kind_of, name.split('/'))), None)


def rank(name: str) -> tuple[int, int, str]:
    """Which of the names of one clip counts: in a folder for testing, validation, training, none."""
    order = ('test', 'eval', 'validation', 'train', None)
    return order.index(split_of(name)), name.count('/'), name


def divide_clips(
    names: Iterable[str],
    fractions: Sequence[float],
    fingerprints: Mapping[str, str] | None = None,
    usable: Container[str] | None = None,
) -> Division:
    """Divides clips between the splits by folders or names that tell, otherwise by fractions.

    Folders are splits where one for training lies beside one for validation or testing: at the
    top, or deeper where most clips are in such folders; so are files whose names all begin with
    such words. Without a test, validation serves for it; without validation, `fractions` sets a
    share of the training aside. Of clips with equal frames one counts: that for testing, then that
    for validation.

    Args:
      names: of the clips, as paths.
      fractions: for training, validation and testing.
      fingerprints: by name; equal ones are of equal frames.
      usable: the names of clips that have a sequence; a split that `fractions` makes has
        one, if there are enough.

    Raises:
      InputError: too few clips, or folders for training without others, or the other way around.
    """
    names = sorted(names)
    usable = names if usable is None else usable
    kinds = _kinds_by_folder(names) or _kinds_by_name(names)
    if not kinds:
        names, left_out = _without_copies({None: names}, fingerprints)
        rule = f'by dataset.split_fractions={_in_words(fractions)}: whole clips, by their names'
        groups, moved = _divide_by_fractions(names[None], fractions, usable, len(left_out))
        return Division(groups, rule + moved, left_out)
    left_out = [LeftOut(name, OUTSIDE) for name in names if name not in kinds]
    has_test = 'test' in kinds.values()
    aliases = {'eval': 'validation' if has_test else 'test'}
    if not has_test and 'eval' not in kinds.values():
        aliases['validation'] = 'test'
    groups = {split: [] for split in SPLITS}
    for name, kind in kinds.items():
        groups[aliases.get(kind, kind)].append(name)
    groups, copies = _without_copies(groups, fingerprints)
    rule = f'by folders or names: {_found(kinds, aliases)}'
    if not groups['validation'] and fractions[1]:
        share = fractions[1] / (fractions[0] + fractions[1])
        shares = (1 - share, share, 0)
        parts, moved = _divide_by_fractions(groups['train'], shares, usable, len(copies))
        groups |= {'train': parts['train'], 'validation': parts['validation']}
        rule += f'; validation: {share:.0%} of the training clips (dataset.split_fractions){moved}'
    return Division(groups, rule, left_out + copies)


def shared_names(clips: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The clips of several splits that are called alike, as a video that was encoded again is.

    Names that end with a number do not count, as many folders start to count again; nor do those
    that several clips of a split have, as `data` or `rgb`.

    Args:
      clips: names by split.
    """
    by_stem: dict[str, list[tuple[str, str]]] = {}
    for split, names in clips.items():
        for name in names:
            stem = re.sub(r'\.[A-Za-z0-9]{1,5}$', '', name.rpartition('/')[2])
            if not (re.search(r'\d$', stem) or kind_of(stem) or len(stem) < 3):
                by_stem.setdefault(stem.lower(), []).append((split, name))
    return [
        [name for _, name in found]
        for found in by_stem.values()
        if len(found) > 1 and len({split for split, _ in found}) == len(found)
    ]


def _kinds_by_folder(names: Sequence[str]) -> dict[str, str]:
    """The kind of each clip that lies in a folder of a split; none where folders tell nothing.

    Raises:
      InputError: folders at the top for training without others, or the other way around.
    """
    places = {}  # of a clip: the folder in which its split lies, and its kind
    for name in names:
        parts = name.split('/')
        for depth, part in enumerate(parts):
            if kind := kind_of(part):
                places[name] = '/'.join(parts[:depth]), kind
                break
    kinds_in: dict[str, set[str]] = {}
    for folder, kind in places.values():
        kinds_in.setdefault(folder, set()).add(kind)
    whole = {folder for folder, kinds in kinds_in.items() if 'train' in kinds and len(kinds) > 1}
    if '' in kinds_in and '' not in whole:
        found = {name.partition('/')[0] for name, place in places.items() if not place[0]}
        other = 'for testing (test, val, eval, ...)' if 'train' in kinds_in[''] else "'train'"
        raise InputError(
            f'There is no clip in a folder {other} beside {", ".join(map(repr, sorted(found)))}. '
            'Put some there; or rename the folder, or let dataset.path name it, to have the clips '
            'divided by dataset.split_fractions.'
        )
    chosen = {''} if '' in whole else whole
    kinds = {name: kind for name, (folder, kind) in places.items() if folder in chosen}
    return kinds if '' in chosen or len(kinds) > len(names) / 2 else {}


def _kinds_by_name(names: Sequence[str]) -> dict[str, str]:
    """The kind of each clip where all their names begin with it, as in train_001.mp4."""
    first_words = {name: re.split(r'[\W_\d]', name.rpartition('/')[2])[0] for name in names}
    kinds = {name: kind_of(word) for name, word in first_words.items()}
    told = {name: kind for name, kind in kinds.items() if kind}
    found = set(told.values())
    return told if len(told) == len(kinds) and 'train' in found and len(found) > 1 else {}


def _found(kinds: Mapping[str, str], aliases: Mapping[str, str]) -> str:
    """The folders, or the beginnings of names, that are splits, and which."""
    words: dict[str, str] = {}
    for name, kind in kinds.items():
        parts = name.split('/')
        folder = next((part for part in parts if kind_of(part)), None)
        word = folder or re.split(r'[\W_\d]', parts[-1])[0]
        words[word] = aliases.get(kind, kind)
    return ', '.join(
        word if word == split else f'{word} ({split})' for word, split in sorted(words.items())
    )


def _without_copies(
    groups: Mapping[Any, Sequence[str]], fingerprints: Mapping[str, str] | None
) -> tuple[dict[Any, list[str]], list[LeftOut]]:
    """One clip of those with equal frames, that of the last split; says which are left out."""
    first: dict[str, Any] = {}
    kept: dict[Any, list[str]] = {split: [] for split in groups}
    left_out = []
    for split in reversed(groups):
        for name in sorted(groups[split], key=lambda name: (len(name), name)):
            fingerprint = (fingerprints or {}).get(name, name)
            if fingerprint not in first:
                first[fingerprint] = split
                kept[split].append(name)
            else:
                reason = COPY if first[fingerprint] == split else LEAK
                left_out.append(LeftOut(name, reason))
    return kept, left_out


def _divide_by_fractions(
    names: Sequence[str], fractions: Sequence[float], usable: Container[str], num_copies: int
) -> tuple[dict[str, list[str]], str]:
    """Each split with a fraction above 0 gets at least one clip; says what it did for that.

    Args:
      names: of the clips, which differ.
      fractions: of the splits.
      usable: the names of clips that have a sequence.
      num_copies: of these clips, for the message.
    """
    order = sorted(names, key=lambda name: (zlib.crc32(os.fsencode(name)), name))
    counts = [max(1, round(share * len(order))) if share else 0 for share in fractions[1:]]
    if len(order) < sum(counts) + 1:
        others = f' (others: {num_copies}, copies of these)' if num_copies else ''
        plural = '' if len(order) == 1 else 's'
        raise InputError(
            f'{len(order)} different clip{plural}{others} cannot be divided into '
            f'{1 + sum(map(bool, counts))} splits, as dataset.split_fractions='
            f'{_in_words(fractions)} asks: a clip is never cut. Add clips or cut long ones into '
            'files; a fraction of 0 for validation saves one.'
        )
    validation, test = counts
    groups = {
        'train': order[validation + test :],
        'validation': order[:validation],
        'test': order[validation : validation + test],
    }
    moved = ''
    for split in ('test', 'validation'):
        spare = [name for name in groups['train'] if name in usable]
        if groups[split] and len(spare) > 1 and not any(name in usable for name in groups[split]):
            groups['train'].remove(spare[0])
            groups[split].append(spare[0])
            moved += f"; '{spare[0]}' for {split}, as its own cannot be used"
    return groups, moved


def _in_words(fractions: Sequence[float]) -> str:
    return f'({", ".join(f"{share:.2g}" for share in fractions)})'
