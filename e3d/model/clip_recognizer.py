"""ClipRecognizer: the published networks of video recognition, which see a whole clip at once.

They know nothing of time that goes on: what is observed of a clip, its front part, is brought to the
number of frames that the network takes, and classified. They predict no frames, and so they are
trained with `loss.strategy='classification'`, as in Table 5.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.model.fields import check_at_least, check_options, parameters_for
from e3d.model.needs import Needs, Training
from e3d.model.network import in_own_precision
from e3d.model.recognizer import Recognition, Recognizer, check_clips
from e3d.options.option import option, same_option
from e3d.options.rules import MOST_FEATURES, MOST_FRAMES, number, whole

# Of torchvision's video networks, for values in [0, 1].
KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_DEVIATION = (0.22803, 0.22145, 0.216989)


def resample_fronts(frames: jax.Array, lengths: jax.Array, count: int) -> jax.Array:
    """The front parts of clips, each brought to `count` frames.

    Frame k of the result is frame `floor(k * length / count)` of the clip: of a longer part frames
    are left out, of a shorter one they are repeated, evenly, from the first on.

    Args:
      frames: `[B, T, H, W, C]`.
      lengths: of the parts, int `[B, L]`, 1 to T.
      count: of frames.

    Returns:
      `[B * L, count, H, W, C]`, the parts of the first clip first.
    """
    batch, parts = lengths.shape
    places = jnp.arange(count) * jnp.maximum(lengths, 1)[..., None] // count
    chosen = frames[jnp.arange(batch)[:, None, None], places]
    return chosen.reshape(batch * parts, count, *frames.shape[2:])


class ClipRecognizer(nn.Module):
    """A network that scores the classes of clips; the base of those that are published.

    A subclass defines `score`; its other fields have the published values as defaults.

    Scores and batch statistics are float32 at least, whatever the `dtype`.

    Attributes:
      classes, clip_frames, features, dropout, dtype, precision: as their options say.
    """

    classes: int = same_option(Recognizer, 'classes')
    clip_frames: int = option(
        16,
        'frames that the network takes, to which the front part of a clip is brought',
        whole(1, MOST_FRAMES),
    )
    features: int = option(
        64, 'channels of the first stage; all others are in proportion', whole(1, MOST_FEATURES)
    )
    dropout: float = option(
        0.5,
        'share of the features before the last layer that are set to zero in training',
        number(0, 0.999),
    )
    dtype: str = same_option(Recognizer, 'dtype')
    precision: str = same_option(Recognizer, 'precision')

    def setup(self):
        """Checks the fields."""
        check_options(self)
        check_at_least({'clip_frames': (self.clip_frames, self.least_frames)})

    @property
    def needs(self) -> Needs:
        """Dropout and batch statistics, and no loss of predicted frames."""
        return Needs(training=True, scores_only=True)

    @property
    def least_frames(self) -> int:
        """The least `clip_frames`."""
        return 1

    @property
    def least_side(self) -> int:
        """The least height and width of a frame, in pixels."""
        return 1

    @nn.nowrap
    def prepare(self, frames: jax.Array) -> jax.Array:
        """Brings frames `[..., 3]` in [0, 1] to the range for which the network is published."""
        return (frames - jnp.array(KINETICS_MEAN)) / jnp.array(KINETICS_DEVIATION)

    def score(self, clips: jax.Array, training: Training | None = None) -> jax.Array:
        """The scores (logits) `[N, classes]` of prepared clips `[N, clip_frames, H, W, 3]`."""
        raise NotImplementedError

    @in_own_precision
    def __call__(
        self,
        frames: jax.Array,
        output_frames: int = 1,
        truth_mask: Any = None,
        lengths: jax.Array | None = None,
        training: Training | None = None,
    ) -> Recognition:
        """Recognizes clips.

        Args:
          frames: `[B, T, H, W, C]` in [0, 1] (uint8 is divided by 255), C = 1 (gray) or 3.
          output_frames: the last `output_frames - 1` of the T frames are not observed.
          truth_mask: not used: nothing is predicted.
          lengths: how many frames are observed, int `[B]` or `[B, L]`; see `Recognizer`.
          training: the devices that the batch statistics are of; None uses the running ones.

        Returns:
          A `Recognition` whose predictions are None.

        Raises:
          InputError: arrays that do not fit.
        """
        del truth_mask
        frames, lengths = check_clips(frames, output_frames, lengths)
        batch, _, *size, channels = frames.shape
        if channels not in (1, 3):
            raise InputError(
                f'frames with {channels} channels: {type(self).__name__} takes 1 (gray) or 3'
            )
        if min(size) < self.least_side:
            raise InputError(
                f'frames of {size[0]} x {size[1]}: {type(self).__name__} needs at least '
                f'{self.least_side} pixels a side'
            )
        clips = resample_fronts(jnp.asarray(frames), lengths.reshape(batch, -1), self.clip_frames)
        clips = jnp.broadcast_to(clips, (*clips.shape[:-1], 3))
        with parameters_for(frames.shape[1:]):
            scores = self.score(self.prepare(clips).astype(self.dtype), training)
        scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
        return Recognition(None, scores.reshape(*lengths.shape, self.classes))

    @nn.nowrap
    def scaled(self, published: int) -> int:
        """So many channels as the published number, in proportion to `features`."""
        return max(1, published * self.features // 64)
