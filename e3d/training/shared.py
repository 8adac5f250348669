"""What processes that work together must share: their config, data and, in an evaluation, weights.

Gradients are averaged and errors summed over all of them, so that no result tells of other ones in
one of them. Each question is asked of all at once and answered by all in the
same way, so that none goes on and waits for the others.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from e3d.configuration import changeable_keys
from e3d.errors import InputError
from e3d.options.flat import list_differences
from e3d.parallel import devices, processes
from e3d.runs.fingerprint import Fingerprint


def check_shared_config(config: ConfigDict) -> None:
    """Raises InputError where processes have other configs than the first.

    Where data lie, and by how many workers they are read, may differ between machines. What else a
    run may go on with may not: when all validate, for instance, which they do together.
    """
    free = {key for key in changeable_keys() if key.startswith('dataset.')}

    def differences(first: Any, other: Any, process: int) -> list[str]:
        owners = 'process 0 has', f'process {process} has'
        return list_differences(first, other, free, owners)

    _compare('another config', config.to_dict(), differences, 'the same flags and files of configs')


def check_shared_data(fingerprint: Fingerprint) -> None:
    """Raises InputError where processes have opened other data than the first."""
    remedy = 'the same data (dataset.path, dataset.data_dir), best on a disk that they share'
    _compare('other data', fingerprint._asdict(), _other_data, remedy)


def check_shared_weights(step: int, variables: Any) -> None:
    """Raises InputError where processes measure other weights than the first.

    Args:
      step: that the weights are of.
      variables: of the model, in the memory of the host or of a device.
    """
    if processes.count() == 1:
        return
    # On one device: processes that measure need not have equally many.
    digest = devices.digest(devices.place_state(variables, devices.local_mesh(1)))
    remedy = 'the same --workdir, on a disk that they share, and --checkpoint=STEP'
    _compare('other weights', {'step': step, 'digest': digest}, _other_weights, remedy)


def _compare(
    what: str,
    value: Mapping[str, Any],
    differences: Callable[[Any, Any, int], list[str]],
    remedy: str,
) -> None:
    """Raises InputError, in all processes, where `differences` has lines for any but the first.

    Args:
      what: differs then, in words.
      value: of this process, that JSON can hold.
      differences: of the values of the first and of another process, whose number it gets too.
      remedy: what all are to be given.
    """
    first, *others = processes.gather(value)
    found = {
        process: lines
        for process, other in enumerate(others, 1)
        if (lines := differences(first, other, process))
    }
    if found:
        shown = '\n'.join(f'  {line}' for line in next(iter(found.values())))
        raise InputError(
            f'Of the processes that work together {list(found)} have {what} than process 0:\n{shown}\n'
            f'Give all of them {remedy}. Where each is a run of its own, though a scheduler has started '
            f'them at once, give each --coordinator={processes.ALONE}.'
        )


def _other_data(first: Mapping[str, Any], other: Mapping[str, Any], process: int) -> list[str]:
    expected, found = Fingerprint(**first), Fingerprint(**other)
    lines = expected.find_differences(found) or expected.find_other_training(found)
    if found.sequences.keys() != expected.sequences.keys():
        named, wanted = (', '.join(sorted(one.sequences)) for one in (found, expected))
        lines = [f'the splits {named}, not {wanted}']
    return [f'process {process}: {line}' for line in lines]


def _other_weights(first: Mapping[str, Any], other: Mapping[str, Any], process: int) -> list[str]:
    if other['step'] != first['step']:
        return [f'process {process}: those of step {other["step"]}, not of {first["step"]}']
    same = other['digest'] == first['digest']
    return [] if same else [f'process {process}: other numbers, of step {first["step"]} as well']
