"""What an update does with a gradient, and the state before the first update."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from e3d.model.needs import initialize
from e3d.runs.state import TrainState
from e3d.tasks.schedules import INITIALIZATION, learning_rate_schedule, random_key

Tree = TypeVar('Tree')


def build_optimizer(
    options: Mapping[str, Any], steps: int, networks: Sequence[str] = ()
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Adam or RMSProp with its schedule and clipping.

    RMSProp divides by sqrt(v + eps), whose v begins at 1, as TensorFlow's does.

    Args:
      options: the section `optimizer` of a config.
      steps: length of the training.
      networks: of the model, each of which has moments and clipping of its own, see `Needs`.

    Returns:
      The optimizer, and its learning rate by step.
    """
    schedule = learning_rate_schedule(
        options['schedule'], options['learning_rate'], options['warmup_steps'], steps
    )
    b2, eps = options['b2'], options['eps']
    if options['kind'] == 'rmsprop':
        optimizer = optax.rmsprop(schedule, decay=b2, eps=eps, initial_scale=1.0)
    else:
        optimizer = optax.adam(schedule, b1=options['b1'], b2=b2, eps=eps)
    if options['clip_norm'] is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(options['clip_norm']), optimizer)
    return split_networks(optimizer, networks) if networks else optimizer, schedule


def split_networks(
    optimizer: optax.GradientTransformation, networks: Sequence[str]
) -> optax.GradientTransformationExtraArgs:
    """An optimizer for each network of a model.

    Its update takes `updated`, which networks are to be updated, scalars of bool by name; those
    that are not named are. A network that is not updated keeps its parameters and its moments.

    Args:
      optimizer: of each of them.
      networks: names of top-level modules; all others are together the network 'main'.
    """

    def split(tree: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        rest = {name: part for name, part in tree.items() if name not in networks}
        return {name: {name: tree[name]} for name in networks} | {'main': rest}

    def init(params: Any) -> dict[str, Any]:
        return {name: optimizer.init(part) for name, part in split(params).items()}

    def update(
        gradients: Any, state: Any, params: Any = None, *, updated: Any = None, **_: Any
    ) -> tuple[Any, dict[str, Any]]:
        parts = split(params)
        updates: dict[str, Any] = {}
        new = {}
        for name, part in split(gradients).items():
            changes, moments = optimizer.update(part, state[name], parts[name])
            if name in (updated or {}):
                still = jax.tree.map(jnp.zeros_like, changes)
                changes = choose(updated[name], changes, still)
                moments = choose(updated[name], moments, state[name])
            updates, new[name] = updates | changes, moments
        return updates, new

    return optax.GradientTransformationExtraArgs(init, update)


def at_step(opt_state: Tree, step: jax.Array) -> Tree:
    """The state of an optimizer with its schedules at a step of the run.

    They count the updates that they have seen themselves, which are fewer than those of the run where
    weights were imported, updates were skipped or a network rested.

    Args:
      opt_state: of any optimizer; other counts in it, as that of Adam for its bias, stay.
      step: number of updates so far, int32.
    """

    def is_schedule(node: Any) -> bool:
        return isinstance(node, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda node: node._replace(count=step) if is_schedule(node) else node,
        opt_state,
        is_leaf=is_schedule,
    )


def choose(condition: jax.Array, if_true: Tree, if_false: Tree) -> Tree:
    """One of two trees, leaf by leaf, without a branch."""
    return jax.tree.map(lambda left, right: jnp.where(condition, left, right), if_true, if_false)


def create_state(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    frame_shape: tuple[int, int, int],
    seed: int,
    keep_ema: bool = False,
    lengths: tuple[int, int] = (1, 1),
) -> TrainState:
    """The state before the first update; to be compiled, see `loop.create`.

    Args:
      model: a forecaster, see `e3d.model.E3DLSTM`.
      optimizer: see `build_optimizer`.
      frame_shape: (H, W, C) of the frames.
      seed: of the parameters.
      keep_ema: whether the run keeps a moving average of the parameters.
      lengths: frames of a sequence that are seen and forecast, see `initialize`.

    Raises:
      InputError: the model cannot take frames of that shape.
    """
    variables = initialize(model, random_key(seed, INITIALIZATION), frame_shape, lengths)
    params = variables.pop('params')
    return state_from(params, variables or None, optimizer, keep_ema)


def state_from(
    params: Any,
    collections: Any,
    optimizer: optax.GradientTransformation,
    keep_ema: bool,
    step: int = 0,
) -> TrainState:
    """The state in which training goes on from the variables of a model, with a new optimizer.

    Args:
      params: the parameters, arrays of JAX.
      collections: what the model keeps beside them, or None.
      optimizer: see `build_optimizer`.
      keep_ema: whether the run keeps a moving average, which begins with these.
      step: number of updates so far.
    """
    # Copies, as the step gives its buffers back and one cannot be given back twice.
    averages = jax.tree.map(jnp.copy, (params, collections)) if keep_ema else (None, None)
    return TrainState(
        step=jnp.full((), step, jnp.int32),
        params=params,
        ema_params=averages[0],
        opt_state=optimizer.init(params),
        collections=collections,
        ema_collections=averages[1],
    )
