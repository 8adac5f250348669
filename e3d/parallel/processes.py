"""The processes of one training, on one machine or many: who they are, and what they tell each other.

Each of them computes its share of every batch, see `devices`. Only the first one has a workdir and
writes. They talk through the store that JAX's coordinator keeps in the first process, and each says
there every second that it is alive: so that none waits forever for one that has ended.

`jax.experimental.multihost_utils` gathers by a computation on the devices: too early for what comes
before these are connected (`devices.connect`), and it waits for a process that failed as for one that
is late. JAX's own heartbeat ends a process with no word of what to do, and notices none that failed
but lives on.
"""

import atexit
import contextlib
import errno
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax._src import distributed  # the store has no public name

from e3d import signals
from e3d.errors import InputError, RunError
from e3d.terminal import tell

# Of --coordinator: found as JAX finds it on SLURM, Kubernetes, TPU pods and under Open MPI.
FOUND = 'auto'
ALONE = 'none'  # whatever a scheduler says
# A process that says nothing for so long has ended, see --patience; a busy machine may keep it from
# speaking.
PATIENCE_SECONDS = 60
START_SECONDS = 300  # within which all must have come
BEAT_SECONDS = 1
GRACE_SECONDS = 10
_ALIVE, _GATHERED = 'e3d/alive/', 'e3d/gathered/'
_DONE, _FAILED = 'done', 'failed'

_patience = PATIENCE_SECONDS
_gatherings = itertools.count()
_left = threading.Event()


def count() -> int:
    """How many processes train together."""
    return jax.process_count()


def index() -> int:
    """Which of them this one is, from 0."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this is the one that writes."""
    return index() == 0


def connect(
    coordinator: str | None,
    num_processes: int | None = None,
    process_id: int | None = None,
    patience: int = PATIENCE_SECONDS,
) -> None:
    """Joins the processes of a training; to be called before anything else uses JAX.

    Without arguments nothing is joined, unless a scheduler has started several processes.

    Args:
      coordinator: HOST:PORT of the first process; 'auto', where JAX finds out by itself; or 'none',
        where nothing is joined whatever a scheduler has started.
      num_processes: how many there are.
      process_id: which of them this is, from 0.
      patience: seconds after which a process that gives no sign of life has ended.

    Raises:
      InputError: the arguments do not fit together, or the first process cannot listen there.
      RunError: the others cannot be found.
    """
    global _patience
    _patience = patience
    given, address = (coordinator, num_processes, process_id), None
    if coordinator == FOUND or (given == (None, None, None) and is_scheduled(os.environ)):
        given = (None, None, None)
    elif given in ((None, None, None), (ALONE, None, None)):
        return
    else:
        _check(*given)
        if coordinator and process_id == 0 and 'JAX_COORDINATOR_BIND_ADDRESS' not in os.environ:
            address = find_address(coordinator)
        tell(f'Process {process_id} of {num_processes}: waiting for the others at {coordinator}.')
    # Its handler would take SIGTERM, which stops a training.
    jax.config.update('jax_enable_preemption_service', False)
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
    try:
        jax.distributed.initialize(
            *given,
            initialization_timeout=max(START_SECONDS, patience),
            coordinator_bind_address=address,
            heartbeat_timeout_seconds=patience,
        )
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise RunError(
            f'The processes of this training cannot be connected: {error}. Give each of them '
            '--coordinator=HOST:PORT of the first, --num_processes and --process_id; or '
            f'--coordinator={ALONE} where this one is to work alone.'
        ) from error
    if distributed.global_state.num_processes > 1:
        thread = threading.Thread(target=_watch, daemon=True)
        thread.start()
        atexit.register(_say_goodbye, thread)


def is_scheduled(environment: Mapping[str, str]) -> bool:
    """Whether a scheduler says that it has started this process as one of several."""
    tasks = [
        environment.get('SLURM_NTASKS', '') if 'SLURM_STEP_NODELIST' in environment else '',
        environment.get('OMPI_COMM_WORLD_SIZE', ''),
    ]
    hosts = environment.get('TPU_WORKER_HOSTNAMES', '').split(',')
    return (
        any(number.isdigit() and int(number) > 1 for number in tasks)
        or len(hosts) > 1
        or 'JOB_COMPLETION_INDEX' in environment  # an indexed job of Kubernetes
    )


def _check(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    host, _, port = (coordinator or '').rpartition(':')
    if not (host and port.isdigit() and int(port) < 2**16):
        raise InputError(
            f"--coordinator='{coordinator or ''}': must be HOST:PORT of the first process, as "
            f"10.0.0.1:1234, '{FOUND}', or '{ALONE}' with no other flag of processes."
        )
    if num_processes is None or process_id is None or not 0 <= process_id < num_processes:
        raise InputError(
            f'--coordinator needs --num_processes, from 1, and --process_id, from 0 to one less; '
            f'given are {num_processes} and {process_id}.'
        )


def find_address(coordinator: str) -> str | None:
    """Where the first process listens: at the address that was given, and at no other.

    Raises:
      InputError: the port is in use, or there is no such host.
    """
    host, _, port = coordinator.rpartition(':')
    try:
        found = socket.getaddrinfo(host.strip('[]'), int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--coordinator='{coordinator}': unknown host ({error}). Give a name or an "
            'address of the first process.'
        ) from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:  # of a gateway in front of this machine
                tell(f'{host} is not an address of this machine: listening at all that it has.')
                return None
            raise InputError(
                f"--coordinator='{coordinator}': the first process cannot listen there "
                f'({error.strerror}). Give a port that is free.'
            ) from error
    return f'[{address[0]}]:{port}' if family == socket.AF_INET6 else f'{address[0]}:{port}'


@contextlib.contextmanager
def others_explained() -> Iterator[None]:
    """Says of what goes wrong in a computation of several processes that it is between them.

    Raises:
      RunError: the devices of this process could not compute with those of the others.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if count() == 1 or 'RESOURCE_EXHAUSTED' in str(error):
            raise
        raise RunError(
            'Another process of this training has ended, or cannot be reached from this one. The '
            f'same commands continue from the last checkpoint. ({str(error)[:300]})'
        ) from error


def gather(value: Any) -> list[Any]:
    """What each process gives, in their order; it waits for the last one.

    Args:
      value: that JSON can hold. All processes must come here, as often and in the same order.
    """
    if count() == 1:
        return [value]
    store, number = _store(), next(_gatherings)
    store.key_value_set(f'{_GATHERED}{number}/{index()}', json.dumps(value))
    while len(found := store.key_value_dir_get(f'{_GATHERED}{number}/')) < count():
        time.sleep(0.01)
    # Whoever has come here has read what was gathered before.
    if number:
        store.key_value_delete(f'{_GATHERED}{number - 1}/{index()}')
    values = {int(key.rpartition('/')[2]): json.loads(text) for key, text in found}
    return [values[process] for process in range(count())]


def from_first(value: Any) -> Any:
    """What the first process gives; see `gather`."""
    return gather(value if is_first() else None)[0]


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """A block that the first process goes through before the others begin it."""
    if not is_first():
        gather(None)
    yield
    if is_first():
        gather(None)


def leave(code: int) -> None:
    """Ends a process that has failed, and by that the others; it does nothing where it is alone."""
    if distributed.global_state.client is None or distributed.global_state.num_processes == 1:
        return
    _left.set()
    with contextlib.suppress(Exception):
        _say(_FAILED)
        if distributed.global_state.process_id == 0:  # the others must read it before it goes
            time.sleep(3 * BEAT_SECONDS)
    _end(code)


def _say(word: str) -> None:
    me = distributed.global_state.process_id
    _store().key_value_set(f'{_ALIVE}{me}', word, allow_overwrite=True)


def _store() -> Any:
    """The keys and values that the processes share."""
    return distributed.global_state.client


def _watch() -> None:
    """Says that this process is alive, and ends it when another one is not."""
    others: dict[str, str] = {}
    last: dict[str, float] = {}
    for beat in itertools.count():
        try:
            _say(str(beat))
            words = _store().key_value_dir_get(_ALIVE)
        except Exception as error:  # of any type: the library names none
            if not _left.is_set():
                _stop(f'Process 0 can no longer be reached ({str(error)[:200]})')
            return
        now = time.monotonic()
        for key, word in words:
            if others.get(key) != word:
                others[key], last[key] = word, now
            name = f'Process {key.removeprefix(_ALIVE)}'
            if word == _FAILED:
                # The first one may be about to say what went wrong in all, and has files open.
                if is_first():
                    _left.wait(GRACE_SECONDS)
                _stop(f'{name} failed; see its output')
            elif word != _DONE and now - last[key] > _patience:
                _stop(
                    f'{name} has been silent for {_patience} seconds: it has ended, or its machine '
                    'is so busy that a longer --patience=SECONDS is needed'
                )
        if _left.wait(BEAT_SECONDS):
            return


def _stop(reason: str) -> None:
    if _left.is_set():
        return
    state = distributed.global_state
    tell(
        f'\n{reason}. Process {state.process_id} of {state.num_processes} exits too. The same '
        'commands continue from the last checkpoint.'
    )
    _end(1)


def _end(code: int) -> None:
    """Ends the process at once: leaving in the usual way would wait for the others."""
    sys.stdout.flush()
    sys.stderr.flush()
    signals.exit_at_once(code)


def _say_goodbye(thread: threading.Thread) -> None:
    _left.set()
    thread.join()
    with contextlib.suppress(Exception):
        _say(_DONE)
