import numpy as np
import pytest

from e3d.model.tiles import blend_weights, in_tiles, tile_starts


@pytest.mark.parametrize(('side', 'tile'), [(8, 8), (9, 8), (40, 8), (41, 12), (700, 128)])
def test_tiles_cover_a_side_and_overlap(side, tile):
    starts = tile_starts(side, tile)
    assert starts[0] == 0 and starts[-1] == side - tile
    assert all(0 < step <= tile - tile // 4 for step in np.diff(starts))


def test_what_does_not_depend_on_its_neighbors_is_the_same_in_tiles():
    random = np.random.default_rng(0)
    batch = {'frames': random.random((2, 3, 21, 18, 1)), 'valid': random.random((2, 3, 21, 18, 1))}
    batch['draw'] = np.arange(4).reshape(2, 2)
    seen = []

    def forecast(part):
        seen.append(part['frames'].shape)
        assert part['draw'].shape == (2, 2)
        return (part['frames'] * part['valid'])[:, :2]

    found = in_tiles(forecast, batch, (8, 10))
    expected = (batch['frames'] * batch['valid'])[:, :2]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert set(seen) == {(2, 3, 8, 10, 1)} and len(seen) == 4 * 2


def test_no_edge_of_a_tile_is_seen():
    """Tiles that disagree by 1 are blended: no step between neighbors is larger than one of the ramp."""
    numbers = iter(range(100))
    batch = {'frames': np.zeros((1, 1, 40, 16, 1), np.float32)}
    found = in_tiles(lambda part: part['frames'] + next(numbers), batch, (16, 16))
    assert found.min() == 0 and found.max() == 2
    assert np.abs(np.diff(found[0, 0, :, 0, 0])).max() <= 0.25
    assert blend_weights(16, 16).min() > 0
