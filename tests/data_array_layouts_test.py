"""Which axis of an array is which: told by it, or named, and never guessed in silence."""

import numpy as np
import pytest

from e3d.data.readers.array_layouts import grid_layout, read_clip_axes, read_sequences
from e3d.errors import InputError


def drifting(count, length, height, width, channels):
    """Unrelated pictures that change a little from frame to frame: [N, T, H, W, C]."""
    random = np.random.default_rng(0)
    pictures = random.random((count, 1, height, width, channels))
    return pictures + np.linspace(0, 0.05, length).reshape(1, -1, 1, 1, 1)


def stored_as(frames, layout):
    """[N, T, H, W, C] in another order; axes that the layout lacks must be 1."""
    kept = [axis for axis in 'NTHWC' if axis in layout]
    lacking = tuple(place for place, axis in enumerate('NTHWC') if axis not in layout)
    return frames.squeeze(lacking).transpose([kept.index(axis) for axis in layout])


@pytest.mark.parametrize(
    ('layout', 'shape'),
    [
        ('NTHW', (20, 12, 9, 11, 1)),
        ('TNHW', (12, 20, 9, 11, 1)),
        ('TNHW', (10, 20, 64, 64, 1)),
        ('NTHW', (20, 10, 64, 64, 1)),
        ('NTHWC', (20, 12, 9, 11, 3)),
        ('NTHWC', (20, 12, 9, 11, 1)),
        ('NTHWC', (20, 12, 9, 11, 2)),
        ('NTHWC', (20, 12, 4, 4, 1)),
        ('NTHWC', (20, 12, 9, 9, 7)),
        ('NTCHW', (20, 12, 9, 11, 3)),
        ('NTCHW', (20, 12, 9, 11, 1)),
        ('NTCHW', (20, 12, 9, 9, 7)),
        ('TNHWC', (20, 12, 9, 11, 1)),
        ('TNCHW', (20, 12, 9, 11, 1)),
        ('NTHWC', (1, 12, 9, 11, 3)),
        ('NTHW', (1, 12, 9, 11, 1)),
    ],
)
def test_sequences_that_tell_their_layout(layout, shape):
    frames = drifting(*shape)
    reading = read_sequences(stored_as(frames, layout), '', 'file')
    np.testing.assert_array_equal(reading.frames, frames)
    assert f'read as {layout} (' in reading.account


def test_unrelated_pictures_do_not_become_a_sequence():
    reading = read_sequences(np.random.default_rng(0).random((12, 1, 9, 11, 1)), '', 'file')
    assert reading.frames.shape[:2] == (12, 1)


def test_frames_without_order_are_sequences_first_where_all_axes_are_there():
    noise = np.random.default_rng(0).random((12, 12, 9, 11, 1))
    reading = read_sequences(noise, '', 'file')
    np.testing.assert_array_equal(reading.frames, noise)
    assert 'the usual order of sequences and time' in reading.account


@pytest.mark.parametrize(
    ('shape', 'layouts'),
    [
        ((20, 12, 9, 11), ['NTHW', 'TNHW']),  # noise, so that nothing tells the first axes
        ((20, 20, 64, 64), ['NTHW', 'TNHW']),
        ((20, 3, 9, 11), ['NTHW', 'TCHW']),
        ((20, 9, 11, 3), ['NTHW', 'THWC']),
        ((20, 3, 12, 9, 11), ['NTHWC', 'NTCHW', 'NCTHW']),
        ((20, 12, 3, 9, 1), ['NTHWC', 'NTCHW']),
        ((20, 3, 12, 9, 9), ['NCTHW']),
        ((20, 1, 12, 9, 9), ['NCTHW']),
        ((20, 3, 9, 9, 12), ['NTHWC', 'NCHWT']),
        ((20, 12, 8, 9, 10), ['NTHWC', 'NTCHW']),
        ((20, 9, 9, 12), ['NTHW', 'NHWT']),
    ],
)
def test_sequences_that_do_not_tell_it_are_rejected_with_the_remedy(shape, layouts):
    noise = np.random.default_rng(0).random(shape)
    with pytest.raises(InputError, match='does not tell which axis is which') as caught:
        read_sequences(noise, '', 'file')
    for layout in layouts:
        assert f'--config.dataset.layout={layout} for {layout[0]}=20' in str(caught.value)
        assert read_sequences(noise, layout, 'file').account.startswith(
            f'file: float64 {list(shape)} read as {layout} (as dataset.layout says)'
        )


@pytest.mark.parametrize(
    ('layout', 'shape'),
    [
        ('THW', (12, 9, 11, 1)),
        ('THW', (12, 9, 9, 1)),
        ('THWC', (12, 9, 11, 3)),
        ('THWC', (12, 9, 11, 1)),
        ('THWC', (12, 9, 9, 3)),
        ('THWC', (5, 4, 6, 3)),
        ('TCHW', (12, 9, 11, 1)),
        ('TCHW', (12, 9, 11, 3)),
        ('NTHWC', (12, 9, 11, 3)),
        ('NTCHW', (12, 9, 11, 1)),
        ('NTHW', (12, 9, 11, 1)),
        ('NTHW', (12, 9, 9, 1)),
        ('NCTHW', (12, 9, 11, 1)),
        ('THWC', (1, 9, 11, 3)),
        ('TCHW', (1, 9, 11, 3)),
    ],
)
def test_clips_that_tell_their_layout(layout, shape):
    frames = drifting(1, *shape)
    reading = read_clip_axes(stored_as(frames, layout), '', 'file')
    np.testing.assert_array_equal(reading.frames, frames[0])
    assert f'read as {layout} (by its shape)' in reading.account


@pytest.mark.parametrize(
    ('shape', 'layouts'),
    [
        ((9, 9, 12), ['THW', 'HWT']),
        ((9, 11, 3), ['THW', 'HWT']),  # or a picture
        ((3, 12, 9, 11), ['CTHW', 'THWC']),
        ((12, 8, 9, 11), ['THWC', 'TCHW']),
        ((12, 8, 9, 9), ['THWC', 'TCHW']),
        ((12, 9, 9, 7), ['THWC', 'TCHW']),
        ((1, 9, 9, 12), ['THWC', 'TCHW']),
        ((1, 12, 9, 9, 7), ['NTHWC', 'NTCHW']),
        ((12, 1, 9, 3), ['THWC', 'TCHW']),
    ],
)
def test_clips_that_do_not_tell_it_are_rejected_with_the_remedy(shape, layouts):
    with pytest.raises(InputError, match='does not tell which axis is which') as caught:
        read_clip_axes(np.zeros(shape), '', 'file')
    for layout in layouts:
        assert f'--config.dataset.layout={layout} for' in str(caught.value)


@pytest.mark.parametrize('shape', [(30, 32, 32, 49), (1, 32, 32, 49), (30, 32, 48, 49)])
def test_series_that_have_time_last_are_no_frames_of_many_channels(shape):
    with pytest.raises(InputError, match='does not tell which axis is which') as caught:
        grid_layout(np.zeros(shape), '', 'vil')
    for layout in ('NHWT', 'NTHW', 'THWC', 'TCHW'):
        assert f'--config.dataset.layout={layout} for' in str(caught.value)
        assert grid_layout(np.zeros(shape), layout, 'vil') == layout
    assert 'files of their own' not in str(caught.value)


@pytest.mark.parametrize('layout', ['NTCHW', 'TCHW', 'CHWT', 'WHNTC'])
def test_the_layout_of_a_data_set_tells_that_of_a_clip(layout):
    frames = drifting(1, 12, 9, 11, 3)
    clip = stored_as(frames, layout.replace('N', ''))
    np.testing.assert_array_equal(read_clip_axes(clip, layout, 'file').frames, frames[0])
    gray = drifting(1, 12, 9, 11, 1)
    clip = stored_as(gray, layout.replace('N', '').replace('C', ''))
    np.testing.assert_array_equal(read_clip_axes(clip, layout, 'file').frames, gray[0])


def test_axes_that_a_layout_does_not_name_are_rejected():
    with pytest.raises(InputError, match=r'file has the shape .*axes, but dataset.layout='):
        read_sequences(np.zeros((9, 8, 7, 6)), 'THW', 'file')


@pytest.mark.parametrize('layout', ['NTHW', 'TNHW', 'HWT'])
def test_a_clip_of_other_axes_than_the_layout_tells_itself(layout):
    frames = drifting(1, 12, 9, 11, 1)[0]  # as forecasts are written
    reading = read_clip_axes(frames, layout, 'file')
    np.testing.assert_array_equal(reading.frames, frames)
    assert 'as THWC (by its shape, as dataset.layout=' in reading.account


def test_several_clips_in_a_file_of_one_are_rejected():
    for layout in ('', 'NTHWC'):
        with pytest.raises(InputError, match=r'[Ss]tore .*clip.* of (its|their) own'):
            read_clip_axes(np.zeros((2, 12, 9, 11, 3)), layout, 'file')


def test_a_clip_can_be_stored_so_that_it_tells_its_layout():
    frames = np.random.default_rng(0).random((12, 9, 9))
    for layout, remedy in {
        'HWT': 'frames.transpose(2, 0, 1)[..., np.newaxis]',
        'THW': 'frames[..., np.newaxis]',
    }.items():
        stored = stored_as(frames[np.newaxis, ..., np.newaxis], 'HWT')
        with pytest.raises(InputError) as caught:
            read_clip_axes(stored, '', 'file')
        assert f'layout={layout} for ' in str(caught.value)
        assert f'(or store {remedy})' in str(caught.value)
    again = stored.transpose(2, 0, 1)[..., np.newaxis]
    np.testing.assert_array_equal(read_clip_axes(again, '', 'file').frames[..., 0], frames)


def test_a_layout_that_the_frames_speak_against_is_followed_and_this_is_said():
    frames = drifting(20, 12, 9, 11, 1)
    for layout, doubt in {'NTHWC': False, 'TNHWC': True}.items():
        reading = read_sequences(frames, layout, 'file')
        expected = frames.swapaxes(0, 1) if doubt else frames
        np.testing.assert_array_equal(reading.frames, expected)
        assert ('though frames of one time are more alike' in reading.account) == doubt


@pytest.mark.parametrize('shape', [(), (9,), (9, 8)])
def test_arrays_of_too_few_axes_are_no_clips(shape):
    with pytest.raises(InputError, match=r'a clip is \[T, H, W\]'):
        read_clip_axes(np.zeros(shape), '', 'file')
