"""Archives of arrays, looked at before they are unpacked into memory."""

import pathlib
import zipfile

from e3d.errors import InputError


def check_unpacked_size(file: pathlib.Path, max_bytes: int) -> None:
    """Refuses an `.npz` archive that would fill the memory, by what its directory says.

    Reading stops at the sizes that are stated there, so an archive cannot unpack to more.

    Raises:
      InputError: its arrays are larger than `max_bytes` together.
      zipfile.BadZipFile, OSError: it cannot be read.
    """
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > max_bytes:
        raise InputError(
            f'{file} unpacks to {size / 2**30:.1f} GiB, more than the {max_bytes / 2**30:g} GiB '
            'that are read into memory. Divide it; or store a single array as .npy, which is read '
            'piece by piece.'
        )
