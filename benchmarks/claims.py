"""What the paper claims and what was measured here: the tables of RESULTS.md and of results/forms.md.

A verdict is made of an interval: a claim holds here where the interval of the difference lies on its
side of 0, it does not where the interval lies on the other, and is open where 0 is within. The interval
is that over three seeds or more, or else that over test sequences, which does not hold what another
seed would change, or over clips, to whose variance that between a model's two seeds is added (Student's
interval by Welch and Satterthwaite); then the verdict says so.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from scipy import stats

from benchmarks import bikenyc_study, recognition_study
from benchmarks.differences import Interval, Seeds, difference
from benchmarks.finished_runs import by_seed
from benchmarks.study_tables import AFTER, row
from e3d.evaluation.intervals import LEVEL
from e3d.evaluation.recognition import FRACTIONS
from e3d.evaluation.styles import label_of

HALF = FRACTIONS.index(0.5)  # of the clip: the later mark of the paper's tables


class Claim(NamedTuple):
    """That one model is better than another.

    Attributes:
      text: what the paper says.
      where: its table.
      study: that was made of it.
      better: name of a model.
      worse: of the one that is said to be worse.
    """

    text: str
    where: str
    study: str
    better: str
    worse: str


def _claims(where: str, study: str, better: str, against: Mapping[str, str]) -> list[Claim]:
    return [Claim(text, where, study, better, worse) for text, worse in against.items()]


ELSEWHERE = 'not in the paper'
FORECASTS = [
    *_claims(
        'Table 1',
        'forecast',
        'e3d_lstm',
        {
            'E3D-LSTM forecasts better than PredRNN++': 'predrnn_plus_plus',
            'E3D-LSTM forecasts better than PredRNN': 'predrnn',
            'E3D-LSTM forecasts better than ConvLSTM': 'convlstm',
        },
    ),
    *_claims(
        'Table 1',
        'rivals',
        'e3d_lstm',
        {
            'E3D-LSTM forecasts better than the VPN baseline': 'vpn_baseline',
            'E3D-LSTM forecasts better than CDNA': 'cdna',
            'E3D-LSTM forecasts better than DFN': 'dfn',
            'E3D-LSTM forecasts better than FRNN': 'frnn',
        },
    ),
    *_claims(
        'Table 2',
        'forecast',
        'e3d_lstm',
        {
            '3D convolutions inside the units help': 'without_3d_convolutions',
            'They help more than a 3D-CNN on top': '3d_cnn_on_top',
            'They help more than one at the bottom': '3d_cnn_at_bottom',
            'The memory attention helps': 'without_attention',
        },
    ),
    *_claims(
        'Table 1',
        'tuned',
        'e3d_lstm',
        {
            'At its own rate E3D-LSTM forecasts better than PredRNN++': 'predrnn_plus_plus',
            'At its own rate E3D-LSTM forecasts better than PredRNN': 'predrnn',
            'At its own rate E3D-LSTM forecasts better than ConvLSTM': 'convlstm',
        },
    ),
    *_claims(
        'Table 2',
        'tuned',
        'e3d_lstm',
        {'At its own rate the memory attention helps': 'without_attention'},
    ),
    *_claims(
        'Table 1',
        'converged',
        'e3d_lstm',
        {
            'After 10,000 updates E3D-LSTM forecasts better than PredRNN++': 'predrnn_plus_plus',
            'After 10,000 updates E3D-LSTM forecasts better than PredRNN': 'predrnn',
            'After 10,000 updates E3D-LSTM forecasts better than ConvLSTM': 'convlstm',
            'After 10,000 updates E3D-LSTM forecasts better than CDNA': 'cdna',
            'After 10,000 updates E3D-LSTM forecasts better than FRNN': 'frnn',
        },
    ),
    *_claims(
        'Table 2',
        'converged',
        'e3d_lstm',
        {
            'After 10,000 updates 3D convolutions inside the units help': 'without_3d_convolutions',
            'After 10,000 updates they help more than a 3D-CNN on top': '3d_cnn_on_top',
            'After 10,000 updates they help more than one at the bottom': '3d_cnn_at_bottom',
            'After 10,000 updates the memory attention helps': 'without_attention',
        },
    ),
    *_claims(
        ELSEWHERE,
        'tuned',
        'refined',
        {
            'At its own rate the refined form forecasts better than PredRNN': 'predrnn',
            'At its own rate the refined form forecasts better than E3D-LSTM': 'e3d_lstm',
        },
    ),
    *_claims(
        ELSEWHERE,
        'tuned',
        'gated',
        {
            'At its own rate the gated form forecasts better than PredRNN': 'predrnn',
            'At its own rate the gated form forecasts better than the refined one': 'refined',
        },
    ),
    *_claims(
        ELSEWHERE,
        'converged',
        'refined',
        {
            'After 10,000 updates the refined form forecasts better than PredRNN': 'predrnn',
            'After 10,000 updates the refined form forecasts better than E3D-LSTM': 'e3d_lstm',
        },
    ),
    *_claims(
        ELSEWHERE,
        'converged',
        'gated',
        {
            'After 10,000 updates the gated form forecasts better than PredRNN': 'predrnn',
            'After 10,000 updates the gated form forecasts better than E3D-LSTM': 'e3d_lstm',
        },
    ),
    *_claims(
        ELSEWHERE,
        'converged',
        'timed',
        {
            'After 10,000 updates the timed form forecasts better than PredRNN': 'predrnn',
            'After 10,000 updates the timed form forecasts better than E3D-LSTM': 'e3d_lstm',
        },
    ),
    *_claims(
        ELSEWHERE,
        'converged',
        'gated_plain',
        {
            'After 10,000 updates the gated form without 3D convolutions is better than with': 'gated',
            'After 10,000 updates without 3D convolutions it is better than PredRNN': 'predrnn',
        },
    ),
    *_claims(
        'Table 1',
        'large',
        'e3d_lstm',
        {'At the size of the paper E3D-LSTM forecasts better than PredRNN': 'predrnn'},
    ),
    *_claims(
        ELSEWHERE,
        'large',
        'gated',
        {
            'At the size of the paper the gated form forecasts better than PredRNN': 'predrnn',
            'At the size of the paper the gated form forecasts better than E3D-LSTM': 'e3d_lstm',
        },
    ),
    *_claims(
        'Table 1',
        'copy',
        'e3d_lstm',
        {
            'In the copy test E3D-LSTM is better than PredRNN': 'predrnn',
            'In the copy test E3D-LSTM is better than ConvLSTM': 'convlstm',
            'In the copy test the memory attention helps': 'without_attention',
        },
    ),
    *_claims(
        'section 3',
        'brief',
        'everywhere',
        {'With one observed frame RECALL as printed helps': 'without_attention'},
    ),
    *_claims(
        'section 3',
        'brief',
        'everywhere_1e-2',
        {'With one observed frame, at 1e-2, it helps': 'without_attention_1e-2'},
    ),
    *_claims(
        ELSEWHERE,
        'brief',
        'in_place',
        {'With one observed frame RECALL in place helps': 'without_attention'},
    ),
    *_claims(
        ELSEWHERE,
        'brief',
        'in_place_1e-2',
        {'With one observed frame, at 1e-2, RECALL in place helps': 'without_attention_1e-2'},
    ),
    *_claims(
        ELSEWHERE,
        'brief',
        'refined_1e-2',
        {
            'With one observed frame the refined form is better than RECALL in place': 'in_place_1e-2',
            'With one observed frame the refined form is better than PredRNN': 'predrnn',
            'With one observed frame the refined form is better than ConvLSTM': 'convlstm',
        },
    ),
    *_claims(
        ELSEWHERE,
        'brief',
        'gated_1e-2',
        {
            'With one observed frame the gated form is better than PredRNN': 'predrnn',
            'With one observed frame the gated form is better than the refined one': 'refined_1e-2',
        },
    ),
    *_claims(
        ELSEWHERE,
        'brief',
        'timed_1e-2',
        {
            'With one observed frame the timed form is better than PredRNN': 'predrnn',
            'With one observed frame the timed form is better than the gated one': 'gated_1e-2',
        },
    ),
    *_claims(
        ELSEWHERE,
        'recall',
        'in_place',
        {
            'With one observed frame on 32 x 32 RECALL in place helps': 'without_attention',
            'With one observed frame on 32 x 32 RECALL in place is better than PredRNN': 'predrnn',
        },
    ),
    *_claims(
        ELSEWHERE,
        'recall',
        'gated_1e-2',
        {'With one observed frame on 32 x 32 the gated form is better than PredRNN': 'predrnn'},
    ),
    *(
        Claim(
            f'After {frames} unrelated frames {text}',
            where,
            'lengths',
            f'{better}{AFTER}{frames}',
            f'{worse}{AFTER}{frames}',
        )
        for text, where, better, worse in [
            ('E3D-LSTM is better than PredRNN', 'section 3', 'everywhere', 'predrnn'),
            ('RECALL as printed helps', 'section 3', 'everywhere', 'without_attention'),
            (
                'RECALL over all steps is better than over the last 5',
                'section 3',
                'everywhere',
                'everywhere_last_5',
            ),
            ('RECALL in place helps', ELSEWHERE, 'in_place', 'without_attention'),
            ('the refined form is better than PredRNN', ELSEWHERE, 'refined_1e-2', 'predrnn'),
            (
                'the refined form is better than RECALL in place',
                ELSEWHERE,
                'refined_1e-2',
                'in_place_1e-2',
            ),
            ('the gated form is better than PredRNN', ELSEWHERE, 'gated_1e-2', 'predrnn'),
            ('the timed form is better than PredRNN', ELSEWHERE, 'timed_1e-2', 'predrnn'),
        ]
        for frames in (24, 48)
    ),
    *_claims(
        'Table 4',
        bikenyc_study.STUDY,
        'e3d_lstm',
        {
            'On BikeNYC E3D-LSTM forecasts better than ST-ResNet': 'st_resnet_days',
            'On BikeNYC it is better than ST-ResNet after ten times as many updates': (
                'st_resnet_days_longer'
            ),
            'On BikeNYC E3D-LSTM forecasts better than PredRNN': 'predrnn',
        },
    ),
    *_claims(
        ELSEWHERE,
        bikenyc_study.STUDY,
        'gated',
        {
            'On BikeNYC the gated form forecasts better than PredRNN': 'predrnn',
            'On BikeNYC the gated form forecasts better than E3D-LSTM': 'e3d_lstm',
        },
    ),
]
RECOGNITIONS = [
    *_claims(
        'Table 5',
        recognition_study.STUDY,
        'e3d_lstm',
        {'E3D-LSTM recognizes earlier than a 3D-CNN': 'cnn_3d'},
    ),
    *_claims(
        'Table 6',
        recognition_study.STUDY,
        'e3d_lstm',
        {
            '3D convolutions inside the units help recognition': 'without_3d_convolutions',
            'They help it more than a 3D-CNN on top': 'cnn_on_top',
            'They help it more than one at the bottom': 'cnn_at_bottom',
            'The memory attention helps recognition': 'without_attention',
        },
    ),
    *_claims(
        'Table 7',
        recognition_study.STUDY,
        'e3d_lstm',
        {
            'Forecasting as a second task helps': 'classification_only',
            'A falling weight is better than a fixed one': 'fixed_ratio',
            'A falling weight is better than pre-training': 'pre_trained',
        },
    ),
    *_claims(
        'Table 7',
        recognition_study.STUDY,
        'e3d_lstm_3000_updates',
        {
            'After 3,000 updates forecasting as a second task helps': (
                'classification_only_3000_updates'
            )
        },
    ),
    *_claims(
        'Table 8',
        recognition_study.STUDY,
        'online',
        {'Online, forecasting as a second task helps': 'online_classification_only'},
    ),
    *_claims(
        'Tables 5 and 6',
        recognition_study.SLOWER,
        'e3d_lstm',
        {
            'Half as fast, E3D-LSTM recognizes earlier than a 3D-CNN': 'cnn_3d',
            'Half as fast, 3D convolutions inside the units help': 'without_3d_convolutions',
            'Half as fast, they help more than a 3D-CNN on top': 'cnn_on_top',
            'Half as fast, the memory attention helps': 'without_attention',
        },
    ),
    *_claims(
        ELSEWHERE,
        recognition_study.SLOWER,
        'gated',
        {'Half as fast, the gated form recognizes earlier than E3D-LSTM': 'e3d_lstm'},
    ),
]


def tables(numbers: Mapping[str, Any]) -> tuple[str, str]:
    """Of what the paper claims, and of what the project adds.

    Args:
      numbers: of all studies, by name.
    """
    runs = {study: by_seed(known) for study, known in numbers.items()}
    # The rivals of Table 1 were trained as these were, in a study of their own.
    runs['rivals'] = runs.get('forecast', {}) | runs.get('rivals', {})
    rows = [(claim, _of_forecasts(claim, runs[claim.study])) for claim in FORECASTS]
    rows += [(claim, _of_recognitions(claim, runs[claim.study])) for claim in RECOGNITIONS]
    of_paper = [found for found in rows if found[0].where != ELSEWHERE]
    added = [found for found in rows if found[0].where == ELSEWHERE]
    return _table(['claim', 'where'], of_paper), _table(['claim'], added)


def _table(columns: Sequence[str], rows: Iterable[tuple[Claim, Sequence[str]]]) -> str:
    """In Markdown; the first columns say what is claimed, and where."""
    heads = [*columns, 'measured here', 'difference', 'verdict']
    lines = [row(heads), '|---' * len(heads) + '|']
    for claim, (measured, interval, decided) in rows:
        names = (label_of(name.partition(AFTER)[0]) for name in (claim.better, claim.worse))
        measured += f' ({"; ".join(names)})' * bool(interval)
        cells = [claim.text, claim.where][: len(columns)]
        lines.append(row([*cells, measured, interval, decided]))
    return '\n'.join(lines) + '\n'


def verdict(interval: Interval | None, over_seeds: bool) -> str:
    """What the interval says of a difference that the claim says is above 0."""
    if interval is None:
        return 'open'
    low, high = interval
    word = 'holds' if low > 0 else 'the opposite holds' if high < 0 else 'open'
    return word if over_seeds or word == 'open' else f'{word}, for these seeds'


def _of_forecasts(claim: Claim, runs: Mapping[str, Seeds]) -> tuple[str, str, str]:
    better, worse = runs.get(claim.better, {}), runs.get(claim.worse, {})
    found = difference(worse, better)
    if found is None:
        return 'not run yet', '', 'open'
    # Those of BikeNYC are below 1: its flows are between 0 and 1, and few at a time.
    digits = 3 if claim.study == bikenyc_study.STUDY else 2
    measured = ' and '.join(f'{mse:.{digits}f}' for mse in reversed(found.of_both))
    return (
        f'MSE {measured}',
        found.text(digits),
        verdict(found.interval, found.over_seeds is not None),
    )


def _of_recognitions(claim: Claim, runs: Mapping[str, Seeds]) -> tuple[str, str, str]:
    """Of the accuracy after half of the clip, a mean that varies with clips and with seeds."""
    if claim.better not in runs or claim.worse not in runs:
        return 'not run yet', '', 'open'
    both = [list(runs[name].values()) for name in (claim.better, claim.worse)]
    by_seeds = [[seed['curve'][HALF] for seed in seeds] for seeds in both]
    shares = [statistics.mean(of_seeds) for of_seeds in by_seeds]
    variance = sum(p * (1 - p) / seeds[0]['clips'] for p, seeds in zip(shares, both, strict=True))
    repeated = [of_seeds for of_seeds in by_seeds if len(of_seeds) > 1]
    of_means = [statistics.variance(of_seeds) / len(of_seeds) for of_seeds in repeated]
    variance += sum(of_means)
    # Of the clips there are enough that their part has as good as endless degrees of freedom.
    uncertain = sum(
        part**2 / (len(of_seeds) - 1) for part, of_seeds in zip(of_means, repeated, strict=True)
    )
    freedom = variance**2 / uncertain if uncertain else math.inf
    margin = stats.t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(variance)
    mean = shares[0] - shares[1]
    interval = (max(mean - margin, -1.0), min(mean + margin, 1.0))  # of shares
    measured = 'accuracy {:.1%} and {:.1%} after half of the clip'.format(*shares)
    source = 'clips and seeds' if repeated else 'clips'
    text = f'{mean:+.1%} ({interval[0]:+.1%} to {interval[1]:+.1%} over {source})'
    return measured, text, verdict(interval, over_seeds=False)
