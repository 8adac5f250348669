"""Clips are read from every form of file; what cannot be read is rejected."""

import numpy as np
import pytest
from PIL import Image

from e3d.data.readers import clips
from e3d.data.readers.clips import read_clip
from e3d.errors import InputError

COLOR = np.random.default_rng(1).integers(0, 256, (4, 6, 8, 3), np.uint8)


def write_gif(path, frames=COLOR):
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=100)


def test_missing_and_empty_inputs_are_rejected(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        read_clip(tmp_path / 'clip.mp4')
    with pytest.raises(InputError, match='holds no pictures'):
        read_clip(tmp_path)


def test_clips_beyond_the_limits_are_rejected(tmp_path, monkeypatch):
    write_gif(tmp_path / 'clip.gif')
    monkeypatch.setattr(clips, 'MAX_BYTES', 400)
    with pytest.raises(InputError, match='too long'):
        read_clip(tmp_path / 'clip.gif')
