"""Trees of arrays as few arrays: on a GPU each array that is kept or added up is a kernel."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from e3d.kernels.platforms import is_for_accelerators


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A tree whose arrays that differ in the last axis only are one array.

    It is a tree itself, which a loop may stack and take apart.

    Attributes:
      arrays: of the leaves, joined along the last axis or as they are.
      places: for each leaf the number of its array, and its part of the last axis; None for all of it.
      structure: of the tree.
    """

    arrays: list[jax.Array]
    places: tuple[tuple[int, tuple[int, int] | None], ...]
    structure: Any

    def tree(self) -> Any:
        """The tree that it was made of."""
        leaves = [
            self.arrays[number] if part is None else self.arrays[number][..., slice(*part)]
            for number, part in self.places
        ]
        return jax.tree.unflatten(self.structure, leaves)


jax.tree_util.register_dataclass(
    Bundle, data_fields=['arrays'], meta_fields=['places', 'structure']
)


def bundle(tree: Any) -> Bundle:
    """The tree as few arrays, where a GPU or TPU is compiled for; else each of its arrays."""
    leaves, structure = jax.tree.flatten(tree)
    joins = is_for_accelerators()
    groups: dict[Any, list[int]] = {}
    for number, leaf in enumerate(leaves):
        joined = joins and jnp.ndim(leaf) > 1 and jnp.issubdtype(leaf.dtype, jnp.floating)
        groups.setdefault((leaf.shape[:-1], leaf.dtype) if joined else number, []).append(number)
    arrays, places = [], {}
    for members in groups.values():
        if len(members) == 1:
            places[members[0]] = (len(arrays), None)
            arrays.append(leaves[members[0]])
            continue
        end = 0
        for number in members:
            first, end = end, end + leaves[number].shape[-1]
            places[number] = (len(arrays), (first, end))
        arrays.append(jnp.concatenate([leaves[number] for number in members], axis=-1))
    return Bundle(arrays, tuple(places[number] for number in range(len(leaves))), structure)
