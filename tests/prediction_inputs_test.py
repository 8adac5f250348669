"""The frames that a model sees in prediction are, bit by bit, those of the records of training."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from prediction_helpers import FadingSum, run_of
from something_something_fixtures import write_data_set

from e3d.configuration import default_config
from e3d.data.readers.clips import read_clip
from e3d.data.sources.registry import facts_of, open_source
from e3d.errors import InputError
from e3d.pixel_values import as_floats
from e3d.prediction.forecast import forecast
from e3d.prediction.inputs import read_input
from e3d.prediction.media import write_clip
from e3d.prediction.predict import predict_file

INPUT, RATE = 3, 25
COLOR = np.random.default_rng(0).integers(0, 256, (19, 18, 24, 3), np.uint8)
# Smooth in time and space, so that arrays tell their axes.
FIELD = np.random.default_rng(1).random((19, 18, 24)).cumsum(axis=1).cumsum(axis=2) / 500


def write(kind, folder):
    """A clip of a kind in a folder; returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / kind
    match kind:
        case 'clip.mp4' | 'clip.gif':
            write_clip(path, COLOR, RATE)
        case 'pictures':
            write_clip(path, COLOR)
        case 'gray':
            write_clip(path, COLOR[..., :1])
        case 'deep':
            path.mkdir()
            for index, frame in enumerate(COLOR[..., 0].astype(np.uint16) * 200):
                Image.fromarray(frame).save(path / f'frame_{index:03d}.png')
        case 'uneven.gif' | 'moving.webp':
            first, *others = map(Image.fromarray, COLOR)
            options = {'save_all': True, 'append_images': others, 'lossless': True}
            first.save(path, duration=[50, 100, 50] * 6 + [200], **options)
        case 'pages.tif':
            first, *others = map(Image.fromarray, COLOR)
            first.save(path, save_all=True, append_images=others)
        case 'deep.mkv':
            write_deep_video(path)
        case 'bytes.npy':
            np.save(path, COLOR)
        case 'floats.npy':
            np.save(path, FIELD.astype(np.float32))
        case 'words.npz':
            np.savez(path, frames=(FIELD * 65535).astype(np.uint16))
    return path


def write_deep_video(path):
    """Gray of 16 bits, at times of which the distances differ."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('ffv1', rate=RATE)
        stream.height, stream.width, stream.pix_fmt = *COLOR.shape[1:3], 'gray16le'
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for index, frame in enumerate(COLOR[..., 0].astype(np.uint16) * 200):
            frame = av.VideoFrame.from_ndarray(frame, format='gray16le')
            frame.pts, frame.time_base = 30 * index + 7 * (index % 3), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_dataset(folder, **changes):
    dataset = default_config('video_folder').dataset
    dataset.update({'path': str(folder), 'data_dir': str(folder.parent / 'data')})
    dataset.update({'input_frames': INPUT, 'output_frames': 1, 'split_fractions': (1.0, 0.0, 0.0)})
    dataset.update(changes)
    return dataset


KINDS = (
    'clip.mp4', 'clip.gif', 'uneven.gif', 'moving.webp', 'pages.tif', 'deep.mkv', 'pictures', 'gray',
    'deep', 'bytes.npy', 'floats.npy', 'words.npz',
)  # fmt: skip
FITS = ({'fit': 'stretch'}, {'fit': 'crop'})
RATES = ({'frame_rate': None}, {'frame_rate': 10.0}, {'frame_rate': 60.0})
SIZES = ({'frame_size': (18, 24)}, {'frame_size': (9, 9)}, {'frame_size': (20, 50)})
CHANNELS = ({'channels': 1}, {'channels': 3})
EVERY = [*itertools.product(FITS, RATES, SIZES, CHANNELS)]
# Each value of one beside each value of any other.
EACH_PAIR = [
    (FITS[(rate + size) % 2], RATES[rate], SIZES[size], CHANNELS[(rate + size // 2) % 2])
    for rate, size in itertools.product(range(3), range(3))
]


def test_each_pair_of_settings_is_among_those_that_are_tried():
    def pairs(settings):
        return {str(pair) for all_ in settings for pair in itertools.combinations(all_, 2)}

    assert pairs(EACH_PAIR) == pairs(EVERY)


@pytest.mark.parametrize(
    'settings',
    [
        pytest.param(EACH_PAIR, id='each pair'),
        pytest.param(EVERY, id='all', marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize('kind', KINDS)
def test_prediction_sees_what_training_keeps(kind, settings, tmp_path):
    path = write(kind, tmp_path / 'clips')
    for fit, rate, size, channels in settings:
        changes = {**fit, **rate, **size, **channels}
        dataset = make_dataset(tmp_path / 'clips', **changes)
        source = open_source(dataset, 'train')
        trained = as_floats(source[len(source) - 1]['frames'])[-INPUT:]
        run = run_of(FadingSum(), channels['channels'], size['frame_size'], dataset)
        clip = read_input(path, run)
        np.testing.assert_array_equal(clip.frames, trained, err_msg=str(changes))
        assert clip.frames.dtype == np.float32
        if kind in ('clip.mp4', 'clip.gif', 'bytes.npy', 'gray'):
            timed = kind.startswith('clip')
            assert clip.rate == (rate['frame_rate'] or (RATE if timed else None))


@pytest.mark.parametrize(('rate', 'count'), [(None, 12), (24.0, 24), (6.0, 6)])
def test_pictures_have_the_rate_that_their_training_took_them_for(rate, count, tmp_path):
    videos = write_data_set(tmp_path)
    video = tmp_path / 'clip.webm'
    (videos / '3.webm').rename(video)
    write_clip(videos / '3', read_clip(video))
    dataset = default_config('something_something', 'recognition').dataset
    dataset.update({'path': str(tmp_path / 'raw'), 'data_dir': str(tmp_path / 'data')})
    dataset.update({'input_frames': INPUT, 'output_frames': 1, 'frame_size': (16, 16)})
    dataset.update({'fraction': 1.0, 'frame_rate': rate})
    run = run_of(FadingSum(), 3, (16, 16), dataset)
    trained = open_source(dataset, 'test')[0]
    assert trained['clip_frames'] == count
    for path in (video, videos / '3'):
        whole, end = read_input(path, run, whole=True), read_input(path, run)
        assert len(whole.frames) == count and whole.rate == (rate or 12)
        # What ends the sequence is not observed, but is the end of the clip.
        np.testing.assert_array_equal(whole.frames[-INPUT - 1 :], as_floats(trained['frames']))
        np.testing.assert_array_equal(end.frames, whole.frames[-INPUT:])
    assert f'{videos / "3"}: pictures taken to be 12 a second, as in the training.' in whole.account
    assert ('12 frames/s brought to' in whole.account[-1]) == (rate is not None)


@pytest.mark.parametrize('fit', ['stretch', 'crop'])
def test_arrays_in_python_are_prepared_as_files_are(fit, tmp_path):
    path = write('bytes.npy', tmp_path / 'clips')
    dataset = make_dataset(tmp_path / 'clips', fit=fit, frame_size=(8, 8), channels=1)
    run = run_of(FadingSum(), 1, (8, 8), dataset)
    seen = read_input(path, run).frames
    total = 0.3 * seen.sum(axis=0)
    np.testing.assert_allclose(forecast(run, COLOR)[0], total / INPUT, rtol=1e-5)


def test_the_account_says_what_was_done(tmp_path):
    path = write('clip.gif', tmp_path / 'clips')
    changes = {'fit': 'crop', 'frame_rate': 10.0, 'frame_size': (9, 9), 'channels': 1}
    run = run_of(FadingSum(), 1, (9, 9), make_dataset(tmp_path, **changes))
    text = predict_file(run, path, tmp_path / 'next.gif')
    assert 'Read the last 3 frames of' in text
    assert '25 frames/s brought to 10; RGB made gray; the middle 18 x 18 of 18 x 24 cut' in text
    assert '18 x 18 pixels resized to 9 x 9' in text
    assert text.endswith(f'to {tmp_path / "next.gif"} at 10 frames/s.')
    text = predict_file(run, path, tmp_path / 'next.npy')
    assert text.endswith('next.npy; a frame stands for 1/10 s.')

    path = write('floats.npy', tmp_path / 'clips')
    run = run_of(FadingSum(), 1, (18, 24), make_dataset(tmp_path, frame_size=(18, 24)))
    text = predict_file(run, path, tmp_path / 'next.mp4')
    assert 'float32 [19, 18, 24] read as THW' in text and '1 is white' in text
    assert text.endswith('next.mp4 at 10 frames/s, as the input states none.')


@pytest.mark.parametrize(('rate', 'told'), [(RATE, False), (60, True)])
def test_a_clip_of_another_rate_than_those_of_the_training_is_told(rate, told, tmp_path):
    write('clip.mp4', tmp_path / 'clips')
    dataset = make_dataset(tmp_path / 'clips')
    facts = facts_of(open_source(dataset, 'train'))
    run = run_of(FadingSum(), 1, tuple(dataset.frame_size), dataset)._replace(facts=facts)
    write_clip(tmp_path / 'other.mp4', COLOR, rate)
    text = predict_file(run, tmp_path / 'other.mp4', tmp_path / 'next.npy')
    line = 'other.mp4 has a frame every 1/60 s, but the data of the training have one every 1/25 s.'
    assert (line in text) == ('every' in text) == told


def test_pictures_after_a_gap_are_continued_and_it_is_said(tmp_path):
    for number, frame in zip((1, 2, 3, 5, 6), COLOR, strict=False):
        (tmp_path / 'clip').mkdir(exist_ok=True)
        Image.fromarray(frame).save(tmp_path / 'clip' / f'{number}.png')
    run = run_of(FadingSum(), 3, (18, 24), make_dataset(tmp_path, frame_size=(18, 24), channels=3))
    clip = read_input(tmp_path / 'clip', run)
    np.testing.assert_array_equal(clip.frames, as_floats(COLOR[3:5]))
    text = '\n'.join(clip.account)
    assert '1 gap in them, which no sequence crosses: a forecast continues the last stretch' in text
    assert 'the last 2 frames' in text


def test_bits_that_16_leave_unused_in_a_clip_are_said(tmp_path):
    frames = np.linspace(300, 4095, 5 * 18 * 24).reshape(5, 18, 24).astype(np.uint16)
    (tmp_path / 'clip').mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / 'clip' / f'{number}.png')
    np.save(tmp_path / 'clip.npy', frames)
    run = run_of(FadingSum(), 1, (18, 24), make_dataset(tmp_path, frame_size=(18, 24)))
    for name in ('clip', 'clip.npy'):
        text = '\n'.join(read_input(tmp_path / name, run).account)
        assert (
            text.count('no value is above 4,095, as of 12 bits; 65,535 is white all the same') == 1
        )
    Image.fromarray(frames[4] * 16).save(tmp_path / 'clip' / '4.png')
    assert 'no value' not in '\n'.join(read_input(tmp_path / 'clip', run).account)


@pytest.mark.parametrize(('name', 'rate'), [('next.gif', '50'), ('next.mp4', '1000')])
def test_rates_that_a_file_cannot_state_are_said(tmp_path, name, rate):
    dataset = make_dataset(tmp_path, frame_size=(18, 24), channels=3, frame_rate=2000.0)
    run = run_of(FadingSum(), 3, (18, 24), dataset)
    text = predict_file(run, write('clip.gif', tmp_path / 'clips'), tmp_path / name)
    assert text.endswith(f'at {rate} frames/s, as near as such a file comes to 2000.')


def test_the_layout_of_the_run_is_that_of_its_input(tmp_path):
    frames = np.moveaxis(COLOR, -1, 1)[:, :, :, :3]  # [T, C, H, W], which 3 x 18 x 3 does not tell
    np.save(tmp_path / 'clip.npy', frames)
    run = run_of(FadingSum(), 3, (18, 3), make_dataset(tmp_path, layout='TCHW'))
    np.testing.assert_array_equal(
        read_input(tmp_path / 'clip.npy', run).frames, as_floats(COLOR[-3:, :, :3])
    )
    run = run_of(FadingSum(), 3, (18, 3), make_dataset(tmp_path))
    with pytest.raises(InputError, match=r'dataset\.layout'):
        read_input(tmp_path / 'clip.npy', run)


def test_frames_smaller_than_a_tile_are_refused():
    run = run_of(FadingSum(), dataset={'name': 'grids', 'crop': (8, 8)})
    assert forecast(run, np.zeros((INPUT, 8, 9, 1), np.float32)).shape[1:] == (8, 9, 1)
    with pytest.raises(InputError, match=r'are 6 x 12, but .* tiles of 8 x 8 \(dataset.crop\)'):
        forecast(run, np.zeros((INPUT, 6, 12, 1), np.float32))
