"""What the tests of prediction share: models whose results are easily computed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from e3d.model.needs import Needs
from e3d.model.recognizer import Recognition
from e3d.runs.trained_run import Run

INPUT_FRAMES, OUTPUT_FRAMES = 3, 2
CLIP_SHAPE = (4, 6, 1)


class FadingSum(nn.Module):
    """Predicts frame t as `rate` times the sum of all that it has seen, divided by t."""

    @nn.compact
    def __call__(self, frames, output_frames, truth_mask=None):
        rate = self.param('rate', nn.initializers.constant(0.3), ())
        steps = frames.shape[1] + output_frames - 1
        if truth_mask is None:
            observed = jnp.arange(frames.shape[1]) < frames.shape[1]
        else:  # that of the first sequence is that of all
            steps = frames.shape[1]
            first = frames.shape[1] - output_frames + 1
            observed = jnp.concatenate([jnp.ones(first, bool), truth_mask[0]])
        seen = jnp.where(observed[:, None, None, None], frames, jnp.nan)
        total = rate * jnp.nansum(seen, axis=1, keepdims=True)
        times = jnp.arange(1, steps + 1)
        return total / times[:, None, None, None]


def run_of(model, channels=1, size=(8, 8), dataset=()):
    shape = (*size, channels)
    init = jax.jit(model.init, static_argnums=2)
    params = init(jax.random.key(0), jnp.zeros((1, 1, *shape)), 1)['params']
    dataset = {'input_frames': INPUT_FRAMES, 'output_frames': OUTPUT_FRAMES} | dict(dataset)
    config = ConfigDict({'dataset': dataset, 'model': {'name': type(model).__name__}})
    return Run(model, params, config, shape, 7)


class Sums(nn.Module):
    """A recognizer whose scores are the sum of what is seen, that of the last frame, and 0."""

    whole_clips: bool = False

    @property
    def needs(self):
        return Needs(scores_only=self.whole_clips)

    def __call__(self, frames, output_frames, truth_mask, lengths):
        means = frames.mean(axis=(2, 3, 4))[:, None]  # [B, 1, T]
        seen = jnp.where(jnp.arange(frames.shape[1]) < lengths[..., None], means, 0)
        last = jnp.take_along_axis(means[:, 0], lengths - 1, axis=1)
        scores = jnp.stack([seen.sum(axis=-1), last, jnp.zeros_like(last)], axis=-1)
        return Recognition(None, scores)


def recognizer_run(model, names=('rise', 'fall', 'rest'), input_frames=5, name='c3d'):
    config = ConfigDict({'dataset': {'input_frames': input_frames}, 'model': {'name': name}})
    return Run(model, {}, config, CLIP_SHAPE, 7, class_names=names)
