"""The server of the examples, asked over real connections."""

import concurrent.futures
import http.client
import io
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

import av
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from selection import fast

from e3d import forecast, load_run, make_config
from e3d.configuration import default_config
from e3d.data.sources.scales import Scale
from e3d.model import build_model
from e3d.model.needs import initialize
from e3d.prediction.inputs import read_input
from e3d.prediction.predict import predict_file
from e3d.runs.trained_run import Run
from e3d.weights.importing import import_run
from e3d.weights.tensor_file import write_run
from examples import serve
from tests.prediction_helpers import FadingSum, run_of
from tests.training_helpers import TinyForecaster

ROOT = pathlib.Path(__file__).parent.parent
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
RUN = run_of(FadingSum())
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
LIMITS = serve.Limits(body=5000, horizon=6, batch=4, waiting=2, connections=20, seconds=300.0)


@pytest.fixture(scope='module')
def server():
    with serve.Server(('127.0.0.1', 0), RUN, LIMITS) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(port, method, path, body=None, headers=()):
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=300)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def npy(frames):
    file = io.BytesIO()
    np.save(file, frames)
    return file.getvalue()


def gif(frames):
    file = io.BytesIO()
    first, *others = [Image.fromarray(frame[..., 0]) for frame in frames]
    first.save(file, 'GIF', save_all=True, append_images=others, duration=100)
    return file.getvalue()


def test_the_continuation_is_that_of_forecast(server):
    status, headers, content = ask(
        server.server_port, 'POST', '/forecast?horizon=4&output=npy', npy(FRAMES)
    )
    assert status == 200 and headers['Content-Type'] == 'application/octet-stream'
    np.testing.assert_allclose(np.load(io.BytesIO(content)), forecast(RUN, FRAMES, 4), rtol=1e-6)


def test_pictures_come_in_and_go_out(server):
    status, headers, content = ask(server.server_port, 'POST', '/forecast', gif(FRAMES))
    assert status == 200 and headers['Content-Type'] == 'image/gif'
    picture = Image.open(io.BytesIO(content))
    assert (picture.size, picture.n_frames) == ((8, 8), 2)


def test_the_page_sends_where_clips_go(server):
    status, headers, content = ask(server.server_port, 'GET', '/')
    assert status == 200 and headers['Content-Type'].startswith('text/html')
    assert b'fetch(`/forecast${query}`' in content
    status, _, content = ask(server.server_port, 'GET', '/health')
    assert status == 200 and json.loads(content)['waiting'] == 0


def test_gaps_are_gaps_as_in_a_file(tmp_path):
    dataset = default_config('grids').dataset
    dataset.update({'input_frames': 3, 'output_frames': 2})
    run = Run(*run_of(TinyForecaster(), 2, dataset=dataset.to_dict()))
    run = run._replace(frame_shape=(8, 8, 1), beside={'valid': 1})
    run = run._replace(scale=Scale((5.0, 25.0), (-np.inf, np.inf)))
    rain = 30 * np.random.default_rng(0).random((5, 8, 8), np.float32)
    rain[:, :2] = rain[4, 5] = np.nan
    np.save(tmp_path / 'rain.npy', rain)
    predict_file(run, tmp_path / 'rain.npy', tmp_path / 'next.npy')
    predict_file(run, tmp_path / 'rain.npy', tmp_path / 'next.gif')
    with serve.Server(('127.0.0.1', 0), run, LIMITS) as server:
        server.read = lambda content: read_input(tmp_path / 'rain.npy', run)
        found = np.load(io.BytesIO(server.answer(b'', 2, 'npy')))
        expected = np.load(tmp_path / 'next.npy')
        np.testing.assert_array_equal(found, expected)
        assert np.isnan(found[:, :2]).all() and np.isfinite(found[:, 2:]).all()
        assert server.answer(b'', 2, 'gif') == (tmp_path / 'next.gif').read_bytes()


@pytest.mark.parametrize(
    ('path', 'body', 'headers', 'status', 'message'),
    [
        ('/forecast', b'', {}, 400, 'The clip'),
        ('/forecast', b'not a clip at all', {}, 400, 'The clip'),
        ('/forecast', npy(FRAMES)[:-9], {}, 400, 'The clip'),
        ('/forecast', npy(np.array([{}])), {}, 400, 'The clip'),
        ('/forecast?horizon=0', npy(FRAMES), {}, 400, 'horizon=0: must be an integer from 1 to 6'),
        ('/forecast?horizon=1e3', npy(FRAMES), {}, 400, 'horizon=1e3: must be'),
        ('/forecast?horizon=' + '9' * 50, npy(FRAMES), {}, 400, 'must be an integer from 1 to 6'),
        ('/forecast?horizon=' + '0' * 8 + '12', npy(FRAMES), {}, 400, 'must be an integer from'),
        ('/forecast?horizon=' + '0' * 9, npy(FRAMES), {}, 400, 'must be an integer from 1 to 6'),
        ('/forecast?horizon=' + '0' * 8 + '1' * 5000, npy(FRAMES), {}, 400, 'must be an integer'),
        ('/forecast?output=exe', npy(FRAMES), {}, 400, 'must be one of gif, mp4, npy'),
        ('/forecast?steps=1', npy(FRAMES), {}, 400, 'must be horizon or output'),
        ('/forecast?' + '&'.join('a=1' for _ in range(11)), npy(FRAMES), {}, 400, '10 fields'),
        ('/other', npy(FRAMES), {}, 404, '/forecast'),
        ('/forecast', bytes(5001), {}, 413, '5001 bytes; at most 5,000'),
        ('/forecast', b'', {'Content-Length': '9' * 40}, 413, 'at most 5,000'),
        ('/forecast', b'', {'Content-Length': '0' * 20 + '5001'}, 413, 'has 5001 bytes'),
        ('/forecast', b'', {'Content-Length': '0' * 5000 + '9' * 5000}, 413, 'at most 5,000'),
        ('/forecast', b'', {'Content-Length': '1_0'}, 411, 'Content-Length'),
        ('/forecast', b'', {'Content-Length': '-1'}, 411, 'Content-Length'),
    ],
)
def test_what_cannot_be_used_is_refused(server, path, body, headers, status, message):
    found, _, content = ask(server.server_port, 'POST', path, body, headers)
    assert found == status and message in json.loads(content)['error']
    assert '/tmp' not in json.loads(content)['error']


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('0', 0), ('000', 0), ('7', 7), ('120', 120), ('121', 121), ('122', 121), ('1200', 121),
        ('0' * 5000 + '12', 12), ('9' * 5000, 121), ('', None), (' 7', None), ('7 ', None),
        ('+7', None), ('-7', None), ('1_0', None), ('1.0', None), ('1e1', None), ('0x7', None),
        ('\u0663', None), ('\uff11', None), ('\u00b2', None),
    ],
)  # fmt: skip
def test_numbers_are_ascii_digits_and_bounded_whatever_zeros_begin_them(text, expected):
    assert serve.bounded_number(text, 120) == expected


def test_a_clip_that_does_not_come_ends_the_request(server):
    with socket.create_connection(('127.0.0.1', server.server_port), timeout=300) as connection:
        connection.sendall(b'POST /forecast HTTP/1.0\r\nContent-Length: 9\r\n\r\nshort')
        connection.shutdown(socket.SHUT_WR)
        assert b' 408 ' in connection.makefile('rb').readline()
    assert ask(server.server_port, 'GET', '/health')[0] == 200


@pytest.mark.skipif(BROWSER is None, reason='there is no Chromium here')
def test_a_clip_that_is_dropped_is_shown_beside_its_continuation(server, monkeypatch, tmp_path):
    page = tmp_path / 'page.html'
    page.write_text(serve.PAGE.read_text('utf-8') + dropping(gif(FRAMES), b'no clip'), 'utf-8')
    monkeypatch.setattr(serve, 'PAGE', page)
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=5000']
    url = f'http://127.0.0.1:{server.server_port}/'
    done = subprocess.run(
        [BROWSER, *options, '--dump-dom', url], capture_output=True, text=True, timeout=300
    )
    assert 'data-pictures="input 8x8, forecast 8x8"' in done.stdout, done.stdout + done.stderr
    assert 'data-problem="The clip' in done.stdout


def test_a_clip_that_decodes_for_ever_is_refused_and_others_are_served(tmp_path):
    limits = LIMITS._replace(body=2**23, reading=3.0)
    with serve.Server(('127.0.0.1', 0), RUN, limits) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, _, content = ask(server.server_port, 'POST', '/forecast', endless(tmp_path))
        assert status == 400 and 'The clip takes more than 3 s' in json.loads(content)['error']
        server.reader.seconds = 300.0
        assert ask(server.server_port, 'POST', '/forecast', npy(FRAMES))[0] == 200
        server.shutdown()


def endless(folder):
    """A video of 5 MB whose frames have 23 GB: a picture, and that nothing changes, many times."""
    frame = av.VideoFrame.from_ndarray(np.zeros((512, 512, 3), np.uint8), 'rgb24')
    with av.open(str(folder / 'endless.avi'), 'w') as container:
        stream = container.add_stream('mpeg4', rate=30)
        stream.width, stream.height, stream.gop_size, stream.pix_fmt = 512, 512, 600, 'yuv420p'
        still = [packet for _ in range(3) for packet in stream.encode(frame)]
        for count in range(30_000):
            packet = still[min(count, 1)]
            packet.pts = packet.dts = count
            packet.stream = stream
            container.mux(packet)
    return (folder / 'endless.avi').read_bytes()


def dropping(clip, other):
    """A script that drops a clip, and then what is none."""
    return f"""<script>
    (async () => {{
      const file = bytes => new File([Uint8Array.from(bytes)], 'clip.gif', {{ type: 'image/gif' }})
      await forecast(file({list(clip)}))
      const images = [...document.querySelectorAll('figure img')]
      await Promise.all(images.map(image => image.decode()))
      const size = ({{ parentElement, naturalWidth, naturalHeight }}) =>
        `${{parentElement.id}} ${{naturalWidth}}x${{naturalHeight}}`
      document.body.dataset.pictures = images.map(size).join(', ')
      await forecast(file({list(other)}))
      document.body.dataset.problem = by('message').textContent
    }})()
    </script>"""


def test_requests_that_wait_are_forecast_together_and_one_too_many_is_refused(monkeypatch):
    sizes, started, go_on = [], threading.Event(), threading.Event()

    def slow(run, clips, horizon):
        sizes.append(len(clips))
        started.set()
        assert go_on.wait(300)
        return clips[:, :1] + horizon

    monkeypatch.setattr(serve.e3d, 'forecast', slow)
    batcher = serve.Batcher(RUN, LIMITS._replace(waiting=3))
    clips = [np.full((1, 2, 2, 1), value, np.float32) for value in range(5)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(batcher.forecast, clips[0], 1)
        assert started.wait(300)
        others = [pool.submit(batcher.forecast, clip, 1) for clip in clips[1:4]]
        while len(batcher) < 3:
            pass
        with pytest.raises(serve.Busy):
            batcher.forecast(clips[4], 1)
        go_on.set()
        for value, found in enumerate([first, *others]):
            np.testing.assert_array_equal(found.result(), clips[value] + 2)  # as in training
    assert sizes == [1, LIMITS.batch]


def test_a_failure_is_that_of_its_requests(monkeypatch):
    def fails(*arguments):
        raise serve.RunError('not finite')

    monkeypatch.setattr(serve.e3d, 'forecast', fails)
    batcher = serve.Batcher(RUN, LIMITS)
    for _ in range(2):
        with pytest.raises(serve.RunError, match='not finite'):
            batcher.forecast(np.zeros((1, 2, 2, 1)), 1)


@pytest.mark.parametrize('number', fast([signal.SIGINT], [signal.SIGINT, signal.SIGTERM]))
def test_a_run_is_served_by_a_process(tmp_path, number):
    config = make_config('moving_mnist:small', model='convlstm')
    config.model.update({'layers': 1, 'features': 2, 'patch_size': 4})
    config.dataset.update(
        {'canvas': (8, 8), 'digit_size': 4, 'input_frames': 3, 'output_frames': 2}
    )
    model = build_model(**config.model)
    create = jax.jit(initialize, static_argnums=(0, 2))
    params = create(model, jax.random.key(0), (8, 8, 1))['params']
    write_run(
        Run(model, jax.tree.map(jnp.asarray, params), config, (8, 8, 1), 0),
        tmp_path / 'r.safetensors',
    )
    import_run(tmp_path / 'r.safetensors', tmp_path / 'run')
    # As a shell starts what is to run in the background.
    command = ['sh', '-c', 'trap "" INT; exec "$@"', 'sh', sys.executable, 'examples/serve.py']
    command += [f'--workdir={tmp_path / "run"}', '--port=0']
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': '.'},
    )
    try:
        port = int(process.stdout.readline().rsplit(':', 1)[1].strip('/\n'))
        status, _, content = ask(port, 'POST', '/forecast?output=npy', npy(FRAMES))
        assert status == 200
        expected = forecast(load_run(tmp_path / 'run'), FRAMES)
        np.testing.assert_allclose(np.load(io.BytesIO(content)), expected, atol=1e-6)
        process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
