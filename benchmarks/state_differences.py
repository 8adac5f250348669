"""How far the states of a recognizer tell clips apart, before its training and after it.

    python -m benchmarks.state_differences --workdir=DIR

DIR is a run of `experiments/moving_actions.py`. The classifier sees the states of the newest steps;
for 21 clips of the test, three of each class, this prints their mean absolute value and their standard
deviation over the clips, which is 0 where the states say nothing of the clip.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import e3d
from e3d.data.sources.moving_actions import CLASSES, MovingActions
from e3d.model.classifier import Classifier

CLIPS = 3 * len(CLASSES)


def states_of(model: nn.Module, params, clips: np.ndarray) -> np.ndarray:
    """What the classifier sees, `[B, slots, h, w, C]`."""
    seen = []

    def keep(call, arguments, options, context):
        if isinstance(context.module, Classifier):
            seen.append(np.asarray(arguments[0]))
        return call(*arguments, **options)

    with nn.intercept_methods(keep):
        model.apply({'params': params}, clips)
    return seen[0]


def main():
    """Prints a line before the training and one after it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--workdir', required=True)
    run = e3d.load_run(parser.parse_args().workdir)
    actions = MovingActions()
    clips = np.stack([actions.clip(0, 'test', index)[0] for index in range(CLIPS)])
    clips = jnp.asarray(clips[:, : actions.clip_frames])
    initial = jax.jit(lambda key: run.model.init(key, clips[:1])['params'])(jax.random.key(0))
    for name, params in {'initial': initial, f'step {run.step}': run.params}.items():
        states = states_of(run.model, params, clips)
        print(f'{name}: {np.abs(states).mean():.4f}, over clips {states.std(axis=0).mean():.4f}')


if __name__ == '__main__':
    main()
