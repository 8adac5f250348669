r"""Convolutions by minimal filtering, F(m, r) of Winograd (1980): what CPUs compute.

m outputs of a filter with r taps need m + r - 1 products in place of m r. With a tile d of m + r - 1
inputs and the taps g,

    y = A^T [(G g) . (B^T d)]

for three matrices that follow from m + r - 1 points at which polynomials are evaluated. Here it is done
along the height of a 3D convolution, F(4, 5) for the kernels of the paper: 2.5 times fewer products, in
eight matrix products, one for each point, over patches along the width:

    patches = unfold(B^T inputs)                         [n, D B, tiles, W', kw C]
    points  = G kernel                                   [n, kw C, F] for each tap in depth
    outputs = A^T sum of patches . points                over the taps, where they meet a real slot

Along one axis only, the arrays in between are smaller than the patches of a direct convolution. All
steps but the product are linear maps of one array, so the gradients are the same products between
their transposes. It is exact but for rounding: in float32 the results are about 1e-6 of the largest
value off. Where r has no such form with at most eight points, m is 1: a product for each tap.

Only taps that meet a real slot are multiplied: three of four for a depth of 2 and a kernel of 2.
"""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Padding = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

_multiply = functools.partial(jnp.einsum, precision='highest')

# Small values, so that little is lost by rounding; the last point is at infinity.
_POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))


class Filtering(NamedTuple):
    """The matrices of F(m, r), n = m + r - 1.

    Attributes:
      outputs: a^T, `[m, n]`.
      taps: G, `[n, r]`.
      inputs: B^T, `[n, n]`.
    """

    outputs: np.ndarray
    taps: np.ndarray
    inputs: np.ndarray


@functools.cache
def minimal_filtering(taps: int) -> Filtering:
    """F(m, r) for r taps: m = 4 up to five taps, 2 up to seven, and 1 for one tap or more than seven."""
    outputs = 4 if 1 < taps <= 5 else 2 if 5 < taps <= 7 else 1
    size = outputs + taps - 1
    if outputs == 1:
        return Filtering(np.ones((1, size)), np.eye(size), np.eye(size))
    # A product of two polynomials follows from its values at the points; filtering is the transpose.
    inputs = _transpose(_inverse(_powers(size, size)))
    # B^T of integers rounds least, so the divisors go to G.
    divisors = [math.lcm(*(value.denominator for value in row)) for row in inputs]
    inputs = [[value * divisor for value in row] for row, divisor in _pairs(inputs, divisors)]
    filters = _powers(size, taps)
    filters = [[value / divisor for value in row] for row, divisor in _pairs(filters, divisors)]
    matrices = (_transpose(_powers(size, outputs)), filters, inputs)
    return Filtering(*(np.array(matrix, float) for matrix in matrices))


Matrix = list[list[Fraction]]

_pairs = functools.partial(zip, strict=True)


def _powers(points: int, columns: int) -> Matrix:
    """x^0, x^1, ... of each point; at infinity only the highest power counts."""
    finite = [[Fraction(x) ** power for power in range(columns)] for x in _POINTS[: points - 1]]
    return [*finite, [Fraction(power == columns - 1) for power in range(columns)]]


def _transpose(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _inverse(matrix: Matrix) -> Matrix:
    """The exact inverse of an invertible matrix, by elimination."""
    size = len(matrix)
    rows = [row + [Fraction(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(row for row in rows[column:] if row[column])
        rows.remove(pivot)
        pivot = [value / pivot[column] for value in pivot]
        rows = [[a - row[column] * b for a, b in _pairs(row, pivot)] for row in rows]
        rows.insert(column, pivot)
    return [row[size:] for row in rows]


def transform_kernel(kernel: jax.Array) -> tuple[jax.Array, ...]:
    """G along the height of a kernel `[kd, kh, kw, C, F]`: for each tap in depth `[n, kw * C, F]`."""
    matrix = minimal_filtering(kernel.shape[1]).taps.astype(kernel.dtype)
    points = jnp.einsum('nh,dhwcf->dnwcf', matrix, kernel, precision='highest')
    return tuple(points.reshape(*points.shape[:2], -1, points.shape[-1]))


def _combine(coefficients: np.ndarray, terms: Sequence[jax.Array]) -> jax.Array:
    """The sum of coefficient times term, without those that are zero."""
    return sum(float(a) * term for a, term in zip(coefficients, terms, strict=True) if a)


def _transform_rows(plane: jax.Array, taps: int, padding: tuple[int, int]) -> jax.Array:
    """B^T of each tile of rows: `[B, H, W, C]` to `[n, B, tiles, W, C]`."""
    filtering = minimal_filtering(taps)
    step, size = filtering.outputs.shape
    batch, height, width, channels = plane.shape
    tiles = -(-(height + sum(padding) - taps + 1) // step)
    rows = tiles + -(-(taps - 1) // step)
    pads = ((0, 0), (padding[0], rows * step - height - padding[0]), (0, 0), (0, 0))
    plane = jnp.pad(plane, pads).reshape(batch, rows, step, width, channels)
    terms = [plane[:, row // step : row // step + tiles, row % step] for row in range(size)]
    return jnp.stack([_combine(row, terms) for row in filtering.inputs])


def _restore_rows(products: jax.Array, taps: int, height: int) -> jax.Array:
    """A^T of the products: `[n, B, tiles, W, F]` to `[B, height, W, F]`."""
    matrix = minimal_filtering(taps).outputs
    _, batch, tiles, width, features = products.shape
    rows = jnp.stack([_combine(row, products) for row in matrix], axis=2)
    return rows.reshape(batch, tiles * matrix.shape[0], width, features)[:, :height]


def _spread_rows(cotangent: jax.Array, taps: int) -> jax.Array:
    """The transpose of `_restore_rows`: A of each tile of rows."""
    matrix = minimal_filtering(taps).outputs
    step = len(matrix)
    batch, height, width, features = cotangent.shape
    cotangent = jnp.pad(cotangent, ((0, 0), (0, -height % step), (0, 0), (0, 0)))
    rows = cotangent.reshape(batch, -1, step, width, features)
    terms = [rows[:, :, row] for row in range(step)]
    return jnp.stack([_combine(column, terms) for column in matrix.T])


def _unfold(rows: jax.Array, size: int, padding: tuple[int, int]) -> jax.Array:
    """Patches along the width: `[..., W, C]` to `[..., W', size * C]`."""
    rows = jnp.pad(rows, [(0, 0)] * (rows.ndim - 2) + [padding, (0, 0)])
    width = rows.shape[-2] - size + 1
    return jnp.concatenate([rows[..., first : first + width, :] for first in range(size)], axis=-1)


def _patches(plane: jax.Array, kernel_size, padding: Padding) -> jax.Array:
    """`[B, H, W, C]` to `[n, B, tiles, W', kw * C]`."""
    rows = _transform_rows(plane, kernel_size[1], padding[1])
    return _unfold(rows, kernel_size[2], padding[2])


# The barriers keep XLA from doing what comes before or after a transform again for each of its points.
_materialize = jax.lax.optimization_barrier


def _slot_major(states: jax.Array) -> jax.Array:
    """`[B, D, H, W, C]` to planes `[D * B, H, W, C]`, in float32 at least: the matrices cost bits."""
    states = jnp.swapaxes(states.astype(jnp.promote_types(states.dtype, jnp.float32)), 0, 1)
    return _materialize(states.reshape(-1, *states.shape[2:]))


def _batch_major(planes: jax.Array, depth: int, dtype) -> jax.Array:
    """Undoes `_slot_major`."""
    states = planes.reshape(depth, -1, *planes.shape[1:]).astype(dtype)
    return _materialize(jnp.swapaxes(states, 0, 1))


def _meetings(depth: int, kernel_depth: int, padding: tuple[int, int]):
    """Each tap in depth that meets real slots: (tap, range of these slots, range of outputs)."""
    outputs = depth + sum(padding) - kernel_depth + 1
    for tap in range(kernel_depth):
        shift = tap - padding[0]  # slot = output + shift
        first, end = max(0, shift), min(depth, outputs + shift)
        if first < end:
            yield tap, slice(first, end), slice(first - shift, end - shift)


def _take(points: jax.Array, slots: slice, depth: int) -> jax.Array:
    """These slots of `[n, D * B, ...]`."""
    batch = points.shape[1] // depth
    return points[:, slots.start * batch : slots.stop * batch]


def _put(points: jax.Array, slots: slice, depth: int) -> jax.Array:
    """The transpose of `_take`: zeros in all other slots."""
    batch = points.shape[1] // (slots.stop - slots.start)
    pads = (slots.start * batch, (depth - slots.stop) * batch)
    return jnp.pad(points, [(0, 0), pads] + [(0, 0)] * (points.ndim - 2))


def convolve(
    inputs: jax.Array, points: Sequence[jax.Array], kernel_size, padding: Padding
) -> jax.Array:
    """`[B, D, H, W, C]` to `[B, D', H', W', F]`, for a kernel given by its `points`."""
    depth = inputs.shape[1]
    outputs = depth + sum(padding[0]) - kernel_size[0] + 1
    height = inputs.shape[2] + sum(padding[1]) - kernel_size[1] + 1
    patches = _patches(_slot_major(inputs), kernel_size, padding)
    products = sum(
        _put(_multiply('nbtwk,nkf->nbtwf', _take(patches, slots, depth), points[tap]), out, outputs)
        for tap, slots, out in _meetings(depth, kernel_size[0], padding[0])
    )
    return _batch_major(_restore_rows(products, kernel_size[1], height), outputs, inputs.dtype)


def input_gradient(
    cotangent: jax.Array, points: Sequence[jax.Array], kernel_size, shape, padding: Padding
) -> jax.Array:
    """The gradient with respect to inputs of this shape."""
    batch, depth, *plane = shape
    outputs = cotangent.shape[1]
    cotangents = _spread_rows(_slot_major(cotangent), kernel_size[1])
    patches = sum(
        _put(
            _multiply('nbtwf,nkf->nbtwk', _take(cotangents, out, outputs), points[tap]),
            slots,
            depth,
        )
        for tap, slots, out in _meetings(depth, kernel_size[0], padding[0])
    )
    fold = jax.linear_transpose(
        functools.partial(_patches, kernel_size=kernel_size, padding=padding),
        jax.ShapeDtypeStruct((depth * batch, *plane), cotangents.dtype),
    )
    return _batch_major(fold(patches)[0], depth, cotangent.dtype)


def kernel_gradient(
    inputs: jax.Array, cotangent: jax.Array, kernel_size, padding: Padding
) -> tuple[jax.Array, ...]:
    """The gradient with respect to the points.

    Whichever of inputs and cotangent has fewer channels is unfolded. Unfolding the cotangent is the
    same sum seen from the other side: the kernel mirrored.
    """
    kernel_depth, taps, width = kernel_size
    depth, outputs = inputs.shape[1], cotangent.shape[1]
    rows = _transform_rows(_slot_major(inputs), taps, padding[1])
    cotangents = _spread_rows(_slot_major(cotangent), taps)
    channels, features = inputs.shape[-1], cotangent.shape[-1]
    mirrored = features < channels
    if mirrored:
        cotangents = _unfold(cotangents, width, tuple(width - 1 - size for size in padding[2]))
    else:
        rows = _unfold(rows, width, padding[2])

    def gradient(slots: slice, out: slice) -> jax.Array:
        left, right = _take(rows, slots, depth), _take(cotangents, out, outputs)
        product = _multiply('nbtwk,nbtwf->nkf', left, right)
        if mirrored:
            product = product.reshape(-1, channels, width, features)[:, :, ::-1]
            product = jnp.swapaxes(product, 1, 2)
        return product.reshape(-1, width * channels, features)

    nothing = jnp.zeros((len(rows), width * channels, features), rows.dtype)
    gradients = [nothing] * kernel_depth
    for tap, slots, out in _meetings(depth, kernel_depth, padding[0]):
        gradients[tap] = gradient(slots, out)
    return tuple(gradients)
