"""The parts of a page as HTML. What comes from users, names, paths and values, is escaped here."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib import colormaps

from e3d.options.rules import shown_value

MOST_CLASSES = 50  # of a confusion matrix with numbers


def heading(level: int, text: str) -> str:
    """A heading."""
    return f'<h{level}>{escape(text)}</h{level}>'


def paragraph(text: str, kind: str = '') -> str:
    """A paragraph; '' for none."""
    return f'<p{f" class={kind!r}" if kind else ""}>{escape(text)}</p>' if text else ''


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], strong: Sequence[int] = (), kind: str = ''
) -> str:
    """A table.

    Args:
      head: of the columns.
      rows: cells as text.
      strong: numbers of the rows that stand out.
      kind: its class.
    """
    lines = [f'<div class="wide"><table class="{kind}"><thead><tr>']
    lines += [f'<th scope="col">{escape(cell)}</th>' for cell in head]
    lines.append('</tr></thead><tbody>')
    for number, row in enumerate(rows):
        lines.append('<tr class="strong">' if number in strong else '<tr>')
        lines += [f'<td>{escape(cell)}</td>' for cell in row]
        lines.append('</tr>')
    return ''.join([*lines, '</tbody></table></div>'])


def config_table(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """The keys of configs, by the names of runs; where there are several, what differs is marked."""
    keys = list(dict.fromkeys(key for config in configs.values() for key in config))
    lines = ['<div class="wide"><table class="config"><tbody>']
    if len(configs) > 1:
        lines.append(f'<tr><th></th>{"".join(f"<th>{escape(name)}</th>" for name in configs)}</tr>')
    for key in keys:
        cells = [shown_value(config[key]) if key in config else '' for config in configs.values()]
        kind = ' class="differs"' if len(set(cells)) > 1 else ''
        lines.append(f'<tr{kind}><td>{escape(key)}</td>')
        lines += [f'<td>{escape(cell)}</td>' for cell in cells]
        lines.append('</tr>')
    lines.append('</tbody></table></div>')
    return f'<details><summary>Config</summary>{"".join(lines)}</details>'


def confusion_matrix(counts: Sequence[Sequence[int]], names: Sequence[str], title: str) -> str:
    """A confusion matrix with numbers, true classes in the rows; colors are shares of the row."""
    if len(names) > MOST_CLASSES:
        return paragraph(f'{title}: {len(names)} classes, too many to be drawn here.')
    head = ''.join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    lines = [f'<div><h3>{escape(title)}</h3><div class="wide"><table class="confusion">']
    lines.append(f'<thead><tr><th>true, recognized as</th>{head}</tr></thead><tbody>')
    for name, row in zip(names, counts, strict=True):
        total = max(1, sum(row))
        lines.append(f'<tr><th scope="row">{escape(name)}</th>')
        for count in row:
            share = count / total
            deep = ' class="deep"' if share > 0.55 else ''
            color = hex_color('Blues', share)
            lines.append(f'<td{deep} style="background:{color}">{int(count)}</td>')
        lines.append('</tr>')
    lines.append('</tbody></table></div></div>')
    return ''.join(lines)


def color_bar(colors: str, low: str, high: str, label: str) -> str:
    """A bar of colors with what its ends stand for.

    Args:
      colors: name of a color map of matplotlib.
      low: at the left end.
      high: at the right end.
      label: above.
    """
    stops = ','.join(hex_color(colors, place / 8) for place in range(9))
    return (
        f'<div>{escape(label)}<i style="background:linear-gradient(90deg,{stops})"></i>'
        f'<span><b>{escape(low)}</b><b>{escape(high)}</b></span></div>'
    )


def player() -> str:
    """What plays the sequences, and the place where page.js puts them."""
    speeds = ''.join(
        f'<option value="{speed}"{" selected" * (speed == 1)}>{speed:g} &times;</option>'
        for speed in (0.25, 0.5, 1, 2, 4)
    )
    return (
        '<div class="player"><button id="play" type="button">Play</button>'
        '<button id="back" type="button" aria-label="one frame back">◀</button>'
        '<button id="next" type="button" aria-label="one frame on">▶</button>'
        '<input id="place" type="range" min="0" value="0" aria-label="frame">'
        f'<select id="speed" aria-label="speed">{speeds}</select>'
        '<output id="time"></output></div><div id="sequences"></div>'
        '<noscript><p>The animations need JavaScript.</p></noscript>'
    )


def hex_color(colors: str, place: float) -> str:
    """The color of a color map of matplotlib at a place from 0 to 1, '#rrggbb'."""
    red, green, blue, _ = colormaps[colors](place, bytes=True)
    return f'#{red:02x}{green:02x}{blue:02x}'


def hex_colors(colors: str, count: int) -> list[str]:
    """A color map of matplotlib in so many steps, 'rrggbb' each; of an odd number one is its middle."""
    steps = colormaps[colors].resampled(count)(range(count), bytes=True)
    return [f'{red:02x}{green:02x}{blue:02x}' for red, green, blue, _ in steps.tolist()]
