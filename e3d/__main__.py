"""Where the program begins: the command `e3d`, `python -m e3d` or, in a checkout, `launch.py`."""

import os
import sys
from collections.abc import Sequence

from e3d import signals, terminal
from e3d.errors import InputError, missing_extra


def start(command: Sequence[str] = (sys.executable, '-m', 'e3d')) -> None:
    """Does what the command line says and ends the process with its exit code.

    Args:
      command: starts this program again, as a sweep does for each of its entries.
    """
    if sys.platform == 'win32':
        print(
            'e3d: Windows is not supported; use Linux or macOS, or WSL 2 on Windows.',
            file=sys.stderr,
        )
        sys.exit(2)
    terminal.take_over()
    signals.take_over()
    # Before the imports, which would show what only their authors need to see.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    try:
        from e3d import launcher  # takes seconds, in which a signal already finds its handler
    except ModuleNotFoundError as error:
        problem = missing_extra('The launcher', error)
        if not isinstance(problem, InputError):
            raise
        terminal.tell(f'e3d: {problem}')
        sys.exit(2)
    sys.exit(launcher.main(sys.argv, command))


if __name__ == '__main__':
    start()
