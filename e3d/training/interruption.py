"""What a signal to end does to a training."""

import contextlib
import time
from collections.abc import Iterator

from e3d import signals
from e3d.signals import DOUBLE_SECONDS, Interrupted
from e3d.terminal import tell


class Interruption:
    """Whether a signal has asked the run to end; a context manager that takes the signals.

    A second signal does not wait for anything to be saved.

    Attributes:
      number: of the signal, or None.
    """

    def __init__(self, alone: bool = True):
        """Without `alone`, where others wait for this process, nothing is left at once."""
        self.number: int | None = None
        self._alone = alone
        self._at_once = False
        self._moment = 0.0
        self._handled = contextlib.ExitStack()

    def __enter__(self) -> 'Interruption':
        signals.check()
        self._handled.enter_context(signals.handled(self._handle))
        return self

    def __exit__(self, *exception: object) -> None:
        self._handled.close()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that need not be finished: a signal, also an earlier one, leaves it.

        Raises:
          Interrupted: there was a signal.
        """
        self._at_once = self._alone
        try:
            self._check()
            yield
            self._check()  # the exception may have got lost in a callback of JAX
        finally:
            self._at_once = False

    def stop(self, number: int) -> None:
        """Raises Interrupted, for a signal."""
        raise Interrupted(number, 'Interrupted. Run the same command again to continue.')

    def _check(self) -> None:
        if self.number is not None and self._alone:
            self.stop(self.number)

    def _handle(self, number: int) -> None:
        if self.number is not None:
            again = time.monotonic() - self._moment > DOUBLE_SECONDS
            if again and not signals.ends_program_at_second():
                raise KeyboardInterrupt
            return
        self.number, self._moment = number, time.monotonic()
        if self._at_once:
            self.stop(number)
        tell('\nStopping after this step, once it is saved. A second signal stops at once.')
