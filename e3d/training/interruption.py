"""Signals that ask a run to end, SIGTERM and SIGINT (Ctrl-C)."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

from e3d.training.reporting import tell

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """Work that was ended by a signal, after what was to be kept had been saved.

    Attributes:
      exit_code: 128 and the signal's number, as shells have it: 143 for SIGTERM, 130 for SIGINT.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


class Interruption:
    """Whether a signal has asked the run to end; a context manager that takes the signals.

    A second signal does not wait for anything to be saved.

    Attributes:
      number: of the signal, or None.
    """

    def __init__(self, alone: bool = True):
        """Without `alone`, where others wait for this process, nothing is left at once."""
        self.number = None
        self._alone = alone
        self._at_once = False
        self._handled = contextlib.ExitStack()

    def __enter__(self) -> 'Interruption':
        self._handled.enter_context(signals_handled(self._handle))
        return self

    def __exit__(self, *exception) -> None:
        self._handled.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that need not be finished: a signal, also an earlier one, leaves it.

        Raises:
          Interrupted: there was a signal.
        """
        self._at_once = self._alone
        try:
            if self.number is not None and self._alone:
                self.stop(self.number)
            yield
        finally:
            self._at_once = False

    def stop(self, number: int) -> None:
        """Raises Interrupted, for a signal."""
        raise Interrupted(number, 'Interrupted. The same command goes on with the run.')

    def _handle(self, number: int) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
        if self._at_once:
            self.stop(number)
        tell('\nStopping after this step, when it is saved. A second signal stops at once.')


@contextlib.contextmanager
def signals_handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Calls `handle(number)` for each of these signals as long as the block lasts.

    Only the main thread can: in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: handle(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
