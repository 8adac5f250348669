"""How models and forecasts are called and drawn, the same in every picture and table.

The colors are told apart by those who see no red or no green as well, and every model has a marker
of its own. Warm colors and greens are forms of E3D-LSTM; cool ones are
other models, gray is what needs no learning.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

EMPHASIZED = 'e3d_lstm', 'everywhere', 'e3d_recognizer', 'refined', 'gated', 'timed'
SIMPLE_COLOR = '#777777'
SIMPLE_DASHES = ('--', ':', '-.', (0, (1, 4)), (0, (8, 3)), (0, (5, 1, 1, 1)))

# The name in the text, the color and the marker. Those that are never drawn together share a color.
_TABLE = {
    # Forms of E3D-LSTM, and without its parts (Tables 1, 2 and 6).
    'e3d_lstm': ('E3D-LSTM', '#d55e00', 'o'),
    'everywhere': ('E3D-LSTM', '#d55e00', 'o'),
    'e3d_recognizer': ('E3D-LSTM', '#d55e00', 'o'),
    'e3d_lstm_released': ('E3D-LSTM, released form', '#6b2a00', 'v'),
    'refined': ('E3D-LSTM, refined form', '#6b2a00', '^'),
    'gated': ('E3D-LSTM, gated form', '#aa1144', 'H'),
    'gated_plain': ('E3D-LSTM, gated form without 3D convolutions', '#78b23e', 'h'),
    'timed': ('E3D-LSTM, timed form', '#009e73', 'p'),
    'refined_nearby': ('E3D-LSTM, refined form, RECALL nearby', '#c98b8b', 'P'),
    'refined_without_attention': ('E3D-LSTM, refined form without RECALL', '#a08a50', 'X'),
    'in_place': ('E3D-LSTM, RECALL in place', '#f0b000', 'd'),
    'nearby': ('E3D-LSTM, RECALL nearby', '#ff9f80', '<'),
    'everywhere_last_5': ('E3D-LSTM, RECALL of 5 steps', '#ff9f80', '>'),
    'without_attention': ('without attention', '#a08a50', 'D'),
    'without_3d_convolutions': ('without 3D convolutions', '#f0b000', 's'),
    'e2_1d_lstm': ('E(2+1)D-LSTM', '#6b2a00', 'v'),
    # Other forecasters (Table 1).
    'predrnn': ('PredRNN', '#0064c8', '^'),
    'predrnn_plus_plus': ('PredRNN++', '#1b1f6b', 'P'),
    'convlstm': ('ConvLSTM', '#6cc4ee', 'X'),
    '3d_cnn_at_bottom': ('3D-CNN at bottom', '#88305f', '<'),
    '3d_cnn_on_top': ('3D-CNN on top', '#b86fa8', '>'),
    'dfn': ('DFN', '#0064c8', 'v'),
    'cdna': ('CDNA', '#88305f', 's'),
    'frnn': ('FRNN', '#6cc4ee', 'D'),
    'vpn_baseline': ('VPN baseline', '#b86fa8', 'd'),
    'mcnet': ('MCnet', '#1b1f6b', '<'),
    'simvp': ('SimVP', '#7f7fff', '>'),
    'gsta': ('SimVP, gSTA', '#7f7fff', '>'),
    'tau': ('TAU', '#4b3aa8', '*'),
    'st_resnet': ('ST-ResNet', '#9aa7c7', 'p'),
    'st_resnet_days': ('ST-ResNet, with days and weeks before', '#1b1f6b', 'P'),
    'st_resnet_days_longer': ('ST-ResNet, with days and weeks before, longer', '#1b1f6b', 'X'),
    # Other recognizers (Tables 5 to 8).
    'cnn_recognizer': ('3D-CNN', '#0064c8', '^'),
    'cnn_3d': ('3D-CNN', '#0064c8', '^'),
    'separable_cnn': ('separable CNN', '#1b1f6b', 'P'),
    'cnn_2_1d': ('(2+1)D-CNN', '#6cc4ee', 'X'),
    'st_lstm_recognizer': ('ST-LSTM', '#88305f', '<'),
    'cnn_at_bottom': ('3D-CNN at bottom', '#88305f', '<'),
    'cnn_on_top': ('3D-CNN on top', '#b86fa8', '>'),
    'classification_only': ('classification only', '#0064c8', 's'),
    'pre_trained': ('pre-trained', '#1b1f6b', 'D'),
    'pre_training': ('pre-training', '#1b1f6b', 'D'),
    'fixed_ratio': ('fixed ratio', '#6cc4ee', 'v'),
    'online': ('online', '#88305f', '<'),
    'online_classification_only': ('online, classification only', '#b86fa8', '>'),
    'c3d': ('C3D', '#88305f', 's'),
    'i3d': ('I3D', '#1b1f6b', '<'),
    's3d': ('S3D', '#7f7fff', '>'),
    'p3d': ('P3D', '#9aa7c7', 'p'),
    'r3d': ('R3D', '#4b3aa8', '*'),
    'mc3': ('MC3', '#6cc4ee', 'D'),
    'r2plus1d': ('R(2+1)D', '#b86fa8', 'd'),
}
_LINES = (
    '-',
    '--',
    ':',
    '-.',
    (0, (1, 4)),
    (0, (8, 3)),
    (0, (5, 1, 1, 1)),
    (0, (3, 1, 1, 1, 1, 1)),
)
# Of names that stand in no table.
_OTHERS = ('#0064c8', '#d55e00', '#1b1f6b', '#6cc4ee', '#88305f', '#f0b000', '#b86fa8', '#a08a50')
_MARKERS = 'osD^v<>PX*'


class Style(NamedTuple):
    """How something is called and drawn.

    Attributes:
      label: its name in the text.
      color: of lines and bars, '#rrggbb'.
      marker: of single points, as matplotlib calls it.
      line: between them, as matplotlib calls it.
      emphasized: whether it stands out: E3D-LSTM and the forms of this project.
    """

    label: str
    color: str
    marker: str
    line: Any = '-'
    emphasized: bool = False

    @property
    def of_line(self) -> dict[str, Any]:
        """What `Axes.plot` takes."""
        return {
            'label': self.label,
            'color': self.color,
            'marker': self.marker,
            'linestyle': self.line,
            'markersize': 5 if self.emphasized else 4,
            'linewidth': 2.4 if self.emphasized else 1.2,
            'zorder': 3 if self.emphasized else 2,
        }


def label_of(name: str) -> str:
    """The name in the text of a model, or of an entry of a study; what is not known stays as it is.

    What follows a known name stands behind a comma: `predrnn_1e-2`, of another learning rate, is
    'PredRNN, rate 1e-2', and the seed of an entry stays where it is.
    """
    known, rest = _parts(name)
    if not known:
        return name
    rest = re.sub(r'^(?=\d+e-\d+$)', 'rate ', rest.replace('_', ' '))
    return ', '.join(filter(None, [_TABLE[known][0], rest]))


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """How to draw models or entries together, in the order of their names.

    Names that begin alike, as 'predrnn' and 'predrnn_1e-2', have one color and different lines, the
    bare name always the same.
    """
    ordered = list(names)
    styles: dict[str, Style] = {}
    drawn: dict[str, int] = {}
    others = 0
    for name in sorted(ordered, key=lambda name: bool(_parts(name)[1])):
        known, _ = _parts(name)
        if known:
            _, color, marker = _TABLE[known]
            rounds, place = divmod(drawn.get(color, 0), len(_LINES))
            line = _LINES[place]
            if rounds:
                marker = _MARKERS[(_MARKERS.find(marker) + rounds) % len(_MARKERS)]
            drawn[color] = drawn.get(color, 0) + 1
        else:
            color, marker = _OTHERS[others % len(_OTHERS)], _MARKERS[others % len(_MARKERS)]
            line = _LINES[others // len(_OTHERS) % len(_LINES)]
            others += 1
        styles[name] = Style(label_of(name), color, marker, line, known in EMPHASIZED)
    return {name: styles[name] for name in ordered}


def simple_styles(labels: Iterable[str]) -> dict[str, Style]:
    """How to draw forecasts that need no learning: gray, by lines."""
    return {
        label: Style(label, SIMPLE_COLOR, '', SIMPLE_DASHES[place % len(SIMPLE_DASHES)])
        for place, label in enumerate(labels)
    }


def _parts(name: str) -> tuple[str, str]:
    """The longest known name that a name begins with, and the rest; ('', name) if there is none."""
    name, comma, setting = name.partition(',')
    words = name.split('_')
    for count in range(len(words), 0, -1):
        known = '_'.join(words[:count])
        if known in _TABLE:
            return known, ', '.join(filter(None, ['_'.join(words[count:]), setting]))
    return '', f'{name}{comma}{setting}'
