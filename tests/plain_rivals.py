"""The models whose step is written out, read plainly: native convolutions, a plain scan.

Each is a function `(params, frames [B, T, H, W, C], output_frames) -> [B, T + output_frames - 1, ...]`
that differentiates automatically, in float64.
"""

import jax
import jax.numpy as jnp
from jax import lax

AXES = ('NHWC', 'HWIO', 'NHWC')
sigmoid = jax.nn.sigmoid


def conv(layer, inputs, stride=1, padding='SAME'):
    if not isinstance(padding, str):
        padding = [padding, padding]
    outputs = lax.conv_general_dilated(
        inputs, layer['kernel'], (stride, stride), padding, dimension_numbers=AXES
    )
    return outputs + layer.get('bias', 0)


def transposed_conv(layer, inputs):
    """Stride 2: the transpose of TensorFlow's SAME convolution, by its definition."""
    size = layer['kernel'].shape[0]
    batch, height, width, _ = inputs.shape
    outputs = jnp.zeros((batch, 2 * height + size, 2 * width + size, layer['kernel'].shape[-1]))
    for row in range(size):
        for column in range(size):
            part = inputs @ layer['kernel'][row, column]
            end = (row + 2 * height, column + 2 * width)
            outputs = outputs.at[:, row : end[0] : 2, column : end[1] : 2].add(part)
    return outputs[:, : 2 * height, : 2 * width] + layer.get('bias', 0)


def norm(group, inputs):
    axes = (1, 2, 3)
    deviation = jnp.sqrt(inputs.var(axis=axes, keepdims=True) + 1e-5)
    normalized = (inputs - inputs.mean(axis=axes, keepdims=True)) / deviation
    return normalized * group['norm_scale'] + group['norm_bias']


def lstm(layer, cell, hidden, inputs):
    outputs = conv(layer, jnp.concatenate([inputs, hidden], -1))
    i, j, f, o = jnp.split(outputs, 4, axis=-1)
    cell = cell * sigmoid(f + 1) + sigmoid(i) * jnp.tanh(j)
    return cell, jnp.tanh(cell) * sigmoid(o)


def shifted(frame, down, right):
    """The frame seen from pixels so far down and to the right; zeros outside."""
    margin = 10
    padded = jnp.pad(frame, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    height, width = frame.shape[1:3]
    return padded[
        :, margin + down : margin + down + height, margin + right : margin + right + width
    ]


def roll_out(step, state, frames, output_frames):
    frames = jnp.moveaxis(frames, 1, 0)
    nothing = jnp.zeros((output_frames - 1, *frames.shape[1:]))
    observed = jnp.arange(len(frames) + output_frames - 1) < len(frames)

    def body(carry, inputs):
        frame, seen = inputs
        carry = step(carry[0], jnp.where(seen, frame, carry[1]))
        return carry, carry[1]

    start = (state, jnp.zeros_like(frames[0]))
    _, predictions = lax.scan(body, start, (jnp.concatenate([frames, nothing]), observed))
    return jnp.moveaxis(predictions, 0, 1)


def dfn(params, frames, output_frames):
    def step(hidden, frame):
        def layer(number, inputs):
            return jax.nn.leaky_relu(conv(params[f'conv_{number}'], inputs), 0.01)

        a = jax.nn.leaky_relu(conv(params['conv_2'], layer(1, frame), 2, (1, 1)), 0.01)
        hidden = layer(5, layer(4, layer(3, a))) + layer(7, layer(6, hidden))
        a = layer(9, layer(8, hidden))
        a = layer(12, layer(11, layer(10, a.repeat(2, axis=1).repeat(2, axis=2))))
        filters = jax.nn.softmax(conv(params['conv_13'], a))
        size = round(filters.shape[-1] ** 0.5)
        outputs = 0
        for a in range(size):
            for b in range(size):
                part = filters[..., size * a + b, None]
                outputs = outputs + part * shifted(frame, a - size // 2, b - size // 2)
        return hidden, outputs

    batch, _, height, width, _ = frames.shape
    features = params['conv_7']['bias'].size
    return roll_out(
        step, jnp.zeros((batch, height // 2, width // 2, features)), frames, output_frames
    )


def cdna(params, frames, output_frames, released=False):
    relu = jax.nn.relu

    def step(states, frame):
        states = dict(states)

        def recurrent(number, inputs):
            name = f'lstm{number}'
            states[name] = lstm(params[name], *states[name], inputs)
            return norm(params[f'{name}_norm'], states[name][1])

        enc0 = relu(norm(params['enc0_norm'], conv(params['enc0'], frame, 2)))
        enc1 = relu(conv(params['enc1'], recurrent(2, recurrent(1, enc0)), 2))
        enc2 = relu(conv(params['enc2'], recurrent(4, recurrent(3, enc1)), 2))
        hidden5 = recurrent(5, relu(conv(params['enc3'], enc2)))
        enc4 = relu(transposed_conv(params['enc4'], hidden5))
        both = jnp.concatenate([recurrent(6, enc4), enc1], -1)
        enc5 = relu(transposed_conv(params['enc5'], both))
        both = jnp.concatenate([recurrent(7, enc5), enc0], -1)
        enc6 = relu(norm(params['enc6_norm'], transposed_conv(params['enc6'], both)))
        masks, picture = conv(params['masks'], enc6), conv(params['picture'], enc6)
        if released:
            masks, picture = relu(masks), relu(picture)
        masks = jax.nn.softmax(masks)
        k = (
            hidden5.reshape(len(frame), -1) @ params['kernels']['kernel']
            + params['kernels']['bias']
        )
        k = relu(k.reshape(len(frame), 5, 5, -1) - 1e-12) + 1e-12
        k = k / k.sum((1, 2), keepdims=True)
        taps = [(a, b) for a in range(5) for b in range(5)]
        seen = jnp.stack([shifted(frame, a - 2, b - 2) for a, b in taps])
        k = k.reshape(len(frame), 25, -1)
        filtered = [jnp.einsum('bk,kbhwc->bhwc', k[..., n], seen) for n in range(k.shape[-1])]
        pictures = [frame, sigmoid(picture), *filtered]
        weighted = (masks[..., m, None] * pictures[m] for m in range(masks.shape[-1]))
        return states, sum(weighted)

    batch, _, height, width, _ = frames.shape
    states = {}
    for number, scale in enumerate((2, 2, 4, 4, 8, 4, 2), 1):
        features = params[f'lstm{number}']['bias'].size // 4
        zeros = jnp.zeros((batch, height // scale, width // scale, features))
        states[f'lstm{number}'] = (zeros, zeros)
    return roll_out(step, states, frames, output_frames)


def vpn_baseline(params, frames, output_frames):
    side = round((params['head']['bias'].size // frames.shape[-1]) ** 0.5)
    batch, time, height, width, channels = frames.shape
    rows, columns = height // side, width // side

    def unit(layer, inputs):
        g1, g2, g3, u = jnp.split(conv(layer, inputs), 4, axis=-1)
        return sigmoid(g1) * jnp.tanh(sigmoid(g2) * inputs + sigmoid(g3) * jnp.tanh(u))

    def blocks(name, inputs):
        for number in range(sum(key.startswith(name) for key in params) // 4):
            layers = [params[f'{name}_{number}_{part}'] for part in PARTS]
            outputs = unit(layers[2], unit(layers[1], conv(layers[0], inputs)))
            inputs = inputs + conv(layers[3], outputs)
        return inputs

    def step(state, frame):
        cell, hidden = lstm(params['lstm'], *state, blocks('encoder', conv(params['stem'], frame)))
        return (cell, hidden), conv(params['head'], blocks('decoder', hidden))

    patches = frames.reshape(batch, time, rows, side, columns, side, channels)
    patches = patches.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, time, rows, columns, -1)
    zeros = jnp.zeros((batch, rows, columns, params['lstm']['bias'].size // 4))
    outputs = roll_out(step, (zeros, zeros), patches, output_frames)
    outputs = outputs.reshape(batch, -1, rows, columns, side, side, channels)
    return outputs.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, -1, height, width, channels)


PARTS = ('narrow', 'first', 'second', 'widen')


def frnn(params, frames, output_frames):
    """Of a future_only model: the forecast alone."""

    def gru(name, changed, other, order):
        gates = conv(params[f'{name}_gates'], jnp.concatenate(order(changed, other), -1))
        g1, g2 = jnp.split(sigmoid(gates), 2, axis=-1)
        candidate = conv(
            params[f'{name}_candidate'], jnp.concatenate(order(changed * g1, other), -1)
        )
        return g2 * jnp.tanh(candidate) + (1 - g2) * changed

    def up(layer, x, s):
        return gru(f'cell_{layer}_up', s, x, lambda s, x: (x, s))

    def down(layer, x, s):
        return gru(f'cell_{layer}_down', x, s, lambda x, s: (x, s))

    def pool(inputs):
        return lax.reduce_window(inputs, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), 'VALID')

    def transposed(name, inputs):
        kernel = params[name]['kernel'][::-1, ::-1].swapaxes(2, 3)
        return conv({'kernel': kernel, 'bias': params[f'{name}_down_bias']}, inputs)

    batch, time, height, width, _ = frames.shape
    layers = range(1, 1 + sum(name.startswith('initial') for name in params))
    s = {}
    for layer in layers:
        side = 2 ** ((layer + 1) // 2)
        values = params[f'initial_{layer}']
        s[layer] = jnp.broadcast_to(values, (batch, height // side, width // side, values.size))
    x = {}
    for t in range(time):
        arriving = jnp.tanh(conv(params['conv_1'], frames[:, t] * 2 - 1))
        arriving = jnp.tanh(conv(params['conv_2'], arriving))
        for layer in layers:
            x[layer] = pool(arriving) if layer % 2 else arriving
            s[layer] = arriving = up(layer, x[layer], s[layer])
    forecast = []
    for _ in range(output_frames):
        top = layers[-1]
        u = s[top]
        for layer in reversed(layers):
            x[layer] = u = down(layer, x[layer], u)
            u = u.repeat(2, axis=1).repeat(2, axis=2) if layer % 2 else u
        picture = jnp.tanh(transposed('conv_1', jnp.tanh(transposed('conv_2', u))))
        forecast.append((picture + 1) / 2)
        s[top] = up(top, x[top], s[top])
    return jnp.stack(forecast, axis=1)


def mcnet(params, frames, output_frames):
    """Gives the forecast alone, `[B, output_frames, ...]`."""

    def layers(name, inputs, last=jax.nn.relu):
        count = sum(part.startswith(f'{name}_') for part in params)
        for place in range(count):
            inputs = conv(params[f'{name}_{place}'], inputs)
            inputs = last(inputs) if place == count - 1 else jax.nn.relu(inputs)
        return inputs

    def encode(name, inputs):
        maps = []
        for scale in range(3):
            maps.append(layers(f'{name}_{scale}', inputs))
            window = (1, 2, 2, 1)
            inputs = lax.reduce_window(maps[-1], -jnp.inf, lax.max, window, window, 'VALID')
        return maps, inputs

    def gray(frame):
        return frame @ jnp.array([[0.299], [0.587], [0.114]]) if frame.shape[-1] == 3 else frame

    def unpool(inputs):
        batch, height, width, channels = inputs.shape
        spread = jnp.zeros((batch, height, 2, width, 2, channels)).at[:, :, 0, :, 0].set(inputs)
        return spread.reshape(batch, 2 * height, 2 * width, channels)

    def watch(cell, hidden, before, newest):
        maps, outputs = encode('motion', gray(newest) - gray(before))
        return maps, *lstm(params['lstm'], cell, hidden, outputs)

    features = params['lstm']['kernel'].shape[-1] // 4
    batch, count, height, width, _ = frames.shape
    cell = hidden = jnp.zeros((batch, height // 8, width // 8, features))
    for t in range(1, count):
        motion, cell, hidden = watch(cell, hidden, frames[:, t - 1], frames[:, t])
    newest, forecast = frames[:, -1], []
    for _ in range(output_frames):
        content, outputs = encode('content', 2 * newest - 1)
        outputs = layers('combination', jnp.concatenate([hidden, outputs], -1))
        for scale in (2, 1, 0):
            both = jnp.concatenate([motion[scale], content[scale]], -1)
            residual = layers(f'residual_{scale}', both, last=lambda maps: maps)
            last = jax.nn.relu if scale else jnp.tanh
            outputs = layers(f'decoder_{scale}', jax.nn.relu(unpool(outputs) + residual), last)
        before, newest = newest, (outputs + 1) / 2
        forecast.append(newest)
        motion, cell, hidden = watch(cell, hidden, before, newest)
    return jnp.stack(forecast, axis=1)
