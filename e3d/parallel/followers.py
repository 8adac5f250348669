"""What all processes but the first have in place of a run's files: they write and know nothing."""

from collections.abc import Iterable
from typing import Any, Self


class _Follower:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def _ignore(self, *arguments: Any) -> None:
        pass


class FollowingReporter(_Follower):
    """Takes the place of a `Reporter` in the other processes.

    Attributes:
      kept: as the first process has it.
    """

    def __init__(self, kept: Iterable[tuple[int, str]]):
        self.kept = set(kept)

    write = show = announce = _Follower._ignore


class FollowingCheckpoints(_Follower):
    """Takes the place of `Checkpoints`; the state comes from the first process."""

    newest = save = wait = record_error = _Follower._ignore
