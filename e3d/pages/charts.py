"""Curves as SVG that stands in a page: drawn here, so that they show without any program."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from matplotlib.ticker import LogLocator, MaxNLocator

from e3d.evaluation.styles import Style

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 26, 42
MOST_POINTS = 400
# What SVG has for the lines and markers of matplotlib.
_DASHES = {'--': '6 3', ':': '1.5 3', '-.': '7 3 1.5 3'}
_MARKERS = {
    'o': '<circle cx="{x}" cy="{y}" r="{r}"/>',
    's': '<path d="M{x} {y}m-{r}-{r}h{d}v{d}h-{d}z"/>',
    'D': '<path d="M{x} {y}m0-{r}l{r} {r}l-{r} {r}l-{r}-{r}z"/>',
    '^': '<path d="M{x} {y}m0-{r}l{r} {d}h-{d}z"/>',
    'v': '<path d="M{x} {y}m0 {r}l{r}-{d}h-{d}z"/>',
}


class Line(NamedTuple):
    """A curve.

    Attributes:
      style: how it is called and drawn.
      places: along x, ascending.
      values: along y; what is not finite is left out.
      spread: half the height of the bar at each place; () for none.
    """

    style: Style
    places: Sequence[float]
    values: Sequence[float]
    spread: Sequence[float] = ()


def chart(
    title: str, x_label: str, y_label: str, lines: Sequence[Line], logarithmic: bool = False
) -> str:
    """Draws curves over common axes; '' where there is nothing to draw.

    Args:
      title: above.
      x_label: below, with the unit.
      y_label: beside the title, with the unit; '' for none.
      lines: later ones lie above earlier ones.
      logarithmic: along y, where all values are above 0.
    """
    lines = [kept for line in lines if (kept := _drawable(line)).places]
    if not lines:
        return ''
    logarithmic = logarithmic and all(min(line.values) > 0 for line in lines)
    x_low, x_high = _range([x for line in lines for x in line.places])
    if logarithmic:
        y_low, y_high = _range([math.log10(y) for line in lines for y in line.values])
    else:
        y_low, y_high = _range([end for line in lines for end in _ends(line)])

    def at(x: float, y: float) -> tuple[float, float]:
        height = math.log10(y) if logarithmic else y
        return (
            round(LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT), 1),
            round(
                HEIGHT - BOTTOM - (height - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM), 1
            ),
        )

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text class="title" x="{LEFT}" y="15">{escape(title)}</text>',
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escape(x_label)}</text>',
    ]
    if y_label:
        parts.append(f'<text x="{WIDTH - RIGHT}" y="15" text-anchor="end">{escape(y_label)}</text>')
    for y in _ticks(y_low, y_high, logarithmic):
        _, height = at(x_low, y)
        parts.append(f'<path class="grid" d="M{LEFT} {height}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4}" text-anchor="end">{y:.4g}</text>')
    for x in _ticks(x_low, x_high, whole=True):
        place, _ = at(x, 10**y_low if logarithmic else y_low)
        parts.append(f'<path class="grid" d="M{place} {TOP}V{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text x="{place}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{x:,.6g}</text>'
        )
    for line in lines:
        parts += _drawn(line, at)
    return ''.join([*parts, '</svg>'])


def legend(styles: Sequence[Style]) -> str:
    """The names of curves, with their lines."""
    entries = []
    for style in styles:
        sample = ''.join(_drawn(Line(style, (0, 1), (0, 0)), lambda x, _: (2 + 26 * x, 7.0)))
        name = escape(style.label)
        strong = f'<strong>{name}</strong>' if style.emphasized else name
        entries.append(
            f'<li><svg viewBox="0 0 30 14" aria-hidden="true">{sample}</svg>{strong}</li>'
        )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _drawn(line: Line, at: Callable[[float, float], tuple[float, float]]) -> list[str]:
    """A curve, its bars and markers."""
    style = line.style
    points = [at(x, y) for x, y in zip(line.places, line.values, strict=True)]
    if isinstance(style.line, str):
        dashes = _DASHES.get(style.line, '')
    else:
        dashes = ' '.join(map(str, style.line[1]))
    path = 'M' + 'L'.join(f'{x} {y}' for x, y in points)
    width = 2.6 if style.emphasized else 1.7
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ''
    parts = [
        f'<g fill="{style.color}" stroke="{style.color}">',
        f'<path d="{path}" fill="none" stroke-width="{width}"{dashed}/>',
    ]
    for x, y, half in zip(line.places, line.values, line.spread, strict=False):
        (place, top), (_, bottom) = at(x, y + half), at(x, y - half)
        parts.append(
            f'<path d="M{place} {top}V{bottom}M{place - 3} {top}h6M{place - 3} {bottom}h6"/>'
        )
    if style.marker and len(points) <= 40:
        radius = 3.2 if style.emphasized else 2.6
        marker = _MARKERS.get(style.marker, _MARKERS['o'])
        parts += [marker.format(x=x, y=y, r=radius, d=2 * radius) for x, y in points]
    return [*parts, '</g>']


def _drawable(line: Line) -> Line:
    """What can be drawn of a curve: finite values, and no more points than can be told apart."""
    spread = line.spread or [0.0] * len(line.values)
    kept = [
        point
        for point in zip(line.places, line.values, spread, strict=True)
        if all(isinstance(value, int | float) and math.isfinite(value) for value in point)
    ]
    if len(kept) > MOST_POINTS:
        every = (len(kept) - 1) / (MOST_POINTS - 1)
        kept = [kept[round(place * every)] for place in range(MOST_POINTS)]
    places, values, spread = map(list, zip(*kept, strict=True)) if kept else ([], [], [])
    return Line(line.style, places, values, spread if line.spread else ())


def _ends(line: Line) -> list[float]:
    spread = line.spread or [0.0] * len(line.values)
    return [
        y + sign * half for y, half in zip(line.values, spread, strict=True) for sign in (-1, 1)
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Least and largest, with a little room."""
    low, high = min(values), max(values)
    room = 0.04 * (high - low) or 0.5 * max(abs(high), 1e-3)
    return low - room, high + room


def _ticks(low: float, high: float, logarithmic: bool = False, whole: bool = False) -> list[float]:
    """Round numbers between two ends."""
    if logarithmic:
        found = LogLocator(subs=(1.0, 2.0, 5.0)).tick_values(10**low, 10**high)
        return [y for y in map(float, found) if low <= math.log10(y) <= high][:8]
    found = MaxNLocator(5, integer=whole).tick_values(low, high)
    return [x for x in map(float, found) if low <= x <= high]
