"""Which checkpoints stay: the last few, and the best."""

import json
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from e3d.files import atomic_write, read_json
from e3d.terminal import tell

MAX_BYTES = 2**24  # of the file of errors


class Retention:
    """A preservation policy of orbax, with the errors of the checkpoints on the validation split.

    They lie in a file beside the checkpoints, so that one can be evaluated after it was saved.
    """

    def __init__(self, file: pathlib.Path, keep: int, keep_best: bool):
        """Keeps the last `keep`, and with `keep_best` the one with the least error in `file`."""
        self._file, self._keep, self._keep_best = file, keep, keep_best

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which of the checkpoints stay; orbax asks this when one is added."""
        steps = sorted(checkpoint.step for checkpoint in checkpoints)
        kept = set(steps[-self._keep :])
        if self._keep_best:
            kept.add(self.best_of(steps))
        return [checkpoint.step in kept for checkpoint in checkpoints]

    def best_of(self, steps: Iterable[int]) -> int | None:
        """The step with the least error, or None where no error is known."""
        errors = self._read()
        known = (step for step in steps if step in errors)
        return min(known, key=errors.__getitem__, default=None)

    def lost_best(self, steps: Iterable[int]) -> int | None:
        """The step that was better than all of `steps`, came before the last of them and is gone.

        A later one is being written, or lost with the updates that lead to it; None where there is none.
        """
        errors, there = self._read(), set(steps)
        least = min((errors[step] for step in there if step in errors), default=math.inf)
        last = max(there, default=-1)
        lost = {s: e for s, e in errors.items() if s < last and s not in there and e < least}
        return min(lost, key=lost.__getitem__, default=None)

    def record(self, step: int, error: float) -> None:
        """Notes the error of a step.

        Raises:
          RunError: it cannot be written.
        """
        errors = self._read() | {step: error}
        with atomic_write(self._file) as temporary:
            temporary.write_text(json.dumps(errors) + '\n', encoding='utf-8')

    def _read(self) -> dict[int, float]:
        if not os.path.lexists(self._file):
            return {}
        try:
            errors = read_json(self._file, MAX_BYTES)
            return {int(step): float(error) for step, error in errors.items()}
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            tell(f'{self._file} cannot be read, so none is kept as the best: {error}')
            return {}
