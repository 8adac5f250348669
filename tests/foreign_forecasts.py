"""What two other codes compute from their weights, in NumPy, by the names in their files."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def convolve(inputs, kernel, pads, stride=1):
    """`[B, D, H, W, C]` by a kernel `[kd, kh, kw, C, F]`."""
    inputs = np.pad(inputs, ((0, 0), *pads, (0, 0)))
    windows = sliding_window_view(inputs, kernel.shape[:3], (1, 2, 3))
    return np.einsum('bdhwcxyz,xyzcf->bdhwf', windows, kernel)[:, :, ::stride, ::stride]


def attend(query, keys):
    """Softmax(Q . K^T) . K for rows `[B, N, C]`."""
    logits = query @ keys.swapaxes(1, 2)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ keys


def normalize(values, epsilon):
    mean = values.mean((1, 2, 3, 4), keepdims=True)
    return (values - mean) / np.sqrt(values.var((1, 2, 3, 4), keepdims=True) + epsilon)


def google_cell(weights, layer, inputs, cell, hidden, history):
    """src/layers/rnn_cell.py; the memory M is zeros always. Returns C and H."""

    def tensor(name):
        return weights[f'generator/e3d-lstm/e3d{layer}/{name}'].astype(float)

    def conv(name, operand, norm=None):
        kernel = tensor(f'{name}/kernel')
        depth, *sides = kernel.shape[:3]
        pads = ((0, depth - 1), *((side // 2, side // 2) for side in sides))
        outputs = convolve(operand, kernel, pads) + tensor(f'{name}/bias')
        if norm is None:
            return outputs
        outputs = normalize(outputs, 1e-12) * tensor(f'{norm}/gamma') + tensor(f'{norm}/beta')
        return np.split(outputs, outputs.shape[-1] // cell.shape[-1], axis=-1)

    i_h, g_h, r_h, o_h = conv('conv3d', hidden, 'hidden')
    i_x, g_x, r_x, o_x, i_x2, g_x2, f_x2 = conv('conv3d_1', inputs, 'inputs')
    i_m, f_m, g_m, m_m = conv('conv3d_2', np.zeros_like(cell), 'global_memory')
    rows = [state.reshape(len(cell), -1, cell.shape[-1]) for state in history]
    query = sigmoid(r_x + r_h).reshape(rows[0].shape)
    past = cell + attend(query, np.concatenate(rows, axis=1)).reshape(cell.shape)
    past = normalize(past, 1e-12) * tensor('self_attn/gamma') + tensor('self_attn/beta')
    new_cell = sigmoid(i_x + i_h) * np.tanh(g_x + g_h) + past
    memory = sigmoid(f_x2 + f_m + 1) * np.tanh(m_m) + sigmoid(i_x2 + i_m) * np.tanh(g_x2 + g_m)
    output = o_x + o_h + conv('conv3d_3', new_cell) + conv('conv3d_4', memory)
    both = np.concatenate([new_cell, memory], axis=-1)
    return new_cell, sigmoid(np.tanh(output)) * np.tanh(conv('conv3d_5', both))


def openstl_cell(weights, layer, inputs, cell, hidden, history, stride):
    """openstl/modules/e3dlstm_modules.py; the memory M is zeros always. Returns C and H."""

    def tensor(name):
        values = weights[f'cell_list.{layer}.{name}'].astype(float)
        return values.transpose(2, 3, 4, 1, 0) if values.ndim == 5 else values

    def conv(name, operand, stride):
        kernel = tensor(name)
        pads = ((0, 0), *((side // 2, side // 2) for side in kernel.shape[1:3]))
        small = convolve(operand, kernel, pads, stride)
        for axis in (1, 2, 3):
            size = operand.shape[axis]
            small = small.take(np.arange(size) * small.shape[axis] // size, axis)
        return np.split(small, max(small.shape[-1] // cell.shape[-1], 1), axis=-1)

    def channels_first(state):
        return np.moveaxis(state, -1, 1)

    i_x, g_x, r_x, o_x, i_x2, g_x2, _ = conv('conv_x.0.conv3d.weight', inputs, stride)
    i_h, g_h, r_h, o_h = conv('conv_h.0.conv3d.weight', hidden, stride)
    channels = cell.shape[-1]
    keys = np.concatenate([channels_first(state) for state in history], axis=1)
    keys = keys.reshape(len(cell), -1, channels)
    query = channels_first(sigmoid(r_x + r_h))
    recalled = attend(query.reshape(len(cell), -1, channels), keys).reshape(query.shape)
    past = normalize(channels_first(cell) + recalled, 1e-5)
    past = past * tensor('_norm_c_t.weight') + tensor('_norm_c_t.bias')
    new_cell = sigmoid(i_x + i_h) * np.tanh(g_x + g_h) + np.moveaxis(past, 1, -1)
    memory = sigmoid(i_x2) * np.tanh(g_x2)
    output = o_x + o_h + conv('conv_new_cell.0.conv3d.weight', new_cell, stride)[0]
    output = output + conv('conv_new_gm.0.conv3d.weight', memory, stride)[0]
    both = np.concatenate([new_cell, memory], axis=-1)
    both = convolve(both, tensor('conv_last.conv3d.weight'), ((0, 0),) * 3)
    return new_cell, sigmoid(np.tanh(output)) * np.tanh(both)


def forecast(cell, layers, features, decode, frames, observed, patch):
    """All predictions `[B, T - 1, H, W, C]` of a clip of which `observed` frames are seen."""
    batch, length, height, width, channels = frames.shape
    rows, columns = height // patch, width // patch
    patches = frames.reshape(batch, length, rows, patch, columns, patch, channels)
    patches = patches.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, length, rows, columns, -1)
    zeros = np.zeros((batch, 2, rows, columns, features))
    cells, hiddens = [zeros] * layers, [zeros] * layers
    histories = [[zeros] for _ in range(layers)]
    before, predictions = np.zeros_like(patches[:, 0]), []
    for step in range(length - 1):
        frame = patches[:, step] if step < observed else predictions[-1]
        inputs, before = np.stack([before, frame], axis=1), frame
        for layer in range(layers):
            cells[layer], hiddens[layer] = cell(
                layer, inputs, cells[layer], hiddens[layer], histories[layer]
            )
            histories[layer].append(cells[layer])
            inputs = hiddens[layer]
        predictions.append(decode(inputs))
    found = np.stack(predictions, axis=1).reshape(
        batch, length - 1, rows, columns, patch, patch, channels
    )
    return found.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, length - 1, height, width, channels)


def google_weights(layers, features, patch_values, kernel=(2, 3, 3), seed=0):
    """Random weights by the names of a checkpoint of google/e3d_lstm."""
    shapes = {}
    for layer in range(layers):
        inputs = features if layer else patch_values
        for name, norm, channels, gates in (
            ('conv3d', 'hidden', features, 4),
            ('conv3d_1', 'inputs', inputs, 7),
            ('conv3d_2', 'global_memory', features, 4),
            ('conv3d_3', None, features, 1),
            ('conv3d_4', None, features, 1),
            ('conv3d_5', None, 2 * features, 1),
        ):
            size = (1, 1, 1) if name == 'conv3d_5' else kernel
            shapes[f'e3d{layer}/{name}/kernel'] = (*size, channels, gates * features)
            shapes[f'e3d{layer}/{name}/bias'] = (gates * features,)
            for part in ('gamma', 'beta') if norm else ():
                shapes[f'e3d{layer}/{norm}/{part}'] = (gates * features,)
        for part in ('gamma', 'beta'):
            shapes[f'e3d{layer}/self_attn/{part}'] = (features,)
    shapes |= {'conv3d/kernel': (2, 1, 1, features, patch_values), 'conv3d/bias': (patch_values,)}
    return random_tensors({f'generator/e3d-lstm/{name}': s for name, s in shapes.items()}, seed)


def openstl_weights(layers, features, patch_values, size, kernel=(2, 3, 3), seed=0):
    """Random weights by the names of a state dict of OpenSTL."""
    shapes = {}
    for layer in range(layers):
        inputs = features if layer else patch_values
        for name, channels, gates in (
            ('conv_x', inputs, 7),
            ('conv_h', features, 4),
            ('conv_gm', features, 4),
            ('conv_new_cell', features, 1),
            ('conv_new_gm', features, 1),
        ):
            key = f'cell_list.{layer}.{name}.0.conv3d.weight'
            shapes[key] = (gates * features, channels, *kernel)
        shapes[f'cell_list.{layer}.conv_last.conv3d.weight'] = (features, 2 * features, 1, 1, 1)
        for part in ('weight', 'bias'):
            shapes[f'cell_list.{layer}._norm_c_t.{part}'] = (features, 2, *size)
    shapes['conv_last.weight'] = (patch_values, features, 2, 1, 1)
    return random_tensors(shapes, seed)


def random_tensors(shapes, seed):
    generator = np.random.default_rng(seed)
    return {name: (0.5 * generator.normal(size=s)).astype('<f4') for name, s in shapes.items()}
