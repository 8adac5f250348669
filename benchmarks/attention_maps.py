"""Draws which step, and which place of it, RECALL attends to in a trained run.

    python -m benchmarks.attention_maps --workdir=runs/study/recall/refined,seed=0 --output=maps.png

Of one test sequence, all of it seen, at the step that sees the last observed frame: the weights of the
softmax in the top layer, for the query at the brightest patch of that frame. Below each remembered
frame is how much of the whole falls on its step, and where.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from e3d.data.sources.layouts import layout_of
from e3d.data.sources.registry import open_source
from e3d.errors import InputError
from e3d.files import atomic_write
from e3d.kernels.history import History, empty_slots
from e3d.kernels.modes import Operations
from e3d.kernels.scan import histories_at, write_each
from e3d.model import E3DLSTM
from e3d.runs.trained_run import load_run


def attention(gate: jax.Array, history: History, radius: int | None, place: jax.Array) -> jax.Array:
    """The weights of RECALL for one query, by step and place, `[B, K, h, w]`.

    Args:
      gate: R, `[B, D, h, w, C]`.
      history: what is remembered.
      radius: see `e3d.kernels.recall`.
      place: row and column of the query, int32 `[2]`; it is of the newest depth.
    """
    batch, depth, height, width, channels = gate.shape
    states = history.states.reshape(batch, -1, depth, height, width, channels)
    logits = jnp.einsum('bc,bkdhwc->bkdhw', gate[:, -1, place[0], place[1]], states)
    seen = jnp.broadcast_to(history.valid[:, :, None, None, None], logits.shape)
    if radius is not None:
        rows, columns = (
            jnp.abs(jnp.arange(height) - place[0]),
            jnp.abs(jnp.arange(width) - place[1]),
        )
        near = (rows[:, None] <= radius) & (columns <= radius)
        seen = seen & near & (jnp.arange(depth) == depth - 1)[:, None, None]
    logits = jnp.where(seen, logits, -jnp.inf)
    return jax.nn.softmax(logits, axis=(1, 2, 3, 4)).sum(axis=2)


class Watching(Operations):
    """Carries out the operations and keeps what each RECALL attends to, see `attention`."""

    def __init__(self, place: jax.Array):
        self.place = place
        self.weights: list[jax.Array] = []

    def recall(self, gate, history, radius=None):
        """Recalls."""
        self.weights.append(attention(gate, history, radius, self.place))
        return super().recall(gate, history, radius)


def attended(model: E3DLSTM, params, frames: jax.Array, place: jax.Array) -> jax.Array:
    """What the last step over observed frames attends to in each layer.

    Args:
      model: whose memory it is.
      params: its parameters.
      frames: `[1, T, H, W, C]`.
      place: row and column of the query in patches, int32 `[2]`.

    Returns:
      `[layers, T, h, w]`; the last of the T slots is the step itself, which is not remembered.
    """

    class Watched(type(model)):
        def scan(self, step, stack, weights, start, inputs):
            carry, remembered = start
            slots = tuple(empty_slots(state, len(inputs.frame)) for state in remembered)

            @jax.jit
            def once(t, carry, remembered, slots, x):
                slots = write_each(slots, t - 1, remembered)
                watching = Watching(place)
                histories = histories_at(slots, t, model.history)
                carry, remembered, y = step(weights, carry, remembered, histories, x, watching)
                return carry, remembered, slots, y, watching.weights

            outputs = []
            for t in range(len(inputs.frame)):
                x = jax.tree.map(lambda array: array[t], inputs)  # noqa: B023
                carry, remembered, slots, y, found = once(t, carry, remembered, slots, x)
                outputs.append(y)
            kept.append(jnp.stack(found)[:, 0])
            return carry, jnp.stack(outputs)

    kept: list[jax.Array] = []
    fields = {name: getattr(model, name) for name in model.__dataclass_fields__}
    fields = {name: value for name, value in fields.items() if name not in ('parent', 'name')}
    Watched(**fields).apply({'params': params}, frames, 1)
    return kept[0]


def draw(frames: np.ndarray, weights: np.ndarray, place: np.ndarray, path: pathlib.Path) -> None:
    """Draws the remembered frames, where the query is, and below them the weights `[T, h, w]`."""
    steps = len(frames)
    figure = Figure(figsize=(0.9 * steps, 2.3), dpi=130, layout='constrained')
    axes = figure.subplots(2, steps, squeeze=False)
    highest = weights.max()
    patch = frames.shape[1] // weights.shape[1]
    for step in range(steps):
        above, below = axes[:, step]
        above.imshow(frames[step], cmap='gray', vmin=0, vmax=1)
        below.imshow(weights[step], cmap='magma', vmin=0, vmax=highest)
        above.set_title('now' if step == steps - 1 else f'{step - steps + 1}', fontsize=8)
        below.set_xlabel('' if step == steps - 1 else f'{weights[step].sum():.0%}', fontsize=8)
        for axis in (above, below):
            axis.set(xticks=[], yticks=[])
    corner = patch * (place[::-1] + 0.5)
    axes[0, -1].plot(*corner, 's', markerfacecolor='none', markeredgecolor='C3', markersize=7)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format='png')


def main():
    """Draws one picture and prints the share of each step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--workdir', type=pathlib.Path, required=True, help='of the run')
    parser.add_argument('--output', type=pathlib.Path, required=True, help='a .png')
    parser.add_argument('--sequence', type=int, default=0, help='of the test split')
    arguments = parser.parse_args()
    run = load_run(arguments.workdir)
    if getattr(run.model, 'recall', 'none') == 'none':
        raise InputError(f'{arguments.workdir}: a run of a model without RECALL')
    dataset = run.config.dataset
    layout = layout_of(dataset)
    frames = open_source(dataset, 'test')[arguments.sequence]['frames'][: layout.input_frames]
    frames = np.float32(frames) / 255
    patch = run.model.patch_size
    height, width = (side // patch for side in frames.shape[1:3])
    brightness = frames[-1].reshape(height, patch, width, patch, -1).mean((1, 3, 4))
    place = np.array(np.unravel_index(brightness.argmax(), brightness.shape))
    weights = attended(run.model, run.params, jnp.asarray(frames[None]), jnp.asarray(place))[-1]
    weights = np.asarray(weights)
    draw(frames[..., 0], weights, place, arguments.output)
    print('steps back and their share:')
    for step, share in enumerate(weights[:-1].sum((1, 2))):
        print(f'{len(frames) - 1 - step:>4} {share:.3f}')


if __name__ == '__main__':
    main()
