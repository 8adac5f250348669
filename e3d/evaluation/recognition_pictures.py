"""Early recognition in pictures: accuracy by the part seen, confusion, what clips are taken for."""

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e3d.evaluation.figures import add_legend, save_figure
from e3d.evaluation.pictures import as_colors
from e3d.evaluation.recognition import FRACTIONS, TOP, parts_of
from e3d.evaluation.styles import SIMPLE_COLOR, styles_of

MOST_NAMED = 20  # classes of a confusion matrix that are named, and counted in the picture
SHOWN_CLASSES, SHOWN_FRAMES = 3, 4  # with bars; of the part of a clip that was seen
TRUE, OTHER = '#2c7bb6', '#a9adb5'  # bars of the true class and of others
_LONGEST, _FRONT = 22, 8  # letters of the name of a class; of its front where it differs later


def write_recognition(
    report: Mapping[str, Any], paths: Sequence[str | os.PathLike[str]], model: str = 'model'
) -> None:
    """Draws the accuracy by the fraction observed, and the confusion at those with a name.

    Args:
      report: see `e3d.evaluation.recognition.recognition_report`.
      paths: of the picture; the suffixes tell the kinds (.png, .svg, .pdf).
      model: name of the model.
    """
    parts = parts_of(report['fractions'])
    figure = Figure(figsize=(3.75 * (1 + len(parts)), 4.8), dpi=110, layout='compressed')
    curve, *tables = figure.subplots(1, 1 + len(parts))
    observed, accuracy = (100 * np.array(report[name]) for name in ('fractions', 'curve'))
    style = styles_of([model])[model]
    curve.plot(observed, accuracy, **style.of_line)
    chance = 100 / len(report['classes'])
    curve.axhline(chance, color=SIMPLE_COLOR, linestyle=':')
    curve.text(2, chance - 1, 'guessing', color=SIMPLE_COLOR, fontsize=8, va='top')
    curve.set(xlabel='observed (% of the clip)', ylabel='top-1 accuracy (%)', title=style.label)
    curve.set(xlim=(0, 103), ylim=(0, 103))
    curve.grid(alpha=0.25)
    for number, (axes, part) in enumerate(zip(tables, parts, strict=True)):
        image = _draw_confusion(axes, report['confusion'][part], report['classes'], not number)
        axes.set_title(f'{part} % of the clip')
    figure.colorbar(image, ax=tables, label='share of the clips of a class', shrink=0.7)
    save_figure(figure, paths)


def _draw_confusion(
    axes: Axes, confusion: Sequence[Sequence[int]], classes: Sequence[str], named: bool
) -> Any:
    """Draws a confusion matrix, true classes in the rows, with numbers where there is room."""
    counts = np.array(confusion, float)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    image = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
    axes.set(xlabel='recognized as', ylabel='true class' if named else None)
    if len(classes) > MOST_NAMED:
        return image
    places, names = range(len(classes)), short_names(classes)
    size = 8 if len(classes) <= 12 else 6
    axes.set_xticks(places, names, rotation=90, fontsize=size)
    axes.set_yticks(places, names if named else [''] * len(names), fontsize=size)
    for row in places:
        for column in places:
            color = 'white' if shares[row, column] > 0.55 else '#303030'
            text = f'{int(counts[row, column])}'
            axes.text(column, row, text, ha='center', va='center', color=color, fontsize=size)
    return image


def draw_confidences(
    paths: Sequence[str | os.PathLike[str]],
    frames: np.ndarray,
    probabilities: np.ndarray,
    lengths: np.ndarray,
    label: int,
    names: Sequence[str],
    fractions: Sequence[float] = FRACTIONS,
) -> None:
    """Draws a clip with what the model takes it for, as in figure 6.

    Args:
      paths: of the picture; the suffixes tell the kinds.
      frames: `[T, H, W, C]` in [0, 1].
      probabilities: `[fractions, classes]`, by the `fractions` that were seen.
      lengths: frames that were seen at each.
      label: the true class; its bars are blue and its name is marked, those of others are gray.
      names: of the classes.
      fractions: of the whole clip, from its front.
    """
    parts = parts_of(fractions)
    figure = Figure(figsize=(10, 3.6), dpi=100, layout='constrained')
    strip, bars = figure.subplots(2, len(parts), squeeze=False)
    short = short_names(names)
    figure.suptitle(f'true class: {names[label]}')
    for column, (part, place) in enumerate(parts.items()):
        seen = lengths[place]
        shown = np.unique(np.linspace(0, seen - 1, SHOWN_FRAMES).round().astype(int))
        strip[column].imshow(_side_by_side(as_colors(frames[shown])))
        numbers = ', '.join(str(1 + i) for i in shown)
        title = f'{part} % of the clip, {seen} frames:\n{numbers}'
        strip[column].set_title(title, size=8)
        strip[column].axis('off')
        order = np.argsort(-probabilities[place], kind='stable')[:SHOWN_CLASSES][::-1]
        called = [short[i] + ' (true)' * bool(i == label) for i in order]
        colors = [TRUE if index == label else OTHER for index in order]
        drawn = bars[column].barh(range(len(order)), probabilities[place][order], color=colors)
        bars[column].bar_label(drawn, fmt='%.2f', padding=2, fontsize=7)
        bars[column].set_yticks(range(len(order)), called)
        bars[column].set(xlim=(0, 1.12), xticks=(0, 0.5, 1))
        bars[column].set_xlabel('probability', size=8)
        bars[column].tick_params(labelsize=7)
        bars[column].spines[['top', 'right']].set_visible(False)
    save_figure(figure, paths)


def draw_recognized(
    path: str | os.PathLike[str],
    frames: np.ndarray,
    names: Sequence[str],
    fractions: Sequence[float],
    lengths: Sequence[int],
    probabilities: np.ndarray,
) -> None:
    """Draws a clip, and how probable its best five classes are by the part that was seen.

    Args:
      path: of the picture; the suffix tells the kind.
      frames: `[T, H, W, C]` in [0, 1].
      names: of the classes.
      fractions: of the whole clip, from its front, ascending.
      lengths: frames that were seen at each; the last one of each is shown.
      probabilities: `[fractions, classes]`.
    """
    figure = Figure(figsize=(8, 4.8), dpi=110, layout='constrained')
    strip, curves = figure.subplots(2, 1, height_ratios=(1, 2.6))
    strip.imshow(_side_by_side(as_colors(frames[np.array(lengths) - 1])))
    strip.set_title(f'frames {", ".join(map(str, lengths))}', size=8)
    strip.axis('off')
    observed = 100 * np.array(fractions)
    best = np.argsort(-probabilities[-1], kind='stable')[:TOP]
    shown = [f'{names[place]}, {100 * probabilities[-1, place]:.1f} %' for place in best]
    for place, (text, style) in zip(best, styles_of(shown).items(), strict=False):
        # The label of a style would be that of a model, where a class is called as one.
        curves.plot(observed, 100 * probabilities[:, place], **style.of_line | {'label': text})
    curves.set(xlabel='observed (% of the clip)', ylabel='probability (%)')
    curves.set(xlim=(0, 103), ylim=(-2, 103))
    curves.grid(alpha=0.25)
    add_legend(figure, curves.lines, loc='outside lower center', ncols=2, fontsize='small')
    save_figure(figure, [path])


def _side_by_side(frames: np.ndarray) -> np.ndarray:
    """`[T, H, W, 3]` to one picture, with white between the frames."""
    gap = max(1, frames.shape[2] // 16)
    padded = np.pad(frames, [(0, 0), (0, 0), (0, gap), (0, 0)], constant_values=255)
    return np.concatenate(padded, axis=1)[:, :-gap]


def short_names(names: Sequence[str]) -> list[str]:
    """Names of classes of at most `_LONGEST` letters, of which different ones stay different.

    A long name keeps its front, and where others have the same front the words from which on it
    differs. What is still alike stays whole.
    """
    shown = {name: _cut(name, _LONGEST) for name in names}
    for name in _alike(shown):
        shown[name] = _from_difference(name, names)
    shown |= {name: name for name in _alike(shown)}
    return [shown[name] for name in names]


def _alike(shown: Mapping[str, str]) -> list[str]:
    """The names for which the same text is shown as for others."""
    counts = Counter(shown.values())
    return [name for name, text in shown.items() if counts[text] > 1]


def _from_difference(name: str, names: Sequence[str]) -> str:
    """The front of a name, and how it goes on from the word that tells it from the one most like it."""
    same = max(_length_alike(name, other) for other in names if other != name)
    room = _LONGEST - _FRONT - 1
    word = name.rfind(' ', same - room // 2, same + 1) + 1 or same
    return f'{name[:_FRONT]}…{_cut(name[min(word, len(name) - room) :], room)}'


def _length_alike(text: str, other: str) -> int:
    pairs = zip(text, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f'{text[: length - 1]}…'
