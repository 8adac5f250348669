"""Checks of the fields of cells and networks, and of the arrays that they are given."""

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import flax.errors
import jax
import jax.numpy as jnp

from e3d.errors import InputError
from e3d.options.option import options_of

DTYPES = ('float32', 'bfloat16', 'float64')


def check_at_least(fields: Mapping[str, tuple[Any, int]]) -> None:
    """Raises InputError unless each value is an integer of at least the number beside it."""
    for name, (value, least) in fields.items():
        if isinstance(value, bool) or not hasattr(value, '__index__') or value < least:
            raise InputError(f'{name}={value!r}: must be an integer >= {least}')


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> None:
    """Raises InputError unless the value is one of those that are allowed."""
    if value not in allowed:
        raise InputError(f'{name}={value!r}: must be one of {", ".join(map(repr, allowed))}')


def check_sizes(features: Any, kernel_size: Any) -> None:
    """Raises InputError unless these can be the channels and the kernel of a cell."""
    check_at_least({'features': (features, 1)})
    sizes = tuple(kernel_size) if isinstance(kernel_size, Sequence) else ()
    if len(sizes) != 3 or isinstance(kernel_size, str):
        raise InputError(
            f'kernel_size={kernel_size!r}: must be three sizes (depth, height, width), such as '
            '(2, 5, 5)'
        )
    for axis, size in zip(('depth', 'height', 'width'), sizes, strict=True):
        check_at_least({f'kernel_size={sizes}: {axis}': (size, 1)})


def check_dtype(dtype: Any, allowed: Sequence[str] = DTYPES) -> None:
    """Raises InputError unless this is the name or the type of a float that JAX has switched on."""
    try:
        name = 'None' if dtype is None else jnp.dtype(dtype).name
    except TypeError:
        name = repr(dtype)
    if name not in allowed:
        raise InputError(f'dtype={dtype!r}: must be one of {", ".join(map(repr, allowed))}')
    if jax.dtypes.canonicalize_dtype(name) != name:
        raise InputError(f'dtype={dtype!r}: needs jax.config.update("jax_enable_x64", True)')


def check_options(model: Any, apart: Collection[str] = ('dtype',)) -> None:
    """Raises InputError unless each field of a model is what its option allows.

    Args:
      model: of any class with options; its `dtype` may be a type as well, or float64.
      apart: fields that are checked elsewhere.
    """
    for name, option in options_of(type(model)).items():
        value = getattr(model, name)
        if option.meaning and name not in apart and not option.rule.accepts(value):
            raise InputError(f'{name}={value!r}: must be {option.rule.brief}')
    check_dtype(model.dtype)


def check_input_shape(shape: Sequence[int]) -> None:
    """Raises InputError unless inputs of this shape are `[B, D, H, W, C]`, as a cell takes them."""
    remedies = {
        3: '[H, W, C] becomes it by inputs[None, None]',
        4: '[B, H, W, C] (no depth) becomes it by inputs[:, None], [D, H, W, C] (no batch) by '
        'inputs[None]; under nn.RNN, sequences [B, T, H, W, C] become [B, T, D, H, W, C] by '
        'inputs[:, :, None]',
        6: 'sequences [B, T, D, H, W, C] are for nn.RNN(cell)',
    }
    if len(shape) != 5:
        remedy = remedies.get(len(shape))
        raise InputError(
            f'inputs of shape {tuple(shape)}: a cell takes [B, D, H, W, C] (batch, depth, height, '
            'width, channels)' + (f'; {remedy}' if remedy else '')
        )


def check_frames_shape(shape: Sequence[int]) -> None:
    """Raises InputError unless frames of this shape are `[B, T, H, W, C]` with something in them."""
    if len(shape) != 5:
        raise InputError(f'frames of shape {tuple(shape)}: must be [B, T, H, W, C]')
    if not all((shape[0], *shape[2:])):
        raise InputError(f'frames of shape {tuple(shape)}: B, H, W and C must be >= 1')


@contextlib.contextmanager
def parameters_for(shape: Sequence[int]) -> Iterator[None]:
    """Raises InputError where parameters that are declared within are there for other inputs."""
    try:
        yield
    except flax.errors.ScopeParamShapeError as error:
        reason = str(error).partition(' (http')[0]
        raise InputError(
            f'the parameters are not for inputs of shape {tuple(shape)}, the number of channels '
            f'included: {reason}'
        ) from None


def check_states(states: Mapping[str, Any], inputs: Sequence[int], features: int) -> None:
    """Raises InputError unless the states of a carry fit inputs `[B, D, H, W, C]`."""
    expected = (*inputs[:-1], features)
    for name, state in states.items():
        if jnp.shape(state) != expected:
            raise InputError(
                f'the carry has {name} of shape {jnp.shape(state)}, but inputs of shape '
                f'{tuple(inputs)} and features={features} need {expected}: make the carry with '
                'initialize_carry(rng, inputs.shape)'
            )
