"""The window of frames that the 3D convolutions of a step see."""

import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.model.fields import check_at_least
from e3d.model.frames import scale_types


def windows(frames: jax.Array, depth: int = 2) -> jax.Array:
    """What a cell takes of ordinary video: at each step the newest frames, one behind the other.

    A step of E3D-LSTM sees a short stretch of video at once, over whose frames its kernels reach as
    over height and width. D is the number of these frames, 2 in the paper (section 4.1):
    X_t = (x_{t-D+1}, ..., x_{t-1}, x_t), with frames of zeros before the first. The models do this
    themselves; a cell in a model of your own is given it.

    Args:
      frames: `[B, T, H, W, C]`; floats, or uint8, uint16 or bool, which become floats in [0, 1].
      depth: D, >= 1.

    Returns:
      `[B, T, D, H, W, C]`, which `nn.RNN(E3DLSTMCell(...))` takes.

    Raises:
      InputError: frames of another type or rank, or a depth that is no integer >= 1.

    Example:
      >>> video = np.arange(1.0, 4.0).reshape(1, 3, 1, 1, 1)
      >>> e3d.windows(video)[0, :, :, 0, 0, 0].tolist()
      [[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]
    """
    check_at_least({'depth': (depth, 1)})
    frames = scale_types(jnp.asarray(frames))
    if frames.ndim != 5:
        raise InputError(
            f'frames have shape {frames.shape}; they must be [B, T, H, W, C] (batch, time, height, '
            'width, channels).'
        )
    steps = frames.shape[1]
    padded = jnp.pad(frames, [(0, 0), (depth - 1, 0), (0, 0), (0, 0), (0, 0)])
    return jnp.stack([padded[:, slot : slot + steps] for slot in range(depth)], axis=2)
