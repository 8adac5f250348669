"""Which files and folders are clips, and which show the same one."""

import os

import pytest
from PIL import Image

from e3d.data.sources import video_folder_files
from e3d.data.sources.video_folder_files import (
    BESIDE_FILES,
    BESIDE_PICTURES,
    DRAWN,
    OTHER_FORM,
    SAME_FILE,
    UNREAD,
    find_clips,
)
from e3d.errors import InputError


def write(root, *names):
    """Files that no one opens."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


def found(root):
    clips, left_out = find_clips(str(root))
    assert all(path == root / name for name, path in clips.items())
    return sorted(clips), sorted((one.name, one.reason) for one in left_out)


def pictures(folder, count=3):
    return [f'{folder}/{number:04d}.png' for number in range(count)]


@pytest.mark.parametrize(
    ('video', 'frames'),
    [
        ('clip.mp4', 'clip'),
        ('clip.mp4', 'clip.mp4_frames'),
        ('clip.AVI', 'clip_frames'),
        ('clip.webm', 'clip-images'),
        ('a/clip.flv', 'a/clip'),
        ('a/clip.mkv', 'a/frames'),
        ('videos/clip.mp4', 'frames/clip'),
        ('train/clip.mp4', 'train/clip'),
        ('clip.mp4', 'frames/clip'),
        ('train/clip.mp4', 'train/jpg_frames/clip'),
        ('train/videos/clip.mp4', 'train/frames/clip'),
        ('videos/train/clip.mp4', 'frames/train/clip'),
        ('mp4/clip.mp4', 'faces/clip'),
    ],
)
def test_frames_beside_their_video_are_no_clip_of_their_own(tmp_path, video, frames):
    write(tmp_path, video, *pictures(frames))
    assert found(tmp_path) == ([video], [(frames, OTHER_FORM)])


@pytest.mark.parametrize(
    'names',
    [
        ['x/1.mp4', 'y/1.mp4'],
        ['walk/1.mp4', 'walk/1_b.mp4'],
        ['a.mp4', 'b.avi'],
        [*pictures('x/1'), *pictures('y/1')],
        [*pictures('images'), *pictures('frames')],
        ['A.mp4', 'a.mp4'],
        ['1.mp4', *pictures('walk/1')],
        ['train/1.mp4', 'test/1.avi'],
        ['boxing/1.avi', 'walking/1.mp4'],
        ['train/boxing/1.avi', 'train/walking/1.mp4'],
        ['boxing/1.avi', *pictures('walking/1')],
    ],
)
def test_other_clips_are_never_taken_for_the_same(tmp_path, names):
    write(tmp_path, *names)
    assert found(tmp_path)[1] == []
    assert len(found(tmp_path)[0]) == 2


def test_frames_and_masks_of_videos_are_no_clips_of_their_own(tmp_path):
    masks = [f'masks/{clip}' for clip in 'ab']
    frames = [f'frames/{clip}' for clip in 'ab']
    names = ['videos/a.mp4', 'videos/b.mp4']
    write(tmp_path, *names, *(file for folder in (*masks, *frames) for file in pictures(folder)))
    assert found(tmp_path) == (names, [(name, OTHER_FORM) for name in (*frames, *masks)])


def test_few_of_the_pictures_of_a_clip_are_opened(tmp_path, monkeypatch):
    write(tmp_path, *pictures('walk', 100), 'cover.png')
    opened = []
    monkeypatch.setattr(video_folder_files, 'moves', lambda path: bool(opened.append(path)))
    find_clips(str(tmp_path))
    assert len(opened) == 3 + 1


def test_animations_among_pictures_of_their_name_are_clips(tmp_path):
    first, *others = [Image.new('L', (4, 4), 20 * n) for n in range(5)]
    for number in range(4):
        first.save(tmp_path / f'{number}.gif', save_all=True, append_images=others)
    first.save(tmp_path / '4.gif')
    assert found(tmp_path) == (['0.gif', '1.gif', '2.gif', '3.gif'], [('4.gif', BESIDE_FILES)])


def test_of_several_forms_that_nearest_to_the_original_is_taken(tmp_path):
    write(tmp_path, 'clip.gif', 'clip.npy', 'other.gif', *pictures('clip'), *pictures('other'))
    assert found(tmp_path) == (
        ['clip', 'other'],
        [('clip.gif', OTHER_FORM), ('clip.npy', OTHER_FORM), ('other.gif', OTHER_FORM)],
    )


def test_pictures_beside_videos_are_their_frames_or_thumbnails(tmp_path):
    write(tmp_path, 'a.mp4', 'a.jpg', 'b/b.mp4', *pictures('b', 30))
    clips, left_out = found(tmp_path)
    assert clips == ['a.mp4', 'b/b.mp4']
    assert len(left_out) == 31 and {reason for _, reason in left_out} == {BESIDE_FILES}


def test_a_sequence_of_pictures_counts_and_not_the_poses_beside_it(tmp_path):
    beside = ('walk/poses.npz', 'walk/preview.gif', 'walk/cover.jpg')
    write(tmp_path, *pictures('walk', 20), *beside)
    assert found(tmp_path) == (
        ['walk'],
        [('walk/poses.npz', BESIDE_PICTURES), ('walk/preview.gif', BESIDE_PICTURES)],
    )


def test_stray_pictures_beside_arrays_are_no_clip(tmp_path):
    write(tmp_path, 'a.npy', 'b.npy', 'loss.png', 'psnr.png', 'mean image.png')
    clips, left_out = found(tmp_path)
    assert clips == ['a.npy', 'b.npy'] and len(left_out) == 3


def test_what_runs_and_sweeps_have_drawn_is_no_clip(tmp_path):
    write(tmp_path, 'clips/a.mp4', 'runs/s/sweep.csv', 'runs/s/sweep.png')
    for run in ('runs/s/a', 'runs/b'):
        write(tmp_path, f'{run}/config.json', f'{run}/checkpoints/1/x', f'{run}/evaluation.png')
        write(tmp_path, f'{run}/confusion.png', *pictures(f'{run}/samples'), f'{run}/samples/0.gif')
    clips, left_out = found(tmp_path)
    assert clips == ['clips/a.mp4']
    assert {reason for _, reason in left_out} == {DRAWN}
    assert [name for name, _ in left_out] == sorted(
        ['runs/s/sweep.png']
        + [f'{run}/{name}' for run in ('runs/s/a', 'runs/b') for name in
           ('evaluation.png', 'confusion.png', 'samples')]
    )  # fmt: skip


def test_a_file_counts_once_however_many_links_lead_to_it(tmp_path):
    write(tmp_path, *(f'pool/{n}.mp4' for n in range(3)), *pictures('pool/seq'))
    for place in ('train', 'test'):
        (tmp_path / place).mkdir()
    (tmp_path / 'train' / '0.mp4').symlink_to('../pool/0.mp4')
    os.link(tmp_path / 'pool' / '1.mp4', tmp_path / 'train' / '1.mp4')
    (tmp_path / 'test' / 'one.mp4').symlink_to('../pool/1.mp4')
    (tmp_path / 'test' / 'two.mp4').symlink_to('../pool/2.mp4')
    (tmp_path / 'test' / 'seq').symlink_to('../pool/seq')
    clips, left_out = found(tmp_path)
    assert clips == ['test/one.mp4', 'test/seq', 'test/two.mp4', 'train/0.mp4']
    assert left_out == [
        (name, SAME_FILE)
        for name in ('pool/0.mp4', 'pool/1.mp4', 'pool/2.mp4', 'pool/seq', 'train/1.mp4')
    ]


def test_what_may_hold_clips_but_is_not_read_is_told(tmp_path):
    write(tmp_path, 'a.mp4', 'labels.txt', 'README', 'more/b.ZIP', 'c.mp4.part', 'd.h5')
    assert found(tmp_path) == (
        ['a.mp4'],
        [('c.mp4.part', UNREAD), ('d.h5', UNREAD), ('more/b.ZIP', UNREAD)],
    )


def test_linked_folders_are_clips(tmp_path):
    write(tmp_path / 'elsewhere', 'a.mp4', *pictures('seq'))
    root = tmp_path / 'clips'
    root.mkdir()
    (root / 'linked').symlink_to(tmp_path / 'elsewhere')
    assert found(root) == (['linked/a.mp4', 'linked/seq'], [])


@pytest.mark.parametrize('path', ['', 'missing'])
def test_no_folder_is_never_another_one(tmp_path, monkeypatch, path):
    """An empty path is not the current folder."""
    write(tmp_path, 'a.mp4')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r'which is not a folder|is not given'):
        find_clips(path)


def test_the_message_tells_what_there_is_instead_of_clips(tmp_path):
    write(tmp_path, 'a.zip', 'b.zip', 'c.txt')
    with pytest.raises(InputError, match=r'There is: 2 \.zip, 1 \.txt\. Clips are .*\.mp4'):
        find_clips(str(tmp_path))
