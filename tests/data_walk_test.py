"""A walk through folders ends, whatever lies there, and says what it cannot look at."""

import os

from e3d.data.readers.walk import walk


def walked(root):
    left_out = []
    files = [
        (folder / name).relative_to(root).as_posix()
        for folder, _, names in walk(root, left_out)
        for name in names
    ]
    return files, {one.name: one.reason for one in left_out}


def test_links_are_followed_and_loops_are_not(tmp_path):
    for folder in ('a/b', 'c'):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / 'file').touch()
    (tmp_path / 'a' / 'b' / 'up').symlink_to('..')
    (tmp_path / 'c' / 'to_a').symlink_to('../a')
    (tmp_path / 'a' / 'to_c').symlink_to('../c')
    (tmp_path / 'self').symlink_to('self')
    files, left_out = walked(tmp_path)
    assert files == ['a/b/file', 'a/to_c/file', 'c/file', 'c/to_a/b/file']
    assert left_out['self'] == 'a link that leads nowhere'
    assert left_out['a/b/up'] == 'a link back to a folder that was gone through'
    assert left_out['a/to_c/to_a'] == 'a link back to a folder that was gone through'


def test_many_links_among_folders_do_not_multiply(tmp_path):
    names = [f'd{n}' for n in range(12)]
    for name in names:
        (tmp_path / name).mkdir()
        for other in names:
            (tmp_path / name / f'to_{other}').symlink_to(f'../{other}')
    folders = sum(1 for _ in walk(tmp_path, []))
    assert folders <= 1 + 8 * len(names)


def test_only_regular_files_are_files(tmp_path):
    (tmp_path / 'file.mp4').touch()
    (tmp_path / '.hidden.mp4').touch()
    os.mkfifo(tmp_path / 'pipe.mp4')
    (tmp_path / 'zero.mp4').symlink_to('/dev/zero')
    (tmp_path / 'gone.mp4').symlink_to('nowhere')
    files, left_out = walked(tmp_path)
    assert files == ['file.mp4']
    assert left_out == {
        'pipe.mp4': 'a named pipe, socket or device',
        'zero.mp4': 'a named pipe, socket or device',
        'gone.mp4': 'a link that leads nowhere',
    }


def test_a_caller_may_keep_out_of_folders(tmp_path):
    for name in ('in', 'out'):
        (tmp_path / name).mkdir()
    folders = []
    for folder, subfolders, _ in walk(tmp_path, []):
        folders.append(folder.name)
        subfolders[:] = [name for name in subfolders if name != 'out']
    assert folders == [tmp_path.name, 'in']
