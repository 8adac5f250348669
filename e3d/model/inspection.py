"""What a forecaster does inside while it forecasts one clip: what RECALL reads, how far gates are open.

The model runs step by step, as in `streaming.py`, with `Operations` that keep what they see.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from e3d.errors import InputError
from e3d.kernels.history import History
from e3d.kernels.modes import Operations
from e3d.model.forecaster import Forecaster
from e3d.model.network import in_own_precision
from e3d.model.streaming import StreamState, advance_stream, start, stream_weights

BINS = 10  # of the histograms of gates, tenths of [0, 1]


class Inspection(NamedTuple):
    """What happened at N steps in L layers. Step n, from 0, sees frame n and predicts frame n + 1.

    Attributes:
      frames: what entered at each step, true frames and then own forecasts, `[N, H, W, C]`.
      observed: which of them are true ones, bool `[N]`.
      places: row and column of the places that were watched, int `[P, 2]`; a place is a patch of
        `patch_size` x `patch_size` pixels, one position of the states, of which there are h x w.
      weights: of the softmax of RECALL `[L, N, P, N, h, w]`: how much the query of layer l, step n and
        place p, in the newest slot of its depth, reads from each place of the state that an earlier
        step left, the slots of its depth together. They sum to 1 where anything is remembered (to
        less where a state of zeros may be recalled as well), and are 0 else. None for a model
        without RECALL.
      gates: by the name that a gate has in the equations, which share of its values over batch, depth,
        places and channels is in each tenth of [0, 1], `[L, N, 10]`; [..., 0] is the share below
        0.1, [..., -1] that of 0.9 and above.
    """

    frames: np.ndarray
    observed: np.ndarray
    places: np.ndarray
    weights: np.ndarray | None
    gates: dict[str, np.ndarray]

    @property
    def by_step(self) -> np.ndarray | None:
        """How much of the weights falls on each remembered step, `[L, N, P, N]`."""
        return None if self.weights is None else self.weights.sum(axis=(-2, -1))


class Watching(Operations):
    """Carries out the operations and keeps what each RECALL reads and how far each gate is open.

    Attributes:
      weights: of each RECALL, from the bottom layer to the top, `[K, P, h, w]`; see `attention`.
      gates: by name the histogram of each gate, from the bottom layer to the top.
    """

    def __init__(self, places: jax.Array):
        self._places = places
        self.weights: list[jax.Array] = []
        self.gates: dict[str, list[jax.Array]] = {}

    def recall(self, gate, history, radius=None, bias=None):
        """Recalls."""
        self.weights.append(attention(gate, history, radius, self._places, bias))
        return super().recall(gate, history, radius, bias)

    def gate(self, name, values):
        """Opens a gate."""
        opened = super().gate(name, values)
        bins = jnp.clip((opened * BINS).astype(jnp.int32), 0, BINS - 1)
        shares = jnp.bincount(bins.ravel(), length=BINS) / bins.size
        self.gates.setdefault(name, []).append(shares)
        return opened


def attention(
    gate: jax.Array,
    history: History,
    radius: int | None,
    places: jax.Array,
    bias: jax.Array | None = None,
) -> jax.Array:
    """The weights of RECALL in the first sequence of a batch, for some queries.

    Args:
      gate: R, `[B, D, h, w, C]`.
      history: what is remembered, K slots.
      radius: see `e3d.kernels.recall`.
      places: row and column of the queries, int32 `[P, 2]`; they are of the newest slot of the depth.
      bias: of each slot, see `e3d.kernels.recall`.

    Returns:
      `[K, P, h, w]`, the slots of the depth together; 0 where nothing is remembered.
    """
    _, depth, height, width, channels = gate.shape
    precise = jnp.promote_types(gate.dtype, jnp.float32)
    states = history.states[0].reshape(-1, depth, height, width, channels).astype(precise)
    queries = gate[0, -1, places[:, 0], places[:, 1]].astype(precise)
    logits = jnp.einsum('pc,kdhwc->pkdhw', queries, states, precision='highest')
    if bias is not None:
        logits += bias[0].astype(precise)[:, None, None, None]
    seen = jnp.broadcast_to(history.valid[0][:, None, None, None], logits.shape)
    if radius is not None:
        rows = jnp.abs(jnp.arange(height) - places[:, :1])  # [P, h]
        columns = jnp.abs(jnp.arange(width) - places[:, 1:])
        near = (rows <= radius)[:, :, None] & (columns <= radius)[:, None, :]
        newest = (jnp.arange(depth) == depth - 1)[:, None, None]
        seen = seen & (near[:, None] & newest)[:, None]
    largest = jnp.max(logits, axis=(1, 2, 3, 4), keepdims=True, where=seen, initial=-jnp.inf)
    powers = jnp.where(seen, jnp.exp(jnp.where(seen, logits - largest, 0.0)), 0.0)
    total = powers.sum(axis=(1, 2, 3, 4), keepdims=True)
    weights = powers / jnp.where(total > 0, total, 1.0)
    return jnp.swapaxes(weights.sum(axis=2), 0, 1)


def inspect_model(
    model: nn.Module,
    params: Any,
    frames: np.ndarray,
    observed: Sequence[bool],
    places: Sequence[tuple[int, int]],
) -> Inspection:
    """Runs a forecaster over one clip and tells what happens inside.

    Args:
      model: a forecaster with recurrent layers.
      params: of it.
      frames: `[N, H, W, C]`; those that are not observed are not looked at.
      observed: bool `[N]`, which of the frames enter; the first is one. At the other steps the own
        prediction enters.
      places: rows and columns in patches of `model.patch_size` pixels.

    Raises:
      InputError: a model without recurrent layers, or places outside the states.
    """
    if not isinstance(model, Forecaster):
        raise InputError(
            f'{type(model).__name__} has no stack of cells to look into, as e3d_lstm, predrnn, '
            'predrnn_plus_plus and convlstm have.'
        )
    state = start(model, params, frames.shape[1:], 1)
    steps, (rows, columns) = len(frames), state.carry.prediction.shape[1:3]
    for row, column in places:
        if not (0 <= row < rows and 0 <= column < columns):
            raise InputError(
                f'the place {row}, {column}: there are {rows} rows and {columns} columns of patches of '
                f'{model.patch_size} x {model.patch_size} pixels'
            )
    # As many slots as are ever needed, so that one program serves all steps.
    count = model.build_stack().recall_window or steps
    room = tuple(jnp.zeros((1, count, *slots.shape[2:]), slots.dtype) for slots in state.histories)
    state, looked = state._replace(histories=room), []
    shown, entered = jnp.asarray(frames, state.outputs.dtype), []
    watched = jnp.asarray(places, jnp.int32).reshape(-1, 2)
    for step, seen in enumerate(observed):
        entered.append(shown[step] if seen else state.outputs[0])
        state, found = _watch(
            model, params, state, shown[step : step + 1] if seen else None, watched
        )
        by_slot, gates = found
        looked.append(([_by_step(np.asarray(slots), step, steps) for slots in by_slot], gates))
    weights, gates = jax.tree.map(lambda *parts: np.stack(parts), *looked)
    gates = {name: np.stack(layers) for name, layers in gates.items()}
    weights = np.stack(weights).swapaxes(2, 3) if weights and _has_places(model) else None
    return Inspection(
        np.stack(entered), np.array(observed, bool), np.asarray(watched), weights, gates
    )


def _by_step(slots: np.ndarray, step: int, steps: int) -> np.ndarray:
    """Weights by remembered step, `[steps, P, h, w]`, of those by slot, of which each is used in turn.

    Args:
      slots: `[K, ...]`, of slots that hold the states of the K steps before `step`; where a state of
        zeros may be recalled as well, it came before them and is left out.
      step: which reads them.
      steps: how many there are.
    """
    found = np.zeros((steps, *slots.shape[1:]), slots.dtype)
    for number in range(max(0, step - len(slots)), step):
        found[number] = slots[number % len(slots)]
    return found


def _has_places(model: Forecaster) -> bool:
    """Whether RECALL compares positions of the states; see `openstl.py` for what does not."""
    return getattr(model, 'variant', '') != 'openstl'


@functools.partial(jax.jit, static_argnames='model')
@in_own_precision
def _watch(
    model: Forecaster,
    params: Any,
    state: StreamState,
    frames: jax.Array | None,
    places: jax.Array,
) -> tuple[StreamState, tuple[list[jax.Array], dict[str, list[jax.Array]]]]:
    """One step; the weights of each layer by slot, and the gates of each layer."""
    slots, watching = state.histories[0].shape[1] if state.histories else 0, Watching(places)
    weights = stream_weights(model, params, state)
    state = advance_stream(model, weights, state, frames, watching)
    # A state of zeros, where there is one, comes before the slots.
    return state, ([found[-slots:] for found in watching.weights], watching.gates)
