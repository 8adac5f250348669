"""What a model needs of training and of the data beside frames, and how it is called with that.

A model says it by a property `needs`; one that has none needs nothing, as the recurrent models.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from e3d.model.network import own_precision

PARAMS = 'params'
RANDOM = 'dropout'  # the stream of random numbers of a model that is trained
NETWORKS = 'networks'  # the collection that holds which networks are updated
# Collections that are not part of a state: what a call hands out beside its result.
PASSING = ('losses', 'intermediates')


class Training(NamedTuple):
    """Told to a model that is called to be trained, and to no other.

    Attributes:
      axis_name: of the devices, where each has a share of the batch; None for one device.
      draws: how often each sequence is there, with other random numbers: a share is all of its
        sequences, and then all of them again.
    """

    axis_name: str | None = None
    draws: int = 1


class Needs(NamedTuple):
    """What a model needs.

    Attributes:
      future_only: It forecasts only what follows its input: `model(frames, output_frames)` gives
        `[B, output_frames, H, W, C]` and takes no `truth_mask`; its parameters may depend on the
        number of input frames.
      inputs: What the data set has to give beside the frames, by name, with the number of frames
        for each one that is forecast; the model takes `inputs`, arrays `[B, T_out, count, H, W, C]`
        by name.
      training: It does something else when it is trained, as normalizing by the batch or dropping
        at random. It takes `training`, a `Training` then and None else; then it has a stream
        `self.make_rng('dropout')`, and it may change its collections.
      losses: It has a method `extra_losses(predictions, frames, training)`, terms of the loss by
        name, already weighted; `frames` is the true sequence, whose last frames are those that are
        predicted; before them a model of `future_only` gets those that it sees. It is called only
        when it is trained.
      networks: Names of top-level modules whose parameters have an optimizer of their own; all
        others are of the network 'main'. The network NAME is updated unless the model holds False
        in its collection 'networks', as the variable update_NAME. What belongs to the loss of one
        network alone is kept from the others by `jax.lax.stop_gradient`.
      scores_only: It recognizes and predicts no frames: its predictions are None.
      noise: How many channels of random numbers enter beside the frames at every step, as its field
        `noise_channels` says; each draw of them makes another forecast.
      feeds_back: Of `future_only`: after what all channels of its own forecast enter it again, those
        of what is beside the frames too: 'frame', 'pass' of as many frames as it sees, or '' where it
        sees to that itself.
      channels: It takes `channels`, how many of those that enter are of the frames that it is to
        forecast; they come first, before what is beside them.
      bounded: It can forecast nothing outside of [0, 1].
    """

    future_only: bool = False
    inputs: Mapping[str, int] = {}
    training: bool = False
    losses: bool = False
    networks: tuple[str, ...] = ()
    scores_only: bool = False
    noise: int = 0
    feeds_back: str = ''
    channels: bool = False
    bounded: bool = False


def needs_of(model: nn.Module) -> Needs:
    """What a model needs."""
    needs = getattr(model, 'needs', Needs())
    return needs._replace(noise=getattr(model, 'noise_channels', 0))


def initialize(
    model: nn.Module,
    key: jax.Array,
    frame_shape: tuple[int, int, int],
    lengths: tuple[int, int] = (1, 1),
) -> dict[str, Any]:
    """The variables of a model before the first update: 'params', and its collections.

    Args:
      model: any.
      key: of the parameters.
      frame_shape: (H, W, C).
      lengths: how many frames a model that forecasts only what follows will see and forecast. The
        parameters of the others do not depend on it: they get one frame.
    """
    needs = needs_of(model)
    seen, ahead = lengths if needs.future_only else (1, 1)
    frames, options = jnp.zeros((1, seen, *frame_shape)), {}
    if needs.inputs:
        shapes = {name: (1, ahead, count, *frame_shape) for name, count in needs.inputs.items()}
        options['inputs'] = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    variables = model.init(key, frames, ahead, **options)
    return {name: tree for name, tree in variables.items() if name not in PASSING}


def call_in_use(
    model: nn.Module,
    variables: Mapping[str, Any],
    arguments: Sequence[Any],
    inputs: Mapping[str, jax.Array],
    channels: int,
) -> Any:
    """The result of a model that is used, not trained.

    Args:
      model: any.
      variables: of the model.
      arguments: of its call, as the frames that it sees and how many it forecasts.
      inputs: at least what it needs beside frames, by name.
      channels: of the frames, without what is beside them.
    """
    return model.apply(variables, *arguments, **_options(needs_of(model), inputs, channels))


def call_in_training(
    model: nn.Module,
    variables: Mapping[str, Any],
    arguments: Sequence[Any],
    inputs: Mapping[str, jax.Array],
    truth: jax.Array,
    key: jax.Array | None,
    training: Training,
) -> tuple[Any, dict[str, jax.Array], dict[str, Any] | None]:
    """The result of a model that is trained, and what comes with it.

    Args:
      model: any.
      variables: of the model.
      arguments: of its call.
      inputs: at least what it needs beside frames, by name.
      truth: the true sequences, for terms of the loss of the model's own; see `Needs.losses`.
      key: of all that is random in this step; the same on all devices.
      training: what it is told where it needs that.

    Returns:
      The result; the model's own terms of the loss, weighted; its collections after the call, None
      where there are none.
    """
    needs, channels = needs_of(model), truth.shape[-1]
    options = _options(needs, inputs, channels)
    collections = [name for name in variables if name != PARAMS]
    if needs.training:
        options |= {'training': training, 'rngs': {RANDOM: key}}
    result, changed = model.apply(
        variables, *arguments, **options, mutable=[*collections, 'losses']
    )
    terms = {name: sum(values) for name, values in changed.pop('losses', {}).items()}
    if needs.losses:
        with own_precision(model):
            own, more = model.apply(
                {**variables, **changed},
                result[..., :channels],
                truth,
                training,
                method='extra_losses',
                mutable=collections,
            )
        terms, changed = terms | own, {**changed, **more}
    return result, terms, {name: changed[name] for name in collections} or None


def _options(needs: Needs, inputs: Mapping[str, Any], channels: int) -> dict[str, Any]:
    options: dict[str, Any] = {'channels': channels} if needs.channels else {}
    if needs.inputs:
        options['inputs'] = {name: inputs[name] for name in needs.inputs}
    return options
