"""The network read plainly: what the fast model is tested and timed against.

Native 3D convolutions, a softmax over all logits, a `jax.lax.scan` that carries the whole history,
automatic differentiation; nothing shared with the fast path but the tree of parameters. It needs
memory that grows with the square of the number of steps, and on CPU some twenty times the time.
"""

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ('NDHWC', 'DHWIO', 'NDHWC')


def convolve(inputs, kernel, padding='SAME', groups: int = 1):
    """A 3D convolution as XLA has it."""
    return lax.conv_general_dilated(
        inputs,
        kernel,
        (1, 1, 1),
        padding,
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def apply_operator(group, inputs, features: int):
    """`W * inputs` with the kernels of a group of gates."""
    kernel = group['kernel']
    gates = kernel.shape[-1] // features
    if 'transposed_kernel' in group:
        back = group['transposed_kernel']
        full = [(size - 1, size - 1) for size in back.shape[:3]]
        return convolve(convolve(inputs, kernel, 'VALID'), back, full, gates)
    outputs = convolve(inputs, kernel)
    if 'depth_kernel' in group:
        return convolve(outputs, group['depth_kernel'], 'SAME', gates)
    return outputs


def layer_norm(inputs, group, epsilon=1e-5):
    """LayerNorm over D, H, W and C."""
    mean = inputs.mean((1, 2, 3, 4), keepdims=True)
    variance = inputs.var((1, 2, 3, 4), keepdims=True)
    return (inputs - mean) / jnp.sqrt(variance + epsilon) * group['norm_scale'] + group['norm_bias']


def are_near(positions, radius: int):
    """Which pairs of positions of a state `(D, H, W)` are in one depth and at most so far apart."""
    depth, row, column = (axis.reshape(-1) for axis in jnp.indices(positions))
    apart = jnp.maximum(*(jnp.abs(axis[:, None] - axis) for axis in (row, column)))
    return (depth[:, None] == depth) & (apart <= radius)


def recall(gate, history, valid, near=True, bias=0.0):
    """Softmax(R . S^T) . S over the valid slots of a history `[B, K, D, H, W, C]`.

    `near` tells of each pair of a query and a position of a slot whether the one sees the other,
    `bias` what is added to the logits of each slot.
    """
    batch, channels = gate.shape[0], gate.shape[-1]
    queries = gate.reshape(batch, -1, channels)
    memories = history.reshape(batch, -1, channels)
    positions = memories.shape[1] // history.shape[1]
    valid, bias = (
        jnp.repeat(jnp.broadcast_to(of_slots, history.shape[1]), positions)
        for of_slots in (valid, bias)
    )
    near = jnp.tile(jnp.broadcast_to(near, 2 * queries.shape[1:2]), history.shape[1])
    logits = jnp.where(valid & near, queries @ memories.swapaxes(1, 2) + bias, -jnp.inf)
    # A row without any valid slot would be 0/0; its result is replaced below.
    logits = jnp.where(valid.any(), logits, 0)
    recalled = jax.nn.softmax(logits, axis=-1) @ memories
    return jnp.where(valid.any(), recalled, 0).reshape(gate.shape)


def with_zeros(history, valid):
    """The history with a state of zeros that may be recalled."""
    return (
        jnp.concatenate([jnp.zeros_like(history[:, :1]), history], axis=1),
        jnp.concatenate([jnp.ones(1, bool), valid]),
    )


def openstl_step(model, weights, cell, hidden, memory, inputs, history, valid):
    """The cell of OpenSTL, state by state with channels first, as that code has it."""
    depth, height, width = inputs.shape[1:4]

    def gates(name, operand):
        kernel = weights[name]['kernel']
        strides = (1, model.stride, model.stride)
        pads = ((0, 0), *((size // 2, size // 2) for size in kernel.shape[1:3]))
        small = lax.conv_general_dilated(operand, kernel, strides, pads, dimension_numbers=_LAYOUT)
        rows = [row * small.shape[2] // height for row in range(height)]
        columns = [column * small.shape[3] // width for column in range(width)]
        large = small[:, [0] * depth][:, :, rows][:, :, :, columns]
        return jnp.split(large, large.shape[-1] // model.features, axis=-1)

    def as_rows(states):  # [B, D, H, W, C] or, of many slots, [B, K, D, H, W, C]
        return jnp.moveaxis(states, -1, -4).reshape(states.shape[0], -1, model.features)

    x_i, x_g, x_o, x_r, x_i2, x_g2 = gates('input_gates', inputs)
    h_i, h_g, h_o, h_r = gates('hidden_gates', hidden)
    history, valid = with_zeros(history, valid)
    query, keys = as_rows(jax.nn.sigmoid(x_r + h_r)), as_rows(history)
    logits = query @ keys.swapaxes(1, 2)
    logits = jnp.where(jnp.repeat(valid, query.shape[1]), logits, -jnp.inf)
    recalled = (jax.nn.softmax(logits, axis=-1) @ keys).reshape(
        -1, model.features, *cell.shape[1:4]
    )
    normalized = layer_norm(cell + jnp.moveaxis(recalled, 1, -1), weights['cell_norm'])
    new_cell = jax.nn.sigmoid(x_i + h_i) * jnp.tanh(x_g + h_g) + normalized
    new_memory = jax.nn.sigmoid(x_i2) * jnp.tanh(x_g2)
    o = x_o + h_o + gates('cell_output', new_cell)[0] + gates('memory_output', new_memory)[0]
    both = jnp.concatenate([new_cell, new_memory], -1) @ weights['projection']['kernel']
    return new_cell, jax.nn.sigmoid(jnp.tanh(o)) * jnp.tanh(both), memory


def cell_step(model, weights, cell, hidden, memory, inputs, history, valid):
    """Equations 1 and 2 for one layer; returns C, H, M."""
    if model.variant == 'openstl':
        return openstl_step(model, weights, cell, hidden, memory, inputs, history, valid)
    features, published = model.features, model.variant == 'published'
    released = published or model.variant == 'released'
    epsilon = 1e-12 if published else 1e-5
    if published:
        history, valid = with_zeros(history, valid)

    def gates(name, operand):
        group = weights[name]
        outputs = apply_operator(group, operand, features)
        if 'bias' in group:
            outputs = outputs + group['bias']
        if 'norm_scale' in group:
            outputs = layer_norm(outputs, group, epsilon)
        return [
            outputs[..., first : first + features]
            for first in range(0, outputs.shape[-1], features)
        ]

    if model.recall not in ('none', False):
        near = {'in_place': 0, 'nearby': model.recall_radius}.get(model.recall)
        near = True if near is None else are_near(inputs.shape[1:4], near)
        x_i, x_g, x_o, x_r, *x_a, x_i2, x_g2, x_f2 = gates('input_gates', inputs)
        h_i, h_g, h_o, h_r, *h_a = gates('hidden_gates', hidden)
        refined = model.variant in ('refined', 'gated', 'timed')
        query = x_r + h_r if refined else jax.nn.sigmoid(x_r + h_r)
        bias = 0.0
        if model.variant == 'timed':
            # Slot k is of step k, so the newest that is valid is of the step before.
            slots = jnp.arange(valid.size)
            newest = jnp.max(jnp.where(valid, slots, 0))
            bias = jnp.array([weights['ages'][: age + 1].sum() for age in range(valid.size)])[
                jnp.clip(newest - slots, 0)
            ]
        remembered = recall(query, history, valid, near, bias)
    else:
        x_i, x_g, x_o, x_i2, x_g2, x_f2 = gates('input_gates', inputs)
        h_i, h_g, h_o = gates('hidden_gates', hidden)
        remembered = 0
    from_memory = gates('memory_gates', memory)

    i = jax.nn.sigmoid(x_i + h_i)
    g = jnp.tanh(x_g + h_g)
    if model.variant in ('refined', 'gated', 'timed'):
        share = 1 if model.recall in ('none', False) else 0.5
        if model.variant in ('gated', 'timed') and share < 1:
            share = jax.nn.sigmoid(x_a[0] + h_a[0])
        of_remembered = 0 if model.recall in ('none', False) else (1 - share) * remembered
        new_cell = i * g + (1 - i) * (share * cell + of_remembered)
    else:
        new_cell = i * g + layer_norm(cell + remembered, weights['cell_norm'], epsilon)
    i2 = jax.nn.sigmoid(x_i2 + from_memory[0])
    g2 = jnp.tanh(x_g2 + from_memory[1])
    if released:
        f2 = jax.nn.sigmoid(x_f2 + from_memory[2] + 1)
        new_memory = i2 * g2 + f2 * jnp.tanh(from_memory[3])
    else:
        f2 = jax.nn.sigmoid(x_f2 + from_memory[2])
        new_memory = i2 * g2 + f2 * memory
    o = x_o + h_o + gates('cell_output', new_cell)[0] + gates('memory_output', new_memory)[0]
    o = jax.nn.sigmoid(jnp.tanh(o)) if released else jax.nn.sigmoid(o)
    projection = weights['projection']
    both = jnp.concatenate([new_cell, new_memory], -1) @ projection['kernel']
    new_hidden = o * jnp.tanh(both + projection.get('bias', 0))
    return new_cell, new_hidden, memory if published else new_memory


def reference_forecast(model, params, frames, output_frames, truth_mask=None):
    """What `model.apply({'params': params}, frames, output_frames, truth_mask)` returns.

    Args:
      model: an `E3DLSTM`; its fields say which equations.
      params: its parameters.
      frames: `[B, T_in (+ output_frames - 1), H, W, C]`, as `E3DLSTM` takes them.
      output_frames: T_out.
      truth_mask: bool `[B, output_frames - 1]` or None.
    """
    batch, length, height, width, channels = frames.shape
    patch = model.patch_size
    rows, columns = height // patch, width // patch
    if truth_mask is None:
        input_frames = length
        truth_mask = jnp.zeros((batch, output_frames - 1), bool)
        frames = jnp.concatenate([frames, jnp.zeros_like(frames[:, :1])], axis=1)
    else:
        input_frames = length - (output_frames - 1)
    steps = input_frames + output_frames - 1

    frames = frames.reshape(batch, -1, rows, patch, columns, patch, channels)
    patches = frames.transpose(0, 1, 2, 4, 3, 5, 6).reshape(
        batch, -1, rows, columns, patch**2 * channels
    )
    layers = [params['stack'][f'cells_{layer}'] for layer in range(model.layers)]
    state_shape = (batch, model.depth, rows, columns, model.features)
    zeros = jnp.zeros(state_shape, frames.dtype)
    slots = jnp.arange(steps)

    def step(carry, t):
        cells, hiddens, memory, histories, window, prediction = carry
        truth = patches[:, jnp.minimum(t, patches.shape[1] - 1)]
        see_truth = (
            truth_mask[:, jnp.clip(t - input_frames, 0, max(output_frames - 2, 0))]
            if (output_frames > 1)
            else jnp.zeros(batch, bool)
        )
        see_truth = (see_truth | (t < input_frames))[:, None, None, None]
        frame = jnp.where(see_truth, truth, prediction)
        window = jnp.concatenate([window[:, 1:], frame[:, None]], axis=1)
        valid = (slots < t) & (slots >= (t - model.history if model.history else 0))
        inputs, cells, hiddens, histories = window, list(cells), list(hiddens), list(histories)
        for k in range(model.layers):
            cells[k], hiddens[k], memory = cell_step(
                model, layers[k], cells[k], hiddens[k], memory, inputs, histories[k], valid
            )
            inputs = hiddens[k]
            histories[k] = histories[k].at[:, t].set(cells[k])
        prediction = convolve(inputs, params['decoder_kernel'][:, None, None], 'VALID')[:, 0]
        prediction = prediction + params['decoder_bias']
        return (cells, hiddens, memory, histories, window, prediction), prediction

    history = jnp.zeros((batch, steps, *state_shape[1:]), frames.dtype)
    window = jnp.zeros((batch, model.depth, *patches.shape[2:]), frames.dtype)
    copies = [zeros] * model.layers
    carry = (copies, copies, zeros, [history] * model.layers, window, window[:, 0])
    _, predictions = lax.scan(step, carry, slots)
    predictions = predictions.reshape(steps, batch, rows, columns, patch, patch, channels)
    predictions = predictions.transpose(1, 0, 2, 4, 3, 5, 6)
    return predictions.reshape(batch, steps, height, width, channels)
