"""Makes a folder in the form of Something-Something v2, of drifting noise, to time decoding.

python -m benchmarks.sample_videos FOLDER
"""

import argparse
import json
import pathlib

import av
import numpy as np

TEMPLATES = ('Pulling [something] from left to right', 'Picking [something] up')
HEIGHT, WIDTH, FRAMES, RATE = 240, 427, 48, 12


def write_clip(path: pathlib.Path, random: np.random.Generator) -> None:
    """A picture of smooth noise that drifts by 2 pixels a frame, as VP9 in WebM."""
    coarse = random.integers(0, 255, (HEIGHT // 8, WIDTH // 8 + 2, 3), np.uint8)
    picture = coarse.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libvpx-vp9', rate=RATE)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, 'yuv420p'
        stream.options = {'deadline': 'realtime', 'cpu-used': '8'}
        for shift in range(0, 2 * FRAMES, 2):
            pixels = np.roll(picture, shift, axis=1)[:, :WIDTH]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode())


def main():
    """Writes the clips and the two lists."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('folder', type=pathlib.Path)
    parser.add_argument('--count', type=int, default=40, help='clips in each of the two lists')
    arguments = parser.parse_args()
    videos = arguments.folder / '20bn-something-something-v2'
    videos.mkdir(parents=True)
    random = np.random.default_rng(0)
    for start, part in ((0, 'train'), (arguments.count, 'validation')):
        entries = []
        for number in range(start, start + arguments.count):
            template = TEMPLATES[number % len(TEMPLATES)]
            write_clip(videos / f'{number}.webm', random)
            entry = {'id': str(number), 'label': template, 'template': template}
            entries.append(entry | {'placeholders': ['noise']})
        target = arguments.folder / f'something-something-v2-{part}.json'
        target.write_text(json.dumps(entries))
    print(f'{arguments.folder}: {2 * arguments.count} clips of {WIDTH} x {HEIGHT}')


if __name__ == '__main__':
    main()
