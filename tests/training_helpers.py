"""What the tests of training share: a model that compiles at once, and a tiny config."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from e3d.configuration import default_config
from e3d.data.sources.layouts import Layout
from experiments import quickstart

LENGTH, INPUT, SHAPE = 5, 2, (4, 4, 1)
PLAIN = Layout((INPUT, LENGTH - INPUT))


class TinyForecaster(nn.Module):
    """Keeps to the interface of E3DLSTM, with one dense layer for a network."""

    features: int = 3

    @nn.compact
    def __call__(self, frames, output_frames, truth_mask=None):
        first = nn.Dense(self.features, name='first')
        second = nn.Dense(frames.shape[-1], name='second')
        seen = frames.shape[1] - (0 if truth_mask is None else output_frames - 1)
        predictions = []
        for step in range(seen + output_frames - 1):
            if step < seen:
                frame = frames[:, step]
            else:
                frame = predictions[-1]
                if truth_mask is not None:
                    chosen = truth_mask[:, step - seen]
                    chosen = chosen if chosen.ndim > 1 else chosen[:, None, None, None]
                    frame = jnp.where(chosen, frames[:, step], frame)
            predictions.append(second(nn.tanh(first(frame))))
        return jnp.stack(predictions, axis=1)


def random_frames(batch_size, seed=0, length=LENGTH):
    return np.random.default_rng(seed).random((batch_size, length, *SHAPE), np.float32)


def tiny_config(tmp_path, **overrides):
    """8x8 frames, 4 steps; `overrides` by 'section.key'."""
    config = quickstart.get_config('small')
    config.model.update({'layers': 1, 'features': 2, 'kernel_size': (2, 3, 3)})
    config.dataset.update({'canvas': (8, 8), 'digit_size': 6, 'speed': 1.0})
    config.dataset.update(
        {'input_frames': 2, 'output_frames': 2, 'data_dir': str(tmp_path.parent / 'tiny_data')}
    )
    config.dataset.update({'validation_size': 3, 'test_size': 5})
    # Values of the tests' own: the quickstart's are tuned, and may be tuned again.
    untuned = default_config()
    config.optimizer, config.loss = untuned.optimizer, untuned.loss
    config.optimizer.ema_decay = 0.9
    config.train.update({'batch_size': 4, 'steps': 4, 'log_every': 1, 'evaluate_every': 2})
    config.evaluation.update({'batch_size': 2, 'num_samples': 1})
    config.checkpoint.update({'every': 1, 'keep': 2})
    config.update_from_flattened_dict(overrides)
    return config
