"""The E3D-LSTM files of OpenSTL (github.com/chengtan9907/OpenSTL): their names, `variant='openstl'`.

Kernels are [outputs, inputs, depth, height, width]; the gates of a convolution come in another order
(openstl/modules/e3dlstm_modules.py).
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from e3d.errors import InputError
from e3d.weights.readers.layouts import Foreign, Place, channels_of, count_layers, place_tensors
from e3d.weights.readers.pytorch_files import read_state_dict

_AXES = (2, 3, 4, 1, 0)  # of a kernel there, in the order here
# Of each convolution of a cell: the group here, and for each gate of that which block of the file it is.
# On X these are i, g, r, o, i', g', f'; without effect are f' and conv_gm, the convolution of M.
_KERNELS = {
    'conv_x': ('input_gates', 7, (0, 1, 3, 2, 4, 5)),
    'conv_h': ('hidden_gates', 4, (0, 1, 3, 2)),
    'conv_gm': (None, 4, ()),
    'conv_new_cell': ('cell_output', 1, ()),
    'conv_new_gm': ('memory_output', 1, ()),
}


def read_openstl(path: Path, patch_size: int | None, stride: int | None) -> Foreign:
    """Reads a file of weights.

    Args:
      path: of the file.
      patch_size: side of a patch, where the file does not tell it, as only those of Lightning do.
      stride: of the convolutions of the cells, likewise.

    Raises:
      InputError: it cannot be read, or is not one of that code.
    """
    state = read_state_dict(path)
    tensors = {re.sub(r'^(model\.|module\.)*', '', n): value for n, value in state.tensors.items()}
    hyper = state.hyper_parameters
    patch_size = _told(path, 'patch_size', patch_size, hyper)
    stride = _told(path, 'stride', stride, hyper)
    layers = count_layers(list(tensors), 'cell_list.')
    first, norm = (
        tensors.get(f'cell_list.0.{name}.weight') for name in ('conv_h.0.conv3d', '_norm_c_t')
    )
    decoder = tensors.get('conv_last.weight')
    if any(t is None or t.ndim != n for t, n in ((first, 5), (norm, 4), (decoder, 5))):
        raise InputError(
            f'{path}: it holds no weights of the E3D-LSTM of OpenSTL, as '
            'cell_list.0.conv_h.0.conv3d.weight.'
        )
    features, depth, patch = first.shape[1], norm.shape[1], decoder.shape[0]
    channels = channels_of(path, patch, patch_size)
    if stride is None:
        raise InputError(
            f'{path} does not tell stride, that of the convolutions of its cells: 1 in most configs '
            'of OpenSTL, 2 in that of KTH since June 2023. Give --stride.'
        )
    places = _places(layers, features, first.shape[2:], norm.shape[1:], patch)
    params = place_tensors(path, tensors, places, features)
    params['decoder_kernel'] = params['decoder_kernel'].reshape(depth, features, patch)
    params['decoder_bias'] = np.zeros(patch, np.float32)
    for cell in params['stack'].values():
        cell['projection']['kernel'] = cell['projection']['kernel'].reshape(-1, features)
    fields = {
        'layers': layers, 'features': features, 'depth': depth, 'patch_size': patch_size,
        'kernel_size': tuple(map(int, first.shape[2:])), 'variant': 'openstl', 'stride': stride,
    }  # fmt: skip
    count = sum(tensor.size for tensor in tensors.values())
    dead = sum(t.size for n, t in tensors.items() if '.conv_gm.' in n)
    dead += sum(t.size // 7 for n, t in tensors.items() if '.conv_x.' in n)
    account = [
        f'{path}: {len(tensors)} weights of the E3D-LSTM of OpenSTL, {count:,} values; {dead:,} of '
        'them have no effect in that code and are left out.'
    ]
    lengths = hyper.get('pre_seq_length'), hyper.get('aft_seq_length')
    known = all(isinstance(length, int) and length > 0 for length in lengths)
    size = norm.shape[2] * patch_size, norm.shape[3] * patch_size
    return Foreign(fields, params, channels, size, lengths if known else None, account)


def _told(path: Path, name: str, given: int | None, hyper: dict[str, Any]) -> int | None:
    """The value that is given or that the file tells.

    Raises:
      InputError: they differ.
    """
    told = hyper.get(name)
    if type(told) is not int or told < 1:
        return given
    if given not in (None, told):
        raise InputError(f'{path} was trained with {name}={told}, not {given}: leave --{name} out.')
    return told


def _places(layers: int, features: int, kernel: tuple[int, ...], positions: tuple[int, ...], patch):
    """Every tensor of the file, see `place_tensors`."""
    places = {}
    for layer in range(layers):
        cell = ('stack', f'cells_{layer}')
        for name, (group, gates, blocks) in _KERNELS.items():
            inputs = patch if name == 'conv_x' and not layer else features
            path = (*cell, group, 'kernel') if group else ()
            places[f'cell_list.{layer}.{name}.0.conv3d.weight'] = Place(
                (gates * features, inputs, *kernel), path, _AXES, blocks
            )
        places[f'cell_list.{layer}.conv_last.conv3d.weight'] = Place(
            (features, 2 * features, 1, 1, 1), (*cell, 'projection', 'kernel'), _AXES
        )
        for name, leaf in (('weight', 'norm_scale'), ('bias', 'norm_bias')):
            places[f'cell_list.{layer}._norm_c_t.{name}'] = Place(
                (features, *positions), (*cell, 'cell_norm', leaf), (1, 2, 3, 0)
            )
    depth = positions[0]
    places['conv_last.weight'] = Place((patch, features, depth, 1, 1), ('decoder_kernel',), _AXES)
    return places
