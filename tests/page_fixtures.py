"""Contents of pages as runs leave them, made without training."""

import json

import numpy as np

from e3d.configuration import load_config
from e3d.data.sources.scales import PIXELS, Scale
from e3d.evaluation.shown import Shown
from e3d.options.flat import flatten
from e3d.pages.content import Content, samples_of
from e3d.pages.document import render

HOSTILE = '</script><script>alert(1)</script><img src=http://x.example onerror=alert(1)>"\'&'


def shown_sequence(channels=1, seed=0, frames=6, size=(8, 6), title='sequence 0', valid=None):
    """Four frames that are seen, and a forecast of those that follow, which is off by 0.1."""
    values = np.random.default_rng(seed).random((frames, *size, channels), np.float32) * 0.8
    observed = np.ones(4, bool)
    return Shown(title, seed, values, observed, values[4:] + np.float32(0.1), valid)


def forecast_report(mse=3.0):
    """As `e3d.evaluation.evaluate.evaluate` gives it, in short."""
    means = {'mse': mse, 'mse_per_frame': [mse - 1, mse + 1], 'psnr': 20.0}
    baseline = {'mse': 5.0, 'mse_per_frame': [4.0, 6.0], 'psnr': 18.0}
    head = {'step': 4, 'protocol': 'moving_mnist test 5 -> 5', 'num_sequences': 3}
    return {**head, **means, 'last_frame': baseline}


def recognition_report(names=('boxing', 'waving')):
    """As that of a recognizer, in short."""
    return {
        'step': 4, 'protocol': 'clips test', 'num_sequences': 4, 'classes': list(names),
        'fractions': [0.5, 1.0], 'curve': [0.5, 0.75], 'accuracy_50': 0.5, 'accuracy_100': 0.75,
        'confusion': {'50': [[1, 1], [1, 1]], '100': [[2, 0], [1, 1]]},
    }  # fmt: skip


def make_content(folder='run', report=None, shown=None, scale=PIXELS, channels=(), **keys):
    """A run of the quickstart's config, with other values by 'section__key'."""
    config = flatten(load_config('quickstart:small'))
    config |= {key.replace('__', '.'): value for key, value in keys.items()}
    report = report or forecast_report()
    lines = [{'step': step, 'split': 'train', 'loss': 1.0 / step} for step in range(1, 5)]
    lines += [{'step': step, 'split': 'validation', 'mse': 9.0 - step} for step in (2, 4)]
    shown = [shown_sequence()] if shown is None else shown
    classes = report.get('classes', ())
    return Content(folder, config, report, lines, samples_of(shown, scale, channels, classes))


def recognition_content(names=('boxing', 'waving'), **keys):
    """A run of a recognizer."""
    frames = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    chances = np.array([[0.4, 0.6], [0.9, 0.1]])
    clip = Shown('clip 0', 0, frames, np.ones(4, bool), None, None, chances, [2, 4], 0)
    return make_content(report=recognition_report(names), shown=[clip], **keys)


def write_run(folder, **options):
    """The files of a finished run, without checkpoints."""
    content = make_content(folder.name, **options)
    folder.mkdir(parents=True)
    config = load_config('quickstart:small')
    config.update_from_flattened_dict(content.config)
    (folder / 'config.json').write_text(json.dumps(config.to_dict()))
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in content.lines))
    (folder / 'evaluation.json').write_text(json.dumps(content.report))
    (folder / 'report.html').write_text(render([content]), encoding='utf-8')


RAIN = Scale((0.0, 70.0), (0.0, np.inf), unit='mm/h')
