"""Requests a second of examples/serve.py, one at a time and many at once.

    python -m benchmarks.serving --workdir=runs/quickstart --clients=8 --requests=64

Starts the server in a process of its own and sends it clips of noise, in turns: rounds of one client,
and rounds of all clients, whose requests it forecasts together. A request is the whole way, from the
bytes of an .npy file to those of the forecast.
"""

import argparse
import concurrent.futures
import http.client
import io
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

from e3d import load_run

ROOT = pathlib.Path(__file__).resolve().parent.parent


def ask(port: int, body: bytes) -> float:
    """Seconds of one request."""
    started = time.perf_counter()
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=300)
    connection.request('POST', '/forecast?output=npy', body)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f'The server answered {response.status} {response.reason}.')
    return time.perf_counter() - started


def measure(port: int, body: bytes, clients: int, requests: int) -> tuple[float, Sequence[float]]:
    """The seconds of all requests together, and of each."""
    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(lambda _: ask(port, body), range(requests)))
    return time.perf_counter() - started, each


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--workdir', required=True)
    parser.add_argument('--clients', type=int, default=8)
    parser.add_argument('--requests', type=int, default=64, help='of a round')
    parser.add_argument('--rounds', type=int, default=3)
    values = parser.parse_args()
    run = load_run(values.workdir)
    frames = np.random.default_rng(0).random((run.config.dataset.input_frames, *run.frame_shape))
    file = io.BytesIO()
    np.save(file, run.scale.to_unit(frames))
    workdir = pathlib.Path(values.workdir).absolute()
    command = [sys.executable, '-m', 'examples.serve', f'--workdir={workdir}', '--port=0']
    output = {'stdout': subprocess.PIPE, 'stderr': subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, cwd=ROOT, **output) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rsplit(':', 1)[1].strip('/\n'))
            measure(port, file.getvalue(), values.clients, 2 * values.clients)  # compiles
            for _ in range(values.rounds):
                for clients in (1, values.clients):
                    total, each = measure(port, file.getvalue(), clients, values.requests)
                    median, most = np.percentile(each, (50, 95))
                    print(
                        f'{clients:2} at once: {values.requests / total:6.1f} requests/s, '
                        f'median {1000 * median:.0f} ms, 95 % within {1000 * most:.0f} ms'
                    )
        finally:
            process.terminate()


if __name__ == '__main__':
    main()
