"""What a run tells: metrics.jsonl, TensorBoard events, and the progress line."""

import contextlib
import json
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from e3d.errors import InputError, RunError
from e3d.files import atomic_write, regular_file
from e3d.progress import Lines, progress
from e3d.terminal import tell

METRICS_FILE = 'metrics.jsonl'
EVENTS_FOLDER = 'tensorboard'
# With train.skip_nonfinite: more than so many updates without effect are no accident.
MAX_SKIPPED_IN_A_ROW = 100
SHOWN_METRICS = 4  # of an evaluation, in a log
MAX_LINE = 2**20  # characters of a file of metrics


class Reporter:
    """Writes the numbers of a run and shows where it stands; a context manager.

    `metrics.jsonl` holds one object a line: 'step', 'split', then numbers; there is one line for a
    step and split.

    Attributes:
      kept: {(step, split)} of the lines that are there and belong to the run.
    """

    def __init__(self, workdir: pathlib.Path, first_step: int, steps: int):
        """Opens the files; what they hold of later steps than `first_step` was not kept, and goes.

        Args:
          workdir: of the run.
          first_step: from which the run goes on.
          steps: at which it ends.
        """
        self._workdir = workdir
        path = workdir / METRICS_FILE
        drop_lines_after(path, first_step)
        self.kept = {(line['step'], str(line.get('split'))) for line in read_lines(path)}
        with self._disk_errors():
            self._lines = path.open('a', encoding='utf-8')
            self._events = Events(workdir / EVENTS_FOLDER, first_step)
        self._bar = progress(
            'training',
            steps,
            initial=first_step,
            leave=True,
            bar_format='{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}',
        )

    def __enter__(self) -> 'Reporter':
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
        # What could not be written was said when it was tried.
        with contextlib.suppress(OSError):
            self._events.close()
        with contextlib.suppress(OSError):
            self._lines.close()

    def write(self, step: int, split: str, numbers: Mapping[str, float]) -> None:
        """Writes numbers of a step to both files at once, so that they can be followed.

        Nothing is written where the file has them.

        Raises:
          RunError: they cannot be written.
        """
        if (step, split) in self.kept:
            return
        self.kept.add((step, split))
        if split != 'train' and isinstance(self._bar, Lines):
            measured = [(name, value) for name, value in numbers.items() if name != 'num_sequences']
            shown = ', '.join(f'{name} {value:.4g}' for name, value in measured[:SHOWN_METRICS])
            self._bar.note(f'{split} at step {step:,}: {shown}')
        with self._disk_errors():
            self._lines.write(json.dumps({'step': step, 'split': split, **numbers}) + '\n')
            self._lines.flush()
            self._events.write(step, {f'{split}/{name}': v for name, v in numbers.items()})

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f'The metrics of the run cannot be written to {error.filename or self._workdir}: '
                f'{error.strerror}. '
                'The checkpoints are intact. Free some space or give write permission, then run '
                'the same command again.'
            ) from error

    def show(self, step: int, loss: float, frames_per_second: float, seconds_left: float) -> None:
        """Moves the progress line on."""
        minutes, seconds = divmod(round(seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        left = f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes:02}:{seconds:02}'
        self._bar.set_postfix_str(
            f'loss {loss:.4g}, {frames_per_second:.0f} frames/s, {left} left', refresh=False
        )
        self._bar.update(step - self._bar.n)

    def announce(self, text: str) -> None:
        """Says on the progress line what goes on before there are numbers."""
        self._bar.set_postfix_str(text)


class Events:
    """The same numbers for TensorBoard, written at once.

    The writer of the library would do it in a thread, and wait forever for one that met a full
    disk.
    """

    def __init__(self, folder: pathlib.Path, first_step: int):
        """Opens a new file; of older ones TensorBoard leaves out what is later than this step."""
        folder.mkdir(parents=True, exist_ok=True)
        suffix = f'.{os.getpid()}.{first_step}'
        self._writer = EventsWriter(str(folder / 'events'), suffix)
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(step=first_step + 1, session_log=start))
        self._writer.flush()

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Writes numbers of a step, by their names."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
        summary = Summary(value=values)
        self._writer.write_event(Event(step=step, wall_time=time.time(), summary=summary))
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()


class StepMetrics:
    """The metrics of steps that are still under way, fetched late so that the devices never wait.

    Every step is looked at before its numbers are written and before its state is saved.
    """

    def __init__(
        self,
        reporter: Any,
        steps: int,
        frames_per_step: int,
        sequences_of: Callable[[int], Sequence[int] | np.ndarray],
        skip_nonfinite: bool = False,
    ):
        """Begins without any.

        Args:
          reporter: a `Reporter`, or what takes its place in another process.
          steps: of the run.
          frames_per_step: so many frames go through a step.
          sequences_of: from a step, counted from 1, to the indices of the sequences in its batch.
          skip_nonfinite: a step that is not finite is counted, and does not stop the run.
        """
        self._reporter = reporter
        self._steps = steps
        self._frames_per_step = frames_per_step
        self._sequences_of = sequences_of
        self._skip_nonfinite = skip_nonfinite
        self._skipped_in_a_row = 0
        self._stands_still = False
        self._entries: list[Any] = []
        self._started = time.perf_counter()

    def restart_clock(self) -> None:
        """Leaves out of the speed what was no training: compiling, evaluating, saving."""
        self._started = time.perf_counter()

    def add(self, step: int, metrics: Mapping[str, jax.Array], waited: float) -> None:
        """Takes the metrics of a step that was begun, and the seconds it waited for data."""
        self._entries.append((step, metrics, waited))

    def write(self, but: int = 0) -> None:
        """Writes the means over all steps since the last time, but for the newest `but`.

        Steps that were skipped do not enter the means; 'skipped_updates' counts them.

        Raises:
          FloatingPointError: the loss or the gradient of a step was not finite, or of too many in a
            row where such steps are skipped.
        """
        count = len(self._entries) - but
        if count < 1:
            return
        done, self._entries = self._entries[:count], self._entries[count:]
        fetched = jax.device_get([metrics for _, metrics, _ in done])
        good = [
            metrics
            for (step, _, _), metrics in zip(done, fetched, strict=True)
            if self._is_finite(step, metrics)
        ]
        seconds = (time.perf_counter() - self._started) / count
        names = [name for name in fetched[0] if name != 'module_norms']
        numbers = {name: float(np.mean([m[name] for m in good])) for name in names if good}
        if self._skip_nonfinite:
            numbers['skipped_updates'] = count - len(good)
        numbers['seconds_per_step'] = seconds
        numbers['data_wait_seconds'] = sum(waited for _, _, waited in done) / count
        numbers['frames_per_second'] = self._frames_per_step / seconds
        step = done[-1][0]
        self._reporter.write(step, 'train', numbers)
        self._reporter.show(
            step,
            numbers.get('loss', math.nan),
            numbers['frames_per_second'],
            seconds * (self._steps - step),
        )
        self._tell_of_standstill(step, len(good), numbers)
        self.restart_clock()

    def _tell_of_standstill(self, step: int, count: int, numbers: Mapping[str, float]) -> None:
        """Once where it begins, for the loss alone does not tell."""
        stood_still, self._stands_still = self._stands_still, numbers.get('gradient_norm') == 0
        if self._stands_still and not stood_still:
            tell(
                f'\nThe gradient was exactly 0 in all of the last {count} updates, up to step {step}: '
                'the model no longer learns, as where its outputs have saturated. Start over in '
                'another --workdir with a smaller optimizer.learning_rate.'
            )

    def _is_finite(self, step: int, metrics: Mapping[str, Any]) -> bool:
        """Whether a step was applied; tells or raises where it was not."""
        loss, norm = float(metrics['loss']), float(metrics['gradient_norm'])
        if math.isfinite(loss) and math.isfinite(norm):
            self._skipped_in_a_row = 0
            return True
        sequences = [int(index) for index in self._sequences_of(step)]
        modules = ', '.join(f'{name} {n:.3g}' for name, n in metrics['module_norms'].items())
        account = (
            f'loss {loss:.4g}, norm of the gradient {norm:.3g} ({modules}), on the training '
            f'sequences {sequences}'
        )
        self._skipped_in_a_row += 1
        if not self._skip_nonfinite or self._skipped_in_a_row > MAX_SKIPPED_IN_A_ROW:
            before = self._skipped_in_a_row - 1
            in_a_row = f', after {before} updates that were skipped in a row' if before else ''
            raise FloatingPointError(
                f'The training diverged in step {step}{in_a_row}: {account}. The step was not '
                'applied and nothing of it was saved.'
            )
        tell(f'\nSkipped the update of step {step}: {account}.')
        return False


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """The objects in a file of metrics; a line that was cut off is left out.

    Of two lines for one step and split, as older versions could write, the later one is taken.

    Raises:
      InputError: it is not a regular file, or cannot be read.
    """
    if not os.path.lexists(path):
        return []
    lines = {}
    try:
        with regular_file(path).open(encoding='utf-8', errors='replace') as file:
            while text := file.readline(MAX_LINE):
                with contextlib.suppress(ValueError, RecursionError):
                    line = json.loads(text)
                    if isinstance(line, dict) and isinstance(line.get('step'), int):
                        lines[line['step'], str(line.get('split'))] = line
    except OSError as error:
        raise InputError(f'{path} cannot be read: {error.strerror}.') from error
    return list(lines.values())


def drop_lines_after(path: pathlib.Path, step: int) -> None:
    """Removes the lines of later steps, and one that was cut off, from a file of metrics."""
    _keep_lines(path, lambda line: line['step'] <= step)


def drop_line(path: pathlib.Path, step: int, split: str) -> None:
    """Removes the line of a step and split from a file of metrics, so that another can be written."""
    _keep_lines(path, lambda line: (line['step'], line.get('split')) != (step, split))


def _keep_lines(path: pathlib.Path, wanted: Callable[[Mapping[str, Any]], bool]) -> None:
    if not os.path.lexists(path):
        return
    kept = [line for line in read_lines(path) if wanted(line)]
    with atomic_write(path) as temporary:
        temporary.write_text(''.join(f'{json.dumps(line)}\n' for line in kept), encoding='utf-8')


def validation_metrics(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """What was measured during training, of the lines of metrics: {metric: [(step, value), ...]}."""
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        if line.get('split') in ('validation', 'validation_on_test'):
            for metric, value in metrics_of(line).items():
                found.setdefault(metric, []).append((line['step'], value))
    return found


def metrics_of(line: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics that measure something, those that are finite."""
    return {
        key: value
        for key, value in line.items()
        if key not in ('step', 'num_sequences')
        and isinstance(value, int | float)
        and math.isfinite(value)
    }


def scalars(report: Mapping[str, Any]) -> dict[str, float]:
    """The single finite numbers of an evaluation's report, without step, protocol and lists."""
    return {
        key: value
        for key, value in report.items()
        if isinstance(value, int | float) and math.isfinite(value) and key != 'step'
    }
