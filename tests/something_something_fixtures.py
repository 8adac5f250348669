"""Something-Something v2 in small: official lists, and videos whose gray tells the frame."""

import json

import numpy as np
from clip_fixtures import write_webm

FRAMES = 12
TEMPLATES = ('Pulling [something] from left to right', 'Picking [something] up')
NAMES = [template.replace('[', '').replace(']', '') for template in TEMPLATES]


def write_list(folder, kind, ids, templates=TEMPLATES):
    entries = [
        {'id': id, 'label': 'x', 'template': templates[n % len(templates)], 'placeholders': ['x']}
        for n, id in enumerate(ids)
    ]
    (folder / f'something-something-v2-{kind}.json').write_text(json.dumps(entries))


def write_data_set(tmp_path, train=('1', '2'), test=('3',), frames=FRAMES):
    """Videos of 12 frames a second, whose gray tells the number of the frame."""
    videos = tmp_path / 'raw' / '20bn-something-something-v2'
    videos.mkdir(parents=True)
    clip = 15 * np.arange(frames, dtype=np.uint8)[:, None, None, None]
    for id in (*train, *test):
        write_webm(videos / f'{id}.webm', np.broadcast_to(clip, (frames, 32, 64, 3)).copy())
    write_list(tmp_path / 'raw', 'train', train)
    write_list(tmp_path / 'raw', 'validation', test)
    return videos


def write_labels(tmp_path, reverse=False):
    """The numbers of 174 classes, of which the first two are in the lists; returns their names."""
    names = NAMES + [f'class {n}' for n in range(172)]
    names = names[::-1] if reverse else names
    labels = {name: str(number) for number, name in enumerate(names)}
    (tmp_path / 'raw' / 'labels').mkdir(exist_ok=True)
    (tmp_path / 'raw' / 'labels' / 'labels.json').write_text(json.dumps(labels))
    return names
