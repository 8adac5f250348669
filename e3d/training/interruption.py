"""Signals that ask a run to end, SIGTERM and SIGINT (Ctrl-C)."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """Work that was ended by a signal, after what was to be kept had been saved.

    Attributes:
      exit_code: 128 and the signal's number, as shells have it: 143 for SIGTERM, 130 for SIGINT.
    """

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.exit_code = 128 + number


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
