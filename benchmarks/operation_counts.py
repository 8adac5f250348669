"""Exact floating point operations of the network: real slots and remembered steps only."""

from e3d.model import E3DLSTM
from e3d.model.equations import CellOptions

BACKWARD_PER_FORWARD = 2  # one product becomes two in the backward pass; recomputation not counted


def _valid_taps(depth: int, kernel_depth: int) -> int:
    """Pairs of a depth tap and a slot that exists, for a SAME convolution."""
    before = (kernel_depth - 1) // 2
    return sum(
        0 <= slot + tap - before < depth for slot in range(depth) for tap in range(kernel_depth)
    )


def _convolution(model: E3DLSTM, positions: int, channels: int, gates: int) -> int:
    """One operator of the kind 'same' with `gates` gates on a state, for one sample."""
    depth, height, width = model.kernel_size
    products = _valid_taps(model.depth, depth) * positions * height * width
    return 2 * products * channels * gates * model.features


def forward_operations(model: E3DLSTM, size: tuple[int, int], channels: int, steps: int) -> int:
    """Operations of a forward pass over `steps` steps of one sample.

    Args:
      model: the network, with `convolution='same'`.
      size: height and width of a frame.
      channels: channels of a frame.
      steps: T_in + T_out - 1.

    Returns:
      Additions and multiplications of all matrix products and convolutions.
    """
    rows, columns = size[0] // model.patch_size, size[1] // model.patch_size
    positions, features = rows * columns, model.features
    patch = model.patch_size**2 * channels
    options = CellOptions(model.features, recall=model.recall, recall_radius=model.recall_radius)
    temporal = 4 if options.recalls else 3
    from_memory = 4 if model.variant == 'released' else 3
    of_step = 2 * positions * model.depth * features * patch  # the decoder
    for layer in range(model.layers):
        of_step += _convolution(model, positions, features if layer else patch, temporal + 3)
        of_step += _convolution(model, positions, features, temporal + from_memory + 2)
        of_step += 2 * positions * model.depth * 2 * features * features  # the projection
    queries = positions * model.depth
    # At the border of the frame there are fewer keys; that is not counted.
    keys = queries if options.radius is None else min((2 * options.radius + 1) ** 2, positions)
    limit = model.history or steps
    recalled = sum(min(step, limit) for step in range(steps)) if options.recalls else 0
    return steps * of_step + recalled * model.layers * 4 * queries * keys * features
