"""Which way of computing a platform gets.

It is chosen when a program is compiled, of all that were traced. A program in a language that knows no
platforms is traced for one: see `traced_for`.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax

_traced_for: contextvars.ContextVar[str | None] = contextvars.ContextVar('platform', default=None)
_exporting: contextvars.ContextVar[bool] = contextvars.ContextVar('exporting', default=False)
_prepared_for: contextvars.ContextVar[str | None] = contextvars.ContextVar('prepared', default=None)


def choose(*arguments: Any, default: Callable, **branches: Callable) -> Any:
    """What the branch of the platform makes of the arguments, as `jax.lax.platform_dependent`.

    Args:
      *arguments: trees of arrays.
      default: for the platforms that are not named.
      **branches: by platform: 'cpu', 'cuda', 'rocm', 'tpu'.
    """
    platform = _traced_for.get()
    if platform is None:
        return lax.platform_dependent(*arguments, default=default, **branches)
    return branches.get(platform, default)(*arguments)


def traced_once(*static: str) -> Callable[[Callable], Callable]:
    """Decorates a function of arrays so that each form of its arguments is traced once.

    A model has the same operation dozens of times, in every step and layer, when it is initialized and
    when it is applied; most of the time that tracing and lowering take goes there. What is computed
    stays the same.

    Args:
      *static: names of the arguments that are no arrays.
    """

    def decorate(function: Callable) -> Callable:
        kept = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            # What is kept has the branches of all platforms, and kernels that cannot be stored.
            anew = _traced_for.get() is not None or _exporting.get()
            return (function if anew else kept)(*arguments)

        return call

    return decorate


@contextlib.contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """What is traced within has the branch of this platform and no others.

    Trace a function of your own, which JAX has not traced before: it keeps what it has traced.
    """
    token = _traced_for.set(platform)
    try:
        yield
    finally:
        _traced_for.reset(token)


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """What is traced within is to be stored, and has no kernels of this machine's GPU.

    Trace a function of your own, as for `traced_for`.
    """
    token = _exporting.set(True)
    try:
        yield
    finally:
        _exporting.reset(token)


def is_exporting() -> bool:
    """Whether what is traced now is to be stored."""
    return _exporting.get()


def is_for_accelerators() -> bool:
    """Whether what is traced now is meant for a GPU or a TPU, where a choice must be made by then.

    It is meant for the platform of `traced_for`, for `jax.default_device`, or else for JAX's default
    backend. Use it where both ways give the same on every platform, and are only faster on some.
    """
    device = jax.config.jax_default_device or jax.default_backend()
    return (_traced_for.get() or getattr(device, 'platform', device)) != 'cpu'


@contextlib.contextmanager
def prepared_for(platform: str) -> Iterator[None]:
    """What is prepared within before a loop is what this platform uses, and nothing for others.

    The shapes of what is traced are then those of this platform. It gives the same results on others,
    only later. Trace a function of your own, as for `traced_for`.
    """
    token = _prepared_for.set(platform)
    try:
        yield
    finally:
        _prepared_for.reset(token)


def is_prepared(for_cpus: bool) -> bool:
    """Whether CPUs, or else GPUs and TPUs, are among the platforms that are prepared for."""
    platform = _prepared_for.get()
    return platform is None or (platform == 'cpu') == for_cpus
