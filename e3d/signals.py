"""SIGTERM and SIGINT (Ctrl-C), from the first line of a program to its last.

A program takes them with `take_over` before it imports anything large. The first signal then does
what the block says in which it comes (`handled`, `unwinding`); before and after those it ends the
program. The second ends it at once: a thread waits for it, as the handlers of Python must wait for
what the main thread computes, which may be a minute of compilation.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# So long may a program that was asked to end take to leave its work.
GRACE_SECONDS = 5.0
# Two of one kind within this time are one: `timeout` and others send theirs to a process and again
# to its group.
DOUBLE_SECONDS = 0.1


class Interrupted(KeyboardInterrupt):
    """Work that was ended by a signal, after what was to be kept had been saved.

    No `Exception`, so that nothing takes it for a failure of its own.

    Attributes:
      exit_code: 128 and the signal's number, as shells have it: 143 for SIGTERM, 130 for SIGINT.
      agreed: whether all processes of a training end in this way.
    """

    def __init__(self, number: int, message: str, agreed: bool = True):
        super().__init__(message)
        self.exit_code = 128 + number
        self.agreed = agreed


class _State:
    """What the blocks tell the thread that waits for signals."""

    taken_over = False
    # The first signal is waited for: a block finishes its work and ends by itself.
    finishing = False
    # Signals go on to another process, which decides what they do.
    passing_on = False
    # The signal for which a block was left, as long as that lasts.
    leaving: int | None = None


def take_over() -> None:
    """Lets SIGTERM and SIGINT end this program in order; to be called by its first lines."""
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: _end(number, 'Interrupted.'))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    # A process that was forked would tell this one of its own signals.
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_wait_for_signals, args=(reader,), daemon=True).start()
    _State.taken_over = True


@contextlib.contextmanager
def handled(handle: Callable[[int], None], passing_on: bool = False) -> Iterator[None]:
    """Calls `handle(number)` for each of these signals as long as the block lasts.

    Where the program has not taken the signals over, `handle` also decides what a second one does.
    Only the main thread can handle them: in others nothing changes.

    Args:
      handle: takes a signal's number.
      passing_on: whether it gives them to another process, so that a second one ends nothing here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    flags = _State.finishing, _State.passing_on
    _State.finishing, _State.passing_on = True, passing_on
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: handle(number))
    try:
        yield
    finally:
        _State.finishing, _State.passing_on = flags
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """A block that a signal leaves, with all that is in it closed in order.

    Raises:
      Interrupted: there was a signal.
    """

    def leave(number: int) -> None:
        _State.leaving = number
        check()

    def report(unraisable: 'sys.UnraisableHookArgs') -> None:
        # It came into what Python calls by itself and whose errors it only prints, as at garbage
        # collection: nothing failed, and `check` raises it again.
        if not isinstance(unraisable.exc_value, Interrupted):
            reported(unraisable)

    reported = sys.unraisablehook
    with handled(leave):
        _State.finishing = False
        sys.unraisablehook = report
        try:
            yield
        finally:
            sys.unraisablehook = reported
            _State.leaving = None


def check() -> None:
    """Raises Interrupted where a signal was to leave the block, but what it came into went on."""
    if _State.leaving is not None:
        raise Interrupted(_State.leaving, 'Interrupted.', agreed=False)


def ends_program_at_second() -> bool:
    """Whether a second signal ends the program without any handler."""
    return _State.taken_over


def _wait_for_signals(reader: int) -> None:
    last, moment = None, 0.0
    while True:
        number, now = os.read(reader, 1)[0], time.monotonic()
        if number not in SIGNALS or _State.passing_on:
            continue
        if number == last and now - moment < DOUBLE_SECONDS:
            continue
        if last is not None:
            _end(number, 'Stopped at once.')
        if not _State.finishing:
            timer = threading.Timer(GRACE_SECONDS, _end, (number, 'Interrupted.'))
            timer.daemon = True
            timer.start()
        last, moment = number, now


def _end(number: int, text: str) -> None:
    # No more than this: the main thread may be anywhere, and hold any lock.
    with contextlib.suppress(OSError):
        os.write(2, f'\n{text}\n'.encode())
    exit_at_once(128 + number)


def exit_at_once(code: int) -> NoReturn:
    """Ends this process, whatever it does, and the processes that make its batches."""
    with contextlib.suppress(Exception):
        for child in multiprocessing.active_children():
            child.kill()
    os._exit(code)
