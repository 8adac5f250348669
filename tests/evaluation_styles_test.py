"""Every model has its name and its color; those drawn together are told apart by all eyes."""

import itertools

import numpy as np
import pytest

from benchmarks.recognition_study import TABLES
from benchmarks.study import PICTURES
from e3d.evaluation.styles import SIMPLE_COLOR, label_of, simple_styles, styles_of
from e3d.model import MODELS
from experiments.study import SWEEPS

# Machado, Oliveira and Fernandes 2009, severity 1: what those without the receptors of red and of
# green see, in linear RGB.
EYES = {
    'all': np.eye(3),
    'no red': np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    'no green': np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
LEAST = 10  # CIE 1976; 2.3 is just noticeable


def seen(color, eyes):
    """CIE L*a*b* of '#rrggbb' as some eyes see it."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one, other):
    return min(np.linalg.norm(seen(one, eyes) - seen(other, eyes)) for eyes in EYES)


def test_the_distance_tells_red_from_green_only_where_it_should():
    assert distance('#ff0000', '#0000ff') > 50
    assert distance('#a05000', '#508000') < LEAST


DRAWN = {
    **{form or 'forecast': names for form, names in SWEEPS.items() if 'rates' not in form},
    **{form + suffix: names for form, of in PICTURES.items() for suffix, names in of.items()},
    'recognition': TABLES['Table 5: feed-forward and separable convolutions'],
    'models': MODELS,
}


@pytest.mark.parametrize('names', DRAWN.values(), ids=DRAWN)
def test_what_is_drawn_together_differs(names):
    styles = styles_of(names)
    for one, other in itertools.combinations(styles.values(), 2):
        if one.color == other.color:
            assert (one.marker, one.line) != (other.marker, other.line), (one, other)
        else:
            assert distance(one.color, other.color) > LEAST, (one, other)
    assert all(distance(style.color, SIMPLE_COLOR) > LEAST for style in styles.values())


def test_models_have_names_of_the_text():
    assert label_of('predrnn_plus_plus') == 'PredRNN++'
    assert label_of('predrnn_1e-2') == 'PredRNN, rate 1e-2'
    assert label_of('refined_nearby_1e-2') == 'E3D-LSTM, refined form, RECALL nearby, rate 1e-2'
    assert label_of('predrnn,seed=1') == 'PredRNN, seed=1'
    assert label_of('lr=1,x=2') == 'lr=1,x=2'
    assert label_of('optimizer.learning_rate=1e-3') == 'optimizer.learning_rate=1e-3'
    assert all(label_of(name) != name for name in MODELS)


def test_one_color_a_model_wherever_it_is_drawn():
    alone = styles_of(['predrnn'])['predrnn']
    among = styles_of(['convlstm', 'x', 'predrnn', 'e3d_lstm'])
    assert among['predrnn'] == alone
    assert [style.label for style in among.values() if style.emphasized] == ['E3D-LSTM']
    both = styles_of(['predrnn_1e-2', 'predrnn'])
    assert list(both) == ['predrnn_1e-2', 'predrnn'] and both['predrnn'] == alone
    simple = simple_styles(['last frame', 'mean image'])
    assert {style.color for style in simple.values()} == {SIMPLE_COLOR}
