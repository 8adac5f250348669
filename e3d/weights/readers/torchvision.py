"""The weights of torchvision's video networks (torchvision/models/video/resnet.py and s3d.py).

Its files r3d_18, mc3_18, r2plus1d_18 and s3d hold what the models `r3d`, `mc3`, `r2plus1d` and `s3d`
here have at their defaults, kernels as [outputs, inputs, time, height, width]. A unit of convolution
and normalization has the names

    here                                     torchvision
    stem                                     stem.0, stem.1
    stem/space, stem/time                    stem.0, stem.1; stem.3, stem.4
    block_S_B_first, _second, _shortcut      layerS.B.conv1, .conv2, .downsample with .0, .1
    block_S_B_first/space, /time             layerS.B.conv1.0.0, .0.1; .0.3, .1
    layer_1a, _2b, _2c, mixed_3b to _5c      features.I, I being 0, 2, 3; 5 to 15
    mixed_X_0, _3                            features.I.branch0, .branch3.1 with .0, .1
    mixed_X_1_narrow, _space, _time          features.I.branch1.0, .1.0, .1.1 with .0, .1
"""

import re
from pathlib import Path
from typing import Any

import jax

from e3d.errors import InputError
from e3d.weights.readers.layouts import Place, place_tensors
from e3d.weights.readers.pytorch_files import read_state_dict

SUFFIXES = ('.pth', '.pt')
_OF_KERNELS, _OF_MATRICES = (2, 3, 4, 1, 0), (1, 0)  # axes there, in the order here
_PLACES = {'first': 'conv1', 'second': 'conv2', 'shortcut': 'downsample'}
_FACTORED = {None: ('0', '1'), 'space': ('0.0', '0.1'), 'time': ('0.3', '1')}
_FEATURES = {
    **{'1a': 0, '2b': 2, '2c': 3, '3b': 5, '3c': 6},
    **{'4b': 8, '4c': 9, '4d': 10, '4e': 11, '4f': 12, '5b': 14, '5c': 15},
}
_IN_BRANCH = {None: '', 'narrow': '.0', 'space': '.1.0', 'time': '.1.1'}
_IN_LAYER = {None: '', 'space': '.0', 'time': '.1'}
_LEAVES = {'scale': 'weight', 'bias': 'bias', 'mean': 'running_mean', 'var': 'running_var'}
_HEADS = {'head/scores': 'fc', 'head/Conv3d_0c_1x1/Conv_0': 'classifier.1'}


def read_torchvision(path: Path, variables: Any) -> dict[str, Any]:
    """The variables of a file for a model.

    Args:
      path: of the file.
      variables: 'params' and 'batch_stats' of the model, for their names and shapes.

    Returns:
      The same tree of arrays; without the last layer where the file has another number of classes.

    Raises:
      InputError: the file cannot be read, or holds the weights of another network.
    """
    tensors = {
        name.removeprefix('module.'): tensor
        for name, tensor in read_state_dict(path).tensors.items()
        if not name.endswith('num_batches_tracked')
    }
    places = {}
    for keys, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        names = tuple(str(key.key) for key in keys)
        name, axes = _foreign_name(names, path)
        shape = tuple(leaf.shape[axes.index(axis)] for axis in range(leaf.ndim)) if axes else None
        place = Place(shape or leaf.shape, names, axes)
        if name.startswith(tuple(_HEADS.values())) and name in tensors:
            found = tensors[name].shape
            if found[1:] == place.shape[1:] and found != place.shape:
                place = Place(found)  # of other classes
        places[name] = place
    try:
        return place_tensors(path, tensors, places, features=0)
    except InputError as error:
        raise InputError(
            f'{error}\nTake the model that the file is of (r3d, mc3, r2plus1d or s3d), with the '
            'defaults of its keys; only model.classes may be another.'
        ) from error


def _foreign_name(names: tuple[str, ...], path: Path) -> tuple[str, tuple[int, ...]]:
    """What a variable here is called there, and the order of its axes, () where it is the same."""
    unit, leaf = '/'.join(names[1:-1]), names[-1]
    if unit in _HEADS:
        kernel = leaf == 'kernel'
        axes = (_OF_MATRICES if unit == 'head/scores' else _OF_KERNELS) if kernel else ()
        return f'{_HEADS[unit]}.{"weight" if kernel else leaf}', axes
    modules = _modules(unit.rpartition('/')[0])
    if modules is None:
        raise InputError(
            f"init_from='{path}': it has the weights of a network of torchvision, which fit the models "
            f'r3d, mc3, r2plus1d and s3d; this one has a parameter {unit}/{leaf}. Set '
            'model.name to one of those, with the defaults of its other keys.'
        )
    if leaf == 'kernel':
        return f'{modules[0]}.weight', _OF_KERNELS
    return f'{modules[1]}.{_LEAVES[leaf]}', ()


def _modules(unit: str) -> tuple[str, str] | None:
    """The convolution and the normalization there that a unit here is, see the head of this file."""
    if match := re.fullmatch(r'stem(?:/(space|time))?', unit):
        return ('stem.3', 'stem.4') if match[1] == 'time' else ('stem.0', 'stem.1')
    if match := re.fullmatch(r'block_(\d)_(\d+)_(first|second|shortcut)(?:/(space|time))?', unit):
        stage, block, place, part = match.groups()
        before = f'layer{stage}.{block}.{_PLACES[place]}'
        convolution, normalization = _FACTORED[part]
        return f'{before}.{convolution}', f'{before}.{normalization}'
    if match := re.fullmatch(r'(?:layer|mixed)_(\d\w)(?:_(\d))?(?:_(narrow|space|time))?', unit):
        layer, branch, part = match.groups()
        before = f'features.{_FEATURES[layer]}'
        if branch is None:
            before += _IN_LAYER[part]
        else:
            before += f'.branch{branch}{".1" if branch == "3" else _IN_BRANCH[part]}'
        return f'{before}.0', f'{before}.1'
    return None
