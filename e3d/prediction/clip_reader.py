"""Clips of strangers, read by a process of its own that is ended when it takes too long.

A small file may decode to more frames than there is time for, or crash its decoder. Neither may stop
a server.
"""

import multiprocessing
import multiprocessing.pool
import signal
from pathlib import Path
from types import TracebackType

from flax import linen as nn

from e3d.errors import InputError
from e3d.prediction.inputs import InputClip, read_input
from e3d.runs.trained_run import Run


class ClipReader:
    """Reads clips as a run sees them, one at a time; for one thread at a time.

    Attributes:
      seconds: that a clip may take.
    """

    def __init__(self, run: Run, seconds: float):
        """Starts the process.

        Args:
          run: as `read_input` takes it.
          seconds: that a clip may take.
        """
        # What reading takes of a run; neither models nor arrays of a device go to another process.
        self._run = run._replace(model=nn.Module(), params=None, collections=None, report=None)
        self.seconds = seconds
        self._process = _started()

    def read(self, path: Path) -> InputClip:
        """The clip in a file, as `read_input` gives it.

        Raises:
          InputError: it cannot be used, or takes too long.
        """
        reading = self._process.apply_async(read_input, (path, self._run))
        try:
            return reading.get(self.seconds)
        except multiprocessing.TimeoutError:
            self.close()
            self._process = _started()
            raise InputError(
                f'{path} takes more than {self.seconds:g} s to read. Cut it, or make its frames '
                'smaller.'
            ) from None

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._process.terminate()
        self._process.join()

    def __enter__(self) -> 'ClipReader':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _started() -> multiprocessing.pool.Pool:
    # Not a copy of this process, whose threads it would not have. Ctrl-C is for this process alone.
    context = multiprocessing.get_context('spawn')
    pool = context.Pool(1, signal.signal, (signal.SIGINT, signal.SIG_IGN))
    pool.apply(_is_ready)
    return pool


def _is_ready() -> bool:
    """By which all is imported that reading takes, before time is measured."""
    return True
