"""A trained run as a small HTTP server: a clip comes in, its continuation goes out.

    python examples/serve.py --workdir=runs/quickstart
    curl --data-binary @clip.mp4 'http://127.0.0.1:8000/forecast?horizon=20' > next.gif

    GET /            a page: drop a clip, and see it and its continuation side by side
    GET /health      the model and how many requests wait, as JSON
    POST /forecast   the bytes of a video, GIF, .npy or .npz file. ?horizon=N frames, as in training if
                     not given; ?output=gif (if not given), mp4 or npy (float32 [N, H, W, C])

Requests that wait for the same horizon are forecast together. A wrong request gets 4xx and
{"error": message}; one too many 503. What is sent is not trusted: the body, the horizon, the time to
send it and to decode it, the connections and the requests that wait are bounded (`Limits`), clips are
read one at a time in a process of their own, and no pickle is loaded from them. There is no TLS and no
password: leave it on 127.0.0.1, or put a proxy before it that has both.
"""

import argparse
import concurrent.futures
import json
import pathlib
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import numpy as np

import e3d
from e3d.errors import InputError, RunError
from e3d.prediction.clip_reader import ClipReader
from e3d.prediction.inputs import InputClip
from e3d.prediction.media import write_clip
from e3d.prediction.presentation import Presentation

PAGE = pathlib.Path(__file__).with_name('serve.html')
CONTENT_TYPES = {'gif': 'image/gif', 'mp4': 'video/mp4', 'npy': 'application/octet-stream'}
# How files begin whose form FFmpeg does not look for itself; all others are given to it.
BEGINNINGS = {b'\x93NUMPY': '.npy', b'PK': '.npz', b'GIF8': '.gif', b'\x89PNG': '.png'}
DEFAULT_RATE = 10.0  # frames per second where a clip states none


class Limits(NamedTuple):
    """What a server takes.

    Attributes:
      body: bytes of a clip.
      horizon: frames of a forecast.
      batch: clips that are forecast together.
      waiting: requests that wait for the model.
      connections: at a time.
      seconds: to send a clip, to wait until it is read, and for its forecast.
      reading: seconds to read a clip.
    """

    body: int = 2**26
    horizon: int = 100
    batch: int = 8
    waiting: int = 32
    connections: int = 64
    seconds: float = 60.0
    reading: float = 20.0


STANDARD = Limits()


class Busy(Exception):
    """There are more requests than the server takes."""


class Waiting(NamedTuple):
    """A request that waits for the model.

    Attributes:
      frames: `[T, H, W, C]`, in the unit of the data.
      horizon: how many frames are forecast, of which the first are asked for.
      result: the forecast.
    """

    frames: np.ndarray
    horizon: int
    result: concurrent.futures.Future[np.ndarray]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What requests must agree in to be forecast together."""
        return self.frames.shape, self.horizon


def bounded_number(text: str, most: int) -> int | None:
    """The number that ASCII digits are, or `most + 1` for all larger ones; None for any other text.

    No more digits are read than `most` has, whatever the number of zeros before them.
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip('0') or '0'
    return min(int(digits), most + 1) if len(digits) <= len(str(most)) else most + 1


class Batcher:
    """Forecasts in one thread, as many of the requests that wait as go together."""

    def __init__(self, run: e3d.Run, limits: Limits):
        """Starts the thread.

        Args:
          run: of a forecaster.
          limits: of the server.
        """
        self._run, self._limits = run, limits
        self._waiting: list[Waiting] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._work, daemon=True).start()

    def __len__(self) -> int:
        return len(self._waiting)

    def forecast(self, frames: np.ndarray, horizon: int) -> np.ndarray:
        """The continuation of one clip; returns when it is its turn.

        Args:
          frames: `[T, H, W, C]`, as `e3d.forecast` takes them.
          horizon: how many frames to forecast.

        Raises:
          Busy: too many wait, or it took too long.
          RunError, InputError: as `e3d.forecast`.
        """
        computed = self._run.config.dataset.output_frames
        while computed < horizon:  # so that a few programs are compiled, and not one a horizon
            computed *= 2
        request = Waiting(frames, computed, concurrent.futures.Future())
        with self._changed:
            if len(self._waiting) >= self._limits.waiting:
                raise Busy
            self._waiting.append(request)
            self._changed.notify()
        try:
            return request.result.result(self._limits.seconds)[:horizon]
        except TimeoutError:
            request.result.cancel()
            raise Busy from None

    def compile(self) -> None:
        """Compiles the forecasts as long as those of the training, so that no request waits for it."""
        blank = np.zeros((1, *self._run.frame_shape))
        for count in (1, 2):
            self._forecast_together([blank] * count, self._run.config.dataset.output_frames)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                kind = self._waiting[0].kind
                together = [one for one in self._waiting if one.kind == kind][: self._limits.batch]
                chosen = set(map(id, together))
                self._waiting = [one for one in self._waiting if id(one) not in chosen]
            requests = [one for one in together if one.result.set_running_or_notify_cancel()]
            if not requests:
                continue
            try:
                forecasts = self._forecast_together([one.frames for one in requests], kind[1])
            except Exception as error:  # of whatever kind: it is that of the requests
                for one in requests:
                    one.result.set_exception(error)
            else:
                for one, forecast in zip(requests, forecasts, strict=False):
                    one.result.set_result(forecast)

    def _forecast_together(self, clips: list[np.ndarray], horizon: int) -> np.ndarray:
        # Of one clip or of a full batch, so that two programs are compiled and not one a number.
        missing = self._limits.batch - len(clips) if len(clips) > 1 else 0
        return e3d.forecast(self._run, np.stack(clips + clips[-1:] * missing), horizon)


class Server(ThreadingHTTPServer):
    """Answers with the forecasts of a run, a thread for each connection."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], run: e3d.Run, limits: Limits = STANDARD):
        """Binds the address; `serve_forever` answers.

        Args:
          address: host and port; 0 takes a port that is free.
          run: of a forecaster.
          limits: of what is taken.
        """
        self.run, self.limits, self.batcher = run, limits, Batcher(run, limits)
        self.reader = ClipReader(run, limits.reading)
        self._reading = threading.Lock()
        self._connections = threading.Semaphore(limits.connections)
        super().__init__(address, Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Starts the thread of a connection, or closes it where there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def read(self, content: bytes) -> InputClip:
        """The clip that bytes are, as the model sees it.

        Raises:
          InputError: they are none, or take too long to read.
          Busy: other clips took too long.
        """
        suffix = next((s for start, s in BEGINNINGS.items() if content.startswith(start)), '.video')
        if not self._reading.acquire(timeout=self.limits.seconds):
            raise Busy
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / f'clip{suffix}'
                path.write_bytes(content)
                try:
                    return self.reader.read(path)
                except InputError as error:
                    raise InputError(str(error).replace(str(path), 'The clip')) from error
        finally:
            self._reading.release()

    def server_close(self) -> None:
        """Ends what was started."""
        super().server_close()
        self.reader.close()

    def answer(self, content: bytes, horizon: int, output: str) -> bytes:
        """The continuation of a clip, as the bytes of a file.

        Args:
          content: of the file of the clip.
          horizon: how many frames to forecast.
          output: a key of `CONTENT_TYPES`.

        Raises:
          InputError: the clip cannot be used.
          Busy, RunError: there is no forecast.
        """
        clip = self.read(content)
        if unknown := clip.beside.keys() - {'valid'}:
            raise InputError(
                f'The model of the run sees {" and ".join(sorted(unknown))} beside the frames, which '
                'this server does not take. Use e3d.predict_file with a file of all its variables.'
            )
        seen = clip.known
        forecast = self.batcher.forecast(self.run.scale.to_unit(seen), horizon)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f'forecast.{output}'
            if output == 'npy':
                write_clip(path, forecast)
            else:
                scaled = self.run.scale.from_unit(forecast)
                plain = Presentation()
                ends = plain.ends(seen, scaled[np.newaxis])
                pictures = plain.draw(seen, scaled, clip.size, ends, self.run.channel_names)
                write_clip(path, pictures, clip.rate or DEFAULT_RATE)
            return path.read_bytes()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Server
    timeout = 20  # seconds in which at least something must come

    def do_GET(self) -> None:
        """The page, or how the server is."""
        path = urllib.parse.urlsplit(self.path).path
        if path == '/':
            self._send(HTTPStatus.OK, PAGE.read_bytes(), 'text/html; charset=utf-8')
        elif path == '/health':
            state = {'model': str(self.server.run), 'waiting': len(self.server.batcher)}
            self._send(HTTPStatus.OK, json.dumps(state).encode(), 'application/json')
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f'{path[:100]}: there are /, /health and /forecast.')

    def do_POST(self) -> None:
        """A forecast."""
        parts = urllib.parse.urlsplit(self.path)
        if parts.path != '/forecast':
            self._refuse(HTTPStatus.NOT_FOUND, f'{parts.path[:100]}: clips go to /forecast.')
            return
        try:
            horizon, output = self._options(parts.query)
            content = self._body()
            if content is not None:
                self._send(
                    HTTPStatus.OK,
                    self.server.answer(content, horizon, output),
                    CONTENT_TYPES[output],
                )
        except InputError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except Busy:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, 'Too many requests wait: try again later.')
        except RunError as error:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _options(self, query: str) -> tuple[int, str]:
        try:
            values = dict(urllib.parse.parse_qsl(query, max_num_fields=10))
        except ValueError:
            raise InputError(
                'The query has more than 10 fields: horizon and output are read.'
            ) from None
        unknown = values.keys() - {'horizon', 'output'}
        if unknown:
            raise InputError(f'{min(unknown)[:100]!r}: must be horizon or output.')
        default = self.server.run.config.dataset.output_frames
        text, most = values.get('horizon', str(default)), self.server.limits.horizon
        horizon = bounded_number(text, most)
        if horizon is None or not 1 <= horizon <= most:
            raise InputError(f'horizon={text[:100]}: must be an integer from 1 to {most}.')
        output = values.get('output', 'gif')
        if output not in CONTENT_TYPES:
            raise InputError(f'output={output[:100]}: must be one of {", ".join(CONTENT_TYPES)}.')
        return horizon, output

    def _body(self) -> bytes | None:
        """The bytes that are sent; None where they are refused or do not come."""
        text, most = self.headers.get('Content-Length', ''), self.server.limits.body
        missing = bounded_number(text, most)
        if missing is None:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, 'The header Content-Length is missing.')
            return None
        if missing > most:
            message = f'The clip has {text.lstrip("0")[:20]} bytes; at most {most:,} are taken.'
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
            return None
        pieces = []
        deadline = time.monotonic() + self.server.limits.seconds
        while missing and time.monotonic() < deadline:
            piece = self.rfile.read1(min(missing, 2**16))
            if not piece:
                break
            missing -= len(piece)
            pieces.append(piece)
        if missing:
            message = f'{missing:,} bytes of the clip have not come.'
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)
            return None
        return b''.join(pieces)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        self._send(status, json.dumps({'error': message}).encode(), 'application/json')

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        try:
            self.send_response(status)
            self.send_header('Content-Type', kind)
            self.send_header('Content-Length', str(len(content)))
            self.send_header('X-Content-Type-Options', 'nosniff')
            if status == HTTPStatus.SERVICE_UNAVAILABLE:
                self.send_header('Retry-After', '5')
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:  # who asked has gone
            self.close_connection = True


def main(arguments: list[str]) -> int:
    """Serves until SIGINT (Ctrl-C) or SIGTERM; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--workdir', required=True, help='of the run')
    parser.add_argument('--checkpoint', default='newest', help='newest, best, or a step')
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=8000, help='0 takes one that is free')
    values = parser.parse_args(arguments)
    try:
        run = e3d.load_run(values.workdir, checkpoint=values.checkpoint)
        server = Server((values.host, values.port), run)
        server.batcher.compile()  # and rejects a run that does not forecast
    except (InputError, RunError, OSError) as error:
        print(f'serve: {error}', file=sys.stderr)
        return 2
    with server:
        # Also where the shell has a program in the background ignore SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        print(f'{run} at http://{values.host}:{server.server_port}/', flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print('Stopped.')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
