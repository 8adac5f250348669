"""The checkpoints of github.com/google/e3d_lstm: their names, and `variant='published'`.

Kernels are [depth, height, width, inputs, outputs], as here; the gates of a convolution come in another
order (src/layers/rnn_cell.py).
"""

from pathlib import Path

import numpy as np

from e3d.errors import InputError
from e3d.weights.readers.layouts import Foreign, Place, channels_of, count_layers, place_tensors
from e3d.weights.readers.tensorflow_bundle import read_bundle

_ROOT = 'generator/e3d-lstm/'
_AVERAGE = '/ExponentialMovingAverage'

# Of each convolution with a LayerNorm: its name, that of the LayerNorm, the group here, and for each
# gate of that which block of the file it is. On X these are i, g, r, o, i', g', f'; on M i', f', g', m.
_NORMALIZED = (
    ('conv3d', 'hidden', 'hidden_gates', (0, 1, 3, 2)),
    ('conv3d_1', 'inputs', 'input_gates', (0, 1, 3, 2, 4, 5, 6)),
    ('conv3d_2', 'global_memory', 'memory_gates', (0, 2, 1, 3)),
)
_OUTPUTS = (('conv3d_3', 'cell_output'), ('conv3d_4', 'memory_output'))


def read_google(prefix: Path, patch_size: int | None, average: bool) -> Foreign:
    """Reads a checkpoint.

    Args:
      prefix: of its files.
      patch_size: side of a patch, which the file does not tell.
      average: takes the moving averages of the weights.

    Raises:
      InputError: it cannot be read, or is not one of that code.
    """
    stored = read_bundle(
        prefix, lambda name: name.startswith(_ROOT) and name.endswith(_AVERAGE) == average
    )
    tensors = {name[len(_ROOT) :].removesuffix(_AVERAGE): stored[name] for name in stored}
    layers = count_layers(list(tensors), 'e3d')
    first, decoder = tensors.get('e3d0/conv3d/kernel'), tensors.get('conv3d/kernel')
    if first is None or decoder is None or first.ndim != 5 or decoder.ndim != 5:
        raise InputError(
            f'{prefix}: it holds no {"moving averages of " if average else ""}weights of '
            f'google/e3d_lstm, as {_ROOT}e3d0/conv3d/kernel.'
        )
    features, depth, patch = first.shape[3], decoder.shape[0], decoder.shape[4]
    channels = channels_of(prefix, patch, patch_size)
    places = _places(layers, features, first.shape[:3], depth, patch)
    params = place_tensors(prefix, tensors, places, features)
    params['decoder_kernel'] = params['decoder_kernel'].reshape(depth, features, patch)
    for cell in params['stack'].values():
        kernel = cell['projection']['kernel']
        cell['projection']['kernel'] = kernel.reshape(2 * features, features)
    fields = {
        'layers': layers, 'features': features, 'depth': depth, 'patch_size': patch_size,
        'kernel_size': tuple(map(int, first.shape[:3])), 'variant': 'published',
    }  # fmt: skip
    count = sum(np.size(tensor) for tensor in tensors.values())
    kind = 'moving averages of the weights' if average else 'weights'
    account = [f'{prefix}: {len(tensors)} {kind} of google/e3d_lstm, {count:,} values.']
    return Foreign(fields, params, channels, None, None, account)


def _places(layers: int, features: int, kernel: tuple[int, ...], depth: int, patch: int):
    """Every tensor of the file, see `place_tensors`."""
    places = {}
    for layer in range(layers):
        cell = ('stack', f'cells_{layer}')
        inputs = {'input_gates': features if layer else patch}
        for convolution, norm, group, blocks in _NORMALIZED:
            outputs = features * len(blocks)
            shapes = {
                f'{convolution}/kernel': (
                    (*kernel, inputs.get(group, features), outputs),
                    'kernel',
                ),
                f'{convolution}/bias': ((outputs,), 'bias'),
                f'{norm}/gamma': ((outputs,), 'norm_scale'),
                f'{norm}/beta': ((outputs,), 'norm_bias'),
            }
            for name, (shape, leaf) in shapes.items():
                places[f'e3d{layer}/{name}'] = Place(shape, (*cell, group, leaf), blocks=blocks)
        plain = [(name, group, (*kernel, features, features)) for name, group in _OUTPUTS]
        plain.append(('conv3d_5', 'projection', (1, 1, 1, 2 * features, features)))
        for name, group, shape in plain:
            places[f'e3d{layer}/{name}/kernel'] = Place(shape, (*cell, group, 'kernel'))
            places[f'e3d{layer}/{name}/bias'] = Place((features,), (*cell, group, 'bias'))
        for name, leaf in (('gamma', 'norm_scale'), ('beta', 'norm_bias')):
            path = (*cell, 'cell_norm', leaf)
            places[f'e3d{layer}/self_attn/{name}'] = Place((features,), path)
    places['conv3d/kernel'] = Place((depth, 1, 1, features, patch), ('decoder_kernel',))
    places['conv3d/bias'] = Place((patch,), ('decoder_bias',))
    return places
