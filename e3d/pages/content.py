"""What a page tells of a run, and what can be read back of a page."""

import contextlib
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from e3d.data.sources.scales import UNNAMED_UNIT, Scale
from e3d.errors import InputError
from e3d.evaluation.shown import Shown
from e3d.evaluation.strips import largest_difference
from e3d.files import read_bytes, read_json
from e3d.options.flat import flatten
from e3d.pages.sprites import sequence_data
from e3d.runs.fingerprint import Fingerprint, read_fingerprint
from e3d.runs.reporting import METRICS_FILE, read_lines
from e3d.runs.workdir import CHECKPOINTS_FOLDER, CONFIG_FILE, read_config, resolve_workdir
from e3d.tasks.evaluator import REPORT_NAME

PAGE_FILE = 'report.html'
REPORT_FILE = f'{REPORT_NAME}.json'
MAX_BYTES = 3_000_000  # of a page of one run
MAX_READ = 2**24  # of a page or a report that is read
# The longer side of a frame, at most: the first with which the sequences seem to fit, or the last.
SIDES = (128, 80, 48)
# What is left for the sequences beside the tables and curves of a page.
SEQUENCE_BYTES = 2_000_000
_DATA = re.compile(rb'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
_BASE64 = re.compile(r'[A-Za-z0-9+/]*={0,2}')


class Content(NamedTuple):
    """What a page tells of a run.

    Attributes:
      folder: its name.
      config: by 'section.key'.
      report: of its evaluation.
      lines: of its metrics.jsonl.
      samples: what `samples_of` gave.
      data: what tells its data from others; None where that is not known.
      begun_from: the config of the run whose parameters it began with, by 'section.key'; None where
        it began with none, or that run is not at hand.
    """

    folder: str
    config: Mapping[str, Any]
    report: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    samples: Mapping[str, Any]
    data: Fingerprint | None = None
    begun_from: Mapping[str, Any] | None = None

    @property
    def unit(self) -> str:
        """The unit of its data, in which RMSE and CRPS are; '' where none is stated."""
        unit = self.report.get('unit') or self.samples.get('unit') or ''
        return '' if unit == UNNAMED_UNIT else unit


class Inside(NamedTuple):
    """What --mode=inspect drew of a run.

    Attributes:
      pictures: captions and PNG in base64.
      step: of the checkpoint that was looked into; None where that is not known.
    """

    pictures: Sequence[tuple[str, str]] = ()
    step: int | None = None


NOT_INSPECTED = Inside()


def stated_units(contents: Sequence[Content]) -> list[str]:
    """The units that runs state, each once: of several, errors cannot be compared."""
    return list(dict.fromkeys(content.unit for content in contents if content.unit))


def common_unit(contents: Sequence[Content]) -> str:
    """What to call the unit of all."""
    units = {content.unit for content in contents}
    return units.pop() or UNNAMED_UNIT if len(units) == 1 else UNNAMED_UNIT


def samples_of(
    shown: Sequence[Shown],
    scale: Scale,
    channels: Sequence[str] = (),
    classes: Sequence[str] = (),
    most_bytes: int = SEQUENCE_BYTES,
) -> dict[str, Any]:
    """Sequences as a page holds them, as many as fit.

    Args:
      shown: the most important first.
      scale: what their values stand for.
      channels: names of the channels, where they have any.
      classes: names of the classes, where they have any.
      most_bytes: that they may take.

    Returns:
      'sequences', see `sequence_data`; 'left_out', how many did not fit; 'limit', the largest
      difference of a forecast from the truth; 'black' and 'white', 0 and 1, or the least and the
      largest value where these go beyond; 'colored', whether a single channel is drawn in colors;
      'unit', 'low' and 'high', what 0 and 1 stand for in the unit of the data, None where no factor
      leads there; 'channels' and 'classes'.
    """
    side = next((side for side in SIDES if _fits(shown, side, most_bytes)), SIDES[-1])
    sequences = [sequence_data(one, side, bool(channels)) for one in shown]
    total = np.cumsum([len(json.dumps(one)) for one in sequences])
    fitting = int(np.sum(total <= most_bytes))
    sequences, left_out = sequences[:fitting], len(shown) - fitting
    limit = max([0.01, *(_largest_difference(one, channels) for one in shown[:fitting])])
    black = min([0.0, *(one['truth']['low'] for one in sequences)])
    white = max([1.0, *(one['truth']['high'] for one in sequences)])
    low, high = scale.value_range if scale.is_linear and scale.value_range else (None, None)
    return {
        'sequences': sequences,
        'left_out': left_out,
        'limit': limit,
        'black': black,
        'white': white,
        'colored': scale.value_range is not None,
        'unit': (scale.unit or UNNAMED_UNIT) if scale.is_linear else '',
        'low': low,
        'high': high,
        'channels': list(channels),
        'classes': list(classes),
    }


def read_content(workdir: pathlib.Path) -> Content:
    """What a finished run tells: its config, metrics and report, and the samples of its page.

    Raises:
      InputError: it was not evaluated, or a file cannot be read.
    """
    report_path = workdir / REPORT_FILE
    if not report_path.exists():
        raise InputError(
            f'{workdir} has no {REPORT_FILE}: give folders of runs that are finished, or evaluate '
            f'it with --mode=evaluate --workdir={workdir}.'
        )
    report = read_json(report_path, MAX_READ)
    if not isinstance(report, dict) or 'protocol' not in report:
        raise InputError(f'{report_path} cannot be read: it is not the report of an evaluation.')
    config = flatten(read_config(workdir / CONFIG_FILE))
    page = workdir / PAGE_FILE
    samples = read_samples(page) if page.exists() else samples_of([], Scale())
    lines, data = read_lines(workdir / METRICS_FILE), read_fingerprint(workdir / CHECKPOINTS_FOLDER)
    begun_from = _read_beginning(config['init_from'])
    return Content(workdir.resolve().name, config, report, lines, samples, data, begun_from)


def _read_beginning(init_from: str) -> Mapping[str, Any] | None:
    """The config of a run that `init_from` names; None of weights, or where it cannot be read."""
    with contextlib.suppress(InputError):
        if init_from and (path := resolve_workdir(init_from) / CONFIG_FILE).is_file():
            return flatten(read_config(path))
    return None


def read_samples(path: pathlib.Path) -> dict[str, Any]:
    """The samples of a page, checked: a page may come from anyone.

    Raises:
      InputError: it is not a page of one run.
    """
    match = _DATA.search(read_bytes(path, MAX_READ))
    try:
        if match is None:
            raise ValueError('it holds no data')
        samples = json.loads(match[1])
        for name in ('limit', 'white'):
            if not 0 < float(samples[name]) < np.inf:
                raise ValueError(f'{name} is {samples[name]}')
        if not -np.inf < float(samples.get('black', 0)) <= 0:  # an earlier version has none
            raise ValueError(f'black is {samples["black"]}')
        for sequence in samples['sequences']:
            (forecast,) = sequence['forecasts']
            for one in (sequence['truth'], forecast):
                if not _BASE64.fullmatch(one.get('png', '')):
                    raise ValueError('a picture is not in base64')
            _ = (
                sequence['title'],
                sequence['times'],
                sequence['size'],
                sequence['index'],
                sequence['key'],
            )
        return samples
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{path} cannot be read as the page of a run: {error}.') from error


def _fits(shown: Sequence[Shown], side: int, most_bytes: int) -> bool:
    """Whether sequences fit, judged by the first, as making all of them small takes time."""
    return not shown or len(shown) * len(json.dumps(sequence_data(shown[0], side))) <= most_bytes


def _largest_difference(shown: Shown, channels: Sequence[str]) -> float:
    if shown.prediction is None:
        return 0.0
    known = True if shown.valid is None else shown.valid
    return largest_difference(np.where(known, shown.frames, np.nan), shown.prediction, channels)
