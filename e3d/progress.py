"""Where work stands: a bar in a terminal or a notebook, plain lines with the time anywhere else."""

import builtins
import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Self

from e3d.terminal import tell

VERBOSITY = ('quiet', 'normal', 'detailed')
SECONDS = 30.0  # from one plain line to the next
_verbosity = 'normal'


def set_verbosity(verbosity: str) -> None:
    """How much is said of where work stands, in this process.

    Args:
      verbosity: 'quiet' for nothing, 'normal', or 'detailed' for a plain line at every update of it,
        in a terminal too.
    """
    global _verbosity
    _verbosity = verbosity


def progress(
    description: str,
    total: int | None = None,
    items: Iterable[Any] | None = None,
    leave: bool = False,
    shown: bool = True,
    **options: Any,
) -> Any:
    """Begins to show where some work stands; a context manager.

    Args:
      description: of the work.
      total: how much there is to do, if known.
      items: what to iterate over; every one is a part of the work.
      leave: whether the last state stays on the screen.
      shown: False shows nothing, whatever the verbosity.
      **options: as `tqdm` has them: `unit`, `unit_scale`, `initial`, `bar_format`.

    Returns:
      A `tqdm` or `Lines`, for `update`, `set_postfix_str`, `close` or as an iterator.
    """
    shown = shown and _verbosity != 'quiet'
    notebook = hasattr(builtins, '__IPYTHON__')
    if not shown or _verbosity == 'detailed' or not (sys.stderr.isatty() or notebook):
        seconds = {'quiet': math.inf, 'normal': SECONDS, 'detailed': 0.0}[_verbosity]
        return Lines(description, total, items, leave, seconds if shown else math.inf, **options)
    if notebook:
        from tqdm.auto import tqdm
    else:
        from tqdm import tqdm
    return tqdm(
        items,
        desc=description,
        total=total,
        leave=leave,
        file=None if notebook else sys.stderr,
        dynamic_ncols=True,
        **options,
    )


class Lines:
    """Says where work stands in plain lines, as much of `tqdm` as is used here.

    Attributes:
      n: how much is done.
    """

    def __init__(
        self,
        description: str,
        total: int | None = None,
        items: Iterable[Any] | None = None,
        leave: bool = False,
        seconds: float = SECONDS,
        unit: str = '',
        unit_scale: bool = False,
        initial: int = 0,
        bar_format: str | None = None,
    ):
        """See `progress`.

        Args:
          description: of the work.
          total: how much there is to do.
          items: what to iterate over.
          leave: whether there is a line at the beginning and at the end, however quick it is.
          seconds: from one line to the next; infinite for none.
          unit: of the numbers.
          unit_scale: whether they are bytes, which are shown as MB.
          initial: how much was done before.
          bar_format: of a bar, which this is not.
        """
        del bar_format
        self.n = self._said = initial
        self._description, self._leave, self._seconds = description, leave, seconds
        self._items = items
        if total is None and hasattr(items, '__len__'):
            total = len(items)  # type: ignore[arg-type]
        self._total, self._unit, self._bytes = total, unit, unit_scale
        self._postfix = ''
        self._last = -math.inf if leave else time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Any]:
        for item in self._items or ():
            yield item
            self.update()
        self.close()

    def update(self, n: int = 1) -> None:
        """Moves on, and says so where the last line is long enough ago."""
        self.n += n
        if time.monotonic() - self._last >= self._seconds:
            self._say()

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Sets what a line ends with."""
        self._postfix = text
        if refresh:
            self.note(f'{self._description} {self._state()}')

    def note(self, text: str) -> None:
        """Says something with the time."""
        if self._seconds < math.inf:
            tell(f'{time.strftime("%Y-%m-%d %H:%M:%S")} {text}')

    def close(self) -> None:
        """Says what was not said yet, if the last state is to stay."""
        if self._leave and self.n != self._said:
            self._say()

    def _say(self) -> None:
        self._said, self._last = self.n, time.monotonic()
        self.note(f'{self._description} {self._state()}')

    def _state(self) -> str:
        size, unit = (1e6, ' MB') if self._bytes else (1, self._unit)
        counted = f'{round(self.n / size):,}{unit}'
        if self._total:
            total = f'/{round(self._total / size):,}{unit}, {self.n / self._total:.0%}'
            counted = counted.removesuffix(unit) + total
        return ', '.join(filter(None, [counted, self._postfix]))
