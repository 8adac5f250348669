"""Runs what is missing of experiments/study.py and writes its tables and curves.

    python -m benchmarks.study
    python -m benchmarks.study --only 'brief/*,seed=0' 'copy/predrnn,*'
    python -m benchmarks.study --only 'brief/predrnn,seed=1' --again

Every run takes minutes on two CPU cores. It may be stopped and started again: a run goes on from its
checkpoint, and the numbers of a finished one are kept in results/study.json, so that it is not
run again on another machine either. With `--again` it is, where no finished run lies in its folder,
and its new numbers are kept. After each run what stands between marks in results/forecasting.md
and memory.md, and the pictures results/study*.png, are written again, from the kept numbers and the
costs of `benchmarks.study_costs`. `benchmarks.report` writes RESULTS.md.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks import finished_runs, study_pictures, study_tables
from benchmarks.finished_runs import ROOT
from benchmarks.study_tables import SIMPLE
from e3d.sweep.entries import Entry
from experiments.study import CONVERGED_RATES, RATES

NUMBERS = ROOT / 'results' / 'study.json'
COSTS = ROOT / 'results' / 'costs.json'


class Study(NamedTuple):
    """One form of the experiment.

    Attributes:
      flag: of its config.
      heading: of its table.
      reference: the model that the others are compared with; where it is none of them, that of plain
        forecasting.
      paper: the MSE of the paper's tables 1 and 2, by name.
      page: of results/ that has its section.
    """

    flag: str
    heading: str
    reference: str = ''
    paper: Mapping[str, float] = {}
    page: str = 'forecasting'


STUDIES = {
    'forecast': Study(
        'experiments/study.py',
        'Moving MNIST, one digit on 32 x 32, 5 frames to 5, 400 updates at a rate of 3e-3',
        'e3d_lstm',
        {
            'e3d_lstm': 41.3,
            'without_3d_convolutions': 44.2,
            'without_attention': 45.7,
            '3d_cnn_at_bottom': 50.6,
            '3d_cnn_on_top': 53.4,
            'convlstm': 96.5,
            'predrnn': 56.5,
            'predrnn_plus_plus': 46.3,
        },
    ),
    'rivals': Study(
        'experiments/study.py:rivals',
        'The other models of table 1, and newer ones, 400 updates at a rate of 3e-3',
        'e3d_lstm',
        {'dfn': 89.0, 'cdna': 84.2, 'frnn': 68.4, 'vpn_baseline': 64.1},
    ),
    'rates': Study('experiments/study.py:rates', 'MSE on the validation split after 200 updates'),
    'final_rates': Study(
        'experiments/study.py:final_rates', 'MSE on the validation split after 1,000 updates'
    ),
    'tuned': Study(
        'experiments/study.py:tuned',
        'Each model at its own rate, 400 updates',
        'e3d_lstm',
    ),
    'converged': Study(
        'experiments/study.py:converged',
        'Each model at its own rate, 10,000 updates',
        'predrnn',
    ),
    'copy': Study(
        'experiments/study.py:copy',
        'Copy test, one digit on 32 x 32, 3 frames to 3 after a context of 6 and 6 unrelated frames',
        'e3d_lstm',
        {'e3d_lstm': 56.8, 'predrnn': 80.3, 'convlstm': 143.2},
        page='memory',
    ),
    'brief': Study(
        'experiments/study.py:brief',
        'Copy test, 1 frame to 5, a digit of 8 pixels on 16 x 16, 600 updates',
        'predrnn',
        page='memory',
    ),
    'lengths': Study(
        'experiments/study.py:lengths',
        'Copy test, 1 frame to 5, by the number of unrelated frames in between',
        page='memory',
    ),
    'recall': Study(
        'experiments/study.py:recall',
        'Copy test, 1 frame to 5, on 32 x 32, 2,500 updates',
        'predrnn',
        page='memory',
    ),
    'large': Study(
        'experiments/study.py:large',
        'Moving MNIST, two digits on 64 x 64, 10 frames to 10, 12 million parameters, 2,400 updates',
        'e3d_lstm',
        {'e3d_lstm': 41.3, 'predrnn': 56.5},
    ),
}
EXPERIMENTS = {name: study.flag for name, study in STUDIES.items()}
# Of many models one picture would be a tangle. The first has the forms of E3D-LSTM and its ablations
# beside PredRNN, the second the other models beside E3D-LSTM.
OTHERS = (
    'predrnn', 'predrnn_plus_plus', 'convlstm', 'gsta', 'tau', 'cdna', 'frnn', 'vpn_baseline', 'dfn',
)  # fmt: skip
PICTURES = {
    'converged': {
        '': (*(name for name in CONVERGED_RATES if name not in OTHERS), 'predrnn'),
        '_others': ('e3d_lstm', *OTHERS),
    }
}
SHORTEST = 6  # unrelated frames of `:brief`


def main():
    """Runs and writes."""
    finished_runs.complete(
        __doc__, NUMBERS, EXPERIMENTS, pathlib.Path('runs/study'), measure, write
    )


def measure(entry: Entry, workdir: pathlib.Path) -> dict[str, Any]:
    """The numbers of a finished run."""
    return finished_runs.measure_forecasts(entry, workdir, ('mse', 'ssim', 'psnr'), SIMPLE)


def write(numbers: finished_runs.Numbers) -> None:
    """Writes the tables and the pictures."""
    costs = json.loads(COSTS.read_text('utf-8')) if COSTS.exists() else {}
    for name, study in STUDIES.items():
        page = NUMBERS.with_name(f'{study.page}.md')
        finished_runs.write_section(page, name, section(name, numbers, costs))
    finished_runs.write_section(NUMBERS.with_name('forecasting.md'), 'time', times(numbers, costs))


def section(name: str, numbers: finished_runs.Numbers, costs: Mapping[str, Any]) -> list[str]:
    """The parts of a study's section in Markdown; draws its pictures."""
    study, known = STUDIES[name], numbers[name]
    head = f'## {study.heading}\n'
    if not known['entries']:
        return [head, f'{study_tables.NOT_RUN}\n']
    if name in ('rates', 'final_rates'):
        return [head, study_tables.rates_table(known, RATES)]
    picture = NUMBERS.with_name(f'study_{name}.png')
    if name == 'lengths':
        runs = study_tables.by_length(known, numbers['brief'], SHORTEST)
        any_run = next(iter(known['entries'].values()))
        study_pictures.draw_lengths(runs, any_run['mean_image']['mse'], picture)
        return [head, study_tables.lengths_table(runs), f'![MSE by length]({picture.name})\n']
    runs = study_tables.in_order(known)
    of_these = costs.get(name, {})
    other = runs if study.reference in runs else study_tables.in_order(numbers['forecast'])
    reference = study.reference, other.get(study.reference, {})
    parts = [head, study_tables.models_table(runs, of_these, reference, study.paper)]
    parts += finished_runs.of_devices(runs)
    for suffix, models in PICTURES.get(name, {'': runs}).items():
        picture = NUMBERS.with_name(f'study_{name}{suffix}.png')
        drawn = {model: runs[model] for model in models if model in runs}
        study_pictures.draw_models(drawn, picture)
        parts.append(f'![MSE by step and by frame]({picture.name})\n')
    return parts


def times(numbers: finished_runs.Numbers, costs: Mapping[str, Any]) -> list[str]:
    """The section that compares all forecasters at equal time; draws its picture."""
    of_all = numbers['forecast']['entries'] | numbers['rivals']['entries']
    runs = study_tables.in_order({'entries': of_all})
    together = costs.get('forecast', {}) | costs.get('rivals', {})
    head, table = '## At equal time\n', study_tables.equal_time_table(runs, together)
    if not table:
        return [head, f'{study_tables.NOT_RUN}\n']
    picture = NUMBERS.with_name('study_time.png')
    study_pictures.draw_times(runs, together, picture)
    return [head, table, f'![MSE by seconds]({picture.name})\n']


if __name__ == '__main__':
    main()
