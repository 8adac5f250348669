"""Frames larger than those of the training, forecast tile by tile.

Tiles have the size of the training, lie evenly over the frame, and overlap by a quarter of their sides
at least. Where they overlap they are blended: the weight of a tile falls linearly to its edges, so no
edge is seen. What lies outside of a tile has no part in it: what comes in from there is forecast by the
tiles that see it.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np

OVERLAP = 4  # the part of a side that neighbors share


def tile_starts(side: int, tile: int) -> list[int]:
    """Where the tiles along a side begin; the last one ends with the side."""
    if side <= tile:
        return [0]
    count = 1 + -(-(side - tile) // (tile - tile // OVERLAP))
    return np.linspace(0, side - tile, count).round().astype(int).tolist()


def blend_weights(height: int, width: int) -> np.ndarray:
    """How much each cell of a tile counts, float32 `[H, W, 1]`, up to 1."""
    sides = []
    for side in (height, width):
        shared, places = side // OVERLAP + 1, np.arange(side)
        sides.append(np.minimum(np.minimum(places + 1, side - places), shared) / shared)
    return np.multiply.outer(*sides)[..., None].astype(np.float32)


def in_tiles(
    forecast: Callable[[Mapping[str, np.ndarray]], np.ndarray],
    batch: Mapping[str, np.ndarray],
    tile: tuple[int, int],
) -> np.ndarray:
    """Forecasts tiles and blends them.

    Args:
      forecast: from a batch with frames of the size of a tile to `[B, T_out, h, w, C]`.
      batch: arrays `[B, T, H, W, C]`, 'frames' among them, which are cut, and any others, which are
        not; H and W at least those of a tile.
      tile: (h, w).

    Returns:
      Float32 `[B, T_out, H, W, C]`.
    """
    rows, columns = batch['frames'].shape[2:4]
    height, width = tile
    if (rows, columns) == (height, width):
        return np.asarray(forecast(batch))
    weights = blend_weights(height, width)
    total, share = np.zeros(()), np.zeros((rows, columns, 1), np.float32)
    for top, left in itertools.product(tile_starts(rows, height), tile_starts(columns, width)):
        place = slice(top, top + height), slice(left, left + width)
        part = {
            name: array[:, :, place[0], place[1]] if array.ndim == 5 else array
            for name, array in batch.items()
        }
        found = np.asarray(forecast(part), np.float32)
        if not total.ndim:
            total = np.zeros((*found.shape[:2], rows, columns, found.shape[-1]), np.float32)
        total[:, :, place[0], place[1]] += weights * found
        share[place] += weights
    return total / share
