"""Early recognition in numbers: accuracy by the fraction of the clip that was seen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from e3d.evaluation.report import as_text

# Of a whole clip, from its front.
FRACTIONS = tuple(eighth / 8 for eighth in range(1, 9))
PARTS = (25, 50, 100)  # percent, those that are reported by name
TOP = 5
_Z = 1.959963984540054  # 97.5 % of a normal distribution lie below


def wilson_interval(right: float, total: int) -> tuple[float, float]:
    """The 95 % interval of a share, after Wilson: right even near 0 and 1.

    Written out, as SciPy's takes whole counts only, and a mean over seeds is none.
    """
    share, scale = right / total, 1 + _Z**2 / total
    middle = (share + _Z**2 / (2 * total)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def parts_of(fractions: Sequence[float]) -> dict[str, int]:
    """Which of some fractions are reported by name: {percentage: its place among them}.

    Those are a quarter, a half and all of a clip, as far as they are there, and the largest.
    """
    shown = {f'{100 * fraction:g}': place for place, fraction in enumerate(fractions)}
    largest = f'{100 * max(fractions):g}'
    return {
        part: place for part, place in shown.items() if part == largest or part in map(str, PARTS)
    }


def recognition_report(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    fractions: Sequence[float] = FRACTIONS,
) -> dict[str, Any]:
    """Accuracy of recognized classes.

    Of equal scores the one of the first class counts as the highest, as in the confusion matrix: a
    model that cannot tell classes apart recognizes one of them.

    Args:
      log_probabilities: `[N, fractions, classes]`, by the `fractions` that were seen.
      labels: of the clips, `[N]`.
      names: of the classes.
      fractions: of the whole clip, from its front, in ascending order.

    Returns:
      For each percentage of `parts_of(fractions)` 'accuracy_25', 'top5_25' and so on;
      'cross_entropy', its mean over the fractions; 'intervals' of 95 % by the names of the
      accuracies; 'per_class' (accuracy by part and class, None for a class without clips);
      'confusion' (by part, true classes in the rows); 'fractions' and 'curve', the accuracy at
      each; 'classes'.
    """
    rank = _rank_of_label(log_probabilities, labels)
    report, intervals, per_class, confusion = {}, {}, {}, {}
    for part, place in parts_of(fractions).items():
        for name, most in (('accuracy', 1), ('top5', TOP)):
            right = int((rank[:, place] < most).sum())
            report[f'{name}_{part}'] = right / len(labels)
            intervals[f'{name}_{part}'] = wilson_interval(right, len(labels))
        table = np.zeros((len(names), len(names)), int)
        np.add.at(table, (labels, log_probabilities[:, place].argmax(axis=-1)), 1)
        confusion[part] = table.tolist()
        per_class[part] = [
            row[label] / sum(row) if sum(row) else None for label, row in enumerate(table.tolist())
        ]
    return report | {
        'cross_entropy': -float(_of_label(log_probabilities, labels).mean(dtype=np.float64)),
        'intervals': intervals,
        'per_class': per_class,
        'confusion': confusion,
        'fractions': list(fractions),
        'curve': (rank == 0).mean(axis=0).tolist(),
        'classes': list(names),
    }


def _rank_of_label(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the true one, `[N, fractions]`; of equal ones the first does."""
    of_label = _of_label(log_probabilities, labels)[..., None]
    earlier = np.arange(log_probabilities.shape[-1]) < labels[:, None, None]
    before = (log_probabilities > of_label) | ((log_probabilities == of_label) & earlier)
    return before.sum(axis=-1)


def _of_label(log_probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.take_along_axis(log_probabilities, labels[:, None, None], axis=-1)[..., 0]


def format_recognition(report: Mapping[str, Any]) -> str:
    """The table of a report: overall with intervals, and by class."""
    parts = parts_of(report['fractions'])
    headings = (f'{part} % of the clip' for part in parts)
    table = Table('observed', *headings, box=box.SIMPLE_HEAD, title=report['protocol'])
    for name, label in (('accuracy', 'top-1'), ('top5', 'top-5')):
        cells = []
        for part in parts:
            low, high = report['intervals'][f'{name}_{part}']
            value = report[f'{name}_{part}']
            cells.append(f'{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})')
        table.add_row(f'{label}, 95 % interval', *cells)
    for number, name in enumerate(report['classes']):
        shares = [report['per_class'][part][number] for part in parts]
        table.add_row(name, *('' if share is None else f'{100 * share:.1f}' for share in shares))
    clips = f'{report["num_sequences"]} clips, step {report["step"]}'
    return as_text(table, clips, width=120)


def format_recognized(
    names: Sequence[str], probabilities: np.ndarray, fractions: Sequence[float]
) -> str:
    """The table of the best five classes of a whole clip, with their probabilities by part.

    Args:
      names: of the classes.
      probabilities: `[fractions, classes]`, by the `fractions` that were seen.
      fractions: of the whole clip, from its front, ascending.
    """
    parts = parts_of(fractions)
    table = Table('class', *(f'{part} % seen' for part in parts), box=box.SIMPLE_HEAD)
    for place in np.argsort(-probabilities[-1], kind='stable')[:TOP]:
        cells = (f'{100 * probabilities[part, place]:.1f} %' for part in parts.values())
        table.add_row(names[place], *cells)
    return as_text(table, width=120)
