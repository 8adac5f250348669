"""Files and folders that are either whole or not there."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from e3d.errors import RunError


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[Path]:
    """Gives a temporary path to write to, which takes the place of `path` when all went well.

    The temporary path lies in the same folder (made if need be) and has the same suffix, for
    encoders that go by it. A file or a folder may be made there. A folder can only take the place
    of an empty one. When the block fails, `path` stays as it was and the temporary one goes.

    Raises:
      RunError: if the system refuses: disk full, no permission.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f'{path} could not be written: {reason}. Nothing was left there; '
            'see to the free space and the permissions of its folder.'
        ) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink()
