"""What of the user's files is not used, and why, in words."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

NAMED = 10  # of those with one reason, so many are named


class LeftOut(NamedTuple):
    """A clip, file or folder that is not used.

    Attributes:
      name: as the user knows it.
      reason: why, in words that many can share.
      damaged: whether it was meant to be used and cannot be.
    """

    name: str
    reason: str
    damaged: bool = False


def describe_left_out(left_out: Iterable[LeftOut]) -> list[str]:
    """Says in lines what was left out: how many by reason, the damaged ones first."""
    left_out = list(left_out)
    damaged = [one for one in left_out if one.damaged]
    lines = []
    if damaged:
        lines.append(f'left out as unreadable: {len(damaged)}')
        lines += [f'  {one.name}: {one.reason}' for one in damaged[:NAMED]]
        if len(damaged) > NAMED:
            lines.append(f'  and {len(damaged) - NAMED} more')
    for reason, names in _by_reason(left_out).items():
        lines.append(f'left out, {reason}: {len(names)} ({_listed(names)})')
    return lines


def summarize_left_out(left_out: Iterable[LeftOut]) -> str:
    """The same in one line; '' where nothing was left out."""
    left_out = list(left_out)
    damaged = [one.name for one in left_out if one.damaged]
    parts = [f'{len(damaged)} unreadable ({_listed(damaged, 3)})'] if damaged else []
    parts += [f'{len(names)} {reason}' for reason, names in _by_reason(left_out).items()]
    return f'left out: {"; ".join(parts)}' if parts else ''


def _by_reason(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    """The names of those that are not damaged, by reason, the most frequent one first."""
    names: dict[str, list[str]] = {}
    for one in left_out:
        if not one.damaged:
            names.setdefault(one.reason, []).append(one.name)
    return dict(sorted(names.items(), key=lambda item: -len(item[1])))


def _listed(names: Sequence[str], limit: int = NAMED) -> str:
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
