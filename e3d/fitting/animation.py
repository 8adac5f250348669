"""Moving pictures of a forecast, which a notebook shows."""

import base64
import dataclasses
import io
import os

import numpy as np
from PIL import Image

from e3d.errors import InputError
from e3d.evaluation.pictures import save_animation
from e3d.files import atomic_write, local_path


@dataclasses.dataclass(frozen=True)
class Animation:
    """An animated GIF: a notebook shows it where it is the value of a cell.

    Attributes:
      gif: its bytes.
    """

    gif: bytes = dataclasses.field(repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it to a file, which is replaced if it is there.

        Raises:
          InputError: the path is none of a `.gif` file.
          RunError: it cannot be written.
        """
        path = local_path(path, 'The path of the animation')
        if path.suffix.lower() != '.gif':
            raise InputError(f"'{path}': an animation is a GIF; give a name that ends with .gif.")
        with atomic_write(path) as temporary:
            temporary.write_bytes(self.gif)

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self.gif).decode('ascii')
        return f'<img alt="animation" src="data:image/gif;base64,{encoded}">'


def animate(images: list[Image.Image] | np.ndarray) -> Animation:
    """An animation of pictures; the last one stands longer.

    Args:
      images: pictures, or uint8 `[T, H, W, 3]` or `[T, H, W, 1]`.
    """
    if isinstance(images, np.ndarray):
        images = [
            Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in images
        ]
    written = io.BytesIO()
    save_animation(images, written)
    return Animation(written.getvalue())
