"""What can stop an update or an evaluation: what is safe then, and what to try."""

import contextlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from e3d.errors import RunError
from e3d.parallel import devices, processes
from e3d.parallel.followers import FollowingCheckpoints
from e3d.runs.checkpoints import Checkpoints
from e3d.runs.state import TrainState
from e3d.training.memory import saves_memory


@contextlib.contextmanager
def explained(
    config: ConfigDict, checkpoints: Checkpoints | FollowingCheckpoints
) -> Iterator[None]:
    """Says of what can stop an update what is safe and what to try."""
    remedies = ['a smaller train.batch_size', saves_memory(config), 'model.dtype=bfloat16']
    too_large = (
        'The update does not fit into the memory of the device. Try '
        f'{", or ".join(filter(None, remedies))}.'
    )
    try:
        with devices.memory_explained(too_large):
            yield
    except FloatingPointError as error:
        if not isinstance(checkpoints, Checkpoints):  # another process than the first
            raise RunError(f'{error} The first process says what to try.') from None
        step = checkpoints.newest()
        good = 'There is no checkpoint yet' if step is None else f'The last good one is step {step}'
        raise RunError(
            f'{error} {good} (in {checkpoints.folder}). Try a lower optimizer.learning_rate, '
            'optimizer.clip_norm=1.0, optimizer.warmup_steps or model.dtype=float32, with another '
            '--workdir; look at those sequences; or go on past such steps with '
            'train.skip_nonfinite=True.'
        ) from None


def evaluation_explained(config: ConfigDict) -> contextlib.AbstractContextManager[None]:
    """Says of an evaluation that does not fit into memory what to try."""
    return devices.memory_explained(
        f'A batch of evaluation.batch_size={config.evaluation.batch_size} does not fit into the '
        'memory of the device. Use a smaller one, which a run may change.'
    )


def check_replicas(state: TrainState, step: int) -> None:
    """Raises RunError where the state is not the same in all processes."""
    if processes.count() > 1:
        digests = processes.gather(devices.digest(state))
        others = [index for index, value in enumerate(digests) if value != digests[0]]
        if others:
            raise RunError(
                f'In step {step} the state of the processes {others} differs from that of process '
                '0: a device or a link is faulty, or their versions of JAX differ. The earlier '
                'checkpoints are whole; run the same commands again to continue from the last one.'
            )
